#include "runtime/pcapng.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <type_traits>

namespace millrace::runtime {
namespace {

constexpr uint32_t kSectionBlock = 0x0a0d0d0a;
constexpr uint32_t kInterfaceBlock = 1;
constexpr uint32_t kEnhancedPacketBlock = 6;
constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr uint16_t kLinkTypeEthernet = 1;

constexpr uint16_t kOptionEnd = 0;
constexpr uint16_t kOptionUserApplication = 4;
constexpr uint16_t kOptionInterfaceName = 2;
constexpr uint16_t kOptionTimeResolution = 9;
constexpr uint16_t kOptionFrameFlags = 2;

constexpr size_t kFlushBytes = size_t{256} << 10;

template <class T>
void put(std::string& out, T value) {
  static_assert(std::is_integral_v<T>);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void pad(std::string& out) { out.append((4 - out.size() % 4) % 4, '\0'); }

// Everything in a block is padded to 4 bytes, counted from the block's start; blocks start on multiples of 4.
void option(std::string& out, uint16_t code, std::string_view value) {
  put(out, code);
  put(out, static_cast<uint16_t>(value.size()));
  out.append(value);
  pad(out);
}

class BlockWriter {
 public:
  BlockWriter(std::string& out, uint32_t type) : out_(out), start_(out.size()) {
    put(out_, type);
    put(out_, uint32_t{0});
  }
  ~BlockWriter() {
    put(out_, kOptionEnd);
    put(out_, uint16_t{0});
    const auto length = static_cast<uint32_t>(out_.size() - start_ + sizeof(uint32_t));
    put(out_, length);
    std::memcpy(out_.data() + start_ + sizeof(uint32_t), &length, sizeof length);
  }

 private:
  std::string& out_;
  size_t start_;
};

}  // namespace

void append_section(std::string& out, std::string_view application) {
  const BlockWriter block(out, kSectionBlock);
  put(out, kByteOrderMagic);
  put(out, uint16_t{1});   // version 1.0
  put(out, uint16_t{0});
  put(out, int64_t{-1});   // length of the section: not known
  option(out, kOptionUserApplication, application);
}

void append_interface(std::string& out, std::string_view name, uint32_t snap_bytes) {
  const BlockWriter block(out, kInterfaceBlock);
  put(out, kLinkTypeEthernet);
  put(out, uint16_t{0});
  put(out, snap_bytes);
  option(out, kOptionInterfaceName, name);
  option(out, kOptionTimeResolution, std::string_view("\x09", 1));  // 10^-9 s
}

void append_frame(std::string& out, uint32_t interface, FrameDirection direction, uint64_t unix_ns,
                  const pkt::Packet& frame, uint32_t snap_bytes) {
  const BlockWriter block(out, kEnhancedPacketBlock);
  const uint32_t captured = std::min(frame.total, snap_bytes);
  put(out, interface);
  put(out, static_cast<uint32_t>(unix_ns >> 32));
  put(out, static_cast<uint32_t>(unix_ns));
  put(out, captured);
  put(out, frame.total);
  uint32_t left = captured;
  for (const pkt::Packet* s = &frame; s != nullptr && left != 0; s = s->next) {
    const uint32_t n = std::min<uint32_t>(left, s->len);
    out.append(reinterpret_cast<const char*>(s->data()), n);
    left -= n;
  }
  pad(out);
  put(out, kOptionFrameFlags);
  put(out, uint16_t{4});
  put(out, static_cast<uint32_t>(direction));
}

Outcome<Capture> Capture::open(const std::string& path, uint32_t snap_bytes) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) {
    return failure(fmt::format("cannot write the capture file {}: {}", path, std::strerror(errno)),
                   "choose another with --capture FILE");
  }
  Capture capture(path, std::move(file), snap_bytes);
  append_section(capture.buffer_, "millrace");
  return capture;
}

uint32_t Capture::add_interface(std::string_view name) {
  append_interface(buffer_, name, snap_bytes_);
  return interfaces_++;
}

void Capture::add_frame(uint32_t interface, FrameDirection direction, uint64_t unix_ns, const pkt::Packet& frame) {
  if (!file_) return;
  append_frame(buffer_, interface, direction, unix_ns, frame, snap_bytes_);
  ++frames_;
  if (buffer_.size() >= kFlushBytes) flush();
}

void Capture::flush() {
  size_t at = 0;
  while (file_ && at < buffer_.size()) {
    const ssize_t n = write(file_.get(), buffer_.data() + at, buffer_.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      fmt::print(stderr, "capture {} ends after {} frames: {}\n", path_, frames_, std::strerror(errno));
      file_.reset();
      break;
    }
    at += static_cast<size_t>(n);
  }
  buffer_.clear();
}

}  // namespace millrace::runtime
