// SYNs of a flood, told from the rest of a burst by a glance at their headers and dropped before anything is done for
// them: without checksum, look-up or listener (tcp/syn_shed.h).
#include "stack/impl.h"
#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"

namespace millrace::stack {
namespace {

constexpr size_t kLeast = wire::kEthernetSize + wire::kIpv4MinSize + wire::kTcpMinSize;

// Bytes of IP header before the TCP header of a plain SYN, without options, extension headers or fragments; 0 if it is
// anything else. Which packets of a burst are SYNs is nobody's pattern, so there is no branch on it.
size_t syn_behind(const pkt::Packet& p) {
  constexpr uint32_t kJudged = tcp::kSyn | tcp::kAck | tcp::kRst | tcp::kFin;
  if (p.len < kLeast) return 0;
  const std::byte* ip = p.data() + wire::kEthernetSize;
  const auto is_syn = [&](size_t header) { return (wire::load_u8(ip + header + 13) & kJudged) == tcp::kSyn; };
  const auto type = static_cast<wire::EtherType>(wire::load_be16(ip - 2));
  if (type == wire::EtherType::kIpv4) {
    const uint32_t odd = (wire::load_u8(ip) ^ 0x45u) | (wire::load_be16(ip + 6) & 0x3fffu) |
                         (wire::load_u8(ip + 9) ^ uint32_t{wire::kProtocolTcp});
    return ((odd == 0) & is_syn(wire::kIpv4MinSize)) * wire::kIpv4MinSize;
  }
  if (type != wire::EtherType::kIpv6 || p.len < kLeast + wire::kIpv6Size - wire::kIpv4MinSize) return 0;
  const uint32_t odd = (wire::load_u8(ip) >> 4 ^ 6u) | (wire::load_u8(ip + 6) ^ uint32_t{wire::kProtocolTcp});
  return ((odd == 0) & is_syn(wire::kIpv6Size)) * wire::kIpv6Size;
}

}  // namespace

// Of at most kBurst packets, the SYNs go to aside_, with their places in what is remembered under way from memory, and
// the others to the front, in their order; how many those are.
size_t Impl::set_syns_aside(std::span<pkt::Packet*> burst) {
  for (const pkt::Packet* p : burst) __builtin_prefetch(p->data());
  aside_count_ = 0;
  size_t kept = 0;
  for (pkt::Packet* p : burst) {
    const size_t header = syn_behind(*p);
    aside_[aside_count_] = {p, header};
    burst[kept] = p;
    aside_count_ += header != 0 ? 1 : 0;
    kept += header != 0 ? 0 : 1;
  }
  for (Aside& syn : std::span(aside_).first(aside_count_)) {
    const std::byte* header = syn.packet->data() + wire::kEthernetSize;
    syn.hash = tcp.shed().hash(header, header + syn.ip_header);
    tcp.shed().prefetch(syn.hash);
  }
  return kept;
}

// Once the rest of the burst is done.
void Impl::judge_syns(IfIndex interface, Instant now) {
  for (const Aside& syn : std::span(aside_).first(aside_count_)) {
    if (tcp.shed().lets_in(syn.hash, now)) {
      input_alone(interface, syn.packet, now);
      continue;
    }
    packets.free(syn.packet);
    tcp.count(tcp::Counter::kSegmentsIn);
    tcp.count(tcp::Counter::kDropFlood);
  }
  aside_count_ = 0;
}

void Impl::input_alone(IfIndex interface, pkt::Packet* p, Instant now) {
  Slot slot;
  if (!claim(interface, ip.interface(interface), p, slot)) return input_general(interface, p, now);
  slot.segment.hash = tcp.hash(slot.segment);
  (void)tcp.look_up(slot.segment);
  tcp.input(slot.segment, now);
}

}  // namespace millrace::stack
