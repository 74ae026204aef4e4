// A simulated NIC between a worker and a wire. Transmit obeys and enforces the device limits that the core was told,
// finishes checksums, cuts TSO frames and keeps what it was given until the last byte is on the wire; a program that
// writes into a lent buffer, or a core that frees one, is caught then. Receive verifies or ignores checksums, merges
// segments (LRO), spreads over queues (RSS) and splits frames over several segments.
#pragma once

#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "link/netif.h"
#include "pkt/pool.h"
#include "sim/event_heap.h"
#include "sim/frame.h"
#include "sim/frame_view.h"
#include "sim/toeplitz.h"

namespace millrace::sim {

enum class RxChecksum : uint8_t {
  kNone,     ///< the device says nothing
  kVerified, ///< good or bad flags
  kPartial,  ///< like a virtual link: the checksum field holds the pseudo-header sum, flagged kRxL4ChecksumNone
};

struct NicConfig {
  MacAddr mac{};
  link::DeviceLimits limits{};
  uint64_t bits_per_second = 10'000'000'000;  ///< how fast the transmit ring drains
  uint32_t tx_ring = 64;                      ///< frames
  uint32_t rx_ring = 256;                     ///< frames of one queue
  uint32_t rx_queues = 1;
  RxChecksum rx_checksum = RxChecksum::kNone;
  bool lro = false;
  bool odd_splits = false;  ///< received frames lie in several segments of odd sizes
  bool pad = true;          ///< short frames are padded to 60 bytes
  uint64_t seed = 0;
};

struct NicStats {
  uint64_t tx_packets = 0;
  uint64_t tx_frames = 0;
  uint64_t tx_cut = 0;  ///< packets that became several frames
  uint64_t rx_frames = 0;
  uint64_t rx_merged = 0;
  uint64_t rx_other_mac = 0;
  uint64_t rx_ring_full = 0;
  uint64_t rx_no_buffer = 0;
};

class Nic {
 public:
  struct Hooks {
    std::function<void(Frame*)> wire;                     ///< takes a frame that leaves
    std::function<void(const Bytes&)> sent;               ///< sees it when the worker hands it over
    std::function<void(const Frame&)> received;           ///< sees a frame just before the worker gets it
    std::function<void()> wake;                           ///< frames arrived or room came back
    std::function<void(pkt::Packet*)> completed;          ///< a transmitted packet, about to be freed
    std::function<void(std::string)> fail;
  };

  Nic(EventHeap& heap, FrameStore& frames, pkt::PacketPool& packets, pkt::PacketPool& references,
      const NicConfig& config, Hooks hooks);
  ~Nic();
  Nic(const Nic&) = delete;
  Nic& operator=(const Nic&) = delete;

  // Transmit.
  [[nodiscard]] size_t room() const { return config_.tx_ring - tx_.size(); }
  /// Takes at most room() packets.
  void transmit(std::span<pkt::Packet* const> packets);
  [[nodiscard]] size_t in_flight() const { return tx_.size(); }

  // Receive.
  /// From the wire; takes the frame.
  void receive(Frame* frame);
  [[nodiscard]] bool has_received(uint32_t queue) const { return !rx_[queue].empty(); }
  /// Packets of one queue, ready for Worker::input.
  size_t poll(uint32_t queue, std::span<pkt::Packet*> out);
  [[nodiscard]] uint32_t queues() const { return config_.rx_queues; }
  [[nodiscard]] const RssKey& rss_key() const { return rss_key_; }
  /// The queue of each entry of the table.
  [[nodiscard]] std::vector<uint16_t> indirection() const { return {indirection_.begin(), indirection_.end()}; }
  /// Another table from now on: anything from a few entries to every flow on one queue.
  void change_table();

  [[nodiscard]] const NicStats& stats() const { return stats_; }
  [[nodiscard]] const NicConfig& config() const { return config_; }

 private:
  struct Sending {
    pkt::Packet* packet;
    uint64_t digest;
    std::vector<Bytes> frames;
  };
  // nic_tx.cc
  std::string check_limits(const pkt::Packet& packet, const Bytes& bytes) const;
  void finish_checksums(const pkt::Packet& packet, Bytes& frame) const;
  void cut(const pkt::Packet& packet, const Bytes& whole, std::vector<Bytes>& out) const;
  void complete();
  void free_packet(pkt::Packet* packet);
  // nic_rx.cc
  bool try_merge(Bytes& head, const Bytes& next, uint32_t& seg_size) const;
  pkt::Packet* to_packet(const Bytes& bytes, const Bytes& checked, uint32_t seg_size);
  void set_receive_flags(pkt::Packet& packet, const Bytes& checked, Bytes& bytes) const;

  EventHeap& heap_;
  FrameStore& frames_;
  pkt::PacketPool& packets_;
  pkt::PacketPool& references_;
  NicConfig config_;
  Hooks hooks_;
  base::Rng rng_;
  RssKey rss_key_{};
  std::array<uint8_t, 128> indirection_{};
  std::deque<Sending> tx_;
  Instant tx_busy_until_{};
  std::vector<std::deque<Frame*>> rx_;
  NicStats stats_;
};

/// Copies a chain into one piece.
[[nodiscard]] Bytes gather(const pkt::Packet& packet);
/// Gives every segment of a chain back to the pools, and external memory to its owner.
void free_chain(pkt::Packet* packet, pkt::PacketPool& packets, pkt::PacketPool& references);

}  // namespace millrace::sim
