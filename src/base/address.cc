// Text forms of addresses (RFC 4291 2.2, RFC 5952 for output). No libc calls: the core stays pure.
#include "millrace/address.h"

#include <charconv>
#include <vector>

namespace millrace {
namespace {

template <class Int>
std::optional<Int> number(std::string_view text, int base = 10) {
  Int value{};
  if (text.empty()) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::optional<uint32_t> parse_v4(std::string_view text) {
  const auto parts = split(text, '.');
  if (parts.size() != 4) return std::nullopt;
  uint32_t value = 0;
  for (std::string_view part : parts) {
    const auto byte = number<uint8_t>(part);
    if (!byte || part.size() > 3) return std::nullopt;
    value = value << 8 | *byte;
  }
  return value;
}

// Appends the groups of one side of "::" to `out`; false if malformed. Only the last group of an address may be dotted.
bool parse_groups(std::string_view text, bool dotted, std::vector<uint16_t>& out) {
  if (text.empty()) return true;
  const auto parts = split(text, ':');
  for (size_t i = 0; i < parts.size(); ++i) {
    if (dotted && i + 1 == parts.size() && parts[i].find('.') != std::string_view::npos) {
      const auto v4 = parse_v4(parts[i]);
      if (!v4) return false;
      out.push_back(static_cast<uint16_t>(*v4 >> 16));
      out.push_back(static_cast<uint16_t>(*v4));
      continue;
    }
    const auto group = number<uint16_t>(parts[i], 16);
    if (!group || parts[i].size() > 4) return false;
    out.push_back(*group);
  }
  return true;
}

std::optional<IpAddr> parse_v6(std::string_view text) {
  std::vector<uint16_t> head;
  std::vector<uint16_t> tail;
  const size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    if (!parse_groups(text, true, head) || head.size() != 8) return std::nullopt;
  } else {
    if (!parse_groups(text.substr(0, gap), false, head)) return std::nullopt;
    if (!parse_groups(text.substr(gap + 2), true, tail)) return std::nullopt;
    if (head.size() + tail.size() > 7) return std::nullopt;
  }
  std::array<uint8_t, 16> bytes{};
  for (size_t i = 0; i < head.size(); ++i) {
    bytes[2 * i] = static_cast<uint8_t>(head[i] >> 8);
    bytes[2 * i + 1] = static_cast<uint8_t>(head[i]);
  }
  for (size_t i = 0; i < tail.size(); ++i) {
    const size_t at = 2 * (8 - tail.size() + i);
    bytes[at] = static_cast<uint8_t>(tail[i] >> 8);
    bytes[at + 1] = static_cast<uint8_t>(tail[i]);
  }
  return IpAddr(bytes);
}

void append_hex(std::string& out, unsigned value) {
  char buffer[8];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value, 16);
  out.append(buffer, result.ptr);
}

}  // namespace

std::optional<IpAddr> IpAddr::parse(std::string_view text) {
  if (text.find(':') != std::string_view::npos) return parse_v6(text);
  const auto v4_bits = parse_v4(text);
  if (!v4_bits) return std::nullopt;
  return v4(*v4_bits);
}

std::string IpAddr::to_string() const {
  if (is_v4()) {
    return std::to_string(bytes_[12]) + "." + std::to_string(bytes_[13]) + "." + std::to_string(bytes_[14]) + "." +
           std::to_string(bytes_[15]);
  }
  uint16_t group[8];
  for (int i = 0; i < 8; ++i) group[i] = static_cast<uint16_t>(bytes_[2 * i] << 8 | bytes_[2 * i + 1]);
  int best = -1;
  int best_length = 1;  // a single zero group is not shortened (RFC 5952 4.2.2)
  for (int i = 0; i < 8;) {
    int j = i;
    while (j < 8 && group[j] == 0) ++j;
    if (j - i > best_length) {
      best = i;
      best_length = j - i;
    }
    i = j == i ? i + 1 : j;
  }
  std::string out;
  for (int i = 0; i < 8;) {
    if (i == best) {
      out += "::";
      i += best_length;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    append_hex(out, group[i++]);
  }
  return out;
}

std::optional<Prefix> Prefix::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto addr = IpAddr::parse(text.substr(0, slash));
  if (!addr) return std::nullopt;
  const uint8_t full = addr->is_v4() ? 32 : 128;
  if (slash == std::string_view::npos) return Prefix{*addr, full};
  const auto length = number<uint8_t>(text.substr(slash + 1));
  if (!length || *length > full) return std::nullopt;
  return Prefix{*addr, *length};
}

std::string Prefix::to_string() const { return addr.to_string() + "/" + std::to_string(length); }

bool Prefix::contains(const IpAddr& other) const {
  if (addr.is_v4() != other.is_v4()) return false;
  const unsigned bits = length + (addr.is_v4() ? 96u : 0u);
  const unsigned whole = bits / 8;
  if (std::memcmp(addr.bytes().data(), other.bytes().data(), whole) != 0) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - bits % 8));
  return ((addr.bytes()[whole] ^ other.bytes()[whole]) & mask) == 0;
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const auto port_number = number<uint16_t>(text.substr(colon + 1));
  if (!port_number) return std::nullopt;
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = IpAddr::parse(host);
  if (!address || address->is_v6() != bracketed) return std::nullopt;
  return Endpoint{*address, *port_number};
}

std::string Endpoint::to_string() const {
  if (addr.is_v4()) return addr.to_string() + ":" + std::to_string(port);
  return "[" + addr.to_string() + "]:" + std::to_string(port);
}

std::optional<MacAddr> MacAddr::parse(std::string_view text) {
  const auto parts = split(text, ':');
  if (parts.size() != 6) return std::nullopt;
  MacAddr mac;
  for (size_t i = 0; i < 6; ++i) {
    const auto byte = number<uint8_t>(parts[i], 16);
    if (!byte || parts[i].size() > 2) return std::nullopt;
    mac.bytes[i] = *byte;
  }
  return mac;
}

std::string MacAddr::to_string() const {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (uint8_t b : bytes) {
    if (!out.empty()) out += ':';
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

}  // namespace millrace
