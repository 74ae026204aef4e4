#include "sim/attacker.h"

#include <algorithm>

namespace millrace::sim {
namespace {

bool attackable(const Flow& flow) {
  if (flow.loose || flow.dead()) return false;
  for (const Half& h : flow.half) {
    if (!h.syn_sent || h.ack_sent < 1 || h.ack_seen < 1 || h.fin_at) return false;
  }
  return true;
}

uint32_t seq_of(const Half& sender, int64_t offset) { return sender.isn + static_cast<uint32_t>(offset); }

}  // namespace

std::optional<Forged> forge(Observer& observer, base::Rng& rng, const std::array<MacAddr, 2>& macs) {
  std::vector<Flow*> targets;
  for (Flow* flow : observer.flows()) {
    if (attackable(*flow)) targets.push_back(flow);
  }
  if (targets.empty()) return std::nullopt;
  const Flow& flow = *targets[rng.below(targets.size())];
  const size_t v = rng.below(2);
  const Half& victim = flow.half[v];
  const Half& peer = flow.half[1 - v];
  if (flow.host[v] < 0) return std::nullopt;

  TcpSpec spec;
  spec.source = flow.ends[1 - v];
  spec.destination = flow.ends[v];
  spec.destination_mac = macs[static_cast<size_t>(flow.host[v])];
  spec.source_mac = macs[static_cast<size_t>(1 - flow.host[v])];
  spec.window = static_cast<uint16_t>(rng.next());
  spec.ack = seq_of(victim, victim.ack_seen);
  if (flow.timestamps()) {
    if (!victim.ts_seen || victim.tsecr == 0) return std::nullopt;
    spec.options = timestamp_option(victim.tsecr, victim.tsval);  // passes PAWS and changes nothing
  }
  // Beyond everything that the peer has sent, so that nothing on its way can make it the next expected.
  const int64_t beyond = peer.snd_max + 1;
  const int64_t room = victim.edge_sent - beyond;
  const auto garbage = static_cast<size_t>(rng.between(1, 300));
  switch (rng.below(4)) {
    case 0:
      if (room < 2) return std::nullopt;
      spec.flags = static_cast<uint8_t>(kRst | (rng.chance(1, 2) ? kAck : 0));
      spec.seq = seq_of(peer, beyond + static_cast<int64_t>(rng.below(static_cast<uint64_t>(room - 1))));
      break;
    case 1:
      if (room < 2) return std::nullopt;
      spec.flags = kSyn;
      spec.seq = seq_of(peer, beyond + static_cast<int64_t>(rng.below(static_cast<uint64_t>(room - 1))));
      break;
    case 2:
      if (!flow.timestamps()) return std::nullopt;
      spec.seq = seq_of(peer, victim.prefix);
      spec.options = timestamp_option(victim.tsecr - static_cast<uint32_t>(rng.between(1'000, 100'000)), victim.tsval);
      spec.payload.assign(garbage, 0xee);
      break;
    default:
      spec.seq = seq_of(peer, victim.prefix);
      spec.ack = seq_of(victim, victim.snd_max + static_cast<int64_t>(rng.between(100'000'000, 1'000'000'000)));
      spec.payload.assign(garbage, 0xdd);
      break;
  }
  return Forged{flow.host[v], build_tcp(spec)};
}

}  // namespace millrace::sim
