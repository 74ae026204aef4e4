#include "pkt/packet.h"

#include <algorithm>
#include <cstring>

namespace millrace::pkt {

void chain(Packet& head, Packet* tail) {
  Packet* last = &head;
  while (last->next != nullptr) last = last->next;
  last->next = tail;
  head.segs = static_cast<uint16_t>(head.segs + tail->segs);
  head.total += tail->total;
}

void copy_bytes(std::byte* to, const std::byte* from, size_t n) { std::memcpy(to, from, n); }

size_t copy_out(const Packet& head, uint32_t offset, std::span<std::byte> out) {
  size_t done = 0;
  for (const Packet* p = &head; p != nullptr && done < out.size(); p = p->next) {
    if (offset >= p->len) {
      offset -= p->len;
      continue;
    }
    const size_t n = std::min<size_t>(p->len - offset, out.size() - done);
    std::memcpy(out.data() + done, p->data() + offset, n);
    done += n;
    offset = 0;
  }
  return done;
}

}  // namespace millrace::pkt
