#include "sock/sockets.h"

#include <algorithm>
#include <cstring>

namespace millrace::sock {
namespace {

constexpr uint32_t kCopyBreak = 512;     // received pieces up to this are copied behind the last one
constexpr uint32_t kCompactBytes = 1'024;  // unread pieces up to this leave their device buffer

Reply with_handle(Handle h) {
  Reply r;
  r.handle = h;
  return r;
}
Reply with_bytes(size_t n) {
  Reply r;
  r.bytes = n;
  return r;
}

}  // namespace

Sockets::Sockets(base::MemorySource& memory, uint32_t limit, pkt::PacketCache& packets, pkt::BlockPool& blocks)
    : slab_(memory, limit), packets_(packets), blocks_(blocks) {}

Socket* Sockets::find(Handle h, Kind kind) {
  Socket* s = slab_.find(h.index, h.gen);
  return s != nullptr && s->kind == kind ? s : nullptr;
}

// --- Opening ---------------------------------------------------------------------------------------------------------

Result<Reply> Sockets::listen(const req::Listen& r) {
  const uint32_t index = slab_.allocate();
  if (index == 0) return fail(Error::kTooMany);
  Socket& s = slab_[index];
  s.kind = Kind::kListener;
  s.user = r.user;
  const auto result = tcp_->listen(index, r.local, r.backlog, r.options);
  if (!result) {
    slab_.release(index);
    return fail(result.error());
  }
  listeners_.emplace_back(index, r.local);
  return with_handle(handle_of(index));
}

Endpoint Sockets::listener_endpoint(uint32_t index) const {
  for (const auto& [sock, endpoint] : listeners_) {
    if (sock == index) return endpoint;
  }
  return {};
}

Result<Reply> Sockets::connect(const req::Connect& r, Instant now) {
  const uint32_t index = slab_.allocate();
  if (index == 0) return fail(Error::kTooMany);
  Socket& s = slab_[index];
  s.kind = Kind::kStream;
  s.user = r.user;
  s.flags = kConnecting;
  size_t taken = 0;
  const auto conn = tcp_->connect(index, r, now, taken);
  if (!conn) {
    slab_.release(index);
    return fail(conn.error());
  }
  s.conn = *conn;
  Reply reply = with_handle(handle_of(index));
  reply.bytes = taken;
  return reply;
}

uint32_t Sockets::accepted(uint32_t listener_sock, uint32_t conn) {
  const uint32_t index = slab_.allocate();
  if (index == 0) return 0;
  Socket& s = slab_[index];
  s.kind = Kind::kStream;
  s.conn = conn;
  s.flags = kUnaccepted;
  s.listener = listener_sock;
  Socket& l = slab_[listener_sock];
  (l.wait_head == 0 ? l.wait_head : slab_[l.wait_tail].link) = index;
  l.wait_tail = index;
  s.link = 0;
  ++l.queued;
  return index;
}

Result<Reply> Sockets::accept(const req::Accept& r) {
  Socket* l = find(r.listener, Kind::kListener);
  if (l == nullptr) return fail(Error::kBadHandle);
  const uint32_t index = l->wait_head;
  if (index == 0) return fail(Error::kWouldBlock);
  Socket& s = slab_[index];
  l->wait_head = s.link;
  if (l->wait_head == 0) l->wait_tail = 0;
  --l->queued;
  tcp_->accept_taken(r.listener.index);
  s.link = 0;
  s.user = r.user;
  s.flags &= static_cast<uint8_t>(~kUnaccepted);
  // What happened before the program knew the socket.
  uint32_t mask = kWritable;
  if (s.queued > 0 || (s.flags & kEnd) != 0) mask |= kReadable;
  if ((s.flags & kEnd) != 0) mask |= kPeerClosed;
  if (s.error != 0) mask |= kError | kReadable;
  emit(index, mask);
  return with_handle(handle_of(index));
}

Result<Reply> Sockets::set_user(const req::SetUser& r) {
  Socket* s = slab_.find(r.handle.index, r.handle.gen);
  if (s == nullptr) return fail(Error::kBadHandle);
  s->user = r.user;
  return Reply{};
}

Result<Reply> Sockets::set_options(const req::SetOptions& r, Instant now) {
  if (find(r.handle, Kind::kListener) != nullptr) {
    if (const auto done = tcp_->set_listener_options(r.handle.index, r.options); !done) return fail(done.error());
    return Reply{};
  }
  Socket* s = find(r.handle, Kind::kStream);
  if (s == nullptr) return fail(Error::kBadHandle);
  if (s->conn == 0) return fail(Error::kNotConnected);
  if (const auto done = tcp_->set_options(s->conn, r.options, now); !done) return fail(done.error());
  return Reply{};
}

// SO_ERROR of a stream: what ended the connection, told once. A datagram socket has a queue of them.
Result<Reply> Sockets::take_error(const req::TakeError& r) {
  Socket* s = find(r.handle, Kind::kStream);
  if (s == nullptr) return with_datagram(r.handle, [&](uint32_t i) { return udp_->take_error(i, r.into); });
  if (s->error == 0) return fail(Error::kWouldBlock);
  *r.into = {};
  r.into->error = static_cast<uint8_t>(s->error - 1);
  s->error = 0;
  s->flags |= kEnd;
  return Reply{};
}

// --- Sending ---------------------------------------------------------------------------------------------------------

// What a read or write on a socket whose connection is gone reports: its error once, then the end.
Result<size_t> Sockets::no_connection(Socket& s, bool writing) {
  if (s.error != 0) {
    const auto error = static_cast<Error>(s.error - 1);
    s.error = 0;
    s.flags |= kEnd;
    return fail(error);
  }
  if (writing) return fail(Error::kBrokenPipe);
  return size_t{0};
}

bool Sockets::send(Handle h, std::span<const std::byte> data, bool more, Instant now, size_t& taken, Error& why) {
  taken = 0;
  Socket* s = find(h, Kind::kStream);
  if (s == nullptr) return send_datagram(h, data, now, taken, why);
  if (s->conn == 0) {
    const auto gone = no_connection(*s, true);
    why = gone ? Error::kBrokenPipe : gone.error();
    return false;
  }
  if (data.empty()) return true;
  uint32_t room = tcp_->usual_send_space(s->conn);
  if (__builtin_expect(room == 0, 0)) {
    const auto space = tcp_->send_space(s->conn);
    if (!space) {
      why = space.error();
      return false;
    }
    room = *space;
  }
  if (room != 0) taken = tcp_->send_copy(s->conn, data, more, now);
  if (taken < data.size()) tcp_->want_space(s->conn);
  if (taken != 0) return true;
  why = room == 0 ? Error::kWouldBlock : Error::kNoBuffers;
  if (room != 0) starve(h, *s, now);
  return false;
}

// A connection with nothing in flight gets no ACK that would tell it to try again.
void Sockets::starve(Handle h, Socket& s, Instant now) {
  starved_level_ = blocks_.in_use_bytes();
  if ((s.flags & kStarved) != 0) return;
  s.flags |= kStarved;
  starved_.push_back(h);
  starved_due_ = now + kStarvedPoll;
}

// Blocks came back: the longest waiting may try again, a few at a time.
void Sockets::feed() {
  if (blocks_.in_use_bytes() >= starved_level_) {
    starved_level_ = blocks_.in_use_bytes();
    return;
  }
  constexpr size_t kAtATime = 64;
  const size_t n = std::min(starved_.size(), kAtATime);
  for (size_t i = 0; i < n; ++i) {
    Socket* s = find(starved_[i], Kind::kStream);
    if (s == nullptr) continue;
    s->flags &= static_cast<uint8_t>(~kStarved);
    emit(starved_[i].index, kWritable);
  }
  starved_.erase(starved_.begin(), starved_.begin() + static_cast<std::ptrdiff_t>(n));
}

Result<void> Sockets::prepare_urgent(Handle h) {
  const Socket* s = find(h, Kind::kStream);
  if (s == nullptr) return fail(Error::kBadHandle);
  if (s->conn != 0 && !tcp_->prepare_urgent(s->conn)) return fail(Error::kNoBuffers);
  return {};
}

void Sockets::end_urgent_here(Handle h) {
  const Socket* s = find(h, Kind::kStream);
  if (s != nullptr && s->conn != 0) tcp_->end_urgent_here(s->conn);
}

void Sockets::end_record(Handle h) {
  const Socket* s = find(h, Kind::kStream);
  if (s != nullptr && s->conn != 0) tcp_->end_record(s->conn);
}

Result<Reply> Sockets::urgent_left(const req::UrgentLeft& r) {
  const Socket* s = find(r.handle, Kind::kStream);
  if (s == nullptr) return fail(Error::kBadHandle);
  return with_bytes(s->conn == 0 ? 0 : tcp_->urgent_left(s->conn));
}

pkt::LentBlock* Sockets::lent_block(std::byte* buffer) const {
  auto* block = reinterpret_cast<pkt::LentBlock*>(buffer - sizeof(pkt::LentBlock));
  const auto found = std::find(lent_.begin(), lent_.end(), block);
  return found == lent_.end() ? nullptr : block;
}

Result<Reply> Sockets::lend(const req::LendBuffer& r) {
  if (r.bytes == 0 || r.bytes > pkt::BlockPool::max_lent()) return fail(Error::kInvalid);
  pkt::LentBlock* block = blocks_.lend(r.bytes);
  if (block == nullptr) return fail(Error::kNoBuffers);
  lent_.push_back(block);
  Reply reply;
  reply.buffer = block->data;
  return reply;
}

Result<Reply> Sockets::send_lent(const req::SendLent& r, Instant now) {
  Socket* s = find(r.handle, Kind::kStream);
  if (s == nullptr) return fail(Error::kBadHandle);
  pkt::LentBlock* block = lent_block(r.buffer);
  if (block == nullptr || r.bytes == 0 || r.bytes > block->capacity) return fail(Error::kInvalid);
  if (s->conn == 0) {
    const auto gone = no_connection(*s, true);
    return fail(gone ? Error::kBrokenPipe : gone.error());
  }
  const auto space = tcp_->send_space(s->conn);
  if (!space) return fail(space.error());
  if (*space < r.bytes) {  // all or nothing: a lent buffer is not split
    tcp_->want_space(s->conn);
    return fail(Error::kWouldBlock);
  }
  lent_.erase(std::find(lent_.begin(), lent_.end(), block));
  block->len = r.bytes;
  block->told = {r.cookie, r.handle.index, r.handle.gen};
  if (r.cookie != 0) block->ext.marks |= pkt::kBlockTold;
  tcp_->send_block(s->conn, block, false, now);
  return with_bytes(r.bytes);
}

Result<Reply> Sockets::drop_lent(const req::DropLent& r) {
  pkt::LentBlock* block = lent_block(r.buffer);
  if (block == nullptr) return fail(Error::kInvalid);
  lent_.erase(std::find(lent_.begin(), lent_.end(), block));
  pkt::BlockPool::unref(block);
  return Reply{};
}

// --- Receiving -------------------------------------------------------------------------------------------------------

void Sockets::append(uint32_t index, pkt::Packet* data) {
  Socket& s = slab_[index];
  const uint32_t bytes = data->total;
  if (s.head == nullptr) fresh_.push_back(handle_of(index));
  s.queued += bytes;
  const bool small = data->next == nullptr && bytes <= kCopyBreak && s.tail != nullptr;
  if (small && s.tail->refs == 1 && (s.tail->flags & pkt::kExternal) == 0 && s.tail->tailroom() >= bytes) {
    std::memcpy(s.tail->data() + s.tail->len, data->data(), bytes);
    s.tail->len = static_cast<uint16_t>(s.tail->len + bytes);
    // The connection may have ended in this burst, and its place be another's.
    if (s.conn != 0 && tcp_->conn(s.conn).sock == index) tcp_->recharge(s.conn, tcp::Tcp::charge_of(data), 0);
    packets_.free(data);
    return;
  }
  (s.tail == nullptr ? s.head : s.tail->next) = data;
  s.tail = data;
  while (s.tail->next != nullptr) s.tail = s.tail->next;
}

// Takes the first segment off the queue.
pkt::Packet* Sockets::pop(Socket& s) {
  pkt::Packet* p = s.head;
  s.head = p->next;
  if (s.head == nullptr) s.tail = nullptr;
  p->next = nullptr;
  p->total = p->len;
  p->segs = 1;
  return p;
}

void Sockets::consumed(Socket& s, uint32_t bytes, uint32_t charge, Instant now) {
  if (s.conn != 0) tcp_->consumed(s.conn, bytes, charge, now);
}

Result<Reply> Sockets::receive(const req::Receive& r, Instant now) {
  Socket* s = find(r.handle, Kind::kStream);
  if (s == nullptr) return receive_datagram(r);
  if (s->queued == 0) {
    if ((s->flags & kEnd) != 0 && s->error == 0) return with_bytes(0);
    if (s->conn == 0) {
      const auto gone = no_connection(*s, false);
      if (!gone) return fail(gone.error());
      return with_bytes(0);
    }
    return fail((s->flags & kConnecting) != 0 ? Error::kNotConnected : Error::kWouldBlock);
  }
  size_t done = 0;
  if (r.peek) {
    for (const pkt::Packet* p = s->head; p != nullptr && done < r.into.size(); p = p->next) {
      const size_t n = std::min<size_t>(p->len, r.into.size() - done);
      std::memcpy(r.into.data() + done, p->data(), n);
      done += n;
    }
    return with_bytes(done);
  }
  if (pkt::Packet* p = s->head; p == s->tail && p->len <= r.into.size()) {  // one piece, read as a whole
    const uint32_t bytes = p->len;
    std::memcpy(r.into.data(), p->data(), bytes);
    s->head = s->tail = nullptr;
    s->queued = 0;
    consumed(*s, bytes, p->buf_len + uint32_t{sizeof(pkt::Packet)}, now);
    packets_.free(p);
    return with_bytes(bytes);
  }
  uint32_t charge = 0;
  while (s->head != nullptr && done < r.into.size()) {
    pkt::Packet* p = s->head;
    const size_t n = std::min<size_t>(p->len, r.into.size() - done);
    std::memcpy(r.into.data() + done, p->data(), n);
    done += n;
    if (n == p->len) {
      pop(*s);
      charge += tcp::Tcp::charge_of(p);
      packets_.free(p);
    } else {
      p->off = static_cast<uint16_t>(p->off + n);
      p->len = static_cast<uint16_t>(p->len - n);
    }
  }
  s->queued -= static_cast<uint32_t>(done);
  consumed(*s, static_cast<uint32_t>(done), charge, now);
  return with_bytes(done);
}

Result<Reply> Sockets::borrow(const req::Borrow& r) {
  Socket* s = find(r.handle, Kind::kStream);
  if (s == nullptr) return borrow_datagram(r.handle);
  while (s->head != nullptr && s->head->len == 0) packets_.free(pop(*s));
  if (s->head == nullptr) {
    const auto empty = receive({r.handle, {}, false}, Instant());
    if (!empty) return fail(empty.error());
    return Reply{};
  }
  pkt::Packet* p = pop(*s);
  s->queued -= p->len;
  uint32_t slot = 0;
  if (borrowed_free_.empty()) {
    slot = static_cast<uint32_t>(borrowed_.size());
    borrowed_.emplace_back();
  } else {
    slot = borrowed_free_.back();
    borrowed_free_.pop_back();
  }
  Borrowed& b = borrowed_[slot];
  b.packet = p;
  b.socket = r.handle;
  b.bytes = p->len;
  ++b.gen;
  Reply reply;
  reply.view = {p->data(), p->len};
  reply.token = uint64_t{b.gen} << 32 | (slot + 1);
  return reply;
}

Result<Reply> Sockets::release(const req::Release& r, Instant now) {
  if (udp::Udp::is_token(r.token)) {
    if (!udp_->release(r.token)) return fail(Error::kBadHandle);
    return Reply{};
  }
  const auto slot = static_cast<uint32_t>(r.token) - 1;
  if (slot >= borrowed_.size() || borrowed_[slot].gen != r.token >> 32 || borrowed_[slot].packet == nullptr) {
    return fail(Error::kBadHandle);
  }
  Borrowed& b = borrowed_[slot];
  Socket* s = find(b.socket, Kind::kStream);
  if (s != nullptr) consumed(*s, b.bytes, tcp::Tcp::charge_of(b.packet), now);
  packets_.free(b.packet);
  b.packet = nullptr;
  borrowed_free_.push_back(slot);
  return Reply{};
}

void Sockets::compact() {
  for (const Handle h : fresh_) {
    Socket* s = find(h, Kind::kStream);
    if (s == nullptr || s->head == nullptr || s->head != s->tail || s->queued > kCompactBytes) continue;
    pkt::Packet* p = s->head;
    if ((p->flags & pkt::kExternal) != 0) continue;
    pkt::Block* block = blocks_.allocate(p->len);
    if (block == nullptr) continue;
    std::memcpy(block->data, p->data(), p->len);
    block->len = p->len;
    pkt::Packet* ref = packets_.reference(block->data, block->iova, p->len, block->ext);
    pkt::BlockPool::unref(block);  // the segment's reference stays; without a segment the block goes back
    if (ref == nullptr) continue;
    if (s->conn != 0) tcp_->recharge(s->conn, tcp::Tcp::charge_of(p), tcp::Tcp::charge_of(ref));
    packets_.free(p);
    s->head = s->tail = ref;
  }
  fresh_.clear();
  udp_->compact();
}

// --- Closing ---------------------------------------------------------------------------------------------------------

Result<Reply> Sockets::shutdown(const req::Shutdown& r, Instant now) {
  Socket* s = find(r.handle, Kind::kStream);
  if (s == nullptr) return fail(Error::kBadHandle);
  if (s->conn == 0 || (s->flags & kConnecting) != 0) return fail(Error::kNotConnected);
  s->flags |= kShut;
  tcp_->shutdown(s->conn, now);
  return Reply{};
}

void Sockets::free_received(Socket& s) {
  packets_.free(s.head);
  s.head = s.tail = nullptr;
  s.queued = 0;
}

Result<Reply> Sockets::close(const req::Close& r, Instant now) {
  if (Socket* l = find(r.handle, Kind::kListener); l != nullptr) {
    tcp_->unlisten(r.handle.index);
    while (l->wait_head != 0) {
      const uint32_t waiting = l->wait_head;
      l->wait_head = slab_[waiting].link;
      (void)abort({handle_of(waiting)}, now);
    }
    std::erase_if(listeners_, [&](const auto& entry) { return entry.first == r.handle.index; });
    slab_.release(r.handle.index);
    return Reply{};
  }
  Socket* s = find(r.handle, Kind::kStream);
  if (s == nullptr) return close_datagram(r.handle);
  if (s->conn != 0) tcp_->close(s->conn, s->queued > 0, now);
  free_received(*s);
  slab_.release(r.handle.index);
  return Reply{};
}

Result<Reply> Sockets::abort(const req::Abort& r, Instant now) {
  Socket* s = find(r.handle, Kind::kStream);
  if (s == nullptr) return close_datagram(r.handle);
  if (s->conn != 0) tcp_->abort(s->conn, now);
  free_received(*s);
  slab_.release(r.handle.index);
  return Reply{};
}

void Sockets::clear() {
  each([&](uint32_t index, const Socket&) { free_received(slab_[index]); });
  for (Borrowed& b : borrowed_) {
    packets_.free(b.packet);
    b.packet = nullptr;
  }
  for (pkt::Block* block : lent_) pkt::BlockPool::unref(block);
  lent_.clear();
}

// --- Events ----------------------------------------------------------------------------------------------------------

void Sockets::emit(uint32_t index, uint32_t mask, uint64_t cookie) {
  Socket& s = slab_[index];
  if ((s.flags & kUnaccepted) != 0 || mask == 0) return;
  if (cookie == 0 && s.event_epoch == epoch_ && s.event_index < pending_.size() &&
      pending_[s.event_index].handle == handle_of(index)) {
    pending_[s.event_index].mask |= mask;
    return;
  }
  if (cookie == 0) {
    s.event_index = static_cast<uint32_t>(pending_.size());
    s.event_epoch = epoch_;
  }
  Event& e = pending_.emplace_back();  // in place, as Tcp::new_effect
  e.handle = handle_of(index);
  e.user = s.user;
  e.mask = mask;
  e.seq = event_seq_++;
  e.cookie = cookie;
}

void Sockets::flush() {
  auto& effects = tcp_->effects();
  for (size_t i = 0; i < effects.size(); ++i) {
    const tcp::Effect e = effects[i];
    if (!slab_.in_use(e.sock)) {
      packets_.free(e.data);
      continue;
    }
    Socket& s = slab_[e.sock];
    if (e.data != nullptr) append(e.sock, e.data);
    if ((e.mask & kPeerClosed) != 0) s.flags |= kEnd;
    if ((e.mask & (kConnected | kError)) != 0) s.flags &= static_cast<uint8_t>(~kConnecting);
    if ((e.mask & kError) != 0) s.error = static_cast<uint8_t>(static_cast<uint8_t>(e.error) + 1);
    if (e.detached) s.conn = 0;
    emit(e.sock, e.mask);
  }
  effects.clear();
  auto& touched = udp_->touched();
  for (const uint32_t index : touched) {
    udp::Dgram& d = udp_->at(index);
    emit(d.sock, d.touched);
    d.touched = 0;
  }
  touched.clear();
  auto& released = blocks_.released();
  for (const pkt::ReleasedBlock& b : released) {
    const Handle h{b.owner_index, b.owner_gen};
    const Socket* s = find(h, Kind::kStream);
    pending_.push_back({h, s != nullptr ? s->user : 0, kReleased, event_seq_++, b.cookie});
  }
  released.clear();
  if (__builtin_expect(!starved_.empty(), 0)) feed();
}

std::span<const Event> Sockets::events() {
  if (published_.empty()) {
    std::swap(published_, pending_);
    ++epoch_;
  }
  return published_;
}

}  // namespace millrace::sock
