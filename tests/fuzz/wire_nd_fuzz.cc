// Neighbour discovery. The input is source, destination (16 bytes each), ICMPv6 message. Options end inside; every
// message that passes the check survives parse, emit, parse.
#include "wire/nd.h"
#include "wire_fuzz.h"

namespace millrace::wire {
namespace {

void walk(const NdView& view) {
  NdOptionWalker walker(view.options());
  size_t bytes = 0;
  while (const auto option = walker.next()) {
    bytes += option->bytes().size();
    FUZZ_CHECK(within(option->bytes(), view.message()) && option->bytes().size() % 8 == 0);
    const Exact exact(option->bytes());
    const NdOption alone(exact.bytes());
    (void)alone.link_address();
    (void)alone.mtu();
    if (const auto redirected = alone.redirected()) FUZZ_CHECK(within(*redirected, exact.bytes()));
    if (const auto prefix = alone.prefix()) FUZZ_CHECK(prefix->prefix.length <= 128 && prefix->prefix.addr.is_v6());
    for (size_t i = 0; i < alone.rdnss_count(); ++i) (void)alone.rdnss_server(i);
  }
  FUZZ_CHECK(bytes == view.options().size());  // check() promised that all of them are well-formed
}

template <class Message, class Emit>
void round_trip(const NdView& view, Emit emit) {
  const Message message = Message::parse(view);
  std::byte out[256];
  const Exact exact(Bytes(out, emit(message, out)));
  const auto again = NdView::check(exact.bytes());
  FUZZ_CHECK(again && Message::parse(*again) == message);
}

void check(Bytes in) {
  if (in.size() < 32) return;
  const IpAddr source = load_v6(in.data());
  const IpAddr destination = load_v6(in.data() + 16);
  const Exact copy(in.subspan(32));
  const auto view = NdView::check(copy.bytes());
  if (!view) return;
  (void)view->acceptable(source, destination);
  walk(*view);
  const auto plain = [&](const auto& message, MutableBytes out) { return message.emit(out, source, destination); };
  switch (view->type()) {
    case Icmpv6Type::kNeighbourSolicitation: round_trip<NeighbourSolicitation>(*view, plain); break;
    case Icmpv6Type::kNeighbourAdvertisement: round_trip<NeighbourAdvertisement>(*view, plain); break;
    case Icmpv6Type::kRouterSolicitation: round_trip<RouterSolicitation>(*view, plain); break;
    case Icmpv6Type::kRedirect: round_trip<Redirect>(*view, plain); break;
    default:
      round_trip<RouterAdvertisement>(*view, [&](const RouterAdvertisement& message, MutableBytes out) {
        return message.emit(out, source, destination, {});
      });
  }
}

}  // namespace
}  // namespace millrace::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::wire::check(millrace::wire::input(data, size));
  return 0;
}
