// What the kernel says about one of its interfaces, in this process's network namespace. Only looks.
#pragma once

#include <cstdint>
#include <string>

#include "millrace/address.h"
#include "runtime/failure.h"

namespace millrace::drivers::xdp {

struct KernelInterface {
  std::string name;
  unsigned index = 0;
  MacAddr mac{};
  uint16_t mtu = 0;
  uint32_t queues = 1;  ///< receive queues in use
  std::string driver;   ///< "veth", "ixgbe" ...; empty if it does not say
  bool up = false;
};

[[nodiscard]] runtime::Outcome<KernelInterface> look_up(const std::string& name);

/// Of an interface looked up before.
struct LinkState {
  bool exists = false;
  bool running = false;  ///< up, with a carrier
};
[[nodiscard]] LinkState look_at_link(const KernelInterface& interface);

/// Whether frames may come from a memory of this machine with their TCP or UDP checksum not filled in.
[[nodiscard]] bool leaves_checksums_unfinished(const KernelInterface& interface);

}  // namespace millrace::drivers::xdp
