// Path MTUs below that of the first link, by destination. RFC 1191, RFC 8201. Pure state: who learns has validated the
// message (a plausible quote, TCP's window, a socket that exists).
//
// Entries live for a while after they were last lowered (RFC 1191 6.3: 10 minutes), in the order of their ends. Full
// table: the entry nearest to its end goes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/siphash.h"
#include "millrace/address.h"
#include "millrace/time.h"
#include "neigh/addr_index.h"

namespace millrace::ip {

class Pmtu {
 public:
  Pmtu(uint32_t limit, const base::SipKey& key);

  struct Found {
    uint16_t mtu = 0xffff;
    bool locked = false;  ///< the path takes even less than we go down to: routers have to fragment
  };
  [[nodiscard]] Found find(const IpAddr& destination) const {
    return index_.size() == 0 ? Found{} : look_up(destination);
  }
  /// Keeps `mtu` until `end` if it is below what is known.
  void learn(const IpAddr& destination, Found mtu, Instant end);
  /// Forgets what has ended; true if there was any.
  bool advance(Instant now);
  [[nodiscard]] Instant next_deadline() const { return first_ == 0 ? kNever : entries_[first_].end; }
  [[nodiscard]] uint32_t size() const { return index_.size(); }
  [[nodiscard]] uint64_t evicted() const { return evicted_; }

 private:
  struct Entry {
    IpAddr destination;
    Instant end;
    Found mtu;
    uint32_t prev = 0;
    uint32_t next = 0;  // while free: the free list
  };
  [[nodiscard]] Found look_up(const IpAddr& destination) const;
  void link_last(uint32_t at);
  void unlink(uint32_t at);
  void remove(uint32_t at);

  uint32_t limit_;
  neigh::AddrIndex index_;
  std::vector<Entry> entries_;  // [0] is none
  uint32_t first_ = 0;          // nearest to its end
  uint32_t last_ = 0;
  uint32_t free_ = 0;
  uint64_t evicted_ = 0;
};

}  // namespace millrace::ip
