#include "runtime/frame_ring.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace millrace::runtime {

bool FrameRing::put(const pkt::Packet& frame, IfIndex interface) {
  const uint64_t room = mask_ + 1;
  const uint64_t size = (sizeof(Record) + frame.total + 7) & ~uint64_t{7};
  uint64_t at = (positions_->tail.load(std::memory_order_relaxed) + 7) & ~uint64_t{7};
  const uint64_t used = at - positions_->head.load(std::memory_order_acquire);
  const uint64_t to_end = room - (at & mask_);
  const uint64_t skipped = to_end < size ? to_end : 0;  // a record lies in one piece
  if (frame.total == 0 || frame.total > kMostBytes || used > room || used + skipped + size > room) return false;
  if (skipped != 0) {
    // Eight bytes are there for sure, a whole record perhaps not.
    const uint32_t none[2] = {static_cast<uint32_t>(skipped), 0};
    std::memcpy(bytes_ + (at & mask_), none, sizeof none);
    at += skipped;
  }
  Record record;
  record.size = static_cast<uint32_t>(size);
  record.bytes = frame.total;
  record.flags = frame.flags & ~pkt::kExternal;
  record.tx_offload = frame.tx_offload;
  record.ptype = frame.ptype;
  record.rss = frame.rss;
  record.vlan = frame.vlan;
  record.interface = interface;
  std::byte* to = bytes_ + (at & mask_);
  *reinterpret_cast<Image*>(to) = std::bit_cast<Image>(record);
  (void)pkt::copy_out(frame, 0, {to + sizeof record, frame.total});
  positions_->tail.store(at + size, std::memory_order_release);
  return true;
}

std::optional<FrameRing::Record> FrameRing::look(uint64_t at, uint64_t tail) const {
  const uint64_t to_end = mask_ + 1 - (at & mask_);
  if (tail - at > mask_ + 1 || tail - at < 8 || to_end < 8 || (at & 7) != 0) return {};
  uint32_t front[2];
  std::memcpy(front, bytes_ + (at & mask_), sizeof front);
  const auto [size, bytes] = front;
  if (size < 8 || (size & 7) != 0 || size > to_end || size > tail - at) return {};
  Record record;
  if (bytes != 0) {
    if (size < sizeof record || bytes > kMostBytes || sizeof record + bytes > size) return {};
    record = std::bit_cast<Record>(*reinterpret_cast<const Image*>(bytes_ + (at & mask_)));
  }
  record.size = size;  // as it was when it was looked at
  record.bytes = bytes;
  return record;
}

pkt::Packet* FrameRing::copy(const Record& record, uint64_t at, pkt::PacketCache& cache) const {
  const std::byte* from = bytes_ + (at & mask_) + sizeof record;
  pkt::Packet* head = nullptr;
  for (uint32_t done = 0; done < record.bytes;) {
    pkt::Packet* p = cache.frame();
    if (p == nullptr) {
      cache.free(head);
      return nullptr;
    }
    const auto n = static_cast<uint16_t>(std::min<uint32_t>(record.bytes - done, p->tailroom()));
    std::memcpy(p->append(n), from + done, n);
    done += n;
    if (head == nullptr) {
      head = p;
    } else {
      pkt::chain(*head, p);
    }
  }
  head->flags = record.flags & ~pkt::kExternal;
  head->tx_offload = record.tx_offload;
  head->ptype = record.ptype;
  head->rss = record.rss;
  head->vlan = record.vlan;
  return head;
}

}  // namespace millrace::runtime
