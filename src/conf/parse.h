// Text to Config. Reads no files and applies nothing: either all of a configuration is right, or the first problem is
// named with its place and what was expected there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "conf/config.h"

namespace millrace::conf {

/// What is wrong and where.
struct Problem {
  std::string file;     ///< or the flag it came from
  uint32_t line = 0;    ///< from 1; 0 if there are no lines
  uint32_t column = 0;  ///< from 1
  std::string message;

  /// "site.toml:4:3: unknown key 'adress' in [interface.mr0]; did you mean 'address'?"
  [[nodiscard]] std::string to_string() const;
};

/// Reads a TOML document over `base`. `file` only serves messages. A document that names interfaces replaces all of
/// base's.
[[nodiscard]] tl::expected<Config, Problem> parse_toml(std::string_view text, std::string_view file,
                                                       const Config& base = {});

/// Reads "NAME[,key=value...]" with the keys of [interface.NAME]. Keys that take a list may be repeated. `device` must
/// come last: it takes the rest, commas included. If `config` has that interface it is changed, otherwise added.
[[nodiscard]] tl::expected<void, Problem> parse_interface_flag(std::string_view text, Config& config);

/// Reads "section.name=value" for a setting.
[[nodiscard]] tl::expected<void, Problem> parse_set_flag(std::string_view text, Config& config);

/// Looks at the whole: what each key alone cannot show. parse_toml() has done it already for what the file says.
[[nodiscard]] tl::expected<void, Problem> check(const Config& config, std::string_view source);

/// The interface of a configuration that names none: TAP mr0 between 198.18.0.1 (the kernel) and 198.18.0.2 (the
/// stack), and fd00:6d72::1 and ::2.
[[nodiscard]] Interface default_interface();
/// "tap" for the names mr0, mr1 ...; any other plain name is an interface of the kernel: "xdp".
[[nodiscard]] std::string default_driver(const Interface& interface);
/// Names every interface's driver, and gives a TAP interface without addresses the default ones.
void fill_defaults(Config& config);

/// Of `candidates`, the one nearest to `word` by edit distance if it is near enough to be meant, or empty.
[[nodiscard]] std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace millrace::conf
