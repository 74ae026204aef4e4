// Remembers requests by their exact bytes. Clients send the same few requests again and again; what the parser said
// about a sequence of bytes that ended with a whole request holds for every later occurrence of that sequence.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "httpd/site.h"

namespace millrace::httpd {

class Memo {
 public:
  static constexpr size_t kMaxRequest = 496;

  struct Entry {
    uint32_t bytes = 0;
    Plan plan;
    std::array<char, kMaxRequest> text;
  };

  /// The entry of the request that `data` begins with, if it is known.
  [[nodiscard]] const Entry* find(std::string_view data) const {
    if (data.size() < kLeast) return nullptr;
    const Entry& entry = entries_[slot(data.data())];
    const bool same = entry.bytes != 0 && entry.bytes <= data.size() &&
                      std::memcmp(entry.text.data(), data.data(), entry.bytes) == 0;
    return same ? &entry : nullptr;
  }

  /// Remembers a whole request without a body; ones that are too short or too long are not worth it.
  void remember(std::string_view request, const Plan& plan) {
    if (request.size() < kLeast || request.size() > kMaxRequest) return;
    Entry& entry = entries_[slot(request.data())];
    std::memcpy(entry.text.data(), request.data(), request.size());
    entry.bytes = static_cast<uint32_t>(request.size());
    entry.plan = plan;
  }

 private:
  static constexpr size_t kLeast = 18;
  static constexpr size_t kSlots = 64;

  /// From bytes 4 to 16: the target behind "GET ". At least kLeast bytes are there, "GET / HTTP/1.0\r\n\r\n".
  static size_t slot(const char* text) {
    uint64_t low;
    uint64_t high;
    std::memcpy(&low, text + 4, 8);
    std::memcpy(&high, text + 9, 8);
    return ((low * 0x9e3779b97f4a7c15ULL) ^ (high * 0xc2b2ae3d27d4eb4fULL)) >> 58;
  }

  std::array<Entry, kSlots> entries_{};
};

}  // namespace millrace::httpd
