// ICMP (RFC 792, RFC 1191 for the next-hop MTU, RFC 1812 4.3.3 for codes).
//
// A checked view has the eight bytes that all messages share. The checksum covers the whole message: checksum_ok().
#pragma once

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/checked.h"
#include "wire/checksum.h"

namespace millrace::wire {

inline constexpr size_t kIcmpv4Size = 8;

enum class Icmpv4Type : uint8_t {
  kEchoReply = 0,
  kUnreachable = 3,
  kSourceQuench = 4,  // RFC 6633: ignored
  kRedirect = 5,
  kEchoRequest = 8,
  kTimeExceeded = 11,
  kParameterProblem = 12,
};

/// Codes of kUnreachable.
enum class Icmpv4Unreachable : uint8_t {
  kNet = 0,
  kHost = 1,
  kProtocol = 2,
  kPort = 3,
  kFragmentationNeeded = 4,
  kSourceRouteFailed = 5,
  kNetUnknown = 6,
  kHostUnknown = 7,
  kNetProhibited = 9,
  kHostProhibited = 10,
  kNetTos = 11,
  kHostTos = 12,
  kAdminProhibited = 13,
};
/// Codes of kTimeExceeded.
inline constexpr uint8_t kIcmpv4TtlExceeded = 0;
inline constexpr uint8_t kIcmpv4ReassemblyTimeout = 1;

class Icmpv4View {
 public:
  /// `message` is the whole payload of the IP datagram.
  static Checked<Icmpv4View> check(Bytes message) {
    if (message.size() < kIcmpv4Size) return std::nullopt;
    return Icmpv4View(message);
  }

  [[nodiscard]] Icmpv4Type type() const { return static_cast<Icmpv4Type>(load_u8(p())); }
  [[nodiscard]] uint8_t code() const { return load_u8(p() + 1); }
  [[nodiscard]] uint16_t checksum() const { return load_be16(p() + 2); }
  [[nodiscard]] bool checksum_ok() const { return is_valid(sum_bytes(message_)); }
  /// The second word, whatever it means.
  [[nodiscard]] uint32_t rest() const { return load_be32(p() + 4); }
  /// Echo request and reply.
  [[nodiscard]] uint16_t id() const { return load_be16(p() + 4); }
  [[nodiscard]] uint16_t sequence() const { return load_be16(p() + 6); }
  /// Fragmentation needed; 0 from routers older than RFC 1191.
  [[nodiscard]] uint16_t next_hop_mtu() const { return load_be16(p() + 6); }
  /// Parameter problem.
  [[nodiscard]] uint8_t pointer() const { return load_u8(p() + 4); }
  /// Redirect.
  [[nodiscard]] IpAddr gateway() const { return load_v4(p() + 4); }
  /// Echo data, or the quoted datagram of an error (parse_quoted_v4).
  [[nodiscard]] Bytes payload() const { return message_.subspan(kIcmpv4Size); }

  /// Errors quote a datagram and are never answered by an error (RFC 1122 3.2.2).
  [[nodiscard]] bool is_error() const {
    switch (type()) {
      case Icmpv4Type::kUnreachable:
      case Icmpv4Type::kSourceQuench:
      case Icmpv4Type::kRedirect:
      case Icmpv4Type::kTimeExceeded:
      case Icmpv4Type::kParameterProblem: return true;
      default: return false;
    }
  }

 private:
  friend class Checked<Icmpv4View>;
  Icmpv4View() = default;
  explicit Icmpv4View(Bytes message) : message_(message) {}
  [[nodiscard]] bool is_null() const { return message_.data() == nullptr; }
  [[nodiscard]] const std::byte* p() const { return message_.data(); }
  Bytes message_;
};

struct Icmpv4Header {
  Icmpv4Type type{};
  uint8_t code = 0;
  uint32_t rest = 0;  ///< the second word

  static Icmpv4Header parse(const Icmpv4View& v) { return {v.type(), v.code(), v.rest()}; }
  static Icmpv4Header echo_request(uint16_t id, uint16_t sequence) {
    return {Icmpv4Type::kEchoRequest, 0, uint32_t{id} << 16 | sequence};
  }
  static Icmpv4Header echo_reply(uint16_t id, uint16_t sequence) {
    return {Icmpv4Type::kEchoReply, 0, uint32_t{id} << 16 | sequence};
  }
  static Icmpv4Header unreachable(Icmpv4Unreachable code) {
    return {Icmpv4Type::kUnreachable, static_cast<uint8_t>(code), 0};
  }
  static Icmpv4Header fragmentation_needed(uint16_t next_hop_mtu) {
    return {Icmpv4Type::kUnreachable, static_cast<uint8_t>(Icmpv4Unreachable::kFragmentationNeeded), next_hop_mtu};
  }
  static Icmpv4Header time_exceeded(uint8_t code) { return {Icmpv4Type::kTimeExceeded, code, 0}; }
  static Icmpv4Header parameter_problem(uint8_t code, uint8_t pointer) {
    return {Icmpv4Type::kParameterProblem, code, uint32_t{pointer} << 24};
  }

  /// Writes the header into the first eight bytes of `message`, whose other bytes are in place, checksum included.
  void emit(MutableBytes message) const {
    MR_ASSERT(message.size() >= kIcmpv4Size);
    emit(message, sum_bytes(Bytes(message).subspan(kIcmpv4Size)));
  }
  /// The same where the rest of the message lies elsewhere: `payload_sum` is its partial sum.
  void emit(MutableBytes header, uint64_t payload_sum) const {
    MR_ASSERT(header.size() >= kIcmpv4Size);
    std::byte* p = header.data();
    store_u8(p, static_cast<uint8_t>(type));
    store_u8(p + 1, code);
    store_be16(p + 2, 0);
    store_be32(p + 4, rest);
    store_be16(p + 2, finish(add_sums(payload_sum, sum_bytes(p, kIcmpv4Size))));
  }
  bool operator==(const Icmpv4Header&) const = default;
};

}  // namespace millrace::wire
