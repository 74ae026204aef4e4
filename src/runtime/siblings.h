// Siblings: the processes that share one set of interfaces and addresses, each with a worker and tables of its own
// (docs/FSTACK.md, "Inside"). They meet in a file of shared memory: a place for each of them and a
// ring of frames from each to each.
//
// Whoever holds the lock on its byte of the file lives; the kernel lets go of it however a process ends. Everybody
// looks for itself, a hundred times a second while there is work, and draws the same conclusions from what it sees.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/carrier.h"
#include "runtime/descriptor.h"
#include "runtime/failure.h"
#include "runtime/frame_ring.h"
#include "stack/worker.h"

namespace millrace::runtime {

class Siblings final : public Carrier {
 public:
  struct Plan {
    std::string directory;  ///< of the file
    std::string name;       ///< of what is shared; the file's and the bells' names come from it
    uint32_t self = 0;
    uint32_t count = 1;        ///< places, at most steer::kMaxWorkers
    uint64_t fingerprint = 0;  ///< of what all must have configured alike
    uint64_t seed = 0;         ///< of all secrets, if this is the first process
  };
  /// Takes its place. A failure if it is taken, or if those that run are configured otherwise.
  static Outcome<std::unique_ptr<Siblings>> join(const Plan& plan);
  /// Leaves; the last one takes the file away.
  ~Siblings() override;
  Siblings(const Siblings&) = delete;
  Siblings& operator=(const Siblings&) = delete;

  /// The first process's: all draw their keys from it.
  [[nodiscard]] uint64_t seed() const { return head().seed; }
  /// Before the first turn; outlives this object's use.
  void attach(stack::Worker& worker);
  /// A bit for each process that lives, as far as this one has seen.
  [[nodiscard]] uint64_t living() const { return living_; }

  size_t take_in(uint32_t self, Instant now) override;
  size_t hand_out(uint32_t self) override;
  bool prepare_sleep(uint32_t self) override;
  void end_sleep(uint32_t self) override;
  [[nodiscard]] int wait_fd() const override { return bell_.get(); }
  [[nodiscard]] Instant look_at() const override;

 private:
  static constexpr size_t kMost = 64;
  static constexpr size_t kBurst = 64;
  struct alignas(64) Place {
    std::atomic<uint32_t> running;  // turns its worker
    std::atomic<uint32_t> asleep;
    std::atomic<uint32_t> rung;  // its bell was rung since it last looked
  };
  struct Head {
    uint64_t magic;
    uint64_t fingerprint;
    uint64_t seed;
    uint32_t count;
    uint32_t ring_bytes;
    std::array<Place, kMost> places;
  };
  struct Burst;

  Siblings(const Plan& plan, Descriptor file, Descriptor bell);
  Outcome<void> enter();
  Outcome<void> map(bool first);
  [[nodiscard]] Head& head() const { return *reinterpret_cast<Head*>(memory_); }
  [[nodiscard]] FrameRing ring(uint32_t from, uint32_t to) const;
  [[nodiscard]] size_t bytes() const;
  [[nodiscard]] bool lives(uint32_t other) const;
  void look(Instant now);
  void give(uint32_t to, std::span<const stack::Handed> frames);
  void ring_bell(uint32_t to);

  Plan plan_;
  std::string path_;
  Descriptor file_;
  Descriptor bell_;
  std::byte* memory_ = nullptr;
  size_t ring_bytes_ = 0;
  stack::Worker* worker_ = nullptr;
  bool began_ = false;
  uint64_t living_ = 0;
  Instant look_at_{};
  Instant now_{};
};

}  // namespace millrace::runtime
