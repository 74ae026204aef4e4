// Groups that routers and switches must know of: between mcast::GroupHost and the link. Solicited-node groups of all
// IPv6 addresses are reported (RFC 4862 5.4.2: before the address is tested), over interfaces that have been given
// options. IGMP goes out with a router alert (RFC 3376 4), MLD with one in a hop-by-hop header (RFC 3810 5).
#include <algorithm>

#include "ip/header.h"
#include "ip/state.h"
#include "wire/nd.h"

namespace millrace::ip {
namespace {

constexpr uint32_t kAlertV4 = 4;
constexpr uint32_t kAlertV6 = 8;
constexpr uint8_t kInternetworkControl = 0xc0;  // RFC 3376 4

// An IPv4 header of 24 bytes with the router alert option (RFC 2113).
void write_alerted_v4(std::byte* p, const IpAddr& source, const IpAddr& to, uint32_t payload) {
  constexpr uint32_t kHeader = wire::kIpv4MinSize + kAlertV4;
  wire::store_be32(p, 0x4600'0000U | uint32_t{kInternetworkControl} << 16 | (kHeader + payload));
  wire::store_be32(p + 4, 0);
  wire::store_be32(p + 8, uint32_t{1} << 24 | uint32_t{wire::kProtocolIgmp} << 16);
  wire::store_v4(p + 12, source);
  wire::store_v4(p + 16, to);
  wire::store_be32(p + 20, 0x9404'0000);
  wire::store_be16(p + 10, wire::finish(wire::sum_bytes(p, kHeader)));
}

}  // namespace

mcast::GroupHost& Ip::State::group_host(Netif& nif, bool v4) {
  auto& host = nif.group_hosts[v4 ? 0 : 1];
  if (!host) host = std::make_unique<mcast::GroupHost>(v4, base::Rng(config.seed ^ (v4 ? 0x1690 : 0x3178)).next());
  return *host;
}

// Brings what is reported in line with what sockets have joined and what addresses need.
void Ip::State::sync_groups(Instant now) {
  if (!groups_changed()) return;
  groups_synced = {book.version(), groups_version};
  for (Netif& nif : netifs) {
    if (!nif.reports_groups) continue;
    std::vector<IpAddr> wanted;
    const auto want = [&](const IpAddr& group, const mcast::Filter& filter) {
      if (!group_host(nif, group.is_v4()).set_filter(group, filter, now)) counters.add(IpCounter::kGroupsRefused);
    };
    for (const autoconf::BookEntry& e : book.all()) {
      const bool here = e.interface == nif.index && e.state != autoconf::AddressState::kDuplicated;
      if (here && e.prefix.addr.is_v6()) wanted.push_back(wire::solicited_node(e.prefix.addr));
    }
    const size_t own = wanted.size();
    for (const GroupInfo& g : groups) {
      const bool here = g.interface == nif.index;
      if (here && std::ranges::find(wanted, g.group) == wanted.end()) wanted.push_back(g.group);
    }
    for (const IpAddr& group : nif.reported) {
      if (std::ranges::find(wanted, group) != wanted.end()) continue;
      (void)group_host(nif, group.is_v4()).set_filter(group, {}, now);
    }
    for (size_t i = 0; i < own; ++i) want(wanted[i], {true, {}});
    for (const GroupInfo& g : groups) {
      const auto end = wanted.begin() + static_cast<ptrdiff_t>(own);
      if (g.interface == nif.index && std::find(wanted.begin(), end, g.group) == end) want(g.group, g.filter);
    }
    nif.reported = std::move(wanted);
  }
}

void Ip::State::advance_groups(Instant now) {
  sync_groups(now);
  for (Netif& nif : netifs) {
    for (const bool v4 : {true, false}) {
      auto& host = nif.group_hosts[v4 ? 0 : 1];
      if (!host || host->next_deadline() > now) continue;
      std::vector<mcast::Report> reports;
      host->tick(now, reports);
      if (!nif.up) continue;
      for (const mcast::Report& report : reports) send_group_report(nif, v4, report);
    }
  }
}

Instant Ip::State::groups_deadline() const {
  Instant first = kNever;
  for (const Netif& nif : netifs) {
    if (nif.reports_groups && groups_changed()) return Instant{INT64_MIN};
    for (const auto& host : nif.group_hosts) {
      if (host) first = std::min(first, host->next_deadline());
    }
  }
  return first;
}

void Ip::State::send_group_report(Netif& nif, bool v4, const mcast::Report& report) {
  size_t first = 0;
  do {
    pkt::Packet* packet = new_packet();
    if (packet == nullptr) return;
    std::array<std::byte, 1200> room;
    const size_t size = v4 ? emit_igmp(report, first, room) : emit_mld(report, first, room);
    const IpAddr to = destination_of(report, v4);
    const Address* own = addresses.select_source(nif.index, to, v4 ? to : IpAddr({0xfe, 0x80}));
    IpAddr source = v4 ? IpAddr::any_v4() : IpAddr();
    // RFC 3376 4.2.13, RFC 3590 4: from nobody, while there is no address to send from.
    if (own != nullptr && own->interface == nif.index && !own->optimistic &&
        (v4 || own->prefix.addr.is_link_local())) {
      source = own->prefix.addr;
    }
    if (!v4) wire::seal_icmpv6({room.data(), size}, source, to);
    std::memcpy(packet->append(static_cast<uint16_t>(size)), room.data(), size);
    const auto payload = static_cast<uint32_t>(size);
    if (v4) {
      write_alerted_v4(packet->push(wire::kIpv4MinSize + kAlertV4), source, to, payload);
    } else {
      std::byte* hop = packet->push(kAlertV6);
      wire::store_be64(hop, uint64_t{wire::kProtocolIcmpv6} << 56 | 0x0000'0502'0000'0100);
      write_ip_header(packet->push(wire::kIpv6Size), source, to, wire::kProtocolHopByHop, payload + kAlertV6, 1, 0,
                      false);
    }
    fill_frame_header(packet->push(wire::kEthernetSize), nif, to, group_mac(to));
    counters.add(IpCounter::kGroupReportsOut);
    transmit(nif.index, packet);
  } while (first < report.records.size());
}

// RFC 3376 4: queries and reports; the packet stands at the IP header.
void Ip::State::input_igmp(Arrival& a) {
  std::array<std::byte, 2048> room;
  const uint32_t length = a.length - a.header;
  if (length > room.size() || pkt::copy_out(*a.packet, a.header, {room.data(), length}) != length ||
      !wire::is_valid(wire::sum_bytes(room.data(), length))) {
    return drop(a.packet, IpCounter::kGroupBad);
  }
  const wire::Bytes message(room.data(), length);
  if (const auto query = mcast::parse_igmp_query(message)) {
    group_host(a.nif, true).hear_query(*query, a.now);
  } else if (const auto group = mcast::parse_igmp_report(message)) {
    group_host(a.nif, true).hear_report(*group);
  } else {
    return drop(a.packet, IpCounter::kGroupBad);
  }
  consume(a.packet);
}

// RFC 3810 5.1.14, 6.2: from a link-local address, with a hop limit of 1.
void Ip::State::input_mld(Arrival& a, wire::Bytes message) {
  const bool valid = a.source.is_link_local() && a.ttl == 1 && a.nif.reports_groups;
  const auto query = valid ? mcast::parse_mld_query(message) : std::nullopt;
  const auto group = valid && !query ? mcast::parse_mld_report(message) : std::nullopt;
  if (!query && !group) return drop(a.packet, IpCounter::kGroupBad);
  if (query) group_host(a.nif, false).hear_query(*query, a.now);
  if (group) group_host(a.nif, false).hear_report(*group);
  consume(a.packet);
}

}  // namespace millrace::ip
