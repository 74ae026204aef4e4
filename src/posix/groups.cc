// Groups of datagram sockets: memberships, also of single sources (RFC 3678 3 to 5), and where groups are sent to. All
// of it is the worker's; the kernel, which would hear the groups too, is not told. Filters that exclude sources
// (IP_BLOCK_SOURCE, MCAST_BLOCK_SOURCE, IP_MSFILTER, MCAST_MSFILTER) are refused.
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "posix/convert.h"
#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr size_t kMostJoins = 64;  // of a socket that the worker does not know yet

// No interface has the last number.
IfIndex index_of(int64_t number) {
  return static_cast<IfIndex>(number < 0 || number > UINT16_MAX ? UINT16_MAX : number);
}

template <class T>
T as(const void* value, socklen_t length) {
  T result{};
  std::memcpy(&result, value, std::min<size_t>(length, sizeof result));
  return result;
}

IpAddr v4_of(in_addr address) { return IpAddr::v4(ntohl(address.s_addr)); }

IpAddr v6_of(const in6_addr& address) {
  std::array<uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &address, bytes.size());
  return IpAddr(bytes);
}

// Nothing if it is no address of the level's family.
std::optional<IpAddr> address_of(const sockaddr_storage& storage, int level) {
  Endpoint endpoint;
  const int family = level == IPPROTO_IP ? AF_INET : AF_INET6;
  if (read_address(reinterpret_cast<const sockaddr*>(&storage), sizeof storage, family, endpoint) != 0) return {};
  return endpoint.addr;
}

// An option of this kind, before its interface was looked at.
struct Asked {
  req::JoinGroup group{};
  IpAddr from{};  // an address of the interface
  bool join = true;
};

enum class Kind : uint8_t { kNone, kPlain, kSource, kGeneric, kGenericSource, kRefused };

Kind kind_of(int level, int name, bool& join) {
  switch (name) {
    case MCAST_JOIN_GROUP: join = true; return Kind::kGeneric;
    case MCAST_LEAVE_GROUP: join = false; return Kind::kGeneric;
    case MCAST_JOIN_SOURCE_GROUP: join = true; return Kind::kGenericSource;
    case MCAST_LEAVE_SOURCE_GROUP: join = false; return Kind::kGenericSource;
    case MCAST_BLOCK_SOURCE:
    case MCAST_UNBLOCK_SOURCE:
    case MCAST_MSFILTER: return Kind::kRefused;
    default: break;
  }
  if (level == IPPROTO_IPV6) {
    join = name == IPV6_JOIN_GROUP;
    return join || name == IPV6_LEAVE_GROUP ? Kind::kPlain : Kind::kNone;
  }
  join = name == IP_ADD_MEMBERSHIP || name == IP_ADD_SOURCE_MEMBERSHIP;
  switch (name) {
    case IP_ADD_MEMBERSHIP:
    case IP_DROP_MEMBERSHIP: return Kind::kPlain;
    case IP_ADD_SOURCE_MEMBERSHIP:
    case IP_DROP_SOURCE_MEMBERSHIP: return Kind::kSource;
    case IP_BLOCK_SOURCE:
    case IP_UNBLOCK_SOURCE:
    case IP_MSFILTER: return Kind::kRefused;
    default: return Kind::kNone;
  }
}

long read_plain(int level, const void* value, socklen_t length, Asked& asked) {
  if (level == IPPROTO_IPV6) {
    if (length < sizeof(ipv6_mreq)) return -EINVAL;
    const auto wanted = as<ipv6_mreq>(value, length);
    asked.group.group = v6_of(wanted.ipv6mr_multiaddr);
    asked.group.interface = index_of(wanted.ipv6mr_interface);
    return 0;
  }
  if (length < sizeof(ip_mreq)) return -EINVAL;
  const auto wanted = as<ip_mreqn>(value, length);
  asked.group.group = v4_of(wanted.imr_multiaddr);
  asked.group.interface = index_of(wanted.imr_ifindex);
  asked.from = v4_of(wanted.imr_address);
  return 0;
}

long read_option(Kind kind, int level, const void* value, socklen_t length, Asked& asked) {
  if (kind == Kind::kPlain) return read_plain(level, value, length, asked);
  if (kind == Kind::kSource) {
    if (length != sizeof(ip_mreq_source)) return -EINVAL;
    const auto wanted = as<ip_mreq_source>(value, length);
    asked.group.group = v4_of(wanted.imr_multiaddr);
    asked.group.source = v4_of(wanted.imr_sourceaddr);
    asked.from = v4_of(wanted.imr_interface);
    return 0;
  }
  const bool sourced = kind == Kind::kGenericSource;
  if (length < (sourced ? sizeof(group_source_req) : sizeof(group_req))) return -EINVAL;
  const auto wanted = as<group_source_req>(value, sourced ? length : 0);
  const auto plain = as<group_req>(value, sourced ? 0 : length);
  const auto group = address_of(sourced ? wanted.gsr_group : plain.gr_group, level);
  if (!group) return -EINVAL;
  asked.group.group = *group;
  asked.group.interface = index_of(sourced ? wanted.gsr_interface : plain.gr_interface);
  if (!sourced) return 0;
  const auto source = address_of(wanted.gsr_source, level);
  if (!source) return -EADDRNOTAVAIL;
  asked.group.source = *source;
  return 0;
}

// The interface that a number or an address names; kNone if neither does. Nothing: there is no such interface.
std::optional<IfIndex> interface_of(std::span<const InterfaceRow> rows, IfIndex index, const IpAddr& from) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const InterfaceRow& r) {
    if (index != IfIndex::kNone) return r.index == static_cast<uint16_t>(index);
    return r.has_address() && r.address() == from;
  });
  if (found != rows.end()) return static_cast<IfIndex>(found->index);
  if (index == IfIndex::kNone && from.is_unspecified()) return IfIndex::kNone;
  return std::nullopt;
}

}  // namespace

long Stack::change_group(Datagram& socket, const req::JoinGroup& wanted, bool join) {
  const auto same = [&](const req::JoinGroup& j) {
    return j.group == wanted.group && j.interface == wanted.interface && j.source == wanted.source;
  };
  if (!socket.handle.valid()) {
    const bool known = std::any_of(socket.joins.begin(), socket.joins.end(), same);
    if (!join) return std::erase_if(socket.joins, same) != 0 ? 0 : -EADDRNOTAVAIL;
    if (known) return wanted.source.is_unspecified() ? -EADDRINUSE : -EADDRNOTAVAIL;
    if (socket.joins.size() == kMostJoins) return -ENOBUFS;
    socket.joins.push_back(wanted);
    return 0;
  }
  const auto done =
      join ? transport_->request(req::JoinGroup{socket.handle, wanted.group, wanted.interface, wanted.source})
           : transport_->request(req::LeaveGroup{socket.handle, wanted.group, wanted.interface, wanted.source});
  flush();
  if (done) return 0;
  switch (done.error()) {
    case Error::kAlreadyExists: return wanted.source.is_unspecified() ? -EADDRINUSE : -EADDRNOTAVAIL;
    case Error::kNotFound: return -EADDRNOTAVAIL;
    case Error::kTooMany: return -ENOBUFS;
    default: return -errno_of(done.error());
  }
}

std::optional<long> Stack::set_group(Datagram& socket, int level, int name, const void* value, socklen_t length) {
  Asked asked;
  const Kind kind = kind_of(level, name, asked.join);
  if (kind == Kind::kNone) return std::nullopt;
  if (kind == Kind::kRefused) return -EOPNOTSUPP;
  if (value == nullptr) return -EFAULT;
  if (const long bad = read_option(kind, level, value, length, asked); bad < 0) return bad;
  if (!asked.group.group.is_multicast()) return -EINVAL;
  const auto interface = interface_of(transport_->interfaces(), asked.group.interface, asked.from);
  if (!interface) return -ENODEV;
  asked.group.interface = *interface;
  return change_group(socket, asked.group, asked.join);
}

// IP_MULTICAST_IF and IPV6_MULTICAST_IF.
std::optional<long> Stack::set_group_interface(Datagram& socket, int level, int name, const void* value,
                                               socklen_t length) {
  const bool v4 = level == IPPROTO_IP;
  if (v4 ? name != IP_MULTICAST_IF : level != IPPROTO_IPV6 || name != IPV6_MULTICAST_IF) return std::nullopt;
  if (length < sizeof(int)) return -EINVAL;
  if (value == nullptr) return -EFAULT;
  auto index = IfIndex::kNone;
  IpAddr from = IpAddr::any_v4();
  if (!v4) {
    index = index_of(as<int>(value, length));
  } else if (length >= sizeof(ip_mreq)) {
    const auto wanted = as<ip_mreqn>(value, length);
    index = index_of(wanted.imr_ifindex);
    from = v4_of(wanted.imr_address);
  } else {
    from = v4_of(as<in_addr>(value, length));
  }
  const auto interface = interface_of(transport_->interfaces(), index, from);
  if (!interface) return v4 ? -EADDRNOTAVAIL : -ENODEV;
  socket.options.multicast_interface = *interface;
  socket.multicast_from = v4 ? from.v4_value() : 0;
  if (socket.handle.valid()) {
    (void)transport_->request(req::SetDatagramOptions{socket.handle, socket.options});
  }
  return 0;
}

std::optional<int> Stack::group_option(const Datagram& socket, int level, int name) const {
  if (level == IPPROTO_IP && name == IP_MULTICAST_IF) return static_cast<int>(htonl(socket.multicast_from));
  if (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF) return static_cast<int>(socket.options.multicast_interface);
  return std::nullopt;
}

}  // namespace millrace::posix
