// See way.h.
#include "load/way.h"

#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::load {

std::optional<Way> way_of(const pkt::Packet& frame, uint8_t protocol, const Endpoint& server, uint16_t local_port) {
  const auto ethernet = wire::EthernetView::check(frame.bytes());
  if (!ethernet) return std::nullopt;
  IpAddr from;
  IpAddr to;
  wire::Bytes upper;
  if (ethernet->type() == wire::EtherType::kIpv4) {
    const auto ip = wire::Ipv4View::check(ethernet->payload());
    if (!ip || ip->protocol() != protocol) return std::nullopt;
    from = ip->source();
    to = ip->destination();
    upper = ip->payload();
  } else if (ethernet->type() == wire::EtherType::kIpv6) {
    const auto ip = wire::Ipv6View::check(ethernet->payload());
    if (!ip || ip->next_header() != protocol) return std::nullopt;
    from = ip->source();
    to = ip->destination();
    upper = ip->payload();
  }
  // Both protocols begin with the ports.
  if (upper.size() < 8 || from != server.addr || wire::load_be16(upper.data()) != server.port) return std::nullopt;
  if (local_port != 0 && wire::load_be16(upper.data() + 2) != local_port) return std::nullopt;
  return Way{ethernet->source(), to};
}

}  // namespace millrace::load
