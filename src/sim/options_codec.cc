// Written as one runs after the other; a new option goes to the end, before the switches.
#include "sim/options_codec.h"

namespace millrace::sim {

void put(Writer& out, const SocketOptions& o) {
  out.u8(o.no_delay);
  out.u8(o.keepalive);
  out.u64(o.send_buffer);
  out.u64(o.receive_buffer);
  out.u64(o.mss);
  out.fixed(static_cast<uint64_t>(o.keepalive_idle.ns()));
  out.fixed(static_cast<uint64_t>(o.keepalive_interval.ns()));
  out.u8(o.keepalive_probes);
  out.string(std::string(o.congestion_control.view()));
  out.u8(o.syn_retries);
  out.fixed(static_cast<uint64_t>(o.user_timeout.ns()));
  out.fixed(static_cast<uint64_t>(o.fin_wait_2.ns()));
  out.u64(o.fast_open_queue);
  for (const uint64_t word : o.fast_open_key) out.fixed(word);
  for (const uint64_t word : o.fast_open_old_key) out.fixed(word);
  out.u64(o.max_pacing_rate);
  out.u64(o.unsent_low_water);
  out.u8(o.traffic_class);
  out.u8(o.hop_limit);
  out.fixed(static_cast<uint64_t>(o.defer_accept.ns()));
  out.u8(static_cast<uint8_t>(o.cork | o.quick_ack.has_value() << 1 | o.quick_ack.value_or(false) << 2 |
                              o.v6_only << 3 | o.reuse_port << 4));
}
SocketOptions get_options(Reader& in) {
  SocketOptions o;
  o.no_delay = in.u8() != 0;
  o.keepalive = in.u8() != 0;
  o.send_buffer = static_cast<uint32_t>(in.u64());
  o.receive_buffer = static_cast<uint32_t>(in.u64());
  o.mss = static_cast<uint16_t>(in.u64());
  o.keepalive_idle = Duration(static_cast<int64_t>(in.fixed()));
  o.keepalive_interval = Duration(static_cast<int64_t>(in.fixed()));
  o.keepalive_probes = in.u8();
  o.congestion_control = ControllerName(in.string());
  o.syn_retries = in.u8();
  o.user_timeout = Duration(static_cast<int64_t>(in.fixed()));
  o.fin_wait_2 = Duration(static_cast<int64_t>(in.fixed()));
  o.fast_open_queue = static_cast<uint32_t>(in.u64());
  for (uint64_t& word : o.fast_open_key) word = in.fixed();
  for (uint64_t& word : o.fast_open_old_key) word = in.fixed();
  o.max_pacing_rate = in.u64();
  o.unsent_low_water = static_cast<uint32_t>(in.u64());
  o.traffic_class = in.u8();
  o.hop_limit = in.u8();
  o.defer_accept = Duration(static_cast<int64_t>(in.fixed()));
  const uint8_t bits = in.u8();
  o.cork = (bits & 1) != 0;
  o.v6_only = (bits & 8) != 0;
  o.reuse_port = (bits & 16) != 0;
  if ((bits & 2) != 0) o.quick_ack = (bits & 4) != 0;
  return o;
}

}  // namespace millrace::sim
