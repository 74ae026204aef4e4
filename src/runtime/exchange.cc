#include "runtime/exchange.h"

#include <algorithm>
#include <array>

#include "stack/impl.h"

namespace millrace::runtime {

Exchange::Exchange(uint32_t workers) {
  for (uint32_t i = 0; i < workers; ++i) sides_.push_back(std::make_unique<Side>());
  for (uint32_t i = 0; i < workers * workers; ++i) {
    const bool used = i / workers != i % workers;
    ways_.push_back(used ? std::make_unique<Way>() : nullptr);
  }
}

void Exchange::attach(uint32_t self, stack::Worker& worker, const Waker& waker) {
  sides_[self]->worker = &worker;
  sides_[self]->waker = &waker;
}

size_t Exchange::take_frames(uint32_t self, Way& in, Instant now) {
  if (in.frames.empty()) return 0;
  Side& side = *sides_[self];
  pkt::PacketCache& cache = side.worker->impl().packets;
  std::array<pkt::Packet*, kBurst> burst;
  size_t n = 0;
  IfIndex interface = IfIndex::kNone;
  const auto flush = [&] {
    if (n != 0) side.worker->input_steered(interface, {burst.data(), n}, now);
    n = 0;
  };
  const size_t taken = in.frames.peek(kBurst, [&](const Slot& slot) {
    if (slot.interface != interface) flush();
    interface = slot.interface;
    pkt::Packet* frame = stack::copy_frame(*slot.frame, cache);
    if (frame != nullptr) {
      burst[n++] = frame;
    } else {
      ++side.no_buffer;
    }
  });
  in.frames.finish(taken);
  flush();
  return taken;
}

size_t Exchange::take_in(uint32_t self, Instant now) {
  size_t count = 0;
  for (uint32_t from = 0; from < sides_.size(); ++from) {
    if (from == self) continue;
    Way& in = way(from, self);
    if (!in.news.empty()) {
      std::array<ip::TableMessage, 16> news;
      size_t n = 0;
      in.news.peek(news.size(), [&](const ip::TableMessage& m) { news[n++] = m; });
      in.news.finish(n);
      sides_[self]->worker->hear(from, {news.data(), n}, now);
      count += n;
    }
    count += take_frames(self, in, now);
  }
  return count;
}

bool Exchange::give_frames(uint32_t self, uint32_t to) {
  stack::Worker& worker = *sides_[self]->worker;
  SpscRing<Slot>& ring = way(self, to).frames;
  ring.take_back([&](const Slot& slot) { worker.impl().packets.free(slot.frame); });
  bool any = false;
  std::array<stack::Handed, kBurst> out;
  for (size_t room = ring.room(); room != 0; room = ring.room()) {
    const size_t n = worker.hand_over(to, {out.data(), std::min(room, out.size())});
    if (n == 0) break;
    for (size_t i = 0; i < n; ++i) {
      ring.put({out[i].frame, out[i].interface});
    }
    ring.publish();
    any = true;
  }
  return any;
}

bool Exchange::give_news(uint32_t self, uint32_t to) {
  stack::Worker& worker = *sides_[self]->worker;
  if (!worker.has_news(to)) return false;
  SpscRing<ip::TableMessage>& ring = way(self, to).news;
  ring.take_back([](const ip::TableMessage&) {});
  bool any = false;
  std::array<ip::TableMessage, 16> out;
  for (size_t room = ring.room(); room != 0; room = ring.room()) {
    const size_t n = worker.tell(to, {out.data(), std::min(room, out.size())});
    if (n == 0) break;
    for (size_t i = 0; i < n; ++i) ring.put(out[i]);
    ring.publish();
    any = true;
  }
  return any;
}

size_t Exchange::hand_out(uint32_t self) {
  size_t count = 0;
  for (uint32_t to = 0; to < sides_.size(); ++to) {
    if (to == self) continue;
    const bool frames = give_frames(self, to);
    const bool news = give_news(self, to);
    if (!frames && !news) continue;
    ++count;
    wake(to);
  }
  return count;
}

// The sleeper says so and then looks at its rings; we write to its ring and then look whether it says so. The fences
// put both pairs in one order, so that one of the two sees the other.
void Exchange::wake(uint32_t worker) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Side& side = *sides_[worker];
  if (side.asleep.load(std::memory_order_relaxed)) side.waker->wake();
}

bool Exchange::prepare_sleep(uint32_t self) {
  Side& side = *sides_[self];
  side.asleep.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  bool nothing = side.worker->hand_over_room() == stack::HandOver::kRoom / 2;
  for (uint32_t i = 0; i < sides_.size() && nothing; ++i) {
    if (i == self) continue;
    const Way& in = way(i, self);
    nothing = in.frames.empty() && in.news.empty() && !side.worker->has_news(i);
  }
  if (!nothing) end_sleep(self);
  return nothing;
}

void Exchange::settle(Instant now) {
  for (bool more = true; more;) {
    more = false;
    for (uint32_t i = 0; i < sides_.size(); ++i) {
      if (hand_out(i) != 0) more = true;
      if (take_in(i, now) != 0) more = true;
    }
  }
}

void Exchange::clear() {
  for (uint32_t from = 0; from < sides_.size(); ++from) {
    for (uint32_t to = 0; to < sides_.size(); ++to) {
      if (from == to || sides_[from]->worker == nullptr) continue;
      SpscRing<Slot>& ring = way(from, to).frames;
      pkt::PacketCache& cache = sides_[from]->worker->impl().packets;
      const auto done = [&](const Slot& slot) { cache.free(slot.frame); };
      ring.take_back(done);
      while (!ring.empty()) {
        ring.finish(ring.peek(kBurst, [](const Slot&) {}));
        ring.take_back(done);
      }
    }
  }
}

void Exchange::wake_all() const {
  for (const auto& side : sides_) {
    if (side->waker != nullptr) side->waker->wake();
  }
}

}  // namespace millrace::runtime
