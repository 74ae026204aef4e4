// Pools and memory that log what they granted while recording, and grant the same again while replaying; and the
// encodings of a worker's configuration, interfaces and packets.
#pragma once

#include <vector>

#include "base/memory.h"
#include "pkt/pool.h"
#include "sim/codec.h"
#include "stack/worker.h"

namespace millrace::sim {

class RecordedPool final : public pkt::PacketPool {
 public:
  RecordedPool(pkt::PacketPool& inner, std::vector<uint32_t>& log) : inner_(inner), log_(log) {}
  size_t allocate(std::span<pkt::Packet*> out) override {
    const size_t n = inner_.allocate(out);
    log_.push_back(static_cast<uint32_t>(n));
    return n;
  }
  void release(std::span<pkt::Packet* const> packets) override { inner_.release(packets); }
  [[nodiscard]] size_t available() const override {
    const size_t n = inner_.available();
    log_.push_back(static_cast<uint32_t>(n));
    return n;
  }
  [[nodiscard]] size_t capacity() const override { return inner_.capacity(); }

 private:
  pkt::PacketPool& inner_;
  std::vector<uint32_t>& log_;
};

class ReplayedPool final : public pkt::PacketPool {
 public:
  ReplayedPool(pkt::PacketPool& inner, const std::vector<uint32_t>& log, size_t capacity)
      : inner_(inner), log_(log), capacity_(capacity) {}
  size_t allocate(std::span<pkt::Packet*> out) override {
    return inner_.allocate(out.first(std::min<size_t>(out.size(), next())));
  }
  void release(std::span<pkt::Packet* const> packets) override { inner_.release(packets); }
  [[nodiscard]] size_t available() const override { return next(); }
  [[nodiscard]] size_t capacity() const override { return capacity_; }

 private:
  uint32_t next() const { return at_ < log_.size() ? log_[at_++] : 0; }
  pkt::PacketPool& inner_;
  const std::vector<uint32_t>& log_;
  size_t capacity_;
  mutable size_t at_ = 0;
};

class RecordedMemory final : public base::MemorySource {
 public:
  RecordedMemory(base::MemorySource& inner, std::vector<uint8_t>& log) : inner_(inner), log_(log) {}
  base::Region allocate(size_t bytes) override {
    const base::Region region = inner_.allocate(bytes);
    log_.push_back(region.base != nullptr);
    return region;
  }

 private:
  base::MemorySource& inner_;
  std::vector<uint8_t>& log_;
};

class ReplayedMemory final : public base::MemorySource {
 public:
  ReplayedMemory(base::MemorySource& inner, const std::vector<uint8_t>& log) : inner_(inner), log_(log) {}
  base::Region allocate(size_t bytes) override {
    if (at_ >= log_.size() || log_[at_++] == 0) return {};
    return inner_.allocate(bytes);
  }

 private:
  base::MemorySource& inner_;
  const std::vector<uint8_t>& log_;
  size_t at_ = 0;
};

/// Everything of a configuration but the pools, of which the capacities are kept.
void encode_config(Writer& out, const stack::WorkerConfig& config);
static_assert(std::is_trivially_copyable_v<steer::ShardMap>);
struct DecodedConfig {
  stack::WorkerConfig config;
  bool sharded = false;
  steer::ShardMap shards{};
  size_t frame_capacity = 0;
  size_t reference_capacity = 0;
};
[[nodiscard]] DecodedConfig decode_config(Reader& in);

void encode_interface(Writer& out, const link::NetifConfig& config);
[[nodiscard]] link::NetifConfig decode_interface(Reader& in);

void encode_packet(Writer& out, const pkt::Packet& packet);
/// A chain like the recorded one, from `pool`; nullptr if the pool is empty or the recording broken.
[[nodiscard]] pkt::Packet* decode_packet(Reader& in, pkt::PacketPool& pool);

}  // namespace millrace::sim
