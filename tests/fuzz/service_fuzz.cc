// Fuzzes the service's side of shared memory with a hostile program: the input is a sequence of commands that write
// into its segment, any bytes or requests that almost make sense, also while the service is in the middle of one (what
// the door to the worker is asked is a moment between two reads). A second, honest program has a connection with
// itself. Whatever happens: the honest one's bytes arrive, none of them appears in the hostile one's segment, nothing
// leaves with a source address that is not the stack's, and at the end all memory is back.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "input.h"
#include "reused.h"
#include "service/codec.h"
#include "service/deposits.h"
#include "service/guest.h"
#include "stack/impl.h"
#include "stack/worker.h"
#include "wire/bytes.h"

namespace {

using namespace millrace;
using namespace millrace::service;

constexpr size_t kPool = 600;
constexpr std::string_view kSecret = "what only the honest program knows";
constexpr uint32_t kFewFlows = 8;
constexpr uint16_t kHonestPort = 7'000;

using fuzz::broken;
using fuzz::Input;
using fuzz::Machine;

IpAddr here(bool v6) { return v6 ? *IpAddr::parse("::1") : IpAddr::v4(127, 0, 0, 1); }

// A segment as its program sees it.
struct Program {
  std::unique_ptr<Guest> guest;
  const Segment* segment = nullptr;
  uint32_t next = 0;

  void post(const Descriptor& d) {
    segment->request(next) = d;
    segment->header().requests.tail = ++next;
  }
};

class Fuzz final : public Door {
 public:
  explicit Fuzz(Machine& machine) : machine_(machine) {
    stack::WorkerConfig config;
    config.frames = &machine.frames;
    config.references = &machine.references;
    config.memory = &machine.memory;
    config.seed = 1;
    config.max_connections = config.max_half_open = config.max_time_wait = 16;
    config.max_datagram_sockets = 8;
    config.max_messages = 32;
    config.block_bytes = size_t{4} << 20;
    worker_ = std::make_unique<stack::Worker>(config);
    link::NetifConfig netif{"lo", link::LinkKind::kLoopback, {}, {}};
    netif.limits.mtu = 1'500;
    netif.limits.max_segments = 16;
    netif.limits.tx_checksum_v4 = netif.limits.tx_checksum_v6 = true;
    interface_ = *worker_->add_interface(netif);
    (void)request(req::AddAddress{interface_, {here(false), 8}});
    (void)request(req::AddAddress{interface_, {here(true), 128}});
    ground_.door = this;
    ground_.ports = &ports_;
    ground_.sockets = &sockets_;
    ground_.is_local = [](const IpAddr& a) { return a.is_loopback(); };
    ground_.fork = [this](Guest& parent) { return fork(parent); };
    deposits_.emplace(ground_, make().guest);
    ground_.deposits = &*deposits_;
    honest_ = make();
    hostile_ = make();
    begin_honest();
  }

  void run(Input in) {
    in_ = &in;
    for (int commands = 0; commands < 200 && !in.empty(); ++commands) {
      command(in);
      if (hostile_.guest->doomed()) come_again();
    }
    in_ = nullptr;
    finish();
  }

  // The worker, with the hostile program at work between what the service reads before and after.
  Result<Reply> request(const Request& r) override {
    if (wild_ != 0 && in_ != nullptr) {
      --wild_;
      scribble(*in_);
    }
    return worker_->request(r, now_);
  }
  [[nodiscard]] Instant now() const override { return now_; }
  void wake_at(Instant) override {}
  void stop(int) override {}

 private:
  Program make() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) broken("no pipe");
    close(ends[0]);
    auto segment = Segment::make();
    if (!segment) broken("no segment");
    Program p;
    p.guest = std::make_unique<Guest>(ground_, std::move(*segment), runtime::Descriptor(ends[1]));
    p.segment = &p.guest->segment();
    return p;
  }

  uint64_t fork(Guest& parent) {
    if (children_.size() == 2) return 0;
    Program child = make();
    child.guest->inherit(parent);
    children_.push_back(std::move(child));
    return children_.size();
  }

  void turn() {
    now_ = now_ + microseconds(20);
    worker_->advance(now_);
    deposits_->look_at_clock(now_);
    (void)reset_those_waiting(ground_);
    if (hostile_.guest != nullptr) hostile_.guest->serve(16);
    honest_.guest->serve(16);
    loop_back();
    while (!worker_->events().empty()) {
      const std::vector<Event> events(worker_->events().begin(), worker_->events().end());
      worker_->clear_events();
      for (const Event& e : events) tell_holders(sockets_, e);
      loop_back();
    }
    if (hostile_.guest != nullptr) hostile_.guest->publish();
    honest_.guest->publish();
  }

  void loop_back() {
    pkt::Packet* frames[16];
    for (int round = 0; round < 64; ++round) {
      const size_t n = worker_->output(interface_, frames, now_);
      if (n == 0) return;
      for (size_t i = 0; i < n; ++i) {
        judge(*frames[i]);
        frames[i]->flags = (frames[i]->flags & pkt::kExternal) | pkt::kRxL4ChecksumNone;
        frames[i]->tx_offload = 0;
      }
      worker_->input(interface_, {frames, n}, now_);
    }
  }

  // What leaves has an address of ours.
  static void judge(const pkt::Packet& frame) {
    std::array<std::byte, 14 + 40> head{};
    if (!pkt::copy_out(frame, 0, std::span(head).first(std::min<size_t>(head.size(), frame.total)))) return;
    const std::byte* ip = head.data() + 14;
    IpAddr source;
    if (wire::load_be16(&head[12]) == 0x0800) {
      source = IpAddr::v4(wire::load_be32(ip + 12));
    } else {
      std::array<uint8_t, 16> bytes{};
      std::memcpy(bytes.data(), ip + 8, bytes.size());
      source = IpAddr(bytes);
    }
    if (!source.is_loopback()) broken("a foreign source address: " + source.to_string());
  }

  // --- The honest program ---

  Handle ask_honest(Op op, Handle handle = {}) {
    Descriptor d;
    d.op = static_cast<uint32_t>(op);
    d.index = handle.index;
    d.gen = handle.gen;
    d.seq = ++seq_;
    honest_.post(d);
    for (int i = 0; i < 8; ++i) turn();
    const Answer& answer = honest_.segment->answer();
    if (answer.seq != seq_ || answer.error != 0) broken("the honest program is refused");
    return answer.handle;
  }

  void begin_honest() {
    Call& call = honest_.segment->call();
    call.local = words_of(Endpoint{here(false), kHonestPort});
    (void)ask_honest(Op::kReserve);
    call.backlog = 8;
    const Handle listener = ask_honest(Op::kListen);
    call = {};
    call.remote = words_of(Endpoint{here(false), kHonestPort});
    from_ = ask_honest(Op::kConnect);
    to_ = ask_honest(Op::kAccept, listener);
    std::memcpy(honest_.segment->data(from_.index, Direction::kToService), kSecret.data(), kSecret.size());
    honest_.segment->flow(from_.index, Direction::kToService).produced = kSecret.size();
  }

  void check_honest() {
    (void)ask_honest(Op::kSync);
    Descriptor d;
    d.op = static_cast<uint32_t>(Op::kSent);
    d.index = from_.index;
    d.gen = from_.gen;
    honest_.post(d);
    for (int i = 0; i < 8; ++i) turn();
    const Flow& flow = honest_.segment->flow(to_.index, Direction::kToProgram);
    const std::byte* got = honest_.segment->data(to_.index, Direction::kToProgram);
    if (flow.produced != kSecret.size() || std::memcmp(got, kSecret.data(), kSecret.size()) != 0) {
      broken("the honest program's bytes did not arrive");
    }
  }

  // --- The hostile one ---

  [[nodiscard]] std::span<std::byte> words(Input& in) const {
    const Segment& s = *hostile_.segment;
    const auto bytes = [](auto& object) { return std::span(reinterpret_cast<std::byte*>(&object), sizeof object); };
    switch (in.u8() % 8) {
      case 0: return bytes(s.header());
      case 1: return bytes(s.request(hostile_.next + in.u8() % 4));
      case 2: return bytes(s.call());
      case 3: return bytes(s.answer());
      case 4: return s.bulk().first(64);
      default:
        return bytes(s.flow(in.u8() % kFewFlows, in.u8() % 2 == 0 ? Direction::kToService : Direction::kToProgram));
    }
  }

  void scribble(Input& in) const {
    const std::span<std::byte> place = words(in);
    const size_t at = in.u8() % place.size();
    const size_t n = std::min<size_t>(in.u8() % 9, place.size() - at);
    for (size_t i = 0; i < n; ++i) place[at + i] = static_cast<std::byte>(in.u8());
  }

  static Endpoint endpoint(Input& in) {
    const uint8_t which = in.u8();
    Endpoint e;
    switch (which % 8) {
      case 0: e.addr = IpAddr::v4(192, 0, 2, 1); break;
      case 1: e.addr = IpAddr::any_v4(); break;
      case 2: break;
      case 3: e.addr = here(true); break;
      case 4: e.addr = IpAddr::v4(224, 0, 0, 9); break;
      default: e.addr = here(false); break;
    }
    e.port = static_cast<uint16_t>((which & 8) != 0 ? 0 : kHonestPort + (which >> 4) % 4);
    return e;
  }

  void almost_right(Input& in) {
    Call& call = hostile_.segment->call();
    call.local = words_of(endpoint(in));
    call.remote = words_of(endpoint(in));
    call.bytes = in.u8() % 4 == 0 ? in.u32() : in.u8() * 20U;
    call.flags = in.u8();
    call.backlog = in.u8();
    call.token = {in.u8() % 4U, 0};
    Descriptor d;
    d.op = in.u8() % (static_cast<uint32_t>(Op::kCollect) + 2);
    d.index = in.u8() % kFewFlows;
    d.gen = in.u8() % 4 == 0 ? in.u8() : 1 + in.u8() % 3;
    d.seq = 1;
    d.number = 1 + in.u8() % 6;
    hostile_.next = hostile_.segment->header().requests.head;
    hostile_.post(d);
  }

  void produce(Input& in) {
    const uint32_t index = in.u8() % kFewFlows;
    Flow& out = hostile_.segment->flow(index, Direction::kToService);
    out.produced = out.produced + in.u16();
    Flow& back = hostile_.segment->flow(index, Direction::kToProgram);
    back.consumed = back.consumed + in.u8();
  }

  void command(Input& in) {
    switch (in.u8() % 8) {
      case 0: scribble(in); break;
      case 1:
      case 2:
      case 3: almost_right(in); break;
      case 4: produce(in); break;
      case 5: wild_ = in.u8() % 16; break;
      case 6: now_ = now_ + microseconds(int64_t{1} << in.u8() % 24); break;
      case 7:
        if (in.u8() % 8 == 0) come_again();
        break;
    }
    turn();
    if (const std::string wrong = worker_->check(); !wrong.empty()) broken(wrong);
  }

  void let_go(Program& program) {
    search(program);
    program.guest->leave();
    turn();
    program.guest.reset();
  }

  void come_again() {
    let_go(hostile_);
    hostile_ = make();
  }

  // Nothing of the honest program's is in there.
  static void search(const Program& program) {
    const auto has = [](const std::byte* at, size_t bytes) {
      return std::string_view(reinterpret_cast<const char*>(at), bytes).find(kSecret) != std::string_view::npos;
    };
    bool seen = has(program.segment->bulk().data(), 4'096);
    for (uint32_t index = 0; index < kFewFlows; ++index) {
      seen = seen || has(program.segment->data(index, Direction::kToProgram), 4'096);
    }
    if (seen) broken("the honest program's bytes lie in the hostile one's segment");
  }

  void finish() {
    wild_ = 0;
    check_honest();
    for (Program& child : children_) let_go(child);
    let_go(hostile_);
    honest_.guest->leave();
    honest_.guest.reset();
    deposits_.reset();
    (void)reset_those_waiting(ground_);
    if (sockets_.size() != 0) broken("sockets of the service are left");
    if (ports_.size() != 0) broken("claims are left");
    for (int i = 0; i < 40; ++i) {
      now_ = now_ + seconds(100);
      worker_->advance(now_);
      loop_back();
      worker_->clear_events();
    }
    if (const std::string wrong = worker_->check(); !wrong.empty()) broken(wrong);
    if (!worker_->sockets().empty()) broken("a socket of the worker is left");
    if (worker_->blocks_in_use() != 0) broken("blocks are left");
    worker_.reset();
    machine_.reset();
  }

  Machine& machine_;
  std::unique_ptr<stack::Worker> worker_;
  IfIndex interface_{};
  Instant now_ = Instant() + seconds(10);
  posix::Ports ports_{1};
  SharedSockets sockets_;
  Ground ground_;
  std::optional<Deposits> deposits_;
  Program honest_;
  Program hostile_;
  std::vector<Program> children_;
  Input* in_ = nullptr;
  int wild_ = 0;
  uint32_t seq_ = 0;
  Handle from_{};
  Handle to_{};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* machine = new Machine(kPool);
  Fuzz fuzz(*machine);
  fuzz.run(Input(data, size));
  return 0;
}
