// Everything that a user can configure, as one value. The same struct is filled from a TOML file and from command-line
// flags; nothing is applied before all of it has been read and checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "conf/settings.h"
#include "ip/settings.h"
#include "millrace/address.h"
#include "tcp/settings.h"
#include "udp/settings.h"

namespace millrace::conf {

/// Ports of one or both protocols.
struct PortRange {
  bool tcp = true;
  bool udp = true;
  uint16_t low = 0;
  uint16_t high = 0;
};

/// One `[interface.NAME]` table or one `--interface` flag.
struct Interface {
  std::string name;
  std::string driver;                     ///< empty: by the name (default_driver)
  std::string device;                     ///< what the driver opens; empty: the driver's default. tap: name of the
                                          ///< kernel's TAP; xdp: name of the kernel's interface; dpdk: a PCI address
                                          ///< or vdev arguments
  std::optional<MacAddr> mac{};           ///< empty: the device's own, or one derived from the name
  std::vector<Prefix> addresses{};        ///< the stack's addresses
  std::vector<Prefix> kernel_addresses{}; ///< tap: what the kernel's side gets
  bool configure_kernel = true;           ///< tap: whether to touch the addresses of the kernel's side
  std::vector<IpAddr> gateways{};         ///< default routes, at most one a family
  uint16_t mtu = 0;                       ///< 0: the device's own
  uint16_t queues = 0;                    ///< 0: the driver's choice
  std::vector<PortRange> ports{};         ///< xdp: only these are the stack's, and the kernel has the addresses too
  std::string xdp_mode = "auto";          ///< xdp: "auto", "zero-copy", "copy" or "generic"
  bool busy_poll = false;                 ///< xdp: drive the NIC's queues from the worker's thread
  bool tso = true;                        ///< use the device's TCP segmentation if it has any
  bool checksum = true;                   ///< use the device's checksums if it has any
  bool dad = true;                        ///< ask the link whether somebody else has our addresses
  bool keep_address = false;              ///< never give up an IPv4 address that another station claims
  bool dhcp4 = false;                     ///< lease an IPv4 address
  bool accept_ra = true;                  ///< listen to IPv6 routers
  bool autoconf = true;                   ///< form addresses from the prefixes that they advertise
  bool redirects4 = false;                ///< believe ICMP redirects
  bool redirects6 = true;                 ///< believe ICMPv6 redirects
  std::string address_secret{};           ///< behind stable IPv6 addresses; empty: the machine's identity
};

/// One `[[route]]` entry.
struct Route {
  Prefix prefix;
  std::string interface;
  IpAddr gateway{};  ///< unspecified: on link
  uint32_t table = 0;
  uint32_t metric = 0;
};

/// The `[dpdk]` table.
struct Dpdk {
  std::vector<std::string> eal{};  ///< extra EAL arguments, as rte_eal_init takes them
};

struct Config {
  std::vector<Interface> interfaces{};
  std::vector<Route> routes{};
  tcp::Settings tcp{};
  ip::Settings ip{};
  udp::Settings udp{};
  WorkerSettings worker{};
  LoopSettings loop{};
  Dpdk dpdk{};
  uint32_t workers = 1;           ///< threads, each with a queue of every device
  uint32_t processes = 1;         ///< that share all interfaces and addresses, each with one worker
  uint32_t process = 0;           ///< this one of them
  std::optional<uint32_t> cpu{};  ///< pin the first worker's thread here, each further one to the next CPU
  std::string capture{};          ///< pcapng file; empty: none
  std::string control{};          ///< UNIX socket for observation; empty: the default place; "none": off
  std::string user{};             ///< become this user once devices are open
  bool force = false;             ///< take over an interface even if it carries the default route
};

/// `config` with the limits of the process (frames, connections and so on) divided among its workers.
[[nodiscard]] Config share_of_worker(Config config);

}  // namespace millrace::conf
