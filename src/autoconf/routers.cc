#include "autoconf/routers.h"

#include <algorithm>

#include "base/assert.h"

namespace millrace::autoconf {
namespace {

using Kind = Action::Kind;

// RFC 4861 10, RFC 7559 2.
constexpr Duration kMaxSolicitationDelay = seconds(1);
constexpr Duration kFirstInterval = seconds(4);
constexpr Duration kLongestInterval = seconds(3'600);
// RFC 4862 5.5.3 e.
constexpr Duration kTwoHours = seconds(7'200);

Instant ends(uint32_t lifetime_s, Instant now) {
  return lifetime_s == wire::kNdInfinite ? kNever : now + seconds(lifetime_s);
}

uint32_t metric_of(uint8_t preference) {
  return preference == 2 ? kMetricHigh : preference == 1 ? kMetricMedium : kMetricLow;
}

Prefix network_of(const Prefix& prefix) {
  std::array<uint8_t, 16> b = prefix.addr.bytes();
  for (uint32_t bit = prefix.length; bit < 128; ++bit) b[bit / 8] &= static_cast<uint8_t>(~(0x80U >> (bit % 8)));
  return {IpAddr(b), prefix.length};
}

// RFC 5453: interface identifiers that no host may take.
bool is_reserved(uint64_t id) {
  return id == 0 || (id >= 0xfdff'ffff'ffff'ff80 && id <= 0xfdff'ffff'ffff'ffff) || (id >> 24) == 0x0200'5eff'feULL;
}

Action route_action(Kind kind, const Prefix& prefix, const IpAddr& gateway, uint32_t metric = 0) {
  Action out;
  out.kind = kind;
  out.prefix = prefix;
  out.gateway = gateway;
  out.metric = metric;
  return out;
}

void say(Actions& out, Kind kind, uint32_t value = 0) {
  Action action;
  action.kind = kind;
  action.value = value;
  out.push_back(action);
}

constexpr uint8_t kMedium = 1;

}  // namespace

void Routers::start(Instant now) {
  solicit_interval_ = {};
  // RFC 4861 6.3.7: hosts that start together do not ask together.
  solicit_at_ = now + Duration(static_cast<int64_t>(rng_.below(static_cast<uint64_t>(kMaxSolicitationDelay.ns()))));
}

void Routers::stop(Actions& out) {
  solicit_at_ = kNever;
  for (const OnLink& p : on_link_) out.push_back(route_action(Kind::kDropRoute, p.prefix, {}));
  for (const Learned& r : learned_) out.push_back(route_action(Kind::kDropRoute, r.prefix, r.gateway));
  for (const Formed& f : formed_) {
    if (!f.given_up) out.push_back(route_action(Kind::kDropAddress, {f.addr, 64}, {}));
  }
  routers_.clear();
  on_link_.clear();
  learned_.clear();
  formed_.clear();
  resolvers_.clear();
  names_.clear();
  if (hop_limit_ != 0) say(out, Kind::kHopLimit);
  if (reachable_ms_ != 0) say(out, Kind::kReachable);
  if (retransmit_ms_ != 0) say(out, Kind::kRetransmit);
  if (mtu_ != 0) say(out, Kind::kMtu);
  hop_limit_ = 0;
  reachable_ms_ = retransmit_ms_ = mtu_ = 0;
  choose(out);
}

IpAddr Routers::stable_address(const Prefix& prefix, uint8_t counter) const {
  MR_ASSERT(prefix.length == 64);
  std::array<std::byte, 15> input{};
  std::memcpy(input.data(), prefix.addr.bytes().data(), 8);
  std::memcpy(input.data() + 8, options_.mac.bytes.data(), 6);
  input[14] = std::byte{counter};
  const uint64_t id = base::siphash(options_.secret, input);
  std::array<uint8_t, 16> b = prefix.addr.bytes();
  for (size_t i = 0; i < 8; ++i) b[8 + i] = static_cast<uint8_t>(id >> (56 - 8 * i));
  return IpAddr(b);
}

IpAddr Routers::next_address(const Prefix& prefix, uint8_t& counter) const {
  for (;; ++counter) {
    const IpAddr addr = stable_address(prefix, counter);
    uint64_t id = 0;
    for (size_t i = 8; i < 16; ++i) id = id << 8 | addr.bytes()[i];
    if (!is_reserved(id)) return addr;
  }
}

void Routers::hear(const wire::NdView& ra, const IpAddr& source, Instant now, Actions& out) {
  expire(now, out);
  hear_router(ra, source, now);
  hear_parameters(ra, out);
  wire::NdOptionWalker walker(ra.options());
  while (const auto option = walker.next()) {
    switch (option->type()) {
      case wire::NdOptionType::kPrefixInformation:
        if (const auto prefix = option->prefix()) hear_prefix(*prefix, now, out);
        break;
      case wire::NdOptionType::kRouteInformation:
        if (const auto route = option->route()) hear_route(*route, source, now, out);
        break;
      case wire::NdOptionType::kRdnss: hear_resolvers(*option, now); break;
      case wire::NdOptionType::kDnssl: hear_names(*option, now); break;
      default: break;
    }
  }
  choose(out);
  // RFC 7559 2.1: asking ends with an advertisement of a default router.
  if (std::ranges::any_of(routers_, [&](const Router& r) { return r.addr == source; })) solicit_at_ = kNever;
}

// RFC 4861 6.3.4, RFC 4191 2.2.
void Routers::hear_router(const wire::NdView& ra, const IpAddr& source, Instant now) {
  const auto known = std::ranges::find_if(routers_, [&](const Router& r) { return r.addr == source; });
  const uint16_t lifetime_s = ra.router_lifetime_s();
  const uint8_t preference = wire::preference_of(ra.router_flags()).value_or(kMedium);
  if (lifetime_s == 0) {
    if (known != routers_.end()) routers_.erase(known);
    return;
  }
  const Instant until = now + seconds(lifetime_s);
  if (known != routers_.end()) {
    known->until = until;
    known->preference = preference;
    return;
  }
  if (routers_.size() >= kMaxRouters) {
    const auto least = std::ranges::min_element(routers_, {}, &Router::preference);
    ++refused_;
    if (least->preference >= preference) return;
    routers_.erase(least);
  }
  routers_.push_back({source, until, preference, true});
}

// RFC 4861 6.3.4; RFC 8200 5 for the least MTU.
void Routers::hear_parameters(const wire::NdView& ra, Actions& out) {
  const auto message = wire::RouterAdvertisement::parse(ra);
  if (message.hop_limit != 0 && message.hop_limit != hop_limit_) {
    hop_limit_ = message.hop_limit;
    say(out, Kind::kHopLimit, hop_limit_);
  }
  if (message.reachable_ms != 0 && message.reachable_ms <= 3'600'000 && message.reachable_ms != reachable_ms_) {
    reachable_ms_ = message.reachable_ms;
    say(out, Kind::kReachable, reachable_ms_);
  }
  if (message.retransmit_ms >= 10 && message.retransmit_ms <= 60'000 && message.retransmit_ms != retransmit_ms_) {
    retransmit_ms_ = message.retransmit_ms;
    say(out, Kind::kRetransmit, retransmit_ms_);
  }
  if (message.mtu && *message.mtu >= 1'280 && *message.mtu <= options_.link_mtu && *message.mtu != mtu_) {
    mtu_ = *message.mtu;
    say(out, Kind::kMtu, mtu_);
  }
}

void Routers::hear_prefix(const wire::NdPrefix& given, Instant now, Actions& out) {
  wire::NdPrefix option = given;
  option.prefix = network_of(given.prefix);
  if (option.prefix.addr.is_link_local() || option.prefix.addr.is_multicast()) return;
  if (option.on_link) {
    const auto known = std::ranges::find_if(on_link_, [&](const OnLink& p) { return p.prefix == option.prefix; });
    if (option.valid_s == 0) {
      if (known != on_link_.end()) {
        out.push_back(route_action(Kind::kDropRoute, option.prefix, {}));
        on_link_.erase(known);
      }
    } else if (known != on_link_.end()) {
      known->until = ends(option.valid_s, now);
    } else if (on_link_.size() >= kMaxPrefixes) {
      ++refused_;
    } else {
      on_link_.push_back({option.prefix, ends(option.valid_s, now)});
      out.push_back(route_action(Kind::kRoute, option.prefix, {}));
    }
  }
  if (option.autonomous && options_.form_addresses) hear_autonomous(option, now, out);
}

// RFC 4862 5.5.3.
void Routers::hear_autonomous(const wire::NdPrefix& option, Instant now, Actions& out) {
  if (option.preferred_s > option.valid_s || option.prefix.length != 64) return;
  const auto known = std::ranges::find_if(formed_, [&](const Formed& f) { return f.prefix == option.prefix; });
  Action action;
  action.kind = Kind::kAddress;
  if (known == formed_.end()) {
    if (option.valid_s == 0) return;
    if (formed_.size() >= kMaxFormed) {
      ++refused_;
      return;
    }
    Formed formed;
    formed.prefix = option.prefix;
    formed.addr = next_address(option.prefix, formed.counter);
    formed.lifetimes = {ends(option.preferred_s, now), ends(option.valid_s, now)};
    formed_.push_back(formed);
    action.prefix = {formed.addr, 64};
    action.lifetimes = formed.lifetimes;
    out.push_back(action);
    return;
  }
  const Instant valid = ends(option.valid_s, now);
  // e: an advertisement that nobody vouches for cannot shorten a life to less than two hours.
  Instant& until = known->lifetimes.valid_until;
  if (valid > now + kTwoHours || valid > until) {
    until = valid;
  } else if (until > now + kTwoHours) {
    until = now + kTwoHours;
  }
  known->lifetimes.preferred_until = std::min(ends(option.preferred_s, now), until);
  if (known->given_up) return;
  action.prefix = {known->addr, 64};
  action.lifetimes = known->lifetimes;
  out.push_back(action);
}

// RFC 4191 2.3, 3.1 (type C host). A route to ::/0 speaks about the router itself.
void Routers::hear_route(const wire::NdRoute& given, const IpAddr& source, Instant now, Actions& out) {
  const Prefix prefix = network_of(given.prefix);
  if (prefix.length == 0 || prefix.addr.is_link_local() || prefix.addr.is_multicast()) return;
  const auto known = std::ranges::find_if(
      learned_, [&](const Learned& r) { return r.prefix == prefix && r.gateway == source; });
  if (known != learned_.end() && (given.lifetime_s == 0 || known->preference != given.preference)) {
    out.push_back(route_action(Kind::kDropRoute, prefix, source));
    learned_.erase(known);
  } else if (known != learned_.end()) {
    known->until = ends(given.lifetime_s, now);
    return;
  }
  if (given.lifetime_s == 0) return;
  if (learned_.size() >= kMaxLearnedRoutes) {
    ++refused_;
    return;
  }
  learned_.push_back({prefix, source, ends(given.lifetime_s, now), given.preference});
  out.push_back(route_action(Kind::kRoute, prefix, source, metric_of(given.preference)));
}

// RFC 8106 5.1, 6.
void Routers::hear_resolvers(const wire::NdOption& option, Instant now) {
  const uint32_t lifetime_s = option.rdnss_count() == 0 ? 0 : option.rdnss_lifetime_s();
  for (size_t i = 0; i < option.rdnss_count(); ++i) {
    const IpAddr server = option.rdnss_server(i);
    if (server.is_multicast() || server.is_unspecified() || server.is_loopback()) continue;
    std::erase_if(resolvers_, [&](const Resolver& r) { return r.addr == server; });
    if (lifetime_s == 0) continue;
    if (resolvers_.size() >= kMaxResolvers) {
      ++refused_;
      continue;
    }
    resolvers_.push_back({server, ends(lifetime_s, now)});
  }
}

// RFC 8106 5.2.
void Routers::hear_names(const wire::NdOption& option, Instant now) {
  wire::DnsslWalker walker(option);
  while (const auto name = walker.next()) {
    std::erase_if(names_, [&](const SearchName& n) { return n.name == *name; });
    if (walker.lifetime_s() == 0) continue;
    if (names_.size() >= kMaxSearchNames) {
      ++refused_;
      continue;
    }
    names_.push_back({*name, ends(walker.lifetime_s(), now)});
  }
}

void Routers::expire(Instant now, Actions& out) {
  const auto over = [&](const auto& item) { return item.until <= now; };
  std::erase_if(routers_, over);
  for (const OnLink& p : on_link_) {
    if (over(p)) out.push_back(route_action(Kind::kDropRoute, p.prefix, {}));
  }
  std::erase_if(on_link_, over);
  for (const Learned& r : learned_) {
    if (over(r)) out.push_back(route_action(Kind::kDropRoute, r.prefix, r.gateway));
  }
  std::erase_if(learned_, over);
  // The addresses themselves end by their own clock.
  std::erase_if(formed_, [&](const Formed& f) { return f.lifetimes.valid_until <= now; });
  std::erase_if(resolvers_, over);
  std::erase_if(names_, over);
}

// RFC 4861 6.3.6, RFC 4191 3.2: reachable ones first, then by preference, then the one we have.
void Routers::choose(Actions& out) {
  const Router* best = nullptr;
  const auto rank = [&](const Router& r) {
    return (r.reachable ? 16 : 0) + r.preference * 2 + (r.addr == chosen_ ? 1 : 0);
  };
  for (const Router& r : routers_) {
    if (best == nullptr || rank(r) > rank(*best)) best = &r;
  }
  const IpAddr next = best == nullptr ? IpAddr() : best->addr;
  const uint32_t metric = best == nullptr ? 0 : metric_of(best->preference);
  if (next == chosen_ && metric == chosen_metric_) return;
  if (!chosen_.is_unspecified()) out.push_back(route_action(Kind::kDropRoute, {IpAddr(), 0}, chosen_));
  chosen_ = next;
  chosen_metric_ = metric;
  if (best != nullptr) out.push_back(route_action(Kind::kRoute, {IpAddr(), 0}, next, metric));
}

void Routers::tick(Instant now, Actions& out) {
  if (solicit_at_ <= now) {
    // RFC 7559 2: each interval twice the one before, give or take a tenth, for as long as no router is there.
    const auto tenth = [&](Duration d) {
      const auto range = static_cast<uint64_t>(d.ns() / 5);
      return Duration(static_cast<int64_t>(rng_.below(range)) - d.ns() / 10);
    };
    Duration next = solicit_interval_ == Duration() ? kFirstInterval : solicit_interval_ * 2;
    next = std::min(next, kLongestInterval);
    solicit_interval_ = next + tenth(next);
    solicit_at_ = now + solicit_interval_;
    say(out, Kind::kSolicit);
  }
  expire(now, out);
  choose(out);
}

void Routers::address_lost(const IpAddr& addr, Instant now, Actions& out) {
  const auto found = std::ranges::find_if(formed_, [&](const Formed& f) { return f.addr == addr; });
  if (found == formed_.end() || found->lifetimes.valid_until <= now) return;
  out.push_back(route_action(Kind::kDropAddress, {addr, 64}, {}));
  if (++found->counter > kIdGenRetries) {
    found->given_up = true;
    return;
  }
  found->addr = next_address(found->prefix, found->counter);
  Action action;
  action.kind = Kind::kAddress;
  action.prefix = {found->addr, 64};
  action.lifetimes = found->lifetimes;
  out.push_back(action);
}

bool Routers::is_router(const IpAddr& addr) const {
  return std::ranges::any_of(routers_, [&](const Router& r) { return r.addr == addr; });
}

void Routers::set_reachable(const IpAddr& router, bool reachable, Actions& out) {
  for (Router& r : routers_) {
    if (r.addr == router) r.reachable = reachable;
  }
  choose(out);
}

Instant Routers::next_deadline() const {
  Instant first = solicit_at_;
  for (const Router& r : routers_) first = std::min(first, r.until);
  for (const OnLink& p : on_link_) first = std::min(first, p.until);
  for (const Learned& r : learned_) first = std::min(first, r.until);
  for (const Resolver& r : resolvers_) first = std::min(first, r.until);
  for (const SearchName& n : names_) first = std::min(first, n.until);
  for (const Formed& f : formed_) first = std::min(first, f.lifetimes.valid_until);
  return first;
}

}  // namespace millrace::autoconf
