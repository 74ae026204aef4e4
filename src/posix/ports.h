// Local TCP addresses that are taken, with the rules of bind(2) on Linux: two claims on a port conflict if their
// addresses overlap, unless both have SO_REUSEADDR and neither listens. Chosen ports come from 32768 to 60999.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/rng.h"
#include "posix/transport.h"

namespace millrace::posix {

class Ports {
 public:
  explicit Ports(uint64_t seed) : rng_(seed) {}

  Result<Transport::Reserved> reserve(const Transport::Claim& claim);
  Result<void> listen(uint64_t id);
  void unlisten(uint64_t id);
  void hold(uint64_t id);
  void release(uint64_t id);
  [[nodiscard]] bool has(uint64_t id) const { return claims_.count(id) != 0; }
  [[nodiscard]] size_t size() const { return claims_.size(); }

 private:
  struct Held {
    Transport::Claim claim;
    uint32_t holders = 1;
  };
  [[nodiscard]] bool conflicts(const Transport::Claim& claim) const;

  base::Rng rng_;
  uint64_t next_ = 1;
  std::unordered_map<uint64_t, Held> claims_;
  std::unordered_multimap<uint16_t, uint64_t> by_port_;
};

}  // namespace millrace::posix
