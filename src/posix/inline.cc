#include "posix/inline.h"

#include <pthread.h>
#include <signal.h>
#include <sys/random.h>

#include <thread>

#include "posix/stack.h"
#include "stack/impl.h"

namespace millrace::posix {
namespace {

constexpr Duration kDrain = milliseconds(500);

uint64_t random_word() {
  uint64_t word = 0;
  if (getrandom(&word, sizeof word, 0) != sizeof word) word = runtime::Clock::cycles();
  return word;
}

// Takes no part: for the turns after the program's end.
class Nobody final : public Sink {
 public:
  void event(const Event&) override {}
};

}  // namespace

Inline::Inline(std::unique_ptr<runtime::Host> host) : host_(std::move(host)), ports_(random_word()) {
  ports_.ask_for_remains([this](const Endpoint& local) { return host_->worker().impl().tcp.has_local(local); });
}

runtime::Outcome<std::unique_ptr<Inline>> Inline::open(const conf::Config& config,
                                                       const runtime::DriverRegistry& drivers) {
  runtime::HostOptions options;
  options.quiet = true;
  auto host = runtime::Host::open(config, drivers, options);
  if (!host) return tl::unexpected<runtime::Failure>(host.error());
  (*host)->loop().begin();
  return std::unique_ptr<Inline>(new Inline(std::move(*host)));
}

Result<Reply> Inline::request(const Request& request) {
  host_->loop().refresh();
  return host_->loop().request(request);
}

void Inline::turn(Sink& sink) {
  teller_.sink = &sink;
  host_->loop().turn(teller_);
}

bool Inline::is_local(const IpAddr& address) { return host_->worker().impl().ip.is_local(address); }

std::vector<InterfaceRow> Inline::interfaces() { return interface_rows(host_->worker().impl().ip); }

void Inline::drain() {
  Nobody nobody;
  const Instant end = now() + kDrain;
  do {
    turn(nobody);
    if (!host_->loop().has_unsent(false)) break;
    std::vector<pollfd> waits;
    Instant until = end;
    if (begin_sleep(waits, until)) {
      const Duration left = until - now();
      const timespec timeout{0, left.ns() > 0 ? std::min<int64_t>(left.ns(), 999'999'999) : 0};
      kernel::ppoll(waits.data(), waits.size(), &timeout, nullptr);
    }
    end_sleep(waits);
  } while (now() < end);
  turn(nobody);
}

void start_helper(Stack& stack) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([&stack] {
    while (stack.help()) {
    }
  }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace millrace::posix
