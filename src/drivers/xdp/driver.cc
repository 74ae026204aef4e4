// The runtime's view of AF_XDP: one frame pool a worker, which all its sockets have as their memory,
// and a device an interface and worker.
#include <fmt/format.h>

#include "drivers/xdp/device.h"
#include "drivers/xdp/xdp.h"
#include "runtime/memory.h"

namespace millrace::drivers::xdp {
namespace {

using runtime::failure;
using runtime::Failure;
using runtime::Outcome;

const std::string& kernel_name(const conf::Interface& interface) {
  return interface.device.empty() ? interface.name : interface.device;
}

class XdpDriver final : public runtime::Driver {
 public:
  [[nodiscard]] std::string_view name() const override { return "xdp"; }

  Outcome<void> prepare(const conf::Config& config, std::span<const conf::Interface> interfaces) override {
    for (const conf::Interface& interface : interfaces) {
      if (auto done = check(config, interface); !done) return done;
    }
    for (const conf::Interface& other : config.interfaces) {
      if (other.driver != "dpdk") continue;
      return failure(
          fmt::format("interfaces {} (xdp) and {} (dpdk) cannot be in one program", interfaces[0].name, other.name),
          "DPDK has an AF_XDP device of its own: driver=dpdk,device=net_af_xdp0,iface=NAME");
    }
    const conf::WorkerSettings share = conf::share_of_worker(config).worker;
    for (uint32_t i = 0; i < config.workers; ++i) {
      Pools pools;
      pools.memory = std::make_unique<runtime::HugeMemory>();
      pools.frames = std::make_unique<UmemPool>(*pools.memory, static_cast<size_t>(share.frames));
      pools.references =
          std::make_unique<runtime::RegionPacketPool>(*pools.memory, static_cast<size_t>(share.references), 0);
      if (pools.frames->capacity() == 0 || pools.references->capacity() == 0) {
        return failure(
            fmt::format("no memory for {} packets and {} references", config.worker.frames, config.worker.references),
            "lower worker.frames and worker.references");
      }
      pools_.push_back(std::move(pools));
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
    const auto kernel = look_up(kernel_name(interface));
    if (!kernel) return tl::unexpected<Failure>(kernel.error());
    std::vector<XdpDevice::Seat> seats;
    for (size_t i = 0; i < workers.size(); ++i) seats.push_back({pools_[i].frames.get(), workers[i]});
    auto opened = XdpDevice::open(interface, *kernel, seats);
    if (!opened) return tl::unexpected<Failure>(opened.error());
    std::vector<std::unique_ptr<runtime::Device>> devices;
    for (auto& device : *opened) devices.push_back(std::move(device));
    return devices;
  }

 private:
  /// What can be known to be wrong before anything is touched.
  static Outcome<void> check(const conf::Config& config, const conf::Interface& interface) {
    const auto kernel = look_up(kernel_name(interface));
    if (!kernel) return tl::unexpected<Failure>(kernel.error());
    if (!kernel->up) {
      return failure(fmt::format("{} is down", kernel->name), fmt::format("ip link set {} up", kernel->name));
    }
    if (interface.mtu > kernel->mtu) {
      return failure(
          fmt::format("the MTU of {} is {}; {} is more than it takes", kernel->name, kernel->mtu, interface.mtu),
          fmt::format("ip link set {} mtu {}", kernel->name, interface.mtu));
    }
    if (interface.addresses.empty() && !interface.dhcp4) {
      return failure(fmt::format("interface {} has no address", interface.name),
                     "give it one that the kernel does not have: --address 192.0.2.10/24, or lease one: dhcp4=true");
    }
    return runtime::refuse_default_route(kernel->name, config.force);
  }

  struct Pools {  // destruction runs from the end
    std::unique_ptr<runtime::HugeMemory> memory;
    std::unique_ptr<UmemPool> frames;
    std::unique_ptr<runtime::RegionPacketPool> references;
  };
  std::vector<Pools> pools_;  // by worker
};

}  // namespace

void register_driver(runtime::DriverRegistry& registry) { registry.add(std::make_unique<XdpDriver>()); }

}  // namespace millrace::drivers::xdp
