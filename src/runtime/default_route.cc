// Which interfaces of the kernel carry a default route: asked over rtnetlink, in this process's network namespace.
#include <fmt/format.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "runtime/descriptor.h"
#include "runtime/device.h"

namespace millrace::runtime {
namespace {

// The outgoing interfaces of one default route, several next hops included.
void collect(const nlmsghdr* head, std::vector<unsigned>& into) {
  const auto* route = static_cast<const rtmsg*>(NLMSG_DATA(head));
  if (route->rtm_dst_len != 0 || route->rtm_type != RTN_UNICAST) return;
  auto length = static_cast<int>(RTM_PAYLOAD(head));
  for (const rtattr* a = RTM_RTA(route); RTA_OK(a, length); a = RTA_NEXT(a, length)) {
    if (a->rta_type == RTA_OIF) {
      unsigned index = 0;
      std::memcpy(&index, RTA_DATA(a), sizeof index);
      into.push_back(index);
    } else if (a->rta_type == RTA_MULTIPATH) {
      const auto* hop = static_cast<const rtnexthop*>(RTA_DATA(a));
      auto left = static_cast<int>(RTA_PAYLOAD(a));
      while (left >= static_cast<int>(sizeof *hop) && RTNH_OK(hop, left)) {
        into.push_back(static_cast<unsigned>(hop->rtnh_ifindex));
        left -= static_cast<int>(RTNH_ALIGN(hop->rtnh_len));
        hop = RTNH_NEXT(hop);
      }
    }
  }
}

std::vector<unsigned> default_route_interfaces(uint8_t family) {
  std::vector<unsigned> found;
  const Descriptor netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  struct {
    nlmsghdr head{};
    rtmsg body{};
  } request;
  request.head.nlmsg_len = NLMSG_LENGTH(sizeof(rtmsg));
  request.head.nlmsg_type = RTM_GETROUTE;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.rtm_family = family;
  if (!netlink || send(netlink.get(), &request, request.head.nlmsg_len, 0) < 0) return found;
  alignas(nlmsghdr) std::array<std::byte, 32'768> buffer;
  for (;;) {
    const ssize_t n = recv(netlink.get(), buffer.data(), buffer.size(), 0);
    if (n <= 0) return found;
    auto left = static_cast<unsigned>(n);
    for (const auto* head = reinterpret_cast<const nlmsghdr*>(buffer.data()); NLMSG_OK(head, left);
         head = NLMSG_NEXT(head, left)) {
      if (head->nlmsg_type == NLMSG_DONE || head->nlmsg_type == NLMSG_ERROR) return found;
      if (head->nlmsg_type == RTM_NEWROUTE) collect(head, found);
    }
  }
}

}  // namespace

Outcome<void> refuse_default_route(const std::string& kernel_interface, bool force) {
  if (force) return {};
  const unsigned index = if_nametoindex(kernel_interface.c_str());
  if (index == 0) return {};
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    for (const unsigned other : default_route_interfaces(family)) {
      if (other != index) continue;
      return failure(fmt::format("{} carries this machine's default route; taking it over would cut the machine off",
                                 kernel_interface),
                     "choose another interface, or say --force if that is what you want");
    }
  }
  return {};
}

}  // namespace millrace::runtime
