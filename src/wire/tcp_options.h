// TCP options (RFC 9293 3.2, RFC 7323 timestamps and window scale, RFC 2018 SACK, RFC 7413 fast open).
//
// Parsing stops at the first malformed option and says so; what stood before it counts. Emitters write only whole
// 32-bit words, padded with NOPs in front of the option that needs it, so that values stay aligned; fast open, whose
// cookie is no value, has them behind.
#pragma once

#include <array>
#include <cstdint>

#include "base/assert.h"
#include "base/seq32.h"
#include "wire/bytes.h"

namespace millrace::wire {

enum class TcpOptionKind : uint8_t {
  kEnd = 0,
  kNop = 1,
  kMss = 2,
  kWindowScale = 3,
  kSackPermitted = 4,
  kSack = 5,
  kTimestamps = 8,
  kFastOpen = 34,
  kExperiment = 254,  ///< RFC 6994: which one, two bytes say
};

inline constexpr size_t kTcpMaxOptions = 40;
inline constexpr size_t kTcpTimestampsSize = 12;  ///< with its two NOPs
inline constexpr uint16_t kFastOpenExperiment = 0xf989;  ///< fast open before it had a kind of its own (RFC 7413 4.1.1)
inline constexpr uint8_t kMaxWindowScale = 14;    // RFC 7323 2.3
/// NOP NOP kind 8 length 10.
inline constexpr uint32_t kAlignedTimestampWord = 0x0101080a;

struct SackBlock {
  base::Seq32 left;   ///< first byte
  base::Seq32 right;  ///< behind the last byte
  bool operator==(const SackBlock&) const = default;
};
inline constexpr uint8_t kMaxSackBlocks = 4;

struct TcpOptions {
  bool has_mss = false;
  bool has_wscale = false;
  bool sack_permitted = false;
  bool has_timestamps = false;
  bool has_fast_open = false;
  bool fast_open_experimental = false;  ///< it came, or is to go, as kExperiment
  bool malformed = false;  ///< a length was impossible; the rest was not read
  uint8_t wscale = 0;      ///< 0..14
  uint8_t sack_count = 0;
  uint16_t mss = 0;
  uint8_t unknown = 0;           ///< options skipped because their kind is not ours
  uint8_t fast_open_length = 0;  ///< of the cookie: 0 (a request) or 4..16
  uint32_t ts_val = 0;
  uint32_t ts_ecr = 0;
  std::array<SackBlock, kMaxSackBlocks> sack{};
  std::array<std::byte, 16> fast_open_cookie{};

  /// Reads the options of a segment (TcpView::options()). Of an option that occurs twice the last one counts.
  static TcpOptions parse(Bytes options) {
    TcpOptions out;
    if (options.size() == kTcpTimestampsSize && load_be32(options.data()) == kAlignedTimestampWord) {
      out.has_timestamps = true;
      out.ts_val = load_be32(options.data() + 4);
      out.ts_ecr = load_be32(options.data() + 8);
      return out;
    }
    if (is_usual_syn(options)) {
      out.has_mss = out.sack_permitted = out.has_timestamps = out.has_wscale = true;
      out.mss = load_be16(options.data() + 2);
      out.ts_val = load_be32(options.data() + 8);
      out.ts_ecr = load_be32(options.data() + 12);
      const uint8_t shift = load_u8(options.data() + 19);
      out.wscale = shift < kMaxWindowScale ? shift : kMaxWindowScale;  // RFC 7323 2.3
      return out;
    }
    if (!options.empty()) parse_slow(options, out);
    return out;
  }

  /// Whether these are what the SYNs of most hosts bring: MSS, SACK permitted, timestamps, NOP, window scale, in this
  /// order and with nothing between; the timestamps' values are then at bytes 8 and 12.
  [[nodiscard]] static bool is_usual_syn(Bytes options) {
    const std::byte* at = options.data();
    return options.size() == 20 && load_be16(at) == 0x0204 && load_be32(at + 4) == 0x0402080a &&
           load_be32(at + 16) >> 8 == 0x010303;
  }

  /// Bytes that emit_syn() writes, a multiple of 4.
  [[nodiscard]] size_t syn_size() const;
  /// Writes MSS, SACK permitted, timestamps, window scale, fast open: those that are set. At most 40 bytes.
  size_t emit_syn(MutableBytes out) const;

  /// Bytes that emit() writes, a multiple of 4; at most 40.
  [[nodiscard]] size_t size() const {
    const size_t sack_bytes = fitting_sacks() == 0 ? 0 : 4 + fitting_sacks() * size_t{8};
    return (has_timestamps ? kTcpTimestampsSize : 0) + sack_bytes;
  }
  /// Writes the options of a segment without SYN: timestamps, SACK blocks (three beside timestamps, else four).
  size_t emit(MutableBytes out) const;

  bool operator==(const TcpOptions&) const = default;

 private:
  static void parse_slow(Bytes options, TcpOptions& out);
  [[nodiscard]] uint8_t fitting_sacks() const {
    const uint8_t room = has_timestamps ? 3 : 4;
    return sack_count < room ? sack_count : room;
  }
};

/// Writes NOP NOP timestamps, kTcpTimestampsSize bytes.
inline void emit_timestamps(std::byte* out, uint32_t value, uint32_t echo) {
  store_be32(out, kAlignedTimestampWord);
  store_be32(out + 4, value);
  store_be32(out + 8, echo);
}

/// Writes NOP NOP SACK, 4 + 8 bytes a block; 1..4 blocks. Returns the bytes written.
inline size_t emit_sack(std::byte* out, std::span<const SackBlock> blocks) {
  MR_ASSERT(!blocks.empty() && blocks.size() <= kMaxSackBlocks);
  store_be32(out, 0x01010500u | static_cast<uint32_t>(2 + 8 * blocks.size()));
  std::byte* at = out + 4;
  for (const SackBlock& block : blocks) {
    store_be32(at, block.left.raw());
    store_be32(at + 4, block.right.raw());
    at += 8;
  }
  return static_cast<size_t>(at - out);
}

}  // namespace millrace::wire
