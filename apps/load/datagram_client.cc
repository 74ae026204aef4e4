// See datagram_client.h.
#include "load/datagram_client.h"

#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/udp.h"

namespace millrace::load {

namespace {

constexpr size_t kAhead = 4;
constexpr auto kIpAt = static_cast<uint32_t>(wire::kEthernetSize);

bool checksum_good(const pkt::Packet& p, const wire::UdpView& udp, const IpAddr& from, const IpAddr& to) {
  const uint64_t said = p.flags & pkt::kRxL4ChecksumMask;
  if (said == pkt::kRxL4ChecksumGood || said == pkt::kRxL4ChecksumNone) return true;
  return said != pkt::kRxL4ChecksumBad && udp.checksum_ok(from, to);
}

}  // namespace

DatagramClient::DatagramClient(const DatagramSettings& settings, const runtime::FramePort& port, uint64_t (*clock)())
    : settings_(settings), port_(port), clock_(clock), flows_(settings.flows) {
  MR_ASSERT(settings_.window > 0 && settings_.window <= EchoWindow::kLargest && settings_.size >= 16);
  MR_ASSERT(settings_.first_port + settings_.flows <= 65'536);
  build_template();
  for (uint32_t i = 0; i < settings_.flows; ++i) {
    flows_[i].ready = true;
    ready_.push_back(i);
  }
}

void DatagramClient::build_template() {
  const bool v4 = settings_.target.addr.is_v4();
  const size_t bytes = wire::kUdpSize + settings_.size;
  udp_at_ = static_cast<uint16_t>(kIpAt + (v4 ? wire::kIpv4MinSize : wire::kIpv6Size));
  device_checksum_ = v4 ? port_.limits.tx_checksum_v4 : port_.limits.tx_checksum_v6;
  headers_.resize(udp_at_ + wire::kUdpSize);
  MR_ASSERT(udp_at_ + bytes <= pkt::kFrameRoom);
  const SegmentRoute route{port_.mac, settings_.next_hop, settings_.source, settings_.target, device_checksum_};
  emit_below(route, wire::kProtocolUdp, bytes, headers_);
  wire::UdpHeader udp{0, settings_.target.port, static_cast<uint16_t>(bytes), 0};
  pseudo_ = wire::pseudo_sum(settings_.source, settings_.target.addr, wire::kProtocolUdp, static_cast<uint32_t>(bytes));
  if (device_checksum_) {
    udp.checksum = wire::fold(pseudo_);
    tx_flags_ = pkt::kTxUdpChecksum | (v4 ? pkt::kTxIpv4 : pkt::kTxIpv6);
  }
  udp.emit(wire::MutableBytes(headers_).subspan(udp_at_));
}

void DatagramClient::write(pkt::Packet& p, uint32_t flow, uint64_t sequence) const {
  std::byte* at = p.append(static_cast<uint16_t>(headers_.size() + settings_.size));
  std::memcpy(at, headers_.data(), headers_.size());
  std::byte* udp = at + udp_at_;
  wire::store_be16(udp, static_cast<uint16_t>(settings_.first_port + flow));
  stamp_datagram({udp + wire::kUdpSize, settings_.size}, flow, sequence);
  if (device_checksum_) {
    p.flags |= tx_flags_;
    p.set_tx_lengths(wire::kEthernetSize, udp_at_ - kIpAt, wire::kUdpSize, 0);
    return;
  }
  const uint64_t sum = wire::sum_bytes(udp, wire::kUdpSize + settings_.size);
  wire::store_be16(udp + 6, wire::finish_nonzero(wire::add_sums(pseudo_, sum)));
}

size_t DatagramClient::output(std::span<pkt::Packet*> out) {
  size_t n = 0;
  while (n < out.size() && wants_output()) {
    const uint32_t i = ready_.back();
    EchoWindow& w = flows_[i].window;
    while (n < out.size() && w.in_flight() < settings_.window) {
      pkt::Packet* p = port_.packets->frame();
      if (p == nullptr) {
        ++counters_.no_packets;
        return n;
      }
      write(*p, i, w.next());
      if (!w.sent(clock_)) ++counters_.lost;
      out[n++] = p;
    }
    if (w.in_flight() < settings_.window) break;  // `out` is full
    flows_[i].ready = false;
    ready_.pop_back();
  }
  return n;
}

size_t DatagramClient::input(std::span<pkt::Packet*> frames) {
  size_t others = 0;
  for (size_t i = 0; i < frames.size(); ++i) {
    if (i + kAhead < frames.size()) __builtin_prefetch(frames[i + kAhead]->data());
    if (take(*frames[i])) {
      port_.packets->free(frames[i]);
    } else {
      frames[others++] = frames[i];
    }
  }
  return others;
}

/// Whether the frame is an answer to a flow of ours, whatever it is worth.
bool DatagramClient::take(const pkt::Packet& p) {
  const auto ethernet = wire::EthernetView::check(p.bytes());
  if (!ethernet) return false;
  const IpAddr& server = settings_.target.addr;
  wire::Bytes datagram;
  if (ethernet->type() == wire::EtherType::kIpv4) {
    const auto ip = wire::Ipv4View::check(ethernet->payload());
    if (!ip || ip->protocol() != wire::kProtocolUdp || ip->is_fragment()) return false;
    if (ip->source() != server || ip->destination() != settings_.source) return false;
    datagram = ip->payload();
  } else if (ethernet->type() == wire::EtherType::kIpv6) {
    const auto ip = wire::Ipv6View::check(ethernet->payload());
    if (!ip || ip->next_header() != wire::kProtocolUdp) return false;
    if (ip->source() != server || ip->destination() != settings_.source) return false;
    datagram = ip->payload();
  }
  const auto udp = wire::UdpView::check(datagram);
  if (!udp || udp->source_port() != settings_.target.port) return false;
  const uint32_t flow = uint32_t{udp->destination_port()} - settings_.first_port;
  if (flow >= settings_.flows) return false;
  if (!checksum_good(p, *udp, server, settings_.source)) {
    ++counters_.bad_checksum;
  } else {
    answered(flow, udp->payload());
  }
  return true;
}

void DatagramClient::answered(uint32_t index, wire::Bytes payload) {
  Flow& f = flows_[index];
  const auto sequence = read_stamp(payload, index, settings_.size);
  switch (sequence ? f.window.take(*sequence) : EchoWindow::Answer::kNotAsked) {
    case EchoWindow::Answer::kNotAsked: ++counters_.wrong; return;
    case EchoWindow::Answer::kAgain: ++counters_.again; return;
    case EchoWindow::Answer::kTimed: latency_.record(clock_() - f.window.timed_at()); [[fallthrough]];
    case EchoWindow::Answer::kGood: ++counters_.answers;
  }
  make_ready(index);
}

void DatagramClient::make_ready(uint32_t index) {
  if (flows_[index].ready) return;
  flows_[index].ready = true;
  ready_.push_back(index);
}

void DatagramClient::give_up_after(uint32_t ticks) {
  for (uint32_t i = 0; i < settings_.flows; ++i) {
    const uint32_t lost = flows_[i].window.give_up_after(ticks);
    counters_.lost += lost;
    if (lost != 0) make_ready(i);
  }
}

}  // namespace millrace::load
