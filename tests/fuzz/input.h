// A fuzzer's input as a stream of numbers: what is missing reads as 0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  [[nodiscard]] bool empty() const { return left_ == 0; }
  uint8_t u8() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  uint16_t u16() { return static_cast<uint16_t>(u8() << 8 | u8()); }
  uint32_t u32() { return static_cast<uint32_t>(u16()) << 16 | u16(); }
  /// Small numbers mostly, now and then any.
  int32_t delta() {
    const uint8_t kind = u8();
    if (kind < 160) return static_cast<int8_t>(kind % 16) - 4;
    if (kind < 240) return static_cast<int16_t>(u16());
    return static_cast<int32_t>(u32());
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

}  // namespace millrace::fuzz
