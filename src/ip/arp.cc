// ARP (RFC 826, RFC 1122 2.3.2.1, announcements of RFC 5227 2.3).
#include "wire/arp.h"

#include "ip/state.h"

namespace millrace::ip {
namespace {

bool is_possible_sender(const MacAddr& mac, const IpAddr& addr) {
  if (mac.is_group() || mac == MacAddr{}) return false;
  return !addr.is_multicast() && !addr.is_loopback() && !addr.is_limited_broadcast();
}

}  // namespace

void Ip::State::input_arp(Netif& nif, pkt::Packet* packet, Instant now) {
  if (following) return drop(packet, IpCounter::kIpNotControl);
  if (nif.is_loopback() || !gather(packets, *packet, wire::kArpSize)) return drop(packet, IpCounter::kArpBad);
  const auto view = wire::ArpView::check(packet->bytes());
  if (!view) return drop(packet, IpCounter::kArpBad);
  const auto message = wire::ArpMessage::parse(*view);
  const bool request = message.operation == wire::ArpOperation::kRequest;
  if (!request && message.operation != wire::ArpOperation::kReply) return drop(packet, IpCounter::kArpBadOperation);
  counters.add(request ? IpCounter::kArpRequestsIn : IpCounter::kArpRepliesIn);
  if (!is_possible_sender(message.sender_mac, message.sender) || message.sender_mac == nif.config.mac) {
    return drop(packet, IpCounter::kArpBadSender);
  }
  // RFC 5227 2.1.1: while we test an address, another station's probe for it counts as well. One that is in use
  // meanwhile answers instead.
  const autoconf::BookEntry* tested = testing(nif, message.target);
  const bool rival_probe = message.sender.is_unspecified() && request && tested != nullptr && !tested->usable();
  const bool claimed = address_conflict(nif, rival_probe ? message.target : message.sender, now);
  if (claimed || addresses.contains(message.sender)) return drop(packet, IpCounter::kArpConflict);
  const bool about_us = addresses.on_interface(nif.index, message.target);
  const bool known = neighbours.find(nif.index, message.sender).valid();
  if (!message.sender.is_unspecified()) {
    learn_arp(nif, message.sender, message.sender_mac, about_us, !request, now);
  }
  if (!about_us) {
    // An announcement of a neighbour that we know was of use.
    return known ? consume(packet) : drop(packet, IpCounter::kArpNotOurs);
  }
  if (request) send_arp(nif, 2, message.sender_mac, message.target, message.sender_mac, message.sender);
  consume(packet);
}

// RFC 826: an existing entry is updated by any packet; a new one is made only if the packet is about us.
void Ip::State::learn_arp(Netif& nif, const IpAddr& sender, const MacAddr& mac, bool about_us, bool reply,
                          Instant now) {
  neigh::EntryId id = neighbours.find(nif.index, sender);
  if (!id.valid()) {
    if (!about_us) return;
    id = obtain_neighbour(nif.index, sender);
    if (!id.valid()) return;
    return act(id, neighbours.hear_source(id, mac), now);
  }
  // A reply to us confirms that the neighbour hears us; anything else only tells its address.
  if (about_us && reply && neighbours.get(id)->reach.state() != neigh::State::kFailed) {
    return act(id, neighbours.hear_advert(id, {mac, true, true, false}, now), now);
  }
  act(id, neighbours.hear_source(id, mac), now);
}

void Ip::State::send_arp(Netif& nif, uint16_t operation, const MacAddr& to, const IpAddr& sender,
                         const MacAddr& target_mac, const IpAddr& target) {
  pkt::Packet* packet = new_packet();
  if (packet == nullptr) return;
  const auto op = static_cast<wire::ArpOperation>(operation);
  std::byte* frame = packet->append(wire::kEthernetSize + wire::kArpSize);
  wire::EthernetHeader{to, nif.config.mac, wire::EtherType::kArp}.emit({frame, wire::kEthernetSize});
  wire::ArpMessage{op, nif.config.mac, sender, target_mac, target}.emit({frame + wire::kEthernetSize, wire::kArpSize});
  counters.add(op == wire::ArpOperation::kRequest ? IpCounter::kArpRequestsOut : IpCounter::kArpRepliesOut);
  transmit(nif.index, packet);
}

// Tells the link about a new address of ours, so that neighbours forget who had it before.
void Ip::State::announce(Netif& nif, const IpAddr& addr) {
  if (addr.is_v4()) {
    send_arp(nif, 1, kBroadcastMac, addr, MacAddr{}, addr);
    return;
  }
  const IpAddr all_nodes({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  send_advertisement(nif, addr, all_nodes, MacAddr{{0x33, 0x33, 0, 0, 0, 1}}, false);
}

}  // namespace millrace::ip
