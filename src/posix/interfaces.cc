#include "posix/interfaces.h"

#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "ip/ip.h"

namespace millrace::posix {
namespace {

constexpr int kQueueLength = 1'000;  // frames, as Linux's devices start

std::string_view name_of(const InterfaceRow& row) { return row.name.data(); }

void put_v4(sockaddr& out, uint32_t address) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(address);
  std::memcpy(&out, &in, sizeof in);
}

// SIOCGIFCONF: IPv4 addresses only, as many as there is room for.
long list_addresses(std::span<const InterfaceRow> rows, ifconf& list) {
  if (list.ifc_buf != nullptr && list.ifc_len < 0) return -EINVAL;
  size_t used = 0;
  for (const InterfaceRow& row : rows) {
    if (!row.has_address() || !row.address().is_v4()) continue;
    if (list.ifc_buf != nullptr) {
      if (used + sizeof(ifreq) > static_cast<size_t>(list.ifc_len)) break;
      ifreq entry{};
      std::memcpy(entry.ifr_name, row.name.data(), sizeof entry.ifr_name);
      put_v4(entry.ifr_addr, row.address().v4_value());
      std::memcpy(list.ifc_buf + used, &entry, sizeof entry);
    }
    used += sizeof(ifreq);
  }
  list.ifc_len = static_cast<int>(used);
  return 0;
}

// What depends on an IPv4 address of the interface: the first.
long tell_address(std::span<const InterfaceRow> rows, std::string_view name, unsigned long request, sockaddr& out) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const InterfaceRow& r) {
    return name_of(r) == name && r.has_address() && r.address().is_v4();
  });
  if (found == rows.end()) return -EADDRNOTAVAIL;
  const uint32_t address = found->address().v4_value();
  const uint32_t mask = v4_mask(found->length);
  switch (request) {
    case SIOCGIFNETMASK: put_v4(out, mask); break;
    case SIOCGIFBRDADDR: put_v4(out, (found->flags() & IFF_BROADCAST) != 0 ? address | ~mask : 0); break;
    default: put_v4(out, address);
  }
  return 0;
}

void tell_hardware(const InterfaceRow& row, sockaddr& out) {
  out = {};
  out.sa_family = (row.bits & InterfaceRow::kLoopback) != 0 ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
  std::memcpy(out.sa_data, row.mac.data(), row.mac.size());
}

}  // namespace

unsigned InterfaceRow::flags() const {
  const bool loopback = (bits & kLoopback) != 0;
  const unsigned kind = loopback ? unsigned{IFF_LOOPBACK} : unsigned{IFF_BROADCAST} | unsigned{IFF_MULTICAST};
  return kind | ((bits & kUp) != 0 ? unsigned{IFF_UP} | unsigned{IFF_RUNNING} : 0U);
}

uint32_t v4_mask(uint8_t length) { return length == 0 ? 0 : ~uint32_t{0} << (32 - std::min<uint32_t>(length, 32)); }

std::vector<InterfaceRow> interface_rows(const ip::Ip& ip) {
  std::vector<InterfaceRow> rows;
  const auto addresses = ip.addresses();
  for (size_t i = 1; i <= ip.interface_count(); ++i) {
    const auto index = static_cast<IfIndex>(i);
    const link::NetifConfig& netif = ip.interface(index);
    InterfaceRow row;
    netif.name.copy(row.name.data(), row.name.size() - 1);
    row.mtu = ip.limits(index).mtu;
    row.index = static_cast<uint16_t>(i);
    if (ip.is_up(index)) row.bits |= InterfaceRow::kUp;
    if (netif.kind == link::LinkKind::kLoopback) row.bits |= InterfaceRow::kLoopback;
    row.mac = netif.mac.bytes;
    const size_t before = rows.size();
    for (const auto& a : addresses) {
      if (a.interface != index) continue;
      rows.push_back(row);
      rows.back().length = a.prefix.length;
      rows.back().addr = a.prefix.addr.bytes();
    }
    if (rows.size() == before) rows.push_back(row);
  }
  return rows;
}

bool asks_for_interface(int family, unsigned long request) {
  switch (request) {
    case SIOCGIFADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFBRDADDR:
    case SIOCGIFDSTADDR: return family == AF_INET;
    case SIOCGIFCONF:
    case SIOCGIFFLAGS:
    case SIOCGIFMTU:
    case SIOCGIFHWADDR:
    case SIOCGIFINDEX:
    case SIOCGIFNAME:
    case SIOCGIFMETRIC:
    case SIOCGIFTXQLEN: return true;
    default: return false;
  }
}

std::optional<long> interface_ioctl(std::span<const InterfaceRow> rows, int family, unsigned long request,
                                    void* value) {
  if (!asks_for_interface(family, request)) return std::nullopt;
  if (value == nullptr) return -EFAULT;
  if (request == SIOCGIFCONF) return list_addresses(rows, *static_cast<ifconf*>(value));
  ifreq& asked = *static_cast<ifreq*>(value);
  if (request == SIOCGIFNAME) {
    const auto found =
        std::find_if(rows.begin(), rows.end(), [&](const InterfaceRow& r) { return r.index == asked.ifr_ifindex; });
    if (found == rows.end()) return -ENODEV;
    std::memcpy(asked.ifr_name, found->name.data(), sizeof asked.ifr_name);
    return 0;
  }
  const std::string_view name(asked.ifr_name, strnlen(asked.ifr_name, sizeof asked.ifr_name));
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const InterfaceRow& r) { return name_of(r) == name; });
  if (found == rows.end()) return -ENODEV;
  switch (request) {
    case SIOCGIFFLAGS: asked.ifr_flags = static_cast<short>(found->flags()); return 0;
    case SIOCGIFMTU: asked.ifr_mtu = static_cast<int>(found->mtu); return 0;
    case SIOCGIFHWADDR: tell_hardware(*found, asked.ifr_hwaddr); return 0;
    case SIOCGIFINDEX: asked.ifr_ifindex = found->index; return 0;
    case SIOCGIFMETRIC: asked.ifr_metric = 0; return 0;
    case SIOCGIFTXQLEN: asked.ifr_qlen = kQueueLength; return 0;
    default: return tell_address(rows, name, request, asked.ifr_addr);
  }
}

}  // namespace millrace::posix
