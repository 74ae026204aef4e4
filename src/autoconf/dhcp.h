// The DHCPv4 client of one interface (RFC 2131 4.4), as pure state: replies and time go in; messages to send, and
// addresses and routes to set, come out.
//
//   kInit -> kSelecting -> kRequesting -> kChecking -> kBound -> kRenewing -> kRebinding -> (expired) kInit
//   link up with a lease -> kRebooting -> kBound
//
// The first offer is taken. The address is tested by the link (RFC 5227) before it is used; if somebody has it, it is
// declined. Of a server's answers only those with our transaction number and Ethernet address count.
#pragma once

#include <cstdint>
#include <vector>

#include "autoconf/action.h"
#include "base/counters.h"
#include "base/rng.h"
#include "wire/dhcp.h"

namespace millrace::autoconf {

enum class DhcpState : uint8_t {
  kStopped,
  kInit,
  kSelecting,
  kRequesting,
  kChecking,
  kBound,
  kRenewing,
  kRebinding,
  kRebooting,
};
[[nodiscard]] const char* name_of(DhcpState state);

/// The metric of routes that a server gives: above those of advertisements' high, below low ones.
inline constexpr uint32_t kMetricDhcp = 1'024;

class DhcpClient {
 public:
  DhcpClient(const MacAddr& mac, uint64_t seed) : mac_(mac), rng_(seed) {}

  /// The link is up; a lease that still runs is asked for again (RFC 2131 4.4.2).
  void start(Instant now);
  /// The link went down: nothing is sent. The address stays until its lease ends.
  void stop();
  /// Gives the lease back (RFC 2131 4.4.6) and takes everything away.
  void release(Actions& out);
  /// A message to the client's port. False: it is none of ours.
  bool hear(const wire::DhcpReply& reply, Instant now, Actions& out);
  void tick(Instant now, Actions& out);
  /// Nobody on the link has the address.
  void address_free(Instant now, Actions& out);
  /// Somebody has it, now or later (RFC 5227 2.4): it is declined.
  void address_taken(Instant now, Actions& out);

  [[nodiscard]] DhcpState state() const { return state_; }
  [[nodiscard]] Instant next_deadline() const { return deadline_; }
  /// The leased address; 0.0.0.0 if there is none.
  [[nodiscard]] const IpAddr& address() const { return address_; }
  [[nodiscard]] const IpAddr& server() const { return lease_.server; }
  [[nodiscard]] Instant lease_ends() const { return lease_until_; }
  [[nodiscard]] const wire::ShortList<IpAddr, wire::kDhcpMaxServers>& resolvers() const { return lease_.resolvers; }

 private:
  void enter(DhcpState state, Instant deadline) {
    state_ = state;
    deadline_ = deadline;
  }
  void begin(Instant now);
  void send(wire::DhcpType type, Instant now, Actions& out);
  Instant backoff(Instant now);
  void hear_offer(const wire::DhcpReply& offer, Instant now, Actions& out);
  void hear_ack(const wire::DhcpReply& ack, Instant now, Actions& out);
  void bind(Actions& out);
  void drop_routes(Actions& out);
  void drop_lease(Actions& out);
  [[nodiscard]] static std::vector<wire::DhcpRoute> routes_of(const wire::DhcpReply& lease);
  void retry_until(Instant end, Instant now);

  MacAddr mac_;
  base::Rng rng_;
  DhcpState state_ = DhcpState::kStopped;
  Instant deadline_ = kNever;
  Instant began_{};                      // of this attempt, for `secs`
  uint32_t xid_ = 0;
  uint32_t tries_ = 0;
  Duration pause_{};
  Instant asked_at_{};                   // when the request that was acknowledged went out
  IpAddr address_ = IpAddr::any_v4();    // leased
  wire::DhcpReply lease_{};              // what was offered, then acknowledged
  std::vector<wire::DhcpRoute> routes_;  // as set
  Instant t1_ = kNever;
  Instant t2_ = kNever;
  Instant lease_until_ = kNever;
};

}  // namespace millrace::autoconf
