#include "tcp/linux_info.h"

#include <algorithm>
#include <string_view>

namespace millrace::tcp {
namespace {

// Linux's numbers (tcp(7), include/net/tcp_states.h).
uint8_t linux_state(State state) {
  switch (state) {
    case State::kEstablished: return 1;
    case State::kSynSent: return 2;
    case State::kSynReceived: return 3;
    case State::kFinWait1: return 4;
    case State::kFinWait2: return 5;
    case State::kTimeWait: return 6;
    case State::kClosed: return 7;
    case State::kCloseWait: return 8;
    case State::kLastAck: return 9;
    case State::kListen: return 10;
    case State::kClosing: return 11;
  }
  return 7;
}

uint8_t linux_ca_state(std::string_view recovery) {
  if (recovery == "disorder") return 1;
  if (recovery == "fast") return 3;
  return recovery == "loss" ? 4 : 0;
}

uint32_t segments(uint64_t bytes, uint32_t mss) {
  return mss == 0 ? 0 : static_cast<uint32_t>((bytes + mss - 1) / mss);
}

}  // namespace

TcpInfo linux_info(const Info& i, Instant now) {
  TcpInfo o;
  o.state = linux_state(i.state);
  if (!i.full) return o;
  const bool probing = std::string_view(i.timer) == "persist";
  o.ca_state = linux_ca_state(i.recovery);
  (probing ? o.probes : o.retransmits) = static_cast<uint8_t>(std::min(i.timeouts, 255u));
  o.backoff = static_cast<uint8_t>(std::min(probing ? i.timeouts : i.backoff, 255u));
  o.options = static_cast<uint8_t>((i.timestamps ? TcpInfo::kTimestamps : 0) | (i.sack ? TcpInfo::kSack : 0) |
                                   (i.window_scaling ? TcpInfo::kWindowScale : 0) | (i.ecn ? TcpInfo::kEcn : 0) |
                                   (i.syn_data ? TcpInfo::kSynData : 0));
  o.snd_wscale = i.send_scale & 0xf;
  o.rcv_wscale = i.receive_scale & 0xf;
  o.delivery_rate_app_limited = i.delivery_app_limited ? 1 : 0;
  o.fastopen_client_fail = i.syn_data_fail & 3;
  o.rto = i.rto_us;
  o.ato = i.delayed_ack_us;
  o.snd_mss = i.mss;
  o.rcv_mss = i.receive_mss;
  o.unacked = i.segments_out;
  o.sacked = segments(i.sacked, i.mss);
  o.lost = segments(i.lost, i.mss);
  o.retrans = i.segments_again;
  const auto now_ms = static_cast<uint32_t>(static_cast<uint64_t>(now.ns()) / 1'000'000);
  o.last_data_recv_ms = o.last_ack_recv_ms = now_ms - i.last_receive_ms;
  o.pmtu = i.path_mtu;
  o.rcv_ssthresh = i.receive_limit;
  o.rtt = i.srtt_us;
  o.rttvar = i.rttvar_us;
  o.snd_ssthresh = i.ssthresh == UINT32_MAX ? INT32_MAX : i.ssthresh / std::max(i.mss, 1u);
  o.snd_cwnd = i.cwnd / std::max(i.mss, 1u);
  o.advmss = i.advertised_mss;
  o.reordering = 3;
  o.rcv_rtt = i.receive_rtt_us;
  o.rcv_space = i.receive_limit;
  o.total_retrans = i.retransmits;
  o.pacing_rate = i.pacing_rate != 0 ? i.pacing_rate : UINT64_MAX;
  o.max_pacing_rate = i.max_pacing_rate != 0 ? i.max_pacing_rate : UINT64_MAX;
  o.bytes_acked = i.bytes_acked;
  if (i.counted) {
    const FlowCounts& f = i.counts;
    const auto us = [](int64_t ns) { return static_cast<uint64_t>(ns) / 1'000; };
    o.last_data_sent_ms = now_ms - f.data_sent_ms;
    o.bytes_acked = f.bytes_acked;
    o.bytes_received = f.bytes_received;
    o.segs_out = f.segments_out;
    o.segs_in = f.segments_in;
    o.data_segs_in = f.data_segments_in;
    o.data_segs_out = f.data_segments_out;
    o.busy_time = us(f.busy_ns);
    o.rwnd_limited = us(f.window_ns);
    o.sndbuf_limited = us(f.buffer_ns);
    o.bytes_sent = f.bytes_sent;
    o.bytes_retrans = f.bytes_again;
    o.dsack_dups = f.dsacks;
    o.rcv_ooopack = f.out_of_order;
  }
  o.notsent_bytes = i.unsent;
  o.min_rtt = i.min_rtt_us != 0 ? i.min_rtt_us : UINT32_MAX;
  o.delivery_rate = i.delivery_rate;
  o.delivered = segments(i.delivered, i.mss);
  o.reord_seen = i.reordering ? 1 : 0;
  o.snd_wnd = i.send_window;
  return o;
}

}  // namespace millrace::tcp
