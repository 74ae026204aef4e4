#include "drivers/xdp/device.h"

#include <fmt/format.h>
#include <net/if.h>
#include <sys/epoll.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "drivers/xdp/unfinished.h"

namespace millrace::drivers::xdp {
namespace {

using runtime::failure;
using runtime::Failure;
using runtime::Outcome;

constexpr size_t kEthernetHeader = 14;
constexpr size_t kMostReceiveSlots = 2048;
constexpr uint16_t kMostSegments = 64;  // copied where they must lie in one piece
constexpr uint32_t kLargestFrame = 65'535 + 14;
constexpr Duration kLookEvery = milliseconds(100);

Copy copy_of(const std::string& mode) {
  if (mode == "zero-copy") return Copy::kZeroCopy;
  return mode == "auto" ? Copy::kAuto : Copy::kCopy;
}

struct PortSets {
  Filter::PortBits tcp{};
  Filter::PortBits udp{};
};

}  // namespace

XdpDevice::XdpDevice(const conf::Interface& interface, const KernelInterface& kernel, const Seat& seat)
    : name_(interface.name),
      kernel_(kernel),
      mac_(interface.mac.value_or(kernel.mac)),
      pool_(*seat.pool),
      cache_(*seat.resources.frames, *seat.resources.references),
      by_port_(!interface.ports.empty()),
      unfinished_(leaves_checksums_unfinished(kernel)) {
  limits_.mtu = interface.mtu != 0 ? interface.mtu : kernel.mtu;
  limits_.max_segments = kMostSegments;
  segments_ = limits_.mtu + kEthernetHeader > UmemPool::kRoom;
}

XdpDevice::~XdpDevice() = default;

Outcome<std::vector<std::unique_ptr<XdpDevice>>> XdpDevice::open(const conf::Interface& interface,
                                                                 const KernelInterface& kernel,
                                                                 std::span<const Seat> seats) {
  std::vector<std::unique_ptr<XdpDevice>> devices;
  for (const Seat& seat : seats) devices.push_back(std::unique_ptr<XdpDevice>(new XdpDevice(interface, kernel, seat)));
  XdpDevice& first = *devices.front();
  if (auto done = first.attach(interface); !done) return tl::unexpected<Failure>(done.error());
  for (size_t i = 0; i < devices.size(); ++i) {
    if (auto done = devices[i]->open_queues(interface, *first.filter_, i, devices.size()); !done) {
      return tl::unexpected<Failure>(done.error());
    }
  }
  if (auto done = first.open_copies(); !done) return tl::unexpected<Failure>(done.error());
  return devices;
}

Outcome<void> XdpDevice::open_queues(const conf::Interface& interface, Filter& filter, size_t worker, size_t workers) {
  hook_ = filter.hook();
  if (auto done = open_sockets(interface, filter, worker, workers); !done) return done;
  return open_large_sender();
}

Outcome<void> XdpDevice::attach(const conf::Interface& interface) {
  Filter::Options options;
  options.mac = mac_;
  options.queues = kernel_.queues;
  options.frags = segments_;
  options.by_port = by_port_;
  options.try_native = interface.xdp_mode != "generic";
  options.try_generic = interface.xdp_mode == "generic" || interface.xdp_mode == "auto";
  auto filter = Filter::attach(kernel_, options);
  if (!filter) return tl::unexpected<Failure>(filter.error());
  filter_ = std::move(*filter);
  if (!by_port_) return {};
  const auto bits = std::make_unique<PortSets>();
  for (const conf::PortRange& range : interface.ports) {
    for (uint32_t port = range.low; port <= range.high; ++port) {
      const uint64_t bit = uint64_t{1} << (port % 64);
      if (range.tcp) bits->tcp[port / 64] |= bit;
      if (range.udp) bits->udp[port / 64] |= bit;
    }
  }
  return filter_->set_ports(bits->tcp, bits->udp);
}

Outcome<void> XdpDevice::open_sockets(const conf::Interface& interface, Filter& filter, size_t worker, size_t workers) {
  queues_ = interface.queues != 0 ? interface.queues : kernel_.queues;
  if (queues_ > kernel_.queues) {
    return failure(fmt::format("{} has {} receive queues, not {}", kernel_.name, kernel_.queues, queues_),
                   fmt::format("ethtool -L {} combined {} gives it more, if the device can", kernel_.name, queues_));
  }
  if (queues_ < workers && workers <= kernel_.queues) {
    return failure(
        fmt::format("queues={} is too few for {} workers", queues_, workers),
        fmt::format("leave queues out: {} has {} receive queues; or lower workers", kernel_.name, kernel_.queues));
  }
  if (queues_ < workers) {
    return failure(fmt::format("{} has {} receive queue{} for {} workers", kernel_.name, queues_,
                               queues_ == 1 ? "" : "s", workers),
                   fmt::format("ethtool -L {} combined {} gives it more, if the device can (veth: rx {} tx {}); or "
                               "lower workers",
                               kernel_.name, workers, workers, workers));
  }
  wait_.reset(epoll_create1(EPOLL_CLOEXEC));
  Socket::Options options;
  options.interface = kernel_.name;
  options.copy = hook_ == Hook::kGeneric ? Copy::kCopy : copy_of(interface.xdp_mode);
  merged_ = hook_ == Hook::kGeneric;
  options.segments = segments_ || merged_;
  options.busy_poll = interface.busy_poll;
  const size_t own = (queues_ - worker + workers - 1) / workers;
  options.receive_slots = static_cast<uint32_t>(
      std::min(kMostReceiveSlots, std::bit_floor(std::max<size_t>(pool_.capacity() / (4 * own), 64))));
  for (size_t queue = worker; queue < queues_; queue += workers) {
    options.queue = static_cast<uint32_t>(queue);
    auto socket = open_socket(options);
    if (!socket) return tl::unexpected<Failure>(socket.error());
    if (!wait_for((*socket)->fd())) {
      return failure(fmt::format("cannot wait for {}: {}", kernel_.name, std::strerror(errno)));
    }
    if (auto done = filter.set_socket(options.queue, (*socket)->fd()); !done) return done;
    sockets_.push_back(std::move(*socket));
  }
  return {};
}

// Behind the driver, the kernel's own uncut segments arrive: a kernel that can passes them on (Linux 6.6).
Outcome<std::unique_ptr<Socket>> XdpDevice::open_socket(Socket::Options& options) {
  auto socket = Socket::open(options, pool_, cache_);
  if (socket || !options.segments || segments_) return socket;
  options.segments = false;
  return Socket::open(options, pool_, cache_);
}

bool XdpDevice::wait_for(int fd) const {
  epoll_event event{};
  event.events = EPOLLIN;
  return epoll_ctl(wait_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

Outcome<void> XdpDevice::open_copies() {
  auto copies = Copies::open(kernel_, mac_, by_port_);
  if (!copies) return tl::unexpected<Failure>(copies.error());
  copies_.emplace(std::move(*copies));
  for (const int fd : copies_->fds()) {
    if (!wait_for(fd)) return failure(fmt::format("cannot wait for {}: {}", kernel_.name, std::strerror(errno)));
  }
  return {};
}

Outcome<void> XdpDevice::open_large_sender() {
  if (sockets_[0]->zero_copy()) return {};
  auto sender = LargeSender::open(kernel_);
  if (!sender) return tl::unexpected<Failure>(sender.error());
  large_.emplace(std::move(*sender));
  limits_.tx_checksum_v4 = limits_.tx_checksum_v6 = true;
  limits_.tso_v4 = limits_.tso_v6 = true;
  limits_.max_tso_bytes = kLargestFrame;
  return {};
}

// The kernel sends on both ways within the call, so frames keep their order.
size_t XdpDevice::transmit(std::span<pkt::Packet* const> frames) {
  Socket& socket = *sockets_[0];
  size_t done = 0;
  while (done < frames.size()) {
    size_t end = done;
    while (end < frames.size() && !LargeSender::wants(*frames[end])) finish_checksum(*frames[end++]);
    if (end != done) done += socket.transmit(frames.subspan(done, end - done), counters_);
    if (done != end || end == frames.size()) break;
    if (socket.stuck() || !large_->send(frames[done], cache_, counters_)) break;
    ++done;
  }
  return done;
}

Outcome<void> XdpDevice::set_addresses(std::span<const IpAddr> addresses) {
  std::vector<IpAddr> unicast;
  for (const IpAddr& address : addresses) {
    if (!address.is_multicast()) unicast.push_back(address);
  }
  copies_->set_addresses(addresses);
  return filter_->set_addresses(unicast);
}

size_t XdpDevice::receive(std::span<pkt::Packet*> out) {
  size_t count = 0;
  for (size_t i = 0; i < sockets_.size() && count < out.size(); ++i) {
    count += sockets_[next_]->receive(out.subspan(count), counters_);
    if (++next_ == sockets_.size()) next_ = 0;
  }
  if (copies_due_) [[unlikely]] {
    const size_t copies = copies_->receive(out.subspan(count), cache_);
    for (size_t i = count; i < count + copies; ++i) {
      ++counters_.rx_frames;
      counters_.rx_bytes += out[i]->total;
    }
    count += copies;
    copies_due_ = count == out.size();
  }
  if (merged_) count = check_merged(out.first(count));
  if (unfinished_) {
    for (size_t i = 0; i < count; ++i) mark_unfinished_checksum(*out[i]);
  }
  return count;
}

// Frames that are too long and cannot be told apart are dropped.
size_t XdpDevice::check_merged(std::span<pkt::Packet*> frames) {
  size_t kept = 0;
  for (pkt::Packet* frame : frames) {
    if (frame->total > limits_.mtu + kEthernetHeader && !mark_merged(*frame, limits_.mtu)) {
      ++counters_.rx_errors;
      cache_.free(frame);
      continue;
    }
    frames[kept++] = frame;
  }
  return kept;
}

bool XdpDevice::arm_wait() {
  bool quiet = true;
  for (const auto& socket : sockets_) quiet = socket->arm_wait() && quiet;
  return quiet;
}

void XdpDevice::housekeeping(Instant now) {
  for (const auto& socket : sockets_) socket->housekeeping();
  copies_due_ = copies_.has_value();
  if (now < look_at_) return;
  look_at_ = now + kLookEvery;
  const LinkState link = look_at_link(kernel_);
  gone_ = gone_ || !link.exists;
  up_ = !gone_ && link.running;
}

runtime::DeviceCounters XdpDevice::counters() const {
  runtime::DeviceCounters counters = counters_;
  for (const auto& socket : sockets_) counters.rx_dropped += socket->lost();
  return counters;
}

std::string XdpDevice::describe() const {
  return fmt::format("{} XDP, {}, {} queue{}", hook_ == Hook::kNative ? "native" : "generic",
                     sockets_[0]->zero_copy() ? "zero-copy" : "copy", queues_, queues_ == 1 ? "" : "s");
}

}  // namespace millrace::drivers::xdp
