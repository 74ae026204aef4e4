// Files of a directory behind the HTTP server, and the parts of Site that need no server.
#include <filesystem>
#include <fstream>

#include "httpd/response.h"
#include "httpd_fixture.h"

namespace millrace::httpd {
namespace {

namespace fs = std::filesystem;

class Files : public ::testing::Test {
 protected:
  Files() : top_(fs::temp_directory_path() / ("millrace_files_" + std::to_string(::getpid()))) {
    fs::remove_all(top_);
    write("root/index.html", "<p>front</p>");
    write("root/a b.txt", "spaced");
    write("root/sub/index.html", "<p>sub</p>");
    write("root/sub/big.bin", pattern_text(5, 300'000));
    write("secret", "not for you");
    fs::create_symlink(top_ / "secret", top_ / "root/link");
  }
  ~Files() override { fs::remove_all(top_); }

  void write(const std::string& name, const std::string& text) {
    fs::create_directories((top_ / name).parent_path());
    std::ofstream(top_ / name, std::ios::binary) << text;
  }
  std::string root() const { return (top_ / "root").string(); }
  Response ask(const std::string& text) {
    Site site("a test");
    EXPECT_EQ(site.load(root(), 1 << 20), "");
    test::FakeDoor door;
    HttpdProgram program({}, std::move(site));
    Net net(door);
    program.start(net);
    const uint32_t id = door.dial(80);
    door.feed(id, text);
    door.run(program);
    std::string out = door.take_out(id);
    return take_response(out, text.starts_with("HEAD"));
  }

  fs::path top_;
};

TEST_F(Files, AreServedWithTypeAndTime) {
  const Response r = ask(get("/sub/big.bin"));
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.header("Content-Type"), "application/octet-stream");
  EXPECT_TRUE(r.body == pattern_text(5, 300'000));
  EXPECT_EQ(r.header("Last-Modified").size(), 29u);
  EXPECT_EQ(ask(get("/a%20b.txt")).body, "spaced");
  EXPECT_EQ(ask(get("/a%20b.txt")).header("Content-Type"), "text/plain; charset=utf-8");
}

TEST_F(Files, AnIndexStandsForItsDirectory) {
  EXPECT_EQ(ask(get("/")).body, "<p>front</p>");
  EXPECT_EQ(ask(get("/sub/")).body, "<p>sub</p>");
  const Response moved = ask(get("/sub"));
  EXPECT_EQ(moved.status, 301);
  EXPECT_EQ(moved.header("Location"), "/sub/");
}

TEST_F(Files, NothingOutsideTheRootIsServed) {
  for (const char* target :
       {"/../secret", "/sub/../../secret", "/%2e%2e/secret", "/link", "//secret", "/sub/..%2f..%2fsecret"}) {
    EXPECT_NE(ask(get(target)).status, 200) << target;
  }
}

TEST_F(Files, AnUnchangedFileIsNotSentAgain) {
  const std::string time = ask(get("/a%20b.txt")).header("Last-Modified");
  const Response r = ask(get("/a%20b.txt", "If-Modified-Since: " + time + "\r\n"));
  EXPECT_EQ(r.status, 304);
  EXPECT_EQ(r.body, "");
  EXPECT_EQ(ask(get("/a%20b.txt", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n")).status, 200);
}

TEST_F(Files, ARangeOfAFileIsServed) {
  const Response r = ask(get("/sub/big.bin", "Range: bytes=100000-299999\r\n"));
  EXPECT_EQ(r.status, 206);
  EXPECT_TRUE(r.body == pattern_text(100'005, 200'000));
}

TEST_F(Files, TooManyBytesAreRefusedAtTheStart) {
  Site site("a test");
  EXPECT_NE(site.load(root(), 1000).find("larger than"), std::string::npos);
  EXPECT_NE(Site("a test").load(root() + "/nowhere", 1000).find("not a directory"), std::string::npos);
}

TEST(HttpDate, HasTheFixedForm) {
  EXPECT_EQ(http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");  // the example of RFC 9110 5.6.7
}

}  // namespace
}  // namespace millrace::httpd
