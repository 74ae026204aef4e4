// A table of named columns, shown as aligned text or as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace millrace::runtime {

class Table {
 public:
  using Cell = nlohmann::ordered_json;  // text, a number or true/false
  explicit Table(std::vector<std::string> columns) : columns_(std::move(columns)) {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] size_t size() const { return rows_.size(); }

  /// Columns of numbers are aligned to the right.
  [[nodiscard]] std::string text() const;
  /// A list of objects.
  [[nodiscard]] std::string json() const;

 private:
  std::vector<std::string> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace millrace::runtime
