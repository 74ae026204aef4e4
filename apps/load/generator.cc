// Requests and phases of the Generator. See generator.h.
#include "load/generator.h"

#include <algorithm>
#include <limits>

namespace millrace::load {

namespace {

constexpr uint32_t kBatch = 64;            ///< requests started in one go
constexpr size_t kReadBytes = 64 * 1024;
constexpr uint64_t kBulkBytes = 16 * 1024; ///< bodies from this size on are borrowed, not copied
constexpr uint32_t kNobody = std::numeric_limits<uint32_t>::max();

}  // namespace

Generator::Generator(const Options& options, Machine machine, Report& report)
    : options_(options),
      machine_(std::move(machine)),
      checker_(options.bytes, options.check_all),
      report_(report),
      conns_(options.connections),
      buffer_(kReadBytes),
      bulk_(options.bytes >= kBulkBytes || (options.mode == Mode::kEcho && options.size >= kBulkBytes)) {
  if (options_.pipeline > 1) times_.resize(uint64_t{options_.connections} * options_.pipeline);
  const std::string path = options_.bytes != 0 ? "/bytes/" + std::to_string(options_.bytes) : options_.path;
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: " + options_.target.to_string() + "\r\n\r\n";
  request_bytes_ = options_.mode == Mode::kHttp ? static_cast<uint32_t>(request.size()) : options_.size;
  for (uint32_t n = 0; n < kBatch; ++n) requests_ += request;
  report_.hz = machine_.hz;
  if (options_.rate > 0) interval_ = machine_.hz / options_.rate;
}

uint64_t Generator::in_cycles(Duration d) const {
  return static_cast<uint64_t>(static_cast<double>(d.ns()) * machine_.hz / 1e9);
}

Instant Generator::instant_of(Net& net, uint64_t cycles) const {
  const uint64_t now = machine_.cycles();
  if (cycles <= now) return net.now();
  return net.now() + nanoseconds(static_cast<int64_t>(static_cast<double>(cycles - now) / machine_.hz * 1e9));
}

void Generator::start(Net& net) {
  run_began_ = last_progress_ = machine_.cycles();
  phase_ends_ = net.now() + options_.patience;
  open_more(net);
  arm(net);
}

/// What became of a connection that did not open.
ErrorKind Generator::why_not(Net& net, uint32_t i) {
  const auto n = net.read(conns_[i].handle, buffer_);
  if (n) return ErrorKind::kConnect;
  switch (n.error()) {
    case Error::kConnectionRefused:
      return ErrorKind::kRefused;
    case Error::kTimedOut:
      return ErrorKind::kTimedOut;
    case Error::kHostUnreachable:
    case Error::kNetUnreachable:
    case Error::kNetDown:
      return ErrorKind::kUnreachable;
    case Error::kConnectionReset:
      return ErrorKind::kReset;
    default:
      return ErrorKind::kConnect;
  }
}

void Generator::event(Net& net, const Event& event) {
  const auto i = static_cast<uint32_t>(event.user);
  if (i >= conns_.size() || conns_[i].handle != event.handle || conns_[i].state == kUnused) return;
  if ((event.mask & kError) != 0) {
    return broken(net, i, conns_[i].state == kConnecting ? why_not(net, i) : ErrorKind::kReset);
  }
  if ((event.mask & kConnected) != 0 && conns_[i].state == kConnecting) {
    opened(net, i);
    if (next_open_ < options_.connections || !reopen_.empty()) open_more(net);
  }
  if ((event.mask & kWritable) != 0 && conns_[i].queued != 0) push(net, i);
  if ((event.mask & (kReadable | kPeerClosed)) != 0) receive(net, i);
}

/// All connections are open: requests begin.
void Generator::begin(Net& net) {
  const uint64_t now = machine_.cycles();
  report_.connect_seconds = static_cast<double>(now - run_began_) / machine_.hz;
  phase_ = Phase::kWarmup;
  phase_began_ = run_began_ = now;
  phase_ends_ = net.now() + options_.warmup;
  next_due_ = static_cast<double>(now);
  arm(net);
}

/// Gives a batch of connections their first requests; all at once would be a burst that no link holds.
void Generator::start_some(Net& net) {
  if (phase_ == Phase::kOpening) return;
  for (uint32_t n = 0; n < kBatch && started_ < options_.connections; ++n) {
    const uint32_t i = started_++;
    if (conns_[i].state != kOpen || conns_[i].begun != 0) continue;
    for (uint32_t d = 0; d < options_.pipeline; ++d) {
      if (by_idle()) idle_.push_back(i);
      if (!by_idle()) begin_request(i, machine_.cycles());
    }
    if (!by_idle()) push(net, i);
  }
}

/// A connection chosen at random among those that can take a request.
uint32_t Generator::take_idle() {
  while (!idle_.empty()) {
    const size_t at = static_cast<size_t>((uint64_t{random_()} * idle_.size()) >> 32);
    const uint32_t i = std::exchange(idle_[at], idle_.back());
    idle_.pop_back();
    if (conns_[i].state == kOpen && conns_[i].outstanding < options_.pipeline) return i;
  }
  return kNobody;
}

/// Starts the requests that are due, on connections that can take them.
void Generator::run_due(Net& net) {
  if (phase_ != Phase::kWarmup && phase_ != Phase::kMeasure) return;
  const uint64_t now = machine_.cycles();
  for (uint32_t n = 0; n < kBatch; ++n) {
    if (options_.rate > 0 && next_due_ > static_cast<double>(now)) return;
    if (options_.outstanding != 0 && in_flight_ >= options_.outstanding) return;
    const uint32_t i = take_idle();
    if (i == kNobody) return;
    begin_request(i, options_.rate > 0 ? static_cast<uint64_t>(next_due_) : now);
    next_due_ += interval_;
    push(net, i);
  }
}

/// Notes a request that began at `when`; push() sends it.
void Generator::begin_request(uint32_t i, uint64_t when) {
  Conn& conn = conns_[i];
  if (options_.requests_per_connection != 0 && conn.begun >= options_.requests_per_connection) return;
  time_slot(i, (conn.first + conn.outstanding) % options_.pipeline) = when;
  ++conn.outstanding;
  ++conn.begun;
  ++in_flight_;
  conn.queued += request_bytes_;
}

void Generator::push(Net& net, uint32_t i) {
  Conn& conn = conns_[i];
  while (conn.queued != 0) {
    std::string_view text;
    if (options_.mode == Mode::kHttp) {
      text = std::string_view(requests_).substr(conn.tx_at, conn.queued);
    } else {
      text = pattern_piece(conn.tx_at, conn.queued);
    }
    const auto taken = net.write(conn.handle, std::as_bytes(std::span(text)));
    if (!taken) {
      if (taken.error() != Error::kWouldBlock) broken(net, i, ErrorKind::kReset);
      return;
    }
    conn.queued -= static_cast<uint32_t>(*taken);
    const uint32_t period = options_.mode == Mode::kHttp ? request_bytes_ : 251;
    const size_t at = conn.tx_at + *taken;
    conn.tx_at = static_cast<uint16_t>(at == period ? 0 : at % period);
  }
}

/// After responses: what comes next.
void Generator::next_request(Net& net, uint32_t i, uint64_t now) {
  if (by_idle()) {
    run_due(net);
    if (options_.rate > 0) arm(net);
    return;
  }
  if (phase_ == Phase::kDone) return;
  while (conns_[i].outstanding < options_.pipeline) {
    const uint32_t before = conns_[i].outstanding;
    begin_request(i, now);
    if (conns_[i].outstanding == before) break;
  }
  push(net, i);
}

void Generator::tick(Net& net) {
  if (phase_ == Phase::kDone) return;
  open_more(net);
  if (phase_ == Phase::kDone) return;
  if (started_ < options_.connections) start_some(net);
  if (by_idle()) run_due(net);
  if (net.now() >= phase_ends_) end_of_phase(net);
  const uint64_t now = machine_.cycles();
  const bool waits = phase_ != Phase::kOpening && phase_ != Phase::kDone && in_flight_ > 0;
  if (waits && now > last_progress_ + in_cycles(options_.patience)) finish(net, "the server stopped answering");
  if (phase_ != Phase::kDone) arm(net);
}

/// Asks for the next tick: at once while something is being built up, otherwise when something is due.
void Generator::arm(Net& net) {
  Instant when = std::min(phase_ends_, net.now() + seconds(1));
  const bool opening = next_open_ < options_.connections || !reopen_.empty();
  if (opening && connecting_ < options_.connects_at_once) {
    const Duration pause = options_.connect_rate > 0 ? microseconds(100) : nanoseconds(0);
    when = std::min(when, net.now() + pause);
  }
  if (phase_ != Phase::kOpening && started_ < options_.connections) when = net.now();
  if (by_idle() && phase_ != Phase::kOpening && !idle_.empty()) {
    const bool room = options_.outstanding == 0 || in_flight_ < options_.outstanding;
    if (room) when = std::min(when, options_.rate > 0 ? instant_of(net, static_cast<uint64_t>(next_due_)) : net.now());
  }
  net.wake_at(when);
}

void Generator::end_of_phase(Net& net) {
  const uint64_t now = machine_.cycles();
  if (phase_ == Phase::kOpening) {
    return finish(net, "only " + std::to_string(open_) + " of " + std::to_string(options_.connections) +
                           " connections could be opened in time" +
                           (report_.error_count() == 0 ? "" : ": " + report_.error_text()));
  }
  if (phase_ == Phase::kWarmup) {
    if (started_ < options_.connections) return;  // goes on until every connection takes part
    phase_ = Phase::kMeasure;
    phase_began_ = now;
    phase_ends_ = net.now() + options_.duration;
    if (machine_.busy_cycles) busy_at_start_ = machine_.busy_cycles();
    return;
  }
  finish(net, {});
}

/// The end of the run. An empty `failure`: the measurement is complete.
void Generator::finish(Net& net, std::string failure) {
  const uint64_t now = machine_.cycles();
  if (phase_ == Phase::kDone) return;
  if (phase_ == Phase::kMeasure) {
    report_.seconds = static_cast<double>(now - phase_began_) / machine_.hz;
    if (machine_.busy_cycles) report_.busy_cycles = machine_.busy_cycles() - busy_at_start_;
    count_unanswered(now);
    if (options_.rate > 0 && next_due_ < static_cast<double>(now)) {
      report_.late = static_cast<uint64_t>((static_cast<double>(now) - next_due_) / interval_);
    }
  }
  report_.measured = failure.empty() && phase_ == Phase::kMeasure;
  report_.failure = std::move(failure);
  phase_ = Phase::kDone;
  net.stop(report_.good() ? 0 : 1);
}

/// Requests that have waited so long that they must be lost. A long answer that is on its way counts from the last
/// bytes that came.
void Generator::count_unanswered(uint64_t now) {
  const uint64_t ran = now - run_began_;
  const uint64_t limit = std::min(in_cycles(options_.patience) / 4, ran / 2);
  for (uint32_t i = 0; i < conns_.size(); ++i) {
    const Conn& conn = conns_[i];
    const bool arriving = conn.response.body_left > 0 || conn.response.partial_head;
    const uint64_t since = arriving ? last_progress_ : time_slot(i, conn.first);
    if (conn.state == kOpen && conn.outstanding > 0 && now - since > limit) {
      ++report_.errors[static_cast<size_t>(ErrorKind::kUnanswered)];
    }
  }
}

void Generator::stop(Net& net) {
  if (phase_ == Phase::kMeasure) {
    finish(net, {});
  } else if (phase_ != Phase::kDone) {
    finish(net, "stopped before the measurement began");
  }
}

}  // namespace millrace::load
