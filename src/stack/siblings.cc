// Among processes that share addresses (docs/FSTACK.md, "Inside"): connections that live elsewhere
// than the map says, since it names the living and those come and go.
#include "stack/impl.h"
#include "tcp/prefetch.h"
#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::stack {

// hand_over.cc has seen that this is TCP over IP without options or extension headers.
bool Impl::lives_here(const pkt::Packet& frame) {
  const std::byte* ip_header = frame.data() + wire::kEthernetSize;
  const bool v4 = wire::load_u8(ip_header) >> 4 == 4;
  const size_t header = v4 ? wire::kIpv4MinSize : wire::kIpv6Size;
  if (frame.len < wire::kEthernetSize + header + wire::kTcpMinSize) return false;
  tcp::Segment s;
  s.remote = v4 ? wire::load_v4(ip_header + 12) : wire::load_v6(ip_header + 8);
  s.local = v4 ? wire::load_v4(ip_header + 16) : wire::load_v6(ip_header + 24);
  s.remote_port = wire::load_be16(ip_header + header);
  s.local_port = wire::load_be16(ip_header + header + 2);
  s.hash = tcp.hash(s);
  (void)tcp.look_up(s);
  return tcp.waits_for(s);
}

// The segment as claim() and parse() left it becomes a frame again.
bool Impl::pass_on(IfIndex interface, tcp::Segment& s) {
  if (tcp.waits_for(s)) return false;
  const auto headers =
      static_cast<uint16_t>(wire::kEthernetSize + (s.local.is_v4() ? wire::kIpv4MinSize : wire::kIpv6Size) +
                            wire::kTcpMinSize + s.option_bytes);
  s.packet->push(headers);
  if (hand_over.pass_on(interface, s.packet, packets)) {
    s.packet = nullptr;
    return true;
  }
  s.packet->pull(headers);
  return false;
}

}  // namespace millrace::stack
