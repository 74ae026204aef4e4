// What a flood of forged SYNs costs the core: cycles per forged SYN with and without cookies, and what established
// connections keep of their throughput while a million come a second. The same rounds as core_echo (echo_rounds.h), but
// with SYNs from random addresses beyond a gateway among the requests of each burst.
//
//   bench_syn_flood [--rounds N] [--connections N] [--software-checksums]
//   bench_syn_flood --cookies-only: nothing but 64,000 forged SYNs, to count instructions in Flood::turn
//   bench_syn_flood --among-only: 8,000 forged SYNs among 64,000 requests, for the same
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fmt/core.h>

#include "echo_rounds.h"

using namespace millrace;

namespace {

constexpr size_t kBurst = 32;
constexpr size_t kPayload = 64;

uint32_t row_of(std::string_view name) {
  for (uint32_t i = 0; i < std::size(tcp::kSettingRows); ++i) {
    if (name == tcp::kSettingRows[i].name) return i;
  }
  return UINT32_MAX;
}

class Flood {
 public:
  Flood(bench::Seat& seat, uint32_t connections, bool device_checksums)
      : seat_(seat), device_checksums_(device_checksums), order_(connections) {
    for (uint32_t i = 0; i < connections; ++i) order_[i] = i;
    const IpAddr gateway = IpAddr::v4(bench::kFirstAddr);
    const auto routed = seat.worker.request(req::AddRoute{{IpAddr::any_v4(), 0}, seat.peer.interface(), gateway, 0, 0},
                                            seat.peer.now());
    MR_ASSERT(routed.has_value());
  }

  void set_cookies(int64_t mode) { set("syncookies", mode); }
  /// SYNs answered in a second of virtual time, of which a burst takes a microsecond; 0: all.
  void set_budget(int64_t rate) { set("syncookies_per_second", rate); }
  void set(std::string_view name, int64_t value) {
    const auto done = seat_.worker.request(
        req::Set{req::Set::Section::kTcp, static_cast<uint16_t>(row_of(name)), value}, seat_.peer.now());
    MR_ASSERT(done.has_value());
  }

  /// Cycles per burst of `requests` echoes and `forged` SYNs.
  double run(size_t requests, size_t forged, size_t bursts) {
    uint64_t cycles = 0;
    for (size_t b = 0; b < bursts; ++b) {
      std::vector<pkt::Packet*> frames;
      for (std::byte& byte : payload_) byte = static_cast<std::byte>(rng_.next());
      for (size_t i = 0; i < requests; ++i) frames.push_back(seat_.peer.request(next(), payload_));
      for (size_t i = 0; i < forged; ++i) frames.push_back(syn());
      for (size_t i = frames.size(); forged > 0 && i > 1; --i) std::swap(frames[i - 1], frames[rng_.below(i)]);
      seat_.peer.advance_time(microseconds(1));
      cycles += turn(frames, requests);
    }
    return static_cast<double>(cycles) / static_cast<double>(bursts);
  }

 private:
  uint32_t next() {
    if (at_ == order_.size()) {
      for (size_t k = order_.size() - 1; k > 0; --k) std::swap(order_[k], order_[rng_.below(k + 1)]);
      at_ = 0;
    }
    return order_[at_++];
  }

  uint64_t turn(std::vector<pkt::Packet*>& frames, size_t requests) {
    stack::Worker& worker = seat_.worker;
    const Instant now = seat_.peer.now();
    std::array<pkt::Packet*, 4 * kBurst> out;
    const uint64_t start = __rdtsc();
    worker.input(seat_.peer.interface(), frames, now);
    for (const Event& e : worker.events()) {
      const auto got = worker.request(req::Receive{e.handle, buffer_}, now);
      if (got && got->bytes > 0) (void)worker.request(req::Send{e.handle, {buffer_.data(), got->bytes}}, now);
    }
    worker.clear_events();
    worker.advance(now);
    const size_t n = worker.output(seat_.peer.interface(), out, now);
    const uint64_t took = __rdtsc() - start;
    // Answers to forged addresses go to nobody.
    const auto forged = std::partition(out.begin(), out.begin() + static_cast<long>(n), [](const pkt::Packet* p) {
      return wire::load_be32(p->data() + 30) >> 24 == bench::kWorkerAddr >> 24;
    });
    const auto echoes = static_cast<size_t>(forged - out.begin());
    MR_ASSERT(seat_.peer.answer({out.data(), echoes}, payload_) == requests * kPayload);
    if (n > echoes) seat_.frames.release({out.data() + echoes, n - echoes});
    return took;
  }

  pkt::Packet* syn() {
    const auto source = static_cast<uint32_t>((20 + rng_.below(80)) << 24 | rng_.below(1 << 24));
    pkt::Packet* p = bench::tcp_frame(seat_.frames, source, 40, 40, device_checksums_);
    std::byte* tcp = p->data() + 34;
    wire::store_be16(tcp, static_cast<uint16_t>(1'024 + rng_.below(60'000)));
    wire::store_be16(tcp + 2, bench::kPort);
    wire::store_be32(tcp + 4, static_cast<uint32_t>(rng_.next()));
    wire::store_be16(tcp + 12, 0xa002);
    wire::store_be16(tcp + 14, 65'535);
    wire::store_be32(tcp + 20, 0x020405b4);
    wire::store_be32(tcp + 24, 0x0402080a);
    wire::store_be32(tcp + 28, static_cast<uint32_t>(rng_.next()));
    wire::store_be32(tcp + 36, 0x01030307);
    if (!device_checksums_) bench::finish_checksums(p, source);
    return p;
  }

  bench::Seat& seat_;
  bool device_checksums_;
  base::Rng rng_{11};
  std::array<std::byte, kPayload> payload_{};
  std::array<std::byte, 2'048> buffer_{};
  std::vector<uint32_t> order_;
  size_t at_ = 0;
};

double tsc_hertz() {
  const auto begin = std::chrono::steady_clock::now();
  const uint64_t from = __rdtsc();
  while (std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(50)) {
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(__rdtsc() - from) / took.count();
}

double median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = 15;
  uint32_t connections = 256;
  bool device_checksums = true;
  bool cookies_only = false;
  bool among_only = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
      rounds = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--connections") == 0 && i + 1 < argc) {
      connections = static_cast<uint32_t>(std::atol(argv[++i]));
    } else if (std::strcmp(argv[i], "--software-checksums") == 0) {
      device_checksums = false;
    } else if (std::strcmp(argv[i], "--cookies-only") == 0) {
      cookies_only = true;
    } else if (std::strcmp(argv[i], "--among-only") == 0) {
      among_only = true;
    } else {
      fmt::print(stderr,
                 "usage: bench_syn_flood [--rounds N] [--connections N] [--software-checksums] "
                 "[--cookies-only | --among-only]\n");
      return 2;
    }
  }
  rounds = std::max(rounds, 1);
  bench::Seat seat(std::max(connections, 1u), device_checksums);
  seat.peer.open(std::max(connections, 1u));
  Flood flood(seat, std::max(connections, 1u), device_checksums);
  const double hertz = tsc_hertz();

  constexpr size_t kBursts = 2'000;
  std::vector<double> cookie;
  std::vector<double> entry;
  std::vector<double> alone;
  std::vector<double> mixed;
  const size_t mixed_syns = 4;  // about one SYN to eight requests: a million a second beside eight million
  std::vector<double> dropped;
  flood.set_cookies(2);
  flood.set_budget(0);
  if (cookies_only) {
    (void)flood.run(0, kBurst, kBursts);
    return 0;
  }
  (void)flood.run(kBurst, mixed_syns, kBursts);
  if (among_only) return 0;
  for (int r = 0; r < rounds; ++r) {
    flood.set_cookies(2);
    cookie.push_back(flood.run(0, kBurst, kBursts) / kBurst);
    alone.push_back(flood.run(kBurst, 0, kBursts) / kBurst);
    mixed.push_back((flood.run(kBurst, mixed_syns, kBursts) - alone.back() * kBurst) / mixed_syns);
    flood.set_budget(1);
    dropped.push_back((flood.run(kBurst, mixed_syns, kBursts) - alone.back() * kBurst) / mixed_syns);
    flood.set_budget(0);
    flood.set_cookies(0);
    entry.push_back(flood.run(0, kBurst, kBursts) / kBurst);
  }
  MR_ASSERT(seat.worker.check().empty());
  const double one = std::max(median(cookie), median(mixed));
  // Half of the budget is for SYNs that come again.
  const double answered = static_cast<double>(tcp::Settings{}.syncookies_per_second) / 2 / 1e6;
  const double budgeted = answered * one + (1 - answered) * median(dropped);
  fmt::print("TSC {:.2f} GHz, {} connections, checksums: {}\n", hertz / 1e9, connections,
             device_checksums ? "device" : "software");
  fmt::print("{:<56} {:>8.0f}\n", "cycles per forged SYN, cookies", median(cookie));
  fmt::print("{:<56} {:>8.0f}\n", "cycles per forged SYN, cookies, among requests", median(mixed));
  fmt::print("{:<56} {:>8.0f}\n", "cycles per forged SYN, entries (table full)", median(entry));
  fmt::print("{:<56} {:>8.0f}\n", "cycles per forged SYN beyond the budget, among requests", median(dropped));
  fmt::print("{:<56} {:>8.0f}\n", "cycles per request", median(alone));
  fmt::print("{:<56} {:>7.1f}%\n", "share of the core that 1 M forged SYNs/s take", one * 1e8 / hertz);
  fmt::print("{:<56} {:>7.1f}%\n", "what requests keep of their throughput, all answered", 100 - one * 1e8 / hertz);
  fmt::print("{:<56} {:>7.1f}%\n", "the same, as many answered as is the default", 100 - budgeted * 1e8 / hertz);
}
