#include "posix/descriptors.h"

#include <new>

namespace millrace::posix {

bool Descriptors::set(int fd, File* file) {
  if (static_cast<unsigned>(fd) >= unsigned{kPage} * kPages) return false;
  std::atomic<Page*>& slot = pages_[static_cast<size_t>(fd / kPage)];
  Page* page = slot.load(std::memory_order_relaxed);
  if (page == nullptr) {
    if (file == nullptr) return true;
    page = new (std::nothrow) Page;
    if (page == nullptr) return false;
    slot.store(page, std::memory_order_release);
  }
  page->files[static_cast<size_t>(fd % kPage)].store(file, std::memory_order_release);
  return true;
}

}  // namespace millrace::posix
