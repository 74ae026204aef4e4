// Datagrams whose fragments have not all arrived, both families. Read first: RFC 791 3.2, RFC 815, RFC 1122 3.3.2,
// RFC 8200 4.5, RFC 5722, RFC 3168 5.3. Pure state with its own deadlines: it sends nothing; the caller gives it
// fragments whose headers were checked and says what became of them on the wire.
//
// A fragment that overlaps others, or contradicts the known length, ends its datagram: everything that arrived is freed
// and what still arrives is refused until the time is up (RFC 5722 4; IPv4 is treated alike, because no sender makes
// overlaps). A fragment that repeats bytes that are there already, with the same content, is only refused itself.
//
// Limits: bytes in all and bytes of one source, both at the true size of the buffers; datagrams; fragments of one
// datagram. At a limit the oldest datagram (of the same source, for that limit) goes, counted by name. While the pool
// of frames is nearly empty the limit of bytes shrinks to what is held, so that fragments never starve the rest.
//
// Invariants: the pieces of a datagram are sorted and disjoint; each datagram is in one age list (in the order of
// deadlines), one list of its source, one hash chain; the bytes held are the sum over the datagrams, and over the
// sources.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/counters.h"
#include "base/siphash.h"
#include "ip/counters.h"
#include "ip/settings.h"
#include "millrace/address.h"
#include "millrace/time.h"
#include "pkt/packet.h"
#include "pkt/pool.h"

namespace millrace::ip {

/// Which datagram a fragment belongs to. `protocol` is 0 for IPv6 (RFC 8200 4.5); `link` is the interface for
/// link-local sources, else none.
struct FragmentKey {
  IpAddr source;
  IpAddr destination;
  uint32_t id = 0;
  IfIndex link = IfIndex::kNone;
  uint8_t protocol = 0;
  bool operator==(const FragmentKey&) const = default;
};

struct Fragment {
  FragmentKey key;
  pkt::Packet* packet = nullptr;  ///< data() is at the IP header
  uint32_t header = 0;            ///< bytes in front of the fragment's data, in the head segment
  uint32_t start = 0;             ///< of the data, in the datagram's; a multiple of 8
  uint32_t length = 0;            ///< of the data; not 0, and a multiple of 8 if `more`
  bool more = false;
  uint8_t ecn = 0;  ///< low two bits of the traffic class
  IfIndex interface = IfIndex::kNone;
  bool to_group = false;  ///< in a broadcast or multicast frame
};

class Reassembly {
 public:
  Reassembly(const Settings& settings, pkt::PacketCache& packets, base::Counters<IpCounter>& counters,
             const base::SipKey& key);
  ~Reassembly() { clear(); }
  Reassembly(const Reassembly&) = delete;
  Reassembly& operator=(const Reassembly&) = delete;

  enum class Outcome : uint8_t {
    kHeld,      ///< taken
    kComplete,  ///< taken: `datagram` is whole
    kRefused,   ///< not taken: `why`
  };
  struct Verdict {
    Outcome outcome = Outcome::kHeld;
    IpCounter why = IpCounter::kCount;
    /// The first fragment at its IP header, the data of the others chained behind. Lengths and fragment fields in the
    /// headers are still the first fragment's.
    pkt::Packet* datagram = nullptr;
    uint32_t header = 0;      ///< of the first fragment
    bool congestion = false;  ///< one of the fragments had CE
  };
  [[nodiscard]] Verdict add(const Fragment& fragment, Instant now);

  /// Ends what waited too long. For each such datagram whose first fragment arrived, calls gone(first, interface,
  /// to_group) with that fragment alone, which stays owned here.
  template <class Gone>
  void advance(Instant now, Gone&& gone) {
    for (AgeList& list : ages_) {
      while (list.first != 0 && entries_[list.first].deadline <= now) {
        const uint32_t index = list.first;
        expire(index);
        if (pkt::Packet* first = first_alone(index)) {
          gone(*first, entries_[index].interface, entries_[index].to_group);
        }
        remove(index);
      }
    }
  }
  [[nodiscard]] Instant next_deadline() const;

  /// Frees everything.
  void clear();

  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] uint32_t datagrams() const { return used_; }
  /// Packets held, chained segments counted apart.
  [[nodiscard]] size_t segments() const;
  /// Memory that a chain pins.
  [[nodiscard]] static uint32_t true_size(const pkt::Packet& head);
  /// Internal consistency; false is a bug. For tests and fuzzers.
  [[nodiscard]] bool check() const;

 private:
  struct Piece {
    pkt::Packet* packet = nullptr;  // that at 0 begins with its IP header, the others with their data
    uint32_t start = 0;
    uint32_t end = 0;
    uint32_t next = 0;  // while free: the free list
    uint32_t prev = 0;
  };
  struct Entry {
    FragmentKey key;
    Instant deadline;
    uint32_t first = 0;  // pieces
    uint32_t last = 0;
    uint32_t count = 0;  // fragments taken
    uint32_t total = 0;  // length of the data; 0 while the last fragment is missing
    uint32_t received = 0;
    uint32_t bytes = 0;         // true size
    uint32_t header = 0;        // of the first fragment
    uint32_t first_length = 0;  // of the first fragment, header included
    uint32_t older = 0;         // age list
    uint32_t newer = 0;
    uint32_t chain = 0;  // hash chain; while free: the free list
    uint32_t source = 0;
    uint32_t source_older = 0;
    uint32_t source_newer = 0;
    IfIndex interface = IfIndex::kNone;
    uint8_t ecn_seen = 0;  // bit n: a fragment with the codepoint n
    bool to_group = false;
    bool dead = false;  // whatever still comes is refused
  };
  struct Source {
    IpAddr addr;
    uint32_t bytes = 0;
    uint32_t first = 0;  // its datagrams, oldest first
    uint32_t last = 0;
    uint32_t chain = 0;  // hash chain; while free: the free list
  };
  struct AgeList {
    uint32_t first = 0;  // oldest
    uint32_t last = 0;
  };
  enum class Place : uint8_t { kFree, kDuplicate, kOverlap };

  uint32_t find(const FragmentKey& key) const;
  uint32_t create(const FragmentKey& key, Instant now);
  uint32_t obtain_source(const IpAddr& addr);
  uint32_t bucket_of(const FragmentKey& key) const;
  uint32_t bucket_of(const IpAddr& addr) const;
  Place place(const Entry& e, const Fragment& f, uint32_t& before) const;
  bool same_bytes(const Piece& piece, const Entry& e, const Fragment& f) const;
  bool make_room(uint32_t index, uint32_t more);
  void insert(Entry& e, uint32_t before, const Fragment& f, uint32_t size);
  bool append_copy(Entry& e, Piece& piece, const Fragment& f);
  Verdict finish(uint32_t index);
  Verdict refuse(IpCounter why) { return {Outcome::kRefused, why, nullptr, 0, false}; }
  Verdict kill(uint32_t index, IpCounter why);
  void charge(Entry& e, uint32_t bytes);
  void free_pieces(Entry& e);
  void evict(uint32_t index, IpCounter why);
  void expire(uint32_t index);
  pkt::Packet* first_alone(uint32_t index);
  void remove(uint32_t index);
  [[nodiscard]] bool frames_scarce() const;
  [[nodiscard]] uint32_t oldest() const;

  const Settings& settings_;
  pkt::PacketCache& packets_;
  base::Counters<IpCounter>& counters_;
  base::SipKey key_;
  uint32_t limit_;               // datagrams
  std::vector<Entry> entries_;   // [0] is none
  std::vector<Source> sources_;  // [0] is none; at most one a datagram
  std::vector<Piece> pieces_;    // [0] is none; bounded by the limit of bytes
  std::vector<uint32_t> buckets_;
  std::vector<uint32_t> source_buckets_;
  uint32_t free_entries_ = 0;
  uint32_t free_sources_ = 0;
  uint32_t free_pieces_ = 0;
  uint32_t used_ = 0;
  uint64_t bytes_ = 0;
  std::array<AgeList, 2> ages_;  // IPv4, IPv6: each in the order of deadlines
};

}  // namespace millrace::ip
