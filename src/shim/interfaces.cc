// The interfaces that a program sees: the stack's, once it can be had. What is returned is memory as libc's own
// functions make it, so that libc's freeifaddrs() and if_freenameindex() are right for it.
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "shim/next.h"

namespace millrace::shim {
namespace {

using posix::InterfaceRow;

// Empty: libc's answer is the right one.
std::vector<InterfaceRow> rows() {
  posix::Stack* stack = the_stack.load(std::memory_order_relaxed);
  if (stack == nullptr || posix::inside != 0) return {};
  return stack->interfaces();
}

// An entry of getifaddrs() with all that it points to.
struct Entry {
  ifaddrs head{};
  char name[IF_NAMESIZE] = {};
  sockaddr_storage address{};
  sockaddr_storage mask{};
  sockaddr_storage broadcast{};
  rtnl_link_stats statistics{};  // zeros
};

sockaddr* of(sockaddr_storage& place) { return reinterpret_cast<sockaddr*>(&place); }

void put_v4(sockaddr_storage& place, uint32_t address) {
  auto& in = reinterpret_cast<sockaddr_in&>(place);
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(address);
}

void put_v6_mask(sockaddr_storage& place, unsigned length) {
  auto& in = reinterpret_cast<sockaddr_in6&>(place);
  in.sin6_family = AF_INET6;
  for (unsigned i = 0; i < 128 && i < length; ++i) {
    in.sin6_addr.s6_addr[i / 8] = static_cast<uint8_t>(in.sin6_addr.s6_addr[i / 8] | 0x80U >> (i % 8));
  }
}

void begin_entry(Entry& e, const InterfaceRow& row) {
  std::memcpy(e.name, row.name.data(), sizeof e.name);
  e.head.ifa_name = e.name;
  e.head.ifa_flags = row.flags();
  e.head.ifa_addr = of(e.address);
}

void fill_link(Entry& e, const InterfaceRow& row) {
  begin_entry(e, row);
  const auto put = [&row](sockaddr_storage& place, uint8_t every) {
    auto& link = reinterpret_cast<sockaddr_ll&>(place);
    link.sll_family = AF_PACKET;
    link.sll_ifindex = row.index;
    link.sll_hatype = (row.bits & InterfaceRow::kLoopback) != 0 ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
    link.sll_halen = static_cast<unsigned char>(row.mac.size());
    std::fill_n(link.sll_addr, row.mac.size(), every);
  };
  put(e.address, 0);
  std::copy(row.mac.begin(), row.mac.end(), reinterpret_cast<sockaddr_ll&>(e.address).sll_addr);
  put(e.broadcast, (row.bits & InterfaceRow::kLoopback) != 0 ? 0x00 : 0xff);
  e.head.ifa_broadaddr = of(e.broadcast);
  e.head.ifa_data = &e.statistics;
}

void fill_address(Entry& e, const InterfaceRow& row) {
  begin_entry(e, row);
  e.head.ifa_netmask = of(e.mask);
  const IpAddr address = row.address();
  if (address.is_v4()) {
    const uint32_t mask = posix::v4_mask(row.length);
    put_v4(e.address, address.v4_value());
    put_v4(e.mask, mask);
    put_v4(e.broadcast, (row.flags() & IFF_BROADCAST) != 0 ? address.v4_value() | ~mask : address.v4_value());
    e.head.ifa_broadaddr = of(e.broadcast);
    return;
  }
  auto& in = reinterpret_cast<sockaddr_in6&>(e.address);
  in.sin6_family = AF_INET6;
  std::memcpy(&in.sin6_addr, row.addr.data(), row.addr.size());
  if (address.is_link_local()) in.sin6_scope_id = row.index;
  put_v6_mask(e.mask, row.length);
}

// The first row of each interface.
std::vector<InterfaceRow> one_each(std::vector<InterfaceRow> all) {
  all.erase(std::unique(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.index == b.index; }),
            all.end());
  return all;
}

}  // namespace

MILLRACE_EXPORT(int, getifaddrs, (ifaddrs * *result)) {
  const auto all = rows();
  if (all.empty()) return libcs<int(ifaddrs**)>("getifaddrs")(result);
  const auto links = one_each(all);
  const auto with_address =
      static_cast<size_t>(std::count_if(all.begin(), all.end(), [](const InterfaceRow& r) { return r.has_address(); }));
  const size_t count = links.size() + with_address;
  auto* entries = static_cast<Entry*>(calloc(count, sizeof(Entry)));
  if (entries == nullptr) return -1;
  size_t n = 0;
  for (const InterfaceRow& row : links) fill_link(entries[n++], row);
  for (const bool v4 : {true, false}) {
    for (const InterfaceRow& row : all) {
      if (row.has_address() && row.address().is_v4() == v4) fill_address(entries[n++], row);
    }
  }
  for (size_t i = 0; i + 1 < count; ++i) entries[i].head.ifa_next = &entries[i + 1].head;
  *result = &entries[0].head;
  return 0;
}

MILLRACE_EXPORT(unsigned, if_nametoindex, (const char* name)) {
  const auto all = rows();
  if (all.empty()) return libcs<unsigned(const char*)>("if_nametoindex")(name);
  for (const InterfaceRow& row : all) {
    if (std::strncmp(row.name.data(), name, row.name.size()) == 0) return row.index;
  }
  errno = ENODEV;
  return 0;
}

MILLRACE_EXPORT(char*, if_indextoname, (unsigned index, char* name)) {
  const auto all = rows();
  if (all.empty()) return libcs<char*(unsigned, char*)>("if_indextoname")(index, name);
  for (const InterfaceRow& row : all) {
    if (row.index == index) return static_cast<char*>(std::memcpy(name, row.name.data(), row.name.size()));
  }
  errno = ENXIO;
  return nullptr;
}

MILLRACE_EXPORT(struct if_nameindex*, if_nameindex, ()) {
  const auto all = one_each(rows());
  if (all.empty()) return libcs<struct if_nameindex*()>("if_nameindex")();
  auto* list = static_cast<struct if_nameindex*>(calloc(all.size() + 1, sizeof(struct if_nameindex)));
  if (list == nullptr) return nullptr;
  for (size_t i = 0; i < all.size(); ++i) {
    list[i].if_index = all[i].index;
    list[i].if_name = strdup(all[i].name.data());
    if (list[i].if_name == nullptr) {
      if_freenameindex(list);
      return nullptr;
    }
  }
  return list;
}

// libc writes the kernel's name of the scope's number behind the address.
MILLRACE_EXPORT(int, getnameinfo,
                (const sockaddr* address, socklen_t length, char* host, socklen_t host_room, char* service,
                 socklen_t service_room, int flags)) {
  static auto* const libc =
      libcs<int(const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int)>("getnameinfo");
  const int result = libc(address, length, host, host_room, service, service_room, flags);
  if (result != 0 || host == nullptr || host_room == 0 || length < sizeof(sockaddr_in6)) return result;
  sockaddr_in6 in{};
  std::memcpy(&in, address, sizeof in);
  char* mark = std::strchr(host, '%');
  char name[IF_NAMESIZE] = {};
  if (in.sin6_family != AF_INET6 || in.sin6_scope_id == 0 || mark == nullptr) return result;
  if (shim_if_indextoname(in.sin6_scope_id, name) == nullptr) return result;
  const auto left = static_cast<size_t>(host + host_room - (mark + 1));
  if (std::strlen(name) >= left) return EAI_OVERFLOW;
  std::memcpy(mark + 1, name, std::strlen(name) + 1);
  return 0;
}

}  // namespace millrace::shim
