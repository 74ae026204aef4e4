#include "service/codec.h"

#include <algorithm>
#include <cstring>

namespace millrace::service {
namespace {

constexpr uint32_t kLargestBuffer = 64U << 20;
constexpr int64_t kLongest = int64_t{INT32_MAX} * 1'000'000'000;  // what an option of whole seconds can say

enum StreamBit : uint32_t {
  kNoDelay = 1 << 0,
  kKeepalive = 1 << 1,
  kQuickAckGiven = 1 << 2,
  kQuickAck = 1 << 3,
  kStreamV6Only = 1 << 4,
  kCork = 1 << 5,
  kReusePort = 1 << 6,
};

enum DatagramBit : uint32_t {
  kMulticastLoop = 1 << 0,
  kBroadcast = 1 << 1,
  kDatagramV6Only = 1 << 2,
  kReuse = 1 << 3,
  kMerge = 1 << 4,
  kNoChecksum = 1 << 5,
  kZeroChecksum = 1 << 6,
  kErrorQueue = 1 << 7,
};

uint32_t bit(bool on, uint32_t value) { return on ? value : 0; }

Duration time_of(int64_t ns) { return Duration(std::clamp<int64_t>(ns, 0, kLongest)); }

}  // namespace

EndpointWords words_of(const Endpoint& endpoint) {
  EndpointWords words;
  words.addr = endpoint.addr.bytes();
  words.port = endpoint.port;
  return words;
}

Endpoint endpoint_of(const EndpointWords& words) { return {IpAddr(words.addr), words.port}; }

StreamWords words_of(const SocketOptions& o) {
  StreamWords w;
  w.bits = bit(o.no_delay, kNoDelay) | bit(o.keepalive, kKeepalive) | bit(o.quick_ack.has_value(), kQuickAckGiven) |
           bit(o.quick_ack.value_or(false), kQuickAck) | bit(o.v6_only, kStreamV6Only) | bit(o.cork, kCork) |
           bit(o.reuse_port, kReusePort);
  w.send_buffer = o.send_buffer;
  w.receive_buffer = o.receive_buffer;
  w.unsent_low_water = o.unsent_low_water;
  w.fast_open_queue = o.fast_open_queue;
  w.mss = o.mss;
  w.keepalive_probes = o.keepalive_probes;
  w.syn_retries = o.syn_retries;
  w.traffic_class = o.traffic_class;
  w.hop_limit = o.hop_limit;
  const std::string_view controller = o.congestion_control.view();
  std::copy_n(controller.begin(), std::min(controller.size(), w.controller.size() - 1), w.controller.begin());
  w.times_ns = {o.keepalive_idle.ns(), o.keepalive_interval.ns(), o.user_timeout.ns(), o.fin_wait_2.ns(),
                o.defer_accept.ns()};
  w.max_pacing_rate = o.max_pacing_rate;
  w.fast_open_keys = {o.fast_open_key[0], o.fast_open_key[1], o.fast_open_old_key[0], o.fast_open_old_key[1]};
  return w;
}

SocketOptions options_of(const StreamWords& w) {
  SocketOptions o;
  o.no_delay = (w.bits & kNoDelay) != 0;
  o.keepalive = (w.bits & kKeepalive) != 0;
  if ((w.bits & kQuickAckGiven) != 0) o.quick_ack = (w.bits & kQuickAck) != 0;
  o.v6_only = (w.bits & kStreamV6Only) != 0;
  o.cork = (w.bits & kCork) != 0;
  o.reuse_port = (w.bits & kReusePort) != 0;
  o.send_buffer = std::min(w.send_buffer, kLargestBuffer);
  o.receive_buffer = std::min(w.receive_buffer, kLargestBuffer);
  o.unsent_low_water = w.unsent_low_water;
  o.fast_open_queue = w.fast_open_queue;
  o.mss = w.mss;
  o.keepalive_probes = w.keepalive_probes;
  o.syn_retries = w.syn_retries;
  o.traffic_class = w.traffic_class;
  o.hop_limit = w.hop_limit;
  o.congestion_control = std::string_view(w.controller.data(), strnlen(w.controller.data(), w.controller.size()));
  o.keepalive_idle = time_of(w.times_ns[0]);
  o.keepalive_interval = time_of(w.times_ns[1]);
  o.user_timeout = time_of(w.times_ns[2]);
  o.fin_wait_2 = time_of(w.times_ns[3]);
  o.defer_accept = time_of(w.times_ns[4]);
  o.max_pacing_rate = w.max_pacing_rate;
  o.fast_open_key = {w.fast_open_keys[0], w.fast_open_keys[1]};
  o.fast_open_old_key = {w.fast_open_keys[2], w.fast_open_keys[3]};
  return o;
}

DatagramWords words_of(const DatagramOptions& o) {
  DatagramWords w;
  w.bits = bit(o.multicast_loop, kMulticastLoop) | bit(o.broadcast, kBroadcast) | bit(o.v6_only, kDatagramV6Only) |
           bit(o.reuse, kReuse) | bit(o.merge, kMerge) | bit(o.no_checksum, kNoChecksum) |
           bit(o.zero_checksum_v6, kZeroChecksum) | bit(o.error_queue, kErrorQueue);
  w.send_buffer = o.send_buffer;
  w.receive_buffer = o.receive_buffer;
  w.multicast_interface = static_cast<uint16_t>(o.multicast_interface);
  w.hop_limit = o.hop_limit;
  w.traffic_class = o.traffic_class;
  w.multicast_hop_limit = o.multicast_hop_limit;
  w.path_mtu = static_cast<uint8_t>(o.path_mtu);
  return w;
}

DatagramOptions options_of(const DatagramWords& w) {
  DatagramOptions o;
  o.multicast_loop = (w.bits & kMulticastLoop) != 0;
  o.broadcast = (w.bits & kBroadcast) != 0;
  o.v6_only = (w.bits & kDatagramV6Only) != 0;
  o.reuse = (w.bits & kReuse) != 0;
  o.merge = (w.bits & kMerge) != 0;
  o.no_checksum = (w.bits & kNoChecksum) != 0;
  o.zero_checksum_v6 = (w.bits & kZeroChecksum) != 0;
  o.error_queue = (w.bits & kErrorQueue) != 0;
  o.send_buffer = std::min(w.send_buffer, kLargestBuffer);
  o.receive_buffer = std::min(w.receive_buffer, kLargestBuffer);
  o.multicast_interface = static_cast<IfIndex>(w.multicast_interface);
  o.hop_limit = w.hop_limit;
  o.traffic_class = w.traffic_class;
  o.multicast_hop_limit = w.multicast_hop_limit;
  o.path_mtu = static_cast<PathMtu>(std::min<uint8_t>(w.path_mtu, static_cast<uint8_t>(PathMtu::kProbe)));
  return o;
}

}  // namespace millrace::service
