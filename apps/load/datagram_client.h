// DatagramClient: flows of numbered UDP echo requests to one server beside the stack, at a small part of its cost:
// frames are copied from a template, of which only source port and payload change. Every byte of every answer is
// compared and every answer counts once (echo_window.h). Read RFC 768.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/histogram.h"
#include "load/echo_window.h"
#include "load/segment_template.h"
#include "runtime/frame_client.h"

namespace millrace::load {

struct DatagramSettings {
  Endpoint target;
  IpAddr source;
  MacAddr next_hop{};          ///< where frames to the target go
  uint16_t first_port = 1024;  ///< flow i sends from port first_port + i
  uint32_t flows = 1;
  uint32_t window = 1;  ///< requests of a flow on their way, at most EchoWindow::kLargest
  uint32_t size = 64;   ///< bytes of payload, from 16 on; one frame
};

struct DatagramCounters {
  uint64_t answers = 0;
  uint64_t lost = 0;
  uint64_t wrong = 0;  ///< answers with a wrong byte, or to what was never asked
  uint64_t again = 0;  ///< answers that came before, or after they were given up
  uint64_t bad_checksum = 0;
  uint64_t no_packets = 0;  ///< turns in which the pool was empty
};

class DatagramClient {
 public:
  /// `clock` counts in the units of latency().
  DatagramClient(const DatagramSettings& settings, const runtime::FramePort& port, uint64_t (*clock)());

  // As runtime::FrameClient.
  size_t input(std::span<pkt::Packet*> frames);
  size_t output(std::span<pkt::Packet*> out);
  [[nodiscard]] bool wants_output() const { return asking_ && !ready_.empty(); }

  /// Starts and stops asking.
  void ask(bool on) { asking_ = on; }
  /// Flows without any answer for `ticks` calls ask anew.
  void give_up_after(uint32_t ticks);
  [[nodiscard]] const DatagramCounters& counters() const { return counters_; }
  /// Of every 64th request of a flow.
  [[nodiscard]] apps::Histogram& latency() { return latency_; }

 private:
  struct Flow {
    EchoWindow window;
    bool ready = false;  // stands in ready_
  };
  bool take(const pkt::Packet& p);
  void answered(uint32_t index, wire::Bytes payload);
  void make_ready(uint32_t index);
  void write(pkt::Packet& p, uint32_t flow, uint64_t sequence) const;
  void build_template();

  DatagramSettings settings_;
  runtime::FramePort port_;
  uint64_t (*clock_)();
  std::vector<std::byte> headers_;  // Ethernet, IP, UDP
  uint64_t pseudo_ = 0;             // sum of the pseudo-header
  uint64_t tx_flags_ = 0;
  bool device_checksum_ = false;
  uint16_t udp_at_ = 0;
  std::vector<Flow> flows_;
  std::vector<uint32_t> ready_;  // flows whose windows have room
  bool asking_ = true;
  DatagramCounters counters_;
  apps::Histogram latency_;
};

}  // namespace millrace::load
