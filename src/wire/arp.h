// ARP for IPv4 over Ethernet (RFC 826). The checked view has these two and nothing else as hardware and protocol.
#pragma once

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/checked.h"
#include "wire/ethernet.h"

namespace millrace::wire {

inline constexpr size_t kArpSize = 28;

enum class ArpOperation : uint16_t { kRequest = 1, kReply = 2 };

class ArpView {
 public:
  /// `packet` starts behind the Ethernet header and may be padded. Any operation passes.
  static Checked<ArpView> check(Bytes packet) {
    if (packet.size() < kArpSize) return std::nullopt;
    const std::byte* p = packet.data();
    if (load_be16(p) != 1 || load_be16(p + 2) != static_cast<uint16_t>(EtherType::kIpv4)) return std::nullopt;
    if (load_u8(p + 4) != 6 || load_u8(p + 5) != 4) return std::nullopt;
    return ArpView(p);
  }

  [[nodiscard]] ArpOperation operation() const { return static_cast<ArpOperation>(load_be16(p_ + 6)); }
  [[nodiscard]] MacAddr sender_mac() const { return load_mac(p_ + 8); }
  [[nodiscard]] IpAddr sender() const { return load_v4(p_ + 14); }
  [[nodiscard]] MacAddr target_mac() const { return load_mac(p_ + 18); }
  [[nodiscard]] IpAddr target() const { return load_v4(p_ + 24); }

 private:
  friend class Checked<ArpView>;
  ArpView() = default;
  explicit ArpView(const std::byte* p) : p_(p) {}
  [[nodiscard]] bool is_null() const { return p_ == nullptr; }
  const std::byte* p_ = nullptr;
};

struct ArpMessage {
  ArpOperation operation = ArpOperation::kRequest;
  MacAddr sender_mac;
  IpAddr sender;
  MacAddr target_mac;  ///< zero in a request
  IpAddr target;

  static ArpMessage parse(const ArpView& v) {
    return {v.operation(), v.sender_mac(), v.sender(), v.target_mac(), v.target()};
  }
  /// Writes kArpSize bytes.
  void emit(MutableBytes out) const {
    MR_ASSERT(out.size() >= kArpSize);
    std::byte* p = out.data();
    store_be64(p, 0x0001'0800'0604'0000ULL | static_cast<uint16_t>(operation));
    store_mac(p + 8, sender_mac);
    store_v4(p + 14, sender);
    store_mac(p + 18, target_mac);
    store_v4(p + 24, target);
  }
  bool operator==(const ArpMessage&) const = default;
};

}  // namespace millrace::wire
