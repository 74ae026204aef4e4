#include "runtime/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::runtime {
namespace {

std::string shown(const Table::Cell& cell) {
  if (cell.is_string()) return cell.get<std::string>();
  if (cell.is_number_float()) return fmt::format("{:.1f}", cell.get<double>());
  return cell.dump();
}

}  // namespace

std::string Table::text() const {
  std::vector<size_t> widths;
  std::vector<bool> numeric(columns_.size(), !rows_.empty());
  for (const std::string& column : columns_) widths.push_back(column.size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], shown(row[i]).size());
      numeric[i] = numeric[i] && row[i].is_number();
    }
  }
  std::string out;
  const auto line = [&](auto&& cell) {
    std::string text;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (i != 0) text += "  ";
      text += numeric[i] ? fmt::format("{:>{}}", cell(i), widths[i]) : fmt::format("{:<{}}", cell(i), widths[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + '\n';
  };
  line([&](size_t i) { return columns_[i]; });
  for (const auto& row : rows_) {
    line([&](size_t i) { return i < row.size() ? shown(row[i]) : std::string(); });
  }
  return out;
}

std::string Table::json() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& row : rows_) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (size_t i = 0; i < row.size(); ++i) object[columns_[i]] = row[i];
    list.push_back(std::move(object));
  }
  return list.dump(2) + '\n';
}

}  // namespace millrace::runtime
