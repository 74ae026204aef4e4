#include "client.h"

#include <fmt/format.h>

#include <filesystem>
#include <vector>

#include "runtime/control.h"
#include "runtime/table.h"

namespace millrace::tool {
namespace {

namespace fs = std::filesystem;

Outcome<std::string> socket_of(const Target& target) {
  if (!target.control.empty()) return target.control;
  if (!target.program.empty()) return fmt::format("{}/{}.sock", runtime::kControlDirectory, target.program);
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(runtime::kControlDirectory, error)) {
    if (entry.path().extension() == ".sock") found.push_back(entry.path());
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return failure(fmt::format("no program listens in {}", runtime::kControlDirectory),
                   "start one, or name its socket with --control PATH");
  }
  return failure(fmt::format("{} programs are running: {}", found.size(), fmt::join(found, ", ")),
                 "name one with --program INTERFACE or --control PATH");
}

Outcome<std::string> ask_raw(const Target& target, const std::string& question) {
  const auto path = socket_of(target);
  if (!path) return tl::unexpected<Failure>(path.error());
  return runtime::ask(*path, question);
}

}  // namespace

void add_flags(CLI::App& command, Target& target) {
  command.add_option("--control", target.control, "socket of the program to ask");
  command.add_option("--program,--interface", target.program, "ask the program that has this interface");
  command.add_flag("--json", target.json, "answer as JSON");
}

int complain(const Failure& what, int status) {
  fmt::print(stderr, "millrace: {}\n", what.to_string());
  return status;
}

Outcome<std::string> ask_text(const Target& target, std::string question) {
  if (target.json) question += " json";
  auto answer = ask_raw(target, question);
  constexpr std::string_view kError = "error: ";
  if (answer && answer->starts_with(kError)) return failure(answer->substr(kError.size(), answer->size() - 8));
  return answer;
}

Outcome<Json> ask(const Target& target, const std::string& question) {
  const auto answer = ask_raw(target, question + " json");
  if (!answer) return tl::unexpected<Failure>(answer.error());
  Json json = Json::parse(*answer, nullptr, false);
  if (json.is_discarded()) return failure(fmt::format("the answer is not understood: {}", *answer));
  if (json.is_object() && json.contains("error")) return failure(json["error"].get<std::string>());
  return json;
}

int change(const Target& target, const std::string& command) {
  const auto done = ask(target, command);
  if (!done) return complain(done.error());
  if (target.json) {
    print_json(*done);
  } else {
    fmt::print("{}\n", (*done)["done"].get<std::string>());
  }
  return 0;
}

void print_rows(const Json& rows, const std::vector<std::string>& keys, const std::vector<std::string>& titles) {
  runtime::Table table(titles);
  for (const Json& row : rows) {
    std::vector<Json> cells;
    cells.reserve(keys.size());
    for (const std::string& key : keys) cells.push_back(row.contains(key) ? row[key] : Json(""));
    table.add(std::move(cells));
  }
  fmt::print("{}", table.text());
}

void print_json(const Json& rows) { fmt::print("{}\n", rows.dump(2)); }

int show(const Target& target, const std::string& question, const std::vector<std::string>& keys,
         const std::vector<std::string>& titles) {
  const auto rows = ask(target, question);
  if (!rows) return complain(rows.error());
  if (target.json) {
    print_json(*rows);
  } else {
    print_rows(*rows, keys, titles);
  }
  return 0;
}

int show_routes(const Target& target, const std::string& question) {
  return show(target, question, {"prefix", "gateway", "interface", "metric", "table"},
              {"Destination", "Gateway", "Interface", "Metric", "Table"});
}

}  // namespace millrace::tool
