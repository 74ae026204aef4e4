// SegmentTemplate: a TCP segment in its Ethernet frame, prepared once and sent many times. A copy differs in its source
// port, sequence numbers, timestamps and checksum only; the checksum is finished from the prepared sum of everything
// else (RFC 1071 2, RFC 1624), so no payload is ever summed again. Read RFC 9293 3.1 and RFC 7323 3.2.
#pragma once

#include <cstdint>
#include <vector>

#include "base/seq32.h"
#include "millrace/address.h"
#include "pkt/packet.h"
#include "wire/tcp.h"

namespace millrace::load {

/// What all segments between one local address and the server have in common.
struct SegmentRoute {
  MacAddr from{};
  MacAddr to{};
  IpAddr source;
  Endpoint target;
  bool device_checksum = false;  ///< the device fills the TCP checksum
};

/// Writes Ethernet and IP headers for `bytes` of `protocol` at the front of a frame.
void emit_below(const SegmentRoute& route, uint8_t protocol, size_t bytes, wire::MutableBytes frame);

class SegmentTemplate {
 public:
  SegmentTemplate() = default;
  /// `options`: whole 32-bit words, with zeros where timestamps go. Asserts that the frame fits pkt::kFrameRoom.
  SegmentTemplate(const SegmentRoute& route, wire::TcpFlags flags, uint16_t window, wire::Bytes options,
                  wire::Bytes payload);

  struct Fields {
    uint16_t source_port = 0;
    base::Seq32 seq;
    base::Seq32 ack;
    uint32_t ts_value = 0;
    uint32_t ts_echo = 0;
  };
  /// Fills an empty frame (pkt::PacketCache::frame()).
  void write(pkt::Packet& frame, const Fields& fields) const;

 private:
  std::vector<std::byte> bytes_;
  uint64_t sum_ = 0;           ///< of all that the checksum covers but the fields
  uint64_t tx_flags_ = 0;
  uint16_t tcp_at_ = 0;
  uint16_t timestamps_at_ = 0; ///< of the value, from the start of the frame; 0: none
  uint8_t l3_bytes_ = 0;
  uint8_t l4_bytes_ = 0;
  bool device_checksum_ = false;
};

}  // namespace millrace::load
