// First hops that routers told us to use instead of theirs (RFC 1122 3.3.1.2, RFC 4861 8). Pure state: which route goes
// comes out. Limits: kMaxRedirects, the oldest makes room; each holds for kRedirectLife.
#pragma once

#include <optional>
#include <vector>

#include "millrace/address.h"
#include "millrace/time.h"

namespace millrace::autoconf {

inline constexpr size_t kMaxRedirects = 64;
inline constexpr Duration kRedirectLife = seconds(600);

class Redirects {
 public:
  struct Item {
    IfIndex interface = IfIndex::kNone;
    IpAddr destination;
    IpAddr gateway;  ///< the destination itself if it is on the link
    Instant until;
  };

  /// Notes a redirect; returns the one that it replaces, or that made room.
  std::optional<Item> add(IfIndex interface, const IpAddr& destination, const IpAddr& gateway, Instant now) {
    std::optional<Item> gone;
    for (size_t i = 0; i < list_.size() && !gone; ++i) {
      if (list_[i].destination == destination) gone = take(i);
    }
    if (!gone && list_.size() >= kMaxRedirects) gone = take(0);
    list_.push_back({interface, destination, gateway, now + kRedirectLife});
    return gone;
  }
  /// The oldest if it has run out.
  std::optional<Item> expired(Instant now) {
    if (list_.empty() || list_.front().until > now) return std::nullopt;
    return take(0);
  }
  /// One of an interface, or through a first hop, that is no more.
  std::optional<Item> drop(IfIndex interface, const IpAddr* gateway) {
    for (size_t i = 0; i < list_.size(); ++i) {
      if (list_[i].interface == interface && (gateway == nullptr || list_[i].gateway == *gateway)) return take(i);
    }
    return std::nullopt;
  }
  [[nodiscard]] Instant next_deadline() const { return list_.empty() ? kNever : list_.front().until; }
  [[nodiscard]] const std::vector<Item>& all() const { return list_; }

 private:
  Item take(size_t i) {
    const Item out = list_[i];
    list_.erase(list_.begin() + static_cast<std::ptrdiff_t>(i));
    return out;
  }
  std::vector<Item> list_;  // oldest first
};

}  // namespace millrace::autoconf
