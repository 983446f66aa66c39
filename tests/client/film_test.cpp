#include "film.h"

#include <gtest/gtest.h>

namespace satsuma::client {
namespace {

using namespace std::chrono_literals;

/// Of 25 frames a second, of which each `group`th is a key frame. A frame's second and third byte are its number.
Bytes film_of(std::size_t frames, std::size_t group, std::size_t size = 500) {
  Bytes out = container::ivf_header({160, 90});
  for (std::size_t i = 0; i < frames; ++i) {
    Bytes frame(i % group == 0 ? 4 * size : size, 0x55);
    frame[0] = i % group == 0 ? 0 : 1;
    frame[1] = static_cast<std::uint8_t>(i >> 8);
    frame[2] = static_cast<std::uint8_t>(i);
    const Bytes header = container::ivf_frame_header(frame.size(), 3600 * i);
    out.insert(out.end(), header.begin(), header.end());
    out.insert(out.end(), frame.begin(), frame.end());
  }
  return out;
}

struct Show {
  explicit Show(Bytes bytes) : file(std::move(bytes)), film(*Film::open(file)) {}
  struct Sent {
    std::size_t number;
    bool key;
    TimePoint at;
  };
  std::vector<Sent> run(Duration length, bool room, bool busy = false) {
    std::vector<Sent> out;
    for (const TimePoint end = now + length; now < end;) {
      const Film::Step step = film.next(now, room, busy);
      if (!step.frame.empty()) out.push_back({std::size_t{step.frame[1]} << 8 | step.frame[2], step.key, now});
      now += step.until_next;
    }
    return out;
  }
  Bytes file;
  Film film;
  TimePoint now{10s};
};

TEST(FilmTest, ItsRateAndItsKeyFramesAreKnown) {
  const Show show(film_of(250, 50));
  EXPECT_NEAR(show.film.frames_per_second(), 25, 0.01);
  EXPECT_NEAR(static_cast<double>(show.film.bitrate()), 25 * 8 * 500 * 1.06, 500);
  EXPECT_EQ(show.film.longest_without_key_frame(), 2s);
  const Show one(film_of(250, 1000));
  EXPECT_GT(one.film.longest_without_key_frame(), 9s);
  const Bytes headless = film_of(0, 1);
  EXPECT_EQ(Film::open(headless).error(), Error(film_begins_without_key_frame));
  Bytes wrong = film_of(10, 5);
  wrong[32 + 12] = 1;
  EXPECT_EQ(Film::open(wrong).error(), Error(film_begins_without_key_frame));
}

TEST(FilmTest, WithRoomEachFrameLeavesAndItBeginsAgain) {
  Show show(film_of(50, 25));
  const auto sent = show.run(4s, true);
  ASSERT_EQ(sent.size(), 100U);
  for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_EQ(sent[i].number, i % 50);
}

TEST(FilmTest, WhoNeedsAKeyFrameMakesItGoBackToItsLastOne) {
  Show show(film_of(250, 50));
  show.run(2400ms, true); // to the 60th
  show.film.handle_key_frame_wanted();
  const auto sent = show.run(80ms, true);
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0].number, 50U);
  EXPECT_EQ(sent[1].number, 51U);
}

TEST(FilmTest, BehindAFrameThatCouldNotLeaveItGoesOnWithItsNextKeyFrameAndNeverBack) {
  Show show(film_of(250, 50));
  show.run(2400ms, true);
  show.film.handle_unsent();
  show.film.handle_key_frame_wanted(); // of one that it does not have yet
  const auto sent = show.run(2s, true);
  ASSERT_FALSE(sent.empty());
  EXPECT_EQ(sent[0].number, 100U);
  EXPECT_EQ(sent[0].at, TimePoint{10s} + 4s) << "at its time";
}

TEST(FilmTest, WithoutRoomOnlyKeyFramesLeaveAndEachWhenTheOneBeforeHasLeft) {
  Show show(film_of(1000, 50));
  show.run(2s, false);
  EXPECT_EQ(show.film.way(), Film::Way::whole) << "estimates err for a moment";
  const auto sent = show.run(20s, false);
  EXPECT_EQ(show.film.way(), Film::Way::key_frames);
  EXPECT_LE(sent.size(), 11U);
  EXPECT_GE(sent.size(), 9U);
  for (const auto& frame : sent) EXPECT_TRUE(frame.key);
  EXPECT_TRUE(show.run(6s, false, true).empty()) << "one is leaving still";
  EXPECT_EQ(show.run(2s, false).size(), 1U);
}

TEST(FilmTest, WhereOnlyKeyFramesLeaveWhoNeedsOneGetsTheLastAgainButNotOneAfterTheOther) {
  Show show(film_of(1000, 500));
  show.run(3s, false);
  ASSERT_EQ(show.film.way(), Film::Way::key_frames);
  show.run(1s, false);
  std::size_t count = 0;
  for (int i = 0; i < 100; ++i) {
    show.film.handle_key_frame_wanted();
    for (const auto& sent : show.run(40ms, false)) {
      ++count;
      EXPECT_EQ(sent.number, 0U);
    }
  }
  EXPECT_GE(count, 3U);
  EXPECT_LE(count, 4U);
}

TEST(FilmTest, AWishForAKeyFrameIsNotForgottenWhileTheOneBeforeIsLeaving) {
  Show show(film_of(1000, 500));
  show.run(3s, false);
  ASSERT_EQ(show.film.way(), Film::Way::key_frames);
  show.film.handle_key_frame_wanted();
  EXPECT_TRUE(show.run(2s, false, true).empty());
  EXPECT_EQ(show.run(3s, false).size(), 1U);
}

TEST(FilmTest, WithRoomAgainItIsWholeAfterAWhileAndLaterEachTimeThatThisWasTooEarly) {
  Show show(film_of(2000, 25));
  const auto whole_after = [&] {
    show.run(3s, false);
    EXPECT_EQ(show.film.way(), Film::Way::key_frames);
    const TimePoint begin = show.now;
    while (show.film.way() == Film::Way::key_frames && show.now - begin < 60s) show.run(40ms, true);
    return show.now - begin;
  };
  const Duration first = whole_after(), second = whole_after(), third = whole_after();
  EXPECT_GE(first, 3s);
  EXPECT_LE(first, 4s);
  EXPECT_GE(second, first + 2s);
  EXPECT_GE(third, second + 5s);
  const auto sent = show.run(2s, true);
  ASSERT_GT(sent.size(), 20U);
  EXPECT_TRUE(sent[0].key) << "it goes on with a key frame";
  show.run(20s, true);
  EXPECT_LE(whole_after(), 4s) << "it was right: forgotten";
}

TEST(FilmTest, ToBecomeWholeAMomentWithoutRoomMattersNotAndASecondDoes) {
  for (const Duration without : {80ms, 1000ms}) {
    Show show(film_of(2000, 25));
    show.run(3s, false);
    for (int i = 0; i < 5; ++i) {
      show.run(1s, true);
      show.run(without, false);
    }
    EXPECT_EQ(show.film.way() == Film::Way::whole, without < 500ms);
  }
}

} // namespace
} // namespace satsuma::client
