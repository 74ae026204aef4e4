// Captures in pcapng (draft-ietf-opsawg-pcapng): a section header, one block an interface with nanosecond timestamps,
// one enhanced block a frame with its direction. Super-frames are recorded as they are, before any cutting.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "pkt/packet.h"
#include "runtime/descriptor.h"
#include "runtime/failure.h"

namespace millrace::runtime {

enum class FrameDirection : uint8_t { kIn = 1, kOut = 2 };  // values of epb_flags

// Blocks, appended to `out`.
void append_section(std::string& out, std::string_view application);
/// Interfaces are numbered from 0 in the order of their blocks.
void append_interface(std::string& out, std::string_view name, uint32_t snap_bytes);
void append_frame(std::string& out, uint32_t interface, FrameDirection direction, uint64_t unix_ns,
                  const pkt::Packet& frame, uint32_t snap_bytes);

/// A capture file. Frames are gathered and written by the piece; a write error ends the capture with one line on
/// standard error, never the program.
class Capture {
 public:
  static Outcome<Capture> open(const std::string& path, uint32_t snap_bytes);
  Capture(Capture&&) = default;
  Capture& operator=(Capture&&) = default;
  ~Capture() { flush(); }

  uint32_t add_interface(std::string_view name);
  void add_frame(uint32_t interface, FrameDirection direction, uint64_t unix_ns, const pkt::Packet& frame);
  void flush();
  [[nodiscard]] uint64_t frames() const { return frames_; }

 private:
  Capture(std::string path, Descriptor file, uint32_t snap_bytes)
      : path_(std::move(path)), file_(std::move(file)), snap_bytes_(snap_bytes) {}

  std::string path_;
  Descriptor file_;
  uint32_t snap_bytes_;
  uint32_t interfaces_ = 0;
  uint64_t frames_ = 0;
  std::string buffer_;
};

}  // namespace millrace::runtime
