// Microthreads on Boost.Context: a fiber each, on a stack of the thread's pool.
#include "millrace/micro.h"

#include <boost/context/fiber.hpp>

#include "base/assert.h"
#include "sdk/stack_pool.h"

#if defined(__SANITIZE_ADDRESS__)
#define MILLRACE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MILLRACE_ASAN 1
#endif
#endif
#ifdef MILLRACE_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace millrace::micro {
namespace {

namespace context = boost::context;

sdk::StackPool& pool() {
  thread_local sdk::StackPool stacks;
  return stacks;
}

// What Boost wants of an allocator; the stack is the microthread's.
struct Given {
  sdk::Stack stack;
  context::stack_context allocate() const {
    context::stack_context c;
    c.size = stack.size;
    c.sp = stack.low + stack.size;
    return c;
  }
  void deallocate(context::stack_context&) const {}
};

// The sanitizer is told of every change of stack.
struct Switch {
#ifdef MILLRACE_ASAN
  void* fake = nullptr;
  void leave(const void* bottom, size_t size) { __sanitizer_start_switch_fiber(&fake, bottom, size); }
  void leave_for_good(const void* bottom, size_t size) { __sanitizer_start_switch_fiber(nullptr, bottom, size); }
  void back(const void** bottom, size_t* size) { __sanitizer_finish_switch_fiber(fake, bottom, size); }
#else
  void leave(const void*, size_t) {}
  void leave_for_good(const void*, size_t) {}
  void back(const void**, size_t*) {}
#endif
};

class Thread {
 public:
  Thread(std::function<void()> body, size_t stack_bytes, millrace::detail::JobState* job)
      : stack_(pool().take(stack_bytes)), job_(job), body_(std::move(body)) {}
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  // A suspended fiber unwinds its stack.
  ~Thread() {
    if (fiber_) {
      Thread* const before = std::exchange(current, this);
      caller_switch_.leave(stack_.low, stack_.size);
      { const context::fiber last = std::move(fiber_); }
      caller_switch_.back(nullptr, nullptr);
      current = before;
    }
    pool().give(stack_);
  }

  // From outside: until it waits or ends.
  void enter() {
    if (!begun_) {
      begun_ = true;
      fiber_ = context::fiber(std::allocator_arg, Given{stack_}, [this](context::fiber&& caller) {
        own_switch_.back(&caller_bottom_, &caller_size_);
        caller_ = std::move(caller);
        try {
          body_();
        } catch (...) {  // the unwinding, or the end of the process
          own_switch_.leave_for_good(caller_bottom_, caller_size_);
          throw;
        }
        job_->ended = true;
        own_switch_.leave_for_good(caller_bottom_, caller_size_);
        return std::move(caller_);
      });
    }
    Thread* const before = std::exchange(current, this);
    caller_switch_.leave(stack_.low, stack_.size);
    fiber_ = std::move(fiber_).resume();
    caller_switch_.back(nullptr, nullptr);
    current = before;
  }
  // From inside.
  void wait() {
    sdk::StackPool::check(stack_);
    own_switch_.leave(caller_bottom_, caller_size_);
    try {
      caller_ = std::move(caller_).resume();
    } catch (...) {  // the unwinding
      own_switch_.back(&caller_bottom_, &caller_size_);
      throw;
    }
    own_switch_.back(&caller_bottom_, &caller_size_);
  }

  static thread_local Thread* current;

 private:
  sdk::Stack stack_;
  millrace::detail::JobState* job_;
  std::function<void()> body_;
  context::fiber fiber_;   // itself, suspended
  context::fiber caller_;  // whoever entered it
  Switch own_switch_;
  Switch caller_switch_;
  const void* caller_bottom_ = nullptr;
  size_t caller_size_ = 0;
  bool begun_ = false;
};
thread_local Thread* Thread::current = nullptr;

void enter(void* who) { static_cast<Thread*>(who)->enter(); }

}  // namespace

bool inside() { return Thread::current != nullptr; }

void detail::suspend(Operation& op) {
  Thread* const self = Thread::current;
  MR_ASSERT(self != nullptr);  // wait() outside a microthread
  op.suspend({enter, self});
  self->wait();
}

Job spawn(Reactor& reactor, std::function<void()> body, size_t stack_bytes) {
  auto job = std::make_shared<millrace::detail::JobState>();
  const auto thread = std::make_shared<Thread>(std::move(body), stack_bytes, job.get());
  job->begin = {enter, thread.get()};
  job->destroy = [held = thread]() mutable { held.reset(); };
  return reactor.adopt(std::move(job));
}

}  // namespace millrace::micro
