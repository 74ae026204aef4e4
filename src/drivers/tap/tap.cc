// The driver: opens TAPs and gives the kernel's side its addresses.
#include "drivers/tap/tap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "drivers/tap/device.h"
#include "drivers/tap/kernel_side.h"

namespace millrace::drivers::tap {
namespace {

using runtime::Descriptor;
using runtime::failure;
using runtime::Failure;
using runtime::Outcome;

constexpr uint16_t kDefaultMtu = 1500;
constexpr size_t kLargeLimitBytes = size_t{64} << 20;
constexpr uint32_t kLargestFrame = 65'535 + 14;
constexpr const char* kNeedsCapability = "run as root, or give the program CAP_NET_ADMIN (setcap cap_net_admin+ep)";

Outcome<Descriptor> open_tun() {
  Descriptor fd(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (fd) return fd;
  switch (errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return failure("cannot open /dev/net/tun: this machine has no TAP devices",
                     "modprobe tun; in a container, pass the device in (--device /dev/net/tun)");
    case EACCES:
    case EPERM:
      return failure("no permission to open /dev/net/tun", kNeedsCapability);
    default:
      return failure(fmt::format("cannot open /dev/net/tun: {}", std::strerror(errno)));
  }
}

Outcome<void> attach(const Descriptor& fd, const std::string& name, bool several) {
  if (name.size() >= IFNAMSIZ) {
    return failure(fmt::format("TAP name '{}' has {} characters; the kernel takes at most {}", name, name.size(),
                               IFNAMSIZ - 1));
  }
  ifreq request{};
  std::memcpy(request.ifr_name, name.c_str(), name.size() + 1);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (several ? IFF_MULTI_QUEUE : 0));
  if (ioctl(fd.get(), TUNSETIFF, &request) == 0) return {};
  const std::string what = fmt::format("cannot open TAP {}: {}", name, std::strerror(errno));
  switch (errno) {
    case EBUSY:
      return failure(fmt::format("TAP {} is in use by another process", name),
                     "stop that process, or choose another name with --tap NAME");
    case EPERM:
    case EACCES:
      return failure(fmt::format("no permission to open TAP {}", name), kNeedsCapability);
    case EINVAL:
      if (if_nametoindex(name.c_str()) != 0) {
        return failure(fmt::format("there is an interface {} already, and it is not a TAP of this kind", name),
                       "choose another name with --tap NAME");
      }
      return failure(what, "is it a valid interface name?");
    default:
      return failure(what);
  }
}

Outcome<void> set_offloads(const Descriptor& fd, const conf::Interface& interface) {
  const int header_bytes = sizeof(Header);
  unsigned offloads = 0;
  if (interface.checksum) offloads |= TUN_F_CSUM;
  if (interface.checksum && interface.tso) offloads |= TUN_F_TSO4 | TUN_F_TSO6;
  if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header_bytes) != 0 ||
      ioctl(fd.get(), TUNSETOFFLOAD, static_cast<unsigned long>(offloads)) != 0) {
    return failure(fmt::format("cannot set the offloads of TAP {}: {}", interface.name, std::strerror(errno)),
                   "this needs Linux 2.6.30 or newer; try tso=false,checksum=false");
  }
  return {};
}

// Locally administered, the same at every start: 02:6d:72 and three bytes of a hash (FNV-1a) of the name.
MacAddr mac_of(const std::string& name) {
  uint32_t hash = 2166136261u;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return MacAddr{{0x02, 0x6d, 0x72, static_cast<uint8_t>(hash >> 16), static_cast<uint8_t>(hash >> 8),
                  static_cast<uint8_t>(hash)}};
}

link::DeviceLimits limits_of(const conf::Interface& interface) {
  link::DeviceLimits limits;
  limits.mtu = interface.mtu != 0 ? interface.mtu : kDefaultMtu;
  limits.max_segments = TapDevice::kMaxSegments;
  limits.tx_checksum_v4 = interface.checksum;
  limits.tx_checksum_v6 = interface.checksum;
  limits.tso_v4 = interface.checksum && interface.tso;
  limits.tso_v6 = limits.tso_v4;
  limits.max_tso_bytes = limits.tso_v4 ? kLargestFrame : 0;
  return limits;
}

class TapDriver final : public runtime::Driver {
 public:
  [[nodiscard]] std::string_view name() const override { return "tap"; }

  Outcome<void> prepare(const conf::Config&, std::span<const conf::Interface>) override { return {}; }

  // The kernel sends a flow to the queue that last sent a frame of it: after the first frames each worker gets its own.
  // Processes that share an interface each open a queue of the same TAP; the queue of one that dies goes away with it.
  Outcome<std::vector<std::unique_ptr<runtime::Device>>> open_queues(
      const conf::Config& config, const conf::Interface& interface,
      std::span<const runtime::Resources> workers) override {
    if (interface.queues > 1) {
      return failure(
          fmt::format("interface {}: a TAP has one queue for each worker; leave queues out", interface.name));
    }
    const std::string& tap = interface.device.empty() ? interface.name : interface.device;
    const link::DeviceLimits limits = limits_of(interface);
    const bool several = workers.size() > 1 || config.processes > 1;
    std::vector<Descriptor> queues;
    for (size_t i = 0; i < workers.size(); ++i) {
      auto fd = open_tun();
      if (!fd) return tl::unexpected<Failure>(fd.error());
      if (auto done = attach(*fd, tap, several); !done) return tl::unexpected<Failure>(done.error());
      if (auto done = set_offloads(*fd, interface); !done) return tl::unexpected<Failure>(done.error());
      queues.push_back(std::move(*fd));
    }
    if (auto done = configure_kernel_side(tap, limits.mtu, interface.kernel_addresses); !done) {
      return tl::unexpected<Failure>(done.error());
    }
    std::vector<std::unique_ptr<runtime::Device>> devices;
    for (size_t i = 0; i < workers.size(); ++i) {
      const size_t limit = kLargeLimitBytes / workers.size();
      if (i == large_.size()) large_.push_back(std::make_unique<LargePool>(*workers[i].memory, limit));
      devices.push_back(std::make_unique<TapDevice>(interface.name, std::move(queues[i]),
                                                    interface.mac.value_or(mac_of(tap)), limits, workers[i],
                                                    *large_[i]));
    }
    return devices;
  }

 private:
  std::vector<std::unique_ptr<LargePool>> large_;  // by worker; outlive every packet, as the driver does
};

}  // namespace

void register_driver(runtime::DriverRegistry& registry) { registry.add(std::make_unique<TapDriver>()); }

}  // namespace millrace::drivers::tap
