// Datagrams that are larger than the path takes go out in fragments. RFC 791 3.2, RFC 8200 4.5, RFC 6864 for IPv4's
// identification, RFC 7739 for IPv6's. Payload in blocks is referred to, other payload is copied.
#include <algorithm>

#include "ip/header.h"
#include "ip/state.h"

namespace millrace::ip {
namespace {

// What is no longer is copied behind the header even if it could be referred to: a descriptor costs more.
constexpr uint32_t kCopyBytes = 1'600;

// The transport checksum covers the whole datagram, so a device cannot fill it in over fragments.
void complete_checksum(pkt::Packet& packet) {
  const uint64_t wanted = packet.flags & pkt::kTxL4Mask;
  if (wanted == 0) return;
  const bool udp = wanted == pkt::kTxUdpChecksum;
  std::byte* field = packet.data() + (udp ? 6 : 16);
  const uint64_t sum = sum_chain(packet, 0);  // the field holds the sum of the pseudo-header
  wire::store_be16(field, udp ? wire::finish_nonzero(sum) : wire::finish(sum));
  packet.flags &= ~pkt::kTxL4Mask;
}

}  // namespace

// Bytes [offset, offset + length) of the chain as a packet of their own with room for headers; nullptr if packets ran
// out.
pkt::Packet* Ip::State::slice(const pkt::Packet& whole, uint32_t offset, uint32_t length, uint16_t max_segments) {
  pkt::Packet* head = packets.frame();
  if (head == nullptr) return nullptr;
  const pkt::Packet* from = &whole;
  for (; offset >= from->len; from = from->next) offset -= from->len;
  uint16_t external = 0;
  uint32_t reach = 0;
  for (const pkt::Packet* p = from; p != nullptr && reach < offset + length; reach += p->len, p = p->next) {
    external = (p->flags & pkt::kExternal) != 0 ? static_cast<uint16_t>(external + 1) : max_segments;
  }
  if (length <= kCopyBytes || external >= max_segments) {
    return slice_by_copy(head, *from, offset, length) ? head : nullptr;
  }
  for (uint32_t left = length; left > 0; from = from->next, offset = 0) {
    const auto n = static_cast<uint16_t>(std::min<uint32_t>(left, from->len - offset));
    const uint32_t at = from->off + offset;
    pkt::Packet* piece = packets.reference(from->buf + at, from->iova + at, n, *from->ext);
    if (piece == nullptr) {
      packets.free(head);
      return nullptr;
    }
    pkt::chain(*head, piece);
    left -= n;
  }
  return head;
}

bool Ip::State::slice_by_copy(pkt::Packet* head, const pkt::Packet& from, uint32_t offset, uint32_t length) {
  for (pkt::Packet* piece = head; length > 0;) {
    const auto n = static_cast<uint16_t>(std::min<uint32_t>(length, pkt::kFrameRoom));
    (void)pkt::copy_out(from, offset, {piece->append(n), n});
    if (piece != head) pkt::chain(*head, piece);
    offset += n;
    length -= n;
    if (length == 0) return true;
    piece = packets.frame();
    if (piece == nullptr) {
      packets.free(head);
      return false;
    }
  }
  return true;
}

void Ip::State::write_fragment_header(pkt::Packet& fragment, const SendArgs& args, uint32_t id, uint32_t start,
                                      bool more) {
  const auto offset = static_cast<uint16_t>(start);
  if (args.source.is_v4()) {
    const auto length = static_cast<uint16_t>(fragment.total + wire::kIpv4MinSize);
    const wire::Ipv4Header header{
        args.traffic_class, length,      static_cast<uint16_t>(id), false, more, offset, args.ttl,
        args.protocol,      args.source, args.destination};
    return header.emit({fragment.push(wire::kIpv4MinSize), wire::kIpv4MinSize});
  }
  const wire::Ipv6Fragment tail{args.protocol, offset, more, id};
  tail.emit({fragment.push(wire::kIpv6FragmentSize), wire::kIpv6FragmentSize});
  const wire::Ipv6Header header{args.traffic_class,      0,        static_cast<uint16_t>(fragment.total),
                                wire::kProtocolFragment, args.ttl, args.source,
                                args.destination};
  header.emit({fragment.push(wire::kIpv6Size), wire::kIpv6Size});
}

// `packet` (taken) is the transport datagram. All of it is queued, or nothing where that can be known beforehand.
Result<void> Ip::State::send_fragments(const SendArgs& args, pkt::Packet* packet, uint32_t mtu, Instant now) {
  const bool v4 = args.source.is_v4();
  Netif& nif = *find(args.route.interface);
  const uint16_t segments = std::max<uint16_t>(1, nif.config.limits.max_segments);
  const uint32_t room = fragment_room(v4, mtu, nif.config.limits);
  const auto give_up = [&](IpCounter why, Error error) {
    drop_out(packet, why);
    return fail(error);
  };
  if (room == 0) return give_up(IpCounter::kOutTooBig, Error::kTooBig);
  const uint32_t total = packet->total;
  const Lane lane = lane_of(args.protocol);
  if (nif.queues[static_cast<size_t>(lane)].room() < (total + room - 1) / room) {
    return give_up(IpCounter::kOutQueueFull, Error::kNoBuffers);
  }
  complete_checksum(*packet);
  const uint32_t id = ids.next(args.source, args.destination, v4 ? args.protocol : 0);
  for (uint32_t start = 0; start < total; start += room) {
    const uint32_t length = std::min(room, total - start);
    pkt::Packet* fragment = slice(*packet, start, length, segments);
    if (fragment == nullptr) return give_up(IpCounter::kOutNoPacket, Error::kNoBuffers);
    write_fragment_header(*fragment, args, id, start, start + length < total);
    counters.add(IpCounter::kFragsOut);
    if (ip.frame(args.route.hop, fragment, now)) transmit(args.route.interface, fragment, lane);
  }
  counters.add(IpCounter::kFragmented);
  packets.free(packet);
  return {};
}

}  // namespace millrace::ip
