// Chains: sending lent buffers, borrowing what was received.
#include "posix/zero_copy.h"

#include "fixture.h"

namespace millrace::posix {
namespace {

class Chains : public Posix {
 protected:
  Chains() : Posix({true, true, 3}) {}

  static std::string text(size_t bytes, size_t from = 0) {
    std::string out(bytes, 0);
    for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>((from + i) % 251);
    return out;
  }
  Chain filled(const std::string& what) {
    Chain chain;
    EXPECT_EQ(stack_.lend(what.size(), chain), 0);
    EXPECT_EQ(chain.write(0, what.data(), what.size()), what.size());
    return chain;
  }
  static std::string content(const Chain& chain) {
    std::string out(chain.bytes(), 0);
    EXPECT_EQ(chain.read(0, out.data(), out.size()), out.size());
    return out;
  }
};

INSTANTIATE_TEST_SUITE_P(Families, Chains, testing::Values(AF_INET, AF_INET6));

TEST_P(Chains, AreReadAndWrittenAcrossPieces) {
  Chain chain = filled(text(150'000));
  EXPECT_EQ(chain.pieces.size(), 3u);
  EXPECT_EQ(chain.write(65'000, "abcdef", 6), 6u);
  char got[6];
  EXPECT_EQ(chain.read(65'000, got, 6), 6u);
  EXPECT_EQ(std::string(got, 6), "abcdef");
  EXPECT_EQ(chain.read(149'998, got, 6), 2u);
  EXPECT_EQ(chain.write(150'000, got, 1), 0u);
  stack_.give_back(chain);
  EXPECT_TRUE(chain.pieces.empty());
}

TEST_P(Chains, SendAndReceiveWithoutACopy) {
  const auto [a, b] = pair();
  Chain out = filled(text(3'000));
  EXPECT_EQ(stack_.send_chain(a, out, 2'500), 2'500);
  EXPECT_TRUE(out.pieces.empty());
  Chain in;
  EXPECT_EQ(stack_.receive_chain(b, in, 10'000), 2'500);
  EXPECT_NE(in.pieces.front().token, 0u) << "borrowed";
  EXPECT_EQ(content(in), text(2'500));
  stack_.give_back(in);
}

TEST_P(Chains, APartOfWhatCameIsCopied) {
  const auto [a, b] = pair();
  EXPECT_EQ(write(a, text(1'000)), 1'000);
  Chain in;
  EXPECT_EQ(stack_.receive_chain(b, in, 400), 400);
  EXPECT_EQ(in.pieces.front().token, 0u);
  EXPECT_EQ(content(in), text(400));
  stack_.give_back(in);
  EXPECT_EQ(stack_.receive_chain(b, in, 1'000), 600);
  EXPECT_EQ(content(in), text(600, 400));
  stack_.give_back(in);
  EXPECT_EQ(close(a), 0);
  EXPECT_EQ(stack_.receive_chain(b, in, 1'000), 0) << "the end";
  EXPECT_EQ(stack_.receive_chain(77, in, 1'000), -EBADF);
}

TEST_P(Chains, WhatDoesNotFitIsSentInPartAndTheRestGivenBack) {
  const int l = listener(7'000);
  const int a = socket();
  const int small = 10'000;
  ASSERT_EQ(stack_.setsockopt(a, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  ASSERT_EQ(connect(a, 7'000), 0);
  const int b = accept(l);
  ASSERT_EQ(stack_.fcntl(a, F_SETFL, O_NONBLOCK), 0);
  std::string got;
  size_t sent = 0;
  const size_t all = 400'000;
  for (int rounds = 0; rounds < 10'000 && sent < all; ++rounds) {
    Chain out = filled(text(std::min<size_t>(all - sent, 100'000), sent));
    const long n = stack_.send_chain(a, out, out.bytes());
    EXPECT_TRUE(out.pieces.empty());
    if (n > 0) sent += static_cast<size_t>(n);
    EXPECT_TRUE(n > 0 || n == -EAGAIN) << n;
    pollfd room{a, POLLOUT, 0};
    const timespec second{1, 0};
    if (n < 0) (void)stack_.poll({&room, 1}, &second, nullptr);  // an acknowledgment may be late
    const std::string some = read(b, 1 << 20, MSG_DONTWAIT);
    if (some != "-EAGAIN") got += some;
  }
  EXPECT_EQ(sent, all);
  while (got.size() < all) got += read(b, 1 << 20);
  EXPECT_EQ(got, text(all));
}

TEST_P(Chains, ABlockingSendGoesOnUntilAllIsTaken) {
  const int l = listener(7'000);
  const int a = socket();
  const int small = 10'000;
  ASSERT_EQ(stack_.setsockopt(a, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  ASSERT_EQ(connect(a, 7'000), 0);
  const int b = accept(l);
  Chain out = filled(text(60'000));
  EXPECT_EQ(stack_.send_chain(a, out, 60'000), 60'000);
  std::string got;
  while (got.size() < 60'000) got += read(b, 1 << 20);
  EXPECT_EQ(got, text(60'000));
  Chain late = filled("x");
  EXPECT_EQ(stack_.shutdown(a, SHUT_WR), 0);
  EXPECT_EQ(stack_.send_chain(a, late, 1), -EPIPE);
  EXPECT_TRUE(late.pieces.empty()) << "given back all the same";
}

TEST_P(Chains, ADatagramIsOneChain) {
  const int fd = static_cast<int>(stack_.socket(family(), SOCK_DGRAM, 0));
  Name n = name(9'000);
  ASSERT_EQ(stack_.bind(fd, n.get(), n.length), 0);
  ASSERT_EQ(stack_.connect(fd, n.get(), n.length), 0);
  Chain out = filled("hello");
  EXPECT_EQ(stack_.send_chain(fd, out, 5), 5);
  Chain in;
  EXPECT_EQ(stack_.receive_chain(fd, in, 100), 5);
  EXPECT_EQ(content(in), "hello");
  stack_.give_back(in);
  EXPECT_EQ(stack_.close(fd), 0);
}

}  // namespace
}  // namespace millrace::posix
