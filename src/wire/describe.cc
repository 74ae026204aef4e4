// Text of frames, one function a protocol. Appends to a string; no stream, no locale.
#include "wire/describe.h"

#include <string_view>

#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmpv4.h"
#include "wire/icmpv6.h"
#include "wire/nd.h"
#include "wire/quoted.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace millrace::wire {
namespace {

std::string number(uint64_t n) { return std::to_string(n); }

std::string hex16(uint16_t n) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "0x";
  for (int shift = 12; shift >= 0; shift -= 4) out += digits[(n >> shift) & 0xf];
  return out;
}

// What every transport needs to know about the datagram around it.
struct Datagram {
  IpAddr source;
  IpAddr destination;
  uint8_t protocol = 0;
  Bytes bytes;        ///< transport header and payload, as far as present
  size_t length = 0;  ///< of both, as the IP header says
};

std::string hosts(const Datagram& d) { return d.source.to_string() + " > " + d.destination.to_string() + ": "; }
std::string hosts_ports(const Datagram& d, uint16_t source, uint16_t destination) {
  return d.source.to_string() + "." + number(source) + " > " + d.destination.to_string() + "." + number(destination) +
         ": ";
}

std::string flags_text(TcpFlags flags) {
  std::string out;
  if (flags.syn()) out += 'S';
  if (flags.fin()) out += 'F';
  if (flags.rst()) out += 'R';
  if (flags.psh()) out += 'P';
  if (flags.urg()) out += 'U';
  if (flags.ece()) out += 'E';
  if (flags.cwr()) out += 'W';
  if (flags.ack()) out += '.';
  return out.empty() ? "none" : out;
}

std::string options_text(const TcpOptions& o) {
  std::string out;
  const auto add = [&out](const std::string& text) { out += (out.empty() ? "" : ",") + text; };
  if (o.has_mss) add("mss " + number(o.mss));
  if (o.sack_permitted) add("sackOK");
  if (o.has_timestamps) add("TS val " + number(o.ts_val) + " ecr " + number(o.ts_ecr));
  if (o.has_wscale) add("wscale " + number(o.wscale));
  if (o.sack_count != 0) {
    std::string blocks = "sack " + number(o.sack_count) + " ";
    for (size_t i = 0; i < o.sack_count; ++i) {
      blocks += "{" + number(o.sack[i].left.raw()) + ":" + number(o.sack[i].right.raw()) + "}";
    }
    add(blocks);
  }
  if (o.has_fast_open) add(o.fast_open_length == 0 ? "tfo cookiereq" : "tfo " + number(o.fast_open_length) + " B");
  if (o.unknown != 0) add("unknown " + number(o.unknown));
  if (o.malformed) add("[bad opt]");
  return out;
}

std::string tcp_text(const Datagram& d) {
  const auto tcp = TcpView::check(d.bytes);
  if (!tcp) return hosts(d) + "[|tcp]";
  const size_t payload = d.length >= tcp->header_length() ? d.length - tcp->header_length() : 0;
  std::string out = hosts_ports(d, tcp->source_port(), tcp->destination_port());
  out += "Flags [" + flags_text(tcp->flags()) + "]";
  if (payload != 0) {
    out += ", seq " + number(tcp->seq().raw()) + ":" + number((tcp->seq() + static_cast<uint32_t>(payload)).raw());
  } else if (tcp->flags().any(kSyn | kFin | kRst)) {
    out += ", seq " + number(tcp->seq().raw());
  }
  if (tcp->flags().ack()) out += ", ack " + number(tcp->ack().raw());
  out += ", win " + number(tcp->window());
  if (tcp->flags().urg()) out += ", urg " + number(tcp->urgent());
  const std::string options = options_text(TcpOptions::parse(tcp->options()));
  if (!options.empty()) out += ", options [" + options + "]";
  return out + ", length " + number(payload);
}

std::string udp_text(const Datagram& d) {
  if (d.bytes.size() < kUdpSize) return hosts(d) + "[|udp]";
  const uint16_t length = load_be16(&d.bytes[4]);
  std::string out = hosts_ports(d, load_be16(d.bytes.data()), load_be16(&d.bytes[2])) + "UDP, ";
  if (length < kUdpSize || length > d.length) return out + "bad length " + number(length);
  return out + "length " + number(length - kUdpSize);
}

std::string quoted_text(const std::optional<Quoted>& quoted) {
  if (!quoted) return " [|quoted]";
  std::string out = " (" + quoted->source.to_string();
  const bool ports = (quoted->protocol == kProtocolTcp || quoted->protocol == kProtocolUdp) && quoted->has_ports();
  if (ports) out += "." + number(quoted->source_port());
  out += " > " + quoted->destination.to_string();
  if (ports) out += "." + number(quoted->destination_port());
  return out + " proto " + number(quoted->protocol) + ")";
}

std::string icmpv4_text(const Datagram& d) {
  const auto icmp = Icmpv4View::check(d.bytes);
  if (!icmp) return hosts(d) + "[|icmp]";
  std::string out = hosts(d) + "ICMP ";
  const std::string code = " code " + number(icmp->code());
  const std::string echo = ", id " + number(icmp->id()) + ", seq " + number(icmp->sequence());
  switch (icmp->type()) {
    case Icmpv4Type::kEchoRequest: out += "echo request" + echo; break;
    case Icmpv4Type::kEchoReply: out += "echo reply" + echo; break;
    case Icmpv4Type::kUnreachable:
      if (icmp->code() == static_cast<uint8_t>(Icmpv4Unreachable::kFragmentationNeeded)) {
        out += "need to frag (mtu " + number(icmp->next_hop_mtu()) + ")";
      } else {
        out += "unreachable" + code;
      }
      break;
    case Icmpv4Type::kRedirect: out += "redirect to " + icmp->gateway().to_string() + code; break;
    case Icmpv4Type::kTimeExceeded: out += "time exceeded" + code; break;
    case Icmpv4Type::kParameterProblem: out += "parameter problem at " + number(icmp->pointer()); break;
    default: out += "type " + number(static_cast<uint8_t>(icmp->type())) + code;
  }
  if (icmp->is_error()) out += quoted_text(parse_quoted_v4(icmp->payload()));
  return out + ", length " + number(d.length);
}

std::string link_text(const std::optional<MacAddr>& mac) { return mac ? ", lladdr " + mac->to_string() : ""; }

std::string nd_text(const NdView& nd) {
  const auto source_link = nd.link_address(NdOptionType::kSourceLinkAddress);
  const auto target_link = nd.link_address(NdOptionType::kTargetLinkAddress);
  switch (nd.type()) {
    case Icmpv6Type::kRouterSolicitation: return "router solicitation" + link_text(source_link);
    case Icmpv6Type::kRouterAdvertisement: {
      const auto ra = RouterAdvertisement::parse(nd);
      return "router advertisement, lifetime " + number(ra.lifetime_s) + link_text(source_link);
    }
    case Icmpv6Type::kNeighbourSolicitation:
      return "neighbor solicitation, who has " + nd.target().to_string() + link_text(source_link);
    case Icmpv6Type::kNeighbourAdvertisement: {
      const auto na = NeighbourAdvertisement::parse(nd);
      const std::string flags =
          std::string(na.router ? "R" : "") + (na.solicited ? "S" : "") + (na.override_cache ? "O" : "");
      return "neighbor advertisement, tgt is " + na.target.to_string() + " [" + flags + "]" + link_text(target_link);
    }
    default:
      return "redirect, " + nd.redirect_destination().to_string() + " to " + nd.target().to_string() +
             link_text(target_link);
  }
}

std::string icmpv6_text(const Datagram& d) {
  const auto icmp = Icmpv6View::check(d.bytes);
  if (!icmp) return hosts(d) + "[|icmp6]";
  std::string out = hosts(d) + "ICMP6, ";
  const std::string code = " code " + number(icmp->code());
  const std::string echo = ", id " + number(icmp->id()) + ", seq " + number(icmp->sequence());
  switch (icmp->type()) {
    case Icmpv6Type::kEchoRequest: out += "echo request" + echo; break;
    case Icmpv6Type::kEchoReply: out += "echo reply" + echo; break;
    case Icmpv6Type::kUnreachable: out += "unreachable" + code; break;
    case Icmpv6Type::kPacketTooBig: out += "packet too big, mtu " + number(icmp->mtu()); break;
    case Icmpv6Type::kTimeExceeded: out += "time exceeded" + code; break;
    case Icmpv6Type::kParameterProblem: out += "parameter problem at " + number(icmp->pointer()) + code; break;
    default:
      if (NdView::fixed_size(icmp->type()) != 0 && d.bytes.size() < d.length) {
        out += "[|nd]";
      } else if (const auto nd = NdView::check(d.bytes)) {
        out += nd_text(*nd);
      } else if (NdView::fixed_size(icmp->type()) != 0) {
        out += "[bad nd] type " + number(static_cast<uint8_t>(icmp->type())) + code;
      } else {
        out += "type " + number(static_cast<uint8_t>(icmp->type())) + code;
      }
  }
  if (icmp->is_error()) out += quoted_text(parse_quoted_v6(icmp->payload()));
  return out + ", length " + number(d.length);
}

std::string transport_text(const Datagram& d) {
  switch (d.protocol) {
    case kProtocolTcp: return tcp_text(d);
    case kProtocolUdp: return udp_text(d);
    case kProtocolIcmp: return icmpv4_text(d);
    case kProtocolIcmpv6: return icmpv6_text(d);
    default: return hosts(d) + "proto " + number(d.protocol) + ", length " + number(d.length);
  }
}

std::string fragment_text(uint32_t id, uint32_t offset, bool more) {
  return "frag (id " + number(id) + " offset " + number(offset) + (more ? "+) " : ") ");
}

std::string ipv4_text(Bytes packet) {
  const auto ip = Ipv4View::check_quoted(packet);
  if (!ip) return "IP [|ip]";
  std::string out = "IP ";
  if (packet.size() >= ip->header_length() && !ip->checksum_ok()) out += "[bad cksum] ";
  if (ip->is_fragment()) out += fragment_text(ip->id(), ip->fragment_offset(), ip->more_fragments());
  Datagram d{ip->source(), ip->destination(), ip->protocol(), ip->quoted_payload(packet), ip->payload_length()};
  if (ip->fragment_offset() != 0) {
    return out + hosts(d) + "proto " + number(d.protocol) + ", length " + number(d.length);
  }
  return out + transport_text(d);
}

std::string ipv6_text(Bytes packet) {
  const auto ip = Ipv6View::check_quoted(packet);
  if (!ip) return "IP6 [|ip6]";
  const Ipv6Upper upper = find_quoted_upper(*ip, packet);
  Datagram d{ip->source(), ip->destination(), upper.protocol, {}, 0};
  const size_t skipped = upper.offset - kIpv6Size;
  if (skipped <= ip->payload_length()) d.length = ip->payload_length() - skipped;
  switch (upper.status) {
    case Ipv6Upper::Status::kUpper:
      d.bytes = ip->quoted_payload(packet).subspan(skipped);
      return "IP6 " + transport_text(d);
    case Ipv6Upper::Status::kFragment:
      return "IP6 " + fragment_text(upper.fragment.id, upper.fragment.offset, upper.fragment.more) + hosts(d) +
             "proto " + number(upper.fragment.next_header) + ", length " + number(d.length);
    case Ipv6Upper::Status::kTruncated: return "IP6 " + hosts(d) + "[|ext]";
    case Ipv6Upper::Status::kDiscard: return "IP6 " + hosts(d) + "[bad ext: discard]";
    default: return "IP6 " + hosts(d) + "[bad ext: problem at " + number(upper.pointer) + "]";
  }
}

std::string arp_text(Bytes packet) {
  const auto arp = ArpView::check(packet);
  if (!arp) return "ARP [|arp]";
  switch (arp->operation()) {
    case ArpOperation::kRequest:
      return "ARP, Request who-has " + arp->target().to_string() + " tell " + arp->sender().to_string();
    case ArpOperation::kReply:
      return "ARP, Reply " + arp->sender().to_string() + " is-at " + arp->sender_mac().to_string();
    default: return "ARP, operation " + number(static_cast<uint16_t>(arp->operation()));
  }
}

std::string payload_text(EtherType type, Bytes payload) {
  switch (type) {
    case EtherType::kIpv4: return ipv4_text(payload);
    case EtherType::kIpv6: return ipv6_text(payload);
    case EtherType::kArp: return arp_text(payload);
    default: return "ethertype " + hex16(static_cast<uint16_t>(type)) + ", length " + number(payload.size());
  }
}

}  // namespace

std::string describe_ip(Bytes packet) {
  if (packet.empty()) return "[|ip]";
  return load_u8(packet.data()) >> 4 == 6 ? ipv6_text(packet) : ipv4_text(packet);
}

std::string describe(Bytes frame) {
  const auto ethernet = EthernetView::check(frame);
  if (!ethernet) return "[|ether]";
  std::string out;
  EtherType type = ethernet->type();
  Bytes payload = ethernet->payload();
  for (int tags = 0; is_vlan(type) && tags < 2; ++tags) {
    const auto tag = VlanView::check(payload);
    if (!tag) return out + "[|vlan]";
    out += "vlan " + number(tag->vlan_id()) + ", p " + number(tag->priority()) + ", ";
    type = tag->type();
    payload = tag->payload();
  }
  return out + payload_text(type, payload);
}

}  // namespace millrace::wire
