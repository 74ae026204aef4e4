#include "tcp_info.h"

#include <string_view>

namespace millrace::packetdrill {
namespace {

// Linux's numbers of the states (tcp(7), include/net/tcp_states.h).
uint8_t linux_state(tcp::State state) {
  switch (state) {
    case tcp::State::kEstablished: return 1;
    case tcp::State::kSynSent: return 2;
    case tcp::State::kSynReceived: return 3;
    case tcp::State::kFinWait1: return 4;
    case tcp::State::kFinWait2: return 5;
    case tcp::State::kTimeWait: return 6;
    case tcp::State::kClosed: return 7;
    case tcp::State::kCloseWait: return 8;
    case tcp::State::kLastAck: return 9;
    case tcp::State::kListen: return 10;
    case tcp::State::kClosing: return 11;
  }
  return 7;
}

uint8_t linux_ca_state(std::string_view recovery) {
  if (recovery == "fast") return TCP_CA_Recovery;
  if (recovery == "loss") return TCP_CA_Loss;
  return TCP_CA_Open;
}

uint32_t segments(uint32_t bytes, uint32_t mss) { return mss == 0 ? 0 : (bytes + mss - 1) / mss; }

}  // namespace

::tcp_info linux_tcp_info(const tcp::Info& i, bool listener) {
  ::tcp_info o{};
  o.tcpi_state = listener ? linux_state(tcp::State::kListen) : linux_state(i.state);
  if (!i.full) return o;
  o.tcpi_ca_state = linux_ca_state(i.recovery);
  o.tcpi_retransmits = static_cast<uint8_t>(i.timeouts);
  if (i.timestamps) o.tcpi_options |= TCPI_OPT_TIMESTAMPS;
  if (i.sack) o.tcpi_options |= TCPI_OPT_SACK;
  if (i.window_scaling) o.tcpi_options |= TCPI_OPT_WSCALE;
  o.tcpi_snd_wscale = i.send_scale;
  o.tcpi_rcv_wscale = i.receive_scale;
  o.tcpi_rto = i.rto_us;
  o.tcpi_snd_mss = i.mss;
  o.tcpi_rcv_mss = i.receive_mss;
  o.tcpi_unacked = i.segments_out;
  o.tcpi_sacked = segments(i.sacked, i.mss);
  o.tcpi_lost = segments(i.lost, i.mss);
  o.tcpi_rtt = i.srtt_us;
  o.tcpi_rttvar = i.rttvar_us;
  o.tcpi_snd_ssthresh = i.ssthresh == UINT32_MAX ? INT32_MAX : i.ssthresh / (i.mss == 0 ? 1 : i.mss);
  o.tcpi_snd_cwnd = i.mss == 0 ? 0 : i.cwnd / i.mss;
  o.tcpi_advmss = i.advertised_mss;
  o.tcpi_reordering = 3;
  o.tcpi_rcv_space = i.receive_limit;
  o.tcpi_total_retrans = i.retransmits;
  o.tcpi_notsent_bytes = i.unsent;
  return o;
}

}  // namespace millrace::packetdrill
