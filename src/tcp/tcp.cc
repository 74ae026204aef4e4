// Tcp: construction, observation, consistency checks.
#include "tcp/tcp.h"

#include <algorithm>

#include "base/planted.h"

namespace millrace::tcp {
namespace {

base::SipKey key_from(base::Rng& rng) {
  const uint64_t k0 = rng.next();
  return {k0, rng.next()};
}

uint32_t table_entries(const TcpConfig& c) {
  return c.max_connections + c.max_half_open + c.max_time_wait;
}

constexpr uint64_t kCookiePurpose = 1;  // base::derived_key
constexpr uint64_t kFastOpenPurpose = 2;
constexpr uint64_t kServersPurpose = 3;
constexpr uint64_t kShedPurpose = 4;

/// Records and reassembly runs exist only while something is in flight; a few per connection bound them all.
uint32_t scaled(uint32_t connections, uint32_t factor, uint32_t least) {
  return static_cast<uint32_t>(
      std::min<uint64_t>(std::max<uint64_t>(uint64_t{connections} * factor, least), 1u << 27));
}

}  // namespace

Tcp::Tcp(const TcpConfig& config)
    : ip_(*config.ip),
      packets_(*config.packets),
      frames_(*config.frames),
      blocks_(*config.blocks),
      trace_(*config.trace),
      owner_(*config.owner),
      settings_(config.settings),
      rng_(config.seed),
      isn_key_(key_from(rng_)),
      ts_key_(key_from(rng_)),
      port_key_(key_from(rng_)),
      cookies_(base::derived_key(isn_key_, kCookiePurpose)),
      shed_(*config.memory, base::derived_key(isn_key_, kShedPurpose),
            static_cast<uint32_t>(config.settings.syncookies_per_second)),
      fast_open_keys_(base::derived_key(isn_key_, kFastOpenPurpose)),
      known_servers_(base::derived_key(isn_key_, kServersPurpose)),
      hash_(key_from(rng_)),
      table_(*config.memory, table_entries(config)),
      conns_(*config.memory, config.max_connections),
      half4_(*config.memory, config.max_half_open),
      half6_(*config.memory, config.max_half_open),
      wait4_(*config.memory, config.max_time_wait),
      wait6_(*config.memory, config.max_time_wait),
      records_(*config.memory, scaled(config.max_connections, 8, 65'536)),
      urgents_(*config.memory, kMostUrgent),
      pieces_(*config.memory, scaled(config.max_connections, 2, 16'384)),
      cold_(reinterpret_cast<ConnCold*>(
          config.memory->allocate((size_t{config.max_connections} + 1) * sizeof(ConnCold)).base)),
      ecn_(*config.memory, conns_, config.max_connections),
      loss_(*config.memory, conns_, config.max_connections),
      rare_(*config.memory, conns_, config.max_connections),
      room_(*config.memory, conns_, config.max_connections),
      runs_(*config.memory, conns_, config.max_connections),
      answered_(*config.memory, conns_, config.max_connections),
      paths_(*config.memory, conns_, config.max_connections),
      counts_(*config.memory, conns_, config.max_connections),
      rate_(*config.memory, conns_, config.max_connections),
      rate_records_(reinterpret_cast<RateRecord*>(
          config.memory->allocate((size_t{records_.limit()} + 1) * sizeof(RateRecord)).base)),
      wheel_(Resolver{this}, config.start),
      shards_(config.shards),
      shard_(config.shard),
      siblings_(config.siblings) {
  MR_ASSERT(config.max_half_open > 0 && config.max_time_wait > 0);
  MR_ASSERT(table_.ok() && conns_.ok() && half4_.ok() && half6_.ok() && wait4_.ok() && wait6_.ok());
  MR_ASSERT(records_.ok() && urgents_.ok() && pieces_.ok() && cold_ != nullptr && ecn_.ok() && loss_.ok() &&
            rare_.ok() && room_.ok() && runs_.ok() && answered_.ok() && paths_.ok() && counts_.ok() && rate_.ok() &&
            rate_records_ != nullptr);
  // The keys are the same for all workers of a process; what follows differs.
  if (shard_ != 0) rng_ = base::Rng(rng_.next() + shard_);
  port_counter_ = static_cast<uint32_t>(rng_.next());
}

Tcp::~Tcp() {
  for (Effect& e : effects_) packets_.free(e.data);
  for (uint32_t i = 1; i < conns_.end_index(); ++i) {
    if (!conns_.in_use(i)) continue;
    conns_[i].sock = 0;
    destroy(i);
  }
}

Result<void> Tcp::set(uint16_t row, int64_t value) {
  if (row >= std::size(kSettingRows)) return fail(Error::kNotFound);
  const auto changed = base::with_row(settings_, kSettingRows[row], value);
  if (!changed) return fail(Error::kInvalid);
  if (changed->port_low > changed->port_high || changed->rto_min_us > changed->rto_max_us) return fail(Error::kInvalid);
  const bool limit = changed->syncookies_per_second != settings_.syncookies_per_second;
  settings_ = *changed;
  if (limit) shed_.set_rate(static_cast<uint32_t>(settings_.syncookies_per_second));
  return {};
}

Info Tcp::info(uint32_t index) const {
  static constexpr const char* kRecoveries[] = {"open", "disorder", "fast", "loss"};
  static constexpr const char* kTimers[] = {"none", "retransmit", "probe", "reorder", "persist", "fin-wait-2"};
  const Conn& c = conns_[index];
  Info i;
  i.tuple = tuple_of(Ref(Place::kConn, index));
  i.state = c.state;
  i.sock = c.sock;
  i.send_queue = c.snd_queued;
  i.retransmits = cold(index).retransmits;
  i.full = true;
  i.timestamps = (c.options & kOptTimestamps) != 0;
  i.sack = (c.options & kOptSack) != 0;
  i.no_delay = (c.options & kOptNoDelay) != 0;
  i.controller = controller(index).name;
  i.recovery = kRecoveries[static_cast<size_t>(c.recovery)];
  i.timer = kTimers[static_cast<size_t>(c.timer_kind)];
  i.timer_ns = c.rto_deadline;
  i.timeouts = c.retries;
  i.mss = c.mss;
  i.cwnd = c.cwnd;
  i.ssthresh = c.ssthresh;
  i.srtt_us = c.srtt_us;
  i.rttvar_us = c.rttvar_us;
  i.rto_us = c.rto_us;
  i.flight = flight(c);
  i.sacked = c.sacked_bytes;
  i.lost = c.lost_bytes;
  i.send_window = c.snd_wnd;
  i.receive_window = static_cast<uint32_t>(c.rcv_adv - c.rcv_nxt);
  i.send_scale = c.snd_wscale;
  i.receive_scale = c.rcv_wscale;
  i.send_limit = send_limit(index);
  i.receive_limit = c.rcv_limit;
  i.receive_charge = c.rcv_charge;
  for (uint32_t at = c.reasm; at != 0; at = pieces_[at].link) ++i.out_of_order;
  i.window_scaling = (c.options & kOptWindowScale) != 0;
  i.receive_mss = c.rcv_mss;
  i.advertised_mss = offered_mss(c, cold(index));
  i.segments_out = c.record_count;
  i.unsent = c.snd_queued - std::min(c.snd_queued, flight(c));
  i.backoff = c.backoff;
  for (uint32_t at = c.record_head; at != 0; at = records_[at].link) i.segments_again += records_[at].times > 1 ? 1 : 0;
  i.last_receive_ms = c.last_rx_ms;
  i.delayed_ack_us = static_cast<uint32_t>(settings_.delayed_ack_us);
  i.path_mtu = c.mss + (i.timestamps ? wire::kTcpTimestampsSize : 0u) + ((c.options & kOptV4) != 0 ? 40u : 60u);
  i.receive_rtt_us = room_.find(index) != nullptr ? room_.find(index)->rtt_us : 0;
  i.bytes_acked = static_cast<uint32_t>(c.snd_una - cold(index).iss);
  if (i.bytes_acked > 0) --i.bytes_acked;  // the SYN
  if (c.counted != 0) {
    i.counted = true;
    i.counts = *counts_.find(index);
    // FINs are no bytes.
    if ((c.tx_flags & kTxFinSent) != 0 && c.snd_una == c.snd_nxt) --i.counts.bytes_acked;
    if ((c.rx_flags & kRxFinSeen) != 0) --i.counts.bytes_received;
  }
  i.ecn = (c.rx_flags & kRxEcn) != 0;
  i.reordering = loss_.find(index) != nullptr && loss_.find(index)->reordering;
  const Early early = rare(index).early;
  i.syn_data = early == Early::kTaken;
  i.syn_data_fail = early == Early::kRefused ? 2 : early == Early::kLost ? 3 : 0;
  if (c.rated == 0 || rate_.find(index) == nullptr) return i;
  const RateState& s = *rate_.find(index);
  i.delivery_rate = s.sample;
  i.delivery_app_limited = s.sample_app_limited;
  i.pacing_rate = pacing_rate(index);
  i.max_pacing_rate = s.most;
  i.delivered = s.model.delivered;
  i.min_rtt_us = s.min_rtt_us;
  return i;
}

std::vector<Info> Tcp::list() const {
  std::vector<Info> out;
  for (uint32_t i = 1; i < conns_.end_index(); ++i) {
    if (conns_.in_use(i)) out.push_back(info(i));
  }
  const auto minis = [&](const auto& slab, Place place, State state) {
    for (uint32_t i = 1; i < slab.end_index(); ++i) {
      if (!slab.in_use(i)) continue;
      Info entry;
      entry.tuple = tuple_of(Ref(place, i));
      entry.state = state;
      out.push_back(entry);
    }
  };
  minis(half4_, Place::kHalf4, State::kSynReceived);
  minis(half6_, Place::kHalf6, State::kSynReceived);
  minis(wait4_, Place::kWait4, State::kTimeWait);
  minis(wait6_, Place::kWait6, State::kTimeWait);
  return out;
}

bool Tcp::has_local(const Endpoint& local) const {
  const auto any = [&](const auto& slab, Place place) {
    for (uint32_t i = 1; i < slab.end_index(); ++i) {
      if (!slab.in_use(i)) continue;
      const Tuple t = tuple_of(Ref(place, i));
      if (t.local_port == local.port && (local.addr.is_unspecified() || t.local == local.addr)) return true;
    }
    return false;
  };
  return any(conns_, Place::kConn) || any(half4_, Place::kHalf4) || any(half6_, Place::kHalf6) ||
         any(wait4_, Place::kWait4) || any(wait6_, Place::kWait6);
}

// Every segment that came in was taken or dropped under a name, once.
std::string Tcp::check_ledger() const {
  uint64_t known = 0;
  for (const Counter c :
       {Counter::kFastPath, Counter::kSlowPath, Counter::kMerged, Counter::kOutOfOrder, Counter::kResetsIn}) {
    known += counter(c);
  }
  for (size_t i = static_cast<size_t>(Counter::kDropNoConnection); i < std::size(kCounters); ++i) {
    known += counter(static_cast<Counter>(i));
  }
  const uint64_t in = counter(Counter::kSegmentsIn);
  if (known == in) return {};
  return std::to_string(in) + " segments came in, " + std::to_string(known) + " were taken or dropped";
}

std::string Tcp::check() const {
  if (std::string text = check_ledger(); !text.empty()) return text;
  uint32_t lone = 0;
  for (uint32_t i = 1; i < conns_.end_index(); ++i) {
    if (!conns_.in_use(i)) continue;
    if (is_lone(conns_[i])) ++lone;
    std::string text = check_conn(i);
    if (!text.empty()) return "connection " + std::to_string(i) + " (" + name(conns_[i].state) + "): " + text;
  }
  if (lone != lone_) return std::to_string(lone) + " lone segments in flight, not " + std::to_string(lone_);
  const uint64_t entries = uint64_t{conns_.used()} + half4_.used() + half6_.used() + wait4_.used() + wait6_.used();
  if (entries != table_.size()) return "connection table holds " + std::to_string(table_.size()) + " entries, not " +
                                       std::to_string(entries);
  return {};
}

// Every record that is not selectively acknowledged is in the list that its state names; what is in the network is in
// order of sending.
std::string Tcp::check_lists(uint32_t index) const {
  const Conn& c = conns_[index];
  if (c.recovery == Recovery::kOpen) {
    return (c.sacked_bytes | c.lost_bytes | c.dup_acks) == 0 ? "" : "losses that nobody mends";
  }
  const LossState* const state = loss_.find(index);
  if (state == nullptr) return "the loss state is another connection's";
  const LossState& l = *state;
  uint32_t listed = 0;
  for (const RecordList* list : {&l.fresh, &l.again, &l.lost}) {
    uint32_t older = 0;
    for (uint32_t r = list->first; r != 0; older = r, r = records_[r].newer) {
      const TxRecord& record = records_[r];
      const bool lost = (record.flags & kRecLost) != 0;
      const bool right = (record.flags & kRecSacked) == 0 && lost == (list == &l.lost) &&
                         (lost || (record.times > 1) == (list == &l.again)) && record.older == older;
      if (!right || ++listed > c.record_count) return "a transmission record is in the wrong list";
      if (list == &l.fresh && older != 0 && static_cast<int32_t>(record.sent - records_[older].sent) < 0) {
        return "the transmission records are not in order of sending";
      }
    }
    if (older != list->last) return "a list of transmission records has a wrong end";
  }
  uint32_t sacked = 0;
  uint32_t splits = 0;
  uint32_t until = 0;  // the last of a stretch that apply_run() passes in one step
  for (uint32_t r = c.record_head; r != 0; r = records_[r].link) {
    const bool marked = (records_[r].flags & kRecSacked) != 0;
    if (until != 0 && !marked) return "a hole would be taken for delivered";
    if (marked && until == 0) until = records_[r].newer;
    if (r == until) until = 0;
    sacked += (records_[r].flags & kRecSacked) != 0 ? 1 : 0;
    splits += (records_[r].flags & kRecSplit) != 0 ? 1 : 0;
  }
  if (listed + sacked != c.record_count) return "a transmission record is in no list";
  if (sacked != l.sacked_records || splits != l.splits) return "the counts of transmission records are wrong";
  return {};
}

std::string Tcp::check_conn(uint32_t index) const {
  const Conn& c = conns_[index];
  if (c.snd_una > c.snd_nxt) return "snd_una is beyond snd_nxt";
  if (c.rcv_nxt > c.rcv_adv) return "rcv_nxt is beyond the advertised window";
  const uint32_t out = flight(c);
  if (uint64_t{c.sacked_bytes} + c.lost_bytes > out) return "more bytes sacked and lost than in flight";
  const bool has_threshold = (controller(index).wants & cc::kWantsModel) == 0;
  if (has_threshold && c.recovery == Recovery::kFast && c.ssthresh == UINT32_MAX)
    return "a loss left ssthresh as it was";
  Seq32 at = c.snd_una;
  uint32_t sacked = 0;
  uint32_t lost = 0;
  uint32_t count = 0;
  if (is_lone(c)) {
    if (out == 0) return "a segment in flight that is none";
    at = c.snd_nxt;
    count = 1;
  }
  for (uint32_t r = c.record_head; r != 0; r = records_[r].link) {
    const TxRecord& record = records_[r];
    if (record.start != at || record.end <= record.start) return "the transmission records do not join";
    at = record.end;
    ++count;
    const auto bytes = static_cast<uint32_t>(record.end - record.start);
    if ((record.flags & kRecSacked) != 0) sacked += bytes;
    if ((record.flags & kRecLost) != 0) lost += bytes;
    if (record.link == 0 && r != c.record_tail) return "the record tail is wrong";
  }
  if (at != c.snd_nxt) return "the transmission records do not reach snd_nxt";
  if (count != c.record_count) return "the record count is wrong";
  if (lost != c.lost_bytes) return "lost_bytes does not match the records";
  if ((c.options & kOptSack) != 0 && sacked != c.sacked_bytes) return "sacked_bytes does not match the records";
  if (std::string text = check_lists(index); !text.empty()) return text;
  uint64_t queued = 0;
  for (const pkt::Block* b = c.queue_head; b != nullptr; b = b->next) queued += b->len;
  if ((c.tx_flags & kTxHeadless) != 0) {
    const bool alone = c.queue_head != nullptr && c.queue_head == c.queue_tail;
    if (!alone || queued != 0 || c.head_offset != 0) return "a headless block is not alone, or has a header";
    queued = c.snd_queued;
  }
  if (queued != uint64_t{c.snd_queued} + c.head_offset) return "the send queue does not hold snd_queued bytes";
  const bool synchronized = c.state != State::kSynSent && c.state != State::kSynReceived;
  if (out > 0 && !data_timer(c) && c.tx_flags != (c.tx_flags | kTxSynQueued)) {
    return "unacknowledged data without a retransmission timer";
  }
  if (c.timer_kind != TimerKind::kNone &&
      (!wheel_.armed(c.timer) || c.timer.deadline_ns > c.rto_deadline)) {
    return "a timer that the wheel does not know";
  }
  if (c.delack_deadline != INT64_MAX && (!wheel_.armed(c.timer) || c.timer.deadline_ns > c.delack_deadline)) {
    return "a delayed ACK that the wheel does not know";
  }
  const uint32_t unsent = c.snd_queued - std::min(c.snd_queued, out);
  const RateState* const pace = c.rated != 0 ? rate_.find(index) : nullptr;
  const bool paced = pace != nullptr && pace->waiting;
  if (paced && !wheel_.armed(c.timer)) {
    return "a pace that the wheel does not know";
  }
  if (synchronized && unsent > 0 && out == 0 && (c.tx_flags & kTxDirty) == 0 && c.timer_kind == TimerKind::kNone &&
      !paced) {
    return "data to send, nothing in flight and no timer";
  }
  Seq32 edge = c.rcv_nxt;
  for (uint32_t r = c.reasm; r != 0; r = pieces_[r].link) {
    const ReasmPiece& piece = pieces_[r];
    if (piece.start <= edge || piece.end <= piece.start) return "the reassembly runs overlap or touch";
    uint64_t bytes = 0;
    for (const pkt::Packet* p = piece.first; p != nullptr; p = p->next) bytes += p->len;
    if (bytes != static_cast<uint32_t>(piece.end - piece.start)) return "a reassembly run lacks bytes";
    edge = piece.end;
  }
  if (c.mss == 0 || c.cwnd < c.mss) return "cwnd is below one segment";
  return {};
}

bool Tcp::waits_for(Segment& s) {
  if (find(s).place() != Place::kNone) return true;
  uint32_t slot = 0;
  return s.has(kSyn) && !s.has(kAck) &&
         find_listener(s.local, s.local_port, slot, {s.remote, s.remote_port}) != nullptr;
}

}  // namespace millrace::tcp
