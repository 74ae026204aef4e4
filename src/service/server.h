// Server: millraced's program. It listens at a UNIX socket, lets programs attach that its access list admits, and
// serves them round robin, so many requests a turn. A program that hangs up, or writes nonsense, is taken leave of: its
// sockets are closed as the kernel would, and when nothing of it is left to send, its memory goes.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "millrace/program.h"
#include "posix/ports.h"
#include "runtime/failure.h"
#include "runtime/poll_client.h"
#include "service/attach.h"
#include "service/deposits.h"
#include "service/guest.h"

namespace millrace::service {

struct ServerOptions {
  std::string path = kDefaultPath;
  mode_t mode = 0660;
  std::string group;                 ///< of the socket; empty: the process's
  std::vector<std::string> allowed;  ///< users by name or number; empty: whoever may connect
  uint32_t programs = 256;
  Duration end_when_idle{};  ///< stop once no program was attached for so long; 0: never
  uint64_t seed = 0;         ///< of chosen ports and tickets
};

class Server final : public Program, public runtime::PollClient {
 public:
  /// Listens at the path, which is removed at the end.
  static runtime::Outcome<std::unique_ptr<Server>> listen(const ServerOptions& options);
  ~Server() override;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;
  void stop(Net& net) override;

  void attach(stack::Worker& worker, Door& door) override;
  size_t poll(Instant now) override;
  bool arm(std::vector<pollfd>& waits) override;
  void disarm() override;

  [[nodiscard]] size_t programs() const { return seats_.size(); }

 private:
  // An attached program; before it has said hello, only its socket.
  struct Seat {
    runtime::Descriptor socket;
    runtime::Descriptor service_bell;
    std::unique_ptr<Guest> guest;
    Instant since{};
  };
  // A child of fork() that has not said hello.
  struct Unborn {
    std::unique_ptr<Guest> guest;
    runtime::Descriptor bell;  // reading end of its pipe
    uint64_t parent = 0;
    Instant until{};
  };
  // Gone, with bytes that still go out.
  struct Leaving {
    std::unique_ptr<Guest> guest;
    Instant until{};
  };

  Server(const ServerOptions& options, runtime::Descriptor socket, runtime::Descriptor epoll);
  void look_at_sockets();
  void accept_all();
  void hear(Seat& seat);
  [[nodiscard]] bool admits(int socket) const;
  std::unique_ptr<Guest> make_guest(runtime::Descriptor& reading);
  uint64_t fork(Guest& parent);
  bool welcome_guest(Seat& seat, std::unique_ptr<Guest> guest, runtime::Descriptor reading);
  void part(Seat& seat);
  void remove_finished();
  void look_at_clock(Instant now);

  ServerOptions options_;
  std::vector<uid_t> uids_;
  runtime::Descriptor socket_;
  runtime::Descriptor epoll_;
  posix::Ports ports_;
  base::Rng rng_;
  SharedSockets sockets_;
  Ground ground_;
  Net* net_ = nullptr;
  std::vector<std::unique_ptr<Seat>> seats_;
  std::vector<Leaving> leaving_;
  std::unordered_map<uint64_t, Unborn> unborn_;
  std::unique_ptr<Deposits> deposits_;
  size_t first_ = 0;  // whose turn it is to be first
  Instant now_{};
  Instant look_at_{};
  Instant idle_since_{};
};

}  // namespace millrace::service
