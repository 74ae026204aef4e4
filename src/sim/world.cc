#include "sim/world.h"

#include <algorithm>

#include "sim/attacker.h"
#include "sim/text.h"

namespace millrace::sim {
namespace {

const std::array<std::array<IpAddr, 2>, 2> kAddresses = {{
    {IpAddr::v4(10, 0, 0, 1), *IpAddr::parse("fd00::1")},
    {IpAddr::v4(10, 0, 0, 2), *IpAddr::parse("fd00::2")},
}};
constexpr Duration kConverge = seconds(1'500);  // after the wire healed
constexpr uint64_t kStepLimit = 20'000'000;

ObserverRules rules_for(const Plan& plan) {
  ObserverRules rules;
  for (size_t i = 0; i < 2; ++i) {
    const HostPlan& host = plan.host[i];
    // A worker that follows another asks for the neighbour even if it is a static one.
    const bool knows_neighbour = host.static_neighbour && host.workers == 1;
    rules.loses_inside[i] = !knows_neighbour;
    rules.prompt_acks[i] = plan.roomy() && knows_neighbour;
    rules.delayed_ack = std::max(rules.delayed_ack, microseconds(host.tcp.delayed_ack_us));
    rules.rto_max = microseconds(host.tcp.rto_max_us);
  }
  return rules;
}

}  // namespace

World::World(const Plan& plan, const WorldOptions& options)
    : plan_(plan),
      observer_(rules_for(plan), [this](const std::string& what) { fail(what); }),
      capture_(options.snap_length),
      rng_(plan.seed + 1) {
  session_hooks_.fail = [this](const std::string& what) { fail(what); };
  session_hooks_.released_early = [this](const Session& s, uint64_t end) { return released_early(s, end); };
  for (size_t i = 0; i < 2; ++i) {
    links_[i] = std::make_unique<Link>(heap_, frames_, rng_.next(), plan_.link[i],
                                       [this, i](Frame* frame) {
                                         hosts_[1 - i]->receive(frame);
                                         progress();
                                       });
    HostHooks hooks;
    hooks.wire = [this, i](Frame* frame) { links_[i]->send(frame); };
    hooks.capture = [this, i](const Bytes& frame, bool outbound) {
      capture_.add(static_cast<uint32_t>(i), heap_.now(), frame, outbound);
    };
    hooks.fail = [this](const std::string& what) { fail(what); };
    hooks.pass_time = [this](Duration by) { return pass_time(by); };
    capture_.add_interface(i == 0 ? "host0" : "host1");
    hosts_[i] = std::make_unique<Host>(heap_, frames_, observer_, plan_.host[i], static_cast<int>(i), rng_.next(),
                                       options.record, std::move(hooks));
    for (uint32_t worker = 0; worker < hosts_[i]->workers(); ++worker) {
      traffic_[i].push_back(std::make_unique<Traffic>(plan_, static_cast<int>(i), worker, hosts_[i]->shards(),
                                                      kAddresses, accepted_[i], session_hooks_));
    }
  }
}

World::~World() = default;

void World::fail(const std::string& what) {
  if (failure_.empty()) failure_ = text("at ", heap_.now().us(), " us: ", what);
}

Outcome World::run() {
  for (size_t i = 0; i < 2; ++i) {
    if (plan_.host[i].static_neighbour) hosts_[i]->add_neighbour(kAddresses[1 - i], plan_.host[1 - i].nic.mac);
    std::vector<Program*> programs;
    for (const auto& traffic : traffic_[i]) programs.push_back(traffic.get());
    hosts_[i]->start(programs, kAddresses[i]);
  }
  if (plan_.attack) heap_.at(heap_.now() + milliseconds(1), [this] { attack(); });
  heap_.at(heap_.now() + plan_.chaos, [this] { heal(); });
  Outcome outcome;
  const bool ended = run_until_done();
  for (size_t i = 0; i < 2; ++i) {
    outcome.reassembled += hosts_[i]->counter("ip.reassembly.datagrams");
    if (hosts_[i]->workers() > 1) outcome.handed_over_whole += hosts_[i]->counter("steer.datagrams");
    for (const auto& traffic : traffic_[i]) outcome.datagrams_answered += traffic->datagrams_answered();
  }
  if (ended) settle();
  outcome.failure = failure_;
  for (const auto& host : hosts_) outcome.digest = outcome.digest * 31 + host->digest();
  outcome.payload_bytes = observer_.data_bytes_delivered();
  outcome.segments = observer_.segments();
  outcome.retransmissions = observer_.retransmissions();
  outcome.ended = heap_.now();
  outcome.heap_events = steps_;
  outcome.fault_kinds = fault_kinds();
  outcome.bytes_under_faults = bytes_at_heal_;
  return outcome;
}

// What has been delivered decides when the wire is cut and when it heals.
void World::progress() {
  if (healed_) return;
  const uint64_t moved = observer_.data_bytes_delivered();
  if (next_partition_ < plan_.partitions.size() && moved >= plan_.partitions[next_partition_].after_bytes) {
    cut(plan_.partitions[next_partition_++]);
  }
  if (moved >= plan_.heal_after_bytes) heal();
}

void World::heal() {
  if (healed_) return;
  healed_ = true;
  bytes_at_heal_ = observer_.data_bytes_delivered();
  for (auto& link : links_) link->heal();
  const Instant limit = heap_.now() + kConverge;
  heap_.at(limit, [this] {
    if (done()) return;
    std::string open;
    for (const auto& programs : traffic_) {
      for (const auto& traffic : programs) {
        for (const Session& s : traffic->sessions()) {
          if (!s.over() || s.error()) open += "\n  " + s.describe();
        }
      }
    }
    fail("no convergence after the wire healed; open or failed:" + open);
  });
}

// A cut lasts as long again when nobody has sent anything into it.
void World::cut(const Partition& p) {
  links_[0]->set_up(false);
  if (p.both) links_[1]->set_up(false);
  mend(p.length, links_[0]->stats().lost_in_partition + links_[1]->stats().lost_in_partition, 1);
}

void World::mend(Duration after, uint64_t lost_before, uint32_t turn) {
  heap_.at(heap_.now() + after, [this, after, lost_before, turn] {
    const uint64_t lost = links_[0]->stats().lost_in_partition + links_[1]->stats().lost_in_partition;
    if (lost == lost_before && !healed_ && turn < 50) return mend(after, lost_before, turn + 1);
    for (auto& link : links_) link->set_up(true);
  });
}

void World::attack() {
  if (healed_ || !failure_.empty()) return;
  const std::array<MacAddr, 2> macs{plan_.host[0].nic.mac, plan_.host[1].nic.mac};
  // Elsewhere a window that was opened may not have left the host yet: it waits for frames, or for the neighbour.
  const std::array<bool, 2> prompt = rules_for(plan_).prompt_acks;
  bool syn = spoofed_syns_ < 3 && rng_.chance(1, 8);
  auto forged = syn ? forge_syn(observer_, rng_, macs) : forge(observer_, rng_, macs, prompt);
  if (!forged && !syn && forged_ == 0) {  // connections that are half closed early offer nothing else
    syn = true;
    forged = forge_syn(observer_, rng_, macs);
  }
  if (forged) {
    ++forged_;
    Frame* frame = frames_.make(forged->bytes);
    frame->injected = !forged->genuine;
    if (syn) ++spoofed_syns_;
    hosts_[static_cast<size_t>(forged->victim)]->receive(frame);
  }
  // Fast worlds are over soon: the first one comes as early as there is a target.
  const uint64_t longest = forged_ == 0 ? 500'000 : 100'000'000;
  heap_.at(heap_.now() + Duration(static_cast<int64_t>(rng_.between(100'000, longest))), [this] { attack(); });
}

bool World::done() const {
  return std::all_of(traffic_.begin(), traffic_.end(), [](const auto& programs) {
    return std::all_of(programs.begin(), programs.end(), [](const auto& traffic) { return traffic->done(); });
  });
}

bool World::run_until_done() {
  while (failure_.empty()) {
    if (done()) {
      heal();
      return true;
    }
    if (++steps_ > kStepLimit) fail("more events than any seed should need");
    if (!heap_.step()) fail("nothing left to happen, but connections are open");
  }
  return false;
}

// Time-wait passes, orphans time out; then nothing may be left.
void World::settle() {
  const std::string wrong = check_sessions();
  if (!wrong.empty()) return fail(wrong);
  for (size_t i = 0; i < 2; ++i) {
    for (uint32_t worker = 0; worker < hosts_[i]->workers(); ++worker) {
      traffic_[i][worker]->close_listeners(hosts_[i]->net(worker));
    }
    hosts_[i]->run_soon();
  }
  const Instant until = heap_.now() + seconds(600);
  const auto idle = [this] { return hosts_[0]->check_idle().empty() && hosts_[1]->check_idle().empty(); };
  while (failure_.empty() && heap_.next_at() <= until && steps_ < kStepLimit) {
    heap_.step();
    if (++steps_ % 64 == 0 && idle()) break;
  }
  for (size_t i = 0; i < 2 && failure_.empty(); ++i) {
    std::string left = hosts_[i]->check_idle();
    if (!left.empty()) fail(text("host ", i, " at the end: ", left));
  }
  if (!failure_.empty()) return;
  for (size_t i = 0; i < 2; ++i) {
    const std::string left = hosts_[i]->check_pools();
    if (!left.empty()) fail(text("host ", i, " at the end: ", left));
  }
}

std::string World::check_sessions() const {
  for (size_t i = 0; i < 2; ++i) {
    for (const auto& traffic : traffic_[i]) {
      for (const Session& s : traffic->sessions()) {
        if (s.error() && !allowed_error(s)) return "unexpected error: " + s.describe();
      }
    }
  }
  return {};
}

// An abort reaches the other end as a reset. A connection that the server never accepted may be refused, reset or time
// out for lack of room.
bool World::allowed_error(const Session& s) const {
  const ConnPlan& c = s.conn();
  if (c.kind == ConnKind::kAbort || s.unreachable()) return true;
  if (c.kind == ConnKind::kSimultaneous) return s.sent() == 0 && s.received() == 0;
  if (s.role() != 0) return false;
  if (never_answered(c)) return true;
  // The server gave the half-open entry up, for want of room or of an answer, could not make it a connection, or sent a
  // cookie, whose answer was lost while what followed it came through.
  const Host& server = *hosts_[static_cast<size_t>(1 - s.host())];
  const uint64_t refused = server.counter("tcp.half_open_evicted") + server.counter("tcp.half_open_timed_out") +
                           server.counter("tcp.drop.backlog_full") + server.counter("tcp.drop.table_full") +
                           server.counter("tcp.syncookies_failed");
  return refused > 0 && s.received() == 0 && never_accepted(c);
}

// Whether the wire lost every SYN, or every answer to one, although the client tried as often as it is set to.
bool World::never_answered(const ConnPlan& c) const {
  const Flow* flow = observer_.by_port(c.port);
  if (flow == nullptr || flow->loose) return false;
  const Half& client = flow->half[flow->ends[0].port == c.port ? 1 : 0];
  const auto tries = static_cast<uint64_t>(plan_.host[static_cast<size_t>(c.client)].tcp.syn_retries);
  return !client.peer_syn && client.retransmitted >= tries;
}

// Whether as many connections to the port of `c` were never accepted as failed without an answer.
bool World::never_accepted(const ConnPlan& c) const {
  uint64_t opened = 0;
  uint64_t unanswered = 0;
  for (const auto& traffic : traffic_[static_cast<size_t>(c.client)]) {
    for (const Session& s : traffic->sessions()) {
      if (&s.conn() != &c || s.role() != 0 || s.unreachable()) continue;
      ++opened;
      if (s.error() && s.received() == 0) ++unanswered;
    }
  }
  const Accepted& ports = accepted_[static_cast<size_t>(1 - c.client)];
  const auto found = ports.find(c.port);
  return unanswered + (found == ports.end() ? 0 : found->second) <= opened;
}

bool World::released_early(const Session& s, uint64_t end) const {
  if (s.conn().kind == ConnKind::kShort) return false;
  const Flow* flow = observer_.by_port(s.conn().port);
  if (flow == nullptr || flow->loose) return false;
  const size_t here = flow->ends[0].port == s.conn().port ? 0 : 1;
  // The port is the server's; of a simultaneous open, the end of role 0.
  const int role_here = s.conn().kind == ConnKind::kSimultaneous ? 0 : 1;
  const Half& half = flow->half[s.role() == role_here ? here : 1 - here];
  return !flow->dead() && half.ack_seen - 1 < static_cast<int64_t>(end);
}

Instant World::pass_time(Duration by) {
  const Instant until = heap_.now() + by;
  heap_.run_until(until);
  return heap_.now();
}

uint32_t World::fault_kinds() const {
  LinkStats sum;
  for (const auto& link : links_) {
    const LinkStats& s = link->stats();
    sum.lost += s.lost;
    sum.lost_in_burst += s.lost_in_burst;
    sum.lost_in_queue += s.lost_in_queue;
    sum.lost_in_partition += s.lost_in_partition;
    sum.duplicated += s.duplicated;
    sum.reordered += s.reordered;
    sum.corrupted += s.corrupted;
  }
  uint32_t kinds = plan_.tiny_pools ? 1 : 0;
  for (const uint64_t n : {sum.lost, sum.lost_in_burst, sum.lost_in_queue, sum.lost_in_partition, sum.duplicated,
                           sum.reordered, sum.corrupted, forged_}) {
    if (n > 0) ++kinds;
  }
  return kinds;
}

std::string World::traces(uint32_t records) {
  std::string out;
  for (size_t i = 0; i < 2; ++i) {
    out += text("trace of host ", i, ":\n", hosts_[i]->trace(records));
  }
  return out;
}

std::string World::statistics() {
  std::string out;
  for (size_t i = 0; i < 2; ++i) {
    const LinkStats& s = links_[i]->stats();
    const NicStats n = hosts_[i]->nic_stats();
    out += text("from host ", i, ": sent ", s.sent, " delivered ", s.delivered, " lost ", s.lost, "+", s.lost_in_burst,
                "+", s.lost_in_queue, "+", s.lost_in_partition, " duplicated ", s.duplicated, " reordered ",
                s.reordered, " corrupted ", s.corrupted, "; NIC tx ", n.tx_packets, "->", n.tx_frames, " rx ",
                n.rx_frames, " merged ", n.rx_merged, " ring full ", n.rx_ring_full, " no buffer ", n.rx_no_buffer,
                " turns ", hosts_[i]->turns(), " pumps ", hosts_[i]->pumps(), " workers ", hosts_[i]->workers(),
                " handed over ", hosts_[i]->handed_over(), "\n");
  }
  out += text("forged ", forged_, "\n");
  return out;
}

Outcome run_seed(uint64_t seed, uint32_t workers) {
  World world(Plan::from_seed(seed, workers), {});
  return world.run();
}

}  // namespace millrace::sim
