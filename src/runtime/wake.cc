#include "runtime/wake.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>

namespace millrace::runtime {

std::atomic<int> Signals::stops_{0};
std::atomic<bool> Signals::dump_{false};
std::atomic<const Waker*> Signals::waker_{nullptr};

Outcome<Waker> Waker::make() {
  Descriptor fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd) return failure(fmt::format("cannot make an eventfd: {}", std::strerror(errno)));
  return Waker(std::move(fd));
}

void Waker::wake() const noexcept {
  const uint64_t one = 1;
  // A full counter has woken the loop already.
  [[maybe_unused]] const ssize_t n = write(fd_.get(), &one, sizeof one);
}

void Waker::drain() const noexcept {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = read(fd_.get(), &count, sizeof count);
}

Signals::Signals(const Waker& waker, bool dump_on_usr1) {
  stops_ = 0;
  dump_ = false;
  waker_ = &waker;
  struct sigaction action {};
  action.sa_handler = &Signals::handle;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  if (dump_on_usr1) sigaction(SIGUSR1, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

Signals::~Signals() {
  for (const int number : {SIGINT, SIGTERM, SIGUSR1, SIGPIPE}) signal(number, SIG_DFL);
  waker_ = nullptr;
}

void Signals::handle(int signal) noexcept {
  const int saved = errno;
  if (signal == SIGUSR1) {
    dump_.store(true, std::memory_order_relaxed);
  } else {
    stops_.fetch_add(1, std::memory_order_relaxed);
  }
  if (const Waker* waker = waker_.load()) waker->wake();
  errno = saved;
}

}  // namespace millrace::runtime
