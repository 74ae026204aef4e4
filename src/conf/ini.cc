// Text to entries.
#include "conf/fstack.h"

namespace millrace::conf {
namespace {

std::string_view trim(std::string_view s) {
  constexpr std::string_view kSpace = " \t\r\f\v";
  const size_t first = s.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(kSpace) - first + 1);
}

// Without a comment: a semicolon behind a space.
std::string_view without_comment(std::string_view s) {
  for (size_t i = 1; i < s.size(); ++i) {
    if (s[i] == ';' && (s[i - 1] == ' ' || s[i - 1] == '\t')) return s.substr(0, i);
  }
  return s;
}

}  // namespace

tl::expected<std::vector<IniEntry>, Problem> parse_ini(std::string_view text, std::string_view file) {
  std::vector<IniEntry> entries;
  std::string section;
  uint32_t number = 0;
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    const auto bad = [&](std::string message) {
      return tl::unexpected(Problem{std::string(file), number, 1, std::move(message)});
    };
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      const size_t close = line.find(']');
      if (close == std::string_view::npos) return bad("a section without its ']'; expected [name]");
      section = trim(line.substr(1, close - 1));
      continue;
    }
    const size_t equals = line.find_first_of("=:");
    if (equals == std::string_view::npos || equals == 0) return bad("no key; expected key=value or [section]");
    entries.push_back({section, std::string(trim(line.substr(0, equals))),
                       std::string(trim(without_comment(line.substr(equals + 1)))), number});
  }
  return entries;
}

}  // namespace millrace::conf
