// An attacker who knows the addresses and ports of a connection, but no sequence number, and fires at both of its ends:
// nothing is reset, nothing gets into the stream, and the transfer takes as long as without (RFC 5961).
#include <gtest/gtest.h>

#include "base/rng.h"
#include "sim/dumbbell.h"
#include "sim/frame_view.h"

namespace millrace::sim {
namespace {

constexpr uint64_t kBytes = 8 << 20;
constexpr int kPerMillisecond = 20;  // forged segments for each end: some 30 times what the transfer itself sends

// From the other end of `host`, with everything but addresses and ports at random.
Bytes forged(int host, base::Rng& rng) {
  const Endpoint ends[2] = {{IpAddr::v4(10, 0, 0, 1), 10'000}, {IpAddr::v4(10, 0, 0, 2), 80}};
  TcpSpec spec;
  spec.source = ends[1 - host];
  spec.destination = ends[host];
  spec.source_mac = MacAddr{{2, 0, 0, 0, 0, static_cast<uint8_t>(2 - host)}};
  spec.destination_mac = MacAddr{{2, 0, 0, 0, 0, static_cast<uint8_t>(1 + host)}};
  spec.seq = static_cast<uint32_t>(rng.next());
  spec.ack = static_cast<uint32_t>(rng.next());
  spec.window = static_cast<uint16_t>(rng.next());
  constexpr uint8_t kKinds[] = {kRst, kRst | kAck, kSyn, kSyn | kAck, kAck, kAck, kFin | kAck};
  spec.flags = kKinds[rng.below(std::size(kKinds))];
  if ((spec.flags & (kAck | kSyn | kRst)) == kAck && rng.chance(2, 3)) {
    spec.payload.assign(static_cast<size_t>(rng.between(1, 1'400)), 0xee);
  }
  if (rng.chance(3, 4)) {
    spec.options = timestamp_option(static_cast<uint32_t>(rng.next()), static_cast<uint32_t>(rng.next()));
  }
  return build_tcp(spec);
}

struct Outcome {
  Duration took{};
  FlowResult flow;
  uint64_t forged = 0;
  uint64_t challenges = 0;  ///< of the sender's
};

Outcome transfer(uint64_t seed, bool attacked) {
  DumbbellConfig config;
  config.bottleneck.bits_per_second = 50'000'000;
  config.bottleneck.queue_bytes = 125'000;
  config.seed = seed;
  Dumbbell d(config, {{.controller = "cubic", .round_trip = milliseconds(20), .bytes = kBytes}});
  base::Rng rng(seed);
  Outcome out;
  Instant now{};
  while (d.flow(0).ended == kNever && !d.flow(0).failed && now < Instant(seconds(20).ns())) {
    now = now + milliseconds(1);
    d.run_until(now);
    for (int i = 0; attacked && d.flow(0).bytes > 0 && i < 2 * kPerMillisecond; ++i) {
      d.inject(i % 2, forged(i % 2, rng));
      ++out.forged;
    }
  }
  out.flow = d.flow(0);
  out.took = d.flow(0).ended - d.flow(0).began;
  out.challenges = d.counter("tcp.challenge_acks");
  return out;
}

TEST(Swarm, NeitherResetsNorInjectsNorSlowsAConnection) {
  for (const uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    const Outcome quiet = transfer(seed, false);
    const Outcome loud = transfer(seed, true);
    ASSERT_EQ(quiet.flow.bytes, kBytes);
    EXPECT_GT(loud.forged, 40'000u);
    EXPECT_FALSE(loud.flow.failed);
    EXPECT_EQ(loud.flow.bytes, kBytes);
    EXPECT_EQ(loud.flow.foreign, 0u);
    EXPECT_LE(loud.took.us(), quiet.took.us() * 101 / 100);
    EXPECT_LE(loud.challenges, 2 + static_cast<uint64_t>(2 * loud.took.ns() / 1'000'000'000)) << "two a second";
  }
}

}  // namespace
}  // namespace millrace::sim
