/* F-Stack's programming interface on Millrace: source written for F-Stack compiles against this header unchanged
 * (docs/FSTACK.md says what differs). Calls mean what POSIX calls of the same name mean on Linux, with Linux's
 * constants, options and errno numbers, on descriptors of the stack, which are not the kernel's. On errors they return
 * -1.
 *
 *   int loop(void *arg) { ... ff_kevent(kq, NULL, 0, events, N, NULL) ... return 0; }
 *   int main(int argc, char *argv[]) { ff_init(argc, argv); ... ff_run(loop, NULL); }
 *
 * The calling thread of ff_run() turns the stack. Other threads may call too; one lock serves all. */
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "ff_errno.h"
#include "ff_event.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A socket address as Linux lays it out: cast a sockaddr_in or sockaddr_in6 to it. The family of IPv6 may be Linux's or
 * FreeBSD's number. */
struct linux_sockaddr {
  short sa_family;
  char sa_data[14];
};

#define AF_INET6_LINUX 10
#define PF_INET6_LINUX AF_INET6_LINUX
#define AF_INET6_FREEBSD 28
#define PF_INET6_FREEBSD AF_INET6_FREEBSD

/* May be or-ed into the type of ff_socket(). A socket of the kernel's is refused with EPROTONOSUPPORT: use socket(). */
#define SOCK_FSTACK 0x01000000
#define SOCK_KERNEL 0x02000000

/* --- The program's life ------------------------------------------------------------------------------------------- */

/* What ff_run() calls over and over; its result is not looked at. */
typedef int (*loop_func_t)(void* arg);

/* Reads --conf (-c) FILE, --proc-type (-t) and --proc-id (-p) and the file, "config.ini" if none is named, and brings
 * the stack up. Other arguments are left alone. Returns 0; if the stack cannot be had, says why in one sentence on
 * standard error and ends the program with status 1. */
int ff_init(int argc, char* const argv[]);
/* Turns the stack and calls `loop(arg)` once a turn, until ff_stop_run(). In there nothing is sent before it returns,
 * and waits for events return at once. */
void ff_run(loop_func_t loop, void* arg);
/* From any thread or from the loop: ff_run() returns after its turn. */
void ff_stop_run(void);

/* --- Sockets ------------------------------------------------------------------------------------------------------ */

int ff_socket(int domain, int type, int protocol);
int ff_bind(int s, const struct linux_sockaddr* addr, socklen_t addrlen);
int ff_listen(int s, int backlog);
/* As in FreeBSD the new socket does not block if the listener does not; with ff_accept4() the flags alone say so. */
int ff_accept(int s, struct linux_sockaddr* addr, socklen_t* addrlen);
int ff_accept4(int s, struct linux_sockaddr* addr, socklen_t* addrlen, int flags);
int ff_connect(int s, const struct linux_sockaddr* name, socklen_t namelen);
int ff_shutdown(int s, int how);
int ff_close(int fd);
int ff_getsockname(int s, struct linux_sockaddr* name, socklen_t* namelen);
int ff_getpeername(int s, struct linux_sockaddr* name, socklen_t* namelen);
int ff_setsockopt(int s, int level, int optname, const void* optval, socklen_t optlen);
int ff_getsockopt(int s, int level, int optname, void* optval, socklen_t* optlen);

/* No call raises SIGPIPE. */
ssize_t ff_read(int d, void* buf, size_t nbytes);
ssize_t ff_readv(int fd, const struct iovec* iov, int iovcnt);
ssize_t ff_recv(int s, void* buf, size_t len, int flags);
ssize_t ff_recvfrom(int s, void* buf, size_t len, int flags, struct linux_sockaddr* from, socklen_t* fromlen);
ssize_t ff_recvmsg(int s, struct msghdr* msg, int flags);
ssize_t ff_write(int fd, const void* buf, size_t nbytes);
ssize_t ff_writev(int fd, const struct iovec* iov, int iovcnt);
ssize_t ff_send(int s, const void* buf, size_t len, int flags);
ssize_t ff_sendto(int s, const void* buf, size_t len, int flags, const struct linux_sockaddr* to, socklen_t tolen);
ssize_t ff_sendmsg(int s, const struct msghdr* msg, int flags);

int ff_fcntl(int fd, int cmd, ...);
int ff_ioctl(int fd, unsigned long request, ...);
int ff_dup(int oldfd);
int ff_dup2(int oldfd, int newfd);
/* Whether the number names something of the stack. */
extern int ff_fdisused(int fd);
/* One more than the greatest number that the stack gives out. */
extern int ff_getmaxfd(void);

/* --- Waiting ------------------------------------------------------------------------------------------------------ */

/* Only descriptors of the stack. `nfds` may be above FD_SETSIZE if the sets are as long. */
int ff_select(int nfds, fd_set* readfds, fd_set* writefds, fd_set* exceptfds, struct timeval* timeout);
int ff_poll(struct pollfd fds[], nfds_t nfds, int timeout);

int ff_kqueue(void);
int ff_kevent(int kq, const struct kevent* changelist, int nchanges, struct kevent* eventlist, int nevents,
              const struct timespec* timeout);
/* Gives each event to `do_each(&eventlist, event)`, which may move the pointer on, instead of storing it. */
int ff_kevent_do_each(int kq, const struct kevent* changelist, int nchanges, void* eventlist, int nevents,
                      const struct timespec* timeout, void (*do_each)(void**, struct kevent*));

int ff_gettimeofday(struct timeval* tv, void* tz);

/* Threads of the system; F-Stack makes them with a context of their own, which is not needed here. */
int ff_pthread_create(pthread_t* thread, const pthread_attr_t* attr, void* (*start_routine)(void*), void* arg);
int ff_pthread_join(pthread_t thread, void** retval);

/* --- Zero copy ---------------------------------------------------------------------------------------------------- */

/* Bytes to be sent, or that were received. */
struct ff_zc_mbuf {
  void* bsd_mbuf;     /* what ff_zc_send() takes; NULL: nothing */
  void* bsd_mbuf_off; /* the stack's own */
  int off;            /* where the next read or write is */
  int len;            /* bytes in all */
};

/* Buffers of `len` bytes in all, to be filled by ff_zc_mbuf_write() and sent. 0 or -1. */
int ff_zc_mbuf_get(struct ff_zc_mbuf* m, int len);
/* Appends; bytes written, or -1 if they do not fit. */
int ff_zc_mbuf_write(struct ff_zc_mbuf* m, const char* data, int len);
/* Sends the first `nbytes` of m->bsd_mbuf, which is the stack's from then on, whatever the result. Fewer bytes than
 * asked: the rest is to be put into new buffers. ff_write() of an m->bsd_mbuf does the same. */
ssize_t ff_zc_send(int fd, const void* mb, size_t nbytes);
/* Takes what was received, `nbytes` at most, without a copy unless that cuts it. Bytes, 0 at the end, or -1. */
ssize_t ff_zc_recv(int fd, struct ff_zc_mbuf* zm, size_t nbytes);
/* Copies the next bytes out; how many, 0 behind the last. */
int ff_zc_mbuf_read(struct ff_zc_mbuf* m, char* data, int len);
/* The next piece as it lies in memory: its bytes, 0 behind the last. */
int ff_zc_mbuf_segment(struct ff_zc_mbuf* zm, void** seg_data, int* seg_len);
/* Gives what ff_zc_recv() took, or what was got and never sent, back; *zm is cleared. */
void ff_zc_recv_free(struct ff_zc_mbuf* zm);

/* --- Frames ------------------------------------------------------------------------------------------------------- */

#define FF_DISPATCH_ERROR (-1)    /* the frame is the program's, or worth nothing: it is dropped */
#define FF_DISPATCH_RESPONSE (-2) /* the frame, as changed, goes out again */

/* Sees each frame of the first port before the stack does: its first bytes up to *len, which may be changed for a
 * response. The number of its own queue: the stack takes it. Of another: that process gets it. */
typedef int (*dispatch_func_t)(void* data, uint16_t* len, uint16_t queue_id, uint16_t nb_queues);

struct ff_dispatcher_context {
  struct {
    uint8_t stripped; /* a VLAN tag was taken off */
    uint16_t vlan_tci;
  } vlan;
};
typedef int (*dispatch_func_context_t)(void* data, uint16_t* len, uint16_t queue_id, uint16_t nb_queues,
                                       struct ff_dispatcher_context context);

/* After ff_init(); NULL: no more. The later one of the two kinds counts. */
void ff_regist_packet_dispatcher(dispatch_func_t func);
void ff_regist_packet_dispatcher_context(dispatch_func_context_t func);
/* Sends an Ethernet frame of at most 2 KiB, copied, out of the first port; port_id must be 0. 0 or -1. */
int ff_dpdk_raw_packet_send(void* data, int total, uint16_t port_id);

/* Counters of all ports: what `buffer` gets. */
struct ff_traffic_args {
  uint64_t rx_packets;
  uint64_t rx_bytes;
  uint64_t rx_dropped;
  uint64_t tx_packets;
  uint64_t tx_bytes;
  uint64_t tx_dropped;
};
void ff_get_traffic(void* buffer);

/* This process among those that share its ports; NULL is allowed. 0. */
int ff_rss_self_queue_info(uint16_t* proc_id, uint16_t* queueid, uint16_t* nb_queues, uint16_t* reta_size);

/* --- Routes, settings --------------------------------------------------------------------------------------------- */

enum FF_ROUTE_CTL { FF_ROUTE_ADD, FF_ROUTE_DEL, FF_ROUTE_CHANGE };
enum FF_ROUTE_FLAG { FF_RTF_HOST, FF_RTF_GATEWAY };

/* FF_RTF_HOST: a route to one address, `netmask` is not looked at. `gw` names the gateway; on the interface whose
 * network it is in. */
int ff_route_ctl(enum FF_ROUTE_CTL req, enum FF_ROUTE_FLAG flag, struct linux_sockaddr* dst, struct linux_sockaddr* gw,
                 struct linux_sockaddr* netmask);

/* By number, as sysctl(3) of FreeBSD; {0, 3} with a name as `newp` gives the number of a name. The names are those that
 * docs/FSTACK.md lists; others are ENOENT. Values are int. */
int ff_sysctl(const int* name, unsigned int namelen, void* oldp, size_t* oldlenp, const void* newp, size_t newlen);

/* Chooses the local address of connects from sockets that were not bound: fills `src_addr` (in_addr or in6_addr) and
 * returns 0; an unspecified address leaves the choice to the stack. */
typedef int (*pcblddr_func_t)(uint16_t family, void* dst_addr, uint16_t dst_port, void* src_addr);
void ff_regist_pcblddr_fun(pcblddr_func_t func);

/* --- For F-Stack's own tools -------------------------------------------------------------------------------------- */

/* The same calls with FreeBSD's numbers for levels, options and requests. */
int ff_ioctl_freebsd(int fd, unsigned long request, ...);
int ff_setsockopt_freebsd(int s, int level, int optname, const void* optval, socklen_t optlen);
int ff_getsockopt_freebsd(int s, int level, int optname, void* optval, socklen_t* optlen);

/* Routing messages and netgraph do not exist here: ENOSYS. The `millrace` command does such work. */
int ff_rtioctl(int fib, void* data, unsigned* plen, unsigned maxlen);
enum FF_NGCTL_CMD { NGCTL_SOCKET, NGCTL_BIND, NGCTL_CONNECT, NGCTL_SEND, NGCTL_RECV, NGCTL_CLOSE };
int ff_ngctl(int cmd, void* data);

/* Thread contexts, which this stack does without: they come back as they were given. */
extern __thread struct thread* pcurthread;
void* ff_adapt_user_thread_add(void* parent);
void ff_adapt_user_thread_exit(void* td);
void* ff_switch_curthread(void* new_curthread);
void ff_restore_curthread(void* old_curthread);

#ifdef __cplusplus
}
#endif
