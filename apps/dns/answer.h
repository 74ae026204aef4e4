// From the bytes of a query to the bytes of its answer, by the rules of an authoritative server that does not recurse.
// Read first: RFC 1034 4.3.2, RFC 2308 (negative answers), RFC 6891 (EDNS), RFC 4592 (wildcards).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dns/zone.h"

namespace millrace::dns {

/// Largest answer over UDP, whatever the client offers: what passes every path in one piece.
inline constexpr size_t kLargestUdp = 1'232;
inline constexpr size_t kSmallestUdp = 512;  // RFC 1035 4.2.1

/// Answers `query` into `out`. False: there is nothing to answer (it is no query). With `stream` the answer may be as
/// long as 65,535 bytes; otherwise, what is longer than the client and kLargestUdp allow is cut to nothing and marked
/// TC.
[[nodiscard]] bool answer(const Zone& zone, std::span<const std::byte> query, bool stream, std::vector<std::byte>& out);

}  // namespace millrace::dns
