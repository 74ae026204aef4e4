// Fuzzes a worker with connections already open, in both roles and both families: the input is a sequence of commands
// {frame, request, time, output}. Frames are half structured, so that they hit the connections: sequence number,
// acknowledgment, flags, window and options are taken relative to what the connection is at. After each command the
// worker's own consistency is checked; at the end everything must be back in the pools.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "input.h"
#include "reused.h"
#include "sim/frame_view.h"
#include "sim/nic.h"
#include "stack/worker.h"

namespace {

using namespace millrace;
using namespace millrace::sim;

constexpr MacAddr kOurMac{{2, 0, 0, 0, 0, 1}};
constexpr MacAddr kPeerMac{{2, 0, 0, 0, 0, 2}};
constexpr size_t kPool = 600;

using fuzz::broken;
using fuzz::Input;
using fuzz::Machine;

/// The far end of one connection, as much of it as a fuzzer needs.
struct Peer {
  Endpoint ours;
  Endpoint theirs;
  uint32_t seq = 0;  ///< next to send
  uint32_t ack = 0;  ///< next expected
  uint32_t tsval = 1'000;
  uint32_t tsecr = 0;
  Handle handle{};
};

class Fuzz {
 public:
  explicit Fuzz(Machine& machine)
      : memory_(machine.memory), frames_(machine.frames), references_(machine.references) {
    stack::WorkerConfig config;
    config.frames = &frames_;
    config.references = &references_;
    config.memory = &memory_;
    config.seed = 1;
    config.max_connections = 16;
    config.max_half_open = 8;
    config.max_time_wait = 8;
    config.max_neighbours = 32;
    config.block_bytes = size_t{8} << 20;
    config.tcp.time_wait_us = 1'000'000;
    config.tcp.ecn = 5;  // each kind that a SYN asks for
    config.tcp.send_buffer = 65'536;
    config.tcp.receive_buffer = 65'536;
    worker_ = std::make_unique<stack::Worker>(config);
    link::NetifConfig netif{"fuzz0", link::LinkKind::kEthernet, kOurMac, {}};
    netif.limits.max_segments = 8;
    interface_ = *worker_->add_interface(netif);
    for (const auto& [addr, length] : {std::pair{ours(false), 24}, std::pair{ours(true), 64}}) {
      must(req::AddAddress{interface_, {addr, static_cast<uint8_t>(length)}});
    }
    for (const bool v6 : {false, true}) must(req::AddNeighbour{interface_, theirs(v6), kPeerMac});
    listener_ = must(req::Listen{{IpAddr(), 80}, 16, 99}).handle;
    for (const bool v6 : {false, true}) open_passive(v6);
    for (const bool v6 : {false, true}) open_active(v6);
    check();
  }

  void run(Input in) {
    for (int commands = 0; commands < 300 && !in.empty(); ++commands) {
      switch (in.u8() % 10) {
        case 0:
        case 1:
        case 2:
        case 3: structured(in); break;
        case 4: raw(in); break;
        case 5:
        case 6: request(in); break;
        case 7: pass_time(in); break;
        case 8: drain(in.u8() % 40); break;
        case 9: acknowledge(in); break;
      }
      check();
    }
    finish();
  }

 private:
  static IpAddr ours(bool v6) { return v6 ? *IpAddr::parse("fd00::1") : IpAddr::v4(10, 0, 0, 1); }
  static IpAddr theirs(bool v6) { return v6 ? *IpAddr::parse("fd00::2") : IpAddr::v4(10, 0, 0, 2); }

  Reply must(const Request& request) {
    const auto reply = worker_->request(request, now_);
    if (!reply) broken(std::string("set-up: ") + describe(reply.error()));
    return *reply;
  }

  void input(const Bytes& bytes, size_t first) {
    pkt::Packet* head = nullptr;
    for (size_t at = 0; at < bytes.size();) {
      pkt::Packet* p = nullptr;
      if (frames_.allocate({&p, 1}) == 0) {
        free_chain(head, frames_, references_);
        return;
      }
      const size_t n = std::min({bytes.size() - at, size_t{pkt::kFrameRoom}, at == 0 && first != 0 ? first : SIZE_MAX});
      p->off = pkt::kHeadroom;
      p->len = static_cast<uint16_t>(n);
      p->total = p->len;
      p->segs = 1;
      p->flags = 0;
      p->next = nullptr;
      p->tx_offload = 0;
      p->ext = nullptr;
      std::memcpy(p->data(), bytes.data() + at, n);
      at += n;
      if (head == nullptr) head = p;
      else pkt::chain(*head, p);
    }
    if (head != nullptr) worker_->input(interface_, {&head, 1}, now_);
  }

  // Takes frames out and lets the peers see them.
  void drain(size_t most) {
    pkt::Packet* out[40];
    const size_t n = worker_->output(interface_, {out, std::min<size_t>(most, 40)}, now_);
    for (size_t i = 0; i < n; ++i) {
      const Bytes bytes = gather(*out[i]);
      const std::string wrong = check_ip_frame(bytes);
      if (!wrong.empty()) broken("sent a frame with " + wrong);
      if (const auto view = parse_tcp(bytes)) learn(*view);
      free_chain(out[i], frames_, references_);
    }
  }

  void learn(const TcpView& view) {
    for (Peer& p : peers_) {
      if (p.ours.port != view.source_port || p.theirs.port != view.destination_port || p.ours.addr != view.source) {
        continue;
      }
      const uint32_t end = view.seq + view.seq_len();
      if (p.ack == 0 || static_cast<int32_t>(end - p.ack) > 0) p.ack = end;
      if (view.has_timestamp) p.tsecr = view.tsval;
    }
    last_ = view;
  }

  static TcpSpec spec(const Peer& p) {
    TcpSpec s;
    s.source_mac = kPeerMac;
    s.destination_mac = kOurMac;
    s.source = p.theirs;
    s.destination = p.ours;
    s.seq = p.seq;
    s.ack = p.ack;
    s.window = 1'000;
    s.options = timestamp_option(p.tsval, p.tsecr);
    return s;
  }
  static Bytes syn_options(uint32_t tsval, uint32_t tsecr) {
    Bytes o{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 3};
    store32(&o[8], tsval);
    store32(&o[12], tsecr);
    return o;
  }

  void open_passive(bool v6) {
    Peer p;
    p.ours = {ours(v6), 80};
    p.theirs = {theirs(v6), static_cast<uint16_t>(v6 ? 5'001 : 5'000)};
    p.seq = 1'000'000;
    TcpSpec syn = spec(p);
    syn.flags = kSyn;
    syn.ack = 0;
    syn.options = syn_options(p.tsval, 0);
    input(build_tcp(syn), 0);
    peers_.push_back(p);
    drain(40);
    Peer& peer = peers_.back();
    ++peer.seq;
    input(build_tcp(spec(peer)), 0);
    peer.handle = must(req::Accept{listener_, peers_.size()}).handle;
  }

  void open_active(bool v6) {
    Peer p;
    p.theirs = {theirs(v6), 90};
    p.handle = must(req::Connect{p.theirs, {}, peers_.size()}).handle;
    drain(40);
    p.ours = {ours(v6), last_.source_port};
    p.seq = 2'000'000;
    p.ack = last_.seq + 1;
    p.tsecr = last_.tsval;
    TcpSpec answer = spec(p);
    answer.flags = kSyn | kAck;
    answer.options = syn_options(p.tsval, p.tsecr);
    ++p.seq;
    peers_.push_back(p);
    input(build_tcp(answer), 0);
    drain(40);
  }

  void structured(Input& in) {
    Peer& p = peers_[in.u8() % peers_.size()];
    TcpSpec s = spec(p);
    const uint8_t shape = in.u8();
    s.flags = (shape & 1) != 0 ? in.u8() : static_cast<uint8_t>(kAck | kPsh);
    if ((shape & 2) != 0) s.seq += static_cast<uint32_t>(in.delta()) * ((shape & 128) != 0 ? 100u : 1u);
    if ((shape & 4) != 0) s.ack += static_cast<uint32_t>(in.delta());
    if ((shape & 8) != 0) s.window = in.u16();
    const size_t length = (shape & 16) != 0 ? in.u16() % 1'400 : 0;
    for (size_t i = 0; i < length; ++i) s.payload.push_back(static_cast<uint8_t>(s.seq + i));
    if ((shape & 32) != 0) options(in, p, s);
    if ((shape & 64) != 0 && (in.u8() & 1) != 0) s.source.port = static_cast<uint16_t>(6'000 + in.u8() % 12);
    const bool in_order = s.seq == p.seq && (s.flags & (kSyn | kRst)) == 0 && (s.flags & kAck) != 0;
    input(build_tcp(s), (shape & 64) != 0 ? in.u8() : 0);
    if (in_order) p.seq += static_cast<uint32_t>(length) + ((s.flags & kFin) != 0 ? 1 : 0);
  }

  static void options(Input& in, Peer& p, TcpSpec& s) {
    s.options.clear();
    const uint8_t which = in.u8();
    if ((which & 1) != 0) s.options = timestamp_option(p.tsval + static_cast<uint32_t>(in.delta()), p.tsecr);
    if ((which & 2) != 0) {
      Bytes sack{1, 1, 5, 18};
      for (int i = 0; i < 4; ++i) {
        sack.resize(sack.size() + 4);
        store32(&sack[sack.size() - 4], p.ack - in.u16() % 8'192);
      }
      s.options.insert(s.options.end(), sack.begin(), sack.end());
    }
    if ((which & 4) != 0) {
      for (int i = 0; i < 8; ++i) s.options.push_back(in.u8());
    }
    s.options.resize(std::min<size_t>(s.options.size(), 40));
  }

  void raw(Input& in) {
    Bytes frame(14 + in.u8());
    std::copy(kOurMac.bytes.begin(), kOurMac.bytes.end(), frame.begin());
    store16(&frame[12], (in.u8() & 1) != 0 ? kEthIpv4 : kEthIpv6);
    for (size_t i = 14; i < frame.size(); ++i) frame[i] = in.u8();
    input(frame, 0);
  }

  // Everything in flight is acknowledged, the window opens.
  void acknowledge(Input& in) {
    drain(40);
    Peer& p = peers_[in.u8() % peers_.size()];
    TcpSpec s = spec(p);
    s.window = in.u16();
    input(build_tcp(s), 0);
  }

  void pass_time(Input& in) {
    const uint8_t exponent = in.u8() % 32;
    now_ = now_ + microseconds((int64_t{1} << exponent) + in.u8());
    peers_[0].tsval += 1u << exponent >> 10;
    worker_->advance(now_);
  }

  void request(Input& in) {
    Peer& p = peers_[in.u8() % peers_.size()];
    Handle h = p.handle;
    const uint8_t kind = in.u8();
    if (kind >= 250) h.gen += in.u8();
    switch (kind % 12) {
      case 0:
      case 1: {
        scratch_.resize(in.u16() % 20'000 + 1);
        (void)worker_->request(req::Send{h, scratch_, (kind & 16) != 0, (kind & 48) == 48}, now_);
        break;
      }
      case 2: {
        scratch_.resize(in.u16() % 5'000 + 1);
        (void)worker_->request(req::Receive{h, scratch_, (kind & 16) != 0}, now_);
        (void)worker_->request(req::UrgentLeft{h}, now_);
        break;
      }
      case 3: {
        const auto piece = worker_->request(req::Borrow{h}, now_);
        if (piece && piece->token != 0) tokens_.push_back(piece->token);
        break;
      }
      case 4:
        if (tokens_.empty()) (void)worker_->request(req::Release{in.u32()}, now_);
        else give_back(in.u8() % tokens_.size());
        break;
      case 5: {
        const uint32_t bytes = in.u16();
        const auto lent = worker_->request(req::LendBuffer{bytes}, now_);
        if (!lent || lent->buffer == nullptr) break;
        std::memset(lent->buffer, 7, bytes);
        const auto sent = worker_->request(req::SendLent{h, lent->buffer, bytes, in.u8()}, now_);
        if (!sent) (void)worker_->request(req::DropLent{lent->buffer}, now_);
        break;
      }
      case 6: (void)worker_->request(req::Shutdown{h}, now_); break;
      case 7: {
        const auto other = worker_->request(req::Accept{listener_, 7}, now_);
        if (other) extra_.push_back(other->handle);
        break;
      }
      case 8: (void)worker_->request(req::Close{h}, now_); break;
      case 9: (void)worker_->request(req::Abort{h}, now_); break;
      case 10: {
        SocketOptions options;
        options.no_delay = (kind & 16) != 0;
        options.keepalive = true;
        options.keepalive_idle = milliseconds(in.u8() + 1);
        options.receive_buffer = in.u16();
        options.send_buffer = in.u16();
        (void)worker_->request(req::SetOptions{h, options}, now_);
        break;
      }
      case 11: {
        const auto opened = worker_->request(req::Connect{{theirs((kind & 16) != 0), 90}, {}, 3}, now_);
        if (opened) extra_.push_back(opened->handle);
        break;
      }
    }
  }

  void give_back(size_t which) {
    (void)worker_->request(req::Release{tokens_[which]}, now_);
    tokens_.erase(tokens_.begin() + static_cast<long>(which));
  }

  void check() {
    worker_->clear_events();
    const std::string wrong = worker_->check();
    if (!wrong.empty()) broken(wrong);
  }

  void finish() {
    while (!tokens_.empty()) give_back(0);
    for (const Peer& p : peers_) (void)worker_->request(req::Abort{p.handle}, now_);
    for (const Handle h : extra_) (void)worker_->request(req::Abort{h}, now_);
    (void)worker_->request(req::Close{listener_}, now_);
    for (int i = 0; i < 40; ++i) {  // orphans, half-open and TIME-WAIT entries run out
      now_ = now_ + seconds(300);
      worker_->advance(now_);
      drain(40);
      drain(40);
    }
    check();
    const auto sockets = worker_->sockets();
    if (!sockets.empty()) broken("a socket is left: " + sockets[0].state);
    if (worker_->blocks_in_use() != 0) broken("blocks are left");
    worker_.reset();
    if (frames_.available() != kPool || references_.available() != kPool) broken("packets are left");
    frames_.reset();
    references_.reset();
    memory_.reset();
  }

  fuzz::ReusedMemory& memory_;
  fuzz::ReusedPool& frames_;
  fuzz::ReusedPool& references_;
  std::unique_ptr<stack::Worker> worker_;
  IfIndex interface_{};
  Handle listener_{};
  Instant now_ = Instant() + seconds(10);
  std::vector<Peer> peers_;
  std::vector<uint64_t> tokens_;
  std::vector<Handle> extra_;
  std::vector<std::byte> scratch_;
  TcpView last_{};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* machine = new Machine(kPool);
  Fuzz fuzz(*machine);
  fuzz.run(Input(data, size));
  return 0;
}
