// The Internet checksum: any split gives the naive sum; an incremental update gives the recomputed one.
#include "wire/checksum.h"
#include "wire_fuzz.h"

namespace millrace::wire {
namespace {

uint16_t naive(Bytes bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) sum += uint64_t{load_u8(&bytes[i])} << (i % 2 == 0 ? 8 : 0);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// The first bytes of the input say where the rest is cut.
void check(Bytes in) {
  if (in.size() < 4) return;
  const size_t cuts[2] = {load_be16(in.data()), load_be16(in.data() + 2)};
  Exact copy(in.subspan(4));
  const Bytes data = copy.bytes();
  const uint16_t want = naive(data);
  FUZZ_CHECK(fold(sum_bytes(data)) == want);

  Checksum pieces;
  Bytes rest = data;
  for (const size_t n : cuts) {
    const size_t size = n < rest.size() ? n : rest.size();
    const Exact piece(rest.first(size));
    pieces.add(piece.bytes());
    rest = rest.subspan(size);
  }
  pieces.add(rest);
  FUZZ_CHECK(pieces.finish() == static_cast<uint16_t>(~want));

  if (data.size() < 4) return;
  const size_t at = cuts[0] % (data.size() - 3) & ~size_t{1};
  const uint32_t before = load_be32(&data[at]);
  const auto after = static_cast<uint32_t>(cuts[1] * 0x9e3779b9u);
  const uint16_t field = finish(sum_bytes(data));
  store_be32(&copy.mutable_bytes()[at], after);
  const uint16_t updated = update_checksum32(field, before, after);
  FUZZ_CHECK(is_valid(add_sums(sum_bytes(data), sum_be16(updated))) || naive(data) == 0);
}

}  // namespace
}  // namespace millrace::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::wire::check(millrace::wire::input(data, size));
  return 0;
}
