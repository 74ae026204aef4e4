// The datagram that an ICMP or ICMPv6 error quotes (RFC 792, RFC 1812 4.3.2.3, RFC 4443 2.4 c): enough to find the
// socket that sent it. It may be cut short anywhere behind its IP header.
#pragma once

#include <optional>

#include "wire/bytes.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::wire {

struct Quoted {
  IpAddr source;
  IpAddr destination;
  uint8_t protocol = 0;
  Bytes transport;  ///< what is left of the transport header and payload; empty for a later fragment

  [[nodiscard]] bool has_ports() const { return transport.size() >= 4; }
  [[nodiscard]] bool has_sequence() const { return transport.size() >= 8; }
  /// TCP and UDP; only if has_ports().
  [[nodiscard]] uint16_t source_port() const { return load_be16(transport.data()); }
  [[nodiscard]] uint16_t destination_port() const { return load_be16(transport.data() + 2); }
  /// TCP; only if has_sequence().
  [[nodiscard]] uint32_t sequence() const { return load_be32(transport.data() + 4); }
};

/// `quoted` is everything behind the eight bytes of the ICMP header.
inline std::optional<Quoted> parse_quoted_v4(Bytes quoted) {
  const auto ip = Ipv4View::check_quoted(quoted);
  if (!ip) return std::nullopt;
  Quoted out{ip->source(), ip->destination(), ip->protocol(), {}};
  if (ip->fragment_offset() == 0) out.transport = ip->quoted_payload(quoted);
  return out;
}

inline std::optional<Quoted> parse_quoted_v6(Bytes quoted) {
  const auto ip = Ipv6View::check_quoted(quoted);
  if (!ip) return std::nullopt;
  const Ipv6Upper upper = find_quoted_upper(*ip, quoted);
  Quoted out{ip->source(), ip->destination(), upper.protocol, {}};
  const Bytes rest = ip->quoted_payload(quoted);
  if (upper.status == Ipv6Upper::Status::kUpper) {
    out.transport = rest.subspan(upper.offset - kIpv6Size);
  } else if (upper.status == Ipv6Upper::Status::kFragment && upper.fragment.offset == 0 &&
             !detail::is_extension_header(upper.fragment.next_header)) {
    out.protocol = upper.fragment.next_header;
    out.transport = rest.subspan(upper.offset - kIpv6Size);
  }
  return out;
}

}  // namespace millrace::wire
