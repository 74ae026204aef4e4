#include "posix/own_numbers.h"

#include <algorithm>
#include <bit>
#include <cerrno>

namespace millrace::posix {
namespace {

constexpr uint64_t kFull = ~uint64_t{0};

}  // namespace

OwnNumbers::OwnNumbers(int first)
    : first_(std::clamp(first, 0, kLimit - 1)),
      words_(size_t{kLimit} / kWord),
      full_(words_.size() / kWord),
      fuller_(full_.size() / kWord) {
  for (int n = 0; n < first_; ++n) mark(static_cast<size_t>(n));
}

void OwnNumbers::mark(size_t n) {
  const auto set = [](std::vector<uint64_t>& bits, size_t at) {
    bits[at / kWord] |= uint64_t{1} << (at % kWord);
    return bits[at / kWord] == kFull;
  };
  if (set(words_, n) && set(full_, n / kWord)) (void)set(fuller_, n / kWord / kWord);
}

int OwnNumbers::take() {
  for (size_t i = 0; i < fuller_.size(); ++i) {
    if (fuller_[i] == kFull) continue;
    const size_t above = i * kWord + static_cast<size_t>(std::countr_one(fuller_[i]));
    const size_t word = above * kWord + static_cast<size_t>(std::countr_one(full_[above]));
    const size_t n = word * kWord + static_cast<size_t>(std::countr_one(words_[word]));
    mark(n);
    return static_cast<int>(n);
  }
  return -EMFILE;
}

int OwnNumbers::take_from(int least) {
  for (int n = std::max(least, first_); n < kLimit; ++n) {
    if (claim(n)) return n;
  }
  return -EMFILE;
}

bool OwnNumbers::claim(int number) {
  if (number < first_ || number >= kLimit || taken(static_cast<size_t>(number))) return false;
  mark(static_cast<size_t>(number));
  return true;
}

void OwnNumbers::give(int number) {
  if (number < first_ || number >= kLimit) return;
  const auto clear = [](std::vector<uint64_t>& bits, size_t at) { bits[at / kWord] &= ~(uint64_t{1} << (at % kWord)); };
  const auto n = static_cast<size_t>(number);
  clear(words_, n);
  clear(full_, n / kWord);
  clear(fuller_, n / kWord / kWord);
}

}  // namespace millrace::posix
