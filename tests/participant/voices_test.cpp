#include "participant/voices.h"

#include <gtest/gtest.h>

namespace satsuma::participant {
namespace {

using namespace std::chrono_literals;

IncarnationId id(std::uint8_t number) {
  IncarnationId out;
  out.bytes[0] = number;
  return out;
}

const IncarnationId ada = id(1), bo = id(2), cy = id(3);
const TimePoint start{100s};

TEST(Voices, WhoSpeaksNowComesBeforeWhoSaidSoLongerAgoAndWhoSaysItNoMoreIsForgotten) {
  Voices voices;
  voices.handle_said(start, ada);
  EXPECT_EQ(voices.wanted(start + 1s, {ada, bo, cy}), (std::vector{ada}));
  voices.handle_heard(start + 1s, bo);
  EXPECT_EQ(voices.wanted(start + 2s, {ada, bo, cy}), (std::vector{ada, bo}));
  voices.handle_said(start + 14s, cy);
  voices.handle_heard(start + 14s, bo);
  EXPECT_EQ(voices.wanted(start + 15s, {ada, bo, cy}), (std::vector{cy, bo, ada}));
  EXPECT_EQ(voices.wanted(start + 15s, {ada, cy}), (std::vector{cy, ada})) << "Bo's microphone is off";
  EXPECT_EQ(voices.wanted(start + 17s, {ada, bo, cy}), (std::vector{cy, ada})) << "Bo is silent";
  EXPECT_EQ(voices.wanted(start + 31s, {ada, bo, cy}), (std::vector{cy}));
  voices.handle_said(start + 32s, cy); // and speaks on
  EXPECT_EQ(voices.wanted(start + 60s, {ada, bo, cy}), (std::vector{cy}));
  voices.forget([](const IncarnationId& who) { return who == cy; });
  EXPECT_TRUE(voices.wanted(start + 60s, {ada, bo, cy}).empty());
}

TEST(Voices, WhoSaysItAgainAtOnceIsNotListenedTo) {
  Voices voices;
  voices.handle_said(start, ada);
  voices.handle_said(start + 10ms, bo);
  voices.handle_said(start + 1900ms, ada);
  EXPECT_EQ(voices.wanted(start + 2s, {ada, bo}), (std::vector{bo, ada}));
  voices.handle_said(start + 2s, ada);
  EXPECT_EQ(voices.wanted(start + 2s, {ada, bo}), (std::vector{ada, bo}));
}

TEST(Voices, OfManyTheLatestSixteenAreWanted) {
  Voices voices;
  std::set<IncarnationId> on;
  std::vector<IncarnationId> latest;
  for (std::uint8_t number = 1; number <= 60; ++number) {
    voices.handle_said(start + std::chrono::milliseconds(number), id(number));
    on.insert(id(number));
    if (number > 44) latest.insert(latest.begin(), id(number));
  }
  EXPECT_EQ(voices.wanted(start + 1s, on), latest);
}

} // namespace
} // namespace satsuma::participant
