#include "io/turn_pace.h"

#include <gtest/gtest.h>

namespace satsuma::io {
namespace {

using namespace std::chrono_literals;

TEST(TurnPaceTest, AFewTurnsInARowBeginAtOnce) {
  TurnPace pace;
  TimePoint now{100s};
  for (int second = 0; second < 3; ++second, now += 1s)
    for (std::size_t turn = 0; turn < TurnPace::often; ++turn) EXPECT_EQ(pace.begin(now += 10us), Duration{});
}

TEST(TurnPaceTest, ABusyLoopTurnsOnceInAnIntervalUntilLessComes) {
  TurnPace pace;
  const TimePoint start{100s};
  TimePoint now = start;
  std::size_t turns = 0;
  for (; now < start + 100 * TurnPace::interval; ++turns) {
    const Duration wait = pace.begin(now);
    EXPECT_LE(wait, TurnPace::interval);
    now += wait + TurnPace::interval / 50; // that long it takes
  }
  EXPECT_GE(turns, 95u);
  EXPECT_LE(turns, 100u + TurnPace::often);
  now += 20ms;
  EXPECT_EQ(pace.begin(now), Duration{});
}

TEST(TurnPaceTest, TurnsThatAreFarApartAnywayAreNotPutOff) {
  TurnPace pace;
  TimePoint now{100s};
  for (int turn = 0; turn < 1000; ++turn) EXPECT_EQ(pace.begin(now += TurnPace::often_interval + 50us), Duration{});
}

} // namespace
} // namespace satsuma::io
