// Which File a descriptor number names. Looking is free of locks and allocations, so that it may happen in a signal
// handler and before anything is initialised; changing belongs to the lock of Stack.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

#include "posix/file.h"

namespace millrace::posix {

class Descriptors {
 public:
  static constexpr int kPage = 1'024;
  static constexpr int kPages = 1'024;

  Descriptors() = default;
  ~Descriptors() {
    for (auto& page : pages_) delete page.load(std::memory_order_relaxed);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  [[nodiscard]] File* find(int fd) const {
    if (static_cast<unsigned>(fd) >= unsigned{kPage} * kPages) return nullptr;
    const Page* page = pages_[static_cast<size_t>(fd / kPage)].load(std::memory_order_acquire);
    return page == nullptr ? nullptr : page->files[static_cast<size_t>(fd % kPage)].load(std::memory_order_acquire);
  }
  /// False: the number is too high, or there is no memory.
  bool set(int fd, File* file);
  /// Calls `visit(fd, file)` for every number from `first` to `last` that names a File.
  template <class Visit>
  void each(unsigned first, unsigned last, Visit&& visit) {
    for (size_t p = first / kPage; p < kPages && p <= last / kPage; ++p) {
      const Page* page = pages_[p].load(std::memory_order_acquire);
      if (page == nullptr) continue;
      for (unsigned i = 0; i < unsigned{kPage}; ++i) {
        const unsigned fd = static_cast<unsigned>(p) * kPage + i;
        File* file = page->files[i].load(std::memory_order_relaxed);
        if (file != nullptr && fd >= first && fd <= last) visit(static_cast<int>(fd), file);
      }
    }
  }

 private:
  struct Page {
    std::array<std::atomic<File*>, kPage> files{};
  };
  std::array<std::atomic<Page*>, kPages> pages_{};  // none is given back before the end: somebody may be looking
};

}  // namespace millrace::posix
