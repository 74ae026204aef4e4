#include "ip/addresses.h"

#include <algorithm>
#include <bit>

#include "ip/selection.h"

namespace millrace::ip {

bool is_directed_broadcast(const Prefix& prefix, const IpAddr& addr) {
  if (!prefix.addr.is_v4() || prefix.length >= 31 || !prefix.contains(addr)) return false;
  const uint32_t host_bits = prefix.length == 0 ? ~0U : (1U << (32 - prefix.length)) - 1;
  return (addr.v4_value() & host_bits) == host_bits;
}

void Addresses::rebuild() {
  ++version_;
  const auto room = std::bit_ceil(static_cast<uint32_t>(4 * list_.size() + 8));
  slots_.assign(room, nullptr);
  mask_ = room - 1;
  for (const Address& a : list_) {
    uint32_t i = hash(a.prefix.addr);
    while (slots_[i & mask_] != nullptr) ++i;
    slots_[i & mask_] = &a;
  }
  broadcasts_.clear();
  for (const Address& a : list_) {
    const Prefix& p = a.prefix;
    if (p.addr.is_v4() && p.length < 31) broadcasts_.push_back(p.addr.v4_value() | ~0U >> p.length);
  }
}

void Addresses::add(IfIndex interface, const Prefix& prefix) {
  list_.push_back({interface, prefix});
  rebuild();
}

void Addresses::mark(const IpAddr& addr, bool deprecated, bool optimistic) {
  for (Address& a : list_) {
    if (a.prefix.addr != addr) continue;
    a.deprecated = deprecated;
    a.optimistic = optimistic;
  }
}

bool Addresses::remove(IfIndex interface, const IpAddr& addr) {
  const auto gone = std::ranges::find_if(
      list_, [&](const Address& a) { return a.interface == interface && a.prefix.addr == addr; });
  if (gone == list_.end()) return false;
  list_.erase(gone);
  rebuild();
  return true;
}

const Address* Addresses::find(const IpAddr& addr) const {
  for (uint32_t i = hash(addr);; ++i) {
    const Address* a = slots_[i & mask_];
    if (a == nullptr || a->prefix.addr == addr) return a;
  }
}

bool Addresses::on_interface(IfIndex interface, const IpAddr& addr) const {
  const Address* a = find(addr);
  return a != nullptr && a->interface == interface;
}

bool Addresses::in_loopback_prefix(const IpAddr& addr) const {
  return std::ranges::any_of(
      list_, [&](const Address& a) { return a.prefix.addr.is_loopback() && a.prefix.contains(addr); });
}

bool Addresses::has_low24(IfIndex interface, uint32_t low24) const {
  return std::ranges::any_of(list_, [&](const Address& a) {
    const auto& b = a.prefix.addr.bytes();
    return a.interface == interface && a.prefix.addr.is_v6() &&
           (uint32_t{b[13]} << 16 | uint32_t{b[14]} << 8 | b[15]) == low24;
  });
}

const Address* Addresses::select_source(IfIndex interface, const IpAddr& next, const IpAddr& destination) const {
  const SourceQuestion question{destination, next, interface};
  const Address* best = nullptr;
  for (const Address& a : list_) {
    const IpAddr& addr = a.prefix.addr;
    if (addr.is_v4() != destination.is_v4() || addr.is_loopback()) continue;
    if (addr.is_v6() && addr.is_link_local() && a.interface != interface) continue;  // another link's scope
    if (best == nullptr || better_source(a, *best, question)) best = &a;
  }
  return best;
}

}  // namespace millrace::ip
