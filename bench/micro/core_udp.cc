// Cycles per 64-byte UDP datagram echoed through the core alone: Worker::input, an echo program that takes and sends
// batches, Worker::output; no device. Datagrams come in bursts of 32 from so many flows in random order; they are made
// and their answers checked outside the timed region.
//
//   bench_core_udp [--software-checksums] [--copy] [--connected] [--v6] [--rounds N] FLOWS...
#include <x86intrin.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "base/assert.h"
#include "base/rng.h"
#include "pkt/pool.h"
#include "runtime/memory.h"
#include "stack/impl.h"
#include "stack/worker.h"
#include "wire/bytes.h"
#include "wire/checksum.h"

using namespace millrace;

namespace {

constexpr size_t kBurst = 32;
constexpr size_t kInFlight = 2'048;
constexpr size_t kPayload = 64;
constexpr uint16_t kPort = 7;
const MacAddr kPeerMac{{2, 0, 0, 0, 0, 1}};
const MacAddr kWorkerMac{{2, 0, 0, 0, 0, 2}};

struct Mode {
  bool device_checksums = true;
  bool copy = false;
  bool connected = false;
  bool v6 = false;
};

IpAddr worker_addr(const Mode& mode) { return mode.v6 ? *IpAddr::parse("fd00::2") : IpAddr::v4(10, 0, 0, 2); }

Endpoint flow(const Mode& mode, uint32_t i) {
  const uint32_t host = i / 60'000;
  const auto port = static_cast<uint16_t>(1'024 + i % 60'000);
  if (!mode.v6) return {IpAddr::v4(0x0a010000 + host), port};
  std::array<uint8_t, 16> bytes = worker_addr(mode).bytes();
  bytes[13] = 1;
  bytes[15] = static_cast<uint8_t>(host);
  return {IpAddr(bytes), port};
}

class Bench {
 public:
  explicit Bench(const Mode& mode, uint32_t flows) : mode_(mode), flows_(flows) {
    stack::WorkerConfig config;
    config.frames = &frames_;
    config.references = &references_;
    config.memory = &memory_;
    config.seed = 42;
    config.max_connections = 16;
    config.max_datagram_sockets = flows + 16;
    worker_ = std::make_unique<stack::Worker>(config);
    link::NetifConfig netif;
    netif.name = "bench0";
    netif.mac = kWorkerMac;
    netif.limits.tx_checksum_v4 = netif.limits.tx_checksum_v6 = mode.device_checksums;
    netif.limits.tx_ip_checksum = mode.device_checksums;
    interface_ = *worker_->add_interface(netif);
    require(worker_->request(req::AddAddress{interface_, {worker_addr(mode), uint8_t(mode.v6 ? 64 : 8)}}, now_));
    for (uint32_t i = 0; i < flows; i += 60'000) {
      require(worker_->request(req::AddNeighbour{interface_, flow(mode, i).addr, kPeerMac}, now_));
    }
    open();
    (void)take();
  }

  double run(int rounds, double& least) {
    std::vector<double> samples;
    for (int round = -2; round < rounds; ++round) {
      uint64_t cycles = 0;
      size_t done = 0;
      for (; done < 65'536; done += kInFlight) {
        make_requests();
        for (size_t i = 0; i < kInFlight; i += kBurst) cycles += burst({requests_.data() + i, kBurst});
      }
      if (round >= 0) samples.push_back(static_cast<double>(cycles) / static_cast<double>(done));
    }
    MR_ASSERT(worker_->check().empty());
    std::sort(samples.begin(), samples.end());
    least = samples.front();
    return samples[samples.size() / 2];
  }

 private:
  static void require(const Result<Reply>& r) { MR_ASSERT(r.has_value()); }

  void open() {
    DatagramOptions options;
    options.receive_buffer = 64 << 20;
    options.reuse = mode_.connected;
    for (uint32_t i = 0; i < (mode_.connected ? flows_ : 1); ++i) {
      const auto h = worker_->request(
          req::OpenDatagram{{mode_.v6 ? IpAddr() : IpAddr::any_v4(), kPort}, DatagramKind::kUdp, 0, options}, now_);
      require(h);
      if (mode_.connected) require(worker_->request(req::ConnectDatagram{h->handle, flow(mode_, i)}, now_));
    }
  }

  void make_requests() {
    requests_.resize(kInFlight);
    MR_ASSERT(frames_.allocate(requests_) == kInFlight);
    for (pkt::Packet*& p : requests_) fill(*p, static_cast<uint32_t>(rng_.below(flows_)));
  }

  void fill(pkt::Packet& p, uint32_t i) {
    const Endpoint from = flow(mode_, i);
    const IpAddr to = worker_addr(mode_);
    const size_t ip = mode_.v6 ? 40 : 20;
    p.off = pkt::kHeadroom;
    p.len = 0;
    p.total = 0;
    p.segs = 1;
    p.next = nullptr;
    p.flags = mode_.device_checksums ? pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumGood : 0;
    std::byte* at = p.append(static_cast<uint16_t>(14 + ip + 8 + kPayload));
    wire::store_mac(at, kWorkerMac);
    wire::store_mac(at + 6, kPeerMac);
    wire::store_be16(at + 12, mode_.v6 ? 0x86dd : 0x0800);
    std::byte* header = at + 14;
    std::memset(header, 0, ip + 8);
    if (mode_.v6) {
      wire::store_be32(header, 0x60000000);
      wire::store_be32(header + 4, (8 + kPayload) << 16 | 17 << 8 | 64);
      wire::store_v6(header + 8, from.addr);
      wire::store_v6(header + 24, to);
    } else {
      wire::store_be16(header, 0x4500);
      wire::store_be16(header + 2, static_cast<uint16_t>(ip + 8 + kPayload));
      wire::store_be16(header + 8, 0x4011);
      wire::store_v4(header + 12, from.addr);
      wire::store_v4(header + 16, to);
      wire::store_be16(header + 10, wire::finish(wire::sum_bytes(header, 20)));
    }
    std::byte* udp = header + ip;
    wire::store_be16(udp, from.port);
    wire::store_be16(udp + 2, kPort);
    wire::store_be16(udp + 4, 8 + kPayload);
    const uint64_t stamp = ++sent_ * 0x9e3779b97f4a7c15ULL + i;
    for (size_t k = 0; k < kPayload; k += 8) std::memcpy(udp + 8 + k, &stamp, 8);
    const uint64_t pseudo = wire::pseudo_sum(from.addr, to, 17, 8 + kPayload);
    wire::store_be16(udp + 6, wire::finish_nonzero(wire::add_sums(pseudo, wire::sum_bytes(udp, 8 + kPayload))));
    expected_.push_back(stamp);
  }

  uint64_t burst(std::span<pkt::Packet*> in) {
    now_ = now_ + microseconds(1);
    const uint64_t start = __rdtsc();
    worker_->input(interface_, in, now_);
    for (const Event& e : worker_->events()) echo(e.handle);
    worker_->clear_events();
    worker_->advance(now_);
    const size_t n = worker_->output(interface_, out_, now_);
    const uint64_t cycles = __rdtsc() - start;
    MR_ASSERT(check({out_.data(), n}) == in.size());
    return cycles;
  }

  void echo(Handle h) {
    for (;;) {
      if (mode_.copy) {
        for (size_t i = 0; i < kBurst; ++i) messages_[i].into = {room_.data() + i * 2'048, 2'048};
      }
      const auto got = worker_->request(req::ReceiveBatch{h, messages_, false}, now_);
      if (!got) return;
      const std::span<Message> batch(messages_.data(), got->bytes);
      for (Message& m : batch) m.turn_around();
      require(worker_->request(req::SendBatch{h, batch}, now_));
      if (batch.size() < messages_.size()) return;
    }
  }

  // Every request of the burst is answered, whatever the order among sockets.
  size_t check(std::span<pkt::Packet*> frames) {
    std::vector<uint64_t> got;
    for (pkt::Packet* p : frames) {
      const std::byte* payload = p->data() + p->total - kPayload;
      uint64_t stamp = 0;
      std::memcpy(&stamp, payload, 8);
      for (size_t k = 8; k < kPayload; k += 8) MR_ASSERT(std::memcmp(payload + k, &stamp, 8) == 0);
      got.push_back(stamp);
      MR_ASSERT(p->next == nullptr && p->refs == 1);
      frames_.release({&p, 1});
    }
    std::vector<uint64_t> want(expected_.begin() + static_cast<ptrdiff_t>(checked_),
                               expected_.begin() + static_cast<ptrdiff_t>(checked_ + kBurst));
    checked_ += kBurst;
    if (checked_ == expected_.size()) {
      expected_.clear();
      checked_ = 0;
    }
    std::sort(got.begin(), got.end());
    std::sort(want.begin(), want.end());
    MR_ASSERT(got == want);
    return got.size();
  }

  size_t take() {
    size_t all = 0;
    for (size_t n = 1; n != 0; all += n) {
      n = worker_->output(interface_, out_, now_);
      for (size_t i = 0; i < n; ++i) worker_->impl().packets.free(out_[i]);
    }
    return all;
  }

  Mode mode_;
  uint32_t flows_;
  runtime::HugeMemory memory_;
  pkt::HeapPacketPool frames_{kInFlight * 2 + 1'024};
  pkt::HeapPacketPool references_{1'024, 0};
  std::unique_ptr<stack::Worker> worker_;
  IfIndex interface_{};
  Instant now_{1'000'000'000};
  base::Rng rng_{7};
  std::vector<pkt::Packet*> requests_;
  std::array<pkt::Packet*, kBurst * 2> out_{};
  std::array<Message, kBurst> messages_{};
  std::vector<std::byte> room_ = std::vector<std::byte>(kBurst * 2'048);
  std::vector<uint64_t> expected_;
  size_t checked_ = 0;
  uint64_t sent_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Mode mode;
  int rounds = 15;
  std::vector<uint32_t> counts;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--software-checksums") {
      mode.device_checksums = false;
    } else if (word == "--copy") {
      mode.copy = true;
    } else if (word == "--connected") {
      mode.connected = true;
    } else if (word == "--v6") {
      mode.v6 = true;
    } else if (word == "--rounds" && i + 1 < argc) {
      rounds = std::atoi(argv[++i]);
    } else {
      counts.push_back(static_cast<uint32_t>(std::atol(argv[i])));
    }
  }
  if (counts.empty()) counts = {1, 256, 10'000};
  fmt::print("checksums: {}; {}; {}\n", mode.device_checksums ? "device" : "software",
             mode.copy ? "copied" : "in place", mode.connected ? "a connected socket for each flow" : "one socket");
  fmt::print("{:>12} {:>14} {:>10}\n", "flows", "cycles/echo", "min");
  for (const uint32_t n : counts) {
    auto bench = std::make_unique<Bench>(mode, n);
    double least = 0;
    const double median = bench->run(rounds, least);
    fmt::print("{:>12} {:>14.0f} {:>10.0f}\n", n, median, least);
    std::fflush(stdout);
  }
}
