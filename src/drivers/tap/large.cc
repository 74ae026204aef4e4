#include "drivers/tap/large.h"

#include <algorithm>
#include <new>

namespace millrace::drivers::tap {
namespace {

constexpr size_t kGrowBytes = size_t{2} << 20;

void give_back(void*, void* opaque) {
  auto* buffer = static_cast<LargeBuffer*>(opaque);
  buffer->pool->give(buffer);
}

}  // namespace

LargeBuffer* LargePool::take() {
  if (free_ == nullptr && !grow()) return nullptr;
  LargeBuffer* buffer = free_;
  free_ = buffer->next;
  ++used_;
  return buffer;
}

bool LargePool::grow() {
  const size_t bytes = std::min(kGrowBytes, left_) / kBytes * kBytes;
  if (bytes == 0) return false;
  const base::Region region = memory_.allocate(bytes);
  if (region.base == nullptr) return false;
  left_ -= bytes;
  for (size_t at = bytes; at != 0; at -= kBytes) {
    auto* buffer = new (region.base + at - kBytes) LargeBuffer;
    buffer->ext.release = give_back;
    buffer->ext.opaque = buffer;
    buffer->pool = this;
    buffer->iova = region.io_base + (at - kBytes) + sizeof(LargeBuffer);
    buffer->next = free_;
    free_ = buffer;
  }
  return true;
}

}  // namespace millrace::drivers::tap
