#include "autoconf/dhcp.h"

#include <algorithm>

#include "base/assert.h"

namespace millrace::autoconf {
namespace {

using Kind = Action::Kind;
using wire::DhcpType;

// RFC 2131 4.1: 4 seconds, doubled up to 64, each give or take a second.
constexpr Duration kFirstPause = seconds(4);
constexpr Duration kLongestPause = seconds(64);
// RFC 2131 4.4.1 lets a host wait one to ten seconds before it first asks, against a hall of machines that start
// together. Up to one second serves that too.
constexpr Duration kFirstDelay = seconds(1);
constexpr Duration kDeclineDelay = seconds(10);   // RFC 2131 3.1 step 5
constexpr Duration kLeastRenewPause = seconds(60);  // RFC 2131 4.4.5
constexpr uint32_t kRequests = 4;
constexpr uint32_t kReboots = 2;
constexpr uint32_t kLeastLease_s = 10;
constexpr uint32_t kForever = 0xffff'ffff;
constexpr uint16_t kMaxAnswer = 1'500;

Prefix on_link(const IpAddr& addr, uint8_t length) { return {addr, length}; }

// Without a mask: the address's class (RFC 1122 3.3.1.1), as everybody does.
uint8_t length_of(const wire::DhcpReply& lease) {
  if (lease.prefix_length != 0) return lease.prefix_length;
  const uint32_t first = lease.address.v4_value() >> 24;
  return first < 128 ? 8 : first < 192 ? 16 : 24;
}

Action route(Kind kind, const wire::DhcpRoute& r) {
  Action out;
  out.kind = kind;
  out.prefix = r.prefix;
  if (!r.gateway.is_unspecified()) out.gateway = r.gateway;
  out.metric = kMetricDhcp;
  return out;
}

}  // namespace

const char* name_of(DhcpState state) {
  switch (state) {
    case DhcpState::kStopped: return "STOPPED";
    case DhcpState::kInit: return "INIT";
    case DhcpState::kSelecting: return "SELECTING";
    case DhcpState::kRequesting: return "REQUESTING";
    case DhcpState::kChecking: return "CHECKING";
    case DhcpState::kBound: return "BOUND";
    case DhcpState::kRenewing: return "RENEWING";
    case DhcpState::kRebinding: return "REBINDING";
    case DhcpState::kRebooting: return "REBOOTING";
  }
  return "?";
}

void DhcpClient::start(Instant now) {
  tries_ = 0;
  pause_ = {};
  if (!address_.is_unspecified() && lease_until_ > now) {
    began_ = now;
    xid_ = static_cast<uint32_t>(rng_.next());
    return enter(DhcpState::kRebooting, now);
  }
  enter(DhcpState::kInit, now + Duration(static_cast<int64_t>(rng_.below(static_cast<uint64_t>(kFirstDelay.ns())))));
}

void DhcpClient::stop() {
  // The lease still ends by its clock.
  enter(DhcpState::kStopped, address_.is_unspecified() ? kNever : lease_until_);
}

void DhcpClient::release(Actions& out) {
  if (!address_.is_unspecified() && state_ != DhcpState::kStopped) {
    Action& send = out.emplace_back();
    send.kind = Kind::kSendDhcp;
    send.gateway = lease_.server;
    send.dhcp.type = DhcpType::kRelease;
    send.dhcp.xid = static_cast<uint32_t>(rng_.next());
    send.dhcp.client = address_;
    send.dhcp.mac = mac_;
    send.dhcp.server = lease_.server;
  }
  drop_lease(out);
  enter(DhcpState::kStopped, kNever);
}

void DhcpClient::begin(Instant now) {
  began_ = now;
  xid_ = static_cast<uint32_t>(rng_.next());
  tries_ = 0;
  pause_ = {};
}

Instant DhcpClient::backoff(Instant now) {
  pause_ = pause_ == Duration() ? kFirstPause : std::min(pause_ * 2, kLongestPause);
  const auto jitter = Duration(static_cast<int64_t>(rng_.below(2'000'000'000))) - seconds(1);
  return now + pause_ + jitter;
}

// RFC 2131 table 5: which fields belong into which message.
void DhcpClient::send(DhcpType type, Instant now, Actions& out) {
  Action& action = out.emplace_back();
  action.kind = Kind::kSendDhcp;
  wire::DhcpMessage& m = action.dhcp;
  m.type = type;
  m.xid = xid_;
  m.secs = static_cast<uint16_t>(std::min<int64_t>((now - began_).ns() / 1'000'000'000, 0xffff));
  m.mac = mac_;
  m.max_size = kMaxAnswer;
  switch (state_) {
    case DhcpState::kRenewing:
      action.gateway = lease_.server;
      [[fallthrough]];
    case DhcpState::kRebinding: m.client = address_; break;
    case DhcpState::kRequesting:
      m.requested = lease_.address;
      m.server = lease_.server;
      m.broadcast = true;
      break;
    case DhcpState::kRebooting:
      m.requested = address_;
      m.broadcast = true;
      break;
    default:
      if (type == DhcpType::kDecline) {
        m.requested = lease_.address;
        m.server = lease_.server;
      } else {
        m.broadcast = true;  // we take nothing by unicast before we have the address
      }
  }
  if (type == DhcpType::kRequest) asked_at_ = now;
}

// RENEWING and REBINDING: half of what is left, a minute at least.
void DhcpClient::retry_until(Instant end, Instant now) {
  const Duration half = std::max((end - now) / 2, kLeastRenewPause);
  deadline_ = std::min(end, now + half);
}

void DhcpClient::tick(Instant now, Actions& out) {
  if (now < deadline_) return;
  switch (state_) {
    case DhcpState::kStopped: drop_lease(out); return enter(DhcpState::kStopped, kNever);
    case DhcpState::kInit:
      begin(now);
      state_ = DhcpState::kSelecting;
      [[fallthrough]];
    case DhcpState::kSelecting:
      send(DhcpType::kDiscover, now, out);
      deadline_ = backoff(now);
      return;
    case DhcpState::kRequesting:
      if (tries_ >= kRequests) return enter(DhcpState::kInit, now);
      ++tries_;
      send(DhcpType::kRequest, now, out);
      deadline_ = backoff(now);
      return;
    case DhcpState::kRebooting:
      if (tries_ >= kReboots) {  // RFC 2131 3.2: no answer; the lease still holds
        return now < t1_ ? enter(DhcpState::kBound, t1_) : enter(DhcpState::kBound, now);
      }
      ++tries_;
      send(DhcpType::kRequest, now, out);
      deadline_ = backoff(now);
      return;
    case DhcpState::kBound:
      begin(now);
      state_ = DhcpState::kRenewing;
      [[fallthrough]];
    case DhcpState::kRenewing:
      if (now < t2_) {
        send(DhcpType::kRequest, now, out);
        return retry_until(t2_, now);
      }
      state_ = DhcpState::kRebinding;
      [[fallthrough]];
    case DhcpState::kRebinding:
      if (now < lease_until_) {
        send(DhcpType::kRequest, now, out);
        return retry_until(lease_until_, now);
      }
      drop_lease(out);  // RFC 2131 4.4.5 MUST
      return enter(DhcpState::kInit, now);
    case DhcpState::kChecking: return enter(DhcpState::kInit, now);  // no word from the link
  }
}

bool DhcpClient::hear(const wire::DhcpReply& reply, Instant now, Actions& out) {
  if (reply.client_mac != mac_ || reply.xid != xid_) return false;
  const bool asked = state_ == DhcpState::kRequesting || state_ == DhcpState::kRenewing ||
                     state_ == DhcpState::kRebinding || state_ == DhcpState::kRebooting;
  switch (reply.type) {
    case DhcpType::kOffer:
      if (state_ != DhcpState::kSelecting) return false;
      hear_offer(reply, now, out);
      return true;
    case DhcpType::kAck:
      if (!asked) return false;
      hear_ack(reply, now, out);
      return true;
    case DhcpType::kNak:
      if (!asked || (state_ == DhcpState::kRequesting && reply.server != lease_.server)) return false;
      drop_lease(out);
      enter(DhcpState::kInit, now);
      return true;
    default: return false;
  }
}

void DhcpClient::hear_offer(const wire::DhcpReply& offer, Instant now, Actions& out) {
  const uint32_t first = offer.address.v4_value() >> 24;
  if (first == 0 || first == 127 || first >= 224 || offer.server.is_unspecified()) return;
  lease_ = offer;
  tries_ = 1;
  pause_ = {};
  state_ = DhcpState::kRequesting;
  send(DhcpType::kRequest, now, out);
  deadline_ = backoff(now);
}

void DhcpClient::hear_ack(const wire::DhcpReply& ack, Instant now, Actions& out) {
  const bool fresh = state_ == DhcpState::kRequesting;
  if (ack.lease_s < kLeastLease_s || ack.address != (fresh ? lease_.address : address_)) return;
  const IpAddr server = lease_.server;
  lease_ = ack;
  if (lease_.server.is_unspecified()) lease_.server = server;
  const auto after = [&](uint32_t s) { return ack.lease_s == kForever ? kNever : asked_at_ + seconds(s); };
  // RFC 2131 4.4.5: half and seven eighths, unless the server says better.
  const uint32_t t1 = ack.t1_s != 0 && ack.t1_s < ack.lease_s ? ack.t1_s : ack.lease_s / 2;
  const uint32_t t2 = ack.t2_s > t1 && ack.t2_s < ack.lease_s
                          ? ack.t2_s
                          : std::max(t1, static_cast<uint32_t>(uint64_t{ack.lease_s} * 7 / 8));
  lease_until_ = after(ack.lease_s);
  t1_ = after(t1);
  t2_ = after(t2);
  Action& set = out.emplace_back();
  set.kind = Kind::kAddress;
  set.prefix = on_link(ack.address, length_of(ack));
  set.lifetimes = {kNever, lease_until_};
  if (!fresh) return bind(out);
  address_ = ack.address;
  enter(DhcpState::kChecking, std::max(now, lease_until_));
  if (lease_until_ == kNever) deadline_ = kNever;
}

void DhcpClient::address_free(Instant, Actions& out) {
  if (state_ == DhcpState::kChecking) bind(out);
}

// RFC 2131 3.1 step 5, 4.4.1.
void DhcpClient::address_taken(Instant now, Actions& out) {
  if (address_.is_unspecified() || state_ == DhcpState::kStopped) return;
  state_ = DhcpState::kChecking;
  send(DhcpType::kDecline, now, out);
  drop_lease(out);
  enter(DhcpState::kInit, now + kDeclineDelay);
}

std::vector<wire::DhcpRoute> DhcpClient::routes_of(const wire::DhcpReply& lease) {
  if (lease.has_routes) return {lease.routes.begin(), lease.routes.end()};  // RFC 3442 MUST
  if (lease.routers.size == 0) return {};
  return {{{IpAddr::any_v4(), 0}, lease.routers.items[0]}};
}

void DhcpClient::bind(Actions& out) {
  std::vector<wire::DhcpRoute> wanted = routes_of(lease_);
  if (wanted != routes_) {
    drop_routes(out);
    for (const wire::DhcpRoute& r : wanted) out.push_back(route(Kind::kRoute, r));
    routes_ = std::move(wanted);
  }
  Action& mtu = out.emplace_back();
  mtu.kind = Kind::kMtu;
  mtu.value = lease_.mtu >= 576 ? lease_.mtu : 0;  // RFC 2132 5.1 allows 68; less than 576 is of no use
  enter(DhcpState::kBound, t1_);
}

void DhcpClient::drop_routes(Actions& out) {
  for (const wire::DhcpRoute& r : routes_) out.push_back(route(Kind::kDropRoute, r));
  routes_.clear();
}

void DhcpClient::drop_lease(Actions& out) {
  drop_routes(out);
  if (address_.is_unspecified()) return;
  Action& drop = out.emplace_back();
  drop.kind = Kind::kDropAddress;
  drop.prefix = {address_, 32};
  Action& mtu = out.emplace_back();
  mtu.kind = Kind::kMtu;
  address_ = IpAddr::any_v4();
  lease_until_ = kNever;
}

}  // namespace millrace::autoconf
