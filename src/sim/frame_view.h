// The simulator's own reading and making of frames, sharing nothing with wire/ or tcp/, so that a mistake there cannot
// hide itself. RFC 9293 3.1, RFC 791 3.1, RFC 8200 3, RFC 1071.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "millrace/address.h"
#include "sim/frame.h"

namespace millrace::sim {

inline constexpr uint8_t kFin = 1;
inline constexpr uint8_t kSyn = 2;
inline constexpr uint8_t kRst = 4;
inline constexpr uint8_t kPsh = 8;
inline constexpr uint8_t kAck = 16;
inline constexpr uint8_t kUrg = 32;
inline constexpr uint8_t kCwr = 128;

inline constexpr uint16_t kEthIpv4 = 0x0800;
inline constexpr uint16_t kEthIpv6 = 0x86dd;

struct SackBlock {
  uint32_t left = 0;
  uint32_t right = 0;
};

/// A TCP segment inside a frame; offsets count from the start of the frame.
struct TcpView {
  bool v6 = false;
  IpAddr source;
  IpAddr destination;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint32_t seq = 0;
  uint32_t ack = 0;
  uint8_t flags = 0;
  uint8_t reserved = 0;  ///< four bits, the lowest of which is AE (RFC 9768)
  uint16_t window = 0;
  size_t l3 = 14;
  size_t l4 = 0;
  size_t payload = 0;      ///< offset
  size_t payload_len = 0;
  size_t option_bytes = 0;
  std::optional<uint16_t> mss;
  std::optional<uint8_t> wscale;
  bool sack_permitted = false;
  bool has_timestamp = false;
  uint32_t tsval = 0;
  uint32_t tsecr = 0;
  std::array<SackBlock, 4> sack{};
  uint8_t sack_count = 0;

  [[nodiscard]] bool has(uint8_t flag) const { return (flags & flag) != 0; }
  /// Sequence space it takes (RFC 9293 3.4).
  [[nodiscard]] uint32_t seq_len() const {
    return static_cast<uint32_t>(payload_len) + (has(kSyn) ? 1 : 0) + (has(kFin) ? 1 : 0);
  }
};

inline uint16_t load16(const uint8_t* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }
inline uint32_t load32(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 | static_cast<uint32_t>(p[2]) << 8 |
         p[3];
}
inline void store16(uint8_t* p, uint16_t v) {
  p[0] = static_cast<uint8_t>(v >> 8);
  p[1] = static_cast<uint8_t>(v);
}
inline void store32(uint8_t* p, uint32_t v) {
  store16(p, static_cast<uint16_t>(v >> 16));
  store16(p + 2, static_cast<uint16_t>(v));
}

/// One's-complement sum of `data` on top of `sum`, folded to 16 bits, not inverted.
[[nodiscard]] uint16_t ones_sum(std::span<const uint8_t> data, uint32_t sum = 0);
/// Sum of the pseudo header for the L4 part of the IP packet at `ip`.
[[nodiscard]] uint16_t pseudo_sum(const uint8_t* ip, bool v6, uint8_t protocol, uint32_t l4_len);

/// The TCP segment of a frame; nothing if the frame is something else or malformed.
[[nodiscard]] std::optional<TcpView> parse_tcp(std::span<const uint8_t> frame);
/// What is wrong with an IP frame's lengths or checksums; empty if nothing is, or if it is no IP frame.
[[nodiscard]] std::string check_ip_frame(std::span<const uint8_t> frame);

/// What build_tcp needs.
struct TcpSpec {
  MacAddr source_mac{};
  MacAddr destination_mac{};
  Endpoint source;
  Endpoint destination;
  uint32_t seq = 0;
  uint32_t ack = 0;
  uint8_t flags = kAck;
  uint16_t window = 0;
  Bytes options;  ///< multiple of four bytes
  Bytes payload;
};
[[nodiscard]] Bytes build_tcp(const TcpSpec& spec);
/// NOP, NOP, timestamps (RFC 7323 appendix A).
[[nodiscard]] Bytes timestamp_option(uint32_t tsval, uint32_t tsecr);

/// One line for people: addresses, flags, numbers.
[[nodiscard]] std::string describe_tcp(const TcpView& view);

}  // namespace millrace::sim
