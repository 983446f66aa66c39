#include <gtest/gtest.h>

#include "rtp/nack.h"
#include "rtp/receive_statistics.h"
#include "rtp/sequence.h"

namespace satsuma::rtp {
namespace {

using namespace std::chrono_literals;

TEST(SequenceUnwrapper, GoesOnOverWrapsAndKeepsLateOnesBehind) {
  SequenceUnwrapper u;
  const ExtendedSequence first = u.unwrap(65534);
  EXPECT_EQ(u.unwrap(65535), first + 1);
  EXPECT_EQ(u.unwrap(1), first + 3);
  EXPECT_EQ(u.unwrap(0), first + 2);
  EXPECT_EQ(u.highest(), first + 3);
  EXPECT_EQ(u.unwrap(65500), first - 34);
  for (int i = 0; i < 5; ++i) u.unwrap(static_cast<std::uint16_t>(i * 20000));
  EXPECT_EQ(wire(*u.highest()), static_cast<std::uint16_t>(80000));
  EXPECT_EQ(*u.highest(), first + 2 + 80000);
}

TEST(SequenceUnwrapper, PacketsBeforeTheFirstStayPositive) {
  SequenceUnwrapper u;
  const auto first = u.unwrap(3);
  EXPECT_EQ(u.peek(65000), first - 539);
  EXPECT_GT(u.peek(65000), 0);
}

TEST(NackGenerator, AsksForGapsRepeatsAndGivesUp) {
  NackGenerator nacks(100, 80ms, 3);
  TimePoint now{1s};
  std::array<std::uint16_t, 16> out;
  nacks.on_packet(100);
  nacks.on_packet(104);
  ASSERT_EQ(nacks.poll(now, out), 3u);
  EXPECT_EQ(out[0], 101);
  EXPECT_EQ(out[2], 103);
  EXPECT_EQ(nacks.poll(now + 50ms, out), 0u);
  nacks.on_packet(102);
  EXPECT_EQ(nacks.poll(now + 80ms, out), 2u);
  EXPECT_EQ(nacks.poll(now + 160ms, out), 2u);
  EXPECT_EQ(nacks.poll(now + 240ms, out), 0u);
  EXPECT_EQ(nacks.missing(), 0u);
}

TEST(NackGenerator, BeginsAnewAfterItsRest) {
  NackGenerator nacks(100);
  static_cast<void>(nacks.on_packet(10));
  static_cast<void>(nacks.on_packet(12));
  nacks.rest();
  EXPECT_EQ(nacks.missing(), 0u);
  EXPECT_EQ(nacks.on_packet(500), NackGenerator::Outcome::fine) << "nothing is missing before the first";
  EXPECT_EQ(nacks.on_packet(502), NackGenerator::Outcome::fine);
  EXPECT_EQ(nacks.missing(), 1u);
}

TEST(NackGenerator, ForgetsWhatAKeyFrameMakesUseless) {
  NackGenerator nacks(100);
  nacks.on_packet(1);
  nacks.on_packet(5);
  nacks.on_packet(8);
  nacks.forget_before(6);
  std::array<std::uint16_t, 16> out;
  ASSERT_EQ(nacks.poll(TimePoint{1s}, out), 2u);
  EXPECT_EQ(out[0], 6);
}

TEST(NackGenerator, AGapTooLargeIsNotAskedFor) {
  NackGenerator nacks(10);
  nacks.on_packet(1);
  EXPECT_EQ(nacks.on_packet(12), NackGenerator::Outcome::fine);
  EXPECT_EQ(nacks.missing(), 10u);
  EXPECT_EQ(nacks.on_packet(14), NackGenerator::Outcome::given_up);
  EXPECT_EQ(nacks.missing(), 0u);
  EXPECT_EQ(nacks.on_packet(15), NackGenerator::Outcome::fine);
}

TEST(NackGenerator, WhatDoesNotFitTheAskersSpaceComesNextTime) {
  NackGenerator nacks(100);
  nacks.on_packet(0);
  nacks.on_packet(11);
  std::array<std::uint16_t, 4> out;
  TimePoint now{1s};
  EXPECT_EQ(nacks.poll(now, out), 4u);
  EXPECT_EQ(nacks.poll(now, out), 4u);
  EXPECT_EQ(out[0], 5);
  EXPECT_EQ(nacks.poll(now, out), 2u);
  EXPECT_EQ(nacks.poll(now, out), 0u);
}

TEST(ReceiveStatistics, CountsLossInTotalAndSinceTheLastReport) {
  ReceiveStatistics s(90000);
  TimePoint now{1s};
  for (ExtendedSequence q = 65536 + 11; q < 65536 + 21; ++q)
    if (q % 5 != 0) s.on_packet(now += 10ms, q, static_cast<std::uint32_t>(q * 900));
  auto block = s.report(now, 7);
  EXPECT_EQ(block.ssrc, 7u);
  EXPECT_EQ(block.cumulative_lost, 2); // 65550, 65555: of ten
  EXPECT_EQ(block.fraction_lost, 2 * 256 / 10);
  EXPECT_EQ(block.highest_sequence, 65536u + 20);
  EXPECT_EQ(s.report(now, 7).fraction_lost, 0);
  EXPECT_EQ(block.last_sender_report, 0u);
  SenderInfo info;
  info.ntp = 0x0000aaaabbbb0000;
  s.on_sender_report(now, info);
  block = s.report(now + 500ms, 7);
  EXPECT_EQ(block.last_sender_report, 0xaaaabbbbu);
  EXPECT_EQ(block.delay_since_last_sender_report, 32768u);
}

TEST(ReceiveStatistics, JitterIsZeroForAnEvenStreamAndFollowsAnUnevenOne) {
  ReceiveStatistics even(48000), uneven(48000);
  TimePoint now{1s};
  for (std::uint32_t i = 0; i < 500; ++i) {
    now += 20ms;
    even.on_packet(now, i, 0xfffff000 + i * 960); // over the wrap of the timestamp
    uneven.on_packet(now + (i % 2 == 0 ? 5ms : 0ms), i, i * 960);
  }
  EXPECT_EQ(even.report(now, 1).jitter, 0u);
  const auto jitter = uneven.report(now, 1).jitter;
  EXPECT_NEAR(jitter, 240, 20);
}

} // namespace
} // namespace satsuma::rtp
