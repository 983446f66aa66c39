#include "impairment/link.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

namespace satsuma::impairment {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{1'000'000'000us};

Schedule schedule(std::string_view text) {
  auto parsed = Schedule::parse(text, Direction::up);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

struct Arrival {
  Duration at;
  std::uint32_t number;
  friend bool operator==(const Arrival&, const Arrival&) = default;
};

/// `count` datagrams of `size` bytes, one each `interval`; each carries its number.
std::vector<Arrival> run(Link& link, std::uint32_t count, Duration interval, std::size_t size = 100) {
  std::vector<Arrival> arrivals;
  const auto drain = [&](TimePoint now) {
    while (const auto out = link.poll_output()) {
      EXPECT_EQ(out->size(), size);
      arrivals.push_back({now - start, static_cast<std::uint32_t>((*out)[0] << 16 | (*out)[1] << 8 | (*out)[2])});
    }
  };
  const auto advance = [&](TimePoint until) {
    while (const auto next = link.next_deadline()) {
      if (*next > until) break;
      link.handle_timeout(*next);
      drain(*next);
    }
  };
  Bytes bytes(size);
  TimePoint now = start;
  for (std::uint32_t i = 0; i < count; ++i) {
    advance(now);
    bytes[0] = static_cast<std::uint8_t>(i >> 16);
    bytes[1] = static_cast<std::uint8_t>(i >> 8);
    bytes[2] = static_cast<std::uint8_t>(i);
    link.handle_datagram(now, bytes);
    drain(now);
    now += interval;
  }
  advance(now + 1h);
  return arrivals;
}

TEST(Link, APerfectLinkDeliversEverythingAtOnceAndInOrder) {
  Link link({}, 1, start);
  const auto arrivals = run(link, 1000, 1ms);
  ASSERT_EQ(arrivals.size(), 1000U);
  for (std::uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(arrivals[i], (Arrival{i * 1ms, i}));
}

TEST(Link, TheSameSeedGivesTheSameNetworkAndAnotherSeedAnother) {
  const auto with = [](std::uint64_t seed) {
    Link link(schedule("loss=10% burst=3 delay=20ms jitter=15ms reorder=5% duplicate=3%"), seed, start);
    return run(link, 2000, 1ms);
  };
  EXPECT_EQ(with(7), with(7));
  EXPECT_NE(with(7), with(8));
}

TEST(Link, IndependentLossHasTheAskedShareAndNoMemory) {
  Link link(schedule("loss=20%"), 3, start);
  const auto arrivals = run(link, 100'000, 10us);
  const double lost = 1 - static_cast<double>(arrivals.size()) / 100'000;
  EXPECT_NEAR(lost, 0.20, 0.01);
  std::size_t gaps = 0, runs = 0;
  for (std::size_t i = 1; i < arrivals.size(); ++i) {
    const std::uint32_t missing = arrivals[i].number - arrivals[i - 1].number - 1;
    gaps += missing;
    runs += missing > 0 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(gaps) / static_cast<double>(runs), 1 / (1 - 0.20), 0.05);
}

TEST(Link, BurstsHaveTheAskedMeanLengthAtTheSameShare) {
  Link link(schedule("loss=5% burst=8"), 4, start);
  const auto arrivals = run(link, 400'000, 10us);
  EXPECT_NEAR(1 - static_cast<double>(arrivals.size()) / 400'000, 0.05, 0.005);
  std::size_t gaps = 0, runs = 0;
  for (std::size_t i = 1; i < arrivals.size(); ++i) {
    const std::uint32_t missing = arrivals[i].number - arrivals[i - 1].number - 1;
    gaps += missing;
    runs += missing > 0 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(gaps) / static_cast<double>(runs), 8, 0.6);
}

TEST(Link, ABadSpellMayLoseOnlyAPartOfItsDatagrams) {
  Link link(schedule("loss=10% burst=20 burst_loss=50%"), 5, start);
  EXPECT_NEAR(1 - static_cast<double>(run(link, 400'000, 10us).size()) / 400'000, 0.10, 0.01);
}

TEST(Link, TotalLossLetsNothingThrough) {
  for (const char* text : {"loss=100%", "loss=100% burst=5"}) {
    Link link(schedule(text), 6, start);
    EXPECT_TRUE(run(link, 1000, 1ms).empty()) << text;
    EXPECT_EQ(link.counters().lost, 1000U);
  }
}

TEST(Link, JitterSpreadsArrivalsWithinItsRangeAndKeepsTheOrder) {
  Link link(schedule("delay=50ms jitter=30ms"), 7, start);
  const auto arrivals = run(link, 5000, 20ms);
  ASSERT_EQ(arrivals.size(), 5000U);
  Duration least = 1h, most{};
  for (std::uint32_t i = 0; i < 5000; ++i) {
    EXPECT_EQ(arrivals[i].number, i);
    const Duration took = arrivals[i].at - i * 20ms;
    least = std::min(least, took);
    most = std::max(most, took);
  }
  EXPECT_GE(least, Duration(50ms));
  EXPECT_LE(most, Duration(80ms));
  EXPECT_GT(most - least, Duration(25ms));
}

TEST(Link, ReorderedDatagramsComeLaterThanThoseBehindThem) {
  Link link(schedule("delay=10ms reorder=10% reorder_by=5ms"), 8, start);
  const auto arrivals = run(link, 5000, 1ms);
  ASSERT_EQ(arrivals.size(), 5000U);
  std::size_t overtaken = 0;
  for (std::size_t i = 1; i < arrivals.size(); ++i) overtaken += arrivals[i].number < arrivals[i - 1].number ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(overtaken), 500, 100);
}

TEST(Link, DuplicatesArriveTwice) {
  Link link(schedule("duplicate=25%"), 9, start);
  const auto arrivals = run(link, 4000, 1ms);
  EXPECT_NEAR(static_cast<double>(arrivals.size()), 5000, 150);
  EXPECT_EQ(arrivals.size(), 4000 + link.counters().duplicated);
}

TEST(Link, ARateLetsThroughWhatItSaysAndItsQueueHoldsSoLong) {
  // 1.128 kB a datagram with headers, offered at 9 Mbit/s, for a second.
  Link link(schedule("rate=1M queue=200ms"), 10, start);
  const auto arrivals = run(link, 1000, 1ms, 1100);
  const double per_second = 1e6 / (8 * 1128);
  EXPECT_NEAR(static_cast<double>(arrivals.size()), per_second * 1.2, 2); // one second, and what the queue holds then
  EXPECT_LE(arrivals.back().at, Duration(1s + 210ms));
  EXPECT_EQ(link.counters().queue_full, 1000 - arrivals.size());
  // Once it is full, each waits for the whole queue.
  EXPECT_GT(arrivals.back().at - arrivals.back().number * 1ms, Duration(190ms));
}

TEST(Link, ConditionsChangeAtTheirTime) {
  Link link(schedule("500ms outage=on 700ms outage=off"), 11, start);
  const auto arrivals = run(link, 1000, 1ms);
  EXPECT_EQ(arrivals.size(), 800U);
  EXPECT_EQ(link.counters().cut, 200U);
  for (const Arrival& arrival : arrivals) EXPECT_TRUE(arrival.number < 500 || arrival.number >= 700);
}

TEST(Link, AStreamWaitsOutAnOutageAndLosesNothing) {
  Link link(schedule("loss=50% duplicate=50% reorder=50% delay=5ms 500ms outage=on 700ms outage=off"), 12, start, Link::Kind::stream);
  const auto arrivals = run(link, 1000, 1ms);
  ASSERT_EQ(arrivals.size(), 1000U);
  for (std::uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(arrivals[i].number, i);
  EXPECT_EQ(arrivals[600].at, Duration(705ms));
}

TEST(Link, WhatWaitsIsBounded) {
  Link link(schedule("delay=1s"), 13, start);
  const Bytes bytes(100);
  for (std::size_t i = 0; i < max_waiting_datagrams + 10; ++i) link.handle_datagram(start, bytes);
  EXPECT_EQ(link.counters().queue_full, 10U);
  EXPECT_EQ(link.waiting_bytes(), 100 * max_waiting_datagrams);
}

} // namespace
} // namespace satsuma::impairment
