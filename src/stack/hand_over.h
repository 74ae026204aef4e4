// Frames that arrived at this worker and belong to another, or to every worker (steer/steer.h): sorted out of each
// burst into an outbox for each worker, from which the runtime carries them on. Half of an outbox's room is kept for
// datagrams that became complete here from fragments and belong elsewhere, since the worker takes what others hand to
// it even while its own outboxes are full.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/counters.h"
#include "ip/ip.h"
#include "pkt/pool.h"
#include "steer/steer.h"

namespace millrace::stack {

/// A frame on its way between workers.
struct Handed {
  pkt::Packet* frame = nullptr;
  IfIndex interface = IfIndex::kNone;
};

#define MILLRACE_STEER_COUNTERS(X)                                                                             \
  X(kHandedOver, "steer.handed_over", "frames that arrived here and belong to another worker")                 \
  X(kHandedIn, "steer.handed_in", "frames that other workers handed over")                                     \
  X(kPassedOn, "steer.passed_on", "segments of no connection here, for the next process to look at")           \
  X(kKept, "steer.kept", "segments of connections that live here though the map names another process")        \
  X(kDatagrams, "steer.datagrams", "datagrams complete from fragments and handed over to their flow's worker") \
  X(kCopied, "steer.copied", "copies for other workers of datagrams that all may want to hear")                \
  X(kDropNoPacket, "steer.drop.no_packet", "such copies for which there was no packet")                        \
  X(kDropFull, "steer.drop.outbox_full", "frames of another worker for which its outbox had no room")          \
  X(kDropHeadroom, "steer.drop.no_headroom", "datagrams of another worker without room for their headers")
MILLRACE_COUNTERS(SteerCounter, kSteerCounterInfo, MILLRACE_STEER_COUNTERS)

/// Who of several processes that share addresses stands in for whom, by the numbers of the map: itself while it lives.
using StandIns = std::array<uint8_t, steer::kMaxWorkers>;

/// A copy of a whole frame in packets of `cache`, metadata included; nullptr if it has too few.
[[nodiscard]] pkt::Packet* copy_frame(const pkt::Packet& frame, pkt::PacketCache& cache);

class HandOver {
 public:
  static constexpr size_t kRoom = 1'024;  ///< frames in one outbox
  static constexpr size_t kMostCopies = kRoom / 4;  ///< waiting frames beyond which no copy is put behind them

  /// `map` null: the worker is alone and every frame is its own. `siblings`: the others are processes with tables of
  /// their own, which come and go; nobody is there before set_living().
  HandOver(const steer::ShardMap* map, uint32_t self, bool siblings = false);

  [[nodiscard]] bool alone() const { return boxes_.empty(); }
  [[nodiscard]] const steer::ShardMap& map() const { return map_; }
  [[nodiscard]] uint32_t self() const { return self_; }
  [[nodiscard]] bool has_siblings() const { return siblings_; }

  /// Among siblings: a bit for each that lives. The next one stands in for one that does not.
  void set_living(uint64_t living);
  /// Asked before a plain TCP frame is handed over: whether its connection lives here all the same.
  void set_keeper(bool (*keeps)(void* context, const pkt::Packet& frame), void* context) {
    keeps_ = keeps;
    keeps_context_ = context;
  }
  /// Takes a frame that a program gives to `sibling`; false: there is none, or it is this one's.
  bool give(uint32_t sibling, IfIndex interface, pkt::Packet* frame, pkt::PacketCache& packets);
  /// Takes a frame that nobody here waits for, so that the next sibling looks at it; false: all have.
  bool pass_on(IfIndex interface, pkt::Packet* frame, pkt::PacketCache& packets);

  /// Moves the frames of others into their outboxes and the rest to the front, in order; returns how many those are.
  size_t sort(IfIndex interface, std::span<pkt::Packet*> burst, pkt::PacketCache& packets);
  /// Takes a datagram of another worker, with new headers in front; false: it is this worker's. One that all may want
  /// stays, and the others get copies.
  bool take_foreign(const ip::Datagram& datagram, const link::NetifConfig& netif, pkt::PacketCache& packets);
  /// Takes a datagram (at its IP header) that a socket of this worker sends to `group` through `interface`: the other
  /// workers' members hear it too.
  void share(const link::NetifConfig& netif, IfIndex interface, const IpAddr& group, pkt::Packet* datagram,
             pkt::PacketCache& packets);

  /// Frames for `worker`, oldest first; the caller owns what it gets.
  size_t take(uint32_t worker, std::span<Handed> out);
  /// Frames that sort() surely finds room for.
  [[nodiscard]] size_t room() const;
  void clear(pkt::PacketCache& packets);

  [[nodiscard]] base::Counters<SteerCounter>& counters() { return counters_; }
  [[nodiscard]] const base::Counters<SteerCounter>& counters() const { return counters_; }

 private:
  struct Box {
    std::vector<Handed> ring;
    uint32_t first = 0;
    uint32_t size = 0;
  };
  [[nodiscard]] uint32_t owner(const pkt::Packet& frame) const;
  void put_copies(IfIndex interface, const pkt::Packet& frame, pkt::PacketCache& packets);
  void put(uint32_t worker, IfIndex interface, pkt::Packet* frame, pkt::PacketCache& packets);

  steer::ShardMap map_;
  uint32_t self_;
  bool siblings_;
  uint64_t living_ = 0;  // siblings, this one among them
  StandIns stand_ins_{};
  bool (*keeps_)(void*, const pkt::Packet&) = nullptr;
  void* keeps_context_ = nullptr;
  std::vector<Box> boxes_;  // by worker; empty if alone
  base::Counters<SteerCounter> counters_;
};

}  // namespace millrace::stack
