// Connections of the Generator: opening them at the right pace, and what happens when one ends. See generator.h.
#include "load/generator.h"

namespace millrace::load {

namespace {

constexpr uint32_t kFirstPort = 1024;
constexpr uint32_t kPorts = 65'536 - kFirstPort;
constexpr uint32_t kOpensPerTurn = 64;

}  // namespace

Endpoint Generator::local_of(uint32_t i) const {
  const auto sources = static_cast<uint32_t>(options_.sources.size());
  const IpAddr any = options_.target.addr.is_v4() ? IpAddr::any_v4() : IpAddr();
  const IpAddr addr = sources == 0 ? any : options_.sources[i % sources];
  const uint32_t turn = sources == 0 ? i : i / sources;
  return {addr, static_cast<uint16_t>(options_.fixed_ports ? kFirstPort + turn % kPorts : 0)};
}

bool Generator::open(Net& net, uint32_t i) {
  Conn& conn = conns_[i];
  conn = {};
  const auto handle = net.connect(options_.target, i, {}, local_of(i));
  ++opens_begun_;
  if (!handle) {
    ++report_.errors[static_cast<size_t>(ErrorKind::kConnect)];
    if (phase_ == Phase::kOpening) {
      const std::string which = "connection " + std::to_string(i + 1);
      finish(net, which + " cannot be opened: " + describe(handle.error()));
    }
    return false;
  }
  conn.handle = *handle;
  conn.state = kConnecting;
  conn.sent_at = machine_.cycles();
  ++connecting_;
  return true;
}

/// Opens what may be opened now.
void Generator::open_more(Net& net) {
  if (first_open_at_ == 0) first_open_at_ = machine_.cycles();
  for (uint32_t n = 0; n < kOpensPerTurn && connecting_ < options_.connects_at_once; ++n) {
    if (phase_ == Phase::kDone || (reopen_.empty() && next_open_ == options_.connections)) return;
    if (options_.connect_rate > 0) {
      const double passed = static_cast<double>(machine_.cycles() - first_open_at_) / machine_.hz;
      if (static_cast<double>(opens_begun_) > passed * options_.connect_rate) return;
    }
    if (reopen_.empty()) {
      if (!open(net, next_open_++)) return;
      continue;
    }
    const uint32_t i = reopen_.back();
    reopen_.pop_back();
    if (!open(net, i)) {
      reopen_.push_back(i);
      return;
    }
  }
}

void Generator::opened(Net& net, uint32_t i) {
  Conn& conn = conns_[i];
  const uint64_t now = machine_.cycles();
  conn.state = kOpen;
  --connecting_;
  ++open_;
  last_progress_ = now;
  if (phase_ == Phase::kMeasure) {
    ++report_.connects;
    report_.connect_latency.record(now - conn.sent_at);
  }
  if (phase_ == Phase::kOpening) {
    if (open_ == options_.connections) begin(net);
    return;
  }
  if (by_idle()) {
    for (uint32_t n = 0; n < options_.pipeline; ++n) idle_.push_back(i);
    run_due(net);
    return;
  }
  for (uint32_t n = 0; n < options_.pipeline; ++n) begin_request(i, now);
  push(net, i);
}

/// Closes a connection and has it opened again.
void Generator::end_connection(Net& net, uint32_t i) {
  Conn& conn = conns_[i];
  if (conn.state == kConnecting) --connecting_;
  if (conn.state == kOpen) --open_;
  checker_.forget(i, conn.response);
  in_flight_ -= conn.outstanding;
  net.close(conn.handle);
  conn = {};
  reopen_.push_back(i);
}

void Generator::broken(Net& net, uint32_t i, ErrorKind kind) {
  if (phase_ == Phase::kDone) return;
  ++report_.errors[static_cast<size_t>(kind)];
  const bool while_opening = phase_ == Phase::kOpening;
  end_connection(net, i);
  if (while_opening && report_.error_count() > 100 + options_.connections / 10) {
    finish(net, "too many connections fail: " + report_.error_text());
    return;
  }
  arm(net);
}

}  // namespace millrace::load
