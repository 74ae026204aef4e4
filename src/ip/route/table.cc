#include "ip/route/table.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/assert.h"

namespace millrace::ip::route {
namespace {

uint64_t load_be64(const uint8_t* p) {
  uint64_t value;
  std::memcpy(&value, p, 8);
  return __builtin_bswap64(value);
}

uint64_t high_mask(uint32_t bits) { return bits == 0 ? 0 : ~uint64_t{0} << (64 - bits); }

}  // namespace

Tables::Key Tables::key_of(const IpAddr& addr) {
  if (addr.is_v4()) return {uint64_t{addr.v4_value()} << 32, 0};
  return {load_be64(addr.bytes().data()), load_be64(addr.bytes().data() + 8)};
}

Tables::Key Tables::masked(Key key, uint32_t length) {
  if (length >= 64) return {key.high, key.low & high_mask(length - 64)};
  return {key.high & high_mask(length), 0};
}

uint32_t Tables::bit(const Key& key, uint32_t at) {
  return (at < 64 ? key.high >> (63 - at) : key.low >> (127 - at)) & 1;
}

uint32_t Tables::common(const Key& a, const Key& b) {
  const uint64_t high = a.high ^ b.high;
  if (high != 0) return static_cast<uint32_t>(std::countl_zero(high));
  return 64 + static_cast<uint32_t>(std::countl_zero(a.low ^ b.low));
}

IpAddr Tables::addr_of(const Key& key, bool v4) {
  if (v4) return IpAddr::v4(static_cast<uint32_t>(key.high >> 32));
  std::array<uint8_t, 16> bytes;
  const uint64_t words[2] = {__builtin_bswap64(key.high), __builtin_bswap64(key.low)};
  std::memcpy(bytes.data(), words, 16);
  return IpAddr(bytes);
}

const Tables::Roots* Tables::roots(uint32_t table) const {
  for (const Roots& r : roots_) {
    if (r.table == table) return &r;
  }
  return nullptr;
}

Tables::Roots& Tables::roots_or_new(uint32_t table) {
  if (const Roots* r = roots(table)) return const_cast<Roots&>(*r);
  roots_.push_back({table, {}});
  return roots_.back();
}

uint32_t Tables::new_node(const Key& key, uint32_t length) {
  uint32_t index = free_nodes_;
  if (index != 0) {
    free_nodes_ = nodes_[index].child[0];
  } else {
    index = static_cast<uint32_t>(nodes_.size());
    nodes_.emplace_back();
  }
  nodes_[index] = Node{masked(key, length), {}, 0, static_cast<uint8_t>(length)};
  ++used_nodes_;
  return index;
}

void Tables::free_node(uint32_t index) {
  nodes_[index].child[0] = free_nodes_;
  free_nodes_ = index;
  --used_nodes_;
}

uint32_t Tables::find_or_insert(Roots& roots, uint32_t family, const Key& key, uint32_t length) {
  Link link{&roots, 0, family};
  for (;;) {
    const uint32_t here = at(link);
    if (here == 0) {
      const uint32_t leaf = new_node(key, length);
      at(link) = leaf;
      return leaf;
    }
    const uint32_t node_length = nodes_[here].length;
    const uint32_t shared = std::min({common(key, nodes_[here].key), length, node_length});
    if (shared == node_length) {
      if (shared == length) return here;
      link = {&roots, here, bit(key, node_length)};
      continue;
    }
    // The new prefix ends above this node, or leaves the node's path in its middle.
    const uint32_t above = new_node(key, shared);
    nodes_[above].child[bit(nodes_[here].key, shared)] = here;
    at(link) = above;
    if (shared == length) return above;
    const uint32_t leaf = new_node(key, length);
    nodes_[above].child[bit(key, shared)] = leaf;
    return leaf;
  }
}

bool Tables::has_route(uint32_t first, const NextHop& hop) const {
  for (uint32_t r = first; r != 0; r = routes_[r].next) {
    if (routes_[r].hop.interface == hop.interface && routes_[r].hop.gateway == hop.gateway) return true;
  }
  return false;
}

void Tables::insert_route(uint32_t node, const NextHop& hop) {
  uint32_t index = free_routes_;
  if (index != 0) {
    free_routes_ = routes_[index].next;
  } else {
    index = static_cast<uint32_t>(routes_.size());
    routes_.emplace_back();
  }
  uint32_t* link = &nodes_[node].routes;
  while (*link != 0 && routes_[*link].hop.metric <= hop.metric) link = &routes_[*link].next;
  routes_[index] = {hop, *link};
  *link = index;
  ++used_routes_;
}

Result<void> Tables::add(const Prefix& prefix, const NextHop& hop, uint32_t table) {
  const bool v4 = prefix.addr.is_v4();
  if (prefix.length > (v4 ? 32 : 128) || hop.interface == IfIndex::kNone) return fail(Error::kInvalid);
  if (!hop.gateway.is_unspecified() && hop.gateway.is_v4() != v4) return fail(Error::kInvalid);
  if (used_routes_ >= max_routes_) return fail(Error::kTooMany);
  Roots& r = roots_or_new(table);
  const uint32_t node = find_or_insert(r, v4 ? 0 : 1, masked(key_of(prefix.addr), prefix.length), prefix.length);
  if (has_route(nodes_[node].routes, hop)) return fail(Error::kAlreadyExists);
  insert_route(node, hop);
  return {};
}

uint32_t Tables::remove_routes(uint32_t node, IfIndex interface, const IpAddr* gateway) {
  uint32_t removed = 0;
  for (uint32_t* link = &nodes_[node].routes; *link != 0;) {
    const uint32_t index = *link;
    const NextHop& hop = routes_[index].hop;
    if (hop.interface != interface || (gateway != nullptr && hop.gateway != *gateway)) {
      link = &routes_[index].next;
      continue;
    }
    *link = routes_[index].next;
    routes_[index].next = free_routes_;
    free_routes_ = index;
    ++removed;
  }
  used_routes_ -= removed;
  return removed;
}

// Takes a node that holds no routes and joins nothing out of the trie.
bool Tables::splice(const Link& link) {
  const uint32_t index = at(link);
  const Node& node = nodes_[index];
  if (node.routes != 0 || (node.child[0] != 0 && node.child[1] != 0)) return false;
  at(link) = node.child[0] != 0 ? node.child[0] : node.child[1];
  free_node(index);
  return true;
}

Result<void> Tables::remove(const Prefix& prefix, IfIndex interface, uint32_t table, const IpAddr* gateway) {
  const bool v4 = prefix.addr.is_v4();
  auto* r = const_cast<Roots*>(roots(table));
  if (r == nullptr || prefix.length > (v4 ? 32 : 128)) return fail(Error::kNotFound);
  const Key key = masked(key_of(prefix.addr), prefix.length);
  Link above{};
  Link link{r, 0, v4 ? 0U : 1U};
  for (uint32_t here = at(link); here != 0; here = at(link)) {
    const Node& node = nodes_[here];
    if (node.length > prefix.length || common(node.key, key) < node.length) break;
    if (node.length == prefix.length) {
      if (remove_routes(here, interface, gateway) == 0) break;
      // When the node goes, the branch above it may have nothing left to join.
      if (splice(link) && link.parent != 0) (void)splice(above);
      return {};
    }
    above = link;
    link = {r, here, bit(key, node.length)};
  }
  return fail(Error::kNotFound);
}

const NextHop* Tables::lookup(const IpAddr& addr, uint32_t table, uint64_t usable) const {
  const Roots* r = roots(table);
  if (r == nullptr) return nullptr;
  const bool v4 = addr.is_v4();
  const Key key = key_of(addr);
  const uint32_t bits = v4 ? 32 : 128;
  const NextHop* best = nullptr;
  for (uint32_t here = r->root[v4 ? 0 : 1]; here != 0;) {
    const Node& node = nodes_[here];
    if (common(node.key, key) < node.length) break;
    for (uint32_t i = node.routes; i != 0; i = routes_[i].next) {
      if ((interface_bit(routes_[i].hop.interface) & usable) == 0) continue;
      best = &routes_[i].hop;
      break;
    }
    if (node.length >= bits) break;
    here = node.child[bit(key, node.length)];
  }
  return best;
}

void Tables::list_node(uint32_t index, uint32_t table, bool v4, std::vector<Line>& out) const {
  if (index == 0) return;
  const Node& node = nodes_[index];
  for (uint32_t i = node.routes; i != 0; i = routes_[i].next) {
    out.push_back({{addr_of(node.key, v4), node.length}, table, routes_[i].hop});
  }
  list_node(node.child[0], table, v4, out);
  list_node(node.child[1], table, v4, out);
}

std::vector<Tables::Line> Tables::list() const {
  std::vector<Line> out;
  for (const Roots& r : roots_) {
    list_node(r.root[0], r.table, true, out);
    list_node(r.root[1], r.table, false, out);
  }
  return out;
}

}  // namespace millrace::ip::route
