// The HTTP server behind a FakeDoor, and what its tests say about responses.
#pragma once

#include <gtest/gtest.h>

#include <charconv>
#include <memory>
#include <string>

#include "../fake_door.h"
#include "httpd/program.h"

namespace millrace::httpd {

struct Response {
  int status = 0;
  std::string head;
  std::string body;

  [[nodiscard]] std::string header(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const size_t from = at + name.size() + 4;
    return head.substr(from, head.find("\r\n", from) - from);
  }
};

/// Takes the first response off `text`. `head_only`: it answers HEAD.
inline Response take_response(std::string& text, bool head_only = false) {
  Response r;
  const size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos || !text.starts_with("HTTP/1.1 ")) {
    ADD_FAILURE() << "no response in: " << text.substr(0, 200);
    return r;
  }
  r.head = text.substr(0, end + 4);
  r.status = std::stoi(text.substr(9, 3));
  size_t length = 0;
  const std::string stated = r.header("Content-Length");
  if (!head_only && !stated.empty()) length = std::stoul(stated);
  EXPECT_GE(text.size(), end + 4 + length) << r.head;
  r.body = text.substr(end + 4, length);
  text.erase(0, end + 4 + length);
  return r;
}

inline std::string get(const std::string& target, const std::string& headers = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: test\r\n" + headers + "\r\n";
}

class HttpdTest : public ::testing::Test {
 protected:
  explicit HttpdTest(HttpdOptions options = {.port = 80, .echo_port = 7}) : program_(options, Site("a test")) {
    Net net(door_);
    program_.start(net);
  }
  void TearDown() override { EXPECT_EQ(door_.borrowed(), held_at_end_) << "borrowed pieces were not given back"; }

  uint32_t dial(uint16_t port = 80) {
    const uint32_t id = door_.dial(port);
    run();
    return id;
  }
  void run() { door_.run(program_); }
  void say(uint32_t id, const std::string& text) {
    door_.feed(id, text);
    run();
  }
  /// Sends one request and takes the only response.
  Response ask(uint32_t id, const std::string& text, bool head_only = false) {
    say(id, text);
    std::string out = door_.take_out(id);
    Response r = take_response(out, head_only);
    EXPECT_EQ(out, "");
    return r;
  }

  test::FakeDoor door_;
  HttpdProgram program_;
  size_t held_at_end_ = 0;
};

inline std::string pattern_text(uint64_t offset, uint64_t length) {
  std::string text(length, '\0');
  for (uint64_t i = 0; i < length; ++i) text[i] = static_cast<char>((offset + i) % 251);
  return text;
}

}  // namespace millrace::httpd
