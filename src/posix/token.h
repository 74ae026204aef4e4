// Token: what names a socket of ours while its descriptor goes to another program, over exec or in a message. It lies
// in the descriptor itself, as the constants of a packet filter that the shadow never runs, so whoever was given the
// descriptor can read it, and nobody else.
#pragma once

#include <compare>
#include <cstdint>

namespace millrace::posix {

struct Token {
  uint64_t high = 0;
  uint64_t low = 0;
  auto operator<=>(const Token&) const = default;
  [[nodiscard]] bool valid() const { return high != 0 || low != 0; }
};

/// One that nobody can guess; not valid: the system gives no random numbers.
[[nodiscard]] Token make_token();
/// False: the descriptor has none.
[[nodiscard]] bool read_token(int fd, Token& token);
/// False: it is no socket, or the kernel takes no filter.
[[nodiscard]] bool write_token(int fd, const Token& token);

}  // namespace millrace::posix
