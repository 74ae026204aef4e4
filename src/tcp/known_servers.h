// What a client remembers of servers to open connections to them early (RFC 7413 4.1.3): the cookie, the MSS that
// bounds the data of a SYN, and how often such SYNs were lost. Bounded: sets of four, in which the one that was used
// longest ago gives way.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/siphash.h"
#include "tcp/fast_open.h"

namespace millrace::tcp {

struct KnownServer {
  IpAddr address;
  FastOpenCookie cookie;  ///< of length 0: none
  uint16_t mss = 0;       ///< 0: the entry is free
  uint8_t losses = 0;     ///< SYNs with data that vanished, in a row
  Instant lost_at;
  uint64_t used = 0;      ///< counts up
};

class KnownServers {
 public:
  static constexpr size_t kSets = 256;
  static constexpr size_t kWays = 4;

  explicit KnownServers(const base::SipKey& key) : key_(key) {}

  /// Null if nothing is known of it.
  [[nodiscard]] KnownServer* find(const IpAddr& address) {
    if (entries_.empty()) return nullptr;
    KnownServer* const set = set_of(address);
    KnownServer* const end = set + kWays;
    KnownServer* const found =
        std::find_if(set, end, [&](const KnownServer& s) { return s.mss != 0 && s.address == address; });
    if (found == end) return nullptr;
    found->used = ++clock_;
    return found;
  }
  /// The server's entry, perhaps another's before. The caller gives it an mss.
  KnownServer& obtain(const IpAddr& address) {
    if (KnownServer* const known = find(address)) return *known;
    if (entries_.empty()) entries_.resize(kSets * kWays);
    KnownServer* const set = set_of(address);
    KnownServer& entry =
        *std::min_element(set, set + kWays, [](const auto& a, const auto& b) { return a.used < b.used; });
    entry = {};
    entry.address = address;
    entry.used = ++clock_;
    return entry;
  }

 private:
  [[nodiscard]] KnownServer* set_of(const IpAddr& address) {
    return &entries_[base::siphash(key_, std::as_bytes(std::span(address.bytes()))) % kSets * kWays];
  }

  base::SipKey key_;
  std::vector<KnownServer> entries_;  // empty until there is something to remember
  uint64_t clock_ = 0;
};

}  // namespace millrace::tcp
