// What programs ask, one request at a time. A descriptor and the arguments of a call are copies in our own memory.
#include <algorithm>
#include <cstring>
#include <utility>

#include "service/codec.h"
#include "service/guest.h"

namespace millrace::service {
namespace {

constexpr uint32_t kMostBacklog = 4'097;
constexpr uint32_t kMostHolds = 1U << 20;
constexpr uint32_t kLeastInput = 2'048;

void limit_input(SharedSocket& socket, const Call& c) {
  const uint32_t given = options_of(c.stream).receive_buffer;
  socket.in_limit = given == 0 ? kFlowBytes : std::clamp(given, kLeastInput, kFlowBytes);
}

Result<void> done(const Result<Reply>& reply) {
  if (!reply) return fail(reply.error());
  return {};
}

}  // namespace

void Guest::carry_out(const Descriptor& d) {
  if (!post_of(d)) answer_call(d);
}

// Nobody waits for these, so what makes no sense is dropped. False: it is a call.
bool Guest::post_of(const Descriptor& d) {
  const auto op = static_cast<Op>(d.op);
  Slot* slot = slot_of(d);
  const bool stream = slot != nullptr && slot->socket->kind == SocketKind::kStream;
  const auto claimed = claims_.find(d.number);
  switch (op) {
    case Op::kSent:
      if (stream) pump_out(d.index);
      return true;
    case Op::kTaken:
      if (stream && slot->socket->sole() && pump_in(d.index) != 0) tell(d.index, kReadable);
      return true;
    case Op::kClose:
    case Op::kAbort:
      if (slot != nullptr) close(d.index, op == Op::kAbort);
      return true;
    case Op::kUnlisten: return true;  // the listener's end says so, and others may hold it
    case Op::kHold:
      if (claimed == claims_.end() || claimed->second.count == kMostHolds) return true;
      ++claimed->second.count;
      ground_.ports->hold(d.number);
      return true;
    case Op::kRelease:
      if (claimed == claims_.end()) return true;
      ground_.ports->release(d.number);
      if (--claimed->second.count == 0) claims_.erase(claimed);
      return true;
    default: return false;
  }
}

void Guest::answer(uint32_t seq, const Result<void>& result) {
  Answer& a = segment_.answer();
  a.error = result ? 0 : static_cast<uint32_t>(result.error()) + 1;
  a.seq.store(seq, std::memory_order_release);
  answered_ = true;
}

// Whether a writer that found its flow full is to be told: there is room, or what was written goes nowhere for some
// turns.
void Guest::look_settled() {
  constexpr uint32_t kQuietTurns = 4;
  constexpr uint32_t kMostTurns = 200;
  Slot& slot = slots_[settling_.index];
  settling_.quiet = moved_ ? 0 : settling_.quiet + 1;
  moved_ = false;
  const bool room = slot.gen != settling_.gen || slot.socket == nullptr || has_room(settling_.index);
  if (!room && settling_.quiet < kQuietTurns && ++settling_.turns < kMostTurns) return;
  settling_.index = 0;
  answer(settling_.seq, {});
}

void Guest::answer_call(const Descriptor& d) {
  Call c;
  std::memcpy(static_cast<void*>(&c), &segment_.call(), sizeof c);
  Answer& a = segment_.answer();
  a.in_flow = false;
  a.number = 0;
  if (static_cast<Op>(d.op) == Op::kSettle && slot_of(d) != nullptr) {
    settling_ = {d.index, d.gen, d.seq, 0, 0};
    return;
  }
  answer(d.seq, call(d, c, a));
}

Result<void> Guest::call(const Descriptor& d, const Call& c, Answer& a) {
  Door& door = *ground_.door;
  const auto op = static_cast<Op>(d.op);
  switch (op) {
    case Op::kSync: return {};
    case Op::kReserve:
    case Op::kReserveListen: return claim(d, c, a);
    case Op::kIsLocal: a.number = ground_.is_local(endpoint_of(c.local).addr) ? 1 : 0; return {};
    case Op::kInterfaces: list_interfaces(a); return {};
    case Op::kFork:
      a.number = ground_.fork(*this);
      if (a.number == 0) return fail(Error::kTooMany);
      return {};
    case Op::kListen:
    case Op::kConnect:
    case Op::kOpenDatagram: return open(c, op, {}, a);
    case Op::kDeposit: return deposit(d, c);
    case Op::kWithdraw: return withdraw(c);
    case Op::kCollect: return collect(c, a);
    default: break;
  }
  Slot* slot = slot_of(d);
  if (slot == nullptr) return fail(Error::kBadHandle);
  SharedSocket& socket = *slot->socket;
  const Handle handle = socket.handle;
  const bool datagram = socket.kind == SocketKind::kDatagram;
  const bool fits =
      op == Op::kAccept ? socket.kind == SocketKind::kListener
      : op == Op::kSend || op == Op::kReceive || op == Op::kShutdown || op == Op::kReadTcpInfo || op == Op::kUrgentLeft
          ? socket.kind == SocketKind::kStream
      : op == Op::kLook || op == Op::kTakeError ? true
      : op == Op::kSetOptions                   ? !datagram
                                                : datagram;
  if (!fits) return fail(Error::kInvalid);
  switch (op) {
    case Op::kAccept: {
      const uint32_t limit = socket.in_limit;
      const auto opened = open(c, op, handle, a);
      if (opened) slots_[a.handle.index].socket->in_limit = limit;
      return opened;
    }
    case Op::kSend: return send(d.index, c, a);
    case Op::kReceive: return receive(d.index, c, a);
    case Op::kShutdown: return shutdown(d.index);
    case Op::kSetOptions:
      limit_input(socket, c);
      return done(door.request(req::SetOptions{handle, options_of(c.stream)}));
    case Op::kLook: return look(d.index, a);
    case Op::kTakeError:
      if (socket.held) {
        a.failed = {};
        a.failed.error = static_cast<uint8_t>(*socket.held);
        socket.held.reset();
        return {};
      }
      return done(door.request(req::TakeError{handle, &a.failed}));
    case Op::kReadTcpInfo: {
      TcpInfo info;
      const auto read = door.request(req::ReadTcpInfo{handle, &info});
      a.info = info;
      return done(read);
    }
    case Op::kUrgentLeft: {
      const auto reply = door.request(req::UrgentLeft{handle});
      if (socket.sole()) take_back(d.index);  // so that one call can see up to the mark
      socket.urgent = reply && reply->bytes != 0;
      if (socket.urgent) a.number = reply->bytes + socket.back.size();
      return done(reply);
    }
    case Op::kConnectDatagram: {
      const auto reply = door.request(req::ConnectDatagram{handle, endpoint_of(c.remote)});
      if (reply) name(socket, a);
      return done(reply);
    }
    case Op::kSetDatagramOptions: return done(door.request(req::SetDatagramOptions{handle, options_of(c.datagram)}));
    case Op::kSendMessage: return send_message(socket, c);
    case Op::kReceiveMessage: return receive_message(socket, c, a);
    case Op::kJoinGroup:
      return done(door.request(req::JoinGroup{handle, endpoint_of(c.remote).addr, static_cast<IfIndex>(c.interface),
                                              endpoint_of(c.local).addr}));
    case Op::kLeaveGroup:
      return done(door.request(req::LeaveGroup{handle, endpoint_of(c.remote).addr, static_cast<IfIndex>(c.interface),
                                               endpoint_of(c.local).addr}));
    default: return fail(Error::kNotSupported);
  }
}

// --- Opening ---------------------------------------------------------------------------------------------------------

// A local end that is named must be of a claim of this program's.
bool Guest::may_use(const Endpoint& local) const {
  return std::any_of(claims_.begin(), claims_.end(), [&](const auto& c) {
    const Endpoint& own = c.second.local;
    return own.port == local.port && (own.addr == local.addr || own.addr.is_unspecified());
  });
}

void Guest::name(SharedSocket& socket, Answer& a) {
  Endpoint local;
  Endpoint remote;
  (void)ground_.door->request(req::Names{socket.handle, &local, &remote});
  a.local = words_of(local);
  a.remote = words_of(remote);
}

Result<void> Guest::open(const Call& c, Op op, Handle listener, Answer& a) {
  const Endpoint local = endpoint_of(c.local);
  const uint32_t index = take_index();
  if (index == 0) return fail(Error::kTooMany);
  SharedSocket& socket = ground_.sockets->make(op == Op::kListen         ? SocketKind::kListener
                                               : op == Op::kOpenDatagram ? SocketKind::kDatagram
                                                                         : SocketKind::kStream);
  Slot& slot = slots_[index];
  slot.socket = &socket;
  slot.user = c.user;
  socket.holders.push_back({this, index});
  Door& door = *ground_.door;
  Result<Reply> reply = fail(Error::kAddressNotHere);
  const bool here = local.addr.is_unspecified() || ground_.is_local(local.addr);
  if (op == Op::kAccept) {
    reply = door.request(req::Accept{listener, socket.key});
  } else if (op == Op::kListen && here && may_use(local)) {
    reply = door.request(req::Listen{local, std::clamp(c.backlog, 1U, kMostBacklog), socket.key, options_of(c.stream)});
  } else if (op == Op::kConnect && here && (local.port == 0 || may_use(local))) {
    req::Connect connect;
    connect.remote = endpoint_of(c.remote);
    connect.local = local;
    connect.user = socket.key;
    connect.options = options_of(c.stream);
    reply = door.request(connect);
  } else if (op == Op::kOpenDatagram) {
    reply = door.request(req::OpenDatagram{local, DatagramKind::kUdp, socket.key, options_of(c.datagram)});
  }
  const uint64_t claim = op == Op::kListen ? std::exchange(listen_claim_, 0) : 0;
  if (!reply) {
    if (claim != 0) ground_.ports->unlisten(claim);
    forget(index);
    return fail(reply.error());
  }
  if (op == Op::kListen || op == Op::kConnect) limit_input(socket, c);
  socket.listens_for = claim;
  socket.handle = reply->handle;
  a.handle = {index, slot.gen};
  name(socket, a);
  return {};
}

void Guest::list_interfaces(Answer& a) {
  if (!ground_.interfaces) return;
  const auto rows = ground_.interfaces();
  a.number = std::min<size_t>(rows.size(), kBulkBytes / sizeof(posix::InterfaceRow));
  if (a.number != 0) std::memcpy(segment_.bulk().data(), rows.data(), a.number * sizeof(posix::InterfaceRow));
}

Result<void> Guest::claim(const Descriptor& d, const Call& c, Answer& a) {
  if (static_cast<Op>(d.op) == Op::kReserveListen) {
    if (claims_.find(d.number) == claims_.end()) return fail(Error::kInvalid);
    const auto listens = ground_.ports->listen(d.number);
    if (listens) listen_claim_ = d.number;
    return listens;
  }
  posix::Transport::Claim wanted;
  wanted.local = endpoint_of(c.local);
  wanted.reuse_address = (c.flags & kFlagReuse) != 0;
  wanted.reuse_port = (c.flags & kFlagReusePort) != 0;
  wanted.v6_only = (c.flags & kFlagV6Only) != 0;
  wanted.listening = (c.flags & kFlagListening) != 0;
  if (claims_.size() >= kSockets) return fail(Error::kTooMany);
  if (!wanted.local.addr.is_unspecified() && !ground_.is_local(wanted.local.addr)) {
    return fail(Error::kAddressNotHere);
  }
  const auto reserved = ground_.ports->reserve(wanted);
  if (!reserved) return fail(reserved.error());
  claims_.emplace(reserved->id, Claimed{1, reserved->local});
  a.number = reserved->id;
  a.local = words_of(reserved->local);
  return {};
}

// --- Streams that have no flow at the moment -------------------------------------------------------------------------

Result<void> Guest::send(uint32_t index, const Call& c, Answer& a) {
  SharedSocket& socket = *slots_[index].socket;
  for (const SharedSocket::Holder& holder : std::vector<SharedSocket::Holder>(socket.holders)) {
    holder.guest->pump_out(holder.index);  // what was written before goes first
    if (!socket.dead && holder.guest->unsent(holder.index) != 0) return fail(Error::kWouldBlock);
  }
  if (socket.held) {
    const Error error = *socket.held;
    socket.held.reset();
    return fail(error);
  }
  if (socket.shut_pending) return fail(Error::kBrokenPipe);
  const auto data = segment_.bulk().first(std::min(c.bytes, kBulkBytes));
  req::Send send{socket.handle, data, (c.flags & kFlagMore) != 0};
  send.urgent = (c.flags & kFlagUrgent) != 0;
  const auto reply = ground_.door->request(send);
  if (reply) a.number = reply->bytes;
  return done(reply);
}

Result<void> Guest::receive(uint32_t index, const Call& c, Answer& a) {
  SharedSocket& socket = *slots_[index].socket;
  const auto into = segment_.bulk().first(std::min(c.bytes, kBulkBytes));
  const bool peek = (c.flags & kFlagPeek) != 0;
  if (socket.sole()) {
    if (socket.back.empty() && !socket.urgent) {
      set_by_call(index, false);
      pump_in(index);
    }
    if (unread(index) != 0) {
      a.in_flow = true;
      return {};
    }
  }
  const size_t old = std::min(into.size(), socket.back.size());
  if (old != 0) std::memcpy(into.data(), socket.back.data(), old);
  if (!peek) socket.back.erase(socket.back.begin(), socket.back.begin() + static_cast<ptrdiff_t>(old));
  a.number = old;
  if (old != 0 && old == into.size()) return {};
  if (old == 0 && socket.held) {
    const Error error = *socket.held;
    socket.held.reset();
    return fail(error);
  }
  if (socket.held) return {};
  const auto reply = ground_.door->request(req::Receive{socket.handle, into.subspan(old), peek});
  if (reply) a.number += reply->bytes;
  if (!reply && old != 0) {
    if (reply.error() != Error::kWouldBlock) socket.held = reply.error();
    return {};
  }
  return done(reply);
}

Result<void> Guest::look(uint32_t index, Answer& a) {
  SharedSocket& socket = *slots_[index].socket;
  SocketStatus status;
  if (const auto looked = ground_.door->request(req::Look{socket.handle, &status}); !looked) {
    return fail(looked.error());
  }
  if (socket.kind == SocketKind::kStream) {
    const uint64_t waiting = (socket.sole() ? unread(index) : 0) + socket.back.size();
    status.unread += static_cast<uint32_t>(waiting);
    status.readable = status.readable || waiting != 0 || socket.held.has_value();
    if (socket.held) status.error = socket.held;
    if (socket.sole() && !socket.dead) {
      const auto under_way = static_cast<uint32_t>(unsent(index));
      status.unsent += under_way;
      if (status.alive && !status.connecting) status.room = kFlowBytes - under_way;
      if (under_way == kFlowBytes) segment_.flow(index, Direction::kToService).want = 1;
    }
  }
  a.status = status;
  return {};
}

Result<void> Guest::shutdown(uint32_t index) {
  SharedSocket& socket = *slots_[index].socket;
  pump_out(index);
  if (!socket.dead && unsent(index) != 0) {
    SocketStatus status;
    const auto looked = ground_.door->request(req::Look{socket.handle, &status});
    if (!looked || !status.alive || status.connecting) return fail(Error::kNotConnected);
    socket.shut_pending = true;
    return {};
  }
  return done(ground_.door->request(req::Shutdown{socket.handle}));
}

// --- Datagrams -------------------------------------------------------------------------------------------------------

Result<void> Guest::send_message(SharedSocket& socket, const Call& c) {
  Message m;
  m.data = segment_.bulk().first(std::min(c.bytes, kBulkBytes));
  m.remote = endpoint_of(c.remote);
  m.local = endpoint_of(c.local).addr;
  if (!m.local.is_unspecified() && !ground_.is_local(m.local)) return fail(Error::kAddressNotHere);
  m.interface = static_cast<IfIndex>(c.interface);
  m.segment = c.segment;
  m.hop_limit = c.hop_limit;
  m.traffic_class = c.traffic_class;
  return done(ground_.door->request(req::SendBatch{socket.handle, {&m, 1}}));
}

Result<void> Guest::receive_message(SharedSocket& socket, const Call& c, Answer& a) {
  Message m;
  m.into = segment_.bulk().first(std::clamp(c.bytes, 1U, kBulkBytes));
  const std::span<Message> messages(&m, (c.flags & kFlagMessage) != 0 ? 1 : 0);
  const auto reply = ground_.door->request(req::ReceiveBatch{socket.handle, messages, (c.flags & kFlagPeek) != 0});
  if (!reply) return fail(reply.error());
  if (!messages.empty() && reply->bytes == 0) return fail(Error::kWouldBlock);
  a.number = m.data.size();
  a.remote = words_of(m.remote);
  a.local = words_of(Endpoint{m.local, 0});
  a.interface = static_cast<uint16_t>(m.interface);
  a.segment = m.segment;
  a.hop_limit = m.hop_limit;
  a.traffic_class = m.traffic_class;
  a.length = m.length;
  a.received_ns = m.received.ns();
  a.to_group = m.to_group;
  return {};
}

}  // namespace millrace::service
