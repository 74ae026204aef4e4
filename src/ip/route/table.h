// Routing tables: longest-prefix match for both families, keyed by table id. A path-compressed binary trie per table
// and family (Morrison's PATRICIA), all over one pool of 32-byte nodes: n prefixes need at most 2n nodes, a look-up at
// most as many steps as there are nested prefixes and branches on the way, never more than the address has bits.
//
// Invariants: a node without routes has two children; a child's prefix extends its parent's; the routes of a node are
// sorted by metric, equal metrics in the order they were added.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "millrace/address.h"
#include "millrace/result.h"

namespace millrace::ip::route {

/// Where packets for a prefix go.
struct NextHop {
  IfIndex interface = IfIndex::kNone;
  IpAddr gateway;  ///< unspecified: the destination itself is on the link
  uint32_t metric = 0;
  bool operator==(const NextHop&) const = default;
};

/// Bit of an interface in a set of interfaces.
[[nodiscard]] constexpr uint64_t interface_bit(IfIndex interface) {
  return uint64_t{1} << ((static_cast<uint32_t>(interface) - 1) & 63);
}

class Tables {
 public:
  /// At most `max_routes` routes in all tables together.
  explicit Tables(uint32_t max_routes) : max_routes_(max_routes), nodes_(1), routes_(1) {}

  /// kInvalid (length beyond the family's, gateway of another family, no interface), kAlreadyExists (same prefix,
  /// interface and gateway), kTooMany.
  Result<void> add(const Prefix& prefix, const NextHop& hop, uint32_t table);
  /// Removes every route to exactly `prefix` through `interface`; only that of `gateway`, if one is given. kNotFound.
  Result<void> remove(const Prefix& prefix, IfIndex interface, uint32_t table, const IpAddr* gateway = nullptr);
  /// The lowest-metric route of the longest prefix that contains `addr` and has a route through an interface of the
  /// set `usable` (see interface_bit); nullptr if there is none. Valid until the next add or remove.
  [[nodiscard]] const NextHop* lookup(const IpAddr& addr, uint32_t table, uint64_t usable = ~uint64_t{0}) const;

  [[nodiscard]] uint32_t size() const { return used_routes_; }
  /// Nodes in use, for the memory bound.
  [[nodiscard]] uint32_t node_count() const { return used_nodes_; }

  struct Line {
    Prefix prefix;
    uint32_t table = 0;
    NextHop hop;
  };
  /// Every route, by table, IPv4 first, in the order of the prefixes.
  [[nodiscard]] std::vector<Line> list() const;

 private:
  struct Key {
    uint64_t high = 0;
    uint64_t low = 0;
  };
  struct Node {
    Key key;
    std::array<uint32_t, 2> child{};
    uint32_t routes = 0;
    uint8_t length = 0;
  };
  static_assert(sizeof(Node) == 32);
  struct RouteNode {
    NextHop hop;
    uint32_t next = 0;
  };
  struct Roots {
    uint32_t table = 0;
    std::array<uint32_t, 2> root{};  // IPv4, IPv6
  };
  // One way into the trie: a root, or a child of a node.
  struct Link {
    Roots* roots;
    uint32_t parent;  // 0 = the root
    uint32_t side;
  };

  static Key key_of(const IpAddr& addr);
  static Key masked(Key key, uint32_t length);
  static uint32_t bit(const Key& key, uint32_t at);
  static uint32_t common(const Key& a, const Key& b);
  static IpAddr addr_of(const Key& key, bool v4);

  [[nodiscard]] const Roots* roots(uint32_t table) const;
  Roots& roots_or_new(uint32_t table);
  uint32_t& at(const Link& link) {
    return link.parent == 0 ? link.roots->root[link.side] : nodes_[link.parent].child[link.side];
  }
  uint32_t new_node(const Key& key, uint32_t length);
  void free_node(uint32_t index);
  uint32_t find_or_insert(Roots& roots, uint32_t family, const Key& key, uint32_t length);
  [[nodiscard]] bool has_route(uint32_t first, const NextHop& hop) const;
  void insert_route(uint32_t node, const NextHop& hop);
  uint32_t remove_routes(uint32_t node, IfIndex interface, const IpAddr* gateway);
  bool splice(const Link& link);
  void list_node(uint32_t index, uint32_t table, bool v4, std::vector<Line>& out) const;

  uint32_t max_routes_;
  uint32_t used_routes_ = 0;
  uint32_t used_nodes_ = 0;
  uint32_t free_nodes_ = 0;   // through child[0]
  uint32_t free_routes_ = 0;  // through next
  std::vector<Node> nodes_;
  std::vector<RouteNode> routes_;
  std::vector<Roots> roots_;  // few
};

}  // namespace millrace::ip::route
