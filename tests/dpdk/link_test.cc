// What every link must do: carry frames whole and in order both ways, push back when full, give buffers back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "frames.h"
#include "sides.h"

namespace millrace::test {
namespace {

struct NamedLink {
  const char* name;
  Link link;
};

void PrintTo(const NamedLink& link, std::ostream* out) { *out << link.name; }

class EveryLink : public testing::TestWithParam<NamedLink> {};

constexpr uint32_t kFrames = 20'000;

uint32_t payload_of(uint32_t seq) { return seq * 7 % 1400; }

bool send_stream(Side& side) {
  uint32_t seq = 0;
  while (seq < kFrames) {
    std::vector<pkt::Packet*> burst;
    for (; burst.size() < 32 && seq < kFrames; ++seq) {
      pkt::Packet* p = linear_frame(side.cache(), {seq % 3 == 0, seq, payload_of(seq)});
      if (p == nullptr) {  // all are in the device's ring
        side.device().housekeeping({});
        break;
      }
      burst.push_back(p);
    }
    if (!CHECK_THAT(side.send(burst))) return false;
  }
  return true;
}

bool right_frame(const pkt::Packet& p, uint32_t expected) {
  const std::vector<std::byte> got = flatten(p);
  const bool v6 = expected % 3 == 0;
  const uint32_t payload = payload_of(expected);
  // Short frames may be padded on the way.
  if (!CHECK_THAT(got.size() >= header_bytes(v6) + payload && is_v6(got) == v6)) return false;
  const std::span<const std::byte> frame = std::span(got).first(header_bytes(v6) + payload);
  if (!CHECK_THAT(seq_of(frame, v6) == expected && checksum_right(frame, v6))) return false;
  return CHECK_THAT(p.headroom() >= pkt::kHeadroom && p.refs == 1);
}

bool receive_stream(Side& side) {
  uint32_t expected = 0;
  bool good = true;
  const bool done = side.receive(
      [&](const pkt::Packet& p) {
        good = good && right_frame(p, expected);
        return !good || ++expected == kFrames;
      },
      kPatience);
  return CHECK_THAT(done) && good;
}

TEST_P(EveryLink, CarriesFramesWholeAndInOrderForth) {
  EXPECT_EQ(run_pair(
                GetParam().link, [](Side& side) { return send_stream(side) && side.hear('d'); },
                [](Side& side) {
                  const bool good = receive_stream(side);
                  side.tell('d');
                  return good;
                }),
            "");
}

TEST_P(EveryLink, CarriesFramesWholeAndInOrderBack) {
  EXPECT_EQ(run_pair(
                GetParam().link,
                [](Side& side) {
                  const bool good = receive_stream(side);
                  side.tell('d');
                  return good;
                },
                [](Side& side) { return send_stream(side) && side.hear('d'); }),
            "");
}

/// Sends until the link takes no more, then lets the other end read: nothing taken may be missing.
bool overfill(Side& side) {
  for (int i = 0; i < 60'000 && !side.device().link_up(); ++i) usleep(1'000);
  if (!CHECK_THAT(side.hear('r'))) return false;
  uint32_t taken = 0;
  for (int refusals = 0; refusals < 1'000 && taken < 100'000;) {
    pkt::Packet* p = linear_frame(side.cache(), {false, taken, 100});
    if (p == nullptr) break;
    if (side.device().transmit({&p, 1}) == 1) {
      ++taken;
    } else {
      side.cache().free(p);
      ++refusals;
    }
  }
  std::fprintf(stderr, "  the link took %u frames before it was full\n", taken);
  if (!CHECK_THAT(taken >= 100 && taken < 100'000)) return false;
  side.tell('f');
  pkt::Packet* last = nullptr;
  for (int i = 0; i < 2'000 && last == nullptr; ++i) {
    side.device().housekeeping({});
    last = linear_frame(side.cache(), {false, taken, 1});
    if (last == nullptr) std::ignore = side.receive([](const pkt::Packet&) { return false; }, 0.001);
  }
  return CHECK_THAT(last != nullptr) && CHECK_THAT(side.send({&last, 1})) && CHECK_THAT(side.hear('d'));
}

bool read_overfilled(Side& side) {
  // A memif client lends its buffers to the other end only when it first asks for frames.
  for (int i = 0; i < 60'000 && !side.device().link_up(); ++i) usleep(1'000);
  const bool early = side.receive([](const pkt::Packet&) { return true; }, 0.1);
  side.tell('r');
  if (!CHECK_THAT(!early)) return false;
  if (!CHECK_THAT(side.hear('f'))) return false;
  uint32_t expected = 0;
  bool in_order = true;
  const bool done = side.receive([&](const pkt::Packet& p) {
    const std::vector<std::byte> got = flatten(p);
    in_order = in_order && seq_of(got, false) == expected++;
    return got.size() < 100;
  });
  side.tell('d');
  return CHECK_THAT(done) && CHECK_THAT(in_order);
}

TEST_P(EveryLink, PushesBackWhenFullAndLosesNothingForth) {
  EXPECT_EQ(run_pair(GetParam().link, overfill, read_overfilled), "");
}

TEST_P(EveryLink, PushesBackWhenFullAndLosesNothingBack) {
  EXPECT_EQ(run_pair(GetParam().link, read_overfilled, overfill), "");
}

/// Goes on using the link while the other end dies, and then ends in good order.
bool outlive(Side& side) {
  for (int i = 0; i < 60'000 && !side.device().link_up(); ++i) usleep(1'000);
  side.tell('u');
  for (int i = 0; i < 300; ++i) {
    std::ignore = side.receive([](const pkt::Packet&) { return false; }, 0.001);
    pkt::Packet* p = linear_frame(side.cache(), {false, 1, 100});
    if (p != nullptr && side.device().transmit({&p, 1}) == 0) side.cache().free(p);
    side.device().housekeeping({});
    if (side.device().arm_wait()) side.device().disarm_wait();
  }
  return true;
}

bool die(Side& side) {
  if (!CHECK_THAT(side.hear('u'))) return false;
  for (int i = 0; i < 50; ++i) {
    pkt::Packet* p = linear_frame(side.cache(), {false, 1, 100});
    if (!CHECK_THAT(side.send({&p, 1}))) return false;
  }
  _exit(0);
}

TEST_P(EveryLink, SurvivesTheDeathOfTheOtherEnd) { EXPECT_EQ(run_pair(GetParam().link, outlive, die), ""); }

INSTANTIATE_TEST_SUITE_P(
    Links, EveryLink,
    testing::Values(NamedLink{"vhost_virtio",
                              {"net_vhost0,iface=@,queues=1,tso=1", "net_virtio_user0,path=@,queues=1"}},
                    NamedLink{"vhost_virtio_packed",
                              {"net_vhost0,iface=@,queues=1,tso=1", "net_virtio_user0,path=@,queues=1,packed_vq=1"}},
                    NamedLink{"memif",
                              {"net_memif0,role=server,socket=@,socket-abstract=no",
                               "net_memif0,role=client,socket=@,socket-abstract=no"}}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace millrace::test
