// What the HTTP server answers to which request (RFC 9110, RFC 9112).
#include "httpd_fixture.h"

namespace millrace::httpd {
namespace {

using Requests = HttpdTest;

TEST_F(Requests, TheFrontPageSaysHelloAndWhatServedIt) {
  const Response r = ask(dial(), get("/"));
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.header("Content-Type"), "text/html; charset=utf-8");
  EXPECT_NE(r.body.find("Hello from Millrace"), std::string::npos);
  EXPECT_NE(r.body.find("a test"), std::string::npos);
  EXPECT_EQ(r.header("Date").size(), 29u);
}

TEST_F(Requests, TheSmallBodyHas64Bytes) {
  const Response r = ask(dial(), get("/small"));
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.body.size(), 64u);
}

TEST_F(Requests, BytesFollowTheKnownPattern) {
  for (const uint64_t n : {0, 1, 250, 251, 252, 8192, 8193, 262'144, 1'000'003}) {
    const Response r = ask(dial(), get("/bytes/" + std::to_string(n)));
    EXPECT_EQ(r.status, 200);
    EXPECT_TRUE(r.body == pattern_text(0, n)) << n;
  }
}

TEST_F(Requests, BytesOfANonsenseCountAreNotFound) {
  for (const char* n : {"", "x", "-1", "1x", "99999999999999999999", "1/2"}) {
    EXPECT_EQ(ask(dial(), get(std::string("/bytes/") + n)).status, 404) << n;
  }
}

TEST_F(Requests, HeadGetsTheHeadOfGetAndNoBody) {
  const uint32_t id = dial();
  const std::string head = "HEAD /bytes/1000 HTTP/1.1\r\nHost: a\r\n\r\n";
  const Response r = ask(id, head, true);
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.header("Content-Length"), "1000");
  EXPECT_EQ(ask(id, "HEAD /small HTTP/1.1\r\nHost: a\r\n\r\n", true).header("Content-Length"), "64");
  EXPECT_FALSE(door_.at(id).closed);
}

TEST_F(Requests, AnUnknownPathIsNotFoundAndTheConnectionStays) {
  const uint32_t id = dial();
  EXPECT_EQ(ask(id, get("/nothing")).status, 404);
  EXPECT_EQ(ask(id, get("/small")).status, 200);
}

TEST_F(Requests, OtherMethodsAreNotAllowed) {
  const uint32_t id = dial();
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"}) {
    const Response r = ask(id, std::string(method) + " / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    EXPECT_EQ(r.status, 405) << method;
    EXPECT_EQ(r.header("Allow"), "GET, HEAD");
  }
  EXPECT_EQ(ask(id, get("/small")).status, 200);
}

struct Refused {
  const char* name;
  std::string request;
  int status;
};

class Refusals : public HttpdTest, public ::testing::WithParamInterface<Refused> {};

TEST_P(Refusals, AreAnsweredAndEndTheConnection) {
  const uint32_t id = dial();
  const Response r = ask(id, GetParam().request);
  EXPECT_EQ(r.status, GetParam().status);
  EXPECT_EQ(r.header("Connection"), "close");
  EXPECT_TRUE(door_.at(id).out_end);
  EXPECT_FALSE(door_.at(id).closed) << "a close over unread data would reset the connection";
  say(id, "the rest of what the client wanted to send");
  door_.peer_end(id);
  run();
  EXPECT_TRUE(door_.at(id).closed);
  EXPECT_FALSE(door_.at(id).closed_unread);
}

INSTANTIATE_TEST_SUITE_P(
    Each, Refusals,
    ::testing::Values(
        Refused{"garbage", "GET /\x01 HTTP/1.1\r\n\r\n", 400}, Refused{"nohost", "GET / HTTP/1.1\r\n\r\n", 400},
        Refused{"twohosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        Refused{"badlength", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400},
        Refused{"smuggling",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        Refused{"unknownmethod", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        Refused{"http2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        Refused{"hugebody", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", 413},
        Refused{"longtarget", "GET /" + std::string(8000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
        Refused{"longhead", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(17'000, 'a') + "\r\n\r\n", 431},
        Refused{"expect", "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", 405}),
    [](const auto& test) { return test.param.name; });

TEST_F(Requests, AChunkedBodyBeyondTheLimitIsRefused) {
  const uint32_t id = dial();
  say(id, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 17; ++i) say(id, "10000\r\n" + std::string(65'536, 'x') + "\r\n");
  std::string out = door_.take_out(id);
  EXPECT_EQ(take_response(out).status, 413);
}

TEST_F(Requests, TheCloseOptionEndsTheConnectionBehindTheResponse) {
  const uint32_t id = dial();
  const Response r = ask(id, get("/small", "Connection: close\r\n"));
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.header("Connection"), "close");
  EXPECT_TRUE(door_.at(id).closed);
  EXPECT_EQ(program_.http().connections(), 0u);
}

TEST_F(Requests, AnOldClientIsClosedUnlessItAsksToStay) {
  const uint32_t closed = dial();
  EXPECT_EQ(ask(closed, "GET /small HTTP/1.0\r\n\r\n").status, 200);
  EXPECT_TRUE(door_.at(closed).closed);
  const uint32_t kept = dial();
  const Response r = ask(kept, "GET /small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(r.header("Connection"), "keep-alive");
  EXPECT_FALSE(door_.at(kept).closed);
}

TEST_F(Requests, AnUpgradeIsIgnored) {
  const uint32_t id = dial();
  EXPECT_EQ(ask(id, get("/small", "Connection: Upgrade\r\nUpgrade: websocket\r\n")).status, 200);
  EXPECT_EQ(ask(id, get("/small")).status, 200);
}

TEST_F(Requests, TheAbsoluteFormOfATargetIsUnderstood) {
  EXPECT_EQ(ask(dial(), get("http://test/small")).body.size(), 64u);
  EXPECT_EQ(ask(dial(), get("/small?query=1")).body.size(), 64u);
  EXPECT_EQ(ask(dial(), get("/%73mall")).body.size(), 64u);
  EXPECT_EQ(ask(dial(), get("/%7")).status, 400);
  EXPECT_EQ(ask(dial(), get("/a%00b")).status, 400);
}

TEST_F(Requests, OneRangeIsObeyed) {
  const uint32_t id = dial();
  Response r = ask(id, get("/bytes/1000", "Range: bytes=10-19\r\n"));
  EXPECT_EQ(r.status, 206);
  EXPECT_EQ(r.header("Content-Range"), "bytes 10-19/1000");
  EXPECT_EQ(r.body, pattern_text(10, 10));
  r = ask(id, get("/bytes/1000", "Range: bytes=990-\r\n"));
  EXPECT_EQ(r.header("Content-Range"), "bytes 990-999/1000");
  EXPECT_EQ(r.body, pattern_text(990, 10));
  EXPECT_EQ(ask(id, get("/bytes/1000", "Range: bytes=-3\r\n")).body, pattern_text(997, 3));
  EXPECT_EQ(ask(id, get("/bytes/1000", "Range: bytes=5-5000\r\n")).body, pattern_text(5, 995));
  EXPECT_EQ(ask(id, get("/bytes/1000", "Range: bytes=1000-\r\n")).status, 416);
  for (const char* odd : {"bytes=3-1", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=-"}) {
    EXPECT_EQ(ask(id, get("/bytes/10", std::string("Range: ") + odd + "\r\n")).status, 200) << odd;
  }
}

TEST_F(Requests, AnUploadIsCountedAndSummed) {
  const uint32_t id = dial();
  const Response r = ask(id, "PUT /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789");
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.body, "9 cbf43926\n");  // the check value of CRC-32
  EXPECT_EQ(ask(id, "POST /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").body, "0 00000000\n");
}

TEST_F(Requests, AnUploadThatWaitsIsToldToContinue) {
  const uint32_t id = dial();
  say(id, "PUT /sum HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
  EXPECT_EQ(door_.take_out(id), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(ask(id, "123456789").body, "9 cbf43926\n");
}

TEST_F(Requests, RepeatedRequestsOfEqualBytesGetEqualAnswers) {
  const uint32_t id = dial();
  for (const char* target : {"/small", "/", "/nothing", "/bytes/100"}) {
    const Response first = ask(id, get(target));
    for (int i = 0; i < 3; ++i) {
      const Response again = ask(id, get(target));
      EXPECT_EQ(again.head, first.head);
      EXPECT_EQ(again.body, first.body);
    }
  }
  // One byte more than a remembered request is another request.
  EXPECT_EQ(ask(id, get("/smally")).status, 404);
  EXPECT_EQ(ask(id, get("/small", "X: y\r\n")).status, 200);
}

}  // namespace
}  // namespace millrace::httpd
