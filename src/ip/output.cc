// The way out of datagrams that take the slow path, and the queues of frames for the devices.
#include <algorithm>

#include "base/assert.h"
#include "ip/header.h"
#include "ip/state.h"

namespace millrace::ip {
namespace {

// What a sender on the same worker knows to be intact need not be checked by the receiver.
void turn_around(pkt::Packet& frame) {
  uint64_t flags = (frame.flags & pkt::kExternal) | pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumNone;
  if ((frame.flags & pkt::kTxTcpSeg) != 0) flags |= pkt::kRxMerged;
  frame.flags = flags;
}

}  // namespace

void Ip::State::drop_out(pkt::Packet* packet, IpCounter why) {
  counters.add(why);
  packets.free(packet);
}

pkt::Packet* Ip::State::new_packet() {
  pkt::Packet* packet = packets.frame();
  if (packet == nullptr) counters.add(IpCounter::kOutNoPacket);
  return packet;
}

pkt::Packet* Ip::State::fit_segments(const Netif& nif, pkt::Packet* packet) {
  if (packet->segs <= std::max<uint16_t>(1, nif.config.limits.max_segments)) return packet;
  if (packet->total > pkt::kFrameRoom) {
    drop_out(packet, IpCounter::kOutSegments);
    return nullptr;
  }
  pkt::Packet* linear = new_packet();
  if (linear != nullptr) {
    std::byte* to = linear->append(static_cast<uint16_t>(packet->total));
    (void)pkt::copy_out(*packet, 0, {to, packet->total});
    linear->flags = packet->flags & ~pkt::kExternal;
    linear->tx_offload = packet->tx_offload;
  }
  packets.free(packet);
  return linear;
}

// Of protocols that have no socket here: nobody else could tell a genuine packet-too-big about them.
void Ip::State::remember_large(const SendArgs& args, const pkt::Packet& packet) {
  if (args.protocol == wire::kProtocolTcp || args.protocol == wire::kProtocolUdp || packet.len < 8) return;
  SentLarge& slot = sent_large[sent_large_at++ % sent_large.size()];
  slot = {args.destination, wire::load_native<uint64_t>(packet.data())};
}

void Ip::State::allow_fragmentation(const SendArgs& args, pkt::Packet& packet, bool fill_checksum) {
  std::byte* header = packet.data();
  wire::store_be16(header + 4, static_cast<uint16_t>(ids.next(args.source, args.destination, args.protocol)));
  wire::store_be16(header + 6, 0);
  wire::store_be16(header + 10, 0);
  if (fill_checksum) wire::store_be16(header + 10, wire::finish(wire::ipv4_base_sum(header)));
}

uint16_t Ip::State::learn_mtu(const IpAddr& destination, uint16_t mtu, Instant now) {
  const auto least = destination.is_v4() ? static_cast<uint16_t>(config.settings.pmtu_min_v4) : wire::kIpv6MinMtu;
  const Pmtu::Found lowered{std::max(mtu, least), mtu < least};
  counters.add(IpCounter::kPmtuLearned);
  pmtu.learn(destination, lowered, now + microseconds(config.settings.pmtu_age_us));
  publish_mtu(destination);
  return pmtu.find(destination).mtu;
}

Result<void> Ip::State::send(SendArgs args, pkt::Packet* packet, Instant now) {
  const auto refuse = [&](IpCounter why, Error error) {
    drop_out(packet, why);
    return fail(error);
  };
  const Netif* nif = find(args.route.interface);
  if (nif == nullptr) return refuse(IpCounter::kOutNoHop, Error::kNetUnreachable);
  const link::DeviceLimits& limits = nif->config.limits;
  const uint16_t header = ip_header_size(args.source);
  const uint32_t payload = packet->total;
  const bool segmented = (packet->flags & pkt::kTxTcpSeg) != 0;
  const bool v4 = args.source.is_v4();
  if (args.ttl == 0) args.ttl = ip.default_hop_limit(nif->index, v4);
  if (payload + (v4 ? header : 0U) > 0xffff) return refuse(IpCounter::kOutTooBig, Error::kTooBig);
  const Pmtu::Found path = pmtu.find(args.destination);
  const uint16_t mtu = std::min(limits.mtu, path.mtu);
  if (payload + header > 576) remember_large(args, *packet);
  if (!segmented && payload + header > mtu) {
    if (!args.may_fragment) return refuse(IpCounter::kOutTooBig, Error::kTooBig);
    return send_fragments(args, packet, mtu, now);
  }
  // The device fills the header checksum in anyway when it cuts segments.
  const bool device_sum = v4 && !nif->is_loopback() && limits.tx_ip_checksum;
  write_ip_header(packet->push(header), args.source, args.destination, args.protocol, payload, args.ttl,
                  args.traffic_class, !device_sum);
  if (v4 && path.locked && args.may_fragment) allow_fragmentation(args, *packet, !device_sum);
  if (device_sum) packet->flags |= pkt::kTxIpChecksum;
  if ((packet->flags & (pkt::kTxL4Mask | pkt::kTxTcpSeg | pkt::kTxIpChecksum)) != 0) {
    packet->flags |= v4 ? pkt::kTxIpv4 : pkt::kTxIpv6;
    packet->set_tx_lengths(wire::kEthernetSize, header, packet->l4_len(), packet->seg_size());
  }
  packet = fit_segments(*nif, packet);
  if (packet == nullptr) return fail(Error::kNoBuffers);
  counters.add(IpCounter::kSent);
  if (ip.frame(args.route.hop, packet, now)) transmit(args.route.interface, packet, lane_of(args.protocol));
  return {};
}

void Ip::State::transmit(IfIndex interface, pkt::Packet* frame, Lane lane) {
  Netif* nif = find(interface);
  MR_ASSERT(nif != nullptr);
  if (!nif->up) return drop_out(frame, IpCounter::kOutLinkDown);
  link::TxQueue& queue = nif->queues[static_cast<size_t>(lane)];
  if (queue.full()) return drop_out(frame, IpCounter::kOutQueueFull);
  if (nif->is_loopback()) turn_around(*frame);
  counters.add(IpCounter::kFrames);
  queue.push(frame);
}

}  // namespace millrace::ip
