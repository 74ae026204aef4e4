#include "link/ports.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace millrace::linkapp {
namespace {

using runtime::Outcome;

bool is_kernel_interface(std::string_view port) {
  return port.find(',') == std::string_view::npos && port.find(':') == std::string_view::npos &&
         !port.starts_with("net_");
}

conf::Config configuration(const PortOptions& options) {
  conf::Config config;
  config.cpu = options.cpu;
  config.force = options.force;
  config.worker.frames = options.frames;
  config.worker.references = 512;
  config.worker.block_mib = 8;
  config.worker.max_connections = 64;
  config.dpdk.eal = options.eal;
  bool huge = false;
  for (size_t i = 0; i < 2; ++i) {
    conf::Interface port;
    port.name = options.ports[i];
    port.driver = "dpdk";
    port.device = device_text(options.ports[i], i, options.mtu);
    port.mtu = options.mtu;
    port.tso = false;
    port.checksum = false;
    huge = huge || !works_without_huge_pages(port.device);
    config.interfaces.push_back(port);
  }
  if (!huge) config.dpdk.eal.emplace_back("--no-huge");
  return config;
}

}  // namespace

std::string device_text(const std::string& port, size_t index, uint16_t mtu) {
  if (!is_kernel_interface(port)) return port + ",promiscuous=1";  // hosts behind it have addresses of their own
  // The kernel's ring has room for frames and their headers of some 66 bytes, four of them a block.
  const uint32_t frame = mtu > 1'900 ? 16'384 : 2'048;
  return fmt::format("net_af_packet{},iface={},blocksz={},framesz={},framecnt=4096", index, port, 4 * frame, frame);
}

bool works_without_huge_pages(const std::string& device) {
  constexpr std::array<std::string_view, 4> kKinds = {"net_af_packet", "net_tap", "net_pcap", "net_null"};
  return std::any_of(kKinds.begin(), kKinds.end(), [&](std::string_view kind) { return device.starts_with(kind); });
}

Outcome<Ports> open_ports(runtime::Driver& driver, const PortOptions& options) {
  const conf::Config config = configuration(options);
  if (auto ready = driver.prepare(config, config.interfaces); !ready) return tl::unexpected(ready.error());
  const std::array<runtime::Resources, 1> resources = {driver.resources(0)};
  Ports out;
  out.cache = std::make_unique<pkt::PacketCache>(*resources[0].frames, *resources[0].references);
  for (size_t i = 0; i < 2; ++i) {
    auto opened = driver.open_queues(config, config.interfaces[i], resources);
    if (!opened) return tl::unexpected(opened.error());
    out.devices[i] = std::move(opened->front());
    out.devices[i]->enter_thread();
  }
  return out;
}

}  // namespace millrace::linkapp
