// What a participant sends follows its path, in virtual time and on the real forwarding unit. More of the first with $SATSUMA_MEDIA_SEEDS and $SATSUMA_MEDIA_FIRST.

#include <cstdlib>

#include "world.h"

namespace satsuma::participant::test {
namespace {

const std::vector<Source> both{Source::microphone, Source::camera};
const std::vector<LayerRates> three{{30'000, 100'000}, {100'000, 300'000}, {250'000, 1'200'000}};
const std::pair<std::string, Source> ada_camera("Ada", Source::camera), ada_microphone("Ada", Source::microphone);

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(Adapting, WhereThreeMegabitsBecome300KilobitsThePictureGoesOnSmallerWithinTwoSecondsAndIsBackWithinTenOfRecovery) {
  const std::uint64_t first = number_from("SATSUMA_MEDIA_FIRST", 1), seeds = number_from("SATSUMA_MEDIA_SEEDS", 4);
  Duration worst_freeze{}, latest_fall{}, latest_rise{};
  double most_missing = 0;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    SCOPED_TRACE(seed);
    World w(seed);
    const TimePoint begin = w.now(), drop = begin + 12s, recovery = begin + 27s;
    const auto until = [&](TimePoint at) { w.run(at - w.now()); };
    auto& ada = w.add("Ada", both, "delay=" + std::to_string(10 + seed % 30) + "ms jitter=4ms loss=0.5% up.rate=3M 12s up.rate=300k 27s up.rate=3M", 3, three);
    auto& bob = w.add("Bob", {}, "delay=20ms");
    ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
    World::Received& camera = bob.received.at(ada_camera);
    World::Received& microphone = bob.received.at(ada_microphone);
    until(drop);
    EXPECT_EQ(camera.layer, 2U);
    EXPECT_EQ(ada.participant->target(Source::camera, 2), 1'200'000);
    camera.longest_freeze = {};
    const auto heard = microphone.frames, said = ada.audios;

    const auto fell = w.until([&] { return camera.layer < 2; });
    ASSERT_TRUE(fell);
    EXPECT_LE(*fell, 2s);
    until(drop + 2s);
    auto bytes = camera.bytes, shown = camera.shown_frames;
    until(recovery);
    EXPECT_LT(camera.layer, 2U);
    EXPECT_EQ(ada.participant->target(Source::camera, 2), 0);
    EXPECT_EQ(ada.participant->sending().limited_by, RateControl::LimitedBy::network);
    EXPECT_LE(static_cast<double>(camera.bytes - bytes) * 8 / 13, 250'000);
    EXPECT_GE(camera.shown_frames - shown, 13 * 30 * 9 / 10);
    EXPECT_LE(camera.longest_freeze, 1s);
    const double missing = 1 - static_cast<double>(microphone.frames - heard) / static_cast<double>(ada.audios - said);
    EXPECT_LE(missing, 0.05);
    worst_freeze = std::max(worst_freeze, camera.longest_freeze);

    const auto rose = w.until([&] { return camera.layer == 2 && ada.participant->target(Source::camera, 2) >= 900'000; });
    ASSERT_TRUE(rose);
    EXPECT_LE(*rose, 10s);
    latest_fall = std::max(latest_fall, *fell);
    latest_rise = std::max(latest_rise, *rose);
    most_missing = std::max(most_missing, missing);
    bytes = camera.bytes;
    shown = camera.shown_frames;
    w.run(5s);
    EXPECT_GE(static_cast<double>(camera.bytes - bytes) * 8 / 5, 900'000) << "and stays";
    EXPECT_GE(camera.shown_frames - shown, 5 * 30 * 9 / 10);
    EXPECT_EQ(bob.participant->frames().undecryptable, 0U);
  }
  std::printf("from 3 Mbit/s to 300 kbit/s on the way up, %llu seeds: smaller after %lld ms at most, no freeze longer than %lld ms, %.1f %% of the sound missing at most; back after %lld ms\n",
              static_cast<unsigned long long>(seeds), static_cast<long long>(latest_fall / 1ms), static_cast<long long>(worst_freeze / 1ms), 100 * most_missing,
              static_cast<long long>(latest_rise / 1ms));
}

/// Of the sound of Ada, whose way up is as said, what is missing at Bob's, and how long the slowest of it took.
void hear(const std::vector<Source>& sources, const std::string& way_up, double most_missing, Duration most_delay) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    World w(seed);
    auto& ada = w.add("Ada", sources, "delay=20ms " + way_up, 3, three);
    auto& bob = w.add("Bob", {}, "delay=20ms");
    ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
    EXPECT_EQ(ada.participant->sound_format(), full_sound);
    w.run(20s);
    EXPECT_EQ(ada.participant->sound_format(), narrow_sound);
    World::Received& microphone = bob.received.at(ada_microphone);
    const auto sent = ada.audios, heard = microphone.frames;
    microphone.longest_delay = {};
    w.run(20s);
    const double missing = 1 - static_cast<double>(microphone.frames - heard) / static_cast<double>(ada.audios - sent);
    std::printf("%s, seed %llu: %.1f %% of the sound missing, it took %lld ms at most\n", way_up.c_str(), static_cast<unsigned long long>(seed), 100 * missing,
                static_cast<long long>(microphone.longest_delay / 1ms));
    EXPECT_LE(missing, most_missing);
    EXPECT_LE(microphone.longest_delay, most_delay);
    ada.up[0] = std::make_unique<impairment::Link>(*impairment::Schedule::parse("delay=20ms rate=1M", impairment::Direction::up), seed, w.now());
    EXPECT_TRUE(w.until([&] { return ada.participant->sound_format() == full_sound; }, 90s)) << "and is whole again";
    w.run(15s);
    EXPECT_EQ(ada.participant->sound_format(), full_sound);
  }
}

TEST(Adapting, WhereThePathIsNarrowerThanSoundItTakesLessAndIsHeard) { hear({Source::microphone}, "rate=1M 5s up.rate=50k", 0.05, 600ms); }

TEST(Adapting, WhereThePathIsNarrowerThanSoundPicturesMakeRoomAndItIsHeard) { hear(both, "rate=1M 5s up.rate=60k", 0.05, 800ms); }

TEST(Adapting, AFrameIsRefusedWhoseForerunnerIsDroppedForItsAgeInTheSameMoment) {
  World w(3);
  auto& ada = w.add("Ada", both, "delay=10ms up.rate=1M", 3, three);
  w.add("Bob", {});
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(5s);
  ASSERT_TRUE(ada.participant->wanted(Source::camera, 0));
  const MediaSender& sender = *ada.participant->sender();
  const auto send = [&](TimePoint now) { return ada.participant->send_frame(now, Source::camera, Bytes(100'000, 0x5a), 0, false, std::nullopt, 0); };
  ASSERT_TRUE(send(w.now()));
  ASSERT_TRUE(send(w.now())); // waits behind the first
  const auto dropped = sender.counters().frames_dropped;
  const auto sent = send(w.now() + max_waiting_time + 50ms);
  EXPECT_GT(sender.counters().frames_dropped, dropped);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error(), Error(media_needs_key_frame));
}

TEST(Adapting, WhatIsAskedForAgainAndAgainOnANarrowPathDoesNotPileUp) {
  for (const std::uint64_t seed : {2, 4, 8}) {
    SCOPED_TRACE(seed);
    World w(seed);
    auto& ada = w.add("Ada", both, "delay=20ms up.rate=3M 10s up.rate=60k up.loss=30%", 3, three);
    w.add("Bob", {});
    ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
    std::size_t most = 0;
    for (int i = 0; i < 4'000; ++i) {
      w.run(5ms);
      most = std::max(most, ada.participant->sender()->waiting_repetitions());
    }
    EXPECT_GT(ada.participant->sender()->counters().nacks_received, 300U);
    EXPECT_GT(most, 0U);
    EXPECT_LE(most, 40U); // once for each that is missing, and none that is old: 16; otherwise 80 and more
  }
}

} // namespace
} // namespace satsuma::participant::test
