#include "drivers/tap/device.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

namespace millrace::drivers::tap {
namespace {

constexpr size_t kEthernetHeader = 14;
constexpr Duration kLookEvery = milliseconds(100);
// A tail up to this long is copied out of the large buffer, so that a few bytes do not pin 64 KiB.
constexpr size_t kCopyBytes = 3 * pkt::kFrameRoom;

}  // namespace

TapDevice::TapDevice(std::string name, runtime::Descriptor fd, MacAddr mac, const link::DeviceLimits& limits,
                     const runtime::Resources& resources, LargePool& large)
    : name_(std::move(name)),
      fd_(std::move(fd)),
      mac_(mac),
      limits_(limits),
      cache_(*resources.frames, *resources.references),
      large_(large),
      wanted_frames_((limits.mtu + kEthernetHeader + pkt::kFrameRoom - 1) / pkt::kFrameRoom),
      merged_(limits.max_tso_bytes != 0) {}

TapDevice::~TapDevice() {
  for (size_t i = 0; i < posted_count_; ++i) cache_.free(posted_[i]);
  if (posted_large_ != nullptr) large_.give(posted_large_);
}

bool TapDevice::post() {
  size_t wanted = wanted_frames_;
  if (merged_) {
    if (posted_large_ == nullptr) posted_large_ = large_.take();
    wanted = posted_large_ != nullptr ? 1 : kFrames;
  }
  while (posted_count_ < wanted) {
    pkt::Packet* frame = cache_.frame();
    if (frame == nullptr) return false;
    posted_[posted_count_++] = frame;
  }
  return true;
}

// The head was filled by the read; this gives the segment behind it that holds the rest.
pkt::Packet* TapDevice::next_segment(size_t bytes) {
  if (bytes > kCopyBytes) {
    LargeBuffer* large = posted_large_;
    pkt::Packet* segment = cache_.reference(large->data(), large->iova, LargePool::kData, large->ext);
    if (segment == nullptr) return nullptr;
    posted_large_ = nullptr;
    segment->len = static_cast<uint16_t>(bytes);
    segment->total = static_cast<uint32_t>(bytes);
    return segment;
  }
  pkt::Packet* first = nullptr;
  for (size_t at = 0; at < bytes;) {
    pkt::Packet* segment = cache_.frame();
    if (segment == nullptr) {
      cache_.free(first);
      return nullptr;
    }
    const size_t n = std::min<size_t>(bytes - at, segment->tailroom());
    __builtin_memcpy(segment->append(static_cast<uint16_t>(n)), posted_large_->data() + at, n);
    if (first == nullptr) {
      first = segment;
    } else {
      pkt::chain(*first, segment);
    }
    at += n;
  }
  return first;
}

pkt::Packet* TapDevice::finish(size_t bytes) {
  pkt::Packet* head = posted_[0];
  size_t used = 1;
  const size_t in_head = std::min<size_t>(bytes, head->tailroom());
  head->append(static_cast<uint16_t>(in_head));
  size_t left = bytes - in_head;
  if (left != 0 && posted_large_ != nullptr && posted_count_ == 1) {
    pkt::Packet* rest = next_segment(left);
    if (rest == nullptr) {
      head->len = 0;
      head->total = 0;
      return nullptr;
    }
    pkt::chain(*head, rest);
    left = 0;
  }
  for (; left != 0; ++used) {
    pkt::Packet* segment = posted_[used];
    const size_t n = std::min<size_t>(left, segment->tailroom());
    segment->append(static_cast<uint16_t>(n));
    pkt::chain(*head, segment);
    left -= n;
  }
  posted_count_ -= used;
  for (size_t i = 0; i < posted_count_; ++i) posted_[i] = posted_[i + used];
  apply_header(header_, *head);
  return head;
}

size_t TapDevice::receive(std::span<pkt::Packet*> out) {
  // Each frame costs a system call, and so does finding that there is none: ask for about as many as came last time.
  const size_t limit = std::min(out.size(), std::max<size_t>(1, 2 * last_count_));
  size_t count = 0;
  while (count < limit && post()) {
    std::array<iovec, kFrames + 2> pieces;
    size_t n = 0;
    pieces[n++] = {&header_, sizeof header_};
    for (size_t i = 0; i < posted_count_; ++i) pieces[n++] = {posted_[i]->data(), posted_[i]->tailroom()};
    if (posted_large_ != nullptr && posted_count_ == 1) pieces[n++] = {posted_large_->data(), LargePool::kData};
    const ssize_t got = readv(fd_.get(), pieces.data(), static_cast<int>(n));
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) ++counters_.rx_errors;
      gone_ = errno == EBADFD;
      break;
    }
    if (static_cast<size_t>(got) < sizeof header_ + kEthernetHeader) {
      ++counters_.rx_errors;
      continue;
    }
    pkt::Packet* frame = finish(static_cast<size_t>(got) - sizeof header_);
    if (frame == nullptr) {
      ++counters_.rx_dropped;
      continue;
    }
    ++counters_.rx_frames;
    counters_.rx_bytes += frame->total;
    out[count++] = frame;
  }
  last_count_ = count;
  return count;
}

TapDevice::Sent TapDevice::send(pkt::Packet* frame) {
  std::array<iovec, kMaxSegments + 1> pieces;
  Header header = header_for(*frame);
  size_t n = 0;
  pieces[n++] = {&header, sizeof header};
  for (const pkt::Packet* s = frame; s != nullptr; s = s->next) {
    if (n == pieces.size()) {
      ++counters_.tx_errors;
      cache_.free(frame);
      return Sent::kTaken;
    }
    pieces[n++] = {s->data(), s->len};
  }
  fill_ip_checksum(*frame);
  LengthInChecksum length(*frame);
  ssize_t sent;
  do {
    sent = writev(fd_.get(), pieces.data(), static_cast<int>(n));
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)) {
    length.undo();
    return Sent::kBusy;
  }
  if (sent < 0) {
    ++counters_.tx_errors;
  } else {
    ++counters_.tx_frames;
    counters_.tx_bytes += frame->total;
  }
  cache_.free(frame);
  return Sent::kTaken;
}

void TapDevice::housekeeping(Instant now) {
  if (now < look_at_) return;
  look_at_ = now + kLookEvery;
  ifreq request{};
  if (ioctl(fd_.get(), TUNGETIFF, &request) != 0) return;
  if (!flags_asker_) flags_asker_.reset(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (ioctl(flags_asker_.get(), SIOCGIFFLAGS, &request) == 0) down_ = (request.ifr_flags & IFF_UP) == 0;
}

size_t TapDevice::transmit(std::span<pkt::Packet* const> frames) {
  size_t count = 0;
  while (count < frames.size() && send(frames[count]) == Sent::kTaken) ++count;
  return count;
}

}  // namespace millrace::drivers::tap
