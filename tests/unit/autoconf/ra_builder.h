// Router advertisements written down field by field. Checksums are left out: the parsers here do not look at them.
#pragma once

#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "wire/nd.h"

namespace millrace::autoconf {

class Ra {
 public:
  explicit Ra(uint16_t router_lifetime_s = 1'800, uint8_t flags = 0, uint8_t hop_limit = 0, uint32_t reachable_ms = 0,
              uint32_t retransmit_ms = 0)
      : bytes_(16) {
    wire::store_u8(&bytes_[0], 134);
    wire::store_u8(&bytes_[4], hop_limit);
    wire::store_u8(&bytes_[5], flags);
    wire::store_be16(&bytes_[6], router_lifetime_s);
    wire::store_be32(&bytes_[8], reachable_ms);
    wire::store_be32(&bytes_[12], retransmit_ms);
  }
  /// 'L' and 'A' in `flags` set the bits of that name.
  Ra& prefix(const char* text, const char* flags, uint32_t valid_s, uint32_t preferred_s) {
    const Prefix p = *Prefix::parse(text);
    std::byte* o = option(3, 32);
    wire::store_u8(o + 2, p.length);
    wire::store_u8(o + 3, static_cast<uint8_t>((std::strchr(flags, 'L') != nullptr ? 0x80 : 0) |
                                               (std::strchr(flags, 'A') != nullptr ? 0x40 : 0)));
    wire::store_be32(o + 4, valid_s);
    wire::store_be32(o + 8, preferred_s);
    wire::store_v6(o + 16, p.addr);
    return *this;
  }
  Ra& mtu(uint32_t value) {
    wire::store_be32(option(5, 8) + 4, value);
    return *this;
  }
  /// `preference` as on the wire: 0 medium, 1 high, 3 low, 2 reserved.
  Ra& route(const char* text, uint8_t preference, uint32_t lifetime_s) {
    const Prefix p = *Prefix::parse(text);
    std::byte* o = option(24, 24);
    wire::store_u8(o + 2, p.length);
    wire::store_u8(o + 3, static_cast<uint8_t>(preference << 3));
    wire::store_be32(o + 4, lifetime_s);
    wire::store_v6(o + 8, p.addr);
    return *this;
  }
  Ra& resolvers(std::initializer_list<const char*> servers, uint32_t lifetime_s) {
    std::byte* o = option(25, 8 + 16 * servers.size());
    wire::store_be32(o + 4, lifetime_s);
    size_t at = 8;
    for (const char* server : servers) {
      wire::store_v6(o + at, *IpAddr::parse(server));
      at += 16;
    }
    return *this;
  }
  /// Names in wire form: "\3foo\7example" for foo.example.
  Ra& names(std::initializer_list<std::string> names, uint32_t lifetime_s) {
    std::string all;
    for (const std::string& name : names) all += name + '\0';
    all.resize((all.size() + 7) / 8 * 8);
    std::byte* o = option(31, 8 + all.size());
    wire::store_be32(o + 4, lifetime_s);
    std::memcpy(o + 8, all.data(), all.size());
    return *this;
  }
  [[nodiscard]] wire::NdView view() const { return *wire::NdView::check(bytes_); }
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::byte* option(uint8_t type, size_t size) {
    const size_t at = bytes_.size();
    bytes_.resize(at + size);
    wire::store_u8(&bytes_[at], type);
    wire::store_u8(&bytes_[at + 1], static_cast<uint8_t>(size / 8));
    return &bytes_[at];
  }
  std::vector<std::byte> bytes_;
};

}  // namespace millrace::autoconf
