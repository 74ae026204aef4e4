// The program of a simulated host: listens and connects as the plan says and drives the sessions.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "millrace/program.h"
#include "sim/session.h"

namespace millrace::sim {

class Traffic final : public Program {
 public:
  /// `host` is the index of this program's host; addresses of both hosts, [host][v6].
  Traffic(const Plan& plan, int host, const std::array<std::array<IpAddr, 2>, 2>& addresses, SessionHooks& hooks)
      : plan_(plan), host_(host), addresses_(addresses), hooks_(hooks) {}

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;

  /// Every connection of the plan in which this host has a part has come to its end.
  [[nodiscard]] bool done() const;
  void close_listeners(Net& net);
  [[nodiscard]] const std::deque<Session>& sessions() const { return sessions_; }
  /// Connections that could not be opened for lack of resources and were tried again.
  [[nodiscard]] uint64_t retries() const { return retries_; }
  /// How many server sessions of `port` were accepted.
  [[nodiscard]] uint32_t accepted(uint16_t port) const;

 private:
  struct Opening {
    size_t conn;
    uint32_t round;
    Instant at;
  };
  void open_due(Net& net);
  void open(Net& net, const Opening& what);
  void accept(Net& net, size_t conn);
  void schedule(Net& net);
  void after(Net& net, size_t session);
  [[nodiscard]] bool opens(const ConnPlan& c) const { return c.client == host_ || c.kind == ConnKind::kSimultaneous; }

  const Plan& plan_;
  int host_;
  std::array<std::array<IpAddr, 2>, 2> addresses_;
  SessionHooks& hooks_;
  std::deque<Session> sessions_;
  std::vector<bool> followed_;  ///< the next round of this session was scheduled
  std::vector<Opening> to_open_;
  std::map<size_t, Handle> listeners_;
  std::map<uint16_t, uint32_t> accepted_;
  uint64_t retries_ = 0;
};

}  // namespace millrace::sim
