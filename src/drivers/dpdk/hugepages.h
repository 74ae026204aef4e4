// How much memory DPDK will need, and whether the machine has huge pages for it. Asked before DPDK starts, so that a
// shortage is one sentence and not a page of log.
#pragma once

#include <cstddef>
#include <string>

#include "conf/config.h"
#include "runtime/failure.h"

namespace millrace::drivers::dpdk {

struct MemoryNeed {
  size_t least = 0;  ///< pools, tables and some payload: without it there is no start
  size_t full = 0;   ///< with all the payload that the limits allow
  uint32_t workers = 1;
  size_t ports = 1;
};
/// Of a process with so many workers, each of which gets `share` (conf::share_of_worker) and a queue of each port.
[[nodiscard]] MemoryNeed memory_need(const conf::WorkerSettings& share, uint32_t workers, size_t ports);

struct HugePages {
  size_t page_bytes = 0;
  size_t free_pages = 0;
  [[nodiscard]] size_t free_bytes() const { return page_bytes * free_pages; }
};
/// The page size with the most free memory, from a directory like /sys/kernel/mm/hugepages.
[[nodiscard]] HugePages free_huge_pages(const std::string& directory = "/sys/kernel/mm/hugepages");

/// MiB to preallocate, between least and full; or a failure that says how many pages are missing and how to get them.
[[nodiscard]] runtime::Outcome<size_t> plan_huge_pages(const MemoryNeed& need, const HugePages& pages);

}  // namespace millrace::drivers::dpdk
