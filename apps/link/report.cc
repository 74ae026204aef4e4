#include "link/report.h"

#include <nlohmann/json.hpp>

namespace millrace::linkapp {
namespace {

nlohmann::ordered_json direction(const impair::PathStats& path, const ForwardStats& stats,
                                 const runtime::DeviceCounters& in, const runtime::DeviceCounters& out) {
  const auto us = [](uint64_t ns) { return static_cast<double>(ns) / 1e3; };
  return {{"frames", path.frames},
          {"bytes", path.bytes},
          {"sent", stats.sent},
          {"lost", path.lost},
          {"lost_in_burst", path.lost_in_burst},
          {"bursts", path.bursts},
          {"lost_in_queue", path.lost_in_queue},
          {"deepest_queue", path.deepest_queue},
          {"duplicated", path.duplicated - stats.too_many},
          {"reordered", path.reordered},
          {"marked", stats.marked},
          {"too_long", stats.too_long},
          {"dropped_before", in.rx_dropped + in.rx_errors},
          {"refused", out.tx_errors},
          {"late_us",
           {{"p50", us(stats.late_ns.percentile(50))},
            {"p99", us(stats.late_ns.percentile(99))},
            {"max", us(stats.late_ns.max())}}}};
}

}  // namespace

std::string report(const Forwarder& forwarder, const std::array<std::string, 2>& names,
                   const std::array<runtime::DeviceCounters, 2>& ports, double seconds) {
  nlohmann::ordered_json all = {{"seconds", seconds}};
  for (size_t i = 0; i < 2; ++i) {
    all[i == 0 ? "forward" : "backward"] = direction(forwarder.path(i), forwarder.stats(i), ports[i], ports[1 - i]);
    all[i == 0 ? "forward" : "backward"]["from"] = names[i];
  }
  return all.dump(2) + "\n";
}

}  // namespace millrace::linkapp
