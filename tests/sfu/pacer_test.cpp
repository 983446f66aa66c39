#include "sfu/pacer.h"

#include <gtest/gtest.h>

#include <optional>

namespace satsuma::sfu {
namespace {

using namespace std::chrono_literals;

Pacer::Item item(std::uint32_t slot, rtp::ExtendedSequence original, bool rtx = false) {
  Pacer::Item out;
  out.slot = slot;
  out.original = original;
  out.size = 1200;
  if (rtx) out.rtx_sequence = 1;
  return out;
}

TEST(PacerTest, WithoutARateNothingWaits) {
  Pacer pacer;
  TimePoint now{1s};
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(pacer.ready(now));
    pacer.count(now, 1200);
  }
}

TEST(PacerTest, PacketsLeaveAtTheRateRetransmissionsFirst) {
  Pacer pacer;
  TimePoint now{1s};
  pacer.set_rate(960'000); // a hundred packets a second
  int at_once = 0;
  while (pacer.ready(now)) {
    pacer.count(now, 1200);
    ++at_once;
  }
  EXPECT_LE(at_once, 4);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(pacer.push(item(1, i)));
  ASSERT_TRUE(pacer.push(item(2, 500, true)));
  int left = 0;
  std::optional<Pacer::Item> first;
  for (int ms = 0; ms < 500; ++ms) {
    now += 1ms;
    while (const auto next = pacer.poll(now)) {
      if (!first) first = next;
      pacer.count(now, next->size);
      ++left;
    }
  }
  ASSERT_TRUE(first);
  EXPECT_EQ(first->original, 500);
  EXPECT_NEAR(left, 50, 3);
  EXPECT_EQ(pacer.waiting(), 101u - left);
}

TEST(PacerTest, WhatWaitsLeavesFasterThanTheRateWhereItIsGivenATime) {
  for (const bool given : {false, true}) {
    Pacer pacer;
    TimePoint now{1s};
    pacer.set_rate(960'000, given ? Duration(20ms) : Duration::max());
    pacer.hold(now, 10ms);
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(pacer.push(item(1, i)));
    std::size_t most_in_a_millisecond = 0;
    for (int ms = 0; ms < 60; ++ms) {
      now += 1ms;
      std::size_t left = 0;
      for (; const auto next = pacer.poll(now); ++left) pacer.count(now, next->size);
      most_in_a_millisecond = std::max(most_in_a_millisecond, left);
    }
    EXPECT_EQ(pacer.waiting() < 10, given);
    EXPECT_LT(most_in_a_millisecond, 70u) << "not all at once";
  }
}

TEST(PacerTest, WhatASlotDropsLeavesTheOthersInTheirOrderAndTheQueueIsBounded) {
  Pacer pacer;
  pacer.set_rate(1000);
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(pacer.push(item(i % 2, i)));
  pacer.remove_slot(1);
  EXPECT_EQ(pacer.waiting(), 150u);
  for (std::size_t i = 150; i < Pacer::max_waiting; ++i) ASSERT_TRUE(pacer.push(item(0, 1000)));
  EXPECT_FALSE(pacer.push(item(0, 1)));
  pacer.set_rate(0);
  for (int i = 0; i < 150; ++i) EXPECT_EQ(pacer.poll(TimePoint{1s})->original, 2 * i);
  pacer.clear();
  EXPECT_EQ(pacer.waiting(), 0u);
  EXPECT_EQ(pacer.waiting_bytes(), 0u);
}

} // namespace
} // namespace satsuma::sfu
