// Command-line forms of the same keys.
#include "conf/check.h"
#include "conf/keys.h"
#include "conf/parse.h"

namespace millrace::conf {
namespace {

constexpr size_t kMaxInterfaceName = 15;  // IFNAMSIZ less the terminator

tl::unexpected<Problem> problem(std::string_view flag, std::string message) {
  return tl::unexpected(Problem{std::string(flag), 0, 0, std::move(message)});
}

Value text_value(std::string_view text) {
  Value value;
  value.kind = Value::Kind::kText;
  value.text = text;
  value.from_flag = true;
  return value;
}

tl::expected<void, Problem> interface_key(std::string_view key, std::string_view text, Interface& interface) {
  std::vector<std::string_view> known;
  for (const KeyRow<Interface>& row : interface_rows()) {
    known.push_back(row.name);
    if (row.name != key) continue;
    if (auto expected = row.read(text_value(text), interface)) {
      return problem("--interface", "'" + std::string(key) + "' of " + interface.name + " is \"" + std::string(text) +
                                        "\"; expected " + *expected);
    }
    return {};
  }
  return problem("--interface", unknown_message("key", key, interface.name, known));
}

}  // namespace

tl::expected<void, Problem> parse_interface_flag(std::string_view text, Config& config) {
  const std::string_view name = text.substr(0, text.find(','));
  if (name.empty() || name.size() > kMaxInterfaceName || name.find('=') != std::string_view::npos) {
    return problem("--interface", "\"" + std::string(text) + "\" does not start with a name of 1 to 15 characters; " +
                                      "expected NAME[,key=value...]");
  }
  Interface interface;
  interface.name = name;
  Interface* existing = nullptr;
  for (Interface& other : config.interfaces) {
    if (other.name == name) existing = &other;
  }
  if (existing != nullptr) interface = *existing;
  text.remove_prefix(name.size());
  while (!text.empty()) {
    text.remove_prefix(1);
    const size_t equals = text.find('=');
    const std::string_view key = text.substr(0, equals);
    if (equals == std::string_view::npos) {
      return problem("--interface", "\"" + std::string(key) + "\" has no value; expected key=value");
    }
    text.remove_prefix(equals + 1);
    const size_t end = key == "device" ? text.size() : std::min(text.find(','), text.size());
    if (auto done = interface_key(key, text.substr(0, end), interface); !done) return done;
    text.remove_prefix(end);
  }
  if (existing != nullptr) {
    *existing = std::move(interface);
  } else {
    config.interfaces.push_back(std::move(interface));
  }
  return {};
}

tl::expected<void, Problem> parse_set_flag(std::string_view text, Config& config) {
  const size_t equals = text.find('=');
  const std::string_view path = text.substr(0, equals);
  if (equals == std::string_view::npos) {
    return problem("--set", "\"" + std::string(text) + "\" has no value; expected tcp.KEY=VALUE");
  }
  const size_t dot = path.find('.');
  const Setting* setting =
      dot == std::string_view::npos ? nullptr : find_setting(path.substr(0, dot), path.substr(dot + 1));
  if (setting == nullptr) {
    std::vector<std::string> names;
    for (const Setting& s : settings()) names.push_back(std::string(s.section) + "." + std::string(s.name));
    const std::vector<std::string_view> known(names.begin(), names.end());
    return problem("--set", unknown_message("key", path, "settings", known));
  }
  const Value value = text_value(text.substr(equals + 1));
  if (auto expected = read_setting(value, *setting, setting->field(config, *setting))) {
    return problem("--set", std::string(path) + " is \"" + value.text + "\"; expected " + *expected);
  }
  return {};
}

}  // namespace millrace::conf
