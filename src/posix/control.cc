#include "posix/control.h"

#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "posix/convert.h"

namespace millrace::posix {
namespace {

in_addr v4_of(const IpAddr& address) { return {htonl(address.is_v4() ? address.v4_value() : 0)}; }

in6_addr v6_of(const IpAddr& address) {
  in6_addr out{};
  std::memcpy(&out, address.bytes().data(), sizeof out);
  return out;
}

// The wall clock's idea of an instant.
timespec wall_time(Instant when) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t ns = now.tv_sec * 1'000'000'000 + now.tv_nsec - std::max<int64_t>(0, (monotonic_now() - when).ns());
  return {ns / 1'000'000'000, ns % 1'000'000'000};
}

// The ICMP message that says so.
void name_icmp(sock_extended_err& e, const DatagramError& error, bool v6) {
  e.ee_origin = v6 ? SO_EE_ORIGIN_ICMP6 : SO_EE_ORIGIN_ICMP;
  e.ee_type = v6 ? ICMP6_DST_UNREACH : ICMP_DEST_UNREACH;
  if (error.expired) {
    e.ee_type = v6 ? ICMP6_TIME_EXCEEDED : ICMP_TIME_EXCEEDED;
    return;
  }
  switch (static_cast<Error>(error.error)) {
    case Error::kConnectionRefused: e.ee_code = v6 ? ICMP6_DST_UNREACH_NOPORT : ICMP_PORT_UNREACH; break;
    case Error::kNetUnreachable: e.ee_code = v6 ? ICMP6_DST_UNREACH_NOROUTE : ICMP_NET_UNREACH; break;
    case Error::kTooBig:
      e.ee_type = v6 ? ICMP6_PACKET_TOO_BIG : ICMP_DEST_UNREACH;
      e.ee_code = v6 ? 0 : ICMP_FRAG_NEEDED;
      e.ee_info = error.mtu;
      break;
    default: e.ee_code = v6 ? ICMP6_DST_UNREACH_ADDR : ICMP_HOST_UNREACH;
  }
}

struct Asked {
  const std::byte* data;
  size_t bytes;
  [[nodiscard]] bool is(size_t n) const { return bytes == n; }
  template <class T>
  [[nodiscard]] T as() const {
    T value{};
    std::memcpy(&value, data, sizeof value);
    return value;
  }
};

long read_v4(int type, const Asked& a, Message& m) {
  int value = 0;
  switch (type) {
    case IP_PKTINFO:
      if (!a.is(sizeof(in_pktinfo))) return -EINVAL;
      if (const auto info = a.as<in_pktinfo>(); info.ipi_spec_dst.s_addr != 0 || info.ipi_ifindex != 0) {
        if (info.ipi_spec_dst.s_addr != 0) m.local = IpAddr::v4(ntohl(info.ipi_spec_dst.s_addr));
        m.interface = static_cast<IfIndex>(info.ipi_ifindex);
      }
      return 0;
    case IP_TTL:
      if (!a.is(sizeof(int))) return -EINVAL;
      value = a.as<int>();
      if (value < 1 || value > 255) return -EINVAL;
      m.hop_limit = static_cast<uint8_t>(value);
      return 0;
    case IP_TOS:
      if (!a.is(sizeof(int)) && !a.is(1)) return -EINVAL;
      value = a.is(1) ? a.as<uint8_t>() : a.as<int>();
      if (value < 0 || value > 255) return -EINVAL;
      m.traffic_class = static_cast<uint8_t>(value);
      return 0;
    default: return -EINVAL;
  }
}

long read_v6(int type, const Asked& a, Message& m) {
  switch (type) {
    case IPV6_PKTINFO: {
      if (a.bytes < sizeof(in6_pktinfo)) return -EINVAL;
      const auto info = a.as<in6_pktinfo>();
      std::array<uint8_t, 16> bytes{};
      std::memcpy(bytes.data(), &info.ipi6_addr, bytes.size());
      m.local = IpAddr(bytes);
      m.interface = static_cast<IfIndex>(info.ipi6_ifindex);
      return 0;
    }
    case IPV6_HOPLIMIT:
    case IPV6_TCLASS: {
      if (!a.is(sizeof(int))) return -EINVAL;
      const int value = a.as<int>();
      if (value < -1 || value > 255) return -EINVAL;
      (type == IPV6_HOPLIMIT ? m.hop_limit : m.traffic_class) = static_cast<uint8_t>(std::max(value, 0));
      return 0;
    }
    default: return -EINVAL;
  }
}

}  // namespace

void ControlWriter::put(int level, int type, const void* data, size_t bytes) {
  if (left_ < sizeof(cmsghdr)) {
    flags_ |= MSG_CTRUNC;
    return;
  }
  size_t length = CMSG_LEN(bytes);
  if (length > left_) {
    flags_ |= MSG_CTRUNC;
    length = left_;
  }
  cmsghdr head{};
  head.cmsg_len = length;
  head.cmsg_level = level;
  head.cmsg_type = type;
  std::memcpy(room_, &head, sizeof head);
  std::memcpy(room_ + CMSG_LEN(0), data, length - CMSG_LEN(0));
  const size_t step = std::min<size_t>(CMSG_SPACE(bytes), left_);
  room_ += step;
  left_ -= step;
  used_ += step;
}

bool carry_told(Told& told, int level, int name, int value) {
  const bool on = value != 0;
  const auto set = [on](bool& flag) {
    flag = on;
    return true;
  };
  if (level == SOL_SOCKET && (name == SO_TIMESTAMP || name == SO_TIMESTAMPNS)) {
    told.stamp = !on ? Told::Stamp::kNo : name == SO_TIMESTAMP ? Told::Stamp::kUs : Told::Stamp::kNs;
    return true;
  }
  if (level == IPPROTO_IP) {
    if (name == IP_PKTINFO) return set(told.destination);
    if (name == IP_RECVTTL) return set(told.ttl);
    if (name == IP_RECVTOS) return set(told.tos);
  }
  if (level == IPPROTO_IPV6) {
    if (name == IPV6_RECVPKTINFO) return set(told.destination_v6);
    if (name == IPV6_RECVHOPLIMIT) return set(told.hop_limit);
    if (name == IPV6_RECVTCLASS) return set(told.traffic_class);
  }
  if (level == IPPROTO_UDP && name == UDP_GRO) return set(told.segment);
  return false;
}

// In the kernel's order.
void tell(ControlWriter& out, int family, const Told& told, const Message& m) {
  if (told.stamp != Told::Stamp::kNo) {
    const timespec when = wall_time(m.received);
    if (told.stamp == Told::Stamp::kNs) {
      out.put(SOL_SOCKET, SCM_TIMESTAMPNS, when);
    } else {
      out.put(SOL_SOCKET, SCM_TIMESTAMP, timeval{when.tv_sec, when.tv_nsec / 1'000});
    }
  }
  if (told.segment && m.segment != 0) out.put(IPPROTO_UDP, UDP_GRO, static_cast<int>(m.segment));
  const bool v4 = m.remote.addr.is_v4();
  if (family == AF_INET6 && told.destination_v6) {
    out.put(IPPROTO_IPV6, IPV6_PKTINFO, in6_pktinfo{v6_of(m.local), static_cast<uint32_t>(m.interface)});
  }
  if (v4) {
    if (told.destination) {
      in_pktinfo info{};
      info.ipi_ifindex = static_cast<int>(m.interface);
      info.ipi_addr = v4_of(m.local);
      if (!m.to_group) info.ipi_spec_dst = info.ipi_addr;
      out.put(IPPROTO_IP, IP_PKTINFO, info);
    }
    if (told.ttl) out.put(IPPROTO_IP, IP_TTL, static_cast<int>(m.hop_limit));
    if (told.tos) out.put(IPPROTO_IP, IP_TOS, m.traffic_class);
  } else {
    if (told.hop_limit) out.put(IPPROTO_IPV6, IPV6_HOPLIMIT, static_cast<int>(m.hop_limit));
    if (told.traffic_class) out.put(IPPROTO_IPV6, IPV6_TCLASS, static_cast<int>(m.traffic_class));
  }
}

void tell_error(ControlWriter& out, int family, const DatagramError& error) {
  struct {
    sock_extended_err e;
    sockaddr_in from;
  } v4{};
  struct {
    sock_extended_err e;
    sockaddr_in6 from;
  } v6{};
  sock_extended_err e{};
  e.ee_errno = static_cast<uint32_t>(error.expired ? EHOSTUNREACH : errno_of(static_cast<Error>(error.error)));
  e.ee_origin = SO_EE_ORIGIN_LOCAL;
  if (!error.reporter.is_unspecified()) name_icmp(e, error, !error.destination.addr.is_v4());
  socklen_t length = family == AF_INET ? sizeof v4.from : sizeof v6.from;
  auto* from = family == AF_INET ? reinterpret_cast<sockaddr*>(&v4.from) : reinterpret_cast<sockaddr*>(&v6.from);
  if (!error.reporter.is_unspecified()) write_address({error.reporter, 0}, family, from, &length);
  v4.e = v6.e = e;
  if (family == AF_INET) {
    out.put(IPPROTO_IP, IP_RECVERR, v4);
  } else {
    out.put(IPPROTO_IPV6, IPV6_RECVERR, v6);
  }
}

long read_control(const msghdr& from, Message& m) {
  const auto* at = static_cast<const std::byte*>(from.msg_control);
  size_t left = at != nullptr ? from.msg_controllen : 0;
  const bool v4 = m.remote.addr.is_v4();
  while (left >= sizeof(cmsghdr)) {
    cmsghdr head{};
    std::memcpy(&head, at, sizeof head);
    if (head.cmsg_len < CMSG_LEN(0) || head.cmsg_len > left) return -EINVAL;
    const Asked asked{at + CMSG_LEN(0), head.cmsg_len - CMSG_LEN(0)};
    long bad = 0;
    switch (head.cmsg_level) {
      case SOL_SOCKET:
        if (head.cmsg_type != SCM_RIGHTS && head.cmsg_type != SCM_CREDENTIALS) bad = -EINVAL;
        break;
      case IPPROTO_UDP:
        if (head.cmsg_type != UDP_SEGMENT || !asked.is(sizeof(uint16_t))) return -EINVAL;
        m.segment = asked.as<uint16_t>();
        break;
      case IPPROTO_IP:
        if (v4) bad = read_v4(head.cmsg_type, asked, m);
        break;
      case IPPROTO_IPV6:
        if (!v4) {
          bad = read_v6(head.cmsg_type, asked, m);
        } else if (head.cmsg_type == IPV6_PKTINFO) {  // of a mapped address
          bad = read_v6(head.cmsg_type, asked, m);
          if (bad == 0 && !m.local.is_v4()) bad = -EINVAL;
        }
        break;
      default: break;
    }
    if (bad < 0) return bad;
    const size_t step = std::min<size_t>(CMSG_ALIGN(head.cmsg_len), left);
    at += step;
    left -= step;
  }
  return 0;
}

}  // namespace millrace::posix
