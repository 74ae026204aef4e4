// The two ports of the emulator, opened through the DPDK driver with everything off that a wire does not have.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pkt/pool.h"
#include "runtime/device.h"

namespace millrace::linkapp {

struct PortOptions {
  std::array<std::string, 2> ports;  ///< names of the kernel's interfaces, DPDK device arguments or PCI addresses
  std::vector<std::string> eal;
  std::optional<uint32_t> cpu;
  uint32_t frames = 32'768;
  uint16_t mtu = 1'500;
  bool force = false;
};

/// The text for the DPDK driver: "eth1" becomes AF_PACKET on it; device arguments stay as they are, and promiscuous.
[[nodiscard]] std::string device_text(const std::string& port, size_t index, uint16_t mtu);
/// Whether nothing of the device needs huge pages.
[[nodiscard]] bool works_without_huge_pages(const std::string& device);

struct Ports {
  std::unique_ptr<pkt::PacketCache> cache;  ///< of the driver's pools, which outlive it
  std::array<std::unique_ptr<runtime::Device>, 2> devices;
};

/// `driver` outlives what this gives.
[[nodiscard]] runtime::Outcome<Ports> open_ports(runtime::Driver& driver, const PortOptions& options);

}  // namespace millrace::linkapp
