// The runtime's view of AF_XDP: one frame pool, which all sockets have as their memory, and a device an interface.
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
    frames_ = std::make_unique<UmemPool>(memory_, static_cast<size_t>(config.worker.frames));
    references_ =
        std::make_unique<runtime::RegionPacketPool>(memory_, static_cast<size_t>(config.worker.references), 0);
    if (frames_->capacity() == 0 || references_->capacity() == 0) {
      return failure(
          fmt::format("no memory for {} packets and {} references", config.worker.frames, config.worker.references),
          "lower worker.frames and worker.references");
    }
    return {};
  }

  [[nodiscard]] runtime::Resources resources() override {
    return frames_ == nullptr ? runtime::Resources{} : runtime::Resources{frames_.get(), references_.get(), &memory_};
  }

  Outcome<std::unique_ptr<runtime::Device>> open(const conf::Config&, const conf::Interface& interface,
                                                 const runtime::Resources& resources) override {
    const auto kernel = look_up(kernel_name(interface));
    if (!kernel) return tl::unexpected<Failure>(kernel.error());
    auto device = XdpDevice::open(interface, *kernel, *frames_, resources);
    if (!device) return tl::unexpected<Failure>(device.error());
    return std::move(*device);
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

  runtime::HugeMemory memory_;
  std::unique_ptr<UmemPool> frames_;
  std::unique_ptr<runtime::RegionPacketPool> references_;
};

}  // namespace

void register_driver(runtime::DriverRegistry& registry) { registry.add(std::make_unique<XdpDriver>()); }

}  // namespace millrace::drivers::xdp
