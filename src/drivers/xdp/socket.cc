#include "drivers/xdp/socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace millrace::drivers::xdp {
namespace {

using runtime::failure;
using runtime::Outcome;

// Newer than the headers of Debian 12.
constexpr uint16_t kUseSegments = 1 << 4;  // XDP_USE_SG
constexpr uint32_t kMoreFollows = 1 << 0;  // XDP_PKT_CONTD
constexpr int kPreferBusyPoll = 69;        // SO_PREFER_BUSY_POLL
constexpr int kBusyPollBudget = 70;        // SO_BUSY_POLL_BUDGET
constexpr int kBusyPollUs = 20;
constexpr int kBusyPollFrames = 64;
constexpr int kMaxSendBudget = 9;  // XDP_MAX_TX_SKB_BUDGET
constexpr uint32_t kFillBatch = 64;
constexpr int kCloseRounds = 20;
constexpr int kCloseWaitUs = 1'000;
constexpr int kSendBuffer = 64 << 20;  // the kernel's limit of frames on their way, in bytes

Outcome<void> explain(const Socket::Options& options, int error) {
  const std::string what = fmt::format("cannot open queue {} of {}", options.queue, options.interface);
  switch (error) {
    case EPERM:
    case EACCES:
      return failure(fmt::format("no permission to open queue {} of {}", options.queue, options.interface),
                     "run as root, or give the program CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF");
    case EAFNOSUPPORT:
      return failure("this kernel has no AF_XDP", "it needs CONFIG_XDP_SOCKETS and Linux 5.9 or newer");
    case EBUSY:
      return failure(
          fmt::format("queue {} of {} is in use by another AF_XDP program", options.queue, options.interface),
          "stop that program; bpftool net shows what is attached");
    case ENOBUFS:
    case ENOMEM:
      return failure(what + ": the memory cannot be locked",
                     "raise the limit (ulimit -l unlimited, LimitMEMLOCK=infinity), give CAP_IPC_LOCK, or lower "
                     "worker.frames");
    case EOPNOTSUPP:
    case EINVAL:
      if (options.copy == Copy::kZeroCopy) {
        return failure(fmt::format("{} has no zero-copy AF_XDP", options.interface), "say xdp_mode=auto");
      }
      return failure(fmt::format("{}: {}", what, std::strerror(error)),
                     options.segments ? "an MTU beyond one page needs Linux 6.6; lower mtu" : "is there such a queue?");
    default: return failure(fmt::format("{}: {}", what, std::strerror(error)));
  }
}

}  // namespace

int Socket::create(const Options& options) {
  xsk_umem_config umem{};
  umem.fill_size = options.receive_slots;
  umem.comp_size = kSendSlots;
  umem.frame_size = UmemPool::kChunk;
  const int error = -xsk_umem__create(&umem_, pool_.area(), pool_.area_bytes(), &fill_, &completion_, &umem);
  if (error != 0) return error;
  xsk_socket_config config{};
  config.rx_size = options.receive_slots;
  config.tx_size = kSendSlots;
  config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
  config.bind_flags = XDP_USE_NEED_WAKEUP;
  if (options.copy == Copy::kZeroCopy) config.bind_flags |= XDP_ZEROCOPY;
  if (options.copy == Copy::kCopy) config.bind_flags |= XDP_COPY;
  if (options.segments) config.bind_flags |= kUseSegments;
  segments_ = options.segments;
  return -xsk_socket__create(&socket_, options.interface.c_str(), options.queue, umem_, &receive_, &send_, &config);
}

Outcome<std::unique_ptr<Socket>> Socket::open(const Options& options, UmemPool& pool, pkt::PacketCache& cache) {
  std::unique_ptr<Socket> socket(new Socket(pool, cache));
  if (const int error = socket->create(options); error != 0) {
    return tl::unexpected<runtime::Failure>(explain(options, error).error());
  }
  const int fd = socket->fd();
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer, sizeof kSendBuffer);
  const uint32_t budget = kSendSlots;
  setsockopt(fd, SOL_XDP, kMaxSendBudget, &budget, sizeof budget);  // Linux 6.17; without it, 32 frames a call
  if (options.busy_poll) {
    const int yes = 1;
    socket->busy_poll_ = setsockopt(fd, SOL_SOCKET, kPreferBusyPoll, &yes, sizeof yes) == 0 &&
                         setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &kBusyPollUs, sizeof kBusyPollUs) == 0 &&
                         setsockopt(fd, SOL_SOCKET, kBusyPollBudget, &kBusyPollFrames, sizeof kBusyPollFrames) == 0;
    if (!socket->busy_poll_) {
      return failure(
          fmt::format("cannot poll queue {} of {}: {}", options.queue, options.interface, std::strerror(errno)),
          "busy_poll needs Linux 5.11 and CAP_NET_ADMIN; leave it out");
    }
  }
  xdp_options got{};
  socklen_t length = sizeof got;
  if (getsockopt(fd, SOL_XDP, XDP_OPTIONS, &got, &length) == 0) {
    socket->zero_copy_ = (got.flags & XDP_OPTIONS_ZEROCOPY) != 0;
  }
  socket->fill_missing_ = options.receive_slots;
  socket->fill();
  if (socket->fill_missing_ != 0) {
    return failure(fmt::format("not enough packets for the {} receive slots of queue {} of {}", options.receive_slots,
                               options.queue, options.interface),
                   "raise worker.frames");
  }
  return socket;
}

Socket::~Socket() {
  cache_.free(partial_);
  if (socket_ != nullptr) close_socket();
  if (umem_ != nullptr) xsk_umem__delete(umem_);
}

// Gets every packet back. What lies in the rings goes unmapped with the socket, so it is noted first; once the socket
// is gone the kernel touches no chunk any more.
void Socket::close_socket() {
  for (int round = 0; round < kCloseRounds && in_flight_ != 0; ++round) {
    kick();
    reclaim();
    if (in_flight_ != 0) usleep(kCloseWaitUs);
  }
  std::vector<pkt::Packet*> back;
  for (uint32_t i = __atomic_load_n(fill_.consumer, __ATOMIC_ACQUIRE); i != *fill_.producer; ++i) {
    back.push_back(pool_.packet_at(*xsk_ring_prod__fill_addr(&fill_, i)));
  }
  for (uint32_t i = *receive_.consumer; i != __atomic_load_n(receive_.producer, __ATOMIC_ACQUIRE); ++i) {
    back.push_back(pool_.packet_at(xsk_ring_cons__rx_desc(&receive_, i)->addr));
  }
  for (uint32_t i = __atomic_load_n(send_.consumer, __ATOMIC_ACQUIRE); i != *send_.producer; ++i) {
    back.push_back(pool_.packet_at(xsk_ring_prod__tx_desc(&send_, i)->addr));
  }
  xsk_socket__delete(socket_);
  for (pkt::Packet* p : back) cache_.free(p);
}

void Socket::fill() {
  uint32_t at = 0;
  while (fill_missing_ != 0) {
    const uint32_t wanted = std::min(fill_missing_, kFillBatch);
    if (xsk_ring_prod__reserve(&fill_, wanted, &at) == 0) return;
    uint32_t n = 0;
    for (; n < wanted; ++n) {
      pkt::Packet* p = cache_.frame();
      if (p == nullptr) break;
      *xsk_ring_prod__fill_addr(&fill_, at + n) = pool_.address_of(p->buf) + pkt::kHeadroom - UmemPool::kDataAt;
    }
    fill_.cached_prod -= wanted - n;
    if (n == 0) return;
    xsk_ring_prod__submit(&fill_, n);
    fill_missing_ -= n;
    if (n < wanted) return;
  }
}

size_t Socket::receive(std::span<pkt::Packet*> out, runtime::DeviceCounters& counters) {
  uint32_t at = 0;
  const auto wanted = static_cast<uint32_t>(out.size());
  uint32_t got = xsk_ring_cons__peek(&receive_, wanted, &at);
  if (got == 0 && (busy_poll_ || (zero_copy_ && xsk_ring_prod__needs_wakeup(&fill_)))) {
    wake_receiver();
    got = xsk_ring_cons__peek(&receive_, wanted, &at);
  }
  if (got == 0) return 0;
  size_t count = 0;
  for (uint32_t i = 0; i < got; ++i) {
    const xdp_desc& descriptor = *xsk_ring_cons__rx_desc(&receive_, at + i);
    pkt::Packet* p = pool_.packet_at(descriptor.addr);
    p->off = static_cast<uint16_t>(pool_.area() + descriptor.addr - p->buf);
    p->len = static_cast<uint16_t>(descriptor.len);
    p->total = descriptor.len;
    p->segs = 1;
    p->flags = 0;
    p->next = nullptr;
    p->tx_offload = 0;
    if (partial_ != nullptr) {
      pkt::chain(*partial_, p);
      p = partial_;
      partial_ = nullptr;
    }
    if ((descriptor.options & kMoreFollows) != 0) [[unlikely]] {
      partial_ = p;
      continue;
    }
    ++counters.rx_frames;
    counters.rx_bytes += p->total;
    out[count++] = p;
  }
  xsk_ring_cons__release(&receive_, got);
  fill_missing_ += got;
  fill();
  return count;
}

void Socket::reclaim() {
  uint32_t at = 0;
  const uint32_t done = xsk_ring_cons__peek(&completion_, kSendSlots, &at);
  if (done == 0) return;
  for (uint32_t i = 0; i < done; ++i) {
    cache_.free(pool_.packet_at(*xsk_ring_cons__comp_addr(&completion_, at + i)));
  }
  xsk_ring_cons__release(&completion_, done);
  in_flight_ -= done;
}

void Socket::describe(uint32_t slot, const pkt::Packet& chunk, bool more) {
  xdp_desc* descriptor = xsk_ring_prod__tx_desc(&send_, slot);
  descriptor->addr = pool_.address_of(chunk.data());
  descriptor->len = chunk.len;
  descriptor->options = more ? kMoreFollows : 0;
}

bool Socket::put(pkt::Packet* frame, runtime::DeviceCounters& counters) {
  if (frame->next != nullptr || (frame->flags & pkt::kExternal) != 0) return put_copy(frame, counters);
  uint32_t slot = 0;
  if (in_flight_ >= kSendSlots || xsk_ring_prod__reserve(&send_, 1, &slot) == 0) return false;
  describe(slot, *frame, false);
  ++in_flight_;
  ++counters.tx_frames;
  counters.tx_bytes += frame->total;
  return true;
}

// A frame that does not lie in one chunk of the pool is copied into as few as hold it.
bool Socket::put_copy(pkt::Packet* frame, runtime::DeviceCounters& counters) {
  const auto chunks = static_cast<uint32_t>((frame->total + UmemPool::kRoom - 1) / UmemPool::kRoom);
  if (chunks > (segments_ ? kMaxSegments : 1)) {
    ++counters.tx_errors;
    cache_.free(frame);
    return true;
  }
  std::array<pkt::Packet*, kMaxSegments> copies;
  for (uint32_t i = 0; i < chunks; ++i) {
    copies[i] = cache_.frame();
    if (copies[i] != nullptr) continue;
    while (i != 0) cache_.free(copies[--i]);
    return false;
  }
  uint32_t slot = 0;
  if (in_flight_ + chunks > kSendSlots || xsk_ring_prod__reserve(&send_, chunks, &slot) == 0) {
    for (uint32_t i = 0; i < chunks; ++i) cache_.free(copies[i]);
    return false;
  }
  uint32_t offset = 0;
  for (uint32_t i = 0; i < chunks; ++i) {
    const uint32_t n = std::min<uint32_t>(frame->total - offset, UmemPool::kRoom);
    pkt::copy_out(*frame, offset, {copies[i]->append(static_cast<uint16_t>(n)), n});
    offset += n;
    describe(slot + i, *copies[i], i + 1 < chunks);
  }
  in_flight_ += chunks;
  ++counters.tx_frames;
  counters.tx_bytes += frame->total;
  cache_.free(frame);
  return true;
}

// In copy mode this call is what sends: the kernel takes so many frames from the ring, on this CPU.
void Socket::kick() {
  uint32_t before = 0;
  for (;;) {
    const uint32_t left = *send_.producer - __atomic_load_n(send_.consumer, __ATOMIC_ACQUIRE);
    stuck_ = left != 0;
    if (left == 0 || !xsk_ring_prod__needs_wakeup(&send_) || left == before) return;
    before = left;
    if (sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) < 0 && errno != EAGAIN && errno != EBUSY) return;
    if (zero_copy_) return;
    reclaim();
  }
}

size_t Socket::transmit(std::span<pkt::Packet* const> frames, runtime::DeviceCounters& counters) {
  reclaim();
  const uint32_t first = send_.cached_prod;
  size_t count = 0;
  while (count < frames.size() && put(frames[count], counters)) ++count;
  if (send_.cached_prod != first) xsk_ring_prod__submit(&send_, send_.cached_prod - first);
  kick();
  return count;
}

void Socket::housekeeping() {
  reclaim();
  if (stuck_) kick();
  if (fill_missing_ != 0) fill();
}

bool Socket::arm_wait() {
  if (xsk_cons_nb_avail(&receive_, 1) != 0) return false;
  if (stuck_) kick();
  if (xsk_ring_prod__needs_wakeup(&fill_)) wake_receiver();
  return true;
}

void Socket::wake_receiver() const { recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr); }

uint64_t Socket::lost() const {
  xdp_statistics statistics{};
  socklen_t length = sizeof statistics;
  if (getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &statistics, &length) != 0) return 0;
  return statistics.rx_dropped + statistics.rx_ring_full + statistics.rx_fill_ring_empty_descs;
}

}  // namespace millrace::drivers::xdp
