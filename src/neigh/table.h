// The neighbours of one worker: a bounded table of Reachability entries with their timers and the packets that wait
// for them. Pure state: it sends and frees nothing; solicitations, failures and dropped packets are handed back.
//
// Full table: the stale or failed entry that has been so for longest makes room. If every entry is in use, the new
// neighbour is refused and counted, unless the owner gives up the one that has been resolved for longest in vain.
// Waiting packets are limited per neighbour (the oldest is dropped, RFC 4861 7.2.2) and in all (the new one is
// dropped).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/counters.h"
#include "base/rng.h"
#include "base/wheel.h"
#include "neigh/addr_index.h"
#include "neigh/reachability.h"
#include "pkt/packet.h"

namespace millrace::neigh {

#define MILLRACE_NEIGH_COUNTERS(X)                                                                     \
  X(kCreated, "neigh.created", "neighbour entries made")                                               \
  X(kEvicted, "neigh.evicted", "unused entries that made room for new ones")                           \
  X(kGivenUp, "neigh.given_up", "neighbours without an answer yet that made room for new ones")        \
  X(kTableFull, "neigh.table_full", "neighbours refused because every entry was in use")               \
  X(kFailed, "neigh.failed", "neighbours that did not answer")                                         \
  X(kQueued, "neigh.queued", "packets that waited for a link-layer address")                           \
  X(kDropOldest, "neigh.drop.queue_full", "waiting packets pushed out by newer ones to the neighbour") \
  X(kDropTotal, "neigh.drop.all_queues_full", "packets dropped because too many waited in all")
MILLRACE_COUNTERS(Counter, kCounterInfo, MILLRACE_NEIGH_COUNTERS)

/// Names an entry; a stale id finds nothing.
struct EntryId {
  uint32_t index = 0;
  uint32_t gen = 0;
  [[nodiscard]] bool valid() const { return index != 0; }
  bool operator==(const EntryId&) const = default;
};

struct Limits {
  uint32_t neighbours = 4'096;
  uint32_t pending_per_neighbour = 64;
  uint32_t pending_total = 1'024;
};

struct Entry {
  Reachability reach;
  IpAddr addr;
  IfIndex interface = IfIndex::kNone;
  uint32_t gen = 0;         ///< odd while in use
  uint32_t tag = 0;         ///< the owner's: which next hop shows this entry
  uint32_t pending = 0;     ///< packets waiting
  uint32_t first = 0;       ///< oldest waiting packet, as an index into the table's nodes
  uint32_t last = 0;
  uint32_t next = 0;  ///< in `list`; while free, in the free list
  uint32_t prev = 0;
  enum class List : uint8_t { kIdle, kUnresolved, kNone };
  List list = List::kNone;
  State told = State::kIncomplete;  ///< the owner's: what other workers were told of it
  MacAddr told_mac{};
  base::TimerNode timer{};
};

class Table {
 public:
  Table(const Limits& limits, const Timing& timing, uint64_t seed);
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  /// The entry, or an invalid id.
  [[nodiscard]] EntryId find(IfIndex interface, const IpAddr& addr) const;
  /// The entry, made if there is none; an invalid id if the table is full.
  [[nodiscard]] EntryId obtain(IfIndex interface, const IpAddr& addr);
  /// Whether obtain() would refuse a new neighbour.
  [[nodiscard]] bool is_full() const {
    const uint32_t idle = lists_[0].first;
    return free_entries_ == 0 && (idle == 0 || entries_[idle].pending != 0);
  }
  /// The entry that has been resolved for longest without an answer; an invalid id if there is none.
  [[nodiscard]] EntryId oldest_unresolved() const {
    const uint32_t index = lists_[1].first;
    return index == 0 ? EntryId{} : EntryId{index, entries_[index].gen};
  }
  /// remove(), counted.
  void give_up(EntryId id) {
    counters_.add(Counter::kGivenUp);
    remove(id);
  }
  /// Of IPv6 neighbours on the interface from now on, as routers ask for (RFC 4861 6.3.4).
  void set_timing_v6(IfIndex interface, const Timing& timing);
  /// nullptr if the id is stale.
  [[nodiscard]] Entry* get(EntryId id);
  [[nodiscard]] const Entry* get(EntryId id) const;

  // Events; see Reachability. The id must be valid.
  Step use(EntryId id, Instant now);
  Step hear_advert(EntryId id, const Advert& advert, Instant now);
  Step hear_source(EntryId id, const MacAddr& mac);
  void confirm(EntryId id, Instant now);
  void suspect(EntryId id, Instant now);
  Step set_static(EntryId id, const MacAddr& mac);
  /// Copies what another worker's table says; see Reachability.
  Step mirror(EntryId id, State state, const MacAddr& mac);

  /// Lets `packet` (taken) wait for the entry. Returns a packet that has to be dropped for it: the oldest that waited,
  /// or `packet` itself; nullptr if there was room.
  [[nodiscard]] pkt::Packet* enqueue(EntryId id, pkt::Packet* packet);
  /// The oldest waiting packet, now the caller's; nullptr when none is left.
  [[nodiscard]] pkt::Packet* dequeue(EntryId id);
  [[nodiscard]] uint32_t pending_total() const { return pending_; }

  /// Removes an entry; its packets must have been taken.
  void remove(EntryId id);

  /// Fires due timers: act(EntryId, Step) for each entry that changed.
  template <class Act>
  void advance(Instant now, Act&& act) {
    wheel_.advance(now, [&](uint32_t index) {
      const EntryId id{index, entries_[index].gen};
      const Step step = entries_[index].reach.tick(now, timing_of(entries_[index]));
      if (step.failed) counters_.add(Counter::kFailed);
      settle(index);
      act(id, step);
    });
  }
  [[nodiscard]] Instant next_deadline() { return wheel_.next_deadline(); }

  /// act(EntryId, Entry&) for every entry; act may remove it.
  template <class Act>
  void for_each(Act&& act) {
    for (uint32_t i = 1; i < entries_.size(); ++i) {
      if ((entries_[i].gen & 1) != 0) act(EntryId{i, entries_[i].gen}, entries_[i]);
    }
  }

  [[nodiscard]] uint32_t size() const { return index_.size(); }
  [[nodiscard]] const base::Counters<Counter>& counters() const { return counters_; }
  /// Internal consistency; false is a bug. For tests and fuzzers.
  [[nodiscard]] bool check() const;

 private:
  struct Resolver {
    Table* table;
    base::TimerNode& operator()(uint32_t index) const { return table->entries_[index].timer; }
    void prefetch(uint32_t) const {}
  };
  struct PendingNode {
    pkt::Packet* packet = nullptr;
    uint32_t next = 0;
  };

  Entry& entry(EntryId id);
  [[nodiscard]] const Timing& timing_of(const Entry& e) const {
    const auto at = static_cast<size_t>(e.interface);
    return e.addr.is_v6() && at < timing_v6_.size() ? timing_v6_[at] : timing_;
  }
  Duration reachable_time(const Entry& e);
  void settle(uint32_t index);
  void enlist(uint32_t index, Entry::List list);
  pkt::Packet* pop(Entry& e);

  Limits limits_;
  Timing timing_;
  std::vector<Timing> timing_v6_;  // by interface; what is not there has timing_
  base::Rng rng_;
  AddrIndex index_;
  std::vector<Entry> entries_;       // [0] is none
  std::vector<PendingNode> nodes_;   // [0] is none
  uint32_t free_entries_ = 0;
  uint32_t free_nodes_ = 0;
  struct List {
    uint32_t first = 0;  // there for longest
    uint32_t last = 0;
  };
  std::array<List, 2> lists_{};  // by Entry::List: may be evicted; being resolved
  uint32_t pending_ = 0;
  base::TimerWheel<Resolver> wheel_;
  base::Counters<Counter> counters_;
};

}  // namespace millrace::neigh
