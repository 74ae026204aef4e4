// One TAP: a descriptor that gives one frame a read and takes one frame a write, each behind a virtio-net header.
#pragma once

#include <sys/uio.h>

#include <array>
#include <string>

#include "drivers/tap/large.h"
#include "drivers/tap/virtio.h"
#include "runtime/descriptor.h"
#include "runtime/device.h"

namespace millrace::drivers::tap {

class TapDevice final : public runtime::Device {
 public:
  TapDevice(std::string name, runtime::Descriptor fd, MacAddr mac, const link::DeviceLimits& limits,
            const runtime::Resources& resources, LargePool& large);
  ~TapDevice() override;

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] MacAddr mac() const override { return mac_; }
  [[nodiscard]] const link::DeviceLimits& limits() const override { return limits_; }
  size_t receive(std::span<pkt::Packet*> out) override;
  size_t transmit(std::span<pkt::Packet* const> frames) override;
  [[nodiscard]] int wait_fd() const override { return fd_.get(); }
  void housekeeping(Instant now) override;
  [[nodiscard]] bool link_up() const override { return !gone_ && !down_; }
  [[nodiscard]] std::string_view trouble() const override { return gone_ ? "it was removed" : ""; }
  [[nodiscard]] runtime::DeviceCounters counters() const override { return counters_; }

  /// Segments of one frame that transmit() takes.
  static constexpr uint16_t kMaxSegments = 64;

 private:
  enum class Sent : uint8_t { kTaken, kBusy };

  /// Makes sure that the largest frame finds room: a frame buffer, and behind it a large buffer or more frame buffers.
  bool post();
  pkt::Packet* finish(size_t bytes);
  pkt::Packet* next_segment(size_t bytes);
  Sent send(pkt::Packet* frame);

  std::string name_;
  runtime::Descriptor fd_;
  MacAddr mac_;
  link::DeviceLimits limits_;
  pkt::PacketCache cache_;
  LargePool& large_;
  runtime::DeviceCounters counters_{};

  // What the next read writes to. Frames serve where no large buffer is to be had.
  static constexpr size_t kFrames = 33;  // 64 KiB and an Ethernet header in 2 KiB buffers
  size_t wanted_frames_;                 // enough for the MTU where no merged frames come
  bool merged_;
  Header header_{};
  std::array<pkt::Packet*, kFrames> posted_{};
  size_t posted_count_ = 0;
  LargeBuffer* posted_large_ = nullptr;
  size_t last_count_ = 0;
  bool gone_ = false;  // the kernel's interface was deleted
  bool down_ = false;  // somebody set it down
  runtime::Descriptor flags_asker_;
  Instant look_at_{};  // when to look at its flags again
};

}  // namespace millrace::drivers::tap
