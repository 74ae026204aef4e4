// What a call returns: a number, or the errno that Linux gives.
#pragma once

#include <tl/expected.hpp>

#include "millrace/errno.h"

namespace millrace::packetdrill {

using Outcome = tl::expected<long, int>;

[[nodiscard]] inline tl::unexpected<int> failed(int error) { return tl::unexpected<int>(error); }

}  // namespace millrace::packetdrill
