#include "mcast/messages.h"

#include "base/assert.h"
#include "wire/checksum.h"

namespace millrace::mcast {
namespace {

using wire::Bytes;
using wire::MutableBytes;

// RFC 3376 4.1.1, 4.1.7: small values as they are, larger ones with a three-bit exponent.
uint32_t decode8(uint8_t code) {
  if (code < 128) return code;
  return ((uint32_t{code} & 0x0f) | 0x10) << ((code >> 4 & 7) + 3);
}
// RFC 3810 5.1.3.
uint32_t decode16(uint16_t code) {
  if (code < 32'768) return code;
  return ((uint32_t{code} & 0x0fff) | 0x1000) << ((code >> 12 & 7) + 3);
}

IpAddr load(const std::byte* p, bool v4) { return v4 ? wire::load_v4(p) : wire::load_v6(p); }

bool read_group(Query& q, const std::byte* p, bool v4) {
  q.group = load(p, v4);
  return q.group.is_unspecified() || q.group.is_multicast();
}

// The part that both third versions share: flags, interval, number of sources, sources.
bool read_tail(Query& q, Bytes tail, bool v4) {
  const size_t each = v4 ? 4 : 16;
  const size_t count = wire::load_be16(&tail[2]);
  if (tail.size() < 4 + count * each) return false;
  q.version = Version::k3;
  q.robustness = wire::load_u8(tail.data()) & 7;
  q.interval = seconds(decode8(wire::load_u8(&tail[1])));
  if (count <= kMaxSources) {
    for (size_t i = 0; i < count; ++i) q.sources.push_back(load(&tail[4 + i * each], v4));
  }
  return !q.group.is_unspecified() || count == 0;
}

size_t record_size(const Record& r, bool v4) { return v4 ? 8 + 4 * r.sources.size() : 20 + 16 * r.sources.size(); }

std::byte* put(std::byte* p, const IpAddr& addr, bool v4) {
  if (v4) {
    wire::store_v4(p, addr);
    return p + 4;
  }
  wire::store_v6(p, addr);
  return p + 16;
}

// The records from `first` on behind a fixed part of eight bytes.
size_t put_records(const Report& report, size_t& first, MutableBytes out, bool v4) {
  size_t size = 8;
  uint16_t count = 0;
  for (; first < report.records.size(); ++first, ++count) {
    const Record& r = report.records[first];
    if (size + record_size(r, v4) > out.size()) break;
    std::byte* p = &out[size];
    wire::store_be32(p, uint32_t{static_cast<uint8_t>(r.type)} << 24 | static_cast<uint32_t>(r.sources.size()));
    p = put(p + 4, r.group, v4);
    for (const IpAddr& source : r.sources) p = put(p, source, v4);
    size += record_size(r, v4);
  }
  MR_ASSERT(count != 0 || report.records.empty());
  wire::store_be16(&out[6], count);
  return size;
}

}  // namespace

std::optional<Query> parse_igmp_query(Bytes m) {
  if (m.size() < 8 || wire::load_u8(m.data()) != 0x11) return std::nullopt;
  Query q;
  const uint8_t code = wire::load_u8(&m[1]);
  if (!read_group(q, &m[4], true)) return std::nullopt;
  if (m.size() == 8) {  // RFC 3376 7.1
    q.version = code == 0 ? Version::k1 : Version::k2;
    q.max_response = code == 0 ? seconds(10) : milliseconds(100) * code;
    return q;
  }
  if (m.size() < 12) return std::nullopt;
  q.max_response = milliseconds(100) * decode8(code);
  if (!read_tail(q, m.subspan(8), true)) return std::nullopt;
  return q;
}

std::optional<Query> parse_mld_query(Bytes m) {
  if (m.size() < 24 || wire::load_u8(m.data()) != 130) return std::nullopt;
  Query q;
  const uint16_t code = wire::load_be16(&m[4]);
  if (!read_group(q, &m[8], false)) return std::nullopt;
  if (m.size() == 24) {  // RFC 3810 8.1
    q.version = Version::k2;
    q.max_response = milliseconds(code);
    return q;
  }
  if (m.size() < 28) return std::nullopt;
  q.max_response = milliseconds(decode16(code));
  if (!read_tail(q, m.subspan(24), false)) return std::nullopt;
  return q;
}

std::optional<IpAddr> parse_igmp_report(Bytes m) {
  if (m.size() < 8) return std::nullopt;
  const uint8_t type = wire::load_u8(m.data());
  const IpAddr group = wire::load_v4(&m[4]);
  if ((type != 0x12 && type != 0x16) || !group.is_multicast()) return std::nullopt;
  return group;
}

std::optional<IpAddr> parse_mld_report(Bytes m) {
  if (m.size() < 24 || wire::load_u8(m.data()) != 131) return std::nullopt;
  const IpAddr group = wire::load_v6(&m[8]);
  if (!group.is_multicast()) return std::nullopt;
  return group;
}

size_t emit_igmp(const Report& report, size_t& first, MutableBytes out) {
  MR_ASSERT(out.size() >= 8);
  size_t size = 8;
  wire::store_be64(out.data(), 0);
  switch (report.kind) {
    case Report::Kind::kRecords:
      wire::store_u8(out.data(), 0x22);
      size = put_records(report, first, out, true);
      break;
    case Report::Kind::kReport1: wire::store_u8(out.data(), 0x12); break;
    case Report::Kind::kReport2: wire::store_u8(out.data(), 0x16); break;
    case Report::Kind::kLeave: wire::store_u8(out.data(), 0x17); break;
  }
  if (report.kind != Report::Kind::kRecords) wire::store_v4(&out[4], report.group);
  wire::store_be16(&out[2], wire::finish(wire::sum_bytes(out.first(size))));
  return size;
}

size_t emit_mld(const Report& report, size_t& first, MutableBytes out) {
  MR_ASSERT(out.size() >= 24);
  wire::store_be64(out.data(), 0);
  if (report.kind == Report::Kind::kRecords) {
    wire::store_u8(out.data(), 143);
    return put_records(report, first, out, false);
  }
  wire::store_u8(out.data(), report.kind == Report::Kind::kLeave ? 132 : 131);
  wire::store_v6(&out[8], report.group);
  return 24;
}

IpAddr destination_of(const Report& report, bool v4) {
  switch (report.kind) {
    case Report::Kind::kRecords:
      return v4 ? IpAddr::v4(224, 0, 0, 22) : IpAddr({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16});
    case Report::Kind::kLeave:
      return v4 ? IpAddr::v4(224, 0, 0, 2) : IpAddr({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});
    default: return report.group;
  }
}

}  // namespace millrace::mcast
