#include "participant/chat.h"

#include <gtest/gtest.h>

namespace satsuma::participant {
namespace {

using namespace std::chrono_literals;

void write(Chat& chat, TimePoint now, const char* text) { chat.add(now, chat.next(text)); }

std::vector<signaling::MemberChat> sent_again(Chat& chat, TimePoint now) {
  std::vector<signaling::MemberChat> out;
  chat.send_again(now, [&](const signaling::MemberChat& message) {
    out.push_back(message);
    return true;
  });
  return out;
}

TEST(Chat, WhatWasWrittenInTheLastMinuteIsSentAgainFourTimesAtMostUnderItsNumber) {
  Chat chat;
  const TimePoint start{100s};
  write(chat, start, "old");
  write(chat, start + 30s, "one");
  write(chat, start + 40s, "two");
  const auto again_at = [&](TimePoint now) {
    chat.handle_back(now - Chat::again_after);
    return sent_again(chat, now);
  };
  for (std::size_t i = 0; i < Chat::max_copies; ++i) {
    const auto again = again_at(start + 61s);
    ASSERT_EQ(again.size(), 2U);
    EXPECT_EQ(again[0].number, 1U);
    EXPECT_EQ(again[1].text, "two");
  }
  EXPECT_TRUE(again_at(start + 61s).empty());
  for (std::size_t i = 0; i < 2 * Chat::max_sent_again; ++i) write(chat, start + 70s, "much");
  EXPECT_EQ(again_at(start + 70s).size(), Chat::max_sent_again);
  chat.forget_written();
  EXPECT_TRUE(again_at(start + 70s).empty());
}

TEST(Chat, AllWhoComeBackTogetherGetOneCopyASecondAfterTheLastOfThem) {
  Chat chat;
  const TimePoint start{100s};
  chat.handle_back(start);
  EXPECT_FALSE(chat.next_deadline()) << "nothing to send";
  write(chat, start, "one");
  EXPECT_TRUE(sent_again(chat, start + 1s).empty()) << "nobody was away";
  for (int i = 0; i < 10; ++i) chat.handle_back(start + i * 200ms);
  EXPECT_TRUE(sent_again(chat, start + 2s).empty());
  EXPECT_EQ(chat.next_deadline(), start + 1800ms + Chat::again_after);
  EXPECT_EQ(sent_again(chat, *chat.next_deadline()).size(), 1U);
  EXPECT_FALSE(chat.next_deadline());
  // Those who come back one after the other without an end do not keep it from all.
  for (int i = 0; i < 100; ++i) chat.handle_back(start + 10s + i * 200ms);
  EXPECT_EQ(chat.next_deadline(), start + 10s + Chat::again_at_last);
  chat.forget_written();
  EXPECT_FALSE(chat.next_deadline());
}

TEST(Chat, WhatCouldNotBeSentAgainIsTriedASecondLaterAndIsNoCopy) {
  Chat chat;
  const TimePoint start{100s};
  write(chat, start, "one");
  write(chat, start, "two");
  chat.handle_back(start);
  std::size_t tried = 0;
  for (int second = 1; second <= 10; ++second)
    chat.send_again(start + second * Chat::again_after, [&](const signaling::MemberChat&) {
      ++tried;
      return false;
    });
  EXPECT_EQ(tried, 10U) << "the rest waits for the first";
  const auto again = sent_again(chat, start + 11s);
  ASSERT_EQ(again.size(), 2U);
  EXPECT_EQ(again[0].text, "one");
}

TEST(Chat, ANumberIsNewOnceForEachMember) {
  Chat chat;
  const IncarnationId ada{.bytes = {1}}, bob{.bytes = {2}};
  EXPECT_TRUE(chat.is_new(ada, 0));
  EXPECT_FALSE(chat.is_new(ada, 0));
  EXPECT_TRUE(chat.is_new(bob, 0));
  EXPECT_TRUE(chat.is_new(ada, 7));
  EXPECT_TRUE(chat.is_new(ada, 3));
  EXPECT_FALSE(chat.is_new(ada, 7));
  chat.forget([&](const IncarnationId& who) { return who == ada; });
  EXPECT_TRUE(chat.is_new(ada, 0));
  EXPECT_FALSE(chat.is_new(bob, 0));
}

} // namespace
} // namespace satsuma::participant
