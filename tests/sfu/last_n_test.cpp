// Whose pictures a subscriber gets of a room that is larger than its screen, with levels told to the server and with levels hidden from it.

#include <gtest/gtest.h>

#include <set>

#include "adaptive_call.h"

namespace satsuma::sfu {
namespace {

using namespace std::chrono_literals;
using test::AdaptiveCall;

const std::vector<std::int64_t> camera{150'000, 500'000, 1'500'000};
constexpr std::uint8_t speech = 25, silence = 90;

class LastNTest : public ::testing::Test {
 protected:
  void begin(const Limits& limits, std::size_t people, bool levels, std::vector<std::int64_t> bitrates = {100'000}) {
    call = std::make_unique<AdaptiveCall>(7, limits);
    for (std::size_t i = 0; i < people; ++i) call->publish(bitrates, true, Source::camera, levels).level = silence;
  }
  void speak(std::size_t person, Duration length) {
    // Words and pauses: what never pauses is a fan.
    for (const TimePoint end = call->now + length; call->now < end;) {
      call->publishers[person]->level = speech;
      call->run(300ms);
      call->publishers[person]->level = silence;
      call->run(100ms);
    }
  }
  IncarnationId id(std::size_t person) const { return call->publishers[person]->id; }
  std::size_t person(const IncarnationId& who) const {
    for (std::size_t i = 0; i < call->publishers.size(); ++i)
      if (call->publishers[i]->id == who) return i;
    return SIZE_MAX;
  }
  /// Whose cameras the subscriber is sent now.
  std::set<std::size_t> seen(const test::Subscriber& s) const {
    std::set<std::size_t> out;
    const SubscriberReport report = call->graph.report(call->now, s.index);
    for (const SlotUse& use : call->graph.slot_uses(s.index))
      for (const SubscriberReport::Slot& slot : report.slots)
        if (slot.mid == use.mid && !slot.paused) out.insert(person(use.incarnation));
    return out;
  }
  std::set<std::size_t> has_slot(const test::Subscriber& s, Source source) const {
    std::set<std::size_t> out;
    for (const SlotUse& use : call->graph.slot_uses(s.index))
      if (use.source == source) out.insert(person(use.incarnation));
    return out;
  }
  using People = std::set<std::size_t>;
  std::unique_ptr<AdaptiveCall> call;
};

TEST_F(LastNTest, OfMorePeopleThanNOnlyThoseWhoSpokeLastAreSent) {
  Limits limits;
  limits.last_n = 2;
  begin(limits, 6, true);
  auto& viewer = call->subscribe("delay=10ms");
  call->run(1s);
  EXPECT_EQ(seen(viewer), (People{0, 1})); // nobody spoke yet
  speak(4, 2s);
  EXPECT_EQ(seen(viewer), (People{0, 4}));
  speak(2, 2s);
  call->run(2s);
  EXPECT_EQ(seen(viewer), (People{2, 4}));
  // What is not sent costs nothing: three pictures of 100 kbit/s would be more.
  const std::uint64_t before = viewer.bytes;
  call->run(4s);
  EXPECT_LT((viewer.bytes - before) * 8 / 4, 2u * 100'000 + 6u * 50'000 + 60'000);
  // Who speaks is seen soon.
  std::map<std::uint32_t, std::size_t> shown_before;
  for (auto& [ssrc, stream] : viewer.streams) shown_before[ssrc] = stream.shown.size();
  speak(5, 1s);
  EXPECT_TRUE(seen(viewer).contains(5));
  for (const auto& slot : call->graph.offered_slots(viewer.index))
    for (const SlotUse& use : call->graph.slot_uses(viewer.index))
      if (use.mid == slot.mid && use.source == Source::camera && person(use.incarnation) == 5) {
        EXPECT_GT(viewer.streams[slot.ssrc].shown.size(), shown_before[slot.ssrc]);
      }
}

TEST_F(LastNTest, WithLevelsHiddenTheClientAsksForWhomItHears) {
  Limits limits;
  limits.last_n = 2;
  begin(limits, 6, false);
  auto& viewer = call->subscribe("delay=10ms");
  speak(4, 2s);
  EXPECT_EQ(seen(viewer), (People{0, 1})); // the server knows of nothing
  const TileView tiles[] = {{"", 360, id(4), Source::camera}, {"", 180, id(2), Source::camera}};
  call->graph.set_view(call->now, viewer.index, tiles);
  call->run(1s);
  EXPECT_EQ(seen(viewer), (People{2, 4}));
}

TEST_F(LastNTest, AViewNamesWhatItShowsAndTheLatestSpeakersBesides) {
  begin({}, 6, true);
  auto& viewer = call->subscribe("delay=10ms");
  call->run(500ms);
  EXPECT_EQ(seen(viewer).size(), 6u); // nothing is left out unless somebody says so
  const TileView tiles[] = {{"", 180, id(1), Source::camera}};
  call->graph.set_view(call->now, viewer.index, tiles, SpeakersView{2, 720});
  call->run(500ms);
  EXPECT_EQ(seen(viewer), (People{1})) << "whom it did not choose and nobody heard";
  call->graph.set_view(call->now, viewer.index, tiles, SpeakersView{1, 720});
  speak(3, 2s);
  EXPECT_EQ(seen(viewer), (People{1, 3}));
  // A screen is not counted among them.
  call->publish({100'000}, false, Source::screen);
  call->run(500ms);
  EXPECT_EQ(seen(viewer), (People{1, 3, 6}));
  call->graph.set_view(call->now, viewer.index, tiles);
  call->run(500ms);
  EXPECT_EQ(seen(viewer), (People{1}));
}

TEST_F(LastNTest, WhoSpeaksHasTheLargePictureFirst) {
  begin({}, 2, true, camera);
  auto& viewer = call->subscribe("delay=10ms rate=750k queue=200ms");
  const TileView tiles[] = {{"", 720, id(0), Source::camera}, {"", 720, id(1), Source::camera}};
  call->graph.set_view(call->now, viewer.index, tiles);
  const auto quality = [&] {
    std::vector<int> out(2);
    const SubscriberReport report = call->graph.report(call->now, viewer.index);
    for (const SlotUse& use : call->graph.slot_uses(viewer.index))
      for (const auto& slot : report.slots)
        if (slot.mid == use.mid) out[person(use.incarnation)] = slot.paused ? -1 : 4 * slot.encoding + slot.temporal;
    return out;
  };
  call->run(10s); // the path is known
  for (const std::size_t speaker : {1u, 0u, 1u}) {
    int better = 0, worse = 0;
    for (int i = 0; i < 20; ++i) {
      speak(speaker, 400ms);
      const auto q = quality();
      better += q[speaker] > q[1 - speaker];
      worse += q[speaker] < q[1 - speaker];
    }
    EXPECT_GT(better, 4) << speaker; // there may be room for both, or for neither
    EXPECT_LT(worse, 4) << speaker;
  }
}

TEST_F(LastNTest, InARoomLargerThanThePoolWhoSpeaksTakesTheSlotsOfTheSilent) {
  Limits limits;
  limits.audio_slots = limits.max_audio_slots = 2;
  limits.video_slots = limits.max_video_slots = 3;
  begin(limits, 8, true);
  auto& viewer = call->subscribe("delay=10ms");
  call->run(500ms);
  EXPECT_EQ(has_slot(viewer, Source::microphone), (People{0, 1}));
  EXPECT_EQ(has_slot(viewer, Source::camera), (People{0, 1, 2}));
  const auto mid_of = [&](std::size_t who, Source source) {
    for (const SlotUse& use : call->graph.slot_uses(viewer.index))
      if (person(use.incarnation) == who && use.source == source) return use.mid;
    return std::string();
  };
  // It looks at the first, and wants who speaks besides.
  const TileView tiles[] = {{mid_of(0, Source::camera), 360}};
  call->graph.set_view(call->now, viewer.index, tiles, SpeakersView{1, 360});
  speak(7, 2s);
  EXPECT_TRUE(has_slot(viewer, Source::microphone).contains(7));
  EXPECT_TRUE(has_slot(viewer, Source::camera).contains(0));
  EXPECT_TRUE(has_slot(viewer, Source::camera).contains(7));
  EXPECT_EQ(seen(viewer), (People{0, 7}));
  speak(6, 2s);
  call->run(2s);
  EXPECT_EQ(has_slot(viewer, Source::microphone), (People{6, 7}));
  EXPECT_TRUE(has_slot(viewer, Source::camera).contains(0));
  EXPECT_EQ(seen(viewer), (People{0, 6}));
  EXPECT_GT(call->graph.counters().slots_taken_over, 0u);
}

TEST_F(LastNTest, WithLevelsHiddenWhoIsAskedForByNameTakesASlotThatIsNotLookedAt) {
  Limits limits;
  limits.video_slots = limits.max_video_slots = 2;
  begin(limits, 5, false);
  auto& viewer = call->subscribe("delay=10ms");
  const TileView tiles[] = {{"", 360, id(1), Source::camera}, {"", 360, id(4), Source::camera}};
  call->graph.set_view(call->now, viewer.index, tiles);
  call->run(1s);
  EXPECT_EQ(seen(viewer), (People{1, 4}));
  EXPECT_EQ(has_slot(viewer, Source::camera), (People{1, 4}));
  // Who is not here, or not in this room, is nobody.
  IncarnationId stranger;
  stranger.bytes[0] = 200;
  const TileView nobody[] = {{"", 360, stranger, Source::camera}};
  call->graph.set_view(call->now, viewer.index, nobody);
  call->run(500ms);
  EXPECT_EQ(seen(viewer), (People{}));
}

TEST_F(LastNTest, WithLevelsHiddenAMicrophoneThatIsAskedForTakesTheSlotOfOneThatIsNot) {
  Limits limits;
  limits.audio_slots = limits.max_audio_slots = 2;
  begin(limits, 5, false);
  auto& viewer = call->subscribe("delay=10ms");
  call->run(500ms);
  EXPECT_EQ(has_slot(viewer, Source::microphone), (People{0, 1}));
  const auto ask = [&](std::vector<IncarnationId> of) { call->graph.set_voices(call->now, viewer.index, of); };
  ask({id(4)});
  EXPECT_TRUE(has_slot(viewer, Source::microphone).contains(4));
  EXPECT_EQ(has_slot(viewer, Source::microphone).size(), 2u);
  ask({id(3), id(4)}); // not the one that is still wanted
  EXPECT_EQ(has_slot(viewer, Source::microphone), (People{3, 4}));
  ask({id(2), id(3), id(4)}); // more than there are slots: the first
  EXPECT_EQ(has_slot(viewer, Source::microphone), (People{2, 3}));
  call->run(1s);
  EXPECT_EQ(has_slot(viewer, Source::camera).size(), 5u) << "pictures have slots of their own";
  EXPECT_EQ(seen(viewer).size(), 5u) << "and nothing was said of them";
  // A microphone that is off, or of nobody here, takes nothing; nor does an empty list.
  call->graph.set_active(call->now, call->publishers[0]->index, {Source::camera});
  IncarnationId stranger;
  stranger.bytes[0] = 200;
  ask({stranger, id(0)});
  ask({});
  EXPECT_EQ(has_slot(viewer, Source::microphone), (People{2, 3}));
}

TEST_F(LastNTest, WhoIsAskedForIsHeardThoughOthersTellThatTheySpeak) {
  Limits limits;
  limits.audio_slots = limits.max_audio_slots = 1;
  begin(limits, 3, true);
  auto& viewer = call->subscribe("delay=10ms");
  call->graph.set_voices(call->now, viewer.index, std::array{id(2)});
  speak(1, 2s);
  EXPECT_EQ(has_slot(viewer, Source::microphone), (People{2}));
  call->graph.set_voices(call->now, viewer.index, {});
  speak(1, 2s);
  EXPECT_EQ(has_slot(viewer, Source::microphone), (People{1}));
}

TEST_F(LastNTest, LevelsOfAMicrophoneThatIsOffOrOfWhoLeftCountForNobody) {
  Limits limits;
  limits.last_n = 1;
  begin(limits, 4, true);
  auto& viewer = call->subscribe("delay=10ms");
  call->graph.set_active(call->now, call->publishers[3]->index, {Source::camera});
  speak(3, 2s);
  EXPECT_EQ(seen(viewer), (People{0}));
  speak(2, 2s);
  EXPECT_EQ(seen(viewer), (People{2}));
  call->graph.set_active(call->now, call->publishers[2]->index, {Source::camera});
  call->run(500ms);
  EXPECT_EQ(seen(viewer), (People{0}));
}

} // namespace
} // namespace satsuma::sfu
