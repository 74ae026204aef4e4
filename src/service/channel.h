// Channel: a program's end of the shared memory, as the Transport of its sockets. Bytes of streams, and whether there
// are any, are known here without a word to the service; what is rare is a call, which waits for its answer.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "posix/transport.h"
#include "service/attach.h"

namespace millrace::service {

class Channel final : public posix::Transport {
 public:
  /// Does the service's part instead of waiting for it: for tests in one thread.
  using Serve = std::function<void()>;

  /// `path` is the service's socket, for children of fork().
  Channel(Attachment attachment, std::string path, Serve serve = {});

  Result<Reply> request(const Request& request) override;
  Result<void> glance(Handle handle, SocketStatus& status) override;
  void turn(posix::Sink& sink) override;
  bool flush() override;
  [[nodiscard]] Instant now() override;
  bool begin_sleep(std::vector<pollfd>& waits, Instant& until) override;
  void end_sleep(std::span<const pollfd> waits) override;
  Result<Reserved> reserve(const Claim& claim) override;
  Result<void> reserve_listen(uint64_t id) override;
  void unlisten(uint64_t id) override { post(Op::kUnlisten, {}, id); }
  void hold(uint64_t id) override { post(Op::kHold, {}, id); }
  void release(uint64_t id) override { post(Op::kRelease, {}, id); }
  [[nodiscard]] bool is_local(const IpAddr& address) override;
  [[nodiscard]] std::vector<posix::InterfaceRow> interfaces() override;
  void drain() override;
  void before_fork() override;
  bool after_fork(bool child) override;
  Result<void> deposit(const posix::Token& token, const Parcel& parcel, Way way) override;
  void withdraw(const posix::Token& token) override;
  Result<Parcel> collect(const posix::Token& token, uint64_t user) override;
  [[nodiscard]] bool reachable() override;

 private:
  struct Known {
    uint32_t gen = 0;
    bool open = false;
    bool stream = false;  // with flows
    bool listener = false;
    bool calls_in = true;  // what is received is asked for: not connected, or the peer has ended, or it failed
    bool calls_out = true;
    uint64_t user = 0;
    uint64_t sent = 0;   // produced, of the flow to the service
    uint64_t taken = 0;  // consumed, of the flow to the program
    Endpoint local{};
    Endpoint remote{};
  };
  struct Asker;

  Known* find(Handle handle);
  Known& learn(const Answer& answer, uint64_t user);
  Result<Reply> send(const req::Send& r);
  Result<Reply> receive(const req::Receive& r);
  Result<Reply> send_by_call(const req::Send& r);
  Result<Reply> send_message(const req::SendBatch& r);
  Result<Reply> receive_message(const req::ReceiveBatch& r);
  size_t take_from_flow(Handle handle, Known& known, std::span<std::byte> into, bool peek);

  void post(Op op, Handle handle, uint64_t number = 0, uint32_t seq = 0);
  /// Waits for the answer; kNetDown if the service is gone.
  /// kWouldBlock, of those that may end so: a signal came, and the answer comes later.
  Result<const Answer*> ask(Op op, Handle handle, const Call* call = nullptr, uint64_t number = 0);
  enum class Waited : uint8_t { kAnswered, kDead, kInterrupted };
  Waited wait_for(uint32_t seq, bool may_end);
  [[nodiscard]] bool goes_on_with(Op op, Handle handle) const;
  /// Before the shared memory of calls is written: an earlier call may still be read from there.
  Result<void> ready_for(Op op, Handle handle);
  Result<void> settle_late(bool may_end);
  [[nodiscard]] bool late_is_answered() const;
  void tell_all(posix::Sink& sink, uint32_t mask);
  size_t take_late(Handle handle, std::span<std::byte> into, bool peek);
  void ring_service();
  void absorb();
  void note(const EventCell& cell);
  /// Whether the service is still there.
  bool look_alive();
  bool adopt();

  Attachment end_;
  std::string path_;
  Serve serve_;
  runtime::Descriptor self_bell_;  // wakes a leader when another thread took the events in
  std::vector<Known> known_;
  std::vector<Event> news_;  // taken out of the ring, not yet given to the sink
  std::vector<Event> giving_;
  uint32_t next_request_ = 0;
  uint32_t next_event_ = 0;
  uint32_t next_seq_ = 1;
  uint32_t sleepers_ = 0;
  uint32_t quiet_turns_ = 0;
  bool dead_ = false;
  bool told_dead_ = false;
  runtime::Descriptor unborn_;  // in a forked child, or on the way there: where its welcome comes
  bool child_ = false;          // its own segment is not mapped yet
  // A call that a signal ended while the service did not answer.
  struct Late {
    uint32_t seq = 0;  // 0: none
    Op op = Op::kNone;
    Handle handle{};
    uint32_t bytes = 0;
    bool peek = false;
  };
  Late late_;
  bool look_again_ = false;                                // when its answer is there
  std::map<uint32_t, std::vector<std::byte>> late_bytes_;  // that such calls received, by socket
  int spins_ = 0;
};

}  // namespace millrace::service
