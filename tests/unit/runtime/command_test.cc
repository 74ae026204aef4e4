// Commands of the control socket: what they change, and what they refuse in which words.
#include "runtime/command.h"

#include <gtest/gtest.h>

#include "base/memory.h"
#include "runtime/loop.h"
#include "runtime/report.h"

namespace millrace::runtime {
namespace {

class Commands : public testing::Test {
 protected:
  Commands() : frames_(256), references_(256, 0), waker_(*Waker::make()) {
    stack::WorkerConfig c;
    c.frames = &frames_;
    c.references = &references_;
    c.memory = &memory_;
    c.seed = 1;
    c.max_connections = 16;
    c.max_half_open = 16;
    c.max_time_wait = 16;
    c.block_bytes = 1 << 20;
    worker_ = std::make_unique<stack::Worker>(c);
    link::NetifConfig lo;
    lo.name = "lo";
    lo.kind = link::LinkKind::kLoopback;
    lo.limits.mtu = 65'535;
    port_.interface = *worker_->add_interface(lo);
    loop_ = std::make_unique<Loop>(*worker_, clock_, config_.loop, waker_);
  }

  std::string say(std::string_view line) {
    return answer(line, {*worker_, *loop_, config_, clock_.now(), 1.0, {&port_, 1}});
  }

  base::HeapMemory memory_;
  pkt::HeapPacketPool frames_;
  pkt::HeapPacketPool references_;
  Clock clock_;
  Waker waker_;
  conf::Config config_;
  ObservedPort port_;
  std::unique_ptr<stack::Worker> worker_;
  std::unique_ptr<Loop> loop_;
};

TEST_F(Commands, AddressesComeAndGo) {
  EXPECT_EQ(say("address add lo 127.0.0.9/8"), "lo has 127.0.0.9/8\n");
  EXPECT_NE(say("addresses").find("127.0.0.9/8"), std::string::npos);
  EXPECT_EQ(say("address delete lo 127.0.0.9"), "lo lost 127.0.0.9\n");
  EXPECT_EQ(say("address delete lo 127.0.0.9").substr(0, 39), "error: cannot remove 127.0.0.9 from lo:");
}

TEST_F(Commands, SettingsOfTcpChangeThroughTheWorker) {
  EXPECT_EQ(say("set tcp.retries 7"), "tcp.retries = 7\n");
  EXPECT_EQ(worker_->tcp_settings().retries, 7);
  EXPECT_NE(say("set tcp.retries 1000").find("expected a whole number from 3 to 64"), std::string::npos);
  EXPECT_NE(say("set tcp.retires 7").find("did you mean 'tcp.retries'"), std::string::npos);
  EXPECT_NE(say("set tcp.rto_max_us 1000000").find("tcp.rto_max_us = 1000000"), std::string::npos);
  EXPECT_NE(say("set tcp.rto_min_us 2000000").find("contradicts"), std::string::npos);
  EXPECT_EQ(worker_->tcp_settings().rto_min_us, 200'000);
}

TEST_F(Commands, SettingsOfIpChangeThroughTheWorkerAndSizesDoNot) {
  EXPECT_EQ(say("set ip.pmtu_min_v4 1000"), "ip.pmtu_min_v4 = 1000\n");
  EXPECT_EQ(worker_->ip_settings().pmtu_min_v4, 1'000);
  EXPECT_NE(say("set ip.reassembly_bytes 65536").find("contradicts"), std::string::npos);
  EXPECT_NE(say("set ip.pmtu_entries 10").find("holds from the start"), std::string::npos);
}

TEST_F(Commands, SettingsOfTheLoopChangeAndSizesDoNot) {
  EXPECT_EQ(say("set loop.spin_us 3"), "loop.spin_us = 3\n");
  EXPECT_EQ(config_.loop.spin_us, 3);
  EXPECT_NE(say("set worker.frames 600").find("holds from the start"), std::string::npos);
  EXPECT_NE(say("set loop.burst 8").find("holds from the start"), std::string::npos);
}

TEST_F(Commands, ARefusalIsOneObjectInJson) {
  const std::string json = say("link eth9 up json");
  EXPECT_EQ(json, "{\"error\":\"there is no interface 'eth9'; this program has lo\"}\n");
  EXPECT_EQ(say("link lo down json"), "{\"done\":\"lo is down\"}\n");
  EXPECT_FALSE(worker_->is_up(port_.interface));
}

TEST_F(Commands, WordsThatAreNotUnderstoodSayWhatWasExpected) {
  for (const char* line : {"link lo sideways", "address add", "address add lo", "address frob lo 127.0.0.1/8", "route",
                           "route add", "route add 192.0.2.0/24", "route add 192.0.2.0/24 over 1.2.3.4",
                           "route add x dev lo", "neighbour", "neighbour add lo 1.2.3.4", "neighbour delete", "set",
                           "set x", "set tcp.retries", "route-to", "route-to 1.2.3.4 x"}) {
    EXPECT_TRUE(say(line).starts_with("error: ")) << line << " -> " << say(line);
  }
}

}  // namespace
}  // namespace millrace::runtime
