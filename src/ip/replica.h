// How the workers of one process agree on neighbours, addresses, routes and links: worker 0 (the control worker) writes
// them, the others follow. What travels is state, never history, as plain values (docs/ARCHITECTURE.md, "Several
// workers"). The Feed of a replica remembers what it has not been told; the Wishes of a replica what it has not asked
// for yet. Both are bounded by the size of the neighbour table.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "ip/addresses.h"
#include "ip/route/table.h"
#include "mcast/host.h"
#include "millrace/address.h"
#include "neigh/addr_index.h"
#include "neigh/reachability.h"

namespace millrace::ip {

/// One piece of news between workers.
struct TableMessage {
  enum class Kind : uint8_t {
    // From the control worker.
    kBegin,      ///< links, addresses and routes follow, all of them
    kLink,       ///< `interface`, `up`, `hop_limit`, `link_mtu`, `mtu` and `mtu6` (learned)
    kAddress,    ///< `address`
    kRoute,      ///< `route`
    kEnd,        ///< what came since kBegin is in force
    kNeighbour,  ///< `interface`, `addr`, `mac`, `state`: kReachable stands for kDelay and kProbe too
    kDoubt,      ///< changes were lost: ask again for every neighbour in use
    kPathMtu,    ///< datagrams to `addr` may have `mtu` bytes; who learns it tells the control worker, which tells all
    // To the control worker.
    kWanted,     ///< packets wait for `addr`, or are sent to it while it is stale
    kConfirmed,  ///< progress through `addr`
    kSuspected,  ///< none for long
    kMember,     ///< whether sockets of this worker want the group `addr` at `interface` is `up`; `exclude` and
                 ///< `sources` are their filter's, whose sources follow
    kSource,     ///< `addr`, of the member before
  };
  Kind kind = Kind::kDoubt;
  neigh::State state = neigh::State::kFailed;
  bool up = false;
  bool locked = false;  ///< see Pmtu::Found
  bool exclude = false;
  uint8_t sources = 0;
  uint8_t hop_limit = 64;
  uint16_t mtu = 0;
  uint16_t mtu6 = 0;
  uint16_t link_mtu = 0;
  IfIndex interface = IfIndex::kNone;
  MacAddr mac{};
  IpAddr addr{};
  Address address{};
  route::Tables::Line route{};
};
static_assert(std::is_trivially_copyable_v<TableMessage>);

/// Neighbours to speak of, oldest first, each once.
class NeighbourSet {
 public:
  NeighbourSet(uint32_t limit, const base::SipKey& key) : ring_(limit), members_(limit, key) {}

  struct Key {
    IfIndex interface = IfIndex::kNone;
    IpAddr addr{};
    bool operator==(const Key&) const = default;
  };
  /// False if the set is full.
  bool add(IfIndex interface, const IpAddr& addr);
  [[nodiscard]] std::optional<Key> take();
  [[nodiscard]] bool empty() const { return size_ == 0; }
  void clear();

 private:
  std::vector<Key> ring_;
  size_t first_ = 0;
  size_t size_ = 0;
  neigh::AddrIndex members_;
};

/// What the sockets of one worker together want of a group.
struct GroupWish {
  IfIndex interface = IfIndex::kNone;
  IpAddr group{};
  mcast::Filter filter{};
  bool operator==(const GroupWish&) const = default;
};

/// What one replica has not been told yet, and what it has joined; the control worker has one for each.
struct Feed {
  Feed(uint32_t limit, const base::SipKey& key) : neighbours(limit, key), mtus(limit, key) {}

  NeighbourSet neighbours;
  NeighbourSet mtus;           ///< destinations; full: a replica that is not told learns by itself
  bool doubt = false;          ///< `neighbours` overflowed and was emptied
  bool tables = true;          ///< links, addresses and routes changed since `series` was made
  std::vector<TableMessage> series;  ///< begin, links, addresses, routes, end; sent up to `at`
  size_t at = 0;
  std::vector<GroupWish> joined{};  ///< groups that the control worker has joined for it
  GroupWish coming{};               ///< a wish of which `sources_left` sources are still to come
  uint8_t sources_left = 0;

  [[nodiscard]] bool empty() const {
    return neighbours.empty() && mtus.empty() && !doubt && !tables && at == series.size();
  }
  void changed(IfIndex interface, const IpAddr& addr) {
    if (neighbours.add(interface, addr)) return;
    neighbours.clear();
    doubt = true;
  }
};

/// What a replica has to ask of the control worker, and the tables it is being told.
struct Following {
  Following(uint32_t limit, const base::SipKey& key)
      : wanted(limit, key), confirmed(limit, key), suspected(limit, key), mtus(limit, key) {}

  NeighbourSet wanted;
  NeighbourSet confirmed;
  NeighbourSet suspected;
  NeighbourSet mtus;
  [[nodiscard]] bool empty() const { return wanted.empty() && confirmed.empty() && suspected.empty() && mtus.empty(); }
  std::vector<TableMessage> coming;  ///< since kBegin
  bool in_series = false;
  std::vector<GroupWish> members{};        ///< what the control worker was told
  std::vector<TableMessage> series{};      ///< one member and its sources; sent up to `at`
  size_t at = 0;
  uint32_t members_version = 0;            ///< of Ip's groups when all were told
};

}  // namespace millrace::ip
