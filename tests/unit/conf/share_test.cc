// What one of several workers gets of the process's limits.
#include <gtest/gtest.h>

#include "conf/config.h"

namespace millrace::conf {
namespace {

TEST(ShareOfWorkerTest, LimitsOfTheProcessAreDividedAndRoundedUp) {
  Config config;
  config.workers = 3;
  config.worker.max_connections = 100;
  EXPECT_EQ(share_of_worker(config).worker.max_connections, 34);
}

TEST(ShareOfWorkerTest, EachWorkerHasRoomForEverySizeOfBlock) {
  Config config;
  config.workers = 8;
  config.worker.block_mib = 16;
  EXPECT_EQ(share_of_worker(config).worker.block_mib, 8);
}

}  // namespace
}  // namespace millrace::conf
