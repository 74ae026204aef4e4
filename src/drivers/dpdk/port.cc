// The busy path of a port, and what happens around a sleep.
#include "drivers/dpdk/port.h"

#include <poll.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <algorithm>

#include "drivers/dpdk/guest.h"

namespace millrace::drivers::dpdk {
namespace {

rte_mbuf** mbufs(std::span<pkt::Packet* const> frames) {
  return reinterpret_cast<rte_mbuf**>(const_cast<pkt::Packet**>(frames.data()));
}

}  // namespace

void Port::enter_thread() {
  struct Known {
    bool ours = rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() == 0;
    ~Known() {
      if (ours) rte_thread_unregister();
    }
  };
  thread_local const Known known;
  (void)known.ours;  // without an lcore it works too, past the caches
}

size_t Port::transmit(std::span<pkt::Packet* const> frames) {
  rte_mbuf** all = mbufs(frames);
  size_t done = 0;
  while (done < frames.size()) {
    const size_t left = frames.size() - done;
    const size_t good = prepare_ == Prepare::kNever ? left : prepare(all + done, left);
    const size_t sent = rte_eth_tx_burst(id_, queue_, all + done, static_cast<uint16_t>(good));
    done += sent;
    if (sent < good || good == left) break;
    drop(all[done++]);
  }
  return done;
}

size_t Port::prepare(rte_mbuf** frames, size_t count) {
  if (prepare_ == Prepare::kAlways) return rte_eth_tx_prepare(id_, queue_, frames, static_cast<uint16_t>(count));
  // virtio: the core's pseudo-header sums are right as they are, but those of frames to be cut lack the length.
  for (size_t i = 0; i < count; ++i) {
    if ((frames[i]->ol_flags & RTE_MBUF_F_TX_TCP_SEG) == 0) continue;
    if (rte_eth_tx_prepare(id_, queue_, frames + i, 1) != 1) return i;
  }
  return count;
}

void Port::drop(rte_mbuf* frame) {
  rte_pktmbuf_free(frame);
  ++refused_;
}

size_t Port::unstash(std::span<pkt::Packet*> out) {
  const size_t n = std::min<size_t>(stashed_, out.size());
  std::copy_n(reinterpret_cast<pkt::Packet**>(stash_.data()), n, out.data());
  std::copy(stash_.begin() + static_cast<ptrdiff_t>(n), stash_.begin() + stashed_, stash_.begin());
  stashed_ = static_cast<uint16_t>(stashed_ - n);
  return n;
}

bool Port::arm_wait() {
  if (wait_fd_ < 0 || kernel_wakes_) return true;
  if (stashed_ != 0) return false;
  forget_wakeups();
  if (rte_eth_dev_rx_intr_enable(id_, queue_) != 0) return false;
  // A frame that came before the interrupt was armed raises none, and few PMDs can count what waits: take it.
  stashed_ = rte_eth_rx_burst(id_, queue_, stash_.data(), kStash);
  if (stashed_ == 0) return true;
  disarm_wait();
  return false;
}

void Port::disarm_wait() {
  if (wait_fd_ >= 0 && !kernel_wakes_) rte_eth_dev_rx_intr_disable(id_, queue_);
}

void Port::forget_wakeups() const {
  // vhost's descriptor is an epoll set around the guest's eventfd; it stays readable until that one is read.
  const int fd = spec_.is_vhost() ? vhost_kick_fd(spec_, queue_) : wait_fd_;
  pollfd ready{fd, POLLIN, 0};
  uint64_t count = 0;
  if (fd >= 0 && poll(&ready, 1, 0) == 1 && read(fd, &count, sizeof count) < 0) return;
}

void Port::housekeeping(Instant) {
  if (spec_.is_virtio()) {
    // The PMD has no clean-up call and reclaims only inside a transmit that is short of slots. A frame that can never
    // fit makes it reclaim everything the other side has consumed, and is then refused untouched.
    alignas(64) static const rte_mbuf kTooLong = [] {
      rte_mbuf m{};
      m.refcnt = 1;
      m.nb_segs = 32'767;
      return m;
    }();
    rte_mbuf* frame = const_cast<rte_mbuf*>(&kTooLong);
    rte_eth_tx_burst(id_, queue_, &frame, 1);
    return;
  }
  if (cleanup_works_) cleanup_works_ = rte_eth_tx_done_cleanup(id_, queue_, 0) >= 0;
}

bool Port::link_up() const {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

runtime::DeviceCounters Port::counters() const {
  rte_eth_stats stats{};
  runtime::DeviceCounters out;
  if (queue_ != 0) {
    out.tx_errors = refused_;
    return out;
  }
  if (rte_eth_stats_get(id_, &stats) != 0) return out;
  out.rx_frames = stats.ipackets;
  out.rx_bytes = stats.ibytes;
  out.tx_frames = stats.opackets;
  out.tx_bytes = stats.obytes;
  out.rx_dropped = stats.imissed + stats.rx_nombuf;
  out.rx_errors = stats.ierrors;
  out.tx_errors = refused_ + stats.oerrors;
  return out;
}

}  // namespace millrace::drivers::dpdk
