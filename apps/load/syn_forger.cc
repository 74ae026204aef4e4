// See syn_forger.h.
#include "load/syn_forger.h"

#include <algorithm>

#include "load/way.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"

namespace millrace::load {

namespace {

constexpr uint16_t kWindow = 65'535;
constexpr uint32_t kFirstNet = 20;  // of the addresses' first byte
constexpr uint32_t kNets = 80;
constexpr size_t kSourceAt = wire::kEthernetSize + 12;
constexpr size_t kDestinationAt = wire::kEthernetSize + 16;
constexpr size_t kTcpAt = wire::kEthernetSize + wire::kIpv4MinSize;
constexpr Duration kMostDebt = milliseconds(1);  // what came later than that is not made up for

// MSS 1,460, SACK permitted, timestamps, window scale 7: the usual SYN.
constexpr uint8_t kOptions[] = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7};

// RFC 1624: the field at `at` with four more bytes in its sum.
void add_to_checksum(std::byte* at, uint32_t value) {
  const auto sum = wire::sum_be16(static_cast<uint16_t>(~wire::load_be16(at)));
  wire::store_be16(at, wire::finish(uint64_t{sum} + wire::sum_be32(value)));
}

}  // namespace

SynForger::SynForger(runtime::FrameClient& generator, const Endpoint& target, double rate, uint64_t seed,
                     Report& report)
    : generator_(generator), target_(target), rate_(rate), rng_(seed), report_(report) {}

void SynForger::attach(const runtime::FramePort& port) {
  port_ = port;
  generator_.attach(port);
}

bool SynForger::is_forged(const pkt::Packet& frame) {
  if (frame.len < kTcpAt || wire::load_be16(frame.data() + 12) != static_cast<uint16_t>(wire::EtherType::kIpv4)) {
    return false;
  }
  return wire::load_u8(frame.data() + kDestinationAt) - kFirstNet < kNets;
}

size_t SynForger::input(std::span<pkt::Packet*> frames, Instant now) {
  size_t kept = 0;
  for (pkt::Packet* p : frames) {
    if (is_forged(*p)) {
      port_.packets->free(p);
      continue;
    }
    frames[kept++] = p;
    if (syn_) continue;
    if (const auto way = way_of(*p, wire::kProtocolTcp, target_, 0)) {
      const SegmentRoute route{port_.mac, way->next_hop, IpAddr::any_v4(), target_, port_.limits.tx_checksum_v4};
      syn_.emplace(route, wire::kSyn, kWindow, std::as_bytes(std::span(kOptions)), wire::Bytes());
      paid_until_ = now;
    }
  }
  return generator_.input(frames.first(kept), now);
}

// The template has no source address, so that its sums only have to grow by one.
void SynForger::forge(pkt::Packet& frame) {
  const auto source = static_cast<uint32_t>((kFirstNet + rng_.below(kNets)) << 24 | rng_.below(1 << 24));
  SegmentTemplate::Fields fields;
  fields.source_port = static_cast<uint16_t>(1'024 + rng_.below(60'000));
  fields.seq = base::Seq32(static_cast<uint32_t>(rng_.next()));
  fields.ts_value = static_cast<uint32_t>(rng_.next());
  syn_->write(frame, fields);
  wire::store_be32(frame.data() + kSourceAt, source);
  add_to_checksum(frame.data() + wire::kEthernetSize + 10, source);
  std::byte* tcp_sum = frame.data() + kTcpAt + wire::kTcpChecksumAt;
  if ((frame.flags & pkt::kTxTcpChecksum) == 0) return add_to_checksum(tcp_sum, source);
  const uint64_t pseudo = wire::sum_be16(wire::load_be16(tcp_sum));
  wire::store_be16(tcp_sum, wire::fold(pseudo + wire::sum_be32(source)));
}

size_t SynForger::output(std::span<pkt::Packet*> out, Instant now) {
  size_t n = 0;
  if (syn_) {
    paid_until_ = std::max(paid_until_, now - kMostDebt);
    const Duration each = nanoseconds(static_cast<int64_t>(1e9 / rate_));
    for (; n < out.size() / 2 && paid_until_ + each <= now; ++n) {
      pkt::Packet* p = port_.packets->frame();
      if (p == nullptr) break;
      forge(*p);
      out[n] = p;
      paid_until_ = paid_until_ + each;
    }
    report_.forged += n;
  }
  return n + generator_.output(out.subspan(n), now);
}

}  // namespace millrace::load
