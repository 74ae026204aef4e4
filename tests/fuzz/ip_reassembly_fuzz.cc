// Fragments in any order, with overlaps, repetitions and gaps, and time that passes: the tables stay consistent and
// within their limits, what completes is exactly what its fragments said, no packet leaks.
//
// Input: eight bytes a step {control, source and id, start, length (two bytes each, in units that reach everything),
// seconds, pieces}.
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/assert.h"
#include "ip/reassembly.h"

namespace millrace::ip {
namespace {

constexpr uint32_t kHeader = 20;

// Every datagram has content that its key and the place give, so that any mixture shows.
std::byte content(const FragmentKey& key, uint32_t at) {
  return static_cast<std::byte>(key.id * 31 + key.source.bytes()[15] * 7 + at + (at >> 8));
}

class World {
 public:
  World() : cache_(frames_, references_), reassembly_(settings(), cache_, counters_, {1, 2}) {}
  ~World() {
    reassembly_.clear();
    MR_ASSERT(reassembly_.bytes() == 0 && reassembly_.datagrams() == 0 && reassembly_.next_deadline() == kNever);
    cache_.drain();
    MR_ASSERT(frames_.available() == frames_.capacity());
  }

  void step(std::span<const uint8_t, 8> in) {
    now_ = now_ + seconds(in[6] & 0x1f) * ((in[6] & 0x80) != 0 ? 1 : 0);
    reassembly_.advance(
        now_, [&](pkt::Packet& first, IfIndex, bool) { MR_ASSERT(first.total > kHeader && first.len >= kHeader); });
    MR_ASSERT(reassembly_.next_deadline() > now_);
    Fragment f;
    f.key.source = (in[0] & 1) != 0 ? IpAddr({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, in[1]})
                                    : IpAddr::v4(10, 0, 0, in[1] & 3);
    f.key.id = in[1] >> 4;
    f.start = (uint32_t{in[2]} << 8 | in[3]) & ~7U & ((in[0] & 2) != 0 ? 0xffffU : 0xffU);
    f.length = 1 + ((uint32_t{in[4]} << 8 | in[5]) & ((in[0] & 4) != 0 ? 0x7ffU : 0x3fU));
    f.more = (in[0] & 8) != 0;
    if (f.more) f.length = (f.length + 7) & ~7U;
    f.ecn = in[0] >> 6;
    f.header = kHeader;
    f.packet = make(f, (in[7] & 7) + 1, (in[0] & 0x30) == 0x30);
    if (f.packet == nullptr) return;
    give(f);
    MR_ASSERT(reassembly_.check());
  }

 private:
  static const Settings& settings() {
    static const Settings kSmall = [] {
      Settings s;
      s.reassembly_bytes = 65'536;
      s.reassembly_source_bytes = 32'768;
      s.reassembly_datagrams = 6;
      s.reassembly_fragments = 12;
      return s;
    }();
    return kSmall;
  }

  pkt::Packet* make(const Fragment& f, uint32_t pieces, bool spoil) {
    std::vector<std::byte> bytes(kHeader + f.length);
    for (uint32_t i = 0; i < f.length; ++i) bytes[kHeader + i] = content(f.key, f.start + i);
    if (spoil) bytes.back() ^= std::byte{0x40};
    spoiled_ |= spoil;
    const size_t piece = std::max<size_t>(kHeader, (bytes.size() + pieces - 1) / pieces);
    pkt::Packet* head = nullptr;
    for (size_t at = 0; at < bytes.size();) {
      const size_t n = std::min({piece, bytes.size() - at, size_t{pkt::kFrameRoom}});
      pkt::Packet* p = cache_.frame();
      MR_ASSERT(p != nullptr);
      std::memcpy(p->append(static_cast<uint16_t>(n)), bytes.data() + at, n);
      at += n;
      if (head == nullptr) {
        head = p;
      } else {
        pkt::chain(*head, p);
      }
    }
    return head;
  }

  void give(const Fragment& f) {
    const Reassembly::Verdict v = reassembly_.add(f, now_);
    if (v.outcome == Reassembly::Outcome::kRefused) return cache_.free(f.packet);
    if (v.outcome == Reassembly::Outcome::kHeld) return;
    const pkt::Packet& whole = *v.datagram;
    std::vector<std::byte> bytes(whole.total);
    MR_ASSERT(pkt::copy_out(whole, 0, bytes) == whole.total && v.header == kHeader);
    uint16_t segs = 0;
    for (const pkt::Packet* p = &whole; p != nullptr; p = p->next) ++segs;
    MR_ASSERT(segs == whole.segs);
    for (uint32_t i = 0; !spoiled_ && i < bytes.size() - kHeader; ++i) {
      MR_ASSERT(bytes[kHeader + i] == content(f.key, i));
    }
    cache_.free(v.datagram);
  }

  pkt::HeapPacketPool frames_{128};
  pkt::HeapPacketPool references_{1, 0};
  pkt::PacketCache cache_;
  base::Counters<IpCounter> counters_;
  Reassembly reassembly_;
  Instant now_{1};
  bool spoiled_ = false;
};

}  // namespace
}  // namespace millrace::ip

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::ip::World world;
  for (size_t steps = 0; size >= 8 && steps < 256; ++steps, data += 8, size -= 8) {
    world.step(std::span<const uint8_t, 8>(data, 8));
  }
  return 0;
}
