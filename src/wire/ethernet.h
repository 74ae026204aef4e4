// Ethernet II header and VLAN tags (IEEE 802.3 3.2, IEEE 802.1Q 9.6).
#pragma once

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/checked.h"

namespace millrace::wire {

enum class EtherType : uint16_t {
  kIpv4 = 0x0800,
  kArp = 0x0806,
  kVlan = 0x8100,  ///< 802.1Q customer tag
  kIpv6 = 0x86dd,
  kServiceVlan = 0x88a8,  ///< 802.1ad service tag
};
/// Smaller values of the type field are the length of an 802.3 frame.
inline constexpr uint16_t kMinEtherType = 0x0600;

constexpr bool is_vlan(EtherType type) { return type == EtherType::kVlan || type == EtherType::kServiceVlan; }

inline constexpr size_t kEthernetSize = 14;
inline constexpr size_t kVlanTagSize = 4;

class EthernetView {
 public:
  static Checked<EthernetView> check(Bytes frame) {
    if (frame.size() < kEthernetSize) return std::nullopt;
    return EthernetView(frame);
  }

  [[nodiscard]] MacAddr destination() const { return load_mac(frame_.data()); }
  [[nodiscard]] MacAddr source() const { return load_mac(frame_.data() + 6); }
  [[nodiscard]] EtherType type() const { return static_cast<EtherType>(load_be16(frame_.data() + 12)); }
  [[nodiscard]] Bytes payload() const { return frame_.subspan(kEthernetSize); }

 private:
  friend class Checked<EthernetView>;
  EthernetView() = default;
  explicit EthernetView(Bytes frame) : frame_(frame) {}
  [[nodiscard]] bool is_null() const { return frame_.data() == nullptr; }
  Bytes frame_;
};

struct EthernetHeader {
  MacAddr destination;
  MacAddr source;
  EtherType type{};

  static EthernetHeader parse(const EthernetView& view) { return {view.destination(), view.source(), view.type()}; }
  /// Writes kEthernetSize bytes.
  void emit(MutableBytes out) const {
    MR_ASSERT(out.size() >= kEthernetSize);
    store_mac(out.data(), destination);
    store_mac(out.data() + 6, source);
    store_be16(out.data() + 12, static_cast<uint16_t>(type));
  }
  bool operator==(const EthernetHeader&) const = default;
};

/// The four bytes that stand between the source address and the real type: given the bytes *after* a VLAN ethertype,
/// the tag control information and the next ethertype.
class VlanView {
 public:
  static Checked<VlanView> check(Bytes after_type) {
    if (after_type.size() < kVlanTagSize) return std::nullopt;
    return VlanView(after_type);
  }

  [[nodiscard]] uint8_t priority() const { return static_cast<uint8_t>(tci() >> 13); }
  [[nodiscard]] bool drop_eligible() const { return (tci() & 0x1000) != 0; }
  [[nodiscard]] uint16_t vlan_id() const { return tci() & 0x0fff; }
  [[nodiscard]] EtherType type() const { return static_cast<EtherType>(load_be16(bytes_.data() + 2)); }
  [[nodiscard]] Bytes payload() const { return bytes_.subspan(kVlanTagSize); }

 private:
  friend class Checked<VlanView>;
  VlanView() = default;
  explicit VlanView(Bytes bytes) : bytes_(bytes) {}
  [[nodiscard]] bool is_null() const { return bytes_.data() == nullptr; }
  [[nodiscard]] uint16_t tci() const { return load_be16(bytes_.data()); }
  Bytes bytes_;
};

struct VlanTag {
  uint8_t priority = 0;  ///< 0..7
  bool drop_eligible = false;
  uint16_t vlan_id = 0;  ///< 0..4095
  EtherType type{};      ///< of what follows the tag

  static VlanTag parse(const VlanView& view) {
    return {view.priority(), view.drop_eligible(), view.vlan_id(), view.type()};
  }
  /// Writes kVlanTagSize bytes.
  void emit(MutableBytes out) const {
    MR_ASSERT(out.size() >= kVlanTagSize && priority < 8 && vlan_id < 4096);
    store_be16(out.data(), static_cast<uint16_t>(priority << 13 | (drop_eligible ? 0x1000 : 0) | vlan_id));
    store_be16(out.data() + 2, static_cast<uint16_t>(type));
  }
  bool operator==(const VlanTag&) const = default;
};

}  // namespace millrace::wire
