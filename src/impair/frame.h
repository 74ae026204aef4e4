// What a path must know of a frame's bytes: whether the whole packet is there, and the congestion mark.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace::impair {

/// Bytes that the frame should have at least by its IP header; 0 if it carries no IPv4 or IPv6.
[[nodiscard]] uint32_t length_by_header(std::span<const std::byte> frame);

/// Sets congestion experienced on an IPv4 or IPv6 frame whose sender is ready for it (RFC 3168 5), and mends the IPv4
/// header's checksum. Whether it did.
bool mark_congestion(std::span<std::byte> frame);

}  // namespace millrace::impair
