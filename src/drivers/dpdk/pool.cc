#include "drivers/dpdk/pool.h"

#include <fmt/core.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <algorithm>

#include "drivers/dpdk/eal.h"

namespace millrace::drivers::dpdk {
namespace {

/// An lcore's cache may grow by half beyond its size, and no pool may be smaller than that.
unsigned cache_of(size_t count) { return static_cast<unsigned>(std::min<size_t>(512, count / 2)); }

void** objects(std::span<pkt::Packet*> packets) { return reinterpret_cast<void**>(packets.data()); }

}  // namespace

runtime::Outcome<std::unique_ptr<MempoolPool>> MempoolPool::make(const std::string& name, size_t count, uint16_t room,
                                                                 uint16_t shift) {
  const auto data_room = static_cast<uint16_t>(room == 0 ? 0 : pkt::kHeadroom + room);
  rte_pktmbuf_pool_private info{};
  info.mbuf_data_room_size = data_room;
  info.mbuf_priv_size = shift;
  const auto each = static_cast<unsigned>(sizeof(rte_mbuf) + shift + data_room);
  rte_mempool* pool = rte_mempool_create_empty(name.c_str(), static_cast<unsigned>(count), each, cache_of(count),
                                               sizeof info, SOCKET_ID_ANY, RTE_MEMPOOL_F_SP_PUT | RTE_MEMPOOL_F_SC_GET);
  if (pool != nullptr) {
    rte_pktmbuf_pool_init(pool, &info);
    if (rte_mempool_populate_default(pool) < 0) {
      rte_mempool_free(pool);
      pool = nullptr;
    }
  }
  if (pool == nullptr) {
    return runtime::failure(
        fmt::format("no memory for {} packets of {} bytes ({})", count, each, rte_strerror(rte_errno)),
        "free or add huge pages, or lower worker.frames and worker.references");
  }
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
  return std::unique_ptr<MempoolPool>(new MempoolPool(pool, count));
}

void MempoolPool::leave() {
  if (rte_mempool_cache* cache = rte_mempool_default_cache(pool_, rte_lcore_id()); cache != nullptr) {
    rte_mempool_cache_flush(cache, pool_);
  }
}

MempoolPool::~MempoolPool() { rte_mempool_free(pool_); }

size_t MempoolPool::allocate(std::span<pkt::Packet*> out) {
  size_t done = 0;
  for (size_t ask = out.size(); ask > 0 && done < out.size();) {
    ask = std::min(ask, out.size() - done);
    if (rte_mempool_get_bulk(pool_, objects(out.subspan(done)), static_cast<unsigned>(ask)) == 0) {
      done += ask;
    } else {
      ask /= 2;
    }
  }
  return done;
}

void MempoolPool::release(std::span<pkt::Packet* const> packets) {
  if (packets.empty()) return;
  rte_mempool_put_bulk(pool_, reinterpret_cast<void* const*>(packets.data()), static_cast<unsigned>(packets.size()));
}

size_t MempoolPool::available() const { return rte_mempool_avail_count(pool_); }

}  // namespace millrace::drivers::dpdk
