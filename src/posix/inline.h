// The transport whose worker lives in this process: a Host with one worker, turned by whoever calls, and a helper
// thread that turns it while nobody does.
#pragma once

#include <memory>
#include <vector>

#include "conf/config.h"
#include "posix/ports.h"
#include "posix/transport.h"
#include "runtime/device.h"
#include "runtime/failure.h"
#include "runtime/host.h"

namespace millrace::posix {

class Stack;

class Inline final : public Transport {
 public:
  /// `config` is complete and checked; `drivers` outlive it.
  static runtime::Outcome<std::unique_ptr<Inline>> open(const conf::Config& config,
                                                        const runtime::DriverRegistry& drivers);

  Result<Reply> request(const Request& request) override;
  void turn(Sink& sink) override;
  bool take_in(Sink& sink) override {
    teller_.sink = &sink;
    return host_->loop().take_in(teller_);
  }
  bool give_out() override { return host_->loop().give_out(); }
  [[nodiscard]] bool has_events() override { return !host_->worker().events().empty(); }
  bool flush() override {
    host_->loop().flush();
    return has_events();
  }
  [[nodiscard]] Instant now() override { return host_->loop().clock(); }
  bool begin_sleep(std::vector<pollfd>& waits, Instant& until) override {
    return host_->loop().begin_wait(waits, until);
  }
  void end_sleep(std::span<const pollfd> waits) override { host_->loop().end_wait(waits); }
  [[nodiscard]] Instant next_deadline() override { return host_->worker().next_deadline().value_or(kNever); }
  Result<Reserved> reserve(const Claim& claim) override { return ports_.reserve(claim); }
  Result<void> reserve_listen(uint64_t id) override { return ports_.listen(id); }
  void unlisten(uint64_t id) override { ports_.unlisten(id); }
  void hold(uint64_t id) override { ports_.hold(id); }
  void release(uint64_t id) override { ports_.release(id); }
  [[nodiscard]] bool is_local(const IpAddr& address) override;
  [[nodiscard]] std::vector<InterfaceRow> interfaces() override;
  void drain() override;
  [[nodiscard]] runtime::Host& host() { return *host_; }

 private:
  // Hands the loop's events on.
  struct Teller final : Program {
    void start(Net&) override {}
    void event(Net&, const Event& e) override { sink->event(e); }
    Sink* sink = nullptr;
  };

  explicit Inline(std::unique_ptr<runtime::Host> host);

  std::unique_ptr<runtime::Host> host_;
  Ports ports_;
  Teller teller_;
};

/// Starts the thread that calls stack.help() until the stack ends. `stack` lives as long as the process.
void start_helper(Stack& stack);

}  // namespace millrace::posix
