// SharedSocket: a socket of the worker as the service keeps it, with the programs that hold it: one as a rule, several
// after a fork. Only a stream with one holder has flows; with several, bytes go by calls, and those that had been put
// into a flow and were not read come back here.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "millrace/request.h"
#include "posix/token.h"
#include "service/layout.h"

namespace millrace::service {

class Guest;

enum class SocketKind : uint8_t { kListener, kStream, kDatagram, kFresh };  // the last: no worker knows it yet

/// What goes with a socket that is handed to another program.
struct Parcel {
  posix::Token token{};
  StreamWords stream{};
  DatagramWords datagram{};
  std::vector<std::byte> rest;  ///< the depositor's, not looked at
  uint64_t claim = 0;
  Endpoint claimed{};
};

struct SharedSocket {
  struct Holder {
    Guest* guest = nullptr;
    uint32_t index = 0;
  };

  Handle handle{};
  SocketKind kind = SocketKind::kStream;
  uint64_t key = 0;           ///< its user value at the worker
  bool dead = false;          ///< its connection failed
  uint32_t in_limit = kFlowBytes;  ///< bytes that may wait in the flow to the program
  bool urgent = false;             ///< the peer's urgent data is not read: nothing flows, so that the mark is found
  bool shut_pending = false;  ///< to be shut once the flow is empty
  std::vector<Holder> holders;
  std::vector<std::byte> back;
  std::optional<Error> held;  ///< told by the worker, not yet by us
  std::unique_ptr<Parcel> parcel;
  uint64_t listens_for = 0;  ///< of a listener: the claim, which counts as a listener's until the last holder is gone

  [[nodiscard]] bool sole() const { return holders.size() == 1; }
};

/// All of them, by key. A key is not used twice.
class SharedSockets {
 public:
  SharedSocket& make(SocketKind kind);
  [[nodiscard]] SharedSocket* find(uint64_t key, Handle handle);
  [[nodiscard]] SharedSocket* find(const posix::Token& token);
  /// It is found by its parcel's token from now on, and no longer by an earlier one's.
  void name(SharedSocket& socket, std::unique_ptr<Parcel> parcel);
  void unname(SharedSocket& socket);
  void drop(SharedSocket& socket);
  [[nodiscard]] size_t size() const { return slots_.size() - free_.size(); }

 private:
  std::vector<std::unique_ptr<SharedSocket>> slots_;
  std::vector<uint32_t> free_;
  std::map<posix::Token, SharedSocket*> named_;
  uint32_t made_ = 0;
};

}  // namespace millrace::service
