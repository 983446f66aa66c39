// The estimator and a bottleneck, in virtual time: a sender that uses what it is told it may.

#include "congestion/bandwidth_estimator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "impairment/link.h"
#include "rtp/rtcp.h"
#include "rtp/transport_feedback.h"

namespace satsuma::congestion {
namespace {

using namespace std::chrono_literals;
using impairment::Direction;
using impairment::Link;
using impairment::Schedule;

constexpr std::size_t below_rtp = 28; // IPv4 and UDP, which the link counts too

struct World {
  World(std::string_view network, std::uint64_t seed)
      : begin(now), down(*Schedule::parse(network, Direction::down), seed, now), up(*Schedule::parse(network, Direction::up), seed + 1, now) {}

  void send(std::size_t size, std::uint16_t probe = 0) {
    Bytes packet(size - below_rtp);
    packet[0] = static_cast<std::uint8_t>(sequence >> 8);
    packet[1] = static_cast<std::uint8_t>(sequence);
    estimator.on_sent(now, sequence++, size, probe);
    down.handle_datagram(now, packet);
  }

  /// One millisecond; the sender sends what it has (`offered`), within the estimate.
  void step(std::int64_t offered, std::int64_t wanted) {
    now += 1ms;
    const std::int64_t rate = std::min(offered, estimator.bitrate());
    credit += static_cast<double>(rate) / 8 / 1000;
    while (credit >= 1000) {
      send(1000);
      credit -= 1000;
    }
    if (const auto next = estimator.poll_probe(now, wanted)) probe = *next;
    if (probe) {
      probe_credit += static_cast<double>(probe->bitrate) / 8 / 1000;
      while (probe_credit >= 300 && probe) {
        send(300, probe->cluster);
        probe_credit -= 300;
        if (probe->bytes <= 300) probe.reset();
        else probe->bytes -= 300;
      }
    }
    down.handle_timeout(now);
    while (const auto got = down.poll_output()) {
      recorder.on_packet(now + other_clock, static_cast<std::uint16_t>((*got)[0] << 8 | (*got)[1])); // another clock
      received += got->size() + below_rtp;
    }
    if (now >= next_feedback) {
      next_feedback = now + feedback_interval;
      while (recorder.pending()) {
        Bytes message(1200);
        const auto written = recorder.write(1, 2, message);
        if (!written) break;
        up.handle_datagram(now, *written);
      }
    }
    up.handle_timeout(now);
    while (const auto got = up.poll_output()) {
      rtp::RtcpReader reader(*got);
      const auto packet = reader.next();
      ASSERT_TRUE(packet && *packet);
      const auto feedback = rtp::parse_transport_feedback(rtp::parse_feedback(**packet)->control, storage);
      ASSERT_TRUE(feedback);
      estimator.on_feedback(now, feedback->statuses);
    }
    if ((now - begin).count() % 20'000 == 0) estimator.handle_timeout(now);
  }
  void run(Duration length, std::int64_t offered, std::int64_t wanted = 0) {
    for (const TimePoint end = now + length; now < end;) step(offered, wanted == 0 ? offered : wanted);
  }
  double utilised(Duration length, std::int64_t offered) {
    const std::uint64_t before = received;
    run(length, offered);
    return static_cast<double>(received - before) * 8 / std::chrono::duration<double>(length).count();
  }

  TimePoint now{std::chrono::seconds(50)};
  TimePoint begin;
  BandwidthEstimator estimator;
  rtp::TransportFeedbackRecorder recorder;
  Link down, up;
  std::uint16_t sequence = 65'000; // wraps soon
  double credit = 0, probe_credit = 0;
  std::optional<BandwidthEstimator::Probe> probe;
  TimePoint next_feedback{};
  Duration feedback_interval = 50ms;
  Duration other_clock = 7h;
  std::vector<rtp::PacketStatus> storage{rtp::max_feedback_statuses};
  std::uint64_t received = 0;
};

TEST(BandwidthEstimatorTest, WhoStopsSendingWhileAQueueIsThereLearnsByProbesThatItIsGone) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    World w("delay=20ms rate=1M 5s rate=60k 8s rate=1M", seed);
    w.run(5s, 800'000);
    for (int i = 0; i < 3000 && w.estimator.usage() != BandwidthEstimator::Usage::over; ++i) w.run(1ms, 800'000);
    ASSERT_EQ(w.estimator.usage(), BandwidthEstimator::Usage::over);
    const std::int64_t then = w.estimator.bitrate();
    w.run(500ms, 0, 1'000'000); // what was under way is told
    ASSERT_TRUE(w.begin + 8s > w.now);
    w.run(15s, 0, 1'000'000);
    EXPECT_GT(w.estimator.bitrate(), std::max<std::int64_t>(then, 300'000)) << seed;
  }
}

TEST(BandwidthEstimatorTest, AReceiverThatNeverGivesFeedbackSetsNoLimit) {
  BandwidthEstimator estimator;
  TimePoint now{1s};
  for (std::uint16_t i = 0; i < 5000; ++i) estimator.on_sent(now += 1ms, i, 1200);
  estimator.handle_timeout(now + 10s);
  EXPECT_EQ(estimator.bitrate(), BandwidthEstimator::max_bitrate);
  EXPECT_EQ(estimator.limited_by(), BandwidthEstimator::LimitedBy::nothing);
  EXPECT_FALSE(estimator.poll_probe(now, 10'000'000));
}

TEST(BandwidthEstimatorTest, FindsAWidePathWithinTwoSecondsByProbingWhenThereIsUseForIt) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    World world("delay=20ms rate=10M", seed);
    world.run(2s, 400'000, 4'000'000); // sends little, and wants more
    EXPECT_GT(world.estimator.bitrate(), 3'000'000) << seed;
    EXPECT_LT(world.estimator.bitrate(), 10'000'000) << seed;
  }
}

TEST(BandwidthEstimatorTest, WhereAPathCollapsesALostFeedbackDelaysTheFallByNoMoreThanItself) {
  for (int lost_at = 5100; lost_at < 5500; lost_at += 20) {
    World world("delay=20ms rate=3M 5s rate=300k " + std::to_string(lost_at) + "ms up.outage=on " + std::to_string(lost_at + 130) + "ms up.outage=off", 1);
    world.feedback_interval = 20ms;
    world.run(5s, 1'500'000);
    world.run(Duration(std::chrono::milliseconds(lost_at + 250 - 5000)), 1'500'000);
    EXPECT_LE(world.estimator.bitrate(), 1'300'000) << lost_at;
  }
}

TEST(BandwidthEstimatorTest, WhatAnOverflowLostIsNotCountedAgainstWhatLeftAfterIt) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    World world("delay=20ms rate=3M 5s rate=300k queue=150ms", seed);
    world.run(5s, 2'500'000);
    std::int64_t least = BandwidthEstimator::max_bitrate;
    for (int i = 0; i < 300; ++i) {
      world.run(10ms, 2'500'000);
      least = std::min(least, world.estimator.bitrate());
    }
    EXPECT_GE(least, 170'000) << seed;
  }
}

TEST(BandwidthEstimatorTest, DoesNotProbeForWhatNobodyWants) {
  World world("delay=20ms rate=10M", 1);
  world.run(5s, 400'000);
  EXPECT_LE(world.estimator.bitrate(), 1'000'000);
}

TEST(BandwidthEstimatorTest, BeginsWithWhatArrivesAlready) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    World world("delay=20ms jitter=2ms rate=10M", seed);
    // Nothing is held back before the first feedback.
    for (int i = 0; i < 400; ++i) {
      world.send(1000); // 3 Mbit/s, whatever the estimate
      world.send(125);
      world.send(125);
      for (int ms = 0; ms < 3; ++ms) world.step(0, 0);
    }
    EXPECT_GT(world.estimator.bitrate(), 2'500'000) << seed;
    EXPECT_LT(world.estimator.bitrate(), 5'000'000) << seed;
  }
}

TEST(BandwidthEstimatorTest, AReceiverThatHasBeenUpForAWeekIsLikeAnyOther) {
  // Its clock is beyond half of what the reference time tells (24 bits of 64 ms).
  for (const Duration clock : {Duration(7h), Duration(24h * 8), Duration(24h * 12)}) {
    World world("delay=25ms rate=2M queue=400ms", 3);
    world.other_clock = clock;
    world.run(10s, 5'000'000);
    const double rate = world.utilised(10s, 5'000'000);
    EXPECT_GT(rate, 1'200'000) << clock.count();
    EXPECT_LT(rate, 2'000'000) << clock.count();
    EXPECT_GT(world.estimator.acknowledged_bitrate(), 1'000'000) << clock.count();
  }
}

TEST(BandwidthEstimatorTest, AClockThatRunsDifferentlyWhileNothingIsSentIsNoQueue) {
  World world("delay=20ms rate=10M", 1);
  world.run(5s, 2'000'000);
  const std::int64_t before = world.estimator.bitrate();
  world.run(600s, 0); // all are silent
  world.other_clock += 200ms;
  world.run(5s, 2'000'000);
  EXPECT_GE(world.estimator.bitrate(), before * 9 / 10);
}

TEST(BandwidthEstimatorTest, AReceiverThatTakesLongToTellWhatArrivedIsNoFullPath) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    World world("delay=20ms rate=10M", seed);
    world.run(5s, 3'000'000);
    const std::int64_t before = world.estimator.bitrate();
    EXPECT_GE(before, 2'500'000) << seed;
    // Its processor is busy, or the way back is full; what arrives arrives as before.
    world.feedback_interval = 200ms;
    world.up = Link(*Schedule::parse("delay=300ms", Direction::up), seed, world.now);
    for (int i = 0; i < 100; ++i) {
      world.run(50ms, 3'000'000);
      EXPECT_GE(world.estimator.bitrate(), before * 9 / 10) << seed;
      EXPECT_LT(world.estimator.queue(), 20ms) << seed;
    }
  }
}

TEST(BandwidthEstimatorTest, FillsABottleneckWithoutLossAndStaysBelowIt) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    World world("delay=25ms jitter=3ms rate=2M queue=400ms", seed);
    world.run(10s, 5'000'000);
    const auto lost = world.down.counters().queue_full;
    const double rate = world.utilised(20s, 5'000'000);
    EXPECT_GT(rate, 1'200'000) << seed;
    EXPECT_LT(rate, 2'000'000) << seed;
    EXPECT_LE(world.down.counters().queue_full - lost, 20u) << seed;
  }
}

TEST(BandwidthEstimatorTest, FollowsADropFromThreeMegabitsTo300KilobitsWithinASecondAndRisesWithinFiveOfItsEnd) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world("delay=20ms jitter=2ms rate=3M queue=500ms 10s rate=300k 25s rate=3M", seed);
    world.run(10s, 2'500'000);
    EXPECT_GT(world.estimator.bitrate(), 1'500'000) << seed;
    world.run(1s, 2'500'000);
    EXPECT_LT(world.estimator.bitrate(), 600'000) << seed;
    world.run(4s, 2'500'000);
    EXPECT_LT(world.estimator.bitrate(), 450'000) << seed;
    EXPECT_GT(world.estimator.bitrate(), 100'000) << seed;
    world.run(15s, 2'500'000);
    EXPECT_GT(world.estimator.bitrate(), 1'000'000) << seed;
  }
}

TEST(BandwidthEstimatorTest, FivePercentOfLossByChanceDoesNotLowerTheEstimate) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    World world("delay=20ms rate=6M loss=5%", seed);
    world.run(10s, 2'500'000);
    EXPECT_GT(world.estimator.bitrate(), 2'400'000) << seed;
    EXPECT_NEAR(world.estimator.loss(), 0.05, 0.05) << seed;
  }
}

TEST(BandwidthEstimatorTest, HeavyLossLowersItAndNamesTheReason) {
  World world("delay=20ms 5s loss=30%", 3);
  world.run(5s, 2'000'000);
  EXPECT_GT(world.estimator.bitrate(), 1'900'000);
  world.run(5s, 2'000'000);
  EXPECT_LT(world.estimator.bitrate(), 1'000'000);
  EXPECT_EQ(world.estimator.limited_by(), BandwidthEstimator::LimitedBy::loss);
}

TEST(BandwidthEstimatorTest, JitterAloneIsNoCongestion) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    World world("delay=30ms jitter=15ms rate=20M", seed);
    world.run(15s, 1'500'000);
    EXPECT_GT(world.estimator.bitrate(), 1'400'000) << seed;
  }
}

TEST(BandwidthEstimatorTest, SilenceOfTheReceiverLowersIt) {
  World world("delay=20ms rate=5M 4s outage=on", 1);
  world.run(4s, 2'000'000);
  const auto before = world.estimator.bitrate();
  world.run(4s, 2'000'000);
  EXPECT_LT(world.estimator.bitrate(), before / 2);
}

TEST(BandwidthEstimatorTest, AReceiversNonsenseStaysWithinTheBounds) {
  std::uint64_t state = 7;
  const auto random = [&state] { return (state = state * 6364136223846793005U + 1442695040888963407U) >> 33; };
  BandwidthEstimator estimator;
  TimePoint now{1s};
  std::vector<rtp::PacketStatus> statuses(500);
  for (int round = 0; round < 400; ++round) {
    for (int i = 0; i < 50; ++i) estimator.on_sent(now += 1ms, static_cast<std::uint16_t>(random() % 3 == 0 ? random() : 50 * round + i), random() % 1500);
    for (auto& s : statuses)
      s = {static_cast<std::uint16_t>(random()), random() % 4 != 0, static_cast<std::int64_t>(random() % 2 ? random() << 20 : random()) * (random() % 2 ? 1 : -1)};
    estimator.on_feedback(now, statuses);
    estimator.handle_timeout(now);
    (void)estimator.poll_probe(now, 30'000'000);
    EXPECT_GE(estimator.bitrate(), BandwidthEstimator::min_bitrate);
    EXPECT_LE(estimator.bitrate(), BandwidthEstimator::max_bitrate);
  }
}

} // namespace
} // namespace satsuma::congestion
