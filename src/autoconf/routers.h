// What one interface learns from routers: default routers, on-link prefixes, addresses to form, further routes, MTU,
// hop limit, neighbour timing, resolvers. RFC 4861 6.3 (router discovery), RFC 7559 (solicitations), RFC 4862 5.5
// (addresses), RFC 7217 (their stable interface identifiers), RFC 4191 (preferences, routes), RFC 8106 (resolvers).
//
// Pure state: what is to be done comes out as a list of actions; addresses and routes live elsewhere. Every list has a
// limit. At it, what is new is ignored and counted, except that a router of higher preference takes the place of one
// of the lowest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autoconf/action.h"
#include "base/rng.h"
#include "base/siphash.h"
#include "millrace/address.h"
#include "millrace/time.h"
#include "wire/nd.h"

namespace millrace::autoconf {

inline constexpr size_t kMaxRouters = 8;
inline constexpr size_t kMaxPrefixes = 16;
inline constexpr size_t kMaxFormed = 16;
inline constexpr size_t kMaxLearnedRoutes = 32;
inline constexpr size_t kMaxResolvers = 8;
inline constexpr size_t kMaxSearchNames = 8;
/// RFC 7217 5: attempts at an address that somebody else has already.
inline constexpr uint8_t kIdGenRetries = 3;

/// Metrics of routes that routers advertise, by preference (RFC 4191 2.1).
inline constexpr uint32_t kMetricHigh = 512;
inline constexpr uint32_t kMetricMedium = 1'024;
inline constexpr uint32_t kMetricLow = 2'048;

struct RouterOptions {
  bool form_addresses = true;
  base::SipKey secret{};  ///< behind interface identifiers (RFC 7217 5)
  MacAddr mac{};
  uint16_t link_mtu = 1500;
};

class Routers {
 public:
  struct Router {
    IpAddr addr;
    Instant until;
    uint8_t preference = 1;  ///< 0 low, 1 medium, 2 high
    bool reachable = true;
  };
  struct OnLink {
    Prefix prefix;
    Instant until;
  };
  struct Formed {
    Prefix prefix;       ///< as advertised
    IpAddr addr;
    Lifetimes lifetimes;
    uint8_t counter = 0; ///< DAD_Counter of RFC 7217
    bool given_up = false;
  };
  struct Learned {
    Prefix prefix;
    IpAddr gateway;
    Instant until;
    uint8_t preference = 1;
  };
  struct Resolver {
    IpAddr addr;
    Instant until;
  };
  struct SearchName {
    std::string name;
    Instant until;
  };

  Routers(const RouterOptions& options, uint64_t seed) : options_(options), rng_(seed) {}

  /// Asks for routers: the interface came up.
  void start(Instant now);
  /// The link went down: nothing is known any more.
  void stop(Actions& out);
  /// An advertisement that passed NdView::check and acceptable().
  void hear(const wire::NdView& advertisement, const IpAddr& source, Instant now, Actions& out);
  void tick(Instant now, Actions& out);
  /// Somebody else has an address that was formed: another one is tried, a few times (RFC 7217 6).
  void address_lost(const IpAddr& addr, Instant now, Actions& out);
  /// A neighbour does not answer, or answers again: if it is a router, another may take its place (RFC 4861 6.3.6).
  void set_reachable(const IpAddr& router, bool reachable, Actions& out);

  [[nodiscard]] Instant next_deadline() const;
  [[nodiscard]] bool is_router(const IpAddr& addr) const;
  [[nodiscard]] const std::vector<Router>& routers() const { return routers_; }
  [[nodiscard]] const std::vector<OnLink>& on_link() const { return on_link_; }
  [[nodiscard]] const std::vector<Formed>& formed() const { return formed_; }
  [[nodiscard]] const std::vector<Learned>& learned() const { return learned_; }
  [[nodiscard]] const std::vector<Resolver>& resolvers() const { return resolvers_; }
  [[nodiscard]] const std::vector<SearchName>& search_names() const { return names_; }
  /// The router that the default route goes through; unspecified if there is none.
  [[nodiscard]] const IpAddr& chosen() const { return chosen_; }
  /// Items of advertisements that a limit left no room for.
  [[nodiscard]] uint64_t refused() const { return refused_; }

  /// The address of this prefix (RFC 7217 5); the length must be 64.
  [[nodiscard]] IpAddr stable_address(const Prefix& prefix, uint8_t counter) const;

 private:
  void hear_router(const wire::NdView& ra, const IpAddr& source, Instant now);
  void hear_parameters(const wire::NdView& ra, Actions& out);
  void hear_prefix(const wire::NdPrefix& prefix, Instant now, Actions& out);
  void hear_autonomous(const wire::NdPrefix& prefix, Instant now, Actions& out);
  void hear_route(const wire::NdRoute& route, const IpAddr& source, Instant now, Actions& out);
  void hear_resolvers(const wire::NdOption& option, Instant now);
  void hear_names(const wire::NdOption& option, Instant now);
  void expire(Instant now, Actions& out);
  void choose(Actions& out);
  IpAddr next_address(const Prefix& prefix, uint8_t& counter) const;

  RouterOptions options_;
  base::Rng rng_;
  std::vector<Router> routers_;
  std::vector<OnLink> on_link_;
  std::vector<Formed> formed_;
  std::vector<Learned> learned_;
  std::vector<Resolver> resolvers_;
  std::vector<SearchName> names_;
  IpAddr chosen_{};
  uint32_t chosen_metric_ = 0;
  Instant solicit_at_ = kNever;
  Duration solicit_interval_{};
  uint8_t hop_limit_ = 0;
  uint32_t mtu_ = 0;
  uint32_t reachable_ms_ = 0;
  uint32_t retransmit_ms_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace millrace::autoconf
