// TCP headers and options: headers are emitted byte for byte; options that can be said again survive a round trip; the
// fast path and the general parser agree.
#include "wire/tcp.h"
#include "wire_fuzz.h"

namespace millrace::wire {
namespace {

void check_syn_round_trip(TcpOptions options) {
  options.sack_count = 0;  // emit_syn() sends none
  options.sack = {};
  options.unknown = 0;
  options.malformed = false;
  if (options.syn_size() > kTcpMaxOptions) return;
  std::byte out[kTcpMaxOptions];
  const size_t size = options.emit_syn(out);
  FUZZ_CHECK(size == options.syn_size() && size % 4 == 0);
  const Exact exact(Bytes(out, size));
  FUZZ_CHECK(TcpOptions::parse(exact.bytes()) == options);
}

void check_round_trip(const TcpOptions& options) {
  std::byte out[kTcpMaxOptions];
  const size_t size = options.emit(out);
  FUZZ_CHECK(size == options.size() && size % 4 == 0 && size <= kTcpMaxOptions);
  const Exact exact(Bytes(out, size));
  const TcpOptions again = TcpOptions::parse(exact.bytes());
  FUZZ_CHECK(!again.malformed && again.has_timestamps == options.has_timestamps);
  FUZZ_CHECK(!options.has_timestamps || (again.ts_val == options.ts_val && again.ts_ecr == options.ts_ecr));
  const uint8_t room = options.has_timestamps ? 3 : 4;
  FUZZ_CHECK(again.sack_count == (options.sack_count < room ? options.sack_count : room));
  for (size_t i = 0; i < again.sack_count; ++i) FUZZ_CHECK(again.sack[i] == options.sack[i]);
}

void check(Bytes in) {
  const Exact copy(in);
  const auto view = TcpView::check(copy.bytes());
  if (!view) return;
  FUZZ_CHECK(within(view->options(), copy.bytes()));
  std::byte out[kTcpMinSize];
  TcpHeader::parse(*view).emit(out);
  out[12] |= copy.bytes()[12] & std::byte{0x0f};  // reserved bits are not kept
  FUZZ_CHECK(same(out, copy.bytes().first(kTcpMinSize)));

  const Exact exact(view->options());
  const TcpOptions options = TcpOptions::parse(exact.bytes());
  FUZZ_CHECK(options.wscale <= kMaxWindowScale && options.sack_count <= kMaxSackBlocks);
  FUZZ_CHECK(options.fast_open_length <= options.fast_open_cookie.size());
  uint32_t value = 0;
  uint32_t echo = 0;
  if (view->only_timestamps(value, echo)) {
    FUZZ_CHECK(options.has_timestamps && options.ts_val == value && options.ts_ecr == echo && !options.malformed);
  }
  check_syn_round_trip(options);
  check_round_trip(options);
}

}  // namespace
}  // namespace millrace::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::wire::check(millrace::wire::input(data, size));
  return 0;
}
