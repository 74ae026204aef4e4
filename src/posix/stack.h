// Stack: the meaning of POSIX sockets for one process, above one Transport. Functions are named after the calls they
// stand for and return what the kernel would: a value, or a negative errno number. Every number given to them but
// socket()'s and the sets' own must be ours(). Any thread may call; one lock serves all. fork and signals:
// docs/ARCHITECTURE.md, "Unmodified programs".
#pragma once

#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "posix/control.h"
#include "posix/convert.h"
#include "posix/datagram.h"
#include "posix/descriptors.h"
#include "posix/epoll.h"
#include "posix/kernel.h"
#include "posix/kqueue.h"
#include "posix/own_numbers.h"
#include "posix/stream.h"
#include "posix/thread.h"
#include "posix/transport.h"
#include "posix/zero_copy.h"

namespace millrace::posix {

/// What a receive says besides the data. `address` and `length` may be null.
struct Received {
  sockaddr* address = nullptr;
  socklen_t* length = nullptr;
  int flags = 0;                     ///< MSG_TRUNC, MSG_CTRUNC, MSG_ERRQUEUE
  ControlWriter* control = nullptr;  ///< null: without room for control messages
};

struct StackOptions {
  bool loopback = false;  ///< 127.0.0.0/8 and ::1 are the stack's too; else sockets that name them are the kernel's
  bool own_numbers = false;  ///< for programs written for this stack: no kernel descriptor stands behind a number, the
                             ///< kernel's are none of ours, and nothing is passed to the kernel. Needs `loopback`
  int first_number = 3;      ///< the lowest of those
};

class Hold;

class Stack final : private Sink {
 public:
  /// Called once, with the lock held, when the first socket is made; null if the stack cannot be had, and then sockets
  /// are good for addresses of the kernel's only, and others fail with ENETDOWN.
  using Bring = std::function<std::unique_ptr<Transport>()>;
  explicit Stack(Bring bring, const StackOptions& options = {});
  ~Stack() override;

  /// Whether the number names something of ours. Free of locks.
  [[nodiscard]] bool ours(int fd) const { return descriptors_.find(fd) != nullptr; }
  /// Whether a socket of this kind is ours to make.
  [[nodiscard]] static bool wanted(int domain, int type, int protocol);

  // open.cc
  /// Brings the transport up before the first socket is made: false if that failed.
  bool start();
  long socket(int domain, int type, int protocol);
  long bind(int fd, const sockaddr* address, socklen_t length);
  long listen(int fd, int backlog);
  long accept4(int fd, sockaddr* address, socklen_t* length, int flags);
  long connect(int fd, const sockaddr* address, socklen_t length);
  long shutdown(int fd, int how);
  long getsockname(int fd, sockaddr* address, socklen_t* length);
  long getpeername(int fd, sockaddr* address, socklen_t* length);

  // io.cc
  /// A stream ignores `to`, as on Linux.
  /// `control` may be null; only its control messages are looked at.
  long send(int fd, std::span<const iovec> data, int flags, const sockaddr* to = nullptr, socklen_t length = 0,
            const msghdr* control = nullptr);
  /// A stream names nobody: it sets the length to 0.
  long receive(int fd, std::span<const iovec> into, int flags, Received* details = nullptr);
  long sendmsg(int fd, const msghdr* message, int flags);
  long recvmsg(int fd, msghdr* message, int flags);
  /// `timeout` may be null; what is left of it is written back.
  long recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout);
  /// From a descriptor of the kernel's to one of ours.
  long sendfile(int out, int in, off_t* offset, size_t count);

  // splice.cc
  /// Between a pipe of the kernel's and a stream of ours.
  long splice(int in, const off_t* at, int out, const off_t* to, size_t count, unsigned flags);

  // options.cc
  long setsockopt(int fd, int level, int name, const void* value, socklen_t length);
  long getsockopt(int fd, int level, int name, void* value, socklen_t* length);

  // numbers.cc: what acts on descriptors.
  long close(int fd);
  /// `fresh` was made from `fd` by the kernel (dup, F_DUPFD); it may have replaced something of ours.
  void duplicated(int fd, int fresh);
  /// `fd` was replaced or closed by the kernel.
  void forget(int fd);
  /// With numbers of our own.
  long dup(int fd);
  long dup2(int fd, int fresh);
  long fcntl(int fd, int command, long value);
  long ioctl(int fd, unsigned long request, void* value);
  /// Brings the stack up; empty if that failed, or the caller is a handler that interrupted it.
  [[nodiscard]] std::vector<InterfaceRow> interfaces();
  /// Numbers of ours in [first, last] are about to be closed (close_range).
  void close_range(unsigned first, unsigned last);

  // poll.cc
  [[nodiscard]] bool any_ours(std::span<const pollfd> fds) const;
  [[nodiscard]] bool any_ours(int count, const fd_set* read, const fd_set* write, const fd_set* except) const;
  /// `timeout` null: for ever.
  long poll(std::span<pollfd> fds, const timespec* timeout, const sigset_t* mask);
  long select(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout, const sigset_t* mask);

  // epoll.cc
  /// A set that the kernel has just made becomes ours too.
  void epoll_made(int set);
  /// With numbers of our own.
  long epoll_create();
  long epoll_ctl(int set, int op, int fd, epoll_event* event);
  long epoll_wait(int set, epoll_event* events, int count, const timespec* timeout, const sigset_t* mask);

  // kqueue.cc, with numbers of our own only.
  long kqueue();
  /// As kevent(2) of FreeBSD. `changes` and `events` may be the same memory.
  long kevent(int kq, std::span<const KEvent> changes, std::span<KEvent> events, const timespec* timeout);

  // zero_copy.cc, with a worker in this process only.
  /// Buffers of `bytes` in all, to be filled and sent, or given back.
  long lend(size_t bytes, Chain& chain);
  /// Sends the first `bytes` of lent buffers; what is left of the chain is given back, however it went.
  long send_chain(int fd, Chain& chain, size_t bytes);
  /// Borrows what was received, `most` bytes at most; copied where that cuts it. Give it back.
  long receive_chain(int fd, Chain& chain, size_t most);
  void give_back(Chain& chain);
  /// Any other request of an operator.
  Result<Reply> ask(const Request& request);

  // drive.cc: for a program whose own loop turns the worker, in one thread.
  /// Takes in what has come, calls `body(arg)` without the lock, and sends. Calls from `body` neither turn the worker
  /// nor send at once, and those that wait for several descriptors do not wait. False: there was nothing to do.
  bool drive(int (*body)(void*), void* arg);
  /// Sleeps until something comes, `longest` at most.
  void rest(Duration longest);

  // handover.cc: sockets that go to other programs and come from them.
  /// This process, or a child of vfork or posix_spawn, is about to become another program, which gets the descriptors
  /// that are not close-on-exec, and those in `also`. For withdraw(), if that fails.
  std::vector<Token> before_exec(std::span<const int> also = {});
  void withdraw(std::span<const Token> given);
  /// Before a message with control messages goes through a socket of the kernel's: 0 or a negative errno number.
  /// `given`, empty, is for withdraw(), if it does not go.
  long before_pass(const msghdr& message, std::vector<Token>& given);
  /// A socket of the kernel's received it: descriptors in it may be ours from now on.
  void passed(const msghdr& message);
  /// Whether a descriptor that came from another program has become ours.
  bool collect(int fd);

  // process.cc
  void before_fork();
  void after_fork(bool child);
  /// At exit: closes every socket and lets what they hold leave.
  void end();
  /// The helper's work: one look, and a sleep while nothing is to be done. False: it should end.
  bool help();
  /// The thread is about to leave, by longjmp(), for the function whose frame is `frame`: its calls below that are
  /// over.
  void abandon(const void* frame);

  /// For tests: descriptors and claims that are left.
  [[nodiscard]] size_t sockets() const { return live_sockets_; }

 private:
  friend class Lock;
  friend class Away;
  friend class Hold;
  friend class Epoll;
  friend class Kqueue;

  /// A call that waits. Those of one thread, interrupted by handlers that make calls of their own, are a list.
  struct Sleeper {
    Sleeper() = default;
    [[gnu::noinline]] Sleeper(Stack& stack, std::function<bool()>& ready_, std::span<Hold> holds_);
    ~Sleeper() {
      if (stack_ != nullptr) stack_->leave(*this);
    }
    Sleeper(const Sleeper&) = delete;
    Sleeper& operator=(const Sleeper&) = delete;

    Stack* stack_ = nullptr;
    std::function<bool()>* ready = nullptr;
    std::span<Hold> holds;
    Sleeper* outer = nullptr;
    const void* frame = nullptr;  ///< where on the stack; the sanitizer keeps locals elsewhere
    int doorbell = -1;
    bool rung = false;
    bool asleep = false;  // in sleepers_
    bool leads = false;   // between begin_sleep() and end_sleep()
  };
  enum class Woke : uint8_t { kReady, kTimeout, kSignal };

  // stack.cc
  bool bring_up();
  void event(const Event& event) override;
  void turn();
  void flush();
  /// Waits, the lock released while asleep, until `ready()`, `until`, a signal, or `kernel` has something.
  /// `holds` are the caller's, to be let go if it never comes back.
  Woke wait(std::function<bool()> ready, Instant until, std::span<Hold> holds, std::span<pollfd> kernel = {},
            const sigset_t* mask = nullptr);
  Woke sleep(Sleeper& self, Instant until, std::span<pollfd> kernel, const sigset_t* mask);
  void rise(Sleeper& self, std::span<const pollfd> waits);
  void leave(Sleeper& self);
  [[nodiscard]] bool may_lead(const Sleeper& self) const;
  void hurry_leader();
  void ring_ready();
  void ring(Sleeper& sleeper);
  void hand_on_lead();
  int take_doorbell();
  [[nodiscard]] Instant clock() { return transport_ != nullptr ? transport_->now() : monotonic_now(); }
  void become_child();
  /// In a child that shares this memory: it may act for its parent, which waits.
  [[nodiscard]] bool in_vfork() const;
  void mark_memory();
  static constexpr size_t kMarkBytes = 4'096;
  void fence_off();
  [[nodiscard]] Instant deadline(const timespec* timeout);
  /// Something became ready: the sets that watch it list it.
  void notify(File& file, uint32_t mask);
  /// What timers of kqueues are due: their sets list them.
  void run_timers();
  [[nodiscard]] Instant next_timer() const { return timers_.empty() ? kNever : timers_.begin()->first; }
  long change(Kqueue& set, const KEvent& wanted);
  long add_note(Kqueue& set, const KEvent& wanted, File* file);
  void look_at(Note& note);
  long start_timer(Note& note);
  /// A number is closed: a kqueue forgets it, even if others name the same file.
  static void forget_notes(File& file, int fd);
  /// After a call that a signal ended: whether Linux would restart it.
  static bool restarts();

  /// A number for a new socket, of the kernel's or our own; or a negative errno number.
  int new_number(int domain, int type, int protocol);
  /// Gives a number back that names nothing of ours any more.
  long end_number(int fd);
  /// What a call says to a number that is no socket.
  [[nodiscard]] long no_socket(int fd) const { return descriptors_.find(fd) == nullptr ? -EBADF : -ENOTSOCK; }
  long own_fcntl(int fd, int command, long value);
  long own_ioctl(int fd, unsigned long request, void* value);
  /// As turn(), unless the program's loop does it.
  void look_around() {
    if (!driven_) turn();
  }
  Stream* stream_of(int fd);
  Datagram* datagram_of(int fd);
  Socket* socket_of(int fd);
  void drop(File& file);
  /// `fd`, of `file`, is the kernel's from now on.
  void unname(int fd, File& file);
  void destroy(Socket& socket);
  uint64_t new_slot(Socket& socket);
  /// The socket is the kernel's from now on: its shadow takes over.
  void give_to_kernel(Socket& socket);
  [[nodiscard]] bool is_kernels(const IpAddr& address) const { return !options_.loopback && address.is_loopback(); }
  long splice_from(int socket, int pipe, size_t count, unsigned flags);
  long splice_to(int pipe, int socket, size_t count, unsigned flags);
  long start_connect(Stream& stream, const Endpoint& remote);
  long finish_connect(Stream& stream);
  long take_error(Stream& stream);
  long send_pieces(Stream& stream, Chain& chain, size_t bytes, size_t& piece, size_t& sent);
  void drop_pieces(Chain& chain);
  // urgent.cc
  /// What a read may take before the mark of urgent data. The urgent byte is passed by if it is the next.
  size_t up_to_mark(Stream& stream, bool peek);
  long receive_urgent(Stream& stream, std::span<const iovec> into, int flags, Received* details);
  long receive_some(Stream& stream, std::span<const iovec> into, bool peek, bool discard, size_t skip);
  long send_some(Stream& stream, std::span<const iovec> data, int flags, size_t skip);
  long broken_pipe(int flags) const;
  void apply_options(Stream& stream);
  long set_controller(Stream& stream, const void* value, socklen_t length);
  void linger_before_close(Stream& stream);
  [[nodiscard]] Woke wait_socket(Hold& hold, std::function<bool()> ready, Instant until);

  // handover.cc
  long deposit(int fd, Socket& socket, Transport::Way way);
  void set_token(Socket& socket, const Token& token);
  void duplicated_in_vfork(int fd);
  [[nodiscard]] bool may_lock_in_vfork();
  /// What the shadow was not told yet, of a listener's options.
  void settle_options(int fd, Stream& stream);

  // datagram.cc
  long connect_datagram(Datagram& socket, const sockaddr* address, socklen_t length);
  long send_datagram(Datagram& socket, Hold& hold, std::span<const iovec> data, int flags, const sockaddr* to,
                     socklen_t length, const msghdr* control);
  long address_message(Datagram& socket, Message& m, const sockaddr* to, socklen_t length, const msghdr* control);
  long receive_datagram(Datagram& socket, Hold& hold, std::span<const iovec> into, int flags, Received* details);
  // groups.cc
  std::optional<long> set_group(Datagram& socket, int level, int name, const void* value, socklen_t length);
  long change_group(Datagram& socket, const req::JoinGroup& wanted, bool join);
  std::optional<long> set_group_interface(Datagram& socket, int level, int name, const void* value, socklen_t length);
  std::optional<int> group_option(const Datagram& socket, int level, int name) const;
  long receive_error(Datagram& socket, Received* details);
  long take_datagram_error(Datagram& socket);
  long pending_error(Datagram& socket);

  Bring bring_;
  StackOptions options_;
  std::mutex mutex_;
  Descriptors descriptors_;
  std::unique_ptr<OwnNumbers> numbers_;  // null: numbers are the kernel's
  static constinit thread_local bool driven_ __attribute__((tls_model("initial-exec")));  // in the body of drive()
  bool told_ = false;                    // and a set told it something
  std::set<std::pair<Instant, Note*>> timers_;
  std::unique_ptr<Transport> transport_;
  bool tried_ = false;  // to bring the transport up
  bool ended_ = false;
  bool fork_in_handler_ = false;
  int owner_ = 0;               // process
  std::atomic<int>* owner_mark_ = nullptr;  // the same, in memory that a fork empties
  std::vector<Socket*> slots_;  // by user value of events; 0 is none
  std::vector<uint64_t> free_slots_;
  size_t live_sockets_ = 0;
  std::map<Token, Socket*> tokens_;  // sockets that have one
  uint64_t turns_ = 0;
  bool news_ = false;  // something became ready since sleepers were last looked at
  Sleeper* leader_ = nullptr;
  Instant leader_until_{};  // when it wakes by itself; only while it sleeps, else 0
  std::vector<Sleeper*> sleepers_;
  std::vector<int> doorbells_;  // not in use
  size_t doorbells_made_ = 0;
  std::vector<pollfd> lead_waits_;  // the transport's, before a sleep
  static constinit thread_local Sleeper* innermost_ __attribute__((tls_model("initial-exec")));
  // The helper's.
  Sleeper helper_{};
  uint64_t helper_saw_ = 0;
  int helper_quiet_ = 0;
  std::atomic<uint32_t> helper_asleep_{0};  // a futex: 1 while it waits to be called
};

/// A call that is in a File, which lives at least as long.
class Hold {
 public:
  Hold(Stack& stack, File& file) : stack_(&stack), file_(&file) { ++file.users; }
  Hold(Hold&& other) noexcept : stack_(other.stack_), file_(std::exchange(other.file_, nullptr)) {}
  Hold& operator=(Hold&&) = delete;
  ~Hold() { release(); }
  void release() {
    File* file = std::exchange(file_, nullptr);
    if (file == nullptr) return;
    --file->users;
    if (file->users == 0 && file->numbers == 0) stack_->drop(*file);
  }

 private:
  Stack* stack_;
  File* file_;
};

/// Holds the lock of a Stack and marks the thread. `busy`: a signal handler interrupted this very thread in there,
/// one that the preloaded library does not know of.
class Lock {
 public:
  explicit Lock(Stack& stack);
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  [[nodiscard]] bool busy() const { return busy_; }

 private:
  Stack& stack_;
  bool busy_;
  int errno_;  // our own calls to libc change it; a call that succeeds must not
};

/// Within a Lock: the time of a sleep, without the lock and open to handlers.
class Away {
 public:
  /// `held`: signals stay blocked, and the sleep itself lets them in.
  explicit Away(Stack& stack, bool held = false);
  ~Away();
  Away(const Away&) = delete;
  Away& operator=(const Away&) = delete;

 private:
  Stack& stack_;
  bool held_;
  sigset_t mask_;
};

}  // namespace millrace::posix
