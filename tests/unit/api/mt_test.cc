// Microthreads over a simulated worker.
#include "ff/mt_api.h"

#include <sys/epoll.h>

#include <cstring>

#include "fixture.h"

namespace millrace::api {
namespace {

using namespace NS_MICRO_THREAD;

class Microthreads : public ApiFixture {
 protected:
  Microthreads() { EXPECT_TRUE(mt_init_frame()); }
  static int opened(int type, uint16_t port) {
    const int fd = ff_socket(AF_INET, type, 0);
    const sockaddr_in a = here(port);
    EXPECT_EQ(ff_bind(fd, cast(&a), sizeof a), 0);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(ff_listen(fd, 128), 0);
    }
    return fd;
  }
  static void* start(void (*entry)(void*), void* arg = nullptr) {
    return mt_start_thread(reinterpret_cast<void*>(entry), arg);
  }
};

// Sends back what comes on one connection.
void echo(void* arg) {
  const int fd = static_cast<int>(reinterpret_cast<intptr_t>(arg));
  char text[4'096];
  for (ssize_t n = 0; (n = mt_recv(fd, text, sizeof text, 0, -1)) > 0;) {
    if (mt_send(fd, text, static_cast<size_t>(n), 0, 1'000) != n) break;
  }
  (void)ff_close(fd);
}

// Takes so many connections.
struct Server {
  int listener;
  int connections;
};
void serve(void* arg) {
  auto& server = *static_cast<Server*>(arg);
  for (int i = 0; i < server.connections; ++i) {
    const int fd = mt_accept(server.listener, nullptr, nullptr, -1);
    ASSERT_GE(fd, 0);
    ASSERT_NE(mt_start_thread(reinterpret_cast<void*>(echo), reinterpret_cast<void*>(static_cast<intptr_t>(fd))),
              nullptr);
  }
}

class Client final : public IMtTask {
 public:
  explicit Client(int number) : number_(number) {}
  int Process() override {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(7'000);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::string text = "hello " + std::to_string(number_) + "\n";
    char got[64];
    int room = sizeof got;
    const auto line = [](void* buffer, int have) {
      const void* end = memchr(buffer, '\n', static_cast<size_t>(have));
      return end == nullptr ? 0 : static_cast<int>(static_cast<const char*>(end) - static_cast<char*>(buffer)) + 1;
    };
    const int done = mt_tcpsendrcv(&to, text.data(), static_cast<int>(text.size()), got, room, 5'000, line);
    if (done != 0) return done;
    return std::string(got, static_cast<size_t>(room)) == text ? number_ : -9;
  }

 private:
  int number_;
};

TEST_F(Microthreads, ManyTalkAtOnce) {
  Server server{opened(SOCK_STREAM, 7'000), 20};
  ASSERT_NE(start(serve, &server), nullptr);
  std::vector<std::unique_ptr<Client>> clients;
  IMtTaskList list;
  for (int i = 0; i < server.connections; ++i) {
    clients.push_back(std::make_unique<Client>(i));
    list.push_back(clients.back().get());
  }
  EXPECT_EQ(mt_exec_all_task(list), 0);
  for (int i = 0; i < server.connections; ++i) EXPECT_EQ(clients[static_cast<size_t>(i)]->GetResult(), i);
  mt_sleep(1);  // the echoing ones see the end
}

TEST_F(Microthreads, DatagramsAreAnswered) {
  const int fd = opened(SOCK_DGRAM, 9'000);
  start(
      [](void* arg) {
        const int s = *static_cast<int*>(arg);
        sockaddr_in from{};
        socklen_t length = sizeof from;
        char text[16];
        const int n = mt_recvfrom(s, text, sizeof text, 0, reinterpret_cast<sockaddr*>(&from), &length, -1);
        EXPECT_EQ(n, 4);
        EXPECT_EQ(mt_sendto(s, "pong!", 5, 0, reinterpret_cast<sockaddr*>(&from), sizeof from, 100), 5);
      },
      const_cast<int*>(&fd));
  sockaddr_in to = here(9'000);
  char got[16];
  int room = sizeof got;
  char ping[] = "ping";
  EXPECT_EQ(mt_udpsendrcv(&to, ping, 4, got, room, 1'000), 0);
  EXPECT_EQ(std::string(got, static_cast<size_t>(room)), "pong!");
  room = sizeof got;
  EXPECT_EQ(mt_udpsendrcv(&to, ping, 4, got, room, 2), -3) << "nobody answers a second time";
}

TEST_F(Microthreads, TimeRunsOut) {
  const int fd = opened(SOCK_STREAM, 7'000);
  const auto before = mt_time_ms();
  EXPECT_EQ(mt_accept(fd, nullptr, nullptr, 3), -1);
  EXPECT_EQ(errno, ETIME);
  EXPECT_EQ(mt_wait_events(fd, EPOLLIN, 2), 0);
  EXPECT_GE(mt_time_ms(), before + 5);
  EXPECT_EQ(ff_fcntl(fd, F_GETFL, 0), O_RDWR) << "it blocks as before";
  EXPECT_EQ(mt_recv(77, nullptr, 0, 0, 1), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST_F(Microthreads, WaitsEndByACallAndPointersAreEachsOwn) {
  struct Shared {
    std::string order;
    void* first = nullptr;
  } shared;
  int mine = 0;
  mt_set_msg_private(&mine);
  shared.first = start(
      [](void* arg) {
        auto& s = *static_cast<Shared*>(arg);
        EXPECT_EQ(mt_get_msg_private(), nullptr);
        EXPECT_EQ(mt_active_thread(), s.first);
        s.order += "a";
        mt_thread_wait(-1);
        s.order += "c";
      },
      &shared);
  start(
      [](void* arg) {
        auto& s = *static_cast<Shared*>(arg);
        s.order += "b";
        mt_thread_wakeup_wait(s.first);
        mt_swap_thread();
        s.order += "d";
      },
      &shared);
  EXPECT_EQ(shared.order, "") << "at the next wait";
  for (int i = 0; i < 5; ++i) mt_swap_thread();
  EXPECT_EQ(shared.order, "abcd");
  EXPECT_EQ(mt_get_msg_private(), &mine);
}

}  // namespace
}  // namespace millrace::api
