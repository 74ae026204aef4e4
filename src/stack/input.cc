// Input of a burst, in stages, so that one packet's cache misses overlap another's work: read the headers; prefetch the
// table buckets; prefetch the connections; prefetch what hangs on them; then process in order. A packet that is not
// plain TCP goes to Ip in its turn. Segments that belong to no connection come last, in their order: a flood of them
// does not stand between the others, and its code and branches run together.
#include <cstring>

#include "stack/impl.h"
#include "stack/merge.h"
#include "tcp/prefetch.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::stack {
namespace {

constexpr size_t kEthernet = 14;

}  // namespace

// The sum over the TCP segment at data(), or the device's word for it.
bool Impl::checksum_ok(const pkt::Packet& p, const IpAddr& source, const IpAddr& destination) {
  const uint64_t verdict = p.flags & pkt::kRxL4ChecksumMask;
  if (verdict == pkt::kRxL4ChecksumGood || verdict == pkt::kRxL4ChecksumNone) return true;
  wire::Checksum sum(wire::pseudo_sum(source, destination, wire::kProtocolTcp, p.total));
  for (const pkt::Packet* q = &p; q != nullptr; q = q->next) sum.add(q->bytes());
  return sum.is_valid();
}

// Recognises a plain TCP segment for this host and parses it. On true the slot owns the packet; otherwise the packet is
// as it was.
bool Impl::claim(IfIndex interface, const link::NetifConfig& netif, pkt::Packet* p, Slot& slot) {
  tcp::Segment& s = slot.segment;
  if (p->len < kEthernet + 40) return false;
  const std::byte* frame = p->data();
  // Four bytes and two: a word put together from both would be read before they have left the store buffer.
  const auto* mine = reinterpret_cast<const std::byte*>(netif.mac.bytes.data());
  const uint32_t other = wire::load_native<uint32_t>(frame) ^ wire::load_native<uint32_t>(mine);
  if ((other | (wire::load_native<uint16_t>(frame + 4) ^ wire::load_native<uint16_t>(mine + 4))) != 0) return false;
  const uint16_t type = wire::load_be16(frame + 12);
  const std::byte* ip_header = frame + kEthernet;
  uint32_t header = 0;
  uint32_t payload = 0;
  uint8_t ecn = 0;  // RFC 3168 5
  if (type == static_cast<uint16_t>(wire::EtherType::kIpv4)) {
    // Version 4, no options, not a fragment, TCP.
    if (wire::load_u8(ip_header) != 0x45 || (wire::load_be16(ip_header + 6) & 0x3fff) != 0 ||
        wire::load_u8(ip_header + 9) != wire::kProtocolTcp) {
      slot.is_datagram = claim_datagram(interface, p, 20, slot.datagram);
      return false;
    }
    const uint32_t total = wire::load_be16(ip_header + 2);
    if (total < 40) return false;
    header = 20;
    payload = total - 20;
    ecn = wire::load_u8(ip_header + 1);
    if ((p->flags & pkt::kRxIpChecksumGood) == 0 && !wire::is_valid(wire::ipv4_base_sum(ip_header))) return false;
    s.remote = wire::load_v4(ip_header + 12);
    s.local = wire::load_v4(ip_header + 16);
  } else if (type == static_cast<uint16_t>(wire::EtherType::kIpv6)) {
    if (p->len < kEthernet + 60 || wire::load_u8(ip_header + 6) != wire::kProtocolTcp ||
        (wire::load_u8(ip_header) & 0xf0) != 0x60) {
      slot.is_datagram = claim_datagram(interface, p, 40, slot.datagram);
      return false;
    }
    header = 40;
    ecn = static_cast<uint8_t>(wire::load_u8(ip_header + 1) >> 4);
    payload = wire::load_be16(ip_header + 4);
    if (payload < 20) return false;
    s.remote = wire::load_v6(ip_header + 8);
    s.local = wire::load_v6(ip_header + 24);
    if (s.remote.is_v4() || s.local.is_v4()) return false;  // mapped: would be taken for IPv4
  } else {
    return false;
  }
  const uint32_t present = p->total - static_cast<uint32_t>(kEthernet) - header;
  if (present != payload) {
    // Ethernet padding behind a short datagram is cut off here; anything else is for Ip to judge.
    if (present < payload || p->next != nullptr) return false;
    p->len = static_cast<uint16_t>(kEthernet + header + payload);
    p->total = p->len;
  }
  const auto skip = static_cast<uint16_t>(kEthernet + header);
  p->pull(skip);
  s.packet = p;
  s.interface = interface;
  if (checksum_ok(*p, s.remote, s.local) && tcp.parse(s)) {
    s.set_ecn(ecn & tcp::kEcnBits);
    return true;
  }
  p->push(skip);
  s.packet = nullptr;
  return false;
}

// The same for a plain UDP datagram with `header` bytes of IP header: on true it stands at its payload and `in` owns
// it.
bool Impl::claim_datagram(IfIndex interface, pkt::Packet* p, uint32_t header, udp::Incoming& in) {
  if (p->len < kEthernet + header + 8) return false;
  const std::byte* ip_header = p->data() + kEthernet;
  uint32_t length = 0;
  if (header == 20) {
    if (wire::load_u8(ip_header) != 0x45 || (wire::load_be16(ip_header + 6) & 0x3fff) != 0 ||
        wire::load_u8(ip_header + 9) != wire::kProtocolUdp) {
      return false;
    }
    if ((p->flags & pkt::kRxIpChecksumGood) == 0 && !wire::is_valid(wire::ipv4_base_sum(ip_header))) return false;
    length = wire::load_be16(ip_header + 2);
    in.source = wire::load_v4(ip_header + 12);
    in.destination = wire::load_v4(ip_header + 16);
    in.ttl = wire::load_u8(ip_header + 8);
    in.traffic_class = wire::load_u8(ip_header + 1);
  } else {
    if ((wire::load_u8(ip_header) & 0xf0) != 0x60 || wire::load_u8(ip_header + 6) != wire::kProtocolUdp) return false;
    length = header + wire::load_be16(ip_header + 4);
    in.source = wire::load_v6(ip_header + 8);
    in.destination = wire::load_v6(ip_header + 24);
    if (in.source.is_v4() || in.destination.is_v4()) return false;  // mapped: would be taken for IPv4
    in.ttl = wire::load_u8(ip_header + 7);
    in.traffic_class = static_cast<uint8_t>(wire::load_be16(ip_header) >> 4);
  }
  if (length < header + 8 || kEthernet + length > p->total) return false;
  if (!udp.knows(in.source, in.destination, interface)) return false;
  if (kEthernet + length < p->total) {
    if (p->next != nullptr) return false;
    p->len = static_cast<uint16_t>(kEthernet + length);
    p->total = p->len;
  }
  const auto skip = static_cast<uint16_t>(kEthernet + header);
  p->pull(skip);
  in.packet = p;
  in.interface = interface;
  in.ip_header = static_cast<uint16_t>(header);
  in.to_group = false;
  if (udp::Udp::parse(in, packets)) return true;
  p->push(skip);
  return false;
}

void Impl::input(IfIndex interface, std::span<pkt::Packet*> burst, Instant now) {
  trace.mark(now);
  tcp.notice(now);
  if (tap) {
    for (const pkt::Packet* p : burst) tap(Worker::Direction::kIn, interface, *p, now);
  }
  if (!hand_over.alone() && ip.interface(interface).kind != link::LinkKind::kLoopback) {
    burst = burst.first(hand_over.sort(interface, burst, packets));
  }
  input_all(interface, burst, now);
}

void Impl::input_steered(IfIndex interface, std::span<pkt::Packet*> burst, Instant now) {
  trace.mark(now);
  tcp.notice(now);
  hand_over.counters().add(SteerCounter::kHandedIn, burst.size());
  input_all(interface, burst, now);
}

void Impl::input_all(IfIndex interface, std::span<pkt::Packet*> burst, Instant now) {
  while (!burst.empty()) {
    const size_t n = std::min(burst.size(), kBurst);
    input_some(interface, burst.first(n), now);
    burst = burst.subspan(n);
  }
  settle(now);
}

void Impl::input_some(IfIndex interface, std::span<pkt::Packet*> burst, Instant now) {
  const link::NetifConfig& netif = ip.interface(interface);
  const bool loopback = netif.kind == link::LinkKind::kLoopback;
  const bool hooked = ip.has_hook(ip::HookPoint::kInput);
  const bool shedding = tcp.shed().active(now) && !hooked && !loopback;
  if (__builtin_expect(shedding, 0)) burst = burst.first(set_syns_aside(burst));
  const size_t n = burst.size();
  for (size_t i = 0; i < n; ++i) {
    pkt::Packet* p = burst[i];
    if (i + 16 < n) __builtin_prefetch(burst[i + 16], 1);
    if (i + 8 < n) {
      __builtin_prefetch(burst[i + 8]->data());
      __builtin_prefetch(burst[i + 8]->data() + 64);
    }
    if (loopback) {
      p->flags = (p->flags & pkt::kExternal) | pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumNone;
    }
    Slot& slot = slots_[i];
    slot.packet = p;
    slot.is_datagram = false;
    if (hooked || !claim(interface, netif, p, slot)) continue;
    slot.packet = nullptr;
    slot.segment.hash = tcp.hash(slot.segment);
  }
  for (size_t i = 0; i < n; ++i) {
    if (slots_[i].packet == nullptr) tcp.prefetch_bucket(slots_[i].segment.hash);
  }
  // Lists, made without a branch on what a flood could make random.
  Slot* order[kBurst + 1];
  Slot* strangers[kBurst + 1];
  size_t known = 0;
  for (size_t i = 0; i < n; ++i) {
    Slot& slot = slots_[i];
    const bool here = slot.packet != nullptr || tcp.look_up(slot.segment);
    order[known] = strangers[i - known] = &slot;
    known += here ? 1 : 0;
  }
  const size_t unknown = n - known;
  for (size_t i = 0; i < known; ++i) {
    if (order[i]->packet == nullptr) tcp.prefetch_place(order[i]->segment.hint);
  }
  size_t large = 0;
  for (size_t i = 0; i < known; ++i) {
    if (order[i]->packet != nullptr) continue;
    large += order[i]->segment.length >= kMergeBytes ? 1 : 0;
    const uint32_t sock = tcp.prefetch_behind(order[i]->segment.hint);
    if (sock != 0) sockets_.prefetch(sock);
  }
  if (large > 1) known = merge({order, known});
  for (size_t i = 0; i < known; ++i) {
    Slot& slot = *order[i];
    if (slot.packet == nullptr) {
      tcp.input(slot.segment, now);
    } else if (slot.is_datagram) {
      udp.input(slot.datagram, now);
    } else {
      input_general(interface, slot.packet, now);
    }
  }
  for (size_t i = 0; i < unknown; ++i) {
    tcp::Segment& s = strangers[i]->segment;
    if (__builtin_expect(hand_over.has_siblings(), 0) && !loopback && pass_on(interface, s)) continue;
    tcp.input(s, now);
  }
  if (__builtin_expect(shedding, 0)) judge_syns(interface, now);
}

// Joins segments of a connection to those before them; returns how many slots are left.
size_t Impl::merge(std::span<Slot*> order) {
  std::array<Run, 16> runs;
  size_t kept = 0;
  for (Slot* slot : order) {
    if (slot->packet == nullptr) {
      tcp::Segment& s = slot->segment;
      Run& run = runs[s.hint.index() % runs.size()];
      const bool same = run.is_of(s);
      if (same && run.join(s)) {
        tcp.count(tcp::Counter::kSegmentsIn);
        tcp.count(tcp::Counter::kMerged);
        continue;
      }
      run = Run(s, same ? run.expected() : tcp.conn(s.hint.index()).rcv_nxt);
    }
    order[kept++] = slot;
  }
  return kept;
}

void Impl::input_general(IfIndex interface, pkt::Packet* p, Instant now) {
  auto datagram = ip.input(interface, p, now);
  if (!datagram) return;
  // Complete from fragments, or with headers that steering does not follow: its flow may be another worker's.
  if (!hand_over.alone() && hand_over.take_foreign(*datagram, ip.interface(interface), packets)) return;
  if (datagram->protocol == wire::kProtocolUdp) {
    udp.input(*datagram, now);
    return;
  }
  tcp::Segment s;
  s.packet = datagram->packet;
  s.remote = datagram->source;
  s.local = datagram->destination;
  s.interface = interface;
  if (!checksum_ok(*s.packet, s.remote, s.local)) {
    tcp.count(tcp::Counter::kDropChecksum);
    packets.free(s.packet);
    return;
  }
  if (!tcp.parse(s)) {
    tcp.count(tcp::Counter::kDropHeader);
    packets.free(s.packet);
    return;
  }
  s.set_ecn(datagram->traffic_class & tcp::kEcnBits);
  s.hash = tcp.hash(s);
  tcp.input(s, now);
}

}  // namespace millrace::stack
