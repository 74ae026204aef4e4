// IPv4 headers and options: parse, emit, parse gives the same value; walks stay inside and end.
#include "wire/ipv4.h"
#include "wire_fuzz.h"

namespace millrace::wire {
namespace {

void check_options(const Ipv4View& view, Bytes whole) {
  Ipv4OptionWalker walker(view);
  unsigned last = 0;
  while (const auto option = walker.next()) {
    FUZZ_CHECK(within(option->data, whole));
    FUZZ_CHECK(option->position >= kIpv4MinSize && option->position < view.header_length());
    FUZZ_CHECK(option->position > last);
    last = option->position;
  }
  FUZZ_CHECK(walker.malformed() == (walker.position() != view.header_length()));
}

void check(Bytes in) {
  const Exact copy(in);
  const Bytes bytes = copy.bytes();
  const auto quoted = Ipv4View::check_quoted(bytes);
  const auto view = Ipv4View::check(bytes);
  FUZZ_CHECK(!view || quoted);  // a whole datagram is a fortiori a quotable one
  if (quoted) {
    FUZZ_CHECK(within(quoted->quoted_payload(bytes), bytes));
    check_options(*quoted, bytes);
    (void)quoted->checksum_ok();
  }
  if (!view) return;
  FUZZ_CHECK(within(view->payload(), bytes) && within(view->options(), bytes));
  FUZZ_CHECK(same(view->quoted_payload(bytes), view->payload()));

  const Ipv4Header header = Ipv4Header::parse(*view);
  Exact out(view->datagram());
  if (header.total_length < kIpv4MinSize) return;
  header.emit(out.mutable_bytes());
  const auto again = Ipv4View::check(out.bytes());
  FUZZ_CHECK(again && again->checksum_ok() && Ipv4Header::parse(*again) == header);
  // An intact header without options and reserved bit is emitted byte for byte; 0 and ffff are the same sum.
  const bool reserved = (load_u8(&bytes[6]) & 0x80) != 0;
  if (view->header_length() == kIpv4MinSize && !reserved && view->checksum_ok() && view->checksum() != 0xffff) {
    FUZZ_CHECK(same(out.bytes().first(kIpv4MinSize), bytes.first(kIpv4MinSize)));
  }
}

}  // namespace
}  // namespace millrace::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::wire::check(millrace::wire::input(data, size));
  return 0;
}
