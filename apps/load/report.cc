// See report.h.
#include "load/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

namespace millrace::load {

namespace {

std::string describe(const Options& o) {
  const char* mode = o.mode == Mode::kHttp ? "http" : o.mode == Mode::kEcho ? "echo" : "udp";
  std::string text = fmt::format("{} {}, {} connection{}", o.target.to_string(), mode, o.connections,
                                 o.connections == 1 ? "" : "s");
  if (o.mode != Mode::kHttp) text += fmt::format(", {} B", o.size);
  if (o.mode == Mode::kHttp) text += ", " + (o.bytes != 0 ? fmt::format("/bytes/{}", o.bytes) : o.path);
  if (o.templated) text += ", templates";
  if (o.pipeline > 1) text += fmt::format(", pipeline {}", o.pipeline);
  if (o.outstanding != 0) text += fmt::format(", at most {} in flight, random order", o.outstanding);
  if (o.requests_per_connection != 0) text += fmt::format(", {} a connection", o.requests_per_connection);
  text += o.rate > 0 ? fmt::format(", {:.0f} requests/s on schedule", o.rate) : std::string(", closed loop");
  return text;
}

/// Part of the measured time that the generator's thread was busy.
double share(const Report& r) {
  return r.seconds == 0 ? 0 : static_cast<double>(r.busy_cycles) / (r.seconds * r.hz);
}

double per_request(const Report& r) {
  return r.responses == 0 ? 0 : static_cast<double>(r.busy_cycles) / static_cast<double>(r.responses);
}

}  // namespace

uint64_t Report::error_count() const { return std::accumulate(errors.begin(), errors.end(), uint64_t{0}); }

std::string Report::error_text() const {
  std::string out;
  for (size_t i = 0; i < errors.size(); ++i) {
    if (errors[i] != 0) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", errors[i], kErrorNames[i]);
  }
  return out;
}

std::string Report::text(const Options& options) const {
  std::string out = describe(options) + "\n";
  if (!measured) return out + fmt::format("  failed: {}\n", failure);
  const auto us = [&](const apps::Histogram& h, double p) { return static_cast<double>(h.percentile(p)) / hz * 1e6; };
  const double gbps = static_cast<double>(body_bytes) * 8 / seconds / 1e9;
  out += fmt::format("  {:.0f} requests/s, {:.3f} Gb/s of bodies, {} responses in {:.2f} s\n",
                     static_cast<double>(responses) / seconds, gbps, responses, seconds);
  out += fmt::format("  latency us: p50 {:.2f}  p90 {:.2f}  p99 {:.2f}  p99.9 {:.2f}  max {:.2f}\n", us(latency, 50),
                     us(latency, 90), us(latency, 99), us(latency, 99.9), us(latency, 100));
  if (connects != 0) {
    out += fmt::format("  {:.0f} connections/s, connect us: p50 {:.2f}  p99 {:.2f}  max {:.2f}\n",
                       static_cast<double>(connects) / seconds, us(connect_latency, 50), us(connect_latency, 99),
                       us(connect_latency, 100));
  }
  if (busy_cycles != 0) {
    out += fmt::format("  this generator: {:.0f} % of its CPU busy, {:.0f} TSC cycles/request\n", share(*this) * 100,
                       per_request(*this));
  }
  if (options.mode == Mode::kUdp) {
    out += fmt::format("  {} datagrams lost\n", late);
  } else if (late != 0) {
    out += fmt::format("  {} scheduled requests were never started: the rate is too high\n", late);
  }
  for (const auto& [name, cycles] : stage_cycles) {
    const double each = responses == 0 ? 0 : static_cast<double>(cycles) / static_cast<double>(responses);
    out += fmt::format("    {:<9} {:6.1f}\n", name, each);
  }
  for (const auto& [name, count] : oddities) out += fmt::format("  odd: {} {}\n", count, name);
  if (options.forge_rate > 0) out += fmt::format("  forged: {} SYNs\n", forged);
  return out + fmt::format("  errors: {}\n", error_count() == 0 ? "none" : error_text());
}

std::string Report::json(const Options& options) const {
  nlohmann::ordered_json j;
  j["run"] = describe(options);
  j["measured"] = measured;
  if (!measured) j["failure"] = failure;
  j["seconds"] = seconds;
  j["responses"] = responses;
  j["requests_per_s"] = seconds == 0 ? 0 : static_cast<double>(responses) / seconds;
  j["gbit_per_s"] = seconds == 0 ? 0 : static_cast<double>(body_bytes) * 8 / seconds / 1e9;
  const auto put = [&](const char* name, const apps::Histogram& h) {
    const auto us = [&](double p) { return static_cast<double>(h.percentile(p)) / hz * 1e6; };
    j[name] = {{"p50", us(50)}, {"p90", us(90)}, {"p99", us(99)}, {"p99.9", us(99.9)}, {"max", us(100)}};
  };
  put("latency_us", latency);
  if (connects != 0) {
    j["connections_per_s"] = static_cast<double>(connects) / seconds;
    put("connect_us", connect_latency);
  }
  j["connect_seconds"] = connect_seconds;
  j["busy_share"] = share(*this);
  j["cycles_per_request"] = per_request(*this);
  nlohmann::ordered_json stages = nlohmann::ordered_json::object();
  for (const auto& [name, cycles] : stage_cycles) {
    stages[name] = responses == 0 ? 0 : static_cast<double>(cycles) / static_cast<double>(responses);
  }
  if (!stage_cycles.empty()) j["stage_cycles_per_request"] = stages;
  nlohmann::ordered_json odd = nlohmann::ordered_json::object();
  for (const auto& [name, count] : oddities) odd[name] = count;
  if (!oddities.empty()) j["oddities"] = odd;
  if (options.forge_rate > 0) j["forged"] = forged;
  j[options.mode == Mode::kUdp ? "lost" : "never_started"] = late;
  nlohmann::ordered_json kinds = nlohmann::ordered_json::object();
  for (size_t i = 0; i < errors.size(); ++i) {
    if (errors[i] != 0) kinds[kErrorNames[i]] = errors[i];
  }
  j["errors"] = kinds;
  return j.dump(2) + "\n";
}

}  // namespace millrace::load
