// UDP header (RFC 768, RFC 8200 8.1).
#pragma once

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/checked.h"
#include "wire/checksum.h"
#include "wire/ip_protocol.h"

namespace millrace::wire {

inline constexpr size_t kUdpSize = 8;

class UdpView {
 public:
  /// `datagram` is the payload of one whole IP datagram; bytes behind the UDP length are not part of the view.
  static Checked<UdpView> check(Bytes datagram) {
    if (datagram.size() < kUdpSize) return std::nullopt;
    const UdpView view(datagram.data());
    if (view.length() < kUdpSize || view.length() > datagram.size()) return std::nullopt;
    return view;
  }

  [[nodiscard]] uint16_t source_port() const { return load_be16(p_); }
  [[nodiscard]] uint16_t destination_port() const { return load_be16(p_ + 2); }
  /// Header and payload.
  [[nodiscard]] uint16_t length() const { return load_be16(p_ + 4); }
  [[nodiscard]] uint16_t checksum() const { return load_be16(p_ + 6); }
  [[nodiscard]] Bytes payload() const { return {p_ + kUdpSize, length() - kUdpSize}; }

  /// RFC 768: zero means none, over IPv4; RFC 8200 8.1: over IPv6 there must be one.
  [[nodiscard]] bool checksum_ok(const IpAddr& source, const IpAddr& destination) const {
    if (checksum() == 0) return source.is_v4();
    return is_valid(add_sums(pseudo_sum(source, destination, kProtocolUdp, length()), sum_bytes(p_, length())));
  }

 private:
  friend class Checked<UdpView>;
  UdpView() = default;
  explicit UdpView(const std::byte* p) : p_(p) {}
  [[nodiscard]] bool is_null() const { return p_ == nullptr; }
  const std::byte* p_ = nullptr;
};

struct UdpHeader {
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint16_t length = kUdpSize;  ///< header and payload
  uint16_t checksum = 0;

  static UdpHeader parse(const UdpView& v) { return {v.source_port(), v.destination_port(), v.length(), v.checksum()}; }
  /// Writes kUdpSize bytes.
  void emit(MutableBytes out) const {
    MR_ASSERT(out.size() >= kUdpSize);
    store_be16(out.data(), source_port);
    store_be16(out.data() + 2, destination_port);
    store_be16(out.data() + 4, length);
    store_be16(out.data() + 6, checksum);
  }
  bool operator==(const UdpHeader&) const = default;
};

}  // namespace millrace::wire
