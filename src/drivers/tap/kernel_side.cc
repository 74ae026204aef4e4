#include "drivers/tap/kernel_side.h"

#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "runtime/descriptor.h"

namespace millrace::drivers::tap {
namespace {

using runtime::Descriptor;
using runtime::failure;
using runtime::Outcome;

struct AddressRequest {
  nlmsghdr head{};
  ifaddrmsg body{};
  std::array<std::byte, 128> attributes{};
};

void add_attribute(AddressRequest& request, uint16_t type, const void* data, size_t bytes) {
  auto* at = reinterpret_cast<std::byte*>(&request) + NLMSG_ALIGN(request.head.nlmsg_len);
  rtattr attribute{};
  attribute.rta_type = type;
  attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(bytes));
  std::memcpy(at, &attribute, sizeof attribute);
  std::memcpy(at + RTA_LENGTH(0), data, bytes);
  request.head.nlmsg_len = static_cast<uint32_t>(NLMSG_ALIGN(request.head.nlmsg_len) + RTA_SPACE(bytes));
}

// 0 or the errno of the kernel's answer.
int add_address(int netlink, unsigned index, const Prefix& prefix) {
  const bool v4 = prefix.addr.is_v4();
  AddressRequest request;
  request.head.nlmsg_len = NLMSG_LENGTH(sizeof(ifaddrmsg));
  request.head.nlmsg_type = RTM_NEWADDR;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
  request.body.ifa_family = v4 ? AF_INET : AF_INET6;
  request.body.ifa_prefixlen = prefix.length;
  request.body.ifa_flags = v4 ? 0 : IFA_F_NODAD;
  request.body.ifa_index = index;
  const auto& bytes = prefix.addr.bytes();
  const uint8_t* address = v4 ? bytes.data() + 12 : bytes.data();
  const size_t length = v4 ? 4 : 16;
  add_attribute(request, IFA_LOCAL, address, length);
  add_attribute(request, IFA_ADDRESS, address, length);
  if (send(netlink, &request, request.head.nlmsg_len, 0) < 0) return errno;
  alignas(nlmsghdr) std::array<std::byte, 4096> answer;
  const ssize_t n = recv(netlink, answer.data(), answer.size(), 0);
  if (n < 0) return errno;
  const auto* head = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (!NLMSG_OK(head, static_cast<size_t>(n)) || head->nlmsg_type != NLMSG_ERROR) return EPROTO;
  return -static_cast<const nlmsgerr*>(NLMSG_DATA(head))->error;
}

bool no_ipv6(int error) { return error == EACCES || error == EOPNOTSUPP || error == EAFNOSUPPORT; }

ifreq named(const std::string& name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  return request;
}

}  // namespace

Outcome<void> configure_kernel_side(const std::string& name, uint16_t mtu, std::span<const Prefix> addresses) {
  const Descriptor control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const Descriptor netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  const unsigned index = if_nametoindex(name.c_str());
  if (!control || !netlink || index == 0) {
    return failure(fmt::format("cannot configure the kernel's side of {}: {}", name, std::strerror(errno)));
  }
  ifreq request = named(name);
  request.ifr_mtu = mtu;
  if (ioctl(control.get(), SIOCSIFMTU, &request) != 0) {
    return failure(fmt::format("cannot set the MTU of {} to {}: {}", name, mtu, std::strerror(errno)));
  }
  for (const Prefix& prefix : addresses) {
    const int error = add_address(netlink.get(), index, prefix);
    if (error == 0) continue;
    if (prefix.addr.is_v6() && no_ipv6(error)) {
      fmt::print(stderr, "{}: the kernel has IPv6 off here; its side goes without {}\n", name, prefix.to_string());
      continue;
    }
    return failure(fmt::format("cannot give the kernel's side of {} the address {}: {}", name, prefix.to_string(),
                               std::strerror(error)),
                   "choose another with kernel_address=..., or leave the kernel's side alone with kernel_address=none");
  }
  request = named(name);
  if (ioctl(control.get(), SIOCGIFFLAGS, &request) != 0) {
    return failure(fmt::format("cannot read the flags of {}: {}", name, std::strerror(errno)));
  }
  request.ifr_flags |= IFF_UP;
  if (ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) {
    return failure(fmt::format("cannot bring {} up: {}", name, std::strerror(errno)));
  }
  return {};
}

}  // namespace millrace::drivers::tap
