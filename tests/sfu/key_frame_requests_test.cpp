#include "sfu/key_frame_requests.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

namespace satsuma::sfu {
namespace {

using namespace std::chrono_literals;

/// A publisher who answers after `path` there and back, and does not listen for `deaf` after a request that it heard.
struct Publisher {
  explicit Publisher(Duration there_and_back, Duration deaf_for = 300ms) : path(there_and_back), deaf(deaf_for) {}

  /// Until `end`, in steps of a millisecond, or until a key frame has come.
  std::optional<Duration> run(Duration length, bool stop_at_key_frame = true) {
    const TimePoint begin = now;
    for (const TimePoint end = now + length; now < end; now += 1ms) {
      if (!on_their_way.empty() && now >= on_their_way.front()) {
        on_their_way.pop_front();
        ++key_frames;
        requests.handle_key_frame(now);
        if (stop_at_key_frame) return now - begin;
      }
      if (!requests.poll(now, silent)) continue;
      asked.push_back(now - begin);
      if (lost > 0) {
        --lost;
        continue;
      }
      if (heard && now - *heard < deaf) continue;
      heard = now;
      if (fails > 0) --fails;
      else on_their_way.push_back(now + path);
    }
    return std::nullopt;
  }

  KeyFrameRequests requests{500ms};
  TimePoint now{100s};
  Duration path, deaf;
  int lost = 0;  ///< so many requests
  int fails = 0; ///< to make a key frame of what it heard
  bool silent = false;
  int key_frames = 0;
  std::optional<TimePoint> heard;
  std::deque<TimePoint> on_their_way;
  std::vector<Duration> asked;
};

using Times = std::vector<Duration>;

TEST(KeyFrameRequestsTest, APublisherWhoAnswersIsAskedOnceWhateverItsPath) {
  for (const Duration path : {1ms, 40ms, 150ms, 300ms, 450ms}) {
    SCOPED_TRACE(path.count());
    Publisher p(path, 0ms);
    for (int round = 0; round < 6; ++round) {
      p.asked.clear();
      p.requests.want(true);
      EXPECT_EQ(p.run(5s), path);
      // How long it takes is not known the first time.
      EXPECT_EQ(p.asked, path > 320ms && round == 0 ? (Times{0ms, 320ms}) : Times{0ms});
      p.run(2s, false);
    }
  }
}

TEST(KeyFrameRequestsTest, ALostRequestIsMadeAgainSoonWhereAnswersUsedToComeSoon) {
  Publisher p(30ms);
  p.requests.want(true);
  ASSERT_TRUE(p.run(1s));
  p.run(1s);
  p.asked.clear();
  p.lost = 1;
  p.requests.want(true);
  EXPECT_EQ(p.run(1s), 180ms);
  EXPECT_EQ(p.asked, (Times{0ms, 150ms}));
}

TEST(KeyFrameRequestsTest, WhoDidNotListenIsAskedAgainAsSoonAsItListens) {
  Publisher p(30ms);
  p.requests.want(true);
  ASSERT_TRUE(p.run(1s));
  p.run(90ms);
  p.asked.clear();
  p.requests.want(true); // 120 ms after the one that was heard
  EXPECT_EQ(p.run(1s), 230ms);
  EXPECT_EQ(p.asked, (Times{0ms, 200ms}));
}

TEST(KeyFrameRequestsTest, WhoHeardAndMadeNoneIsAskedAgainAsSoonAsItListens) {
  Publisher p(30ms);
  p.requests.want(true);
  ASSERT_TRUE(p.run(1s));
  p.run(1s);
  p.asked.clear();
  p.fails = 1;
  p.requests.want(true);
  EXPECT_EQ(p.run(1s), 350ms);
  EXPECT_EQ(p.asked, (Times{0ms, 150ms, 320ms}));
}

TEST(KeyFrameRequestsTest, WhoNeverAnswersIsAskedLessAndLessOftenAndIsThenLeftAlone) {
  Publisher p(30ms);
  p.lost = 1000;
  p.requests.want(false);
  p.run(60s);
  EXPECT_EQ(p.asked.size(), 6U);
  for (std::size_t i = 2; i < p.asked.size(); ++i) EXPECT_GE(p.asked[i] - p.asked[i - 1], 500ms);
  p.asked.clear();
  p.requests.want(false);
  p.run(60s);
  EXPECT_EQ(p.asked, Times{0ms}) << "until somebody wants one again";
}

TEST(KeyFrameRequestsTest, NoCrowdMakesItSendMoreThanTwoKeyFramesASecondOrTenForNewcomers) {
  for (const bool urgent : {false, true}) {
    Publisher p(20ms, 0ms);
    for (int i = 0; i < 1000; ++i) {
      p.requests.want(urgent);
      p.run(10ms, false);
    }
    EXPECT_LE(p.key_frames, urgent ? 101 : 21);
    EXPECT_GE(p.key_frames, urgent ? 80 : 19);
  }
}

TEST(KeyFrameRequestsTest, AfterAnOutageItIsAskedAtOnceThoughItWasAskedAMomentAgo) {
  Publisher p(30ms);
  p.lost = 3;
  p.requests.want(true);
  EXPECT_FALSE(p.run(830ms));
  p.asked.clear();
  p.lost = 0;
  p.requests.handle_outage();
  p.requests.want(true);
  EXPECT_EQ(p.run(1s), 30ms);
  EXPECT_EQ(p.asked, Times{0ms});
}

TEST(KeyFrameRequestsTest, WhoIsSilentIsAskedEveryTwoSeconds) {
  Publisher p(30ms);
  p.silent = true;
  p.lost = 1000;
  p.requests.want(true);
  p.run(5s);
  EXPECT_EQ(p.asked, (Times{0ms, 2s, 4s}));
}

TEST(KeyFrameRequestsTest, WhenNobodyWantsOneAnyMoreItIsNotAskedAgain) {
  Publisher p(30ms);
  p.lost = 1000;
  p.requests.want(true);
  p.run(1ms);
  p.requests.forget();
  p.asked.clear();
  p.run(10s);
  EXPECT_TRUE(p.asked.empty());
}

} // namespace
} // namespace satsuma::sfu
