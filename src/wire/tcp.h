// TCP header (RFC 9293 3.1). Options are in tcp_options.h.
//
// A checked view has its whole header, options included, within the bytes given. The checksum is not part of check():
// it covers the payload, which may lie in other segments.
#pragma once

#include "base/assert.h"
#include "base/seq32.h"
#include "wire/bytes.h"
#include "wire/checked.h"
#include "wire/tcp_options.h"

namespace millrace::wire {

inline constexpr size_t kTcpMinSize = 20;
inline constexpr size_t kTcpMaxSize = 60;
/// Where the checksum field lies in the header.
inline constexpr size_t kTcpChecksumAt = 16;

/// The eight control bits, in their order on the wire.
class TcpFlags {
 public:
  constexpr TcpFlags() = default;
  constexpr explicit TcpFlags(uint8_t raw) : raw_(raw) {}
  [[nodiscard]] constexpr uint8_t raw() const { return raw_; }
  /// Whether any bit of `f` is set.
  [[nodiscard]] constexpr bool any(TcpFlags f) const { return (raw_ & f.raw_) != 0; }
  /// Whether all bits of `f` are set.
  [[nodiscard]] constexpr bool all(TcpFlags f) const { return (raw_ & f.raw_) == f.raw_; }
  [[nodiscard]] constexpr bool fin() const { return (raw_ & 0x01) != 0; }
  [[nodiscard]] constexpr bool syn() const { return (raw_ & 0x02) != 0; }
  [[nodiscard]] constexpr bool rst() const { return (raw_ & 0x04) != 0; }
  [[nodiscard]] constexpr bool psh() const { return (raw_ & 0x08) != 0; }
  [[nodiscard]] constexpr bool ack() const { return (raw_ & 0x10) != 0; }
  [[nodiscard]] constexpr bool urg() const { return (raw_ & 0x20) != 0; }
  [[nodiscard]] constexpr bool ece() const { return (raw_ & 0x40) != 0; }
  [[nodiscard]] constexpr bool cwr() const { return (raw_ & 0x80) != 0; }
  constexpr TcpFlags operator|(TcpFlags f) const { return TcpFlags(static_cast<uint8_t>(raw_ | f.raw_)); }
  constexpr TcpFlags operator&(TcpFlags f) const { return TcpFlags(static_cast<uint8_t>(raw_ & f.raw_)); }
  constexpr TcpFlags operator~() const { return TcpFlags(static_cast<uint8_t>(~raw_)); }
  constexpr TcpFlags& operator|=(TcpFlags f) { return *this = *this | f; }
  constexpr bool operator==(const TcpFlags&) const = default;

 private:
  uint8_t raw_ = 0;
};
inline constexpr TcpFlags kFin{0x01};
inline constexpr TcpFlags kSyn{0x02};
inline constexpr TcpFlags kRst{0x04};
inline constexpr TcpFlags kPsh{0x08};
inline constexpr TcpFlags kAck{0x10};
inline constexpr TcpFlags kUrg{0x20};
inline constexpr TcpFlags kEce{0x40};
inline constexpr TcpFlags kCwr{0x80};

class TcpView {
 public:
  /// `segment` starts at the header and holds at least the header; of the payload it may hold any part.
  static Checked<TcpView> check(Bytes segment) {
    if (segment.size() < kTcpMinSize) return std::nullopt;
    const TcpView view(segment.data());
    const size_t header = view.header_length();
    if (header < kTcpMinSize || header > segment.size()) return std::nullopt;
    return view;
  }

  [[nodiscard]] uint16_t source_port() const { return load_be16(p_); }
  [[nodiscard]] uint16_t destination_port() const { return load_be16(p_ + 2); }
  [[nodiscard]] base::Seq32 seq() const { return base::Seq32(load_be32(p_ + 4)); }
  [[nodiscard]] base::Seq32 ack() const { return base::Seq32(load_be32(p_ + 8)); }
  /// In bytes, 20..60.
  [[nodiscard]] uint8_t header_length() const { return static_cast<uint8_t>((load_u8(p_ + 12) >> 4) * 4); }
  [[nodiscard]] TcpFlags flags() const { return TcpFlags(load_u8(p_ + 13)); }
  /// The flag beside CWR (RFC 9768 3.1).
  [[nodiscard]] bool ae() const { return (load_u8(p_ + 12) & 1) != 0; }
  /// Not scaled.
  [[nodiscard]] uint16_t window() const { return load_be16(p_ + 14); }
  [[nodiscard]] uint16_t checksum() const { return load_be16(p_ + kTcpChecksumAt); }
  [[nodiscard]] uint16_t urgent() const { return load_be16(p_ + 18); }
  [[nodiscard]] Bytes options() const { return {p_ + kTcpMinSize, header_length() - kTcpMinSize}; }

  /// True if the options are exactly NOP NOP timestamp (RFC 7323 appendix A); fills both values. One comparison of the
  /// data offset and one of the first word, no loop.
  [[nodiscard]] bool only_timestamps(uint32_t& value, uint32_t& echo) const {
    if (load_u8(p_ + 12) >> 4 != 8 || load_be32(p_ + 20) != kAlignedTimestampWord) return false;
    value = load_be32(p_ + 24);
    echo = load_be32(p_ + 28);
    return true;
  }

 private:
  friend class Checked<TcpView>;
  TcpView() = default;
  explicit TcpView(const std::byte* p) : p_(p) {}
  [[nodiscard]] bool is_null() const { return p_ == nullptr; }
  const std::byte* p_ = nullptr;
};

struct TcpHeader {
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  base::Seq32 seq;
  base::Seq32 ack;
  uint8_t header_length = kTcpMinSize;  ///< bytes, a multiple of 4; options are written by the caller behind the header
  TcpFlags flags;
  uint16_t window = 0;
  uint16_t checksum = 0;
  uint16_t urgent = 0;
  bool ae = false;  ///< accurate ECN (RFC 9768 3.1)

  static TcpHeader parse(const TcpView& v) {
    return {v.source_port(), v.destination_port(), v.seq(),      v.ack(),    v.header_length(),
            v.flags(),       v.window(),           v.checksum(), v.urgent(), v.ae()};
  }
  /// Writes kTcpMinSize bytes.
  void emit(MutableBytes out) const {
    MR_ASSERT(out.size() >= kTcpMinSize);
    std::byte* p = out.data();
    store_be16(p, source_port);
    store_be16(p + 2, destination_port);
    store_be32(p + 4, seq.raw());
    store_be32(p + 8, ack.raw());
    store_be16(p + 12, static_cast<uint16_t>(header_length / 4 << 12 | (ae ? 0x100 : 0) | flags.raw()));
    store_be16(p + 14, window);
    store_be16(p + 16, checksum);
    store_be16(p + 18, urgent);
  }
  bool operator==(const TcpHeader&) const = default;
};

}  // namespace millrace::wire
