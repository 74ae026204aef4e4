// Task<T>: a coroutine that somebody awaits. It starts when it is awaited (or spawned, Reactor::spawn), on the thread
// of its worker, and its frame is destroyed with the Task: a Task that goes while it waits is cancelled.
//
// Exceptions that leave a coroutine reach whoever awaits it; one that leaves a spawned task ends the process.
#pragma once

#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "millrace/async.h"

namespace millrace {

namespace detail {

struct TaskPromiseBase {
  std::coroutine_handle<> continuation;

  struct Final {
    bool await_ready() noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
      return h.promise().continuation ? h.promise().continuation : std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };
  std::suspend_always initial_suspend() noexcept { return {}; }
  Final final_suspend() noexcept { return {}; }
};

template <class T>
struct TaskPromise : TaskPromiseBase {
  std::variant<std::monostate, T, std::exception_ptr> result;
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& value) {
    result.template emplace<1>(std::forward<U>(value));
  }
  void unhandled_exception() { result.template emplace<2>(std::current_exception()); }
  T take() {
    if (result.index() == 2) std::rethrow_exception(std::get<2>(result));
    return std::move(std::get<1>(result));
  }
};

template <>
struct TaskPromise<void> : TaskPromiseBase {
  std::exception_ptr error;
  Task<void> get_return_object();
  void return_void() {}
  void unhandled_exception() { error = std::current_exception(); }
  void take() {
    if (error) std::rethrow_exception(error);
  }
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  explicit Task(std::coroutine_handle<promise_type> h) : handle_(h) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  struct Awaiter {
    std::coroutine_handle<promise_type> handle;
    bool await_ready() { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> by) {
      handle.promise().continuation = by;
      return handle;
    }
    T await_resume() { return handle.promise().take(); }
  };
  Awaiter operator co_await() { return {handle_}; }

 private:
  std::coroutine_handle<promise_type> handle_;
};

namespace detail {

template <class T>
Task<T> TaskPromise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

template <class T>
Task<> store(Task<T> task, std::shared_ptr<std::optional<T>> into) {
  into->emplace(co_await task);
}

}  // namespace detail

/// What `task` returns, or kTimedOut if it takes longer: it is cancelled then.
template <class T>
Task<Result<T>> within(Reactor& reactor, Duration longest, Task<Result<T>> task) {
  const auto out = std::make_shared<std::optional<Result<T>>>();
  ScopedJob job(reactor.spawn(detail::store(std::move(task), out)));
  const Result<bool> ended = co_await job.join().within(longest);
  if (!ended) co_return fail(ended.error());
  co_return std::move(**out);
}

}  // namespace millrace
