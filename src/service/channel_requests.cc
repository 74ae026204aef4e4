// What requests become: bytes in a flow, a descriptor that is posted, or a call.
#include <algorithm>
#include <cstring>

#include "service/channel.h"
#include "service/codec.h"

namespace millrace::service {
namespace {

constexpr uint32_t kFreeEnough = kFlowBytes / 2;  // when a producer that waits is told of room

// Copies between a flow's ring and plain memory.
void into_ring(std::byte* ring, uint64_t at, std::span<const std::byte> from) {
  const uint64_t start = at % kFlowBytes;
  const size_t first = std::min<size_t>(from.size(), kFlowBytes - start);
  std::memcpy(ring + start, from.data(), first);
  if (first < from.size()) std::memcpy(ring, from.data() + first, from.size() - first);
}

void out_of_ring(const std::byte* ring, uint64_t at, std::span<std::byte> into) {
  const uint64_t start = at % kFlowBytes;
  const size_t first = std::min<size_t>(into.size(), kFlowBytes - start);
  std::memcpy(into.data(), ring + start, first);
  if (first < into.size()) std::memcpy(into.data() + first, ring, into.size() - first);
}

Result<Reply> nothing(const Result<const Answer*>& answer) {
  if (!answer) return fail(answer.error());
  return Reply{};
}

}  // namespace

Channel::Known* Channel::find(Handle handle) {
  if (handle.index == 0 || handle.index >= kSockets) return nullptr;
  Known& known = known_[handle.index];
  return known.open && known.gen == handle.gen ? &known : nullptr;
}

// A socket that the service has just named.
Channel::Known& Channel::learn(const Answer& answer, uint64_t user) {
  Known& known = known_[answer.handle.index % kSockets];
  known = {};
  late_bytes_.erase(answer.handle.index);
  known.gen = answer.handle.gen;
  known.open = true;
  known.user = user;
  known.local = endpoint_of(answer.local);
  known.remote = endpoint_of(answer.remote);
  return known;
}

// --- Streams ---------------------------------------------------------------------------------------------------------

Result<Reply> Channel::send(const req::Send& r) {
  Known* known = find(r.handle);
  if (known == nullptr) return fail(Error::kBadHandle);
  const uint32_t index = r.handle.index;
  const auto& by_call = end_.segment.flow(index, Direction::kToProgram).by_call;
  if (!known->stream || known->calls_out || r.urgent || by_call.load(std::memory_order_acquire) != 0) {
    return send_by_call(r);
  }
  Flow& flow = end_.segment.flow(index, Direction::kToService);
  std::byte* ring = end_.segment.data(index, Direction::kToService);
  size_t done = 0;
  bool settled = false;
  bool waits = false;
  while (done < r.data.size()) {
    const uint64_t consumed = flow.consumed.load(std::memory_order_acquire);
    const uint64_t room = kFlowBytes - (known->sent - consumed);
    if (room == 0) {
      if (waits) break;
      if (done == 0 && !settled) {  // full is full: not merely on its way
        settled = true;
        if (const auto answer = ask(Op::kSettle, r.handle); !answer) return fail(answer.error());
        absorb();
        if (known->calls_out) return send_by_call(r);
        continue;
      }
      waits = true;
      flow.want.store(1, std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_seq_cst);  // room may have come before the wish was seen
      continue;
    }
    if (room == kFlowBytes) flow.origin.store(known->sent, std::memory_order_relaxed);
    const size_t n = std::min<size_t>(room, r.data.size() - done);
    into_ring(ring, known->sent - flow.origin.load(std::memory_order_relaxed), r.data.subspan(done, n));
    done += n;
    known->sent += n;
    flow.more.store(r.more && done == r.data.size() ? 1 : 0, std::memory_order_relaxed);
    flow.produced.store(known->sent, std::memory_order_release);
  }
  if (done == 0 && !r.data.empty()) return fail(Error::kWouldBlock);
  if (done != 0) post(Op::kSent, r.handle);
  Reply reply;
  reply.bytes = done;
  return reply;
}

Result<Reply> Channel::send_by_call(const req::Send& r) {
  Call call;
  const auto data = r.data.first(std::min<size_t>(r.data.size(), kBulkBytes));
  call.bytes = static_cast<uint32_t>(data.size());
  call.flags = (r.more ? kFlagMore : 0) | (r.urgent ? kFlagUrgent : 0);
  if (const auto ready = ready_for(Op::kSend, r.handle); !ready) return fail(ready.error());
  if (!data.empty() && late_.seq == 0) std::memcpy(end_.segment.bulk().data(), data.data(), data.size());
  const auto answer = ask(Op::kSend, r.handle, &call);
  if (!answer) return fail(answer.error());
  Reply reply;
  reply.bytes = std::min<size_t>((*answer)->number, data.size());
  return reply;
}

size_t Channel::take_from_flow(Handle handle, Known& known, std::span<std::byte> into, bool peek) {
  Flow& flow = end_.segment.flow(handle.index, Direction::kToProgram);
  const uint64_t produced = flow.produced.load(std::memory_order_acquire);
  const size_t n = std::min<size_t>(produced - known.taken, into.size());
  if (n == 0) return 0;
  const uint64_t origin = flow.origin.load(std::memory_order_relaxed);
  out_of_ring(end_.segment.data(handle.index, Direction::kToProgram), known.taken - origin, into.first(n));
  if (peek) return n;
  known.taken += n;
  flow.consumed.store(known.taken, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (flow.want.load(std::memory_order_relaxed) != 0 && produced - known.taken <= kFreeEnough) {
    flow.want.store(0, std::memory_order_relaxed);
    post(Op::kTaken, handle);
  }
  return n;
}

Result<Reply> Channel::receive(const req::Receive& r) {
  Known* known = find(r.handle);
  if (known == nullptr) return fail(Error::kBadHandle);
  const auto& by_call = end_.segment.flow(r.handle.index, Direction::kToProgram).by_call;
  constexpr int kRounds = 3;
  Reply reply;
  if (late_.seq != 0 && late_.op == Op::kReceive && late_.handle == r.handle) {
    if (const auto settled = settle_late(true); !settled) return fail(settled.error());
  }
  if (!late_bytes_.empty()) {
    reply.bytes = take_late(r.handle, r.into, r.peek);
    if (reply.bytes != 0) return reply;
  }
  for (int round = 0; round < kRounds; ++round) {
    reply.bytes = known->stream ? take_from_flow(r.handle, *known, r.into, r.peek) : 0;
    if (reply.bytes != 0) return reply;
    if (known->stream && !known->calls_in && by_call.load(std::memory_order_acquire) == 0) break;
    Call call;
    call.bytes = static_cast<uint32_t>(std::min<size_t>(r.into.size(), kBulkBytes));
    call.flags = r.peek ? kFlagPeek : 0;
    const auto answer = ask(Op::kReceive, r.handle, &call);
    if (!answer) return fail(answer.error());
    if ((*answer)->in_flow) continue;
    reply.bytes = std::min<size_t>((*answer)->number, call.bytes);
    if (reply.bytes != 0) std::memcpy(r.into.data(), end_.segment.bulk().data(), reply.bytes);
    return reply;
  }
  return fail(Error::kWouldBlock);
}

Result<void> Channel::glance(Handle handle, SocketStatus& status) {
  if (child_ && !adopt()) return fail(Error::kNetDown);
  if (!dead_) absorb();
  const Known* known = find(handle);
  if (known == nullptr) return fail(Error::kBadHandle);
  status = {};
  if (dead_) {
    status.readable = true;
    status.error = Error::kNetDown;
    return {};
  }
  const Flow& in = end_.segment.flow(handle.index, Direction::kToProgram);
  Flow& out = end_.segment.flow(handle.index, Direction::kToService);
  if (!known->stream || known->calls_in || known->calls_out || in.by_call.load(std::memory_order_acquire) != 0 ||
      late_bytes_.contains(handle.index)) {
    const auto answer = ask(Op::kLook, handle);
    if (!answer && answer.error() != Error::kWouldBlock) return fail(answer.error());
    status.alive = true;  // as far as is known
    if (answer) status = (*answer)->status;
    status.readable = status.readable || late_bytes_.contains(handle.index);
    return {};
  }
  status.alive = true;
  status.unread = static_cast<uint32_t>(in.produced.load(std::memory_order_acquire) - known->taken);
  status.readable = status.unread != 0;
  const auto room = [&] {
    return static_cast<uint32_t>(kFlowBytes - (known->sent - out.consumed.load(std::memory_order_acquire)));
  };
  status.room = room();
  if (status.room != 0) return {};
  // Whoever learns that there is none will wait to be told of some.
  out.want.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  status.room = room();
  return {};
}

// --- Datagrams -------------------------------------------------------------------------------------------------------

Result<Reply> Channel::send_message(const req::SendBatch& r) {
  Reply reply;
  for (const Message& m : r.messages) {
    if (m.data.size() > kBulkBytes) return fail(Error::kTooBig);
    Call call;
    call.bytes = static_cast<uint32_t>(m.data.size());
    call.remote = words_of(m.remote);
    call.local = words_of(Endpoint{m.local, 0});
    call.interface = static_cast<uint16_t>(m.interface);
    call.segment = m.segment;
    call.hop_limit = m.hop_limit;
    call.traffic_class = m.traffic_class;
    if (const auto ready = ready_for(Op::kSendMessage, r.handle); !ready) return fail(ready.error());
    if (!m.data.empty() && late_.seq == 0) std::memcpy(end_.segment.bulk().data(), m.data.data(), m.data.size());
    const auto answer = ask(Op::kSendMessage, r.handle, &call);
    if (!answer) return reply.bytes != 0 ? Result<Reply>(reply) : fail(answer.error());
    ++reply.bytes;
  }
  return reply;
}

Result<Reply> Channel::receive_message(const req::ReceiveBatch& r) {
  Reply reply;
  const size_t most = r.peek ? std::min<size_t>(r.messages.size(), 1) : r.messages.size();
  for (size_t i = 0; i < most || (i == 0 && r.messages.empty()); ++i) {
    Call call;
    call.flags = (r.peek ? kFlagPeek : 0) | (r.messages.empty() ? 0 : kFlagMessage);
    if (!r.messages.empty()) {
      call.bytes = static_cast<uint32_t>(std::min<size_t>(r.messages[i].into.size(), kBulkBytes));
    }
    const auto got = ask(Op::kReceiveMessage, r.handle, &call);
    if (!got) return reply.bytes != 0 ? Result<Reply>(reply) : fail(got.error());
    if (r.messages.empty()) break;
    const Answer& answer = **got;
    Message& m = r.messages[i];
    const size_t n = std::min<size_t>(answer.number, call.bytes);
    if (n != 0) std::memcpy(m.into.data(), end_.segment.bulk().data(), n);
    m.data = m.into.first(n);
    m.remote = endpoint_of(answer.remote);
    m.local = endpoint_of(answer.local).addr;
    m.interface = static_cast<IfIndex>(answer.interface);
    m.hop_limit = answer.hop_limit;
    m.traffic_class = answer.traffic_class;
    m.segment = answer.segment;
    m.length = answer.length;
    m.received = Instant(answer.received_ns);
    m.to_group = answer.to_group;
    ++reply.bytes;
  }
  return reply;
}

// --- Everything ------------------------------------------------------------------------------------------------------

struct Channel::Asker {
  Channel& channel;

  Result<Reply> opened(Op op, Handle about, const Call& call, bool stream, bool listener) const {
    const auto answer = channel.ask(op, about, &call);
    if (!answer) return fail(answer.error());
    Known& known = channel.learn(**answer, call.user);
    known.stream = stream;
    known.listener = listener;
    known.calls_in = known.calls_out = op != Op::kAccept;  // what is accepted is connected
    Reply reply;
    reply.handle = (*answer)->handle;
    return reply;
  }
  Result<Reply> gone(Op op, Handle handle) const {
    Known* known = channel.find(handle);
    if (known == nullptr) return fail(Error::kBadHandle);
    channel.post(op, handle);
    channel.late_bytes_.erase(handle.index);
    known->open = false;
    return Reply{};
  }

  Result<Reply> operator()(const req::Listen& r) const {
    Call call;
    call.local = words_of(r.local);
    call.backlog = r.backlog;
    call.user = r.user;
    call.stream = words_of(r.options);
    return opened(Op::kListen, {}, call, false, true);
  }
  Result<Reply> operator()(const req::Connect& r) const {
    Call call;
    call.remote = words_of(r.remote);
    call.local = words_of(r.local);
    call.user = r.user;
    call.stream = words_of(r.options);
    return opened(Op::kConnect, {}, call, true, false);
  }
  Result<Reply> operator()(const req::Accept& r) const {
    Call call;
    call.user = r.user;
    return opened(Op::kAccept, r.listener, call, true, false);
  }
  Result<Reply> operator()(const req::SetUser& r) const {
    Known* known = channel.find(r.handle);
    if (known == nullptr) return fail(Error::kBadHandle);
    known->user = r.user;
    return Reply{};
  }
  Result<Reply> operator()(const req::Send& r) const { return channel.send(r); }
  Result<Reply> operator()(const req::Receive& r) const { return channel.receive(r); }
  Result<Reply> operator()(const req::Shutdown& r) const { return nothing(channel.ask(Op::kShutdown, r.handle)); }
  Result<Reply> operator()(const req::Close& r) const { return gone(Op::kClose, r.handle); }
  Result<Reply> operator()(const req::Abort& r) const { return gone(Op::kAbort, r.handle); }
  Result<Reply> operator()(const req::SetOptions& r) const {
    Call call;
    call.stream = words_of(r.options);
    return nothing(channel.ask(Op::kSetOptions, r.handle, &call));
  }
  Result<Reply> operator()(const req::OpenDatagram& r) const {
    if (r.kind != DatagramKind::kUdp) return fail(Error::kNotSupported);
    Call call;
    call.local = words_of(r.local);
    call.user = r.user;
    call.datagram = words_of(r.options);
    return opened(Op::kOpenDatagram, {}, call, false, false);
  }
  Result<Reply> operator()(const req::ConnectDatagram& r) const {
    Known* known = channel.find(r.handle);
    if (known == nullptr) return fail(Error::kBadHandle);
    Call call;
    call.remote = words_of(r.remote);
    const auto answer = channel.ask(Op::kConnectDatagram, r.handle, &call);
    if (!answer) return fail(answer.error());
    known->local = endpoint_of((*answer)->local);
    known->remote = endpoint_of((*answer)->remote);
    return Reply{};
  }
  Result<Reply> operator()(const req::SendBatch& r) const { return channel.send_message(r); }
  Result<Reply> operator()(const req::ReceiveBatch& r) const { return channel.receive_message(r); }
  Result<Reply> operator()(const req::SetDatagramOptions& r) const {
    Call call;
    call.datagram = words_of(r.options);
    return nothing(channel.ask(Op::kSetDatagramOptions, r.handle, &call));
  }
  Result<Reply> operator()(const req::JoinGroup& r) const { return group(Op::kJoinGroup, r); }
  Result<Reply> operator()(const req::LeaveGroup& r) const { return group(Op::kLeaveGroup, r); }
  template <class Group>
  Result<Reply> group(Op op, const Group& r) const {
    Call call;
    call.remote = words_of(Endpoint{r.group, 0});
    call.local = words_of(Endpoint{r.source, 0});
    call.interface = static_cast<uint16_t>(r.interface);
    return nothing(channel.ask(op, r.handle, &call));
  }
  Result<Reply> operator()(const req::TakeError& r) const {
    const auto answer = channel.ask(Op::kTakeError, r.handle);
    if (!answer) return fail(answer.error());
    *r.into = (*answer)->failed;
    return Reply{};
  }
  Result<Reply> operator()(const req::Names& r) const {
    const Known* known = channel.find(r.handle);
    if (known == nullptr) return fail(Error::kBadHandle);
    if (r.local != nullptr) *r.local = known->local;
    if (r.remote != nullptr) *r.remote = known->remote;
    return Reply{};
  }
  Result<Reply> operator()(const req::UrgentLeft& r) const {
    const auto answer = channel.ask(Op::kUrgentLeft, r.handle);
    if (!answer) return fail(answer.error());
    Reply reply;
    reply.bytes = (*answer)->number;
    return reply;
  }
  Result<Reply> operator()(const req::Look& r) const {
    const auto answer = channel.ask(Op::kLook, r.handle);
    if (!answer) return fail(answer.error());
    *r.into = (*answer)->status;
    return Reply{};
  }
  Result<Reply> operator()(const req::ReadTcpInfo& r) const {
    const auto answer = channel.ask(Op::kReadTcpInfo, r.handle);
    if (!answer) return fail(answer.error());
    *r.into = (*answer)->info;
    return Reply{};
  }
  // What lends memory, and what operators ask.
  template <class Other>
  Result<Reply> operator()(const Other&) const {
    return fail(Error::kNotSupported);
  }
};

Result<Reply> Channel::request(const Request& request) {
  if (child_ && !adopt()) return fail(Error::kNetDown);
  if (dead_) return fail(Error::kNetDown);
  absorb();
  return std::visit(Asker{*this}, request);
}

Result<posix::Transport::Reserved> Channel::reserve(const Claim& claim) {
  Call call;
  call.local = words_of(claim.local);
  call.flags = (claim.reuse_address ? kFlagReuse : 0) | (claim.reuse_port ? kFlagReusePort : 0) |
               (claim.v6_only ? kFlagV6Only : 0) | (claim.listening ? kFlagListening : 0);
  const auto answer = ask(Op::kReserve, {}, &call);
  if (!answer) return fail(answer.error());
  return Reserved{(*answer)->number, endpoint_of((*answer)->local)};
}

Result<void> Channel::reserve_listen(uint64_t id) {
  const auto answer = ask(Op::kReserveListen, {}, nullptr, id);
  if (!answer) return fail(answer.error());
  return {};
}

std::vector<posix::InterfaceRow> Channel::interfaces() {
  const auto answer = ask(Op::kInterfaces, {});
  if (!answer) return {};
  const size_t most = kBulkBytes / sizeof(posix::InterfaceRow);
  std::vector<posix::InterfaceRow> rows(std::min<size_t>((*answer)->number, most));
  if (!rows.empty()) {
    std::memcpy(static_cast<void*>(rows.data()), end_.segment.bulk().data(), rows.size() * sizeof(rows[0]));
  }
  return rows;
}

bool Channel::is_local(const IpAddr& address) {
  Call call;
  call.local = words_of(Endpoint{address, 0});
  const auto answer = ask(Op::kIsLocal, {}, &call);
  return answer && (*answer)->number != 0;
}

}  // namespace millrace::service
