// What programs ask (RFC 9293 3.10.1 to 3.10.6), and the birth and death of connections.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/planted.h"
#include "tcp/bare.h"
#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

constexpr uint8_t kQuickAcks = 16;  // segments acknowledged at once while the peer's window grows

std::array<std::byte, 36> tuple_bytes(const Tuple& t) {
  std::array<std::byte, 36> bytes;
  std::memcpy(bytes.data(), t.local.bytes().data(), 16);
  std::memcpy(bytes.data() + 16, t.remote.bytes().data(), 16);
  std::memcpy(bytes.data() + 32, &t.local_port, 2);
  std::memcpy(bytes.data() + 34, &t.remote_port, 2);
  return bytes;
}

uint32_t or_default(uint32_t value, int64_t standard) {
  return value != 0 ? value : static_cast<uint32_t>(standard);
}

uint32_t milliseconds_or(Duration value, int64_t standard_us) {
  const int64_t us = value.ns() > 0 ? value.us() : standard_us;
  return static_cast<uint32_t>(std::clamp<int64_t>(us / 1'000, 1, UINT32_MAX));
}

}  // namespace

// RFC 6528: a clock of 4 us plus a keyed hash of the tuple.
Seq32 Tcp::initial_sequence(const Tuple& t, Instant now) const {
  const uint64_t hash = base::siphash(isn_key_, tuple_bytes(t));
  return Seq32(static_cast<uint32_t>(hash) + static_cast<uint32_t>(now.ns() / 4'000));
}

// Timestamps start at a secret place for each pair of hosts, so that they do not tell the uptime (RFC 7323 5.4), and go
// on growing from one connection of a tuple to the next.
uint32_t Tcp::timestamp_offset(const Tuple& t) const {
  return static_cast<uint32_t>(base::siphash(ts_key_, tuple_bytes(t)));
}

// RFC 6056 3.3.4: a keyed offset for each remote endpoint and a counter, so that ports neither repeat soon nor are
// guessed. 0 if none is free.
uint16_t Tcp::choose_port(const IpAddr& local, const Endpoint& remote, bool any_worker) {
  const auto low = static_cast<uint32_t>(std::min(settings_.port_low, settings_.port_high));
  const auto range = static_cast<uint32_t>(std::max(settings_.port_low, settings_.port_high)) - low + 1;
  const uint64_t offset = base::siphash(port_key_, tuple_bytes({local, remote.addr, 0, remote.port}));
  for (uint32_t tries = 0; tries < range; ++tries) {
    const auto port = static_cast<uint16_t>(low + (offset + port_counter_++) % range);
    const Tuple t{local, remote.addr, port, remote.port};
    if (!any_worker && !comes_home(t)) continue;
    if (table_.find(hash_(t), [&](Ref ref) { return matches(ref, t); })) continue;
    uint32_t slot = 0;
    if (find_listener(local, port, slot, remote) == nullptr) {
      port_counter_ += static_cast<uint32_t>(rng_.below(8));
      return port;
    }
  }
  return 0;
}

// Each gets what the hash of the tuple gives it, so that a SYN and the end of its handshake come to the same.
Listener* Tcp::one_of_group(const Tuple& t, const IpAddr& address, uint32_t& slot) {
  const auto [begin, end] = listeners_by_port_.equal_range(t.local_port);
  const auto member = [&](const auto& entry) { return listeners_[entry.second].local.addr == address; };
  const auto members = static_cast<uint64_t>(std::count_if(begin, end, member));
  uint64_t chosen = base::siphash(port_key_, tuple_bytes(t)) % members;
  auto it = begin;
  while (!member(*it) || chosen-- != 0) ++it;
  slot = it->second;
  return &listeners_[slot];
}

Listener* Tcp::find_listener(const IpAddr& local, uint16_t port, uint32_t& slot, const Endpoint& remote) {
  if (port == last_listener_.port && local == last_listener_.addr) {
    slot = last_listener_slot_;
    return &listeners_[slot];
  }
  Listener* best = nullptr;
  int best_score = 0;
  const auto [begin, end] = listeners_by_port_.equal_range(port);
  for (auto it = begin; it != end; ++it) {
    Listener& l = listeners_[it->second];
    int score = 0;
    if (l.local.addr == local) {
      score = 3;
    } else if (l.local.addr.is_unspecified()) {
      const bool same_family = l.local.addr.is_v4() == local.is_v4();
      score = same_family ? 2 : (l.local.addr.is_v6() && !l.options.v6_only ? 1 : 0);  // `::` takes IPv4 too
    }
    if (score > best_score) {
      best = &l;
      best_score = score;
      slot = it->second;
    }
  }
  if (best != nullptr && best->options.reuse_port) {
    return one_of_group({local, remote.addr, port, remote.port}, best->local.addr, slot);
  }
  if (best != nullptr) {
    last_listener_ = {local, port};
    last_listener_slot_ = slot;
  }
  return best;
}

Result<void> Tcp::listen(uint32_t sock, const Endpoint& local, uint32_t backlog, const SocketOptions& options) {
  if (local.port == 0) return fail(Error::kInvalid);
  if (no_such_controller(options)) return fail(Error::kNotFound);
  if (!local.addr.is_unspecified() && !ip_.is_local(local.addr)) return fail(Error::kAddressNotHere);
  const auto [begin, end] = listeners_by_port_.equal_range(local.port);
  for (auto it = begin; it != end; ++it) {
    const Listener& other = listeners_[it->second];
    const bool share = options.reuse_port && other.options.reuse_port;
    if (other.local.addr == local.addr && !share) return fail(Error::kAddressInUse);
  }
  uint32_t slot = 0;
  const auto taken = [](const Listener& l) { return l.sock != 0 || l.half_open != 0 || l.fast_pending != 0; };
  while (slot < listeners_.size() && taken(listeners_[slot])) ++slot;
  if (slot == listeners_.size()) listeners_.emplace_back();
  listeners_[slot] = {local, sock, std::max(backlog, 1u), 0, 0, options};
  listeners_by_port_.emplace(local.port, slot);
  listener_of_sock_[sock] = slot;
  last_listener_ = {};
  return {};
}

void Tcp::unlisten(uint32_t sock) {
  const auto found = listener_of_sock_.find(sock);
  if (found == listener_of_sock_.end()) return;
  const uint32_t slot = found->second;
  listener_of_sock_.erase(found);
  last_listener_ = {};
  Listener& l = listeners_[slot];
  const auto [begin, end] = listeners_by_port_.equal_range(l.local.port);
  for (auto it = begin; it != end; ++it) {
    if (it->second == slot) {
      listeners_by_port_.erase(it);
      break;
    }
  }
  l.sock = 0;  // half-open entries keep the slot until they time out
}

void Tcp::accept_taken(uint32_t listener_sock) {
  const auto found = listener_of_sock_.find(listener_sock);
  if (found != listener_of_sock_.end() && listeners_[found->second].waiting > 0) {
    --listeners_[found->second].waiting;
  }
}

void Tcp::apply_options(Conn& c, ConnCold& k, const SocketOptions& o) {
  c.snd_limit = or_default(o.send_buffer, settings_.send_buffer);
  c.rcv_limit = or_default(o.receive_buffer, settings_.receive_buffer);
  c.options = static_cast<uint8_t>(c.options & ~(kOptNoDelay | kOptKeepalive));
  if (o.no_delay) c.options |= kOptNoDelay;
  if (o.keepalive) c.options |= kOptKeepalive;
  k.keepalive_idle_ms = milliseconds_or(o.keepalive_idle, settings_.keepalive_idle_us);
  k.keepalive_interval_ms = milliseconds_or(o.keepalive_interval, settings_.keepalive_interval_us);
  k.keepalive_probes =
      o.keepalive_probes != 0 ? o.keepalive_probes : static_cast<uint8_t>(settings_.keepalive_probes);
  if (o.mss != 0) k.user_mss = std::max(o.mss, kMinMss);
  c.rx_flags = static_cast<uint8_t>(o.cork ? c.rx_flags | kRxCorked : c.rx_flags & ~kRxCorked);
}

void Tcp::apply_rare_options(uint32_t index, const SocketOptions& o) {
  fix_room(index, o);
  set_low_water(index, o);
  set_pace(index, o.max_pacing_rate);
  const bool any = o.user_timeout.ns() > 0 || o.fin_wait_2.ns() > 0 || o.syn_retries != 0 || socket_class(o) != 0 ||
                   o.hop_limit != 0;
  if (!any && rare_.find(index) == nullptr) return;
  const auto ms = [](Duration d) { return static_cast<uint32_t>(std::clamp<int64_t>(d.ms(), 0, UINT32_MAX)); };
  RareOptions& own = rare_.of(index);
  own.user_timeout_ms = ms(o.user_timeout);
  own.fin_wait_2_ms = ms(o.fin_wait_2);
  own.syn_retries = o.syn_retries;
  own.traffic_class = socket_class(o);  // RFC 9293 3.9.2 MUST-48, MUST-49; of a living connection too
  own.hop_limit = o.hop_limit;
  conns_[index].marked = own.traffic_class != 0 || own.hop_limit != 0 ? 1 : 0;
}

Result<void> Tcp::set_options(uint32_t index, const SocketOptions& o, Instant now) {
  if (no_such_controller(o)) return fail(Error::kNotFound);
  Conn& c = conns_[index];
  const uint32_t receive_limit = c.rcv_limit;
  const uint32_t buffer = c.snd_limit;
  apply_options(c, cold(index), o);
  if (o.receive_buffer == 0) c.rcv_limit = receive_limit;
  if (o.send_buffer == 0) c.snd_limit = buffer;
  apply_rare_options(index, o);
  c.last_rx_ms = std::max(c.last_rx_ms, milliseconds_of(now));
  if ((c.options & kOptKeepalive) != 0) arm(index, keepalive_deadline(index, now));
  if (o.quick_ack) c.quick_acks = *o.quick_ack ? kQuickAcks : 0;
  if (o.quick_ack.value_or(false) && c.ack_pending != 0) c.rx_flags |= kRxAckNow;
  // Nagle may have been switched off; that, or the cork's end, lets go what was held.
  if (o.no_delay || !o.cork) c.rx_flags &= static_cast<uint8_t>(~kRxHold);
  mark_dirty(index);
  const uint8_t row = cc::find_controller(o.congestion_control.view());
  if (row != cc::kNoController && row != cold(index).controller) start_controller(index, row, now);
  return {};
}

// A controller, from its beginning.
void Tcp::start_controller(uint32_t index, uint8_t row, Instant now) {
  ConnCold& k = cold(index);
  k.controller = row & 0xf;
  std::fill(std::begin(k.cc_state), std::end(k.cc_state), std::byte{});
  conns_[index].ack_bytes = 0;
  const bool models = owns_window(index);
  if (models) {
    cc::Model& m = rate(index).model;
    m = {.delivered = m.delivered, .lost = m.lost, .app_limited = m.app_limited};
  }
  set_pace(index, conns_[index].rated != 0 ? rate(index).most : 0);
  controller(index).start(control(index), {now, conns_[index].srtt_us, models ? rng_.next() : 0});
}

// Whether the connection is measured and paced at all; the most bytes a second, 0 = any.
void Tcp::set_pace(uint32_t index, uint64_t most) {
  Conn& c = conns_[index];
  const bool before = c.rated != 0;
  c.rated = most != 0 || settings_.pacing != 0 || owns_window(index) ? 1 : 0;
  if (c.rated == 0 && !before) return;
  RateState& s = rate(index);
  s.most = most;
  if (!owns_window(index)) s.model.rate = 0;
  if (s.waiting) mark_dirty(index);
  s.waiting = false;
}

Result<void> Tcp::set_listener_options(uint32_t sock, const SocketOptions& o) {
  if (no_such_controller(o)) return fail(Error::kNotFound);
  const auto found = listener_of_sock_.find(sock);
  if (found == listener_of_sock_.end()) return fail(Error::kBadHandle);
  listeners_[found->second].options = o;
  return {};
}

// What depends on the path and the peer's MSS; again when a SYN-ACK tells more.
void Tcp::init_conn(uint32_t index, const ip::Route& route) {
  Conn& c = conns_[index];
  c.hop = route.hop;
  c.route_epoch = ip_.epoch();
  c.mss = segment_size(c, cold(index), route.mtu);
  if (settings_.mtu_probing == 2) {
    begin_search(index, base_mtu(c), route.mtu);
    c.mss = std::min(c.mss, segment_size(c, cold(index), base_mtu(c)));
  }
  c.rcv_mss = std::min<uint16_t>(c.mss, kDefaultMss4 - wire::kTcpMaxOptions);  // grows with what arrives
  c.cwnd = static_cast<uint32_t>(settings_.initial_window) * c.mss;  // RFC 6928
  if (c.rto_us == 0) c.rto_us = static_cast<uint32_t>(settings_.rto_initial_us);
  c.quick_acks = kQuickAcks;
}

Result<uint32_t> Tcp::connect(uint32_t sock, const req::Connect& args, Instant now, size_t& taken) {
  const IpAddr& remote = args.remote.addr;
  if (args.remote.port == 0 || remote.is_unspecified()) return fail(Error::kInvalid);
  if (no_such_controller(args.options)) return fail(Error::kNotFound);
  if (remote.is_multicast() || remote.is_limited_broadcast()) return fail(Error::kNetUnreachable);
  const auto route = ip_.route(remote, args.local.addr, args.table);
  if (!route) return fail(route.error());
  Tuple t{route->source, remote, args.local.port, args.remote.port};
  // What goes over the loopback interface never leaves this worker.
  const bool inside = shards_ == nullptr || ip_.interface(route->interface).kind == link::LinkKind::kLoopback;
  if (t.local_port == 0) t.local_port = choose_port(t.local, args.remote, inside);
  if (t.local_port == 0 || !(inside || siblings_ || comes_home(t))) return fail(Error::kAddressNotHere);
  const uint64_t hash = hash_(t);
  if (table_.find(hash, [&](Ref ref) { return matches(ref, t); })) return fail(Error::kAddressInUse);
  const uint32_t index = new_conn(t, hash);
  if (index == 0) return fail(Error::kTooMany);
  Conn& c = conns_[index];
  ConnCold& k = cold(index);
  c.sock = sock;
  apply_options(c, k, args.options);
  apply_rare_options(index, args.options);
  if (settings_.timestamps != 0) c.options |= kOptTimestamps;
  if (settings_.sack != 0) c.options |= kOptSack;
  if (const EcnMode mode = asks_for_ecn(args.options); mode != EcnMode::kNone) {
    c.rx_flags |= kRxEcn;
    ecn(index).accurate = mode == EcnMode::kAccurate;
  }
  if (settings_.window_scaling != 0) {
    c.options |= kOptWindowScale;
    c.rcv_wscale = shift_for(args.options);
  }
  k.iss = initial_sequence(t, now);
  k.peer_mss = (c.options & kOptV4) != 0 ? kDefaultMss4 : kDefaultMss6;
  c.ts_offset = timestamp_offset(t);
  c.snd_una = k.iss;
  c.snd_nxt = k.iss;
  c.last_rx_ms = milliseconds_of(now);
  init_conn(index, *route);
  start_controller(index, controller_row(args.options), now);
  set_state(index, State::kSynSent);
  counters_.add(Counter::kActiveOpens);
  if (args.fast_open) taken = begin_fast_open(index, args.first, route->mtu, now);
  c.tx_flags |= kTxSynQueued;
  mark_dirty(index);
  return index;
}

uint32_t Tcp::new_conn(const Tuple& t, uint64_t hash) {
  const uint32_t index = conns_.allocate();
  if (index == 0) return 0;
  if (!table_.insert(hash, Ref(Place::kConn, index))) {
    conns_.release(index);
    return 0;
  }
  Conn& c = conns_[index];
  c.local = t.local;
  c.remote = t.remote;
  c.local_port = t.local_port;
  c.remote_port = t.remote_port;
  if (t.local.is_v4()) c.options |= kOptV4;
  cold(index) = {};
  return index;
}

void Tcp::set_state(uint32_t index, State next) {
  Conn& c = conns_[index];
  trace_.put(index, base::TraceEvent::kState, static_cast<uint32_t>(c.state) << 8 | static_cast<uint32_t>(next));
  c.state = next;
  if (next == State::kEstablished && settings_.flow_counters != 0 && c.counted == 0) {
    begin_counting(index, cold(index).iss + 1, Instant(noticed_ns_));
  }
}

Result<uint32_t> Tcp::send_space(uint32_t conn) const {
  const Conn& c = conns_[conn];
  switch (c.state) {
    case State::kSynSent: return 0;
    case State::kSynReceived:
      if (!opened_early(conn)) return 0;
      break;
    case State::kEstablished:
    case State::kCloseWait: break;
    default: return fail(Error::kBrokenPipe);
  }
  if ((c.tx_flags & kTxFinQueued) != 0) return fail(Error::kBrokenPipe);
  return c.snd_limit > c.snd_queued ? c.snd_limit - c.snd_queued : low_water_space(conn);
}

// Whether what is queued waits for more, now that a write said so or not; `can_wait` if there is room for more at all.
void Tcp::hold_tail(Conn& c, bool more, bool can_wait) {
  const bool corked = (c.rx_flags & kRxCorked) != 0;
  c.tx_flags = static_cast<uint8_t>(more && can_wait ? c.tx_flags | kTxMore : c.tx_flags & ~kTxMore);
  c.rx_flags = static_cast<uint8_t>((more || corked) && can_wait ? c.rx_flags | kRxHold : c.rx_flags & ~kRxHold);
}

size_t Tcp::send_copy(uint32_t index, std::span<const std::byte> data, bool more, Instant now) {
  Conn& c = conns_[index];
  if (c.counted != 0) [[unlikely]] {
    settle_counts(index, now);
  }
  const uint32_t space = c.snd_limit > c.snd_queued ? c.snd_limit - c.snd_queued : low_water_space(index);
  size_t left = std::min<size_t>(data.size(), space);
  const size_t wanted = left;
  const std::byte* from = data.data();
  if (c.queue_tail == nullptr && left - 1 < pkt::BlockPool::max_headless()) {
    if (pkt::Block* block = blocks_.allocate_headless()) {
      std::memcpy(pkt::BlockPool::data_behind(block), from, left);
      c.queue_head = c.queue_tail = block;
      c.tx_flags |= kTxHeadless;
      c.snd_queued += static_cast<uint32_t>(left);
      left = 0;
    }
  } else {
    write_block_header(c);
  }
  while (left > 0) {
    pkt::Block* tail = c.queue_tail;
    if (tail == nullptr || (tail->ext.marks & pkt::kBlockSealed) != 0 || tail->len == tail->capacity) {
      pkt::Block* fresh = blocks_.allocate(static_cast<uint32_t>(std::min<size_t>(left, UINT32_MAX)));
      if (fresh == nullptr) break;
      (tail == nullptr ? c.queue_head : tail->next) = fresh;
      c.queue_tail = fresh;
      tail = fresh;
    }
    const auto n = static_cast<uint32_t>(std::min<size_t>(left, tail->capacity - tail->len));
    std::memcpy(tail->data + tail->len, from, n);
    tail->len += n;
    from += n;
    left -= n;
    c.snd_queued += n;
  }
  // A full buffer cannot be followed by more: what is there must go.
  if (__builtin_expect(more || (c.tx_flags & kTxMore) != 0 || (c.rx_flags & (kRxCorked | kRxHold)) != 0, 0)) {
    hold_tail(c, more, left == 0 && wanted == data.size() && c.snd_queued < send_limit(index));
  }
  if (wanted > left) mark_dirty(index);
  return wanted - left;
}

void Tcp::send_block(uint32_t index, pkt::Block* block, bool more, Instant now) {
  Conn& c = conns_[index];
  if (c.counted != 0) settle_counts(index, now);
  MR_ASSERT(block->len > 0 && block->next == nullptr);
  block->ext.marks |= pkt::kBlockSealed;
  write_block_header(c);
  (c.queue_tail == nullptr ? c.queue_head : c.queue_tail->next) = block;
  c.queue_tail = block;
  c.snd_queued += block->len;
  if (MR_PLANTED(early_release) && (block->ext.marks & pkt::kBlockTold) != 0) {
    blocks_.released().push_back(static_cast<pkt::LentBlock*>(block)->told);
    block->ext.marks &= static_cast<uint16_t>(~pkt::kBlockTold);
  }
  hold_tail(c, more, true);
  mark_dirty(index);
}

// What is queued ends a record.
void Tcp::end_record(uint32_t index) {
  Conn& c = conns_[index];
  if (c.queue_tail == nullptr) return;
  write_block_header(c);
  c.queue_tail->ext.marks |= pkt::kBlockSealed | pkt::kBlockRecordEnd;
  c.rx_flags |= kRxRecords;
}

void Tcp::queue_fin(uint32_t index) {
  Conn& c = conns_[index];
  if ((c.tx_flags & kTxFinQueued) != 0) return;
  c.tx_flags = static_cast<uint8_t>((c.tx_flags | kTxFinQueued) & ~kTxMore);
  c.rx_flags &= static_cast<uint8_t>(~kRxHold);
  if (c.state == State::kEstablished) set_state(index, State::kFinWait1);
  if (c.state == State::kCloseWait) set_state(index, State::kLastAck);
  mark_dirty(index);
}

void Tcp::shutdown(uint32_t index, Instant) {
  const State state = conns_[index].state;
  if (state == State::kSynSent) return;
  queue_fin(index);
}

void Tcp::close(uint32_t index, bool unread, Instant now) {
  Conn& c = conns_[index];
  c.sock = 0;
  c.options |= kOptOrphan;
  c.tx_flags &= static_cast<uint8_t>(~kTxWantSpace);
  if (c.state == State::kSynSent) {
    destroy(index);
    return;
  }
  if (unread) {  // RFC 1122 4.2.2.13: data is lost, and the peer must know
    send_reset(index, now);
    destroy(index);
    return;
  }
  queue_fin(index);
  if (c.state == State::kFinWait2) {
    set_timer(index, TimerKind::kFinWait2, now + fin_wait_2_life(index));
  }
}

void Tcp::abort(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  c.sock = 0;
  if (c.state != State::kSynSent) send_reset(index, now);
  destroy(index);
}

void Tcp::fail_conn(uint32_t index, Error error) {
  Conn& c = conns_[index];
  if (c.sock != 0) {
    effects_.push_back({c.sock, kError | kReadable | kWritable, nullptr, error, true});
    c.sock = 0;
  }
  destroy(index);
}

// Frees everything the connection holds. The socket, if it has one, learns that the connection is gone.
void Tcp::destroy(uint32_t index) {
  Conn& c = conns_[index];
  if (c.sock != 0) effects_.push_back({c.sock, 0, nullptr, Error::kNotConnected, true});
  const Tuple t{c.local, c.remote, c.local_port, c.remote_port};
  table_.erase(hash_(t), Ref(Place::kConn, index));
  wheel_.cancel(Ref(Place::kConn, index).raw);
  free_reassembly(index);
  forget_urgent(c);
  if (is_lone(c)) --lone_;
  while (c.record_head != 0) {
    const uint32_t next = records_[c.record_head].link;
    records_.release(c.record_head);
    c.record_head = next;
  }
  while (c.queue_head != nullptr) {
    pkt::Block* next = c.queue_head->next;
    pkt::BlockPool::unref(c.queue_head);
    c.queue_head = next;
  }
  if (opened_early(index)) leave_fast_open(index);
  if (c.state != State::kTimeWait) set_state(index, State::kClosed);
  conns_.release(index);
}

// RFC 9293 3.9.2.2: soft errors are remembered, hard ones end only a connection that is being opened (RFC 5927 5).
void Tcp::on_error(const ip::PathError& e, Instant now) {
  if (e.protocol != 6) return;
  const Tuple t{e.source, e.destination, e.source_port, e.destination_port};
  const Ref ref = table_.find(hash_(t), [&](Ref r) { return matches(r, t); });
  if (ref.place() != Place::kConn) return;
  Conn& c = conns_[ref.index()];
  const Seq32 quoted(e.sequence);
  const bool ours = quoted >= c.snd_una && quoted <= c.snd_nxt;  // RFC 5927 4.1
  using Kind = ip::PathError::Kind;
  if (!ours && e.kind != Kind::kNeighbourFailed) return;
  Error error = Error::kHostUnreachable;
  if (e.kind == Kind::kNetUnreachable) error = Error::kNetUnreachable;
  if (e.kind == Kind::kPortUnreachable || e.kind == Kind::kProtocolUnreachable) error = Error::kConnectionRefused;
  if (e.kind == Kind::kPacketTooBig) return set_path_mtu(ref.index(), ip_.learn_mtu(e.destination, e.mtu, now), now);
  cold(ref.index()).soft_error = static_cast<uint8_t>(static_cast<uint8_t>(error) + 1);
  if (c.state == State::kSynSent && e.kind != Kind::kTimeExceeded) fail_conn(ref.index(), error);
}

}  // namespace millrace::tcp
