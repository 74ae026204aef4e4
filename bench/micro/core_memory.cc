// Memory of idle established connections: the growth of the process (resident pages and huge pages) from none to N, in
// a fresh process, divided by N. Slabs, tables, sockets and accept bookkeeping are all in it.
//
//   bench_core_memory [CONNECTIONS]      default 1,000,000
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include <fmt/core.h>

#include "core_peer.h"
#include "runtime/memory.h"

using namespace millrace;

namespace {

/// Bytes of ordinary and huge pages that the process holds.
size_t touched_bytes() {
  std::ifstream file("/proc/self/smaps_rollup");
  size_t kib = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("Rss:") || line.starts_with("Private_Hugetlb:") || line.starts_with("Shared_Hugetlb:")) {
      kib += std::strtoull(line.c_str() + line.find(':') + 1, nullptr, 10);
    }
  }
  return kib * 1024;
}

}  // namespace

int main(int argc, char** argv) {
  const auto connections = static_cast<uint32_t>(argc > 1 ? std::atol(argv[1]) : 1'000'000);
  runtime::HugeMemory memory;
  pkt::HeapPacketPool frames(4'096);
  pkt::HeapPacketPool references(1'024, 0);
  stack::WorkerConfig config;
  config.frames = &frames;
  config.references = &references;
  config.memory = &memory;
  config.seed = 1;
  config.max_connections = connections;
  stack::Worker worker(config);
  bench::Peer peer(worker, frames, true);
  peer.reserve(connections);
  const size_t before = touched_bytes();
  peer.open(connections);
  const size_t after = touched_bytes();
  fmt::print("{} connections: {} bytes touched before, {} after, {:.1f} bytes a connection\n", connections, before,
             after, static_cast<double>(after - before) / connections);
}
