#include "sim/dumbbell.h"

#include <algorithm>

#include "impair/frame.h"
#include "sim/frame_view.h"

namespace millrace::sim {
namespace {

constexpr uint16_t kServerPort = 80;
constexpr uint16_t kFirstPort = 10'000;  // flow i connects from this port and i
constexpr size_t kSourcePortAt = 34;     // in a frame without IP options
constexpr size_t kDestinationPortAt = 36;
const std::array<IpAddr, 2> kAddress = {IpAddr::v4(10, 0, 0, 1), IpAddr::v4(10, 0, 0, 2)};
constexpr std::array<MacAddr, 2> kMac = {MacAddr{{2, 0, 0, 0, 0, 1}}, MacAddr{{2, 0, 0, 0, 0, 2}}};

/// Packets for a host: what fills path and queue, in small segments too, twice over, since a receiver may hold all of
/// it while the next lot arrives.
uint32_t packets_for(const impair::PathConfig& path, const std::vector<FlowPlan>& flows) {
  constexpr uint64_t kBytes = 700;
  Duration longest{};
  for (const FlowPlan& flow : flows) longest = std::max(longest, flow.round_trip);
  const uint64_t filled = impair::queue_bytes_of(path.bits_per_second, longest + path.delay, 1) + path.queue_bytes;
  return static_cast<uint32_t>(std::clamp<uint64_t>(2 * filled / kBytes, 2'048, 262'144));
}

}  // namespace

/// Opens flows when it is time and writes what they carry.
class Dumbbell::Source final : public Program {
 public:
  explicit Source(Dumbbell& world) : world_(world), written_(world.flows_.size()), chunk_(65'536) {}

  void start(Net& net) override {
    for (size_t i = 0; i < world_.flows_.size(); ++i) {
      if (world_.flows_[i].after < 0) waiting_.push_back({net.now() + world_.flows_[i].start, i});
    }
    wake(net);
  }
  void follow(size_t flow) {
    for (size_t i = 0; i < world_.flows_.size(); ++i) {
      if (world_.flows_[i].after == static_cast<int>(flow)) {
        waiting_.push_back({world_.heap_.now() + world_.flows_[i].start, i});
        // The program wakes by itself, outside of the receiver's turn.
        world_.heap_.at(waiting_.back().when, [this] { world_.stations_[0]->run(); });
      }
    }
  }
  void tick(Net& net) override {
    for (size_t k = 0; k < waiting_.size();) {
      if (waiting_[k].when > net.now()) {
        ++k;
        continue;
      }
      open(net, waiting_[k].flow);
      waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(k));
    }
    wake(net);
  }
  void event(Net& net, const Event& event) override {
    if ((event.mask & kError) != 0) {
      world_.results_[event.user].failed = true;
      net.close(event.handle);
      return;
    }
    if ((event.mask & (kConnected | kWritable)) != 0) write(net, event.handle, event.user);
    if ((event.mask & kReadable) != 0) net.close(event.handle);  // the peer has closed
  }

 private:
  struct Waiting {
    Instant when;
    size_t flow;
  };
  void wake(Net& net) {
    Instant next = kNever;
    for (const Waiting& w : waiting_) next = std::min(next, w.when);
    if (next != kNever) net.wake_at(next);
  }
  void open(Net& net, size_t flow) {
    SocketOptions options;
    options.congestion_control = ControllerName(world_.flows_[flow].controller);
    world_.results_[flow].began = net.now();
    const auto handle =
        net.connect({kAddress[1], kServerPort}, flow, options, {kAddress[0], static_cast<uint16_t>(kFirstPort + flow)});
    MR_ASSERT(handle);
  }
  void write(Net& net, Handle handle, size_t flow) {
    const uint64_t total = world_.flows_[flow].bytes;
    for (;;) {
      const uint64_t left = total == 0 ? chunk_.size() : std::min<uint64_t>(chunk_.size(), total - written_[flow]);
      if (left == 0) {
        (void)net.shutdown(handle);
        return;
      }
      const auto n = net.write(handle, {chunk_.data(), left});
      if (!n) return;
      written_[flow] += *n;
    }
  }

  Dumbbell& world_;
  std::vector<uint64_t> written_;
  std::vector<std::byte> chunk_;
  std::vector<Waiting> waiting_;
};

/// Counts what each flow brings.
class Dumbbell::Sink final : public Program {
 public:
  explicit Sink(Dumbbell& world) : world_(world), buffer_(1 << 20) {}

  void start(Net& net) override {
    const auto listener = net.listen({kAddress[1], kServerPort}, kListener);
    MR_ASSERT(listener);
  }
  void event(Net& net, const Event& event) override {
    if (event.user == kListener) {
      while (const auto conn = net.accept(event.handle, kUnknown)) {
        Endpoint remote;
        const auto named = net.request(req::Names{*conn, nullptr, &remote});
        MR_ASSERT(named);
        (void)net.set_user(*conn, static_cast<uint64_t>(remote.port - kFirstPort));
        read(net, *conn, static_cast<size_t>(remote.port - kFirstPort));
      }
      return;
    }
    if (event.user != kUnknown) read(net, event.handle, event.user);
  }

 private:
  static constexpr uint64_t kListener = UINT64_MAX;
  static constexpr uint64_t kUnknown = UINT64_MAX - 1;
  void read(Net& net, Handle handle, size_t flow) {
    FlowResult& result = world_.results_[flow];
    for (;;) {
      const auto n = net.read(handle, buffer_);
      if (!n) {
        if (n.error() != Error::kWouldBlock) net.close(handle);
        return;
      }
      if (*n == 0) {
        net.close(handle);
        return;
      }
      result.bytes += *n;
      if (world_.attacked_)
        result.foreign += *n - static_cast<uint64_t>(std::count(
                                   buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(*n), std::byte{}));
      if (result.bytes == world_.flows_[flow].bytes) {
        result.ended = net.now();
        world_.ended(flow);
      }
    }
  }

  Dumbbell& world_;
  std::vector<std::byte> buffer_;
};

Dumbbell::Dumbbell(const DumbbellConfig& config, std::vector<FlowPlan> flows)
    : path_(config.bottleneck, config.seed), flows_(std::move(flows)), results_(flows_.size()) {
  MR_ASSERT(flows_.size() <= 40'000);
  for (const FlowPlan& flow : flows_) unended_ += flow.bytes != 0 ? 1 : 0;
  source_ = std::make_unique<Source>(*this);
  sink_ = std::make_unique<Sink>(*this);
  for (size_t i = 0; i < 2; ++i) {
    StationConfig station;
    station.mac = kMac[i];
    station.address = kAddress[i];
    station.peer_mac = kMac[1 - i];
    station.peer = kAddress[1 - i];
    station.tcp = config.tcp;
    station.packets = packets_for(config.bottleneck, flows_);
    station.seed = 2 * config.seed + i;
    stations_[i] = std::make_unique<Station>(heap_, frames_, station, [this, i](Frame* frame) {
      if (tap) tap(static_cast<int>(i), *frame, heap_.now());
      i == 0 ? to_receiver(frame) : to_sender(frame);
    });
  }
  stations_[1]->start(*sink_);
  stations_[0]->start(*source_);
}

Dumbbell::~Dumbbell() = default;

Duration Dumbbell::one_way(const Frame& frame, size_t port_at) const {
  if (frame.bytes.size() < kDestinationPortAt + 2) return {};
  const size_t flow = static_cast<size_t>(load16(&frame.bytes[port_at]) - kFirstPort);
  return flow < flows_.size() ? flows_[flow].round_trip / 2 : Duration();
}

void Dumbbell::to_receiver(Frame* frame) {
  const Duration more = one_way(*frame, kSourcePortAt);
  const impair::Verdict verdict = path_.send(heap_.now(), static_cast<uint32_t>(frame->bytes.size()));
  if (verdict.mark) impair::mark_congestion(std::as_writable_bytes(std::span(frame->bytes)));
  for (size_t i = 0; i < verdict.copies; ++i) {
    Frame* one = i + 1 == verdict.copies ? frame : frames_.copy(*frame);
    heap_.at(verdict.at[i] + more, [this, one] { stations_[1]->receive(one); });
  }
  if (verdict.copies == 0) frames_.drop(frame);
}

void Dumbbell::to_sender(Frame* frame) {
  heap_.at(heap_.now() + one_way(*frame, kDestinationPortAt), [this, frame] { stations_[0]->receive(frame); });
}

void Dumbbell::inject(int host, Bytes bytes) {
  attacked_ = true;
  Frame* const frame = frames_.make(std::move(bytes));
  frame->injected = true;
  stations_[static_cast<size_t>(host)]->receive(frame);
}

void Dumbbell::ended(size_t flow) {
  --unended_;
  source_->follow(flow);
}

bool Dumbbell::run_to_end(Instant when) {
  while (unended_ != 0 && heap_.next_at() <= when) heap_.step();
  return unended_ == 0;
}

}  // namespace millrace::sim
