// The addresses of one worker: which are ours, on which interface, with which prefix. Changes are rare, look-ups are
// not: contains() is one hash probe.
#pragma once

#include <cstdint>
#include <vector>

#include "millrace/address.h"

namespace millrace::ip {

struct Address {
  IfIndex interface = IfIndex::kNone;
  Prefix prefix;  ///< `addr` with all its bits
  bool deprecated = false;  ///< nothing new should start from it (RFC 4862 5.5.4)
  bool optimistic = false;  ///< not yet known to be ours alone (RFC 4429)
};

/// The last address of an IPv4 prefix, where that is a broadcast address (RFC 3021: not for /31 and /32).
[[nodiscard]] bool is_directed_broadcast(const Prefix& prefix, const IpAddr& addr);

class Addresses {
 public:
  Addresses() { rebuild(); }

  /// The address must not be there yet.
  void add(IfIndex interface, const Prefix& prefix);
  /// Sets the flags of an address that is there.
  void mark(const IpAddr& addr, bool deprecated, bool optimistic);
  /// False if it was not there.
  bool remove(IfIndex interface, const IpAddr& addr);

  /// Whether `addr` is ours. All of a loopback prefix (127.0.0.0/8) is.
  [[nodiscard]] bool contains(const IpAddr& addr) const {
    for (uint32_t i = hash(addr);; ++i) {
      const Address* a = slots_[i & mask_];
      if (a == nullptr) break;
      if (a->prefix.addr == addr) return true;
    }
    return addr.is_loopback() && in_loopback_prefix(addr);
  }
  /// The entry of `addr`; nullptr if it is not ours. Valid until the next change.
  [[nodiscard]] const Address* find(const IpAddr& addr) const;
  [[nodiscard]] bool on_interface(IfIndex interface, const IpAddr& addr) const;
  /// Whether `addr` is the directed broadcast address of a prefix of ours.
  [[nodiscard]] bool is_broadcast(const IpAddr& addr) const {
    if (!addr.is_v4()) return false;
    const uint32_t value = addr.v4_value();
    for (const uint32_t broadcast : broadcasts_) {
      if (broadcast == value) return true;
    }
    return false;
  }
  /// Whether an IPv6 address of `interface` ends in these 24 bits (its solicited-node group, RFC 4291 2.7.1).
  [[nodiscard]] bool has_low24(IfIndex interface, uint32_t low24) const;
  /// The best of our addresses to talk to `destination` through `interface` with the next hop `next` (RFC 6724 5);
  /// nullptr if there is none of its family.
  [[nodiscard]] const Address* select_source(IfIndex interface, const IpAddr& next, const IpAddr& destination) const;
  [[nodiscard]] const std::vector<Address>& all() const { return list_; }
  /// Another after each change.
  [[nodiscard]] uint32_t version() const { return version_; }

 private:
  [[nodiscard]] uint32_t hash(const IpAddr& addr) const {
    uint64_t word[2];
    __builtin_memcpy(word, addr.bytes().data(), 16);
    return static_cast<uint32_t>(((word[0] ^ (word[1] >> 7)) + word[1]) * 0x9e3779b97f4a7c15ULL >> 40);
  }
  [[nodiscard]] bool in_loopback_prefix(const IpAddr& addr) const;
  void rebuild();

  std::vector<Address> list_;
  std::vector<const Address*> slots_;
  std::vector<uint32_t> broadcasts_;
  uint32_t mask_ = 0;
  uint32_t version_ = 0;
};

}  // namespace millrace::ip
