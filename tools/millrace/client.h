// Asking running programs through their control sockets.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/failure.h"

namespace millrace::tool {

using Json = nlohmann::ordered_json;
using runtime::failure;
using runtime::Failure;
using runtime::Outcome;

inline constexpr int kFailed = 1;
inline constexpr int kBadUsage = 2;

/// Which program to ask, and how to print.
struct Target {
  std::string control;    ///< path of a control socket; empty: by `program`
  std::string program;    ///< an interface of the program; empty: the only one that runs
  bool json = false;
};

/// --control, --program (the interface that names the program's socket) and --json.
void add_flags(CLI::App& command, Target& target);

/// Prints "millrace: ..." on standard error; returns `status`.
int complain(const Failure& what, int status = kFailed);

/// The answer as text, as the program formats it; with target.json as JSON.
[[nodiscard]] Outcome<std::string> ask_text(const Target& target, std::string question);
/// The answer as JSON. What the program refuses is a Failure.
[[nodiscard]] Outcome<Json> ask(const Target& target, const std::string& question);

/// Asks for a change and says what was done.
int change(const Target& target, const std::string& command);

/// Columns `keys` of a list of objects, under `titles`, aligned; numbers to the right.
void print_rows(const Json& rows, const std::vector<std::string>& keys, const std::vector<std::string>& titles);
/// The list as JSON.
void print_json(const Json& rows);
/// Asks for a list and prints it, as rows or as JSON; the exit status.
int show(const Target& target, const std::string& question, const std::vector<std::string>& keys,
         const std::vector<std::string>& titles);
int show_routes(const Target& target, const std::string& question);

}  // namespace millrace::tool
