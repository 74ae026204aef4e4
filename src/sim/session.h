// One end of one simulated connection: sends and checks its stream, pauses, aborts or closes as its plan says, and
// remembers how it ended.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "millrace/program.h"
#include "sim/content.h"
#include "sim/plan.h"

namespace millrace::sim {

/// What sessions tell the world and ask it.
struct SessionHooks {
  std::function<void(std::string)> fail;
  /// A lent buffer that ended at `end` (offset in the stream) came back before the peer acknowledged it?
  std::function<bool(const class Session&, uint64_t end)> released_early;
};

class Session {
 public:
  enum class State : uint8_t { kOpening, kOpen, kClosed, kFailed };

  /// `role` 0 is the client's end, 1 the server's.
  Session(const ConnPlan& conn, int role, uint32_t round, uint64_t seed, SessionHooks& hooks);

  void opened(Handle handle) {
    handle_ = handle;
    state_ = State::kOpen;
    was_open_ = true;
  }
  void opening(Handle handle) { handle_ = handle; }
  void event(Net& net, const Event& event);
  /// At or after wake().
  void tick(Net& net);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool over() const { return state_ == State::kClosed || state_ == State::kFailed; }
  [[nodiscard]] std::optional<Error> error() const { return error_; }
  [[nodiscard]] Instant wake() const { return over() ? kNever : paused_until_; }
  [[nodiscard]] const ConnPlan& conn() const { return conn_; }
  [[nodiscard]] int role() const { return role_; }
  [[nodiscard]] uint32_t round() const { return round_; }
  /// Index of the host at whose end it is.
  [[nodiscard]] int host() const { return role_ == 0 ? conn_.client : 1 - conn_.client; }
  [[nodiscard]] bool aborted() const { return aborted_; }
  [[nodiscard]] uint64_t sent() const { return tx_; }
  [[nodiscard]] uint64_t received() const { return rx_; }
  [[nodiscard]] Handle handle() const { return handle_; }
  [[nodiscard]] size_t lent_out() const { return lent_.size(); }
  [[nodiscard]] bool was_open() const { return was_open_; }
  /// It failed before it was open, because no neighbour answered.
  [[nodiscard]] bool unreachable() const {
    return state_ == State::kFailed && !was_open_ && error_ == Error::kHostUnreachable;
  }
  [[nodiscard]] std::string describe() const;

 private:
  void progress(Net& net);
  bool write_some(Net& net);
  bool write_lent(Net& net, uint32_t bytes);
  bool read_some(Net& net);
  bool borrow_some(Net& net);
  void accept_data(std::span<const std::byte> data);
  void end_of_data();
  void finish(Net& net);
  void failed(Net& net, Error error);
  void release_all(Net& net);
  [[nodiscard]] uint64_t may_send() const;
  [[nodiscard]] uint64_t send_total() const { return uint64_t{plan_.send_total} * exchanges(); }
  [[nodiscard]] uint64_t receive_total() const { return uint64_t{peer_.send_total} * exchanges(); }
  [[nodiscard]] uint32_t exchanges() const { return conn_.kind == ConnKind::kRequests ? conn_.rounds : 1; }

  const ConnPlan& conn_;
  const SidePlan& plan_;
  const SidePlan& peer_;
  int role_;
  uint32_t round_;
  SessionHooks& hooks_;
  base::Rng rng_;
  Content out_;
  Content in_;
  Handle handle_{};
  State state_ = State::kOpening;
  std::optional<Error> error_;
  uint64_t tx_ = 0;
  uint64_t rx_ = 0;
  uint64_t next_pause_ = 0;
  Instant paused_until_ = kNever;
  bool was_open_ = false;
  bool paused_ = false;
  bool shut_ = false;
  bool ended_ = false;    ///< the peer's end of data was read
  bool aborted_ = false;
  bool in_progress_ = false;
  std::vector<Borrowed> held_;
  std::unordered_map<uint64_t, uint64_t> lent_;  ///< cookie -> end offset
  uint64_t next_cookie_ = 1;
  std::vector<std::byte> buffer_;
};

}  // namespace millrace::sim
