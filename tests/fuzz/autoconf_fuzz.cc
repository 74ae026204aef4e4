// Everything of this stage that parses: router advertisements into Routers, DHCP replies into a client, IGMP and MLD
// queries into group hosts. The first byte says which; time goes on between the pieces. Limits hold, lists stay
// consistent, every deadline that is due moves on.
#include "autoconf/dhcp.h"
#include "autoconf/routers.h"
#include "mcast/host.h"
#include "wire_fuzz.h"

namespace millrace {
namespace {

using wire::Bytes;

const MacAddr kMac{{2, 0, 0, 0, 0, 1}};

template <class Machine, class Out>
void run(Machine& machine, Instant& now, Duration d, Out& out) {
  const Instant end = now + d;
  int at_once = 0;  // a step may lead to another at the same instant, but not for ever
  while (machine.next_deadline() <= end) {
    at_once = machine.next_deadline() <= now ? at_once + 1 : 0;
    FUZZ_CHECK(at_once < 10);
    now = std::max(now, machine.next_deadline());
    machine.tick(now, out);
  }
  now = end;
}

// Pieces of a length byte and as many bytes.
template <class Use>
void pieces(Bytes in, Use&& use) {
  while (in.size() > 2) {
    const size_t n = std::min<size_t>(wire::load_be16(in.data()) % 700, in.size() - 2);
    const wire::Exact piece(in.subspan(2, n));
    use(piece.bytes());
    in = in.subspan(2 + n);
  }
}

void routers(Bytes in) {
  autoconf::Routers machine({true, {1, 2}, kMac, 1'500}, 1);
  Instant now(seconds(1).ns());
  autoconf::Actions out;
  machine.start(now);
  pieces(in, [&](Bytes piece) {
    const auto view = wire::NdView::check(piece);
    if (view && view->type() == wire::Icmpv6Type::kRouterAdvertisement) {
      machine.hear(*view, IpAddr({0xfe, 0x80, static_cast<uint8_t>(piece.size())}), now, out);
    }
    run(machine, now, seconds(20), out);
    FUZZ_CHECK(machine.routers().size() <= autoconf::kMaxRouters && machine.on_link().size() <= autoconf::kMaxPrefixes);
    FUZZ_CHECK(machine.formed().size() <= autoconf::kMaxFormed &&
               machine.learned().size() <= autoconf::kMaxLearnedRoutes);
    FUZZ_CHECK(machine.resolvers().size() <= autoconf::kMaxResolvers &&
               machine.search_names().size() <= autoconf::kMaxSearchNames);
    FUZZ_CHECK(machine.chosen().is_unspecified() == machine.routers().empty());
    out.clear();
  });
}

void dhcp(Bytes in) {
  autoconf::DhcpClient machine(kMac, 1);
  Instant now(seconds(1).ns());
  autoconf::Actions out;
  machine.start(now);
  uint32_t xid = 0;
  pieces(in, [&](Bytes piece) {
    run(machine, now, seconds(2), out);
    for (const autoconf::Action& action : out) {
      if (action.kind == autoconf::Action::Kind::kSendDhcp) xid = action.dhcp.xid;
    }
    const auto view = wire::DhcpView::check(piece);
    auto reply = view ? wire::DhcpReply::parse(*view) : std::nullopt;
    if (!reply) return;
    FUZZ_CHECK(reply->prefix_length <= 32);
    reply->xid = xid;  // as a server that heard us would
    reply->client_mac = kMac;
    (void)machine.hear(*reply, now, out);
    if ((piece.size() & 1) != 0) machine.address_free(now, out);
    out.clear();
  });
}

void groups(Bytes in, bool v4) {
  mcast::GroupHost machine(v4, 1);
  Instant now(seconds(1).ns());
  std::vector<mcast::Report> out;
  pieces(in, [&](Bytes piece) {
    if (const auto query = v4 ? mcast::parse_igmp_query(piece) : mcast::parse_mld_query(piece)) {
      FUZZ_CHECK(query->sources.size() <= mcast::kMaxSources);
      machine.hear_query(*query, now);
      const mcast::Filter filter{(piece.size() & 1) != 0, query->sources};
      (void)machine.set_filter(query->group, filter, now);
    }
    if (const auto group = v4 ? mcast::parse_igmp_report(piece) : mcast::parse_mld_report(piece)) {
      machine.hear_report(*group);
      (void)machine.set_filter(*group, {true, {}}, now);
    }
    for (int i = 0; i < 64 && machine.next_deadline() <= now + seconds(1); ++i) {
      now = std::max(now, machine.next_deadline());
      machine.tick(now, out);
    }
    for (const mcast::Report& report : out) {
      std::byte room[1'200];
      size_t first = 0;
      do {
        FUZZ_CHECK((v4 ? emit_igmp(report, first, room) : emit_mld(report, first, room)) <= sizeof room);
      } while (first < report.records.size());
    }
    out.clear();
    now = now + seconds(1);
  });
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto in = millrace::wire::input(data + 1, size - 1);
  switch (data[0] & 3) {
    case 0: millrace::routers(in); break;
    case 1: millrace::dhcp(in); break;
    default: millrace::groups(in, (data[0] & 1) != 0); break;
  }
  return 0;
}
