// Awaited sockets: a Program that coroutines (millrace/task.h) and microthreads (millrace/micro.h) run on. Nothing here
// blocks a worker: an operation that cannot be done at once suspends whoever asked, and the worker's events, or time,
// resume it.
//
//   millrace::Task<> echo(millrace::Stream peer) {
//     std::array<std::byte, 4096> buffer;
//     for (;;) {
//       const auto n = co_await peer.read(buffer).within(millrace::seconds(60));
//       if (!n || *n == 0 || !co_await peer.write(std::span(buffer).first(*n))) co_return;
//     }
//   }
//
// Everything belongs to one worker and its thread. docs/COROUTINES.md is the guide; its examples are compiled by the
// tests.
#pragma once

#include <array>
#include <coroutine>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/program.h"

namespace millrace {

class Reactor;
template <class T>
class Task;

class Job;
namespace micro {
Job spawn(Reactor& reactor, std::function<void()> body, size_t stack_bytes);
}

namespace detail {
struct JobState;
/// How to go on with whoever waits.
struct Waker {
  void (*wake)(void* who) = nullptr;
  void* who = nullptr;
};
}  // namespace detail

/// Something that may have to be waited for. It lives with whoever waits, in a coroutine's frame or on a microthread's
/// stack; when it goes before it is done, it is cancelled and leaves no trace.
class Operation {
 public:
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation();

  /// Of awaiting; not for programs. True: the result is there.
  bool begin();
  void suspend(detail::Waker waker);

 protected:
  explicit Operation(Reactor* reactor) : reactor_(reactor) {}
  /// Tries to get it done. False: it has to wait, and enlist() says for what.
  virtual bool attempt() = 0;
  virtual void enlist() = 0;
  /// Its result is this error.
  virtual void give_up(Error error) = 0;
  /// Waits in `slot`, unless another does already.
  void enter(Operation*& slot);
  /// Tried again in the next turn.
  void retry();
  void set_deadline(Duration from_now);
  void set_deadline(Instant when) { deadline_ = when; }
  [[nodiscard]] Instant deadline() const { return deadline_; }

  Reactor* reactor_;

 private:
  friend class Reactor;
  /// The list that it is in: to be tried in the next turn, being tried, to be resumed.
  enum class Place : uint8_t { kNowhere, kRetry, kTrying, kDone };
  detail::Waker waker_;
  detail::JobState* job_ = nullptr;
  Instant deadline_ = kNever;
  size_t heap_at_ = 0;          // place in the Reactor's heap + 1
  Operation** slot_ = nullptr;  // what points here, a socket's or a job's
  Place place_ = Place::kNowhere;
  bool tired_ = false;  // begun when the turn's budget was spent
  Operation* before_ = nullptr;
  Operation* after_ = nullptr;
};

/// An operation whose result is a T, to be awaited once.
template <class T>
class Await : public Operation {
 public:
  struct Awaiter {
    Await& operation;
    bool await_ready() { return operation.begin(); }
    void await_suspend(std::coroutine_handle<> h) {
      operation.suspend({[](void* who) { std::coroutine_handle<>::from_address(who).resume(); }, h.address()});
    }
    T await_resume() { return operation.take(); }
  };
  Awaiter operator co_await() { return {*this}; }
  /// The result, once it is there.
  T take() { return std::move(*result_); }

 protected:
  using Operation::Operation;
  void give_up(Error error) override { result_.emplace(fail(error)); }
  std::optional<T> result_;
};

/// An operation that can be given a time: kTimedOut after it.
template <class Self, class T>
class Timed : public Await<T> {
 public:
  /// To be awaited in the same expression.
  Self& within(Duration longest) && {
    if (this->reactor_ != nullptr) this->set_deadline(longest);
    return static_cast<Self&>(*this);
  }

 protected:
  using Await<T>::Await;
};

/// A socket of a Reactor; moves only, and closes what it names when it goes. Operations on one that was closed end with
/// kBadHandle. One reader and one writer may wait at a time; a second gets kInProgress.
class Socket {
 public:
  Socket() = default;
  Socket(Socket&& other) noexcept : reactor_(std::exchange(other.reactor_, nullptr)), slot_(other.slot_) {}
  Socket& operator=(Socket&& other) noexcept {
    if (this != &other) {
      close();
      reactor_ = std::exchange(other.reactor_, nullptr);
      slot_ = other.slot_;
    }
    return *this;
  }
  ~Socket() { close(); }

  [[nodiscard]] explicit operator bool() const { return reactor_ != nullptr; }
  /// For Net's calls; invalid if there is no socket.
  [[nodiscard]] Handle handle() const;
  /// As Net::close().
  void close();
  /// As Net::abort().
  void abort();

 protected:
  friend class Reactor;
  Socket(Reactor* reactor, uint32_t slot) : reactor_(reactor), slot_(slot) {}
  Reactor* reactor_ = nullptr;
  uint32_t slot_ = 0;
};

class Read final : public Timed<Read, Result<size_t>> {
 public:
  Read(Reactor* reactor, uint32_t slot, std::span<std::byte> into)
      : Timed<Read, Result<size_t>>(reactor), slot_(slot), into_(into) {}

 private:
  bool attempt() override;
  void enlist() override;
  uint32_t slot_;
  std::span<std::byte> into_;
};

class Borrow final : public Timed<Borrow, Result<Borrowed>> {
 public:
  Borrow(Reactor* reactor, uint32_t slot) : Timed<Borrow, Result<Borrowed>>(reactor), slot_(slot) {}

 private:
  bool attempt() override;
  void enlist() override;
  uint32_t slot_;
};

class Write final : public Timed<Write, Result<void>> {
 public:
  Write(Reactor* reactor, uint32_t slot, std::span<const std::byte> data, bool more)
      : Timed<Write, Result<void>>(reactor), slot_(slot), data_(data), more_(more) {}

 private:
  bool attempt() override;
  void enlist() override;
  uint32_t slot_;
  std::span<const std::byte> data_;  // what is left
  bool more_;
};

/// A TCP connection.
class Stream : public Socket {
 public:
  Stream() = default;
  /// Bytes read, 1 or more; 0 at the end of the peer's data.
  [[nodiscard]] Read read(std::span<std::byte> into) { return {reactor_, slot_, into}; }
  /// The oldest piece of received data where it lies; give it back with Net::release().
  [[nodiscard]] Borrow borrow() { return {reactor_, slot_}; }
  /// Done when all of it was taken into the send buffer; after an error some may have been.
  [[nodiscard]] Write write(std::span<const std::byte> data, bool more = false) {
    return {reactor_, slot_, data, more};
  }
  [[nodiscard]] Write write(std::string_view text, bool more = false) {
    return write(std::as_bytes(std::span(text)), more);
  }
  /// Sends FIN after what is queued; reading goes on.
  Result<void> shutdown();

 private:
  friend class Reactor;
  friend class Accept;
  friend class Connect;
  using Socket::Socket;
};

class Accept final : public Timed<Accept, Result<Stream>> {
 public:
  Accept(Reactor* reactor, uint32_t slot) : Timed<Accept, Result<Stream>>(reactor), slot_(slot) {}

 private:
  bool attempt() override;
  void enlist() override;
  uint32_t slot_;
};

class Listener : public Socket {
 public:
  Listener() = default;
  [[nodiscard]] Accept accept() { return {reactor_, slot_}; }

 private:
  friend class Reactor;
  using Socket::Socket;
};

class Connect final : public Timed<Connect, Result<Stream>> {
 public:
  Connect(Reactor* reactor, const Endpoint& remote, const SocketOptions& options, const Endpoint& local)
      : Timed<Connect, Result<Stream>>(reactor), remote_(remote), options_(options), local_(local) {}

 private:
  bool attempt() override;
  void enlist() override;
  Endpoint remote_;
  SocketOptions options_;
  Endpoint local_;
  Stream stream_;
};

class ReceiveFrom final : public Timed<ReceiveFrom, Result<Message>> {
 public:
  ReceiveFrom(Reactor* reactor, uint32_t slot, std::span<std::byte> into)
      : Timed<ReceiveFrom, Result<Message>>(reactor), slot_(slot), into_(into) {}

 private:
  bool attempt() override;
  void enlist() override;
  uint32_t slot_;
  std::span<std::byte> into_;
};

class SendTo final : public Timed<SendTo, Result<void>> {
 public:
  SendTo(Reactor* reactor, uint32_t slot, std::span<const std::byte> data, const Endpoint& remote)
      : Timed<SendTo, Result<void>>(reactor), slot_(slot), data_(data), remote_(remote) {}

 private:
  bool attempt() override;
  void enlist() override;
  uint32_t slot_;
  std::span<const std::byte> data_;
  Endpoint remote_;
};

/// A UDP socket.
class Datagrams : public Socket {
 public:
  Datagrams() = default;
  /// One datagram, copied to `into`: Message::data is its part there.
  [[nodiscard]] ReceiveFrom receive_from(std::span<std::byte> into) { return {reactor_, slot_, into}; }
  [[nodiscard]] SendTo send_to(std::span<const std::byte> data, const Endpoint& remote) {
    return {reactor_, slot_, data, remote};
  }

 private:
  friend class Reactor;
  using Socket::Socket;
};

class Sleep final : public Await<Result<void>> {
 public:
  Sleep(Reactor* reactor, Instant when) : Await<Result<void>>(reactor) { set_deadline(when); }

 private:
  bool attempt() override;
  void enlist() override;
  bool asked_ = false;
};

class Join final : public Timed<Join, Result<bool>> {
 public:
  Join(Reactor* reactor, std::shared_ptr<detail::JobState> job);
  ~Join() override;

 private:
  bool attempt() override;
  void enlist() override;
  std::shared_ptr<detail::JobState> job_;
};

/// A task or microthread that runs by itself. Letting the Job go changes nothing for it.
class Job {
 public:
  Job() = default;
  [[nodiscard]] bool ended() const;
  /// Ends it where it waits: what it holds is destroyed, operations that it waits for are cancelled. One that is
  /// running just now (it, or something that it started, called this) ends as soon as it waits.
  void cancel();
  /// Whether it ended by itself (true) or was cancelled. One may wait for it at a time.
  [[nodiscard]] Join join();

 private:
  friend class Reactor;
  explicit Job(std::shared_ptr<detail::JobState> state) : state_(std::move(state)) {}
  std::shared_ptr<detail::JobState> state_;
};

/// A job that is cancelled when this goes: one that refers to what its starter holds.
class ScopedJob {
 public:
  explicit ScopedJob(Job job) : job_(std::move(job)) {}
  ScopedJob(ScopedJob&&) = default;
  ScopedJob& operator=(ScopedJob&& other) noexcept {
    job_.cancel();
    job_ = std::exchange(other.job_, {});
    return *this;
  }
  ~ScopedJob() { job_.cancel(); }
  [[nodiscard]] Join join() { return job_.join(); }

 private:
  Job job_;
};

/// The program itself. Not to be destroyed from within one of its jobs.
class Reactor final : public Program {
 public:
  /// `main` is called once, when interfaces and addresses are up; it starts jobs.
  explicit Reactor(std::function<void(Reactor&)> main);
  /// Cancels every job.
  ~Reactor() override;
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// The worker's other calls.
  [[nodiscard]] Net& net() { return *net_; }
  [[nodiscard]] Instant now() const { return net_->now(); }
  /// Ends the program after this turn; `status` becomes the process's exit status.
  void quit(int status = 0) { net_->stop(status); }

  /// Errors as Net::listen().
  Result<Listener> listen(const Endpoint& local, const SocketOptions& options = {}, uint32_t backlog = 1024);
  /// Errors as Net::connect(), or what became of the attempt.
  [[nodiscard]] Connect connect(const Endpoint& remote, const SocketOptions& options = {}, const Endpoint& local = {}) {
    return {this, remote, options, local};
  }
  /// Errors as Net::open_datagram().
  Result<Datagrams> open_datagrams(const Endpoint& local, const DatagramOptions& options = {},
                                   DatagramKind kind = DatagramKind::kUdp);
  [[nodiscard]] Sleep sleep(Duration d) { return {this, now() + d}; }
  [[nodiscard]] Sleep sleep_until(Instant when) { return {this, when}; }
  /// Lets everybody else have a turn.
  [[nodiscard]] Sleep yield() { return {this, now()}; }

  /// Runs `task` from now on until it first waits, and then whenever it can go on.
  Job spawn(Task<void> task);
  /// Jobs that have not ended.
  [[nodiscard]] size_t jobs() const { return jobs_; }

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;
  void stop(Net& net) override;

 private:
  friend class Operation;
  friend class Socket;
  friend class Stream;
  friend class Read;
  friend class Borrow;
  friend class Write;
  friend class Accept;
  friend class Connect;
  friend class ReceiveFrom;
  friend class SendTo;
  friend class Join;
  friend class Job;
  friend Job micro::spawn(Reactor& reactor, std::function<void()> body, size_t stack_bytes);

  struct Record {
    Handle handle;
    uint32_t next_free = 0;
    uint32_t mask = 0;  // kConnected and kError, once they were told
    Operation* reader = nullptr;
    Operation* writer = nullptr;
  };
  struct List {
    Operation* first = nullptr;
    Operation* last = nullptr;
  };

  // Sockets.
  uint32_t take_record();
  void free_record(uint32_t slot);
  void drop(uint32_t slot, bool abort);
  [[nodiscard]] Handle handle_of(uint32_t slot) const { return records_[slot].handle; }
  void try_again(uint32_t slot, Handle handle, Operation* Record::*which);
  // Operations.
  [[nodiscard]] bool may_go_on();
  void forget(Operation& op);
  void finish(Operation& op);
  void wait(Operation& op);
  void put(Operation& op, Operation::Place place);
  List& list(Operation::Place place) { return lists_[static_cast<size_t>(place)]; }
  void settle();
  void heap_insert(Operation& op);
  void heap_remove(Operation& op);
  void heap_sift(size_t at);
  // Jobs.
  Job adopt(std::shared_ptr<detail::JobState> state);
  void run_job(detail::JobState& job, detail::Waker waker);
  void end_job(detail::JobState& job, bool by_itself);
  void cancel_all();

  static constexpr uint32_t kBudget = 256;  // operations done at once in one turn, before others come first
  std::function<void(Reactor&)> main_;
  std::optional<Net> net_;
  std::deque<Record> records_;  // stay where they are
  uint32_t free_ = 0;           // first free record + 1
  std::array<List, 4> lists_;   // by Operation::Place
  std::vector<Operation*> heap_;
  uint32_t budget_ = kBudget;
  detail::JobState* current_ = nullptr;
  detail::JobState* first_job_ = nullptr;
  size_t jobs_ = 0;
};

namespace detail {

/// One spawned task or microthread.
struct JobState {
  Reactor* reactor = nullptr;
  bool active = false;  // on the stack
  bool cancel = false;  // as soon as it waits
  bool ended = false;
  bool cancelled = false;
  Operation* joiner = nullptr;
  Waker begin;                     // first run
  std::function<void()> destroy;   // frees what it consists of, suspended
  std::shared_ptr<JobState> self;  // while it lives
  JobState* before = nullptr;
  JobState* after = nullptr;
};

}  // namespace detail

}  // namespace millrace
