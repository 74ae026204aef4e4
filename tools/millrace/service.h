// The service that `millrace run` attaches programs to: finding it, and starting one where none runs.
#pragma once

#include <string>
#include <vector>

#include "runtime/failure.h"

namespace millrace::tool {

/// Makes sure that programs of this user can attach at `path`. If nobody listens there, millraced, which lies in
/// `folder`, is started with `flags`; it ends by itself when it has been idle for a while. Returns whether it was.
[[nodiscard]] runtime::Outcome<bool> have_service(const std::string& path, const std::string& folder,
                                                  const std::vector<std::string>& flags);

}  // namespace millrace::tool
