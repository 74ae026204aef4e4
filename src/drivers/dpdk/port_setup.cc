// From a device's name to a started port, and back.
#include <fmt/core.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "drivers/dpdk/eal.h"
#include "drivers/dpdk/kernel_socket.h"
#include "drivers/dpdk/port.h"
#include "drivers/dpdk/spread.h"

namespace millrace::drivers::dpdk {
namespace {

constexpr useconds_t kGuestPollUs = 1'000;
/// After so many polls without a change, what a guest has agreed to is all that it will.
constexpr uint64_t kGuestSettledTurns = 1'000;
/// Transmitted frames that may wait for their reclaim while the virtio ring has room.
constexpr uint16_t kReclaimBeyond = 48;

std::string error_text(int error) { return rte_strerror(error < 0 ? -error : error); }

}  // namespace

Port::Port(const Port& first, uint16_t queue)
    : spec_(first.spec_),
      name_(first.name_),
      id_(first.id_),
      queue_(queue),
      queues_(first.queues_),
      prepare_(first.prepare_),
      rx_interrupts_(first.rx_interrupts_),
      mac_(first.mac_),
      limits_(first.limits_) {
  find_wait_fd();
}

runtime::Outcome<std::vector<std::unique_ptr<Port>>> Port::open(const DeviceSpec& spec,
                                                                const conf::Interface& interface, Pools pools) {
  std::vector<std::unique_ptr<Port>> ports;
  ports.push_back(std::unique_ptr<Port>(new Port(spec, interface)));
  Port& first = *ports.front();
  first.queues_ = static_cast<uint16_t>(pools.size());
  ask_for_queues(first.spec_, pools.size());
  if (auto done = first.attach(); !done) return tl::unexpected(done.error());
  if (auto done = first.bring_up(interface, pools); !done) return tl::unexpected(done.error());
  for (uint16_t queue = 1; queue < first.queues_; ++queue) {
    ports.push_back(std::unique_ptr<Port>(new Port(first, queue)));
    pools[queue]->leave();
  }
  return ports;
}

runtime::Outcome<void> Port::attach() {
  if (rte_eth_dev_get_port_by_name(spec_.name.c_str(), &id_) == 0) {
    attached_ = true;
    return {};
  }
  if (spec_.pci) {
    return runtime::failure(fmt::format("DPDK has no driver for the PCI device {}, or it is not bound to one{}",
                                        spec_.name, last_complaint()),
                            fmt::format("dpdk-devbind.py -b vfio-pci {}", spec_.name));
  }
  if (rte_eal_hotplug_add("vdev", spec_.name.c_str(), spec_.dpdk_args().c_str()) != 0 ||
      rte_eth_dev_get_port_by_name(spec_.name.c_str(), &id_) != 0) {
    std::string hint = "the name must be one of DPDK's drivers and a number, such as net_af_packet0 or net_memif0";
    if (spec_.is_virtio()) hint = "start the side that makes the socket first (net_vhost, a virtual switch or QEMU)";
    const std::string args = spec_.dpdk_args();
    return runtime::failure(fmt::format("cannot open the device {}{}{}{}", spec_.name, args.empty() ? "" : " with ",
                                        args, last_complaint()),
                            hint);
  }
  attached_ = true;
  return {};
}

runtime::Outcome<void> Port::bring_up(const conf::Interface& interface, Pools pools) {
  rte_eth_dev_info info{};
  const int error = rte_eth_dev_info_get(id_, &info);
  if (error != 0) return runtime::failure(fmt::format("cannot ask the device {}: {}", spec_.name, error_text(error)));
  if (const uint16_t most = std::min(info.max_rx_queues, info.max_tx_queues); most < queues_) {
    return runtime::failure(
        fmt::format("the device {} has {} queue{} for {} workers", spec_.name, most, most == 1 ? "" : "s", queues_),
        "lower workers");
  }
  const Offloads offloads = choose_offloads(spec_, interface, info);
  // Some PMDs cannot interrupt, and some notice only at the start.
  auto up = start(interface, info, offloads, pools, true);
  if (!up) up = start(interface, info, offloads, pools, false);
  if (!up) return up;

  set_mac(interface);
  // Neighbour discovery comes by multicast (RFC 4861 7.2.2).
  if (spec_.promiscuous || rte_eth_allmulticast_enable(id_) != 0) rte_eth_promiscuous_enable(id_);
  if (spec_.is_vhost()) {
    if (auto done = wait_for_guest(interface); !done) return done;
  }
  find_wait_fd();
  set_limits(interface, info, offloads);
  return {};
}

runtime::Outcome<void> Port::start(const conf::Interface& interface, const rte_eth_dev_info& info,
                                   const Offloads& offloads, Pools pools, bool interrupts) {
  rte_eth_conf conf{};
  conf.rxmode.offloads = offloads.rx;
  conf.rxmode.mtu = interface.mtu;
  conf.rxmode.max_lro_pkt_size = (offloads.rx & RTE_ETH_RX_OFFLOAD_TCP_LRO) != 0 ? info.max_lro_pkt_size : 0;
  conf.txmode.offloads = offloads.tx;
  conf.intr_conf.rxq = interrupts ? 1 : 0;
  RssRequest rss = choose_rss(info, queues_);
  if (rss.types != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf = {rss.key_bytes != 0 ? rss.key.data() : nullptr, rss.key_bytes, rss.types};
  }
  const auto failed = [&](std::string_view what, int error) {
    return runtime::failure(
        fmt::format("cannot {} the device {}: {}{}", what, spec_.name, error_text(error), last_complaint()),
        interface.mtu > 1500 ? "the device may not support the MTU" : "");
  };
  if (const int error = rte_eth_dev_configure(id_, queues_, queues_, &conf); error != 0)
    return failed("configure", error);
  configured_ = true;
  if (const int error = set_queues(pools, info); error != 0) return failed("set up the queues of", error);
  if (const int error = rte_eth_dev_start(id_); error != 0) return failed("start", error);
  rx_interrupts_ = interrupts;
  if (rss.types != 0) spread_ = set_spread(id_, info, queues_);
  return {};
}

int Port::set_queues(Pools pools, const rte_eth_dev_info& info) {
  uint16_t rx = spec_.rx_ring;
  uint16_t tx = spec_.tx_ring;
  if (const int error = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx, &tx); error != 0) return error;
  rte_eth_txconf conf = info.default_txconf;
  conf.offloads = 0;
  // Reclaim early, so that buffers come back while their lines are still in the cache.
  if (spec_.is_virtio()) conf.tx_free_thresh = static_cast<uint16_t>(tx - kReclaimBeyond);
  for (uint16_t queue = 0; queue < queues_; ++queue) {
    int error = rte_eth_rx_queue_setup(id_, queue, rx, SOCKET_ID_ANY, nullptr, pools[queue]->mempool());
    if (error == 0) error = rte_eth_tx_queue_setup(id_, queue, tx, SOCKET_ID_ANY, &conf);
    if (error != 0) return error;
  }
  return 0;
}

void Port::set_limits(const conf::Interface& interface, const rte_eth_dev_info& info, const Offloads& offloads) {
  uint16_t mtu = 1500;
  rte_eth_dev_get_mtu(id_, &mtu);
  const GuestFeatures guest = spec_.is_vhost() ? vhost_guest_features(spec_) : GuestFeatures();
  limits_ = make_limits(spec_, interface, info, offloads, guest, mtu);
  if (spec_.is_vhost() || (!limits_.tx_checksum_v4 && !limits_.tx_ip_checksum)) {
    prepare_ = Prepare::kNever;
  } else {
    prepare_ = spec_.is_virtio() ? Prepare::kTso : Prepare::kAlways;
  }
}

void Port::set_mac(const conf::Interface& interface) {
  rte_ether_addr address{};
  rte_eth_macaddr_get(id_, &address);
  if (interface.mac) {
    std::memcpy(address.addr_bytes, interface.mac->bytes.data(), 6);
    // Virtual devices have no address filter; on others, without one of their own, everything must come in.
    if (rte_eth_dev_default_mac_addr_set(id_, &address) != 0) rte_eth_promiscuous_enable(id_);
  }
  std::memcpy(mac_.bytes.data(), address.addr_bytes, 6);
}

void Port::find_wait_fd() {
  wait_fd_ = kernel_receive_socket(spec_, queue_, queues_);
  kernel_wakes_ = wait_fd_ >= 0;
  if (kernel_wakes_ || !rx_interrupts_) return;
  wait_fd_ = rte_eth_dev_rx_intr_ctl_q_get_fd(id_, queue_);
  if (wait_fd_ >= 0 && rte_eth_dev_rx_intr_enable(id_, queue_) != 0) wait_fd_ = -1;
  if (wait_fd_ >= 0) rte_eth_dev_rx_intr_disable(id_, queue_);
}

runtime::Outcome<void> Port::wait_for_guest(const conf::Interface& interface) const {
  const uint64_t turns = uint64_t{spec_.wait_s} * 1'000'000 / kGuestPollUs;
  bool seen = false;
  uint64_t settled = 0;
  for (uint64_t turn = 0; turn < turns || seen; ++turn) {
    // A guest connects once with few features and then again with those that its program asked for: between the two
    // nothing tells the first from a guest that wants no more. Wait for all of them, or until nothing changes.
    const GuestFeatures guest = link_up() ? vhost_guest_features(spec_) : GuestFeatures();
    settled = guest.known ? settled + 1 : 0;
    seen = seen || guest.known;
    const bool all = guest.checksum && (guest.tso_v4 || !interface.tso);
    if (guest.queues >= queues_ && (all || settled >= kGuestSettledTurns)) return {};
    if (settled >= kGuestSettledTurns) {
      return runtime::failure(fmt::format("the guest of {} has {} queue{} for {} workers", spec_.arg("iface"),
                                          guest.queues, guest.queues == 1 ? "" : "s", queues_),
                              "give it more (net_virtio_user: queues=N,cq=1), or lower workers");
    }
    if (turn > turns + 2 * kGuestSettledTurns) break;
    usleep(kGuestPollUs);
  }
  if (spec_.wait_s == 0) return {};
  return runtime::failure(fmt::format("nobody connected to {} within {} s", spec_.arg("iface"), spec_.wait_s),
                          "start the guest (net_virtio_user or QEMU); the device key wait_s= sets the time");
}

Port::~Port() {
  // virtio-user says good-bye to its peer even when that has gone; whoever ignored the signal before may have stopped.
  std::signal(SIGPIPE, SIG_IGN);
  if (stashed_ != 0) rte_pktmbuf_free_bulk(stash_.data(), stashed_);
  if (configured_) rte_eth_dev_stop(id_);
  if (!attached_) return;
  rte_eth_dev_info info{};
  const bool known = rte_eth_dev_info_get(id_, &info) == 0;
  rte_eth_dev_close(id_);
  if (known && info.device != nullptr) rte_dev_remove(info.device);
}

}  // namespace millrace::drivers::dpdk
