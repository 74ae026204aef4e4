// The stack's interfaces as programs ask for them: the ioctls of netdevice(7) that tell something, and what
// getifaddrs(3) and if_nametoindex(3) are made of.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "millrace/address.h"

namespace millrace::ip {
class Ip;
}

namespace millrace::posix {

/// An interface with one of its addresses; one without any has a single row. Plain memory, any bytes of which can be
/// read.
struct InterfaceRow {
  static constexpr uint8_t kNoAddress = 255;
  static constexpr uint8_t kUp = 1 << 0;
  static constexpr uint8_t kLoopback = 1 << 1;

  std::array<char, 16> name{};  ///< ends with a zero
  uint32_t mtu = 0;
  uint16_t index = 0;
  uint8_t bits = 0;
  uint8_t length = kNoAddress;  ///< of the prefix
  std::array<uint8_t, 16> addr{};
  std::array<uint8_t, 6> mac{};

  [[nodiscard]] bool has_address() const { return length != kNoAddress; }
  [[nodiscard]] IpAddr address() const { return IpAddr(addr); }
  /// IFF_* of netdevice(7).
  [[nodiscard]] unsigned flags() const;
};

/// In the order of the interfaces' numbers.
[[nodiscard]] std::vector<InterfaceRow> interface_rows(const ip::Ip& ip);

/// What a socket of `family` answers to SIOCGIF*: 0 or a negative errno number; nothing if `request` is none of those.
[[nodiscard]] std::optional<long> interface_ioctl(std::span<const InterfaceRow> rows, int family, unsigned long request,
                                                  void* value);
/// Whether it is one of those.
[[nodiscard]] bool asks_for_interface(int family, unsigned long request);
/// The netmask of a prefix length.
[[nodiscard]] uint32_t v4_mask(uint8_t length);

}  // namespace millrace::posix
