// The program behind millrace-dns: answers over UDP in batches, and over TCP what does not fit a datagram (RFC 7766).
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "dns/zone.h"
#include "millrace/program.h"

namespace millrace::dns {

class Server final : public Program {
 public:
  Server(Zone zone, uint16_t port) : zone_(std::move(zone)), port_(port) {}

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;

 private:
  static constexpr size_t kBatch = 32;
  static constexpr size_t kMostConnections = 1'024;
  enum : uint64_t { kDatagrams = 1, kListener = 2, kConnection = 3 };

  /// A TCP connection: what came of a query, and what is left of the answers.
  struct Connection {
    std::vector<std::byte> in;
    std::vector<std::byte> out;
    size_t sent = 0;
    bool ended = false;
  };

  void serve_datagrams(Net& net, Handle socket);
  void serve_connection(Net& net, Handle socket);
  bool read_queries(Net& net, Handle socket, Connection& c);
  bool write_answers(Net& net, Handle socket, Connection& c);

  Zone zone_;
  uint16_t port_;
  Handle datagrams_{};
  std::array<Message, kBatch> messages_{};
  std::array<std::vector<std::byte>, kBatch> answers_{};
  std::unordered_map<uint64_t, Connection> connections_;
};

}  // namespace millrace::dns
