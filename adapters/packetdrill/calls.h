// The meaning of the POSIX calls for TCP sockets over one Engine: what blocks, what is ready, which errno. Every
// function is called with the engine's lock held and may give it up while it waits.
//
// Files: sockets.cc (open, name, close), transfer.cc (read and write), options.cc, readiness.cc (poll, epoll),
// pipes.cc.
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <optional>
#include <span>

#include "address.h"
#include "descriptors.h"
#include "engine.h"
#include "outcome.h"

namespace millrace::packetdrill {

class Calls {
 public:
  Calls(const Flags& flags, Engine& engine);
  ~Calls() { engine_.on_event({}); }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  using Lock = Engine::Lock;

  // sockets.cc
  Outcome socket(int domain, int type, int protocol);
  Outcome bind(int fd, const sockaddr* address, socklen_t length);
  Outcome listen(int fd, int backlog);
  Outcome accept(Lock& lock, int fd, sockaddr* address, socklen_t* length);
  Outcome connect(Lock& lock, int fd, const sockaddr* address, socklen_t length);
  Outcome close(Lock& lock, int fd);
  Outcome shutdown(int fd, int how);
  Outcome fcntl(int fd, int command, long argument);
  Outcome ioctl(int fd, unsigned long request, int* argument);

  // transfer.cc
  Outcome receive(Lock& lock, int fd, std::span<const iovec> into, int flags);
  Outcome send(Lock& lock, int fd, std::span<const iovec> from, int flags, const sockaddr* to = nullptr,
               socklen_t length = 0);
  /// Received from, for recvfrom and recvmsg.
  void store_peer(int fd, sockaddr* address, socklen_t* length);
  /// The control message of recvmsg, if the socket asked for one.
  void store_queue(int fd, msghdr& message);

  // options.cc
  Outcome get_option(int fd, int level, int name, void* value, socklen_t* length);
  Outcome set_option(int fd, int level, int name, const void* value, socklen_t length);

  // readiness.cc
  Outcome poll(Lock& lock, std::span<pollfd> fds, int timeout_ms);
  Outcome epoll_create(int size);
  Outcome epoll_control(int set, int operation, int fd, const epoll_event* event);
  Outcome epoll_wait(Lock& lock, int set, std::span<epoll_event> events, int timeout_ms);

  // pipes.cc
  Outcome pipe(int ends[2]);
  Outcome splice(Lock& lock, int from, int to, size_t length, unsigned flags);

 private:
  [[nodiscard]] Descriptor* stream(int fd);
  [[nodiscard]] std::optional<stack::SocketInfo> info(const Descriptor& d);
  Descriptor* create(Descriptor::Kind kind);
  void give_up(Descriptor& d);
  Outcome finish_connect(Descriptor& d);
  Outcome disconnect(Descriptor& d);
  [[nodiscard]] Instant limit_after(int64_t timeout_us, bool first_thread_waits) const;
  /// Repeats `attempt` until it says something else than EAGAIN, unless the call may not block.
  Outcome until_ready(Lock& lock, const Descriptor& d, bool may_block, int64_t timeout_us,
                      const std::function<Outcome()>& attempt);
  int take_error(Descriptor& d);
  [[nodiscard]] uint32_t low_water(const Descriptor& d) const {
    const uint32_t own = d.options.unsent_low_water;
    return own != 0 ? own : static_cast<uint32_t>(flags_.tcp.notsent_lowat);
  }

  Outcome send_with_syn(Lock& lock, Descriptor& d, const Endpoint& remote, std::span<const std::byte> data, int flags);
  Outcome receive_now(Descriptor& d, std::span<const iovec> into, int flags);
  Outcome send_now(Descriptor& d, std::span<const std::byte> data, int flags);
  Outcome apply_options(Descriptor& d);
  Outcome set_socket_option(Descriptor& d, int name, const void* value, socklen_t length);
  Outcome set_tcp_option(Descriptor& d, int name, const void* value, socklen_t length);
  Outcome tcp_info(Descriptor& d, void* value, socklen_t* length);

  void note(const Event& e);
  [[nodiscard]] uint32_t readiness(Descriptor& d);
  [[nodiscard]] uint32_t stream_readiness(Descriptor& d);
  size_t collect_ready(Descriptor& set, std::span<epoll_event> events);

  Flags flags_;
  Engine& engine_;
  Descriptors descriptors_;
};

}  // namespace millrace::packetdrill
