// The text after `device =` of an interface, taken apart: a PCI address or the name of a DPDK virtual device, its
// arguments, and among them the keys that are ours and that DPDK must not see (rx_ring, tx_ring, wait_s, lro,
// promiscuous).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "runtime/failure.h"

namespace millrace::drivers::dpdk {

struct DeviceSpec {
  std::string name;  ///< "net_vhost0" or "0000:03:00.0", as DPDK knows it
  std::string kind;  ///< the name without its number: "net_vhost"; "pci"
  bool pci = false;
  std::map<std::string, std::string, std::less<>> args{};  ///< DPDK's own, without ours
  uint16_t rx_ring = 1024;
  uint16_t tx_ring = 1024;
  uint16_t wait_s = 30;  ///< how long opening a vhost port waits for its guest; 0 = not at all
  bool lro = true;
  bool promiscuous = false;  ///< take frames for other stations too

  [[nodiscard]] bool is_virtio() const { return kind == "net_virtio_user" || kind == "virtio_user"; }
  [[nodiscard]] bool is_vhost() const { return kind == "net_vhost" || kind == "eth_vhost"; }
  [[nodiscard]] bool is_memif() const { return kind == "net_memif"; }
  /// The kernel's interface that the device works on, or empty.
  [[nodiscard]] std::string kernel_interface() const;
  [[nodiscard]] std::string_view arg(std::string_view key) const;
  /// "key=value,..." for DPDK.
  [[nodiscard]] std::string dpdk_args() const;
};

/// Asks virtual devices for `queues` queue pairs in their own words, where the user has not.
void ask_for_queues(DeviceSpec& spec, size_t queues);

/// Reads `net_virtio_user0,path=/tmp/s,queues=1,rx_ring=4096`, with or without a leading "--vdev=", or a PCI address.
[[nodiscard]] runtime::Outcome<DeviceSpec> parse_spec(std::string_view text);

}  // namespace millrace::drivers::dpdk
