// See template_generator.h.
#include "load/template_generator.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "wire/ip_protocol.h"

namespace millrace::load {

namespace {

constexpr uint16_t kProbePort = 1023;  // below all others
constexpr uint16_t kFirstPort = 1024;
constexpr uint32_t kBatch = 64;
constexpr size_t kAhead = 12;  // connections that are fetched before their turn
constexpr uint32_t kClosingAtOnce = 256;
constexpr Duration kTick = milliseconds(1);
constexpr Duration kCloseTime = seconds(10);

}  // namespace

TemplateGenerator::TemplateGenerator(const Options& options, Machine machine, Report& report)
    : options_(options),
      machine_(std::move(machine)),
      report_(report),
      checker_(options.bytes, options.check_all),
      request_(request_text()) {
  report_.hz = machine_.hz;
}

std::string TemplateGenerator::request_text() const {
  if (options_.mode == Mode::kEcho) return std::string(pattern_piece(0, options_.size));
  const std::string path = options_.bytes != 0 ? "/bytes/" + std::to_string(options_.bytes) : options_.path;
  return "GET " + path + " HTTP/1.1\r\nHost: " + options_.target.to_string() + "\r\n\r\n";
}

uint64_t TemplateGenerator::in_cycles(Duration d) const {
  return static_cast<uint64_t>(static_cast<double>(d.ns()) * machine_.hz / 1e9);
}

// The way and the connections.

void TemplateGenerator::start(Net& net) {
  run_began_ = last_progress_ = now_cycles_ = machine_.cycles();
  phase_ends_ = net.now() + options_.patience;
  const IpAddr any = options_.target.addr.is_v4() ? IpAddr::any_v4() : IpAddr();
  const Endpoint local{options_.sources.empty() ? any : options_.sources.front(), kProbePort};
  const auto probe = net.connect(options_.target, 0, {}, local);
  if (!probe) {
    fail(std::string("no first connection: ") + describe(probe.error()));
    return end(net);
  }
  probe_ = *probe;
  net.wake_at(net.now() + kTick);
}

void TemplateGenerator::event(Net& net, const Event& event) {
  if (phase_ != Phase::kProbe || event.handle != probe_) return;
  if ((event.mask & kConnected) != 0 && way_) return begin_opening(net);
  if ((event.mask & kError) == 0) return;
  std::byte none[1];
  const auto n = net.read(probe_, none);
  fail(std::string("the first connection failed: ") + describe(n ? Error::kIo : n.error()));
  end(net);
}

size_t TemplateGenerator::input(std::span<pkt::Packet*> frames, Instant now) {
  if (client_ != nullptr) {
    now_cycles_ = machine_.cycles();
    return client_->input(frames, now);
  }
  // A segment of the server to the first connection shows where frames come from and go to.
  for (size_t i = 0; i < frames.size() && !way_; ++i) {
    way_ = way_of(*frames[i], wire::kProtocolTcp, options_.target, kProbePort);
  }
  return frames.size();
}

void TemplateGenerator::begin_opening(Net& net) {
  net.close(probe_);
  TemplateSettings settings;
  settings.target = options_.target;
  settings.sources = options_.sources;
  if (settings.sources.empty()) settings.sources.push_back(way_->source);
  settings.next_hop = way_->next_hop;
  settings.first_port = kFirstPort;
  settings.connections = options_.connections;
  settings.request = request_;
  settings.timestamps = options_.timestamps;
  settings.seed = static_cast<uint32_t>(machine_.cycles() >> 10);
  TemplateClient::User& user = *this;
  client_ = std::make_unique<TemplateClient>(settings, port_, user);
  phase_ = Phase::kOpening;
  phase_began_ = machine_.cycles();
  open_more();
}

void TemplateGenerator::open_more() {
  for (uint32_t n = 0; n < kBatch && next_open_ < options_.connections; ++n) {
    if (connecting_ >= options_.connects_at_once) return;
    if (options_.connect_rate > 0) {
      const double passed = static_cast<double>(machine_.cycles() - phase_began_) / machine_.hz;
      if (next_open_ > passed * options_.connect_rate) return;
    }
    const uint32_t i = next_open_++;
    client_->began(i) = machine_.cycles();
    client_->open(i);
    ++connecting_;
  }
}

void TemplateGenerator::opened(uint32_t i) {
  client_->began(i) = 0;
  --connecting_;
  ++open_;
  last_progress_ = now_cycles_;
  if (phase_ == Phase::kOpening) open_more();
}

void TemplateGenerator::closed(uint32_t) {
  --open_;
  --closing_;
  close_some();
}

void TemplateGenerator::broken(uint32_t i, ErrorKind why) {
  const bool opening = phase_ == Phase::kOpening && why != ErrorKind::kEnded && why != ErrorKind::kReset;
  --(opening ? connecting_ : open_);
  if (phase_ == Phase::kClosing) {
    --closing_;
    return close_some();
  }
  ++report_.errors[static_cast<size_t>(why)];
  forget_request(i);
  if (phase_ != Phase::kOpening) return;
  if (report_.error_count() <= 100 + options_.connections / 10) {
    client_->began(i) = machine_.cycles();
    client_->open(i);  // again
    ++connecting_;
    return;
  }
  fail("too many connections fail: " + report_.error_text());
}

// Requests and responses.

void TemplateGenerator::begin_warmup(Instant now) {
  now_cycles_ = machine_.cycles();
  report_.connect_seconds = static_cast<double>(now_cycles_ - phase_began_) / machine_.hz;
  phase_ = Phase::kWarmup;
  run_began_ = phase_began_ = now_cycles_;
  phase_ends_ = now + options_.warmup;
  if (options_.outstanding == 0) return;
  idle_.resize(options_.connections);
  std::iota(idle_.begin(), idle_.end(), 0u);
  std::shuffle(idle_.begin(), idle_.end(), std::mt19937(12345));
  idle_count_ = options_.connections;
  started_ = options_.connections;
}

/// First requests, in batches: all at once would be a burst that no link holds.
void TemplateGenerator::start_some() {
  for (uint32_t n = 0; n < 4 * kBatch && started_ < options_.connections; ++n) begin_request(started_++);
}

void TemplateGenerator::fill_outstanding() {
  for (uint32_t n = 0; n < kBatch && in_flight_ < options_.outstanding && idle_count_ > 0; ++n) {
    const uint32_t i = idle_[idle_at_];
    idle_at_ = idle_at_ + 1 == idle_.size() ? 0 : idle_at_ + 1;
    --idle_count_;
    if (idle_at_ + kAhead < idle_.size()) client_->prefetch(idle_[idle_at_ + kAhead]);
    begin_request(i);
  }
}

/// A connection that can take a request waits for its turn: in random order at first, then all in the same order.
void TemplateGenerator::put_idle(uint32_t i) {
  const size_t at = idle_at_ + idle_count_++;
  idle_[at < idle_.size() ? at : at - idle_.size()] = i;
}

void TemplateGenerator::begin_request(uint32_t i) {
  if (!client_->is_open(i)) return;
  client_->began(i) = now_cycles_;
  client_->request(i);
  ++in_flight_;
}

void TemplateGenerator::received(uint32_t i, std::string_view bytes) {
  while (!bytes.empty()) {
    const bool good = options_.mode == Mode::kHttp ? take_http(i, bytes) : take_echo(i, bytes);
    if (good) continue;
    client_->abort(i);
    --open_;
    return forget_request(i);
  }
}

/// The connection is gone, and with it what it had asked for.
void TemplateGenerator::forget_request(uint32_t i) {
  partial_.erase(i);
  client_->user_byte(i) = 0;
  const bool asked = std::exchange(client_->began(i), 0) != 0;
  if (asked && phase_ != Phase::kOpening) --in_flight_;
}

/// Takes the front of `bytes`; false: it is wrong, and counted.
bool TemplateGenerator::take_http(uint32_t i, std::string_view& bytes) {
  uint8_t& has_partial = client_->user_byte(i);
  ResponseState fresh;
  ResponseState& state = has_partial != 0 ? partial_[i].http : fresh;
  const ResponseChecker::Outcome got = checker_.feed(i, state, bytes);
  if (got.fault != Fault::kNone) {
    const ErrorKind kind = got.fault == Fault::kStatus    ? ErrorKind::kStatus
                           : got.fault == Fault::kLength  ? ErrorKind::kLength
                           : got.fault == Fault::kContent ? ErrorKind::kContent
                                                          : ErrorKind::kSyntax;
    ++report_.errors[static_cast<size_t>(kind)];
    return false;
  }
  if (phase_ == Phase::kMeasure) report_.body_bytes += got.body_bytes;
  bytes.remove_prefix(got.consumed);
  if (got.complete) {
    if (has_partial != 0) partial_.erase(i);
    has_partial = 0;
    answered(i);
  } else if (has_partial == 0) {
    has_partial = 1;
    partial_[i].http = state;
  }
  return true;
}

bool TemplateGenerator::take_echo(uint32_t i, std::string_view& bytes) {
  uint8_t& has_partial = client_->user_byte(i);
  const size_t before = has_partial != 0 ? partial_[i].echoed : 0;
  const size_t n = std::min(bytes.size(), request_.size() - before);
  if (std::memcmp(bytes.data(), request_.data() + before, n) != 0) {
    ++report_.errors[static_cast<size_t>(ErrorKind::kContent)];
    return false;
  }
  if (phase_ == Phase::kMeasure) report_.body_bytes += n;
  bytes.remove_prefix(n);
  if (before + n == request_.size()) {
    if (has_partial != 0) partial_.erase(i);
    has_partial = 0;
    answered(i);
  } else {
    has_partial = 1;
    partial_[i].echoed = before + n;
  }
  return true;
}

void TemplateGenerator::answered(uint32_t i) {
  const uint64_t began = std::exchange(client_->began(i), 0);
  if (began == 0) {  // nobody asked for this
    ++report_.errors[static_cast<size_t>(ErrorKind::kSyntax)];
    return;
  }
  last_progress_ = now_cycles_;
  --in_flight_;
  if (phase_ == Phase::kMeasure) {
    ++report_.responses;
    report_.latency.record(now_cycles_ > began ? now_cycles_ - began : 0);
  }
  if (phase_ != Phase::kWarmup && phase_ != Phase::kMeasure) return;
  if (options_.outstanding == 0) return begin_request(i);
  put_idle(i);
  fill_outstanding();
}

// Phases.

void TemplateGenerator::tick(Net& net) {
  if (phase_ == Phase::kDone) return;
  const Instant now = net.now();
  now_cycles_ = machine_.cycles();
  if (client_ != nullptr) client_->sweep(now);
  const bool late = now >= phase_ends_;
  switch (phase_) {
    case Phase::kProbe:
      if (late) fail("the server does not answer");
      break;
    case Phase::kOpening:
      open_more();
      if (open_ == options_.connections) {
        begin_warmup(now);
      } else if (late && now_cycles_ > last_progress_ + in_cycles(options_.patience)) {
        fail("only " + std::to_string(open_) + " of " + std::to_string(options_.connections) +
             " connections could be opened" + (report_.error_count() == 0 ? "" : ": " + report_.error_text()));
      }
      break;
    case Phase::kWarmup:
      if (options_.outstanding != 0) fill_outstanding();
      start_some();
      if (!late || started_ < options_.connections) break;
      phase_ = Phase::kMeasure;
      phase_began_ = now_cycles_;
      phase_ends_ = now + options_.duration;
      if (machine_.busy_cycles) busy_at_start_ = machine_.busy_cycles();
      if (machine_.stage_cycles) stages_at_start_ = machine_.stage_cycles();
      break;
    case Phase::kMeasure:
      if (late) finish_measuring(now);
      break;
    case Phase::kClosing:
      close_some();
      if (open_ == 0 || late) return end(net);
      break;
    case Phase::kDone:
      break;
  }
  const bool asking = phase_ == Phase::kWarmup || phase_ == Phase::kMeasure;
  if (asking && in_flight_ > 0 && now_cycles_ > last_progress_ + in_cycles(options_.patience)) {
    fail("the server stopped answering");
  }
  if (!failure_.empty()) return end(net);
  const bool starting = phase_ == Phase::kWarmup && started_ < options_.connections;
  net.wake_at(now + (starting ? microseconds(20) : kTick));
}

void TemplateGenerator::finish_measuring(Instant now) {
  report_.seconds = static_cast<double>(now_cycles_ - phase_began_) / machine_.hz;
  if (machine_.busy_cycles) report_.busy_cycles = machine_.busy_cycles() - busy_at_start_;
  if (machine_.stage_cycles) {
    report_.stage_cycles = machine_.stage_cycles();
    for (size_t s = 0; s < report_.stage_cycles.size(); ++s) {
      report_.stage_cycles[s].second -= stages_at_start_[s].second;
    }
  }
  // Requests that have waited so long that they must be lost.
  const uint64_t limit = std::min(in_cycles(options_.patience) / 4, (now_cycles_ - run_began_) / 2);
  for (uint32_t i = 0; i < options_.connections; ++i) {
    const uint64_t began = client_->began(i);
    if (client_->is_open(i) && began != 0 && began + limit < now_cycles_) {
      ++report_.errors[static_cast<size_t>(ErrorKind::kUnanswered)];
    }
  }
  report_.measured = true;
  phase_ = Phase::kClosing;
  phase_ends_ = now + kCloseTime;
}

/// Connections whose last response has come are closed, so many at a time.
void TemplateGenerator::close_some() {
  if (phase_ != Phase::kClosing || in_flight_ > 0) return;
  for (; next_close_ < options_.connections && closing_ < kClosingAtOnce; ++next_close_) {
    if (!client_->is_open(next_close_)) continue;
    client_->close(next_close_);
    ++closing_;
  }
}

void TemplateGenerator::fail(std::string why) {
  if (failure_.empty()) failure_ = std::move(why);
}

void TemplateGenerator::end(Net& net) {
  if (phase_ == Phase::kDone) return;
  count_oddities();
  if (phase_ == Phase::kClosing && open_ > 0) report_.oddities.emplace_back("connections did not close", open_);
  phase_ = Phase::kDone;
  report_.failure = failure_;
  if (!failure_.empty()) report_.measured = false;
  net.stop(report_.good() ? 0 : 1);
}

void TemplateGenerator::count_oddities() {
  if (client_ == nullptr) return;
  const TemplateCounters& c = client_->counters();
  const std::pair<const char*, uint64_t> all[] = {
      {"segments sent again", c.resent},          {"segments out of order", c.out_of_order},
      {"segments twice", c.duplicates},           {"acknowledgments of nothing sent", c.bad_ack},
      {"wrong checksums", c.bad_checksum},        {"malformed segments", c.malformed},
      {"missing or old timestamps", c.no_timestamps}, {"unexpected segments", c.unexpected},
      {"waits for the window", c.closed_window},  {"turns without packets", c.no_packets}};
  for (const auto& [name, count] : all) {
    if (count != 0) report_.oddities.emplace_back(name, count);
  }
}

void TemplateGenerator::stop(Net& net) {
  if (phase_ == Phase::kMeasure) {
    now_cycles_ = machine_.cycles();
    finish_measuring(net.now());
  }
  if (phase_ != Phase::kClosing) fail("stopped before the measurement began");
  end(net);
}

}  // namespace millrace::load
