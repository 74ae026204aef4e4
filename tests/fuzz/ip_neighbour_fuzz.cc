// Sequences of neighbour events against the rules that must hold after each of them: a consistent table, a bounded
// number of solicitations, no packet lost, an answer or a failure for every neighbour that is being resolved.
//
// Input: one event in three bytes {what, whom, argument}.
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/assert.h"
#include "neigh/table.h"
#include "pkt/pool.h"

namespace millrace::neigh {
namespace {

constexpr uint32_t kEntries = 4;
constexpr uint32_t kHosts = 8;

class World {
 public:
  World() : cache_(frames_, references_), table_({kEntries, 2, 5}, {}, 1) {}
  ~World() {
    // Left alone, every neighbour that somebody waits for is given up.
    for (int i = 0; i < 40; ++i) advance(seconds(2));
    MR_ASSERT(table_.pending_total() == 0);
    table_.for_each([&](EntryId, Entry& e) {
      const State s = e.reach.state();
      MR_ASSERT(s == State::kStale || s == State::kFailed || s == State::kStatic);
    });
    MR_ASSERT(table_.next_deadline() == kNever);
    MR_ASSERT(queued_ == taken_ + dropped_);
    cache_.drain();
    MR_ASSERT(frames_.available() == frames_.capacity());
  }

  void event(uint8_t what, uint8_t whom, uint8_t argument) {
    const IpAddr addr = IpAddr::v4(10, 0, 0, whom % kHosts);
    const IfIndex interface = static_cast<IfIndex>(1 + (whom >> 7));
    const MacAddr mac{{2, 0, 0, 0, 0, static_cast<uint8_t>(argument & 3)}};
    const EntryId known = table_.find(interface, addr);
    switch (what % 8) {
      case 0: use(interface, addr); break;
      case 1:
        if (known.valid()) act(known, table_.hear_advert(known, advert(argument, mac), now_));
        break;
      case 2: {
        const EntryId id = table_.obtain(interface, addr);
        if (id.valid()) act(id, table_.hear_source(id, mac));
        break;
      }
      case 3:
        if (known.valid()) table_.confirm(known, now_);
        break;
      case 4: advance(milliseconds(int64_t{argument} * 40)); break;
      case 5: advance(seconds(argument)); break;
      case 6: {
        const EntryId id = table_.obtain(interface, addr);
        if (id.valid() && argument < 32) act(id, table_.set_static(id, mac));
        break;
      }
      default:
        if (!known.valid() || argument >= 64) break;
        take(known, dropped_);
        table_.remove(known);
        MR_ASSERT(table_.get(known) == nullptr && !table_.find(interface, addr).valid());
    }
    MR_ASSERT(table_.check() && table_.size() <= kEntries && table_.pending_total() <= 5);
    MR_ASSERT(queued_ == taken_ + dropped_ + table_.pending_total());
  }

 private:
  static Advert advert(uint8_t flags, const MacAddr& mac) {
    Advert a{std::nullopt, (flags & 4) != 0, (flags & 8) != 0, (flags & 16) != 0};
    if ((flags & 32) == 0) a.mac = mac;
    return a;
  }

  void use(IfIndex interface, const IpAddr& addr) {
    const EntryId id = table_.obtain(interface, addr);
    if (!id.valid()) return;
    act(id, table_.use(id, now_));
    const Entry& e = *table_.get(id);
    if (e.reach.has_mac()) {
      MR_ASSERT(e.pending == 0 && e.reach.state() != State::kStale);
      return;
    }
    MR_ASSERT(e.reach.state() == State::kIncomplete && e.reach.deadline() != kNever);
    pkt::Packet* packet = cache_.frame();
    MR_ASSERT(packet != nullptr);
    ++queued_;
    if (pkt::Packet* dropped = table_.enqueue(id, packet)) {
      ++dropped_;
      cache_.free(dropped);
    }
  }

  void act(EntryId id, const Step& step) {
    const Entry& e = *table_.get(id);
    MR_ASSERT(step.send != Solicit::kUnicast || e.reach.has_mac());
    MR_ASSERT(step.send != Solicit::kMulticast || e.reach.state() == State::kIncomplete);
    MR_ASSERT(!step.failed || e.reach.state() == State::kFailed);
    if (step.resolved) {
      MR_ASSERT(e.reach.has_mac());
      if (e.pending != 0) (void)table_.use(id, now_);
      take(id, taken_);
    }
    if (step.failed) take(id, dropped_);
    if (e.reach.state() != State::kIncomplete) MR_ASSERT(e.pending == 0);
    // No more than three solicitations without an answer between.
    uint8_t& sent = sent_[id.index];
    if (step.send == Solicit::kNone || id.gen != gen_[id.index] || state_[id.index] != e.reach.state()) sent = 0;
    if (step.send != Solicit::kNone) ++sent;
    gen_[id.index] = id.gen;
    state_[id.index] = e.reach.state();
    MR_ASSERT(sent <= 3);
  }

  void take(EntryId id, uint64_t& count) {
    while (pkt::Packet* p = table_.dequeue(id)) {
      ++count;
      cache_.free(p);
    }
  }

  void advance(Duration d) {
    now_ = now_ + d;
    table_.advance(now_, [&](EntryId id, const Step& step) { act(id, step); });
  }

  pkt::HeapPacketPool frames_{24, 64};
  pkt::HeapPacketPool references_{1, 0};
  pkt::PacketCache cache_;
  Table table_;
  Instant now_{1};
  uint64_t queued_ = 0;
  uint64_t taken_ = 0;
  uint64_t dropped_ = 0;
  std::array<uint8_t, kEntries + 1> sent_{};
  std::array<uint32_t, kEntries + 1> gen_{};
  std::array<State, kEntries + 1> state_{};
};

}  // namespace
}  // namespace millrace::neigh

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::neigh::World world;
  for (size_t i = 0; i + 3 <= size && i < 3 * 512; i += 3) world.event(data[i], data[i + 1], data[i + 2]);
  return 0;
}
