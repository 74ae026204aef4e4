// Frames that the worker's fast way in must not take for more than they are: addresses of the wrong family, addresses
// that are not ours, sources that nobody may have; and what timestamps it echoes.
#include <gtest/gtest.h>

#include <vector>

#include "base/memory.h"
#include "pkt/pool.h"
#include "stack/worker.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"

namespace millrace::stack {
namespace {

const MacAddr kOurMac{{2, 0, 0, 0, 0, 2}};
const MacAddr kPeerMac{{2, 0, 0, 0, 0, 1}};
const IpAddr kOurs = IpAddr::v4(198, 18, 0, 2);
const IpAddr kPeer = IpAddr::v4(198, 18, 0, 1);
constexpr uint16_t kPeerPort = 40'000;
constexpr base::Seq32 kIrs{1'000};

struct Tcp {
  IpAddr source = kPeer;
  IpAddr destination = kOurs;
  wire::TcpFlags flags;
  base::Seq32 seq;
  base::Seq32 ack;
  uint32_t ts_val = 0;
  size_t payload = 0;
};

class Input : public testing::Test {
 protected:
  Input() : worker_(config()) {
    link::NetifConfig netif;
    netif.name = "t0";
    netif.mac = kOurMac;
    interface_ = *worker_.add_interface(netif);
    ask(req::AddAddress{interface_, *Prefix::parse("198.18.0.2/24")});
    ask(req::AddAddress{interface_, *Prefix::parse("fd00:6d72::2/64")});
    ask(req::AddRoute{*Prefix::parse("0.0.0.0/0"), interface_, kPeer});
    ask(req::AddNeighbour{interface_, kPeer, kPeerMac});
    ask(req::SetLink{interface_, true});
    ask(req::Listen{{IpAddr::any_v4(), 80}});
  }

  WorkerConfig config() {
    WorkerConfig c;
    c.frames = &frames_;
    c.references = &references_;
    c.memory = &memory_;
    c.seed = 7;
    c.max_connections = 64;
    c.max_half_open = 64;
    c.max_time_wait = 64;
    return c;
  }

  void ask(const Request& request) { ASSERT_TRUE(worker_.request(request, now_)); }

  /// An Ethernet frame with one segment; with `as_v6` the IPv4 addresses travel in their mapped form.
  void receive(const Tcp& t, bool as_v6 = false) {
    const size_t tcp_bytes = wire::kTcpMinSize + wire::kTcpTimestampsSize + t.payload;
    const size_t ip_bytes = as_v6 ? wire::kIpv6Size : wire::kIpv4MinSize;
    pkt::Packet* p = packets_.frame();
    ASSERT_NE(p, nullptr);
    const size_t bytes = wire::kEthernetSize + ip_bytes + tcp_bytes;
    const wire::MutableBytes frame(p->append(static_cast<uint16_t>(bytes)), bytes);
    std::fill(frame.begin(), frame.end(), std::byte{0});
    const auto type = as_v6 ? wire::EtherType::kIpv6 : wire::EtherType::kIpv4;
    wire::EthernetHeader{kOurMac, kPeerMac, type}.emit(frame);
    if (as_v6) {
      wire::Ipv6Header{0, 0, static_cast<uint16_t>(tcp_bytes), wire::kProtocolTcp, 64, t.source, t.destination}.emit(
          frame.subspan(14));
    } else {
      wire::Ipv4Header h;
      h.total_length = static_cast<uint16_t>(ip_bytes + tcp_bytes);
      h.protocol = wire::kProtocolTcp;
      h.source = t.source;
      h.destination = t.destination;
      h.emit(frame.subspan(14));
    }
    const wire::MutableBytes segment = frame.subspan(14 + ip_bytes);
    wire::TcpHeader h{kPeerPort, 80, t.seq, t.ack, 32, t.flags, 65'000, 0, 0};
    h.emit(segment);
    wire::emit_timestamps(&segment[20], t.ts_val, 0);
    h.checksum = wire::finish(
        wire::add_sums(wire::pseudo_sum(t.source, t.destination, wire::kProtocolTcp, static_cast<uint32_t>(tcp_bytes)),
                       wire::sum_bytes(segment)));
    h.emit(segment);
    worker_.input(interface_, {&p, 1}, now_);
  }

  /// TCP headers of what the worker sends now.
  std::vector<std::vector<std::byte>> sent() {
    std::vector<std::vector<std::byte>> out;
    pkt::Packet* p = nullptr;
    while (worker_.output(interface_, {&p, 1}, now_) == 1) {
      const wire::Bytes frame = p->bytes();
      if (wire::load_be16(&frame[12]) == 0x0800) out.emplace_back(frame.begin() + 34, frame.end());
      packets_.free(p);
    }
    return out;
  }

  uint64_t counter(std::string_view name) {
    for (const auto& c : worker_.counters()) {
      if (c.name == name) return c.value;
    }
    ADD_FAILURE() << name;
    return 0;
  }

  /// Completes a handshake with timestamps; returns the worker's next sequence number.
  base::Seq32 connect(uint32_t ts_val) {
    receive({.flags = wire::kSyn, .seq = kIrs, .ts_val = ts_val});
    const auto answer = sent();
    EXPECT_EQ(answer.size(), 1u);
    const base::Seq32 iss = wire::TcpView::check(answer.at(0))->seq();
    receive({.flags = wire::kAck, .seq = kIrs + 1, .ack = iss + 1, .ts_val = ts_val});
    (void)sent();
    return iss + 1;
  }

  pkt::HeapPacketPool frames_{256};
  pkt::HeapPacketPool references_{256, 0};
  pkt::PacketCache packets_{frames_, references_};
  base::HeapMemory memory_;
  Instant now_{1'000'000'000};
  Worker worker_;
  IfIndex interface_{};
};

TEST_F(Input, AnswersASynToItsAddress) {
  receive({.flags = wire::kSyn, .seq = kIrs});
  const auto answer = sent();
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(wire::TcpView::check(answer[0])->flags(), wire::kSyn | wire::kAck);
}

TEST_F(Input, TakesNoMappedAddressesFromIpv6) {
  receive({.flags = wire::kSyn, .seq = kIrs}, true);
  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(worker_.sockets().size(), 1u) << "the listener alone";
}

TEST_F(Input, HoldsNoStateForAddressesOfOthers) {
  receive({.destination = IpAddr::v4(198, 18, 0, 77), .flags = wire::kSyn, .seq = kIrs});
  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(counter("tcp.syn_acks_out"), 0u);
}

TEST_F(Input, HoldsNoStateForSourcesThatNobodyMayHave) {
  for (const IpAddr& source : {kOurs, IpAddr::v4(127, 0, 0, 1), IpAddr::v4(224, 0, 0, 1)}) {
    receive({.source = source, .flags = wire::kSyn, .seq = kIrs});
    EXPECT_TRUE(sent().empty()) << source.to_string();
  }
  EXPECT_EQ(counter("tcp.syn_acks_out"), 0u);
}

// The window in answer to a doubtful segment is our own, not the one that the peer offered.
TEST_F(Input, OffersItsOwnWindowWhileHalfOpen) {
  receive({.flags = wire::kSyn, .seq = kIrs, .ts_val = 5});
  const auto syn_ack = sent();
  ASSERT_EQ(syn_ack.size(), 1u);
  receive({.flags = wire::kRst, .seq = kIrs + 100, .ts_val = 5});
  const auto challenge = sent();
  ASSERT_EQ(challenge.size(), 1u);
  EXPECT_EQ(wire::TcpView::check(challenge[0])->flags(), wire::kAck);
  EXPECT_EQ(wire::TcpView::check(challenge[0])->window(), wire::TcpView::check(syn_ack[0])->window());
}

// RFC 7323 4.3: of several segments under one delayed acknowledgment the earliest is echoed.
TEST_F(Input, EchoesTheTimestampOfTheEarliestSegmentNotYetAcknowledged) {
  const base::Seq32 ack = connect(100);
  base::Seq32 seq = kIrs + 1;
  uint32_t ts = 200;
  std::vector<std::vector<std::byte>> answers;
  uint32_t earliest = 0;
  // Small segments: the first few are acknowledged at once, then acknowledgments are delayed.
  for (int i = 0; i < 64 && answers.size() != 1; ++i) {
    receive({.flags = wire::kAck, .seq = seq, .ack = ack, .ts_val = ts, .payload = 10});
    seq += 10;
    answers = sent();
    earliest = answers.empty() ? ts : 0;
    if (answers.empty()) break;
    answers.clear();
    ++ts;
  }
  ASSERT_NE(earliest, 0u) << "acknowledgments are never delayed";
  for (int i = 0; i < 3; ++i) {
    receive({.flags = wire::kAck, .seq = seq, .ack = ack, .ts_val = ++ts, .payload = 10});
    seq += 10;
    for (auto& answer : sent()) answers.push_back(answer);
    if (!answers.empty()) break;
  }
  if (answers.empty()) {
    now_ = now_ + seconds(1);
    worker_.advance(now_);
    answers = sent();
  }
  ASSERT_FALSE(answers.empty());
  const auto view = wire::TcpView::check(answers[0]);
  ASSERT_TRUE(view);
  EXPECT_EQ(wire::TcpOptions::parse(view->options()).ts_ecr, earliest);
}

}  // namespace
}  // namespace millrace::stack
