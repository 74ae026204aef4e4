// Byte strings for tests of wire formats: hex("45 00 00 54") and shortened or altered copies of them.
#pragma once

#include <cctype>
#include <cstddef>
#include <string_view>
#include <vector>

namespace millrace::wire {

/// Pairs of hexadecimal digits; everything else separates.
inline std::vector<std::byte> hex(std::string_view text) {
  std::vector<std::byte> out;
  int high = -1;
  for (const char c : text) {
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) continue;
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<std::byte>(high << 4 | digit));
      high = -1;
    }
  }
  return out;
}

inline std::vector<std::byte> with(std::vector<std::byte> bytes, size_t at, int value) {
  bytes.at(at) = static_cast<std::byte>(value);
  return bytes;
}

inline std::vector<std::byte> cut(std::vector<std::byte> bytes, size_t size) {
  bytes.resize(size);
  return bytes;
}

inline std::vector<std::byte> operator+(std::vector<std::byte> a, const std::vector<std::byte>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace millrace::wire
