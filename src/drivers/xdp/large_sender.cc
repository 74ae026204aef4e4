#include "drivers/xdp/large_sender.h"

#include <fmt/format.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "drivers/tap/virtio.h"
#include "wire/checksum.h"

namespace millrace::drivers::xdp {
namespace {

constexpr int kSendBuffer = 16 << 20;
constexpr uint32_t kTcpChecksumAt = 16;
constexpr uint32_t kUdpChecksumAt = 6;

}  // namespace

runtime::Outcome<LargeSender> LargeSender::open(const KernelInterface& interface) {
  runtime::Descriptor fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));  // protocol 0: sends only
  const int yes = 1;
  sockaddr_ll where{};
  where.sll_family = AF_PACKET;
  where.sll_ifindex = static_cast<int>(interface.index);
  if (!fd || setsockopt(fd.get(), SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes) != 0 ||
      bind(fd.get(), reinterpret_cast<sockaddr*>(&where), sizeof where) != 0) {
    return runtime::failure(fmt::format("cannot open a packet socket on {}: {}", interface.name, std::strerror(errno)),
                            "run as root, or give the program CAP_NET_RAW");
  }
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer, sizeof kSendBuffer);
  return LargeSender(std::move(fd));
}

bool LargeSender::send(pkt::Packet* frame, pkt::PacketCache& cache, runtime::DeviceCounters& counters) {
  std::array<iovec, kMaxSegments + 1> pieces;
  tap::Header header = tap::header_for(*frame);
  size_t n = 0;
  pieces[n++] = {&header, sizeof header};
  const pkt::Packet* segment = frame;
  for (; segment != nullptr && n < pieces.size(); segment = segment->next)
    pieces[n++] = {segment->data(), segment->len};
  tap::LengthInChecksum length(*frame);
  ssize_t sent = -1;
  errno = EMSGSIZE;
  if (segment == nullptr) {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = n;
    do {
      sent = sendmsg(fd_.get(), &message, MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
  }
  if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)) {
    length.undo();
    return false;
  }
  if (sent < 0) {
    ++counters.tx_errors;
  } else {
    ++counters.tx_frames;
    counters.tx_bytes += frame->total;
  }
  cache.free(frame);
  return true;
}

void finish_checksum(pkt::Packet& frame) {
  if ((frame.flags & pkt::kTxL4Mask) == 0) return;
  const bool udp = (frame.flags & pkt::kTxL4Mask) == pkt::kTxUdpChecksum;
  uint32_t skip = frame.l2_len() + frame.l3_len();
  std::byte* field = frame.data() + skip + (udp ? kUdpChecksumAt : kTcpChecksumAt);
  wire::Checksum sum;
  for (const pkt::Packet* p = &frame; p != nullptr; p = p->next) {
    const uint32_t from = std::min<uint32_t>(skip, p->len);
    sum.add({p->data() + from, static_cast<size_t>(p->len - from)});
    skip -= from;
  }
  wire::store_be16(field, udp ? wire::finish_nonzero(sum.sum()) : sum.finish());
  frame.flags &= ~pkt::kTxL4Mask;
}

}  // namespace millrace::drivers::xdp
