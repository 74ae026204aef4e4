#include "drivers/dpdk/memory.h"

#include <fmt/core.h>
#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_memzone.h>

#include <atomic>
#include <cstring>

namespace millrace::drivers::dpdk {
namespace {

/// Where devices see physical addresses, only a memzone can promise that they are contiguous.
base::Region contiguous(size_t bytes) {
  static std::atomic<unsigned> serial{0};
  const std::string name = fmt::format("millrace_{}", serial++);
  const rte_memzone* zone =
      rte_memzone_reserve_aligned(name.c_str(), bytes, SOCKET_ID_ANY, RTE_MEMZONE_IOVA_CONTIG, RTE_CACHE_LINE_SIZE);
  if (zone == nullptr) return {};
  std::memset(zone->addr, 0, bytes);
  return {static_cast<std::byte*>(zone->addr), bytes, zone->iova};
}

}  // namespace

DpdkMemory::~DpdkMemory() {
  for (void* p : heap_) rte_free(p);
}

base::Region DpdkMemory::allocate(size_t bytes) {
  if (rte_eal_iova_mode() == RTE_IOVA_PA) {
    const base::Region region = contiguous(bytes);
    if (region.base != nullptr) return region;
    // A table too large to be contiguous: no device reads tables. Payload blocks ask for 2 MiB at a time.
    if (bytes <= size_t{2} << 20) return {};
  }
  void* p = rte_zmalloc("millrace", bytes, RTE_CACHE_LINE_SIZE);
  if (p == nullptr) return {};
  heap_.push_back(p);
  return {static_cast<std::byte*>(p), bytes, rte_malloc_virt2iova(p)};
}

}  // namespace millrace::drivers::dpdk
