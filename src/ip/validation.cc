// Which addresses a unicast datagram may carry at which interface: impossible sources (RFC 1122 3.2.1.3, RFC 4291 2.5),
// the strong host model (RFC 1122 3.3.4.2), the reverse path (RFC 3704 2.2 and 2.3).
#include "ip/state.h"

namespace millrace::ip {
namespace {

constexpr int64_t kStrict = 1;

// RFC 1122 3.2.1.3: addresses that no host sends from to another. "This network" is for DHCP, which we do not serve.
inline bool is_impossible(const IpAddr& source) {
  if (!source.is_v4()) return source.is_multicast() || source.is_unspecified() || source.is_loopback();
  const uint32_t first = source.v4_value() >> 24;
  return first - 1 >= 223 || first == 127;
}

}  // namespace

// A source of our own from outside is the land attack.
bool Ip::State::is_martian(const IpAddr& source) const {
  return is_impossible(source) || addresses.contains(source) || addresses.is_broadcast(source);
}

// With the strong host model an address is reached through its own interface only; link-local ones always are.
bool Ip::State::is_reached_through(const IpAddr& destination, const Netif& nif) const {
  if (nif.is_loopback()) return true;
  const bool strong = config.settings.strong_host != 0 || (destination.is_v6() && destination.is_link_local());
  return !strong || addresses.on_interface(nif.index, destination);
}

// Whether we would send to `source` through `nif`, or (loose) at all. Link-local addresses are always next door.
bool Ip::State::is_reverse_path(const IpAddr& source, const Netif& nif) const {
  const int64_t mode = config.settings.reverse_path;
  if (mode == 0 || (source.is_v6() && source.is_link_local())) return true;
  const uint64_t through = mode == kStrict ? route::interface_bit(nif.index) : up_mask;
  const route::NextHop* any = routes.lookup(source, 0, up_mask);
  return any != nullptr && (mode != kStrict || routes.lookup(source, 0, through) == any);
}

bool Ip::State::accepts(const IpAddr& source, const IpAddr& destination, IfIndex interface) const {
  const Netif* nif = find(interface);
  if (nif == nullptr || !addresses.contains(destination)) return false;
  if (nif->is_loopback()) return true;
  return !destination.is_loopback() && !is_martian(source) && is_reached_through(destination, *nif) &&
         is_reverse_path(source, *nif);
}

}  // namespace millrace::ip
