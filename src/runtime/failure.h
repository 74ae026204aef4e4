// Failures of the machine layer, for people: one clear sentence and a hint. They end a program with a non-zero status,
// never with a stack trace.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace millrace::runtime {

struct Failure {
  std::string what;  ///< "cannot open /dev/net/tun: permission denied"
  std::string hint;  ///< "run as root, or give the program CAP_NET_ADMIN"; may be empty

  /// Both on one line each.
  [[nodiscard]] std::string to_string() const { return hint.empty() ? what : what + "\n  hint: " + hint; }
};

template <class T>
using Outcome = tl::expected<T, Failure>;

[[nodiscard]] inline tl::unexpected<Failure> failure(std::string what, std::string hint = {}) {
  return tl::unexpected<Failure>(Failure{std::move(what), std::move(hint)});
}

}  // namespace millrace::runtime
