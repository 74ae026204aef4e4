#include "sim/record.h"

#include "sim/hash.h"
#include "sim/nic.h"
#include "sim/recorded_sources.h"

namespace millrace::sim {

struct RecordingWorker::State {
  State(const stack::WorkerConfig& config, bool record_inputs)
      : record(record_inputs),
        frames(*config.frames, recording.frame_grants),
        references(*config.references, recording.reference_grants),
        memory(*config.memory, recording.memory_grants) {
    names.buffer_to_ordinal = [this](const std::byte* p) {
      const auto it = buffers.find(p);
      return it == buffers.end() ? UINT64_MAX : it->second;
    };
    names.token_to_ordinal = [this](uint64_t token) {
      const auto it = tokens.find(token);
      return it == tokens.end() ? UINT64_MAX : it->second;
    };
    names.token_to_view = [this](uint64_t token) {
      const auto it = views.find(token);
      return it == views.end() ? std::span<const std::byte>() : it->second;
    };
  }

  void begin(RecordOp op, Instant now) {
    out.u8(static_cast<uint8_t>(op));
    out.u64(static_cast<uint64_t>(now.ns()));
  }

  bool record;
  Recording recording;
  Writer out;
  RecordedPool frames;
  RecordedPool references;
  RecordedMemory memory;
  RequestNames names;
  std::unordered_map<const std::byte*, uint64_t> buffers;
  std::unordered_map<uint64_t, uint64_t> tokens;
  BorrowedViews views;
  std::unordered_map<const pkt::Packet*, uint64_t> packets;
  uint64_t next_buffer = 0;
  uint64_t next_token = 0;
  uint64_t next_packet = 0;
};

RecordingWorker::RecordingWorker(const stack::WorkerConfig& config, bool record)
    : state_(std::make_unique<State>(config, record)) {
  if (!record) {
    worker_ = std::make_unique<stack::Worker>(config);
    return;
  }
  Writer setup;
  encode_config(setup, config);
  state_->recording.setup = setup.take();
  stack::WorkerConfig wrapped = config;
  wrapped.frames = &state_->frames;
  wrapped.references = &state_->references;
  wrapped.memory = &state_->memory;
  worker_ = std::make_unique<stack::Worker>(wrapped);
}

RecordingWorker::~RecordingWorker() {
  worker_.reset();  // before the pools that it uses
}

Result<IfIndex> RecordingWorker::add_interface(const link::NetifConfig& config) {
  const auto result = worker_->add_interface(config);
  if (state_->record) {
    state_->begin(RecordOp::kInterface, Instant());
    encode_interface(state_->out, config);
    state_->out.u64(result ? static_cast<uint16_t>(*result) : 0);
  }
  return result;
}

void RecordingWorker::record_burst(RecordOp op, IfIndex interface, std::span<pkt::Packet* const> burst, Instant now) {
  if (!state_->record) return;
  Writer& out = state_->out;
  state_->begin(op, now);
  out.u64(static_cast<uint16_t>(interface));
  out.u64(burst.size());
  for (const pkt::Packet* packet : burst) encode_packet(out, *packet);
}

void RecordingWorker::input(IfIndex interface, std::span<pkt::Packet*> burst, Instant now) {
  record_burst(RecordOp::kInput, interface, burst, now);
  worker_->input(interface, burst, now);
}

void RecordingWorker::input_steered(IfIndex interface, std::span<pkt::Packet*> burst, Instant now) {
  record_burst(RecordOp::kInputSteered, interface, burst, now);
  worker_->input_steered(interface, burst, now);
}

size_t RecordingWorker::hand_over(uint32_t worker, std::span<stack::Handed> out) {
  const size_t count = worker_->hand_over(worker, out);
  if (!state_->record) return count;
  state_->begin(RecordOp::kHandOver, Instant());
  for (const uint64_t n : {uint64_t{worker}, uint64_t{out.size()}, uint64_t{count}}) state_->out.u64(n);
  for (size_t i = 0; i < count; ++i) state_->out.fixed(digest_packet(*out[i].frame));
  return count;
}

size_t RecordingWorker::tell(uint32_t worker, std::span<ip::TableMessage> out) {
  const size_t count = worker_->tell(worker, out);
  if (!state_->record) return count;
  state_->begin(RecordOp::kTell, Instant());
  for (const uint64_t n : {uint64_t{worker}, uint64_t{out.size()}, uint64_t{count}}) state_->out.u64(n);
  state_->out.fixed(digest_news(out.first(count)));
  return count;
}

void RecordingWorker::hear(uint32_t worker, std::span<const ip::TableMessage> news, Instant now) {
  if (state_->record) {
    state_->begin(RecordOp::kHear, now);
    state_->out.u64(worker);
    state_->out.bytes(std::as_bytes(news));
  }
  worker_->hear(worker, news, now);
}

Result<Reply> RecordingWorker::request(const Request& request, Instant now) {
  if (!state_->record) return worker_->request(request, now);
  State& s = *state_;
  s.begin(RecordOp::kRequest, now);
  encode_request(s.out, request, s.names);
  auto reply = worker_->request(request, now);
  s.begin(RecordOp::kRequestEnd, now);
  s.out.fixed(digest_reply(request, reply));
  if (!reply) return reply;
  note_borrowed(s.views, request, reply);
  if (reply->buffer != nullptr) s.buffers[reply->buffer] = s.next_buffer++;
  if (reply->token != 0) s.tokens[reply->token] = s.next_token++;
  return reply;
}

void RecordingWorker::advance(Instant now) {
  if (state_->record) state_->begin(RecordOp::kAdvance, now);
  worker_->advance(now);
}

size_t RecordingWorker::output(IfIndex interface, std::span<pkt::Packet*> out, Instant now) {
  const size_t count = worker_->output(interface, out, now);
  if (!state_->record) return count;
  State& s = *state_;
  s.begin(RecordOp::kOutput, now);
  s.out.u64(static_cast<uint16_t>(interface));
  s.out.u64(out.size());
  s.out.u64(count);
  for (size_t i = 0; i < count; ++i) {
    s.out.fixed(digest_packet(*out[i]));
    s.packets[out[i]] = s.next_packet++;
  }
  return count;
}

void RecordingWorker::clear_events() {
  if (state_->record) {
    state_->begin(RecordOp::kClearEvents, Instant());
    state_->out.fixed(digest_events(worker_->events()));
  }
  worker_->clear_events();
}

std::optional<Instant> RecordingWorker::next_deadline() {
  const auto deadline = worker_->next_deadline();
  if (state_->record) {
    state_->begin(RecordOp::kDeadline, Instant());
    state_->out.fixed(deadline ? static_cast<uint64_t>(deadline->ns()) : UINT64_MAX);
  }
  return deadline;
}

void RecordingWorker::set_pump(stack::Worker::Pump pump) {
  if (!state_->record) return worker_->set_pump(std::move(pump));
  state_->recording.pumped = true;
  worker_->set_pump([this, inner = std::move(pump)] {
    state_->begin(RecordOp::kPump, Instant());
    const Instant now = inner();
    state_->begin(RecordOp::kPumpEnd, now);
    return now;
  });
}

void RecordingWorker::returned(const pkt::Packet* packet) {
  if (!state_->record) return;
  const auto it = state_->packets.find(packet);
  if (it == state_->packets.end()) return;
  state_->recording.device_returns = true;
  state_->begin(RecordOp::kReturned, Instant());
  state_->out.u64(it->second);
  state_->packets.erase(it);
}

const Recording& RecordingWorker::recording() const {
  state_->recording.operations = state_->out.out();
  return state_->recording;
}

uint64_t digest_packet(const pkt::Packet& packet) {
  const Bytes bytes = gather(packet);
  return hash_bytes(bytes, mix64(packet.flags & ~pkt::kExternal) ^ packet.tx_offload ^ (uint64_t{packet.segs} << 48));
}

uint64_t digest_news(std::span<const ip::TableMessage> news) {
  uint64_t h = news.size();
  const auto mix_addr = [&](const IpAddr& a) { h = hash_bytes(a.bytes(), h); };
  for (const ip::TableMessage& m : news) {
    h = mix64(h ^ static_cast<uint64_t>(m.kind) << 32 ^ static_cast<uint64_t>(m.state) << 16 ^ m.up);
    h = hash_bytes(m.mac.bytes, h ^ static_cast<uint64_t>(m.interface));
    mix_addr(m.addr);
    mix_addr(m.address.prefix.addr);
    mix_addr(m.route.prefix.addr);
    mix_addr(m.route.hop.gateway);
  }
  return h;
}

uint64_t digest_events(std::span<const Event> events) {
  uint64_t h = events.size();
  for (const Event& e : events) {
    h = mix64(h ^ e.handle.index) + e.handle.gen;
    h = mix64(h ^ e.user) + e.mask;
    h = mix64(h ^ e.cookie) + e.seq;
  }
  return h;
}

}  // namespace millrace::sim
