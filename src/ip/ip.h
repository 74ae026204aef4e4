// Ip: addresses, routes, neighbours, IPv4 and IPv6 input and output, ICMP of one worker. It owns the per-interface
// queues of frames that are ready for the device. Upper layers see parsed datagrams, next hops and errors.
//
// Read first: RFC 1122 section 3, RFC 8200, RFC 4443, RFC 4861, RFC 826.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/counters.h"
#include "base/rng.h"
#include "ip/settings.h"
#include "link/netif.h"
#include "mcast/host.h"
#include "millrace/address.h"
#include "millrace/request.h"
#include "millrace/result.h"
#include "millrace/time.h"
#include "pkt/packet.h"
#include "pkt/pool.h"

namespace millrace::ip {

/// Names a next hop (an interface and a neighbour on it); 0 is none. A few per worker, whatever the number of
/// connections. Valid while Ip::epoch() stands: when the table of hops is full, those without a neighbour are given up
/// and the epoch moves on.
enum class HopId : uint32_t { kNone = 0 };

/// Answer of a route look-up.
struct Route {
  HopId hop = HopId::kNone;
  IfIndex interface = IfIndex::kNone;
  IpAddr source;      ///< the address to send from
  uint16_t mtu = 0;   ///< of the path as far as it is known; at most the interface's
};

/// A transport datagram that arrived for us. `packet` is owned by whoever holds the struct.
struct Datagram {
  pkt::Packet* packet = nullptr;  ///< data() is at the transport header; Ethernet and IP padding are cut off
  IpAddr source;
  IpAddr destination;
  uint8_t protocol = 0;
  uint8_t ttl = 0;
  uint8_t traffic_class = 0;      ///< DSCP and ECN bits
  IfIndex interface = IfIndex::kNone;
  uint16_t header = 0;    ///< bytes of IP headers that still lie in front of data()
  bool to_group = false;  ///< came in a broadcast or multicast frame, or to such an address
};

/// A validated ICMP error about a datagram that we sent, or a next hop that does not answer.
struct PathError {
  enum class Kind : uint8_t {
    kNetUnreachable,
    kHostUnreachable,
    kProtocolUnreachable,
    kPortUnreachable,
    kAdminProhibited,
    kTimeExceeded,
    kParameterProblem,
    kPacketTooBig,      ///< `mtu` says how much fits
    kNeighbourFailed,   ///< ARP or ND gave up; the quoted datagram was waiting for it
  };
  Kind kind = Kind::kNetUnreachable;
  uint16_t mtu = 0;
  uint8_t protocol = 0;
  IpAddr source;       ///< of the quoted datagram: our address
  IpAddr destination;  ///< of the quoted datagram: the peer
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint32_t sequence = 0;  ///< TCP sequence number quoted; of an ICMP echo its identifier and sequence number
  IpAddr reporter{};      ///< who says so; unspecified: this host
};

struct Config {
  pkt::PacketCache* packets = nullptr;
  uint64_t seed = 0;
  uint32_t max_neighbours = 4'096;
  uint32_t max_routes = 65'536;
  uint32_t pending_per_neighbour = 64;   ///< packets kept while a neighbour is being resolved (RFC 1122 2.3.2.2)
  uint32_t pending_total = 1'024;        ///< the same for all neighbours together
  uint32_t icmp_errors_per_second = 100; ///< one worker's budget (RFC 1812 4.3.2.8, RFC 4443 2.4 f)
  uint32_t icmp_echo_per_second = 100'000;
  uint32_t transmit_queue = 4'096;       ///< frames waiting per interface before new ones are dropped
  uint32_t workers = 1;                  ///< of the process; see replica.h
  uint32_t worker = 0;                   ///< this one: 0 writes neighbours, addresses and routes, the others follow
  bool siblings = false;                 ///< each writes its own; nobody follows
  Settings settings{};
};

struct TableMessage;

/// Where a packet filter or a capture may look; empty = free.
enum class HookPoint : uint8_t { kInput, kOutput };
enum class HookVerdict : uint8_t { kAccept, kDrop };
/// Sees the packet at its IP header.
using Hook = HookVerdict (*)(void* context, IfIndex interface, pkt::Packet& packet);

/// Which frames wait for the device together. First go those that others wait for (ICMP, ARP, neighbour discovery, and
/// TCP's segments without a connection, which must not be overtaken by one); datagrams of programs share the device
/// with connections.
enum class Lane : uint8_t { kFirst, kDatagrams };

class Ip {
 public:
  explicit Ip(const Config& config);
  ~Ip();

  // Operators. Errors: kNotFound (no such interface, address, route), kAlreadyExists, kInvalid, kTooMany.
  Result<IfIndex> add_interface(const link::NetifConfig& config);
  Result<void> set_link(IfIndex interface, bool up, Instant now);
  /// See req::SetMtu.
  Result<void> set_mtu(IfIndex interface, uint16_t mtu);
  /// Concerns addresses that are added from now on, and the link-local one, which is tested again.
  Result<void> set_options(IfIndex interface, const InterfaceOptions& options, Instant now);
  Result<void> add_address(IfIndex interface, const Prefix& prefix, Instant now);
  Result<void> remove_address(IfIndex interface, const IpAddr& addr, Instant now);
  Result<void> add_route(const Prefix& prefix, IfIndex interface, const IpAddr& gateway, uint32_t table,
                         uint32_t metric);
  Result<void> remove_route(const Prefix& prefix, IfIndex interface, uint32_t table);
  Result<void> add_neighbour(IfIndex interface, const IpAddr& addr, const MacAddr& mac);
  Result<void> remove_neighbour(IfIndex interface, const IpAddr& addr);
  /// Changes row `row` of kSettingRows. kNotFound, kInvalid (outside of its range, or against another row),
  /// kNotSupported (the size of a table made at the start).
  Result<void> set(uint16_t row, int64_t value);
  [[nodiscard]] const Settings& settings() const;
  /// A null hook empties the position. Every datagram passes the output hook: while one is set, frame() takes its slow
  /// path. A caller with a fast path of its own in front of input() must not use it while has_hook(kInput).
  void set_hook(HookPoint point, Hook hook, void* context);
  [[nodiscard]] bool has_hook(HookPoint point) const;

  /// Takes a frame that the caller's fast path did not claim. A datagram for an upper layer comes back and is the
  /// caller's; everything else (ARP, ICMP, drops) is dealt with inside.
  [[nodiscard]] std::optional<Datagram> input(IfIndex interface, pkt::Packet* frame, Instant now);

  /// No upper layer wants the datagram: tells its sender so (RFC 1122 3.2.2.1, RFC 4443 3.1), if it may be told. The
  /// packet stays the caller's; its data() may be anywhere behind the IP header.
  void port_unreachable(const Datagram& datagram, Instant now);

  // Groups (RFC 1112, RFC 4291 2.7). Memberships are counted; input() takes frames to a group of the interface, to
  // 224.0.0.1 and ff02::1, and those of neighbour discovery.

  /// kInvalid (no group, no such interface, loopback), kTooMany.
  Result<void> join(IfIndex interface, const IpAddr& group);
  /// Gives one membership up; kNotFound.
  Result<void> leave(IfIndex interface, const IpAddr& group);
  /// What the members together want of a group that was joined, which IGMPv3 and MLDv2 report (mcast::merge); every
  /// source after the first join. input() does not filter by it.
  void set_sources(IfIndex interface, const IpAddr& group, mcast::Filter filter);
  [[nodiscard]] bool is_member(IfIndex interface, const IpAddr& group) const;
  struct GroupInfo {
    IfIndex interface;
    IpAddr group;
    uint32_t count;
    mcast::Filter filter{true, {}};  ///< what all members together want
    mcast::Filter own{true, {}};     ///< what this worker's sockets want, if they are members
  };
  [[nodiscard]] std::vector<GroupInfo> groups() const;
  /// Another after each change of groups().
  [[nodiscard]] uint32_t groups_version() const;
  /// Route for a group or broadcast address: through `interface`, or for kNone the owner of `source`, else the
  /// interface of that broadcast address, else the first that is up. kNetUnreachable, kAddressNotHere, kInvalid.
  [[nodiscard]] Result<Route> group_route(const IpAddr& destination, const IpAddr& source, IfIndex interface);
  /// Whether `addr` is a broadcast address here.
  [[nodiscard]] bool is_broadcast(const IpAddr& addr) const;

  /// Sees every ICMP message with a good checksum: data() at the IP header, Datagram::header bytes in front of the
  /// message. True: an echo reply found who waits for it.
  using IcmpListener = bool (*)(void* context, const Datagram& datagram, Instant now);
  void set_icmp_listener(IcmpListener listener, void* context);

  /// Errors for upper layers since the last call that cleared the list.
  [[nodiscard]] std::vector<PathError>& errors() { return errors_; }

  /// Route and source address for `destination`; `source` is kept if it is specified (and must be ours).
  /// kNetUnreachable, kAddressNotHere.
  [[nodiscard]] Result<Route> route(const IpAddr& destination, const IpAddr& source, uint32_t table);
  /// The same for an answer in table 0 to a datagram that came in at `interface` in this burst and for which accepts()
  /// held: `destination` is where it came from, `source` where it went. For less work.
  [[nodiscard]] Result<Route> route_back(const IpAddr& destination, const IpAddr& source, IfIndex interface);
  /// Changes whenever a route, an address or a link changes: a cached Route of an older epoch must be looked up again.
  [[nodiscard]] uint16_t epoch() const { return epoch_; }
  /// Whether `addr` is one of ours and may be a connection's local address.
  [[nodiscard]] bool is_local(const IpAddr& addr) const;
  /// Whether a unicast datagram may come in at `interface` with these addresses: input() checks that itself, a caller's
  /// fast path must before it believes a stranger.
  [[nodiscard]] bool accepts(const IpAddr& source, const IpAddr& destination, IfIndex interface) const;
  /// Brings a peer's addresses into the order in which they are to be tried (RFC 6724 6).
  void sort_destinations(std::span<IpAddr> destinations, uint32_t table) const;
  [[nodiscard]] const link::NetifConfig& interface(IfIndex interface) const;
  [[nodiscard]] size_t interface_count() const;
  [[nodiscard]] bool is_up(IfIndex interface) const;

  /// Writes the Ethernet header in front of `packet` (at its IP header) if the next hop is usable now, and returns
  /// true: the packet is a frame for the hop's interface. Otherwise takes the packet into the next hop's pending queue
  /// (or drops it, counted) and returns false.
  bool frame(HopId hop, pkt::Packet* packet, Instant now) {
    const HopCache& cache = hops_[static_cast<uint32_t>(hop)];
    if (__builtin_expect(cache.usable_until > now, 1)) {
      std::byte* header = packet->push(sizeof cache.header);
      __builtin_memcpy(header, cache.header, sizeof cache.header);
      return true;
    }
    return frame_slow(hop, packet, now);
  }
  /// TCP made forward progress through this hop: it is reachable (RFC 4861 7.3.1).
  void confirm(HopId hop, Instant now) {
    HopCache& cache = hops_[static_cast<uint32_t>(hop)];
    if (cache.confirm_after < now) confirm_slow(hop, now);
  }
  /// The opposite: nothing that went through this hop was answered for long (RFC 1122 3.3.1.4, RFC 4861 7.3.1). It is
  /// asked at once whether it is there; a router that is not gives way to the next (RFC 4861 6.3.6).
  void suspect(HopId hop, Instant now);
  [[nodiscard]] IfIndex hop_interface(HopId hop) const { return hops_[static_cast<uint32_t>(hop)].interface; }
  /// For a caller that writes whole frames: the kFrameHeader bytes of Ethernet header to put in front, or nullptr while
  /// only frame() knows what to do.
  static constexpr uint32_t kFrameHeader = 14;
  [[nodiscard]] const std::byte* frame_header(HopId hop, Instant now) const {
    const HopCache& cache = hops_[static_cast<uint32_t>(hop)];
    return cache.usable_until > now ? cache.header : nullptr;
  }
  /// Limits of the device behind an interface that exists.
  [[nodiscard]] const link::DeviceLimits& limits(IfIndex interface) const {
    return limits_[static_cast<size_t>(interface)];
  }

  /// TTL or hop limit of datagrams for which nobody asks another one: 64, or what IPv6 routers say.
  [[nodiscard]] uint8_t default_hop_limit(IfIndex interface, bool v4) const {
    return v4 ? uint8_t{64} : limits(interface).hop_limit;
  }

  /// What send() needs beside the route.
  struct SendArgs {
    IpAddr source;
    IpAddr destination;
    uint8_t protocol = 0;
    uint8_t ttl = 0;  ///< 0: default_hop_limit()
    uint8_t traffic_class = 0;
    Route route;
    /// A datagram that is larger than the path takes goes out in fragments. Otherwise it is not sent, and IPv4 routers
    /// are told not to fragment it either.
    bool may_fragment = false;
  };
  /// Adds the IP header to a transport datagram (taken, also on an error; checksum already complete or left to the
  /// device by flags), frames it and queues it on the interface. For everything but the bulk of TCP. A datagram that
  /// waits for a neighbour counts as sent. kTooBig (beyond the path's MTU, or 65,535 bytes), kNoBuffers,
  /// kNetUnreachable (the route's interface is gone).
  Result<void> send(const SendArgs& args, pkt::Packet* packet, Instant now);

  /// A packet-too-big that its owner has validated (PathError::kPacketTooBig): remembers `mtu` for the destination,
  /// within bounds and for a while. Returns the path MTU to use from now on.
  uint16_t learn_mtu(const IpAddr& destination, uint16_t mtu, Instant now);

  /// Queues a frame that is ready for the device; drops it, counted, when the lane is full.
  void transmit(IfIndex interface, pkt::Packet* frame, Lane lane);
  /// Frames that transmit() has room for now.
  [[nodiscard]] uint32_t transmit_room(IfIndex interface, Lane lane) const;
  /// Frames waiting on an interface, oldest first; the caller owns what it gets.
  size_t drain(IfIndex interface, Lane lane, std::span<pkt::Packet*> out);
  [[nodiscard]] bool has_output(IfIndex interface, Lane lane) const;
  /// The same over all lanes, the first one first.
  size_t drain(IfIndex interface, std::span<pkt::Packet*> out);
  [[nodiscard]] bool has_output(IfIndex interface) const;

  void advance(Instant now);
  [[nodiscard]] Instant next_deadline() const;

  // Several workers (replica.h). The control worker and a replica talk; replicas do not talk to each other.
  /// What `worker` has to hear, at most out.size() pieces, in order.
  size_t tell(uint32_t worker, std::span<TableMessage> out);
  [[nodiscard]] bool has_news(uint32_t worker) const;
  /// What `worker` told this one.
  void hear(uint32_t worker, std::span<const TableMessage> news, Instant now);

  /// Human-readable lines for tools and tests.
  struct NeighbourInfo {
    IfIndex interface;
    IpAddr addr;
    MacAddr mac;
    std::string state;
  };
  [[nodiscard]] std::vector<NeighbourInfo> neighbours() const;
  struct RouteInfo {
    Prefix prefix;
    IfIndex interface;
    IpAddr gateway;
    uint32_t table;
    uint32_t metric;
  };
  [[nodiscard]] std::vector<RouteInfo> routes() const;
  /// The entry that a packet to `destination` would use; nothing for our own addresses.
  [[nodiscard]] std::optional<RouteInfo> find_route(const IpAddr& destination, uint32_t table) const;
  struct AddressInfo {
    IfIndex interface;
    Prefix prefix;
    std::string state;       ///< "tentative", "optimistic", "preferred", "deprecated", "duplicated"
    std::string origin;      ///< "static", "link-local", "slaac", "dhcp"
    Instant preferred_until = kNever;
    Instant valid_until = kNever;
  };
  [[nodiscard]] std::vector<AddressInfo> addresses() const;
  /// Another after each change of addresses().
  [[nodiscard]] uint32_t addresses_version() const;
  /// What routers and DHCP servers told: "router", "prefix", "resolver", "search", "hop limit", "reachable",
  /// "retransmit", "mtu".
  struct LearnedInfo {
    IfIndex interface;
    std::string what;
    std::string value;
    Instant until = kNever;
  };
  [[nodiscard]] std::vector<LearnedInfo> learned() const;
  struct CounterLine {
    base::CounterInfo info;
    uint64_t value;
  };
  [[nodiscard]] std::vector<CounterLine> counters() const;
  /// Where the frames given to input() went: frames == delivered + consumed + dropped.
  struct Ledger {
    uint64_t frames = 0;
    uint64_t delivered = 0;
    uint64_t consumed = 0;
    uint64_t dropped = 0;
  };
  [[nodiscard]] Ledger ledger() const;
  /// Packets held inside: waiting for neighbours, for devices and for the other fragments of their datagrams.
  [[nodiscard]] size_t packets_held() const;
  /// Every pending and queued packet is freed.
  void clear();

 private:
  /// What frame() reads: 32 bytes a hop.
  struct HopCache {
    Instant usable_until{INT64_MIN};
    Instant confirm_after{INT64_MIN};
    std::byte header[kFrameHeader];  ///< destination, source, ethertype
    IfIndex interface = IfIndex::kNone;
  };
  static_assert(sizeof(HopCache) == 32);
  bool frame_slow(HopId hop, pkt::Packet* packet, Instant now);
  void confirm_slow(HopId hop, Instant now);

  std::vector<HopCache> hops_;  // [0] is none
  std::vector<link::DeviceLimits> limits_;  // by IfIndex
  std::vector<PathError> errors_;
  uint16_t epoch_ = 1;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace::ip
