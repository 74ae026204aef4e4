// IPv6 fixed header (RFC 8200 3) and the walk over extension headers (RFC 8200 4, RFC 8504 5.3).
//
// A checked view has version 6, its payload within the bytes given, and no IPv4-mapped address on the wire, which
// IpAddr could not tell from IPv4 (RFC 4942 2.2).
#pragma once

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/checked.h"
#include "wire/ip_protocol.h"

namespace millrace::wire {

inline constexpr size_t kIpv6Size = 40;
/// Every IPv6 link carries datagrams of this size (RFC 8200 5).
inline constexpr uint16_t kIpv6MinMtu = 1280;

class Ipv6View {
 public:
  /// `packet` starts at the header and may be longer than the datagram. A payload length of 0 is taken literally:
  /// jumbograms (RFC 2675) are not supported.
  static Checked<Ipv6View> check(Bytes packet) {
    const auto view = check_quoted(packet);
    if (!view || view->payload_length() > packet.size() - kIpv6Size) return std::nullopt;
    return view;
  }
  /// For a datagram quoted by an ICMPv6 error, which may be cut short: payload() must not be used.
  static Checked<Ipv6View> check_quoted(Bytes packet) {
    if (packet.size() < kIpv6Size || load_u8(packet.data()) >> 4 != 6) return std::nullopt;
    if (is_mapped(packet.data() + 8) || is_mapped(packet.data() + 24)) return std::nullopt;
    return Ipv6View(packet.data());
  }

  [[nodiscard]] uint8_t traffic_class() const { return static_cast<uint8_t>(load_be16(p_) >> 4); }
  [[nodiscard]] uint32_t flow_label() const { return load_be32(p_) & 0xfffff; }
  [[nodiscard]] uint16_t payload_length() const { return load_be16(p_ + 4); }
  [[nodiscard]] uint8_t next_header() const { return load_u8(p_ + 6); }
  [[nodiscard]] uint8_t hop_limit() const { return load_u8(p_ + 7); }
  [[nodiscard]] IpAddr source() const { return load_v6(p_ + 8); }
  [[nodiscard]] IpAddr destination() const { return load_v6(p_ + 24); }

  [[nodiscard]] uint32_t total_length() const { return kIpv6Size + payload_length(); }
  [[nodiscard]] Bytes payload() const { return {p_ + kIpv6Size, payload_length()}; }
  /// The datagram without link-layer padding.
  [[nodiscard]] Bytes datagram() const { return {p_, total_length()}; }
  /// After check_quoted(packet): the quoted bytes behind the fixed header.
  [[nodiscard]] Bytes quoted_payload(Bytes packet) const {
    const size_t end = total_length() < packet.size() ? total_length() : packet.size();
    return packet.subspan(kIpv6Size, end - kIpv6Size);
  }

 private:
  friend class Checked<Ipv6View>;
  Ipv6View() = default;
  explicit Ipv6View(const std::byte* p) : p_(p) {}
  [[nodiscard]] bool is_null() const { return p_ == nullptr; }
  static bool is_mapped(const std::byte* addr) {
    return load_native<uint64_t>(addr) == 0 && load_be32(addr + 8) == 0xffff;
  }
  const std::byte* p_ = nullptr;
};

struct Ipv6Header {
  uint8_t traffic_class = 0;
  uint32_t flow_label = 0;  ///< 20 bits
  uint16_t payload_length = 0;
  uint8_t next_header = 0;
  uint8_t hop_limit = 64;
  IpAddr source;
  IpAddr destination;

  static Ipv6Header parse(const Ipv6View& v) {
    return {v.traffic_class(), v.flow_label(), v.payload_length(), v.next_header(),
            v.hop_limit(),     v.source(),     v.destination()};
  }
  /// Writes kIpv6Size bytes.
  void emit(MutableBytes out) const {
    MR_ASSERT(out.size() >= kIpv6Size && flow_label <= 0xfffff);
    std::byte* p = out.data();
    store_be32(p, 0x60000000u | uint32_t{traffic_class} << 20 | flow_label);
    store_be16(p + 4, payload_length);
    store_u8(p + 6, next_header);
    store_u8(p + 7, hop_limit);
    store_v6(p + 8, source);
    store_v6(p + 24, destination);
  }
  bool operator==(const Ipv6Header&) const = default;
};

/// Fragment header (RFC 8200 4.5).
inline constexpr size_t kIpv6FragmentSize = 8;
struct Ipv6Fragment {
  uint8_t next_header = 0;
  uint16_t offset = 0;  ///< bytes, a multiple of 8
  bool more = false;
  uint32_t id = 0;

  /// Writes kIpv6FragmentSize bytes.
  void emit(MutableBytes out) const {
    MR_ASSERT(out.size() >= kIpv6FragmentSize && offset % 8 == 0);
    store_u8(out.data(), next_header);
    store_u8(out.data() + 1, 0);
    store_be16(out.data() + 2, static_cast<uint16_t>(offset | (more ? 1 : 0)));
    store_be32(out.data() + 4, id);
  }
  bool operator==(const Ipv6Fragment&) const = default;
};

/// Where the walk over extension headers ended. All offsets count from the start of the IPv6 header.
struct Ipv6Upper {
  enum class Status : uint8_t {
    kUpper,             ///< `protocol` starts at `offset`
    kFragment,          ///< a fragment of a larger datagram: `fragment` is filled, its data starts at `offset`
    kTruncated,         ///< a header runs past the end: drop
    kDiscard,           ///< an option says drop without a reply, or the chain exceeds our limits
    kParameterProblem,  ///< drop; send an ICMPv6 parameter problem with `code` and `pointer` if `reply`
  };
  Status status = Status::kTruncated;
  uint8_t protocol = 0;         ///< with kUpper; ESP, AH, "no next header" and unknown values end the walk too
  uint8_t code = 0;             ///< of the parameter problem
  bool reply = false;           ///< false where the destination is multicast and the option spares it
  bool router_alert = false;    ///< the hop-by-hop header had one (RFC 2711; MLD needs it)
  bool after_fragment = false;  ///< an atomic fragment header was passed (RFC 6946)
  uint16_t offset = 0;
  uint16_t next_header_at = 0;  ///< of the byte that named `protocol`: pointer for "unrecognized next header"
  uint32_t pointer = 0;
  Ipv6Fragment fragment;
  uint16_t fragment_at = 0;  ///< of the fragment header, with kFragment
};

/// Extension headers of one datagram, and options of one header, that are looked at before it is dropped.
inline constexpr unsigned kIpv6MaxExtensionHeaders = 8;
inline constexpr unsigned kIpv6MaxOptions = 8;

namespace detail {
Ipv6Upper walk_extension_headers(Bytes datagram, bool multicast);
Ipv6Upper walk_behind_fragment(Bytes datagram, const Ipv6Upper& fragment);
constexpr bool is_extension_header(uint8_t protocol) {
  return protocol == kProtocolHopByHop || protocol == kProtocolRouting || protocol == kProtocolFragment ||
         protocol == kProtocolDestinationOptions;
}
}  // namespace detail

/// Finds the upper-layer header; free of cost where there are no extension headers.
inline Ipv6Upper find_upper(const Ipv6View& view) {
  if (!detail::is_extension_header(view.next_header())) {
    Ipv6Upper upper;
    upper.status = Ipv6Upper::Status::kUpper;
    upper.protocol = view.next_header();
    upper.offset = kIpv6Size;
    upper.next_header_at = 6;
    return upper;
  }
  return detail::walk_extension_headers(view.datagram(), view.destination().is_multicast());
}

/// The same for a datagram of which only the first bytes lie in one piece (`head`): kTruncated may mean that they do
/// not reach far enough.
inline Ipv6Upper find_upper(const Ipv6View& view, Bytes head) {
  if (!detail::is_extension_header(view.next_header())) return find_upper(view);
  const size_t length = view.total_length() < head.size() ? view.total_length() : head.size();
  return detail::walk_extension_headers(head.first(length), view.destination().is_multicast());
}

/// Behind the header of a first fragment (`fragment.status` is kFragment): kTruncated if the chain of headers goes on
/// in another fragment, which RFC 7112 forbids.
inline Ipv6Upper find_upper_behind(Bytes datagram, const Ipv6Upper& fragment) {
  return detail::walk_behind_fragment(datagram, fragment);
}

/// The same as find_upper() for a datagram quoted by an ICMPv6 error, which may be cut short (Ipv6View::check_quoted).
inline Ipv6Upper find_quoted_upper(const Ipv6View& view, Bytes packet) {
  const Bytes quoted = packet.first(kIpv6Size + view.quoted_payload(packet).size());
  return detail::walk_extension_headers(quoted, false);
}

}  // namespace millrace::wire
