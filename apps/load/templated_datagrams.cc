// See templated_datagrams.h.
#include "load/templated_datagrams.h"

#include "wire/ip_protocol.h"

namespace millrace::load {
namespace {

constexpr Duration kTick = milliseconds(10);
constexpr uint32_t kLateTicks = 10;  // without an answer: what is on its way is lost
constexpr uint32_t kProbeFlow = UINT32_MAX;
constexpr uint16_t kProbePort = DatagramSettings{}.first_port - 1;  // a late answer is none of the flows'

}  // namespace

TemplatedDatagrams::TemplatedDatagrams(const Options& options, Machine machine, Report& report)
    : options_(options), machine_(std::move(machine)), report_(report) {
  report_.hz = machine_.hz;
}

void TemplatedDatagrams::start(Net& net) {
  const IpAddr any = options_.target.addr.is_v4() ? IpAddr::any_v4() : IpAddr();
  const IpAddr local = options_.sources.empty() ? any : options_.sources.front();
  phase_end_ = net.now() + options_.patience;
  const auto socket = net.open_datagram({local, kProbePort}, 0, {});
  if (!socket) return fail(net, std::string("cannot open a socket: ") + describe(socket.error()));
  probe_ = *socket;
  if (const auto done = net.connect_datagram(probe_, options_.target); !done) {
    return fail(net, std::string("cannot connect: ") + describe(done.error()));
  }
  probe(net);
  net.wake_at(net.now() + kTick);
}

void TemplatedDatagrams::probe(Net& net) {
  std::vector<std::byte> payload(options_.size);
  stamp_datagram(payload, kProbeFlow, 0);
  Message m;
  m.data = payload;
  (void)net.send_batch(probe_, {&m, 1});  // the next tick tries again
}

void TemplatedDatagrams::event(Net& net, const Event& event) {
  if (phase_ != Phase::kProbe || (event.mask & kError) == 0) return;
  const auto why = net.send_batch(probe_, {});
  if (!why) fail(net, std::string("the server's host says: ") + describe(why.error()));
}

size_t TemplatedDatagrams::input(std::span<pkt::Packet*> frames, Instant) {
  if (client_ != nullptr) return client_->input(frames);
  for (size_t i = 0; i < frames.size() && !way_; ++i) {
    way_ = way_of(*frames[i], wire::kProtocolUdp, options_.target, 0);
  }
  return frames.size();
}

void TemplatedDatagrams::begin_asking(Net& net) {
  net.close(probe_);
  DatagramSettings s;
  s.target = options_.target;
  s.source = way_->source;
  s.next_hop = way_->next_hop;
  s.flows = options_.connections;
  s.window = options_.pipeline;
  s.size = options_.size;
  client_ = std::make_unique<DatagramClient>(s, port_, machine_.cycles);
  phase_ = Phase::kWarmup;
  last_answer_ = net.now();
  phase_end_ = net.now() + options_.warmup;
}

void TemplatedDatagrams::begin_measuring(Instant now) {
  phase_ = Phase::kMeasure;
  began_ = now;
  phase_end_ = now + options_.duration;
  before_ = client_->counters();
  client_->latency() = {};
  if (machine_.busy_cycles) busy_before_ = machine_.busy_cycles();
  if (machine_.stage_cycles) stages_before_ = machine_.stage_cycles();
}

void TemplatedDatagrams::tick(Net& net) {
  if (phase_ == Phase::kDone) return;
  const Instant now = net.now();
  net.wake_at(now + kTick);
  if (phase_ == Phase::kProbe) {
    if (way_) return begin_asking(net);
    if (now >= phase_end_) return fail(net, "the server does not answer");
    return probe(net);
  }
  client_->give_up_after(kLateTicks);
  if (client_->counters().answers != answers_seen_) last_answer_ = now;
  answers_seen_ = client_->counters().answers;
  if (now > last_answer_ + options_.patience) return fail(net, "the server stopped answering");
  if (now < phase_end_) return;
  if (phase_ == Phase::kMeasure) return finish(net);
  begin_measuring(now);
}

void TemplatedDatagrams::finish(Net& net) {
  phase_ = Phase::kDone;
  client_->ask(false);
  const DatagramCounters& c = client_->counters();
  report_.measured = true;
  report_.seconds = static_cast<double>((net.now() - began_).ns()) / 1e9;
  report_.responses = c.answers - before_.answers;
  report_.body_bytes = report_.responses * options_.size;
  report_.late = c.lost - before_.lost;
  report_.latency = client_->latency();
  // From the first on: an answer that is wrong while the run warms up is no better.
  report_.errors[static_cast<size_t>(ErrorKind::kContent)] = c.wrong;
  const std::pair<const char*, uint64_t> all[] = {
      {"answers twice or late", c.again}, {"wrong checksums", c.bad_checksum}, {"turns without packets", c.no_packets}};
  for (const auto& [name, count] : all) {
    if (count != 0) report_.oddities.emplace_back(name, count);
  }
  if (machine_.busy_cycles) report_.busy_cycles = machine_.busy_cycles() - busy_before_;
  if (machine_.stage_cycles) {
    report_.stage_cycles = machine_.stage_cycles();
    for (size_t s = 0; s < report_.stage_cycles.size(); ++s) report_.stage_cycles[s].second -= stages_before_[s].second;
  }
  net.stop(report_.good() ? 0 : 1);
}

void TemplatedDatagrams::fail(Net& net, std::string why) {
  phase_ = Phase::kDone;
  if (client_ != nullptr) client_->ask(false);
  report_.failure = std::move(why);
  net.stop(1);
}

void TemplatedDatagrams::stop(Net&) {
  if (phase_ == Phase::kDone) return;
  phase_ = Phase::kDone;
  if (client_ != nullptr) client_->ask(false);
  report_.failure = "stopped before the measurement ended";
}

}  // namespace millrace::load
