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

TEST(PacerTest, WhatWaitsLeavesTwiceAsFastWhereItIsGivenATime) {
  std::size_t left[2] = {0, 0};
  for (const bool given : {false, true}) {
    Pacer pacer;
    TimePoint now{1s};
    pacer.set_rate(4'800'000, given ? Duration(20ms) : Duration::max());
    for (int i = 0; i < 400; ++i) ASSERT_TRUE(pacer.push(item(1, i)));
    for (int i = 0; i < 20; ++i) {
      now += 5ms;
      for (; const auto next = pacer.poll(now); ++left[given]) pacer.count(now, next->size);
    }
  }
  EXPECT_GT(left[true] * 10, left[false] * 17);
  EXPECT_LT(left[true] * 10, left[false] * 23);
}

TEST(PacerTest, WhatLeftInHasteHoldsNothingBackAfterwards) {
  for (const bool dropped : {false, true}) {
    Pacer pacer;
    TimePoint now{1s};
    pacer.set_rate(1'200'000, 10ms);
    for (int i = 0; i < 110; ++i) ASSERT_TRUE(pacer.push(item(1, i)));
    now += 5ms;
    while (const auto next = pacer.poll(now)) pacer.count(now, next->size);
    ASSERT_GT(pacer.waiting(), 0u);
    if (dropped)
      pacer.remove_slot(1);
    else
      pacer.set_rate(540'000);
    now += 50ms;
    EXPECT_TRUE(dropped ? pacer.ready(now) : pacer.poll(now).has_value());
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
