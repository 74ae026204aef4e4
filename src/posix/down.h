// The transport of a process that can have no stack: a forked child, a program for which it could not be brought up.
// Everything fails with ENETDOWN; addresses of the kernel's never get here.
#pragma once

#include "posix/convert.h"
#include "posix/transport.h"

namespace millrace::posix {

class Down final : public Transport {
 public:
  Result<Reply> request(const Request&) override { return fail(Error::kNetDown); }
  void turn(Sink&) override {}
  bool flush() override { return false; }
  [[nodiscard]] Instant now() override { return monotonic_now(); }
  bool begin_sleep(std::vector<pollfd>&, Instant&) override { return true; }
  void end_sleep(std::span<const pollfd>) override {}
  Result<Reserved> reserve(const Claim&) override { return fail(Error::kNetDown); }
  Result<void> reserve_listen(uint64_t) override { return fail(Error::kNetDown); }
  void unlisten(uint64_t) override {}
  void hold(uint64_t) override {}
  void release(uint64_t) override {}
  [[nodiscard]] bool is_local(const IpAddr&) override { return true; }
  void drain() override {}
};

}  // namespace millrace::posix
