#include <gtest/gtest.h>

#include "sim/oracle.h"
#include "sim/scenario.h"

namespace satsuma::sim {
namespace {

TEST(Simulator, TheSameSeedGivesTheSameTraceToTheByte) {
  for (const std::uint64_t seed : {3, 17, 40}) {
    const SeedResult first = run_seed(seed, {true, {}, false});
    const SeedResult second = run_seed(seed, {true, {}, false});
    const SeedResult without_trace = run_seed(seed);
    EXPECT_GT(first.trace.size(), 1000u);
    EXPECT_EQ(first.trace, second.trace) << seed;
    EXPECT_EQ(first.fingerprint, second.fingerprint) << seed;
    EXPECT_EQ(first.fingerprint, without_trace.fingerprint) << seed;
    EXPECT_NE(first.fingerprint, run_seed(seed + 1).fingerprint) << seed;
  }
}

TEST(Simulator, RoomsThatAreLeftWhileTheyBeginHeal) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const SeedResult result = run_seed(seed, {false, {}, true});
    EXPECT_EQ(result.failure.value_or(""), "") << "founders, seed " << seed;
  }
}

TEST(Simulator, ClocksThatDriftAndStandStillGoThereAndBack) {
  for (const std::int64_t drift : {-50'000, -1, 0, 7, 50'000}) {
    const LocalClock clock{Duration(12'345'678), drift, Duration(999)};
    for (const std::int64_t shown : {1'000'000'000, 1'000'000'001, 1'234'567'890}) {
      const TimePoint wanted{Duration(shown)};
      const TimePoint world = clock.world(wanted);
      EXPECT_GE(clock.local(world), wanted);
      EXPECT_LT(clock.local(world - Duration(2)), wanted);
    }
  }
}

TEST(Simulator, WhatAStoreAnsweredOkToSurvivesAndNothingElseNeeds) {
  CrashStore store;
  ASSERT_EQ(store.append("orchard", {0, Bytes{1}, std::nullopt, std::nullopt}), delivery::StoreStatus::ok);
  ASSERT_EQ(store.append("orchard", {1, Bytes{2}, std::nullopt, std::nullopt}), delivery::StoreStatus::ok);
  ASSERT_EQ(store.trim("orchard", {1, Bytes{9}, {}}), delivery::StoreStatus::ok);
  EXPECT_EQ(store.load("orchard").value()->log_start, 1u);
  store.crash();
  EXPECT_EQ(store.load("orchard").value()->log_start, 0u) << "a trim that nothing followed came back";
  EXPECT_EQ(store.load("orchard").value()->records.size(), 2u);
}

// Seed 5326: three renewals a tenth of a second apart, and a sender that followed the first of them right into the third.
TEST(Simulator, FramesFromNearTheServerAreReadFarFromItThoughEpochsFollowEachOtherFast) {
  WorldOptions options;
  options.session.refresh_interval = 400ms;
  options.session.room_refresh_interval = 10ms;
  World world(options);
  std::vector<Person*> people;
  for (const char* name : {"Near", "Far", "Cy", "Di"}) {
    people.push_back(&world.add(name));
    people.back()->delay = 2ms;
    ASSERT_TRUE(world.until([&] { return people.back()->in(); }, 10s));
  }
  Person& near = *people[0];
  Person& far = *people[1];
  far.delay = 110ms;
  world.run(2s);
  const Bytes plain(50, 7);
  call::Line line{Bytes(32, 1)};
  const std::size_t epochs = near.epochs.size();
  for (int i = 0; i < 1'000; ++i, world.run(10ms)) {
    Bytes out(sframe::max_protected_size(sframe::Shell::vp8_key, plain.size()));
    const auto sent = near.session->protect(world.local_now(near), call::StreamContext::camera, sframe::Shell::vp8_key, plain, out);
    ASSERT_TRUE(sent);
    Bytes in(sent->size());
    const auto read = far.session->unprotect(world.local_now(far), line, sframe::ShellKind::video, *sent, in);
    ASSERT_TRUE(read) << i << ": " << read.error().name();
  }
  EXPECT_GT(near.epochs.size() - epochs, 30u);
}

// Seeds that failed once, each with what it was.
struct Regression {
  std::uint64_t seed;
  const char* what;
};
constexpr Regression regressions[] = {
    {281, "a connection that only the server had lost when the weather turned good"},
    {3316, "a disk that was to fail at its next write, long after the trouble"},
    {458, "a room in which nobody waits but one who sleeps for ever"},
};

TEST(Simulator, SeedsThatFailedOnceDoNotFailAgain) {
  for (const Regression& one : regressions) {
    const SeedResult result = run_seed(one.seed);
    EXPECT_EQ(result.failure.value_or(""), "") << "scripts/sim --replay " << one.seed << " --trace: " << one.what;
  }
}

} // namespace
} // namespace satsuma::sim
