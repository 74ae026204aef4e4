#include "drivers/dpdk/kernel_socket.h"

#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <vector>

namespace millrace::drivers::dpdk {
namespace {

bool receives_from(int fd, int domain, unsigned interface) {
  int found = 0;
  socklen_t bytes = sizeof found;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &found, &bytes) != 0 || found != domain) return false;
  if (domain == AF_PACKET) {
    sockaddr_ll address{};
    bytes = sizeof address;
    return getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) == 0 &&
           static_cast<unsigned>(address.sll_ifindex) == interface;
  }
  // The kernel does not say which interface an AF_XDP socket is bound to; it is ours if it has a receive ring.
  xdp_mmap_offsets offsets{};
  bytes = sizeof offsets;
  return getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &bytes) == 0;
}

}  // namespace

int kernel_receive_socket(const DeviceSpec& spec, uint16_t queue, uint16_t queues) {
  const bool xdp = spec.kind == "net_af_xdp";
  const std::string name = spec.kernel_interface();
  if (name.empty()) return -1;
  const unsigned interface = if_nametoindex(name.c_str());
  std::vector<int> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string number = entry.path().filename().string();
    int fd = -1;
    std::from_chars(number.data(), number.data() + number.size(), fd);
    if (fd >= 0 && receives_from(fd, xdp ? AF_XDP : AF_PACKET, interface)) found.push_back(fd);
  }
  if (found.size() < queues || (xdp && found.size() != queues)) return -1;  // AF_XDP: ports cannot be told apart
  std::sort(found.begin(), found.end());
  return found[found.size() - queues + queue];
}

}  // namespace millrace::drivers::dpdk
