// A worker with one interface and a peer on the link who speaks UDP: frames in, frames out, both families.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/memory.h"
#include "pkt/pool.h"
#include "stack/impl.h"
#include "stack/worker.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/udp.h"

namespace millrace::stack {

using Data = std::vector<std::byte>;

inline Data pattern(size_t n, uint8_t seed = 0) {
  Data d(n);
  for (size_t i = 0; i < n; ++i) d[i] = static_cast<std::byte>(seed + i * 7);
  return d;
}
inline Data copy(std::span<const std::byte> s) { return {s.begin(), s.end()}; }

/// A UDP datagram as the peer sees or sends it.
struct Dgram {
  Endpoint source;
  Endpoint destination;
  Data payload;
  uint8_t ttl = 64;
  uint8_t traffic_class = 0;
  bool no_checksum = false;
  bool bad_checksum = false;
  MacAddr to{{2, 0, 0, 0, 0, 2}};
};

class Datagrams : public testing::TestWithParam<bool> {
 protected:
  Datagrams() : Datagrams(64, 1'024) {}
  Datagrams(uint32_t sockets, uint32_t messages, link::DeviceLimits limits = {}) {
    WorkerConfig c;
    c.frames = &frames_;
    c.references = &references_;
    c.memory = &memory_;
    c.seed = 7;
    c.max_connections = 64;
    c.max_half_open = 64;
    c.max_time_wait = 64;
    c.max_datagram_sockets = sockets;
    c.max_messages = messages;
    worker_ = std::make_unique<Worker>(c);
    link::NetifConfig loopback;
    loopback.name = "lo";
    loopback.kind = link::LinkKind::kLoopback;
    loopback.limits.mtu = 65'535;
    loopback_ = *worker_->add_interface(loopback);
    link::NetifConfig netif;
    netif.name = "t0";
    netif.mac = our_mac;
    netif.limits = limits;
    interface_ = *worker_->add_interface(netif);
    must(req::AddAddress{loopback_, *Prefix::parse("127.0.0.1/8")});
    must(req::AddAddress{interface_, *Prefix::parse("198.18.0.2/24")});
    must(req::AddAddress{interface_, *Prefix::parse("fd00:6d72::2/64")});
    must(req::AddNeighbour{interface_, IpAddr::v4(198, 18, 0, 1), peer_mac});
    must(req::AddNeighbour{interface_, *IpAddr::parse("fd00:6d72::1"), peer_mac});
    (void)sent();
  }
  ~Datagrams() override {
    EXPECT_EQ(worker_->check(), "");
    (void)sent();
    const size_t blocks = worker_->blocks_in_use();
    worker_.reset();
    EXPECT_EQ(frames_.available(), frames_.capacity());
    EXPECT_EQ(references_.available(), references_.capacity());
    (void)blocks;
  }

  [[nodiscard]] bool v6() const { return GetParam(); }
  [[nodiscard]] IpAddr ours() const { return v6() ? *IpAddr::parse("fd00:6d72::2") : IpAddr::v4(198, 18, 0, 2); }
  [[nodiscard]] IpAddr peer() const { return v6() ? *IpAddr::parse("fd00:6d72::1") : IpAddr::v4(198, 18, 0, 1); }
  [[nodiscard]] IpAddr any() const { return v6() ? IpAddr() : IpAddr::any_v4(); }

  Result<Reply> ask(const Request& r) { return worker_->request(r, now_); }
  void must(const Request& r) { ASSERT_TRUE(ask(r)); }
  Handle open(const Endpoint& local, const DatagramOptions& o = {}, uint64_t user = 0) {
    const auto r = ask(req::OpenDatagram{local, DatagramKind::kUdp, user, o});
    EXPECT_TRUE(r);
    return r ? r->handle : Handle{};
  }
  Error open_error(const Endpoint& local, const DatagramOptions& o = {}) {
    const auto r = ask(req::OpenDatagram{local, DatagramKind::kUdp, 0, o});
    EXPECT_FALSE(r);
    return r ? Error::kIo : r.error();
  }
  Result<size_t> send(Handle h, const Data& data, const Endpoint& to, uint16_t segment = 0) {
    Message m;
    m.data = data;
    m.remote = to;
    m.segment = segment;
    const auto r = ask(req::SendBatch{h, {&m, 1}});
    if (!r) return fail(r.error());
    return r->bytes;
  }
  /// Takes one message, copied.
  Result<Message> take(Handle h, bool peek = false) {
    Message m;
    m.into = room_;
    const auto r = ask(req::ReceiveBatch{h, {&m, 1}, peek});
    if (!r) return fail(r.error());
    return m;
  }
  Error nothing(Handle h) {
    const auto m = take(h);
    EXPECT_FALSE(m);
    return m ? Error::kIo : m.error();
  }
  uint32_t events(Handle h) {
    uint32_t mask = 0;
    for (const Event& e : worker_->events()) {
      if (e.handle == h) mask |= e.mask;
    }
    worker_->clear_events();
    return mask;
  }
  uint64_t count(const char* name) {
    for (const auto& c : worker_->counters()) {
      if (c.name == name) return c.value;
    }
    ADD_FAILURE() << "no counter " << name;
    return 0;
  }

  pkt::Packet* frame(const Dgram& d) {
    const bool is_v4 = d.source.addr.is_v4();
    const size_t ip = is_v4 ? 20 : 40;
    const size_t length = 8 + d.payload.size();
    pkt::Packet* p = worker_->impl().packets.frame();
    MR_ASSERT(p != nullptr);
    const size_t bytes = 14 + ip + length;
    const wire::MutableBytes out(p->append(static_cast<uint16_t>(bytes)), bytes);
    wire::EthernetHeader{d.to, peer_mac, is_v4 ? wire::EtherType::kIpv4 : wire::EtherType::kIpv6}.emit(out);
    if (is_v4) {
      wire::Ipv4Header h;
      h.total_length = static_cast<uint16_t>(ip + length);
      h.protocol = wire::kProtocolUdp;
      h.ttl = d.ttl;
      h.traffic_class = d.traffic_class;
      h.source = d.source.addr;
      h.destination = d.destination.addr;
      h.emit(out.subspan(14));
    } else {
      wire::Ipv6Header{d.traffic_class,   0, static_cast<uint16_t>(length), wire::kProtocolUdp, d.ttl, d.source.addr,
                       d.destination.addr}
          .emit(out.subspan(14));
    }
    const wire::MutableBytes udp = out.subspan(14 + ip);
    wire::UdpHeader{d.source.port, d.destination.port, static_cast<uint16_t>(length), 0}.emit(udp);
    if (!d.payload.empty()) std::memcpy(&udp[8], d.payload.data(), d.payload.size());
    if (!d.no_checksum) {
      const uint64_t pseudo = wire::pseudo_sum(d.source.addr, d.destination.addr, 17, static_cast<uint32_t>(length));
      uint16_t sum = wire::finish_nonzero(wire::add_sums(pseudo, wire::sum_bytes(udp)));
      if (d.bad_checksum) sum = static_cast<uint16_t>(sum ^ 0x1234);
      wire::store_be16(&udp[6], sum);
    }
    return p;
  }
  void receive(const Dgram& d) {
    pkt::Packet* p = frame(d);
    worker_->input(interface_, {&p, 1}, now_);
  }
  /// A datagram of the peer to our `port`.
  void receive(uint16_t from, uint16_t port, const Data& payload) {
    receive({{peer(), from}, {ours(), port}, payload});
  }
  /// Every frame that the worker sends, as bytes.
  std::vector<Data> sent() {
    std::vector<Data> out;
    pkt::Packet* some[16];
    for (size_t n = 16; n == 16;) {
      n = worker_->output(interface_, some, now_);
      for (size_t i = 0; i < n; ++i) {
        Data bytes(some[i]->total);
        (void)pkt::copy_out(*some[i], 0, bytes);
        out.push_back(std::move(bytes));
        worker_->impl().packets.free(some[i]);
      }
    }
    // What goes to ourselves comes back.
    for (size_t n = 16; n != 0;) {
      n = worker_->output(loopback_, some, now_);
      if (n != 0) worker_->input(loopback_, {some, n}, now_);
    }
    return out;
  }
  /// The UDP datagrams among them, checked.
  std::vector<Dgram> sent_datagrams() {
    std::vector<Dgram> out;
    for (const Data& f : sent()) {
      const wire::Bytes ip(f.data() + 14, f.size() - 14);
      Dgram d;
      wire::Bytes rest;
      if (wire::load_be16(f.data() + 12) == 0x0800) {
        const auto v = wire::Ipv4View::check(ip);
        EXPECT_TRUE(v);
        if (v->protocol() != wire::kProtocolUdp) continue;
        EXPECT_TRUE(v->checksum_ok());
        d.source.addr = v->source();
        d.destination.addr = v->destination();
        d.ttl = v->ttl();
        d.traffic_class = v->traffic_class();
        rest = v->payload();
      } else if (wire::load_be16(f.data() + 12) != 0x86dd) {
        continue;
      } else {
        const auto v = wire::Ipv6View::check(ip);
        EXPECT_TRUE(v);
        if (v->next_header() != wire::kProtocolUdp) continue;
        d.source.addr = v->source();
        d.destination.addr = v->destination();
        d.ttl = v->hop_limit();
        d.traffic_class = v->traffic_class();
        rest = v->payload();
      }
      const auto u = wire::UdpView::check(rest);
      EXPECT_TRUE(u);
      if (!u) continue;
      EXPECT_TRUE(u->checksum_ok(d.source.addr, d.destination.addr));
      d.no_checksum = u->checksum() == 0;
      d.source.port = u->source_port();
      d.destination.port = u->destination_port();
      d.payload = copy(u->payload());
      std::memcpy(d.to.bytes.data(), f.data(), 6);
      out.push_back(d);
    }
    return out;
  }

  const MacAddr our_mac{{2, 0, 0, 0, 0, 2}};
  const MacAddr peer_mac{{2, 0, 0, 0, 0, 1}};
  base::HeapMemory memory_;
  pkt::HeapPacketPool frames_{512};
  pkt::HeapPacketPool references_{512, 0};
  std::unique_ptr<Worker> worker_;
  IfIndex loopback_{};
  IfIndex interface_{};
  Instant now_{1'000'000'000};
  Data room_ = Data(65'536);
};

}  // namespace millrace::stack
