// The text of frames: any bytes give one line of printable text.
#include "wire/describe.h"
#include "wire_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace::wire;
  const Exact copy(input(data, size));
  for (const std::string& text : {describe(copy.bytes()), describe_ip(copy.bytes())}) {
    FUZZ_CHECK(!text.empty());
    for (const char c : text) FUZZ_CHECK(c >= ' ' && c <= '~');
  }
  return 0;
}
