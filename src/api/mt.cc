// mt_*: F-Stack's microthread functions.
#include <string.h>
#include <sys/epoll.h>

#include <algorithm>

#include "api/micro.h"
#include "api/state.h"
#include "ff/mt_api.h"
#include "posix/convert.h"

using namespace millrace;

namespace millrace::api {
namespace {

std::unique_ptr<Scheduler> the_scheduler;

Scheduler& scheduler() {
  if (the_scheduler == nullptr) the_scheduler = std::make_unique<Scheduler>(the_stack());
  return *the_scheduler;
}

Instant deadline_of(int ms) { return ms < 0 ? kNever : posix::monotonic_now() + milliseconds(ms); }

// Tries until it is no more a matter of waiting.
template <class Try>
ssize_t insist(int fd, int16_t filter, Instant until, Try&& attempt) {
  for (;;) {
    const ssize_t n = attempt();
    if (n >= 0 || errno != EAGAIN) return n;
    const long ready = scheduler().wait_for(fd, filter, until);
    if (ready < 0) return result(ready);
    if (ready == 0) return result(-ETIME);
  }
}

// Holds a socket in non-blocking mode while a call is made that has no flag for it.
class NonBlocking {
 public:
  explicit NonBlocking(int fd) : fd_(fd), flags_(ff_fcntl(fd, F_GETFL, 0)) {
    if (flags_ >= 0 && (flags_ & O_NONBLOCK) == 0) (void)ff_fcntl(fd_, F_SETFL, long{flags_ | O_NONBLOCK});
  }
  ~NonBlocking() {
    const int kept = errno;
    if (flags_ >= 0 && (flags_ & O_NONBLOCK) == 0) (void)ff_fcntl(fd_, F_SETFL, long{flags_});
    errno = kept;
  }
  NonBlocking(const NonBlocking&) = delete;
  NonBlocking& operator=(const NonBlocking&) = delete;

 private:
  int fd_;
  int flags_;
};

ssize_t send_all(int fd, const void* from, size_t bytes, int flags, Instant until) {
  size_t sent = 0;
  while (sent < bytes) {
    const ssize_t n = insist(fd, posix::kq::kWrite, until, [&] {
      return ff_send(fd, static_cast<const char*>(from) + sent, bytes - sent, flags | MSG_DONTWAIT);
    });
    if (n < 0) return sent != 0 ? static_cast<ssize_t>(sent) : n;
    sent += static_cast<size_t>(n);
  }
  return static_cast<ssize_t>(sent);
}

int connect_until(int fd, const sockaddr* address, socklen_t length, Instant until) {
  const NonBlocking mode(fd);
  if (ff_connect(fd, reinterpret_cast<const linux_sockaddr*>(address), length) == 0) return 0;
  if (errno != EINPROGRESS) return -1;
  const long ready = scheduler().wait_for(fd, posix::kq::kWrite, until);
  if (ready < 0) return result(ready);
  if (ready == 0) return result(-ETIME);
  int error = 0;
  socklen_t size = sizeof error;
  if (ff_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return -1;
  return error == 0 ? 0 : result(-error);
}

// Closes what a call opened, errno kept.
struct Closing {
  int fd;
  ~Closing() {
    const int kept = errno;
    (void)ff_close(fd);
    errno = kept;
  }
};

struct Task {
  NS_MICRO_THREAD::IMtTask* work;
  Micro* parent;
  size_t* left;
};

void run_task(void* arg) {
  const Task task = *static_cast<Task*>(arg);
  task.work->SetResult(task.work->Process());
  if (--*task.left == 0) scheduler().wake(*task.parent);
}

}  // namespace
}  // namespace millrace::api

using api::scheduler;

namespace NS_MICRO_THREAD {

bool mt_init_frame(int argc, char* const argv[]) {
  if (argc > 0 && ff_init(argc, argv) != 0) return false;
  api::the_scheduler = std::make_unique<api::Scheduler>(api::the_stack());
  return true;
}

void mt_set_stack_size(unsigned int bytes) { scheduler().stack_bytes = std::max<size_t>(bytes, 16'384); }

void* mt_start_thread(void* entry, void* args) {
  return scheduler().start(reinterpret_cast<void (*)(void*)>(entry), args);
}
void* mt_active_thread() { return &scheduler().current(); }
void mt_sleep(int ms) { (void)scheduler().wait(api::deadline_of(std::max(ms, 0))); }
void mt_thread_wait(int ms) { (void)scheduler().wait(api::deadline_of(ms)); }
void mt_thread_wakeup_wait(void* thread) { scheduler().wake(*static_cast<api::Micro*>(thread)); }
void mt_swap_thread() { scheduler().yield(); }
unsigned long long mt_time_ms(void) { return static_cast<unsigned long long>(posix::monotonic_now().us() / 1'000); }
void mt_set_msg_private(void* data) { scheduler().current().data = data; }
void* mt_get_msg_private() { return scheduler().current().data; }

int mt_connect(int fd, const struct sockaddr* addr, int addrlen, int timeout) {
  return api::connect_until(fd, addr, static_cast<socklen_t>(addrlen), api::deadline_of(timeout));
}

int mt_accept(int fd, struct sockaddr* addr, socklen_t* addrlen, int timeout) {
  const api::NonBlocking mode(fd);
  return static_cast<int>(api::insist(fd, posix::kq::kRead, api::deadline_of(timeout), [&]() -> ssize_t {
    return ff_accept4(fd, reinterpret_cast<linux_sockaddr*>(addr), addrlen, SOCK_NONBLOCK);
  }));
}

ssize_t mt_recv(int fd, void* buf, int len, int flags, int timeout) {
  return api::insist(fd, posix::kq::kRead, api::deadline_of(timeout),
                     [&] { return ff_recv(fd, buf, static_cast<size_t>(len), flags | MSG_DONTWAIT); });
}

ssize_t mt_read(int fd, void* buf, size_t nbyte, int timeout) {
  return mt_recv(fd, buf, static_cast<int>(std::min<size_t>(nbyte, INT32_MAX)), 0, timeout);
}

int mt_recvfrom(int fd, void* buf, int len, int flags, struct sockaddr* from, socklen_t* fromlen, int timeout) {
  return static_cast<int>(api::insist(fd, posix::kq::kRead, api::deadline_of(timeout), [&] {
    return ff_recvfrom(fd, buf, static_cast<size_t>(len), flags | MSG_DONTWAIT, reinterpret_cast<linux_sockaddr*>(from),
                       fromlen);
  }));
}

ssize_t mt_send(int fd, const void* buf, size_t nbyte, int flags, int timeout) {
  return api::send_all(fd, buf, nbyte, flags, api::deadline_of(timeout));
}

ssize_t mt_write(int fd, const void* buf, size_t nbyte, int timeout) { return mt_send(fd, buf, nbyte, 0, timeout); }

int mt_sendto(int fd, const void* msg, int len, int flags, const struct sockaddr* to, int tolen, int timeout) {
  return static_cast<int>(api::insist(fd, posix::kq::kWrite, api::deadline_of(timeout), [&] {
    return ff_sendto(fd, msg, static_cast<size_t>(len), flags | MSG_DONTWAIT,
                     reinterpret_cast<const linux_sockaddr*>(to), static_cast<socklen_t>(tolen));
  }));
}

int mt_wait_events(int fd, int events, int timeout) {
  const bool read = (events & EPOLLIN) != 0;
  if (!read && (events & EPOLLOUT) == 0) return api::result(-EINVAL);
  const long ready = scheduler().wait_for(fd, read ? posix::kq::kRead : posix::kq::kWrite, api::deadline_of(timeout));
  if (ready <= 0) return api::result(ready);
  return read ? EPOLLIN : EPOLLOUT;
}

int mt_udpsendrcv(struct sockaddr_in* dst, void* pkg, int len, void* rcv_buf, int& buf_size, int timeout) {
  const Instant until = api::deadline_of(timeout);
  const int fd = ff_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  const api::Closing closing{fd};
  if (api::connect_until(fd, reinterpret_cast<const sockaddr*>(dst), sizeof *dst, until) < 0) return -2;
  const auto bytes = static_cast<size_t>(len);
  if (api::insist(fd, posix::kq::kWrite, until, [&] { return ff_send(fd, pkg, bytes, 0); }) != len) return -2;
  const auto room = static_cast<size_t>(buf_size);
  const ssize_t got = api::insist(fd, posix::kq::kRead, until, [&] { return ff_recv(fd, rcv_buf, room, 0); });
  if (got < 0) return -3;
  buf_size = static_cast<int>(got);
  return 0;
}

int mt_tcpsendrcv(struct sockaddr_in* dst, void* pkg, int len, void* rcv_buf, int& buf_size, int timeout,
                  MtFuncTcpMsgLen chek_func) {
  const Instant until = api::deadline_of(timeout);
  const int fd = ff_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  const api::Closing closing{fd};
  if (api::connect_until(fd, reinterpret_cast<const sockaddr*>(dst), sizeof *dst, until) < 0) return -1;
  if (api::send_all(fd, pkg, static_cast<size_t>(len), 0, until) != len) return -2;
  int have = 0;
  for (;;) {
    const int wanted = have == 0 ? 0 : chek_func(rcv_buf, have);
    if (wanted < 0 || wanted > buf_size) return -3;
    if (wanted > 0 && have >= wanted) {
      buf_size = wanted;
      return 0;
    }
    const auto room = static_cast<size_t>(buf_size - have);
    if (room == 0) return -3;
    char* at = static_cast<char*>(rcv_buf) + have;
    const ssize_t got = api::insist(fd, posix::kq::kRead, until, [&] { return ff_recv(fd, at, room, 0); });
    if (got <= 0) return -3;
    have += static_cast<int>(got);
  }
}

int mt_exec_all_task(IMtTaskList& req_list) {
  std::vector<api::Task> tasks;
  size_t left = req_list.size();
  for (IMtTask* work : req_list) tasks.push_back({work, &scheduler().current(), &left});
  int started = 0;
  for (api::Task& task : tasks) {
    if (scheduler().start(api::run_task, &task) == nullptr) {
      task.work->SetResult(-1);
      started = -1;
      --left;
    }
  }
  while (left != 0) (void)scheduler().wait(kNever);
  return started;
}

}  // namespace NS_MICRO_THREAD
