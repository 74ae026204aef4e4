// IPv4 header and options (RFC 791 3.1, RFC 1122 3.2.1, RFC 2474, RFC 3168).
//
// A checked view has a consistent header: version 4, header within total length, total length within the bytes given.
// The header checksum is not part of check(): devices verify it, ask checksum_ok() where none did.
#pragma once

#include <optional>

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/checked.h"
#include "wire/checksum.h"
#include "wire/ip_protocol.h"

namespace millrace::wire {

inline constexpr size_t kIpv4MinSize = 20;
inline constexpr size_t kIpv4MaxSize = 60;

/// Sum of a 20-byte header; five loads, no loop.
inline uint64_t ipv4_base_sum(const std::byte* header) {
  return uint64_t{load_native<uint32_t>(header)} + load_native<uint32_t>(header + 4) +
         load_native<uint32_t>(header + 8) + load_native<uint32_t>(header + 12) + load_native<uint32_t>(header + 16);
}

class Ipv4View {
 public:
  /// `packet` starts at the header and may be longer than the datagram (Ethernet padding).
  static Checked<Ipv4View> check(Bytes packet) {
    if (packet.size() < kIpv4MinSize) return std::nullopt;
    const Ipv4View view(packet.data());
    if (!view.header_fits(packet.size())) return std::nullopt;
    if (view.total_length() < view.header_length() || view.total_length() > packet.size()) return std::nullopt;
    return view;
  }
  /// For a datagram quoted by an ICMP error, which is cut short: only the header is complete. payload() must not be
  /// used; quoted_payload() has what there is.
  static Checked<Ipv4View> check_quoted(Bytes packet) {
    if (packet.size() < kIpv4MinSize) return std::nullopt;
    const Ipv4View view(packet.data());
    if (!view.header_fits(packet.size()) || view.total_length() < view.header_length()) return std::nullopt;
    return view;
  }

  [[nodiscard]] uint16_t header_length() const { return static_cast<uint16_t>((load_u8(p_) & 0x0f) * 4); }
  [[nodiscard]] uint8_t traffic_class() const { return load_u8(p_ + 1); }
  [[nodiscard]] uint16_t total_length() const { return load_be16(p_ + 2); }
  [[nodiscard]] uint16_t id() const { return load_be16(p_ + 4); }
  [[nodiscard]] bool dont_fragment() const { return (fragment_word() & 0x4000) != 0; }
  [[nodiscard]] bool more_fragments() const { return (fragment_word() & 0x2000) != 0; }
  /// In bytes.
  [[nodiscard]] uint16_t fragment_offset() const { return static_cast<uint16_t>((fragment_word() & 0x1fff) * 8); }
  [[nodiscard]] bool is_fragment() const { return (fragment_word() & 0x3fff) != 0; }
  [[nodiscard]] uint8_t ttl() const { return load_u8(p_ + 8); }
  [[nodiscard]] uint8_t protocol() const { return load_u8(p_ + 9); }
  [[nodiscard]] uint16_t checksum() const { return load_be16(p_ + 10); }
  [[nodiscard]] IpAddr source() const { return load_v4(p_ + 12); }
  [[nodiscard]] IpAddr destination() const { return load_v4(p_ + 16); }

  [[nodiscard]] bool checksum_ok() const {
    if (header_length() == kIpv4MinSize) return is_valid(ipv4_base_sum(p_));
    return is_valid(sum_bytes(p_, header_length()));
  }
  [[nodiscard]] uint16_t payload_length() const { return static_cast<uint16_t>(total_length() - header_length()); }
  [[nodiscard]] Bytes options() const { return {p_ + kIpv4MinSize, header_length() - kIpv4MinSize}; }
  [[nodiscard]] Bytes payload() const { return {p_ + header_length(), payload_length()}; }
  /// The datagram without link-layer padding.
  [[nodiscard]] Bytes datagram() const { return {p_, total_length()}; }
  /// After check_quoted(packet): the quoted bytes behind the header.
  [[nodiscard]] Bytes quoted_payload(Bytes packet) const {
    const size_t end = total_length() < packet.size() ? total_length() : packet.size();
    return packet.subspan(header_length(), end - header_length());
  }

 private:
  friend class Checked<Ipv4View>;
  Ipv4View() = default;
  explicit Ipv4View(const std::byte* p) : p_(p) {}
  [[nodiscard]] bool is_null() const { return p_ == nullptr; }
  [[nodiscard]] bool header_fits(size_t size) const {
    const uint8_t first = load_u8(p_);
    return first == 0x45 || (first >> 4 == 4 && header_length() >= kIpv4MinSize && header_length() <= size);
  }
  [[nodiscard]] uint16_t fragment_word() const { return load_be16(p_ + 6); }
  const std::byte* p_ = nullptr;
};

struct Ipv4Header {
  uint8_t traffic_class = 0;
  uint16_t total_length = 0;
  uint16_t id = 0;
  bool dont_fragment = false;
  bool more_fragments = false;
  uint16_t fragment_offset = 0;  ///< bytes, a multiple of 8
  uint8_t ttl = 64;
  uint8_t protocol = 0;
  IpAddr source;
  IpAddr destination;

  static Ipv4Header parse(const Ipv4View& v) {
    return {v.traffic_class(),   v.total_length(), v.id(),       v.dont_fragment(), v.more_fragments(),
            v.fragment_offset(), v.ttl(),          v.protocol(), v.source(),        v.destination()};
  }
  /// Writes kIpv4MinSize bytes, checksum included.
  void emit(MutableBytes out) const {
    MR_ASSERT(out.size() >= kIpv4MinSize && fragment_offset % 8 == 0);
    std::byte* p = out.data();
    store_u8(p, 0x45);
    store_u8(p + 1, traffic_class);
    store_be16(p + 2, total_length);
    store_be16(p + 4, id);
    store_be16(p + 6, static_cast<uint16_t>((dont_fragment ? 0x4000 : 0) | (more_fragments ? 0x2000 : 0) |
                                            fragment_offset / 8));
    store_u8(p + 8, ttl);
    store_u8(p + 9, protocol);
    store_be16(p + 10, 0);
    store_v4(p + 12, source);
    store_v4(p + 16, destination);
    store_be16(p + 10, finish(ipv4_base_sum(p)));
  }
  bool operator==(const Ipv4Header&) const = default;
};

/// Kinds of options (copied flag included) that receivers care about.
inline constexpr uint8_t kIpv4OptionEnd = 0;
inline constexpr uint8_t kIpv4OptionNop = 1;
inline constexpr uint8_t kIpv4OptionRecordRoute = 7;
inline constexpr uint8_t kIpv4OptionTimestamp = 68;
inline constexpr uint8_t kIpv4OptionLooseRoute = 131;
inline constexpr uint8_t kIpv4OptionStrictRoute = 137;
inline constexpr uint8_t kIpv4OptionRouterAlert = 148;

struct Ipv4Option {
  uint8_t kind = 0;
  Bytes data;            ///< behind kind and length
  uint8_t position = 0;  ///< of the kind byte, counted from the start of the IP header (for parameter problems)
};

/// Walks options: `while (auto option = walker.next())`, then look at malformed().
class Ipv4OptionWalker {
 public:
  explicit Ipv4OptionWalker(const Ipv4View& view) : options_(view.options()) {}

  /// The next option that is not padding; nothing at the end or at a malformed option.
  std::optional<Ipv4Option> next() {
    while (at_ < options_.size()) {
      const uint8_t kind = load_u8(&options_[at_]);
      if (kind == kIpv4OptionEnd) break;
      if (kind == kIpv4OptionNop) {
        ++at_;
        continue;
      }
      const size_t left = options_.size() - at_;
      const size_t length = left >= 2 ? load_u8(&options_[at_ + 1]) : 0;
      if (length < 2 || length > left) {
        malformed_ = true;
        break;
      }
      const Ipv4Option option{kind, options_.subspan(at_ + 2, length - 2), position()};
      at_ += length;
      return option;
    }
    if (!malformed_) at_ = options_.size();
    return std::nullopt;
  }
  [[nodiscard]] bool malformed() const { return malformed_; }
  /// Where the walk stands, counted from the start of the IP header.
  [[nodiscard]] uint8_t position() const { return static_cast<uint8_t>(kIpv4MinSize + at_); }

 private:
  Bytes options_;
  size_t at_ = 0;
  bool malformed_ = false;
};

}  // namespace millrace::wire
