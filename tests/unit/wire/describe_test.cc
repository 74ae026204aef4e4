// The text of frames: one line for each protocol, and never a read outside for a frame that is cut anywhere.
#include "wire/describe.h"

#include <gtest/gtest.h>

#include "hex.h"

namespace millrace::wire {
namespace {

const auto kEthernet4 = hex("02 00 00 00 00 02 02 00 00 00 00 01 08 00");
const auto kEthernet6 = hex("02 00 00 00 00 02 02 00 00 00 00 01 86 dd");

const auto kSyn = kEthernet4 + hex("45 00 00 3c 00 01 40 00 40 06 ae 93 c6 12 00 01 c6 12 00 02"
                                   "ae 0c 00 50 00 00 00 64 00 00 00 00 a0 02 fa f0 00 00 00 00"
                                   "02 04 05 b4 04 02 08 0a 00 00 00 05 00 00 00 00 01 03 03 07");
const auto kNs = kEthernet6 + hex("60 00 00 00 00 20 3a ff"
                                  "fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 01"
                                  "ff 02 00 00 00 00 00 00 00 00 00 01 ff 00 00 02"
                                  "87 00 00 00 00 00 00 00 fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 02"
                                  "01 01 02 00 00 00 00 01");

TEST(Describe, ShowsASynWithItsOptions) {
  EXPECT_EQ(describe(kSyn),
            "IP 198.18.0.1.44556 > 198.18.0.2.80: Flags [S], seq 100, win 64240, "
            "options [mss 1460,sackOK,TS val 5 ecr 0,wscale 7], length 0");
}

TEST(Describe, ShowsDataThatIsNotInTheBytes) {
  const auto data = kEthernet4 + hex("45 00 04 10 00 01 40 00 40 06 aa bf c6 12 00 01 c6 12 00 02"
                                     "ae 0c 00 50 00 00 00 64 00 00 00 c8 50 18 00 10 00 00 00 00");
  EXPECT_EQ(describe(data),
            "IP 198.18.0.1.44556 > 198.18.0.2.80: Flags [P.], seq 100:1100, ack 200, win 16, length 1000");
  EXPECT_EQ(describe(with(data, 24, 0)).substr(0, 15), "IP [bad cksum] ");
}

TEST(Describe, ShowsNeighbourDiscovery) {
  EXPECT_EQ(describe(kNs),
            "IP6 fe80::1 > ff02::1:ff00:2: ICMP6, neighbor solicitation, who has fe80::2, lladdr 02:00:00:00:00:01, "
            "length 32");
  EXPECT_EQ(describe(with(kNs, 14 + 40 + 25, 0)),
            "IP6 fe80::1 > ff02::1:ff00:2: ICMP6, [bad nd] type 135 code 0, length 32");
}

TEST(Describe, ShowsArpBehindAVlanTag) {
  const auto frame =
      hex("ff ff ff ff ff ff 02 00 00 00 00 01 81 00 b0 64 08 06"
          "00 01 08 00 06 04 00 01 02 00 00 00 00 01 c6 12 00 01 00 00 00 00 00 00 c6 12 00 02");
  EXPECT_EQ(describe(frame), "vlan 100, p 5, ARP, Request who-has 198.18.0.2 tell 198.18.0.1");
  EXPECT_EQ(describe(with(frame, 25, 2)), "vlan 100, p 5, ARP, Reply 198.18.0.1 is-at 02:00:00:00:00:01");
}

TEST(Describe, ShowsIcmpErrorsWithWhatTheyQuote) {
  const auto packet =
      hex("45 00 00 38 00 00 00 00 40 01 ee 9d c6 12 00 01 c6 12 00 02"
          "03 04 00 00 00 00 05 78"
          "45 00 05 dc 00 01 40 00 40 06 00 00 c6 12 00 02 c6 12 00 01 00 50 ae 0c de ad be ef");
  EXPECT_EQ(describe_ip(packet),
            "IP 198.18.0.1 > 198.18.0.2: ICMP need to frag (mtu 1400) "
            "(198.18.0.2.80 > 198.18.0.1.44556 proto 6), length 36");
}

TEST(Describe, ShowsFragmentsAndUdp) {
  const auto udp =
      hex("60 00 00 00 00 10 2c 40"
          "fd 00 6d 72 00 00 00 00 00 00 00 00 00 00 00 02 fd 00 6d 72 00 00 00 00 00 00 00 00 00 00 00 01"
          "11 00 00 00 00 00 00 07 00 35 30 39 00 08 00 00");
  EXPECT_EQ(describe_ip(udp), "IP6 fd00:6d72::2.53 > fd00:6d72::1.12345: UDP, length 0");
  EXPECT_EQ(describe_ip(with(udp, 43, 1)), "IP6 frag (id 7 offset 0+) fd00:6d72::2 > fd00:6d72::1: proto 17, length 8");
}

TEST(Describe, NamesWhatIsCutOff) {
  for (const auto& frame : {kSyn, kNs}) {
    for (size_t size = 0; size < frame.size(); ++size) {
      const auto part = cut(frame, size);
      EXPECT_NE(describe(part).find_first_of("[]"), std::string::npos) << size << " " << describe(part);
    }
  }
  EXPECT_EQ(describe(cut(kSyn, 40)), "IP 198.18.0.1 > 198.18.0.2: [|tcp]");
  EXPECT_EQ(describe(hex("01 02")), "[|ether]");
  EXPECT_EQ(describe_ip({}), "[|ip]");
}

TEST(Describe, ShowsUnknownProtocolsByNumber) {
  EXPECT_EQ(describe(hex("02 00 00 00 00 02 02 00 00 00 00 01 88 cc aa")), "ethertype 0x88cc, length 1");
}

}  // namespace
}  // namespace millrace::wire
