// Every address that an interface has or wants, with its origin, lifetimes and Guard (RFC 4862 2, 5.4, 5.5.4; RFC
// 5227). Only usable ones (optimistic, preferred, deprecated) are also in ip::Addresses. Pure state: what changed and
// what to send comes out as a BookStep.
//
// Limit: kMaxAddresses a worker; beyond it add() says kTooMany and the address is not there.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "autoconf/guard.h"
#include "millrace/address.h"
#include "millrace/result.h"

namespace millrace::autoconf {

inline constexpr size_t kMaxAddresses = 1'024;

enum class Origin : uint8_t { kOperator, kLinkLocal, kRouter, kDhcp };
enum class AddressState : uint8_t {
  kTentative,   ///< being tested and not used
  kOptimistic,  ///< being tested and used meanwhile (RFC 4429)
  kPreferred,
  kDeprecated,  ///< goes on for what uses it; nothing new starts from it
  kDuplicated,  ///< another station has it: not used
};
[[nodiscard]] const char* name_of(Origin origin);
[[nodiscard]] const char* name_of(AddressState state);

/// How a new address is tested.
enum class Testing : uint8_t { kNone, kOptimistic, kFirst };

struct Lifetimes {
  Instant preferred_until = kNever;
  Instant valid_until = kNever;
  bool operator==(const Lifetimes&) const = default;
};

struct BookEntry {
  IfIndex interface = IfIndex::kNone;
  Prefix prefix;
  Origin origin = Origin::kOperator;
  AddressState state = AddressState::kPreferred;
  bool on_link = true;   ///< the prefix is on the link because of this address (RFC 5942: not for SLAAC)
  Lifetimes lifetimes{};
  Guard guard{};
  uint64_t nonce = 0;    ///< of the newest probe, 48 bits (RFC 7527)
  [[nodiscard]] bool usable() const {
    return state != AddressState::kTentative && state != AddressState::kDuplicated;
  }
};

/// Something happened to `entry`, which is valid until the step has been dealt with.
struct BookStep {
  GuardSend send = GuardSend::kNone;
  bool changed = false;  ///< the state is another one than before
  bool was_usable = false;
  bool lost = false;     ///< now kDuplicated
  bool expired = false;  ///< the valid lifetime is over: the entry goes when the step has been dealt with
};

class AddressBook {
 public:
  explicit AddressBook(uint64_t seed) : rng_(seed) {}

  /// kAlreadyExists (on any interface), kTooMany.
  Result<const BookEntry*> add(const BookEntry& entry, Testing test, Instant now);
  /// False if it was not there.
  bool remove(IfIndex interface, const IpAddr& addr);
  [[nodiscard]] const BookEntry* find(const IpAddr& addr) const;
  /// Tests a usable address again, or announces it: the link came up.
  void restart(const IpAddr& addr, Testing test, Instant now);
  /// An address may become deprecated or preferred again by it.
  BookStep set_lifetimes(const IpAddr& addr, const Lifetimes& lifetimes, Instant now);

  /// act(const BookEntry&, const BookStep&) for everything due.
  template <class Act>
  void advance(Instant now, Act&& act) {
    if (now < deadline_) return;
    for (size_t i = 0; i < list_.size(); ++i) {
      if (due(list_[i]) > now) continue;
      const BookStep step = tick(list_[i], now);
      const BookEntry copy = list_[i];
      if (step.expired) ++version_;
      if (step.expired) list_.erase(list_.begin() + static_cast<std::ptrdiff_t>(i--));
      act(copy, step);
    }
    find_deadline();
  }
  /// RFC 4861 6.3.4: how long probes of IPv6 addresses wait for answers from now on; a second if nobody says.
  void set_retransmit(IfIndex interface, Duration retransmit);
  /// Another station claims `addr`.
  BookStep conflict(const IpAddr& addr, Defence defence, Instant now);

  [[nodiscard]] Instant next_deadline() const { return deadline_; }
  [[nodiscard]] const std::vector<BookEntry>& all() const { return list_; }
  /// Changes whenever an address comes, goes or is found to be another's.
  [[nodiscard]] uint32_t version() const { return version_; }

 private:
  [[nodiscard]] static Instant due(const BookEntry& e);
  BookStep tick(BookEntry& e, Instant now);
  BookEntry* find_entry(const IpAddr& addr);
  void begin(BookEntry& e, Testing test, Instant now);
  static void settle_state(BookEntry& e, Instant now);
  void find_deadline();
  [[nodiscard]] Duration retransmit_of(IfIndex interface) const;

  base::Rng rng_;
  std::vector<BookEntry> list_;
  std::vector<std::pair<IfIndex, Duration>> retransmit_;  // where it is not a second
  Instant deadline_ = kNever;
  uint32_t version_ = 0;
};

}  // namespace millrace::autoconf
