// The caller's memory, which may not be there: Linux answers EFAULT where a plain copy would end the process.
#pragma once

#include <cstddef>
#include <span>

namespace millrace::packetdrill {

/// Whether all of [from, from + bytes) can be copied from; what was is in `into`.
[[nodiscard]] bool copy_from_caller(std::span<std::byte> into, const void* from);
/// Whether all of `from` could be copied to `to`.
[[nodiscard]] bool copy_to_caller(void* to, std::span<const std::byte> from);

}  // namespace millrace::packetdrill
