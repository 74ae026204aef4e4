// Where the time of the loop goes: cycles by stage and what was done in them. Always on; one thread writes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace millrace::runtime {

enum class Stage : uint8_t { kReceive, kInput, kProgram, kTimers, kOutput, kTransmit, kCount };

inline constexpr const char* kStageNames[] = {"receive", "input", "program", "timers", "output", "transmit"};

struct Stages {
  std::array<uint64_t, static_cast<size_t>(Stage::kCount)> cycles{};  ///< of busy turns; pumps count as program
  uint64_t empty_cycles = 0;  ///< of turns that found nothing to do
  uint64_t turns = 0;
  uint64_t busy_turns = 0;
  uint64_t rx_frames = 0;
  uint64_t tx_frames = 0;
  uint64_t events = 0;
  uint64_t ticks = 0;
  uint64_t pumps = 0;
  uint64_t held_back = 0;  ///< times that a device had no room and frames waited
  uint64_t sleeps = 0;
  uint64_t slept_ns = 0;

  /// Adds another thread's.
  void add(const Stages& other) {
    for (size_t i = 0; i < cycles.size(); ++i) cycles[i] += other.cycles[i];
    empty_cycles += other.empty_cycles;
    turns += other.turns;
    busy_turns += other.busy_turns;
    rx_frames += other.rx_frames;
    tx_frames += other.tx_frames;
    events += other.events;
    ticks += other.ticks;
    pumps += other.pumps;
    held_back += other.held_back;
    sleeps += other.sleeps;
    slept_ns += other.slept_ns;
  }
  [[nodiscard]] uint64_t& of(Stage stage) { return cycles[static_cast<size_t>(stage)]; }
  [[nodiscard]] uint64_t of(Stage stage) const { return cycles[static_cast<size_t>(stage)]; }
};

}  // namespace millrace::runtime
