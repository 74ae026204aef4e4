// Two processes, one at each end of a DPDK link. DPDK starts once a process, so each test forks both ends; what an end
// finds wrong it prints, and its exit status fails the test.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pkt/pool.h"
#include "runtime/device.h"

namespace millrace::test {

/// Seconds until an end gives up on the other: machines that test may be busy.
inline constexpr double kPatience = 60;

/// One end, in its own process.
class Side {
 public:
  /// Opens `device`; a failure ends the process with a message.
  explicit Side(const std::string& device, const conf::Interface& base = {}, uint32_t workers = 1);
  ~Side();

  [[nodiscard]] runtime::Device& device(size_t worker = 0) { return *devices_[worker]; }
  [[nodiscard]] pkt::PacketCache& cache(size_t worker = 0) { return *caches_[worker]; }
  [[nodiscard]] base::MemorySource& memory() { return *resources_[0].memory; }

  /// Sends all of it, retrying while the link is full; false after kPatience.
  bool send(std::span<pkt::Packet* const> frames);
  /// Calls `take` for each frame (which is freed afterwards) until it returns true; false after `seconds`.
  bool receive(const std::function<bool(const pkt::Packet&)>& take, double seconds = kPatience);
  /// Tells the other end something, or waits until it did; kPatience at most.
  void tell(char what) const;
  [[nodiscard]] bool hear(char what) const;

  int tell_fd = -1;
  int hear_fd = -1;

 private:
  runtime::DriverRegistry registry_;
  runtime::Driver* driver_ = nullptr;
  std::vector<runtime::Resources> resources_;  // by worker
  std::vector<std::unique_ptr<pkt::PacketCache>> caches_;
  std::vector<std::unique_ptr<runtime::Device>> devices_;
};

/// A test's check inside an end: prints and returns false.
bool check(bool ok, const char* what);
#define CHECK_THAT(condition) ::millrace::test::check(condition, #condition)

using Part = std::function<bool(Side&)>;

struct Link {
  std::string first;  ///< device string; opened first. "@" is replaced by a path for the socket
  std::string second;
  conf::Interface base{};
  uint32_t workers = 1;  ///< of each end
};

/// Runs both ends; returns an empty text, or what failed.
[[nodiscard]] std::string run_pair(const Link& link, const Part& first, const Part& second);

/// Extra EAL arguments where there are not enough huge pages; the tests then run on ordinary memory.
[[nodiscard]] std::vector<std::string> eal_for_tests();
[[nodiscard]] conf::Config config_for_tests(const conf::Interface& interface);

[[nodiscard]] std::string fresh_path();

}  // namespace millrace::test
