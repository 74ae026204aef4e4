// Which socket a datagram belongs to: connected sockets by their four-tuple, the others by local address and port. The
// sockets of one address and port are a Group: one, or several that all asked for `reuse`.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/memory.h"
#include "base/slab.h"
#include "udp/types.h"

namespace millrace::udp {

struct Group {
  IpAddr addr{};
  uint16_t port = 0;
  DatagramKind kind = DatagramKind::kUdp;
  bool dual = false;  ///< `::` for both families
  bool reuse = false;
  uint32_t members = 0;          ///< connected ones included
  std::vector<uint32_t> open{};  ///< sockets that are not connected
};

class Table {
 public:
  Table(base::MemorySource& memory, base::Slab<Dgram>& dgrams, uint64_t seed);
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  /// Puts a socket under its local address and port. kAddressInUse unless every socket in the way and this one reuse.
  Result<void> bind(uint32_t index);
  void unbind(uint32_t index);
  /// Whether a socket like `d` could be bound to `addr` and `port`.
  [[nodiscard]] bool is_free(const Dgram& d, const IpAddr& addr, uint16_t port) const;
  /// Its remote side is known from now on (local address, too). kAddressInUse if another socket has the same
  /// four-tuple.
  Result<void> connect(uint32_t index);
  void disconnect(uint32_t index);

  /// The one socket for a datagram to a unicast address, or 0.
  [[nodiscard]] uint32_t find(const IpAddr& local, uint16_t local_port, const IpAddr& remote, uint16_t remote_port);
  /// Calls visit(index) for each unconnected and connected socket that a datagram to a group or broadcast address fits.
  template <class Visit>
  void each_match(const IpAddr& local, uint16_t local_port, const IpAddr& remote, uint16_t remote_port, Visit&& visit) {
    const uint32_t connected = find_connected(local, local_port, remote, remote_port);
    if (connected != 0) visit(connected);
    const auto range = by_port_.equal_range(key_of(DatagramKind::kUdp, local_port));
    for (auto it = range.first; it != range.second; ++it) {
      const Group& g = groups_[it->second];
      if (!accepts(g, local)) continue;
      for (const uint32_t index : g.open) visit(index);
    }
  }
  void prefetch(uint16_t local_port) const { __builtin_prefetch(&port_use_[local_port]); }
  [[nodiscard]] uint32_t connected() const { return connected_; }
  [[nodiscard]] const Group& group(uint32_t index) const { return groups_[index]; }

 private:
  static uint32_t key_of(DatagramKind kind, uint16_t port) { return static_cast<uint32_t>(kind) << 16 | port; }
  static bool accepts(const Group& g, const IpAddr& local) {
    if (g.addr == local) return true;
    return g.addr.is_unspecified() && (g.dual || g.addr.is_v4() == local.is_v4());
  }
  [[nodiscard]] uint64_t hash(const IpAddr& local, uint16_t local_port, const IpAddr& remote,
                              uint16_t remote_port) const {
    uint64_t a[2];
    uint64_t b[2];
    __builtin_memcpy(a, local.bytes().data(), 16);
    __builtin_memcpy(b, remote.bytes().data(), 16);
    const uint64_t ports = uint64_t{local_port} << 16 | remote_port;
    uint64_t h = (a[0] ^ key_[0]) * 0x9e3779b97f4a7c15ULL ^ (b[1] ^ key_[1]);
    h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9ULL ^ (b[0] + ports);
    h = (h ^ h >> 32) * 0x94d049bb133111ebULL ^ a[1];
    return (h ^ h >> 31) * 0x9e3779b97f4a7c15ULL;
  }
  [[nodiscard]] uint32_t find_connected(const IpAddr& local, uint16_t local_port, const IpAddr& remote,
                                        uint16_t remote_port) const;
  [[nodiscard]] uint32_t find_group(const IpAddr& local, uint16_t port) const;
  [[nodiscard]] uint32_t exact_group(DatagramKind kind, const IpAddr& addr, uint16_t port) const;
  [[nodiscard]] uint32_t pick(const Group& g, const IpAddr& local, const IpAddr& remote, uint16_t remote_port) const;
  void forget() { last_port_ = 0; }

  base::Slab<Dgram>& dgrams_;
  uint64_t key_[2];
  uint32_t* buckets_;  // connected sockets, chained by Dgram::link
  uint32_t bucket_mask_;
  uint32_t connected_ = 0;
  std::vector<uint16_t> port_use_;  // groups of UDP at each port
  std::vector<Group> groups_;       // [0] is none
  std::vector<uint32_t> free_groups_;
  std::unordered_multimap<uint32_t, uint32_t> by_port_;
  // The last group found, which is nearly always the next one.
  IpAddr last_local_{};
  uint16_t last_port_ = 0;
  uint32_t last_group_ = 0;
};

}  // namespace millrace::udp
