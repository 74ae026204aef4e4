#include "drivers/dpdk/guest.h"

#include <rte_vhost.h>

#include <array>
#include <cstring>

namespace millrace::drivers::dpdk {
namespace {

constexpr int kMostGuests = 1024;
// Virtio 1.2, 5.1.3: feature bits of a network device.
constexpr unsigned kGuestChecksum = 1;
constexpr unsigned kGuestTso4 = 7;
constexpr unsigned kGuestTso6 = 8;
/// Of each pair of a guest's vrings, the first receives, the second transmits.
constexpr uint16_t kGuestTransmit = 1;

/// vhost's number of the guest behind the port's socket, or -1.
int find_guest(const DeviceSpec& spec) {
  const std::string path(spec.arg("iface"));
  for (int vid = 0; vid < kMostGuests; ++vid) {
    std::array<char, 256> name{};
    if (rte_vhost_get_ifname(vid, name.data(), name.size()) == 0 && path == name.data()) return vid;
  }
  return -1;
}

}  // namespace

GuestFeatures vhost_guest_features(const DeviceSpec& spec) {
  GuestFeatures out;
  uint64_t features = 0;
  const int vid = find_guest(spec);
  if (vid < 0 || rte_vhost_get_negotiated_features(vid, &features) != 0) return out;
  out.known = true;
  out.queues = static_cast<uint16_t>(rte_vhost_get_vring_num(vid) / 2);
  out.checksum = (features >> kGuestChecksum & 1) != 0;
  out.tso_v4 = (features >> kGuestTso4 & 1) != 0;
  out.tso_v6 = (features >> kGuestTso6 & 1) != 0;
  return out;
}

int vhost_kick_fd(const DeviceSpec& spec, uint16_t queue) {
  rte_vhost_vring ring{};
  const int vid = find_guest(spec);
  const auto number = static_cast<uint16_t>(2 * queue + kGuestTransmit);
  if (vid < 0 || rte_vhost_get_vhost_vring(vid, number, &ring) != 0) return -1;
  return ring.kickfd;
}

}  // namespace millrace::drivers::dpdk
