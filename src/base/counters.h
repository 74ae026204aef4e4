// Named 64-bit counters of one worker. Each module lists its rows once and expands it with MILLRACE_COUNTERS; the enum,
// the names and the texts come from that list. Written by one thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace millrace::base {

struct CounterInfo {
  const char* name;  ///< as in netstat -s, e.g. "tcp.drop.bad_checksum"
  const char* text;
};

/// Enum must end with kCount.
template <class Enum>
class Counters {
 public:
  void add(Enum which, uint64_t n = 1) { values_[static_cast<size_t>(which)] += n; }
  [[nodiscard]] uint64_t get(Enum which) const { return values_[static_cast<size_t>(which)]; }
  [[nodiscard]] static constexpr size_t size() { return static_cast<size_t>(Enum::kCount); }

 private:
  std::array<uint64_t, static_cast<size_t>(Enum::kCount)> values_{};
};

}  // namespace millrace::base

// Use:  #define MY_ROWS(X) X(kBadChecksum, "my.bad_checksum", "segments with a wrong checksum")
//       MILLRACE_COUNTERS(MyCounter, kMyCounters, MY_ROWS)
#define MILLRACE_COUNTER_ID(id, name, text) id,
#define MILLRACE_COUNTER_ROW(id, name, text) ::millrace::base::CounterInfo{name, text},
#define MILLRACE_COUNTERS(Enum, table, ROWS)                \
  enum class Enum : uint16_t { ROWS(MILLRACE_COUNTER_ID) kCount }; \
  inline constexpr ::millrace::base::CounterInfo table[] = {ROWS(MILLRACE_COUNTER_ROW)};
