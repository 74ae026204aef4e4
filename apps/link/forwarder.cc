#include "link/forwarder.h"

#include <algorithm>
#include <cstring>

#include "impair/frame.h"

namespace millrace::linkapp {

Forwarder::Forwarder(std::array<runtime::Device*, 2> devices, pkt::PacketCache& cache,
                     const std::array<impair::PathConfig, 2>& paths, uint64_t seed, uint32_t largest)
    : cache_(cache), largest_(largest) {
  for (size_t i = 0; i < 2; ++i) ways_.push_back({impair::Path(paths[i], 2 * seed + i), devices[i], devices[1 - i]});
}

Forwarder::~Forwarder() {
  for (Way& way : ways_) {
    for (const Waiting& w : way.waiting) cache_.free(w.packet);
    for (size_t i = 0; i < way.taken_count; ++i) cache_.free(way.taken[i]);
  }
}

void Forwarder::take() {
  for (Way& way : ways_) {
    if (way.taken_count == 0) way.taken_count = way.in->receive(way.taken);
  }
}

bool Forwarder::turn(Instant now) {
  size_t moved = 0;
  for (Way& way : ways_) {
    for (size_t i = 0; i < way.taken_count; ++i) accept(way, now, way.taken[i]);
    moved += way.taken_count;
    way.taken_count = 0;
  }
  for (Way& way : ways_) moved += send(way, now);
  return moved != 0;
}

Instant Forwarder::next_due() const {
  Instant next = millrace::kNever;
  for (const Way& way : ways_) {
    if (!way.waiting.empty()) next = std::min(next, Instant(way.waiting.front().at_ns));
  }
  return next;
}

bool Forwarder::fits_a_wire(const pkt::Packet& frame) const {
  if (frame.total > largest_) return false;
  return impair::length_by_header({frame.buf + frame.off, frame.len}) <= frame.total;
}

void Forwarder::accept(Way& way, Instant now, pkt::Packet* frame) {
  if (!fits_a_wire(*frame)) {
    ++way.stats.too_long;
    cache_.free(frame);
    return;
  }
  frame->flags = 0;  // what the device found out about checksums is not for the other one
  frame->tx_offload = 0;
  const impair::Verdict verdict = way.path.send(now, frame->total);
  if (verdict.copies == 0) {
    cache_.free(frame);
    return;
  }
  if (verdict.mark && impair::mark_congestion({frame->buf + frame->off, frame->len})) ++way.stats.marked;
  if (verdict.copies == 2) {
    if (pkt::Packet* twin = copy(*frame); twin != nullptr) {
      wait(way, verdict.at[1], twin);
    } else {
      ++way.stats.too_many;
    }
  }
  wait(way, verdict.at[0], frame);
}

void Forwarder::wait(Way& way, Instant at, pkt::Packet* frame) {
  way.waiting.push_back({at.ns(), way.order++, frame});
  std::push_heap(way.waiting.begin(), way.waiting.end(), later);
}

size_t Forwarder::send(Way& way, Instant now) {
  std::array<pkt::Packet*, kBurst> burst{};
  std::array<Waiting, kBurst> due{};
  size_t n = 0;
  while (n < kBurst && !way.waiting.empty() && way.waiting.front().at_ns <= now.ns()) {
    std::pop_heap(way.waiting.begin(), way.waiting.end(), later);
    due[n] = way.waiting.back();
    burst[n] = due[n].packet;
    way.waiting.pop_back();
    ++n;
  }
  if (n == 0) return 0;
  const size_t done = way.out->transmit({burst.data(), n});
  for (size_t i = 0; i < done; ++i) way.stats.late_ns.record(static_cast<uint64_t>(now.ns() - due[i].at_ns));
  way.stats.sent += done;
  for (size_t i = done; i < n; ++i) {  // no room: the first to go the next time, by their instants
    way.waiting.push_back(due[i]);
    std::push_heap(way.waiting.begin(), way.waiting.end(), later);
  }
  return n;
}

pkt::Packet* Forwarder::copy(const pkt::Packet& frame) {
  pkt::Packet* twin = cache_.frame();
  if (twin == nullptr) return nullptr;
  for (const pkt::Packet* p = &frame; p != nullptr; p = p->next) {
    if (twin->off + twin->total + p->len > twin->buf_len) {
      cache_.free(twin);
      return nullptr;
    }
    std::memcpy(twin->buf + twin->off + twin->total, p->buf + p->off, p->len);
    twin->total += p->len;
  }
  twin->len = static_cast<uint16_t>(twin->total);
  return twin;
}

}  // namespace millrace::linkapp
