// The XDP program on one interface (filter.bpf.c): loaded, attached, told what is ours. It is attached by a link that
// lives as long as this process holds it, so that nothing stays behind, not even after kill -9.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "drivers/xdp/kernel_interface.h"
#include "millrace/address.h"
#include "runtime/failure.h"

struct bpf_object;

namespace millrace::drivers::xdp {

/// Where the program runs: in the NIC's driver, or behind it on the kernel's own packets (slower; any driver).
enum class Hook : uint8_t { kNative, kGeneric };

class Filter {
 public:
  struct Options {
    MacAddr mac{};
    uint32_t queues = 1;
    bool by_port = false;
    bool frags = false;  ///< for frames that do not fit one buffer
    bool try_native = true;
    bool try_generic = true;
  };

  /// In the kernel and verified, but nowhere attached.
  static runtime::Outcome<std::unique_ptr<Filter>> load(const std::string& interface, const Options& options);
  /// Attached, and passing everything until it is told of addresses and sockets.
  static runtime::Outcome<std::unique_ptr<Filter>> attach(const KernelInterface& interface, const Options& options);
  ~Filter();
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  [[nodiscard]] int program() const { return program_; }
  [[nodiscard]] Hook hook() const { return hook_; }
  [[nodiscard]] runtime::Outcome<void> set_socket(uint32_t queue, int socket);
  /// What is ours from now on; what was and is no longer passes.
  [[nodiscard]] runtime::Outcome<void> set_addresses(std::span<const IpAddr> addresses);
  /// One bit a port, for TCP and for UDP (port mode).
  using PortBits = std::array<uint64_t, 1024>;
  [[nodiscard]] runtime::Outcome<void> set_ports(const PortBits& tcp, const PortBits& udp);

 private:
  explicit Filter(std::string interface) : interface_(std::move(interface)) {}
  runtime::Outcome<void> load_program(const Options& options);
  runtime::Outcome<void> link(const KernelInterface& interface, const Options& options);
  [[nodiscard]] int map(const char* name) const;
  int change(const IpAddr& address, bool add);

  std::string interface_;
  bpf_object* object_ = nullptr;
  int program_ = -1;
  int link_ = -1;
  Hook hook_ = Hook::kNative;
  std::vector<IpAddr> addresses_;
};

}  // namespace millrace::drivers::xdp
