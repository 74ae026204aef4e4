// Writes captures in the pcapng format (draft-ietf-opsawg-pcapng) into memory: one section, Ethernet interfaces with
// nanosecond stamps, frames cut to a snapshot length.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "millrace/time.h"
#include "sim/frame.h"

namespace millrace::sim {

class Pcapng {
 public:
  explicit Pcapng(uint32_t snap_length = 192);
  /// Interfaces are numbered from 0 in the order they are added.
  void add_interface(const std::string& name);
  void add(uint32_t interface, Instant when, std::span<const uint8_t> frame, bool outbound);
  [[nodiscard]] const Bytes& bytes() const { return out_; }

 private:
  size_t begin(uint32_t type);
  void end(size_t start);
  void u16(uint16_t v);
  void u32(uint32_t v);
  void padded(std::span<const uint8_t> data);
  uint32_t snap_;
  Bytes out_;
};

}  // namespace millrace::sim
