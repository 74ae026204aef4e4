// HttpServer: HTTP/1.1 with keep-alive and pipelining on the native API.
//
// A connection that waits for a request costs one small entry. Only while a request is half read, or a response half
// written, does it have a Work from a pool. Requests of one connection are answered strictly in order: nothing is read
// until the response before it has been taken by the stack, so a client that does not read is not read.
//
// Requests are read by copy: for a few hundred bytes one call that copies is cheaper than borrowing and giving back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "httpd/memo.h"
#include "httpd/request_reader.h"
#include "httpd/response.h"
#include "httpd/site.h"
#include "millrace/program.h"

namespace millrace::httpd {

struct ServerOptions {
  Duration idle_timeout = seconds(75);     ///< between requests, and without progress of a response; 0: never
  Duration request_timeout = seconds(15);  ///< for a request to arrive whole; 0: never
  uint64_t tag = 0;                        ///< upper 32 bits of the user values of this server's sockets
};

class HttpServer {
 public:
  HttpServer(Site& site, const ServerOptions& options);

  Result<void> listen(Net& net, const Endpoint& local, const SocketOptions& socket = {});
  /// For events whose user value carries this server's tag.
  void event(Net& net, const Event& event);
  /// Goes on with what was put off and ends connections that take too long.
  void tick(Net& net);
  /// When tick() is wanted; kNever if not.
  [[nodiscard]] Instant next_tick() const;
  void close_all(Net& net);

  struct Counters {
    uint64_t accepted = 0;
    uint64_t requests = 0;
    uint64_t refused = 0;   ///< requests that were not understood
    uint64_t timeouts = 0;
    uint64_t failed = 0;    ///< connections that ended with an error
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] uint32_t connections() const { return open_; }
  /// Connections with a request or a response in progress.
  [[nodiscard]] uint32_t busy() const { return works_used_; }

 private:
  /// What a connection needs while something of it is unfinished.
  struct Work {
    RequestReader reader;
    bool reading = false;
    uint32_t reading_since = 0;
    std::string held;      ///< input that was read and waits for the output
    std::string unsent;    ///< response bytes that wait for space, then `body`
    Plan body{};           ///< the rest of a streamed body: offset, length
    bool again = false;    ///< is in again_
  };
  enum Flag : uint8_t { kOpen = 1, kBlocked = 2, kClosing = 4, kLingering = 8 };
  struct Conn {
    Handle handle{};
    Work* work = nullptr;
    uint32_t seen = 0;       ///< when something last happened, in units of time_of()
    uint8_t flags = 0;
    uint32_t next_free = 0;
  };
  /// Whether the connection can take more work in this turn.
  enum class Step : uint8_t { kGoOn, kStop };

  static uint32_t time_of(Instant now) { return static_cast<uint32_t>(now.ns() >> 30); }  // about seconds
  static uint32_t span_of(Duration d) { return static_cast<uint32_t>((d.ns() + (1 << 30) - 1) >> 30); }

  // Connections: server.cc
  void accept_all(Net& net);
  uint32_t take_slot();
  void drop(Net& net, uint32_t slot, bool abort = false);
  Work& work_of(Conn& conn);
  void give_back(Conn& conn);
  void settle(Conn& conn);
  void sweep(Net& net, uint32_t slot, uint32_t now);

  // Input: input.cc
  void serve(Net& net, uint32_t slot);
  bool serve_held(Net& net, uint32_t slot);
  void keep(Net& net, uint32_t slot, std::string_view rest);
  void block(Net& net, uint32_t slot, Error why);
  Step consume(Net& net, uint32_t slot, std::string_view& input);
  Step read_request(Net& net, uint32_t slot, std::string_view& input);
  void discard(Net& net, uint32_t slot);
  void put_off(Net& net, uint32_t slot);

  // Output: output.cc
  Step respond(Net& net, uint32_t slot, const Plan& plan, bool more_input);
  Step flush(Net& net, uint32_t slot, bool more);
  Step send(Net& net, uint32_t slot, std::string_view text, bool more);
  Step stream(Net& net, uint32_t slot);
  Step finish(Net& net, uint32_t slot, const Plan& plan);
  void drain(Net& net, uint32_t slot);
  void append(std::string_view text);

  Site& site_;
  ServerOptions options_;
  std::vector<Handle> listeners_;
  std::vector<Conn> conns_;
  uint32_t free_slot_ = 0;
  uint32_t open_ = 0;
  uint32_t sweep_at_ = 1;
  Instant next_sweep_ = kNever;
  std::vector<std::unique_ptr<Work>> works_;
  std::vector<Work*> free_works_;
  uint32_t works_used_ = 0;
  std::vector<uint32_t> again_;
  std::vector<uint32_t> now_again_;
  std::vector<std::byte> input_;
  std::vector<char> batch_;  ///< responses of the connection at hand, not written yet
  size_t batch_bytes_ = 0;
  Memo memo_;
  DateClock date_;
  Counters counters_;
};

}  // namespace millrace::httpd
