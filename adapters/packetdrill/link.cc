#include "link.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace millrace::packetdrill {
namespace {

constexpr size_t kFrames = 4'096;
constexpr size_t kEthernet = 14;
constexpr MacAddr kOurs{{0x02, 0, 0, 0, 0, 0x01}};
constexpr MacAddr kGateway{{0x02, 0, 0, 0, 0, 0x02}};

// Something on the link of `prefix` that is not the address itself.
IpAddr neighbour_of(const Prefix& prefix) {
  std::array<uint8_t, 16> bytes = prefix.addr.bytes();
  bytes[15] ^= 0x03;
  return IpAddr(bytes);
}

// TCP, and ICMP messages that are not about the link.
bool is_for_the_peer(std::span<const std::byte> datagram) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(datagram[i]); };
  if (datagram.size() >= 20 && at(0) >> 4 == 4) return at(9) == 6 || at(9) == 1 || at(9) == 17;
  if (datagram.size() < 41 || at(0) >> 4 != 6) return false;
  return at(6) == 6 || at(6) == 17 || (at(6) == 58 && at(40) < 130);
}

}  // namespace

Link::Link() : frames_(kFrames), references_(kFrames, 0), packets_(frames_, references_) {}

bool Link::attach(stack::Worker& worker, const Flags& flags, Instant now) {
  worker_ = &worker;
  link::NetifConfig config;
  config.name = "pd0";
  config.mac = kOurs;
  config.limits.mtu = flags.mtu;
  const auto added = worker.add_interface(config);
  if (!added) return false;
  interface_ = *added;
  for (const Prefix& prefix : {Prefix{flags.local_v4, flags.plen_v4}, Prefix{flags.local_v6, flags.plen_v6}}) {
    const IpAddr gateway = neighbour_of(prefix);
    const Prefix all{prefix.addr.is_v4() ? IpAddr::any_v4() : IpAddr(), 0};
    if (!worker.request(req::AddAddress{interface_, prefix}, now) ||
        !worker.request(req::AddNeighbour{interface_, gateway, kGateway}, now) ||
        !worker.request(req::AddRoute{all, interface_, gateway}, now)) {
      return false;
    }
  }
  collect(now);
  return true;
}

bool Link::deliver(std::span<const std::byte> datagram, Instant now) {
  if (datagram.empty()) return false;
  const auto version = static_cast<uint8_t>(datagram[0]) >> 4;
  if (version != 4 && version != 6) return false;
  std::array<std::byte, kEthernet> header;
  std::memcpy(header.data(), kOurs.bytes.data(), 6);
  std::memcpy(header.data() + 6, kGateway.bytes.data(), 6);
  const uint16_t type = version == 4 ? 0x0800 : 0x86dd;
  header[12] = static_cast<std::byte>(type >> 8);
  header[13] = static_cast<std::byte>(type & 0xff);
  pkt::Packet* p = packets_.frame();
  if (p == nullptr) return false;
  std::memcpy(p->append(kEthernet), header.data(), kEthernet);
  for (pkt::Packet* last = p; !datagram.empty();) {  // what does not fit one buffer goes on in the next
    const size_t n = std::min<size_t>(datagram.size(), last->tailroom());
    std::memcpy(last->append(static_cast<uint16_t>(n)), datagram.data(), n);
    if (last != p) p->total += static_cast<uint32_t>(n);
    datagram = datagram.subspan(n);
    if (datagram.empty()) break;
    last->next = packets_.frame();
    if (last->next == nullptr) {
      packets_.free(p);
      return false;
    }
    last = last->next;
    ++p->segs;
  }
  worker_->input(interface_, {&p, 1}, now);
  return true;
}

void Link::keep(const pkt::Packet& frame, Instant now) {
  if (frame.total <= kEthernet) return;
  Sent sent{std::vector<std::byte>(frame.total - kEthernet), now};
  pkt::copy_out(frame, kEthernet, sent.bytes);
  if (is_for_the_peer(sent.bytes)) sent_.push_back(std::move(sent));
}

void Link::collect(Instant now) {
  std::array<pkt::Packet*, 64> out;
  for (;;) {
    const size_t n = worker_->output(interface_, out, now);
    for (size_t i = 0; i < n; ++i) {
      keep(*out[i], now);
      packets_.free(out[i]);
    }
    if (n < out.size()) return;
  }
}

}  // namespace millrace::packetdrill
