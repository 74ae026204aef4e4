#include "base/trace.h"

#include <algorithm>

namespace millrace::base {
namespace {

constexpr const char* kNames[] = {
#define X(id, name, argument) name,
    MILLRACE_TRACE_EVENTS(X)
#undef X
};

}  // namespace

void TraceRing::keep(uint32_t conn) {
  if (!kept_.empty() && next_ - kept_[(next_kept_ + kKept - 1) % kKept].at < kKeptRecords &&
      kept_[(next_kept_ + kKept - 1) % kKept].conn == conn) {
    return;
  }
  if (kept_.empty()) kept_.resize(kKept);
  Keepsake& slot = kept_[next_kept_++ % kKept];
  slot.at = next_;
  slot.conn = conn;
  slot.records = newest(kKeptRecords);
}

std::vector<TraceRecord> TraceRing::newest(uint32_t count) const {
  const uint64_t have = std::min<uint64_t>({count, next_, kRecords});
  std::vector<TraceRecord> out;
  out.reserve(have);
  for (uint64_t i = next_ - have; i < next_; ++i) out.push_back(ring_[i & (kRecords - 1)]);
  return out;
}

std::vector<TraceRecord> TraceRing::kept(uint32_t conn) const {
  const Keepsake* best = nullptr;
  for (const Keepsake& k : kept_) {
    if (k.records.empty() || (conn != 0 && k.conn != conn)) continue;
    if (best == nullptr || k.at > best->at) best = &k;
  }
  return best == nullptr ? std::vector<TraceRecord>{} : best->records;
}

std::string TraceRing::format(const std::vector<TraceRecord>& records) {
  std::string out;
  uint32_t now_us = 0;
  for (const TraceRecord& r : records) {
    if (static_cast<TraceEvent>(r.event) == TraceEvent::kTime) {
      now_us = r.argument;
      continue;
    }
    const char* name = r.event < std::size(kNames) ? kNames[r.event] : "?";
    out += std::to_string(now_us / 1'000'000) + "." + std::to_string(1'000'000 + now_us % 1'000'000).substr(1) +
           " conn " + std::to_string(r.conn) + " " + name + " " + std::to_string(r.argument) + "\n";
  }
  return out;
}

}  // namespace millrace::base
