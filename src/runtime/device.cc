#include "runtime/device.h"

#include <fmt/format.h>

namespace millrace::runtime {

Outcome<std::vector<std::unique_ptr<Device>>> Driver::open_queues(const conf::Config& config,
                                                                  const conf::Interface& interface,
                                                                  std::span<const Resources> workers) {
  if (workers.size() > 1) {
    return failure(fmt::format("the driver '{}' of interface {} serves one worker, not {}", name(), interface.name,
                               workers.size()),
                   "set workers = 1, or use another driver");
  }
  auto device = open(config, interface, workers.front());
  if (!device) return tl::unexpected<Failure>(device.error());
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::move(*device));
  return devices;
}

Outcome<std::unique_ptr<Device>> Driver::open(const conf::Config& config, const conf::Interface& interface,
                                              const Resources& resources) {
  auto devices = open_queues(config, interface, {&resources, 1});
  if (!devices) return tl::unexpected<Failure>(devices.error());
  return std::move(devices->front());
}

}  // namespace millrace::runtime
