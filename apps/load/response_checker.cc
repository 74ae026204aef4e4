// See response_checker.h.
#include "load/response_checker.h"

#include <strings.h>

#include <algorithm>
#include <charconv>
#include <vector>

namespace millrace::load {

namespace {

constexpr uint64_t kPeriod = 251;
constexpr uint64_t kPatternBuffer = 64 * 1024;
constexpr size_t kMaxHead = 16 * 1024;
constexpr size_t kMaxKnown = 8 * 1024;  ///< longer responses are not worth remembering
constexpr size_t kSample = 64;          ///< bytes compared of each piece of a long body

bool same_pattern(uint64_t offset, std::string_view text) {
  while (!text.empty()) {
    const std::string_view want = pattern_piece(offset, text.size());
    if (text.substr(0, want.size()) != want) return false;
    offset += want.size();
    text.remove_prefix(want.size());
  }
  return true;
}

}  // namespace

std::string_view pattern_piece(uint64_t offset, uint64_t length) {
  static const std::vector<char> buffer = [] {
    std::vector<char> bytes(kPatternBuffer + kPeriod);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i % kPeriod);
    return bytes;
  }();
  return {buffer.data() + offset % kPeriod, std::min(length, kPatternBuffer)};
}

Fault ResponseChecker::read_head(std::string_view head, uint64_t& length) {
  if (!head.starts_with("HTTP/1.") || head.size() < 12 || head[8] != ' ') return Fault::kSyntax;
  if (head.substr(9, 3) != "200") return Fault::kStatus;
  constexpr std::string_view kName = "\ncontent-length:";
  for (size_t at = head.find('\n'); at != std::string_view::npos; at = head.find('\n', at + 1)) {
    if (head.size() - at < kName.size() || strncasecmp(head.data() + at, kName.data(), kName.size()) != 0) continue;
    const char* first = head.data() + at + kName.size();
    const char* last = head.data() + head.size();
    while (first != last && *first == ' ') ++first;
    if (std::from_chars(first, last, length).ec != std::errc()) return Fault::kSyntax;
    const uint64_t want = pattern_bytes_ != 0 ? pattern_bytes_ : body_bytes_;
    if (want != 0 && length != want) return Fault::kLength;
    body_bytes_ = length;
    return Fault::kNone;
  }
  return Fault::kLength;
}

ResponseChecker::Outcome ResponseChecker::feed_slowly(uint32_t key, ResponseState& state, std::string_view data) {
  if (state.body_left > 0) return feed_body(state, data);
  if (state.partial_head) return feed_partial(key, state, data);
  const size_t end = data.find("\r\n\r\n");
  if (end == std::string_view::npos) {
    if (data.size() > kMaxHead) return {0, false, Fault::kSyntax, 0};
    partial_[key] = data;
    state.partial_head = true;
    return {data.size(), false, Fault::kNone, 0};
  }
  const size_t head = end + 4;
  uint64_t length = 0;
  const Fault fault = read_head(data.substr(0, head), length);
  if (fault != Fault::kNone) return {0, false, fault, 0};
  state.body_left = length;
  Outcome out = feed_body(state, data.substr(head));
  if (out.complete && out.fault == Fault::kNone && out.consumed == length) {
    const std::string_view body = data.substr(head, length);
    if (pattern_bytes_ == 0 && !known_.empty() && body != known_text_) out.fault = Fault::kContent;
    if (out.fault == Fault::kNone) learn(data.substr(0, head + length), length);
  }
  out.consumed += head;
  return out;
}

ResponseChecker::Outcome ResponseChecker::feed_body(ResponseState& state, std::string_view data) {
  const std::string_view body = data.substr(0, std::min<uint64_t>(data.size(), state.body_left));
  Outcome out{.consumed = body.size(), .body_bytes = body.size()};
  if (pattern_bytes_ != 0) {
    const uint64_t offset = pattern_bytes_ - state.body_left;
    const bool whole = check_all_ || body.size() <= 2 * kSample;
    const bool good = whole ? same_pattern(offset, body)
                            : same_pattern(offset, body.substr(0, kSample)) &&
                                  same_pattern(offset + body.size() - kSample, body.substr(body.size() - kSample));
    if (!good) out.fault = Fault::kContent;
  }
  state.body_left -= body.size();
  out.complete = state.body_left == 0;
  return out;
}

ResponseChecker::Outcome ResponseChecker::feed_partial(uint32_t key, ResponseState& state, std::string_view data) {
  std::string& begun = partial_[key];
  const size_t before = begun.size();
  begun.append(data.substr(0, kMaxHead));
  const size_t end = begun.find("\r\n\r\n");
  if (end == std::string::npos) {
    if (begun.size() > kMaxHead) return {0, false, Fault::kSyntax, 0};
    return {data.size(), false, Fault::kNone, 0};
  }
  uint64_t length = 0;
  const Fault fault = read_head(std::string_view(begun).substr(0, end + 4), length);
  const size_t head_rest = end + 4 - before;
  forget(key, state);
  if (fault != Fault::kNone) return {0, false, fault, 0};
  state.body_left = length;
  Outcome out = feed_body(state, data.substr(head_rest));
  out.consumed += head_rest;
  return out;
}

void ResponseChecker::learn(std::string_view response, uint64_t body) {
  if (response.size() > kMaxKnown) return;
  known_ = response;
  known_text_ = response.substr(response.size() - body);
  known_body_ = body;
}

void ResponseChecker::forget(uint32_t key, ResponseState& state) {
  if (state.partial_head) partial_.erase(key);
  state = {};
}

}  // namespace millrace::load
