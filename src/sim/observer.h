// An independent observer of the wire. It sees every frame when a worker hands it to its NIC and when a NIC hands it to
// a worker, follows each TCP connection with its own reading of the frames, and reports the first rule that a host
// breaks. RFC 9293, 7323, 2018, 5961, 6298, 6691.
//
// It never assumes that a worker has processed what reached it, only that it cannot know more: acknowledgments, SACK
// blocks and echoed timestamps are bounded by what was delivered, data by the windows that were delivered.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "millrace/time.h"
#include "sim/frame_view.h"
#include "sim/interval_set.h"

namespace millrace::sim {

struct ObserverRules {
  /// Per host: every second full segment is acknowledged at the end of a turn, everything within `delayed_ack`. Only
  /// where nothing makes a receiver refuse what was delivered, and no ACK waits for a neighbour to be resolved.
  std::array<bool, 2> prompt_acks{};
  /// Per host: frames may vanish before the wire, in the queue of a neighbour that is being resolved.
  std::array<bool, 2> loses_inside{};
  Duration delayed_ack = milliseconds(40);
  Duration slack = milliseconds(5);
  Duration rto_max = seconds(120);
};

/// One end of a connection. Offsets count from the initial sequence number of the sender of the bytes: the SYN is
/// [0, 1), the first byte of data is 1.
struct Half {
  // What this end sent.
  bool syn_sent = false;
  uint32_t isn = 0;
  uint16_t mss = 0;  ///< offered; 0 = no option
  std::optional<uint8_t> wscale;
  bool sack_permitted = false;
  bool timestamps = false;
  int64_t snd_max = 0;
  Bytes stream;
  std::optional<int64_t> fin_at;
  bool rst_sent = false;
  int64_t ack_sent = 0;   ///< highest, in the peer's offsets
  int64_t edge_sent = 0;  ///< right edge of the advertised window
  uint16_t window_field = 0;  ///< as last sent
  bool ts_seen = false;
  uint32_t tsval = 0;
  uint32_t tsecr = 0;
  // What reached it.
  bool peer_syn = false;
  IntervalSet received;
  int64_t prefix = 0;     ///< received without a hole
  int64_t sure = 0;       ///< received in order: no receiver may refuse it within its window
  int64_t ack_seen = 0;   ///< highest acknowledgment of its own bytes
  int64_t edge_seen = 0;  ///< furthest it may send
  std::optional<int64_t> peer_fin;
  bool ts_bound_set = false;
  uint32_t ts_bound = 0;  ///< no newer timestamp may be echoed
  bool rst_seen = false;
  uint32_t full = 0;      ///< largest payload delivered
  Instant unacked_since{};
  // Retransmission back-off.
  int64_t again_at = -1;
  uint64_t again_epoch = 0;
  Instant again_last{};
  Duration again_gap{};
  bool again_unsure = false;  ///< the next gap says nothing about the one after it
  uint64_t retransmitted = 0;
};

struct Flow {
  std::array<Endpoint, 2> ends;
  std::array<Half, 2> half;
  std::array<int, 2> host{-1, -1};  ///< who sits at each end
  std::set<uint32_t> forged_acks;  ///< of forged segments, which a reset may answer
  bool loose = false;  ///< the ports were used again: frames of two lives may mix
  [[nodiscard]] bool scaled() const { return half[0].wscale && half[1].wscale; }
  [[nodiscard]] bool sack() const { return half[0].sack_permitted && half[1].sack_permitted; }
  [[nodiscard]] bool timestamps() const { return half[0].timestamps && half[1].timestamps; }
  [[nodiscard]] bool dead() const {
    return half[0].rst_sent || half[1].rst_sent;
  }
};

class Observer {
 public:
  using Fail = std::function<void(std::string)>;
  Observer(const ObserverRules& rules, Fail fail) : rules_(rules), fail_(std::move(fail)) {}

  /// Host `host` handed this frame to its NIC.
  void sent(int host, const Bytes& frame, Instant now);
  /// This frame is about to be given to the worker of `host`.
  void delivered(int host, const Frame& frame, Instant now);
  /// The worker of `host` has processed all that was delivered and its output was drained.
  void turn_end(int host, Instant now);

  [[nodiscard]] std::vector<Flow*> flows();
  /// How far (offset in the stream of data) the peer has acknowledged to the end at `local`; -1 if unknown.
  [[nodiscard]] int64_t acknowledged(const Endpoint& local, const Endpoint& remote) const;
  /// The newest flow with this port at one end.
  [[nodiscard]] const Flow* by_port(uint16_t port) const;
  [[nodiscard]] uint64_t segments() const { return segments_; }
  [[nodiscard]] uint64_t data_bytes_delivered() const { return data_bytes_; }
  [[nodiscard]] uint64_t retransmissions() const;

 private:
  using Key = std::array<uint8_t, 36>;
  struct Side {
    Flow* flow = nullptr;
    int own = 0;  ///< index of the sender
  };
  static Key key_of(const Endpoint& a, const Endpoint& b);
  Side find(const TcpView& view, bool create);
  void fail(const TcpView& view, const std::string& what);

  // observer_checks.cc; each reports at most one violation and returns false then.
  bool check_form(const TcpView& view);
  void on_syn(Flow& flow, int own, const TcpView& view);
  bool check_rst(const Flow& flow, int own, const TcpView& view);
  bool check_ack(Flow& flow, int own, const TcpView& view);
  bool check_sack(const Flow& flow, int own, const TcpView& view, int64_t ack);
  bool check_window_sent(Flow& flow, int own, const TcpView& view, int64_t ack);
  bool check_timestamp(Flow& flow, int own, const TcpView& view);
  bool check_data(Flow& flow, int own, const TcpView& view, const Bytes& frame);
  bool check_back_off(Flow& flow, int own, const TcpView& view, int64_t at, Instant now);

  ObserverRules rules_;
  Fail fail_;
  std::map<Key, Flow> flows_;
  std::map<uint16_t, Key> port_;
  std::array<uint64_t, 4> deliveries_{};   ///< by host
  std::array<Instant, 4> delivered_at_{};  ///< the last of them
  uint64_t segments_ = 0;
  uint64_t data_bytes_ = 0;
};

}  // namespace millrace::sim
