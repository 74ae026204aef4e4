// What a load run found, as values, text and JSON.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "common/histogram.h"
#include "load/options.h"
#include "load/response_checker.h"

namespace millrace::load {

enum class ErrorKind : uint8_t { kConnect, kReset, kEnded, kSyntax, kStatus, kLength, kContent, kUnanswered, kCount };
inline constexpr const char* kErrorNames[] = {"connect", "reset",  "ended early", "syntax",
                                              "status",  "length", "content",     "unanswered"};

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
  uint64_t late = 0;          ///< requests that were due and could not be started at all

  [[nodiscard]] uint64_t error_count() const;
  [[nodiscard]] bool good() const { return measured && responses > 0 && error_count() == 0; }
  [[nodiscard]] std::string text(const Options& options) const;
  [[nodiscard]] std::string json(const Options& options) const;
};

}  // namespace millrace::load
