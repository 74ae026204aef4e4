// Microthreads over a door made of strings.
#include "millrace/micro.h"

#include <array>

#include "fixture.h"

namespace millrace {
namespace {

class MicroTest : public test::ReactorFixture {};

void echo(Stream peer) {
  std::array<std::byte, 16> buffer{};
  for (;;) {
    const auto n = micro::wait(peer.read(buffer));
    if (!n || *n == 0 || !micro::wait(peer.write(std::span(buffer).first(*n)))) return;
  }
}

TEST_F(MicroTest, SynchronousCodeServesSeveralConnections) {
  run([](Reactor& r) {
    micro::spawn(r, [&r] {
      auto listener = r.listen({IpAddr(), 7});
      while (auto peer = micro::wait(listener->accept())) {
        const auto held = std::make_shared<Stream>(std::move(*peer));
        micro::spawn(r, [held] { echo(std::move(*held)); });
      }
    });
  });
  const uint32_t a = door_.dial(7);
  const uint32_t b = door_.dial(7);
  turn();
  door_.feed(b, "second, and longer than the buffer");
  door_.feed(a, "first");
  turn();
  EXPECT_EQ(door_.take_out(a), "first");
  EXPECT_EQ(door_.take_out(b), "second, and longer than the buffer");
  door_.peer_end(a);
  door_.peer_reset(b);
  turn();
  EXPECT_TRUE(door_.at(a).closed && door_.at(b).closed);
  EXPECT_EQ(reactor_->jobs(), 1U);
}

struct Counted {
  int& n;
  explicit Counted(int& count) : n(count) { ++n; }
  ~Counted() { --n; }
};

TEST_F(MicroTest, ACancelledOneIsUnwoundWhereItWaits) {
  int living = 0;
  Job job;
  run([&](Reactor& r) {
    job = micro::spawn(r, [&] {
      const Counted outer(living);
      micro::wait(r.sleep(seconds(1)));
      const Counted inner(living);
      micro::wait(r.sleep(seconds(1'000)));
    });
  });
  EXPECT_EQ(living, 1);
  door_.pass(*reactor_, seconds(2));
  EXPECT_EQ(living, 2);
  job.cancel();
  EXPECT_EQ(living, 0);
  EXPECT_EQ(reactor_->jobs(), 0U);
  door_.pass(*reactor_, seconds(2'000));
}

TEST_F(MicroTest, ExceptionsStayInside) {
  std::string said;
  run([&](Reactor& r) {
    for (int i = 0; i < 3; ++i) {
      micro::spawn(r, [&r, &said, i] {
        try {
          micro::wait(r.sleep(seconds(3 - i)));
          throw std::runtime_error(std::to_string(i));
        } catch (const std::exception& e) {
          micro::wait(r.yield());
          said += e.what();
        }
      });
    }
  });
  door_.pass(*reactor_, seconds(5));
  EXPECT_EQ(said, "210");
}

TEST_F(MicroTest, InsideTellsWhereOneIs) {
  bool within = false;
  run([&](Reactor& r) { micro::spawn(r, [&] { within = micro::inside(); }); });
  EXPECT_TRUE(within);
  EXPECT_FALSE(micro::inside());
}

TEST_F(MicroTest, AHundredThousandAtOnce) {
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
  constexpr size_t kThreads = 5'000;  // each stack has a shadow there
#else
  constexpr size_t kThreads = 100'000;
#endif
#else
  constexpr size_t kThreads = 100'000;
#endif
  size_t woke = 0;
  run([&](Reactor& r) {
    for (size_t i = 0; i < kThreads; ++i) {
      micro::spawn(
          r,
          [&r, &woke, i] {
            micro::wait(r.sleep(milliseconds(1 + static_cast<int64_t>(i * 7'919 % 1'000))));
            ++woke;
            micro::wait(r.sleep(seconds(10)));
            ++woke;
          },
          16 * 1'024);
    }
  });
  EXPECT_EQ(reactor_->jobs(), kThreads);
  door_.pass(*reactor_, seconds(2));
  EXPECT_EQ(woke, kThreads);
  door_.pass(*reactor_, seconds(10));
  EXPECT_EQ(woke, 2 * kThreads);
  EXPECT_EQ(reactor_->jobs(), 0U);
}

TEST(MicroDeathTest, AnOverrunStackEndsTheProcess) {
  EXPECT_DEATH(
      {
        test::FakeDoor door;
        Reactor reactor([](Reactor& r) {
          micro::spawn(
              r,
              [&r] {
                std::array<volatile std::byte, 64 * 1'024> large;
                for (auto& b : large) b = std::byte{1};
                micro::wait(r.yield());
              },
              16 * 1'024);
        });
        Net net(door);
        reactor.start(net);
      },
      "");
}

}  // namespace
}  // namespace millrace
