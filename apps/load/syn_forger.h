// SynForger: a SYN flood from addresses that do not exist, beside a generator's own connections, to measure what a
// server's connections keep of their throughput (RFC 4987). It stands in front of the generator's FrameClient: what it
// forges goes out by the way that the server's own segments show; answers to it are swallowed.
#pragma once

#include <optional>

#include "base/rng.h"
#include "load/report.h"
#include "load/segment_template.h"
#include "runtime/frame_client.h"

namespace millrace::load {

class SynForger final : public runtime::FrameClient {
 public:
  /// `rate` SYNs a second to `target` (IPv4) once a segment of it was seen; `report.forged` counts them. `generator`
  /// and `report` outlive this.
  SynForger(runtime::FrameClient& generator, const Endpoint& target, double rate, uint64_t seed, Report& report);

  void attach(const runtime::FramePort& port) override;
  size_t input(std::span<pkt::Packet*> frames, Instant now) override;
  size_t output(std::span<pkt::Packet*> out, Instant now) override;
  [[nodiscard]] bool wants_output() const override { return syn_.has_value() || generator_.wants_output(); }

 private:
  // Whether a frame goes to an address that is forged here.
  [[nodiscard]] static bool is_forged(const pkt::Packet& frame);
  void forge(pkt::Packet& frame);

  runtime::FrameClient& generator_;
  Endpoint target_;
  double rate_;
  base::Rng rng_;
  Report& report_;
  runtime::FramePort port_{};
  std::optional<SegmentTemplate> syn_;
  Instant paid_until_{};
};

}  // namespace millrace::load
