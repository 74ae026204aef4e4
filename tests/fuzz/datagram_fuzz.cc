// Fuzzes a worker with datagram sockets: the input is a sequence of commands {frame, request, time, output}. Frames are
// half structured, so that they hit the sockets: UDP of both families, fragments, groups, ICMP errors about what was
// sent, echo replies. After each command the worker's own consistency is checked; at the end everything must be back in
// the pools.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "input.h"
#include "pkt/pool.h"
#include "reused.h"
#include "stack/impl.h"
#include "stack/worker.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/udp.h"

namespace {

using namespace millrace;

constexpr MacAddr kOurMac{{2, 0, 0, 0, 0, 1}};
constexpr MacAddr kPeerMac{{2, 0, 0, 0, 0, 2}};
constexpr size_t kPool = 300;
constexpr size_t kSockets = 8;

using fuzz::broken;
using fuzz::Input;
using fuzz::Machine;

class Fuzz {
 public:
  explicit Fuzz(Machine& machine) : machine_(machine) {
    stack::WorkerConfig config;
    config.frames = &machine.frames;
    config.references = &machine.references;
    config.memory = &machine.memory;
    config.seed = 1;
    config.max_connections = config.max_half_open = config.max_time_wait = 4;
    config.max_neighbours = 16;
    config.max_datagram_sockets = kSockets;
    config.max_messages = 64;
    config.block_bytes = size_t{4} << 20;
    worker_ = std::make_unique<stack::Worker>(config);
    link::NetifConfig netif{"fuzz0", link::LinkKind::kEthernet, kOurMac, {}};
    netif.limits.max_segments = 4;
    interface_ = *worker_->add_interface(netif);
    ask(req::AddAddress{interface_, {ours(false), 24}});
    ask(req::AddAddress{interface_, {ours(true), 64}});
    for (const bool v6 : {false, true}) ask(req::AddNeighbour{interface_, theirs(v6), kPeerMac});
  }

  void run(Input in) {
    for (int commands = 0; commands < 300 && !in.empty(); ++commands) {
      switch (in.u8() % 8) {
        case 0:
        case 1: datagram(in); break;
        case 2: turned_around(in); break;
        case 3: error(in); break;
        case 4:
        case 5: request(in); break;
        case 6: drain(in.u8() % 40); break;
        case 7:
          now_ = now_ + microseconds(int64_t{1} << in.u8() % 28);
          worker_->advance(now_);
          break;
      }
      check();
    }
    finish();
  }

 private:
  static IpAddr ours(bool v6) { return v6 ? *IpAddr::parse("fd00::1") : IpAddr::v4(10, 0, 0, 1); }
  static IpAddr theirs(bool v6) { return v6 ? *IpAddr::parse("fd00::2") : IpAddr::v4(10, 0, 0, 2); }
  static IpAddr group(bool v6) { return v6 ? *IpAddr::parse("ff05::7") : IpAddr::v4(239, 0, 0, 7); }

  Result<Reply> ask(const Request& r) { return worker_->request(r, now_); }
  pkt::PacketCache& packets() { return worker_->impl().packets; }

  void input(std::span<const std::byte> bytes) {
    pkt::Packet* p = packets().frame();
    if (p == nullptr) return;
    std::memcpy(p->append(static_cast<uint16_t>(bytes.size())), bytes.data(), bytes.size());
    worker_->input(interface_, {&p, 1}, now_);
  }

  // A UDP datagram, with anything about it possibly wrong.
  void datagram(Input& in) {
    const uint8_t odd = in.u8();
    const bool v6 = (odd & 1) != 0;
    const size_t ip = v6 ? 40 : 20;
    const size_t payload = in.u8() % 64 * ((odd & 2) != 0 ? 20 : 1);
    std::vector<std::byte> frame(14 + ip + 8 + payload);
    const bool to_group = (odd & 4) != 0;
    const IpAddr to = to_group ? group(v6) : ours(v6);
    MacAddr mac = kOurMac;
    if (to_group) mac = v6 ? MacAddr{{0x33, 0x33, 0, 0, 0, 7}} : MacAddr{{1, 0, 0x5e, 0, 0, 7}};
    wire::EthernetHeader{mac, kPeerMac, v6 ? wire::EtherType::kIpv6 : wire::EtherType::kIpv4}.emit(frame);
    const wire::MutableBytes rest = wire::MutableBytes(frame).subspan(14);
    const auto length = static_cast<uint16_t>(8 + payload);
    if (v6) {
      wire::Ipv6Header{0, 0, length, wire::kProtocolUdp, 64, theirs(v6), to}.emit(rest);
    } else {
      wire::Ipv4Header h;
      h.total_length = static_cast<uint16_t>(ip + length);
      h.protocol = wire::kProtocolUdp;
      h.source = theirs(v6);
      h.destination = to;
      h.emit(rest);
    }
    const wire::MutableBytes udp = rest.subspan(ip);
    const uint16_t said = (odd & 8) != 0 ? in.u16() : length;
    wire::UdpHeader{port(in), port(in), said, 0}.emit(udp);
    const uint64_t pseudo = wire::pseudo_sum(theirs(v6), to, wire::kProtocolUdp, length);
    if ((odd & 16) == 0) {
      wire::store_be16(&udp[6], wire::finish_nonzero(wire::add_sums(pseudo, wire::sum_bytes(udp))));
    }
    input(frame);
  }
  static uint16_t port(Input& in) { return static_cast<uint16_t>(1'000 + in.u8() % 8); }

  // The last frame that was sent comes back with its addresses swapped: echo replies, own datagrams, fragments.
  void turned_around(Input& in) {
    if (last_.size() < 14 + 40) return;
    std::vector<std::byte> frame = last_;
    std::memcpy(frame.data(), kOurMac.bytes.data(), 6);
    std::memcpy(frame.data() + 6, kPeerMac.bytes.data(), 6);
    const bool v6 = wire::load_be16(&frame[12]) == 0x86dd;
    const size_t size = v6 ? 16 : 4;
    const size_t from = 14 + (v6 ? 8 : 12);
    std::swap_ranges(frame.begin() + static_cast<ptrdiff_t>(from), frame.begin() + static_cast<ptrdiff_t>(from + size),
                     frame.begin() + static_cast<ptrdiff_t>(from + size));
    std::byte* icmp = &frame[14 + (v6 ? 40 : 20)];
    if (wire::load_u8(&frame[v6 ? 20 : 23]) == (v6 ? 58 : 1)) {
      const uint16_t before = wire::load_be16(icmp);
      icmp[0] = std::byte{static_cast<uint8_t>(v6 ? 129 : 0)};
      wire::store_be16(icmp + 2, wire::update_checksum(wire::load_be16(icmp + 2), before, wire::load_be16(icmp)));
    }
    if (in.u8() == 7) frame[14 + in.u8() % (frame.size() - 14)] ^= std::byte{in.u8()};
    input(frame);
  }

  // An ICMP error that quotes the last frame.
  void error(Input& in) {
    if (last_.size() < 14 + 28) return;
    const bool v6 = wire::load_be16(&last_[12]) == 0x86dd;
    const size_t ip = v6 ? 40 : 20;
    const size_t quoted = std::min<size_t>(last_.size() - 14, 8 + in.u8());
    std::vector<std::byte> frame(14 + ip + 8 + quoted);
    wire::EthernetHeader{kOurMac, kPeerMac, v6 ? wire::EtherType::kIpv6 : wire::EtherType::kIpv4}.emit(frame);
    const wire::MutableBytes rest = wire::MutableBytes(frame).subspan(14);
    const auto length = static_cast<uint16_t>(8 + quoted);
    if (v6) {
      wire::Ipv6Header{0, 0, length, wire::kProtocolIcmpv6, 64, theirs(v6), ours(v6)}.emit(rest);
    } else {
      wire::Ipv4Header h;
      h.total_length = static_cast<uint16_t>(ip + length);
      h.protocol = wire::kProtocolIcmp;
      h.source = theirs(v6);
      h.destination = ours(v6);
      h.emit(rest);
    }
    const wire::MutableBytes icmp = rest.subspan(ip);
    icmp[0] = std::byte{static_cast<uint8_t>(v6 ? 1 + in.u8() % 4 : (in.u8() & 1) != 0 ? 3 : 11)};
    icmp[1] = std::byte{static_cast<uint8_t>(in.u8() % 16)};
    wire::store_be32(&icmp[4], in.u16());
    std::memcpy(&icmp[8], last_.data() + 14, quoted);
    const uint64_t pseudo = v6 ? wire::pseudo_sum(theirs(v6), ours(v6), wire::kProtocolIcmpv6, length) : 0;
    wire::store_be16(&icmp[2], wire::finish(wire::add_sums(pseudo, wire::sum_bytes(icmp))));
    input(frame);
  }

  DatagramOptions options(Input& in) {
    const uint16_t bits = in.u16();
    DatagramOptions o;
    o.merge = (bits & 1) != 0;
    o.reuse = (bits & 2) != 0;
    o.v6_only = (bits & 4) != 0;
    o.error_queue = (bits & 8) != 0;
    o.broadcast = (bits & 16) != 0;
    o.no_checksum = (bits & 32) != 0;
    o.zero_checksum_v6 = (bits & 64) != 0;
    o.multicast_loop = (bits & 128) != 0;
    o.path_mtu = static_cast<PathMtu>(bits >> 8 & 1);
    o.receive_buffer = bits >> 9 << 10;
    return o;
  }

  void request(Input& in) {
    const uint8_t kind = in.u8();
    const bool v6 = (kind & 32) != 0;
    Handle h = sockets_.empty() ? Handle{} : sockets_[in.u8() % sockets_.size()];
    if (kind >= 250) h.gen += in.u8();
    switch (kind % 12) {
      case 0: {
        const IpAddr local = (kind & 16) != 0 ? ours(v6) : v6 ? IpAddr() : IpAddr::any_v4();
        const auto what = static_cast<DatagramKind>(in.u8() % 5 < 3 ? 0 : in.u8() % 3);
        const auto opened = ask(req::OpenDatagram{{local, port(in)}, what, 0, options(in)});
        if (opened) sockets_.push_back(opened->handle);
        break;
      }
      case 1: (void)ask(req::ConnectDatagram{h, {in.u8() % 4 != 0 ? theirs(v6) : IpAddr(), port(in)}}); break;
      case 2: (void)ask(req::SetDatagramOptions{h, options(in)}); break;
      case 3:
      case 4: send(h, v6, in); break;
      case 5: receive(h, in); break;
      case 6: give_back(in); break;
      case 7: (void)ask(req::JoinGroup{h, group(v6), interface_, in.u8() % 2 != 0 ? theirs(v6) : IpAddr()}); break;
      case 8: (void)ask(req::LeaveGroup{h, group(v6), interface_, in.u8() % 2 != 0 ? theirs(v6) : IpAddr()}); break;
      case 9: {
        DatagramError e;
        (void)ask(req::TakeError{h, &e});
        break;
      }
      case 10: {
        const IpAddr some[] = {theirs(v6)};
        (void)ask(req::SetGroupFilter{h, group(v6), interface_, (kind & 16) != 0, std::span(some).first(in.u8() % 2)});
        break;
      }
      case 11:
        (void)ask(req::Close{h});
        std::erase(sockets_, h);
        break;
    }
  }

  void send(Handle h, bool v6, Input& in) {
    std::array<Message, 4> batch{};
    const size_t n = 1 + in.u8() % batch.size();
    room_.assign(70'000, std::byte{8});
    if (v6) room_[0] = std::byte{128};
    room_[1] = std::byte{0};
    for (Message& m : std::span(batch).first(n)) {
      const uint8_t how = in.u8();
      if ((how & 1) != 0 && !borrowed_.empty()) {
        m = borrowed_.back();
        borrowed_.pop_back();
        if ((how & 2) != 0) m.turn_around();
        if ((how & 4) != 0) m.data = m.data.subspan(std::min<size_t>(m.data.size(), in.u8()));
        given_.push_back(m.token);
      } else {
        m.data = {room_.data(), (how & 8) != 0 ? in.u16() : size_t{in.u8()}};
        if ((how & 16) != 0) m.remote = {(how & 32) != 0 ? group(v6) : theirs(v6), port(in)};
        if ((how & 64) != 0) m.segment = in.u16();
      }
    }
    (void)ask(req::SendBatch{h, std::span<const Message>(batch).first(n)});
    // What was not sent is given back; what was is refused, nothing else.
    for (const uint64_t token : given_) (void)ask(req::Release{token});
    given_.clear();
  }

  void receive(Handle h, Input& in) {
    std::array<Message, 4> batch{};
    room_.resize(70'000);
    const uint8_t how = in.u8();
    if ((how & 1) != 0) {
      for (Message& m : batch) m.into = std::span(room_).first(in.u16());
    }
    const auto taken = ask(req::ReceiveBatch{h, std::span(batch).first(1 + how / 64), (how & 2) != 0});
    if (!taken) return;
    for (size_t i = 0; i < taken->bytes; ++i) {
      if (batch[i].token != 0) borrowed_.push_back(batch[i]);
    }
  }

  void give_back(Input& in) {
    if (borrowed_.empty()) {
      (void)ask(req::Release{uint64_t{1} << 63 | in.u16()});
      return;
    }
    const size_t which = in.u8() % borrowed_.size();
    if (!ask(req::ReleaseBatch{{&borrowed_[which], 1}})) broken("a borrowed message was not taken back");
    borrowed_.erase(borrowed_.begin() + static_cast<ptrdiff_t>(which));
  }

  void drain(size_t most) {
    pkt::Packet* out[8];
    while (most > 0) {
      const size_t n = worker_->output(interface_, std::span(out).first(std::min<size_t>(8, most)), now_);
      for (size_t i = 0; i < n; ++i) {
        last_.resize(std::min<uint32_t>(out[i]->total, 1'600));
        (void)pkt::copy_out(*out[i], 0, last_);
        packets().free(out[i]);
      }
      if (n == 0) return;
      most -= std::min(most, n);
    }
  }

  void check() {
    worker_->clear_events();
    const std::string wrong = worker_->check();
    if (!wrong.empty()) broken(wrong);
  }

  void finish() {
    for (const Handle h : sockets_) (void)ask(req::Close{h});
    check();
    for (const Message& m : borrowed_) {
      if (!ask(req::Release{m.token})) broken("a message that outlived its socket was not taken back");
    }
    for (int i = 0; i < 40; ++i) {
      now_ = now_ + seconds(100);
      worker_->advance(now_);
      drain(400);
    }
    check();
    if (!worker_->sockets().empty()) broken("a socket is left");
    if (worker_->impl().udp.messages() != 0) broken("messages are left");
    if (!worker_->impl().ip.groups().empty()) broken("memberships are left");
    if (worker_->blocks_in_use() != 0) broken("blocks are left");
    worker_.reset();
    machine_.reset();
  }

  Machine& machine_;
  std::unique_ptr<stack::Worker> worker_;
  IfIndex interface_{};
  Instant now_ = Instant() + seconds(10);
  std::vector<Handle> sockets_;
  std::vector<Message> borrowed_;
  std::vector<uint64_t> given_;
  std::vector<std::byte> room_;
  std::vector<std::byte> last_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* machine = new Machine(kPool);
  Fuzz fuzz(*machine);
  fuzz.run(Input(data, size));
  return 0;
}
