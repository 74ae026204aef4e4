// SynForger against a real worker: its SYNs are answered, the answers are swallowed, and the rate is kept.
#include "load/syn_forger.h"

#include <gtest/gtest.h>

#include <array>

#include "server.h"
#include "wire/checksum.h"
#include "wire/ip_protocol.h"

namespace millrace::load {
namespace {

// A generator that wants nothing.
class Idle final : public runtime::FrameClient {
 public:
  void attach(const runtime::FramePort&) override {}
  size_t input(std::span<pkt::Packet*> frames, Instant) override { return frames.size(); }
  size_t output(std::span<pkt::Packet*>, Instant) override { return 0; }
  [[nodiscard]] bool wants_output() const override { return false; }
};

class SynForgerTest : public ::testing::TestWithParam<bool>, protected Server {
 protected:
  SynForgerTest() : Server(false, GetParam()), forger_(idle_, {server_, kPort}, 1e6, 5, report_) {
    add_address();
    gateway_ = add_source(10);
    ask(req::AddRoute{{IpAddr::any_v4(), 0}, interface_, gateway_, 0, 0});
    ask(req::Listen{{server_, kPort}, 4'096, 0, {}});
    forger_.attach({kClientMac, limits(), &cache_});
    drop_output();
  }
  // A segment of the server to its client, which shows the way.
  pkt::Packet* segment() {
    const SegmentRoute route{kServerMac, kClientMac, server_, {gateway_, 999}, false};
    pkt::Packet* p = cache_.frame();
    SegmentTemplate::Fields fields;
    fields.source_port = kPort;
    SegmentTemplate(route, wire::kAck, 100, {}, {}).write(*p, fields);
    return p;
  }
  void show_the_way() {
    pkt::Packet* p = segment();
    ASSERT_EQ(forger_.input({&p, 1}, now_), 1U) << "not a forged address";
    cache_.free(p);
  }
  void drop_output() {
    for (size_t n = worker_->output(interface_, out_, now_); n > 0; --n) cache_.free(out_[n - 1]);
  }

  Idle idle_;
  Report report_;
  SynForger forger_;
  IpAddr gateway_;
  std::array<pkt::Packet*, 64> out_{};
};

TEST_P(SynForgerTest, SaysNothingBeforeTheServerWasSeen) {
  now_ = now_ + seconds(1);
  EXPECT_FALSE(forger_.wants_output());
  EXPECT_EQ(forger_.output(out_, now_), 0U);
}

TEST_P(SynForgerTest, KeepsItsRate) {
  show_the_way();
  EXPECT_EQ(forger_.output(out_, now_), 0U);
  now_ = now_ + microseconds(20);
  const size_t n = forger_.output(out_, now_);
  EXPECT_EQ(n, 20U);
  EXPECT_EQ(report_.forged, 20U);
  for (size_t i = 0; i < n; ++i) cache_.free(out_[i]);
}

TEST_P(SynForgerTest, LeavesHalfOfABurstToTheGenerator) {
  show_the_way();
  now_ = now_ + seconds(1);
  const size_t n = forger_.output(out_, now_);
  EXPECT_EQ(n, out_.size() / 2);
  for (size_t i = 0; i < n; ++i) cache_.free(out_[i]);
}

TEST_P(SynForgerTest, ServerAnswersEveryOneAndTheAnswersAreSwallowed) {
  show_the_way();
  now_ = now_ + microseconds(30);
  const size_t n = forger_.output(out_, now_);
  ASSERT_EQ(n, 30U);
  for (size_t i = 0; i < n; ++i) {
    const std::byte* tcp = out_[i]->data() + 34;
    const IpAddr source = IpAddr::v4(wire::load_be32(out_[i]->data() + 26));
    const uint64_t pseudo = wire::pseudo_sum(source, server_, wire::kProtocolTcp, 40);
    if (GetParam()) {
      EXPECT_EQ(wire::load_be16(tcp + 16), wire::fold(pseudo)) << "left to the device";
    } else {
      EXPECT_TRUE(wire::is_valid(wire::add_sums(pseudo, wire::sum_bytes(tcp, 40))));
    }
    cross(*out_[i]);
    worker_->input(interface_, {&out_[i], 1}, now_);
  }
  const size_t answers = worker_->output(interface_, out_, now_);
  EXPECT_EQ(answers, n);
  EXPECT_EQ(forger_.input({out_.data(), answers}, now_), 0U);
}

std::string name_of(const ::testing::TestParamInfo<bool>& variant) {
  return std::string(variant.param ? "DeviceSums" : "OwnSums");
}

INSTANTIATE_TEST_SUITE_P(All, SynForgerTest, ::testing::Bool(), name_of);

}  // namespace
}  // namespace millrace::load
