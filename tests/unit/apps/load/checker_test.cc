// Unit tests of the check of responses.
#include "load/response_checker.h"

#include <gtest/gtest.h>

namespace millrace::load {
namespace {

std::string response(const std::string& body, const std::string& status = "200 OK", const std::string& more = {}) {
  return "HTTP/1.1 " + status + "\r\n" + more + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string pattern(size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(i % 251));
  return text;
}

/// Feeds all of `text` in pieces; the fault or kNone, and the number of responses.
std::pair<Fault, int> feed_all(ResponseChecker& checker, const std::string& text, size_t piece) {
  ResponseState state;
  int complete = 0;
  for (size_t at = 0; at < text.size(); at += piece) {
    std::string_view data = std::string_view(text).substr(at, piece);
    while (!data.empty()) {
      const auto got = checker.feed(1, state, data);
      if (got.fault != Fault::kNone) return {got.fault, complete};
      EXPECT_GT(got.consumed, 0u);
      data.remove_prefix(got.consumed);
      complete += static_cast<int>(got.complete);
    }
  }
  EXPECT_FALSE(state.partial_head);
  EXPECT_EQ(state.body_left, 0u);
  return {Fault::kNone, complete};
}

TEST(ResponseChecker, CountsResponsesHoweverTheyAreCut) {
  const std::string one = response("sixty-four", "200 OK", "Date: x\r\n");
  const std::string three = one + one + one;
  for (size_t piece = 1; piece <= three.size(); ++piece) {
    ResponseChecker checker(0, false);
    EXPECT_EQ(feed_all(checker, three, piece), std::pair(Fault::kNone, 3)) << piece;
  }
}

TEST(ResponseChecker, AcceptsAnotherHeadWithTheSameBody) {
  ResponseChecker checker(0, false);
  EXPECT_EQ(feed_all(checker, response("abc", "200 OK", "Date: 1\r\n") + response("abc", "200 OK", "Date: 2\r\n"), 999),
            std::pair(Fault::kNone, 2));
}

TEST(ResponseChecker, RefusesAnotherBody) {
  ResponseChecker checker(0, false);
  EXPECT_EQ(feed_all(checker, response("abc") + response("abd"), 999), std::pair(Fault::kContent, 1));
}

TEST(ResponseChecker, RefusesAnotherLength) {
  ResponseChecker checker(0, false);
  EXPECT_EQ(feed_all(checker, response("abc") + response("abcd"), 999), std::pair(Fault::kLength, 1));
  ResponseChecker want(1000, false);
  EXPECT_EQ(feed_all(want, response(pattern(999)), 9999).first, Fault::kLength);
}

TEST(ResponseChecker, RefusesOtherStatusesAndNoise) {
  ResponseChecker checker(0, false);
  EXPECT_EQ(feed_all(checker, response("abc", "404 Not Found"), 999).first, Fault::kStatus);
  EXPECT_EQ(feed_all(checker, "SSH-2.0-x\r\n\r\n", 999).first, Fault::kSyntax);
  EXPECT_EQ(feed_all(checker, "HTTP/1.1 200 OK\r\n\r\n", 999).first, Fault::kLength);
  EXPECT_EQ(feed_all(checker, std::string(20'000, 'x'), 700).first, Fault::kSyntax);
}

TEST(ResponseChecker, FollowsThePatternOfLongBodies) {
  const std::string good = response(pattern(200'000));
  for (const size_t piece : {1000, 1448, 65'536, 300'000}) {
    ResponseChecker checker(200'000, true);
    EXPECT_EQ(feed_all(checker, good + good, piece), std::pair(Fault::kNone, 2)) << piece;
  }
}

TEST(ResponseChecker, FindsEveryWrongByteWhenAskedTo) {
  std::string bad = response(pattern(20'000));
  for (const size_t at : {100, 5'000, 19'999}) {
    std::string text = bad;
    text[text.size() - 20'000 + at] ^= 1;
    ResponseChecker checker(20'000, true);
    EXPECT_EQ(feed_all(checker, text, 1448).first, Fault::kContent) << at;
  }
}

TEST(ResponseChecker, FindsAMissingSegmentWithoutComparingAll) {
  std::string text = response(pattern(20'000));
  text.erase(text.size() - 10'000, 1448);
  text += pattern(1448);
  ResponseChecker checker(20'000, false);
  EXPECT_EQ(feed_all(checker, text, 1448).first, Fault::kContent);
}

}  // namespace
}  // namespace millrace::load
