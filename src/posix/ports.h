// Local TCP addresses that are taken, with the rules of bind(2) on Linux: two claims on a port conflict if their
// addresses overlap, unless both have SO_REUSEADDR and neither listens, or both have SO_REUSEPORT. Connections that
// outlive their claim (TIME-WAIT and before) count as one that does not listen. Chosen ports come from 32768 to 60999.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "base/rng.h"
#include "posix/transport.h"

namespace millrace::posix {

class Ports {
 public:
  /// Whether a connection has the local end; an unspecified address stands for all.
  using Remains = std::function<bool(const Endpoint& local)>;

  explicit Ports(uint64_t seed) : rng_(seed) {}
  /// Without it nothing is known of connections whose claim is gone.
  void ask_for_remains(Remains remains) { remains_ = std::move(remains); }

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
  /// What the claims that a port had allow to others, if connections should be left of them.
  struct Past {
    bool reuse_address = true;
    bool reuse_port = true;
  };
  [[nodiscard]] bool conflicts(const Transport::Claim& claim) const;
  [[nodiscard]] bool conflicts_with_past(const Transport::Claim& claim);
  void remember(const Transport::Claim& claim);

  base::Rng rng_;
  uint64_t next_ = 1;
  std::unordered_map<uint64_t, Held> claims_;
  std::unordered_multimap<uint16_t, uint64_t> by_port_;
  Remains remains_;
  std::unordered_map<uint16_t, Past> past_;
};

}  // namespace millrace::posix
