// The wire between packetdrill and a worker: bare IP datagrams on packetdrill's side, Ethernet frames on the worker's.
// Whatever only concerns the link (ARP, neighbour discovery, group membership) stays here.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <vector>

#include "flags.h"
#include "pkt/pool.h"
#include "stack/worker.h"

namespace millrace::packetdrill {

/// A datagram that left the stack, and when.
struct Sent {
  std::vector<std::byte> bytes;
  Instant at;
};

class Link {
 public:
  Link();

  [[nodiscard]] pkt::PacketPool& frames() { return frames_; }
  [[nodiscard]] pkt::PacketPool& references() { return references_; }
  /// Adds the interface with its addresses and a route to everything. False if the worker refuses any of it.
  bool attach(stack::Worker& worker, const Flags& flags, Instant now);
  /// Brings a datagram to the worker, whatever the MTU. False if it is no IP datagram or buffers ran out.
  bool deliver(std::span<const std::byte> datagram, Instant now);
  /// Takes what the worker has to send.
  void collect(Instant now);
  [[nodiscard]] std::deque<Sent>& sent() { return sent_; }

 private:
  void keep(const pkt::Packet& frame, Instant now);

  pkt::HeapPacketPool frames_;
  pkt::HeapPacketPool references_;
  pkt::PacketCache packets_;
  stack::Worker* worker_ = nullptr;
  IfIndex interface_ = IfIndex::kNone;
  std::deque<Sent> sent_;
};

}  // namespace millrace::packetdrill
