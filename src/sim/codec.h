// Little-endian writing and reading of plain values, for recordings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "base/assert.h"
#include "sim/frame.h"

namespace millrace::sim {

class Writer {
 public:
  void u8(uint8_t v) { out_.push_back(v); }
  void u64(uint64_t v) {  // LEB128: most values are small
    while (v >= 0x80) {
      out_.push_back(static_cast<uint8_t>(v | 0x80));
      v >>= 7;
    }
    out_.push_back(static_cast<uint8_t>(v));
  }
  void fixed(uint64_t v) {
    const size_t at = out_.size();
    out_.resize(at + 8);
    std::memcpy(&out_[at], &v, 8);
  }
  void bytes(std::span<const uint8_t> data) {
    u64(data.size());
    out_.insert(out_.end(), data.begin(), data.end());
  }
  void bytes(std::span<const std::byte> data) { bytes({reinterpret_cast<const uint8_t*>(data.data()), data.size()}); }
  void string(const std::string& s) { bytes({reinterpret_cast<const uint8_t*>(s.data()), s.size()}); }
  [[nodiscard]] const Bytes& out() const { return out_; }
  [[nodiscard]] Bytes take() { return std::move(out_); }

 private:
  Bytes out_;
};

/// Reading past the end gives zeros and sets bad().
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> in) : in_(in) {}
  uint8_t u8() {
    if (in_.empty()) {
      bad_ = true;
      return 0;
    }
    const uint8_t v = in_.front();
    in_ = in_.subspan(1);
    return v;
  }
  uint64_t u64() {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = u8();
      v |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) break;
    }
    return v;
  }
  uint64_t fixed() {
    uint64_t v = 0;
    if (in_.size() < 8) {
      bad_ = true;
      return 0;
    }
    std::memcpy(&v, in_.data(), 8);
    in_ = in_.subspan(8);
    return v;
  }
  std::span<const uint8_t> bytes() {
    const uint64_t n = u64();
    if (n > in_.size()) {
      bad_ = true;
      return {};
    }
    const auto out = in_.first(n);
    in_ = in_.subspan(n);
    return out;
  }
  std::string string() {
    const auto b = bytes();
    return {b.begin(), b.end()};
  }
  [[nodiscard]] bool empty() const { return in_.empty(); }
  [[nodiscard]] bool bad() const { return bad_; }
  [[nodiscard]] size_t left() const { return in_.size(); }

 private:
  std::span<const uint8_t> in_;
  bool bad_ = false;
};

}  // namespace millrace::sim
