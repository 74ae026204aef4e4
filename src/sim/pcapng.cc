#include "sim/pcapng.h"

#include <algorithm>
#include <cstring>

namespace millrace::sim {

Pcapng::Pcapng(uint32_t snap_length) : snap_(snap_length) {
  const size_t section = begin(0x0a0d0d0a);
  u32(0x1a2b3c4d);
  u16(1);
  u16(0);
  u32(0xffffffff);  // section length unknown
  u32(0xffffffff);
  end(section);
}

void Pcapng::add_interface(const std::string& name) {
  const size_t block = begin(1);
  u16(1);  // Ethernet
  u16(0);
  u32(snap_);
  u16(2);  // if_name
  u16(static_cast<uint16_t>(name.size()));
  padded({reinterpret_cast<const uint8_t*>(name.data()), name.size()});
  u16(9);  // if_tsresol: 10^-9
  u16(1);
  u32(9);
  u32(0);  // end of options
  end(block);
}

void Pcapng::add(uint32_t interface, Instant when, std::span<const uint8_t> frame, bool outbound) {
  const size_t block = begin(6);
  u32(interface);
  u32(static_cast<uint32_t>(static_cast<uint64_t>(when.ns()) >> 32));
  u32(static_cast<uint32_t>(when.ns()));
  const size_t kept = std::min<size_t>(frame.size(), snap_);
  u32(static_cast<uint32_t>(kept));
  u32(static_cast<uint32_t>(frame.size()));
  padded(frame.first(kept));
  u16(2);  // epb_flags: direction
  u16(4);
  u32(outbound ? 2 : 1);
  u32(0);
  end(block);
}

size_t Pcapng::begin(uint32_t type) {
  const size_t start = out_.size();
  u32(type);
  u32(0);
  return start;
}

void Pcapng::end(size_t start) {
  const auto length = static_cast<uint32_t>(out_.size() - start + 4);
  u32(length);
  std::memcpy(out_.data() + start + 4, &length, 4);
}

// Host order: the section's byte-order magic tells the reader.
void Pcapng::u16(uint16_t v) {
  const size_t at = out_.size();
  out_.resize(at + 2);
  std::memcpy(out_.data() + at, &v, 2);
}

void Pcapng::u32(uint32_t v) {
  const size_t at = out_.size();
  out_.resize(at + 4);
  std::memcpy(out_.data() + at, &v, 4);
}

void Pcapng::padded(std::span<const uint8_t> data) {
  out_.insert(out_.end(), data.begin(), data.end());
  out_.resize((out_.size() + 3) & ~size_t{3});
}

}  // namespace millrace::sim
