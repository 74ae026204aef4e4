// Coroutines over a door made of strings.
#include <array>

#include "fixture.h"
#include "millrace/task.h"

namespace millrace {
namespace {

class ReactorTest : public test::ReactorFixture {};

Task<> echo(Stream peer) {
  std::array<std::byte, 16> buffer{};
  for (;;) {
    const auto n = co_await peer.read(buffer);
    if (!n || *n == 0 || !co_await peer.write(std::span(buffer).first(*n))) co_return;
  }
}

Task<> serve(Reactor& r, uint16_t port) {
  auto listener = r.listen({IpAddr(), port});
  while (auto peer = co_await listener->accept()) r.spawn(echo(std::move(*peer)));
}

TEST_F(ReactorTest, ServesSeveralConnectionsAtOnce) {
  run([](Reactor& r) { r.spawn(serve(r, 7)); });
  const uint32_t a = door_.dial(7);
  const uint32_t b = door_.dial(7);
  turn();
  door_.feed(a, "first");
  door_.feed(b, "second, and longer than the buffer");
  turn();
  EXPECT_EQ(door_.take_out(a), "first");
  EXPECT_EQ(door_.take_out(b), "second, and longer than the buffer");
  EXPECT_EQ(reactor_->jobs(), 3U);
  door_.peer_end(a);
  door_.peer_reset(b);
  turn();
  EXPECT_TRUE(door_.at(a).closed);
  EXPECT_TRUE(door_.at(b).closed);
  EXPECT_EQ(reactor_->jobs(), 1U);
}

TEST_F(ReactorTest, AWriteEndsWhenAllOfItWasTaken) {
  bool written = false;
  run([&](Reactor& r) {
    r.spawn([](Reactor& re, bool& done) -> Task<> {
      auto listener = re.listen({IpAddr(), 7});
      auto peer = co_await listener->accept();
      done = (co_await peer->write("0123456789")).has_value();
      (void)co_await re.sleep(seconds(1));
    }(r, written));
  });
  const uint32_t a = door_.dial(7);
  door_.at(a).space = 4;
  turn();
  EXPECT_EQ(door_.take_out(a), "0123");
  EXPECT_FALSE(written);
  door_.allow(a, 5);
  turn();
  EXPECT_FALSE(written);
  door_.allow(a, 1);
  turn();
  EXPECT_EQ(door_.take_out(a), "456789");
  EXPECT_TRUE(written);
}

TEST_F(ReactorTest, AReadGivesUpAfterItsTime) {
  std::vector<Error> errors;
  run([&](Reactor& r) {
    r.spawn([](Reactor& re, std::vector<Error>& out) -> Task<> {
      auto listener = re.listen({IpAddr(), 7});
      auto peer = co_await listener->accept();
      std::array<std::byte, 8> buffer{};
      for (int i = 0; i < 2; ++i) {
        const auto n = co_await peer->read(buffer).within(seconds(3));
        if (!n) out.push_back(n.error());
      }
    }(r, errors));
  });
  const uint32_t a = door_.dial(7);
  turn();
  door_.pass(*reactor_, seconds(2));
  EXPECT_TRUE(errors.empty());
  door_.feed(a, "x");
  turn();
  door_.pass(*reactor_, seconds(4));
  EXPECT_EQ(errors, std::vector<Error>{Error::kTimedOut});
}

TEST_F(ReactorTest, ConnectTellsHowItWent) {
  std::string said;
  run([&](Reactor& r) {
    r.spawn([](Reactor& re, std::string& out) -> Task<> {
      auto good = co_await re.connect({IpAddr::v4(10, 0, 0, 1), 80});
      out += good ? "connected " : "no ";
      auto bad = co_await re.connect({IpAddr::v4(10, 0, 0, 1), 81});
      out += bad ? "connected" : describe(bad.error());
    }(r, said));
  });
  door_.establish(1);
  turn();
  EXPECT_EQ(said, "connected ");
  door_.at(2).accepted = true;  // so that the fake tells it
  door_.peer_reset(2);
  turn();
  EXPECT_EQ(said, std::string("connected ") + describe(Error::kConnectionReset));
}

TEST_F(ReactorTest, ACancelledJobFreesWhatItHolds) {
  Job job;
  run([&](Reactor& r) { job = r.spawn(serve(r, 7)); });
  const uint32_t a = door_.dial(7);
  turn();
  EXPECT_EQ(reactor_->jobs(), 2U);
  job.cancel();
  EXPECT_TRUE(job.ended());
  EXPECT_EQ(reactor_->jobs(), 1U);  // the connection's goes on
  door_.feed(a, "on");
  turn();
  EXPECT_EQ(door_.take_out(a), "on");
}

TEST_F(ReactorTest, AJobMayCancelItself) {
  Job job;
  int steps = 0;
  run([&](Reactor& r) {
    job = r.spawn([](Reactor& re, Job& self, int& n) -> Task<> {
      co_await re.yield();
      self.cancel();
      ++n;
      co_await re.yield();
      ++n;
    }(r, job, steps));
  });
  EXPECT_EQ(steps, 1);
  EXPECT_TRUE(job.ended());
}

TEST_F(ReactorTest, JoinTellsEndFromCancelling) {
  std::string said;
  Job second;
  run([&](Reactor& r) {
    r.spawn([](Reactor& re, std::string& out, Job& other) -> Task<> {
      Job first = re.spawn([](Reactor& r2) -> Task<> { co_await r2.sleep(seconds(1)); }(re));
      other = re.spawn([](Reactor& r2) -> Task<> { co_await r2.sleep(seconds(1'000)); }(re));
      out += *co_await first.join() ? "ended " : "cancelled ";
      out += *co_await other.join() ? "ended " : "cancelled ";
      out += (co_await other.join().within(seconds(1))).has_value() ? "again" : "late";
    }(r, said, second));
  });
  door_.pass(*reactor_, seconds(2));
  EXPECT_EQ(said, "ended ");
  second.cancel();
  door_.pass(*reactor_, seconds(1));  // an event of any kind carries it on
  Net net(door_);
  reactor_->tick(net);
  EXPECT_EQ(said, "ended cancelled again");
}

Task<Result<int>> answer(Reactor& r, Duration after) {
  co_await r.sleep(after);
  co_return 42;
}

TEST_F(ReactorTest, ATaskGivesUpAfterItsTime) {
  std::vector<std::string> said;
  run([&](Reactor& r) {
    r.spawn([](Reactor& re, std::vector<std::string>& out) -> Task<> {
      for (const auto after : {seconds(1), seconds(10)}) {
        const auto got = co_await within(re, seconds(5), answer(re, after));
        out.push_back(got ? std::to_string(*got) : describe(got.error()));
      }
    }(r, said));
  });
  door_.pass(*reactor_, seconds(20));
  EXPECT_EQ(said, (std::vector<std::string>{"42", describe(Error::kTimedOut)}));
  EXPECT_EQ(reactor_->jobs(), 0U);
}

TEST_F(ReactorTest, ATaskThatNeverWaitsLetsOthersHaveTheirTurn) {
  int greedy = 0;
  bool other = false;
  run([&](Reactor& r) {
    r.spawn([](Reactor& re, int& n, const bool& seen) -> Task<> {
      auto listener = re.listen({IpAddr(), 7});
      auto peer = co_await listener->accept();
      while (!seen && n < 1'000'000) {
        ++n;
        (void)co_await peer->write("x");
      }
    }(r, greedy, other));
    r.spawn([](Reactor& re, bool& seen) -> Task<> {
      co_await re.sleep(milliseconds(1));
      seen = true;
    }(r, other));
  });
  door_.dial(7);
  for (int i = 0; i < 10 && !other; ++i) {
    door_.set_now(door_.now() + milliseconds(1));
    door_.turn(*reactor_);
  }
  EXPECT_TRUE(other);
  EXPECT_LT(greedy, 5'000);
  turn();
}

TEST_F(ReactorTest, ClosingASocketEndsWhatWaitsForIt) {
  Stream shared;
  std::optional<Error> error;
  run([&](Reactor& r) {
    r.spawn([](Reactor& re, Stream& to, std::optional<Error>& out) -> Task<> {
      auto listener = re.listen({IpAddr(), 7});
      to = std::move(*co_await listener->accept());
      std::array<std::byte, 8> buffer{};
      const auto n = co_await to.read(buffer);
      if (!n) out = n.error();
    }(r, shared, error));
    r.spawn([](Reactor& re, Stream& to) -> Task<> {
      co_await re.sleep(seconds(1));
      to.close();
    }(r, shared));
  });
  door_.dial(7);
  turn();
  door_.pass(*reactor_, seconds(2));
  EXPECT_EQ(error, Error::kBadHandle);
}

TEST_F(ReactorTest, ASecondReaderIsTurnedAway) {
  Stream shared;
  std::optional<Error> error;
  const auto read = [](Stream& s, std::optional<Error>& out) -> Task<> {
    std::array<std::byte, 8> buffer{};
    const auto n = co_await s.read(buffer);
    if (!n) out = n.error();
  };
  run([&](Reactor& r) {
    r.spawn([](Reactor& re, Stream& to, std::optional<Error>& out, auto reader) -> Task<> {
      auto listener = re.listen({IpAddr(), 7});
      to = std::move(*co_await listener->accept());
      std::optional<Error> none;
      Job first = re.spawn(reader(to, none));
      re.spawn(reader(to, out));
      (void)co_await first.join();
    }(r, shared, error, read));
  });
  const uint32_t a = door_.dial(7);
  turn();
  EXPECT_EQ(error, Error::kInProgress);
  door_.feed(a, "x");
  turn();
  EXPECT_EQ(reactor_->jobs(), 0U);
}

TEST_F(ReactorTest, ExceptionsReachWhoeverAwaits) {
  std::string said;
  run([&](Reactor& r) {
    r.spawn([](Reactor& re, std::string& out) -> Task<> {
      const auto thrower = [](Reactor& r2) -> Task<int> {
        co_await r2.yield();
        throw std::runtime_error("thrown");
      };
      try {
        out = std::to_string(co_await thrower(re));
      } catch (const std::exception& e) {
        out = e.what();
      }
    }(r, said));
  });
  EXPECT_EQ(said, "thrown");
}

TEST_F(ReactorTest, ManyDeadlinesComeInOrder) {
  std::vector<int> order;
  run([&](Reactor& r) {
    for (int i = 0; i < 1'000; ++i) {
      r.spawn([](Reactor& re, std::vector<int>& out, int n) -> Task<> {
        co_await re.sleep(milliseconds(n * 7'919 % 1'000));
        out.push_back(n * 7'919 % 1'000);
      }(r, order, i));
    }
  });
  for (int i = 0; i < 1'000; ++i) {
    door_.set_now(door_.now() + milliseconds(1));
    turn();
  }
  EXPECT_EQ(order.size(), 1'000U);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

}  // namespace
}  // namespace millrace
