#include "ip/segments.h"

#include <algorithm>
#include <cstring>

#include "wire/checksum.h"

namespace millrace::ip {

bool gather_slow(pkt::PacketCache& packets, pkt::Packet& head, uint32_t n) {
  if (head.len >= n) return true;
  if (head.total < n || head.tailroom() < n - head.len) return false;
  while (head.len < n) {
    pkt::Packet* next = head.next;
    const auto take = static_cast<uint16_t>(std::min<uint32_t>(n - head.len, next->len));
    std::memcpy(head.data() + head.len, next->data(), take);
    head.len = static_cast<uint16_t>(head.len + take);
    next->off = static_cast<uint16_t>(next->off + take);
    next->len = static_cast<uint16_t>(next->len - take);
    if (next->len != 0) continue;
    head.next = next->next;
    --head.segs;
    next->next = nullptr;
    packets.free(next);
  }
  return true;
}

void trim(pkt::PacketCache& packets, pkt::Packet& head, uint32_t total) {
  if (head.total <= total) return;
  uint32_t left = total;
  uint16_t kept = 0;
  pkt::Packet* last = &head;
  for (;; last = last->next) {
    ++kept;
    if (last->len >= left) break;
    left -= last->len;
  }
  last->len = static_cast<uint16_t>(left);
  packets.free(last->next);
  last->next = nullptr;
  head.segs = kept;
  head.total = total;
}

uint64_t sum_chain(const pkt::Packet& head, uint32_t offset) {
  wire::Checksum sum;
  for (const pkt::Packet* p = &head; p != nullptr; p = p->next) {
    if (offset >= p->len) {
      offset -= p->len;
      continue;
    }
    sum.add(wire::Bytes(p->data() + offset, p->len - offset));
    offset = 0;
  }
  return sum.sum();
}

}  // namespace millrace::ip
