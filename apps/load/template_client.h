// TemplateClient: many TCP connections to one server, each sending the same request again and again, at a small part of
// a stack's cost: 32 bytes a connection, segments copied from templates (segment_template.h), no congestion control and
// no reassembly. Read RFC 9293 3.10 and RFC 7323 first.
//
// It is a correct peer all the same: sequence and acknowledgment numbers, windows and timestamps are kept and checked,
// what is lost is sent again after a fixed time, what arrives out of order is acknowledged and left to the server to
// repeat, a RST or FIN is heard, and connections end with FIN. Everything that does not happen on a link without losses
// is counted. It has one request outstanding on a connection; congestion cannot come of it.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "load/report.h"
#include "load/segment_template.h"
#include "runtime/frame_client.h"
#include "wire/tcp.h"

namespace millrace::load {

struct TemplateSettings {
  Endpoint target;
  std::vector<IpAddr> sources;     ///< at least one; connection i uses sources[i % n] and port first_port + i / n
  MacAddr next_hop{};              ///< where frames to the target go
  uint16_t first_port = 1024;
  uint32_t connections = 1;
  std::string request;             ///< bytes of each request; one segment
  bool timestamps = true;
  Duration resend_after = milliseconds(200);
  uint8_t tries = 7;               ///< of a segment, before its connection counts as broken
  uint32_t seed = 1;
};

/// What cannot happen on a good link with a good server, and was seen.
struct TemplateCounters {
  uint64_t resent = 0;          ///< segments sent again after resend_after
  uint64_t out_of_order = 0;    ///< segments with a hole before them
  uint64_t duplicates = 0;      ///< segments that came before
  uint64_t bad_ack = 0;         ///< acknowledgments of what was not sent
  uint64_t bad_checksum = 0;
  uint64_t malformed = 0;
  uint64_t no_timestamps = 0;   ///< segments without the agreed timestamps, or with older ones (RFC 7323 5)
  uint64_t unexpected = 0;      ///< segments that fit no connection's state
  uint64_t closed_window = 0;   ///< requests that had to wait for the server's window
  uint64_t no_packets = 0;      ///< turns in which the pool was empty
  [[nodiscard]] uint64_t sum() const {
    return resent + out_of_order + duplicates + bad_ack + bad_checksum + malformed + no_timestamps + unexpected +
           closed_window + no_packets;
  }
};

class TemplateClient {
 public:
  /// Hears what happens. It may call open(), request() and close() from every function.
  class User {
   public:
    virtual ~User() = default;
    virtual void opened(uint32_t i) = 0;
    /// Bytes of the stream, in order, each once.
    virtual void received(uint32_t i, std::string_view bytes) = 0;
    /// Both directions ended after close().
    virtual void closed(uint32_t i) = 0;
    /// The connection is gone: refused, timed out, reset or ended by the server.
    virtual void broken(uint32_t i, ErrorKind why) = 0;
  };

  TemplateClient(const TemplateSettings& settings, const runtime::FramePort& port, User& user);

  void open(uint32_t i);
  /// Sends the request, once the one before is acknowledged. Only while open.
  void request(uint32_t i);
  /// Sends FIN, after a request that waits.
  void close(uint32_t i);
  /// Resets the connection; nothing is told.
  void abort(uint32_t i);

  // As runtime::FrameClient.
  size_t input(std::span<pkt::Packet*> frames, Instant now);
  size_t output(std::span<pkt::Packet*> out, Instant now);
  [[nodiscard]] bool wants_output() const { return head_ != queue_.size(); }
  /// Sends again what was not acknowledged in time; looks at a part of the connections, all within 256 calls. To be
  /// called about once a millisecond.
  void sweep(Instant now);

  [[nodiscard]] const TemplateCounters& counters() const { return counters_; }
  /// For the user: when its request on a connection began, in its own units, and a byte of its own.
  [[nodiscard]] uint64_t& began(uint32_t i) { return conns_[i].began; }
  [[nodiscard]] uint8_t& user_byte(uint32_t i) { return conns_[i].user; }
  void prefetch(uint32_t i) const { __builtin_prefetch(&conns_[i], 1); }
  [[nodiscard]] bool is_open(uint32_t i) const { return conns_[i].state == State::kOpen; }

 private:
  enum class State : uint8_t { kClosed, kConnecting, kOpen, kClosing };
  enum Flag : uint8_t {
    kQueued = 1,        // stands in queue_
    kOwesAck = 2,
    kWantsData = 4,     // a request is to be sent
    kWantsControl = 8,  // SYN or FIN, by state
    kResend = 16,       // from snd_una
    kPeerEnded = 32,
    kWantsReset = 64,
  };
  struct alignas(32) Conn {
    uint64_t began = 0;
    base::Seq32 snd_una;
    base::Seq32 snd_nxt;
    base::Seq32 rcv_nxt;
    uint32_t ts_recent = 0;
    uint16_t sent_at = 0;   // the oldest unacknowledged segment, in ticks of 4 ms
    uint16_t window = 0;    // as the server says it, not scaled
    State state = State::kClosed;
    uint8_t flags = 0;
    uint8_t tries = 0;
    uint8_t user = 0;
  };
  static_assert(sizeof(Conn) == 32);
  struct Found {
    pkt::Packet* packet;
    wire::Checked<wire::TcpView> tcp;
    uint32_t conn;
    uint32_t header;   // bytes of the frame before the payload
    uint32_t payload;
  };
  enum Kind : uint8_t { kSyn, kAck, kRequest, kFin, kReset, kKinds };
  static constexpr uint32_t kNobody = UINT32_MAX;

  // Input: template_input.cc
  bool claim(pkt::Packet& p, Found& found);
  bool locate(Found& found, uint32_t ip_at, uint32_t tcp_bytes, const IpAddr& source, const IpAddr& destination);
  [[nodiscard]] uint32_t source_index(const IpAddr& local) const;
  void take(const Found& found);
  void take_answer_to_syn(const Found& found, Conn& conn);
  void take_unusual(const Found& found, Conn& conn);
  [[nodiscard]] bool timestamps_good(const Found& found, Conn& conn, uint32_t& value);
  [[nodiscard]] bool take_ack(const Found& found, Conn& conn);
  void deliver(const Found& found);
  void end(uint32_t i, ErrorKind why);

  // Output: template_client.cc
  void queue(uint32_t i);
  void emit(uint32_t i, Conn& conn, pkt::Packet& p, Instant now);
  Kind next_segment(Conn& conn);
  [[nodiscard]] bool window_open(const Conn& conn) const;
  void build_templates();
  [[nodiscard]] uint32_t request_bytes() const { return static_cast<uint32_t>(settings_.request.size()); }

  TemplateSettings settings_;
  runtime::FramePort port_;
  User& user_;
  pkt::PacketCache& packets_;
  std::vector<std::array<SegmentTemplate, kKinds>> templates_;  // by source
  std::vector<Conn> conns_;
  struct Delayed {
    Instant since;
    uint32_t conn;
  };
  std::deque<Delayed> delayed_;  // connections that may owe an acknowledgment, oldest first
  std::vector<uint32_t> queue_;  // connections that have something to send, from head_ on
  size_t head_ = 0;
  uint32_t sweep_at_ = 0;
  Instant now_{};
  uint16_t mss_ = 0;             // what is offered
  uint8_t peer_shift_ = 0;       // the server's window scale, the same for all
  bool timestamps_ = true;       // agreed by the first connection
  bool agreed_ = false;
  TemplateCounters counters_;
};

}  // namespace millrace::load
