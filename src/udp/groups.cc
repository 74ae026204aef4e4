// Groups of datagram sockets: memberships with source filters (RFC 3376 2, RFC 3678), sending to groups and broadcast
// addresses, and what members on this host hear of it (RFC 1112 6.1).
#include <algorithm>
#include <cstring>

#include "ip/header.h"
#include "mcast/host.h"
#include "udp/udp.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/udp.h"

namespace millrace::udp {

bool Udp::Membership::takes(const IpAddr& source) const {
  return (std::ranges::find(sources, source) != sources.end()) != exclude;
}

// The interface that a request without one means.
IfIndex Udp::group_interface(const Dgram& d, IfIndex wanted) const {
  if (wanted != IfIndex::kNone) return wanted;
  if (d.multicast_interface != IfIndex::kNone) return d.multicast_interface;
  for (size_t i = 1; i <= ip_.interface_count(); ++i) {
    if (ip_.interface(static_cast<IfIndex>(i)).kind == link::LinkKind::kEthernet) return static_cast<IfIndex>(i);
  }
  return IfIndex::kNone;
}

Udp::Membership* Udp::find_membership(uint32_t index, IfIndex interface, const IpAddr& group) {
  const auto known = memberships_.find(index);
  if (known == memberships_.end()) return nullptr;
  for (Membership& m : known->second) {
    if (m.interface == interface && m.group == group) return &m;
  }
  return nullptr;
}

Result<void> Udp::join(uint32_t index, const req::JoinGroup& args) {
  const Dgram& d = dgrams_[index];
  const IfIndex interface = group_interface(d, args.interface);
  const bool any = args.source.is_unspecified();
  const bool family = args.group.is_v4() ? d.local.is_v4() || (d.flags & kDual) != 0 : d.local.is_v6();
  if (!args.group.is_multicast() || !family || d.kind != DatagramKind::kUdp) return fail(Error::kInvalid);
  if (Membership* m = find_membership(index, interface, args.group); m != nullptr) {
    if (any || m->exclude || m->takes(args.source)) return fail(Error::kAlreadyExists);
    if (m->sources.size() >= kMostSources) return fail(Error::kTooMany);
    m->sources.push_back(args.source);
    report_sources(interface, args.group);
    return {};
  }
  std::vector<Membership>& all = memberships_[index];
  Result<void> joined;
  if (all.size() >= kMostMemberships) joined = fail(Error::kTooMany);
  if (joined) joined = ip_.join(interface, args.group);
  if (joined) {
    all.push_back({interface, any, args.group, {}});
    if (!any) all.back().sources.push_back(args.source);
    filtered_ += any ? 0 : 1;
    report_sources(interface, args.group);
  } else if (all.empty()) {
    memberships_.erase(index);
  }
  return joined;
}

Result<void> Udp::leave(uint32_t index, const req::LeaveGroup& args) {
  const IfIndex interface = group_interface(dgrams_[index], args.interface);
  Membership* m = find_membership(index, interface, args.group);
  if (m == nullptr) return fail(Error::kNotFound);
  if (!args.source.is_unspecified()) {
    if (m->exclude || std::erase(m->sources, args.source) == 0) return fail(Error::kNotFound);
    if (!m->sources.empty()) {
      report_sources(interface, args.group);
      return {};
    }
  }
  std::vector<Membership>& all = memberships_[index];
  const Membership gone = std::move(*m);
  all.erase(all.begin() + (m - all.data()));
  if (all.empty()) memberships_.erase(index);
  return give_up(gone);
}

Result<void> Udp::give_up(const Membership& gone) {
  auto left = ip_.leave(gone.interface, gone.group);
  report_sources(gone.interface, gone.group);
  filtered_ -= gone.is_plain() ? 0 : 1;
  return left;
}

// RFC 3376 3.2, RFC 3810 4.2: the interface wants what all sockets together want. Where nobody filters, it wants all.
void Udp::report_sources(IfIndex interface, const IpAddr& group) {
  if (filtered_ == 0) return;
  std::vector<mcast::Filter> wanted;
  for (const auto& [socket, memberships] : memberships_) {
    for (const Membership& m : memberships) {
      if (m.interface == interface && m.group == group) wanted.push_back({m.exclude, m.sources});
    }
  }
  if (!wanted.empty()) ip_.set_sources(interface, group, mcast::merge(wanted));
}

Result<void> Udp::set_filter(uint32_t index, const req::SetGroupFilter& args) {
  const IfIndex interface = group_interface(dgrams_[index], args.interface);
  if (args.sources.size() > kMostSources) return fail(Error::kTooMany);
  Membership* m = find_membership(index, interface, args.group);
  if (!args.exclude && args.sources.empty()) {
    if (m == nullptr) return {};
    return leave(index, {{}, args.group, interface, {}});
  }
  if (m == nullptr) {
    if (auto joined = join(index, {{}, args.group, interface, {}}); !joined) return joined;
    m = find_membership(index, interface, args.group);
  }
  const bool was_plain = m->is_plain();
  m->exclude = args.exclude;
  m->sources.assign(args.sources.begin(), args.sources.end());
  filtered_ += was_plain ? 1 : 0;
  report_sources(interface, args.group);
  filtered_ -= m->is_plain() ? 1 : 0;
  return {};
}

void Udp::leave_all(uint32_t index) {
  const auto known = memberships_.find(index);
  if (known == memberships_.end()) return;
  const std::vector<Membership> gone = std::move(known->second);
  memberships_.erase(known);
  for (const Membership& m : gone) (void)give_up(m);
}

// Every host is a member of the all-hosts groups; sockets need not ask for them.
bool Udp::wants_group(uint32_t index, const Incoming& in) const {
  const auto known = memberships_.find(index);
  if (known != memberships_.end()) {
    for (const Membership& m : known->second) {
      if (m.interface == in.interface && m.group == in.destination) return m.takes(in.source);
    }
  }
  const IpAddr all_hosts = in.destination.is_v4() ? IpAddr::v4(224, 0, 0, 1)
                                                  : IpAddr({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  return in.destination == all_hosts;
}

Result<void> Udp::prepare_group(Dgram& d, const Message& m, Outgoing& out) {
  const bool multicast = out.destination.is_multicast();
  if (!multicast && (d.flags & kBroadcast) == 0) return fail(Error::kPermission);
  const IfIndex interface = m.interface != IfIndex::kNone ? m.interface : d.multicast_interface;
  const IpAddr source = !m.local.is_unspecified() ? m.local : source_of(d.local);
  const auto route =
      ip_.group_route(out.destination, source, multicast || m.interface != IfIndex::kNone ? interface : IfIndex::kNone);
  if (!route) return fail(route.error());
  out.way = {route->hop, route->interface, route->mtu, route->source};
  if (multicast && m.hop_limit == 0) out.ttl = d.multicast_hop_limit;
  if (!multicast && out.ttl == 0) out.ttl = ip_.default_hop_limit(route->interface, true);
  if (!multicast) return {};
  out.looped = (d.flags & kLoop) != 0 && (share_ != nullptr || ip_.is_member(route->interface, out.destination));
  out.stays = out.ttl == 0 || out.destination.is_node_local_group();  // RFC 1112 6.1, RFC 4291 2.7
  return {};
}

void Udp::loop_back(Dgram& d, const Message& m, const Outgoing& out, Instant now) {
  const bool member = ip_.is_member(out.way.interface, out.destination);
  const size_t each = m.segment != 0 ? m.segment : m.data.size();
  size_t at = 0;
  do {
    const auto piece = m.data.subspan(at, std::min(each, m.data.size() - at));
    at += piece.size();
    if (share_ != nullptr) share(d, out, piece);
    if (!member) continue;
    Incoming in;
    in.packet = copied(piece);
    if (in.packet == nullptr) return counters_.add(Counter::kDropNoBuffers);
    // Nothing to verify: it never left.
    in.packet->flags |= pkt::kRxL4ChecksumNone;
    in.source = out.way.source;
    in.destination = out.destination;
    in.source_port = d.local_port;
    in.destination_port = out.port;
    in.interface = out.way.interface;
    in.ttl = out.ttl;
    in.traffic_class = out.traffic_class;
    in.to_group = true;
    counters_.add(Counter::kIn);
    input_group(in, now);
  } while (at < m.data.size());
}

// What is said on this host goes to all workers: each looks for itself whether it has a member.
void Udp::share(const Dgram& d, const Outgoing& out, std::span<const std::byte> payload) {
  pkt::Packet* p = copied(payload);
  if (p == nullptr) return counters_.add(Counter::kDropNoBuffers);
  const auto length = static_cast<uint16_t>(payload.size() + wire::kUdpSize);
  wire::UdpHeader{d.local_port, out.port, length, 0}.emit({p->push(wire::kUdpSize), wire::kUdpSize});
  p->flags |= pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumNone;
  ip::write_ip_header(p->push(ip::ip_header_size(out.destination)), out.way.source, out.destination, wire::kProtocolUdp,
                      length, out.ttl, out.traffic_class, true);
  share_(share_context_, out.way.interface, out.destination, p);
}

// A datagram that must not leave the host: who is no member here does not hear it, and that is no error.
Result<void> Udp::send_here(Dgram& d, const Message& m, const Outgoing& out, Instant now) {
  const size_t most = UINT16_MAX - wire::kUdpSize - (out.destination.is_v4() ? wire::kIpv4MinSize : 0);
  if (m.segment == 0 && m.data.size() > most) return fail(Error::kTooBig);
  if (out.looped) loop_back(d, m, out, now);
  counters_.add(Counter::kOut);
  if (m.token != 0) (void)release(m.token);
  return {};
}

}  // namespace millrace::udp
