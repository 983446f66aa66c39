// Who speaks, from levels alone.

#include "rtp/active_speakers.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace satsuma::rtp {
namespace {

using namespace std::chrono_literals;

class ActiveSpeakersTest : public ::testing::Test {
 protected:
  /// All of them send a level each 20 ms; returns how often the ranking changed.
  unsigned run(Duration length, const std::map<ActiveSpeakers::Who, std::uint8_t>& levels) {
    unsigned changes = 0;
    for (const TimePoint end = now + length; now < end; now += 20ms) {
      for (const auto& [who, level] : levels) speakers.handle_level(now, who, level);
      if (now < next) continue;
      next = now + ActiveSpeakers::update_interval;
      if (speakers.update(now)) ++changes;
    }
    return changes;
  }
  /// Words of 300 ms with 200 ms between them.
  void talk(Duration length, ActiveSpeakers::Who who, std::map<ActiveSpeakers::Who, std::uint8_t> others = {}) {
    for (const TimePoint end = now + length; now < end;) {
      others[who] = 25;
      run(300ms, others);
      others[who] = 70;
      run(200ms, others);
    }
  }
  std::vector<ActiveSpeakers::Who> ranking() const { return {speakers.ranking().begin(), speakers.ranking().end()}; }
  using Order = std::vector<ActiveSpeakers::Who>;

  TimePoint now{100s}, next{};
  ActiveSpeakers speakers;
};

TEST_F(ActiveSpeakersTest, SilenceRanksNobody) {
  run(3s, {{1, 127}, {2, 60}});
  EXPECT_TRUE(speakers.ranking().empty());
  EXPECT_EQ(speakers.speaking(), 0u);
}

TEST_F(ActiveSpeakersTest, WhoSpeaksIsFoundWithinHalfASecondAndPausesBetweenWordsDoNotEndIt) {
  run(500ms, {{1, 25}, {2, 127}});
  EXPECT_TRUE(speakers.speaks(1));
  talk(2s, 1);
  EXPECT_TRUE(speakers.speaks(1));
  run(1500ms, {{1, 127}});
  EXPECT_FALSE(speakers.speaks(1));
  EXPECT_EQ(ranking(), (Order{1}));
}

TEST_F(ActiveSpeakersTest, ACoughIsNoSpeech) {
  run(1s, {{1, 80}});
  run(160ms, {{1, 15}});
  run(2s, {{1, 80}});
  EXPECT_TRUE(speakers.ranking().empty());
}

TEST_F(ActiveSpeakersTest, AnInterjectionDoesNotTakeThePlaceOfWhoGoesOnSpeaking) {
  talk(1s, 1);
  run(400ms, {{1, 25}, {2, 20}});
  talk(300ms, 1, {{2, 20}});
  EXPECT_EQ(ranking(), (Order{1, 2}));
  // ... and who speaks when the first has stopped is first then.
  talk(3s, 2, {{1, 90}});
  EXPECT_EQ(ranking(), (Order{2, 1}));
  EXPECT_FALSE(speakers.speaks(1));
}

TEST_F(ActiveSpeakersTest, OfThoseWhoAreSilentTheLatestSpeakerIsFirst) {
  for (const ActiveSpeakers::Who who : {5u, 3u, 4u}) talk(1500ms, who, {{3, 127}, {4, 127}, {5, 127}});
  run(2s, {{3, 127}, {4, 127}, {5, 127}});
  EXPECT_EQ(ranking(), (Order{4, 3, 5}));
  EXPECT_EQ(speakers.speaking(), 0u);
}

TEST_F(ActiveSpeakersTest, WhatNeverGetsQuieterIsBackgroundInTheEnd) {
  run(2s, {{1, 30}});
  EXPECT_TRUE(speakers.speaks(1));
  run(30s, {{1, 30}});
  EXPECT_FALSE(speakers.speaks(1));
  // Over that background speech is still heard.
  talk(3s, 1, {});
  EXPECT_TRUE(speakers.speaks(1));
}

TEST_F(ActiveSpeakersTest, TwoWhoTalkAtOnceKeepTheirOrder) {
  run(500ms, {{1, 25}});
  run(500ms, {{1, 25}, {2, 22}});
  unsigned changes = 0;
  for (int i = 0; i < 10; ++i) changes += run(200ms, {{1, static_cast<std::uint8_t>(i % 2 ? 22 : 28)}, {2, static_cast<std::uint8_t>(i % 2 ? 28 : 22)}});
  EXPECT_EQ(changes, 0u);
  EXPECT_EQ(ranking(), (Order{1, 2}));
}

TEST_F(ActiveSpeakersTest, WhoIsRemovedHasNoRankAndSendersThatFallSilentWithoutAWordStopSpeaking) {
  run(600ms, {{1, 25}, {2, 25}});
  speakers.remove(1);
  EXPECT_EQ(ranking(), (Order{2}));
  EXPECT_TRUE(speakers.update(now));
  run(2s, {});
  EXPECT_FALSE(speakers.speaks(2));
  EXPECT_EQ(ranking(), (Order{2}));
}

TEST_F(ActiveSpeakersTest, VoicesAreBounded) {
  for (ActiveSpeakers::Who who = 0; who < 2 * ActiveSpeakers::max_voices; ++who)
    for (int i = 0; i < 30; ++i) speakers.handle_level(now + i * 20ms, who, 10);
  speakers.update(now + 600ms);
  EXPECT_EQ(speakers.ranking().size(), ActiveSpeakers::max_voices);
}

} // namespace
} // namespace satsuma::rtp
