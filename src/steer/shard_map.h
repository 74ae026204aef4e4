// ShardMap: which worker owns a flow. Every worker of a process holds an equal one, made once and never changed, so
// that all agree without talking: the Toeplitz hash that NICs use for receive-side scaling, under the NIC's key or a
// random one, and a table from hash to worker.
//
// Invariant: every worker owns at least one entry of the table, so that each can find ports for connections of its own.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "millrace/address.h"

namespace millrace::steer {

inline constexpr uint32_t kMaxWorkers = 64;
inline constexpr size_t kKeyBytes = 40;
/// Entries of the largest table that NICs have.
inline constexpr size_t kMaxTable = 512;

/// Ports of UDP sockets that the stack chooses (RFC 6335's dynamic range as Linux has it): each worker has every so
/// many-th, since a socket's peers are not known when its port is chosen.
inline constexpr uint16_t kDividedPortsLow = 32'768;
inline constexpr uint16_t kDividedPortsHigh = 60'999;

/// A flow as its received frames name it: `source` is the peer.
struct Flow {
  IpAddr source;
  IpAddr destination;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
};

class ShardMap {
 public:
  /// One worker, which owns everything.
  ShardMap() = default;
  /// `workers` from 1 to kMaxWorkers share everything evenly, under a key drawn from `seed`. The Toeplitz hash is
  /// linear, so that tuples that differ in few bits may all share its low ones; here it is multiplied and folded before
  /// use.
  ShardMap(uint32_t workers, uint64_t seed);
  /// Like a NIC: its key, and its table of `table.size()` queues (a power of two, at most kMaxTable). Entries that
  /// name no worker are given away, and so is a fair share of the others where a worker would own nothing: the NIC may
  /// disagree with the map, which then costs a hand-over. `device_hash`: frames of plain TCP that carry kRxRssHash
  /// carry this very hash.
  ShardMap(uint32_t workers, const std::array<uint8_t, kKeyBytes>& key, std::span<const uint16_t> table,
           bool device_hash);

  [[nodiscard]] uint32_t workers() const { return workers_; }
  [[nodiscard]] bool has_device_hash() const { return device_hash_; }
  [[nodiscard]] uint32_t by_hash(uint32_t hash) const { return table_[hash & mask_]; }
  [[nodiscard]] uint32_t hash(const Flow& flow) const;
  /// Owner of a TCP flow.
  [[nodiscard]] uint32_t of_flow(const Flow& flow) const { return workers_ == 1 ? 0 : by_hash(mixed(hash(flow))); }
  /// Owner of a UDP flow.
  [[nodiscard]] uint32_t of_datagram(const Flow& flow) const {
    const uint16_t to = flow.destination_port;
    return to >= kDividedPortsLow && to <= kDividedPortsHigh ? to % workers_ : of_flow(flow);
  }
  /// Owner of the fragments of one datagram.
  [[nodiscard]] uint32_t of_fragment(const IpAddr& source, const IpAddr& destination, uint32_t id) const;
  /// Owner of the echo replies with this identifier.
  [[nodiscard]] uint32_t of_echo(uint16_t id) const { return id % workers_; }

 private:
  void take_key(const std::array<uint8_t, kKeyBytes>& key);
  [[nodiscard]] uint32_t mixed(uint32_t hash) const {
    const uint64_t product = hash * factor_;
    return static_cast<uint32_t>(product >> 32) ^ static_cast<uint32_t>(product);
  }

  uint64_t factor_ = 1;  // odd; 1, which changes nothing, where the table is a NIC's
  uint32_t workers_ = 1;
  uint32_t mask_ = 0;
  bool device_hash_ = false;
  std::array<uint8_t, kMaxTable> table_{};
  /// What each value of each half byte of the input adds to the hash.
  std::array<std::array<uint32_t, 16>, 2 * (kKeyBytes - 4)> adds_{};
};

}  // namespace millrace::steer
