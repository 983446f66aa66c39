#include "call/committer.h"

#include <gtest/gtest.h>

#include "helpers.h"

namespace satsuma::call {
namespace {

using namespace std::chrono_literals;
using test::at;

IncarnationId id(std::uint8_t number) {
  IncarnationId who;
  who.bytes[0] = number;
  return who;
}

std::vector<CommitterOutput> drain(Committer& committer) {
  std::vector<CommitterOutput> all;
  while (auto output = committer.poll_output()) all.push_back(std::move(*output));
  return all;
}

template <class T>
std::optional<T> only(Committer& committer) {
  auto all = drain(committer);
  if (all.size() != 1 || !std::holds_alternative<T>(all[0])) return std::nullopt;
  return std::get<T>(all[0]);
}

/// A member on `leaf` of a group of `size`, where incarnation n sits on leaf n.
Committer member(std::uint8_t leaf, std::uint8_t size, CommitterOptions options = {}) {
  Committer committer(id(leaf), options);
  std::vector<Member> roster;
  for (std::uint8_t i = 0; i < size; ++i) roster.push_back({id(i), i});
  committer.handle_epoch(at(0s), 0, 5, id(0), roster);
  committer.handle_online(at(0s), true);
  EXPECT_TRUE(drain(committer).empty());
  return committer;
}

TEST(DesignatedCommitter, IsTheLowestLeafThatIsNotGone) {
  Committer committer = member(2, 3);
  EXPECT_EQ(committer.designated()->leaf, 0u);
  EXPECT_EQ(committer.rank(), 2u);
  committer.handle_gone(at(1s), id(0));
  EXPECT_EQ(committer.designated()->leaf, 1u);
  EXPECT_EQ(committer.rank(), 1u);
}

TEST(DesignatedCommitter, CommitsAJoinAtOnce) {
  Committer committer = member(0, 3);
  committer.handle_join(at(1s), id(9), true);
  EXPECT_EQ(only<MakeCommit>(committer), (MakeCommit{0, 5, {id(9)}, {}}));
}

TEST(DesignatedCommitter, CommitsEverythingPendingInOne) {
  Committer committer = member(1, 4);
  committer.handle_online(at(1s), false);
  committer.handle_gone(at(1s), id(0));
  committer.handle_join(at(1s), id(8), true);
  committer.handle_join(at(1s), id(9), true);
  committer.handle_gone(at(1s), id(3));
  committer.handle_online(at(1s), true);
  EXPECT_EQ(only<MakeCommit>(committer), (MakeCommit{0, 5, {id(8), id(9)}, {id(0), id(3)}}));
}

TEST(DesignatedCommitter, ActsWithoutDelayWhenTheFormerOneIsGone) {
  Committer committer = member(1, 3);
  committer.handle_gone(at(1s), id(0));
  EXPECT_EQ(only<MakeCommit>(committer), (MakeCommit{0, 5, {}, {id(0)}}));
}

TEST(Committer, OfRankRWaitsRTimesTAndNotLonger) {
  Committer committer = member(2, 3);
  committer.handle_join(at(1s), id(9), true);
  EXPECT_TRUE(drain(committer).empty());
  EXPECT_EQ(committer.next_deadline(), at(2s));
  committer.handle_timeout(at(1999ms));
  EXPECT_TRUE(drain(committer).empty());
  committer.handle_timeout(at(2s));
  EXPECT_TRUE(only<MakeCommit>(committer));
}

TEST(Committer, MeasuresItsDelayFromTheFirstNeedAndNotFromTheLast) {
  Committer committer = member(1, 2);
  committer.handle_join(at(1s), id(8), true);
  committer.handle_join(at(1400ms), id(9), true);
  committer.handle_timeout(at(1500ms));
  EXPECT_EQ(only<MakeCommit>(committer)->adds.size(), 2u);
}

TEST(Committer, DoesNothingWhenTheNeedHasPassed) {
  Committer committer = member(1, 2);
  committer.handle_join(at(1s), id(9), true);
  committer.handle_gone(at(1100ms), id(9));
  EXPECT_EQ(committer.next_deadline(), std::nullopt);
  committer.handle_timeout(at(3s));
  EXPECT_TRUE(drain(committer).empty());
}

TEST(Committer, PassesOverAJoinWithoutAdmission) {
  Committer committer = member(0, 1);
  committer.handle_join(at(1s), id(9), false);
  EXPECT_TRUE(drain(committer).empty());
  EXPECT_TRUE(committer.is_waiting(id(9)));
}

TEST(Committer, MakesOneCommitInAnEpochAndResendsTheSameBytes) {
  Committer committer = member(0, 2);
  committer.handle_join(at(1s), id(8), true);
  ASSERT_TRUE(only<MakeCommit>(committer));
  committer.handle_prepared(at(1s), Bytes{1, 2, 3});
  EXPECT_EQ(only<SendPrepared>(committer), (SendPrepared{{1, 2, 3}}));
  committer.handle_join(at(2s), id(9), true);
  committer.handle_gone(at(2s), id(1));
  committer.handle_timeout(at(60s));
  EXPECT_TRUE(drain(committer).empty());
  committer.handle_online(at(61s), false);
  committer.handle_online(at(62s), true);
  EXPECT_EQ(only<SendPrepared>(committer), (SendPrepared{{1, 2, 3}}));
  committer.handle_refused(at(63s), false);
  EXPECT_EQ(committer.attempt(), Committer::Attempt::in_flight) << "only the log decides";
}

TEST(Committer, DropsItsOwnOnAnothersCommitAndDerivesAgain) {
  Committer committer = member(0, 2);
  committer.handle_join(at(1s), id(8), true);
  committer.handle_join(at(1s), id(9), true);
  ASSERT_TRUE(only<MakeCommit>(committer));
  committer.handle_prepared(at(1s), Bytes{1});
  drain(committer);
  committer.handle_epoch(at(2s), 0, 6, id(1), {{id(0), 0}, {id(1), 1}, {id(8), 2}});
  EXPECT_TRUE(only<DropPrepared>(committer));
  committer.handle_timeout(at(2s + CommitterOptions{}.gather));
  EXPECT_EQ(only<MakeCommit>(committer), (MakeCommit{0, 6, {id(9)}, {}}));
}

TEST(Committer, GathersThoseWhoComeRightAfterAChangeButRemovesAtOnce) {
  Committer committer = member(0, 2);
  committer.handle_epoch(at(10s), 0, 6, id(1), {{id(0), 0}, {id(1), 1}});
  committer.handle_join(at(10s), id(8), true);
  EXPECT_TRUE(drain(committer).empty());
  committer.handle_join(at(10s + 200ms), id(9), true);
  EXPECT_TRUE(drain(committer).empty());
  EXPECT_EQ(committer.next_deadline(), at(10s + 250ms));
  committer.handle_timeout(at(10s + 250ms));
  EXPECT_EQ(only<MakeCommit>(committer), (MakeCommit{0, 6, {id(8), id(9)}, {}}));

  committer.handle_epoch(at(11s), 0, 7, id(0), {{id(0), 0}, {id(1), 1}, {id(8), 2}, {id(9), 3}});
  drain(committer);
  committer.handle_gone(at(11s), id(1));
  EXPECT_EQ(only<MakeCommit>(committer), (MakeCommit{0, 7, {}, {id(1)}}));
}

TEST(Committer, LetsACrowdInTogetherOnceNobodyMoreComes) {
  Committer committer = member(0, 1);
  committer.handle_epoch(at(10s), 0, 6, id(0), {{id(0), 0}});
  for (std::uint8_t i = 0; i < 20; ++i) committer.handle_join(at(10s + 10ms * i), id(static_cast<std::uint8_t>(100 + i)), true);
  committer.handle_timeout(at(10s + 280ms)); // the time to gather a few is over, and the last came 90 ms ago
  EXPECT_TRUE(drain(committer).empty());
  EXPECT_EQ(committer.next_deadline(), at(10s + 290ms));
  committer.handle_timeout(at(10s + 290ms));
  EXPECT_EQ(only<MakeCommit>(committer)->adds.size(), 20u);
}

TEST(Committer, LetsACrowdThatNeverEndsInOnceTheFirstHasWaitedForTwoSeconds) {
  Committer committer = member(0, 1);
  committer.handle_epoch(at(10s), 0, 6, id(0), {{id(0), 0}});
  std::uint8_t came = 0;
  while (drain(committer).empty()) {
    ASSERT_LT(came, 200);
    committer.handle_join(at(10s + 12ms * came), id(static_cast<std::uint8_t>(40 + came)), true);
    ++came;
  }
  EXPECT_EQ(came, 168); // one every 12 ms, the first at 0
}

TEST(Committer, DoesNotGatherMoreThanOneCommitHolds) {
  Committer committer = member(0, 2, {.max_adds = 2});
  committer.handle_epoch(at(10s), 0, 6, id(1), {{id(0), 0}, {id(1), 1}});
  committer.handle_join(at(10s), id(8), true);
  EXPECT_TRUE(drain(committer).empty());
  committer.handle_join(at(10s), id(9), true);
  EXPECT_TRUE(only<MakeCommit>(committer));
}

TEST(Committer, LeavesTheCommitsToOthersOnceSomebodyCouldNotFollowOneOfIts) {
  Committer first = member(0, 3);
  Committer second = member(1, 3);
  for (Committer* one : {&first, &second}) {
    one->handle_suspicion(at(10s), id(0));
    one->handle_join(at(10s), id(8), true);
    EXPECT_EQ(one->designated()->who, id(1));
  }
  EXPECT_TRUE(drain(first).empty());
  EXPECT_EQ(first.rank(), 2u);
  EXPECT_TRUE(only<MakeCommit>(second));
  // It does commit when nobody else does.
  first.handle_timeout(at(11s));
  EXPECT_TRUE(only<MakeCommit>(first));
}

TEST(Committer, PassesOverWhomTheSessionFindsInadmissible) {
  Committer committer = member(0, 2);
  committer.handle_join(at(1s), id(8), true);
  ASSERT_TRUE(only<MakeCommit>(committer));
  committer.handle_join(at(1s), id(9), true);
  const std::vector<IncarnationId> unfit{id(8)};
  committer.handle_inadmissible(at(1s), unfit);
  EXPECT_EQ(only<MakeCommit>(committer), (MakeCommit{0, 5, {id(9)}, {}}));
}

TEST(Committer, DoesNotSendWhatWasPreparedForAnEpochThatIsOver) {
  Committer committer = member(0, 2);
  committer.handle_join(at(1s), id(8), true);
  ASSERT_TRUE(only<MakeCommit>(committer));
  committer.handle_prepared(at(1s), Bytes{1});
  committer.handle_epoch(at(1s), 0, 6, id(1), {{id(0), 0}, {id(1), 1}, {id(8), 2}});
  EXPECT_TRUE(only<DropPrepared>(committer));
}

TEST(Committer, TriesAgainAfterAFinalRefusalSinceAloneItWouldWaitForEver) {
  Committer committer = member(0, 1);
  committer.handle_join(at(1s), id(8), true);
  ASSERT_TRUE(only<MakeCommit>(committer));
  committer.handle_prepared(at(1s), Bytes{1});
  drain(committer);
  committer.handle_join(at(1s), id(9), true);
  committer.handle_gone(at(1s), id(8)); // was logged before our commit arrived
  committer.handle_refused(at(1s), true);
  const auto outputs = drain(committer);
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<DropPrepared>(outputs[0]));
  EXPECT_EQ(std::get<MakeCommit>(outputs[1]), (MakeCommit{0, 5, {id(9)}, {}}));
}

TEST(Committer, BacksOffWhenRefusedAgainAndAgain) {
  Committer committer = member(0, 1);
  committer.handle_join(at(1s), id(8), true);
  for (int i = 0; i < 2; ++i) {
    drain(committer);
    committer.handle_prepared(at(1s), Bytes{1});
    committer.handle_refused(at(1s), true);
  }
  drain(committer);
  EXPECT_EQ(committer.attempt(), Committer::Attempt::none);
  EXPECT_GT(*committer.next_deadline(), at(1s));
}

TEST(Committer, HalvesTheAddsWhenACommitCannotBeMadeAndPassesOverTheOneThatIsLeft) {
  Committer committer = member(0, 1);
  committer.handle_online(at(0s), false);
  for (std::uint8_t i = 10; i < 13; ++i) committer.handle_join(at(1s), id(i), true);
  committer.handle_online(at(1s), true);
  EXPECT_EQ(only<MakeCommit>(committer)->adds.size(), 3u);
  ASSERT_TRUE(committer.handle_prepare_failed(at(1s)));
  EXPECT_EQ(only<MakeCommit>(committer)->adds, std::vector{id(10)});
  ASSERT_TRUE(committer.handle_prepare_failed(at(1s)));
  EXPECT_EQ(only<MakeCommit>(committer)->adds, (std::vector{id(11), id(12)}));
}

TEST(Committer, AddsABoundedNumberAtATime) {
  Committer committer(id(0), {.max_adds = 2});
  committer.handle_epoch(at(0s), 0, 0, id(0), {{id(0), 0}});
  for (std::uint8_t i = 10; i < 15; ++i) committer.handle_join(at(1s), id(i), true);
  committer.handle_online(at(1s), true);
  EXPECT_EQ(only<MakeCommit>(committer)->adds, (std::vector{id(10), id(11)}));
}

TEST(Committer, StaysSilentOnceItIsItselfGone) {
  Committer committer = member(0, 2);
  committer.handle_gone(at(1s), id(0));
  committer.handle_timeout(at(10s));
  EXPECT_TRUE(drain(committer).empty());
}

TEST(Committer, WaitsForTheEndOfTheBacklogBeforeItActs) {
  Committer committer = member(0, 2);
  committer.handle_online(at(1s), false);
  committer.handle_join(at(1s), id(9), true);
  EXPECT_TRUE(drain(committer).empty());
  EXPECT_EQ(committer.next_deadline(), std::nullopt);
}

TEST(Refresh, WaitsUntilNothingElseIsPendingAndStandsUntilACommitOfOursIsAccepted) {
  Committer committer = member(1, 2);
  committer.handle_join(at(1s), id(9), true);
  committer.request_refresh(at(1s));
  EXPECT_TRUE(drain(committer).empty()) << "rank 0 adds the newcomer first";
  committer.handle_epoch(at(2s), 0, 6, id(0), {{id(0), 0}, {id(1), 1}, {id(9), 2}});
  EXPECT_EQ(only<MakeCommit>(committer), (MakeCommit{0, 6, {}, {}}));
  committer.handle_prepared(at(2s), Bytes{1});
  drain(committer);
  committer.handle_epoch(at(3s), 0, 7, id(0), {{id(0), 0}, {id(1), 1}, {id(9), 2}});
  const auto outputs = drain(committer);
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(std::get<MakeCommit>(outputs[1]), (MakeCommit{0, 7, {}, {}}));
  committer.handle_prepared(at(3s), Bytes{2});
  drain(committer);
  committer.handle_epoch(at(4s), 0, 8, id(1), {{id(0), 0}, {id(1), 1}, {id(9), 2}});
  EXPECT_TRUE(only<DropPrepared>(committer));
}

// --- before there is a group ---------------------------------------------------------------------------------

Committer joiner(std::uint8_t self, std::vector<IncarnationId> members, std::vector<Committer::Waiting> waiting, bool admissible = true) {
  Committer committer(id(self));
  committer.handle_snapshot(at(0s), members, {}, waiting);
  committer.handle_join(at(0s), id(self), admissible);
  committer.handle_online(at(0s), true);
  return committer;
}

TEST(Genesis, IsMadeAtOnceByTheFirstInAnEmptyRoom) {
  Committer committer = joiner(1, {}, {});
  EXPECT_TRUE(only<MakeGenesis>(committer));
  committer.handle_prepared(at(0s), Bytes{7});
  EXPECT_EQ(only<SendPrepared>(committer), (SendPrepared{{7}}));
  committer.handle_genesis(at(1s), 3, id(1));
  EXPECT_EQ(committer.phase(), Committer::Phase::member);
  EXPECT_EQ(committer.era(), 3u);
  EXPECT_EQ(committer.designated(), (Member{id(1), 0}));
}

TEST(Genesis, IsRankedByTheOrderOfTheJoins) {
  Committer committer = joiner(2, {}, {{id(1), true}, {id(7), false}});
  EXPECT_EQ(committer.rank(), 1u) << "the one without admission does not count";
  EXPECT_EQ(committer.next_deadline(), at(500ms));
  committer.handle_timeout(at(500ms));
  EXPECT_TRUE(only<MakeGenesis>(committer));
}

TEST(Genesis, IsNotMadeWhileAMemberLives) {
  Committer committer = joiner(2, {id(1)}, {});
  committer.handle_timeout(at(60s));
  EXPECT_TRUE(drain(committer).empty());
  committer.handle_gone(at(61s), id(1));
  EXPECT_TRUE(only<MakeGenesis>(committer)) << "all members crashed, and someone waits";
}

TEST(Genesis, IsNotMadeByOneWithoutTheSecret) {
  Committer committer = joiner(2, {}, {}, false);
  committer.handle_timeout(at(60s));
  EXPECT_TRUE(drain(committer).empty());
}

// The service appends a genesis whenever no live member exists, so another's does not decide about ours: found by the model.
TEST(Genesis, IsKeptWhenAnotherOneWonSinceItMayStillBeAcceptedOnceThatOneHasLeft) {
  Committer committer = joiner(1, {}, {});
  drain(committer);
  committer.handle_prepared(at(0s), Bytes{7});
  drain(committer);
  committer.handle_genesis(at(1s), 3, id(9));
  EXPECT_TRUE(drain(committer).empty());
  EXPECT_TRUE(committer.has_live_member());
  committer.handle_gone(at(1s), id(9));
  EXPECT_TRUE(drain(committer).empty()) << "not a second one while the first is undecided";
  committer.handle_genesis(at(2s), 5, id(1));
  EXPECT_EQ(committer.phase(), Committer::Phase::member);
}

TEST(Genesis, IsForgottenOnceItWasRefusedAndMadeAnewWhenTheRoomIsEmptyAgain) {
  Committer committer = joiner(1, {}, {});
  drain(committer);
  committer.handle_prepared(at(0s), Bytes{7});
  drain(committer);
  committer.handle_genesis(at(1s), 3, id(9));
  committer.handle_refused(at(1s), false);
  EXPECT_TRUE(only<DropPrepared>(committer));
  committer.handle_gone(at(2s), id(9));
  EXPECT_TRUE(only<MakeGenesis>(committer));
}

TEST(Genesis, IsForgottenWhenACommitLetsUsIn) {
  Committer committer = joiner(1, {}, {});
  drain(committer);
  committer.handle_prepared(at(0s), Bytes{7});
  drain(committer);
  committer.handle_genesis(at(1s), 3, id(9));
  committer.handle_epoch(at(2s), 3, 1, id(9), {{id(9), 0}, {id(1), 1}});
  EXPECT_TRUE(only<DropPrepared>(committer));
}

TEST(Genesis, TakesIntoAccountWhoWasAddedByCommitsThatWeCouldOnlyLookAt) {
  Committer committer = joiner(2, {id(1)}, {{id(5), true}});
  const std::vector<IncarnationId> adds{id(5)};
  committer.handle_foreign_commit(at(1s), adds);
  committer.handle_gone(at(2s), id(1));
  EXPECT_TRUE(drain(committer).empty()) << "5 is a live member";
  committer.handle_gone(at(3s), id(5));
  EXPECT_TRUE(only<MakeGenesis>(committer));
}

TEST(Joiner, KnowsTheDeparturesThatHappenedBeforeItWasLetIn) {
  Committer committer = joiner(4, {id(0), id(1)}, {});
  committer.handle_gone(at(1s), id(1));
  committer.handle_epoch(at(2s), 0, 6, id(0), {{id(0), 0}, {id(1), 1}, {id(4), 2}});
  EXPECT_TRUE(committer.is_gone(id(1)));
  committer.handle_gone(at(3s), id(0));
  EXPECT_EQ(only<MakeCommit>(committer), (MakeCommit{0, 6, {}, {id(0), id(1)}}));
}

TEST(Committer, SaysSoWhenThereAreTooManyPeople) {
  Committer committer = member(0, 1);
  committer.handle_online(at(0s), false);
  for (std::size_t i = 0; i <= Committer::max_people; ++i) {
    IncarnationId who;
    who.bytes[1] = static_cast<std::uint8_t>(i);
    who.bytes[2] = static_cast<std::uint8_t>(i >> 8);
    who.bytes[3] = 1;
    committer.handle_join(at(1s), who, false);
  }
  EXPECT_TRUE(committer.overflowed());
}

} // namespace
} // namespace satsuma::call
