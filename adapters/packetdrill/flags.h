// What packetdrill's --so_flags (and the environment variable MILLRACE_PD_FLAGS) can say: comma-separated key=value
// pairs; unknown keys are ignored, so that one set of flags serves several stacks.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "millrace/address.h"
#include "millrace/time.h"
#include "tcp/settings.h"

namespace millrace::packetdrill {

struct Flags {
  // packetdrill's own defaults; both families are configured at once.
  IpAddr local_v4 = IpAddr::v4(192, 168, 0, 1);
  IpAddr local_v6{};
  uint8_t plen_v4 = 16;
  uint8_t plen_v6 = 16;
  uint16_t mtu = 1'500;
  uint64_t seed = 1;
  Duration rx_limit = seconds(90);  ///< of stack time, for netdev_receive and for a blocking call that nothing ends
  bool port_mode = false;           ///< mode=port or clock=real were asked for
  std::array<uint64_t, 2> fast_open_key{};  ///< tcp_fastopen_key, of every socket that names no other
  std::array<uint64_t, 2> fast_open_old_key{};
  tcp::Settings tcp{};
};

/// Settings as the scripts assume them, changed by `text` and then by `more`; each may be empty.
[[nodiscard]] Flags read_flags(std::string_view text, std::string_view more);

}  // namespace millrace::packetdrill
