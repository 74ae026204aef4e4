#include "impair/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>

namespace millrace::impair {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};
constexpr std::array kBits = {Unit{"", 1}, Unit{"k", 1e3}, Unit{"M", 1e6}, Unit{"G", 1e9}};
constexpr std::array kBytes = {Unit{"", 1}, Unit{"k", 1e3}, Unit{"M", 1e6}, Unit{"bdp", 0}};
constexpr std::array kTimes = {Unit{"us", 1e3}, Unit{"ms", 1e6}, Unit{"s", 1e9}};
constexpr std::array kShares = {Unit{"%", kBillion / 100.0}};
constexpr std::array kCounts = {Unit{"", 1}};

struct Quantity {
  double value = 0;
  std::string_view unit;
};

/// A number that is not negative, with one of the units; `most` bounds the value in the base unit.
std::optional<Quantity> quantity(std::string_view text, std::span<const Unit> units, double most) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !(number >= 0)) return std::nullopt;
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  for (const Unit& u : units) {
    if (u.name != unit) continue;
    const double value = u.factor == 0 ? number : number * u.factor;
    if (value > most) return std::nullopt;
    return Quantity{value, unit};
  }
  return std::nullopt;
}

constexpr double kMostBits = 1e12;
constexpr double kMostBytes = 1e10;
constexpr double kMostTime = 60e9;  // a minute
constexpr double kMostShare = kBillion;

/// What bursts are made of, kept until all keys are read: their order must not matter.
struct Bursts {
  double rate = 0;
  double length = 8;
};

bool set_time(std::string_view value, Duration& into) {
  const auto q = quantity(value, kTimes, kMostTime);
  if (q) into = Duration(static_cast<int64_t>(q->value));
  return q.has_value();
}

bool set_share(std::string_view value, uint32_t& into) {
  const auto q = quantity(value, kShares, kMostShare);
  if (q) into = static_cast<uint32_t>(q->value);
  return q.has_value();
}

bool set_bytes(std::string_view value, uint64_t& bytes, double* products) {
  const auto q = quantity(value, kBytes, kMostBytes);
  if (!q || (q->unit == "bdp" && products == nullptr)) return false;
  if (products != nullptr) *products = q->unit == "bdp" ? q->value : 0;
  if (q->unit != "bdp") bytes = static_cast<uint64_t>(q->value);
  return true;
}

/// nullopt: no such key; false: not a value for it.
std::optional<bool> set(std::string_view key, std::string_view value, PathText& into, Bursts& bursts) {
  PathConfig& c = into.config;
  if (key == "rate") {
    const auto q = quantity(value, kBits, kMostBits);
    if (q) c.bits_per_second = static_cast<uint64_t>(q->value);
    return q.has_value();
  }
  if (key == "queue") return set_bytes(value, c.queue_bytes, &into.queue_bdp);
  if (key == "mark") return set_bytes(value, c.mark_bytes, nullptr);
  if (key == "delay") return set_time(value, c.delay);
  if (key == "jitter") return set_time(value, c.jitter);
  if (key == "reorder_by") return set_time(value, c.reorder_by);
  if (key == "loss") return set_share(value, c.loss);
  if (key == "duplicate") return set_share(value, c.duplicate);
  if (key == "reorder") return set_share(value, c.reorder);
  if (key == "burst_loss") {
    const auto q = quantity(value, kShares, kMostShare * 0.9);
    if (q) bursts.rate = q->value;
    return q.has_value();
  }
  if (key == "burst_length") {
    const auto q = quantity(value, kCounts, 1e6);
    if (q) bursts.length = q->value;
    return q.has_value() && q->value >= 1;
  }
  return std::nullopt;
}

tl::unexpected<std::string> complaint(std::string_view before, std::string_view what, std::string_view after) {
  return tl::unexpected(std::string(before).append(what).append(after));
}

}  // namespace

tl::expected<void, std::string> parse_path(std::string_view text, PathText& into) {
  Bursts bursts;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view pair = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return complaint("'", pair, "' is not key=value");
    const std::string_view key = pair.substr(0, equals);
    const auto good = set(key, pair.substr(equals + 1), into, bursts);
    if (!good) return complaint("there is no key '", key, "'");
    if (!*good) return complaint("'", pair, "': no such value");
  }
  if (bursts.rate > 0) into.config.set_bursts(static_cast<uint32_t>(bursts.rate), bursts.length);
  return {};
}

void resolve_queues(PathText& one, PathText& other) {
  const Duration round_trip = one.config.delay + other.config.delay;
  for (PathText* path : {&one, &other}) {
    if (path->queue_bdp == 0) continue;
    path->config.queue_bytes = queue_bytes_of(path->config.bits_per_second, round_trip, path->queue_bdp);
  }
}

}  // namespace millrace::impair
