#include "posix/apart.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>

#include "posix/kernel.h"

namespace millrace::posix {
namespace {

constexpr int kFirst = 960;  // below the usual limit of 1,024
constexpr size_t kMost = 128;

// Numbers plus one; 0: a free place. What has no place is not kept from being closed.
constinit std::array<std::atomic<int>, kMost> places{};

}  // namespace

int set_apart(int fd) {
  if (fd < 0) return fd;
  const int high = kernel::fcntl(fd, F_DUPFD_CLOEXEC, kFirst);
  if (high >= 0) kernel::close(fd);
  const int number = high >= 0 ? high : fd;
  for (auto& place : places) {
    int none = 0;
    if (place.compare_exchange_strong(none, number + 1)) break;
  }
  return number;
}

bool is_apart(int fd) {
  return fd >= 0 && std::any_of(places.begin(), places.end(),
                                [fd](const auto& p) { return p.load(std::memory_order_relaxed) == fd + 1; });
}

void forget_apart(int fd) {
  for (auto& place : places) {
    int number = fd + 1;
    if (fd >= 0 && place.compare_exchange_strong(number, 0)) return;
  }
}

unsigned next_apart(unsigned from) {
  unsigned lowest = UINT_MAX;
  for (const auto& place : places) {
    const int number = place.load(std::memory_order_relaxed);
    if (number != 0 && static_cast<unsigned>(number - 1) >= from) {
      lowest = std::min(lowest, static_cast<unsigned>(number - 1));
    }
  }
  return lowest;
}

}  // namespace millrace::posix
