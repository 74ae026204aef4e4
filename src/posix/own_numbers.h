// OwnNumbers: descriptor numbers that no kernel knows, for programs that are written for this stack. The lowest free
// one is given out, as POSIX asks. One bit a number, and two levels above that say which words are full.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "posix/descriptors.h"

namespace millrace::posix {

class OwnNumbers {
 public:
  static constexpr int kLimit = Descriptors::kPage * Descriptors::kPages;

  /// Numbers below `first` are never given out.
  explicit OwnNumbers(int first);

  /// The lowest free number, or -EMFILE.
  int take();
  /// The lowest free number from `least` on, or -EMFILE.
  int take_from(int least);
  /// This very number: false if it is taken, too low or too high.
  bool claim(int number);
  void give(int number);
  [[nodiscard]] int first() const { return first_; }

 private:
  static constexpr size_t kWord = 64;
  [[nodiscard]] bool taken(size_t n) const { return (words_[n / kWord] >> (n % kWord) & 1) != 0; }
  void mark(size_t n);

  int first_;
  std::vector<uint64_t> words_;   // a bit for each number that is taken
  std::vector<uint64_t> full_;    // a bit for each word of words_ that has no free number
  std::vector<uint64_t> fuller_;  // a bit for each word of full_ that is all ones
};

}  // namespace millrace::posix
