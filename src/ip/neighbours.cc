// Between the neighbour table, which knows but does not send, the hops, which frame() reads, and the link.
#include <cstring>

#include "base/assert.h"
#include "base/planted.h"
#include "ip/state.h"
#include "wire/quoted.h"

namespace millrace::ip {
namespace {

// A hop that is in use asks for confirmation at most this often.
constexpr Duration kConfirmInterval = seconds(1);

}  // namespace

void Ip::State::fill_frame_header(std::byte* header, const Netif& nif, const IpAddr& next, const MacAddr& mac) const {
  const auto type = next.is_v4() ? wire::EtherType::kIpv4 : wire::EtherType::kIpv6;
  const wire::EthernetHeader ethernet{mac, nif.is_loopback() ? MacAddr{} : nif.config.mac, type};
  ethernet.emit({header, wire::kEthernetSize});
}

bool Ip::State::frame_slow(uint32_t index, pkt::Packet* packet, Instant now) {
  if (index == 0 || index >= hops.size() || hops[index].interface == IfIndex::kNone) {
    drop_out(packet, IpCounter::kOutNoHop);
    return false;
  }
  Hop& hop = hops[index];
  HopCache& cache = ip.hops_[index];
  const Netif& nif = *find(hop.interface);
  if (!nif.up) {
    drop_out(packet, IpCounter::kOutLinkDown);
    return false;
  }
  if (!pass_hook(HookPoint::kOutput, hop.interface, *packet)) {
    drop_out(packet, IpCounter::kOutHook);
    return false;
  }
  if (nif.is_loopback()) {
    if (!ip.has_hook(HookPoint::kOutput)) cache.usable_until = kNever;
    std::memcpy(packet->push(sizeof cache.header), cache.header, sizeof cache.header);
    return true;
  }
  if (is_group_hop(hop.addr)) {
    fill_frame_header(cache.header, nif, hop.addr, group_mac(hop.addr));
    if (!ip.has_hook(HookPoint::kOutput)) cache.usable_until = kNever;
    std::memcpy(packet->push(sizeof cache.header), cache.header, sizeof cache.header);
    return true;
  }
  neigh::Entry* entry = neighbours.get(hop.neighbour);
  if (entry == nullptr) {
    hop.neighbour = obtain_neighbour(hop.interface, hop.addr);
    entry = neighbours.get(hop.neighbour);
    if (entry == nullptr) {
      drop_out(packet, IpCounter::kOutNeighbourFull);
      return false;
    }
  }
  entry->tag = index;
  const neigh::EntryId id = hop.neighbour;
  if (following) {
    want(id, now);
  } else {
    act(id, neighbours.use(id, now), now);
  }
  if (entry->reach.has_mac()) {
    std::memcpy(packet->push(sizeof cache.header), cache.header, sizeof cache.header);
    return true;
  }
  packets.free(neighbours.enqueue(id, packet));
  return false;
}

void Ip::State::confirm_slow(uint32_t index, Instant now) {
  if (index == 0 || index >= hops.size()) return;
  const neigh::EntryId known = hops[index].neighbour;
  if (const neigh::Entry* entry = neighbours.get(known); following && entry != nullptr) {
    (void)following->confirmed.add(entry->interface, entry->addr);  // full: the next confirmation will do
    ip.hops_[index].confirm_after = entry->reach.state() == neigh::State::kStatic ? kNever : now + kConfirmInterval;
    return;
  }
  if (const neigh::EntryId id = known; neighbours.get(id) != nullptr) {
    neighbours.confirm(id, now);
    act(id, {}, now);
    return;
  }
  ip.hops_[index].confirm_after = kNever;  // nothing to confirm until the neighbour is known again
}

void Ip::State::suspect(uint32_t index, Instant now) {
  if (index == 0 || index >= hops.size()) return;
  const neigh::EntryId id = hops[index].neighbour;
  const neigh::Entry* entry = neighbours.get(id);
  if (entry == nullptr) return;
  if (following) {
    (void)following->suspected.add(entry->interface, entry->addr);  // full: it finds out by itself
    return;
  }
  neighbours.suspect(id, now);
  act(id, {}, now);
}

// Carries out what an event of the table asks for and shows the new state in the hop.
void Ip::State::act(neigh::EntryId id, const neigh::Step& step, Instant now) {
  neigh::Entry& entry = *neighbours.get(id);
  if (step.send != neigh::Solicit::kNone) solicit(entry, step.send);
  if (step.resolved) {
    // What waited is sent now: it counts as use.
    if (following) {
      want(id, now);
    } else if (entry.pending != 0) {
      (void)neighbours.use(id, now);
    }
    flush_pending(id);
  }
  if (step.failed) fail_pending(id);
  if (step.failed || step.resolved) note_router(entry, !step.failed);
  sync_hop(entry, now);
  publish(entry);
}

void Ip::State::solicit(const neigh::Entry& entry, neigh::Solicit how) {
  Netif& nif = *find(entry.interface);
  const bool unicast = how == neigh::Solicit::kUnicast;
  if (entry.addr.is_v6()) {
    send_solicitation(nif, entry.addr, unicast ? &entry.reach.mac() : nullptr);
    return;
  }
  const Address* own = addresses.select_source(nif.index, entry.addr, entry.addr);
  const IpAddr source = own != nullptr ? own->prefix.addr : IpAddr::any_v4();
  send_arp(nif, 1, unicast ? entry.reach.mac() : kBroadcastMac, source, MacAddr{}, entry.addr);
}

// A full table in which every entry is in use: one that nobody answers for makes room, the oldest, so that scans of a
// prefix (RFC 6583 2, 5) delay newcomers instead of shutting them out.
neigh::EntryId Ip::State::obtain_neighbour(IfIndex interface, const IpAddr& addr) {
  if (neighbours.is_full() && !neighbours.find(interface, addr).valid()) {
    const neigh::EntryId oldest = neighbours.oldest_unresolved();
    if (const neigh::Entry* entry = neighbours.get(oldest)) {
      drop_pending(oldest, IpCounter::kOutNeighbourFull);
      publish_gone(entry->interface, entry->addr);
      neighbours.give_up(oldest);
    }
  }
  return neighbours.obtain(interface, addr);
}

void Ip::State::flush_pending(neigh::EntryId id) {
  const neigh::Entry& entry = *neighbours.get(id);
  const Netif& nif = *find(entry.interface);
  while (pkt::Packet* packet = neighbours.dequeue(id)) {
    fill_frame_header(packet->push(wire::kEthernetSize), nif, entry.addr, entry.reach.mac());
    transmit(entry.interface, packet);
  }
}

// Tells the upper layer about each datagram that waited in vain (RFC 1122 2.4, RFC 4861 7.2.2).
void Ip::State::fail_pending(neigh::EntryId id) {
  while (pkt::Packet* packet = neighbours.dequeue(id)) {
    const wire::Bytes bytes(packet->data(), packet->len);
    const bool v4 = (wire::load_u8(bytes.data()) >> 4) == 4;
    const auto quoted = v4 ? wire::parse_quoted_v4(bytes) : wire::parse_quoted_v6(bytes);
    if (quoted && quoted->has_sequence() && ip.errors_.size() < kMaxErrors) {
      ip.errors_.push_back({PathError::Kind::kNeighbourFailed, 0, quoted->protocol, quoted->source, quoted->destination,
                            quoted->source_port(), quoted->destination_port(), quoted->sequence()});
    }
    if (MR_PLANTED(neighbour_pending_leak)) continue;
    drop_out(packet, IpCounter::kOutUnresolved);
  }
}

void Ip::State::drop_pending(neigh::EntryId id, IpCounter why) {
  while (pkt::Packet* packet = neighbours.dequeue(id)) drop_out(packet, why);
}

void Ip::State::sync_hop(const neigh::Entry& entry, Instant now) {
  if (entry.tag == 0) return;
  HopCache& cache = ip.hops_[entry.tag];
  const Netif& nif = *find(entry.interface);
  cache.usable_until = Instant{INT64_MIN};
  cache.confirm_after = kNever;
  if (!entry.reach.has_mac()) return;
  fill_frame_header(cache.header, nif, entry.addr, entry.reach.mac());
  const neigh::State state = entry.reach.state();
  if (state != neigh::State::kStatic) {
    cache.confirm_after = state == neigh::State::kReachable ? now + kConfirmInterval : Instant{INT64_MIN};
  }
  // A stale neighbour must notice its first use, and with an output hook every packet goes the slow way.
  if (state != neigh::State::kStale && nif.up && !ip.has_hook(HookPoint::kOutput)) {
    cache.usable_until = entry.reach.deadline();
  }
}

void Ip::State::forget_neighbours(IfIndex interface, bool static_too) {
  neighbours.for_each([&](neigh::EntryId id, neigh::Entry& e) {
    if (e.interface != interface) return;
    drop_pending(id, IpCounter::kOutLinkDown);
    if (e.reach.state() == neigh::State::kStatic && !static_too) return;
    publish_gone(interface, e.addr);
    neighbours.remove(id);
  });
  invalidate_hops(interface);
}

}  // namespace millrace::ip
