// The inside of Ip, shared by the files that implement it by concept: input*, icmp_*, nd, arp, routing, neighbours,
// output. Not for other folders.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "autoconf/address_book.h"
#include "autoconf/dhcp.h"
#include "autoconf/redirects.h"
#include "autoconf/routers.h"
#include "ip/addresses.h"
#include "ip/counters.h"
#include "ip/datagram_ids.h"
#include "ip/ip.h"
#include "ip/pmtu.h"
#include "ip/ratelimit.h"
#include "ip/reassembly.h"
#include "ip/replica.h"
#include "ip/route/table.h"
#include "ip/segments.h"
#include "ip/selection.h"
#include "link/tx_queue.h"
#include "mcast/host.h"
#include "neigh/table.h"
#include "wire/bytes.h"
#include "wire/ethernet.h"
#include "wire/icmpv4.h"
#include "wire/icmpv6.h"
#include "wire/ip_protocol.h"
#include "wire/ipv6.h"
#include "wire/quoted.h"

namespace millrace::ip {

inline constexpr uint32_t kMaxInterfaces = 64;
inline constexpr uint8_t kDefaultTtl = 64;
/// Groups that the interfaces of one worker may be members of.
inline constexpr size_t kMaxGroups = 256;
/// Errors for upper layers kept until they are taken.
inline constexpr size_t kMaxErrors = 1'024;

struct Netif {
  link::NetifConfig config;
  IfIndex index = IfIndex::kNone;
  bool up = true;
  std::array<link::TxQueue, 2> queues;  ///< by Lane
  InterfaceOptions options{};
  std::unique_ptr<autoconf::Routers> routers{};   ///< while router advertisements are accepted
  std::unique_ptr<autoconf::DhcpClient> dhcp{};   ///< while an address is leased
  bool reports_groups = false;                    ///< once it has been given options
  std::array<std::unique_ptr<mcast::GroupHost>, 2> group_hosts{};  ///< IPv4, IPv6
  std::vector<IpAddr> reported{};                 ///< groups that IGMP and MLD tell of
  uint16_t device_mtu = 0;                        ///< at most config.limits.mtu may be that
  std::array<uint16_t, 2> learned_mtu{};          ///< IPv4, IPv6: said by DHCP, by a router; 0 = nothing
  neigh::Timing nd_timing{};                      ///< of IPv6 neighbours, as routers say
  [[nodiscard]] uint16_t mtu(bool v4) const {
    const uint16_t learned = learned_mtu[v4 ? 0 : 1];
    return learned != 0 && learned < config.limits.mtu ? learned : config.limits.mtu;
  }
  [[nodiscard]] bool is_loopback() const { return config.kind == link::LinkKind::kLoopback; }
};

/// Beside HopCache: what a hop stands for.
struct Hop {
  IfIndex interface = IfIndex::kNone;
  IpAddr addr;
  neigh::EntryId neighbour;
};

inline Lane lane_of(uint8_t protocol) { return protocol == wire::kProtocolUdp ? Lane::kDatagrams : Lane::kFirst; }

/// How the frame that carried a datagram was addressed.
enum class FrameTo : uint8_t { kUs, kGroup };

/// A datagram on its way through input: the packet stands at the IP header.
struct Arrival {
  Netif& nif;
  pkt::Packet* packet;
  FrameTo to;
  Instant now;
  IpAddr source{};
  IpAddr destination{};
  uint8_t protocol = 0;
  uint8_t ttl = 0;
  uint8_t traffic_class = 0;
  uint32_t header = 0;   ///< bytes in front of the transport header
  uint32_t length = 0;   ///< of the whole datagram
  bool later_fragment = false;  ///< not the first of its datagram: no error is sent about it (RFC 1122 3.2.2)
  bool fragmented = false;      ///< came in fragments, or with a fragment header
};

struct Ip::State {
  State(Ip& owner, const Config& config);

  // input.cc: what every frame passes.
  std::optional<Datagram> input(IfIndex interface, pkt::Packet* frame, Instant now);
  bool accepts_station(const Netif& nif, const MacAddr& destination) const;
  void drop(pkt::Packet* packet, IpCounter why);
  void consume(pkt::Packet* packet);
  bool pass_hook(HookPoint point, IfIndex interface, pkt::Packet& packet);
  std::optional<Datagram> deliver(Arrival& a);
  void port_unreachable(const Datagram& datagram, Instant now);

  // groups.cc
  Result<void> join(IfIndex interface, const IpAddr& group);
  Result<void> leave(IfIndex interface, const IpAddr& group);
  void set_sources(IfIndex interface, const IpAddr& group, mcast::Filter filter);
  void combine(GroupInfo& group);
  bool is_member(IfIndex interface, const IpAddr& group) const;
  bool accepts_group(const Netif& nif, const MacAddr& destination) const;
  Result<Route> group_route(const IpAddr& destination, const IpAddr& source, IfIndex interface);
  static bool is_group_hop(const IpAddr& next) { return next.is_multicast() || next.is_limited_broadcast(); }
  static MacAddr group_mac(const IpAddr& group);

  // input_v4.cc, input_v6.cc
  std::optional<Datagram> input_v4(Arrival a);
  std::optional<Datagram> upper_v4(Arrival& a);
  bool accept_options_v4(Arrival& a);
  bool accept_addresses_v4(Arrival& a);
  std::optional<Datagram> input_v6(Arrival a);
  std::optional<Datagram> upper_v6(Arrival& a);
  bool accept_addresses_v6(Arrival& a);
  bool is_claim(const Arrival& a);
  bool find_upper_v6(Arrival& a);

  // fragments_in.cc. False: the fragment is held, or dropped and counted. True: `a` is the whole datagram.
  bool reassemble_v4(Arrival& a);
  bool reassemble_v6(Arrival& a, const wire::Ipv6Upper& at);
  bool add_fragment(Arrival& a, const Fragment& fragment, Reassembly::Verdict& verdict);
  bool join_v4(Arrival& a, const Reassembly::Verdict& whole);
  bool join_v6(Arrival& a, const Reassembly::Verdict& whole);
  void reassembly_timed_out(pkt::Packet& first, IfIndex interface, bool to_group, Instant now);

  // validation.cc
  bool is_martian(const IpAddr& source) const;
  bool is_reached_through(const IpAddr& destination, const Netif& nif) const;
  bool is_reverse_path(const IpAddr& source, const Netif& nif) const;
  bool accepts(const IpAddr& source, const IpAddr& destination, IfIndex interface) const;

  // icmp_v4.cc
  void input_icmp_v4(Arrival& a);
  void echo_v4(Arrival& a);
  void error_in_v4(Arrival& a, const wire::Icmpv4View& message);
  void send_error_v4(const Arrival& about, const wire::Icmpv4Header& error);

  // icmp_v6.cc
  void input_icmp_v6(Arrival& a);
  void echo_v6(Arrival& a);
  void error_in_v6(Arrival& a, const wire::Icmpv6View& message);
  void send_error_v6(const Arrival& about, const wire::Icmpv6Header& error);

  // icmp.cc: what both families share.
  /// The message (behind the IP header) in one piece, in place or copied into `room`.
  static wire::Bytes message_of(const Arrival& a, wire::MutableBytes room);
  void report(Arrival& a, PathError error);
  /// A validated message about our own datagram to `quoted`: upward, or straight into the path MTU.
  void accept_error(Arrival& a, PathError::Kind kind, uint16_t mtu, const wire::Quoted& quoted);
  /// Whether somebody waits for this message.
  bool tell_icmp_listener(const Arrival& a) const;
  void answer_echo(Arrival& a, std::byte reply_type, uint8_t protocol, const IpAddr& from);
  /// Quotes as much of `about` as fits into a datagram of `limit` bytes, behind 8 bytes for the ICMP header.
  pkt::Packet* quote(const Arrival& about, uint32_t limit);
  void send_from(const IpAddr& source, const Arrival& about, uint8_t protocol, pkt::Packet* packet);

  // arp.cc, nd.cc
  void input_arp(Netif& nif, pkt::Packet* packet, Instant now);
  void learn_arp(Netif& nif, const IpAddr& sender, const MacAddr& mac, bool about_us, bool reply, Instant now);
  void send_arp(Netif& nif, uint16_t operation, const MacAddr& to, const IpAddr& sender, const MacAddr& target_mac,
                const IpAddr& target);
  void input_nd(Arrival& a, wire::Bytes message);
  void input_solicitation(Arrival& a, wire::Bytes message);
  void input_advertisement(Arrival& a, wire::Bytes message);
  void send_solicitation(Netif& nif, const IpAddr& target, const MacAddr* unicast);
  void send_advertisement(Netif& nif, const IpAddr& target, const IpAddr& to, const MacAddr& to_mac, bool solicited);
  /// Wraps an ND message that lies in `packet` into IPv6 and Ethernet and queues it.
  void send_nd(Netif& nif, pkt::Packet* packet, const IpAddr& source, const IpAddr& to, const MacAddr& to_mac);
  void announce(Netif& nif, const IpAddr& addr);

  // lifecycle.cc: between autoconf::AddressBook and what the rest of Ip uses.
  Result<void> add_address(Netif& nif, autoconf::BookEntry entry, Instant now);
  Result<void> remove_address(Netif& nif, const IpAddr& addr);
  void act_on_book(const autoconf::BookEntry& entry, const autoconf::BookStep& step, Instant now);
  Result<void> use_address(const autoconf::BookEntry& entry);
  void disuse_address(const autoconf::BookEntry& entry);
  autoconf::Testing test_for(const Netif& nif, const autoconf::BookEntry& entry) const;
  void restart_addresses(Netif& nif, Instant now);
  /// Another station claims `addr`. False if it is not an address of this interface, tentative ones included.
  bool address_conflict(Netif& nif, const IpAddr& addr, Instant now);
  /// The entry of an address of this interface that is still being tested; nullptr if there is none.
  const autoconf::BookEntry* testing(const Netif& nif, const IpAddr& addr) const;
  /// Whether the interface listens to the solicited-node group that ends in these 24 bits.
  bool hears_solicited(const Netif& nif, uint32_t low24) const;
  void probe(Netif& nif, const autoconf::BookEntry& entry);

  // autoconf.cc: between the state machines of autoconf/ and the link.
  void start_autoconf(Netif& nif, Instant now);
  void stop_autoconf(Netif& nif);
  void advance_autoconf(Instant now);
  [[nodiscard]] Instant autoconf_deadline() const;
  void perform(Netif& nif, autoconf::Origin who, const autoconf::Actions& actions, Instant now);
  void use_mtu(Netif& nif, uint16_t mtu);
  void set_hop_limit(Netif& nif, uint8_t hops);
  void set_leased(Netif& nif, autoconf::Origin who, const autoconf::Action& action, Instant now);
  void drop_route(const Netif& nif, const Prefix& prefix, const IpAddr& gateway);
  void address_settled(const autoconf::BookEntry& entry, bool lost, Instant now);
  void input_router_advertisement(Arrival& a, const wire::NdView& view);
  void note_router(const neigh::Entry& entry, bool reachable);
  void send_router_solicitation(Netif& nif);
  /// True: the datagram was for the DHCP client and has been dealt with.
  bool input_dhcp(Arrival& a);
  void send_dhcp(Netif& nif, const autoconf::Action& action, Instant now);

  // memberships.cc
  mcast::GroupHost& group_host(Netif& nif, bool v4);
  void sync_groups(Instant now);
  void advance_groups(Instant now);
  [[nodiscard]] Instant groups_deadline() const;
  void send_group_report(Netif& nif, bool v4, const mcast::Report& report);
  void input_igmp(Arrival& a);
  void input_mld(Arrival& a, wire::Bytes message);

  // redirect.cc
  void input_redirect_v4(Arrival& a, const wire::Icmpv4View& message);
  void input_redirect_v6(Arrival& a, const wire::NdView& view);
  void forget_redirect(const autoconf::Redirects::Item& item);
  void redirect(Netif& nif, const IpAddr& destination, const IpAddr& gateway, Instant now);
  [[nodiscard]] bool is_first_hop(const Netif& nif, const IpAddr& router, const IpAddr& destination) const;

  // neighbours.cc: between neigh::Table, the hops and the link.
  bool frame_slow(uint32_t hop, pkt::Packet* packet, Instant now);
  void confirm_slow(uint32_t hop, Instant now);
  void suspect(uint32_t hop, Instant now);
  void act(neigh::EntryId id, const neigh::Step& step, Instant now);
  void solicit(const neigh::Entry& entry, neigh::Solicit how);
  void flush_pending(neigh::EntryId id);
  void fail_pending(neigh::EntryId id);
  void drop_pending(neigh::EntryId id, IpCounter why);
  void sync_hop(const neigh::Entry& entry, Instant now);
  void fill_frame_header(std::byte* header, const Netif& nif, const IpAddr& next, const MacAddr& mac) const;
  void forget_neighbours(IfIndex interface, bool static_too);
  neigh::EntryId obtain_neighbour(IfIndex interface, const IpAddr& addr);

  // replica.cc
  void publish(neigh::Entry& entry);
  void publish_gone(IfIndex interface, const IpAddr& addr);
  void publish_tables();
  void publish_mtu(const IpAddr& destination);
  size_t tell_mtus(NeighbourSet& set, std::span<TableMessage> out);
  void hear_mtu(const TableMessage& m, Instant now);
  void fill_series(Feed& feed);
  TableMessage neighbour_news(IfIndex interface, const IpAddr& addr) const;
  size_t tell_replica(Feed& feed, std::span<TableMessage> out);
  void hear_replica(Feed& feed, const TableMessage& m, Instant now);
  void want(neigh::EntryId id, Instant now);
  size_t tell_control(std::span<TableMessage> out);
  size_t tell_members(std::span<TableMessage> out);
  void hear_member(Feed& feed, const TableMessage& m);
  void adopt_member(Feed& feed);
  bool next_member();
  void hear_control(const TableMessage& m, Instant now);
  void adopt_tables(Instant now);
  void adopt_neighbour(const TableMessage& m, Instant now);
  void doubt_neighbours(Instant now);

  // routing.cc
  Result<Route> route(const IpAddr& destination, const IpAddr& source, uint32_t table);
  /// The interface and the next hop on the way; no interface if there is no way.
  struct Way {
    const Netif* nif = nullptr;
    IpAddr next;
  };
  Way way_to(const IpAddr& destination, const IpAddr& source, uint32_t table) const;
  Result<Route> route_back(const IpAddr& destination, const IpAddr& source, IfIndex interface);
  struct {
    const route::NextHop* way = nullptr;  ///< through a gateway
    const Netif* nif = nullptr;
    IfIndex from = IfIndex::kNone;
    uint16_t epoch = 0;
    HopId hop = HopId::kNone;
  } last_back;  ///< what route_back() found last
  void sort_destinations(std::span<IpAddr> destinations, uint32_t table) const;
  Result<Route> route_to_self(const IpAddr& destination, const IpAddr& source);
  const Netif* link_local_interface(const IpAddr& source) const;
  HopId hop_for(const Netif& nif, const IpAddr& next);
  uint32_t last_hop = UINT32_MAX;  ///< what hop_for() found last; may be free, or another's, by now
  bool recycle_hops();
  void invalidate_hops(IfIndex interface);
  void refresh_topology();

  // fragments_out.cc
  pkt::Packet* slice(const pkt::Packet& whole, uint32_t offset, uint32_t length, uint16_t max_segments);
  bool slice_by_copy(pkt::Packet* head, const pkt::Packet& from, uint32_t offset, uint32_t length);
  static void write_fragment_header(pkt::Packet& fragment, const SendArgs& args, uint32_t id, uint32_t start,
                                    bool more);
  Result<void> send_fragments(const SendArgs& args, pkt::Packet* packet, uint32_t mtu, Instant now);

  // output.cc
  Result<void> send(SendArgs args, pkt::Packet* packet, Instant now);
  void remember_large(const SendArgs& args, const pkt::Packet& packet);
  /// Lets IPv4 routers fragment the datagram at data() after all.
  void allow_fragmentation(const SendArgs& args, pkt::Packet& packet, bool fill_checksum);
  uint16_t learn_mtu(const IpAddr& destination, uint16_t mtu, Instant now);
  void transmit(IfIndex interface, pkt::Packet* frame, Lane lane = Lane::kFirst);
  /// A fresh frame, or nullptr (counted).
  pkt::Packet* new_packet();
  /// Brings the packet within the device's number of pieces; nullptr if it cannot be.
  pkt::Packet* fit_segments(const Netif& nif, pkt::Packet* packet);
  void drop_out(pkt::Packet* packet, IpCounter why);

  [[nodiscard]] Netif* find(IfIndex interface);
  [[nodiscard]] const Netif* find(IfIndex interface) const;
  void bump_epoch() {
    ++ip.epoch_;
    publish_tables();
  }
  void switch_link(Netif& nif, bool up);

  Ip& ip;
  Config config;
  pkt::PacketCache& packets;
  std::vector<Netif> netifs;  // IfIndex - 1
  Addresses addresses;        // those that may be used
  autoconf::AddressBook book; // all of them
  autoconf::Redirects redirects;
  struct GroupVersions {
    uint32_t book = 0;
    uint32_t groups = 0;
    bool operator==(const GroupVersions&) const = default;
  };
  GroupVersions groups_synced;  // what is reported
  [[nodiscard]] bool groups_changed() const { return groups_synced != GroupVersions{book.version(), groups_version}; }
  route::Tables routes;
  neigh::Table neighbours;
  std::vector<Hop> hops;      // beside Ip::hops_
  std::vector<uint32_t> free_hops;
  neigh::AddrIndex hop_index;
  uint64_t up_mask = 0;       // interfaces that are up, loopback left out
  IfIndex loopback = IfIndex::kNone;  // the first loopback interface that is up
  TokenBucket error_limit;
  TokenBucket echo_limit;
  base::Counters<IpCounter> counters;
  std::vector<GroupInfo> groups;
  uint32_t groups_version = 0;  // changes with the list
  IcmpListener icmp_listener = nullptr;
  void* icmp_context = nullptr;
  std::vector<Feed> feeds;             // the control worker's, by replica
  std::optional<Following> following;  // a replica's
  Reassembly reassembly;
  DatagramIds ids;
  Pmtu pmtu;
  /// Large datagrams without ports that went out lately: a packet-too-big about one is believed.
  struct SentLarge {
    IpAddr destination;
    uint64_t head = 0;  // the first eight bytes behind the IP header
  };
  std::array<SentLarge, 64> sent_large{};
  uint32_t sent_large_at = 0;
  struct HookSlot {
    Hook hook = nullptr;
    void* context = nullptr;
  };
  std::array<HookSlot, 2> hooks{};
};

}  // namespace millrace::ip
