// Frames for tests of a link, made by hand and independent of the stack: Ethernet, IPv4 or IPv6, TCP with timestamps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pkt/packet.h"
#include "pkt/pool.h"

namespace millrace::test {

struct FrameArgs {
  bool v6 = false;
  uint32_t seq = 0;
  uint32_t payload = 100;
};

inline constexpr uint32_t kTcpBytes = 32;
[[nodiscard]] constexpr uint32_t header_bytes(bool v6) { return 14 + (v6 ? 40 : 20) + kTcpBytes; }

/// The payload byte at stream position `n`.
[[nodiscard]] constexpr std::byte pattern(uint32_t n) { return static_cast<std::byte>(n * 131 + (n >> 8) * 17 + 3); }
void fill_pattern(std::span<std::byte> out, uint32_t from);

/// Ethernet, IP and TCP headers for the frame; checksums zero but IPv4's own.
[[nodiscard]] std::vector<std::byte> headers(const FrameArgs& args);
/// Writes the TCP pseudo-header's sum into the checksum field, as devices want it.
void put_pseudo_sum(std::span<std::byte> frame, bool v6, bool with_length);
/// Writes the finished TCP checksum of a whole frame.
void put_checksum(std::span<std::byte> frame, bool v6);
/// Whether the TCP checksum of a whole frame is right.
[[nodiscard]] bool checksum_right(std::span<const std::byte> frame, bool v6);
/// The whole chain in one piece.
[[nodiscard]] std::vector<std::byte> flatten(const pkt::Packet& packet);
/// The TCP sequence number of a frame made by headers().
[[nodiscard]] uint32_t seq_of(std::span<const std::byte> frame, bool v6);
[[nodiscard]] bool is_v6(std::span<const std::byte> frame);

/// A linear frame with its payload and a finished checksum, or nullptr.
[[nodiscard]] pkt::Packet* linear_frame(pkt::PacketCache& cache, const FrameArgs& args);

}  // namespace millrace::test
