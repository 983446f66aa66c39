// What each subscriber gets of a room's simulcast streams over networks good and bad, by seed.

#include <gtest/gtest.h>

#include "adaptive_call.h"
#include "sfu/layer_allocator.h"

namespace satsuma::sfu {
namespace {

using namespace std::chrono_literals;
using test::AdaptiveCall;
using test::ShownFrame;

const std::vector<std::int64_t> camera{150'000, 500'000, 1'500'000};

TEST(LayerAllocatorTest, EachTileGetsItsLowestBeforeAnyRisesAndTheHighestPriorityRisesFirst) {
  std::vector<LayerDemand> demands(2);
  for (std::uint32_t i = 0; i < 2; ++i) {
    demands[i].priority = i;
    for (std::uint8_t e = 0; e < 3; ++e) demands[i].add({{e, 0, 0}, camera[e]});
  }
  EXPECT_EQ(allocate_layers(400'000, demands), 300'000);
  EXPECT_EQ(demands[0].chosen, 0u);
  EXPECT_EQ(demands[1].chosen, 0u);
  EXPECT_EQ(allocate_layers(800'000, demands), 650'000);
  EXPECT_EQ(demands[0].priority, 1u);
  EXPECT_EQ(demands[0].chosen, 1u);
  EXPECT_EQ(demands[1].chosen, 0u);
  EXPECT_EQ(allocate_layers(10'000'000, demands), 3'000'000);
  EXPECT_EQ(allocate_layers(200'000, demands), 150'000);
  EXPECT_EQ(demands[0].chosen, 0u);
  EXPECT_FALSE(demands[1].chosen);
  EXPECT_EQ(allocate_layers(0, demands), 0);
}

TEST(LayerAllocatorTest, ToRiseTakesAMarginAndToStayDoesNot) {
  std::vector<LayerDemand> demands(1);
  for (std::uint8_t e = 0; e < 2; ++e) demands[0].add({{e, 0, 0}, camera[e]});
  demands[0].current = 0;
  EXPECT_EQ(allocate_layers(510'000, demands), 150'000);
  demands[0].current = 1;
  EXPECT_EQ(allocate_layers(510'000, demands), 500'000);
}

TEST(LayerAllocatorTest, WhatFlowsAndHasNothingLowerStaysWhileHalfOfItFits) {
  std::vector<LayerDemand> demands(1);
  demands[0].add({{0, 0, 0}, 1'000'000});
  EXPECT_EQ(allocate_layers(600'000, demands), 0);
  demands[0].current = 0;
  EXPECT_EQ(allocate_layers(600'000, demands), 1'000'000);
  EXPECT_EQ(allocate_layers(400'000, demands), 0);
}

TEST(AdaptationTest, AGoodPathShowsTheFullPictureWithinTwoSecondsAndEveryFrame) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    AdaptiveCall call(seed);
    call.publish(camera);
    auto& viewer = call.subscribe("delay=20ms jitter=2ms rate=20M");
    call.run(2s);
    auto& stream = call.stream(viewer);
    EXPECT_EQ(call.last_encoding(stream), 2) << seed;
    const TimePoint from = call.now;
    call.run(5s);
    EXPECT_GT(call.frames_per_second(stream, from, call.now), 29) << seed;
    EXPECT_EQ(stream.broken, 0u);
    EXPECT_EQ(stream.timestamps_back, 0u);
  }
}

TEST(AdaptationTest, WhenManyBeginAtOnceNobodyWaitsForTheEstimate) {
  AdaptiveCall call(7);
  std::vector<test::Publisher*> publishers;
  for (int i = 0; i < 24; ++i) publishers.push_back(&call.publish({1'900'000}));
  for (auto* const p : publishers) p->encoders[0].active = false;
  auto& viewer = call.subscribe("delay=5ms rate=1000M");
  for (auto* const p : publishers) {
    p->encoders[0].active = true;
    call.run(p == publishers.front() ? 2s : 40ms);
  }
  call.run(3s);
  ASSERT_EQ(viewer.streams.size(), 24u);
  std::size_t shown = 0, late = 0;
  for (const auto& [ssrc, stream] : viewer.streams) {
    shown += stream.shown.size();
    // Frames are sent every 33 ms of the clock.
    for (const ShownFrame& frame : stream.shown) late += (frame.at.time_since_epoch() / 1ms - 5) % 33 > 15;
  }
  EXPECT_GT(shown, 2000u);
  EXPECT_LT(late, shown / 50) << shown;
}

TEST(AdaptationTest, AProbeThatFillsThePathTakesNothingFromWhatItCarriedBefore) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    AdaptiveCall call(seed);
    call.publish(camera);
    call.publish(camera);
    auto& viewer = call.subscribe("delay=10ms jitter=2ms rate=1M queue=200ms");
    call.run(2500ms);
    double sum = 0;
    for (int i = 0; i < 80; ++i) {
      call.run(100ms);
      sum += static_cast<double>(call.graph.report(call.now, viewer.index).bitrate);
    }
    EXPECT_GT(sum / 80, 700'000) << seed;
  }
}

TEST(AdaptationTest, AtADropFrom3MegabitTo300KilobitTheLayerFallsWithoutAFreezeAndRisesAgain) {
  Duration longest{};
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    AdaptiveCall call(seed);
    call.publish(camera, true);
    auto& viewer = call.subscribe("delay=20ms jitter=2ms rate=3M queue=250ms 10s rate=300k 25s rate=3M");
    call.run(10s);
    auto& stream = call.stream(viewer);
    EXPECT_EQ(call.last_encoding(stream), 2) << seed;
    const TimePoint drop = call.now;
    call.run(2s);
    EXPECT_EQ(call.last_encoding(stream), 0) << seed;
    call.run(13s);
    longest = std::max(longest, call.longest_gap(stream, drop, call.now));
    EXPECT_LE(call.longest_gap(stream, drop, call.now).count(), 1'000'000) << seed;
    const std::uint64_t sound = viewer.audio_received;
    call.run(10s);
    EXPECT_EQ(call.last_encoding(stream), 2) << seed;
    EXPECT_GT(viewer.audio_received - sound, 490u) << seed;
    EXPECT_EQ(stream.broken, 0u) << seed;
    EXPECT_EQ(stream.timestamps_back, 0u) << seed;
  }
  std::printf("from 3 Mbit/s to 300 kbit/s on the way down: the longest freeze %lld ms\n", static_cast<long long>(longest / 1ms));
}

TEST(AdaptationTest, AtFivePercentOfLossVideoHasItsFullRate) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    AdaptiveCall call(seed);
    call.publish(camera, true);
    auto& viewer = call.subscribe("delay=20ms rate=8M loss=5%");
    call.run(5s);
    const TimePoint from = call.now;
    call.run(20s);
    auto& stream = call.stream(viewer);
    EXPECT_EQ(call.last_encoding(stream), 2) << seed;
    EXPECT_GT(call.frames_per_second(stream, from, call.now), 28.5) << seed;
    EXPECT_LE(call.longest_gap(stream, from, call.now).count(), 1'000'000) << seed;
    EXPECT_EQ(stream.broken, 0u) << seed;
  }
}

TEST(AdaptationTest, AtThirtyPercentOfLossSoundGoesOnAndVideoMakesRoom) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    AdaptiveCall call(seed);
    call.publish(camera, true);
    auto& viewer = call.subscribe("delay=20ms rate=3M down.loss=30%");
    call.run(10s);
    const std::uint64_t before = viewer.audio_received;
    call.run(20s);
    EXPECT_NEAR(static_cast<double>(viewer.audio_received - before), 700, 60) << seed;
    EXPECT_LT(call.last_encoding(call.stream(viewer)), 2) << seed;
  }
}

TEST(AdaptationTest, ThePathBetweenTwoLayersLeavesOutFramesAndNothingBreaks) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    AdaptiveCall call(seed);
    call.publish({600'000});
    auto& viewer = call.subscribe("delay=20ms rate=550k queue=500ms");
    call.run(25s);
    auto& stream = call.stream(viewer);
    const double rate = call.frames_per_second(stream, call.now - 10s, call.now);
    EXPECT_LT(rate, 29) << seed;
    EXPECT_GT(rate, 6) << seed;
    EXPECT_LE(call.longest_gap(stream, call.now - 10s, call.now).count(), 600'000) << seed;
    EXPECT_EQ(stream.broken, 0u) << seed;
  }
}

TEST(AdaptationTest, ASmallTileGetsTheSmallPictureAHiddenOneNothingAndThePublisherIsTold) {
  AdaptiveCall call(5);
  auto& publisher = call.publish(camera);
  auto& viewer = call.subscribe("delay=10ms rate=20M");
  call.run(3s);
  auto& stream = call.stream(viewer);
  EXPECT_EQ(call.last_encoding(stream), 2);
  call.graph.set_view(call.now, viewer.index, std::vector<TileView>{{"v0", 180}});
  call.run(2s);
  EXPECT_EQ(call.last_encoding(stream), 0);
  call.run(5s);
  EXPECT_FALSE(publisher.encoders[2].active);
  EXPECT_FALSE(publisher.encoders[1].active);
  EXPECT_TRUE(publisher.encoders[0].active);
  EXPECT_EQ(call.graph.report(call.now, viewer.index).slots.at(0).limit, SlotLimit::view);

  call.graph.set_view(call.now, viewer.index, {});
  call.run(500ms);
  const std::size_t shown = stream.shown.size();
  call.run(2s);
  EXPECT_EQ(stream.shown.size(), shown);
  EXPECT_TRUE(call.graph.report(call.now, viewer.index).slots.at(0).paused);

  const TimePoint again = call.now;
  call.graph.set_view(call.now, viewer.index, std::vector<TileView>{{"v0", 720}});
  call.run(1500ms);
  EXPECT_TRUE(publisher.encoders[2].active);
  EXPECT_EQ(call.last_encoding(stream), 2);
  EXPECT_LE((stream.shown.at(shown).at - again).count(), 300'000); // something at once
  EXPECT_EQ(stream.broken, 0u);
  EXPECT_EQ(stream.timestamps_back, 0u);
}

TEST(AdaptationTest, TwelveTilesShareAPathAndTheScreenComesFirst) {
  AdaptiveCall call(3);
  for (int i = 0; i < 7; ++i) call.publish(camera);
  call.publish({200'000, 800'000}, false, Source::screen);
  auto& viewer = call.subscribe("delay=20ms rate=3500k queue=300ms");
  call.run(20s);
  const auto report = call.graph.report(call.now, viewer.index);
  ASSERT_EQ(report.slots.size(), 8u);
  int paused = 0;
  for (const auto& slot : report.slots) paused += slot.paused;
  EXPECT_EQ(paused, 0);
  const auto uses = call.graph.slot_uses(viewer.index);
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const bool screen = uses[i].source == Source::screen;
    EXPECT_TRUE(!screen || report.slots[i].encoding == 1);
  }
  const Counters& counters = call.graph.counters();
  EXPECT_LE(counters.dropped_pacer_full + counters.dropped_pacer_late + counters.dropped_given_up, 1000u);
  for (auto& [ssrc, stream] : viewer.streams) EXPECT_LE(call.longest_gap(stream, call.now - 8s, call.now).count(), 1'500'000);
}

TEST(AdaptationTest, AKeyFrameThatTakesLongerThanPicturesMayWaitComesThroughAndThePictureGoesOn) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    AdaptiveCall call(seed);
    auto& publisher = call.publish({300'000}, false, Source::screen);
    auto& viewer = call.subscribe("delay=20ms rate=1M queue=300ms");
    call.run(8s);
    const auto asked = call.key_frames_asked;
    // Somebody turns the page.
    publisher.encoders[0].key_frame_bytes = 150'000;
    publisher.encoders[0].key = true;
    const TimePoint began = call.now;
    const auto key_shown = [&]() -> std::optional<Duration> {
      for (const ShownFrame& frame : call.stream(viewer).shown)
        if (frame.key && frame.at > began) return frame.at - began;
      return std::nullopt;
    };
    while (!key_shown() && call.now - began < 20s) call.run(50ms);
    const auto took = key_shown();
    ASSERT_TRUE(took);
    EXPECT_LE(*took, 8s); // 1.2 s at the rate of the path, if nothing of it is lost
    EXPECT_LE(call.key_frames_asked - asked, 6u);
    call.run(10s);
    EXPECT_LE(call.key_frames_asked - asked, 6u);
    EXPECT_GE(call.frames_per_second(call.stream(viewer), call.now - 5s, call.now), 28);
  }
}

TEST(AdaptationTest, AfterAnOutageOfABrowserThatSendsInSizesItsFirstKeyFrameIsTaken) {
  Duration longest{};
  // Of small pictures browsers send fewer sizes than they offered.
  for (const std::size_t sizes : {1, 3}) {
    // Sizes are chosen every 200 ms, and what did not come is asked for again every few seconds: whatever that is in the middle of.
    for (int i = 0; i < 16; ++i) {
      SCOPED_TRACE(std::to_string(sizes) + ", " + std::to_string(i));
      AdaptiveCall call(5);
      auto& publisher = call.publish(camera, true);
      publisher.encoders.resize(sizes);
      publisher.as_browsers = true;
      publisher.deaf_to_requests = 300ms;
      auto& viewer = call.subscribe("delay=10ms rate=10M");
      call.run(5s + i * 520ms);
      ASSERT_EQ(call.last_encoding(call.stream(viewer)), static_cast<int>(sizes) - 1);
      publisher.cut = true;
      call.run(1500ms);
      publisher.cut = false;
      const TimePoint end = call.now;
      const auto asked = call.key_frames_asked;
      const auto shown = call.stream(viewer).shown.size();
      while (call.stream(viewer).shown.size() == shown && call.now - end < 5s) call.run(1ms);
      longest = std::max(longest, call.now - end);
      EXPECT_LE(call.now - end, 120ms);
      call.run(2s);
      EXPECT_EQ(call.last_encoding(call.stream(viewer)), static_cast<int>(sizes) - 1);
      EXPECT_LE(call.key_frames_asked - asked, 6u);
      EXPECT_EQ(call.stream(viewer).broken, 0u);
    }
  }
  std::printf("after an outage of a publisher in sizes: pictures after %lld ms at most\n", static_cast<long long>(longest / 1ms));
}

TEST(AdaptationTest, SubscribersWithGoodAndBadPathsDoNotDisturbEachOther) {
  AdaptiveCall call(9);
  call.publish(camera);
  auto& good = call.subscribe("delay=10ms rate=20M");
  auto& bad = call.subscribe("delay=60ms jitter=10ms rate=400k queue=300ms loss=3% burst=4");
  call.run(10s);
  EXPECT_EQ(call.last_encoding(call.stream(good)), 2);
  EXPECT_EQ(call.last_encoding(call.stream(bad)), 0);
  EXPECT_GT(call.frames_per_second(call.stream(good), call.now - 5s, call.now), 29);
  EXPECT_GT(call.frames_per_second(call.stream(bad), call.now - 5s, call.now), 15);
}

} // namespace
} // namespace satsuma::sfu
