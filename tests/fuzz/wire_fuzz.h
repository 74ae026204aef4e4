// What the fuzzers of wire formats share: a check that cannot be compiled out, and exact copies of pieces, so that the
// address sanitizer sees a read one byte outside.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "wire/bytes.h"

#define FUZZ_CHECK(expression)  \
  do {                          \
    if (!(expression)) abort(); \
  } while (false)

namespace millrace::wire {

/// A heap copy of exactly these bytes.
class Exact {
 public:
  explicit Exact(Bytes bytes) : data_(new std::byte[bytes.size()]), size_(bytes.size()) {
    if (size_ != 0) std::memcpy(data_.get(), bytes.data(), size_);
  }
  [[nodiscard]] Bytes bytes() const { return {data_.get(), size_}; }
  [[nodiscard]] MutableBytes mutable_bytes() { return {data_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> data_;
  size_t size_;
};

inline Bytes input(const uint8_t* data, size_t size) { return {reinterpret_cast<const std::byte*>(data), size}; }

/// Whether `part` lies within `whole`.
inline bool within(Bytes part, Bytes whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

inline bool same(Bytes a, Bytes b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace millrace::wire
