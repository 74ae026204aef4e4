// Fast open, the client's side (RFC 7413 4.1.3, 4.2.1): the first data of a connection goes with its SYN if the server
// has given a cookie before; otherwise the SYN asks for one. A SYN that is sent again is a plain one.
//
// What was sent with the SYN stays in flight until the answer; what that does not acknowledge is sent again at once.
#include <algorithm>

#include "tcp/bare.h"
#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

constexpr Duration kFirstPause = seconds(60);  // of a server, after a SYN with data was lost; doubles
constexpr uint8_t kMostDoublings = 6;
constexpr uint8_t kPausingTimeouts = 3;  // in a row, of one connection

Duration doubled(Duration d, uint32_t times) { return Duration(d.ns() << std::min<uint32_t>(times, kMostDoublings)); }

}  // namespace

// Whether a SYN to the server may bring data now: null, or what is known of it.
KnownServer* Tcp::early_server(const IpAddr& server) {
  KnownServer* const known = known_servers_.find(server);
  return known != nullptr && known->cookie.length > 0 ? known : nullptr;
}

bool Tcp::knows_cookie_of(const IpAddr& server, Instant now) {
  if ((settings_.fastopen & kFastOpenClient) == 0 || now < fast_open_again_) return false;
  const KnownServer* const known = early_server(server);
  return known != nullptr && (known->losses == 0 || now >= known->lost_at + doubled(kFirstPause, known->losses));
}

// Queues what of `first` may go with the SYN; how many bytes that is.
size_t Tcp::begin_fast_open(uint32_t index, std::span<const std::byte> first, uint16_t path_mtu, Instant now) {
  if ((settings_.fastopen & kFastOpenClient) == 0 || now < fast_open_again_) return 0;
  const Conn& c = conns_[index];
  const KnownServer* const known = known_servers_.find(c.remote);
  // RFC 7413 4.1.3.1: neither data nor the option where they were lost lately.
  if (known != nullptr && known->losses > 0 && now < known->lost_at + doubled(kFirstPause, known->losses)) return 0;
  RareOptions& own = rare_.of(index);
  own.early = Early::kAsks;
  if (early_server(c.remote) == nullptr && (settings_.fastopen & kFastOpenClientNoCookie) == 0) return 0;
  own.early = Early::kOffers;
  const uint32_t headers = (c.options & kOptV4) != 0 ? 40 : 60;
  const uint32_t known_mss = known != nullptr ? known->mss : UINT32_MAX;
  const uint32_t mss = std::min({known_mss, uint32_t{offered_mss(c, cold(index))}, path_mtu - headers});
  const uint32_t most = mss > wire::kTcpMaxOptions ? mss - wire::kTcpMaxOptions : 0;
  return first.empty() ? 0 : send_copy(index, first.first(std::min<size_t>(first.size(), most)), false, now);
}

// The option of the first SYN.
void Tcp::offer_fast_open(uint32_t index, wire::TcpOptions& o) {
  const Conn& c = conns_[index];
  const Early early = rare(index).early;
  if (c.record_head != 0 || (early != Early::kAsks && early != Early::kOffers)) return;
  const KnownServer* const known = early_server(c.remote);
  if (early == Early::kOffers && known == nullptr) return;  // without a cookie, as the setting has it
  rare_.of(index).early_option = true;
  o.has_fast_open = true;
  if (known != nullptr) known->cookie.put_into(o);
}

// How much of what is queued goes with the SYN that is due.
uint32_t Tcp::early_bytes(uint32_t index) {
  const Conn& c = conns_[index];
  if (c.record_head != 0 || rare(index).early != Early::kOffers) return 0;
  const bool may = early_server(c.remote) != nullptr || (settings_.fastopen & kFastOpenClientNoCookie) != 0;
  const auto& limits = ip_.limits(ip_.hop_interface(c.hop));
  return may && c.snd_queued > 0 ? reachable(c.queue_head, c.head_offset, c.snd_queued, c.snd_queued, limits) : 0;
}

// `bytes` went with the SYN, which has its record. False if there is no room for theirs.
bool Tcp::record_early(uint32_t index, uint32_t bytes, Instant now) {
  Conn& c = conns_[index];
  RareOptions& own = rare_.of(index);
  if (own.early == Early::kAsks) own.early = Early::kAsked;
  if (bytes == 0) return true;
  const uint32_t record = take_record();
  if (record == 0) {
    own.early = Early::kAsked;
    return false;
  }
  TxRecord& r = records_[record];
  r.start = c.snd_nxt;
  r.end = c.snd_nxt + bytes;
  r.sent = stamp(now);
  r.times = 1;
  r.flags = kRecPush;
  records_[c.record_tail].link = record;
  c.record_tail = record;
  ++c.record_count;
  c.snd_nxt = r.end;
  own.early = Early::kSent;
  counters_.add(Counter::kFastOpenOut);
  counters_.add(Counter::kBytesOut, bytes);
  return true;
}

// The SYN-ACK came, and its acknowledgment was taken; `again` if the SYN had been sent more than once.
void Tcp::answered_early(uint32_t index, const wire::TcpOptions& o, bool again, Instant now) {
  Conn& c = conns_[index];
  const Early early = rare(index).early;
  if (early == Early::kNever) return;
  const bool refused = c.snd_una != c.snd_nxt;
  Early outcome = Early::kAsked;
  if (early == Early::kSent) outcome = !refused ? Early::kTaken : again ? Early::kLost : Early::kRefused;
  rare_.of(index).early = outcome;
  const bool given = o.has_fast_open && o.fast_open_length > 0 && rare(index).early_option;
  KnownServer& known = known_servers_.obtain(c.remote);  // RFC 7413 4.1.3
  known.mss = cold(index).peer_mss;
  if (given) known.cookie = FastOpenCookie::of(o);
  if (given || !refused) known.losses = 0;
  if (refused && again && !given) {  // the server seems to hear plain SYNs only
    if (known.losses < kMostDoublings) ++known.losses;
    known.lost_at = now;
  }
  if (early == Early::kSent && !refused) {
    counters_.add(Counter::kFastOpenTaken);
    fast_open_pauses_ = 0;
  }
  if (!refused) return;
  // RFC 7413 4.2.1 step 5 (b). No loss, and no reason for Nagle to wait.
  LossState& l = disorder(index, now);
  for (uint32_t at = c.record_head; at != 0; at = records_[at].link) mark_lost(index, l, at, now);
  mark_dirty(index);
}

// RFC 7413 7.1: what swallows SYNs with data may swallow all that follows them too. After the third timeout in a row no
// connection of this worker tries for a while, longer each time.
void Tcp::suspect_fast_open(uint32_t index, Instant now) {
  if (conns_[index].retries != kPausingTimeouts || settings_.fastopen_blackhole_us == 0) return;
  if (rare(index).early < Early::kSent) return;
  fast_open_again_ = now + doubled(microseconds(settings_.fastopen_blackhole_us), fast_open_pauses_);
  if (fast_open_pauses_ < kMostDoublings) ++fast_open_pauses_;
  counters_.add(Counter::kFastOpenPaused);
}

}  // namespace millrace::tcp
