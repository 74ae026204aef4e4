// The receive half: RSS, rings, LRO, checksum verdicts, segment splits.
#include <algorithm>
#include <cstring>

#include "sim/nic.h"

namespace millrace::sim {
namespace {

constexpr uint8_t kTcp = 6;
constexpr size_t kMaxMerged = 65'000;

}  // namespace

Nic::Nic(EventHeap& heap, FrameStore& frames, pkt::PacketPool& packets, pkt::PacketPool& references,
         const NicConfig& config, Hooks hooks)
    : heap_(heap),
      frames_(frames),
      packets_(packets),
      references_(references),
      config_(config),
      hooks_(std::move(hooks)),
      rng_(config.seed),
      rx_(config.rx_queues) {
  for (auto& byte : rss_key_) byte = static_cast<uint8_t>(rng_.next());
  for (auto& entry : indirection_) entry = static_cast<uint8_t>(rng_.below(config_.rx_queues));
}

Nic::~Nic() {
  for (Sending& sending : tx_) free_chain(sending.packet, packets_, references_);
}

void Nic::receive(Frame* frame) {
  const Bytes& bytes = frame->bytes;
  const bool mine = bytes.size() >= 14 && ((bytes[0] & 1) != 0 || std::equal(config_.mac.bytes.begin(),
                                                                             config_.mac.bytes.end(), bytes.begin()));
  if (!mine || bytes.size() > size_t{config_.limits.mtu} + 14) {
    ++stats_.rx_other_mac;
    frames_.drop(frame);
    return;
  }
  uint32_t queue = 0;
  if (config_.rx_queues > 1) {
    const auto view = parse_tcp(bytes);
    const uint32_t hash = view ? rss_hash(rss_key_, *view) : rss_hash(rss_key_, bytes);
    queue = indirection_[hash % indirection_.size()];
  }
  if (rx_[queue].size() >= config_.rx_ring) {
    ++stats_.rx_ring_full;
    frames_.drop(frame);
    return;
  }
  rx_[queue].push_back(frame);
  hooks_.wake();
}

void Nic::change_table() {
  const auto only = static_cast<uint8_t>(rng_.below(config_.rx_queues));
  const uint64_t kind = rng_.below(3);
  for (auto& entry : indirection_) {
    if (kind == 0) entry = only;
    if (kind == 1) entry = static_cast<uint8_t>(rng_.below(config_.rx_queues));
    if (kind == 2 && rng_.chance(1, 16)) entry = only;
  }
}

// Merges `next` into `head` if both are plain data of one flow in order with the same acknowledgment and options.
bool Nic::try_merge(Bytes& head, const Bytes& next, uint32_t& seg_size) const {
  const auto a = parse_tcp(head);
  const auto b = parse_tcp(next);
  if (!a || !b || a->payload_len == 0 || b->payload_len == 0) return false;
  if ((a->flags & ~kPsh) != kAck || (b->flags & ~kPsh) != kAck || a->has(kPsh)) return false;
  if (a->reserved != b->reserved || head[14] != next[14] || head[15] != next[15]) return false;  // AE, traffic class
  if (a->v6 != b->v6 || a->source != b->source || a->destination != b->destination) return false;
  if (a->source_port != b->source_port || a->destination_port != b->destination_port) return false;
  if (a->seq + a->payload_len != b->seq || a->ack != b->ack || a->window != b->window) return false;
  if (a->option_bytes != b->option_bytes || a->payload != b->payload) return false;
  if (!std::equal(head.begin() + static_cast<long>(a->l4) + 20, head.begin() + static_cast<long>(a->payload),
                  next.begin() + static_cast<long>(b->l4) + 20)) {
    return false;
  }
  if (seg_size == 0) seg_size = static_cast<uint32_t>(a->payload_len);
  const bool short_before = a->payload_len % seg_size != 0;
  if (short_before || b->payload_len > seg_size || head.size() + b->payload_len > kMaxMerged) return false;
  head.resize(a->payload + a->payload_len);
  head.insert(head.end(), next.begin() + static_cast<long>(b->payload),
              next.begin() + static_cast<long>(b->payload + b->payload_len));
  uint8_t* ip = &head[14];
  head[a->l4 + 13] |= b->flags;
  if (a->v6) {
    store16(ip + 4, static_cast<uint16_t>(head.size() - 54));
  } else {
    store16(ip + 2, static_cast<uint16_t>(head.size() - 14));
    store16(ip + 10, 0);
    store16(ip + 10, static_cast<uint16_t>(~ones_sum({ip, a->l4 - 14})));
  }
  return true;
}

void Nic::set_receive_flags(pkt::Packet& packet, const Bytes& checked, Bytes& bytes) const {
  if (config_.rx_checksum == RxChecksum::kNone) return;
  const auto view = parse_tcp(checked);
  if (!view) return;
  if (!check_ip_frame(checked).empty()) {
    packet.flags |= pkt::kRxL4ChecksumBad;
    if (!view->v6 && ones_sum({&checked[14], view->l4 - 14}) != 0xffff) packet.flags |= pkt::kRxIpChecksumBad;
    return;
  }
  if (!view->v6) packet.flags |= pkt::kRxIpChecksumGood;
  if (config_.rx_checksum == RxChecksum::kVerified) {
    packet.flags |= pkt::kRxL4ChecksumGood;
    return;
  }
  packet.flags |= pkt::kRxL4ChecksumNone;
  const auto merged = parse_tcp(bytes);
  const auto l4_len = static_cast<uint32_t>(merged->payload + merged->payload_len - merged->l4);
  store16(&bytes[merged->l4 + 16], pseudo_sum(&bytes[14], merged->v6, kTcp, l4_len));
}

// `checked` is the frame whose checksum the device looked at: the first of those merged into `bytes`.
pkt::Packet* Nic::to_packet(const Bytes& whole, const Bytes& checked, uint32_t seg_size) {
  pkt::Packet* head = nullptr;
  Bytes bytes = whole;
  uint64_t flags = 0;
  {
    pkt::Packet verdict{};
    set_receive_flags(verdict, checked, bytes);
    flags = verdict.flags;
  }
  const auto view = parse_tcp(bytes);
  const size_t headers = view ? view->payload : bytes.size();
  for (size_t at = 0; at < bytes.size();) {
    pkt::Packet* p = nullptr;
    if (packets_.allocate({&p, 1}) == 0) {
      if (head != nullptr) free_chain(head, packets_, references_);
      return nullptr;
    }
    size_t n = std::min<size_t>(bytes.size() - at, pkt::kFrameRoom);
    if (config_.odd_splits && rng_.chance(1, 2)) {
      const size_t least = std::min(n, at == 0 ? headers : 1);
      n = least + rng_.below(n - least + 1);
    }
    p->off = pkt::kHeadroom;
    p->len = static_cast<uint16_t>(n);
    p->total = static_cast<uint32_t>(n);
    p->segs = 1;
    p->flags = 0;
    p->next = nullptr;
    p->tx_offload = 0;
    p->ext = nullptr;
    std::memcpy(p->data(), bytes.data() + at, n);
    at += n;
    if (head == nullptr) head = p;
    else pkt::chain(*head, p);
  }
  MR_ASSERT(head != nullptr);
  head->flags = flags;
  if (seg_size != 0) {
    head->flags |= pkt::kRxMerged;
    head->set_tx_lengths(0, 0, 0, seg_size);
  }
  if (config_.rx_queues > 1 && view) {
    head->rss = rss_hash(rss_key_, *view);
    head->flags |= pkt::kRxRssHash;
  }
  return head;
}

size_t Nic::poll(uint32_t queue, std::span<pkt::Packet*> out) {
  auto& ring = rx_[queue];
  size_t count = 0;
  while (count < out.size() && !ring.empty()) {
    Frame* first = ring.front();
    ring.pop_front();
    Bytes bytes = first->bytes;
    uint32_t seg_size = 0;
    std::vector<Frame*> parts{first};
    const bool mergeable = config_.lro && check_ip_frame(first->bytes).empty();
    while (mergeable && !ring.empty() && check_ip_frame(ring.front()->bytes).empty() &&
           try_merge(bytes, ring.front()->bytes, seg_size)) {
      ++stats_.rx_merged;
      parts.push_back(ring.front());
      ring.pop_front();
    }
    if (parts.size() == 1) seg_size = 0;
    pkt::Packet* packet = to_packet(bytes, first->bytes, seg_size);
    if (packet == nullptr) ++stats_.rx_no_buffer;
    else out[count++] = packet;
    for (Frame* part : parts) {
      if (packet != nullptr) {
        ++stats_.rx_frames;
        hooks_.received(*part);
      }
      frames_.drop(part);
    }
  }
  return count;
}

}  // namespace millrace::sim
