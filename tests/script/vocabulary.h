// Wire scripts: a worker on virtual time, and a peer whose every segment the script writes down. There is no TCP on the
// other side. A script reads like a packet trace:
//
//   Script s(variant);
//   const Handle l = s.listen();
//   s.in(SYN, seq(0), mss(1460));
//   s.expect(SYN | ACK, seq(0), ack(1));
//   s.in(ACK);                            // seq and ack are filled in as a well-behaved peer would
//   const Handle c = s.accept(l);
//   s.write(c, 100);
//   s.expect(ACK, seq(1), len(100));
//   s.expect_after(1'000, ACK, seq(1), len(100));   // sent again exactly one second later
//
// Nothing may be left over: a segment that no expect() asked for fails the script, as does an inconsistent worker, a
// wrong checksum, a wrong byte of payload, or a buffer that leaked. The first failure ends the script and prints the
// trace so far. docs/SCRIPTS.md is the guide.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "segment.h"
#include "stack/worker.h"

namespace millrace::script {

/// What the same script runs over.
struct Variant {
  bool v6 = false;
  bool ts = true;    ///< the peer offers timestamps
  bool sack = true;  ///< the peer offers SACK
  bool tso = false;  ///< the device cuts large segments and sums; the script sees what it made of them
};
std::string name_of(const Variant& v);
/// v4/v6 x timestamps x SACK x TSO.
std::vector<Variant> all_variants();
/// v4/v6 x timestamps, where the others make no difference.
std::vector<Variant> plain_variants();

/// Those of `list` that fit.
template <class Fits>
std::vector<Variant> variants_where(std::vector<Variant> list, Fits fits) {
  std::erase_if(list, [&](const Variant& v) { return !fits(v); });
  return list;
}
/// All with SACK, and all without.
inline std::vector<Variant> sack_variants() {
  return variants_where(all_variants(), [](const Variant& v) { return v.sack; });
}
inline std::vector<Variant> no_sack_variants() {
  return variants_where(all_variants(), [](const Variant& v) { return !v.sack; });
}

/// A suite of scripts that run over a list of variants: SCRIPTS(Handshake, plain_variants());
#define SCRIPTS(Suite, list)                                                        \
  /* NOLINTNEXTLINE(bugprone-macro-parentheses): a name */                          \
  class Suite : public testing::TestWithParam<::millrace::script::Variant> {};      \
  INSTANTIATE_TEST_SUITE_P(All, Suite, testing::ValuesIn(list), [](const auto& p) { \
    return ::millrace::script::name_of(p.param);                                    \
  })

/// The settings' defaults, but NewReno for congestion control, and no guess that a path swallows large segments.
[[nodiscard]] inline tcp::Settings reno() {
  tcp::Settings settings;
  settings.congestion_control = tcp::cc::find_controller("newreno");
  settings.mtu_probing = 0;
  return settings;
}

struct Options {
  tcp::Settings tcp = reno();  ///< windows that are easy to work out by hand
  uint16_t mtu = 1500;
  uint32_t max_connections = 64;
  uint32_t max_half_open = 64;
  uint32_t max_time_wait = 64;
  size_t block_bytes = size_t{64} << 20;
  size_t frames = 600;
  Instant start{1'000'000'000'000};
};

/// A pool that can be closed: it then has nothing to give.
class ClosablePool final : public pkt::PacketPool {
 public:
  ClosablePool(size_t count, uint16_t room) : pool_(count, room) {}
  size_t allocate(std::span<pkt::Packet*> out) override;
  void release(std::span<pkt::Packet* const> packets) override { pool_.release(packets); }
  [[nodiscard]] size_t available() const override { return closed ? 0 : pool_.available(); }
  [[nodiscard]] size_t capacity() const override { return pool_.capacity(); }
  [[nodiscard]] size_t inside() const { return pool_.available(); }
  bool closed = false;

 private:
  pkt::HeapPacketPool pool_;
};

/// Flags, and the line of the script that names them.
struct Head {
  Head(uint8_t f, int l = __builtin_LINE(), const char* p = __builtin_FILE()) : flags(f), line(l), file(p) {}
  Head(int f, int l = __builtin_LINE(), const char* p = __builtin_FILE())
      : flags(static_cast<uint8_t>(f)), line(l), file(p) {}
  uint8_t flags;
  int line;
  const char* file;
};
struct At {
  At(int l = __builtin_LINE(), const char* p = __builtin_FILE()) : line(l), file(p) {}
  int line;
  const char* file;
};

class Script {
 public:
  explicit Script(const Variant& variant = {}, const Options& options = {});
  ~Script();
  Script(const Script&) = delete;
  Script& operator=(const Script&) = delete;

  // The peer. A segment without seq() continues after the last one, one without ack() acknowledges everything seen;
  // timestamps are added where they were negotiated.
  template <class... T>
  void in(Head head, const T&... tokens) {
    send(head, make(head, {Token(tokens)...}));
  }
  /// Several segments in one burst: start(); in(...); in(...); deliver().
  void hold_input() { holding_ = true; }
  void deliver();
  /// What a SYN of this variant offers: MSS of the path, SACK, timestamps, window scale 7.
  [[nodiscard]] Token offer() const;
  /// The peer speaks from this port from now on (40000 at first).
  void peer_port(uint16_t port) { port_ = port; }
  /// An ICMP error about the last segment that left, or about one `offset` bytes further on.
  void icmp_unreachable(uint8_t code, int32_t offset = 0);
  /// The last segment, or one `offset` bytes further on, is too big: this much fits.
  void icmp_too_big(uint16_t mtu, int32_t offset = 0);

  // The stack's answers, in order.
  template <class... T>
  void expect(Head head, const T&... tokens) {
    match(head, make(head, {Token(tokens)...}), {});
  }
  /// The same, and exactly `ms` after the last segment that was expected (or after mark()).
  template <class... T>
  void expect_after(int64_t ms, Head head, const T&... tokens) {
    match(head, make(head, {Token(tokens)...}), milliseconds(ms));
  }
  void expect_nothing(At at = {});
  /// Nothing for this long.
  void quiet(int64_t ms, At at = {});
  /// Data segments that together are exactly [from, to) of our stream, in order, each at most full(); their number.
  size_t expect_data(uint32_t from, uint32_t to, At at = {});
  void mark() { mark_ = now_; }
  /// Forgets the oldest segment that was sent and not expected.
  void drop_first() { out_.pop_front(); }
  /// Forgets what was sent and not expected; how many segments that was.
  size_t skip();
  [[nodiscard]] const std::deque<Segment>& sent() const { return out_; }
  /// Frames given to the device so far (a large one that it cuts counts once).
  [[nodiscard]] size_t frames() const { return frames_count_; }

  // Time.
  void advance(int64_t ms) { advance(milliseconds(ms)); }
  void advance(Duration d);
  [[nodiscard]] Instant now() const { return now_; }
  /// The peer's timestamp clock, milliseconds.
  [[nodiscard]] uint32_t peer_clock() const;
  /// Our window scale toward the current peer port.
  [[nodiscard]] int scale() { return flow(port_).our_scale; }
  /// Our initial sequence number toward the current peer port, as on the wire.
  [[nodiscard]] uint32_t raw_iss() { return flow(port_).our_iss; }
  /// The newest TSval seen from the stack.
  [[nodiscard]] uint32_t last_ts_val();

  // The program.
  Result<Reply> ask(const Request& r);
  Handle listen(const SocketOptions& o = {}, uint32_t backlog = 16, At at = {});
  /// The next connection of a listener; fails the script if there is none.
  Handle accept(Handle listener, At at = {});
  Handle connect(const SocketOptions& o = {}, At at = {});
  /// Connects with `n` bytes that may go with the SYN, of which `taken` do (RFC 7413).
  Handle connect_early(uint32_t n, size_t& taken, At at = {});
  /// Writes the next `n` bytes of the connection's stream; fails the script unless all were taken.
  void write(Handle h, uint32_t n, bool more = false, At at = {});
  /// The same, and returns what the stack said.
  Result<size_t> try_write(Handle h, uint32_t n, bool more = false, bool urgent = false);
  /// Reads at most `n` bytes and compares them with the stream; fails the script if it cannot.
  size_t read(Handle h, uint32_t n = 1 << 20, At at = {});
  Result<size_t> try_read(Handle h, uint32_t n = 1 << 20, At at = {});
  void shutdown(Handle h);
  void close(Handle h);
  void abort(Handle h);
  /// Masks of the events of `h` since the last call, joined.
  uint32_t events(Handle h);
  [[nodiscard]] const std::vector<Event>& all_events();
  /// Cookies of the lent buffers that came back since the last call.
  std::vector<uint64_t> released();

  // Connections in one word.
  Handle server(const SocketOptions& o = {});
  Handle client(const SocketOptions& o = {});
  Handle listener() const { return listener_; }

  /// Runs `between` wherever a long write pumps; it may call in(), advance the clock of arrivals and look at what left,
  /// not the program's side.
  void pump(std::function<void()> between);

  // Observation.
  /// State of the connection with the current peer port; "" if there is none.
  [[nodiscard]] std::string state();
  [[nodiscard]] stack::SocketInfo info();
  [[nodiscard]] uint64_t counter(const std::string& name);
  [[nodiscard]] stack::Worker& worker() { return *worker_; }
  [[nodiscard]] const Variant& variant() const { return variant_; }
  /// Payload of a full segment in either direction: the MSS of the path, less timestamps.
  [[nodiscard]] uint32_t full() const;
  [[nodiscard]] uint16_t path_mss() const { return static_cast<uint16_t>(options_.mtu - (variant_.v6 ? 60 : 40)); }
  /// The frame pool has nothing to give while closed; what the worker cached goes back first.
  void close_pool(bool closed);
  /// While set, the device keeps what it was given (and so the references to payload).
  void device_keeps(bool keep);
  /// The worker's addresses.
  [[nodiscard]] IpAddr local() const;
  [[nodiscard]] IpAddr remote() const;
  /// Reports a failure with the trace so far, once.
  void fail(const At& at, const std::string& text);
  [[nodiscard]] bool failed() const { return failed_; }
  /// Takes what the worker has to send. Every call above does so by itself.
  void collect();

 private:
  struct Flow {
    uint16_t local_port = 80;
    uint32_t our_iss = 0;
    bool know_our_iss = false;
    uint32_t peer_iss = 0;
    uint32_t next_seq = 0;   // relative; what a segment without seq() gets
    uint32_t next_ack = 0;   // relative; what a segment without ack() gets
    bool peer_ts = false;
    bool our_ts = false;
    int our_scale = 0;
    uint32_t last_ts_val = 0;
  };
  Flow& flow(uint16_t port);
  static Segment make(const Head& head, std::initializer_list<Token> tokens);
  void send(const At& at, Segment s);
  void send(const Head& head, const Segment& s) { send(At(head.line, head.file), s); }
  void match(const Head& head, Segment wanted, std::optional<Duration> after);
  void take(const pkt::Packet& frame);
  void take_tcp(std::span<const std::byte> segment, const pkt::Packet& frame);
  void record(std::span<const std::byte> segment);
  void icmp(uint8_t type, uint8_t code, uint32_t rest, int32_t offset);
  void inject(std::vector<std::byte> ip_datagram);
  void log(const char* direction, const Segment& s);
  void step(Instant to);

  Variant variant_;
  Options options_;
  base::HeapMemory memory_;
  std::unique_ptr<ClosablePool> frames_;
  std::unique_ptr<ClosablePool> references_;
  std::unique_ptr<stack::Worker> worker_;
  IfIndex interface_ = IfIndex::kNone;
  Instant now_;
  Instant mark_;
  uint16_t port_ = 40'000;
  std::map<uint16_t, Flow> flows_;
  std::deque<Segment> out_;
  std::vector<pkt::Packet*> held_;
  std::vector<pkt::Packet*> burst_;
  std::vector<std::byte> last_ip_;  // the last TCP datagram that left, for ICMP to quote
  std::vector<Event> events_;
  std::map<uint32_t, uint32_t> written_;
  std::map<uint32_t, uint32_t> read_;
  std::string trace_;
  Handle listener_{};
  size_t frames_count_ = 0;
  bool keep_ = false;
  bool holding_ = false;
  bool pumping_ = false;
  bool failed_ = false;
};

}  // namespace millrace::script
