// Hash table from (interface, address) to a 32-bit value, keyed so that a remote host cannot choose collisions.
// Open addressing with linear probing and backward-shift deletion; the room is fixed at construction.
#pragma once

#include <cstdint>
#include <vector>

#include "base/siphash.h"
#include "millrace/address.h"

namespace millrace::neigh {

class AddrIndex {
 public:
  /// Room for `limit` entries at half load.
  AddrIndex(uint32_t limit, const base::SipKey& key);

  /// The value, or 0 if there is none.
  [[nodiscard]] uint32_t find(IfIndex interface, const IpAddr& addr) const;
  /// The key must not be there yet; `value` is not 0.
  void insert(IfIndex interface, const IpAddr& addr, uint32_t value);
  /// The key must be there.
  void erase(IfIndex interface, const IpAddr& addr);
  [[nodiscard]] uint32_t size() const { return size_; }

 private:
  struct Slot {
    IpAddr addr;
    IfIndex interface = IfIndex::kNone;
    uint32_t value = 0;  // 0 = empty
  };
  [[nodiscard]] uint32_t home(IfIndex interface, const IpAddr& addr) const;

  base::SipKey key_;
  uint32_t mask_;
  uint32_t limit_;
  uint32_t size_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace millrace::neigh
