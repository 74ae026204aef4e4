// Neighbour discovery: validity rules, option decoders, emitters (RFC 4861).
#include "wire/nd.h"

namespace millrace::wire {
namespace {

bool options_well_formed(Bytes options) {
  while (!options.empty()) {
    if (options.size() < 8) return false;
    const size_t length = size_t{load_u8(&options[1])} * 8;
    if (length == 0 || length > options.size()) return false;  // RFC 4861 4.6, 7.1.1
    options = options.subspan(length);
  }
  return true;
}

bool names_a_node(const IpAddr& addr) { return addr.is_v6() && !addr.is_multicast(); }

bool is_solicited_node(const IpAddr& addr) {
  static constexpr std::array<uint8_t, 13> prefix{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  return std::memcmp(addr.bytes().data(), prefix.data(), prefix.size()) == 0;
}

void put_header(std::byte* p, Icmpv6Type type, uint32_t rest) {
  store_be32(p, uint32_t{static_cast<uint8_t>(type)} << 24);
  store_be32(p + 4, rest);
}

// Appends a link-layer address option at `size`, if there is an address; returns the new size.
size_t put_link(std::byte* p, size_t size, NdOptionType type, const std::optional<MacAddr>& mac) {
  if (!mac) return size;
  store_u8(p + size, static_cast<uint8_t>(type));
  store_u8(p + size + 1, 1);
  store_mac(p + size + 2, *mac);
  return size + 8;
}

void put_prefix(std::byte* p, const NdPrefix& prefix) {
  store_u8(p, static_cast<uint8_t>(NdOptionType::kPrefixInformation));
  store_u8(p + 1, 4);
  store_u8(p + 2, prefix.prefix.length);
  store_u8(p + 3, static_cast<uint8_t>((prefix.on_link ? 0x80 : 0) | (prefix.autonomous ? 0x40 : 0)));
  store_be32(p + 4, prefix.valid_s);
  store_be32(p + 8, prefix.preferred_s);
  store_be32(p + 12, 0);
  store_v6(p + 16, prefix.prefix.addr);
}

}  // namespace

std::optional<MacAddr> NdOption::link_address() const {
  if (type() != NdOptionType::kSourceLinkAddress && type() != NdOptionType::kTargetLinkAddress) return std::nullopt;
  if (bytes_.size() != 8) return std::nullopt;  // RFC 2464 6: length 1 on Ethernet
  return load_mac(bytes_.data() + 2);
}

std::optional<NdPrefix> NdOption::prefix() const {
  if (type() != NdOptionType::kPrefixInformation || bytes_.size() != 32) return std::nullopt;
  const std::byte* p = bytes_.data();
  const uint8_t flags = load_u8(p + 3);
  NdPrefix out{
      {load_v6(p + 16), load_u8(p + 2)}, (flags & 0x80) != 0, (flags & 0x40) != 0, load_be32(p + 4), load_be32(p + 8)};
  if (out.prefix.length > 128 || out.prefix.addr.is_v4()) return std::nullopt;
  return out;
}

std::optional<uint32_t> NdOption::mtu() const {
  if (type() != NdOptionType::kMtu || bytes_.size() != 8) return std::nullopt;
  return load_be32(bytes_.data() + 4);
}

std::optional<Bytes> NdOption::redirected() const {
  if (type() != NdOptionType::kRedirectedHeader) return std::nullopt;
  return bytes_.subspan(8);
}

size_t NdOption::rdnss_count() const {
  if (type() != NdOptionType::kRdnss || bytes_.size() < 24 || bytes_.size() % 16 != 8) return 0;  // RFC 8106 5.1
  return (bytes_.size() - 8) / 16;
}

std::optional<uint8_t> preference_of(uint8_t flags) {
  switch (flags >> 3 & 3) {
    case 0: return uint8_t{1};
    case 1: return uint8_t{2};
    case 3: return uint8_t{0};
    default: return std::nullopt;
  }
}

std::optional<NdRoute> NdOption::route() const {
  const size_t size = bytes_.size();
  if (type() != NdOptionType::kRouteInformation || size > 24) return std::nullopt;
  const std::byte* p = bytes_.data();
  const uint8_t length = load_u8(p + 2);
  const auto preference = preference_of(load_u8(p + 3));
  // RFC 4191 2.3: the prefix field is as long as the prefix needs; the reserved preference makes the option void.
  if (!preference || length > 128 || (length > 64 && size < 24) || (length > 0 && size < 16)) return std::nullopt;
  std::array<uint8_t, 16> prefix{};
  std::memcpy(prefix.data(), p + 8, size - 8);
  const IpAddr addr(prefix);
  if (addr.is_v4()) return std::nullopt;
  return NdRoute{{addr, length}, *preference, load_be32(p + 4)};
}

DnsslWalker::DnsslWalker(const NdOption& option) {
  if (option.type() != NdOptionType::kDnssl || option.bytes().size() < 16) return;
  lifetime_s_ = load_be32(option.bytes().data() + 4);
  rest_ = option.bytes().subspan(8);
}

std::optional<std::string> DnsslWalker::next() {
  constexpr size_t kLongestLabel = 63;
  constexpr size_t kLongestName = 253;
  std::string name;
  while (!rest_.empty()) {
    const size_t length = load_u8(rest_.data());
    if (length == 0) {
      rest_ = rest_.subspan(1);
      if (name.empty() || name.size() > kLongestName) break;  // padding begins, or no name
      return name;
    }
    if (length > kLongestLabel || length >= rest_.size()) break;
    if (!name.empty()) name += '.';
    for (const std::byte b : rest_.subspan(1, length)) {
      char c = static_cast<char>(b);
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
      if (!plain) {
        rest_ = {};
        return std::nullopt;
      }
      name += c;
    }
    rest_ = rest_.subspan(1 + length);
  }
  rest_ = {};
  return std::nullopt;
}

Checked<NdView> NdView::check(Bytes message) {
  if (message.size() < 8) return std::nullopt;
  const NdView view(message);
  const size_t fixed = fixed_size(view.type());
  if (fixed == 0 || message.size() < fixed || load_u8(&message[1]) != 0) return std::nullopt;
  if (!options_well_formed(message.subspan(fixed))) return std::nullopt;
  if (fixed >= 24 && !names_a_node(view.target())) return std::nullopt;
  if (fixed == 40 && !names_a_node(view.redirect_destination())) return std::nullopt;
  return view;
}

std::optional<MacAddr> NdView::link_address(NdOptionType type) const {
  NdOptionWalker walker(options());
  while (const auto option = walker.next()) {
    if (option->type() != type) continue;
    if (const auto mac = option->link_address()) return mac;
  }
  return std::nullopt;
}

uint64_t NdView::nonce() const {
  NdOptionWalker walker(options());
  while (const auto option = walker.next()) {
    if (option->type() != NdOptionType::kNonce || option->bytes().size() != 8) continue;
    return load_be64(option->bytes().data()) & 0xffff'ffff'ffff;
  }
  return 0;
}

bool NdView::acceptable(const IpAddr& source, const IpAddr& destination) const {
  switch (type()) {
    case Icmpv6Type::kNeighbourSolicitation:  // RFC 4861 7.1.1
      if (!source.is_unspecified()) return true;
      return is_solicited_node(destination) && !link_address(NdOptionType::kSourceLinkAddress);
    case Icmpv6Type::kNeighbourAdvertisement:  // RFC 4861 7.1.2
      return !destination.is_multicast() || (neighbour_flags() & 0x40) == 0;
    case Icmpv6Type::kRouterSolicitation:  // RFC 4861 6.1.1
      return !source.is_unspecified() || !link_address(NdOptionType::kSourceLinkAddress);
    case Icmpv6Type::kRouterAdvertisement:  // RFC 4861 6.1.2
      return source.is_link_local();
    default:  // RFC 4861 8.1
      return source.is_link_local() && (target().is_link_local() || target() == redirect_destination());
  }
}

IpAddr solicited_node(const IpAddr& addr) {
  std::array<uint8_t, 16> b{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  for (size_t i = 13; i < 16; ++i) b[i] = addr.bytes()[i];
  return IpAddr(b);
}

MacAddr multicast_mac_v6(const IpAddr& group) {
  const auto& b = group.bytes();
  return {{0x33, 0x33, b[12], b[13], b[14], b[15]}};
}

size_t NeighbourSolicitation::emit(MutableBytes out, const IpAddr& source, const IpAddr& destination) const {
  MR_ASSERT(out.size() >= this->size());
  std::byte* p = out.data();
  put_header(p, Icmpv6Type::kNeighbourSolicitation, 0);
  store_v6(p + 8, target);
  size_t size = put_link(p, 24, NdOptionType::kSourceLinkAddress, source_link);
  if (nonce != 0) {
    store_be64(p + size, uint64_t{static_cast<uint8_t>(NdOptionType::kNonce)} << 56 | uint64_t{1} << 48 |
                             (nonce & 0xffff'ffff'ffff));
    size += 8;
  }
  seal_icmpv6(out.first(size), source, destination);
  return size;
}

size_t NeighbourAdvertisement::emit(MutableBytes out, const IpAddr& source, const IpAddr& destination) const {
  MR_ASSERT(out.size() >= kMaxSize);
  std::byte* p = out.data();
  const uint32_t flags = (router ? 0x80u : 0) | (solicited ? 0x40u : 0) | (override_cache ? 0x20u : 0);
  put_header(p, Icmpv6Type::kNeighbourAdvertisement, flags << 24);
  store_v6(p + 8, target);
  const size_t size = put_link(p, 24, NdOptionType::kTargetLinkAddress, target_link);
  seal_icmpv6(out.first(size), source, destination);
  return size;
}

size_t RouterSolicitation::emit(MutableBytes out, const IpAddr& source, const IpAddr& destination) const {
  MR_ASSERT(out.size() >= kMaxSize);
  put_header(out.data(), Icmpv6Type::kRouterSolicitation, 0);
  const size_t size = put_link(out.data(), 8, NdOptionType::kSourceLinkAddress, source_link);
  seal_icmpv6(out.first(size), source, destination);
  return size;
}

RouterAdvertisement RouterAdvertisement::parse(const NdView& v) {
  const std::byte* p = v.message().data();
  RouterAdvertisement out;
  out.hop_limit = load_u8(p + 4);
  out.managed = (v.router_flags() & 0x80) != 0;
  out.other_config = (v.router_flags() & 0x40) != 0;
  out.lifetime_s = load_be16(p + 6);
  out.reachable_ms = load_be32(p + 8);
  out.retransmit_ms = load_be32(p + 12);
  out.source_link = v.link_address(NdOptionType::kSourceLinkAddress);
  NdOptionWalker walker(v.options());
  while (const auto option = walker.next()) {
    if (!out.mtu) out.mtu = option->mtu();
  }
  return out;
}

size_t RouterAdvertisement::emit(MutableBytes out, const IpAddr& source, const IpAddr& destination,
                                 std::span<const NdPrefix> prefixes) const {
  MR_ASSERT(out.size() >= max_size(prefixes.size()));
  std::byte* p = out.data();
  const uint32_t flags = (managed ? 0x80u : 0) | (other_config ? 0x40u : 0);
  put_header(p, Icmpv6Type::kRouterAdvertisement, uint32_t{hop_limit} << 24 | flags << 16 | lifetime_s);
  store_be32(p + 8, reachable_ms);
  store_be32(p + 12, retransmit_ms);
  size_t size = put_link(p, 16, NdOptionType::kSourceLinkAddress, source_link);
  if (mtu) {
    store_be32(p + size, uint32_t{static_cast<uint8_t>(NdOptionType::kMtu)} << 24 | 1u << 16);
    store_be32(p + size + 4, *mtu);
    size += 8;
  }
  for (const NdPrefix& prefix : prefixes) {
    put_prefix(p + size, prefix);
    size += 32;
  }
  seal_icmpv6(out.first(size), source, destination);
  return size;
}

size_t Redirect::emit(MutableBytes out, const IpAddr& source, const IpAddr& destination_of_message) const {
  MR_ASSERT(out.size() >= kMaxSize);
  std::byte* p = out.data();
  put_header(p, Icmpv6Type::kRedirect, 0);
  store_v6(p + 8, target);
  store_v6(p + 24, destination);
  const size_t size = put_link(p, 40, NdOptionType::kTargetLinkAddress, target_link);
  seal_icmpv6(out.first(size), source, destination_of_message);
  return size;
}

}  // namespace millrace::wire
