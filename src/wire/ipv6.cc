// The walk over IPv6 extension headers (RFC 8200 4), bounded in headers and options (RFC 8504 5.3).
#include "wire/ipv6.h"

namespace millrace::wire {
namespace {

using Status = Ipv6Upper::Status;

constexpr uint8_t kOptionPad1 = 0;
constexpr uint8_t kOptionPadN = 1;
constexpr uint8_t kOptionRouterAlert = 5;

// ICMPv6 parameter problem codes (RFC 4443 3.4).
constexpr uint8_t kErroneousField = 0;
constexpr uint8_t kUnrecognizedNextHeader = 1;
constexpr uint8_t kUnrecognizedOption = 2;

struct Walk {
  Bytes bytes;
  bool multicast;
  Ipv6Upper out;
};

bool stop(Walk& w, Status status) {
  w.out.status = status;
  return false;
}

bool parameter_problem(Walk& w, uint8_t code, size_t pointer, bool reply) {
  w.out.code = code;
  w.out.pointer = static_cast<uint32_t>(pointer);
  w.out.reply = reply;
  return stop(w, Status::kParameterProblem);
}

// RFC 8200 4.2: the two highest bits of an unknown option's type say what to do.
bool unknown_option(Walk& w, uint8_t type, size_t at) {
  switch (type >> 6) {
    case 0: return true;
    case 1: return stop(w, Status::kDiscard);
    // Replies to multicast are allowed here alone (RFC 4443 2.4 e.3).
    case 2: return parameter_problem(w, kUnrecognizedOption, at, true);
    default: return parameter_problem(w, kUnrecognizedOption, at, !w.multicast);
  }
}

// Options in [at, end), which lies within the datagram. True if the walk goes on.
bool walk_options(Walk& w, size_t at, size_t end, bool hop_by_hop) {
  unsigned options = 0;
  while (at < end) {
    const uint8_t type = load_u8(&w.bytes[at]);
    if (type == kOptionPad1) {
      ++at;
      continue;
    }
    if (end - at < 2) return parameter_problem(w, kErroneousField, at, !w.multicast);
    const size_t length = size_t{2} + load_u8(&w.bytes[at + 1]);
    if (length > end - at) return parameter_problem(w, kErroneousField, at + 1, !w.multicast);
    if (type != kOptionPadN) {
      if (++options > kIpv6MaxOptions) return stop(w, Status::kDiscard);
      if (hop_by_hop && type == kOptionRouterAlert && length == 4) {
        w.out.router_alert = true;
      } else if (!unknown_option(w, type, at)) {
        return false;
      }
    }
    at += length;
  }
  return true;
}

// RFC 8200 4.4: a routing header that still has segments to visit is not for an end node that knows no type; type 0 is
// treated as unknown (RFC 5095 3).
bool check_routing(Walk& w, size_t at) {
  const uint8_t segments_left = load_u8(&w.bytes[at + 3]);
  if (segments_left == 0) return true;
  return parameter_problem(w, kErroneousField, at + 2, !w.multicast);
}

// One header at w.out.offset; true if the walk goes on behind it.
bool step(Walk& w, uint8_t protocol) {
  Ipv6Upper& out = w.out;
  const size_t at = out.offset;
  if (w.bytes.size() - at < 8) return stop(w, Status::kTruncated);
  const uint8_t next = load_u8(&w.bytes[at]);
  size_t length = 8;
  if (protocol == kProtocolFragment) {
    const uint16_t word = load_be16(&w.bytes[at + 2]);
    const Ipv6Fragment fragment{next, static_cast<uint16_t>(word & 0xfff8), (word & 1) != 0,
                                load_be32(&w.bytes[at + 4])};
    out.offset = static_cast<uint16_t>(at + kIpv6FragmentSize);
    if (fragment.offset != 0 || fragment.more) {
      out.fragment = fragment;
      out.fragment_at = static_cast<uint16_t>(at);
      return stop(w, Status::kFragment);
    }
    out.after_fragment = true;  // RFC 6946 4: an atomic fragment is a whole datagram
  } else {
    length = (size_t{load_u8(&w.bytes[at + 1])} + 1) * 8;
    if (length > w.bytes.size() - at) return stop(w, Status::kTruncated);
    if (protocol == kProtocolRouting) {
      if (!check_routing(w, at)) return false;
    } else if (!walk_options(w, at + 2, at + length, protocol == kProtocolHopByHop)) {
      return false;
    }
  }
  out.protocol = next;
  out.offset = static_cast<uint16_t>(at + length);
  out.next_header_at = static_cast<uint16_t>(at);
  return true;
}

// From w.out.offset, where a header of w.out.protocol stands; `headers` were passed before.
void walk(Walk& w, unsigned headers) {
  for (; detail::is_extension_header(w.out.protocol); ++headers) {
    if (headers == kIpv6MaxExtensionHeaders) {
      stop(w, Status::kDiscard);
      return;
    }
    // RFC 8200 4: hop-by-hop options stand directly behind the fixed header or nowhere.
    if (w.out.protocol == kProtocolHopByHop && headers != 0) {
      parameter_problem(w, kUnrecognizedNextHeader, w.out.next_header_at, !w.multicast);
      return;
    }
    if (!step(w, w.out.protocol)) return;
  }
  stop(w, Status::kUpper);
}

// Offsets are 16 bits wide; what lies beyond cannot be an extension header that we would accept.
Bytes clipped(Bytes datagram) { return datagram.size() > 0xffff ? datagram.first(0xffff) : datagram; }

}  // namespace

Ipv6Upper detail::walk_extension_headers(Bytes datagram, bool multicast) {
  Walk w{clipped(datagram), multicast, {}};
  w.out.protocol = load_u8(&datagram[6]);
  w.out.offset = kIpv6Size;
  w.out.next_header_at = 6;
  walk(w, 0);
  return w.out;
}

Ipv6Upper detail::walk_behind_fragment(Bytes datagram, const Ipv6Upper& fragment) {
  Walk w{clipped(datagram), true, {}};
  w.out.protocol = fragment.fragment.next_header;
  w.out.offset = fragment.offset;
  w.out.next_header_at = fragment.fragment_at;
  walk(w, 1);
  return w.out;
}

}  // namespace millrace::wire
