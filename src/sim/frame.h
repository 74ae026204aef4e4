// Frames on a simulated wire: whole Ethernet frames with every checksum filled in.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace millrace::sim {

using Bytes = std::vector<uint8_t>;

struct Frame {
  Bytes bytes;
  bool injected = false;  ///< made by the attacker, not by a host
};

/// Owns every frame of a world; what is in flight when the world ends needs no clean-up.
class FrameStore {
 public:
  Frame* make(Bytes bytes) {
    Frame* frame = blank();
    frame->bytes = std::move(bytes);
    return frame;
  }
  Frame* copy(const Frame& other) {
    Frame* frame = blank();
    *frame = other;
    return frame;
  }
  void drop(Frame* frame) { free_.push_back(frame); }
  [[nodiscard]] size_t in_use() const { return all_.size() - free_.size(); }

 private:
  Frame* blank() {
    if (free_.empty()) return &all_.emplace_back();
    Frame* frame = free_.back();
    free_.pop_back();
    frame->injected = false;
    return frame;
  }
  std::deque<Frame> all_;
  std::vector<Frame*> free_;
};

}  // namespace millrace::sim
