#include "ip/reassembly.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/assert.h"
#include "ip/segments.h"

namespace millrace::ip {
namespace {

// Up to so many bytes are copied behind the piece in front of them, so that tiny fragments do not pin a buffer each.
constexpr uint32_t kCopyBytes = 512;

constexpr uint8_t kNotEct = 1 << 0;
constexpr uint8_t kCe = 1 << 3;

bool chains_equal(const pkt::Packet& a, uint32_t at_a, const pkt::Packet& b, uint32_t at_b, uint32_t length) {
  std::array<std::byte, 512> left;
  std::array<std::byte, 512> right;
  for (uint32_t done = 0; done < length;) {
    const auto n = std::min<uint32_t>(length - done, left.size());
    if (pkt::copy_out(a, at_a + done, {left.data(), n}) != n) return false;
    if (pkt::copy_out(b, at_b + done, {right.data(), n}) != n) return false;
    if (std::memcmp(left.data(), right.data(), n) != 0) return false;
    done += n;
  }
  return true;
}

pkt::Packet& last_segment(pkt::Packet& head) {
  pkt::Packet* p = &head;
  while (p->next != nullptr) p = p->next;
  return *p;
}

}  // namespace

Reassembly::Reassembly(const Settings& settings, pkt::PacketCache& packets, base::Counters<IpCounter>& counters,
                       const base::SipKey& key)
    : settings_(settings),
      packets_(packets),
      counters_(counters),
      key_(key),
      limit_(static_cast<uint32_t>(settings.reassembly_datagrams)),
      entries_(1),
      sources_(1),
      pieces_(1),
      buckets_(std::bit_ceil(limit_)),
      source_buckets_(std::bit_ceil(limit_)) {
  entries_.reserve(limit_ + 1);
  sources_.reserve(limit_ + 1);
}

uint32_t Reassembly::true_size(const pkt::Packet& head) {
  uint32_t bytes = 0;
  for (const pkt::Packet* p = &head; p != nullptr; p = p->next) bytes += sizeof(pkt::Packet) + p->buf_len;
  return bytes;
}

// Keyed, so that nobody can choose collisions.
uint32_t Reassembly::bucket_of(const FragmentKey& key) const {
  std::array<std::byte, 40> bytes{};
  std::memcpy(bytes.data(), key.source.bytes().data(), 16);
  std::memcpy(bytes.data() + 16, key.destination.bytes().data(), 16);
  std::memcpy(bytes.data() + 32, &key.id, 4);
  std::memcpy(bytes.data() + 36, &key.link, 2);
  bytes[38] = std::byte{key.protocol};
  return static_cast<uint32_t>(base::siphash(key_, bytes)) & static_cast<uint32_t>(buckets_.size() - 1);
}

uint32_t Reassembly::bucket_of(const IpAddr& addr) const {
  const uint64_t hash = base::siphash(key_, std::as_bytes(std::span(addr.bytes())));
  return static_cast<uint32_t>(hash) & static_cast<uint32_t>(source_buckets_.size() - 1);
}

uint32_t Reassembly::find(const FragmentKey& key) const {
  uint32_t index = buckets_[bucket_of(key)];
  while (index != 0 && !(entries_[index].key == key)) index = entries_[index].chain;
  return index;
}

uint32_t Reassembly::obtain_source(const IpAddr& addr) {
  uint32_t& bucket = source_buckets_[bucket_of(addr)];
  for (uint32_t i = bucket; i != 0; i = sources_[i].chain) {
    if (sources_[i].addr == addr) return i;
  }
  uint32_t index = free_sources_;
  if (index != 0) {
    free_sources_ = sources_[index].chain;
    sources_[index] = Source{};
  } else {
    index = static_cast<uint32_t>(sources_.size());
    sources_.emplace_back();
  }
  sources_[index].addr = addr;
  sources_[index].chain = bucket;
  bucket = index;
  return index;
}

uint32_t Reassembly::oldest() const {
  const uint32_t v4 = ages_[0].first;
  const uint32_t v6 = ages_[1].first;
  if (v4 == 0 || v6 == 0) return v4 + v6;
  const Instant born_v4 = entries_[v4].deadline - microseconds(settings_.reassembly_v4_us);
  const Instant born_v6 = entries_[v6].deadline - microseconds(settings_.reassembly_v6_us);
  return born_v6 < born_v4 ? v6 : v4;
}

uint32_t Reassembly::create(const FragmentKey& key, Instant now) {
  if (used_ == limit_) evict(oldest(), IpCounter::kReasmEvicted);
  uint32_t index = free_entries_;
  if (index != 0) {
    free_entries_ = entries_[index].chain;
    entries_[index] = Entry{};
  } else {
    index = static_cast<uint32_t>(entries_.size());
    entries_.emplace_back();
  }
  ++used_;
  Entry& e = entries_[index];
  e.key = key;
  const bool v6 = key.source.is_v6();
  e.deadline = now + microseconds(v6 ? settings_.reassembly_v6_us : settings_.reassembly_v4_us);
  uint32_t& bucket = buckets_[bucket_of(key)];
  e.chain = bucket;
  bucket = index;
  AgeList& ages = ages_[v6 ? 1 : 0];
  e.older = ages.last;
  (ages.last != 0 ? entries_[ages.last].newer : ages.first) = index;
  ages.last = index;
  e.source = obtain_source(key.source);
  Source& source = sources_[e.source];
  e.source_older = source.last;
  (source.last != 0 ? entries_[source.last].source_newer : source.first) = index;
  source.last = index;
  return index;
}

void Reassembly::charge(Entry& e, uint32_t bytes) {
  e.bytes += bytes;
  sources_[e.source].bytes += bytes;
  bytes_ += bytes;
}

void Reassembly::free_pieces(Entry& e) {
  for (uint32_t i = e.first; i != 0;) {
    Piece& piece = pieces_[i];
    const uint32_t next = piece.next;
    packets_.free(piece.packet);
    piece = Piece{};
    piece.next = free_pieces_;
    free_pieces_ = i;
    i = next;
  }
  e.first = e.last = 0;
  sources_[e.source].bytes -= e.bytes;
  bytes_ -= e.bytes;
  e.bytes = 0;
}

// Takes the datagram out of all lists and frees what is left of it.
void Reassembly::remove(uint32_t index) {
  Entry& e = entries_[index];
  free_pieces(e);
  uint32_t* at = &buckets_[bucket_of(e.key)];
  while (*at != index) at = &entries_[*at].chain;
  *at = e.chain;
  AgeList& ages = ages_[e.key.source.is_v6() ? 1 : 0];
  (e.older != 0 ? entries_[e.older].newer : ages.first) = e.newer;
  (e.newer != 0 ? entries_[e.newer].older : ages.last) = e.older;
  Source& source = sources_[e.source];
  (e.source_older != 0 ? entries_[e.source_older].source_newer : source.first) = e.source_newer;
  (e.source_newer != 0 ? entries_[e.source_newer].source_older : source.last) = e.source_older;
  if (source.first == 0) {
    at = &source_buckets_[bucket_of(source.addr)];
    while (*at != e.source) at = &sources_[*at].chain;
    *at = source.chain;
    source.chain = free_sources_;
    free_sources_ = e.source;
  }
  e.chain = free_entries_;
  free_entries_ = index;
  --used_;
}

void Reassembly::evict(uint32_t index, IpCounter why) {
  counters_.add(why);
  remove(index);
}

Reassembly::Verdict Reassembly::kill(uint32_t index, IpCounter why) {
  Entry& e = entries_[index];
  counters_.add(IpCounter::kReasmAborted);
  free_pieces(e);
  e.dead = true;
  return refuse(why);
}

bool Reassembly::frames_scarce() const { return packets_.frames_available() < packets_.frames_capacity() / 8; }

// Makes room for `more` bytes of a datagram at the cost of older ones. False: the datagram itself had to go.
bool Reassembly::make_room(uint32_t index, uint32_t more) {
  const auto most = static_cast<uint64_t>(settings_.reassembly_bytes);
  const auto most_of_source = static_cast<uint64_t>(settings_.reassembly_source_bytes);
  const uint32_t source = entries_[index].source;
  while (sources_[source].bytes + uint64_t{more} > most_of_source) {
    const uint32_t victim = sources_[source].first;
    evict(victim, IpCounter::kReasmEvictedSource);
    if (victim == index) return false;
  }
  while (bytes_ + more > most || frames_scarce()) {
    const uint32_t victim = oldest();
    evict(victim, IpCounter::kReasmEvicted);
    if (victim == index) return false;
  }
  return true;
}

bool Reassembly::same_bytes(const Piece& piece, const Entry& e, const Fragment& f) const {
  const uint32_t at = f.start - piece.start + (piece.start == 0 ? e.header : 0);
  return chains_equal(*piece.packet, at, *f.packet, f.header, f.length);
}

// Where the fragment belongs: behind the piece `before` (0: in front of all).
Reassembly::Place Reassembly::place(const Entry& e, const Fragment& f, uint32_t& before) const {
  const uint32_t end = f.start + f.length;
  before = e.last;
  while (before != 0 && pieces_[before].start > f.start) before = pieces_[before].prev;
  if (before != 0 && pieces_[before].end > f.start) {
    const bool inside = end <= pieces_[before].end;
    return inside && same_bytes(pieces_[before], e, f) ? Place::kDuplicate : Place::kOverlap;
  }
  const uint32_t behind = before != 0 ? pieces_[before].next : e.first;
  return behind != 0 && pieces_[behind].start < end ? Place::kOverlap : Place::kFree;
}

// Copies a small fragment into the room that the piece in front of it has left.
bool Reassembly::append_copy(Entry& e, Piece& piece, const Fragment& f) {
  if (piece.end != f.start || f.length > kCopyBytes) return false;
  pkt::Packet& last = last_segment(*piece.packet);
  if ((last.flags & pkt::kExternal) != 0 || last.refs != 1 || last.tailroom() < f.length) return false;
  (void)pkt::copy_out(*f.packet, f.header, {last.data() + last.len, f.length});
  last.len = static_cast<uint16_t>(last.len + f.length);
  if (&last != piece.packet) piece.packet->total += f.length;
  if (&last == piece.packet) last.total += f.length;
  piece.end += f.length;
  e.received += f.length;
  packets_.free(f.packet);
  return true;
}

void Reassembly::insert(Entry& e, uint32_t before, const Fragment& f, uint32_t size) {
  uint32_t index = free_pieces_;
  if (index != 0) {
    free_pieces_ = pieces_[index].next;
  } else {
    index = static_cast<uint32_t>(pieces_.size());
    pieces_.emplace_back();
  }
  const uint32_t behind = before != 0 ? pieces_[before].next : e.first;
  pieces_[index] = {f.packet, f.start, f.start + f.length, behind, before};
  (before != 0 ? pieces_[before].next : e.first) = index;
  (behind != 0 ? pieces_[behind].prev : e.last) = index;
  if (f.start == 0) {
    e.header = f.header;
    e.first_length = f.header + f.length;
    e.interface = f.interface;
    e.to_group = f.to_group;
  } else {
    f.packet->pull(static_cast<uint16_t>(f.header));
  }
  e.received += f.length;
  charge(e, size);
}

Reassembly::Verdict Reassembly::add(const Fragment& f, Instant now) {
  MR_ASSERT(f.length != 0 && f.packet->total == f.header + f.length && f.packet->len >= f.header);
  uint32_t index = find(f.key);
  if (index == 0) index = create(f.key, now);
  if (entries_[index].dead) return refuse(IpCounter::kFragLate);
  const uint32_t end = f.start + f.length;
  {
    const Entry& e = entries_[index];
    const uint32_t reach = e.last != 0 ? pieces_[e.last].end : 0;
    const bool contradicts = f.more ? e.total != 0 && end >= e.total : (e.total != 0 && end != e.total) || end < reach;
    if (contradicts) return kill(index, IpCounter::kFragOverlap);
    if (e.count >= settings_.reassembly_fragments) return kill(index, IpCounter::kFragTooMany);
  }
  uint32_t before = 0;
  switch (place(entries_[index], f, before)) {
    case Place::kDuplicate: return refuse(IpCounter::kFragDuplicate);
    case Place::kOverlap: return kill(index, IpCounter::kFragOverlap);  // RFC 8200 4.5, RFC 5722 4
    case Place::kFree: break;
  }
  Entry& e = entries_[index];
  if (before == 0 || !append_copy(e, pieces_[before], f)) {
    const uint32_t size = true_size(*f.packet);
    if (!make_room(index, size)) return refuse(IpCounter::kFragNoRoom);
    insert(e, before, f, size);
  }
  ++e.count;
  e.ecn_seen |= static_cast<uint8_t>(1U << (f.ecn & 3));
  if (!f.more) e.total = end;
  if (e.received != e.total) return {};
  return finish(index);
}

// RFC 3168 5.3: congestion seen by one fragment is seen by the datagram, unless a part of it was not ECN-capable.
Reassembly::Verdict Reassembly::finish(uint32_t index) {
  Entry& e = entries_[index];
  const bool congestion = (e.ecn_seen & kCe) != 0;
  if (congestion && (e.ecn_seen & kNotEct) != 0) {
    counters_.add(IpCounter::kReasmAborted);
    counters_.add(IpCounter::kReasmEcn);
    remove(index);
    return {};
  }
  Verdict verdict{Outcome::kComplete, IpCounter::kCount, pieces_[e.first].packet, e.header, congestion};
  pkt::Packet& head = *verdict.datagram;
  pkt::Packet* last = &last_segment(head);
  for (uint32_t i = pieces_[e.first].next; i != 0; i = pieces_[i].next) {
    pkt::Packet* tail = pieces_[i].packet;
    last->next = tail;
    head.segs = static_cast<uint16_t>(head.segs + tail->segs);
    head.total += tail->total;
    last = &last_segment(*tail);
  }
  for (uint32_t i = e.first; i != 0; i = pieces_[i].next) pieces_[i].packet = nullptr;
  // No device has seen the datagram as a whole: its transport checksum is not verified.
  head.flags = (head.flags & pkt::kExternal) | pkt::kRxIpChecksumGood;
  head.tx_offload = 0;
  counters_.add(IpCounter::kReasmDone);
  remove(index);
  return verdict;
}

void Reassembly::expire(uint32_t index) {
  if (!entries_[index].dead) counters_.add(IpCounter::kReasmTimeouts);
}

// The first fragment as it arrived, where it did.
pkt::Packet* Reassembly::first_alone(uint32_t index) {
  const Entry& e = entries_[index];
  if (e.first == 0 || pieces_[e.first].start != 0) return nullptr;
  pkt::Packet& first = *pieces_[e.first].packet;
  trim(packets_, first, e.first_length);
  return &first;
}

Instant Reassembly::next_deadline() const {
  Instant next = kNever;
  for (const AgeList& list : ages_) {
    if (list.first != 0) next = std::min(next, entries_[list.first].deadline);
  }
  return next;
}

void Reassembly::clear() {
  while (const uint32_t index = oldest()) remove(index);
}

size_t Reassembly::segments() const {
  size_t n = 0;
  for (const Piece& piece : pieces_) n += piece.packet != nullptr ? piece.packet->segs : 0;
  return n;
}

bool Reassembly::check() const {
  uint64_t bytes = 0;
  uint32_t datagrams = 0;
  for (const AgeList& list : ages_) {
    uint32_t older = 0;
    for (uint32_t i = list.first; i != 0; older = i, i = entries_[i].newer) {
      const Entry& e = entries_[i];
      uint32_t reach = 0;
      uint32_t received = 0;
      for (uint32_t p = e.first; p != 0; p = pieces_[p].next) {
        const Piece& piece = pieces_[p];
        const uint32_t front = piece.start == 0 ? e.header : 0;
        if (piece.start < reach || piece.packet->total != front + piece.end - piece.start) return false;
        reach = piece.end;
        received += piece.end - piece.start;
      }
      if (e.older != older || find(e.key) != i || (!e.dead && received != e.received)) return false;
      if (e.total != 0 && reach > e.total) return false;
      bytes += e.bytes;
      ++datagrams;
    }
    if (list.last != older) return false;
  }
  uint64_t of_sources = 0;
  for (const uint32_t bucket : source_buckets_) {
    for (uint32_t i = bucket; i != 0; i = sources_[i].chain) of_sources += sources_[i].bytes;
  }
  return bytes == bytes_ && of_sources == bytes_ && datagrams == used_ && used_ <= limit_ &&
         bytes_ <= static_cast<uint64_t>(settings_.reassembly_bytes);
}

}  // namespace millrace::ip
