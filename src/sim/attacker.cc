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

// Bytes that the peer has sent, from somewhere around what the victim has, in a cut of our own.
bool cut_anew(const Half& victim, const Half& peer, base::Rng& rng, TcpSpec& spec) {
  const int64_t sent = static_cast<int64_t>(peer.stream.size()) + 1;
  const int64_t low = std::max<int64_t>(1, victim.prefix - 500);
  const int64_t high = std::min(sent, victim.edge_sent);
  if (high - low < 10) return false;
  const int64_t begin = low + static_cast<int64_t>(rng.below(static_cast<uint64_t>(high - low - 1)));
  const int64_t most = std::min<int64_t>(high - begin, 500);
  const int64_t length = 1 + static_cast<int64_t>(rng.below(static_cast<uint64_t>(most)));
  spec.seq = peer.isn + static_cast<uint32_t>(begin);
  spec.payload.assign(peer.stream.begin() + begin - 1, peer.stream.begin() + begin - 1 + length);
  spec.ack = victim.isn + static_cast<uint32_t>(peer.ack_sent);
  spec.window = peer.window_field;
  return true;
}

uint32_t seq_of(const Half& sender, int64_t offset) { return sender.isn + static_cast<uint32_t>(offset); }

}  // namespace

std::optional<Forged> forge_syn(Observer& observer, base::Rng& rng, const std::array<MacAddr, 2>& macs) {
  for (const Flow* flow : observer.flows()) {
    if (flow->loose || flow->host[1] < 0 || !flow->half[1].syn_sent) continue;
    TcpSpec spec;
    const bool v6 = flow->ends[1].addr.is_v6();
    spec.source = {v6 ? *IpAddr::parse("fd00::77") : IpAddr::v4(10, 0, 0, 77),
                   static_cast<uint16_t>(rng.below(60'000) + 1)};
    spec.destination = flow->ends[1];
    spec.destination_mac = macs[static_cast<size_t>(flow->host[1])];
    spec.source_mac = MacAddr{{0x02, 0, 0, 0, 0, 0x77}};
    spec.flags = kSyn;
    spec.seq = static_cast<uint32_t>(rng.next());
    spec.window = 1'000;
    return Forged{flow->host[1], build_tcp(spec)};
  }
  return std::nullopt;
}

std::optional<Forged> forge(Observer& observer, base::Rng& rng, const std::array<MacAddr, 2>& macs,
                            const std::array<bool, 2>& prompt) {
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
  switch (rng.below(6)) {
    case 4:  // one byte at the right edge; its ACK field must not count either
      if (victim.edge_sent - peer.snd_max < 2 || peer.fin_at) return std::nullopt;
      if (!prompt[static_cast<size_t>(flow.host[v])]) return std::nullopt;  // the edge may move meanwhile
      spec.seq = seq_of(peer, victim.edge_sent);
      spec.window = 0;
      spec.payload.assign(1, 0xcc);
      break;
    case 5:
      if (!cut_anew(victim, peer, rng, spec)) return std::nullopt;
      if (flow.timestamps()) spec.options = timestamp_option(peer.tsval, peer.tsecr);
      return Forged{flow.host[v], build_tcp(spec), true};
    case 0:
      if (room < 2) return std::nullopt;
      spec.flags = static_cast<uint8_t>(kRst | (rng.chance(1, 2) ? kAck : 0));
      spec.seq = seq_of(peer, beyond + static_cast<int64_t>(rng.below(static_cast<uint64_t>(room - 1))));
      break;
    case 1:
      // Unless data went either way, it may be half open still, and this SYN ends it (RFC 9293 3.10.7.4, fourth).
      if (room < 2 || (victim.snd_max <= 1 && victim.ack_sent <= 1)) return std::nullopt;
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
