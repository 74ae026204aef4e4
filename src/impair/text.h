// A path in words, as it is written on a command line: "rate=100M,delay=20ms,queue=1bdp,loss=0.1%".
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "impair/path.h"

namespace millrace::impair {

/// A direction as written: what the text gives directly, and what only both directions together tell.
struct PathText {
  PathConfig config{};
  double queue_bdp = 0;  ///< queue in products of rate and round trip; 0: config.queue_bytes holds
};

/// The keys, with a word on each, for a program's help.
inline constexpr std::string_view kPathKeys =
    "  rate=100M          bits a second of the bottleneck (k, M, G); 0: none\n"
    "  queue=64k          bytes before it (k, M), or 0.5bdp\n"
    "  mark=30k           bytes of queue beyond which frames are marked (ECN)\n"
    "  loss=0.1%          of each frame alone\n"
    "  burst_loss=1%      in bursts, burst_length=8 frames in the mean\n"
    "  delay=20ms         one way (us, ms, s), jitter=1ms either side\n"
    "  reorder=1%         held back by up to reorder_by=5ms\n"
    "  duplicate=0.1%";

/// Reads key=value pairs over `into`. The error is a sentence that names the key.
[[nodiscard]] tl::expected<void, std::string> parse_path(std::string_view text, PathText& into);

/// Queues given in bandwidth-delay products become bytes; the round trip is that of both directions.
void resolve_queues(PathText& one, PathText& other);

}  // namespace millrace::impair
