// From a device's name to a started port, and back.
#include <fmt/core.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "drivers/dpdk/eal.h"
#include "drivers/dpdk/kernel_socket.h"
#include "drivers/dpdk/port.h"

namespace millrace::drivers::dpdk {
namespace {

constexpr useconds_t kGuestPollUs = 1'000;
/// After so many polls without a change, what a guest has agreed to is all that it will.
constexpr uint64_t kGuestSettledTurns = 1'000;
/// Transmitted frames that may wait for their reclaim while the virtio ring has room.
constexpr uint16_t kReclaimBeyond = 48;

std::string error_text(int error) { return rte_strerror(error < 0 ? -error : error); }

}  // namespace

runtime::Outcome<std::unique_ptr<Port>> Port::open(const DeviceSpec& spec, const conf::Interface& interface,
                                                   MempoolPool& frames) {
  std::unique_ptr<Port> port(new Port(spec, interface));
  if (auto done = port->attach(); !done) return tl::unexpected(done.error());
  if (auto done = port->bring_up(interface, frames); !done) return tl::unexpected(done.error());
  return port;
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

runtime::Outcome<void> Port::bring_up(const conf::Interface& interface, MempoolPool& frames) {
  rte_eth_dev_info info{};
  const int error = rte_eth_dev_info_get(id_, &info);
  if (error != 0) return runtime::failure(fmt::format("cannot ask the device {}: {}", spec_.name, error_text(error)));
  const Offloads offloads = choose_offloads(spec_, interface, info);
  // Some PMDs cannot interrupt, and some notice only at the start.
  auto up = start(interface, info, offloads, frames, true);
  if (!up) up = start(interface, info, offloads, frames, false);
  if (!up) return up;

  set_mac(interface);
  // Neighbour discovery comes by multicast (RFC 4861 7.2.2).
  if (rte_eth_allmulticast_enable(id_) != 0) rte_eth_promiscuous_enable(id_);
  if (spec_.is_vhost()) {
    if (auto done = wait_for_guest(interface); !done) return done;
  }
  find_wait_fd();
  set_limits(interface, info, offloads);
  return {};
}

runtime::Outcome<void> Port::start(const conf::Interface& interface, const rte_eth_dev_info& info,
                                   const Offloads& offloads, MempoolPool& frames, bool interrupts) {
  rte_eth_conf conf{};
  conf.rxmode.offloads = offloads.rx;
  conf.rxmode.mtu = interface.mtu;
  conf.rxmode.max_lro_pkt_size = (offloads.rx & RTE_ETH_RX_OFFLOAD_TCP_LRO) != 0 ? info.max_lro_pkt_size : 0;
  conf.txmode.offloads = offloads.tx;
  conf.intr_conf.rxq = interrupts ? 1 : 0;
  const auto failed = [&](std::string_view what, int error) {
    return runtime::failure(
        fmt::format("cannot {} the device {}: {}{}", what, spec_.name, error_text(error), last_complaint()),
        interface.mtu > 1500 ? "the device may not support the MTU" : "");
  };
  if (const int error = rte_eth_dev_configure(id_, 1, 1, &conf); error != 0) return failed("configure", error);
  configured_ = true;
  if (const int error = set_queues(frames, info); error != 0) return failed("set up the queues of", error);
  if (const int error = rte_eth_dev_start(id_); error != 0) return failed("start", error);
  rx_interrupts_ = interrupts;
  return {};
}

int Port::set_queues(MempoolPool& frames, const rte_eth_dev_info& info) {
  uint16_t rx = spec_.rx_ring;
  uint16_t tx = spec_.tx_ring;
  int error = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx, &tx);
  if (error == 0) error = rte_eth_rx_queue_setup(id_, 0, rx, SOCKET_ID_ANY, nullptr, frames.mempool());
  if (error != 0) return error;
  rte_eth_txconf conf = info.default_txconf;
  conf.offloads = 0;
  // Reclaim early, so that buffers come back while their lines are still in the cache.
  if (spec_.is_virtio()) conf.tx_free_thresh = static_cast<uint16_t>(tx - kReclaimBeyond);
  return rte_eth_tx_queue_setup(id_, 0, tx, SOCKET_ID_ANY, &conf);
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
  wait_fd_ = kernel_receive_socket(spec_);
  kernel_wakes_ = wait_fd_ >= 0;
  if (kernel_wakes_ || !rx_interrupts_) return;
  wait_fd_ = rte_eth_dev_rx_intr_ctl_q_get_fd(id_, 0);
  if (wait_fd_ >= 0 && rte_eth_dev_rx_intr_enable(id_, 0) != 0) wait_fd_ = -1;
  if (wait_fd_ >= 0) rte_eth_dev_rx_intr_disable(id_, 0);
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
    if (all || settled >= kGuestSettledTurns) return {};
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
