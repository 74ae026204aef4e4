// A Reactor over a door made of strings.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "../apps/fake_door.h"
#include "millrace/async.h"

namespace millrace::test {

class ReactorFixture : public testing::Test {
 protected:
  /// Starts `main` and runs until all waits.
  void run(std::function<void(Reactor&)> main) {
    reactor_.emplace(std::move(main));
    Net net(door_);
    reactor_->start(net);
    turn();
  }
  void turn() { door_.run(*reactor_); }

  FakeDoor door_;
  std::optional<Reactor> reactor_;
};

}  // namespace millrace::test
