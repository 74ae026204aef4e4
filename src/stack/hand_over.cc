#include "stack/hand_over.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/nd.h"

namespace millrace::stack {
namespace {

// TCP without IP options, extension headers or fragments: what a NIC's hash over four fields is about.
bool is_plain_tcp(const pkt::Packet& frame) {
  if (frame.len < wire::kEthernetSize + wire::kIpv4MinSize) return false;
  const std::byte* p = frame.data();
  const uint16_t type = wire::load_be16(p + 12);
  if (type == static_cast<uint16_t>(wire::EtherType::kIpv4)) {
    return wire::load_u8(p + 14) == 0x45 && wire::load_u8(p + 23) == wire::kProtocolTcp &&
           (wire::load_be16(p + 20) & 0x3fff) == 0;
  }
  return type == static_cast<uint16_t>(wire::EtherType::kIpv6) && wire::load_u8(p + 20) == wire::kProtocolTcp;
}

MacAddr station_of(const IpAddr& destination, const MacAddr& own, bool to_group) {
  if (!destination.is_multicast()) return to_group ? kBroadcastMac : own;
  if (destination.is_v6()) return wire::multicast_mac_v6(destination);
  const uint32_t low = destination.v4_value();
  return MacAddr{{1, 0, 0x5e, static_cast<uint8_t>(low >> 16 & 0x7f), static_cast<uint8_t>(low >> 8),
                  static_cast<uint8_t>(low)}};
}

void push_ethernet(pkt::Packet& p, const IpAddr& destination, const MacAddr& own, bool to_group) {
  const auto type = destination.is_v4() ? wire::EtherType::kIpv4 : wire::EtherType::kIpv6;
  wire::EthernetHeader{station_of(destination, own, to_group), MacAddr{}, type}.emit(
      {p.push(wire::kEthernetSize), wire::kEthernetSize});
}

}  // namespace

pkt::Packet* copy_frame(const pkt::Packet& frame, pkt::PacketCache& cache) {
  pkt::Packet* head = nullptr;
  for (uint32_t at = 0; at < frame.total || head == nullptr;) {
    pkt::Packet* p = cache.frame();
    if (p == nullptr) {
      cache.free(head);
      return nullptr;
    }
    const auto n = static_cast<uint16_t>(std::min<uint32_t>(frame.total - at, p->tailroom()));
    (void)pkt::copy_out(frame, at, {p->append(n), n});
    at += n;
    if (head == nullptr) {
      head = p;
    } else {
      pkt::chain(*head, p);
    }
  }
  head->flags = frame.flags & ~pkt::kExternal;
  head->port = frame.port;
  head->ptype = frame.ptype;
  head->vlan = frame.vlan;
  head->rss = frame.rss;
  head->tx_offload = frame.tx_offload;
  return head;
}

HandOver::HandOver(const steer::ShardMap* map, uint32_t self, bool siblings) : self_(self), siblings_(false) {
  if (map == nullptr || map->workers() == 1) return;
  map_ = *map;
  siblings_ = siblings;
  MR_ASSERT(self < map_.workers());
  boxes_.resize(map_.workers());
  for (Box& box : boxes_) box.ring.resize(kRoom);
  if (siblings_) set_living(0);
}

void HandOver::set_living(uint64_t living) {
  const uint32_t count = map_.workers();
  living_ = living | uint64_t{1} << self_;
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t who = i;
    while ((living_ >> who & 1) == 0) who = (who + 1) % count;
    stand_ins_[i] = static_cast<uint8_t>(who);
  }
}

bool HandOver::give(uint32_t sibling, IfIndex interface, pkt::Packet* frame, pkt::PacketCache& packets) {
  if (!siblings_ || sibling >= map_.workers() || stand_ins_[sibling] == self_) return false;
  counters_.add(SteerCounter::kHandedOver);
  put(stand_ins_[sibling], interface, frame, packets);
  return true;
}

// The walk goes round the ring of those that live, from whoever the map names, and each looks once.
bool HandOver::pass_on(IfIndex interface, pkt::Packet* frame, pkt::PacketCache& packets) {
  const auto hops = static_cast<uint32_t>(frame->flags >> pkt::kRxHopsShift & pkt::kRxHopsMask);
  if (hops + 1 >= static_cast<uint32_t>(std::popcount(living_))) return false;
  frame->flags += uint64_t{1} << pkt::kRxHopsShift;
  counters_.add(SteerCounter::kPassedOn);
  put(stand_ins_[(self_ + 1) % map_.workers()], interface, frame, packets);
  return true;
}

uint32_t HandOver::owner(const pkt::Packet& frame) const {
  if (siblings_) {
    const uint32_t named = steer::steer_to_sibling(frame, map_);
    const uint32_t worker = named < map_.workers() ? stand_ins_[named] : named;
    return worker == self_ ? steer::kHere : worker;
  }
  if (map_.has_device_hash() && (frame.flags & pkt::kRxRssHash) != 0 && is_plain_tcp(frame)) {
    return map_.by_hash(frame.rss);
  }
  return steer::steer(frame, map_);
}

size_t HandOver::sort(IfIndex interface, std::span<pkt::Packet*> burst, pkt::PacketCache& packets) {
  const size_t n = burst.size();
  size_t kept = 0;
  for (size_t i = 0; i < n; ++i) {
    if (i + 8 < n) __builtin_prefetch(burst[i + 8]);
    if (i + 4 < n) __builtin_prefetch(burst[i + 4]->data());
    pkt::Packet* frame = burst[i];
    const uint32_t worker = owner(*frame);
    if (__builtin_expect(worker == self_ || worker == steer::kHere, 1)) {
      burst[kept++] = frame;
    } else if (worker == steer::kEverybody) {
      frame->flags |= pkt::kRxShared;
      put_copies(interface, *frame, packets);
      burst[kept++] = frame;
    } else if (keeps_ != nullptr && is_plain_tcp(*frame) && keeps_(keeps_context_, *frame)) {
      counters_.add(SteerCounter::kKept);
      burst[kept++] = frame;
    } else {
      counters_.add(SteerCounter::kHandedOver);
      put(worker, interface, frame, packets);
    }
  }
  return kept;
}

// A copy each: this worker goes on with the frame itself. For a worker that does not keep up they are dropped, long
// before room() would hold up the devices: anybody may send to a group.
void HandOver::put_copies(IfIndex interface, const pkt::Packet& frame, pkt::PacketCache& packets) {
  for (uint32_t worker = 0; worker < boxes_.size(); ++worker) {
    if (worker == self_ || (siblings_ && (living_ >> worker & 1) == 0)) continue;
    if (boxes_[worker].size >= kMostCopies) {
      counters_.add(SteerCounter::kDropFull);
      continue;
    }
    pkt::Packet* copy = copy_frame(frame, packets);
    if (copy == nullptr) {
      counters_.add(SteerCounter::kDropNoPacket);
      continue;
    }
    counters_.add(SteerCounter::kCopied);
    put(worker, interface, copy, packets);
  }
}

void HandOver::put(uint32_t worker, IfIndex interface, pkt::Packet* frame, pkt::PacketCache& packets) {
  Box& box = boxes_[worker];
  if (box.size == kRoom) {
    counters_.add(SteerCounter::kDropFull);
    packets.free(frame);
    return;
  }
  box.ring[(box.first + box.size++) % kRoom] = {frame, interface};
}

void HandOver::share(const link::NetifConfig& netif, IfIndex interface, const IpAddr& group, pkt::Packet* datagram,
                     pkt::PacketCache& packets) {
  push_ethernet(*datagram, group, netif.mac, true);
  datagram->flags |= pkt::kRxShared | pkt::kRxLooped;
  put_copies(interface, *datagram, packets);
  packets.free(datagram);
}

bool HandOver::take_foreign(const ip::Datagram& d, const link::NetifConfig& netif, pkt::PacketCache& packets) {
  if (netif.kind == link::LinkKind::kLoopback || (d.packet->flags & pkt::kRxShared) != 0) return false;
  uint32_t worker = steer::steer_transport(map_, d.source, d.destination, d.protocol, d.packet->bytes(), d.to_group);
  if (siblings_ && worker < map_.workers()) worker = stand_ins_[worker];
  if (worker == self_ || worker == steer::kHere) return false;
  // It came in fragments or behind headers that steering does not follow: nobody else has it yet.
  const bool shared = worker == steer::kEverybody;
  const bool v4 = d.source.is_v4();
  const size_t header = v4 ? wire::kIpv4MinSize : wire::kIpv6Size;
  const uint32_t payload = d.packet->total;
  pkt::Packet* frame = d.packet;
  if (frame->headroom() < header + wire::kEthernetSize || payload + header > 0xffff) {
    counters_.add(SteerCounter::kDropHeadroom);
    if (!shared) packets.free(frame);
    return !shared;
  }
  const wire::MutableBytes ip(frame->push(static_cast<uint16_t>(header)), header);
  if (v4) {
    wire::Ipv4Header h;
    h.traffic_class = d.traffic_class;
    h.total_length = static_cast<uint16_t>(payload + header);
    h.ttl = d.ttl;
    h.protocol = d.protocol;
    h.source = d.source;
    h.destination = d.destination;
    h.emit(ip);
  } else {
    wire::Ipv6Header{d.traffic_class, 0, static_cast<uint16_t>(payload), d.protocol, d.ttl, d.source, d.destination}
        .emit(ip);
  }
  // A bad verdict of the device was about the header that is gone.
  frame->flags = (frame->flags & ~pkt::kRxIpChecksumBad) | pkt::kRxIpChecksumGood;
  push_ethernet(*frame, d.destination, netif.mac, d.to_group);
  if (shared) {
    frame->flags |= pkt::kRxShared;
    put_copies(d.interface, *frame, packets);
    frame->pull(static_cast<uint16_t>(header + wire::kEthernetSize));
    return false;
  }
  counters_.add(SteerCounter::kDatagrams);
  put(worker, d.interface, frame, packets);
  return true;
}

size_t HandOver::take(uint32_t worker, std::span<Handed> out) {
  if (worker >= boxes_.size()) return 0;
  Box& box = boxes_[worker];
  const auto n = static_cast<uint32_t>(std::min<size_t>(box.size, out.size()));
  for (uint32_t i = 0; i < n; ++i) out[i] = box.ring[(box.first + i) % kRoom];
  box.first = (box.first + n) % kRoom;
  box.size -= n;
  return n;
}

size_t HandOver::room() const {
  size_t most = 0;
  for (const Box& box : boxes_) most = std::max<size_t>(most, box.size);
  return most >= kRoom / 2 ? 0 : kRoom / 2 - most;
}

void HandOver::clear(pkt::PacketCache& packets) {
  for (Box& box : boxes_) {
    for (uint32_t i = 0; i < box.size; ++i) packets.free(box.ring[(box.first + i) % kRoom].frame);
    box.size = 0;
  }
}

}  // namespace millrace::stack
