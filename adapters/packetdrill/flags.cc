#include "flags.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "tcp/cc/controller.h"
#include "tcp/fast_open.h"

namespace millrace::packetdrill {
namespace {

std::optional<int64_t> number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x")) {
    text.remove_prefix(2);
    base = 16;
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// The n-th word of "4096 540000 15728640"; a single word is taken as it is. Words are split by blanks, tabs or colons,
// since a comma ends a flag.
std::optional<int64_t> word(std::string_view text, size_t n) {
  constexpr std::string_view kBetween = " \t:";
  for (size_t at = 0;; ++at) {
    const size_t begin = text.find_first_not_of(kBetween);
    if (begin == std::string_view::npos) return std::nullopt;
    text.remove_prefix(begin);
    const std::string_view one = text.substr(0, text.find_first_of(kBetween));
    text.remove_prefix(one.size());
    const bool only = at == 0 && text.find_first_not_of(kBetween) == std::string_view::npos;
    if (at == n || only) return number(one);
  }
}

// "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4", each word standing for four bytes from the least significant on. A second key,
// the one before, is split off by a colon, since a comma ends a flag.
std::array<uint64_t, 2> fast_open_key(std::string_view text) {
  std::array<uint64_t, 2> key{};
  for (size_t i = 0; i < 4 && !text.empty(); ++i) {
    const std::string_view one = text.substr(0, text.find('-'));
    text.remove_prefix(std::min(one.size() + 1, text.size()));
    uint32_t part = 0;
    (void)std::from_chars(one.data(), one.data() + one.size(), part, 16);
    key[i / 2] |= uint64_t{part} << (32 * (i % 2));
  }
  return key;
}

tcp::Settings assumed() {
  tcp::Settings s;
  s.ecn = 0;
  s.slow_start_after_idle = 0;
  s.fastopen = tcp::kFastOpenClient | tcp::kFastOpenServer | tcp::kFastOpenAllListeners;
  s.send_buffer = 256 * 1'024;
  s.receive_buffer = 540'000;
  s.receive_buffer_max = 15 * 1'024 * 1'024;
  s.syn_retries = 5;
  s.timestamps_strict = 0;
  s.challenge_acks_per_second = 0;
  s.mtu_probing = 0;
  return s;
}

void apply_switch(int64_t& row, std::string_view value) {
  if (const auto n = number(value)) row = *n != 0 ? 1 : 0;
}

void apply_tcp(Flags& flags, std::string_view key, std::string_view value) {
  tcp::Settings& s = flags.tcp;
  if (key == "tcp_timestamps") apply_switch(s.timestamps, value);
  if (key == "tcp_sack") apply_switch(s.sack, value);
  if (key == "tcp_window_scaling") apply_switch(s.window_scaling, value);
  if (key == "tcp_syn_retries") s.syn_retries = std::max<int64_t>(number(value).value_or(s.syn_retries), 1);
  if (key == "tcp_synack_retries") s.synack_retries = std::max<int64_t>(number(value).value_or(s.synack_retries), 1);
  if (key == "tcp_retries1") s.retries1 = std::max<int64_t>(number(value).value_or(s.retries1), 1);
  if (key == "tcp_retries2") s.retries = std::max<int64_t>(number(value).value_or(s.retries), 3);
  if (key == "tcp_rmem_max") s.receive_buffer_max = number(value).value_or(s.receive_buffer_max);
  if (key == "tcp_rmem") {
    s.receive_buffer = word(value, 1).value_or(s.receive_buffer);
    s.receive_buffer_max = word(value, 2).value_or(s.receive_buffer_max);
  }
  if (key == "tcp_congestion_control") {
    if (const uint8_t row = tcp::cc::find_controller(value); row != tcp::cc::kNoController) s.congestion_control = row;
  }
  if (key == "tcp_fastopen") s.fastopen = number(value).value_or(s.fastopen) & 0x607;
  if (key == "tcp_fastopen_key") {
    const size_t colon = value.find(':');
    flags.fast_open_key = fast_open_key(value.substr(0, colon));
    flags.fast_open_old_key =
        colon != std::string_view::npos ? fast_open_key(value.substr(colon + 1)) : flags.fast_open_key;
  }
  if (key == "tcp_ecn") s.ecn = std::clamp<int64_t>(number(value).value_or(s.ecn), 0, 5);
  if (key == "tcp_slow_start_after_idle") apply_switch(s.slow_start_after_idle, value);
  if (key == "tcp_syncookies") s.syncookies = std::clamp<int64_t>(number(value).value_or(1), 0, 2);
  if (key == "tcp_wmem") s.send_buffer = word(value, 1).value_or(s.send_buffer);
  if (key == "tcp_notsent_lowat") {
    s.notsent_lowat = std::max(static_cast<uint32_t>(number(value).value_or(UINT32_MAX)), 1u);
  }
  if (key == "tcp_mtu_probing") s.mtu_probing = std::clamp<int64_t>(number(value).value_or(0), 0, 2);
  if (key == "tcp_invalid_ratelimit") {
    s.challenge_interval_us = std::max<int64_t>(number(value).value_or(500), 0) * 1'000;
  }
}

void apply(Flags& flags, std::string_view key, std::string_view value) {
  if (key == "local") {
    if (const auto address = IpAddr::parse(value)) (address->is_v4() ? flags.local_v4 : flags.local_v6) = *address;
  }
  const auto n = number(value);
  if (key == "plen" && n && *n > 0 && *n <= 128) {
    flags.plen_v6 = static_cast<uint8_t>(*n);
    if (*n <= 32) flags.plen_v4 = static_cast<uint8_t>(*n);
  }
  if (key == "mtu" && n && *n >= 576 && *n <= 1'900) flags.mtu = static_cast<uint16_t>(*n);
  if (key == "seed" && n) flags.seed = static_cast<uint64_t>(*n);
  if (key == "rx_limit" && n && *n > 0) flags.rx_limit = seconds(*n);
  if ((key == "mode" && value == "port") || (key == "clock" && value == "real")) flags.port_mode = true;
  apply_tcp(flags, key, value);
}

void read_into(Flags& flags, std::string_view text) {
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view one = text.substr(0, comma);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    const size_t equals = one.find('=');
    if (equals != std::string_view::npos) apply(flags, one.substr(0, equals), one.substr(equals + 1));
  }
}

}  // namespace

Flags read_flags(std::string_view text, std::string_view more) {
  Flags flags;
  flags.local_v6 = *IpAddr::parse("fd3d:0a0b:17d6::1");
  flags.tcp = assumed();
  flags.fast_open_key = flags.fast_open_old_key = fast_open_key("a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4");
  read_into(flags, text);
  read_into(flags, more);
  return flags;
}

}  // namespace millrace::packetdrill
