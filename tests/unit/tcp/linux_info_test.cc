// TcpInfo against the kernel's own header.
#include "tcp/linux_info.h"

#include <gtest/gtest.h>
#include <linux/tcp.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace millrace::tcp {
namespace {

#define SAME(ours, theirs)                                                                     \
  static_assert(offsetof(TcpInfo, ours) == offsetof(tcp_info, tcpi_##theirs), "another place"); \
  static_assert(sizeof(TcpInfo::ours) == sizeof(tcp_info::tcpi_##theirs), "another size")
SAME(state, state);
SAME(ca_state, ca_state);
SAME(retransmits, retransmits);
SAME(probes, probes);
SAME(backoff, backoff);
SAME(options, options);
SAME(rto, rto);
SAME(ato, ato);
SAME(snd_mss, snd_mss);
SAME(rcv_mss, rcv_mss);
SAME(unacked, unacked);
SAME(sacked, sacked);
SAME(lost, lost);
SAME(retrans, retrans);
SAME(fackets, fackets);
SAME(last_data_sent_ms, last_data_sent);
SAME(last_ack_sent_ms, last_ack_sent);
SAME(last_data_recv_ms, last_data_recv);
SAME(last_ack_recv_ms, last_ack_recv);
SAME(pmtu, pmtu);
SAME(rcv_ssthresh, rcv_ssthresh);
SAME(rtt, rtt);
SAME(rttvar, rttvar);
SAME(snd_ssthresh, snd_ssthresh);
SAME(snd_cwnd, snd_cwnd);
SAME(advmss, advmss);
SAME(reordering, reordering);
SAME(rcv_rtt, rcv_rtt);
SAME(rcv_space, rcv_space);
SAME(total_retrans, total_retrans);
SAME(pacing_rate, pacing_rate);
SAME(max_pacing_rate, max_pacing_rate);
SAME(bytes_acked, bytes_acked);
SAME(bytes_received, bytes_received);
SAME(segs_out, segs_out);
SAME(segs_in, segs_in);
SAME(notsent_bytes, notsent_bytes);
SAME(min_rtt, min_rtt);
SAME(data_segs_in, data_segs_in);
SAME(data_segs_out, data_segs_out);
SAME(delivery_rate, delivery_rate);
SAME(busy_time, busy_time);
SAME(rwnd_limited, rwnd_limited);
SAME(sndbuf_limited, sndbuf_limited);
SAME(delivered, delivered);
SAME(delivered_ce, delivered_ce);
SAME(bytes_sent, bytes_sent);
SAME(bytes_retrans, bytes_retrans);
SAME(dsack_dups, dsack_dups);
SAME(reord_seen, reord_seen);
SAME(rcv_ooopack, rcv_ooopack);
SAME(snd_wnd, snd_wnd);
static_assert(sizeof(TcpInfo) <= sizeof(tcp_info) || sizeof(TcpInfo) == 232);

TEST(LinuxInfoTest, BitFieldsLieWhereTheKernelHasThem) {
  Info i;
  i.full = true;
  i.state = State::kEstablished;
  i.send_scale = 7;
  i.receive_scale = 9;
  i.delivery_app_limited = true;
  i.syn_data_fail = 3;
  const TcpInfo ours = linux_info(i, Instant());
  tcp_info theirs{};
  std::memcpy(&theirs, &ours, std::min(sizeof ours, sizeof theirs));
  EXPECT_EQ(theirs.tcpi_state, 1);
  EXPECT_EQ(theirs.tcpi_snd_wscale, 7);
  EXPECT_EQ(theirs.tcpi_rcv_wscale, 9);
  EXPECT_EQ(theirs.tcpi_delivery_rate_app_limited, 1);
  EXPECT_EQ(theirs.tcpi_fastopen_client_fail, 3);
}

TEST(LinuxInfoTest, OptionsAndStatesAreLinuxs) {
  Info i;
  i.full = true;
  i.timestamps = i.sack = i.window_scaling = i.ecn = i.syn_data = true;
  i.recovery = "fast";
  EXPECT_EQ(linux_info(i, Instant()).options,
            TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE | TCPI_OPT_ECN | TCPI_OPT_SYN_DATA);
  EXPECT_EQ(linux_info(i, Instant()).ca_state, TCP_CA_Recovery);
  i.recovery = "disorder";
  EXPECT_EQ(linux_info(i, Instant()).ca_state, TCP_CA_Disorder);
  i.recovery = "loss";
  EXPECT_EQ(linux_info(i, Instant()).ca_state, TCP_CA_Loss);
}

TEST(LinuxInfoTest, WindowsAreInSegmentsAndTimersApart) {
  Info i;
  i.full = true;
  i.mss = 1'000;
  i.cwnd = 10'500;
  i.ssthresh = 7'000;
  i.lost = 2'001;
  i.timeouts = i.backoff = 2;
  TcpInfo o = linux_info(i, Instant());
  EXPECT_EQ(o.snd_cwnd, 10U);
  EXPECT_EQ(o.snd_ssthresh, 7U);
  EXPECT_EQ(o.lost, 3U);
  EXPECT_EQ(o.retransmits, 2);
  EXPECT_EQ(o.probes, 0);
  i.timer = "persist";
  o = linux_info(i, Instant());
  EXPECT_EQ(o.retransmits, 0);
  EXPECT_EQ(o.probes, 2);
}

}  // namespace
}  // namespace millrace::tcp
