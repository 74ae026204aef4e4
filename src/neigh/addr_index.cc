#include "neigh/addr_index.h"

#include <bit>
#include <cstring>

#include "base/assert.h"

namespace millrace::neigh {

AddrIndex::AddrIndex(uint32_t limit, const base::SipKey& key)
    : key_(key), mask_(std::bit_ceil(2 * limit + 2) - 1), limit_(limit), slots_(size_t{mask_} + 1) {}

uint32_t AddrIndex::home(IfIndex interface, const IpAddr& addr) const {
  std::byte bytes[18];
  std::memcpy(bytes, addr.bytes().data(), 16);
  std::memcpy(bytes + 16, &interface, 2);
  return static_cast<uint32_t>(base::siphash(key_, bytes)) & mask_;
}

uint32_t AddrIndex::find(IfIndex interface, const IpAddr& addr) const {
  for (uint32_t i = home(interface, addr); slots_[i].value != 0; i = (i + 1) & mask_) {
    if (slots_[i].interface == interface && slots_[i].addr == addr) return slots_[i].value;
  }
  return 0;
}

void AddrIndex::insert(IfIndex interface, const IpAddr& addr, uint32_t value) {
  MR_ASSERT(value != 0 && size_ < limit_);
  uint32_t i = home(interface, addr);
  while (slots_[i].value != 0) i = (i + 1) & mask_;
  slots_[i] = {addr, interface, value};
  ++size_;
}

void AddrIndex::erase(IfIndex interface, const IpAddr& addr) {
  uint32_t hole = home(interface, addr);
  while (slots_[hole].interface != interface || slots_[hole].addr != addr) {
    MR_ASSERT(slots_[hole].value != 0);
    hole = (hole + 1) & mask_;
  }
  // Move later entries of the run back over the hole unless that would put them before their home.
  for (uint32_t i = (hole + 1) & mask_; slots_[i].value != 0; i = (i + 1) & mask_) {
    const uint32_t wanted = home(slots_[i].interface, slots_[i].addr);
    if (((i - wanted) & mask_) < ((i - hole) & mask_)) continue;
    slots_[hole] = slots_[i];
    hole = i;
  }
  slots_[hole] = {};
  --size_;
}

}  // namespace millrace::neigh
