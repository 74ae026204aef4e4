#include "udp/table.h"

#include <algorithm>
#include <bit>

#include "base/rng.h"

namespace millrace::udp {

Table::Table(base::MemorySource& memory, base::Slab<Dgram>& dgrams, uint64_t seed) : dgrams_(dgrams), groups_(1) {
  base::Rng rng(seed ^ 0x756470);
  key_[0] = rng.next();
  key_[1] = rng.next();
  const uint32_t room = std::bit_ceil(std::max(64U, dgrams.limit()));
  buckets_ = reinterpret_cast<uint32_t*>(memory.allocate(size_t{room} * sizeof(uint32_t)).base);
  bucket_mask_ = buckets_ == nullptr ? 0 : room - 1;
  port_use_.resize(65'536);
}

uint32_t Table::exact_group(DatagramKind kind, const IpAddr& addr, uint16_t port) const {
  const auto range = by_port_.equal_range(key_of(kind, port));
  for (auto it = range.first; it != range.second; ++it) {
    if (groups_[it->second].addr == addr) return it->second;
  }
  return 0;
}

bool Table::is_free(const Dgram& d, const IpAddr& addr, uint16_t port) const {
  const bool any = addr.is_unspecified();
  const bool dual = any && addr.is_v6() && (d.flags & kV6Only) == 0;
  const auto range = by_port_.equal_range(key_of(d.kind, port));
  for (auto it = range.first; it != range.second; ++it) {
    const Group& g = groups_[it->second];
    const bool families = dual || g.dual || g.addr.is_v4() == addr.is_v4();
    const bool overlap = families && (any || g.addr.is_unspecified() || g.addr == addr);
    if (overlap && !(g.reuse && (d.flags & kReuse) != 0)) return false;
  }
  return true;
}

Result<void> Table::bind(uint32_t index) {
  Dgram& d = dgrams_[index];
  if (!is_free(d, d.local, d.local_port)) return fail(Error::kAddressInUse);
  const bool dual = d.local.is_unspecified() && d.local.is_v6() && (d.flags & kV6Only) == 0;
  uint32_t at = exact_group(d.kind, d.local, d.local_port);
  if (at == 0) {
    if (free_groups_.empty()) {
      at = static_cast<uint32_t>(groups_.size());
      groups_.emplace_back();
    } else {
      at = free_groups_.back();
      free_groups_.pop_back();
    }
    Group& fresh = groups_[at];
    fresh.addr = d.local;
    fresh.port = d.local_port;
    fresh.kind = d.kind;
    fresh.reuse = (d.flags & kReuse) != 0;
    by_port_.emplace(key_of(d.kind, d.local_port), at);
    if (d.kind == DatagramKind::kUdp) ++port_use_[d.local_port];
  }
  Group& g = groups_[at];
  g.dual = g.dual || dual;
  ++g.members;
  g.open.push_back(index);
  d.group = at;
  if (dual) d.flags |= kDual;
  forget();
  return {};
}

void Table::unbind(uint32_t index) {
  Dgram& d = dgrams_[index];
  if (d.group == 0) return;
  if ((d.flags & kConnected4) != 0) disconnect(index);
  Group& g = groups_[d.group];
  std::erase(g.open, index);
  if (--g.members == 0) {
    const uint32_t key = key_of(g.kind, g.port);
    const auto range = by_port_.equal_range(key);
    for (auto it = range.first; it != range.second; ++it) {
      if (it->second != d.group) continue;
      by_port_.erase(it);
      break;
    }
    if (g.kind == DatagramKind::kUdp) --port_use_[g.port];
    free_groups_.push_back(d.group);
    g = Group{};
  }
  d.group = 0;
  forget();
}

Result<void> Table::connect(uint32_t index) {
  Dgram& d = dgrams_[index];
  if (d.kind != DatagramKind::kUdp || buckets_ == nullptr) return {};
  if (find_connected(d.local, d.local_port, d.remote, d.remote_port) != 0 && (d.flags & kReuse) == 0) {
    return fail(Error::kAddressInUse);
  }
  uint32_t& head = buckets_[hash(d.local, d.local_port, d.remote, d.remote_port) & bucket_mask_];
  d.link = head;
  head = index;
  ++connected_;
  d.flags |= kConnected4;
  std::erase(groups_[d.group].open, index);
  forget();
  return {};
}

void Table::disconnect(uint32_t index) {
  Dgram& d = dgrams_[index];
  if ((d.flags & kConnected4) == 0) return;
  uint32_t* at = &buckets_[hash(d.local, d.local_port, d.remote, d.remote_port) & bucket_mask_];
  while (*at != index) at = &dgrams_[*at].link;
  *at = d.link;
  d.link = 0;
  --connected_;
  d.flags &= static_cast<uint16_t>(~kConnected4);
  groups_[d.group].open.push_back(index);
  forget();
}

uint32_t Table::find_connected(const IpAddr& local, uint16_t local_port, const IpAddr& remote,
                               uint16_t remote_port) const {
  if (connected_ == 0) return 0;
  uint32_t at = buckets_[hash(local, local_port, remote, remote_port) & bucket_mask_];
  while (at != 0) {
    const Dgram& d = dgrams_[at];
    if (d.local_port == local_port && d.remote_port == remote_port && d.remote == remote && d.local == local) break;
    at = d.link;
  }
  return at;
}

uint32_t Table::find_group(const IpAddr& local, uint16_t port) const {
  uint32_t best = 0;
  const auto range = by_port_.equal_range(key_of(DatagramKind::kUdp, port));
  for (auto it = range.first; it != range.second; ++it) {
    const Group& g = groups_[it->second];
    if (g.open.empty() || !accepts(g, local)) continue;
    if (!g.addr.is_unspecified()) return it->second;
    // A wildcard of the family itself goes before one of both.
    if (best == 0 || g.addr.is_v4() == local.is_v4()) best = it->second;
  }
  return best;
}

uint32_t Table::pick(const Group& g, const IpAddr& local, const IpAddr& remote, uint16_t remote_port) const {
  if (g.open.size() == 1) return g.open[0];
  return g.open[(hash(local, g.port, remote, remote_port) >> 32) % g.open.size()];
}

uint32_t Table::find(const IpAddr& local, uint16_t local_port, const IpAddr& remote, uint16_t remote_port) {
  if (connected_ != 0) {
    const uint32_t index = find_connected(local, local_port, remote, remote_port);
    if (index != 0) return index;
  }
  if (last_port_ == local_port && last_local_ == local) {
    return pick(groups_[last_group_], local, remote, remote_port);
  }
  if (port_use_[local_port] == 0) return 0;
  const uint32_t group = find_group(local, local_port);
  if (group == 0) return 0;
  last_local_ = local;
  last_port_ = local_port;
  last_group_ = group;
  return pick(groups_[group], local, remote, remote_port);
}

}  // namespace millrace::udp
