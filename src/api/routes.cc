// ff_route_ctl and ff_sysctl: requests of an operator under F-Stack's names.
#include <algorithm>
#include <bit>
#include <cstring>

#include "api/state.h"
#include "millrace/errno.h"
#include "posix/convert.h"
#include "stack/worker.h"

namespace millrace::api {
namespace {

std::optional<IpAddr> address_of(const linux_sockaddr* given) {
  if (given == nullptr) return std::nullopt;
  const bool v6 = given->sa_family == AF_INET6_LINUX || given->sa_family == AF_INET6_FREEBSD;
  const socklen_t length = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  Endpoint out;
  const Address address(given, length);
  if (posix::read_address(address.get(), length, v6 ? AF_INET6 : AF_INET, out) < 0) return std::nullopt;
  return out.addr;
}

// The interface in whose network the address is.
std::optional<IfIndex> interface_of(const IpAddr& neighbour) {
  const posix::Lock lock(the_stack());
  if (lock.busy()) return std::nullopt;
  const auto route = state().transport->host().worker().find_route(neighbour, 0);
  if (!route) return std::nullopt;
  return route->interface;
}

uint8_t length_of(const IpAddr& mask) {
  int bits = 0;
  const auto& bytes = mask.bytes();
  for (size_t i = mask.is_v4() ? 12 : 0; i < bytes.size(); ++i) bits += std::popcount(bytes[i]);
  return static_cast<uint8_t>(bits);
}

// FreeBSD's {0, 3}: the number of a name.
constexpr int kMeta = 0;
constexpr int kNameToNumber = 3;
// Our own numbers begin with this; the second is the row of conf::sysctls().
constexpr int kOurs = 0x4d52;

long give(const void* from, size_t bytes, void* into, size_t* length) {
  if (length == nullptr) return 0;
  if (into != nullptr && *length < bytes) return -ENOMEM;
  if (into != nullptr) std::memcpy(into, from, bytes);
  *length = bytes;
  return 0;
}

long number_of(const void* text, size_t length, void* into, size_t* room) {
  if (text == nullptr) return -EINVAL;
  const std::string_view name(static_cast<const char*>(text), strnlen(static_cast<const char*>(text), length));
  const auto all = conf::sysctls();
  const auto found = std::find_if(all.begin(), all.end(), [&](const conf::Sysctl& s) { return s.name == name; });
  if (found == all.end()) return -ENOENT;
  const int number[2] = {kOurs, static_cast<int>(found - all.begin())};
  return give(number, sizeof number, into, room);
}

long set_value(const conf::Sysctl& sysctl, int value) {
  const conf::Setting& setting = *sysctl.setting;
  const int64_t scaled = int64_t{value} * sysctl.scale;
  if (scaled < setting.least || scaled > setting.greatest) return -EINVAL;
  req::Set::Section section = req::Set::Section::kTcp;
  if (setting.section == "ip") section = req::Set::Section::kIp;
  if (setting.section == "udp") section = req::Set::Section::kUdp;
  if (setting.section == "worker") return -EPERM;
  const auto reply = the_stack().ask(req::Set{section, static_cast<uint16_t>(setting.index), scaled});
  if (!reply) return -errno_of(reply.error());
  setting.field(state().config->config, setting) = scaled;
  return 0;
}

}  // namespace
}  // namespace millrace::api

using namespace millrace;
using api::result;

int ff_route_ctl(enum FF_ROUTE_CTL req, enum FF_ROUTE_FLAG flag, struct linux_sockaddr* dst, struct linux_sockaddr* gw,
                 struct linux_sockaddr* netmask) {
  (void)api::the_stack();
  const auto to = api::address_of(dst);
  if (!to) return result(-EINVAL);
  Prefix prefix{*to, static_cast<uint8_t>(to->is_v4() ? 32 : 128)};
  if (flag != FF_RTF_HOST) {
    const auto mask = api::address_of(netmask);
    if (!mask || mask->is_v4() != to->is_v4()) return result(-EINVAL);
    prefix.length = api::length_of(*mask);
  }
  const auto gateway = api::address_of(gw);
  const auto interface = api::interface_of(gateway ? *gateway : *to);
  if (req != FF_ROUTE_ADD) {
    const auto old = api::interface_of(*to);
    if (!old) return result(-ESRCH);
    const auto removed = api::the_stack().ask(req::RemoveRoute{prefix, *old});
    if (!removed) return result(removed.error() == Error::kNotFound ? -ESRCH : -errno_of(removed.error()));
    if (req == FF_ROUTE_DEL) return 0;
  }
  if (!interface || !gateway) return result(-ENETUNREACH);
  const auto added = api::the_stack().ask(req::AddRoute{prefix, *interface, *gateway});
  return added ? 0 : result(-errno_of(added.error()));
}

int ff_sysctl(const int* name, unsigned int namelen, void* oldp, size_t* oldlenp, const void* newp, size_t newlen) {
  (void)api::the_stack();
  if (name == nullptr || namelen < 2) return result(-EINVAL);
  if (namelen == 2 && name[0] == api::kMeta && name[1] == api::kNameToNumber) {
    return result(api::number_of(newp, newlen, oldp, oldlenp));
  }
  const auto all = conf::sysctls();
  if (namelen != 2 || name[0] != api::kOurs || name[1] < 0 || static_cast<size_t>(name[1]) >= all.size()) {
    return result(-ENOENT);
  }
  const conf::Sysctl& sysctl = all[static_cast<size_t>(name[1])];
  if (oldlenp != nullptr) {
    conf::Config& config = api::state().config->config;
    const int64_t value = sysctl.setting->field(config, *sysctl.setting) / sysctl.scale;
    const int shown = static_cast<int>(std::min<int64_t>(value, INT32_MAX));
    if (const long bad = api::give(&shown, sizeof shown, oldp, oldlenp); bad < 0) return result(bad);
  }
  if (newp == nullptr) return 0;
  if (newlen < sizeof(int)) return result(-EINVAL);
  int value = 0;
  std::memcpy(&value, newp, sizeof value);
  return result(api::set_value(sysctl, value));
}
