#include "drivers/dpdk/spread.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>

namespace millrace::drivers::dpdk {
namespace {

constexpr uint64_t kTcp = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
constexpr uint64_t kUdp = RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
constexpr size_t kGroup = RTE_ETH_RETA_GROUP_SIZE;
using Table = std::array<rte_eth_rss_reta_entry64, steer::kMaxTable / kGroup>;

Table select_all(size_t entries) {
  Table table{};
  for (size_t i = 0; i < entries; ++i) table[i / kGroup].mask |= uint64_t{1} << i % kGroup;
  return table;
}

}  // namespace

RssRequest choose_rss(const rte_eth_dev_info& info, uint16_t queues) {
  RssRequest out;
  if (queues < 2 || (info.flow_type_rss_offloads & kTcp) != kTcp) return out;
  out.types = info.flow_type_rss_offloads & (kTcp | kUdp);
  const uint8_t bytes = info.hash_key_size != 0 ? info.hash_key_size : steer::kKeyBytes;
  if (bytes > out.key.size() || getrandom(out.key.data(), bytes, 0) != bytes) return out;  // the port's own key
  out.key_bytes = bytes;
  return out;
}

std::optional<runtime::Device::Spread> set_spread(uint16_t port, const rte_eth_dev_info& info, uint16_t queues) {
  const size_t entries = info.reta_size;
  if (entries == 0 || entries > steer::kMaxTable || !std::has_single_bit(entries)) return {};
  Table table = select_all(entries);
  for (size_t i = 0; i < entries; ++i) table[i / kGroup].reta[i % kGroup] = static_cast<uint16_t>(i % queues);
  (void)rte_eth_dev_rss_reta_update(port, table.data(), static_cast<uint16_t>(entries));
  table = select_all(entries);
  if (rte_eth_dev_rss_reta_query(port, table.data(), static_cast<uint16_t>(entries)) != 0) return {};
  std::array<uint8_t, 64> key{};
  rte_eth_rss_conf conf{};
  conf.rss_key = key.data();
  conf.rss_key_len = info.hash_key_size != 0 ? info.hash_key_size : steer::kKeyBytes;
  if (conf.rss_key_len < steer::kKeyBytes || conf.rss_key_len > key.size()) return {};
  if (rte_eth_dev_rss_hash_conf_get(port, &conf) != 0 || (conf.rss_hf & kTcp) != kTcp) return {};
  runtime::Device::Spread spread;
  std::copy_n(key.begin(), steer::kKeyBytes, spread.key.begin());
  for (size_t i = 0; i < entries; ++i) spread.table.push_back(table[i / kGroup].reta[i % kGroup]);
  return spread;
}

}  // namespace millrace::drivers::dpdk
