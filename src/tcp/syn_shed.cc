#include "tcp/syn_shed.h"

#include <algorithm>

#include "tcp/conn_table.h"
#include "wire/bytes.h"

namespace millrace::tcp {
namespace {

constexpr Duration kKeep = seconds(2);  // after the last refusal

uint64_t mark_of(uint64_t hash) { return std::max<uint64_t>(hash & 0xffff, 1); }

// Whether one of the four marks of a bucket is `mark`: the bytes that are equal become zero, and a zero borrows.
bool has(uint64_t bucket, uint64_t mark) {
  constexpr uint64_t kOnes = 0x0001'0001'0001'0001;
  const uint64_t x = bucket ^ mark * kOnes;
  return ((x - kOnes) & ~x & kOnes << 15) != 0;
}

}  // namespace

SynShed::SynShed(base::MemorySource& memory, const base::SipKey& key, uint32_t rate) : memory_(memory), key_(key) {
  set_rate(rate);
}

void SynShed::set_rate(uint32_t rate) {
  rate_ = rate;
  const uint32_t half = std::max(1u, rate / 2);
  all_ = ip::TokenBucket(rate, std::max(1u, rate / 100));
  first_ = ip::TokenBucket(half, std::max(1u, half / 100));
  if (rate == 0) until_ = Instant();
}

uint64_t SynShed::hash(const std::byte* ip, const std::byte* tcp) const {
  const auto word = [](const std::byte* at) { return wire::load_native<uint64_t>(at); };
  const uint64_t last = word(tcp) ^ key_.k1;  // ports, sequence number
  if (wire::load_u8(ip) >> 4 == 4) return TupleHash::fold(word(ip + 12) ^ key_.k0, last);
  const uint64_t source = TupleHash::fold(word(ip + 8) ^ key_.k0, word(ip + 16) ^ key_.k1);
  return TupleHash::fold(source ^ word(ip + 32), last);
}

bool SynShed::lets_in(uint64_t hash, Instant now) {
  if (buckets_ == nullptr) return true;  // no memory: take() alone judges
  uint64_t& bucket = buckets_[place(hash)];
  if (has(bucket, mark_of(hash)) || first_.take(now)) return true;
  bucket = bucket << 16 | mark_of(hash);
  refused(now);
  return false;
}

void SynShed::refused(Instant now) {
  until_ = now + kKeep;
  if (buckets_ != nullptr) return;
  buckets_ = reinterpret_cast<uint64_t*>(memory_.allocate((size_t{1} << kBucketBits) * sizeof(uint64_t)).base);
}

}  // namespace millrace::tcp
