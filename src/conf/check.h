// Checks over a whole configuration, and the words that parsers share.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"

namespace millrace::conf {

struct Flaw {
  std::vector<std::string> path;  ///< keys from the top of the file, e.g. {"tcp", "port_low"}; list items by number
  std::string message;
};

/// The first contradiction between keys, if any.
[[nodiscard]] std::optional<Flaw> find_flaw(const Config& config);

/// "unknown key 'adress' in [interface.mr0]; did you mean 'address'?"
[[nodiscard]] std::string unknown_message(std::string_view what, std::string_view word, std::string_view where,
                                          std::span<const std::string_view> known);

}  // namespace millrace::conf
