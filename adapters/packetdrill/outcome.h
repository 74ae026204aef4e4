// What a call returns: a number, or the errno that Linux gives. The only place where the core's errors become errnos.
#pragma once

#include <cerrno>
#include <tl/expected.hpp>

#include "millrace/result.h"

namespace millrace::packetdrill {

using Outcome = tl::expected<long, int>;

[[nodiscard]] inline tl::unexpected<int> failed(int error) { return tl::unexpected<int>(error); }

/// The errno that stands for `error`.
[[nodiscard]] int errno_of(Error error);

}  // namespace millrace::packetdrill
