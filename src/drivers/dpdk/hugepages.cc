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
constexpr size_t kPortBytes = 8 * kMiB;

}  // namespace

MemoryNeed memory_need(const conf::WorkerSettings& worker, size_t ports) {
  const auto count = [](int64_t n) { return static_cast<size_t>(n); };
  const size_t fixed = count(worker.frames) * kFrameBytes + count(worker.references) * kReferenceBytes +
                       count(worker.max_connections) * kConnectionBytes +
                       (count(worker.max_half_open) + count(worker.max_time_wait)) * kSmallEntryBytes + kDpdkBytes +
                       ports * kPortBytes;
  const size_t payload = count(worker.block_mib) * kMiB;
  return {fixed + std::min(payload, 32 * kMiB), fixed + payload};
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
    return runtime::failure(fmt::format("DPDK needs {} free huge pages of {} KiB, and {} are free",
                                        pages_for(need.least), pages.page_bytes / 1024, pages.free_pages),
                            fmt::format("as root: echo {} > /sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
                                        pages_for(need.full), pages.page_bytes / 1024));
  }
  return pages_for(std::min(need.full, pages.free_bytes())) * pages.page_bytes / kMiB;
}

}  // namespace millrace::drivers::dpdk
