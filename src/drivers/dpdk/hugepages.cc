#include "drivers/dpdk/hugepages.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "pkt/packet.h"

namespace millrace::drivers::dpdk {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kFrameBytes = sizeof(pkt::Packet) + pkt::kHeadroom + pkt::kFrameRoom + 192;  // pool header, padding
constexpr size_t kReferenceBytes = sizeof(pkt::Packet) + 128;
constexpr size_t kConnectionBytes = 768;  // connection, socket, table and readiness entries
constexpr size_t kSmallEntryBytes = 192;  // half-open, time-wait
constexpr size_t kDpdkBytes = 16 * kMiB;
constexpr size_t kPortBytes = 7 * kMiB;
constexpr size_t kQueueBytes = 1 * kMiB;     // rings and their shadows
constexpr size_t kPoolsBytes = 3 * kMiB;     // two pools: rings, and a cache for each possible lcore (DPDK has 128)
constexpr size_t kLeastPayload = 32 * kMiB;  // of the process
constexpr size_t kLeastWorkerPayload = 8 * kMiB;  // a region for each size of block

}  // namespace

MemoryNeed memory_need(const conf::WorkerSettings& share, uint32_t workers, size_t ports) {
  const auto count = [](int64_t n) { return static_cast<size_t>(n); };
  const size_t worker = count(share.frames) * kFrameBytes + count(share.references) * kReferenceBytes +
                        count(share.max_connections) * kConnectionBytes +
                        (count(share.max_half_open) + count(share.max_time_wait)) * kSmallEntryBytes + kPoolsBytes +
                        ports * kQueueBytes;
  const size_t fixed = workers * worker + kDpdkBytes + ports * kPortBytes;
  const size_t payload = count(share.block_mib) * kMiB;
  const size_t least_payload = std::min(payload, std::max(kLeastWorkerPayload, kLeastPayload / workers));
  return {fixed + workers * least_payload, fixed + workers * payload, workers, ports};
}

HugePages free_huge_pages(const std::string& directory) {
  HugePages best;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();  // hugepages-2048kB
    const size_t dash = name.find('-');
    if (dash == std::string::npos) continue;
    HugePages found;
    const char* first = name.data() + dash + 1;
    if (std::from_chars(first, name.data() + name.size(), found.page_bytes).ec != std::errc()) continue;
    found.page_bytes *= 1024;
    std::ifstream(entry.path() / "free_hugepages") >> found.free_pages;
    if (best.page_bytes == 0 || found.free_bytes() > best.free_bytes() ||
        (found.free_bytes() == best.free_bytes() && found.page_bytes < best.page_bytes)) {
      best = found;
    }
  }
  return best;
}

runtime::Outcome<size_t> plan_huge_pages(const MemoryNeed& need, const HugePages& pages) {
  if (pages.page_bytes == 0) {
    return runtime::failure("DPDK needs huge pages and this kernel has none",
                            "without them, add --no-huge to `eal` in the [dpdk] table (slower)");
  }
  const auto pages_for = [&](size_t bytes) { return (bytes + pages.page_bytes - 1) / pages.page_bytes; };
  if (pages.free_bytes() < need.least) {
    const auto plural = [](size_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); };
    return runtime::failure(fmt::format("DPDK needs {} free huge pages of {} KiB for {} and {}, and {} are free",
                                        pages_for(need.least), pages.page_bytes / 1024, plural(need.workers, "worker"),
                                        plural(need.ports, "port"), pages.free_pages),
                            fmt::format("as root: echo {} > /sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
                                        pages_for(need.full), pages.page_bytes / 1024));
  }
  return pages_for(std::min(need.full, pages.free_bytes())) * pages.page_bytes / kMiB;
}

}  // namespace millrace::drivers::dpdk
