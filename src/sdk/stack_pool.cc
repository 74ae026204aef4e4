#include "sdk/stack_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <new>

#include "base/assert.h"

namespace millrace::sdk {
namespace {

constexpr uint64_t kCanary = 0x6d696c6c72616365;

size_t page_size() {
  static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

StackPool::~StackPool() {
  for (const Stack& s : all_) {
    const size_t guard = s.guarded ? page_size() : 0;
    munmap(s.low - guard, s.size + guard);
  }
}

Stack StackPool::take(size_t size) {
  size = (size + page_size() - 1) / page_size() * page_size();
  std::vector<Stack>& free = free_[size];
  if (!free.empty()) {
    const Stack s = free.back();
    free.pop_back();
    return s;
  }
  const bool guarded = guards_ < kGuarded;
  const size_t guard = guarded ? page_size() : 0;
  void* const at =
      mmap(nullptr, size + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  Stack s{static_cast<std::byte*>(at) + guard, size, guarded};
  if (guarded) {
    if (mprotect(at, guard, PROT_NONE) != 0) {
      munmap(at, size + guard);
      throw std::bad_alloc();
    }
    ++guards_;
  } else {
    std::memcpy(s.low, &kCanary, sizeof kCanary);
  }
  all_.push_back(s);
  return s;
}

void StackPool::give(const Stack& stack) {
  check(stack);
  std::vector<Stack>& free = free_[stack.size];
  if (free.size() >= kWarm) {
    const size_t kept = stack.guarded ? 0 : page_size();  // the canary's
    madvise(stack.low + kept, stack.size - kept, MADV_DONTNEED);
  }
  free.push_back(stack);
}

void StackPool::check(const Stack& stack) {
  if (stack.guarded) return;
  uint64_t found = 0;
  std::memcpy(&found, stack.low, sizeof found);
  MR_ASSERT(found == kCanary);  // a microthread needs a larger stack
}

}  // namespace millrace::sdk
