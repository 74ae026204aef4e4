#include "load/datagram_generator.h"

#include <cstring>

namespace millrace::load {
namespace {

constexpr Duration kTick = milliseconds(10);
constexpr uint32_t kLateTicks = 10;  // without an answer: what is on its way is lost
constexpr uint32_t kPatienceTicks = 500;
constexpr size_t kLargest = 65'536;

uint64_t mixed(uint64_t x) {
  x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
  return x ^ x >> 32;
}

}  // namespace

// The sequence number, then words that follow from it and the flow.
void stamp_datagram(std::span<std::byte> into, uint32_t flow, uint64_t sequence) {
  std::memcpy(into.data(), &sequence, 8);
  uint64_t word = mixed(sequence * 0x9e3779b97f4a7c15ULL + flow);
  size_t at = 8;
  for (; at + 8 <= into.size(); at += 8, word += 0x9e3779b97f4a7c15ULL) std::memcpy(&into[at], &word, 8);
  std::memcpy(into.data() + at, &word, into.size() - at);
}

std::optional<uint64_t> read_stamp(std::span<const std::byte> payload, uint32_t flow, size_t size) {
  if (payload.size() != size) return std::nullopt;
  uint64_t sequence = 0;
  std::memcpy(&sequence, payload.data(), 8);
  uint64_t word = mixed(sequence * 0x9e3779b97f4a7c15ULL + flow);
  uint64_t wrong = 0;
  size_t at = 8;
  for (; at + 8 <= size; at += 8, word += 0x9e3779b97f4a7c15ULL) {
    uint64_t got = 0;
    std::memcpy(&got, &payload[at], 8);
    wrong |= got ^ word;
  }
  if (wrong != 0 || std::memcmp(payload.data() + at, &word, size - at) != 0) return std::nullopt;
  return sequence;
}

DatagramGenerator::DatagramGenerator(const Options& options, Machine machine, Report& report)
    : options_(options), machine_(std::move(machine)), report_(report), room_(kBatch * kLargest) {
  report_.hz = machine_.hz;
}

void DatagramGenerator::start(Net& net) {
  const IpAddr any = options_.target.addr.is_v4() ? IpAddr::any_v4() : IpAddr();
  DatagramOptions o;
  o.receive_buffer = 64 << 20;
  o.send_buffer = 64 << 20;
  flows_.resize(options_.connections);
  for (uint32_t i = 0; i < flows_.size(); ++i) {
    const IpAddr local = options_.sources.empty() ? any : options_.sources[i % options_.sources.size()];
    const auto socket = net.open_datagram({local, 0}, i, o);
    if (!socket) return fail(net, std::string("cannot open a socket: ") + describe(socket.error()));
    flows_[i].socket = *socket;
    if (const auto done = net.connect_datagram(*socket, options_.target); !done) {
      return fail(net, std::string("cannot connect: ") + describe(done.error()));
    }
  }
  phase_end_ = net.now() + options_.warmup;
  for (uint32_t i = 0; i < flows_.size(); ++i) ask(net, i);
  net.wake_at(net.now() + kTick);
}

// Fills the window of a flow.
void DatagramGenerator::ask(Net& net, uint32_t index) {
  Flow& f = flows_[index];
  while (f.in_flight < options_.pipeline) {
    size_t n = 0;
    for (; n < kBatch && f.in_flight + n < options_.pipeline; ++n) {
      const std::span<std::byte> payload(room_.data() + n * options_.size, options_.size);
      stamp_datagram(payload, index, f.next + n);
      messages_[n] = Message{};
      messages_[n].data = payload;
    }
    const auto sent = net.send_batch(f.socket, {messages_.data(), n});
    const size_t done = sent ? *sent : 0;
    for (size_t i = 0; i < done; ++i) {
      const uint64_t sequence = f.next + i;
      uint64_t& word = f.waiting[sequence % kWindow / 64];
      const uint64_t bit = uint64_t{1} << sequence % 64;
      if ((word & bit) != 0) {  // a whole window ago and still not back
        --f.in_flight;
        if (phase_ == Phase::kMeasure) ++report_.late;
        if (f.timed + kWindow == sequence) f.timed = UINT64_MAX;
      }
      word |= bit;
      if (f.timed == UINT64_MAX && sequence % 64 == 0) {
        f.timed = sequence;
        f.timed_at = machine_.cycles();
      }
    }
    f.next += done;
    f.in_flight += static_cast<uint32_t>(done);
    if (done < n) return;  // kWritable follows, or the tick tries again
  }
}

void DatagramGenerator::answered(Flow& f, uint32_t index, const Message& m) {
  const auto sequence = read_stamp(m.data, index, options_.size);
  if (!sequence || *sequence >= f.next) {
    ++report_.errors[static_cast<size_t>(ErrorKind::kContent)];
    return;
  }
  if (*sequence + kWindow < f.next) return;  // given up long ago
  uint64_t& word = f.waiting[*sequence % kWindow / 64];
  const uint64_t bit = uint64_t{1} << *sequence % 64;
  if ((word & bit) == 0) return;  // given up, or the network's copy
  word &= ~bit;
  --f.in_flight;
  f.idle_ticks = 0;
  ++answers_;
  if (*sequence == f.timed) {
    if (phase_ == Phase::kMeasure) report_.latency.record(machine_.cycles() - f.timed_at);
    f.timed = UINT64_MAX;
  }
  if (phase_ != Phase::kMeasure) return;
  ++report_.responses;
  report_.body_bytes += m.data.size();
}

void DatagramGenerator::take(Net& net, uint32_t index) {
  for (;;) {
    for (Message& m : messages_) m.into = {};
    const auto taken = net.receive_batch(flows_[index].socket, messages_);
    if (!taken) return;
    const std::span<const Message> batch(messages_.data(), *taken);
    for (const Message& m : batch) answered(flows_[index], index, m);
    net.release_batch(batch);
  }
}

void DatagramGenerator::event(Net& net, const Event& event) {
  if (phase_ == Phase::kDone) return;
  const auto index = static_cast<uint32_t>(event.user);
  if ((event.mask & kError) != 0) {
    const auto why = net.send_batch(flows_[index].socket, {});
    if (!why) return fail(net, std::string("the server's host says: ") + describe(why.error()));
  }
  take(net, index);
  ask(net, index);
}

// What has not come back for long is lost; the window goes on behind it.
void DatagramGenerator::give_up_late(Net& net) {
  for (uint32_t i = 0; i < flows_.size(); ++i) {
    Flow& f = flows_[i];
    if (f.in_flight != 0 && ++f.idle_ticks > kLateTicks) {
      if (phase_ == Phase::kMeasure) report_.late += f.in_flight;
      f.in_flight = 0;
      f.waiting.fill(0);
      f.timed = UINT64_MAX;
      f.idle_ticks = 0;
    }
    ask(net, i);
  }
}

void DatagramGenerator::begin_measuring(Instant now) {
  phase_ = Phase::kMeasure;
  began_ = now;
  phase_end_ = now + options_.duration;
  if (machine_.busy_cycles) busy_before_ = machine_.busy_cycles();
}

void DatagramGenerator::tick(Net& net) {
  if (phase_ == Phase::kDone) return;
  quiet_ = answers_ == 0 ? quiet_ + 1 : 0;
  answers_ = 0;
  if (quiet_ > kPatienceTicks) return fail(net, "the server stopped answering");
  give_up_late(net);
  if (net.now() >= phase_end_) {
    if (phase_ == Phase::kMeasure) return finish(net);
    begin_measuring(net.now());
  }
  net.wake_at(net.now() + kTick);
}

void DatagramGenerator::finish(Net& net) {
  phase_ = Phase::kDone;
  report_.measured = true;
  report_.seconds = static_cast<double>((net.now() - began_).ns()) / 1e9;
  if (machine_.busy_cycles) report_.busy_cycles = machine_.busy_cycles() - busy_before_;
  net.stop(report_.good() ? 0 : 1);
}

void DatagramGenerator::fail(Net& net, std::string why) {
  phase_ = Phase::kDone;
  report_.failure = std::move(why);
  net.stop(1);
}

void DatagramGenerator::stop(Net&) {
  if (phase_ == Phase::kDone) return;
  phase_ = Phase::kDone;
  report_.failure = "stopped before the measurement ended";
}

}  // namespace millrace::load
