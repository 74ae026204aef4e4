// What the control socket changes: links, addresses, routes, neighbours and settings. A command becomes one request of
// the worker between two turns of its loop, so that no packet in flight notices.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "conf/settings.h"
#include "runtime/failure.h"
#include "runtime/report.h"

namespace millrace::runtime {

/// Whether a setting may change while the program runs; the others hold from the start.
[[nodiscard]] bool may_change(const conf::Setting& setting);

/// Whether `words` begin a command, rather than a question of report.h.
[[nodiscard]] bool is_command(std::span<const std::string_view> words);

/// Carries it out and says what was done, or why not:
///
///   link IF up|down
///   address add IF PREFIX | address delete IF ADDRESS
///   route add PREFIX|default [via GATEWAY] [dev IF] [metric N] [table N]
///   route delete PREFIX|default [dev IF] [table N]
///   neighbour add IF ADDRESS MAC | neighbour delete ADDRESS [dev IF] | neighbour flush [IF]
///   set SECTION.NAME VALUE
[[nodiscard]] Outcome<std::string> command(std::span<const std::string_view> words, const Observed& observed);

}  // namespace millrace::runtime
