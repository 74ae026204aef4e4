// One Ip with an Ethernet interface (192.0.2.1/24, 2001:db8::1/64) and a peer, whose frames the tests write down.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "ip/header.h"
#include "ip/ip.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmpv4.h"
#include "wire/icmpv6.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/nd.h"

namespace millrace::ip {

using Frame = std::vector<std::byte>;

inline IpAddr addr(const char* text) { return *IpAddr::parse(text); }
inline Prefix prefix(const char* text) { return *Prefix::parse(text); }

inline const MacAddr kOurMac{{2, 0, 0, 0, 0, 1}};
inline const MacAddr kPeerMac{{2, 0, 0, 0, 0, 2}};
inline const MacAddr kOtherMac{{2, 0, 0, 0, 0, 3}};

inline Frame bytes(size_t n, uint8_t first = 0) {
  Frame out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>(first + i);
  return out;
}
inline Frame operator+(Frame a, const Frame& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline Frame ethernet(const MacAddr& to, const MacAddr& from, wire::EtherType type, const Frame& payload) {
  Frame out(wire::kEthernetSize);
  wire::EthernetHeader{to, from, type}.emit(out);
  return out + payload;
}
inline Frame arp_frame(const wire::ArpMessage& message, const MacAddr& to) {
  Frame out(wire::kArpSize);
  message.emit(out);
  return ethernet(to, message.sender_mac, wire::EtherType::kArp, out);
}
/// An IPv4 or IPv6 datagram.
inline Frame datagram(const IpAddr& from, const IpAddr& to, uint8_t protocol, const Frame& payload, uint8_t ttl = 64) {
  Frame out(ip_header_size(from));
  write_ip_header(out.data(), from, to, protocol, static_cast<uint32_t>(payload.size()), ttl, 0, true);
  return out + payload;
}
inline wire::EtherType type_of(const IpAddr& a) { return a.is_v4() ? wire::EtherType::kIpv4 : wire::EtherType::kIpv6; }
/// A TCP-like header: ports, sequence number, 12 more bytes.
inline Frame tcp_header(uint16_t from, uint16_t to, uint32_t sequence) {
  Frame out(20);
  wire::store_be16(&out[0], from);
  wire::store_be16(&out[2], to);
  wire::store_be32(&out[4], sequence);
  out[12] = std::byte{0x50};
  return out;
}

class IpTest : public ::testing::Test {
 protected:
  IpTest() { make({}); }
  ~IpTest() override {
    const Ip::Ledger l = ip_->ledger();
    EXPECT_EQ(l.frames, l.delivered + l.consumed + l.dropped) << "every frame ends in one place";
    for (pkt::Packet* p : owned_) cache_.free(p);
    ip_.reset();
    cache_.drain();
    EXPECT_EQ(frames_.available(), frames_.capacity()) << "leaked packets";
    EXPECT_EQ(references_.available(), references_.capacity());
  }

  void make(Config config) {
    config.packets = &cache_;
    config.seed = 1;
    ip_ = std::make_unique<Ip>(config);
    link::NetifConfig eth{"eth0", link::LinkKind::kEthernet, kOurMac, limits_};
    if_ = *ip_->add_interface(eth);
    ASSERT_TRUE(ip_->add_address(if_, prefix("192.0.2.1/24"), now_));
    ASSERT_TRUE(ip_->add_address(if_, prefix("2001:db8::1/64"), now_));
    (void)sent();  // the announcements
  }
  IfIndex add_loopback() {
    const IfIndex lo = *ip_->add_interface({"lo", link::LinkKind::kLoopback, {}, {.mtu = 65'535, .max_segments = 64}});
    EXPECT_TRUE(ip_->add_address(lo, prefix("127.0.0.1/8"), now_));
    EXPECT_TRUE(ip_->add_address(lo, prefix("::1/128"), now_));
    return lo;
  }

  /// A packet that holds `frame`, in pieces of at most `piece` bytes.
  pkt::Packet* packet(const Frame& frame, size_t piece = pkt::kFrameRoom) {
    pkt::Packet* head = nullptr;
    size_t at = 0;
    do {
      const size_t n = std::min(piece, frame.size() - at);
      pkt::Packet* p = cache_.frame();
      if (n != 0) std::memcpy(p->append(static_cast<uint16_t>(n)), frame.data() + at, n);
      at += n;
      if (head == nullptr) {
        head = p;
      } else {
        pkt::chain(*head, p);
      }
    } while (at < frame.size());
    return head;
  }
  std::optional<Datagram> input(const Frame& frame, size_t piece = pkt::kFrameRoom) {
    auto d = ip_->input(if_, packet(frame, piece), now_);
    if (d) owned_.push_back(d->packet);
    return d;
  }
  /// A datagram from the peer in a frame to us.
  std::optional<Datagram> receive(const IpAddr& from, const IpAddr& to, uint8_t protocol, const Frame& payload,
                                  uint8_t ttl = 64) {
    return input(ethernet(kOurMac, kPeerMac, type_of(to), datagram(from, to, protocol, payload, ttl)));
  }
  static Frame content(const pkt::Packet& p) {
    Frame out(p.total);
    EXPECT_EQ(pkt::copy_out(p, 0, out), p.total);
    return out;
  }
  /// Takes the frames that wait for the device.
  std::vector<Frame> sent(IfIndex interface = IfIndex::kNone) {
    std::vector<Frame> out;
    pkt::Packet* p = nullptr;
    while (ip_->drain(interface == IfIndex::kNone ? if_ : interface, {&p, 1}) == 1) {
      out.push_back(content(*p));
      cache_.free(p);
    }
    return out;
  }
  /// The only frame that waits.
  Frame sent_one() {
    auto all = sent();
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? Frame() : all.front();
  }
  void advance(Duration d) {
    now_ = now_ + d;
    ip_->advance(now_);
  }
  uint64_t count(const std::string& name) {
    for (const auto& line : ip_->counters()) {
      if (name == line.info.name) return line.value;
    }
    ADD_FAILURE() << "no counter " << name;
    return 0;
  }
  void learn_peers() {
    ASSERT_TRUE(ip_->add_neighbour(if_, peer4_, kPeerMac));
    ASSERT_TRUE(ip_->add_neighbour(if_, peer6_, kPeerMac));
  }
  /// Sends a TCP-like datagram to `to`.
  void send_tcp(const IpAddr& to, uint32_t sequence = 7) {
    const auto route = ip_->route(to, {}, 0);
    ASSERT_TRUE(route.has_value());
    ip_->send({route->source, to, wire::kProtocolTcp, 64, 0, *route}, packet(tcp_header(1000, 80, sequence)), now_);
  }

  link::DeviceLimits limits_{};
  pkt::HeapPacketPool frames_{2'048};
  pkt::HeapPacketPool references_{16, 0};
  pkt::PacketCache cache_{frames_, references_};
  std::unique_ptr<Ip> ip_;
  std::vector<pkt::Packet*> owned_;
  Instant now_{1'000'000'000};
  IfIndex if_{};
  IpAddr our4_ = addr("192.0.2.1");
  IpAddr our6_ = addr("2001:db8::1");
  IpAddr peer4_ = addr("192.0.2.9");
  IpAddr peer6_ = addr("2001:db8::9");
};

/// The same, but sent() leaves reports of groups out.
class WithoutReports : public IpTest {
 protected:
  static bool is_report(const Frame& f) {
    return f.size() > 21 && wire::load_be16(&f[12]) == 0x86dd && wire::load_u8(&f[20]) == wire::kProtocolHopByHop;
  }
  std::vector<Frame> sent() {
    std::vector<Frame> out = IpTest::sent();
    std::erase_if(out, is_report);
    return out;
  }
  Frame sent_one() {
    auto all = sent();
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? Frame() : all.front();
  }
};

}  // namespace millrace::ip
