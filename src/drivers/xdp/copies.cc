#include "drivers/xdp/copies.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "drivers/xdp/umem.h"

namespace millrace::drivers::xdp {
namespace {

using runtime::Descriptor;
using runtime::failure;
using runtime::Failure;
using runtime::Outcome;

constexpr int kReceiveBuffer = 4 << 20;
constexpr uint32_t kAll = UINT32_MAX;
constexpr uint32_t kTagged = static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT);
// Offsets in an Ethernet frame.
constexpr uint32_t kArpOperation = 20, kArpSender = 28, kArpTarget = 38;
constexpr uint32_t kIp4 = 14, kIp4Fragment = 20, kIp4Protocol = 23;
constexpr uint32_t kIp6Next = 20, kIcmp6Type = 54;

constexpr uint16_t kLoadByte = BPF_LD | BPF_B | BPF_ABS;
constexpr uint16_t kLoadHalf = BPF_LD | BPF_H | BPF_ABS;
constexpr uint16_t kLoadWord = BPF_LD | BPF_W | BPF_ABS;
constexpr uint16_t kIfEqual = BPF_JMP | BPF_JEQ | BPF_K;
constexpr uint16_t kIfBits = BPF_JMP | BPF_JSET | BPF_K;
constexpr uint16_t kReturn = BPF_RET | BPF_K;

using Program = std::vector<sock_filter>;

sock_filter step(uint16_t code, uint32_t k, uint8_t if_true = 0, uint8_t if_false = 0) {
  return {code, if_true, if_false, k};
}

// Replies, and announcements: sender and target are the same.
Program arp_program() {
  return {step(kLoadWord, kTagged),
          step(kIfEqual, 0, 0, 6),
          step(kLoadHalf, kArpOperation),
          step(kIfEqual, 2, 5, 0),
          step(kLoadWord, kArpSender),
          step(BPF_MISC | BPF_TAX, 0),
          step(kLoadWord, kArpTarget),
          step(BPF_JMP | BPF_JEQ | BPF_X, 0, 1, 0),
          step(kReturn, 0),
          step(kReturn, kAll)};
}

// Group and broadcast frames, and what a DHCP server sends to an address that we do not have yet.
Program ip4_program() {
  return {step(kLoadWord, kTagged),
          step(kIfEqual, 0, 0, 9),
          step(kLoadByte, 0),
          step(kIfBits, 1, 8, 0),
          step(kLoadByte, kIp4Protocol),
          step(kIfEqual, IPPROTO_UDP, 0, 5),
          step(kLoadHalf, kIp4Fragment),
          step(kIfBits, 0x1fff, 3, 0),
          step(BPF_LDX | BPF_B | BPF_MSH, kIp4),
          step(BPF_LD | BPF_H | BPF_IND, kIp4 + 2),
          step(kIfEqual, 68, 1, 0),
          step(kReturn, 0),
          step(kReturn, kAll)};
}

// Group frames. In port mode the kernel answers solicitations, and advertisements to its address may be meant for us.
Program ip6_program(bool by_port) {
  if (!by_port) {
    return {step(kLoadWord, kTagged), step(kIfEqual, 0, 0, 2), step(kLoadByte, 0),
            step(kIfBits, 1, 1, 0),   step(kReturn, 0),        step(kReturn, kAll)};
  }
  return {step(kLoadWord, kTagged),    step(kIfEqual, 0, 0, 7),
          step(kLoadByte, kIp6Next),   step(kIfEqual, IPPROTO_ICMPV6, 0, 3),
          step(kLoadByte, kIcmp6Type), step(kIfEqual, 136, 4, 0),
          step(kIfEqual, 135, 2, 0),   step(kLoadByte, 0),
          step(kIfBits, 1, 1, 0),      step(kReturn, 0),
          step(kReturn, kAll)};
}

Outcome<Descriptor> open_socket(const KernelInterface& interface, uint16_t protocol, Program program) {
  Descriptor fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));  // deaf until it is bound
  const auto problem = [&] {
    return failure(fmt::format("cannot open a packet socket on {}: {}", interface.name, std::strerror(errno)),
                   "run as root, or give the program CAP_NET_RAW");
  };
  if (!fd) return problem();
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) return problem();
  const int yes = 1;
  setsockopt(fd.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer);
  sockaddr_ll where{};
  where.sll_family = AF_PACKET;
  where.sll_protocol = htons(protocol);
  where.sll_ifindex = static_cast<int>(interface.index);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&where), sizeof where) != 0) return problem();
  return fd;
}

/// RFC 1112 6.4, RFC 2464 7; for a unicast IPv6 address that of its solicited-node group (RFC 4291 2.7.1).
MacAddr group_mac(const IpAddr& address) {
  const auto& b = address.bytes();
  if (address.is_v4()) return {{0x01, 0x00, 0x5e, static_cast<uint8_t>(b[13] & 0x7f), b[14], b[15]}};
  if (address.is_multicast()) return {{0x33, 0x33, b[12], b[13], b[14], b[15]}};
  return {{0x33, 0x33, 0xff, b[13], b[14], b[15]}};
}

}  // namespace

Outcome<Copies> Copies::open(const KernelInterface& interface, const MacAddr& mac, bool by_port) {
  Copies copies(interface.index);
  const std::array<uint16_t, 3> protocols{ETH_P_ARP, ETH_P_IP, ETH_P_IPV6};
  const std::array<Program, 3> programs{arp_program(), ip4_program(), ip6_program(by_port)};
  for (size_t i = 0; i < protocols.size(); ++i) {
    auto fd = open_socket(interface, protocols[i], programs[i]);
    if (!fd) return tl::unexpected<Failure>(fd.error());
    copies.sockets_[i] = std::move(*fd);
  }
  if (mac != interface.mac) copies.change_membership(mac, PACKET_MR_UNICAST, true);
  return copies;
}

size_t Copies::receive(std::span<pkt::Packet*> out, pkt::PacketCache& cache) {
  size_t count = 0;
  for (const Descriptor& socket : sockets_) {
    while (count < out.size()) {
      pkt::Packet* p = cache.frame();
      if (p == nullptr) return count;
      const ssize_t n = recv(socket.get(), p->data(), p->tailroom(), MSG_TRUNC);
      if (n <= 0 || n > p->tailroom()) {
        cache.free(p);
        if (n <= 0) break;
        continue;
      }
      p->append(static_cast<uint16_t>(n));
      out[count++] = p;
    }
  }
  return count;
}

void Copies::set_addresses(std::span<const IpAddr> addresses) {
  std::vector<MacAddr> wanted;
  for (const IpAddr& address : addresses) {
    if (address.is_v4() && !address.is_multicast()) continue;
    const MacAddr mac = group_mac(address);
    if (std::find(wanted.begin(), wanted.end(), mac) == wanted.end()) wanted.push_back(mac);
  }
  for (const MacAddr& mac : wanted) {
    if (std::find(groups_.begin(), groups_.end(), mac) == groups_.end()) {
      change_membership(mac, PACKET_MR_MULTICAST, true);
    }
  }
  for (const MacAddr& mac : groups_) {
    if (std::find(wanted.begin(), wanted.end(), mac) == wanted.end()) {
      change_membership(mac, PACKET_MR_MULTICAST, false);
    }
  }
  groups_ = std::move(wanted);
}

void Copies::change_membership(const MacAddr& mac, unsigned short kind, bool add) {
  packet_mreq request{};
  request.mr_ifindex = static_cast<int>(interface_);
  request.mr_type = kind;
  request.mr_alen = static_cast<unsigned short>(mac.bytes.size());
  std::copy(mac.bytes.begin(), mac.bytes.end(), request.mr_address);
  setsockopt(sockets_[0].get(), SOL_PACKET, add ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP, &request,
             sizeof request);
}

}  // namespace millrace::drivers::xdp
