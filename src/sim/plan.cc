#include "sim/plan.h"

#include <algorithm>

#include "sim/text.h"

namespace millrace::sim {
namespace {

class Maker {
 public:
  explicit Maker(uint64_t seed) : rng_(seed ^ 0x6d696c6c72616365ULL), manners_rng_(seed ^ 0x6d616e6e657273ULL) {
    plan_.seed = seed;
    likely_ = static_cast<uint32_t>(rng_.between(10, 50));  // swarm weight of this seed, percent
  }

  void make() {
    network();
    faults();
    for (int h = 0; h < 2; ++h) device(h);
    // The least ssthresh is two segments (RFC 5681 (4)): a queue for fewer would lose one of every window for ever.
    for (int h = 0; h < 2; ++h) {
      plan_.link[h].queue_bytes = std::max(plan_.link[h].queue_bytes, 3u * plan_.host[h].nic.limits.mtu);
    }
    for (int h = 0; h < 2; ++h) host(h);
    manners();
    connections();
    plan_.heal_after_bytes = plan_.total_bytes() * 19 / 20;
    plan_.check_every = static_cast<uint32_t>(rng_.between(4, 32));
  }

 private:
  bool on(const char* name) { return on(name, likely_); }
  bool on(const char* name, uint32_t percent) {
    if (!rng_.chance(percent, 100)) return false;
    plan_.features.emplace_back(name);
    return true;
  }
  template <class T>
  T pick(std::initializer_list<T> of) {
    return of.begin()[rng_.below(of.size())];
  }
  uint32_t between(uint32_t low, uint32_t high) { return static_cast<uint32_t>(rng_.between(low, high)); }

  void network() {
    const Duration delay = pick({microseconds(10), microseconds(50), microseconds(200), milliseconds(1),
                                 milliseconds(5), milliseconds(20), milliseconds(80), milliseconds(300)});
    const uint64_t rate = pick<uint64_t>({2'000'000, 10'000'000, 100'000'000, 1'000'000'000, 10'000'000'000});
    for (int i = 0; i < 2; ++i) {
      plan_.link[i].delay = delay;
      plan_.link[i].bits_per_second = rate;
    }
    jumbo_ = on("jumbo MTU", 15);
    if (on("uneven delay", 15)) plan_.link[1].delay = delay * 3;
    if (on("uneven rate", 15)) plan_.link[1].bits_per_second = rate / 10 + 500'000;
  }

  // At least three kinds strike.
  void faults() {
    uint32_t kinds = 0;
    const bool forward_only = rng_.chance(1, 6);
    while (kinds < 3) {
      kinds = 0;
      plan_.features.erase(std::remove_if(plan_.features.begin(), plan_.features.end(),
                                          [](const std::string& f) { return f.starts_with("fault"); }),
                           plan_.features.end());
      LinkFaults f{};
      if (on("fault: loss")) f.loss = pick({5'000u, 10'000u, 30'000u, 100'000u}), ++kinds;
      if (on("fault: bursts")) {
        f.burst_enter = pick({4'000u, 10'000u, 20'000u});
        f.burst_leave = pick({50'000u, 200'000u, 500'000u});
        f.burst_loss = pick({300'000u, 700'000u, 1'000'000u});
        ++kinds;
      }
      if (on("fault: duplication")) f.duplicate = pick({5'000u, 20'000u, 50'000u}), ++kinds;
      if (on("fault: reordering")) {
        f.reorder = pick({5'000u, 20'000u, 50'000u, 200'000u});
        f.reorder_by = pick({microseconds(30), microseconds(500), milliseconds(3), milliseconds(50)});
        ++kinds;
      }
      if (on("fault: corruption")) f.corrupt = pick({5'000u, 20'000u, 50'000u}), ++kinds;
      plan_.link[0].faults = f;
      plan_.link[1].faults = forward_only ? LinkFaults{} : f;
      plan_.partitions.clear();
      if (on("fault: partition")) partitions(), ++kinds;
      plan_.attack = on("fault: forged segments");
      kinds += plan_.attack ? 1 : 0;
      uint32_t queue = 1u << 20;
      if (on("fault: short queue")) queue = pick({6'000u, 16'000u, 64'000u}), ++kinds;
      for (auto& link : plan_.link) {
        link.queue_bytes = queue;
        if (queue < 1u << 20) link.bits_per_second = std::min<uint64_t>(link.bits_per_second, 100'000'000);
      }
      plan_.tiny_pools = on("fault: tiny pools");
      kinds += plan_.tiny_pools ? 1 : 0;
    }
  }

  void partitions() {
    const uint32_t count = between(1, 4);
    for (uint32_t i = 0; i < count; ++i) {
      const Duration length = pick({milliseconds(20), milliseconds(300), milliseconds(1'500), milliseconds(5'000)});
      plan_.partitions.push_back({rng_.below(900'000), length, rng_.chance(2, 3)});
    }
  }

  void device(int h) {
    NicConfig& nic = plan_.host[h].nic;
    link::DeviceLimits& limits = nic.limits;
    nic.mac = MacAddr{{0x02, 0, 0, 0, 0, static_cast<uint8_t>(h + 1)}};
    nic.seed = rng_.next();
    limits.mtu = 1500;
    if (on("small MTU", 12)) limits.mtu = pick<uint16_t>({1280, 1281, 1400});
    if (jumbo_) limits.mtu = pick<uint16_t>({4000, 9000});
    limits.max_segments = pick<uint16_t>({1, 2, 3, 8, 40});
    if (on("TX checksum offload", 55)) {
      limits.tx_checksum_v4 = true;
      limits.tx_checksum_v6 = rng_.chance(3, 4);
      limits.tx_ip_checksum = rng_.chance(1, 2);
      if (on("TSO", 60)) {
        limits.max_segments = pick<uint16_t>({2, 8, 17, 40});
        limits.max_tso_bytes = pick({9'000u, 32'000u, 65'535u, 65'549u});
        limits.tso_v4 = true;
        limits.tso_v6 = limits.tx_checksum_v6 && rng_.chance(3, 4);
      }
    }
    limits.headroom = pick<uint16_t>({0, 12, 14});
    nic.bits_per_second = std::max<uint64_t>(plan_.link[h].bits_per_second, 1'000'000'000) * 2;
    nic.tx_ring = pick({64u, 256u, 1024u});
    if (on("short TX ring", 20)) nic.tx_ring = between(1, 6);
    nic.rx_ring = pick({128u, 512u});
    if (on("short RX ring", 10)) nic.rx_ring = between(4, 16);
    nic.rx_queues = pick({1u, 1u, 2u, 4u});
    nic.rx_checksum = pick({RxChecksum::kNone, RxChecksum::kVerified, RxChecksum::kPartial});
    if (on("LRO", 30)) {
      nic.lro = true;
      if (nic.rx_checksum == RxChecksum::kNone) nic.rx_checksum = RxChecksum::kVerified;
    }
    nic.odd_splits = on("odd segment splits", 30);
    nic.pad = rng_.chance(3, 4);
  }

  void host(int h) {
    HostPlan& host = plan_.host[h];
    tcp::Settings& tcp = host.tcp;
    if (on("no timestamps", 20)) tcp.timestamps = 0;
    if (on("no SACK", 20)) tcp.sack = 0;
    if (on("no RACK", 15)) tcp.rack = 0;
    if (on("no window scaling", 15)) tcp.window_scaling = 0;
    tcp.initial_window = pick<int64_t>({10, 10, 10, 1, 2, 4, 64});
    tcp.send_buffer = pick<int64_t>({65'536, 262'144, 1'048'576});
    tcp.receive_buffer = pick<int64_t>({32'768, 131'072, 524'288, 1'048'576});
    tcp.time_wait_us = pick<int64_t>({10'000, 1'000'000, 60'000'000});
    tcp.delayed_ack_us = pick<int64_t>({0, 1'000, 40'000, 200'000});
    tcp.rto_min_us = pick<int64_t>({5'000, 50'000, 200'000, 200'000});
    if (on("small MSS", 6)) tcp.mss = between(536, 1'200);
    host.poll_delay = pick({Duration(), microseconds(5), microseconds(50), milliseconds(1)});
    host.timer_delay = pick({Duration(), microseconds(20), milliseconds(1)});
    host.pump = on("pump", 30);
    host.static_neighbour = rng_.chance(1, 2);
    if (plan_.tiny_pools) {
      host.frames = between(700, 1'400);
      host.references = between(400, 1'000);
      host.block_bytes = size_t{2} << 20 << between(2, 3);
      host.max_half_open = between(5, 8);  // three are taken by spoofed SYNs
      host.max_time_wait = between(2, 8);
      host.max_connections = between(12, 24);
    }
  }

  // How the hosts behave to the network. By chances of its own, so that a seed is otherwise what it was without.
  void manners() {
    const auto so = [this](const char* name, uint32_t percent) {
      if (!manners_rng_.chance(percent, 100)) return false;
      plan_.features.emplace_back(name);
      return true;
    };
    const auto one_of = [this](auto of) { return of[manners_rng_.below(of.size())]; };
    const bool marks = so("marks", 25);
    for (int h = 0; h < 2; ++h) {
      tcp::Settings& tcp = plan_.host[h].tcp;
      if (marks) {
        plan_.link[h].mark_bytes = one_of(std::array{3'000u, 12'000u, 60'000u});
        tcp.ecn = one_of(std::array{0, 1, 2, 3, 3, 4, 5, 5});
      }
      if (so("controller", 30)) {
        tcp.congestion_control = tcp::cc::find_controller(one_of(std::array{"newreno", "bbr", "dctcp"}));
      }
      if (so("pacing", 10)) tcp.pacing = 1;
      if (so("MTU probing", 10)) tcp.mtu_probing = 2;
    }
  }

  SidePlan side(uint32_t send_total) {
    SidePlan s;
    s.send_total = send_total;
    s.write_chunk = pick({100u, 1'000u, 1'449u, 3'333u, 16'384u, 65'535u, 262'144u});
    s.read_chunk = pick({500u, 4'096u, 65'536u});
    if (send_total > 100'000) s.write_chunk = std::max(s.write_chunk, 1'000u);
    s.lent = on("zero-copy send", 20);
    if (on("borrowed receive", 20)) {
      s.borrow = true;
      s.hold = between(0, 5);
    }
    if (on("slow reader", likely_ / 2)) {
      s.pause_every = between(20'000, 200'000);
      s.pause = pick({milliseconds(3), milliseconds(100), milliseconds(1'500)});
    }
    if (on("tiny buffers", likely_ / 3)) {
      s.options.send_buffer = between(2'048, 9'000);
      s.options.receive_buffer = between(4'096, 12'000);
    }
    // A lent buffer is taken whole or not at all.
    if (s.lent && s.options.send_buffer != 0) s.write_chunk = std::min(s.write_chunk, s.options.send_buffer / 2);
    if (on("Nagle", 15)) s.options.no_delay = false;
    s.shut_early = rng_.chance(2, 3);
    if (on("keepalive", 15)) keepalive(s);
    return s;
  }
  void keepalive(SidePlan& s) { keepalive(s, pick({seconds(1), seconds(5)})); }
  static void keepalive(SidePlan& s, Duration idle) {
    s.options.keepalive = true;
    s.options.keepalive_idle = idle;
    s.options.keepalive_interval = seconds(1);
    s.options.keepalive_probes = 30;
  }

  ConnPlan& connection(ConnKind kind, uint32_t up, uint32_t down) {
    ConnPlan& c = plan_.connections.emplace_back();
    c.kind = kind;
    c.port = static_cast<uint16_t>(1'000 + plan_.connections.size());
    c.v6 = rng_.chance(1, 2);
    c.client = static_cast<int>(rng_.below(2));
    c.key = rng_.next();
    c.start = Duration(static_cast<int64_t>(rng_.below(200'000'000)));
    c.side[0] = side(up);
    c.side[1] = side(down);
    // One that only receives would never hear that its server has given the handshake up.
    if (up == 0 && !c.side[0].options.keepalive) keepalive(c.side[0], seconds(5));
    return c;
  }

  void connections() {
    // Big transfers make the megabyte; the rest is variety.
    const uint32_t bulk = between(1, 3);
    for (uint32_t i = 0; i < bulk; ++i) {
      const uint32_t bytes = between(1'100'000, 1'300'000) / bulk;
      const uint32_t mode = between(0, 3);
      const uint32_t up = mode == 0 ? 0 : mode == 1 ? bytes : bytes / 2;
      connection(ConnKind::kTransfer, up, bytes - up);
    }
    if (on("requests", 50)) {
      ConnPlan& c = connection(ConnKind::kRequests, between(1, 3'000), between(1, 20'000));
      c.rounds = between(2, 20);
    }
    if (on("short connections", 40)) {
      ConnPlan& c = connection(ConnKind::kShort, between(0, 2'000), between(0, 6'000));
      c.rounds = between(3, 30);
      for (SidePlan& s : c.side) s.pause_every = 0;
    }
    if (on("abort", 30)) {
      ConnPlan& c = connection(ConnKind::kAbort, 120'000, 120'000);
      c.side[rng_.below(2)].abort_after = between(1, 100'000);
      for (SidePlan& s : c.side) keepalive(s);
    }
    if (on("simultaneous open", 20)) connection(ConnKind::kSimultaneous, between(0, 60'000), between(0, 60'000));
    if (plan_.tiny_pools) {
      for (ConnPlan& c : plan_.connections) c.rounds = std::min(c.rounds, 8u);
    }
  }

  // Drawn last, so that the rest of a seed is the same with any number of workers.
 public:
  void workers(uint32_t count) {
    if (count <= 1) return;
    const uint32_t many = between(0, 1);
    for (uint32_t h = 0; h < 2; ++h) {
      if (h != many && rng_.chance(1, 2)) continue;
      HostPlan& host = plan_.host[h];
      host.workers = count;
      host.nic.rx_queues = pick({1u, count, count, count, 2 * count});
      host.sharding = pick({Sharding::kOwn, Sharding::kDeviceKey, Sharding::kDeviceHash});
      host.table_changes = on("changing RSS table", 50);
      host.ring_delay = pick({Duration(), microseconds(2), microseconds(50), milliseconds(2)});
      host.ring_room = pick({1u, 4u, 64u, 1'024u});
    }
  }
  void datagrams() {
    if (!on("datagrams", 40)) return;
    for (DatagramPlan& d : plan_.datagrams) {
      d.count = between(0, 300);
      d.largest = pick({200u, 1'400u, 9'000u, 60'000u});
      d.key = rng_.next();
      d.interval = microseconds(between(100, 100'000));
      d.v6 = rng_.chance(1, 2);
      d.connected = rng_.chance(1, 2);
      d.merge = rng_.chance(1, 2);
      d.borrow = rng_.chance(1, 2);
    }
  }
  [[nodiscard]] Plan take() { return std::move(plan_); }

 private:
  base::Rng rng_;
  base::Rng manners_rng_;
  uint32_t likely_;
  bool jumbo_ = false;
  Plan plan_;
};

}  // namespace

Plan Plan::from_seed(uint64_t seed, uint32_t workers) {
  Maker maker(seed);
  maker.make();
  maker.workers(workers);
  maker.datagrams();
  return maker.take();
}

uint64_t Plan::total_bytes() const {
  uint64_t total = 0;
  for (const ConnPlan& c : connections) {
    total += (uint64_t{c.side[0].send_total} + c.side[1].send_total) * c.rounds;
  }
  return total;
}

std::string Plan::describe() const {
  std::string out = text("seed ", seed, ": delay ", link[0].delay.us(), "/", link[1].delay.us(), " us, rate ",
                         link[0].bits_per_second, "/", link[1].bits_per_second, " bit/s, ", connections.size(),
                         " connections, ", total_bytes(), " bytes\n");
  for (const std::string& feature : features) out += "  " + feature + "\n";
  return out;
}

}  // namespace millrace::sim
