#include "frames.h"

#include <cstring>

namespace millrace::test {
namespace {

using Bytes = std::span<std::byte>;

void put16(Bytes b, size_t at, uint32_t v) {
  b[at] = static_cast<std::byte>(v >> 8);
  b[at + 1] = static_cast<std::byte>(v);
}
void put32(Bytes b, size_t at, uint32_t v) {
  put16(b, at, v >> 16);
  put16(b, at + 2, v & 0xffff);
}
uint32_t get16(std::span<const std::byte> b, size_t at) {
  return static_cast<uint32_t>(b[at]) << 8 | static_cast<uint32_t>(b[at + 1]);
}

uint64_t sum(std::span<const std::byte> b) {
  uint64_t total = 0;
  for (size_t i = 0; i + 1 < b.size(); i += 2) total += get16(b, i);
  if (b.size() % 2 == 1) total += static_cast<uint32_t>(b.back()) << 8;
  return total;
}
uint32_t fold(uint64_t total) {
  while (total >> 16 != 0) total = (total & 0xffff) + (total >> 16);
  return static_cast<uint32_t>(total);
}

size_t tcp_at(bool v6) { return v6 ? 54 : 34; }

uint64_t pseudo(std::span<const std::byte> frame, bool v6, bool with_length) {
  const uint64_t addresses = v6 ? sum(frame.subspan(22, 32)) : sum(frame.subspan(26, 8));
  const uint64_t length = v6 ? get16(frame, 18) : get16(frame, 16) - 20;
  return addresses + 6 + (with_length ? length : 0);
}

}  // namespace

void fill_pattern(Bytes out, uint32_t from) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = pattern(from + static_cast<uint32_t>(i));
}

std::vector<std::byte> headers(const FrameArgs& args) {
  std::vector<std::byte> b(header_bytes(args.v6));
  const Bytes f = b;
  put32(f, 0, 0x02000000);
  put16(f, 4, 2);
  put32(f, 6, 0x02000000);
  put16(f, 10, 1);
  const uint32_t tcp_length = kTcpBytes + args.payload;
  if (args.v6) {
    put16(f, 12, 0x86dd);
    put32(f, 14, 0x60000000);
    put16(f, 18, tcp_length);
    f[20] = std::byte{6};
    f[21] = std::byte{64};
    put32(f, 22, 0xfd006d72);
    put32(f, 34, 1);
    put32(f, 38, 0xfd006d72);
    put32(f, 50, 2);
  } else {
    put16(f, 12, 0x0800);
    f[14] = std::byte{0x45};
    put16(f, 16, 20 + tcp_length);
    f[20] = std::byte{0x40};
    f[22] = std::byte{64};
    f[23] = std::byte{6};
    put32(f, 26, 0xc6120001);
    put32(f, 30, 0xc6120002);
    put16(f, 24, ~fold(sum(f.subspan(14, 20))) & 0xffff);
  }
  const size_t t = tcp_at(args.v6);
  put16(f, t, 40'000);
  put16(f, t + 2, 80);
  put32(f, t + 4, args.seq);
  f[t + 12] = std::byte{0x80};
  f[t + 13] = std::byte{0x10};
  put16(f, t + 14, 1000);
  put32(f, t + 20, 0x0101080a);
  return b;
}

void put_pseudo_sum(Bytes frame, bool v6, bool with_length) {
  put16(frame, tcp_at(v6) + 16, fold(pseudo(frame, v6, with_length)));
}

void put_checksum(Bytes frame, bool v6) {
  const size_t t = tcp_at(v6);
  put16(frame, t + 16, 0);
  put16(frame, t + 16, ~fold(pseudo(frame, v6, true) + sum(frame.subspan(t))) & 0xffff);
}

bool checksum_right(std::span<const std::byte> frame, bool v6) {
  return fold(pseudo(frame, v6, true) + sum(frame.subspan(tcp_at(v6)))) == 0xffff;
}

std::vector<std::byte> flatten(const pkt::Packet& packet) {
  std::vector<std::byte> out(packet.total);
  if (pkt::copy_out(packet, 0, out) != packet.total) out.clear();
  return out;
}

uint32_t seq_of(std::span<const std::byte> frame, bool v6) {
  return get16(frame, tcp_at(v6) + 4) << 16 | get16(frame, tcp_at(v6) + 6);
}

bool is_v6(std::span<const std::byte> frame) { return get16(frame, 12) == 0x86dd; }

pkt::Packet* linear_frame(pkt::PacketCache& cache, const FrameArgs& args) {
  pkt::Packet* p = cache.frame();
  if (p == nullptr) return nullptr;
  const std::vector<std::byte> head = headers(args);
  std::memcpy(p->append(static_cast<uint16_t>(head.size())), head.data(), head.size());
  fill_pattern({p->append(static_cast<uint16_t>(args.payload)), args.payload}, args.seq);
  put_checksum(p->bytes(), args.v6);
  return p;
}

}  // namespace millrace::test
