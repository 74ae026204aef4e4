#include "drivers/xdp/kernel_interface.h"

#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/descriptor.h"

namespace millrace::drivers::xdp {
namespace {

using runtime::failure;

class Asker {
 public:
  explicit Asker(const std::string& name) : socket_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    std::strncpy(request_.ifr_name, name.c_str(), IFNAMSIZ - 1);
  }
  bool ask(unsigned long what) { return ioctl(socket_.get(), what, &request_) == 0; }
  bool ethtool(void* question) {
    request_.ifr_data = static_cast<char*>(question);
    return ask(SIOCETHTOOL);
  }
  [[nodiscard]] const ifreq& answer() const { return request_; }

 private:
  runtime::Descriptor socket_;
  ifreq request_{};
};

}  // namespace

runtime::Outcome<KernelInterface> look_up(const std::string& name) {
  KernelInterface found;
  found.name = name;
  found.index = name.size() < IFNAMSIZ ? if_nametoindex(name.c_str()) : 0;
  if (found.index == 0) {
    return failure(fmt::format("no network interface {} here", name),
                   fmt::format("ip link shows those of this namespace; for a TAP of that name say --tap {}", name));
  }
  Asker asker(name);
  if (!asker.ask(SIOCGIFHWADDR)) {
    return failure(fmt::format("cannot look at {}: {}", name, std::strerror(errno)));
  }
  if (asker.answer().ifr_hwaddr.sa_family != ARPHRD_ETHER) {
    return failure(fmt::format("{} is no Ethernet interface", name), "AF_XDP needs one: a NIC, veth, a bridge");
  }
  std::array<uint8_t, 6> mac{};
  std::memcpy(mac.data(), asker.answer().ifr_hwaddr.sa_data, mac.size());
  found.mac = MacAddr{mac};
  if (asker.ask(SIOCGIFMTU)) {
    found.mtu = static_cast<uint16_t>(std::clamp(asker.answer().ifr_mtu, 0, 65'535));
  }
  if (asker.ask(SIOCGIFFLAGS)) found.up = (asker.answer().ifr_flags & IFF_UP) != 0;
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  if (asker.ethtool(&info)) found.driver = std::string(info.driver, strnlen(info.driver, sizeof info.driver));
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (asker.ethtool(&channels)) found.queues = std::max(1u, channels.rx_count + channels.combined_count);
  return found;
}

LinkState look_at_link(const KernelInterface& interface) {
  if (if_nametoindex(interface.name.c_str()) != interface.index) return {};
  Asker asker(interface.name);
  return {true, asker.ask(SIOCGIFFLAGS) && (asker.answer().ifr_flags & IFF_RUNNING) != 0};
}

bool leaves_checksums_unfinished(const KernelInterface& interface) {
  return interface.driver == "veth" || interface.driver == "tun" || interface.driver == "virtio_net" ||
         interface.driver == "bridge";
}

}  // namespace millrace::drivers::xdp
