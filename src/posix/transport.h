// What stands between the meaning of POSIX and a worker: one in this process (inline.h), or a service's behind shared
// memory. Everything is called with the lock of Stack held, so an implementation needs none. Requests are values;
// payload is copied during the call; nothing is borrowed. Send and Receive never wait; other requests may take a round
// trip. docs/ARCHITECTURE.md, "Unmodified programs".
#pragma once

#include <poll.h>

#include <span>
#include <vector>

#include "millrace/event.h"
#include "millrace/request.h"
#include "millrace/result.h"
#include "millrace/time.h"
#include "posix/interfaces.h"
#include "posix/token.h"

namespace millrace::posix {

/// Takes what a worker tells programs.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void event(const Event& event) = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;

  virtual Result<Reply> request(const Request& request) = 0;
  /// What of req::Look concerns readiness: `unread`, `room`, `readable`, `alive`, `error`. Asked often.
  virtual Result<void> glance(Handle handle, SocketStatus& status) {
    const auto looked = request(req::Look{handle, &status});
    if (!looked) return fail(looked.error());
    return {};
  }
  /// Takes in what has happened, gives `sink` the events, sends what waits.
  virtual void turn(Sink& sink) = 0;
  /// The two halves of turn(), for a program that works between them: takes in and gives the events; sends, and runs
  /// what is due. Whether there was anything to do.
  virtual bool take_in(Sink& sink) {
    turn(sink);
    return true;
  }
  virtual bool give_out() {
    flush();
    return true;
  }
  /// Whether turn() would give events at once: what went out at its end may have come back over a loopback interface.
  [[nodiscard]] virtual bool has_events() { return false; }
  /// Sends what requests have queued. True: there are events for turn() to give.
  virtual bool flush() = 0;
  /// A fresh instant of CLOCK_MONOTONIC, or of a simulated clock.
  [[nodiscard]] virtual Instant now() = 0;

  /// Before the caller sleeps, without the lock, on what is in `waits`: appends what to wait for and lowers `until` to
  /// the transport's own next deadline. False: something came, turn again. end_sleep() follows in either case, with
  /// what was appended.
  virtual bool begin_sleep(std::vector<pollfd>& waits, Instant& until) = 0;
  virtual void end_sleep(std::span<const pollfd> waits) = 0;
  /// What begin_sleep() would lower `until` to. A sleep is cut short when a request has brought it forward.
  [[nodiscard]] virtual Instant next_deadline() { return kNever; }

  /// A claim on a local address of TCP: of bind(), of an accepted connection.
  struct Claim {
    Endpoint local{};
    bool reuse_address = false;
    bool reuse_port = false;
    bool v6_only = false;
    bool listening = false;
  };
  /// Takes an address: a port of 0 is chosen. kAddressInUse, kAddressNotHere. The result names the claim.
  struct Reserved {
    uint64_t id = 0;
    Endpoint local{};
  };
  virtual Result<Reserved> reserve(const Claim& claim) = 0;
  /// From now on it counts as a listener's: kAddressInUse if another on the port listens already.
  virtual Result<void> reserve_listen(uint64_t id) = 0;
  /// No more: what was accepted may keep the address.
  virtual void unlisten(uint64_t id) = 0;
  /// One more socket has the claim, which ends with its last release().
  virtual void hold(uint64_t id) = 0;
  virtual void release(uint64_t id) = 0;
  [[nodiscard]] virtual bool is_local(const IpAddr& address) = 0;
  /// Empty: there is no stack, or it cannot be asked.
  [[nodiscard]] virtual std::vector<InterfaceRow> interfaces() { return {}; }
  /// The program ends: what is queued may leave for a moment, then nothing goes out any more.
  virtual void drain() = 0;
  /// Around fork(), with the lock held. In the child: whether its sockets go on there, beside the parent's; else they
  /// are fenced off.
  virtual void before_fork() {}
  virtual bool after_fork(bool child) { return !child; }

  /// A socket that goes to another program, with what that one must know of it besides what the worker does.
  struct Parcel {
    Handle handle{};  ///< invalid: nobody but its program knows it yet
    uint64_t claim = 0;
    SocketOptions stream{};
    DatagramOptions datagram{};
    std::vector<std::byte> rest;  ///< at most 4,096 bytes, of the sender's own meaning
  };
  enum class Way : uint8_t { kExec, kMessage };
  /// It waits, alive, for whoever names the token, for a time that suits the way. kNotSupported: not to be had here.
  virtual Result<void> deposit(const Token&, const Parcel&, Way) { return fail(Error::kNotSupported); }
  /// It goes nowhere.
  virtual void withdraw(const Token&) {}
  /// Takes it over, or shares it; events will come with `user`. What is in the parcel comes from another program.
  virtual Result<Parcel> collect(const Token&, uint64_t) { return fail(Error::kNotFound); }
  /// In a child of vfork: whether what the transport needs was not closed there.
  [[nodiscard]] virtual bool reachable() { return true; }
};

}  // namespace millrace::posix
