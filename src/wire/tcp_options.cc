// TCP options off the fast path: SYN segments, SACK blocks, anything unusual (RFC 9293 3.2, MUST-4 to MUST-7, MUST-64).
#include "wire/tcp_options.h"

#include <algorithm>

namespace millrace::wire {
namespace {

using Kind = TcpOptionKind;

// Bytes of the option in front of the cookie.
size_t fast_open_head(const TcpOptions& o) { return o.fast_open_experimental ? 4 : 2; }

// The body of one option whose length fits the segment. False if the length is wrong for its kind.
bool parse_sack(Bytes body, TcpOptions& out) {
  if (body.empty() || body.size() % 8 != 0 || body.size() > 8 * kMaxSackBlocks) return false;
  out.sack_count = static_cast<uint8_t>(body.size() / 8);
  for (size_t i = 0; i < out.sack_count; ++i) {
    out.sack[i] = {base::Seq32(load_be32(&body[8 * i])), base::Seq32(load_be32(&body[8 * i + 4]))};
  }
  return true;
}

// RFC 7413 4.1.1: a cookie has 4 to 16 bytes, an even number; none asks for one.
bool parse_fast_open(Bytes body, TcpOptions& out) {
  if (!body.empty() && (body.size() < 4 || body.size() > 16 || body.size() % 2 != 0)) return false;
  out.has_fast_open = true;
  out.fast_open_experimental = false;
  out.fast_open_length = static_cast<uint8_t>(body.size());
  out.fast_open_cookie = {};
  if (!body.empty()) std::memcpy(out.fast_open_cookie.data(), body.data(), body.size());
  return true;
}

bool parse_experiment(Bytes body, TcpOptions& out) {
  if (body.size() < 2 || load_be16(body.data()) != kFastOpenExperiment) {
    ++out.unknown;
    return true;
  }
  if (!parse_fast_open(body.subspan(2), out)) return false;
  out.fast_open_experimental = true;
  return true;
}

bool parse_one(Kind kind, Bytes body, TcpOptions& out) {
  switch (kind) {
    case Kind::kMss:
      if (body.size() != 2) return false;
      out.has_mss = true;
      out.mss = load_be16(body.data());
      return true;
    case Kind::kWindowScale:
      if (body.size() != 1) return false;
      out.has_wscale = true;
      out.wscale = load_u8(body.data());
      if (out.wscale > kMaxWindowScale) out.wscale = kMaxWindowScale;  // RFC 7323 2.3
      return true;
    case Kind::kSackPermitted:
      if (!body.empty()) return false;
      out.sack_permitted = true;
      return true;
    case Kind::kSack: return parse_sack(body, out);
    case Kind::kTimestamps:
      if (body.size() != 8) return false;
      out.has_timestamps = true;
      out.ts_val = load_be32(body.data());
      out.ts_ecr = load_be32(body.data() + 4);
      return true;
    case Kind::kFastOpen: return parse_fast_open(body, out);
    case Kind::kExperiment: return parse_experiment(body, out);
    default:
      ++out.unknown;  // RFC 9293 3.1 MUST-6: ignored
      return true;
  }
}

}  // namespace

void TcpOptions::parse_slow(Bytes options, TcpOptions& out) {
  for (size_t at = 0; at < options.size();) {
    const auto kind = static_cast<Kind>(load_u8(&options[at]));
    if (kind == Kind::kEnd) return;
    if (kind == Kind::kNop) {
      ++at;
      continue;
    }
    const size_t left = options.size() - at;
    const size_t length = left >= 2 ? load_u8(&options[at + 1]) : 0;
    // RFC 9293 3.1 MUST-7: an illegal length does no harm.
    if (length < 2 || length > left || !parse_one(kind, options.subspan(at + 2, length - 2), out)) {
      out.malformed = true;
      return;
    }
    at += length;
  }
}

size_t TcpOptions::syn_size() const {
  size_t size = has_mss ? 4 : 0;
  if (has_timestamps) {
    size += kTcpTimestampsSize;
  } else if (sack_permitted) {
    size += 4;
  }
  if (has_wscale) size += 4;
  if (has_fast_open) size += (fast_open_head(*this) + fast_open_length + 3) & ~size_t{3};
  return size;
}

size_t TcpOptions::emit_syn(MutableBytes out) const {
  const size_t size = syn_size();
  MR_ASSERT(size <= kTcpMaxOptions && size <= out.size());
  std::byte* p = out.data();
  if (has_mss) {
    store_be32(p, 0x02040000u | mss);
    p += 4;
  }
  // SACK permitted takes the place of the two NOPs in front of the timestamps.
  if (has_timestamps) {
    emit_timestamps(p, ts_val, ts_ecr);
    if (sack_permitted) store_be16(p, 0x0402);
    p += kTcpTimestampsSize;
  } else if (sack_permitted) {
    store_be32(p, 0x01010402u);
    p += 4;
  }
  if (has_wscale) {
    store_be32(p, 0x01030300u | wscale);
    p += 4;
  }
  if (has_fast_open) {
    MR_ASSERT(fast_open_length <= fast_open_cookie.size());
    const size_t head = fast_open_head(*this);
    store_u8(p, static_cast<uint8_t>(fast_open_experimental ? Kind::kExperiment : Kind::kFastOpen));
    store_u8(p + 1, static_cast<uint8_t>(head + fast_open_length));
    if (fast_open_experimental) store_be16(p + 2, kFastOpenExperiment);
    std::memcpy(p + head, fast_open_cookie.data(), fast_open_length);
    p += head + fast_open_length;
    while (p != out.data() + size) store_u8(p++, static_cast<uint8_t>(Kind::kNop));
  }
  return size;
}

size_t TcpOptions::emit(MutableBytes out) const {
  MR_ASSERT(size() <= out.size());
  std::byte* p = out.data();
  if (has_timestamps) {
    emit_timestamps(p, ts_val, ts_ecr);
    p += kTcpTimestampsSize;
  }
  if (fitting_sacks() != 0) p += emit_sack(p, std::span(sack).first(fitting_sacks()));
  return static_cast<size_t>(p - out.data());
}

}  // namespace millrace::wire
