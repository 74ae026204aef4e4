// IPv6 fixed header and the walk over extension headers.
#include "wire/ipv6.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "hex.h"

namespace millrace::wire {
namespace {

using Status = Ipv6Upper::Status;

const auto kAddresses =
    hex("20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
        "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02");
const auto kMulticastAddresses =
    hex("20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
        "ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01");

std::vector<std::byte> datagram(int next_header, const std::vector<std::byte>& payload,
                                const std::vector<std::byte>& addresses = kAddresses) {
  auto out = hex("6a b1 23 45 00 00 00 40") + addresses + payload;
  out[6] = static_cast<std::byte>(next_header);
  store_be16(&out[4], static_cast<uint16_t>(payload.size()));
  return out;
}

Ipv6Upper walk(const std::vector<std::byte>& bytes) {
  const auto view = Ipv6View::check(bytes);
  EXPECT_TRUE(view);
  return find_upper(*view);
}

TEST(Ipv6, ReadsItsFields) {
  const auto bytes = datagram(6, hex("01 02 03"));
  const auto view = Ipv6View::check(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->traffic_class(), 0xab);
  EXPECT_EQ(view->flow_label(), 0x12345u);
  EXPECT_EQ(view->payload_length(), 3);
  EXPECT_EQ(view->next_header(), kProtocolTcp);
  EXPECT_EQ(view->hop_limit(), 64);
  EXPECT_EQ(view->source(), IpAddr::parse("2001:db8::1"));
  EXPECT_EQ(view->destination(), IpAddr::parse("2001:db8::2"));
  EXPECT_EQ(view->payload().size(), 3u);
  EXPECT_EQ(view->total_length(), 43u);
}

TEST(Ipv6, CutsLinkLayerPadding) {
  const auto bytes = datagram(6, hex("01 02 03")) + hex("00 00");
  EXPECT_EQ(Ipv6View::check(bytes)->payload().size(), 3u);
}

TEST(Ipv6, RefusesTruncatedDatagrams) {
  const auto bytes = datagram(6, hex("01 02 03"));
  for (size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(Ipv6View::check(cut(bytes, size))) << size;
}

TEST(Ipv6, RefusesOtherVersions) {
  const auto bytes = datagram(6, {});
  for (int version = 0; version < 16; ++version) {
    EXPECT_EQ(Ipv6View::check(with(bytes, 0, version << 4 | 0xa)).has_value(), version == 6) << version;
  }
}

TEST(Ipv6, RefusesMappedAddressesOnTheWire) {
  const auto mapped = hex("00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01");
  const auto plain = hex("20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01");
  EXPECT_FALSE(Ipv6View::check(datagram(6, {}, mapped + plain)));
  EXPECT_FALSE(Ipv6View::check(datagram(6, {}, plain + mapped)));
  EXPECT_TRUE(Ipv6View::check(datagram(6, {}, plain + with(mapped, 9, 1))));
}

TEST(Ipv6, RoundTripsEveryField) {
  base::Rng rng(12);
  for (int round = 0; round < 500; ++round) {
    Ipv6Header header;
    header.traffic_class = static_cast<uint8_t>(rng.next());
    header.flow_label = static_cast<uint32_t>(rng.below(1u << 20));
    header.payload_length = static_cast<uint16_t>(rng.below(2000));
    header.next_header = static_cast<uint8_t>(rng.next());
    header.hop_limit = static_cast<uint8_t>(rng.next());
    header.source = *IpAddr::parse("fe80::1:2");
    std::array<uint8_t, 16> raw;
    for (auto& b : raw) b = static_cast<uint8_t>(rng.next());
    header.destination = IpAddr(raw);
    std::vector<std::byte> out(40u + header.payload_length);
    header.emit(out);
    const auto view = Ipv6View::check(out);
    ASSERT_TRUE(view);
    ASSERT_EQ(Ipv6Header::parse(*view), header);
  }
}

TEST(Ipv6Walk, EndsAtOnceWithoutExtensionHeaders) {
  for (const int protocol : {6, 17, 58, 59, 50, 51, 253}) {
    const Ipv6Upper upper = walk(datagram(protocol, hex("01")));
    EXPECT_EQ(upper.status, Status::kUpper);
    EXPECT_EQ(upper.protocol, protocol);
    EXPECT_EQ(upper.offset, 40);
    EXPECT_EQ(upper.next_header_at, 6);
  }
}

TEST(Ipv6Walk, PassesAllKindsOfHeadersInOrder) {
  const Ipv6Upper upper = walk(datagram(0, hex("2b 00 05 02 00 00 01 00"  // hop-by-hop: router alert, PadN
                                               "3c 00 04 00 00 00 00 00"  // routing, nothing left
                                               "2c 01 01 0c 00 00 00 00 00 00 00 00 00 00 00 00"  // destination options
                                               "06 00 00 00 00 00 00 01"                          // atomic fragment
                                               "aa bb")));
  EXPECT_EQ(upper.status, Status::kUpper);
  EXPECT_EQ(upper.protocol, kProtocolTcp);
  EXPECT_EQ(upper.offset, 80);
  EXPECT_EQ(upper.next_header_at, 72);
  EXPECT_TRUE(upper.router_alert);
  EXPECT_TRUE(upper.after_fragment);
}

TEST(Ipv6Walk, ReportsAFragment) {
  const Ipv6Upper first = walk(datagram(44, hex("11 00 00 01 de ad be ef  01 02 03 04 05 06 07 08")));
  EXPECT_EQ(first.status, Status::kFragment);
  EXPECT_EQ(first.fragment, (Ipv6Fragment{17, 0, true, 0xdeadbeef}));
  EXPECT_EQ(first.fragment_at, 40);
  EXPECT_EQ(first.offset, 48);
  const Ipv6Upper last = walk(datagram(44, hex("11 00 05 a8 00 00 00 01")));
  EXPECT_EQ(last.status, Status::kFragment);
  EXPECT_EQ(last.fragment, (Ipv6Fragment{17, 0x5a8, false, 1}));
}

TEST(Ipv6Walk, EmitsFragmentHeaders) {
  std::vector<std::byte> out(8);
  Ipv6Fragment{6, 0xfff8, true, 0x01020304}.emit(out);
  EXPECT_EQ(out, hex("06 00 ff f9 01 02 03 04"));
}

TEST(Ipv6Walk, FindsTruncatedHeaders) {
  for (const int protocol : {0, 43, 44, 60}) {
    for (const char* bytes : {"", "06", "06 00 01 04 00 00 00"}) {
      EXPECT_EQ(walk(datagram(protocol, hex(bytes))).status, Status::kTruncated) << protocol << bytes;
    }
  }
  // The length field points past the end; a fragment header has no length field.
  EXPECT_EQ(walk(datagram(60, hex("06 01 01 04 00 00 00 00"))).status, Status::kTruncated);
  EXPECT_EQ(walk(datagram(44, hex("06 ff 00 00 00 00 00 00"))).status, Status::kUpper);
}

struct ActionCase {
  const char* option;  ///< first byte of an unknown option
  bool multicast;
  Status status;
  bool reply;
};
class Ipv6UnknownOption : public testing::TestWithParam<ActionCase> {};

// RFC 8200 4.2, RFC 4443 2.4 (e.3).
TEST_P(Ipv6UnknownOption, DoesWhatItsHighBitsSay) {
  const ActionCase& c = GetParam();
  for (const int header : {0, 60}) {
    const auto bytes = datagram(header, hex("06 00 00") + hex(c.option) + hex("01 aa 00 00"),
                                c.multicast ? kMulticastAddresses : kAddresses);
    const Ipv6Upper upper = walk(bytes);
    EXPECT_EQ(upper.status, c.status);
    if (c.status == Status::kParameterProblem) {
      EXPECT_EQ(upper.code, 2);
      EXPECT_EQ(upper.pointer, 43u);
      EXPECT_EQ(upper.reply, c.reply);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Actions, Ipv6UnknownOption,
                         testing::Values(ActionCase{"3e", false, Status::kUpper, false},
                                         ActionCase{"7e", false, Status::kDiscard, false},
                                         ActionCase{"be", false, Status::kParameterProblem, true},
                                         ActionCase{"be", true, Status::kParameterProblem, true},
                                         ActionCase{"fe", false, Status::kParameterProblem, true},
                                         ActionCase{"fe", true, Status::kParameterProblem, false},
                                         ActionCase{"c2", false, Status::kParameterProblem, true}));  // jumbo payload

TEST(Ipv6Walk, RefusesOptionsThatLeaveTheirHeader) {
  const Ipv6Upper length = walk(datagram(60, hex("06 00 01 05 00 00 00 00")));
  EXPECT_EQ(length.status, Status::kParameterProblem);
  EXPECT_EQ(length.code, 0);
  EXPECT_EQ(length.pointer, 43u);
  EXPECT_TRUE(length.reply);
  const Ipv6Upper no_length = walk(datagram(60, hex("06 00 00 00 00 00 00 01")));
  EXPECT_EQ(no_length.status, Status::kParameterProblem);
  EXPECT_EQ(no_length.pointer, 47u);
  EXPECT_FALSE(walk(datagram(60, hex("06 00 01 05 00 00 00 00"), kMulticastAddresses)).reply);
}

TEST(Ipv6Walk, RefusesRoutingHeadersWithSegmentsLeft) {
  const Ipv6Upper upper = walk(datagram(43, hex("06 00 00 01 00 00 00 00")));
  EXPECT_EQ(upper.status, Status::kParameterProblem);
  EXPECT_EQ(upper.code, 0);
  EXPECT_EQ(upper.pointer, 42u);  // the routing type: RFC 8200 4.4
}

TEST(Ipv6Walk, RefusesHopByHopOptionsAnywhereButFirst) {
  const Ipv6Upper upper = walk(datagram(60, hex("00 00 01 04 00 00 00 00  06 00 01 04 00 00 00 00")));
  EXPECT_EQ(upper.status, Status::kParameterProblem);
  EXPECT_EQ(upper.code, 1);
  EXPECT_EQ(upper.pointer, 40u);
}

TEST(Ipv6Walk, IsBoundedInHeaders) {
  for (const size_t headers : {kIpv6MaxExtensionHeaders, kIpv6MaxExtensionHeaders + 1}) {
    std::vector<std::byte> chain;
    for (size_t i = 0; i < headers; ++i)
      chain = chain + hex(i + 1 < headers ? "3c" : "06") + hex("00 01 04 00 00 00 00");
    EXPECT_EQ(walk(datagram(60, chain)).status,
              headers <= kIpv6MaxExtensionHeaders ? Status::kUpper : Status::kDiscard);
  }
}

TEST(Ipv6Walk, IsBoundedInOptionsOfOneHeader) {
  for (const size_t options : {kIpv6MaxOptions, kIpv6MaxOptions + 1}) {
    auto header = hex("06 03 00 00");
    for (size_t i = 0; i < options; ++i) header = header + hex("3e 00");
    header.resize(32);
    EXPECT_EQ(walk(datagram(60, header)).status, options <= kIpv6MaxOptions ? Status::kUpper : Status::kDiscard);
  }
}

TEST(Ipv6Walk, StandsTheLongestDatagram) {
  auto payload = hex("06 ff 00 00") + std::vector<std::byte>(65531, std::byte{0});
  const Ipv6Upper upper = walk(datagram(60, payload));
  EXPECT_EQ(upper.status, Status::kUpper);
  EXPECT_EQ(upper.offset, 40 + 2048);
}

}  // namespace
}  // namespace millrace::wire
