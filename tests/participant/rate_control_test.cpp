#include "participant/rate_control.h"

#include <gtest/gtest.h>

#include "../base/seeded_random.h"
#include "congestion/pacing_budget.h"
#include "participant/sound_control.h"

namespace satsuma::participant::test {
namespace {

using namespace std::chrono_literals;

const std::vector<LayerRates> three{{30'000, 100'000}, {100'000, 300'000}, {250'000, 1'200'000}};
constexpr bool all[] = {true, true, true};

struct Control {
  RateControl control{three, 30};
  TimePoint now{1s};
  /// So long with so much.
  void run(Duration length, std::optional<std::int64_t> available, std::span<const bool> wanted = all) {
    for (const TimePoint end = now + length; now < end; now += 100ms) control.update(now, available, wanted);
  }
  std::vector<std::int64_t> targets() const { return {control.target(0), control.target(1), control.target(2)}; }
  using Targets = std::vector<std::int64_t>;
};

TEST(RateControlTest, WhereNothingLimitsItEverySizeHasItsMost) {
  Control c;
  c.run(100ms, std::nullopt);
  EXPECT_EQ(c.targets(), (Control::Targets{100'000, 300'000, 1'200'000}));
  EXPECT_EQ(c.control.limited_by(), RateControl::LimitedBy::nothing);
  EXPECT_GT(c.control.desired(), 1'600'000) << "with all headers";
  EXPECT_EQ(c.control.used(), c.control.desired());
}

TEST(RateControlTest, TheLargestThatGetsItsLeastHasWhatIsLeft) {
  Control c;
  c.run(100ms, 1'000'000);
  EXPECT_EQ(c.control.target(0), 100'000);
  EXPECT_EQ(c.control.target(1), 300'000);
  EXPECT_GT(c.control.target(2), 350'000);
  EXPECT_LT(c.control.target(2), 600'000);
  EXPECT_LE(c.control.used(), 1'000'000);
  EXPECT_EQ(c.control.limited_by(), RateControl::LimitedBy::network);
  c.run(100ms, 600'000); // at once
  EXPECT_EQ(c.control.target(2), 0);
  EXPECT_EQ(c.control.target(1), 300'000);
  EXPECT_EQ(c.control.limited_by(), RateControl::LimitedBy::network);
}

TEST(RateControlTest, WhatWasGivenUpComesBackAfterASecondAndLaterEachTimeThatThisWasTooEarly) {
  Control c;
  c.run(1s, 1'000'000);
  const auto back = [&] {
    c.run(100ms, 500'000);
    EXPECT_EQ(c.control.target(2), 0);
    const TimePoint since = c.now;
    while (c.control.target(2) == 0 && c.now - since < 20s) c.run(100ms, 900'000);
    return c.now - since;
  };
  const Duration first = back(), second = back(), third = back();
  EXPECT_GE(first, 1s);
  EXPECT_LE(first, 2500ms);
  EXPECT_GT(second, first + 500ms);
  EXPECT_GT(third, second + 500ms);
  c.run(15s, 900'000); // it was right: forgotten
  EXPECT_LE(back(), 2500ms);
  // With plenty there is nothing to wait for.
  c.run(100ms, 500'000);
  c.run(500ms, 3'000'000);
  EXPECT_EQ(c.control.target(2), 1'200'000);
}

TEST(RateControlTest, TheSmallestGoesOnForTwoSecondsWithoutRoomAndComesBackAtOnce) {
  Control c;
  c.run(1s, 200'000);
  c.run(1900ms, 20'000);
  EXPECT_EQ(c.control.target(0), 30'000);
  c.run(300ms, 20'000);
  EXPECT_EQ(c.control.target(0), 0);
  EXPECT_EQ(c.control.used(), 0);
  c.run(100ms, 80'000);
  EXPECT_GE(c.control.target(0), 30'000);
}

TEST(RateControlTest, WhatNobodyWantsIsNotSentUnlessWhatTheyWantFindsNoRoom) {
  Control c;
  constexpr bool without_middle[] = {true, false, true};
  c.run(1s, 3'000'000, without_middle);
  EXPECT_EQ(c.targets(), (Control::Targets{100'000, 0, 1'200'000}));
  EXPECT_EQ(c.control.limited_by(), RateControl::LimitedBy::view);
  c.run(100ms, 400'000, without_middle);
  EXPECT_EQ(c.control.target(2), 0);
  EXPECT_GE(c.control.target(1), 100'000) << "who watched the large one falls to it";
  c.run(10s, 3'000'000, without_middle);
  EXPECT_EQ(c.targets(), (Control::Targets{100'000, 0, 1'200'000}));
}

TEST(RateControlTest, WhateverHappensItSharesOutNoMoreThanThereIsBesidesTheLeastOfTheSmallest) {
  SeededRandom random(7);
  Control c;
  for (int i = 0; i < 20'000; ++i) {
    const auto available = static_cast<std::int64_t>(random.u64() % 3'000'000);
    const bool wanted[] = {random.u64() % 4 != 0, random.u64() % 4 != 0, random.u64() % 4 != 0};
    c.now += Duration(static_cast<std::int64_t>(random.u64() % 3'000'000));
    c.control.update(c.now, available, wanted);
    if (c.control.used() > available) {
      int sent = 0;
      for (std::size_t layer = 0; layer < 3; ++layer) sent += c.control.target(layer) > 0;
      ASSERT_EQ(sent, 1);
    }
    for (std::size_t layer = 0; layer < 3; ++layer) {
      ASSERT_TRUE(c.control.target(layer) == 0 || c.control.target(layer) >= three[layer].least);
      ASSERT_LE(c.control.target(layer), three[layer].most);
    }
  }
}

TEST(SoundControlTest, WhereThePathHasNoRoomForSoundItTakesHalfAtOnceAndAllAgainWhenThereIsRoom) {
  SoundControl c;
  TimePoint now{1s};
  const auto run = [&](Duration length, std::optional<std::int64_t> available, bool full) {
    for (const TimePoint end = now + length; now < end; now += 100ms) c.update(now, available, full);
  };
  EXPECT_LT(2 * SoundControl::on_the_wire(narrow_sound), SoundControl::on_the_wire(full_sound));
  run(1s, std::nullopt, false);
  EXPECT_EQ(c.format(), full_sound);
  run(1s, 90'000, true);
  EXPECT_EQ(c.format(), full_sound);
  run(100ms, 60'000, true);
  EXPECT_EQ(c.format(), narrow_sound);
  run(1900ms, 200'000, false);
  EXPECT_EQ(c.format(), narrow_sound) << "estimates err for a moment";
  run(300ms, 200'000, false);
  EXPECT_EQ(c.format(), full_sound);
}

TEST(SoundControlTest, WithoutPicturesItIsTriedAgainAfterAWhileAndLaterEachTimeThatThisFillsThePath) {
  SoundControl c;
  TimePoint now{1s};
  /// A path for less than all of it: what is estimated follows what is sent.
  const auto tick = [&](bool wide) {
    const bool all = c.format() == full_sound;
    c.update(now, all ? (wide ? 110'000 : 55'000) : 50'000, all && !wide);
    now += 100ms;
  };
  tick(false);
  std::vector<Duration> pauses;
  for (int i = 0; i < 3; ++i) {
    const TimePoint begin = now;
    while (c.format() == narrow_sound && now - begin < 100s) tick(false);
    pauses.push_back(now - begin);
    tick(false);
    EXPECT_EQ(c.format(), narrow_sound);
  }
  EXPECT_LE(pauses[0], 6s);
  EXPECT_GT(pauses[1], pauses[0] + 3s);
  EXPECT_GT(pauses[2], pauses[1] + 6s);
  for (const TimePoint end = now + 60s; now < end;) tick(true);
  EXPECT_EQ(c.format(), full_sound);
}

TEST(PacingBudgetTest, PacketsLeaveAtTheRateAndADebtOfAHigherOneIsForgotten) {
  congestion::PacingBudget budget;
  TimePoint now{1s};
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(budget.ready(now)) << "without a rate nothing waits";
    budget.count(now, 1200);
  }
  budget.set_rate(960'000); // a hundred packets a second
  int left = 0;
  for (int ms = 0; ms < 1000; ++ms, now += 1ms)
    while (budget.ready(now)) {
      budget.count(now, 1200);
      ++left;
    }
  EXPECT_NEAR(left, 102, 3);
  for (int i = 0; i < 1000; ++i) budget.count(now, 1200); // not asked for
  EXPECT_FALSE(budget.ready(now));
  EXPECT_LE(budget.ready_at() - now, 150ms);
  now = budget.ready_at();
  EXPECT_TRUE(budget.ready(now));
  for (int i = 0; i < 1000; ++i) budget.count(now, 1200);
  budget.set_rate(96'000);
  EXPECT_LE(budget.ready_at() - now, 150ms);
}

} // namespace
} // namespace satsuma::participant::test
