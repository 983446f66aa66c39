#include "impairment/schedule.h"

#include <gtest/gtest.h>

#include <string>

namespace satsuma::impairment {
namespace {

using namespace std::chrono_literals;

std::string_view refused(std::string_view text) {
  const auto schedule = Schedule::parse(text, Direction::up);
  return schedule ? "taken" : schedule.error().name();
}

Result<Schedule> up(std::string_view text) { return Schedule::parse(text, Direction::up); }

TEST(Schedule, EmptyTextIsAPerfectLink) {
  const auto schedule = up("");
  ASSERT_TRUE(schedule);
  EXPECT_EQ(schedule->at(1h), Conditions());
}

TEST(Schedule, SettingsHoldUntilAStepChangesThem) {
  const auto schedule = up("loss=5% burst=3 delay=40ms jitter=1.5ms 10s rate=300k outage=on 20s rate=none outage=off queue=0.1s");
  ASSERT_TRUE(schedule);
  const Conditions& first = schedule->at(9'999'999us);
  EXPECT_DOUBLE_EQ(first.loss, 0.05);
  EXPECT_DOUBLE_EQ(first.burst, 3);
  EXPECT_EQ(first.delay, Duration(40ms));
  EXPECT_EQ(first.jitter, Duration(1500us));
  EXPECT_EQ(first.rate, 0U);
  const Conditions& second = schedule->at(10s);
  EXPECT_EQ(second.rate, 300'000U);
  EXPECT_TRUE(second.outage);
  EXPECT_DOUBLE_EQ(second.loss, 0.05);
  const Conditions& third = schedule->at(20s);
  EXPECT_EQ(third.rate, 0U);
  EXPECT_FALSE(third.outage);
  EXPECT_EQ(third.queue, Duration(100ms));
}

TEST(Schedule, ASettingMayBeForOneDirection) {
  const std::string_view text = "loss=1% up.rate=2M down.loss=0.5";
  EXPECT_EQ(Schedule::parse(text, Direction::up)->at(0s).rate, 2'000'000U);
  EXPECT_DOUBLE_EQ(Schedule::parse(text, Direction::up)->at(0s).loss, 0.01);
  EXPECT_EQ(Schedule::parse(text, Direction::down)->at(0s).rate, 0U);
  EXPECT_DOUBLE_EQ(Schedule::parse(text, Direction::down)->at(0s).loss, 0.5);
}

TEST(Schedule, WhatIsWrittenWronglyIsRefusedForBothDirections) {
  for (const char* text : {"lose=1%", "10", "word", "up.down.loss=1%"}) EXPECT_EQ(refused(text), schedule_bad_setting.name) << text;
  for (const char* text : {"loss=101%", "loss=1.01", "loss=", "loss=-1", "loss=1e-3", "loss=nan", "delay=40", "delay=25h", "delay=99999999s", "rate=0", "rate=300G", "burst=0.5", "burst_loss=0",
                           "outage=yes", "down.loss=2"})
    EXPECT_EQ(refused(text), schedule_bad_value.name) << text;
  for (const char* text : {"5s loss=1% 5s loss=2%", "5s 4s", "0s"}) EXPECT_EQ(refused(text), schedule_not_in_order.name) << text;
}

TEST(Schedule, LengthAndStepsAreBounded) {
  EXPECT_EQ(refused(std::string(max_schedule_size + 1, ' ')), schedule_too_large.name);
  std::string many;
  for (std::size_t i = 1; i < max_schedule_steps; ++i) many += std::to_string(i) + "s ";
  EXPECT_TRUE(up(many));
  EXPECT_EQ(refused(many + "9999s"), schedule_too_large.name);
}

} // namespace
} // namespace satsuma::impairment
