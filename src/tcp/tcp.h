// Tcp: all connections of one worker. The files of this folder are its parts, by concept:
//   input.cc (RFC 9293 3.10.7 in its order), input_open.cc (LISTEN, SYN-SENT, half-open, TIME-WAIT), syn_cookies.cc,
//   fast_open.cc, fast_open_client.cc, fastpath.cc, ack.cc, sack.cc, records.cc, recovery.cc, rack.cc, tlp.cc, undo.cc,
//   rate.cc, pacing.cc, receive.cc (delivery, reassembly, windows), room.cc (sizes of buffers), output.cc, emit.cc,
//   timers.cc, ecn.cc, user.cc (what programs ask), reset.cc (resets and challenge ACKs), cc/ (congestion controllers).
//
// Callers: stack::Worker drives it; sock::Sockets owns the program's side. Toward sockets it queues Effects, which are
// flushed once per burst. It knows no clock; every entry takes `now`.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/counters.h"
#include "base/inline.h"
#include "base/rng.h"
#include "base/slab.h"
#include "base/trace.h"
#include "base/wheel.h"
#include "ip/ip.h"
#include "millrace/event.h"
#include "millrace/request.h"
#include "pkt/block.h"
#include "pkt/pool.h"
#include "tcp/conn.h"
#include "tcp/conn_table.h"
#include "tcp/counters.h"
#include "tcp/fast_open.h"
#include "tcp/flow_counts.h"
#include "tcp/info.h"
#include "tcp/known_servers.h"
#include "tcp/loss.h"
#include "tcp/mini.h"
#include "tcp/rate.h"
#include "tcp/segment.h"
#include "tcp/settings.h"
#include "tcp/side_table.h"
#include "tcp/syn_cookie.h"
#include "tcp/syn_shed.h"
#include "tcp/values.h"

namespace millrace::tcp {

class Tcp {
 public:
  explicit Tcp(const TcpConfig& config);
  ~Tcp();

  // Packets.
  /// Reads the TCP header at packet.data(); addresses, interface and packet must be set. False if malformed.
  bool parse(Segment& segment);
  [[nodiscard]] uint64_t hash(const Segment& s) const {
    return hash_(s.local, s.remote, s.local_port, s.remote_port);
  }
  // In stages, for a burst (prefetch.h).
  void prefetch_bucket(uint64_t hash) const;
  /// Fills segment.hint. False: most likely it belongs to no connection.
  bool look_up(Segment& s) const;
  /// Whether something here waits for it: a connection, what is left of one, or a listener for a SYN.
  [[nodiscard]] bool waits_for(Segment& s);
  /// `hint` is a connection's.
  void prefetch_place(Ref hint);
  /// Once the connection's own lines are there. The socket's index, or 0.
  uint32_t prefetch_behind(Ref hint);
  /// Whose active() says whether SYNs are to be judged by it before they come here.
  [[nodiscard]] SynShed& shed() { return shed_; }
  /// Takes segment.packet. `segment.hash` must be hash(segment).
  void input(Segment& segment, Instant now);
  void on_error(const ip::PathError& error, Instant now);

  /// Frames for `interface`, at most out.size().
  size_t output(IfIndex interface, std::span<pkt::Packet*> out, Instant now);
  [[nodiscard]] bool has_output(IfIndex interface) const;

  void advance(Instant now);
  /// Time has come this far: before anything else that is done at `now`, with every burst and advance().
  void notice(Instant now) {
    if (now.ns() - noticed_ns_ > kLongStop.ns()) [[unlikely]] {
      forget_times(now);
    }
    noticed_ns_ = now.ns();
  }
  [[nodiscard]] Instant next_deadline() { return wheel_.next_deadline(); }

  // Programs. `conn` is a live connection's index, `sock` a socket's.
  Result<void> listen(uint32_t sock, const Endpoint& local, uint32_t backlog, const SocketOptions& options);
  void unlisten(uint32_t sock);
  /// The program took one connection off the accept queue.
  void accept_taken(uint32_t listener_sock);
  /// `taken`: bytes of args.first that are queued.
  Result<uint32_t> connect(uint32_t sock, const req::Connect& args, Instant now, size_t& taken);
  /// Whether a connection to the server would bring its first data with the SYN.
  bool knows_cookie_of(const IpAddr& server, Instant now);
  /// Bytes that a send may queue now; kBrokenPipe after shutdown, and so on.
  Result<uint32_t> send_space(uint32_t conn) const;
  /// False if too many connections have urgent data.
  bool prepare_urgent(uint32_t conn) { return obtain_urgent(conn) != nullptr; }
  /// What is queued is urgent, all of it. After prepare_urgent().
  void end_urgent_here(uint32_t conn);
  /// Bytes to read up to the end of the peer's urgent data.
  uint32_t urgent_left(uint32_t conn);
  /// The same if the connection is established and not ending; 0: ask send_space(). (A Result of this size comes back
  /// in registers and is put together in memory, which costs more than all the rest.)
  [[nodiscard]] uint32_t usual_send_space(uint32_t conn) const;
  /// Copies at most send_space() bytes; the number taken may be less when blocks run out.
  size_t send_copy(uint32_t conn, std::span<const std::byte> data, bool more, Instant now);
  /// Queues a filled block (taken).
  void send_block(uint32_t conn, pkt::Block* block, bool more, Instant now);
  /// The last byte queued ends a record: no segment will hold it together with what is queued later.
  void end_record(uint32_t conn);
  /// A write was refused or cut short: send a kWritable effect when space comes.
  void want_space(uint32_t conn) {
    conns_[conn].tx_flags |= kTxWantSpace;
    grow_send_buffer(conn);
  }
  /// The program consumed `bytes` whose true size was `charge`.
  void consumed(uint32_t conn, uint32_t bytes, uint32_t charge, Instant now);
  /// Held data shrank in true size without being consumed (copied into smaller buffers).
  void recharge(uint32_t conn, uint32_t old_charge, uint32_t new_charge);
  void shutdown(uint32_t conn, Instant now);
  /// The socket is gone; `unread` says that received data was thrown away with it.
  void close(uint32_t conn, bool unread, Instant now);
  void abort(uint32_t conn, Instant now);
  /// For connections that a listener accepts from now on. kNotFound if there is no congestion controller of that name;
  /// nothing is changed then.
  Result<void> set_listener_options(uint32_t sock, const SocketOptions& options);
  /// The same for a connection, at once.
  Result<void> set_options(uint32_t conn, const SocketOptions& options, Instant now);

  [[nodiscard]] std::vector<Effect>& effects() { return effects_; }

  // Observation.
  [[nodiscard]] std::vector<Info> list() const;
  /// Whether a connection in any state has the local port, and the address if that is specified. Walks over all.
  [[nodiscard]] bool has_local(const Endpoint& local) const;
  [[nodiscard]] Info info(uint32_t conn) const;
  [[nodiscard]] uint64_t counter(Counter which) const { return counters_.get(which); }
  void count(Counter which, uint64_t n = 1) { counters_.add(which, n); }
  /// What the connection carries is counted for info() from now on, if it was not.
  void count_from_now_on(uint32_t conn, Instant now);
  [[nodiscard]] std::string check() const;
  [[nodiscard]] const Conn& conn(uint32_t index) const { return conns_[index]; }
  [[nodiscard]] Settings& settings() { return settings_; }
  /// Changes one row of kSettingRows. kNotFound, kInvalid (out of range, or against another setting).
  Result<void> set(uint16_t row, int64_t value);
  /// True size that a received chain is charged with.
  [[nodiscard]] static uint32_t charge_of(const pkt::Packet* chain);

 private:
  struct Resolver {
    Tcp* tcp;
    base::TimerNode& operator()(uint32_t id) const { return tcp->timer_node(id); }
    [[gnu::always_inline]] void prefetch(uint32_t id) const {
      if (Ref(id).place() != Place::kConn) return;
      const char* conn = reinterpret_cast<const char*>(&tcp->conns_[Ref(id).index()]);
      __builtin_prefetch(conn);
      __builtin_prefetch(conn + offsetof(Conn, rcv_nxt));
      __builtin_prefetch(conn + offsetof(Conn, cwnd), 1);
    }
  };

  // input.cc
  void input_conn(uint32_t index, Segment& s, Instant now);
  static bool ack_in_range(const Conn& c, const Segment& s);
  bool check_sequence(uint32_t index, Segment& s, Instant now);
  void cut_at_window(const Conn& c, Segment& s);
  bool check_reset(uint32_t index, Segment& s, Instant now);
  bool check_ack(uint32_t index, Segment& s, Instant now);
  void process_text(uint32_t index, Segment& s, Instant now);
  void process_fin(uint32_t index, Instant now);
  void drop(Segment& s, Counter why);
  /// What there was to take from the segment has been taken.
  void done(Segment& s) {
    counters_.add(Counter::kSlowPath);
    packets_.free(s.packet);
    s.packet = nullptr;
  }
  // fastpath.cc
  MR_INLINE bool fast_path(uint32_t index, Segment& s, Instant now);
  MR_INLINE bool ack_all(uint32_t index, Seq32 ack, Instant now);
  // input_open.cc
  void input_none(Segment& s, Instant now);
  void input_listen(Listener& listener, uint32_t slot, Segment& s, Instant now, const Seq32* used = nullptr);
  bool is_contested(HalfOpen& h, Instant now);
  void input_half_open(Ref ref, Segment& s, Instant now);
  void input_syn_sent(uint32_t index, Segment& s, Instant now);
  void input_time_wait(Ref ref, Segment& s, Instant now);
  bool promote(Ref ref, Segment& s, Instant now);
  uint32_t new_passive_conn(const HalfOpen& h, const Tuple& t, Ref old, Segment& s);
  void announce_passive_conn(uint32_t index, Listener& listener, Instant now);
  // syn_cookies.cc
  [[nodiscard]] bool uses_cookie(const Listener& listener, bool v4) const;
  bool spend_on_flood(Segment& s, Instant now);
  bool answer_usual_syn(const Listener& listener, Segment& s, Instant now);
  void answer_with_cookie(uint32_t slot, Segment& s, Instant now);
  bool input_cookie(Listener& listener, uint32_t slot, Ref old, Segment& s, Instant now);
  bool make_room_for_half_open(Segment& s, Instant now);
  void make_room_for_time_wait(bool v4);
  void send_syn_ack(Ref ref, Instant now);
  static constexpr uint32_t kMostDeferred = 16;
  [[nodiscard]] uint32_t deferred_timeouts(const Listener& l) const;
  HalfOpen read_syn(uint32_t slot, const Segment& s, const wire::TcpOptions& options) const;
  struct Bare;
  [[nodiscard]] Bare syn_ack(const HalfOpen& h, const Tuple& t, uint32_t ts_val) const;
  [[nodiscard]] uint16_t syn_window(const Listener& listener) const;
  [[nodiscard]] uint8_t shift_for(const SocketOptions& options) const;
  void drop_half_open(Ref ref);
  void enter_time_wait(uint32_t index, Instant now);
  void drop_time_wait(Ref ref);
  // fast_open.cc
  [[nodiscard]] uint32_t fast_open_most(const Listener& l) const;
  base::SipKey fast_open_key(const Listener& l, bool previous, Instant now);
  bool judge_fast_open(const Listener& l, const Segment& s, const wire::TcpOptions& o, HalfOpen& h, Instant now);
  void offer_cookie(const Listener& l, const Tuple& t, uint8_t mini_flags, wire::TcpOptions& o, Instant now);
  void open_early(uint32_t slot, const HalfOpen& h, Segment& s, Instant now);
  void early_acknowledged(uint32_t index, Instant now);
  void leave_fast_open(uint32_t index);
  /// In SYN-RECEIVED by fast open, not by a simultaneous open.
  [[nodiscard]] bool opened_early(uint32_t index) const;
  // fast_open_client.cc
  KnownServer* early_server(const IpAddr& server);
  size_t begin_fast_open(uint32_t index, std::span<const std::byte> first, uint16_t path_mtu, Instant now);
  void offer_fast_open(uint32_t index, wire::TcpOptions& o);
  uint32_t early_bytes(uint32_t index);
  bool record_early(uint32_t index, uint32_t bytes, Instant now);
  void answered_early(uint32_t index, const wire::TcpOptions& o, bool again, Instant now);
  void suspect_fast_open(uint32_t index, Instant now);
  // ack.cc
  void ack_advance(uint32_t index, Seq32 ack, AckNews& news);
  static bool measures(const Conn& c, const TxRecord& r);
  void release_from(const Conn& c, LossState& l, uint32_t record, Seq32 ack, AckNews& news);
  MR_INLINE void grow_window(uint32_t index, uint32_t acked, uint32_t flying, uint32_t marked, int64_t rtt_ns,
                             Instant now);
  MR_INLINE void tell_space(uint32_t index);
  void update_send_window(uint32_t index, const Segment& s);
  MR_INLINE void take_rtt_sample(Conn& c, int64_t rtt_ns);
  void take_echo_sample(uint32_t index, uint32_t ts_ecr, Instant now);
  MR_INLINE void free_acked(Conn& c, uint32_t data_bytes);
  // sack.cc
  void apply_sack(uint32_t index, const Segment& s, AckNews& news);
  void apply_run(uint32_t index, LossState& l, SackRun& run, uint32_t& steps, AckNews& news);
  [[nodiscard]] bool holds(const SackRun& run) const { return run.record != 0 && records_[run.record].gen == run.gen; }
  void note_received(uint32_t index, Seq32 left, Seq32 right);
  // records.cc
  uint32_t split_record(uint32_t index, uint32_t record, Seq32 at);
  [[nodiscard]] LossState& loss(uint32_t index) { return loss_.of(index); }
  LossState& disorder(uint32_t index, Instant now);
  void settle(uint32_t index);
  void append(RecordList& list, uint32_t record);
  void prepend(RecordList& list, uint32_t record);
  void unlink(RecordList& list, uint32_t record);
  static RecordList& list_of(LossState& l, const TxRecord& r);
  void mark_lost(uint32_t index, LossState& l, uint32_t record, Instant now);

  // A lone segment of data, sent once, with nothing else in flight, has no record: when it was sent lies in the
  // connection, and its record is written as soon as anything but its whole acknowledgment happens. That saves a cache
  // line where an answer follows a request. Room for those records is kept.
  [[nodiscard]] static bool is_lone(const Conn& c) { return c.record_count != 0 && c.record_head == 0; }
  /// Time of sending in records: only differences mean anything.
  [[nodiscard]] static uint32_t stamp(Instant now) { return static_cast<uint32_t>(now.ns() >> kStampShift); }
  [[nodiscard]] static int64_t ns_of(uint32_t stamps) { return int64_t{stamps} << kStampShift; }
  [[nodiscard]] static int64_t age_ns(uint32_t sent, Instant now) { return ns_of(stamp(now) - sent); }
  [[nodiscard]] bool has_record_room() const { return records_.used() + lone_ < records_.limit(); }
  /// 0 if there is no room.
  uint32_t take_record() { return has_record_room() ? records_.allocate() : 0; }
  void write_record(Conn& c) {
    if (__builtin_expect(is_lone(c), 0)) write_lone_record(c);
  }
  void write_lone_record(Conn& c);
  void refresh_times(uint32_t index, Instant now);
  void forget_times(Instant now);

  // Small data on an empty queue lies in a headless block; its header is written before anything but its whole
  // acknowledgment.
  static void write_block_header(Conn& c) {
    if ((c.tx_flags & kTxHeadless) == 0) return;
    pkt::BlockPool::write_header(c.queue_head, c.snd_queued);
    c.tx_flags &= static_cast<uint8_t>(~kTxHeadless);
  }

  // urgent.cc
  Urgent* obtain_urgent(uint32_t index);
  void forget_urgent(Conn& c);
  static Seq32 read_position(const Conn& c);
  void settle_urgent(Conn& c);
  void process_urgent(uint32_t index, const Segment& s);
  [[nodiscard]] uint16_t urgent_pointer(const Conn& c, Seq32 seq) const;
  // Congestion control (cc/controller.h).
  [[nodiscard]] cc::Control control(uint32_t index);
  [[nodiscard]] const cc::Operations& controller(uint32_t index) const;
  // ecn.cc
  [[nodiscard]] EcnMode asks_for_ecn(const SocketOptions& o) const;
  [[nodiscard]] EcnMode grants_ecn(const Segment& syn, const SocketOptions& o) const;
  uint16_t ecn_flags(uint32_t index, Seq32 seq, uint32_t length, uint8_t flags, uint8_t& traffic_class);
  void take_marks(uint32_t index, const Segment& s, Instant now);
  uint32_t marked_bytes(uint32_t index, const Segment& s, const AckNews& news);
  void take_echo(uint32_t index, Instant now);
  bool held_by_marks(uint32_t index, Instant now);
  // accurate_ecn.cc
  [[nodiscard]] bool has_accurate_ecn(uint32_t index);
  uint16_t accurate_flags(uint32_t index, Seq32 seq, uint32_t length, uint8_t flags, uint8_t& traffic_class);
  void count_marks(uint32_t index, const Segment& s);
  uint32_t count_echoes(uint32_t index, const Segment& s, const AckNews& news);
  void begin_accurate(uint32_t index, const HalfOpen& h);
  bool agree_on_ecn(uint32_t index, const Segment& s, bool syn_ack);
  bool syn_again(Ref ref, Segment& s, Instant now);
  bool tell_at_once(uint32_t index, Instant now);
  [[nodiscard]] EcnState& ecn(uint32_t index) { return ecn_.of(index); }
  [[nodiscard]] bool reduced_already(uint32_t index);
  // rate.cc, of connections that are `rated`
  [[nodiscard]] RateState& rate(uint32_t index) { return rate_.of(index); }
  void rate_sent(uint32_t index, uint32_t record, Instant now);
  void rate_split(uint32_t first, uint32_t second);
  void rate_delivered(uint32_t index, uint32_t record, uint32_t bytes, AckNews& news);
  void rate_lost(uint32_t index, uint32_t record, Instant now);
  void rate_sample(uint32_t index, const AckNews& news);
  void note_app_limited(uint32_t index);
  void note_window_limited(uint32_t index);
  // pacing.cc, likewise
  using Allowance = PaceAllowance;
  [[nodiscard]] uint64_t pacing_rate(uint32_t index) const;
  [[nodiscard]] static uint32_t send_quantum(const Conn& c, uint64_t bytes_per_second);
  [[nodiscard]] static uint32_t unpaced_quantum(const Conn& c);
  [[nodiscard]] Allowance pace_allowance(uint32_t index, Instant now);
  void pace_sent(uint32_t index, uint32_t bytes, Instant now);
  void pace_wait(uint32_t index, Instant now);
  [[nodiscard]] int64_t pace_timer(uint32_t index, Instant now);
  [[nodiscard]] bool owns_window(uint32_t index) const { return (controller(index).wants & cc::kWantsModel) != 0; }
  // recovery.cc
  void detect_loss(uint32_t index, const AckNews& news);
  void count_duplicate(uint32_t index, Instant now);
  void enter_fast_recovery(uint32_t index, Instant now);
  void reduce_rate(Conn& c, LossState& l, uint32_t delivered, bool safe);
  void mark_sack_losses(uint32_t index, LossState& l, Instant now);
  void on_ack_in_recovery(uint32_t index, uint32_t acked, Instant now);
  void mark_first_lost(uint32_t index, LossState& l, Instant now);
  void mark_timed_out(uint32_t index, Instant now);
  // rack.cc
  [[nodiscard]] bool uses_rack(const Conn& c) const;
  void begin_min_rtt(const Conn& c, LossState& l, Instant now);
  void delivered(const Conn& c, LossState& l, const TxRecord& r, AckNews& news);
  static void adapt_reordering(const Conn& c, LossState& l);
  static void rack_recovered(LossState& l);
  [[nodiscard]] uint32_t reordering_window(const Conn& c, const LossState& l) const;
  void rack_detect(uint32_t index, Instant now);
  void reordering_timeout(uint32_t index, Instant now);
  void restore_rto(uint32_t index, Instant now);
  // tlp.cc
  [[nodiscard]] bool may_probe(const Conn& c) const;
  [[nodiscard]] static bool flies_alone(const Conn& c);
  [[nodiscard]] static uint32_t probe_timeout_us(const Conn& c);
  void set_data_timer(uint32_t index, Instant now);
  void restart_probe(uint32_t index, Instant now);
  void tail_probe(uint32_t index, Instant now);
  bool retransmit_tail(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now, bool& any);
  void judge_probe(uint32_t index, LossState& l, const AckNews& news);
  // undo.cc
  void remember_windows(const Conn& c, LossState& l);
  void note_retransmission(const Conn& c, LossState& l, uint32_t bytes, Instant now);
  void judge_recovery(uint32_t index, LossState& l, const AckNews& news);
  void judge_timeout(uint32_t index, LossState& l, const AckNews& news);
  void undo(uint32_t index, LossState& l, Instant now);
  // receive.cc
  MR_INLINE void deliver(uint32_t index, pkt::Packet* data, uint32_t length);
  MR_INLINE pkt::Packet* strip_empty(pkt::Packet* head);
  void store_out_of_order(uint32_t index, Segment& s);
  bool hold_fin(const Conn& c, Seq32 seq);
  void pull_reassembled(uint32_t index, bool& fin);
  void append_to_piece(ReasmPiece& piece, pkt::Packet* data, uint32_t length);
  void free_piece(uint32_t index, uint32_t piece);
  void release_piece(uint32_t index, uint32_t piece);
  [[nodiscard]] uint32_t run_before(uint32_t index, Seq32 seq);
  void duplicate_seen(uint32_t index, Seq32 left, Seq32 right);
  void free_reassembly(uint32_t index);
  MR_INLINE void schedule_ack(uint32_t index, uint32_t segment, const Segment& s, Instant now);
  [[nodiscard]] static uint32_t segment_size(const pkt::Packet& head, uint32_t length) {
    const bool merged = (head.flags & pkt::kRxMerged) != 0 && head.seg_size() != 0;
    return merged ? std::min(length, head.seg_size()) : length;
  }
  void trim_front(Segment& s, uint32_t bytes);
  void trim_tail(Segment& s, uint32_t bytes);
  [[nodiscard]] MR_INLINE uint32_t window_space(const Conn& c) const;
  [[nodiscard]] MR_INLINE uint32_t receive_window(const Conn& c) const;
  // room.cc
  [[nodiscard]] RoomState& room(uint32_t index) { return room_.of(index); }
  void fix_room(uint32_t index, const SocketOptions& options);
  [[gnu::noinline, gnu::cold]] void measure_room(uint32_t index, const Segment& s, Instant now);
  void grow_receive_buffer(Conn& c, uint64_t bytes);
  void grow_send_buffer(uint32_t index);
  void set_low_water(uint32_t index, const SocketOptions& options);
  /// With a low-water mark (snd_limit is 0): what a write may queue now, and whether a writer is to be told of it.
  [[nodiscard]] uint32_t low_water_space(uint32_t index) const;
  [[nodiscard]] bool low_water_reached(uint32_t index) const;
  [[nodiscard]] uint32_t send_limit(uint32_t index) const;
  // output.cc, emit.cc
  MR_INLINE void mark_dirty(uint32_t index);
  bool output_conn(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now);
  // fast_output.cc
  MR_INLINE bool fast_output(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now);
  MR_INLINE void write_headers(Conn& c, pkt::Packet* p, std::byte* at, uint32_t ip_bytes, uint32_t tcp_bytes,
                               uint32_t length, Instant now);
  bool send_ack(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now);
  bool retransmit_lost(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now, bool& any);
  bool retransmit(uint32_t index, uint32_t record, bool joined, std::span<pkt::Packet*> out, size_t& n, Instant now);
  [[nodiscard]] uint32_t initial_window(const Conn& c) const;
  /// With nothing in flight: whether the window is one that idle time has made stale.
  [[nodiscard]] bool restart_due(const Conn& c, Instant now) const;
  void restart_after_idle(uint32_t index, Instant now);
  bool send_new(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now, bool& any);
  bool send_syn(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now);
  bool record_syn(Conn& c);
  /// `segment` is what a device cuts the payload into.
  pkt::Packet* build(uint32_t index, Seq32 seq, uint32_t length, uint32_t segment, uint8_t flags, pkt::Block* block,
                     uint32_t offset, Instant now);
  /// A segment without payload.
  pkt::Packet* build(uint32_t index, Seq32 seq, uint8_t flags, Instant now) {
    return build(index, seq, 0, 0, flags, nullptr, 0, now);
  }
  MR_INLINE pkt::Packet* attach_payload(pkt::Packet* head, pkt::Block* block, uint32_t offset, uint32_t length);
  MR_INLINE static uint32_t reachable(const pkt::Block* block, uint32_t offset, uint32_t length, uint32_t mss,
                            const link::DeviceLimits& limits);
  MR_INLINE uint32_t tso_bytes(uint32_t index, const link::DeviceLimits& limits);
  MR_INLINE static void advance_cursor(Conn& c, uint32_t bytes);
  [[nodiscard]] MR_INLINE uint32_t advertise_window(Conn& c);
  MR_INLINE static void note_ack_sent(Conn& c);
  uint32_t write_options(uint32_t index, std::byte* at, uint8_t flags, uint32_t payload, Instant now);
  MR_INLINE static void finish(pkt::Packet* p, const IpAddr& local, const IpAddr& remote, uint32_t header,
                               uint32_t length, uint32_t mss, uint8_t traffic_class, uint8_t hop_limit,
                               const link::DeviceLimits& limits);
  bool refresh_route(uint32_t index, Instant now);
  static uint16_t segment_size(const Conn& c, const ConnCold& cold, uint16_t mtu);
  /// Where the search for the path MTU begins.
  [[nodiscard]] static uint16_t base_mtu(const Conn& c) { return (c.options & kOptV4) != 0 ? kBaseMtu4 : kBaseMtu6; }
  void set_path_mtu(uint32_t index, uint16_t mtu, Instant now);
  void resend_oversized(uint32_t index, Instant now);
  void recover_without_reduction(Conn& c, LossState& l);
  void begin_search(uint32_t index, uint16_t cap, uint16_t route);
  void judge_black_hole(uint32_t index, Instant now);
  [[nodiscard]] uint32_t due_mtu_probe(uint32_t index, uint32_t queued, Instant now);
  void mtu_probe_missed(uint32_t index);
  bool only_mtu_probe_lost(uint32_t index);
  MR_INLINE void commit(uint32_t index, pkt::Packet* p, std::span<pkt::Packet*> out, size_t& n, Instant now);
  [[nodiscard]] pkt::Block* find_block(const Conn& c, Seq32 seq, uint32_t& offset) const;
  static bool ends_burst(const Conn& c, uint32_t queued, uint32_t usable, uint32_t room);
  uint32_t within_record(const Conn& c, uint32_t length, bool& ends) const;
  // timers.cc
  base::TimerNode& timer_node(uint32_t id);
  void watch_frames(Instant now);
  void fire(uint32_t id, Instant now);
  void conn_timer(uint32_t index, Instant now);
  MR_INLINE void set_rto(uint32_t index, Instant now);
  MR_INLINE void set_timer(uint32_t index, TimerKind kind, Instant deadline);
  MR_INLINE void stop_timer(Conn& c);
  /// A timer that answers for unacknowledged data runs.
  [[nodiscard]] static bool data_timer(const Conn& c) {
    return c.timer_kind >= TimerKind::kRetransmit && c.timer_kind <= TimerKind::kReorder;
  }
  MR_INLINE void arm(uint32_t index, int64_t deadline_ns);
  void retransmission_timeout(uint32_t index, Instant now);
  void persist_timeout(uint32_t index, Instant now);
  [[nodiscard]] bool out_of_patience(const Conn& c) const;
  // flow_counts.cc
  void begin_counting(uint32_t index, Seq32 una, Instant now);
  void settle_counts(uint32_t index, Instant now);
  void count_in(uint32_t index, const Segment& s, Instant now);
  void count_out(uint32_t index, uint32_t length, uint32_t size, Instant now);
  void send_probe(uint32_t index, Instant now);
  int64_t keepalive_deadline(uint32_t index, Instant now) const;
  bool keepalive_timeout(uint32_t index, Instant now);
  [[nodiscard]] MR_INLINE uint32_t backed_off(const Conn& c, uint32_t doublings) const;
  [[nodiscard]] bool unanswered(const Conn& c, Instant now) const;
  [[nodiscard]] uint64_t trying_us(const Conn& c) const;
  // user.cc
  void start_controller(uint32_t index, uint8_t row, Instant now);
  void set_pace(uint32_t index, uint64_t most);
  /// The row that the options name, else the setting's.
  [[nodiscard]] uint8_t controller_row(const SocketOptions& o) const;
  /// Whether the options name a controller that does not exist.
  [[nodiscard]] static bool no_such_controller(const SocketOptions& o);
  uint32_t new_conn(const Tuple& t, uint64_t hash);
  void apply_options(Conn& c, ConnCold& cold, const SocketOptions& options);
  [[nodiscard]] Duration fin_wait_2_life(uint32_t index) const;
  static void hold_tail(Conn& c, bool more, bool can_wait);
  void apply_rare_options(uint32_t index, const SocketOptions& options);
  void init_conn(uint32_t index, const ip::Route& route);
  uint16_t choose_port(const IpAddr& local, const Endpoint& remote, bool any_worker);
  /// Whether what the peer sends to `t` comes to this worker.
  [[nodiscard]] bool comes_home(const Tuple& t) const;
  void queue_fin(uint32_t index);
  void set_state(uint32_t index, State next);
  void destroy(uint32_t index);
  void fail_conn(uint32_t index, Error error);
  /// Filled where it lies: one put together on the stack is read back before it has left the store buffer, which
  /// costs more than writing it.
  Effect& new_effect(uint32_t sock, uint32_t mask);
  void notify(const Conn& c, uint32_t mask) {
    if (c.sock != 0) new_effect(c.sock, mask);
  }
  // reset.cc
  void send_reset_for(const Segment& s, Instant now);
  void send_reset(uint32_t index, Instant now);
  void challenge_ack(uint32_t index, Instant now);
  bool challenge_allowed(Instant now);
  bool answer_allowed(uint32_t index, Instant now);
  void answer_stray(uint32_t index, const Segment& s, Instant now);
  void send_bare(Bare& b, Instant now);
  void ack_at_once(uint32_t index, Seq32 seq, Instant now);
  [[nodiscard]] uint16_t own_mss(uint32_t mtu, bool v4, uint16_t user_mss) const;

  [[nodiscard]] MR_INLINE Ref find(const Segment& s) const;
  [[nodiscard]] MR_INLINE bool matches(Ref ref, const Tuple& t) const;
  [[nodiscard]] Tuple tuple_of(Ref ref) const;
  [[nodiscard]] HalfOpen& half(Ref ref);
  [[nodiscard]] TimeWait& wait(Ref ref);
  /// `remote`: whose connection it is to be, where listeners share an address.
  [[nodiscard]] Listener* find_listener(const IpAddr& local, uint16_t port, uint32_t& slot, const Endpoint& remote);
  [[nodiscard]] Listener* one_of_group(const Tuple& t, const IpAddr& address, uint32_t& slot);
  [[nodiscard]] Seq32 initial_sequence(const Tuple& t, Instant now) const;
  [[nodiscard]] uint32_t timestamp_offset(const Tuple& t) const;
  [[nodiscard]] static uint32_t milliseconds_of(Instant now);
  [[nodiscard]] static uint32_t flight(const Conn& c) { return static_cast<uint32_t>(c.snd_nxt - c.snd_una); }
  /// RFC 6675's pipe: bytes thought to be in the network.
  [[nodiscard]] static uint32_t pipe(const Conn& c);
  [[nodiscard]] uint16_t offered_mss(const Conn& c, const ConnCold& cold) const;
  [[nodiscard]] std::string check_lists(uint32_t index) const;
  [[nodiscard]] std::string check_conn(uint32_t index) const;
  [[nodiscard]] std::string check_ledger() const;

  ip::Ip& ip_;
  pkt::PacketCache& packets_;
  pkt::PacketPool& frames_;
  pkt::BlockPool& blocks_;
  base::TraceRing& trace_;
  Owner& owner_;
  Settings settings_;
  base::Rng rng_;
  base::SipKey isn_key_;
  base::SipKey ts_key_;
  base::SipKey port_key_;
  SynCookies cookies_;
  SynShed shed_;
  base::RotatingKey fast_open_keys_;
  KnownServers known_servers_;
  Instant fast_open_again_{};  ///< no SYN brings data before
  uint8_t fast_open_pauses_ = 0;
  TupleHash hash_;
  ConnTable table_;
  base::Slab<Conn> conns_;
  base::Slab<Mini4<HalfOpen>> half4_;
  base::Slab<Mini6<HalfOpen>> half6_;
  base::Slab<Mini4<TimeWait>> wait4_;
  base::Slab<Mini6<TimeWait>> wait6_;
  base::Slab<TxRecord> records_;
  base::Slab<Urgent> urgents_;
  uint32_t lone_ = 0;  ///< segments in flight without a record
  base::Slab<ReasmPiece> pieces_;
  ConnCold* cold_;   // parallel to conns_
  SideTable<EcnState> ecn_;
  SideTable<LossState> loss_;
  SideTable<RareOptions> rare_;
  SideTable<RoomState> room_;
  SideTable<RunState> runs_;
  SideTable<AnswerState> answered_;
  SideTable<PathState> paths_;
  SideTable<FlowCounts> counts_;  // of connections that are `counted`
  SideTable<RateState> rate_;  // of connections that are `rated`
  RateRecord* rate_records_;   // parallel to records_, of the same connections
  base::TimerWheel<Resolver> wheel_;
  std::vector<Listener> listeners_;
  std::unordered_multimap<uint16_t, uint32_t> listeners_by_port_;
  std::unordered_map<uint32_t, uint32_t> listener_of_sock_;
  Endpoint last_listener_;  // what find_listener() was asked last with success, with its answer; port 0: nothing
  uint32_t last_listener_slot_ = 0;
  std::vector<Effect> effects_;
  std::vector<DirtyList> dirty_;  // by interface
  base::Counters<Counter> counters_;
  int64_t noticed_ns_ = 0;
  int64_t look_ns_ = 0;  ///< when to count the free frames again
  bool scarce_ = false;  ///< so few are free that no connection gets a second unread segment, or one out of order
  uint32_t challenge_second_ = UINT32_MAX;
  uint32_t challenge_left_ = 0;
  uint32_t port_counter_ = 0;
  const steer::ShardMap* shards_;
  uint32_t shard_;
  bool siblings_;

  /// The connection's rare options, all 0 if it has none.
  [[nodiscard]] RareOptions rare(uint32_t index) const;
  [[nodiscard]] ConnCold& cold(uint32_t index) { return cold_[index]; }
  [[nodiscard]] const ConnCold& cold(uint32_t index) const { return cold_[index]; }
};

}  // namespace millrace::tcp

#include "tcp/inline.h"
