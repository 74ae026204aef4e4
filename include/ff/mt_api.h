/* F-Stack's microthreads: synchronous code that waits without keeping the thread. C++ only. Descriptors are those of
 * ff_api.h; times are milliseconds, -1 for ever. What runs out of time returns -1 with errno ETIME. One thread of the
 * system has them all: the one that called mt_init_frame(), which is a microthread itself, and in whose waits the
 * others run. Of one descriptor one microthread at a time may wait to read and one to write; it must not be closed
 * meanwhile. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <vector>

namespace NS_MICRO_THREAD {

/* ff_init(), if there are arguments, and the first microthread: whoever calls. */
bool mt_init_frame(int argc = 0, char* const argv[] = nullptr);
/* Of stacks that are made from now on; 128 KiB at first. */
void mt_set_stack_size(unsigned int bytes);

/* Starts `entry`, a void (*)(void *), at the next wait of the caller. A name for it; null: no memory. */
void* mt_start_thread(void* entry, void* args);
/* The name of the one that runs. */
void* mt_active_thread();
void mt_sleep(int ms);
/* Until mt_thread_wakeup_wait() of its name, or the end of the time. */
void mt_thread_wait(int ms);
void mt_thread_wakeup_wait(void* thread);
/* Lets the others run. */
void mt_swap_thread();
unsigned long long mt_time_ms(void);
/* One pointer for each microthread. */
void mt_set_msg_private(void* data);
void* mt_get_msg_private();

int mt_connect(int fd, const struct sockaddr* addr, int addrlen, int timeout);
int mt_accept(int fd, struct sockaddr* addr, socklen_t* addrlen, int timeout);
ssize_t mt_read(int fd, void* buf, size_t nbyte, int timeout);
ssize_t mt_recv(int fd, void* buf, int len, int flags, int timeout);
int mt_recvfrom(int fd, void* buf, int len, int flags, struct sockaddr* from, socklen_t* fromlen, int timeout);
/* All of it, unless an error or the end of the time comes first: then the bytes that went, or -1 if none did. */
ssize_t mt_write(int fd, const void* buf, size_t nbyte, int timeout);
ssize_t mt_send(int fd, const void* buf, size_t nbyte, int flags, int timeout);
int mt_sendto(int fd, const void* msg, int len, int flags, const struct sockaddr* to, int tolen, int timeout);
/* EPOLLIN or EPOLLOUT in `events`: which of them came, 0 at the end of the time, or -1. */
int mt_wait_events(int fd, int events, int timeout);

/* Sends a datagram and waits for one back: 0, and its bytes in `buf_size`; -1 no socket, -2 not sent, -3 no answer. */
int mt_udpsendrcv(struct sockaddr_in* dst, void* pkg, int len, void* rcv_buf, int& buf_size, int timeout);
/* How long the message is that begins in `buf`: 0, more is needed; less than 0, it is none. */
typedef int (*MtFuncTcpMsgLen)(void* buf, int len);
/* Connects, sends, and reads one message into rcv_buf: 0 and its bytes in `buf_size`; -1 no connection, -2 not sent,
 * -3 no answer, or one that does not fit. */
int mt_tcpsendrcv(struct sockaddr_in* dst, void* pkg, int len, void* rcv_buf, int& buf_size, int timeout,
                  MtFuncTcpMsgLen chek_func);

/* Work for mt_exec_all_task(). */
class IMtTask {
 public:
  IMtTask() = default;
  virtual ~IMtTask() = default;
  virtual int Process() { return -1; }
  void SetResult(int rc) { _result = rc; }
  int GetResult() { return _result; }
  void SetTaskType(int type) { _type = type; }
  int GetTaskType() { return _type; }

 protected:
  int _type = 0;
  int _result = 0;
};
typedef std::vector<IMtTask*> IMtTaskList;
/* Runs each in a microthread of its own and waits for all; GetResult() is what Process() returned. 0, or -1 if one
 * could not be started. */
int mt_exec_all_task(IMtTaskList& req_list);

}  // namespace NS_MICRO_THREAD
