// BBR version 3 (draft-ietf-ccwg-bbr): state and the parts of its machinery, by the draft's names as far as they go.
//   bbr.cc: the state machine, pace and window, the table's row;  bbr_model.cc: rounds, bandwidth, round trip,
//   aggregation, and what losses say about bounds.
// Integers only: bytes, bytes a second, microseconds, gains in percent.
#pragma once

#include <cstdint>

#include "tcp/cc/controller.h"

namespace millrace::tcp::cc {

class Bbr {
 public:
  enum class Mode : uint8_t { kStartup, kDrain, kDown, kCruise, kRefill, kUp, kProbeRtt };
  /// What the acknowledgments that come say about the last probe for bandwidth (ACKS_...).
  enum class Phase : uint8_t { kInit, kRefilling, kProbeStarting, kProbeFeedback, kProbeStopping };
  enum class Undo : uint8_t { kNone, kStartup, kUp };

  static constexpr uint32_t kNoBound = UINT32_MAX;
  static constexpr uint64_t kNoRate = UINT64_MAX;
  // draft-ietf-ccwg-bbr 2.4 to 2.16.
  static constexpr uint32_t kStartupPacing = 277;
  static constexpr uint32_t kDrainPacing = 50;
  static constexpr uint32_t kPacingMargin = 1;
  static constexpr uint32_t kWindowGain = 200;
  static constexpr uint32_t kUpWindowGain = 225;
  static constexpr uint32_t kProbeRttWindowGain = 50;
  static constexpr uint32_t kLossThresh = 2;
  static constexpr uint32_t kBeta = 70;
  static constexpr uint32_t kHeadroom = 15;
  static constexpr uint32_t kMinPipe = 4;            // segments
  static constexpr uint32_t kStartupFullLosses = 6;  // ranges lost in a round that end Startup
  static constexpr uint32_t kStartupMarkedRounds = 2;
  static constexpr uint32_t kFullRounds = 3;
  static constexpr uint32_t kExtraAckedRounds = 5;  // of each half of the filter
  static constexpr uint32_t kRenoRounds = 63;
  static constexpr int64_t kMinRttWindowNs = 10'000'000'000;
  static constexpr int64_t kProbeRttIntervalNs = 5'000'000'000;
  static constexpr int64_t kProbeRttNs = 200'000'000;
  static constexpr int64_t kProbeWaitNs = 2'000'000'000;

  struct State {
    uint64_t chance;
    // Rates.
    uint64_t max_bw[2];  ///< of the last cycle, of this one
    uint64_t bw;
    uint64_t bw_short;
    uint64_t bw_latest;
    uint64_t full_bw;
    // Rounds, in Model::delivered.
    uint64_t round_end;
    uint64_t loss_round_end;
    uint64_t extra_delivered;
    // Instants.
    int64_t extra_from_ns;
    int64_t cycle_ns;
    int64_t wait_ns;  ///< how long until the next probe
    int64_t min_rtt_at_ns;
    int64_t probe_rtt_min_at_ns;
    int64_t probe_rtt_done_ns;  ///< 0 = not known yet
    // Volumes.
    uint32_t inflight_long;
    uint32_t inflight_short;
    uint32_t inflight_latest;
    uint32_t extra_acked[2];
    uint32_t extra_rounds;
    uint32_t prior_cwnd;
    uint32_t up_acked;
    uint32_t up_acked_per_inc;
    uint32_t quantum;
    uint32_t initial_window;
    // Round trips.
    uint32_t min_rtt_us;  ///< UINT32_MAX = none yet
    uint32_t probe_rtt_min_us;
    // Counts.
    uint32_t round_count;
    uint32_t drain_round;
    uint32_t rounds_since_probe;
    uint32_t up_rounds;
    uint32_t full_count;
    uint32_t losses_in_round;
    Seq32 lost_end;  ///< of the range lost last
    // Undo.
    uint64_t undo_bw_short;
    uint32_t undo_inflight_short;
    uint32_t undo_inflight_long;
    Undo undo;
    Mode mode;
    Phase phase;
    uint8_t marked_rounds;  ///< in a row
    bool marked;            ///< the peer echoed congestion in this round
    bool round_start;
    bool loss_round_start;
    bool loss_in_round;
    bool full_bw_now;
    bool full_bw_reached;
    bool probe_sample;  ///< what is acknowledged was sent while probing for bandwidth
    bool too_high;      ///< the last probe was
    bool precautionary;
    bool idle_restart;
    bool probe_rtt_expired;
    bool probe_rtt_round_done;
    bool recovering;
  };

  Bbr(Control c, Instant now) : c_(c), m_(*c.model), s_(c.model->as<State>()), now_(now) {}

  void start(const StartEvent& e);
  void sample(const RateSample& e);
  void lost(const LostEvent& e);
  void begin_recovery();
  void timeout();
  void congested(uint32_t flight);
  void undo(const UndoEvent& e);
  void restart();
  void recovered();

 private:
  // bbr.cc
  void enter_startup();
  void check_full_bw(const RateSample& e);
  void check_startup_done(const RateSample& e);
  void enter_drain();
  void start_down();
  void start_refill();
  void start_up(uint64_t rate);
  void update_cycle(const RateSample& e);
  bool adapt_long_term(const RateSample& e);
  bool time_to_probe();
  bool time_to_go_down(const RateSample& e);
  void probe_upward(const RateSample& e);
  void raise_slope();
  void check_probe_rtt(const RateSample& e);
  void handle_probe_rtt(const RateSample& e);
  void check_probe_rtt_done();
  void set_pace(uint32_t gain);
  void set_window(const RateSample& e);
  void bound_window();
  void save_window();
  void restore_window();
  [[nodiscard]] uint32_t pacing_gain() const;
  [[nodiscard]] uint32_t window_gain() const;
  [[nodiscard]] bool probing_bw_mode() const { return s_.mode >= Mode::kDown && s_.mode <= Mode::kUp; }
  [[nodiscard]] uint32_t random_below(uint32_t limit);
  // bbr_model.cc
  void update_round(const RateSample& e);
  void start_round() { s_.round_end = m_.delivered; }
  void update_max_bw(const RateSample& e);
  void advance_max_bw();
  void update_latest(const RateSample& e);
  void update_congestion(const RateSample& e);
  void adapt_lower_bounds();
  void reset_congestion();
  void reset_short_term();
  void reset_full_bw();
  void update_aggregation(const RateSample& e);
  void update_min_rtt(const RateSample& e);
  void note_loss();
  void save_upon_loss();
  void inflight_too_high(uint32_t sent_flight, bool app_limited);
  [[nodiscard]] static bool is_too_high(uint64_t lost, uint32_t sent_flight, bool selective);
  [[nodiscard]] static uint32_t inflight_at_loss(const LostEvent& e);
  [[nodiscard]] uint64_t max_bw() const;
  [[nodiscard]] uint32_t bdp(uint64_t bw, uint32_t gain) const;
  [[nodiscard]] uint32_t with_budget(uint64_t bytes) const;
  [[nodiscard]] uint32_t inflight(uint64_t bw, uint32_t gain) const { return with_budget(bdp(bw, gain)); }
  [[nodiscard]] uint32_t with_headroom() const;
  [[nodiscard]] uint32_t target_inflight() const;
  [[nodiscard]] uint32_t least_window() const { return kMinPipe * c_.mss; }

  Control c_;
  Model& m_;
  State& s_;
  Instant now_;
};

}  // namespace millrace::tcp::cc
