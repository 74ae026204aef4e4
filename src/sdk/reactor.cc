// Reactor: jobs, what they wait for, and when they go on.
//
// A waiting operation is in the slot of its socket or job, in the heap of deadlines if it has one, and, once it is done
// or is to be tried again, in one of two lists. Whatever resumes a job goes through run_job(), so that a job on the
// stack is known as active and is never destroyed under its own feet.
#include <algorithm>

#include "base/assert.h"
#include "millrace/task.h"

namespace millrace {
namespace {

// A spawned task: owns it, and tells the Reactor of its end.
struct Root {
  struct promise_type {
    Root get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

Root run(Task<> task, detail::JobState* job) {
  co_await task;
  job->ended = true;
}

}  // namespace

Reactor::Reactor(std::function<void(Reactor&)> main) : main_(std::move(main)) {}

Reactor::~Reactor() { cancel_all(); }

// --- the program's side of the worker

void Reactor::start(Net& net) {
  net_.emplace(net);
  main_(*this);
  settle();
}

void Reactor::stop(Net&) { cancel_all(); }

void Reactor::event(Net&, const Event& event) {
  const auto slot = static_cast<uint32_t>(event.user - 1);
  if (event.user == 0 || slot >= records_.size() || records_[slot].handle != event.handle) return;  // closed meanwhile
  records_[slot].mask |= event.mask & (kConnected | kError);
  if ((event.mask & (kReadable | kAcceptable | kPeerClosed | kError)) != 0) {
    try_again(slot, event.handle, &Record::reader);
  }
  if ((event.mask & (kWritable | kConnected | kError)) != 0) try_again(slot, event.handle, &Record::writer);
  settle();
}

void Reactor::tick(Net&) {
  while (Operation* op = list(Operation::Place::kRetry).first) put(*op, Operation::Place::kTrying);
  while (Operation* op = list(Operation::Place::kTrying).first) {
    if (op->attempt()) {
      finish(*op);
    } else {
      wait(*op);
    }
  }
  while (!heap_.empty() && heap_.front()->deadline_ <= now()) {
    Operation& op = *heap_.front();
    op.give_up(Error::kTimedOut);
    finish(op);
  }
  settle();
}

// --- sockets

uint32_t Reactor::take_record() {
  if (free_ == 0) {
    records_.emplace_back();
    return static_cast<uint32_t>(records_.size() - 1);
  }
  const uint32_t slot = free_ - 1;
  free_ = records_[slot].next_free;
  records_[slot] = {};
  return slot;
}

void Reactor::free_record(uint32_t slot) {
  records_[slot] = {};
  records_[slot].next_free = free_;
  free_ = slot + 1;
}

void Reactor::drop(uint32_t slot, bool abort) {
  Record& r = records_[slot];
  for (Operation* op : {r.reader, r.writer}) {
    if (op == nullptr) continue;
    op->give_up(Error::kBadHandle);
    put(*op, Operation::Place::kDone);
  }
  const Handle handle = r.handle;
  free_record(slot);
  if (!handle.valid()) return;
  abort ? net_->abort(handle) : net_->close(handle);
}

void Reactor::try_again(uint32_t slot, Handle handle, Operation* Record::*which) {
  Record& r = records_[slot];
  if (r.handle != handle || r.*which == nullptr) return;  // whom an earlier bit woke may have closed it
  Operation& op = *(r.*which);
  if (op.attempt()) finish(op);
}

Result<Listener> Reactor::listen(const Endpoint& local, const SocketOptions& options, uint32_t backlog) {
  const uint32_t slot = take_record();
  const auto handle = net_->listen(local, slot + 1, options, backlog);
  if (!handle) {
    free_record(slot);
    return fail(handle.error());
  }
  records_[slot].handle = *handle;
  return Listener(this, slot);
}

Result<Datagrams> Reactor::open_datagrams(const Endpoint& local, const DatagramOptions& options, DatagramKind kind) {
  const uint32_t slot = take_record();
  const auto handle = net_->open_datagram(local, slot + 1, options, kind);
  if (!handle) {
    free_record(slot);
    return fail(handle.error());
  }
  records_[slot].handle = *handle;
  return Datagrams(this, slot);
}

Handle Socket::handle() const { return reactor_ != nullptr ? reactor_->handle_of(slot_) : Handle{}; }

void Socket::close() {
  if (Reactor* r = std::exchange(reactor_, nullptr)) r->drop(slot_, false);
}

void Socket::abort() {
  if (Reactor* r = std::exchange(reactor_, nullptr)) r->drop(slot_, true);
}

// --- operations

bool Reactor::may_go_on() {
  if (budget_ == 0) return false;
  --budget_;
  return true;
}

bool Operation::begin() {
  if (reactor_ == nullptr) {
    give_up(Error::kBadHandle);
    return true;
  }
  if (reactor_->may_go_on()) return attempt();
  tired_ = true;
  return false;
}

void Operation::suspend(detail::Waker waker) {
  waker_ = waker;
  job_ = reactor_->current_;
  MR_ASSERT(job_ != nullptr);  // only what was spawned may wait
  tired_ ? retry() : reactor_->wait(*this);
}

void Operation::enter(Operation*& slot) {
  if (slot != nullptr) {
    give_up(Error::kInProgress);
    reactor_->put(*this, Place::kDone);
    return;
  }
  slot = this;
  slot_ = &slot;
}

void Operation::retry() { reactor_->put(*this, Place::kRetry); }

void Operation::set_deadline(Duration from_now) { deadline_ = reactor_->now() + from_now; }

Operation::~Operation() {
  if (reactor_ != nullptr) reactor_->forget(*this);
}

void Reactor::wait(Operation& op) {
  forget(op);
  op.enlist();
  if (op.place_ == Operation::Place::kNowhere && op.deadline_ != kNever) heap_insert(op);
}

// Out of everything that names it.
void Reactor::forget(Operation& op) {
  if (op.slot_ != nullptr) *std::exchange(op.slot_, nullptr) = nullptr;
  if (op.heap_at_ != 0) heap_remove(op);
  if (op.place_ == Operation::Place::kNowhere) return;
  List& from = list(op.place_);
  (op.before_ != nullptr ? op.before_->after_ : from.first) = op.after_;
  (op.after_ != nullptr ? op.after_->before_ : from.last) = op.before_;
  op.before_ = op.after_ = nullptr;
  op.place_ = Operation::Place::kNowhere;
}

// It has its result: whoever waits goes on, and the operation may be gone after this.
void Reactor::finish(Operation& op) {
  forget(op);
  run_job(*op.job_, op.waker_);
}

void Reactor::put(Operation& op, Operation::Place place) {
  forget(op);
  List& to = list(place);
  op.place_ = place;
  op.before_ = to.last;
  (to.last != nullptr ? to.last->after_ : to.first) = &op;
  to.last = &op;
}

// At the end of every call from the worker.
void Reactor::settle() {
  while (Operation* op = list(Operation::Place::kDone).first) finish(*op);
  budget_ = kBudget;
  const bool again = list(Operation::Place::kRetry).first != nullptr;
  net_->wake_at(again ? now() : heap_.empty() ? kNever : heap_.front()->deadline_);
}

// --- deadlines, a binary heap whose members know their places

void Reactor::heap_insert(Operation& op) {
  heap_.push_back(&op);
  op.heap_at_ = heap_.size();
  heap_sift(heap_.size() - 1);
}

void Reactor::heap_remove(Operation& op) {
  const size_t at = op.heap_at_ - 1;
  op.heap_at_ = 0;
  Operation* const last = heap_.back();
  heap_.pop_back();
  if (last == &op) return;
  heap_[at] = last;
  last->heap_at_ = at + 1;
  heap_sift(at);
}

void Reactor::heap_sift(size_t at) {
  const auto place = [this](size_t i, Operation* op) {
    heap_[i] = op;
    op->heap_at_ = i + 1;
  };
  Operation* const op = heap_[at];
  while (at > 0 && op->deadline_ < heap_[(at - 1) / 2]->deadline_) {
    place(at, heap_[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  for (size_t child = 2 * at + 1; child < heap_.size(); child = 2 * at + 1) {
    if (child + 1 < heap_.size() && heap_[child + 1]->deadline_ < heap_[child]->deadline_) ++child;
    if (op->deadline_ <= heap_[child]->deadline_) break;
    place(at, heap_[child]);
    at = child;
  }
  place(at, op);
}

// --- jobs

Job Reactor::spawn(Task<> task) {
  auto job = std::make_shared<detail::JobState>();
  const Root root = run(std::move(task), job.get());
  job->begin = {[](void* who) { std::coroutine_handle<>::from_address(who).resume(); }, root.handle.address()};
  job->destroy = [handle = root.handle] { handle.destroy(); };
  return adopt(std::move(job));
}

Job Reactor::adopt(std::shared_ptr<detail::JobState> state) {
  detail::JobState& job = *state;
  job.reactor = this;
  job.self = state;
  job.after = first_job_;
  if (first_job_ != nullptr) first_job_->before = &job;
  first_job_ = &job;
  ++jobs_;
  run_job(job, job.begin);
  return Job(std::move(state));
}

void Reactor::run_job(detail::JobState& job, detail::Waker waker) {
  detail::JobState* const before = std::exchange(current_, &job);
  job.active = true;
  waker.wake(waker.who);
  job.active = false;
  current_ = before;
  if (job.ended || job.cancel) end_job(job, job.ended);
}

void Reactor::end_job(detail::JobState& job, bool by_itself) {
  const std::shared_ptr<detail::JobState> keep = std::move(job.self);
  job.ended = true;
  job.cancelled = !by_itself;
  (job.before != nullptr ? job.before->after : first_job_) = job.after;
  if (job.after != nullptr) job.after->before = job.before;
  --jobs_;
  const std::function<void()> destroy = std::move(job.destroy);
  job.destroy = nullptr;
  job.active = true;  // what it holds may ask to cancel it
  destroy();
  if (job.joiner != nullptr && job.joiner->attempt()) put(*job.joiner, Operation::Place::kDone);
}

void Reactor::cancel_all() {
  while (first_job_ != nullptr) end_job(*first_job_, false);
}

bool Job::ended() const { return state_ == nullptr || state_->ended; }

void Job::cancel() {
  if (ended()) return;
  if (state_->active) {
    state_->cancel = true;
    return;
  }
  state_->reactor->end_job(*state_, false);
}

Join Job::join() { return {state_ != nullptr ? state_->reactor : nullptr, state_}; }

}  // namespace millrace
