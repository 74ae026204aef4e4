// DHCP for IPv4 (RFC 2131 2, options of RFC 2132, long options of RFC 3396, classless routes of RFC 3442).
//
// DhcpView::check() wants the fixed part of a reply for Ethernet and the magic cookie. DhcpReply::parse() reads the
// options that a client uses; a malformed option counts as absent, options after it are still read as far as they are
// delimited. Lists are cut at the sizes given here.
#pragma once

#include <array>
#include <optional>

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/checked.h"

namespace millrace::wire {

inline constexpr uint16_t kDhcpServerPort = 67;
inline constexpr uint16_t kDhcpClientPort = 68;
inline constexpr size_t kDhcpFixedSize = 240;  ///< up to and with the magic cookie
inline constexpr size_t kDhcpMaxServers = 4;
inline constexpr size_t kDhcpMaxRoutes = 16;

enum class DhcpType : uint8_t {
  kDiscover = 1,
  kOffer = 2,
  kRequest = 3,
  kDecline = 4,
  kAck = 5,
  kNak = 6,
  kRelease = 7,
};

enum class DhcpOption : uint8_t {
  kSubnetMask = 1,
  kRouters = 3,
  kDnsServers = 6,
  kInterfaceMtu = 26,
  kRequestedAddress = 50,
  kLeaseTime = 51,
  kOverload = 52,
  kType = 53,
  kServerId = 54,
  kParameters = 55,
  kMaxSize = 57,
  kT1 = 58,
  kT2 = 59,
  kClientId = 61,
  kClasslessRoutes = 121,
};

class DhcpView {
 public:
  /// `message` is the payload of a UDP datagram.
  static Checked<DhcpView> check(Bytes message);

  [[nodiscard]] uint32_t xid() const { return load_be32(message_.data() + 4); }
  [[nodiscard]] IpAddr your_address() const { return load_v4(message_.data() + 16); }
  [[nodiscard]] MacAddr client_mac() const { return load_mac(message_.data() + 28); }

  /// An option with all its pieces joined, in the order of RFC 3396 5: options, file, server name.
  struct Found {
    std::array<std::byte, 512> bytes;
    size_t size = 0;
    bool present = false;
    [[nodiscard]] Bytes view() const { return {bytes.data(), size}; }
  };
  /// Pieces beyond the room in `Found` are left out.
  void find(DhcpOption code, Found& into) const;

 private:
  friend class Checked<DhcpView>;
  DhcpView() = default;
  explicit DhcpView(Bytes message) : message_(message) {}
  [[nodiscard]] bool is_null() const { return message_.data() == nullptr; }
  [[nodiscard]] uint8_t overload() const;
  Bytes message_;
};

/// A list with a fixed room.
template <class T, size_t N>
struct ShortList {
  std::array<T, N> items{};
  size_t size = 0;
  void add(const T& item) {
    if (size < N) items[size++] = item;
  }
  [[nodiscard]] const T* begin() const { return items.data(); }
  [[nodiscard]] const T* end() const { return items.data() + size; }
  bool operator==(const ShortList&) const = default;
};

struct DhcpRoute {
  Prefix prefix;
  IpAddr gateway;  ///< 0.0.0.0: on link
  bool operator==(const DhcpRoute&) const = default;
};

/// What a server says. Absent numbers are 0, absent addresses 0.0.0.0.
struct DhcpReply {
  DhcpType type{};
  uint32_t xid = 0;
  MacAddr client_mac{};
  IpAddr address = IpAddr::any_v4();
  IpAddr server = IpAddr::any_v4();
  uint8_t prefix_length = 0;  ///< of the subnet mask; 0 if there is none or it is no mask
  uint32_t lease_s = 0;
  uint32_t t1_s = 0;
  uint32_t t2_s = 0;
  uint16_t mtu = 0;
  ShortList<IpAddr, kDhcpMaxServers> routers{};
  ShortList<IpAddr, kDhcpMaxServers> resolvers{};
  bool has_routes = false;  ///< a valid list of classless routes, which then stand instead of `routers` (RFC 3442)
  ShortList<DhcpRoute, kDhcpMaxRoutes> routes{};

  /// Nothing if it has no valid message type.
  static std::optional<DhcpReply> parse(const DhcpView& view);
  bool operator==(const DhcpReply&) const = default;
};

/// What a client says.
struct DhcpMessage {
  static constexpr size_t kMaxSize = 300;  ///< RFC 1542 2.1: relays may drop what is shorter, so all are this long
  DhcpType type = DhcpType::kDiscover;
  uint32_t xid = 0;
  uint16_t secs = 0;
  bool broadcast = false;                    ///< the answer shall be broadcast
  IpAddr client = IpAddr::any_v4();          ///< ciaddr: the address that we have and answer ARP for
  MacAddr mac{};
  std::optional<IpAddr> requested{};
  std::optional<IpAddr> server{};
  uint16_t max_size = 0;                     ///< of an answer; 0 = not said

  /// Writes kMaxSize bytes.
  void emit(MutableBytes out) const;
};

}  // namespace millrace::wire
