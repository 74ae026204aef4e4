// A SipHash key that changes with time: one for each epoch, all derived from one secret, so that every worker of a
// process has the same and a recording replays. What an old key made stays checkable for as long as its epoch is asked
// for.
#pragma once

#include <array>
#include <cstdint>

#include "base/siphash.h"

namespace millrace::base {

class RotatingKey {
 public:
  explicit RotatingKey(const SipKey& secret) : secret_(secret) {}

  /// The key of `epoch`. The last two that were asked for are kept, if one is even and the other odd.
  [[nodiscard]] const SipKey& at(uint64_t epoch) {
    Entry& entry = entries_[epoch & 1];
    if (entry.epoch != epoch) {
      entry.epoch = epoch;
      entry.key.k0 = siphash(secret_, std::array<uint64_t, 2>{epoch, 0});
      entry.key.k1 = siphash(secret_, std::array<uint64_t, 2>{epoch, 1});
    }
    return entry.key;
  }

 private:
  struct Entry {
    uint64_t epoch = UINT64_MAX;
    SipKey key;
  };
  SipKey secret_;
  std::array<Entry, 2> entries_{};
};

/// A key for another purpose than `secret`'s own; `purpose` tells them apart.
[[nodiscard]] inline SipKey derived_key(const SipKey& secret, uint64_t purpose) {
  return {siphash(secret, std::array<uint64_t, 3>{purpose, 0, 0}),
          siphash(secret, std::array<uint64_t, 3>{purpose, 1, 0})};
}

}  // namespace millrace::base
