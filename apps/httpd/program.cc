// See program.h.
#include "httpd/program.h"

#include <fmt/core.h>

#include <cstdio>

namespace millrace::httpd {

namespace {

constexpr uint64_t kHttpTag = uint64_t{1} << 32;
constexpr uint64_t kEchoTag = uint64_t{2} << 32;

bool report(const char* what, uint16_t port, const Result<void>& result) {
  if (result) return true;
  fmt::print(stderr, "millrace-httpd: cannot listen on port {} ({}): {}\n", port, what, describe(result.error()));
  return false;
}

}  // namespace

HttpdProgram::HttpdProgram(const HttpdOptions& options, Site site)
    : options_(options),
      site_(std::move(site)),
      http_(site_, {.idle_timeout = options.idle_timeout, .request_timeout = options.request_timeout, .tag = kHttpTag}),
      echo_(kEchoTag) {}

void HttpdProgram::start(Net& net) {
  // `::` takes both families.
  bool ok = report("http", options_.port, http_.listen(net, {IpAddr(), options_.port}));
  if (ok && options_.echo_port) {
    ok = report("echo", *options_.echo_port, echo_.listen(net, {IpAddr(), *options_.echo_port}));
  }
  if (!ok) net.stop(1);
}

void HttpdProgram::event(Net& net, const Event& event) {
  if ((event.user & kEchoTag) != 0) return echo_.event(net, event);
  http_.event(net, event);
  arm(net);
}

void HttpdProgram::tick(Net& net) {
  armed_ = kNever;
  http_.tick(net);
  arm(net);
}

void HttpdProgram::arm(Net& net) {
  const Instant next = http_.next_tick();
  if (next == armed_) return;
  armed_ = next;
  net.wake_at(next);
}

void HttpdProgram::stop(Net& net) {
  http_.close_all(net);
  if (options_.echo_port) echo_.close_all(net);
}

}  // namespace millrace::httpd
