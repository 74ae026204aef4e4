// Guest: one attached program as the service sees it: its segment, the sockets and claims that it holds, and the
// service's own books of what has flowed. Nothing that is read from the segment is trusted or read twice; a guest whose
// rings make no sense is doomed, and nobody else notices. docs/ARCHITECTURE.md, "The service".
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "millrace/program.h"
#include "posix/ports.h"
#include "runtime/descriptor.h"
#include "service/segment.h"
#include "service/shared_socket.h"

namespace millrace::service {

class Deposits;

/// What all guests stand on; outlives them.
struct Ground {
  Door* door = nullptr;
  posix::Ports* ports = nullptr;
  SharedSockets* sockets = nullptr;
  std::vector<Handle> aborts{};  ///< for the next turn: what was sent before a reset goes out before it
  std::function<bool(const IpAddr&)> is_local;
  std::function<std::vector<posix::InterfaceRow>()> interfaces;
  /// A program shares the sockets of `parent` from now on and will attach by the number returned; 0: no room.
  std::function<uint64_t(Guest& parent)> fork;
  Deposits* deposits = nullptr;  ///< null: sockets are not handed on
  uint64_t guests = 0;           ///< that there were
};

class Guest {
 public:
  /// `program_bell` is the writing end of a pipe, non-blocking.
  Guest(Ground& ground, Segment segment, runtime::Descriptor program_bell);
  ~Guest();
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  /// Carries out at most `budget` requests; returns how many.
  size_t serve(size_t budget);
  /// Hands over what events wait, and wakes the program if it sleeps.
  void publish();
  /// Something happened to the socket that it holds as number `index`.
  void told(uint32_t index, SharedSocket& socket, uint32_t mask);
  /// Holds all that `parent` holds.
  void inherit(Guest& parent);
  /// Holds the socket too, beside others, of whom the only one waits for an answer; its number, or 0: no room.
  uint32_t hold(SharedSocket& socket, uint64_t user = 0);
  /// Closes what it holds as `index`; `elsewhere`: another holder has just taken it over.
  void let_go(uint32_t index, bool elsewhere);
  bool hold_claim(uint64_t id, const Endpoint& local);
  /// The program is gone, or must go: its sockets are closed as the kernel would.
  void leave();
  [[nodiscard]] bool left() const { return left_; }
  /// Nothing is left to send for it.
  [[nodiscard]] bool finished() const { return left_ && held_ == 0; }
  [[nodiscard]] bool doomed() const { return doomed_; }
  /// Before a sleep of the service: true if there are no requests.
  bool prepare_sleep();
  void end_sleep();
  [[nodiscard]] const Segment& segment() const { return segment_; }
  [[nodiscard]] uint32_t sockets() const { return held_; }
  [[nodiscard]] uint64_t id() const { return id_; }

 private:
  struct Slot {
    SharedSocket* socket = nullptr;
    uint32_t gen = 0;
    uint32_t pending = 0;  // events that wait for room in the ring
    bool listed = false;
    bool closing = false;  // the program is done with it; its bytes still go out
    uint64_t user = 0;
    uint64_t sent = 0;        // consumed, of the flow to the service
    uint64_t given = 0;       // produced, of the flow to the program
    uint64_t given_from = 0;  // its origin
    uint64_t given_seen = 0;  // what the program had consumed when last looked
  };
  struct Flown;

  // guest.cc
  Slot* slot_of(const Descriptor& d);
  uint32_t take_index();
  void tell(uint32_t index, uint32_t mask);
  void doom() { doomed_ = true; }

  // flows.cc
  /// Bytes that wait in the flow to the service.
  uint64_t unsent(uint32_t index);
  uint64_t unread(uint32_t index);
  bool has_room(uint32_t index);
  /// Moves bytes to the worker.
  void pump_out(uint32_t index);
  /// Moves bytes to the program; returns how many.
  size_t pump_in(uint32_t index);
  void take_back(uint32_t index);
  void set_by_call(uint32_t index, bool on);
  void discard_out(uint32_t index);
  void settle(SharedSocket& socket);
  void close(uint32_t index, bool abort);
  void finish(uint32_t index, bool abort);
  void forget(uint32_t index);

  // calls.cc
  void carry_out(const Descriptor& d);
  bool post_of(const Descriptor& d);
  void answer_call(const Descriptor& d);
  void answer(uint32_t seq, const Result<void>& result);
  void look_settled();
  Result<void> call(const Descriptor& d, const Call& c, Answer& a);
  Result<void> open(const Call& c, Op op, Handle listener, Answer& a);
  Result<void> send(uint32_t index, const Call& c, Answer& a);
  Result<void> receive(uint32_t index, const Call& c, Answer& a);
  Result<void> look(uint32_t index, Answer& a);
  Result<void> shutdown(uint32_t index);
  Result<void> send_message(SharedSocket& socket, const Call& c);
  Result<void> receive_message(SharedSocket& socket, const Call& c, Answer& a);
  void list_interfaces(Answer& a);
  Result<void> claim(const Descriptor& d, const Call& c, Answer& a);
  [[nodiscard]] bool may_use(const Endpoint& local) const;
  void name(SharedSocket& socket, Answer& a);

  // handover.cc
  Result<void> deposit(const Descriptor& d, const Call& c);
  Result<void> withdraw(const Call& c);
  Result<void> collect(const Call& c, Answer& a);

  Ground& ground_;
  uint64_t id_;
  Segment segment_;
  runtime::Descriptor program_bell_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> dirty_;
  struct Claimed {
    uint32_t count = 0;
    Endpoint local{};
  };
  std::unordered_map<uint64_t, Claimed> claims_;
  uint64_t listen_claim_ = 0;  // that the next listener is for
  uint32_t next_request_ = 0;
  uint32_t next_event_ = 0;
  uint32_t held_ = 0;
  struct Settling {
    uint32_t index = 0;  // 0: nobody waits
    uint32_t gen = 0;
    uint32_t seq = 0;
    uint32_t turns = 0;
    uint32_t quiet = 0;
  };
  Settling settling_;
  uint32_t held_back_ = 0;  // turns, until a reset has had its effect
  bool moved_ = false;  // something, since it was last looked at
  bool answered_ = false;
  bool left_ = false;
  bool doomed_ = false;
};

/// At the beginning of a turn: carries out ground.aborts; returns how many there were.
size_t reset_those_waiting(Ground& ground);
/// Tells a socket's holders what the worker says about it.
void tell_holders(SharedSockets& sockets, const Event& event);

}  // namespace millrace::service
