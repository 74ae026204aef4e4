// ICMPv6 (RFC 4443). Neighbour discovery messages, which ride on it, are in nd.h.
//
// A checked view has the eight bytes that all messages share. The checksum covers the pseudo-header: checksum_ok().
#pragma once

#include "base/assert.h"
#include "wire/bytes.h"
#include "wire/checked.h"
#include "wire/checksum.h"
#include "wire/ip_protocol.h"

namespace millrace::wire {

inline constexpr size_t kIcmpv6Size = 8;

enum class Icmpv6Type : uint8_t {
  kUnreachable = 1,
  kPacketTooBig = 2,
  kTimeExceeded = 3,
  kParameterProblem = 4,
  kEchoRequest = 128,
  kEchoReply = 129,
  kMldQuery = 130,
  kMldReport = 131,
  kMldDone = 132,
  kRouterSolicitation = 133,
  kRouterAdvertisement = 134,
  kNeighbourSolicitation = 135,
  kNeighbourAdvertisement = 136,
  kRedirect = 137,
  kMldv2Report = 143,
};

/// Codes of kUnreachable.
enum class Icmpv6Unreachable : uint8_t {
  kNoRoute = 0,
  kAdminProhibited = 1,
  kBeyondScope = 2,
  kAddress = 3,
  kPort = 4,
  kSourcePolicy = 5,
  kRejectRoute = 6,
};
/// Codes of kParameterProblem.
inline constexpr uint8_t kIcmpv6ErroneousField = 0;
inline constexpr uint8_t kIcmpv6UnrecognizedNextHeader = 1;
inline constexpr uint8_t kIcmpv6UnrecognizedOption = 2;
inline constexpr uint8_t kIcmpv6IncompleteHeaderChain = 3;  // RFC 7112 5
/// Codes of kTimeExceeded.
inline constexpr uint8_t kIcmpv6HopLimitExceeded = 0;
inline constexpr uint8_t kIcmpv6ReassemblyTimeout = 1;

class Icmpv6View {
 public:
  /// `message` is the whole upper-layer payload of the datagram.
  static Checked<Icmpv6View> check(Bytes message) {
    if (message.size() < kIcmpv6Size) return std::nullopt;
    return Icmpv6View(message);
  }

  [[nodiscard]] Icmpv6Type type() const { return static_cast<Icmpv6Type>(load_u8(p())); }
  [[nodiscard]] uint8_t code() const { return load_u8(p() + 1); }
  [[nodiscard]] uint16_t checksum() const { return load_be16(p() + 2); }
  [[nodiscard]] bool checksum_ok(const IpAddr& source, const IpAddr& destination) const {
    const auto length = static_cast<uint32_t>(message_.size());
    return is_valid(add_sums(pseudo_sum(source, destination, kProtocolIcmpv6, length), sum_bytes(message_)));
  }
  /// The second word, whatever it means.
  [[nodiscard]] uint32_t rest() const { return load_be32(p() + 4); }
  /// Echo request and reply.
  [[nodiscard]] uint16_t id() const { return load_be16(p() + 4); }
  [[nodiscard]] uint16_t sequence() const { return load_be16(p() + 6); }
  /// Packet too big.
  [[nodiscard]] uint32_t mtu() const { return rest(); }
  /// Parameter problem.
  [[nodiscard]] uint32_t pointer() const { return rest(); }
  /// Echo data, or the quoted datagram of an error (parse_quoted_v6).
  [[nodiscard]] Bytes payload() const { return message_.subspan(kIcmpv6Size); }
  [[nodiscard]] Bytes message() const { return message_; }

  /// RFC 4443 2.1: errors have the high bit of the type clear, known or not.
  [[nodiscard]] bool is_error() const { return load_u8(p()) < 128; }

 private:
  friend class Checked<Icmpv6View>;
  Icmpv6View() = default;
  explicit Icmpv6View(Bytes message) : message_(message) {}
  [[nodiscard]] bool is_null() const { return message_.data() == nullptr; }
  [[nodiscard]] const std::byte* p() const { return message_.data(); }
  Bytes message_;
};

/// Fills in the checksum of a message whose bytes are all in place.
inline void seal_icmpv6(MutableBytes message, const IpAddr& source, const IpAddr& destination) {
  MR_ASSERT(message.size() >= 4);
  store_be16(&message[2], 0);
  const auto length = static_cast<uint32_t>(message.size());
  const uint64_t pseudo = pseudo_sum(source, destination, kProtocolIcmpv6, length);
  store_be16(&message[2], finish(add_sums(pseudo, sum_bytes(message))));
}

struct Icmpv6Header {
  Icmpv6Type type{};
  uint8_t code = 0;
  uint32_t rest = 0;  ///< the second word

  static Icmpv6Header parse(const Icmpv6View& v) { return {v.type(), v.code(), v.rest()}; }
  static Icmpv6Header echo_request(uint16_t id, uint16_t sequence) {
    return {Icmpv6Type::kEchoRequest, 0, uint32_t{id} << 16 | sequence};
  }
  static Icmpv6Header echo_reply(uint16_t id, uint16_t sequence) {
    return {Icmpv6Type::kEchoReply, 0, uint32_t{id} << 16 | sequence};
  }
  static Icmpv6Header unreachable(Icmpv6Unreachable code) {
    return {Icmpv6Type::kUnreachable, static_cast<uint8_t>(code), 0};
  }
  static Icmpv6Header packet_too_big(uint32_t mtu) { return {Icmpv6Type::kPacketTooBig, 0, mtu}; }
  static Icmpv6Header time_exceeded(uint8_t code) { return {Icmpv6Type::kTimeExceeded, code, 0}; }
  static Icmpv6Header parameter_problem(uint8_t code, uint32_t pointer) {
    return {Icmpv6Type::kParameterProblem, code, pointer};
  }

  /// Writes the header into the first eight bytes of `message`, whose other bytes are in place, checksum included.
  void emit(MutableBytes message, const IpAddr& source, const IpAddr& destination) const {
    MR_ASSERT(message.size() >= kIcmpv6Size);
    const Bytes payload = Bytes(message).subspan(kIcmpv6Size);
    emit(message, source, destination, payload.size(), sum_bytes(payload));
  }
  /// The same where the rest of the message lies elsewhere, with its length and partial sum.
  void emit(MutableBytes header, const IpAddr& source, const IpAddr& destination, size_t payload_length,
            uint64_t payload_sum) const {
    MR_ASSERT(header.size() >= kIcmpv6Size);
    std::byte* p = header.data();
    store_u8(p, static_cast<uint8_t>(type));
    store_u8(p + 1, code);
    store_be16(p + 2, 0);
    store_be32(p + 4, rest);
    const auto length = static_cast<uint32_t>(kIcmpv6Size + payload_length);
    const uint64_t pseudo = pseudo_sum(source, destination, kProtocolIcmpv6, length);
    store_be16(p + 2, finish(add_sums(add_sums(pseudo, payload_sum), sum_bytes(p, kIcmpv6Size))));
  }
  bool operator==(const Icmpv6Header&) const = default;
};

}  // namespace millrace::wire
