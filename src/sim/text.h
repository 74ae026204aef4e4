// Joins values into one line, for failure texts.
#pragma once

#include <sstream>
#include <string>

namespace millrace::sim {

template <class... Parts>
[[nodiscard]] std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace millrace::sim
