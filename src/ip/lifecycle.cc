// Addresses from their request to their end: between autoconf::AddressBook, which knows but does not send, and the
// addresses, routes and frames of Ip. RFC 4862 5.4 to 5.5.4, RFC 4429 (optimistic addresses), RFC 5227 (IPv4).
//
// An operator's address is used at once and tested meanwhile; one that the stack chose or leased itself is tested
// first. (RFC 4429 1.3 would test an operator's address first too; a server that is silent for its first second helps
// nobody, and a conflict is found and the address given up all the same.)
#include "ip/state.h"
#include "wire/nd.h"

namespace millrace::ip {
namespace {

using autoconf::AddressState;
using autoconf::BookEntry;
using autoconf::BookStep;
using autoconf::GuardSend;
using autoconf::Origin;
using autoconf::Testing;

}  // namespace

Result<void> Ip::set_link(IfIndex interface, bool up, Instant now) {
  State& s = *state_;
  Netif* nif = s.find(interface);
  if (nif == nullptr) return fail(Error::kNotFound);
  if (nif->up == up) return {};
  s.switch_link(*nif, up);
  s.refresh_topology();
  if (nif->is_loopback()) return {};
  if (up) {
    for (const auto& host : nif->group_hosts) {
      if (host) host->restart(now);
    }
    s.restart_addresses(*nif, now);
    s.start_autoconf(*nif, now);
  } else {
    s.stop_autoconf(*nif);
  }
  return {};
}

Result<void> Ip::set_options(IfIndex interface, const InterfaceOptions& options, Instant now) {
  State& s = *state_;
  Netif* nif = s.find(interface);
  if (nif == nullptr) return fail(Error::kNotFound);
  if (nif->is_loopback()) return fail(Error::kInvalid);
  const bool test_anew = options.detect_duplicates && !nif->options.detect_duplicates;
  nif->options = options;
  if (!nif->reports_groups) s.groups_synced = {s.book.version() - 1, 0};
  nif->reports_groups = true;
  if (test_anew && nif->up) s.restart_addresses(*nif, now);
  s.start_autoconf(*nif, now);
  return {};
}

Result<void> Ip::add_address(IfIndex interface, const Prefix& prefix, Instant now) {
  State& s = *state_;
  Netif* nif = s.find(interface);
  if (nif == nullptr) return fail(Error::kNotFound);
  const IpAddr& addr = prefix.addr;
  if (addr.is_unspecified() || addr.is_multicast() || addr.is_limited_broadcast()) return fail(Error::kInvalid);
  if (prefix.length > (addr.is_v4() ? 32 : 128)) return fail(Error::kInvalid);
  if (addr.is_loopback() && !nif->is_loopback()) return fail(Error::kInvalid);
  return s.add_address(*nif, {interface, prefix, Origin::kOperator}, now);
}

Result<void> Ip::remove_address(IfIndex interface, const IpAddr& addr, Instant) {
  Netif* nif = state_->find(interface);
  return nif == nullptr ? fail(Error::kNotFound) : state_->remove_address(*nif, addr);
}

Testing Ip::State::test_for(const Netif& nif, const BookEntry& entry) const {
  if (!nif.options.detect_duplicates || nif.is_loopback() || !nif.up) return Testing::kNone;
  const bool ours = entry.origin == Origin::kOperator || entry.origin == Origin::kLinkLocal;
  return ours ? Testing::kOptimistic : Testing::kFirst;
}

Result<void> Ip::State::add_address(Netif& nif, BookEntry entry, Instant now) {
  const Testing test = test_for(nif, entry);
  const auto added = book.add(entry, test, now);
  if (!added) return fail(added.error());
  entry = **added;
  if (!entry.usable()) return {};
  if (auto used = use_address(entry); !used) {
    book.remove(nif.index, entry.prefix.addr);
    return used;
  }
  const bool silent = nif.is_loopback() || !nif.up || entry.origin == Origin::kLinkLocal;
  if (test == Testing::kNone && !silent) announce(nif, entry.prefix.addr);
  return {};
}

Result<void> Ip::State::remove_address(Netif& nif, const IpAddr& addr) {
  const BookEntry* found = book.find(addr);
  if (found == nullptr || found->interface != nif.index) return fail(Error::kNotFound);
  const BookEntry entry = *found;
  book.remove(nif.index, addr);
  if (entry.usable()) disuse_address(entry);
  return {};
}

Result<void> Ip::State::use_address(const BookEntry& entry) {
  const IpAddr& addr = entry.prefix.addr;
  const bool local = addr.is_v6() && addr.is_link_local();
  if (entry.on_link && !local && !find(entry.interface)->is_loopback()) {
    // The connected route; another address of the same prefix may have brought it already.
    const auto added = routes.add(entry.prefix, {entry.interface, {}, 0}, 0);
    if (!added && added.error() != Error::kAlreadyExists) return added;
  }
  addresses.add(entry.interface, entry.prefix);
  addresses.mark(addr, entry.state == AddressState::kDeprecated, entry.state == AddressState::kOptimistic);
  // A station that we knew under this address is none any more.
  for (const Netif& n : netifs) (void)ip.remove_neighbour(n.index, addr);
  bump_epoch();
  return {};
}

void Ip::State::disuse_address(const BookEntry& entry) {
  addresses.remove(entry.interface, entry.prefix.addr);
  const bool shared = std::ranges::any_of(book.all(), [&](const BookEntry& e) {
    return e.interface == entry.interface && e.on_link && e.usable() && e.prefix.length == entry.prefix.length &&
           e.prefix.addr != entry.prefix.addr && entry.prefix.contains(e.prefix.addr);
  });
  const IpAddr on_link{};
  if (entry.on_link && !shared) (void)routes.remove(entry.prefix, entry.interface, 0, &on_link);
  bump_epoch();
}

void Ip::State::act_on_book(const BookEntry& entry, const BookStep& step, Instant now) {
  Netif& nif = *find(entry.interface);
  const IpAddr& addr = entry.prefix.addr;
  if (step.expired) {
    counters.add(IpCounter::kAddressesExpired);
    if (step.was_usable) disuse_address(entry);
    return;
  }
  if (step.lost) {
    counters.add(IpCounter::kAddressesLost);
    if (step.was_usable) disuse_address(entry);
    return address_settled(entry, true, now);
  }
  if (step.changed && !step.was_usable && entry.usable()) {
    if (!use_address(entry)) {  // the table of routes is full
      book.remove(nif.index, addr);
      return;
    }
    address_settled(entry, false, now);
  } else if (step.changed) {
    addresses.mark(addr, entry.state == AddressState::kDeprecated, entry.state == AddressState::kOptimistic);
    bump_epoch();
  }
  if (!nif.up) return;
  if (step.send == GuardSend::kProbe) probe(nif, entry);
  if (step.send == GuardSend::kAnnounce) announce(nif, addr);
}

// RFC 4862 5.4, RFC 5227 2.4.1: a link that comes back may be another one.
void Ip::State::restart_addresses(Netif& nif, Instant now) {
  const std::vector<BookEntry> entries = book.all();
  for (const BookEntry& e : entries) {
    if (e.interface != nif.index || !e.usable()) continue;
    const Testing test = nif.options.detect_duplicates ? Testing::kOptimistic : Testing::kNone;
    book.restart(e.prefix.addr, test, now);
    const AddressState state = book.find(e.prefix.addr)->state;
    addresses.mark(e.prefix.addr, state == AddressState::kDeprecated, state == AddressState::kOptimistic);
    if (test == Testing::kNone) announce(nif, e.prefix.addr);
  }
  bump_epoch();
}

bool Ip::State::address_conflict(Netif& nif, const IpAddr& addr, Instant now) {
  const BookEntry* own = book.find(addr);
  if (own == nullptr || own->interface != nif.index || own->state == AddressState::kDuplicated) return false;
  if (!nif.options.detect_duplicates) return true;  // told, not acted upon
  const auto defence = nif.options.keep_address ? autoconf::Defence::kKeep : autoconf::Defence::kGiveUp;
  const BookStep step = book.conflict(addr, defence, now);
  if (step.send == GuardSend::kAnnounce) counters.add(IpCounter::kAddressesDefended);
  if (step.lost || step.send != GuardSend::kNone) act_on_book(BookEntry(*book.find(addr)), step, now);
  return true;
}

const BookEntry* Ip::State::testing(const Netif& nif, const IpAddr& addr) const {
  const BookEntry* own = book.find(addr);
  return own != nullptr && own->interface == nif.index && own->guard.testing() ? own : nullptr;
}

bool Ip::State::hears_solicited(const Netif& nif, uint32_t low24) const {
  if (addresses.has_low24(nif.index, low24)) return true;
  return std::ranges::any_of(book.all(), [&](const BookEntry& e) {
    const auto& b = e.prefix.addr.bytes();
    return e.interface == nif.index && e.state == AddressState::kTentative && e.prefix.addr.is_v6() &&
           (uint32_t{b[13]} << 16 | uint32_t{b[14]} << 8 | b[15]) == low24;
  });
}

// RFC 5227 2.1.1: an ARP request from nobody. RFC 4862 5.4.2: a solicitation from the unspecified address.
void Ip::State::probe(Netif& nif, const BookEntry& entry) {
  const IpAddr& addr = entry.prefix.addr;
  counters.add(IpCounter::kProbesOut);
  if (addr.is_v4()) return send_arp(nif, 1, kBroadcastMac, IpAddr::any_v4(), MacAddr{}, addr);
  pkt::Packet* packet = new_packet();
  if (packet == nullptr) return;
  const IpAddr to = wire::solicited_node(addr);
  const wire::NeighbourSolicitation ns{addr, std::nullopt, entry.nonce};
  const auto size = static_cast<uint16_t>(ns.size());
  (void)ns.emit({packet->append(size), size}, IpAddr(), to);
  counters.add(IpCounter::kNdSolicitsOut);
  send_nd(nif, packet, IpAddr(), to, wire::multicast_mac_v6(to));
}

}  // namespace millrace::ip
