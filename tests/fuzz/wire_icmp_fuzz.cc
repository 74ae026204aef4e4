// ICMP of both families, quoted datagrams and UDP. The first byte of the input chooses; the rest is the message.
#include "wire/icmpv4.h"
#include "wire/icmpv6.h"
#include "wire/quoted.h"
#include "wire/udp.h"
#include "wire_fuzz.h"

namespace millrace::wire {
namespace {

void check_quoted(const std::optional<Quoted>& quoted, Bytes whole) {
  if (!quoted) return;
  FUZZ_CHECK(within(quoted->transport, whole));
  if (quoted->has_ports()) (void)(quoted->source_port() + quoted->destination_port());
  if (quoted->has_sequence()) (void)quoted->sequence();
}

void check_icmpv4(Bytes bytes) {
  const auto view = Icmpv4View::check(bytes);
  if (!view) return;
  const Icmpv4Header header = Icmpv4Header::parse(*view);
  Exact out(bytes);
  header.emit(out.mutable_bytes());
  const auto again = Icmpv4View::check(out.bytes());
  FUZZ_CHECK(again && again->checksum_ok() && Icmpv4Header::parse(*again) == header);
  if (view->checksum_ok() && view->checksum() != 0xffff) FUZZ_CHECK(same(out.bytes(), bytes));
}

void check_icmpv6(Bytes bytes) {
  const auto view = Icmpv6View::check(bytes);
  if (!view) return;
  const IpAddr a = load_v6(std::array<std::byte, 16>{std::byte{0xfe}, std::byte{0x80}}.data());
  const Icmpv6Header header = Icmpv6Header::parse(*view);
  Exact out(bytes);
  header.emit(out.mutable_bytes(), a, a);
  const auto again = Icmpv6View::check(out.bytes());
  FUZZ_CHECK(again && again->checksum_ok(a, a) && Icmpv6Header::parse(*again) == header);
  Exact sealed(bytes);
  seal_icmpv6(sealed.mutable_bytes(), a, a);
  FUZZ_CHECK(same(sealed.bytes(), out.bytes()));
}

void check_udp(Bytes bytes) {
  const auto view = UdpView::check(bytes);
  if (!view) return;
  FUZZ_CHECK(within(view->payload(), bytes));
  (void)view->checksum_ok(IpAddr::v4(1), IpAddr::v4(2));
  std::byte out[kUdpSize];
  UdpHeader::parse(*view).emit(out);
  FUZZ_CHECK(same(out, bytes.first(kUdpSize)));
}

void check(Bytes in) {
  if (in.empty()) return;
  const Exact copy(in.subspan(1));
  const Bytes bytes = copy.bytes();
  switch (load_u8(in.data()) % 3) {
    case 0: check_icmpv4(bytes); break;
    case 1: check_icmpv6(bytes); break;
    default: check_udp(bytes); break;
  }
  if (bytes.size() < kIcmpv4Size) return;
  const Exact quoted(bytes.subspan(kIcmpv4Size));
  check_quoted(parse_quoted_v4(quoted.bytes()), quoted.bytes());
  check_quoted(parse_quoted_v6(quoted.bytes()), quoted.bytes());
}

}  // namespace
}  // namespace millrace::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::wire::check(millrace::wire::input(data, size));
  return 0;
}
