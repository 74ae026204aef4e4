// Raw frames into an Ip with addresses of both families: nothing crashes, every frame ends in one counted place, no
// packet leaks, every frame that comes out is well-formed.
//
// Input: records of {control byte, 16-bit length, frame}. The control byte says into how many pieces the frame is cut,
// which interface gets it, and how far time moves on.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "base/assert.h"
#include "ip/ip.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::ip {
namespace {

constexpr MacAddr kMac{{2, 0, 0, 0, 0, 1}};
constexpr MacAddr kPeerMac{{2, 0, 0, 0, 0, 2}};

class World {
 public:
  explicit World(uint8_t flavour) : cache_(frames_, references_) {
    Config config;
    config.packets = &cache_;
    config.max_neighbours = 4;
    config.pending_per_neighbour = 2;
    config.pending_total = 5;
    config.transmit_queue = 8;
    ip_ = std::make_unique<Ip>(config);
    const link::DeviceLimits limits{.max_segments = static_cast<uint16_t>((flavour & 1) != 0 ? 64 : 1),
                                    .tx_ip_checksum = (flavour & 2) != 0};
    eth_ = *ip_->add_interface({"eth0", link::LinkKind::kEthernet, kMac, limits});
    lo_ = *ip_->add_interface({"lo", link::LinkKind::kLoopback, {}, {.mtu = 65'535, .max_segments = 64}});
    add(eth_, "192.0.2.1/24");
    add(eth_, "2001:db8::1/64");
    add(lo_, "127.0.0.1/8");
    add(lo_, "::1/128");
    (void)ip_->add_route(*Prefix::parse("0.0.0.0/0"), eth_, *IpAddr::parse("192.0.2.254"), 0, 0);
    if ((flavour & 4) != 0) (void)ip_->add_neighbour(eth_, *IpAddr::parse("192.0.2.9"), kPeerMac);
    if ((flavour & 4) != 0) (void)ip_->add_neighbour(eth_, *IpAddr::parse("2001:db8::9"), kPeerMac);
    drain();
  }

  ~World() {
    const Ip::Ledger l = ip_->ledger();
    MR_ASSERT(l.frames == l.delivered + l.consumed + l.dropped);
    ip_.reset();
    cache_.drain();
    MR_ASSERT(frames_.available() == frames_.capacity());
  }

  void feed(uint8_t control, std::span<const std::byte> frame) {
    now_ = now_ + milliseconds(int64_t{1} << (control >> 4));
    ip_->advance(now_);
    const size_t pieces = 1 + (control & 3);
    pkt::Packet* head = packet(frame, frame.size() / pieces + 1);
    if (head == nullptr) return;
    if ((control & 4) != 0) head->flags |= pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumNone;
    input((control & 8) != 0 ? lo_ : eth_, head);
    ip_->errors().clear();
    drain();
  }

 private:
  void add(IfIndex interface, const char* text) { (void)ip_->add_address(interface, *Prefix::parse(text), now_); }

  pkt::Packet* packet(std::span<const std::byte> bytes, size_t piece) {
    pkt::Packet* head = nullptr;
    do {
      const size_t n = std::min({piece, bytes.size(), size_t{pkt::kFrameRoom}});
      pkt::Packet* p = cache_.frame();
      MR_ASSERT(p != nullptr);
      if (n != 0) std::memcpy(p->append(static_cast<uint16_t>(n)), bytes.data(), n);
      bytes = bytes.subspan(n);
      if (head == nullptr) {
        head = p;
      } else {
        pkt::chain(*head, p);
      }
    } while (!bytes.empty());
    return head;
  }

  // Answers each datagram with one of the same size, so that routes, hops and pending queues see use.
  void input(IfIndex interface, pkt::Packet* frame) {
    const auto d = ip_->input(interface, frame, now_);
    if (!d) return;
    check_chain(*d->packet);
    MR_ASSERT(d->protocol == wire::kProtocolTcp || d->protocol == wire::kProtocolUdp ||
              d->protocol == wire::kProtocolIcmp || d->protocol == wire::kProtocolIcmpv6);
    MR_ASSERT(d->to_group || ip_->is_local(d->destination));
    if (d->to_group) return cache_.free(d->packet);
    if (const auto way = ip_->route(d->source, d->destination, 0)) {
      d->packet->flags = 0;
      ip_->send({way->source, d->source, d->protocol, 64, 0, *way}, d->packet, now_);
      ip_->confirm(way->hop, now_);
    } else {
      cache_.free(d->packet);
    }
  }

  static void check_chain(const pkt::Packet& head) {
    uint32_t total = 0;
    uint16_t segs = 0;
    for (const pkt::Packet* p = &head; p != nullptr; p = p->next) {
      total += p->len;
      ++segs;
    }
    MR_ASSERT(total == head.total && segs == head.segs);
    MR_ASSERT(head.len >= std::min<uint32_t>(head.total, 14 + 20));  // Ethernet and IP in one piece
  }

  static void check_frame(const pkt::Packet& frame) {
    check_chain(frame);
    MR_ASSERT(frame.len >= 14 + 20);
    const wire::Bytes bytes(frame.data() + 14, frame.len - 14U);
    const auto type = wire::load_be16(frame.data() + 12);
    if (type == 0x0800) {
      const auto view = wire::Ipv4View::check_quoted(bytes);
      MR_ASSERT(view && view->total_length() == frame.total - 14);
      MR_ASSERT((frame.flags & pkt::kTxIpChecksum) != 0 || view->checksum_ok());
    } else if (type == 0x86dd) {
      const auto view = wire::Ipv6View::check_quoted(bytes);
      MR_ASSERT(view && view->total_length() == frame.total - 14);
    } else {
      MR_ASSERT(type == 0x0806);
    }
  }

  void drain() {
    pkt::Packet* p = nullptr;
    while (ip_->drain(eth_, {&p, 1}) == 1) {
      check_frame(*p);
      cache_.free(p);
    }
    for (int turns = 0; turns < 4 && ip_->drain(lo_, {&p, 1}) == 1; ++turns) {
      check_frame(*p);
      const auto d = ip_->input(lo_, p, now_);
      if (d) cache_.free(d->packet);
    }
  }

  pkt::HeapPacketPool frames_{48};
  pkt::HeapPacketPool references_{1, 0};
  pkt::PacketCache cache_;
  std::unique_ptr<Ip> ip_;
  IfIndex eth_{};
  IfIndex lo_{};
  Instant now_{1};
};

}  // namespace
}  // namespace millrace::ip

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  millrace::ip::World world(data[0]);
  std::span<const std::byte> rest(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  for (int records = 0; rest.size() >= 3 && records < 64; ++records) {
    const auto control = static_cast<uint8_t>(rest[0]);
    const size_t length = std::min<size_t>(millrace::wire::load_be16(&rest[1]), rest.size() - 3);
    world.feed(control, rest.subspan(3, length));
    rest = rest.subspan(3 + length);
  }
  return 0;
}
