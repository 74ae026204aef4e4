// Addresses of both families in one 16-byte value: an IPv4 address is held in its IPv4-mapped form (RFC 4291
// 2.5.5.2). Bytes are in network order; ports are in host order.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

class IpAddr {
 public:
  /// The unspecified IPv6 address `::`.
  constexpr IpAddr() = default;
  constexpr explicit IpAddr(const std::array<uint8_t, 16>& bytes) : bytes_(bytes) {}

  static constexpr IpAddr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return IpAddr({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d});
  }
  /// From a host-order 32-bit value.
  static constexpr IpAddr v4(uint32_t host_order) {
    return v4(static_cast<uint8_t>(host_order >> 24), static_cast<uint8_t>(host_order >> 16),
              static_cast<uint8_t>(host_order >> 8), static_cast<uint8_t>(host_order));
  }
  static constexpr IpAddr any_v4() { return v4(0); }

  /// Reads "192.0.2.1" or "2001:db8::1"; nothing if the text is neither.
  static std::optional<IpAddr> parse(std::string_view text);
  /// Canonical text (RFC 5952 for IPv6).
  [[nodiscard]] std::string to_string() const;

  [[nodiscard]] constexpr const std::array<uint8_t, 16>& bytes() const { return bytes_; }
  [[nodiscard]] bool is_v4() const {
    uint64_t high;
    uint32_t mid;
    std::memcpy(&high, bytes_.data(), 8);
    std::memcpy(&mid, bytes_.data() + 8, 4);
    return high == 0 && mid == 0xffff0000U;  // little-endian view of 00 00 ff ff
  }
  [[nodiscard]] bool is_v6() const { return !is_v4(); }
  /// The IPv4 address in host order; meaningful only if is_v4().
  [[nodiscard]] constexpr uint32_t v4_value() const {
    return static_cast<uint32_t>(bytes_[12]) << 24 | static_cast<uint32_t>(bytes_[13]) << 16 |
           static_cast<uint32_t>(bytes_[14]) << 8 | bytes_[15];
  }
  [[nodiscard]] bool is_unspecified() const { return is_v4() ? v4_value() == 0 : *this == IpAddr(); }
  [[nodiscard]] bool is_multicast() const { return is_v4() ? (bytes_[12] & 0xf0) == 0xe0 : bytes_[0] == 0xff; }
  /// A group whose datagrams do not leave the host: the node's scope and the reserved one of IPv6 (RFC 4291 2.7).
  [[nodiscard]] bool is_node_local_group() const { return is_v6() && bytes_[0] == 0xff && (bytes_[1] & 0xf) <= 1; }
  [[nodiscard]] bool is_limited_broadcast() const { return is_v4() && v4_value() == 0xffffffffU; }
  [[nodiscard]] bool is_loopback() const {
    if (is_v4()) return bytes_[12] == 127;
    constexpr std::array<uint8_t, 16> one{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return bytes_ == one;
  }
  [[nodiscard]] bool is_link_local() const {
    return is_v4() ? (bytes_[12] == 169 && bytes_[13] == 254) : (bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80);
  }

  bool operator==(const IpAddr& other) const {  // two words; the default calls memcmp
    uint64_t a[2];
    uint64_t b[2];
    std::memcpy(a, bytes_.data(), 16);
    std::memcpy(b, other.bytes_.data(), 16);
    return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
  }

 private:
  std::array<uint8_t, 16> bytes_{};
};

/// An address range: `length` leading bits of `addr` count. For IPv4 the length is 0..32, for IPv6 0..128.
struct Prefix {
  IpAddr addr;
  uint8_t length = 0;

  /// Reads "198.18.0.0/24" or "fd00::/64"; a bare address gets its full length.
  static std::optional<Prefix> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] bool contains(const IpAddr& other) const;
  bool operator==(const Prefix&) const = default;
};

struct Endpoint {
  IpAddr addr;
  uint16_t port = 0;

  /// Reads "192.0.2.1:80" or "[2001:db8::1]:80".
  static std::optional<Endpoint> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  bool operator==(const Endpoint&) const = default;
};

struct MacAddr {
  std::array<uint8_t, 6> bytes{};

  static std::optional<MacAddr> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] constexpr bool is_group() const { return (bytes[0] & 1) != 0; }
  bool operator==(const MacAddr&) const = default;
};
inline constexpr MacAddr kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

/// Names an interface of one worker; 0 is none.
enum class IfIndex : uint16_t { kNone = 0 };

}  // namespace millrace
