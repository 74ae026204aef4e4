// Deposits: sockets on their way from one program to another, over exec or in a message between them. Whoever lets a
// descriptor out of its hands deposits the socket under a token that lies in the descriptor (posix/token.h); a program
// that finds it there names the token and is given the socket. Until then a guest without a program holds it, so that
// it lives although the first may have closed it or ended; what nobody collects in time is let go.
#pragma once

#include <memory>
#include <vector>

#include "service/guest.h"

namespace millrace::service {

class Deposits {
 public:
  static constexpr Duration kOverExec = seconds(5);
  static constexpr Duration kInMessage = seconds(30);
  static constexpr size_t kMostOfOne = 1'024;  ///< under way from one program; of all, as many as a table holds

  /// `keeper` holds what is under way; nobody maps its segment.
  Deposits(Ground& ground, std::unique_ptr<Guest> keeper) : ground_(ground), keeper_(std::move(keeper)) {}
  ~Deposits();
  Deposits(const Deposits&) = delete;
  Deposits& operator=(const Deposits&) = delete;

  /// `socket` null: one that no worker knows. kTooMany; kInvalid: no token, or one of another socket.
  Result<void> put(uint64_t from, SharedSocket* socket, std::unique_ptr<Parcel> parcel, Duration life);
  /// One deposit less: the newest that this program made, or, as it has the socket anyhow, the oldest of any.
  void withdraw(uint64_t from, const posix::Token& token);
  /// What lies under the token; null: nothing, or a stream whose bytes are on their way to a program that is not asked.
  [[nodiscard]] SharedSocket* find(const posix::Token& token);
  /// Somebody has it now: the oldest deposit ends. The socket may end with it.
  void taken(const posix::Token& token);
  void look_at_clock(Instant now);
  [[nodiscard]] size_t size() const { return leases_.size(); }

 private:
  struct Lease {
    posix::Token token{};
    uint32_t index = 0;  // of the keeper's
    uint64_t from = 0;
    uint64_t claim = 0;
    Instant until{};
  };
  void end(size_t which, bool elsewhere);

  Ground& ground_;
  std::unique_ptr<Guest> keeper_;
  std::vector<Lease> leases_;
};

}  // namespace millrace::service
