// IPv6 headers and extension headers: headers are emitted byte for byte; the walk ends inside the datagram.
#include "wire/ipv6.h"
#include "wire_fuzz.h"

namespace millrace::wire {
namespace {

using Status = Ipv6Upper::Status;

void check_upper(const Ipv6Upper& upper, size_t size) {
  FUZZ_CHECK(upper.offset >= kIpv6Size && upper.offset <= size);
  FUZZ_CHECK(upper.next_header_at < upper.offset);
  switch (upper.status) {
    case Status::kUpper: FUZZ_CHECK(!detail::is_extension_header(upper.protocol)); break;
    case Status::kFragment:
      FUZZ_CHECK(upper.fragment.offset % 8 == 0 && upper.fragment_at + kIpv6FragmentSize == upper.offset);
      break;
    case Status::kParameterProblem: FUZZ_CHECK(upper.code <= 2 && upper.pointer < size); break;
    default: break;
  }
}

void check(Bytes in) {
  const Exact copy(in);
  const Bytes bytes = copy.bytes();
  const auto quoted = Ipv6View::check_quoted(bytes);
  const auto view = Ipv6View::check(bytes);
  FUZZ_CHECK(!view || quoted);
  if (quoted) check_upper(find_quoted_upper(*quoted, bytes), bytes.size());
  if (!view) return;
  FUZZ_CHECK(within(view->payload(), bytes));
  FUZZ_CHECK(same(view->quoted_payload(bytes), view->payload()));

  std::byte out[kIpv6Size];
  Ipv6Header::parse(*view).emit(out);
  FUZZ_CHECK(same(out, bytes.first(kIpv6Size)));

  const Exact exact(view->datagram());  // the walk must not look at what follows the datagram
  const Ipv6Upper upper = find_upper(*Ipv6View::check(exact.bytes()));
  check_upper(upper, exact.bytes().size());
  if (upper.status == Status::kFragment) {
    std::byte again[kIpv6FragmentSize];
    upper.fragment.emit(again);
    const Bytes header = exact.bytes().subspan(upper.fragment_at, kIpv6FragmentSize);
    FUZZ_CHECK(load_be32(&again[4]) == load_be32(&header[4]) && again[0] == header[0]);
    FUZZ_CHECK(load_be16(&again[2]) == (load_be16(&header[2]) & 0xfff9));
  }
}

}  // namespace
}  // namespace millrace::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::wire::check(millrace::wire::input(data, size));
  return 0;
}
