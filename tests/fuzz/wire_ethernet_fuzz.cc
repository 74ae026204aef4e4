// Ethernet, VLAN tags and ARP: what is parsed is emitted again byte for byte.
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire_fuzz.h"

namespace millrace::wire {
namespace {

void check_arp(Bytes payload) {
  const auto arp = ArpView::check(payload);
  if (!arp) return;
  const ArpMessage message = ArpMessage::parse(*arp);
  std::byte out[kArpSize];
  message.emit(out);
  FUZZ_CHECK(same(out, payload.first(kArpSize)));
}

void check(Bytes in) {
  const Exact copy(in);
  const auto view = EthernetView::check(copy.bytes());
  FUZZ_CHECK(view.has_value() == (in.size() >= kEthernetSize));
  if (!view) return;
  std::byte out[kEthernetSize];
  EthernetHeader::parse(*view).emit(out);
  FUZZ_CHECK(same(out, copy.bytes().first(kEthernetSize)));

  EtherType type = view->type();
  Bytes payload = view->payload();
  while (is_vlan(type)) {
    const auto tag = VlanView::check(payload);
    if (!tag) return;
    std::byte again[kVlanTagSize];
    VlanTag::parse(*tag).emit(again);
    FUZZ_CHECK(same(again, payload.first(kVlanTagSize)));
    type = tag->type();
    payload = tag->payload();
    FUZZ_CHECK(within(payload, copy.bytes()));
  }
  check_arp(payload);
}

}  // namespace
}  // namespace millrace::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::wire::check(millrace::wire::input(data, size));
  return 0;
}
