// The main() of every unit test program. Where a test could not run on this machine (it says why), the program ends
// with 77, so that CTest counts it as skipped and not as passed.
#include <gtest/gtest.h>

#include <cstdio>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int status = RUN_ALL_TESTS();
  const int skipped = testing::UnitTest::GetInstance()->skipped_test_count();
  if (status != 0 || skipped == 0) return status;
  std::printf("skipped: %d tests, for the reasons above\n", skipped);
  return 77;
}
