// What one seed does: which faults and features are on and how strong, and the connections that run through them. A
// plan is a pure function of its seed (swarm testing: each seed switches a random subset on, so that rare combinations
// occur and no feature hides another).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "millrace/request.h"
#include "sim/datagrams.h"
#include "sim/link.h"
#include "sim/nic.h"
#include "tcp/settings.h"

namespace millrace::sim {

/// Where the map that tells the workers of a host what they own comes from.
enum class Sharding : uint8_t {
  kOwn,         ///< a key of their own; the NIC's hash is not looked at
  kDeviceKey,   ///< the NIC's key and table, each hash computed
  kDeviceHash,  ///< the same, and the NIC's hash is taken from the packet
};

struct HostPlan {
  NicConfig nic{};
  tcp::Settings tcp{};
  uint32_t frames = 4096;       ///< packets of the pool
  uint32_t references = 8192;
  size_t block_bytes = size_t{16} << 20;
  uint32_t max_connections = 256;
  uint32_t max_half_open = 64;
  uint32_t max_time_wait = 256;
  Duration poll_delay{};        ///< frames wait up to this long for the loop
  Duration timer_delay{};       ///< timers are served up to this late
  bool pump = false;
  bool static_neighbour = false;
  uint32_t workers = 1;
  Sharding sharding = Sharding::kOwn;
  bool table_changes = false;   ///< the NIC moves flows to other queues now and then
  Duration ring_delay{};        ///< frames and news between workers take up to this long
  uint32_t ring_room = 256;     ///< pieces that one ring between two workers holds
};

/// How one end of a connection behaves.
struct SidePlan {
  uint32_t send_total = 0;
  uint32_t write_chunk = 16'384;
  bool lent = false;            ///< zero-copy send
  bool borrow = false;          ///< zero-copy receive
  uint32_t hold = 0;            ///< borrowed pieces kept at a time
  uint32_t read_chunk = 16'384;
  uint32_t pause_every = 0;     ///< bytes read between pauses; 0 = never pauses
  Duration pause{};
  uint32_t abort_after = 0;     ///< bytes sent before an abort; 0 = none
  bool shut_early = false;      ///< half-close as soon as all is sent, else after the peer's end
  SocketOptions options{};
};

enum class ConnKind : uint8_t { kTransfer, kRequests, kShort, kAbort, kSimultaneous };

struct ConnPlan {
  ConnKind kind = ConnKind::kTransfer;
  uint16_t port = 0;   ///< of the server; also names the plan
  bool v6 = false;
  int client = 0;      ///< host that connects
  uint64_t key = 0;    ///< of the stream contents
  uint32_t rounds = 1; ///< kShort: connections one after the other; kRequests: requests
  Duration start{};
  std::array<SidePlan, 2> side{};  ///< 0 = client, 1 = server
};

/// The wire is cut when `after_bytes` of payload have been delivered.
struct Partition {
  uint64_t after_bytes = 0;
  Duration length{};
  bool both = true;
};

struct Plan {
  uint64_t seed = 0;
  std::array<HostPlan, 2> host{};
  std::array<LinkConfig, 2> link{};  ///< [i] carries frames from host i
  std::vector<Partition> partitions;
  std::vector<ConnPlan> connections;
  std::array<DatagramPlan, 2> datagrams{};  ///< by host that sends them
  bool attack = false;               ///< forged segments are thrown in
  bool tiny_pools = false;
  Duration chaos = seconds(5'000);   ///< at most; then everything heals
  uint64_t heal_after_bytes = 0;     ///< heals when this much payload has been delivered
  uint32_t check_every = 16;         ///< turns between calls of Worker::check
  std::vector<std::string> features; ///< names, for people

  /// With `workers` above 1 one host has that many, the other as many or one.
  [[nodiscard]] static Plan from_seed(uint64_t seed, uint32_t workers = 1);
  [[nodiscard]] bool roomy() const { return !tiny_pools; }
  [[nodiscard]] uint64_t total_bytes() const;
  [[nodiscard]] std::string describe() const;
};

}  // namespace millrace::sim
