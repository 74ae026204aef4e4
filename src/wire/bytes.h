// Big-endian loads and stores at any alignment, the only place where byte order is dealt with. Everything above wire/
// is in host order.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "millrace/address.h"

namespace millrace::wire {

static_assert(std::endian::native == std::endian::little, "big-endian hosts are not supported");

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

constexpr uint16_t swap_bytes(uint16_t v) { return __builtin_bswap16(v); }
constexpr uint32_t swap_bytes(uint32_t v) { return __builtin_bswap32(v); }
constexpr uint64_t swap_bytes(uint64_t v) { return __builtin_bswap64(v); }

/// Reads sizeof(T) bytes at `p` as they lie in memory.
template <std::unsigned_integral T>
constexpr T load_native(const std::byte* p) {
  if (std::is_constant_evaluated()) {
    T v = 0;
    for (size_t i = 0; i < sizeof(T); ++i) v = static_cast<T>(v | static_cast<T>(p[i]) << (8 * i));
    return v;
  }
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <std::unsigned_integral T>
constexpr void store_native(std::byte* p, T v) {
  if (std::is_constant_evaluated()) {
    for (size_t i = 0; i < sizeof(T); ++i) p[i] = static_cast<std::byte>(v >> (8 * i));
    return;
  }
  std::memcpy(p, &v, sizeof v);
}

constexpr uint8_t load_u8(const std::byte* p) { return static_cast<uint8_t>(*p); }
constexpr uint16_t load_be16(const std::byte* p) { return swap_bytes(load_native<uint16_t>(p)); }
constexpr uint32_t load_be32(const std::byte* p) { return swap_bytes(load_native<uint32_t>(p)); }
constexpr uint64_t load_be64(const std::byte* p) { return swap_bytes(load_native<uint64_t>(p)); }

constexpr void store_u8(std::byte* p, uint8_t v) { *p = static_cast<std::byte>(v); }
constexpr void store_be16(std::byte* p, uint16_t v) { store_native(p, swap_bytes(v)); }
constexpr void store_be32(std::byte* p, uint32_t v) { store_native(p, swap_bytes(v)); }
constexpr void store_be64(std::byte* p, uint64_t v) { store_native(p, swap_bytes(v)); }

inline MacAddr load_mac(const std::byte* p) {
  MacAddr mac;
  std::memcpy(mac.bytes.data(), p, mac.bytes.size());
  return mac;
}
inline void store_mac(std::byte* p, const MacAddr& mac) { std::memcpy(p, mac.bytes.data(), mac.bytes.size()); }

/// Four bytes of the wire as an IPv4 address.
inline IpAddr load_v4(const std::byte* p) { return IpAddr::v4(load_be32(p)); }
/// Stores the low four bytes; `addr` is an IPv4 address.
inline void store_v4(std::byte* p, const IpAddr& addr) { std::memcpy(p, addr.bytes().data() + 12, 4); }

/// Sixteen bytes of the wire as an IPv6 address. A mapped address would read as IPv4: callers refuse those
/// (Ipv6View::check does).
inline IpAddr load_v6(const std::byte* p) {
  std::array<uint8_t, 16> bytes;
  std::memcpy(bytes.data(), p, bytes.size());
  return IpAddr(bytes);
}
inline void store_v6(std::byte* p, const IpAddr& addr) { std::memcpy(p, addr.bytes().data(), 16); }

}  // namespace millrace::wire
