// The Internet checksum. Read RFC 1071 (computing), RFC 1624 (updating), RFC 8200 8.1 (pseudo-header).
//
// A *partial sum* is an opaque uint64_t: the ones-complement sum of 16-bit words as they lie in memory, carries not yet
// folded. Partial sums are joined with add_sums() (even lengths) or combine() (any length). fold() and finish() end a
// computation and return host-order values for store_be16():
//   finish(sum)  what goes into a header field;
//   fold(sum)    the sum itself, not inverted: what a device that completes checksums wants in the field.
// A received span whose checksum field takes part in the sum is intact if is_valid(sum).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "millrace/address.h"
#include "wire/bytes.h"

namespace millrace::wire {

/// Ones-complement addition of two partial sums over even numbers of bytes.
constexpr uint64_t add_sums(uint64_t a, uint64_t b) {
  const uint64_t s = a + b;
  return s + static_cast<uint64_t>(s < a);
}

/// The partial sum of one host-order 16-bit word at an even position.
constexpr uint64_t sum_be16(uint16_t value) { return swap_bytes(value); }
constexpr uint64_t sum_be32(uint32_t value) { return swap_bytes(value); }

/// Host-order ones-complement sum, not inverted.
constexpr uint16_t fold(uint64_t sum) {
  // Adding the halves crosswise carries around the end of both; the upper half is the result.
  const auto half = static_cast<uint32_t>((sum + std::rotl(sum, 32)) >> 32);
  return swap_bytes(static_cast<uint16_t>((half + std::rotl(half, 16)) >> 16));
}
/// Host-order value of the checksum field.
constexpr uint16_t finish(uint64_t sum) { return static_cast<uint16_t>(~fold(sum)); }
/// For UDP over IPv4 and IPv6, where a field of zero means "no checksum" (RFC 768, RFC 8200 8.1).
constexpr uint16_t finish_nonzero(uint64_t sum) {
  const uint16_t field = finish(sum);
  return field == 0 ? uint16_t{0xffff} : field;
}
/// Whether a sum that includes the checksum field says the bytes are intact.
constexpr bool is_valid(uint64_t sum) { return fold(sum) == 0xffff; }

namespace detail {
uint64_t sum_long(const std::byte* p, size_t n);

constexpr uint64_t fold_128(unsigned __int128 s) {
  return add_sums(static_cast<uint64_t>(s), static_cast<uint64_t>(s >> 64));
}

// Fewer than 8 bytes. An odd last byte counts as the first byte of a word whose second is zero.
inline uint64_t sum_tail(const std::byte* p, size_t n) {
  uint64_t sum = 0;
  if ((n & 4) != 0) {
    sum += load_native<uint32_t>(p);
    p += 4;
  }
  if ((n & 2) != 0) {
    sum += load_native<uint16_t>(p);
    p += 2;
  }
  if ((n & 1) != 0) sum += load_native<uint8_t>(p);
  return sum;
}
// Fewer than 32 bytes.
inline uint64_t sum_short(const std::byte* p, size_t n) {
  unsigned __int128 sum = 0;
  for (; n >= 8; n -= 8, p += 8) sum += load_native<uint64_t>(p);
  return fold_128(sum + sum_tail(p, n));
}
}  // namespace detail

/// Partial sum of `n` bytes at any alignment. Costs about ten cycles at 64 bytes and one for 30 bytes in long spans.
inline uint64_t sum_bytes(const std::byte* p, size_t n) {
  return n >= 32 ? detail::sum_long(p, n) : detail::sum_short(p, n);
}
inline uint64_t sum_bytes(Bytes bytes) { return sum_bytes(bytes.data(), bytes.size()); }

/// Joins the sums of two adjacent pieces; `first_length` is the number of bytes of the first.
constexpr uint64_t combine(uint64_t first, size_t first_length, uint64_t second) {
  // At an odd position every byte changes its place in the word, which a rotation by one byte undoes (RFC 1071 2 B).
  return add_sums(first, (first_length & 1) != 0 ? (second << 8 | second >> 56) : second);
}

/// Partial sum of the pseudo-header, both families. `length` is that of the transport header and payload, or 0 where
/// the device adds it per segment.
inline uint64_t pseudo_sum(const IpAddr& source, const IpAddr& destination, uint8_t protocol, uint32_t length) {
  // The mapped form of an IPv4 address adds one word 0xffff, which is zero in ones-complement, so one sum serves both.
  const auto* s = reinterpret_cast<const std::byte*>(source.bytes().data());
  const auto* d = reinterpret_cast<const std::byte*>(destination.bytes().data());
  unsigned __int128 sum = load_native<uint64_t>(s);
  sum += load_native<uint64_t>(s + 8);
  sum += load_native<uint64_t>(d);
  sum += load_native<uint64_t>(d + 8);
  sum += sum_be32(length) + sum_be16(protocol);
  return detail::fold_128(sum);
}

/// Checksum field after one covered 16-bit word changed from `before` to `after`; all host order. RFC 1624 eqn. 3.
constexpr uint16_t update_checksum(uint16_t field, uint16_t before, uint16_t after) {
  uint32_t sum = static_cast<uint16_t>(~field);
  sum += static_cast<uint16_t>(~before);
  sum += after;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}
constexpr uint16_t update_checksum32(uint16_t field, uint32_t before, uint32_t after) {
  field = update_checksum(field, static_cast<uint16_t>(before >> 16), static_cast<uint16_t>(after >> 16));
  return update_checksum(field, static_cast<uint16_t>(before), static_cast<uint16_t>(after));
}

/// Sums pieces of any length, one after the other.
class Checksum {
 public:
  constexpr Checksum() = default;
  /// Continues a partial sum over an even number of bytes, such as a pseudo-header.
  constexpr explicit Checksum(uint64_t sum) : sum_(sum) {}

  void add(Bytes bytes) { add_sum(sum_bytes(bytes), bytes.size()); }
  /// Adds a piece whose partial sum is known.
  constexpr void add_sum(uint64_t sum, size_t length) {
    sum_ = combine(sum_, odd_ ? 1 : 0, sum);
    odd_ ^= (length & 1) != 0;
  }
  constexpr void add16(uint16_t host_order) { add_sum(sum_be16(host_order), 2); }
  constexpr void add32(uint32_t host_order) { add_sum(sum_be32(host_order), 4); }

  [[nodiscard]] constexpr uint64_t sum() const { return sum_; }
  /// The checksum field, host order.
  [[nodiscard]] constexpr uint16_t finish() const { return wire::finish(sum_); }
  [[nodiscard]] constexpr bool is_valid() const { return wire::is_valid(sum_); }

 private:
  uint64_t sum_ = 0;
  bool odd_ = false;
};

}  // namespace millrace::wire
