// TOML tables to rows.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "conf/check.h"
#include "conf/keys.h"
#include "conf/parse.h"

namespace millrace::conf {
namespace {

constexpr size_t kMaxInterfaceName = 15;  // IFNAMSIZ less the terminator

class Reader {
 public:
  Reader(std::string_view file, Config& config) : file_(file), config_(config) {}

  bool document(const toml::table& root);
  Problem take_problem() { return std::move(problem_); }

 private:
  template <class Place>
  bool fail_at(const Place& place, std::string message) {
    problem_ = {std::string(file_), place.line, place.column, std::move(message)};
    return false;
  }
  static const toml::source_position& begin(const toml::node& node) { return node.source().begin; }
  static const toml::source_position& begin(const toml::key& key) { return key.source().begin; }

  bool unknown_key(const toml::key& key, const std::string& where, std::span<const std::string_view> known);
  template <class T>
  bool keys(const toml::table& table, const std::string& title, std::span<const KeyRow<T>> rows, T& into);
  template <class T>
  bool key(const toml::key& key, const toml::node& node, const std::string& title, const KeyRow<T>& row, T& into);
  bool numbers(const toml::table& table, std::string_view section);
  bool top(const toml::key& key, const toml::node& node);
  bool interfaces(const toml::node& node);
  bool routes(const toml::node& node);
  const toml::table* table_of(const toml::node& node, const std::string& title);

  std::string_view file_;
  Config& config_;
  Problem problem_;
};

const char* type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "a list";
    case toml::node_type::string: return "a text";
    case toml::node_type::integer: return "a whole number";
    case toml::node_type::floating_point: return "a number with a fraction";
    case toml::node_type::boolean: return "true or false";
    default: return "a date or time";
  }
}

Value value_of(const toml::node& node) {
  Value value;
  value.line = node.source().begin.line;
  value.column = node.source().begin.column;
  value.type_name = type_name(node);
  if (const auto* text = node.as_string()) {
    value.kind = Value::Kind::kText;
    value.text = text->get();
  } else if (const auto* number = node.as_integer()) {
    value.kind = Value::Kind::kNumber;
    value.number = number->get();
  } else if (const auto* boolean = node.as_boolean()) {
    value.kind = Value::Kind::kSwitch;
    value.on = boolean->get();
  } else if (const auto* list = node.as_array()) {
    value.kind = Value::Kind::kList;
    for (const toml::node& item : *list) value.items.push_back(value_of(item));
  }
  return value;
}

std::string shown(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kText: return "\"" + value.text + "\"";
    case Value::Kind::kNumber: return std::to_string(value.number);
    case Value::Kind::kSwitch: return value.on ? "true" : "false";
    default: return value.type_name;
  }
}

bool Reader::unknown_key(const toml::key& key, const std::string& where, std::span<const std::string_view> known) {
  return fail_at(begin(key), unknown_message("key", key.str(), where, known));
}

template <class T>
bool Reader::key(const toml::key& key, const toml::node& node, const std::string& title, const KeyRow<T>& row,
                 T& into) {
  const Value value = value_of(node);
  auto expected = row.read(value, into);
  if (!expected) return true;
  return fail_at(begin(node), "'" + std::string(key.str()) + "' in " + title + " is " + shown(value) +
                                  "; expected " + *expected);
}

template <class T>
bool Reader::keys(const toml::table& table, const std::string& title, std::span<const KeyRow<T>> rows, T& into) {
  for (auto&& [name, node] : table) {
    const KeyRow<T>* found = nullptr;
    std::vector<std::string_view> known;
    for (const KeyRow<T>& row : rows) {
      if (row.name == name.str()) found = &row;
      known.push_back(row.name);
    }
    if (found == nullptr) return unknown_key(name, title, known);
    if (!key(name, node, title, *found, into)) return false;
  }
  return true;
}

bool Reader::numbers(const toml::table& table, std::string_view section) {
  const std::string title = "[" + std::string(section) + "]";
  for (auto&& [name, node] : table) {
    const Setting* setting = find_setting(section, name.str());
    if (setting == nullptr) {
      std::vector<std::string_view> known;
      for (const Setting& s : settings()) {
        if (s.section == section) known.push_back(s.name);
      }
      return unknown_key(name, title, known);
    }
    const Value value = value_of(node);
    if (auto expected = read_setting(value, *setting, setting->field(config_, *setting))) {
      return fail_at(begin(node), "'" + std::string(name.str()) + "' in " + title + " is " + shown(value) +
                                      "; expected " + *expected);
    }
  }
  return true;
}

const toml::table* Reader::table_of(const toml::node& node, const std::string& title) {
  const toml::table* table = node.as_table();
  if (table == nullptr) fail_at(begin(node), title + " is " + type_name(node) + "; expected a table");
  return table;
}

bool Reader::interfaces(const toml::node& node) {
  const toml::table* all = table_of(node, "'interface'");
  if (all == nullptr) return false;
  config_.interfaces.clear();
  for (auto&& [name, entry] : *all) {
    const std::string title = "[interface." + std::string(name.str()) + "]";
    const toml::table* table = entry.as_table();
    if (table == nullptr) {
      return fail_at(begin(name), "'" + std::string(name.str()) + "' in [interface] is " + type_name(entry) +
                                      "; expected a table [interface.NAME] for each interface");
    }
    if (name.str().empty() || name.str().size() > kMaxInterfaceName) {
      return fail_at(begin(name), "interface name '" + std::string(name.str()) + "' has " +
                                      std::to_string(name.str().size()) + " characters; expected 1 to 15");
    }
    Interface interface;
    interface.name = name.str();
    if (!keys(*table, title, interface_rows(), interface)) return false;
    config_.interfaces.push_back(std::move(interface));
  }
  return true;
}

bool Reader::routes(const toml::node& node) {
  const toml::array* all = node.as_array();
  if (all == nullptr) {
    return fail_at(begin(node), "'route' is " + std::string(type_name(node)) + "; expected [[route]]");
  }
  config_.routes.clear();
  for (const toml::node& entry : *all) {
    const toml::table* table = table_of(entry, "an item of 'route'");
    if (table == nullptr) return false;
    for (const char* required : {"prefix", "interface"}) {
      if (!table->contains(required)) {
        return fail_at(begin(entry), "[[route]] has no '" + std::string(required) + "'");
      }
    }
    Route route;
    if (!keys(*table, "[[route]]", route_rows(), route)) return false;
    config_.routes.push_back(route);
  }
  return true;
}

bool Reader::top(const toml::key& key, const toml::node& node) {
  const std::string_view name = key.str();
  if (name == "interface") return interfaces(node);
  if (name == "route") return routes(node);
  for (std::string_view section : {"worker", "loop", "tcp", "ip", "udp"}) {
    if (name != section) continue;
    const toml::table* table = table_of(node, "'" + std::string(section) + "'");
    return table != nullptr && numbers(*table, section);
  }
  if (name == "dpdk") {
    const toml::table* table = table_of(node, "'dpdk'");
    return table != nullptr && keys(*table, "[dpdk]", dpdk_rows(), config_.dpdk);
  }
  std::vector<std::string_view> known;
  for (const KeyRow<Config>& row : top_rows()) {
    if (row.name == name) return this->key(key, node, "the top of the file", row, config_);
    known.push_back(row.name);
  }
  known.insert(known.end(), {"interface", "route", "worker", "loop", "tcp", "ip", "udp", "dpdk"});
  return unknown_key(key, "the top of the file", known);
}

bool Reader::document(const toml::table& root) {
  for (auto&& [name, node] : root) {
    if (!top(name, node)) return false;
  }
  if (auto flaw = find_flaw(config_)) {
    // The place of the key that the flaw names, as far as the file has it.
    const toml::node* at = &root;
    for (const std::string& step : flaw->path) {
      const toml::node* next = nullptr;
      if (const toml::table* table = at->as_table()) next = table->get(step);
      if (const toml::array* list = at->as_array()) next = list->get(static_cast<size_t>(std::stoul(step)));
      if (next == nullptr) break;
      at = next;
    }
    return fail_at(begin(*at), std::move(flaw->message));
  }
  return true;
}

}  // namespace

tl::expected<Config, Problem> parse_toml(std::string_view text, std::string_view file, const Config& base) {
  const toml::parse_result result = toml::parse(text, file);
  if (!result) {
    const toml::parse_error& error = result.error();
    return tl::unexpected(Problem{std::string(file), error.source().begin.line, error.source().begin.column,
                                  "not TOML: " + std::string(error.description())});
  }
  Config config = base;
  Reader reader(file, config);
  if (!reader.document(result.table())) return tl::unexpected(reader.take_problem());
  return config;
}

}  // namespace millrace::conf
