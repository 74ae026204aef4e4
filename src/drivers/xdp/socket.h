// One AF_XDP socket: the four rings of one queue of one interface. Each registers the whole frame pool as its memory,
// so that frames move freely between queues and interfaces; who owns a chunk is known from which ring it is in.
#pragma once

#include <xdp/xsk.h>

#include <memory>
#include <span>
#include <string>

#include "drivers/xdp/umem.h"
#include "runtime/device.h"

namespace millrace::drivers::xdp {

/// How frames get from the NIC to the pool.
enum class Copy : uint8_t { kAuto, kZeroCopy, kCopy };

class Socket {
 public:
  struct Options {
    std::string interface;
    uint32_t queue = 0;
    Copy copy = Copy::kAuto;
    bool segments = false;       ///< frames of several descriptors (Linux 6.6)
    bool busy_poll = false;      ///< receive() drives the NIC's queue itself (Linux 5.11)
    uint32_t receive_slots = 0;  ///< of the fill and the receive ring; a power of two
  };
  static constexpr uint32_t kSendSlots = 2048;
  static constexpr size_t kMaxSegments = 17;  ///< descriptors of one frame that the kernel takes

  static runtime::Outcome<std::unique_ptr<Socket>> open(const Options& options, UmemPool& pool,
                                                        pkt::PacketCache& cache);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  size_t receive(std::span<pkt::Packet*> out, runtime::DeviceCounters& counters);
  /// As Device::transmit.
  size_t transmit(std::span<pkt::Packet* const> frames, runtime::DeviceCounters& counters);
  /// Takes back what was sent and tops up the fill ring.
  void housekeeping();
  /// False: something waits, in or out.
  bool arm_wait();

  [[nodiscard]] int fd() const { return xsk_socket__fd(socket_); }
  /// Whether frames wait that the kernel did not take yet.
  [[nodiscard]] bool stuck() const { return stuck_; }
  [[nodiscard]] bool zero_copy() const { return zero_copy_; }
  [[nodiscard]] uint64_t lost() const;  ///< frames that found no room

 private:
  Socket(UmemPool& pool, pkt::PacketCache& cache) : pool_(pool), cache_(cache) {}
  int create(const Options& options);
  void close_socket();
  void fill();
  void reclaim();
  void kick();
  void wake_receiver() const;
  /// Puts a frame into the send ring; false: no room now.
  bool put(pkt::Packet* frame, runtime::DeviceCounters& counters);
  bool put_copy(pkt::Packet* frame, runtime::DeviceCounters& counters);
  void describe(uint32_t slot, const pkt::Packet& chunk, bool more);

  UmemPool& pool_;
  pkt::PacketCache& cache_;
  xsk_umem* umem_ = nullptr;
  xsk_socket* socket_ = nullptr;
  xsk_ring_prod fill_{};
  xsk_ring_cons completion_{};
  xsk_ring_cons receive_{};
  xsk_ring_prod send_{};
  uint32_t fill_missing_ = 0;       // chunks that the fill ring lacks
  uint32_t in_flight_ = 0;          // descriptors sent and not yet completed
  pkt::Packet* partial_ = nullptr;  // a frame of several descriptors whose rest has not come yet
  bool segments_ = false;
  bool zero_copy_ = false;
  bool busy_poll_ = false;
  bool stuck_ = false;  // the kernel took not all of the send ring at the last kick
};

}  // namespace millrace::drivers::xdp
