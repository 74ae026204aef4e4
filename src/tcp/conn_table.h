// Table from connection tuples to storage places: buckets of one cache line with seven entries of {tag, ref}. A look-up
// reads one line unless its bucket overflowed. Sized once; a full table refuses.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/assert.h"
#include "base/memory.h"
#include "base/siphash.h"
#include "tcp/types.h"

namespace millrace::tcp {

/// Keyed 64-bit hash of a tuple: two multiply-folds. The key is secret, so that nobody can choose colliding tuples
/// from outside without seeing the table's timing.
class TupleHash {
 public:
  explicit TupleHash(const base::SipKey& key) : k0_(key.k0 | 1), k1_(key.k1 | 1) {}

  [[nodiscard]] uint64_t operator()(const IpAddr& local, const IpAddr& remote, uint16_t local_port,
                                    uint16_t remote_port) const {
    uint64_t l[2];
    uint64_t r[2];
    std::memcpy(l, local.bytes().data(), 16);
    std::memcpy(r, remote.bytes().data(), 16);
    const uint64_t ports = uint64_t{local_port} << 16 | remote_port;
    const uint64_t a = fold(l[0] ^ r[1] ^ k0_, l[1] ^ (ports << 32) ^ k1_);
    return fold(a ^ r[0] ^ k1_, r[1] ^ ports ^ a ^ k0_);
  }
  [[nodiscard]] uint64_t operator()(const Tuple& t) const {
    return (*this)(t.local, t.remote, t.local_port, t.remote_port);
  }

  /// Mixes two words, of which at least one is secret.
  static uint64_t fold(uint64_t a, uint64_t b) {
    const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64) ^ (a + b);
  }

 private:
  uint64_t k0_;
  uint64_t k1_;
};

class ConnTable {
 public:
  /// Room for at least `entries`; memory is touched as it fills. ok() is false if there was none.
  ConnTable(base::MemorySource& memory, uint32_t entries) {
    uint32_t buckets = 64;
    while (uint64_t{buckets} * kPerBucket * 3 / 4 < entries) buckets *= 2;
    const base::Region region = memory.allocate(size_t{buckets} * sizeof(Bucket));
    buckets_ = reinterpret_cast<Bucket*>(region.base);
    mask_ = region.base == nullptr ? 0 : buckets - 1;
    limit_ = entries;
  }

  [[nodiscard]] bool ok() const { return buckets_ != nullptr; }
  [[nodiscard]] uint32_t size() const { return size_; }

  [[gnu::always_inline]] void prefetch(uint64_t hash) const { __builtin_prefetch(&buckets_[bucket_of(hash)]); }

  /// First entry whose tag matches, for prefetching the place behind it; may be another tuple's. Without a branch.
  [[nodiscard]] Ref peek(uint64_t hash) const {
    const Bucket& b = buckets_[bucket_of(hash)];
    return Ref(b.ref[std::countr_zero(same_tags(b, tag_of(hash)) | 1u << kPerBucket)]);
  }

  /// The place for which matches(ref) holds, or none.
  template <class Matches>
  [[nodiscard]] Ref find(uint64_t hash, Matches&& matches) const {
    const uint32_t tag = tag_of(hash);
    for (uint32_t at = bucket_of(hash);; at = (at + 1) & mask_) {
      const Bucket& b = buckets_[at];
      for (uint32_t found = same_tags(b, tag); found != 0; found &= found - 1) {
        const Ref ref(b.ref[std::countr_zero(found)]);
        if (matches(ref)) return ref;
      }
      if (b.overflow == 0) return {};
    }
  }

  [[nodiscard]] bool full() const { return size_ >= limit_; }
  /// False if the table is at its limit. The tuple must not be present.
  [[nodiscard]] bool insert(uint64_t hash, Ref ref) {
    if (size_ >= limit_) return false;
    const uint32_t tag = tag_of(hash);
    for (uint32_t at = bucket_of(hash);; at = (at + 1) & mask_) {
      Bucket& b = buckets_[at];
      for (uint32_t i = 0; i < kPerBucket; ++i) {
        if (b.tag[i] == 0) {
          b.tag[i] = tag;
          b.ref[i] = ref.raw;
          ++size_;
          return true;
        }
      }
      ++b.overflow;
    }
  }

  /// Changes what the tuple's entry names; the entry must exist.
  void replace(uint64_t hash, Ref old_ref, Ref new_ref) {
    uint32_t bucket = 0;
    uint32_t slot = 0;
    locate(hash, old_ref, bucket, slot);
    buckets_[bucket].ref[slot] = new_ref.raw;
  }

  void erase(uint64_t hash, Ref ref) {
    uint32_t bucket = 0;
    uint32_t slot = 0;
    locate(hash, ref, bucket, slot);
    buckets_[bucket].tag[slot] = 0;
    buckets_[bucket].ref[slot] = 0;
    for (uint32_t at = bucket_of(hash); at != bucket; at = (at + 1) & mask_) --buckets_[at].overflow;
    --size_;
  }

 private:
  static constexpr uint32_t kPerBucket = 7;
  struct alignas(64) Bucket {
    uint32_t tag[kPerBucket];  // 0 = free
    uint32_t overflow;         // entries that belong here or before and lie further on
    uint32_t ref[kPerBucket + 1];  // the last is always none
  };
  static_assert(sizeof(Bucket) == 64);

  /// Bit i set: entry i has the tag. Without a branch, since any of the seven is as likely as the others.
  [[nodiscard]] static uint32_t same_tags(const Bucket& b, uint32_t tag) {
#ifdef __SSE2__
    const __m128i wanted = _mm_set1_epi32(static_cast<int>(tag));
    const auto* tags = reinterpret_cast<const __m128i*>(b.tag);  // the eighth lane is `overflow`
    const __m128i low = _mm_cmpeq_epi32(_mm_load_si128(tags), wanted);
    const __m128i high = _mm_cmpeq_epi32(_mm_load_si128(tags + 1), wanted);
    const int bits = _mm_movemask_ps(_mm_castsi128_ps(low)) | _mm_movemask_ps(_mm_castsi128_ps(high)) << 4;
    return static_cast<uint32_t>(bits) & ((1u << kPerBucket) - 1);
#else
    uint32_t found = 0;
    for (uint32_t i = 0; i < kPerBucket; ++i) found |= static_cast<uint32_t>(b.tag[i] == tag) << i;
    return found;
#endif
  }

  [[nodiscard]] uint32_t bucket_of(uint64_t hash) const { return static_cast<uint32_t>(hash) & mask_; }
  [[nodiscard]] static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32) | 1u; }

  void locate(uint64_t hash, Ref ref, uint32_t& bucket, uint32_t& slot) const {
    for (uint32_t at = bucket_of(hash), steps = 0; steps <= mask_; at = (at + 1) & mask_, ++steps) {
      for (uint32_t i = 0; i < kPerBucket; ++i) {
        if (buckets_[at].ref[i] == ref.raw && buckets_[at].tag[i] == tag_of(hash)) {
          bucket = at;
          slot = i;
          return;
        }
      }
    }
    MR_UNREACHABLE();
  }

  Bucket* buckets_ = nullptr;
  uint32_t mask_ = 0;
  uint32_t limit_ = 0;
  uint32_t size_ = 0;
};

}  // namespace millrace::tcp
