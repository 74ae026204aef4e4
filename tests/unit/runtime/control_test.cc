// The control socket: questions, stale files, slow clients.
#include "runtime/control.h"

#include <gtest/gtest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <thread>

namespace millrace::runtime {
namespace {

class Control : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("millrace-control-" + std::to_string(getpid()) + ".sock");
    std::filesystem::remove(path_);
    waker_.emplace(*Waker::make());
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::string path_;
  std::optional<Waker> waker_;
};

TEST_F(Control, TheLoopAnswersAndIsWoken) {
  auto server = ControlServer::listen(path_, *waker_);
  ASSERT_TRUE(server);
  std::atomic<bool> done{false};
  Outcome<std::string> got;
  std::thread client([&] {
    got = ask(path_, "sockets json");
    done = true;
  });
  std::string asked;
  while (!done) {
    (*server)->serve([&](std::string_view question) {
      asked = question;
      return std::string(200'000, 'x');
    });
  }
  client.join();
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_EQ(asked, "sockets json");
  EXPECT_EQ(got->size(), 200'000u);
  uint64_t wakes = 0;
  EXPECT_EQ(read(waker_->fd(), &wakes, sizeof wakes), 8);
}

TEST_F(Control, TheFileOfAKilledProcessIsReplaced) {
  {
    const Descriptor left(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(bind(left.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(path_));
  EXPECT_TRUE(ControlServer::listen(path_, *waker_));
}

TEST_F(Control, TheFileOfALivingProcessIsRespected) {
  auto first = ControlServer::listen(path_, *waker_);
  ASSERT_TRUE(first);
  auto second = ControlServer::listen(path_, *waker_);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().what.find("Address already in use"), std::string::npos) << second.error().what;
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(Control, AnOrdinaryFileIsNotRemoved) {
  { const Descriptor file(creat(path_.c_str(), 0600)); }
  EXPECT_FALSE(ControlServer::listen(path_, *waker_));
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(Control, TheFileGoesWithTheServer) {
  { ASSERT_TRUE(ControlServer::listen(path_, *waker_)); }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(Control, AClientThatSaysNothingDoesNotKeepTheServerFromEnding) {
  auto server = ControlServer::listen(path_, *waker_);
  ASSERT_TRUE(server);
  std::thread client([&] { (void)ask(path_, "sockets"); });
  while (true) {
    pollfd wait{waker_->fd(), POLLIN, 0};
    if (poll(&wait, 1, 1000) == 1) break;
  }
  server->reset();  // with a question unanswered
  client.join();
}

TEST_F(Control, AskingNobodySaysSo) {
  auto got = ask(path_, "sockets");
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().hint.find("is the program running?"), std::string::npos);
  EXPECT_FALSE(ask(std::string(200, 'x'), "sockets"));
}

}  // namespace
}  // namespace millrace::runtime
