// The runtime's view of DPDK: one EAL, two pools and a memory source a worker, and a port an interface.
#include <fmt/core.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "drivers/dpdk/dpdk.h"
#include "drivers/dpdk/eal.h"
#include "drivers/dpdk/memory.h"
#include "drivers/dpdk/pool.h"
#include "drivers/dpdk/port.h"
#include "drivers/dpdk/stale_socket.h"
#include "runtime/descriptor.h"

namespace millrace::drivers::dpdk {
namespace {

using runtime::failure;
using runtime::Outcome;

/// AF_PACKET and its kin need the right to see every frame; DPDK itself would only say that the device failed.
Outcome<void> check_packet_permission(const std::string& kernel) {
  const runtime::Descriptor probe(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (probe || (errno != EPERM && errno != EACCES)) return {};
  return failure(fmt::format("no permission to take the frames of {}", kernel),
                 "run as root, or give the program CAP_NET_RAW and CAP_NET_ADMIN");
}

/// What can be known to be wrong before DPDK starts.
Outcome<void> check_device(const conf::Config& config, const DeviceSpec& spec) {
  if (const std::string kernel = spec.kernel_interface(); !kernel.empty()) {
    if (if_nametoindex(kernel.c_str()) == 0) {
      return failure(fmt::format("no network interface {} here", kernel), "ip link shows those of this namespace");
    }
    if (auto ok = runtime::refuse_default_route(kernel, config.force); !ok) return ok;
    return check_packet_permission(kernel);
  }
  if (spec.is_vhost()) {
    if (spec.arg("iface").empty()) return failure(fmt::format("{} needs iface=PATH of its socket", spec.name));
    if (spec.arg("client") != "1") return clear_stale_socket(std::string(spec.arg("iface")));
  }
  if (spec.is_virtio()) {
    const std::string path(spec.arg("path"));
    if (path.empty()) return failure(fmt::format("{} needs path=PATH of a vhost-user socket", spec.name));
    if (spec.arg("server") == "1") return clear_stale_socket(path);
    if (!std::filesystem::exists(path)) {
      return failure(fmt::format("no vhost-user socket {}", path),
                     "start the side that makes it first (net_vhost, a virtual switch or QEMU)");
    }
  }
  if (spec.is_memif() && spec.arg("role") == "server" && spec.arg("socket-abstract") == "no" &&
      !spec.arg("socket").empty()) {
    return clear_stale_socket(std::string(spec.arg("socket")));
  }
  if (spec.pci && !std::filesystem::exists("/sys/bus/pci/devices/" + spec.name)) {
    return failure(fmt::format("no PCI device {}", spec.name),
                   "dpdk-devbind.py --status-dev net shows those of this machine");
  }
  return {};
}

/// virtio puts its header of 12 bytes right before the frame, and the other end of a link in shared memory fetches
/// every line of both. With buffers that begin 16 bytes behind a cache line the header begins a line (4 bytes in) and
/// not the last quarter of one: a line less each way for most small frames.
uint16_t buffer_shift(std::span<const DeviceSpec> specs) {
  constexpr uint16_t kShift = 16;
  static_assert((pkt::kHeadroom + kShift - kVirtioHeader) % 64 < kShift);
  return std::any_of(specs.begin(), specs.end(), [](const DeviceSpec& s) { return s.is_virtio(); }) ? kShift : 0;
}

class DpdkDriver final : public runtime::Driver {
 public:
  [[nodiscard]] std::string_view name() const override { return "dpdk"; }

  Outcome<void> prepare(const conf::Config& config, std::span<const conf::Interface> interfaces) override {
    std::vector<DeviceSpec> specs;
    const conf::WorkerSettings share = conf::share_of_worker(config).worker;
    for (const conf::Interface& interface : interfaces) {
      auto spec = parse_spec(interface.device);
      if (!spec) return in(interface, spec.error());
      if (interface.queues > 1) {
        return failure(
            fmt::format("interface {}: a DPDK port has one queue for each worker; leave queues out", interface.name));
      }
      if (auto ok = check_device(config, *spec); !ok) return in(interface, ok.error());
      const size_t rings = size_t{spec->rx_ring} + spec->tx_ring + 512;
      if (static_cast<size_t>(share.frames) < rings) {
        return failure(fmt::format("interface {}: rings of {} and {} need worker.frames of at least {}", interface.name,
                                   spec->rx_ring, spec->tx_ring, rings * config.workers));
      }
      specs.push_back(std::move(*spec));
    }
    if (auto ok = eal_.start(config, specs); !ok) return ok;
    for (uint32_t i = 0; i < config.workers; ++i) {
      auto frames = MempoolPool::make(fmt::format("millrace_frames{}", i), static_cast<size_t>(share.frames),
                                      pkt::kFrameRoom, buffer_shift(specs));
      if (!frames) return tl::unexpected(frames.error());
      auto references = MempoolPool::make(fmt::format("millrace_refs{}", i), static_cast<size_t>(share.references), 0);
      if (!references) return tl::unexpected(references.error());
      pools_.push_back({std::move(*frames), std::move(*references), std::make_unique<DpdkMemory>()});
    }
    return {};
  }

  [[nodiscard]] runtime::Resources resources(uint32_t worker) override {
    if (worker >= pools_.size()) return {};
    const Pools& pools = pools_[worker];
    return {pools.frames.get(), pools.references.get(), pools.memory.get()};
  }

  Outcome<std::vector<std::unique_ptr<runtime::Device>>> open_queues(
      const conf::Config&, const conf::Interface& interface, std::span<const runtime::Resources> workers) override {
    auto spec = parse_spec(interface.device);
    if (!spec) return in(interface, spec.error());
    std::vector<MempoolPool*> frames;
    for (size_t i = 0; i < workers.size(); ++i) frames.push_back(pools_[i].frames.get());
    auto ports = Port::open(*spec, interface, frames);
    if (!ports) return in(interface, ports.error());
    std::vector<std::unique_ptr<runtime::Device>> devices;
    for (auto& port : *ports) devices.push_back(std::move(port));
    return devices;
  }

 private:
  static tl::unexpected<runtime::Failure> in(const conf::Interface& interface, const runtime::Failure& f) {
    return failure(fmt::format("interface {}: {}", interface.name, f.what), f.hint);
  }

  struct Pools {
    std::unique_ptr<MempoolPool> frames;
    std::unique_ptr<MempoolPool> references;
    std::unique_ptr<DpdkMemory> memory;
  };
  // Destroyed in reverse: memory and pools before the EAL.
  Eal eal_;
  std::vector<Pools> pools_;  // by worker
};

}  // namespace

void register_driver(runtime::DriverRegistry& registry) { registry.add(std::make_unique<DpdkDriver>()); }

}  // namespace millrace::drivers::dpdk
