#include "wire/dhcp.h"

#include <algorithm>
#include <bit>

namespace millrace::wire {
namespace {

constexpr uint32_t kCookie = 0x63825363;
constexpr uint8_t kPad = 0;
constexpr uint8_t kEnd = 255;
constexpr size_t kServerNameAt = 44;
constexpr size_t kServerNameSize = 64;
constexpr size_t kFileAt = 108;
constexpr size_t kFileSize = 128;

// Calls use(code, content) for each option of a field.
template <class Use>
void walk(Bytes field, Use&& use) {
  while (!field.empty()) {
    const uint8_t code = load_u8(field.data());
    if (code == kEnd) return;
    if (code == kPad) {
      field = field.subspan(1);
      continue;
    }
    if (field.size() < 2 || field.size() - 2 < load_u8(&field[1])) return;
    const size_t length = load_u8(&field[1]);
    use(code, field.subspan(2, length));
    field = field.subspan(2 + length);
  }
}

uint32_t number(const DhcpView& view, DhcpOption code, size_t size) {
  DhcpView::Found found;
  view.find(code, found);
  if (found.size != size) return 0;
  uint32_t value = 0;
  for (const std::byte b : found.view()) value = value << 8 | static_cast<uint8_t>(b);
  return value;
}

// RFC 2132 3.3: leading ones only.
uint8_t mask_length(uint32_t mask) {
  const int ones = std::countl_one(mask);
  const bool valid = ones == 32 || (mask << ones) == 0;
  return valid ? static_cast<uint8_t>(ones) : uint8_t{0};
}

bool is_host(const IpAddr& a) {
  const uint32_t first = a.v4_value() >> 24;
  return first != 0 && first != 127 && first < 224;
}

void read_addresses(const DhcpView& view, DhcpOption code, ShortList<IpAddr, kDhcpMaxServers>& into) {
  DhcpView::Found found;
  view.find(code, found);
  if (found.size % 4 != 0) return;
  for (size_t at = 0; at < found.size; at += 4) {
    const IpAddr addr = load_v4(found.bytes.data() + at);
    if (is_host(addr)) into.add(addr);
  }
}

// RFC 3442: the width of each destination, its significant bytes, its router.
void read_routes(const DhcpView& view, DhcpReply& out) {
  DhcpView::Found found;
  view.find(DhcpOption::kClasslessRoutes, found);
  if (found.size == 0) return;
  ShortList<DhcpRoute, kDhcpMaxRoutes> routes;
  Bytes rest = found.view();
  while (!rest.empty()) {
    const uint8_t width = load_u8(rest.data());
    const size_t bytes = (size_t{width} + 7) / 8;
    if (width > 32 || rest.size() < 1 + bytes + 4) return;
    uint32_t destination = 0;
    for (size_t i = 0; i < 4; ++i) destination = destination << 8 | (i < bytes ? load_u8(&rest[1 + i]) : 0U);
    if (width < 32) destination &= width == 0 ? 0 : ~uint32_t{0} << (32 - width);
    const IpAddr gateway = load_v4(&rest[1 + bytes]);
    if (gateway.is_unspecified() || is_host(gateway)) routes.add({{IpAddr::v4(destination), width}, gateway});
    rest = rest.subspan(1 + bytes + 4);
  }
  out.has_routes = true;
  out.routes = routes;
}

class OptionWriter {
 public:
  explicit OptionWriter(MutableBytes out) : out_(out) {}
  void put(DhcpOption code, Bytes content) {
    MR_ASSERT(at_ + 3 + content.size() <= out_.size());
    store_u8(&out_[at_], static_cast<uint8_t>(code));
    store_u8(&out_[at_ + 1], static_cast<uint8_t>(content.size()));
    std::memcpy(&out_[at_ + 2], content.data(), content.size());
    at_ += 2 + content.size();
  }
  void address(DhcpOption code, const IpAddr& addr) {
    std::array<std::byte, 4> b;
    store_v4(b.data(), addr);
    put(code, b);
  }
  void end() { store_u8(&out_[at_], kEnd); }

 private:
  MutableBytes out_;
  size_t at_ = 0;
};

}  // namespace

Checked<DhcpView> DhcpView::check(Bytes message) {
  if (message.size() < kDhcpFixedSize) return std::nullopt;
  const std::byte* p = message.data();
  if (load_u8(p) != 2 || load_u8(p + 1) != 1 || load_u8(p + 2) != 6) return std::nullopt;
  if (load_be32(p + 236) != kCookie) return std::nullopt;
  return DhcpView(message);
}

uint8_t DhcpView::overload() const {
  uint8_t value = 0;
  walk(message_.subspan(kDhcpFixedSize), [&](uint8_t code, Bytes content) {
    if (code == static_cast<uint8_t>(DhcpOption::kOverload) && content.size() == 1) value = load_u8(content.data());
  });
  return value;
}

void DhcpView::find(DhcpOption wanted, Found& into) const {
  into.size = 0;
  into.present = false;
  const auto take = [&](uint8_t code, Bytes content) {
    if (code != static_cast<uint8_t>(wanted)) return;
    into.present = true;
    const size_t n = std::min(content.size(), into.bytes.size() - into.size);
    if (n != 0) std::memcpy(into.bytes.data() + into.size, content.data(), n);
    into.size += n;
  };
  walk(message_.subspan(kDhcpFixedSize), take);
  const uint8_t more = overload();
  if ((more & 1) != 0) walk(message_.subspan(kFileAt, kFileSize), take);
  if ((more & 2) != 0) walk(message_.subspan(kServerNameAt, kServerNameSize), take);
}

std::optional<DhcpReply> DhcpReply::parse(const DhcpView& view) {
  const uint32_t type = number(view, DhcpOption::kType, 1);
  if (type != static_cast<uint32_t>(DhcpType::kOffer) && type != static_cast<uint32_t>(DhcpType::kAck) &&
      type != static_cast<uint32_t>(DhcpType::kNak)) {
    return std::nullopt;
  }
  DhcpReply out;
  out.type = static_cast<DhcpType>(type);
  out.xid = view.xid();
  out.client_mac = view.client_mac();
  out.address = view.your_address();
  out.server = IpAddr::v4(number(view, DhcpOption::kServerId, 4));
  out.prefix_length = mask_length(number(view, DhcpOption::kSubnetMask, 4));
  out.lease_s = number(view, DhcpOption::kLeaseTime, 4);
  out.t1_s = number(view, DhcpOption::kT1, 4);
  out.t2_s = number(view, DhcpOption::kT2, 4);
  out.mtu = static_cast<uint16_t>(number(view, DhcpOption::kInterfaceMtu, 2));
  read_addresses(view, DhcpOption::kRouters, out.routers);
  read_addresses(view, DhcpOption::kDnsServers, out.resolvers);
  read_routes(view, out);
  return out;
}

void DhcpMessage::emit(MutableBytes out) const {
  MR_ASSERT(out.size() >= kMaxSize);
  std::byte* p = out.data();
  std::memset(p, 0, kMaxSize);
  store_be32(p, 0x0101'0600);
  store_be32(p + 4, xid);
  store_be16(p + 8, secs);
  store_be16(p + 10, broadcast ? 0x8000 : 0);
  store_v4(p + 12, client);
  store_mac(p + 28, mac);
  store_be32(p + 236, kCookie);
  OptionWriter options(out.subspan(kDhcpFixedSize, kMaxSize - kDhcpFixedSize));
  const auto kind = static_cast<std::byte>(type);
  options.put(DhcpOption::kType, {&kind, 1});
  std::array<std::byte, 7> id{std::byte{1}};  // RFC 2132 9.14: hardware type and address
  store_mac(id.data() + 1, mac);
  options.put(DhcpOption::kClientId, id);
  if (requested) options.address(DhcpOption::kRequestedAddress, *requested);
  if (server) options.address(DhcpOption::kServerId, *server);
  if (max_size != 0) {
    std::array<std::byte, 2> b;
    store_be16(b.data(), max_size);
    options.put(DhcpOption::kMaxSize, b);
  }
  if (type == DhcpType::kDiscover || type == DhcpType::kRequest) {
    // RFC 3442: classless routes are asked for before routers.
    constexpr std::array<DhcpOption, 6> wanted{DhcpOption::kSubnetMask,      DhcpOption::kClasslessRoutes,
                                               DhcpOption::kRouters,         DhcpOption::kDnsServers,
                                               DhcpOption::kInterfaceMtu,    DhcpOption::kLeaseTime};
    std::array<std::byte, wanted.size()> codes;
    std::ranges::transform(wanted, codes.begin(), [](DhcpOption o) { return static_cast<std::byte>(o); });
    options.put(DhcpOption::kParameters, codes);
  }
  options.end();
}

}  // namespace millrace::wire
