// The program of a simulated host: listens and connects as the plan says and drives the sessions.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "millrace/program.h"
#include "sim/session.h"
#include "steer/shard_map.h"

namespace millrace::sim {

/// How many server sessions of each port the programs of one host accepted.
using Accepted = std::map<uint16_t, uint32_t>;

class Traffic final : public Program {
 public:
  /// `host` is the index of this program's host; addresses of both hosts, [host][v6]. With several workers each runs a
  /// program that listens for all and opens its share.
  Traffic(const Plan& plan, int host, uint32_t worker, const steer::ShardMap& shards,
          const std::array<std::array<IpAddr, 2>, 2>& addresses, Accepted& accepted, SessionHooks& hooks)
      : plan_(plan),
        host_(host),
        worker_(worker),
        shards_(shards),
        addresses_(addresses),
        accepted_(accepted),
        hooks_(hooks),
        datagrams_(plan.datagrams[static_cast<size_t>(host)], plan.datagrams[static_cast<size_t>(1 - host)],
                   addresses[static_cast<size_t>(1 - host)], worker, shards.workers(),
                   [&hooks](std::string what) { hooks.fail(std::move(what)); }) {}

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;

  /// Every connection of the plan in which this host has a part has come to its end.
  [[nodiscard]] bool done() const;
  void close_listeners(Net& net);
  [[nodiscard]] const std::deque<Session>& sessions() const { return sessions_; }
  /// Datagrams that came back whole from the other host.
  [[nodiscard]] uint64_t datagrams_answered() const { return datagrams_.answers(); }
  /// Connections that could not be opened for lack of resources and were tried again.
  [[nodiscard]] uint64_t retries() const { return retries_; }

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
  [[nodiscard]] bool opens(size_t conn) const;
  /// The ends of a simultaneous open, which both have fixed ports.
  [[nodiscard]] Endpoint local_end(const ConnPlan& c) const;
  [[nodiscard]] Endpoint remote_end(const ConnPlan& c) const;

  const Plan& plan_;
  int host_;
  uint32_t worker_;
  const steer::ShardMap& shards_;
  std::array<std::array<IpAddr, 2>, 2> addresses_;
  Accepted& accepted_;
  SessionHooks& hooks_;
  Datagrams datagrams_;
  std::deque<Session> sessions_;
  std::vector<bool> followed_;  ///< the next round of this session was scheduled
  std::vector<Opening> to_open_;
  std::map<size_t, Handle> listeners_;
  uint64_t retries_ = 0;
};

}  // namespace millrace::sim
