#include "neigh/table.h"

#include "base/assert.h"

namespace millrace::neigh {
namespace {

base::SipKey key_from(uint64_t seed) {
  base::Rng rng(seed);
  return {rng.next(), rng.next()};
}

}  // namespace

Table::Table(const Limits& limits, const Timing& timing, uint64_t seed)
    : limits_(limits),
      timing_(timing),
      rng_(seed ^ 0x6e65696768),
      index_(limits.neighbours, key_from(seed)),
      entries_(size_t{limits.neighbours} + 1),
      nodes_(size_t{limits.pending_total} + 1),
      wheel_(Resolver{this}) {
  for (uint32_t i = limits.neighbours; i > 0; --i) {
    entries_[i].next = free_entries_;
    free_entries_ = i;
  }
  for (uint32_t i = limits.pending_total; i > 0; --i) {
    nodes_[i].next = free_nodes_;
    free_nodes_ = i;
  }
}

Entry& Table::entry(EntryId id) {
  Entry* e = get(id);
  MR_ASSERT(e != nullptr);
  return *e;
}

Entry* Table::get(EntryId id) { return const_cast<Entry*>(static_cast<const Table*>(this)->get(id)); }

const Entry* Table::get(EntryId id) const {
  if (id.index == 0 || id.index >= entries_.size() || (id.gen & 1) == 0) return nullptr;
  const Entry& e = entries_[id.index];
  return e.gen == id.gen ? &e : nullptr;
}

void Table::set_timing_v6(IfIndex interface, const Timing& timing) {
  const auto at = static_cast<size_t>(interface);
  if (at >= timing_v6_.size()) timing_v6_.resize(at + 1, timing_);
  timing_v6_[at] = timing;
}

// RFC 4861 6.3.2: uniformly between 0.5 and 1.5 times the base.
Duration Table::reachable_time(const Entry& e) {
  const auto base = static_cast<uint64_t>(timing_of(e).reachable_base.ns());
  return Duration(static_cast<int64_t>(rng_.between(base / 2, base + base / 2)));
}

// At the end of the list, unless it is in it already.
void Table::enlist(uint32_t index, Entry::List wanted) {
  Entry& e = entries_[index];
  if (e.list == wanted) return;
  if (e.list != Entry::List::kNone) {
    List& from = lists_[static_cast<size_t>(e.list)];
    (e.prev == 0 ? from.first : entries_[e.prev].next) = e.next;
    (e.next == 0 ? from.last : entries_[e.next].prev) = e.prev;
  }
  e.list = wanted;
  e.next = 0;
  e.prev = 0;
  if (wanted == Entry::List::kNone) return;
  List& to = lists_[static_cast<size_t>(wanted)];
  e.prev = to.last;
  (to.last == 0 ? to.first : entries_[to.last].next) = index;
  to.last = index;
}

// Brings timer and eviction list in line with the entry's state.
void Table::settle(uint32_t index) {
  Entry& e = entries_[index];
  if (e.reach.deadline() == kNever) {
    wheel_.cancel(index);
  } else {
    wheel_.arm(index, e.reach.deadline());
  }
  const State state = e.reach.state();
  const bool idle = state == State::kStale || state == State::kFailed;
  enlist(index, idle                          ? Entry::List::kIdle
                : state == State::kIncomplete ? Entry::List::kUnresolved
                                              : Entry::List::kNone);
}

EntryId Table::find(IfIndex interface, const IpAddr& addr) const {
  const uint32_t index = index_.find(interface, addr);
  return index == 0 ? EntryId{} : EntryId{index, entries_[index].gen};
}

EntryId Table::obtain(IfIndex interface, const IpAddr& addr) {
  if (const EntryId id = find(interface, addr); id.valid()) return id;
  if (free_entries_ == 0) {
    // A failed or stale entry may still hold packets that its owner is about to take: leave it alone.
    const uint32_t idle = lists_[0].first;
    if (is_full()) {
      counters_.add(Counter::kTableFull);
      return {};
    }
    counters_.add(Counter::kEvicted);
    remove({idle, entries_[idle].gen});
  }
  const uint32_t index = free_entries_;
  Entry& e = entries_[index];
  free_entries_ = e.next;
  const uint32_t gen = e.gen + 1;
  e = Entry{};
  e.gen = gen;
  e.interface = interface;
  e.addr = addr;
  index_.insert(interface, addr, index);
  enlist(index, Entry::List::kIdle);
  counters_.add(Counter::kCreated);
  return {index, gen};
}

void Table::remove(EntryId id) {
  Entry& e = entry(id);
  MR_ASSERT(e.pending == 0);
  enlist(id.index, Entry::List::kNone);
  wheel_.cancel(id.index);
  index_.erase(e.interface, e.addr);
  ++e.gen;
  e.next = free_entries_;
  free_entries_ = id.index;
}

Step Table::use(EntryId id, Instant now) {
  Entry& e = entry(id);
  const Step step = e.reach.use(now, timing_of(e));
  settle(id.index);
  return step;
}

Step Table::hear_advert(EntryId id, const Advert& advert, Instant now) {
  Entry& e = entry(id);
  const Step step = e.reach.hear_advert(advert, now, reachable_time(e));
  settle(id.index);
  return step;
}

Step Table::hear_source(EntryId id, const MacAddr& mac) {
  const Step step = entry(id).reach.hear_source(mac);
  settle(id.index);
  return step;
}

void Table::confirm(EntryId id, Instant now) {
  Entry& e = entry(id);
  e.reach.confirm(now, reachable_time(e));
  settle(id.index);
}

void Table::suspect(EntryId id, Instant now) {
  entry(id).reach.suspect(now);
  settle(id.index);
}

Step Table::set_static(EntryId id, const MacAddr& mac) {
  Entry& e = entry(id);
  const bool waiting = e.pending != 0;
  e.reach.set_static(mac);
  settle(id.index);
  return {.resolved = waiting};
}

Step Table::mirror(EntryId id, State state, const MacAddr& mac) {
  Entry& e = entry(id);
  e.reach.mirror(state, mac);
  settle(id.index);
  return {.resolved = e.pending != 0 && e.reach.has_mac(), .failed = e.pending != 0 && state == State::kFailed};
}

pkt::Packet* Table::pop(Entry& e) {
  const uint32_t node = e.first;
  pkt::Packet* packet = nodes_[node].packet;
  e.first = nodes_[node].next;
  if (e.first == 0) e.last = 0;
  --e.pending;
  --pending_;
  nodes_[node] = {nullptr, free_nodes_};
  free_nodes_ = node;
  return packet;
}

pkt::Packet* Table::enqueue(EntryId id, pkt::Packet* packet) {
  Entry& e = entry(id);
  pkt::Packet* dropped = nullptr;
  if (e.pending >= limits_.pending_per_neighbour) {
    if (e.pending == 0) return packet;
    dropped = pop(e);
    counters_.add(Counter::kDropOldest);
  } else if (free_nodes_ == 0) {
    counters_.add(Counter::kDropTotal);
    return packet;
  }
  const uint32_t node = free_nodes_;
  free_nodes_ = nodes_[node].next;
  nodes_[node] = {packet, 0};
  (e.last == 0 ? e.first : nodes_[e.last].next) = node;
  e.last = node;
  ++e.pending;
  ++pending_;
  counters_.add(Counter::kQueued);
  return dropped;
}

pkt::Packet* Table::dequeue(EntryId id) {
  Entry& e = entry(id);
  return e.pending == 0 ? nullptr : pop(e);
}

bool Table::check() const {
  uint32_t used = 0;
  uint32_t waiting = 0;
  uint32_t idle = 0;
  uint32_t unresolved = 0;
  for (uint32_t i = 1; i < entries_.size(); ++i) {
    const Entry& e = entries_[i];
    if ((e.gen & 1) == 0) continue;
    ++used;
    waiting += e.pending;
    idle += e.list == Entry::List::kIdle ? 1 : 0;
    unresolved += e.list == Entry::List::kUnresolved ? 1 : 0;
    if (index_.find(e.interface, e.addr) != i) return false;
    if (base::TimerWheel<Resolver>::armed(e.timer) != (e.reach.deadline() != kNever)) return false;
    const bool may_go = e.reach.state() == State::kStale || e.reach.state() == State::kFailed;
    if ((e.list == Entry::List::kIdle) != may_go) return false;
    if ((e.list == Entry::List::kUnresolved) != (e.reach.state() == State::kIncomplete)) return false;
    if (e.pending > limits_.pending_per_neighbour) return false;
  }
  const auto length = [this](const List& list) {
    uint32_t n = 0;
    for (uint32_t i = list.first; i != 0 && n < entries_.size(); i = entries_[i].next) ++n;
    return n;
  };
  return used == index_.size() && waiting == pending_ && length(lists_[0]) == idle && length(lists_[1]) == unresolved &&
         used <= limits_.neighbours;
}

}  // namespace millrace::neigh
