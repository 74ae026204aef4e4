#include "posix/token.h"

#include <linux/filter.h>
#include <sys/random.h>

#include <array>
#include <cstring>

#include "posix/kernel.h"

namespace millrace::posix {
namespace {

constexpr uint32_t kMark = 0x4d52'746b;
constexpr uint16_t kLoad = BPF_LD | BPF_IMM;
constexpr uint16_t kReturn = BPF_RET | BPF_K;
constexpr uint32_t kWholePacket = UINT32_MAX;

using Filter = std::array<sock_filter, 6>;

Filter filter_of(const Token& t) {
  return {{{kLoad, 0, 0, kMark},
           {kLoad, 0, 0, static_cast<uint32_t>(t.high >> 32)},
           {kLoad, 0, 0, static_cast<uint32_t>(t.high)},
           {kLoad, 0, 0, static_cast<uint32_t>(t.low >> 32)},
           {kLoad, 0, 0, static_cast<uint32_t>(t.low)},
           {kReturn, 0, 0, kWholePacket}}};
}

}  // namespace

Token make_token() {
  Token token;
  if (kernel::call(SYS_getrandom, kernel::arg(&token), sizeof token, 0) != static_cast<long>(sizeof token)) return {};
  return token;
}

bool read_token(int fd, Token& token) {
  Filter found{};
  auto count = static_cast<socklen_t>(found.size());  // SO_GET_FILTER counts instructions
  if (kernel::getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, found.data(), &count) != 0 || count != found.size()) {
    return false;
  }
  token = {uint64_t{found[1].k} << 32 | found[2].k, uint64_t{found[3].k} << 32 | found[4].k};
  const Filter ours = filter_of(token);
  return token.valid() && std::memcmp(ours.data(), found.data(), sizeof ours) == 0;
}

bool write_token(int fd, const Token& token) {
  Filter filter = filter_of(token);
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  return kernel::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

}  // namespace millrace::posix
