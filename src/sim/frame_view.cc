#include "sim/frame_view.h"

#include <algorithm>
#include <cstring>

#include "sim/text.h"

namespace millrace::sim {
namespace {

constexpr size_t kEth = 14;
constexpr uint8_t kTcp = 6;

IpAddr v6_at(const uint8_t* p) {
  std::array<uint8_t, 16> bytes;
  std::memcpy(bytes.data(), p, 16);
  return IpAddr(bytes);
}

bool parse_options(std::span<const uint8_t> options, TcpView& view) {
  size_t at = 0;
  while (at < options.size()) {
    const uint8_t kind = options[at];
    if (kind == 0) break;
    if (kind == 1) {
      ++at;
      continue;
    }
    if (at + 2 > options.size()) return false;
    const size_t length = options[at + 1];
    if (length < 2 || at + length > options.size()) return false;
    const uint8_t* p = options.data() + at + 2;
    if (kind == 2 && length == 4) view.mss = load16(p);
    if (kind == 3 && length == 3) view.wscale = p[0];
    if (kind == 4 && length == 2) view.sack_permitted = true;
    if (kind == 8 && length == 10) {
      view.has_timestamp = true;
      view.tsval = load32(p);
      view.tsecr = load32(p + 4);
    }
    if (kind == 5) {
      if (length < 10 || (length - 2) % 8 != 0 || length > 34) return false;
      for (size_t i = 0; i < (length - 2) / 8; ++i) {
        view.sack[view.sack_count++] = {load32(p + 8 * i), load32(p + 8 * i + 4)};
      }
    }
    at += length;
  }
  return true;
}

// Finds the IP packet's end and transport header; false if the frame's lengths contradict each other.
struct IpShape {
  bool v6 = false;
  size_t l4 = 0;
  size_t end = 0;
  uint8_t protocol = 0;
};
std::optional<IpShape> shape_of(std::span<const uint8_t> frame) {
  if (frame.size() < kEth + 20) return std::nullopt;
  IpShape shape;
  const uint8_t* ip = frame.data() + kEth;
  const uint16_t type = load16(frame.data() + 12);
  if (type == kEthIpv4) {
    const size_t header = size_t{ip[0] & 15u} * 4;
    if (ip[0] >> 4 != 4 || header < 20) return std::nullopt;
    shape.l4 = kEth + header;
    shape.end = kEth + load16(ip + 2);
    shape.protocol = ip[9];
    if ((load16(ip + 6) & 0x3fff) != 0) return std::nullopt;  // a fragment
  } else if (type == kEthIpv6) {
    if (frame.size() < kEth + 40 || ip[0] >> 4 != 6) return std::nullopt;
    shape.v6 = true;
    shape.l4 = kEth + 40;
    shape.end = shape.l4 + load16(ip + 4);
    shape.protocol = ip[6];
  } else {
    return std::nullopt;
  }
  if (shape.end < shape.l4 || shape.end > frame.size()) return std::nullopt;
  return shape;
}

}  // namespace

uint16_t ones_sum(std::span<const uint8_t> data, uint32_t sum) {
  uint64_t total = sum;
  size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, data.data() + i, 8);
    word = __builtin_bswap64(word);
    total += (word >> 48) + ((word >> 32) & 0xffff) + ((word >> 16) & 0xffff) + (word & 0xffff);
  }
  for (; i + 1 < data.size(); i += 2) total += load16(data.data() + i);
  if (i < data.size()) total += static_cast<uint32_t>(data[i]) << 8;
  while (total >> 16 != 0) total = (total & 0xffff) + (total >> 16);
  return static_cast<uint16_t>(total);
}

uint16_t pseudo_sum(const uint8_t* ip, bool v6, uint8_t protocol, uint32_t l4_len) {
  const uint32_t rest = uint32_t{protocol} + (l4_len & 0xffff) + (l4_len >> 16);
  return v6 ? ones_sum({ip + 8, 32}, rest) : ones_sum({ip + 12, 8}, rest);
}

std::optional<TcpView> parse_tcp(std::span<const uint8_t> frame) {
  const auto shape = shape_of(frame);
  if (!shape || shape->protocol != kTcp || shape->l4 + 20 > shape->end) return std::nullopt;
  const uint8_t* ip = frame.data() + kEth;
  const uint8_t* tcp = frame.data() + shape->l4;
  TcpView view;
  view.v6 = shape->v6;
  view.source = view.v6 ? v6_at(ip + 8) : IpAddr::v4(load32(ip + 12));
  view.destination = view.v6 ? v6_at(ip + 24) : IpAddr::v4(load32(ip + 16));
  view.source_port = load16(tcp);
  view.destination_port = load16(tcp + 2);
  view.seq = load32(tcp + 4);
  view.ack = load32(tcp + 8);
  view.reserved = tcp[12] & 15;
  view.flags = tcp[13];
  view.window = load16(tcp + 14);
  const size_t header = size_t{tcp[12]} >> 4 << 2;
  if (header < 20 || shape->l4 + header > shape->end) return std::nullopt;
  view.l4 = shape->l4;
  view.option_bytes = header - 20;
  view.payload = shape->l4 + header;
  view.payload_len = shape->end - view.payload;
  if (!parse_options(frame.subspan(shape->l4 + 20, view.option_bytes), view)) return std::nullopt;
  return view;
}

std::string check_ip_frame(std::span<const uint8_t> frame) {
  if (frame.size() < kEth) return "frame shorter than an Ethernet header";
  const uint16_t type = load16(frame.data() + 12);
  if (type != kEthIpv4 && type != kEthIpv6) return {};
  const bool v4 = type == kEthIpv4 && frame.size() >= kEth + 20;
  if (v4 && (load16(frame.data() + kEth + 6) & 0x3fff) != 0) {
    // Of a fragment only the header can be judged: the checksum behind it is the whole datagram's.
    const size_t header = size_t{frame[kEth] & 15u} * 4;
    if (kEth + header > frame.size() || kEth + load16(frame.data() + kEth + 2) > frame.size()) return "a cut fragment";
    return ones_sum(frame.subspan(kEth, header)) == 0xffff ? "" : "wrong IPv4 header checksum";
  }
  const auto shape = shape_of(frame);
  if (!shape) return "IP header lengths do not fit the frame";
  const uint8_t* ip = frame.data() + kEth;
  if (!shape->v6 && ones_sum({ip, shape->l4 - kEth}) != 0xffff) return "wrong IPv4 header checksum";
  const std::span<const uint8_t> l4 = frame.subspan(shape->l4, shape->end - shape->l4);
  uint32_t start = 0;
  if (!shape->v6 && shape->protocol == 1) {
    start = 0;  // ICMP has no pseudo header
  } else if (shape->protocol == kTcp || shape->protocol == 58 || shape->protocol == 17) {
    start = pseudo_sum(ip, shape->v6, shape->protocol, static_cast<uint32_t>(l4.size()));
  } else {
    return {};
  }
  if (ones_sum(l4, start) != 0xffff) return text("wrong checksum of protocol ", int{shape->protocol});
  return {};
}

Bytes build_tcp(const TcpSpec& spec) {
  const bool v6 = spec.source.addr.is_v6();
  const size_t ip_len = v6 ? 40 : 20;
  const size_t l4_len = 20 + spec.options.size() + spec.payload.size();
  Bytes frame(kEth + ip_len + l4_len);
  std::copy(spec.destination_mac.bytes.begin(), spec.destination_mac.bytes.end(), frame.begin());
  std::copy(spec.source_mac.bytes.begin(), spec.source_mac.bytes.end(), frame.begin() + 6);
  store16(&frame[12], v6 ? kEthIpv6 : kEthIpv4);
  uint8_t* ip = &frame[kEth];
  if (v6) {
    ip[0] = 0x60;
    store16(ip + 4, static_cast<uint16_t>(l4_len));
    ip[6] = kTcp;
    ip[7] = 64;
    std::memcpy(ip + 8, spec.source.addr.bytes().data(), 16);
    std::memcpy(ip + 24, spec.destination.addr.bytes().data(), 16);
  } else {
    ip[0] = 0x45;
    store16(ip + 2, static_cast<uint16_t>(ip_len + l4_len));
    store16(ip + 6, 0x4000);
    ip[8] = 64;
    ip[9] = kTcp;
    store32(ip + 12, spec.source.addr.v4_value());
    store32(ip + 16, spec.destination.addr.v4_value());
    store16(ip + 10, static_cast<uint16_t>(~ones_sum({ip, 20})));
  }
  uint8_t* tcp = ip + ip_len;
  store16(tcp, spec.source.port);
  store16(tcp + 2, spec.destination.port);
  store32(tcp + 4, spec.seq);
  store32(tcp + 8, spec.ack);
  tcp[12] = static_cast<uint8_t>((20 + spec.options.size()) / 4 << 4);
  tcp[13] = spec.flags;
  store16(tcp + 14, spec.window);
  std::copy(spec.options.begin(), spec.options.end(), tcp + 20);
  std::copy(spec.payload.begin(), spec.payload.end(), tcp + 20 + spec.options.size());
  const uint16_t pseudo = pseudo_sum(ip, v6, kTcp, static_cast<uint32_t>(l4_len));
  store16(tcp + 16, static_cast<uint16_t>(~ones_sum({tcp, l4_len}, pseudo)));
  return frame;
}

Bytes timestamp_option(uint32_t tsval, uint32_t tsecr) {
  Bytes option(12);
  option[0] = option[1] = 1;
  option[2] = 8;
  option[3] = 10;
  store32(&option[4], tsval);
  store32(&option[8], tsecr);
  return option;
}

std::string describe_tcp(const TcpView& v) {
  std::string flags;
  constexpr const char* kNames = "FSRPAUEC";
  for (int i = 0; i < 8; ++i) {
    if ((v.flags >> i & 1) != 0) flags += kNames[i];
  }
  std::string out = text(Endpoint{v.source, v.source_port}.to_string(), " > ",
                         Endpoint{v.destination, v.destination_port}.to_string(), " [", flags, "] seq ", v.seq, " ack ",
                         v.ack, " win ", v.window, " len ", v.payload_len);
  if (v.has_timestamp) out += text(" ts ", v.tsval, "/", v.tsecr);
  for (int i = 0; i < v.sack_count; ++i) out += text(" sack ", v.sack[i].left, "-", v.sack[i].right);
  return out;
}

}  // namespace millrace::sim
