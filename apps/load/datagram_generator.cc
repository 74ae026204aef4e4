// See datagram_generator.h.
#include "load/datagram_generator.h"

namespace millrace::load {
namespace {

constexpr Duration kTick = milliseconds(10);
constexpr uint32_t kLateTicks = 10;  // without an answer: what is on its way is lost
constexpr uint32_t kPatienceTicks = 500;
constexpr size_t kLargest = 65'536;

}  // namespace

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
  EchoWindow& w = flows_[index].window;
  while (w.in_flight() < options_.pipeline) {
    size_t n = 0;
    for (; n < kBatch && w.in_flight() + n < options_.pipeline; ++n) {
      const std::span<std::byte> payload(room_.data() + n * options_.size, options_.size);
      stamp_datagram(payload, index, w.next() + n);
      messages_[n] = Message{};
      messages_[n].data = payload;
    }
    const auto sent = net.send_batch(flows_[index].socket, {messages_.data(), n});
    const size_t done = sent ? *sent : 0;
    for (size_t i = 0; i < done; ++i) {
      if (!w.sent(machine_.cycles) && phase_ == Phase::kMeasure) ++report_.late;
    }
    if (done < n) return;  // kWritable follows, or the tick tries again
  }
}

void DatagramGenerator::answered(Flow& f, uint32_t index, const Message& m) {
  const auto sequence = read_stamp(m.data, index, options_.size);
  const auto answer = sequence ? f.window.take(*sequence) : EchoWindow::Answer::kNotAsked;
  if (answer == EchoWindow::Answer::kNotAsked) {
    ++report_.errors[static_cast<size_t>(ErrorKind::kContent)];
    return;
  }
  if (answer == EchoWindow::Answer::kAgain) return;  // given up, or the network's copy
  ++answers_;
  if (phase_ != Phase::kMeasure) return;
  if (answer == EchoWindow::Answer::kTimed) report_.latency.record(machine_.cycles() - f.window.timed_at());
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
    const uint32_t lost = flows_[i].window.give_up_after(kLateTicks);
    if (phase_ == Phase::kMeasure) report_.late += lost;
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
