// Udp: the datagram sockets of one worker below their handles: demultiplexing, unread messages, sending. ICMP sockets
// (raw/) keep their messages here too.
//
// Read first: RFC 768, RFC 1122 4.1, RFC 8200 8.1, RFC 8085.
//
// Invariants: a message is queued on exactly one socket or borrowed from exactly one; a socket's charge is the true
// size of both; a socket in the table of connected sockets has a remote port.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/counters.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/slab.h"
#include "ip/ip.h"
#include "millrace/datagram.h"
#include "millrace/request.h"
#include "millrace/result.h"
#include "pkt/block.h"
#include "pkt/pool.h"
#include "udp/counters.h"
#include "udp/settings.h"
#include "udp/table.h"
#include "udp/types.h"

namespace millrace::udp {

struct UdpConfig {
  ip::Ip* ip = nullptr;
  pkt::PacketCache* packets = nullptr;
  pkt::PacketPool* frames = nullptr;
  pkt::BlockPool* blocks = nullptr;
  base::MemorySource* memory = nullptr;
  uint64_t seed = 0;
  uint32_t max_sockets = 65'536;
  uint32_t max_messages = 262'144;  ///< unread and borrowed, of all sockets
  uint32_t transmit_queue = 4'096;  ///< Ip's
  Settings settings{};
  uint32_t workers = 1;  ///< of the process; ports and identifiers are divided among them (steer/shard_map.h)
  uint32_t worker = 0;
  /// Takes a datagram (at its IP header) to `group` that the other workers' members are to hear; null: there are none.
  void (*share)(void* context, IfIndex interface, const IpAddr& group, pkt::Packet* datagram) = nullptr;
  void* share_context = nullptr;
};

class Udp {
 public:
  explicit Udp(const UdpConfig& config);

  // Packets.

  /// Reads the UDP header at data() and leaves the packet at the payload, Ethernet padding cut off. False: the length
  /// is impossible (RFC 768); the packet is as it was.
  static bool parse(Incoming& in, pkt::PacketCache& packets);
  /// Takes in.packet; parse() has said yes.
  void input(Incoming& in, Instant now);
  /// The general path: a datagram as Ip gives it.
  void input(ip::Datagram& datagram, Instant now);
  /// Whether a datagram between these addresses may skip Ip, which would let it in.
  bool knows(const IpAddr& source, const IpAddr& destination, IfIndex interface) {
    KnownPair& k = pairs_[slot_of(source)];
    if (k.source == source && k.destination == destination && k.interface == interface && k.epoch == ip_.epoch()) {
      return true;
    }
    if (!ip_.accepts(source, destination, interface)) return false;
    k = {source, destination, interface, ip_.epoch()};
    return true;
  }
  void prefetch(const Incoming& in) const { table_.prefetch(in.destination_port); }
  /// Puts a message on a socket's queue (takes the packet), or drops it, counted. For raw/ as well.
  void deliver(uint32_t index, const Incoming& in, Instant now);

  // Programs. `index` is a live socket of the slab. Errors as in millrace/request.h.

  Result<uint32_t> open(uint32_t sock, const req::OpenDatagram& args);
  Result<void> connect(uint32_t index, const Endpoint& remote);
  void close(uint32_t index);
  /// Changes a row of kSettingRows for sockets opened from now on. kInvalid outside of the row's range.
  Result<void> set(uint16_t row, int64_t value);
  Result<void> set_options(uint32_t index, const DatagramOptions& options);
  Result<size_t> send(uint32_t index, std::span<const Message> messages, Instant now);
  /// Copying even where Message::into is empty, if `copy`.
  Result<size_t> receive(uint32_t index, std::span<Message> messages, bool peek, bool copy = false);
  /// False: `token` names no borrowed message.
  bool release(uint64_t token);
  [[nodiscard]] static bool is_token(uint64_t token) { return token >> 63 != 0; }

  /// ICMP errors and neighbours that do not answer (errors.cc).
  void on_error(const ip::PathError& error, Instant now);
  /// The same, of a socket that is known.
  void report(uint32_t index, const ip::PathError& error);
  /// The error of an earlier datagram, reported once.
  static Result<void> pending_error(Dgram& d);
  Result<void> take_error(uint32_t index, DatagramError* into);

  // Groups (groups.cc).
  Result<void> join(uint32_t index, const req::JoinGroup& args);
  Result<void> leave(uint32_t index, const req::LeaveGroup& args);
  Result<void> set_filter(uint32_t index, const req::SetGroupFilter& args);

  /// A fresh packet with a copy of `data`, with room for headers in front: one frame, or a frame and references to
  /// blocks. Null if buffers ran out.
  pkt::Packet* copied(std::span<const std::byte> data);
  /// The same with a part of a packet.
  pkt::Packet* copy_of(const pkt::Packet& packet, uint32_t offset, uint32_t bytes);

  /// Small unread messages move out of their device buffers. Once per turn.
  void compact();
  /// Frames left through an interface: blocked sockets may send again.
  [[nodiscard]] bool wants_drain() const { return wants_drain_; }
  void on_output(IfIndex interface);

  /// Sockets with event bits in Dgram::touched; the caller clears both.
  [[nodiscard]] std::vector<uint32_t>& touched() { return touched_; }
  [[nodiscard]] Dgram& at(uint32_t index) { return dgrams_[index]; }
  [[nodiscard]] const Dgram& at(uint32_t index) const { return dgrams_[index]; }
  /// Payload of the oldest unread message; 0 if there is none.
  [[nodiscard]] uint32_t oldest_bytes(uint32_t index) const {
    const uint32_t head = dgrams_[index].head;
    return head == 0 ? 0 : queue_[head].packet->total;
  }
  void touch(uint32_t index, uint32_t mask) {
    Dgram& d = dgrams_[index];
    if (d.touched == 0) touched_.push_back(index);
    d.touched |= mask;
  }

  // Observation.
  void count(Counter which, uint64_t n = 1) { counters_.add(which, n); }
  [[nodiscard]] uint64_t counter(Counter which) const { return counters_.get(which); }
  [[nodiscard]] uint32_t messages() const { return queue_.used(); }
  [[nodiscard]] std::string check() const;
  template <class Visit>
  void each(Visit&& visit) const {
    for (uint32_t i = 1; i < dgrams_.end_index(); ++i) {
      if (dgrams_.in_use(i) && (dgrams_[i].flags & kClosed) == 0) visit(i, dgrams_[i]);
    }
  }
  /// Frees every message.
  void clear();

  /// True size that a received chain is charged with.
  [[nodiscard]] static uint32_t charge_of(const pkt::Packet* chain) {
    uint32_t bytes = sizeof(Queued);
    for (const pkt::Packet* p = chain; p != nullptr; p = p->next) bytes += p->buf_len + uint32_t{sizeof(pkt::Packet)};
    return bytes;
  }

 private:
  /// Where datagrams to one destination go.
  struct Way {
    ip::HopId hop = ip::HopId::kNone;
    IfIndex interface = IfIndex::kNone;
    uint16_t mtu = 0;
    IpAddr source{};
  };
  struct CachedWay {
    IpAddr destination{};
    IpAddr wanted{};
    Way way{};
    uint32_t table = 0;
    uint16_t epoch = 0;
  };
  /// What one datagram on its way out needs.
  struct Outgoing {
    Way way;
    IpAddr destination;
    uint16_t port = 0;
    uint8_t ttl = 64;
    uint8_t traffic_class = 0;
    bool looped = false;  ///< members of the group on this host hear it too
    bool stays = false;   ///< only they do
  };
  struct QueuedError {
    uint32_t gen = 0;   // Slab's
    uint32_t link = 0;  // Slab's while free; the next error
    DatagramError error{};
  };
  /// A socket's membership in a group on one interface.
  struct Membership {
    IfIndex interface = IfIndex::kNone;
    bool exclude = true;
    IpAddr group{};
    std::vector<IpAddr> sources{};
    [[nodiscard]] bool takes(const IpAddr& source) const;
    [[nodiscard]] bool is_plain() const { return exclude && sources.empty(); }
  };
  Membership* find_membership(uint32_t index, IfIndex interface, const IpAddr& group);
  /// What the messages of one batch share: the interface that the last one went to, and its room.
  struct Batch {
    IfIndex interface = IfIndex::kNone;
    uint32_t room = 0;
    uint16_t epoch = 0;
    const link::DeviceLimits* limits = nullptr;
  };
  static constexpr size_t kMostSources = 64;
  static constexpr size_t kMostMemberships = 64;
  static constexpr uint32_t kMostErrors = 4'096;
  static constexpr size_t kWays = 256;
  static constexpr size_t kPairs = 256;
  /// What a socket that is bound to `local` sends from; unspecified: what the route says.
  static IpAddr source_of(const IpAddr& local) {
    return local.is_unspecified() || local.is_multicast() ? IpAddr() : local;
  }
  /// Place of an address in either cache.
  static size_t slot_of(const IpAddr& addr) {
    uint64_t words[2];
    __builtin_memcpy(words, addr.bytes().data(), 16);
    return (words[0] ^ words[1] ^ words[1] >> 32) * 0x9e3779b97f4a7c15ULL >> 56;
  }
  static_assert(kWays == 256 && kPairs == 256);
  struct KnownPair {
    IpAddr source{};
    IpAddr destination{};
    IfIndex interface = IfIndex::kNone;
    uint16_t epoch = 0;
  };

  // input.cc
  bool checksum_ok(const Incoming& in);
  static bool lacks_checksum_v6(const Incoming& in);
  void input_group(Incoming& in, Instant now);
  void no_port(Incoming& in, Instant now);
  bool merge(Dgram& d, const Incoming& in);
  // receive.cc
  uint32_t take_first(Dgram& d);
  void fill(const Queued& q, Message& m) const;
  bool borrow(uint32_t owner, Message& m);
  bool linearise(Queued& q, uint32_t& charge);
  void free_message(Dgram& d, uint32_t index);
  uint32_t borrowed_of(uint64_t token);
  [[nodiscard]] uint64_t token_of(uint32_t index) const {
    return uint64_t{1} << 63 | uint64_t{queue_[index].gen & 0x7fffffffU} << 32 | index;
  }
  void give_back(uint32_t index);
  // send.cc
  bool send_in_place(Dgram& d, const Message& m, Batch& batch, Instant now);
  Result<void> send_one(uint32_t index, const Message& m, Instant now);
  Result<void> prepare(Dgram& d, const Message& m, Outgoing& out);
  [[nodiscard]] CachedWay& cached_way(const IpAddr& destination) { return ways_[slot_of(destination)]; }
  Result<Way> find_way(Dgram& d, const IpAddr& destination, const IpAddr& wanted);
  Result<void> send_large(uint32_t index, const Message& m, const Outgoing& out, Instant now);
  Result<void> send_segments(Dgram& d, const Message& m, const Outgoing& out, Instant now);
  pkt::Packet* payload_of(const Message& m);
  bool fits_device(const Outgoing& out, const pkt::Packet& p) const;
  void emit(Dgram& d, const Outgoing& out, pkt::Packet* p, Instant now) {
    emit(d, out.way, out.destination, out.port, out.ttl, out.traffic_class, ip_.limits(out.way.interface), p, now);
  }
  void emit(Dgram& d, const Way& way, const IpAddr& destination, uint16_t port, uint8_t ttl, uint8_t traffic_class,
            const link::DeviceLimits& limits, pkt::Packet* p, Instant now);
  Result<void> room_for(uint32_t index, const Outgoing& out, uint32_t frames, uint32_t bytes);
  // errors.cc
  void queue_error(uint32_t index, const DatagramError& error);
  void drop_errors(Dgram& d);
  // groups.cc
  [[nodiscard]] IfIndex group_interface(const Dgram& d, IfIndex wanted) const;
  [[nodiscard]] bool wants_group(uint32_t index, const Incoming& in) const;
  void leave_all(uint32_t index);
  Result<void> give_up(const Membership& gone);
  void report_sources(IfIndex interface, const IpAddr& group);
  void loop_back(Dgram& d, const Message& m, const Outgoing& out, Instant now);
  void share(const Dgram& d, const Outgoing& out, std::span<const std::byte> payload);
  Result<void> send_here(Dgram& d, const Message& m, const Outgoing& out, Instant now);
  Result<void> prepare_group(Dgram& d, const Message& m, Outgoing& out);
  // user.cc
  void apply(Dgram& d, const DatagramOptions& o);
  Result<void> choose_port(Dgram& d);
  void drop_messages(uint32_t index);

  ip::Ip& ip_;
  pkt::PacketCache& packets_;
  pkt::PacketPool& frames_;
  pkt::BlockPool& blocks_;
  Settings settings_;
  uint32_t workers_;
  uint32_t worker_;
  void (*share_)(void*, IfIndex, const IpAddr&, pkt::Packet*);
  void* share_context_;
  base::Rng rng_;
  uint32_t transmit_limit_;
  base::Slab<Dgram> dgrams_;
  base::Slab<Queued> queue_;
  Table table_;
  base::Slab<QueuedError> errors_;
  std::unordered_map<uint32_t, std::vector<Membership>> memberships_;
  uint32_t filtered_ = 0;  ///< memberships that do not want every source
  std::vector<uint32_t> touched_;
  std::vector<uint32_t> fresh_;  // sockets that got messages since the last compact()
  std::vector<uint32_t> blocked_;
  bool wants_drain_ = false;
  bool starved_ = false;  ///< unread messages hold so many frames that no more are kept
  uint32_t turn_ = 1;
  base::Counters<Counter> counters_;
  std::array<CachedWay, kWays> ways_{};
  std::array<KnownPair, kPairs> pairs_{};
};

}  // namespace millrace::udp
