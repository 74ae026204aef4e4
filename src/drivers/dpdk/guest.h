// What a vhost port knows of the guest on the other side: the virtio features they agreed on, and the descriptor that
// the guest kicks.
#pragma once

#include "drivers/dpdk/spec.h"

namespace millrace::drivers::dpdk {

struct GuestFeatures {
  bool known = false;
  bool checksum = false;  ///< the guest takes frames with unfinished checksums
  bool tso_v4 = false;    ///< and frames larger than its MTU
  bool tso_v6 = false;
  uint16_t queues = 0;  ///< queue pairs
};

/// Of the vhost port's connected guest; not `known` while there is none.
[[nodiscard]] GuestFeatures vhost_guest_features(const DeviceSpec& spec);
/// The eventfd by which the guest says that it has sent through this queue, or -1.
[[nodiscard]] int vhost_kick_fd(const DeviceSpec& spec, uint16_t queue);

}  // namespace millrace::drivers::dpdk
