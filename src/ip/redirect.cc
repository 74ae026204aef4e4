// Redirects by policy (RFC 1122 3.2.2.2, 3.3.1.2; RFC 4861 8.1, 8.3): believed only where the interface's options say
// so, only of the first hop that we use for that destination, and only toward a neighbour on the link they came from.
#include "ip/state.h"
#include "wire/nd.h"
#include "wire/quoted.h"

namespace millrace::ip {
namespace {

Prefix host_prefix(const IpAddr& addr) { return {addr, static_cast<uint8_t>(addr.is_v4() ? 32 : 128)}; }

// The gateway of a route to `to` whose first hop is `via`.
IpAddr hop_of(const IpAddr& to, const IpAddr& via) { return via == to ? IpAddr() : via; }

}  // namespace

void Ip::State::forget_redirect(const autoconf::Redirects::Item& item) {
  drop_route(*find(item.interface), host_prefix(item.destination), hop_of(item.destination, item.gateway));
}

bool Ip::State::is_first_hop(const Netif& nif, const IpAddr& router, const IpAddr& destination) const {
  const route::NextHop* hop = routes.lookup(destination, 0, up_mask);
  return hop != nullptr && hop->interface == nif.index && hop->gateway == router;
}

void Ip::State::redirect(Netif& nif, const IpAddr& destination, const IpAddr& gateway, Instant now) {
  if (const auto gone = redirects.add(nif.index, destination, gateway, now)) {
    forget_redirect(*gone);
  }
  (void)routes.add(host_prefix(destination), {nif.index, hop_of(destination, gateway), 0}, 0);
  counters.add(IpCounter::kRedirectsTaken);
  bump_epoch();
}

void Ip::State::input_redirect_v4(Arrival& a, const wire::Icmpv4View& message) {
  const auto quoted = wire::parse_quoted_v4(message.payload());
  if (!a.nif.options.redirects_v4 || !quoted) return drop(a.packet, IpCounter::kRedirectRefused);
  const IpAddr gateway = message.gateway();
  // RFC 1122 3.2.2.2: the new gateway is on the link that the redirect came from, and the sender is the current one.
  const route::NextHop* way = routes.lookup(gateway, 0, up_mask);
  const bool on_link = way != nullptr && way->interface == a.nif.index && way->gateway.is_unspecified();
  const bool ours = addresses.contains(quoted->source) && !addresses.contains(gateway);
  if (!on_link || !ours || gateway.is_unspecified() || gateway.is_multicast() || addresses.is_broadcast(gateway) ||
      addresses.contains(quoted->destination) || !is_first_hop(a.nif, a.source, quoted->destination)) {
    return drop(a.packet, IpCounter::kRedirectRefused);
  }
  redirect(a.nif, quoted->destination, gateway, a.now);
  consume(a.packet);
}

void Ip::State::input_redirect_v6(Arrival& a, const wire::NdView& view) {
  const auto message = wire::Redirect::parse(view);
  // NdView::check and acceptable() have seen to the rest of RFC 4861 8.1.
  if (!a.nif.options.redirects_v6 || addresses.contains(message.target) || addresses.contains(message.destination) ||
      message.destination.is_link_local() || !is_first_hop(a.nif, a.source, message.destination)) {
    return drop(a.packet, IpCounter::kRedirectRefused);
  }
  redirect(a.nif, message.destination, message.target, a.now);
  if (message.target_link && !message.target_link->is_group()) {
    const neigh::EntryId id = obtain_neighbour(a.nif.index, message.target);
    if (id.valid()) act(id, neighbours.hear_source(id, *message.target_link), a.now);
  }
  consume(a.packet);
}

}  // namespace millrace::ip
