// What the state machines of this folder ask for: values that the owner carries out in order.
#pragma once

#include <cstdint>
#include <vector>

#include "autoconf/address_book.h"
#include "millrace/address.h"
#include "wire/dhcp.h"

namespace millrace::autoconf {

struct Action {
  enum class Kind : uint8_t {
    kSolicit,      ///< send a router solicitation
    kSendDhcp,     ///< send `dhcp` to `gateway`, broadcast if that is unspecified
    kAddress,      ///< the address `prefix` exists with these lifetimes
    kDropAddress,  ///< the address `prefix.addr` is gone
    kRoute,        ///< to `prefix` through `gateway` (unspecified: on link) with `metric`
    kDropRoute,
    kMtu,         ///< `value` bytes for the family of whoever asks; 0: the link's own again
    kHopLimit,    ///< `value`; here and below 0: the stack's own again
    kReachable,   ///< `value` ms, base of the reachable time
    kRetransmit,  ///< `value` ms between solicitations
  };
  Kind kind = Kind::kSolicit;
  Prefix prefix{};
  IpAddr gateway{};
  uint32_t metric = 0;
  uint32_t value = 0;
  Lifetimes lifetimes{};
  wire::DhcpMessage dhcp{};
};
using Actions = std::vector<Action>;

}  // namespace millrace::autoconf
