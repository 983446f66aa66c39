#include <gtest/gtest.h>

#include <set>

#include "io/clock.h"
#include "io/random.h"

namespace satsuma::io {
namespace {

TEST(Clock, MonotonicTimeNeverGoesBack) {
  TimePoint before = monotonic_now();
  for (int i = 0; i < 1000; ++i) {
    const TimePoint now = monotonic_now();
    ASSERT_GE(now, before);
    before = now;
  }
}

TEST(Clock, CalendarTimeIsOfThisCentury) {
  EXPECT_GT(unix_now(), 1'700'000'000U);
  EXPECT_LT(unix_now(), 4'000'000'000U);
}

TEST(Random, FillsEveryByteOfLargeAndSmallRequests) {
  SystemRandom random;
  Bytes large(100'000);
  random.fill(large);
  EXPECT_EQ(std::set<std::uint8_t>(large.begin(), large.end()).size(), 256U);
  EXPECT_NE(random.u64(), random.u64());
  random.fill({});
}

} // namespace
} // namespace satsuma::io
