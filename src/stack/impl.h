// The composition root behind Worker: one Ip, one Tcp, one table of sockets, and the order in which they run.
#pragma once

#include <algorithm>
#include <array>

#include "ip/ip.h"
#include "pkt/block.h"
#include "sock/sockets.h"
#include "stack/worker.h"
#include "tcp/tcp.h"
#include "udp/udp.h"

namespace millrace::stack {

class Impl {
 public:
  explicit Impl(const WorkerConfig& config);
  ~Impl();

  void input(IfIndex interface, std::span<pkt::Packet*> burst, Instant now);
  void input_steered(IfIndex interface, std::span<pkt::Packet*> burst, Instant now);
  void hear(uint32_t worker, std::span<const ip::TableMessage> news, Instant now);
  Result<Reply> request(const Request& request, Instant now);
  void advance(Instant now);
  size_t output(IfIndex interface, std::span<pkt::Packet*> out, Instant now);
  [[nodiscard]] bool wants_output() const;
  [[nodiscard]] std::vector<SocketInfo> sockets();
  [[nodiscard]] std::optional<SocketInfo> socket(Handle handle);
  [[nodiscard]] std::vector<CounterValue> counters() const;
  [[nodiscard]] std::string check();

  base::TraceRing trace;
  pkt::PacketCache packets;
  pkt::BlockPool blocks;
  ip::Ip ip;
  udp::Udp udp;
  raw::Icmp icmp;
  sock::Sockets sockets_;
  tcp::Tcp tcp;
  Worker::Pump pump;
  Worker::Tap tap;
  HandOver hand_over;

 private:
  static constexpr size_t kBurst = 64;
  /// One packet of a burst between the stages of input.
  struct Slot {
    tcp::Segment segment;
    pkt::Packet* packet = nullptr;  ///< not null: for the general path, or for `datagram`
    bool is_datagram = false;       ///< with `packet`: a plain UDP datagram
    udp::Incoming datagram;
  };
  /// A SYN of the burst at hand, under a flood (shed.cc).
  struct Aside {
    pkt::Packet* packet = nullptr;
    size_t ip_header = 0;  ///< bytes
    uint64_t hash = 0;
  };

  void input_all(IfIndex interface, std::span<pkt::Packet*> burst, Instant now);
  void input_some(IfIndex interface, std::span<pkt::Packet*> burst, Instant now);
  bool claim(IfIndex interface, const link::NetifConfig& netif, pkt::Packet* p, Slot& slot);
  bool claim_datagram(IfIndex interface, pkt::Packet* p, uint32_t header, udp::Incoming& in);
  size_t set_syns_aside(std::span<pkt::Packet*> burst);
  void judge_syns(IfIndex interface, Instant now);
  /// Whether a plain TCP frame is of a connection that lives here.
  [[nodiscard]] bool lives_here(const pkt::Packet& frame);
  bool pass_on(IfIndex interface, tcp::Segment& segment);
  void input_alone(IfIndex interface, pkt::Packet* p, Instant now);
  size_t merge(std::span<Slot*> order);
  void input_general(IfIndex interface, pkt::Packet* p, Instant now);
  static bool checksum_ok(const pkt::Packet& p, const IpAddr& source, const IpAddr& destination);
  void settle(Instant now);
  Result<Reply> send(const req::Send& r, Instant now);
  Result<Reply> operate(const Request& request, Instant now);

  std::array<Slot, kBurst> slots_;
  std::array<Aside, kBurst + 1> aside_;
  size_t aside_count_ = 0;
  bool pumping_ = false;
  uint32_t odd_output_ = 0;  ///< who has the odd place when two queues share a burst
};

}  // namespace millrace::stack
