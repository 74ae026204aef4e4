// What a load run found, as values, text and JSON.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/histogram.h"
#include "load/options.h"
#include "load/response_checker.h"

namespace millrace::load {

enum class ErrorKind : uint8_t {
  kConnect,  ///< a connect that failed otherwise than the next three
  kRefused, kTimedOut, kUnreachable, kReset, kEnded, kSyntax, kStatus, kLength, kContent, kUnanswered, kCount
};
inline constexpr const char* kErrorNames[] = {"not connected", "refused", "timed out", "unreachable",
                                              "reset",         "ended early", "syntax", "status",
                                              "length",        "content",     "unanswered"};

struct Report {
  bool measured = false;      ///< the measurement ran to its end
  std::string failure;        ///< why not
  double seconds = 0;
  uint64_t responses = 0;
  uint64_t body_bytes = 0;
  uint64_t connects = 0;      ///< connections opened during the measurement
  double hz = 1;              ///< cycles a second; the histograms are in cycles
  apps::Histogram latency;
  apps::Histogram connect_latency;
  std::array<uint64_t, static_cast<size_t>(ErrorKind::kCount)> errors{};
  uint64_t busy_cycles = 0;   ///< of the generator's loop turns that did something; 0: not counted
  double connect_seconds = 0; ///< until all connections were open
  uint64_t forged = 0;        ///< SYNs from addresses that do not exist, over the whole run
  uint64_t late = 0;          ///< requests that were due and could not be started at all
  /// Busy cycles of the generator by stage of its loop, where they were counted.
  std::vector<std::pair<std::string, uint64_t>> stage_cycles{};
  /// What a link without losses never shows and was seen all the same, by name (templates only).
  std::vector<std::pair<std::string, uint64_t>> oddities{};

  [[nodiscard]] uint64_t error_count() const;
  /// "3 refused, 1 reset"; empty without errors.
  [[nodiscard]] std::string error_text() const;
  [[nodiscard]] bool good() const { return measured && responses > 0 && error_count() == 0; }
  [[nodiscard]] std::string text(const Options& options) const;
  [[nodiscard]] std::string json(const Options& options) const;
};

}  // namespace millrace::load
