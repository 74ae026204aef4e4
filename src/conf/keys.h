// The keys of the configuration file that are not plain numbers: one row a key, which parser, flags and documentation
// share.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"

namespace millrace::conf {

/// A value as written, from TOML or from a flag. Flags give only text.
struct Value {
  enum class Kind : uint8_t { kText, kNumber, kSwitch, kList, kOther };
  Kind kind = Kind::kOther;
  std::string text{};
  int64_t number = 0;
  bool on = false;
  std::vector<Value> items{};
  std::string type_name{};  ///< "a string", for messages
  uint32_t line = 0;
  uint32_t column = 0;
  bool from_flag = false;
};

/// What a row's reader says: nothing when it took the value, otherwise what was expected ("an address with a prefix
/// length, such as \"198.18.0.2/24\"").
using Expected = std::optional<std::string>;

template <class T>
struct KeyRow {
  std::string_view name;
  std::string_view type;
  std::string_view fallback;  ///< default, for the documentation
  std::string_view text;
  Expected (*read)(const Value&, T&);
};

[[nodiscard]] std::span<const KeyRow<Config>> top_rows();
[[nodiscard]] std::span<const KeyRow<Interface>> interface_rows();
[[nodiscard]] std::span<const KeyRow<Route>> route_rows();
[[nodiscard]] std::span<const KeyRow<Dpdk>> dpdk_rows();

/// A whole number in a range; from a flag also as text.
[[nodiscard]] Expected read_number(const Value& value, int64_t least, int64_t greatest, int64_t& into);
/// A number in the setting's range, or one of its words.
[[nodiscard]] Expected read_setting(const Value& value, const Setting& setting, int64_t& into);

}  // namespace millrace::conf
