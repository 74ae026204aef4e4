// F-Stack's functions over a simulated worker with a loopback interface, in place of the stack of ff_init().
#pragma once

#include <memory>

#include "../posix/fixture.h"
#include "api/state.h"
#include "ff/ff_api.h"

namespace millrace::api {

class ApiFixture : public testing::Test {
 protected:
  ApiFixture() {
    posix::StackOptions options;
    options.loopback = options.own_numbers = true;
    state().config = *conf::parse_fstack("", "none", 0);
    stack_ = std::make_unique<posix::Stack>([] { return std::make_unique<posix::SimTransport>(); }, options);
    state().stack = stack_.get();
    EXPECT_TRUE(stack_->start());
  }
  ~ApiFixture() override {
    for (int fd = 0; fd < 512; ++fd) {
      if (ff_fdisused(fd) != 0) (void)ff_close(fd);
    }
    EXPECT_EQ(stack_->sockets(), 0u);
    state().stack = nullptr;
  }
  static sockaddr_in here(uint16_t port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
  }
  static const linux_sockaddr* cast(const void* address) { return static_cast<const linux_sockaddr*>(address); }

  std::unique_ptr<posix::Stack> stack_;
};

}  // namespace millrace::api
