// Between the state machines of autoconf/ (routers, DHCP) and the link: their actions become frames, addresses and
// routes; frames and the clock become their events. RFC 4861 6.3, RFC 4862 5.5, RFC 2131.
#include <algorithm>

#include "base/assert.h"
#include "ip/header.h"
#include "ip/state.h"
#include "wire/dhcp.h"
#include "wire/udp.h"

namespace millrace::ip {
namespace {

using autoconf::Action;
using autoconf::Actions;
using autoconf::BookEntry;
using autoconf::Origin;
using Kind = Action::Kind;

const IpAddr kAllRouters({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});

}  // namespace

// Brings the machines in line with the interface's options and link.
void Ip::State::start_autoconf(Netif& nif, Instant now) {
  const auto seed = [&](uint64_t what) { return base::Rng(config.seed ^ (what << 8 | uint64_t(nif.index))).next(); };
  Actions actions;
  if (nif.options.accept_ra && !nif.routers) {
    const uint64_t secret = nif.options.secret != 0 ? nif.options.secret : config.seed;
    base::Rng keys(secret ^ 0x7217);
    const base::SipKey key{keys.next(), keys.next()};
    nif.routers = std::make_unique<autoconf::Routers>(
        autoconf::RouterOptions{nif.options.autoconf, key, nif.config.mac, nif.config.limits.mtu}, seed(0x5241));
    if (nif.up) nif.routers->start(now);
  } else if (nif.routers && !nif.options.accept_ra) {
    nif.routers->stop(actions);
    perform(nif, Origin::kRouter, actions, now);
    nif.routers.reset();
  } else if (nif.routers && nif.up) {
    nif.routers->start(now);
  }
  actions.clear();
  if (nif.options.dhcp4 && !nif.dhcp) {
    nif.dhcp = std::make_unique<autoconf::DhcpClient>(nif.config.mac, seed(0x4448));
    if (nif.up) nif.dhcp->start(now);
  } else if (nif.dhcp && !nif.options.dhcp4) {
    nif.dhcp->release(actions);
    perform(nif, Origin::kDhcp, actions, now);
    nif.dhcp.reset();
  } else if (nif.dhcp && nif.up && nif.dhcp->state() == autoconf::DhcpState::kStopped) {
    nif.dhcp->start(now);
  }
}

void Ip::State::stop_autoconf(Netif& nif) {
  Actions actions;
  if (nif.routers) nif.routers->stop(actions);
  perform(nif, Origin::kRouter, actions, Instant{});
  if (nif.dhcp) nif.dhcp->stop();
  while (const auto gone = redirects.drop(nif.index, nullptr)) forget_redirect(*gone);
}

void Ip::State::advance_autoconf(Instant now) {
  for (Netif& nif : netifs) {
    if (nif.routers && nif.routers->next_deadline() <= now) {
      Actions actions;
      nif.routers->tick(now, actions);
      perform(nif, Origin::kRouter, actions, now);
    }
    if (nif.dhcp && nif.dhcp->next_deadline() <= now) {
      Actions actions;
      nif.dhcp->tick(now, actions);
      perform(nif, Origin::kDhcp, actions, now);
    }
  }
  while (const auto gone = redirects.expired(now)) forget_redirect(*gone);
}

Instant Ip::State::autoconf_deadline() const {
  Instant first = redirects.next_deadline();
  for (const Netif& nif : netifs) {
    if (nif.routers) first = std::min(first, nif.routers->next_deadline());
    if (nif.dhcp) first = std::min(first, nif.dhcp->next_deadline());
  }
  return first;
}

void Ip::State::perform(Netif& nif, Origin who, const Actions& actions, Instant now) {
  for (const Action& action : actions) {
    switch (action.kind) {
      case Kind::kSolicit: send_router_solicitation(nif); break;
      case Kind::kSendDhcp: send_dhcp(nif, action, now); break;
      case Kind::kAddress: set_leased(nif, who, action, now); break;
      case Kind::kDropAddress:
        if (const BookEntry* e = book.find(action.prefix.addr); e != nullptr && e->origin == who) {
          (void)remove_address(nif, action.prefix.addr);
        }
        break;
      case Kind::kRoute:
        if (routes.add(action.prefix, {nif.index, action.gateway, action.metric}, 0)) bump_epoch();
        break;
      case Kind::kDropRoute: drop_route(nif, action.prefix, action.gateway); break;
      case Kind::kMtu:
        nif.learned_mtu[who == Origin::kDhcp ? 0 : 1] = static_cast<uint16_t>(std::min(action.value, 0xffffU));
        bump_epoch();
        break;
      case Kind::kHopLimit:
        set_hop_limit(nif, action.value != 0 ? static_cast<uint8_t>(action.value) : kDefaultTtl);
        publish_tables();
        break;
      case Kind::kReachable:
        nif.nd_timing.reachable_base = action.value != 0 ? milliseconds(action.value) : neigh::Timing{}.reachable_base;
        neighbours.set_timing_v6(nif.index, nif.nd_timing);
        break;
      case Kind::kRetransmit:
        nif.nd_timing.retransmit = action.value != 0 ? milliseconds(action.value) : neigh::Timing{}.retransmit;
        neighbours.set_timing_v6(nif.index, nif.nd_timing);
        book.set_retransmit(nif.index, nif.nd_timing.retransmit);
        break;
    }
  }
}

void Ip::State::set_hop_limit(Netif& nif, uint8_t limit) {
  nif.config.limits.hop_limit = limit;
  ip.limits_[static_cast<size_t>(nif.index)].hop_limit = limit;
}

std::vector<Ip::LearnedInfo> Ip::learned() const {
  std::vector<LearnedInfo> out;
  for (const Netif& nif : state_->netifs) {
    const auto add = [&](const char* what, std::string value, Instant until = kNever) {
      out.push_back({nif.index, what, std::move(value), until});
    };
    if (nif.routers) {
      const autoconf::Routers& r = *nif.routers;
      for (const auto& router : r.routers()) add("router", router.addr.to_string(), router.until);
      for (const auto& prefix : r.on_link()) add("prefix", prefix.prefix.to_string(), prefix.until);
      for (const auto& resolver : r.resolvers()) add("resolver", resolver.addr.to_string(), resolver.until);
      for (const auto& name : r.search_names()) add("search", name.name, name.until);
      if (!r.routers().empty()) {
        add("hop limit", std::to_string(nif.config.limits.hop_limit));
        add("reachable", std::to_string(nif.nd_timing.reachable_base.ns() / 1'000'000) + " ms");
        add("retransmit", std::to_string(nif.nd_timing.retransmit.ns() / 1'000'000) + " ms");
      }
      if (nif.learned_mtu[1] != 0) add("mtu", std::to_string(nif.learned_mtu[1]));
    }
    if (!nif.dhcp) continue;
    for (const IpAddr& resolver : nif.dhcp->resolvers()) add("resolver", resolver.to_string());
  }
  return out;
}

void Ip::State::set_leased(Netif& nif, Origin who, const Action& action, Instant now) {
  const BookEntry* known = book.find(action.prefix.addr);
  if (known != nullptr) {
    if (known->origin != who || known->interface != nif.index) return;  // an operator's word stands
    const autoconf::BookStep step = book.set_lifetimes(action.prefix.addr, action.lifetimes, now);
    if (step.changed) act_on_book(BookEntry(*book.find(action.prefix.addr)), step, now);
    return;
  }
  BookEntry entry{nif.index, action.prefix, who};
  entry.on_link = who == Origin::kDhcp;
  entry.lifetimes = action.lifetimes;
  if (!add_address(nif, entry, now)) return counters.add(IpCounter::kRouterItemsRefused);
  const BookEntry* added = book.find(action.prefix.addr);
  if (added != nullptr && added->usable()) address_settled(BookEntry(*added), false, now);
}

// A route that an address brings too stays.
void Ip::State::drop_route(const Netif& nif, const Prefix& prefix, const IpAddr& gateway) {
  const bool wanted = gateway.is_unspecified() && std::ranges::any_of(book.all(), [&](const BookEntry& e) {
    return e.interface == nif.index && e.on_link && e.usable() && e.prefix.length == prefix.length &&
           prefix.contains(e.prefix.addr);
  });
  if (!wanted && routes.remove(prefix, nif.index, 0, &gateway)) bump_epoch();
}

// The test of an address that a machine asked for is over.
void Ip::State::address_settled(const BookEntry& entry, bool lost, Instant now) {
  Netif& nif = *find(entry.interface);
  Actions actions;
  if (entry.origin == Origin::kDhcp && nif.dhcp && nif.dhcp->address() == entry.prefix.addr) {
    lost ? nif.dhcp->address_taken(now, actions) : nif.dhcp->address_free(now, actions);
  } else if (entry.origin == Origin::kRouter && nif.routers && lost) {
    nif.routers->address_lost(entry.prefix.addr, now, actions);
  }
  perform(nif, entry.origin, actions, now);
}

void Ip::State::input_router_advertisement(Arrival& a, const wire::NdView& view) {
  if (!a.nif.routers) return drop(a.packet, IpCounter::kNdRouter);
  counters.add(IpCounter::kRouterAdvertsIn);
  if (const auto mac = view.link_address(wire::NdOptionType::kSourceLinkAddress); mac && !mac->is_group()) {
    const neigh::EntryId id = obtain_neighbour(a.nif.index, a.source);
    if (id.valid()) act(id, neighbours.hear_source(id, *mac), a.now);
  }
  Actions actions;
  const uint64_t refused = a.nif.routers->refused();
  a.nif.routers->hear(view, a.source, a.now, actions);
  counters.add(IpCounter::kRouterItemsRefused, a.nif.routers->refused() - refused);
  perform(a.nif, Origin::kRouter, actions, a.now);
  consume(a.packet);
}

// RFC 4861 6.3.6, 7.3.3: what we know of a neighbour tells which router to use; redirects through a dead one go.
void Ip::State::note_router(const neigh::Entry& entry, bool reachable) {
  Netif& nif = *find(entry.interface);
  if (!reachable) {
    while (const auto gone = redirects.drop(nif.index, &entry.addr)) forget_redirect(*gone);
  }
  if (!nif.routers || !nif.routers->is_router(entry.addr)) return;
  Actions actions;
  nif.routers->set_reachable(entry.addr, reachable, actions);
  perform(nif, Origin::kRouter, actions, Instant{});
}

// RFC 4861 6.3.7; RFC 4429 3.2: an optimistic address is not told to the router's cache.
void Ip::State::send_router_solicitation(Netif& nif) {
  const Address* source = addresses.select_source(nif.index, kAllRouters, IpAddr({0xfe, 0x80}));
  const bool usable = source != nullptr && source->prefix.addr.is_link_local() && !source->optimistic;
  const IpAddr from = usable ? source->prefix.addr : IpAddr();
  pkt::Packet* packet = new_packet();
  if (packet == nullptr) return;
  wire::RouterSolicitation rs;
  if (usable) rs.source_link = nif.config.mac;
  const uint16_t size = usable ? 16 : 8;
  std::array<std::byte, wire::RouterSolicitation::kMaxSize> room;
  (void)rs.emit(room, from, kAllRouters);
  std::memcpy(packet->append(size), room.data(), size);
  counters.add(IpCounter::kRouterSolicitsOut);
  send_nd(nif, packet, from, kAllRouters, wire::multicast_mac_v6(kAllRouters));
}

bool Ip::State::input_dhcp(Arrival& a) {
  if (a.protocol != wire::kProtocolUdp || a.length < a.header + wire::kUdpSize) return false;
  std::array<std::byte, 2048> room;
  if (a.length - a.header > room.size()) return false;
  const wire::Bytes bytes(room.data(), pkt::copy_out(*a.packet, a.header, {room.data(), a.length - a.header}));
  const auto udp = wire::UdpView::check(bytes);
  if (!udp || udp->destination_port() != wire::kDhcpClientPort || udp->source_port() != wire::kDhcpServerPort) {
    return false;
  }
  // A sender on this machine may leave the sum to a device that there is not.
  const bool verified = (a.packet->flags & pkt::kRxL4ChecksumMask) == pkt::kRxL4ChecksumNone;
  const bool intact = verified || udp->checksum_ok(a.source, a.destination);
  const auto view = intact ? wire::DhcpView::check(udp->payload()) : wire::Checked<wire::DhcpView>();
  const auto reply = view ? wire::DhcpReply::parse(*view) : std::nullopt;
  Actions actions;
  if (!reply || !a.nif.dhcp->hear(*reply, a.now, actions)) {
    drop(a.packet, IpCounter::kDhcpIgnored);
    return true;
  }
  counters.add(IpCounter::kDhcpIn);
  perform(a.nif, Origin::kDhcp, actions, a.now);
  consume(a.packet);
  return true;
}

void Ip::State::send_dhcp(Netif& nif, const Action& action, Instant now) {
  pkt::Packet* packet = new_packet();
  if (packet == nullptr) return;
  constexpr uint16_t kSize = wire::kUdpSize + wire::DhcpMessage::kMaxSize;
  std::byte* out = packet->append(kSize);
  action.dhcp.emit({out + wire::kUdpSize, wire::DhcpMessage::kMaxSize});
  const bool unicast = !action.gateway.is_unspecified() && !action.dhcp.client.is_unspecified();
  const IpAddr source = action.dhcp.client;
  const IpAddr to = unicast ? action.gateway : IpAddr::v4(0xffff'ffff);
  wire::UdpHeader{wire::kDhcpClientPort, wire::kDhcpServerPort, kSize, 0}.emit({out, wire::kUdpSize});
  const uint64_t sum = wire::add_sums(wire::pseudo_sum(source, to, wire::kProtocolUdp, kSize),
                                      wire::sum_bytes(out, kSize));
  wire::store_be16(out + 6, wire::finish_nonzero(sum));
  counters.add(IpCounter::kDhcpOut);
  if (unicast) {
    if (const auto way = route(to, source, 0)) {
      (void)send({source, to, wire::kProtocolUdp, kDefaultTtl, 0, *way}, packet, now);
      return;
    }
    return drop_out(packet, IpCounter::kOutNoRoute);
  }
  write_ip_header(packet->push(wire::kIpv4MinSize), source, to, wire::kProtocolUdp, kSize, kDefaultTtl, 0, true);
  fill_frame_header(packet->push(wire::kEthernetSize), nif, to, kBroadcastMac);
  transmit(nif.index, packet);
}

}  // namespace millrace::ip
