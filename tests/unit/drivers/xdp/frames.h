// Frames for the tests of the AF_XDP driver, as bytes.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "millrace/address.h"
#include "wire/bytes.h"
#include "wire/checksum.h"

namespace millrace::drivers::xdp {

using Frame = std::vector<uint8_t>;

inline constexpr MacAddr kOwnMac{{2, 0, 0, 0, 0, 1}};
inline constexpr MacAddr kOtherMac{{2, 0, 0, 0, 0, 2}};
inline constexpr uint8_t kTcp = 6, kUdp = 17, kIcmp = 1, kIcmp6 = 58;

inline void put16(Frame& f, uint32_t value) {
  f.push_back(static_cast<uint8_t>(value >> 8));
  f.push_back(static_cast<uint8_t>(value));
}
inline void put(Frame& f, const Frame& more) { f.insert(f.end(), more.begin(), more.end()); }
inline void put(Frame& f, const IpAddr& address) {
  f.insert(f.end(), address.bytes().begin() + (address.is_v4() ? 12 : 0), address.bytes().end());
}
inline IpAddr addr(const char* text) { return *IpAddr::parse(text); }

inline Frame ethernet(uint16_t type, const Frame& payload, const MacAddr& to = kOwnMac) {
  Frame f(to.bytes.begin(), to.bytes.end());
  f.insert(f.end(), kOtherMac.bytes.begin(), kOtherMac.bytes.end());
  put16(f, type);
  put(f, payload);
  return f;
}

/// An IPv4 packet; `options` is a multiple of four bytes, `fragment` the word of flags and offset.
inline Frame ip4(const char* from, const char* to, uint8_t protocol, const Frame& payload, uint16_t fragment = 0,
                 const Frame& options = {}) {
  Frame f{static_cast<uint8_t>(0x45 + options.size() / 4), 0};
  put16(f, static_cast<uint32_t>(20 + options.size() + payload.size()));
  put16(f, 7);
  put16(f, fragment);
  f.push_back(64);
  f.push_back(protocol);
  put16(f, 0);
  put(f, addr(from));
  put(f, addr(to));
  put(f, options);
  put(f, payload);
  return f;
}

inline Frame ip6(const char* from, const char* to, uint8_t next, const Frame& payload) {
  Frame f{0x60, 0, 0, 0};
  put16(f, static_cast<uint32_t>(payload.size()));
  f.push_back(next);
  f.push_back(255);
  put(f, addr(from));
  put(f, addr(to));
  put(f, payload);
  return f;
}

/// The start of a TCP or UDP header, then zeros up to `size` bytes.
inline Frame ports(uint16_t from, uint16_t to, size_t size = 20) {
  Frame f;
  put16(f, from);
  put16(f, to);
  f.resize(size);
  return f;
}

inline Frame arp(uint16_t operation, const char* sender, const char* target) {
  Frame f{0, 1, 8, 0, 6, 4};
  put16(f, operation);
  f.insert(f.end(), kOtherMac.bytes.begin(), kOtherMac.bytes.end());
  put(f, addr(sender));
  f.insert(f.end(), 6, 0);
  put(f, addr(target));
  return ethernet(0x0806, f, kBroadcastMac);
}

}  // namespace millrace::drivers::xdp
