// What the kernel gets and the stack needs too: copies of group and broadcast frames (router advertisements, DHCP, IGMP
// queries, multicast), of ARP that is not about us alone, and, in port mode, of neighbour advertisements. An XDP
// program cannot clone a frame, so it passes these on and packet sockets bring copies. The sockets also make the NIC
// accept the MAC addresses of the stack's groups; both end with the process.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "drivers/xdp/kernel_interface.h"
#include "pkt/pool.h"
#include "runtime/descriptor.h"
#include "runtime/failure.h"

namespace millrace::drivers::xdp {

class Copies {
 public:
  /// `mac`: the stack's, which the NIC must accept too if it is not the interface's own.
  static runtime::Outcome<Copies> open(const KernelInterface& interface, const MacAddr& mac, bool by_port);

  /// Frames that wait, at most out.size(). Costs a system call a frame and one for finding none.
  size_t receive(std::span<pkt::Packet*> out, pkt::PacketCache& cache);
  /// The stack's addresses and groups: lets the NIC accept what is sent to the groups and the solicited-node groups.
  void set_addresses(std::span<const IpAddr> addresses);
  /// Readable when frames wait.
  [[nodiscard]] std::array<int, 3> fds() const { return {sockets_[0].get(), sockets_[1].get(), sockets_[2].get()}; }

 private:
  explicit Copies(unsigned interface) : interface_(interface) {}
  void change_membership(const MacAddr& mac, unsigned short kind, bool add);

  unsigned interface_;
  std::array<runtime::Descriptor, 3> sockets_;  // ARP, IPv4, IPv6
  std::vector<MacAddr> groups_;
};

}  // namespace millrace::drivers::xdp
