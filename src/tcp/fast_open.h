// Fast open (RFC 7413): the settings' bits, and the cookies that a server makes.
//
// A cookie is eight bytes of SipHash over the client's and the server's address. The worker's key lives for half a day
// and is taken for as long again; a listener may have a key of its own, for servers that share an address.
#pragma once

#include <array>
#include <cstdint>

#include "base/rotating_key.h"
#include "millrace/address.h"
#include "millrace/time.h"
#include "wire/tcp_options.h"

namespace millrace::tcp {

/// Settings::fastopen, as Linux counts.
enum FastOpenBit : uint32_t {
  kFastOpenClient = 0x1,
  kFastOpenServer = 0x2,
  kFastOpenClientNoCookie = 0x4,    ///< data goes with a SYN to whom gave no cookie, too
  kFastOpenServerNoCookie = 0x200,  ///< data on a SYN is taken without a cookie
  kFastOpenAllListeners = 0x400,    ///< listeners that did not ask for it too
};

struct FastOpenCookie {
  std::array<std::byte, 16> bytes{};
  uint8_t length = 0;
  bool experimental = false;  ///< of the option that carried it
  bool operator==(const FastOpenCookie&) const = default;

  [[nodiscard]] static FastOpenCookie of(const wire::TcpOptions& o) {
    return {o.fast_open_cookie, o.fast_open_length, o.fast_open_experimental};
  }
  void put_into(wire::TcpOptions& o) const {
    o.has_fast_open = true;
    o.fast_open_cookie = bytes;
    o.fast_open_length = length;
    o.fast_open_experimental = experimental;
  }
};

inline constexpr Duration kFastOpenKeyLife = seconds(43'200);

/// What a server asks of a client at `client` that knows it as `server`.
[[nodiscard]] FastOpenCookie fast_open_cookie(const base::SipKey& key, const IpAddr& client, const IpAddr& server);

}  // namespace millrace::tcp
