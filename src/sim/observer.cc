#include "sim/observer.h"

#include <algorithm>
#include <cstring>

#include "sim/text.h"

namespace millrace::sim {
namespace {

int64_t offset(uint32_t seq, uint32_t isn) { return static_cast<int32_t>(seq - isn); }
bool newer(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) > 0; }

void put_endpoint(const Endpoint& e, uint8_t* out) {
  std::memcpy(out, e.addr.bytes().data(), 16);
  store16(out + 16, e.port);
}

}  // namespace

Observer::Key Observer::key_of(const Endpoint& a, const Endpoint& b) {
  std::array<uint8_t, 18> x{};
  std::array<uint8_t, 18> y{};
  put_endpoint(a, x.data());
  put_endpoint(b, y.data());
  if (y < x) std::swap(x, y);
  Key key;
  std::memcpy(key.data(), x.data(), 18);
  std::memcpy(key.data() + 18, y.data(), 18);
  return key;
}

Observer::Side Observer::find(const TcpView& view, bool create) {
  const Endpoint source{view.source, view.source_port};
  const Endpoint destination{view.destination, view.destination_port};
  const Key key = key_of(source, destination);
  auto it = flows_.find(key);
  if (it == flows_.end()) {
    if (!create) return {};
    it = flows_.emplace(key, Flow{}).first;
    it->second.ends = {source, destination};
    port_[source.port] = key;
    port_[destination.port] = key;
  }
  Flow& flow = it->second;
  return {&flow, flow.ends[0] == source ? 0 : 1};
}

void Observer::fail(const TcpView& view, const std::string& what) {
  fail_(text("wire: ", what, "; ", describe_tcp(view)));
}

void Observer::sent(int host, const Bytes& frame, Instant now) {
  const std::string wrong = check_ip_frame(frame);
  const auto view = parse_tcp(frame);
  if (!wrong.empty()) {
    fail_("wire: a host sent a frame with " + wrong + (view ? "; " + describe_tcp(*view) : ""));
    return;
  }
  if (!view) return;
  ++segments_;
  if (!check_form(*view)) return;
  const Side side = find(*view, view->has(kSyn) && !view->has(kAck));
  if (side.flow == nullptr) {
    if (!view->has(kRst)) fail(*view, "segment of a connection that nobody opened");
    return;
  }
  Flow& flow = *side.flow;
  flow.host[static_cast<size_t>(side.own)] = host;
  if (view->has(kSyn)) on_syn(flow, side.own, *view);
  Half& own = flow.half[static_cast<size_t>(side.own)];
  if (flow.loose) return;
  if (view->has(kRst)) {
    // The answer to a forged segment has the forger's number: the peer will not obey it.
    if (flow.forged_acks.count(view->seq) != 0) return;
    // In CLOSED and SYN-SENT a reset answers a stray segment, and an opening goes on.
    if (check_rst(flow, side.own, *view) && own.peer_syn && own.syn_sent) own.rst_sent = true;
    return;
  }
  if (!own.syn_sent) {  // its SYN may have been dropped while the neighbour was unknown
    if (view->seq_len() > 0) fail(*view, "segment before a SYN");
    return;
  }
  if (own.rst_sent) return fail(*view, "segment after a reset");
  const int64_t at = offset(view->seq, own.isn);
  const int64_t ack_before = own.ack_sent;
  if (!check_ack(flow, side.own, *view) || !check_timestamp(flow, side.own, *view)) return;
  if (own.ack_sent > ack_before) own.unacked_since = now;  // RFC 8257 3.2 leaves out what came in since a mark
  if (at > own.snd_max && rules_.loses_inside[static_cast<size_t>(host)]) {
    flow.loose = true;  // part of the stream was never seen
    return;
  }
  if (at > own.snd_max) return fail(*view, text("sequence number leaves a gap of ", at - own.snd_max));
  if (!check_back_off(flow, side.own, *view, at, now)) return;
  if (!check_data(flow, side.own, *view, frame)) return;
  own.snd_max = std::max(own.snd_max, at + view->seq_len());
}

void Observer::delivered(int host, const Frame& frame, Instant now) {
  ++deliveries_[static_cast<size_t>(host)];
  delivered_at_[static_cast<size_t>(host)] = now;
  if (!check_ip_frame(frame.bytes).empty()) return;
  const auto view = parse_tcp(frame.bytes);
  if (!view) return;
  const Side side = find(*view, false);
  if (side.flow == nullptr) return;
  if (!frame.injected) data_bytes_ += view->payload_len;
  if (side.flow->loose) return;
  if (frame.injected) {
    side.flow->forged_acks.insert(view->ack);
    return;
  }
  Half& peer = side.flow->half[static_cast<size_t>(side.own)];
  Half& me = side.flow->half[static_cast<size_t>(1 - side.own)];
  if (!peer.syn_sent) return;
  if (view->has(kRst)) {
    me.rst_seen = true;
    return;
  }
  const int64_t at = offset(view->seq, peer.isn);
  if (view->has(kSyn)) me.peer_syn = true;
  const bool paws_may_drop = view->has_timestamp && me.ts_bound_set && newer(me.ts_bound, view->tsval);
  // A segment with an acknowledgment older than the largest window may be dropped too (RFC 5961 5.2).
  const bool old_ack = view->has(kAck) && offset(view->ack, me.isn) < me.ack_seen;
  if (view->has_timestamp && at <= me.prefix && (!me.ts_bound_set || newer(view->tsval, me.ts_bound))) {
    me.ts_bound_set = true;
    me.ts_bound = view->tsval;
  }
  if (view->seq_len() > 0) {
    me.received.add(std::max<int64_t>(at, 0), at + view->seq_len());
    me.prefix = me.received.covers(0, 1) ? me.received.end_of(0) : 0;
    const int64_t sure_before = std::max(me.sure, me.ack_sent);
    me.sure =
        at <= sure_before && !paws_may_drop && !old_ack ? std::max(sure_before, at + view->seq_len()) : sure_before;
    if (me.sure > sure_before && sure_before <= me.ack_sent) me.unacked_since = now;
    me.full = std::max(me.full, static_cast<uint32_t>(view->payload_len));
    if (view->has(kFin)) me.peer_fin = at + view->seq_len() - 1;
  }
  const bool scale = side.flow->scaled() && !view->has(kSyn);
  const int64_t window = int64_t{view->window} << (scale ? *peer.wscale : 0);
  if (view->has(kAck)) {
    if (!me.syn_sent) return;
    const int64_t ack = offset(view->ack, me.isn);
    me.ack_seen = std::max(me.ack_seen, ack);
    me.edge_seen = std::max(me.edge_seen, ack + window);
  } else if (view->has(kSyn)) {
    me.edge_seen = std::max(me.edge_seen, 1 + window);
  }
}

void Observer::turn_end(int host, Instant now) {
  if (!rules_.prompt_acks[static_cast<size_t>(host)]) return;
  for (auto& [key, flow] : flows_) {
    if (flow.loose || flow.dead()) continue;
    for (size_t i = 0; i < 2; ++i) {
      Half& me = flow.half[i];
      if (flow.host[i] != host || me.sure <= me.ack_sent || me.rst_seen || me.ack_sent == 0) continue;
      const int64_t unacked = me.sure - me.ack_sent;
      const char* what = nullptr;
      if (unacked >= 2 * int64_t{me.full} && me.full > 0) what = "two full segments wait for an acknowledgment";
      if (now - me.unacked_since > rules_.delayed_ack + rules_.slack) what = "an acknowledgment is overdue";
      if (what == nullptr) continue;
      fail_(text("wire: ", what, " (", unacked, " bytes, ", (now - me.unacked_since).us(), " us): ",
                 flow.ends[i].to_string(), " from ", flow.ends[1 - i].to_string()));
      return;
    }
  }
}

std::vector<Flow*> Observer::flows() {
  std::vector<Flow*> out;
  for (auto& [key, flow] : flows_) out.push_back(&flow);
  return out;
}

int64_t Observer::acknowledged(const Endpoint& local, const Endpoint& remote) const {
  const auto it = flows_.find(key_of(local, remote));
  if (it == flows_.end() || it->second.loose) return -1;
  const Flow& flow = it->second;
  return flow.half[flow.ends[0] == local ? 0 : 1].ack_seen - 1;
}

const Flow* Observer::by_port(uint16_t port) const {
  const auto it = port_.find(port);
  if (it == port_.end()) return nullptr;
  const auto flow = flows_.find(it->second);
  return flow == flows_.end() ? nullptr : &flow->second;
}

uint64_t Observer::retransmissions() const {
  uint64_t total = 0;
  for (const auto& [key, flow] : flows_) total += flow.half[0].retransmitted + flow.half[1].retransmitted;
  return total;
}

}  // namespace millrace::sim
