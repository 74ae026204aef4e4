// Feeds a recording to a fresh worker and compares what comes out.
#include <cstring>
#include <map>

#include "sim/nic.h"
#include "sim/record.h"
#include "sim/recorded_sources.h"
#include "sim/text.h"

namespace millrace::sim {
namespace {

class Replay {
 public:
  Replay(const Recording& recording, const DecodedConfig& decoded)
      : in_(recording.operations),
        device_returns_(recording.device_returns),
        frame_pool_(decoded.frame_capacity * 2 + 4'096),
        reference_pool_(decoded.reference_capacity * 2 + 4'096, 0),
        frames_(frame_pool_, recording.frame_grants, decoded.frame_capacity),
        references_(reference_pool_, recording.reference_grants, decoded.reference_capacity),
        memory_(heap_, recording.memory_grants) {
    names_.ordinal_to_buffer = [this](uint64_t i) { return i < buffers_.size() ? buffers_[i] : nullptr; };
    names_.token_to_view = [this](uint64_t token) {
      const auto it = views_.find(token);
      return it == views_.end() ? std::span<const std::byte>() : it->second;
    };
    names_.ordinal_to_token = [this](uint64_t i) { return i < tokens_.size() ? tokens_[i] : UINT64_MAX; };
    stack::WorkerConfig config = decoded.config;
    config.frames = &frames_;
    config.references = &references_;
    config.memory = &memory_;
    config.shards = decoded.sharded ? &decoded.shards : nullptr;
    worker_ = std::make_unique<stack::Worker>(config);
    if (recording.pumped) worker_->set_pump([this] { return pump(); });
  }
  ~Replay() {
    for (auto& [ordinal, packet] : outstanding_) free_chain(packet, frame_pool_, reference_pool_);
    worker_.reset();
  }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  std::string run() {
    while (!in_.empty() && difference_.empty()) step();
    if (difference_.empty() && in_.bad()) difference_ = "the recording ends in the middle of an operation";
    return difference_;
  }

 private:
  void differ(const std::string& what) {
    if (difference_.empty()) difference_ = text("replay differs at operation ", count_, ": ", what);
  }

  void step() {
    const auto op = static_cast<RecordOp>(in_.u8());
    const Instant now(static_cast<int64_t>(in_.u64()));
    ++count_;
    switch (op) {
      case RecordOp::kInterface: return interface();
      case RecordOp::kInput: return input(now, false);
      case RecordOp::kInputSteered: return input(now, true);
      case RecordOp::kHandOver: return hand_over();
      case RecordOp::kTell: return tell();
      case RecordOp::kHear: return hear(now);
      case RecordOp::kRequest: return request(now);
      case RecordOp::kAdvance: return worker_->advance(now);
      case RecordOp::kOutput: return output(now);
      case RecordOp::kClearEvents:
        if (in_.fixed() != digest_events(worker_->events())) differ("other events");
        return worker_->clear_events();
      case RecordOp::kDeadline: {
        const auto deadline = worker_->next_deadline();
        if (in_.fixed() != (deadline ? static_cast<uint64_t>(deadline->ns()) : UINT64_MAX)) differ("another deadline");
        return;
      }
      case RecordOp::kReturned: return returned();
      default: differ("an operation out of place");
    }
  }

  void interface() {
    const link::NetifConfig config = decode_interface(in_);
    const auto result = worker_->add_interface(config);
    if (in_.u64() != (result ? static_cast<uint16_t>(*result) : 0)) differ("another interface index");
  }

  void input(Instant now, bool steered) {
    const auto index = static_cast<IfIndex>(in_.u64());
    std::vector<pkt::Packet*> burst(in_.u64());
    for (auto& packet : burst) packet = decode_packet(in_, frame_pool_);
    if (steered) {
      worker_->input_steered(index, burst, now);
    } else {
      worker_->input(index, burst, now);
    }
  }

  void hand_over() {
    const auto to = static_cast<uint32_t>(in_.u64());
    std::vector<stack::Handed> out(in_.u64());
    const uint64_t want = in_.u64();
    const size_t count = worker_->hand_over(to, out);
    if (count != want) differ(text(count, " frames handed over, ", want, " before"));
    for (size_t i = 0; i < count; ++i) {
      if (i < want && in_.fixed() != digest_packet(*out[i].frame)) differ("a frame handed over has other bytes");
      free_chain(out[i].frame, frame_pool_, reference_pool_);
    }
  }

  void tell() {
    const auto to = static_cast<uint32_t>(in_.u64());
    std::vector<ip::TableMessage> out(in_.u64());
    const uint64_t want = in_.u64();
    const size_t count = worker_->tell(to, out);
    if (count != want || in_.fixed() != digest_news({out.data(), count})) differ("other news for a worker");
  }

  void hear(Instant now) {
    const auto from = static_cast<uint32_t>(in_.u64());
    const auto bytes = in_.bytes();
    std::vector<ip::TableMessage> news(bytes.size() / sizeof(ip::TableMessage));
    std::memcpy(static_cast<void*>(news.data()), bytes.data(), news.size() * sizeof(ip::TableMessage));
    worker_->hear(from, news, now);
  }

  void request(Instant now) {
    Request request = decode_request(in_, names_, room_);
    auto reply = worker_->request(request, now);
    const auto end = static_cast<RecordOp>(in_.u8());
    in_.u64();
    if (end != RecordOp::kRequestEnd) return differ("the pump was not called as before");
    if (in_.fixed() != digest_reply(request, reply)) differ(text("another answer to request ", request.index()));
    if (!reply) return;
    note_borrowed(views_, request, reply);
    if (reply->buffer != nullptr) buffers_.push_back(reply->buffer);
    if (reply->token != 0) tokens_.push_back(reply->token);
  }

  Instant pump() {
    if (static_cast<RecordOp>(in_.u8()) != RecordOp::kPump) {
      differ("the pump was called where it was not before");
      return {};
    }
    in_.u64();
    while (difference_.empty() && !in_.empty()) {
      Reader ahead = in_;
      if (static_cast<RecordOp>(ahead.u8()) == RecordOp::kPumpEnd) {
        const Instant now(static_cast<int64_t>(ahead.u64()));
        in_ = ahead;
        return now;
      }
      step();
    }
    return {};
  }

  void output(Instant now) {
    const auto index = static_cast<IfIndex>(in_.u64());
    std::vector<pkt::Packet*> out(in_.u64());
    const uint64_t want = in_.u64();
    const size_t count = worker_->output(index, out, now);
    if (count != want) differ(text(count, " frames, ", want, " before"));
    for (size_t i = 0; i < count; ++i) {
      if (i < want && in_.fixed() != digest_packet(*out[i])) differ(text("frame ", i, " of the burst has other bytes"));
      if (device_returns_) outstanding_[next_packet_++] = out[i];
      else free_chain(out[i], frame_pool_, reference_pool_);
    }
  }

  void returned() {
    const auto it = outstanding_.find(in_.u64());
    if (it == outstanding_.end()) return differ("a packet came back that was never sent");
    free_chain(it->second, frame_pool_, reference_pool_);
    outstanding_.erase(it);
  }

  Reader in_;
  bool device_returns_;
  pkt::HeapPacketPool frame_pool_;
  pkt::HeapPacketPool reference_pool_;
  base::HeapMemory heap_;
  ReplayedPool frames_;
  ReplayedPool references_;
  ReplayedMemory memory_;
  RequestNames names_;
  std::unique_ptr<stack::Worker> worker_;
  RequestRoom room_;
  BorrowedViews views_;
  std::vector<std::byte*> buffers_;
  std::vector<uint64_t> tokens_;
  std::map<uint64_t, pkt::Packet*> outstanding_;
  uint64_t next_packet_ = 0;
  uint64_t count_ = 0;
  std::string difference_;
};

}  // namespace

std::string replay(const Recording& recording) {
  Reader setup(recording.setup);
  const DecodedConfig decoded = decode_config(setup);
  if (setup.bad()) return "the recording has no configuration";
  return Replay(recording, decoded).run();
}

Bytes Recording::serialise() const {
  Writer out;
  out.bytes(setup);
  out.bytes(operations);
  for (const auto* grants : {&frame_grants, &reference_grants}) {
    out.u64(grants->size());
    for (const uint32_t n : *grants) out.u64(n);
  }
  out.bytes(memory_grants);
  out.u8(pumped);
  out.u8(device_returns);
  return out.take();
}

bool Recording::parse(std::span<const uint8_t> bytes, Recording& out) {
  Reader in(bytes);
  const auto take = [&in](Bytes& to) {
    const auto piece = in.bytes();
    to.assign(piece.begin(), piece.end());
  };
  take(out.setup);
  take(out.operations);
  for (auto* grants : {&out.frame_grants, &out.reference_grants}) {
    const uint64_t n = in.u64();
    if (n > in.left()) return false;
    grants->resize(n);
    for (auto& grant : *grants) grant = static_cast<uint32_t>(in.u64());
  }
  take(out.memory_grants);
  out.pumped = in.u8() != 0;
  out.device_returns = in.u8() != 0;
  return in.empty() && !in.bad();
}

}  // namespace millrace::sim
