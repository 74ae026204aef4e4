// Checks what a server sends back, cheaply: a response that equals, byte for byte, one that was checked before is good.
// Only others are parsed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace millrace::load {

enum class Fault : uint8_t { kNone, kSyntax, kStatus, kLength, kContent };
inline constexpr const char* kFaultNames[] = {"none", "syntax", "status", "length", "content"};

/// Byte `i` of the bodies of /bytes/N is i modulo 251; a piece of it, at most 64 KiB.
[[nodiscard]] std::string_view pattern_piece(uint64_t offset, uint64_t length);

/// Where one connection stands within a response. The rest is in the checker.
struct ResponseState {
  uint64_t body_left = 0;
  bool partial_head = false;
};

class ResponseChecker {
 public:
  /// `pattern_bytes`: the bodies have exactly so many bytes and follow the pattern; 0: any good response of a constant
  /// length will do. `check_all`: every byte of such a body is compared, not some of each piece.
  explicit ResponseChecker(uint64_t pattern_bytes, bool check_all)
      : pattern_bytes_(pattern_bytes), check_all_(check_all) {}

  struct Outcome {
    size_t consumed = 0;
    bool complete = false;      ///< a response ended here
    Fault fault = Fault::kNone; ///< the connection is of no use any more
    uint64_t body_bytes = 0;    ///< of what was consumed
  };
  /// Takes the front of `data`, up to the end of one response. `key` names the connection.
  Outcome feed(uint32_t key, ResponseState& state, std::string_view data) {
    if (state.body_left == 0 && !state.partial_head && !known_.empty() && data.size() >= known_.size() &&
        known_.compare(0, known_.size(), data.data(), known_.size()) == 0) {
      return {known_.size(), true, Fault::kNone, known_body_};
    }
    return feed_slowly(key, state, data);
  }
  /// The connection is gone.
  void forget(uint32_t key, ResponseState& state);

  /// Body bytes of a response; 0 until one was seen.
  [[nodiscard]] uint64_t body_bytes() const { return body_bytes_; }

 private:
  Outcome feed_slowly(uint32_t key, ResponseState& state, std::string_view data);
  Outcome feed_body(ResponseState& state, std::string_view data);
  Outcome feed_partial(uint32_t key, ResponseState& state, std::string_view data);
  Fault read_head(std::string_view head, uint64_t& length);
  void learn(std::string_view response, uint64_t body);

  uint64_t pattern_bytes_;
  bool check_all_;
  uint64_t body_bytes_ = 0;
  std::string known_;        ///< a whole response that was found good
  std::string known_text_;   ///< its body; other bodies must equal it
  uint64_t known_body_ = 0;
  std::unordered_map<uint32_t, std::string> partial_;  ///< heads that did not come in one piece
};

}  // namespace millrace::load
