// Neighbour discovery for IPv6 (RFC 4861 4; RFC 8106 for RDNSS and DNSSL, RFC 4191 for routes, RFC 7527 for the nonce).
//
// NdView::check() applies the rules of RFC 4861 6.1 and 7.1 and 8.1 that concern the message alone: type, code 0,
// size, options of nonzero length within the message, a target that is not multicast. Left to the caller, who has the
// IP header: hop limit 255 (kNdHopLimit), the ICMPv6 checksum, and acceptable(), which needs the two addresses.
#pragma once

#include <optional>
#include <string>

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/checked.h"
#include "wire/icmpv6.h"

namespace millrace::wire {

inline constexpr uint8_t kNdHopLimit = 255;

enum class NdOptionType : uint8_t {
  kSourceLinkAddress = 1,
  kTargetLinkAddress = 2,
  kPrefixInformation = 3,
  kRedirectedHeader = 4,
  kMtu = 5,
  kNonce = 14,
  kRouteInformation = 24,
  kRdnss = 25,
  kDnssl = 31,
};

/// RFC 4861 4.6.2. Lifetimes in seconds; kNdInfinite never ends.
struct NdPrefix {
  Prefix prefix;
  bool on_link = false;
  bool autonomous = false;
  uint32_t valid_s = 0;
  uint32_t preferred_s = 0;
  bool operator==(const NdPrefix&) const = default;
};
inline constexpr uint32_t kNdInfinite = 0xffffffff;

/// RFC 4191 2.3.
struct NdRoute {
  Prefix prefix;
  uint8_t preference = 1;  ///< 0 low, 1 medium, 2 high
  uint32_t lifetime_s = 0;
  bool operator==(const NdRoute&) const = default;
};
/// The preference in a byte of flags (RFC 4191 2.1): 0 low, 1 medium, 2 high; nothing for the reserved value.
[[nodiscard]] std::optional<uint8_t> preference_of(uint8_t flags);

/// One option, type and length included; its length is a nonzero multiple of eight. The decoders give nothing if the
/// option is of another type or its content is not valid: such an option is ignored (RFC 4861 4.6).
class NdOption {
 public:
  explicit NdOption(Bytes bytes) : bytes_(bytes) {}
  [[nodiscard]] NdOptionType type() const { return static_cast<NdOptionType>(load_u8(bytes_.data())); }
  [[nodiscard]] Bytes bytes() const { return bytes_; }

  /// kSourceLinkAddress, kTargetLinkAddress of Ethernet.
  [[nodiscard]] std::optional<MacAddr> link_address() const;
  [[nodiscard]] std::optional<NdPrefix> prefix() const;
  [[nodiscard]] std::optional<uint32_t> mtu() const;
  [[nodiscard]] std::optional<NdRoute> route() const;
  /// The datagram that a redirect quotes, perhaps cut short.
  [[nodiscard]] std::optional<Bytes> redirected() const;
  /// kRdnss: number of servers, 0 if the option is none; lifetime; server `i`.
  [[nodiscard]] size_t rdnss_count() const;
  [[nodiscard]] uint32_t rdnss_lifetime_s() const { return load_be32(bytes_.data() + 4); }
  [[nodiscard]] IpAddr rdnss_server(size_t i) const { return load_v6(bytes_.data() + 8 + 16 * i); }

 private:
  Bytes bytes_;
};

/// Walks options that NdView::check has found well-formed.
class NdOptionWalker {
 public:
  explicit NdOptionWalker(Bytes options) : rest_(options) {}
  std::optional<NdOption> next() {
    if (rest_.size() < 8) return std::nullopt;
    const size_t length = size_t{load_u8(&rest_[1])} * 8;
    if (length == 0 || length > rest_.size()) return std::nullopt;
    const NdOption option(rest_.first(length));
    rest_ = rest_.subspan(length);
    return option;
  }

 private:
  Bytes rest_;
};

/// Walks the names of a kDnssl option (RFC 8106 5.2); stops at padding and at what is no name.
class DnsslWalker {
 public:
  explicit DnsslWalker(const NdOption& option);
  [[nodiscard]] uint32_t lifetime_s() const { return lifetime_s_; }
  /// In lower case, labels joined by dots, without the last dot; only letters, digits, hyphens and underscores.
  std::optional<std::string> next();

 private:
  Bytes rest_{};
  uint32_t lifetime_s_ = 0;
};

class NdView {
 public:
  /// `message` is the whole ICMPv6 message.
  static Checked<NdView> check(Bytes message);

  [[nodiscard]] Icmpv6Type type() const { return static_cast<Icmpv6Type>(load_u8(message_.data())); }
  /// Solicitation, advertisement, redirect.
  [[nodiscard]] IpAddr target() const { return load_v6(message_.data() + 8); }
  /// Redirect.
  [[nodiscard]] IpAddr redirect_destination() const { return load_v6(message_.data() + 24); }
  /// The byte of flags of a neighbour or router advertisement.
  [[nodiscard]] uint8_t neighbour_flags() const { return load_u8(message_.data() + 4); }
  [[nodiscard]] uint8_t router_flags() const { return load_u8(message_.data() + 5); }
  [[nodiscard]] uint16_t router_lifetime_s() const { return load_be16(message_.data() + 6); }
  [[nodiscard]] Bytes message() const { return message_; }
  [[nodiscard]] Bytes options() const { return message_.subspan(fixed_size(type())); }
  /// The first valid link-layer address option of that type.
  [[nodiscard]] std::optional<MacAddr> link_address(NdOptionType type) const;
  /// The 48 bits of the first nonce option of that length; 0 if there is none.
  [[nodiscard]] uint64_t nonce() const;

  /// The rules of RFC 4861 6.1.1, 6.1.2, 7.1.1, 7.1.2 and 8.1 that need the addresses of the datagram.
  [[nodiscard]] bool acceptable(const IpAddr& source, const IpAddr& destination) const;

  /// Bytes in front of the options; 0 for a type that is not neighbour discovery.
  static constexpr size_t fixed_size(Icmpv6Type type) {
    switch (type) {
      case Icmpv6Type::kRouterSolicitation: return 8;
      case Icmpv6Type::kRouterAdvertisement: return 16;
      case Icmpv6Type::kNeighbourSolicitation: return 24;
      case Icmpv6Type::kNeighbourAdvertisement: return 24;
      case Icmpv6Type::kRedirect: return 40;
      default: return 0;
    }
  }

 private:
  friend class Checked<NdView>;
  NdView() = default;
  explicit NdView(Bytes message) : message_(message) {}
  [[nodiscard]] bool is_null() const { return message_.data() == nullptr; }
  Bytes message_;
};

/// ff02::1:ffXX:XXXX (RFC 4291 2.7.1).
IpAddr solicited_node(const IpAddr& addr);
/// 33:33 and the last four bytes (RFC 2464 7).
MacAddr multicast_mac_v6(const IpAddr& group);

// Values. emit() writes a whole message into the front of `out`, checksum included, and returns its size; kMaxSize is
// room enough. parse() takes a view of the right type.

struct NeighbourSolicitation {
  static constexpr size_t kMaxSize = 40;
  IpAddr target;
  std::optional<MacAddr> source_link;  ///< absent in duplicate address detection
  uint64_t nonce = 0;                  ///< 48 bits (RFC 7527 4.1); 0 = none

  static NeighbourSolicitation parse(const NdView& v) {
    return {v.target(), v.link_address(NdOptionType::kSourceLinkAddress), v.nonce()};
  }
  /// What emit() writes.
  [[nodiscard]] size_t size() const { return 24 + (source_link ? size_t{8} : 0) + (nonce != 0 ? size_t{8} : 0); }
  size_t emit(MutableBytes out, const IpAddr& source, const IpAddr& destination) const;
  bool operator==(const NeighbourSolicitation&) const = default;
};

struct NeighbourAdvertisement {
  static constexpr size_t kMaxSize = 32;
  IpAddr target;
  bool router = false;
  bool solicited = false;
  bool override_cache = false;  ///< the O flag
  std::optional<MacAddr> target_link;

  static NeighbourAdvertisement parse(const NdView& v) {
    const uint8_t flags = v.neighbour_flags();
    return {v.target(), (flags & 0x80) != 0, (flags & 0x40) != 0, (flags & 0x20) != 0,
            v.link_address(NdOptionType::kTargetLinkAddress)};
  }
  size_t emit(MutableBytes out, const IpAddr& source, const IpAddr& destination) const;
  bool operator==(const NeighbourAdvertisement&) const = default;
};

struct RouterSolicitation {
  static constexpr size_t kMaxSize = 16;
  std::optional<MacAddr> source_link;

  static RouterSolicitation parse(const NdView& v) { return {v.link_address(NdOptionType::kSourceLinkAddress)}; }
  size_t emit(MutableBytes out, const IpAddr& source, const IpAddr& destination) const;
  bool operator==(const RouterSolicitation&) const = default;
};

/// Prefixes and servers are read by walking NdView::options(); emit() takes prefixes.
struct RouterAdvertisement {
  uint8_t hop_limit = 0;       ///< 0 = not said
  bool managed = false;        ///< the M flag
  bool other_config = false;   ///< the O flag
  uint16_t lifetime_s = 0;     ///< 0 = not a default router
  uint32_t reachable_ms = 0;   ///< 0 = not said
  uint32_t retransmit_ms = 0;  ///< 0 = not said
  std::optional<MacAddr> source_link;
  std::optional<uint32_t> mtu;

  static RouterAdvertisement parse(const NdView& v);
  static constexpr size_t max_size(size_t prefixes) { return 32 + 32 * prefixes; }
  size_t emit(MutableBytes out, const IpAddr& source, const IpAddr& destination,
              std::span<const NdPrefix> prefixes) const;
  bool operator==(const RouterAdvertisement&) const = default;
};

struct Redirect {
  static constexpr size_t kMaxSize = 48;
  IpAddr target;       ///< the better first hop
  IpAddr destination;  ///< what it is better for
  std::optional<MacAddr> target_link;

  static Redirect parse(const NdView& v) {
    return {v.target(), v.redirect_destination(), v.link_address(NdOptionType::kTargetLinkAddress)};
  }
  /// Without the redirected header option.
  size_t emit(MutableBytes out, const IpAddr& source, const IpAddr& destination_of_message) const;
  bool operator==(const Redirect&) const = default;
};

}  // namespace millrace::wire
