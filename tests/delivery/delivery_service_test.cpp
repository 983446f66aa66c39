#include "delivery/delivery_service.h"

#include <gtest/gtest.h>

#include "delivery/service_world.h"

namespace satsuma::delivery {
namespace {

using namespace testing;
using Reason = signaling::Rejected::Reason;
using signaling::CommitEntry;
using signaling::GenesisEntry;
using signaling::GoneEntry;
using signaling::JoinEntry;

const IncarnationId a = incarnation(1), b = incarnation(2), c = incarnation(3);

class DeliveryServiceTest : public ::testing::Test {
 protected:
  FaultyStore store;
  World w{store};

  /// a founded the group (index 1), b was added (2 joined, 3 committed); both have acknowledged everything.
  ConnectionId ca = 0, cb = 0;
  void two_members() {
    ca = w.enter(a);
    w.send(ca, signaling::Genesis{group_info(a)});
    cb = w.enter(b);
    w.commit(ca, a, 1, 0, {b}, {});
    w.ack_all(ca);
    w.ack_all(cb);
    ASSERT_EQ(w.room().roster().members(), (std::vector{a, b}));
  }
  void keep_alive(std::initializer_list<ConnectionId> connections, Duration time) {
    for (; time > 0s; time -= 5s) {
      w.pass(std::min<Duration>(5s, time));
      for (const auto id : connections) w.ack_all(id);
    }
  }
};

// ---- hello

TEST_F(DeliveryServiceTest, AnUnknownIncarnationJoinsAndGetsTheRoomBeforeItsJoinAndThenItsJoin) {
  const auto first = w.enter(a);
  EXPECT_FALSE(w.ready(first).resumed);
  EXPECT_EQ(w.ready(first).head, 1u);
  EXPECT_EQ(w.ready(first).grace_ms, 10'000u);
  EXPECT_EQ(w.ready(first).snapshot, signaling::Snapshot{});
  ASSERT_EQ(w.entries(first).size(), 1u);
  EXPECT_EQ(w.entries(first)[0], (signaling::Entry{0, JoinEntry{a, key_package(a)}}));
  EXPECT_TRUE(std::holds_alternative<signaling::Ready>(w.lines[first].received[0])) << "ready comes before entries";

  w.send(first, signaling::Genesis{group_info(a)});
  const auto second = w.enter(b);
  const auto third = w.enter(c);
  EXPECT_EQ(w.ready(second).snapshot, (signaling::Snapshot{true, 1, 0, {a}, {}, w.room().roster_at(2).snapshot().log_digest, {}}));
  EXPECT_EQ(w.ready(third).snapshot, (signaling::Snapshot{true, 1, 0, {a}, {}, w.room().roster_at(3).snapshot().log_digest, {{b, key_package(b)}}}));
  EXPECT_EQ(w.indices(first), (std::vector<std::uint64_t>{0, 1, 2, 3}));
  EXPECT_EQ(w.indices(second), (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(w.indices(third), (std::vector<std::uint64_t>{3}));
}

TEST_F(DeliveryServiceTest, ReadyIsToldToTheProgramWithTheIncarnation) {
  const auto first = w.enter(a);
  ASSERT_EQ(w.events.size(), 1u);
  const auto& joined = std::get<Joined>(w.events[0]);
  EXPECT_EQ(joined.connection, first);
  EXPECT_EQ(joined.room, "room");
  EXPECT_EQ(joined.incarnation, a);
}

TEST_F(DeliveryServiceTest, RoomsDoNotSeeEachOther) {
  const auto first = w.enter(a, 0, 1, "one");
  const auto second = w.enter(b, 0, 1, "two");
  EXPECT_EQ(w.entries(first).size(), 1u);
  EXPECT_EQ(w.entries(second).size(), 1u);
  EXPECT_EQ(w.entries(second)[0].index, 0u);
  EXPECT_EQ(w.service->room_count(), 2u);
}

TEST_F(DeliveryServiceTest, AHelloThatWasHeldUpDoesNotTakeOverFromTheNewerConnection) {
  two_members();
  w.disconnect(ca);
  const auto held_up = w.connect();
  const auto newer = w.enter(a, 4);
  w.send(held_up, w.hello(testing::key_package(a), 4, 1, "room"));
  EXPECT_EQ(w.error(held_up), ErrorReason::replaced);
  EXPECT_EQ(w.error(newer), std::nullopt);
  w.commit(newer, a, 1, 1, {}, {});
  EXPECT_EQ(w.indices(newer), (std::vector<std::uint64_t>{4})) << "it goes on";
}

TEST_F(DeliveryServiceTest, ANewerConnectionOfTheSameIncarnationReplacesTheOlder) {
  two_members();
  const auto again = w.enter(a, 4);
  EXPECT_EQ(w.error(ca), ErrorReason::replaced);
  EXPECT_EQ(w.lines[ca].closed, 4409);
  EXPECT_TRUE(w.ready(again).resumed);
  w.disconnect(ca); // the program tells the end of the closed one: nothing to do
  w.commit(again, a, 1, 1, {}, {});
  EXPECT_EQ(w.indices(again), (std::vector<std::uint64_t>{4}));
  ASSERT_EQ(w.of<signaling::Present>(cb).size(), 1u) << "what was written to the old connection may be lost";
  EXPECT_TRUE(w.of<signaling::Present>(cb)[0].connected);
}

TEST_F(DeliveryServiceTest, AWrongResumeKeyIsRefusedAndDoesNotDisturb) {
  two_members();
  const auto thief = w.enter(a, 4, 99);
  EXPECT_EQ(w.error(thief), ErrorReason::not_yours);
  EXPECT_FALSE(w.lines[ca].closed.has_value());
  w.commit(ca, a, 1, 1, {}, {});
  EXPECT_EQ(w.entries(ca).back().index, 4u);
}

TEST_F(DeliveryServiceTest, AnUnknownIncarnationWithAPastIsGone) {
  EXPECT_EQ(w.error(w.enter(a, 5)), ErrorReason::gone);
  EXPECT_EQ(w.service->room_count(), 0u) << "and leaves no room behind";
}

TEST_F(DeliveryServiceTest, WhoIsGoneDoesNotComeBack) {
  two_members();
  w.send(cb, signaling::Goodbye{});
  EXPECT_EQ(w.error(w.enter(b, 4)), ErrorReason::gone);
  EXPECT_EQ(w.error(w.enter(b, 0)), ErrorReason::gone);
  w.commit(ca, a, 1, 1, {}, {b});
  EXPECT_EQ(w.error(w.enter(b, 0)), ErrorReason::gone) << "removed from the roster too";
}

TEST_F(DeliveryServiceTest, AHelloWithABadKeyPackageIsRefused) {
  const auto id = w.connect();
  w.send(id, World::hello(Bytes{1, 2, 3}));
  EXPECT_EQ(w.error(id), ErrorReason::malformed);
  EXPECT_EQ(w.service->room_count(), 0u);
}

TEST_F(DeliveryServiceTest, AnotherVersionIsTold) {
  const auto id = w.connect();
  auto hello = World::hello(key_package(a));
  hello.version = signaling::protocol_version + 1;
  w.send(id, std::move(hello));
  EXPECT_EQ(w.error(id), ErrorReason::unsupported_version);
  const auto other = w.connect();
  w.send_bytes(other, *from_hex("0100ffdeadbeef"));
  EXPECT_EQ(w.error(other), ErrorReason::unsupported_version) << "whatever its form";
}

TEST_F(DeliveryServiceTest, TheFirstFrameIsAHelloAndOnlyTheFirst) {
  for (const signaling::ClientMessage& message :
       {signaling::ClientMessage(signaling::Ack{}), signaling::ClientMessage(signaling::Goodbye{}),
        signaling::ClientMessage(signaling::Commit{0, 0, {1}, {}})}) {
    const auto id = w.connect();
    w.send(id, message);
    EXPECT_EQ(w.error(id), ErrorReason::malformed);
  }
  const auto id = w.enter(a);
  w.send(id, World::hello(key_package(a), 1));
  EXPECT_EQ(w.error(id), ErrorReason::malformed);
}

TEST_F(DeliveryServiceTest, AConnectionWithoutHelloIsClosedAfterTenSeconds) {
  const auto id = w.connect();
  w.pass(9s);
  EXPECT_FALSE(w.lines[id].closed.has_value());
  w.pass(1s);
  EXPECT_EQ(w.error(id), ErrorReason::silent);
  EXPECT_EQ(w.service->connection_count(), 0u);
}

// ---- resume

TEST_F(DeliveryServiceTest, AResumedConnectionGetsEveryEntryFromItsCursorOnOnceAndInOrder) {
  two_members();
  w.disconnect(cb);
  w.commit(ca, a, 1, 1, {}, {});
  w.commit(ca, a, 1, 2, {}, {});
  w.pass(5s);
  const auto again = w.enter(b, 4);
  EXPECT_TRUE(w.ready(again).resumed);
  EXPECT_EQ(w.ready(again).head, 6u);
  EXPECT_EQ(w.ready(again).snapshot, signaling::Snapshot{});
  w.commit(ca, a, 1, 3, {}, {});
  EXPECT_EQ(w.indices(again), (std::vector<std::uint64_t>{4, 5, 6}));
}

TEST_F(DeliveryServiceTest, ResumingAtAnEarlierCursorThanAcknowledgedRepeatsFromThere) {
  two_members();
  w.disconnect(cb);
  const auto again = w.enter(b, 3);
  EXPECT_EQ(w.indices(again), (std::vector<std::uint64_t>{3}));
}

TEST_F(DeliveryServiceTest, WhoNeverSawItsReadyGetsTheSameAgain) {
  ca = w.enter(a);
  w.send(ca, signaling::Genesis{group_info(a)});
  cb = w.enter(b);
  const auto before = w.ready(cb);
  w.disconnect(cb);
  w.commit(ca, a, 1, 0, {b}, {}); // admitted while away
  const auto again = w.enter(b, 0);
  EXPECT_FALSE(w.ready(again).resumed);
  EXPECT_EQ(w.ready(again).snapshot, before.snapshot);
  EXPECT_EQ(w.ready(again).head, 4u);
  EXPECT_EQ(w.indices(again), (std::vector<std::uint64_t>{2, 3}));
}

TEST_F(DeliveryServiceTest, ACursorOutsideOfTheLogIsGone) {
  two_members();
  EXPECT_EQ(w.error(w.enter(b, 5)), ErrorReason::gone);
  EXPECT_FALSE(w.lines[cb].closed.has_value());
}

TEST_F(DeliveryServiceTest, MembersHearOfConnectionsThatGoAndComeBack) {
  two_members();
  w.disconnect(cb);
  ASSERT_EQ(w.of<signaling::Present>(ca).size(), 1u);
  EXPECT_EQ(w.of<signaling::Present>(ca)[0].who, b);
  EXPECT_FALSE(w.of<signaling::Present>(ca)[0].connected);
  const auto cc = w.enter(c);
  ASSERT_EQ(w.of<signaling::Present>(cc).size(), 1u) << "a newcomer hears who is away";
  EXPECT_EQ(w.of<signaling::Present>(cc)[0].who, b);
  w.enter(b, 4);
  ASSERT_EQ(w.of<signaling::Present>(ca).size(), 2u);
  EXPECT_TRUE(w.of<signaling::Present>(ca)[1].connected);
  w.disconnect(cc);
  EXPECT_EQ(w.of<signaling::Present>(ca).size(), 2u) << "who waits is no member";
}

// ---- the gate, as far as its answers go; the rules are room_sequencer_test's and mls_group_gate_test's

TEST_F(DeliveryServiceTest, OfTwoCommitsForAnEpochTheFirstWinsAndBothHearOfIt) {
  two_members();
  w.commit(ca, a, 1, 1, {}, {});
  w.commit(cb, b, 1, 1, {}, {});
  EXPECT_EQ(w.rejection(ca), std::nullopt);
  ASSERT_EQ(w.of<signaling::Rejected>(cb).size(), 1u);
  EXPECT_EQ(w.of<signaling::Rejected>(cb)[0].reason, Reason::not_present_epoch);
  EXPECT_EQ(w.of<signaling::Rejected>(cb)[0].era, 1u);
  EXPECT_EQ(w.of<signaling::Rejected>(cb)[0].epoch, 1u);
  for (const auto id : {ca, cb}) {
    const auto entry = std::get<CommitEntry>(w.entries(id).back().body);
    EXPECT_EQ(entry.who, a);
    EXPECT_EQ(entry.epoch, 1u);
  }
  EXPECT_FALSE(w.lines[cb].closed.has_value()) << "losing is no fault";
}

TEST_F(DeliveryServiceTest, ResendingTheSameCommitIsHarmless) {
  two_members();
  w.commit(ca, a, 1, 1, {}, {});
  const auto head = w.room().head();
  w.commit(ca, a, 1, 1, {}, {});
  EXPECT_EQ(w.room().head(), head);
  EXPECT_EQ(w.rejection(ca), Reason::not_present_epoch);
}

TEST_F(DeliveryServiceTest, OfTwoGenesesTheFirstWins) {
  ca = w.enter(a);
  cb = w.enter(b);
  w.send(cb, signaling::Genesis{group_info(b)});
  w.send(ca, signaling::Genesis{group_info(a)});
  EXPECT_EQ(w.rejection(ca), Reason::not_present_epoch);
  for (const auto id : {ca, cb}) EXPECT_EQ(std::get<GenesisEntry>(w.entries(id).back().body).who, b);
}

TEST_F(DeliveryServiceTest, ACommitAndItsWelcomeAreOneEntry) {
  ca = w.enter(a);
  w.send(ca, signaling::Genesis{group_info(a)});
  cb = w.enter(b);
  w.commit(ca, a, 1, 0, {b}, {}, 500);
  const auto entry = std::get<CommitEntry>(w.entries(cb).back().body);
  EXPECT_EQ(entry.welcome.size(), 501u);
  EXPECT_EQ(entry.commit, commit(a, {b}, {}));
}

TEST_F(DeliveryServiceTest, CommitsOfStrangersAndAboutThemAreRejected) {
  two_members();
  const auto cc = w.enter(c);
  w.commit(cc, c, 1, 1, {}, {});
  EXPECT_EQ(w.rejection(cc), Reason::not_member);
  w.commit(ca, a, 1, 1, {incarnation(9)}, {});
  EXPECT_EQ(w.rejection(ca), Reason::unasked_add);
  w.commit(ca, a, 1, 1, {}, {b});
  EXPECT_EQ(w.rejection(ca), Reason::unlogged_remove);
  w.send(ca, signaling::Commit{1, 1, {1, 2, 3}, {}});
  EXPECT_EQ(w.rejection(ca), Reason::invalid);
  w.commit(ca, a, 1, 1, {c}, {});
  EXPECT_EQ(w.room().roster().epoch(), 2u);
  EXPECT_EQ(w.service->statistics().rejected[static_cast<int>(Reason::unasked_add)], 1u);
}

TEST_F(DeliveryServiceTest, RosterChangesAreToldToTheProgram) {
  two_members();
  w.events.clear();
  w.send(cb, signaling::Goodbye{});
  ASSERT_EQ(w.events.size(), 1u);
  EXPECT_EQ(std::get<Departed>(w.events[0]).incarnation, b);
  w.commit(ca, a, 1, 1, {}, {b});
  ASSERT_EQ(w.events.size(), 3u);
  EXPECT_EQ(std::get<EpochBegan>(w.events[1]).entry, w.room().head() - 1);
  EXPECT_EQ(std::get<MemberRemoved>(w.events[2]).incarnation, b);
  const auto cc = w.enter(c);
  w.send(ca, signaling::Goodbye{});
  w.events.clear();
  w.send(cc, signaling::Genesis{group_info(c)});
  ASSERT_EQ(w.events.size(), 3u);
  EXPECT_EQ(std::get<EpochBegan>(w.events[0]).entry, w.room().head() - 1);
  EXPECT_EQ(std::get<MemberRemoved>(w.events[1]).incarnation, a);
  EXPECT_EQ(std::get<MemberAdded>(w.events[2]).incarnation, c);
}

TEST_F(DeliveryServiceTest, HowFarAnEngineFollowedIsToldToTheProgramWhenItAcknowledgesAndWhenItReturns) {
  two_members();
  static_cast<void>(w.enter(c));
  const auto head = w.room().head();
  const auto followed = [&] {
    std::vector<std::uint64_t> cursors;
    for (const auto& event : w.events)
      if (const auto* f = std::get_if<Followed>(&event); f != nullptr && f->incarnation == b) cursors.push_back(f->cursor);
    w.events.clear();
    return cursors;
  };
  w.events.clear();
  w.send(cb, signaling::Ack{head});
  EXPECT_EQ(followed(), (std::vector{head}));
  w.send(cb, signaling::Ack{head});
  w.send(cb, signaling::Ack{head - 1});
  EXPECT_EQ(followed(), (std::vector{head, head})) << "again, for who missed it, and never less";
  w.disconnect(cb);
  cb = w.enter(b, head);
  EXPECT_EQ(followed(), (std::vector{head}));
}

// ---- application messages

TEST_F(DeliveryServiceTest, ApplicationMessagesReachTheOtherLiveMembersAndAreNotLogged) {
  two_members();
  const auto cc = w.enter(c);
  const auto head = w.room().head();
  w.send(ca, signaling::Application{{1, 2, 3}});
  ASSERT_EQ(w.of<signaling::Relayed>(cb).size(), 1u);
  EXPECT_EQ(w.of<signaling::Relayed>(cb)[0].sender, a);
  EXPECT_EQ(w.of<signaling::Relayed>(cb)[0].message, (Bytes{1, 2, 3}));
  EXPECT_TRUE(w.of<signaling::Relayed>(ca).empty());
  EXPECT_TRUE(w.of<signaling::Relayed>(cc).empty()) << "who waits";
  w.send(cc, signaling::Application{{1}});
  EXPECT_EQ(w.of<signaling::Relayed>(ca).size(), 0u) << "from who waits";
  EXPECT_EQ(w.room().head(), head);
}

TEST_F(DeliveryServiceTest, ApplicationMessagesForSomeReachThoseAndEachOnce) {
  two_members();
  const auto cc = w.enter(c);
  w.commit(ca, a, 1, 1, {c}, {});
  w.send(ca, signaling::Application{{1, 2, 3}, {b, b, a, incarnation(99)}});
  ASSERT_EQ(w.of<signaling::Relayed>(cb).size(), 1u);
  EXPECT_EQ(w.of<signaling::Relayed>(cb)[0].message, (Bytes{1, 2, 3}));
  EXPECT_TRUE(w.of<signaling::Relayed>(cc).empty());
  EXPECT_TRUE(w.of<signaling::Relayed>(ca).empty()) << "oneself";
  w.send(ca, signaling::Application{{4}, {incarnation(99)}});
  EXPECT_EQ(w.of<signaling::Relayed>(cb).size(), 1u) << "nobody is not everybody";
}

// ---- gone

TEST_F(DeliveryServiceTest, GoodbyeIsGoneAtOnce) {
  two_members();
  w.send(cb, signaling::Goodbye{});
  EXPECT_EQ(w.lines[cb].closed, 1000);
  EXPECT_EQ(std::get<GoneEntry>(w.entries(ca).back().body), (GoneEntry{b, GoneCause::goodbye}));
  EXPECT_EQ(w.entries(cb).back().index, 3u) << "its own connection does not get the entry";
}

TEST_F(DeliveryServiceTest, ALostConnectionIsGoneAfterTheGraceAndNotBefore) {
  two_members();
  w.disconnect(cb);
  keep_alive({ca}, 9s);
  EXPECT_FALSE(w.room().roster().is_gone(b));
  keep_alive({ca}, 1s);
  EXPECT_EQ(std::get<GoneEntry>(w.entries(ca).back().body), (GoneEntry{b, GoneCause::connection_lost}));
  EXPECT_EQ(w.error(w.enter(b, 4)), ErrorReason::gone);
}

TEST_F(DeliveryServiceTest, AConnectionThatComesBackInTimeIsNotGoneAndTheGraceStartsAnew) {
  two_members();
  w.disconnect(cb);
  keep_alive({ca}, 8s);
  cb = w.enter(b, 4);
  keep_alive({ca}, 8s);
  EXPECT_FALSE(w.room().roster().is_gone(b));
  w.disconnect(cb);
  keep_alive({ca}, 9s);
  EXPECT_FALSE(w.room().roster().is_gone(b));
  keep_alive({ca}, 1s);
  EXPECT_TRUE(w.room().roster().is_gone(b));
}

TEST_F(DeliveryServiceTest, AnEngineThatIsSilentIsGoneThoughItsSocketLives) {
  two_members();
  for (int i = 0; i < 4; ++i) {
    keep_alive({ca}, 3s);
    if (i < 3) w.send(cb, signaling::Application{{1}}); // the socket's shell lives, its engine does not
  }
  EXPECT_FALSE(w.room().roster().is_gone(b));
  keep_alive({ca}, 3s);
  EXPECT_EQ(std::get<GoneEntry>(w.entries(ca).back().body), (GoneEntry{b, GoneCause::engine_stalled}));
  EXPECT_EQ(w.error(cb), ErrorReason::gone);
}

TEST_F(DeliveryServiceTest, AnEngineThatAcknowledgesWithoutNewsIsAlive) {
  two_members();
  keep_alive({ca, cb}, 120s);
  EXPECT_FALSE(w.lines[ca].closed.has_value());
  EXPECT_FALSE(w.lines[cb].closed.has_value());
  EXPECT_FALSE(w.room().roster().is_gone(b));
}

TEST_F(DeliveryServiceTest, WhoWaitsIsGoneByTheSameCauses) {
  two_members();
  const auto cc = w.enter(c);
  keep_alive({ca, cb}, 15s);
  EXPECT_EQ(w.error(cc), ErrorReason::gone);
  EXPECT_EQ(w.room().roster().find_waiting(c), nullptr);
  EXPECT_EQ(std::get<GoneEntry>(w.entries(ca).back().body).who, c);
}

TEST_F(DeliveryServiceTest, AnErrorIsALostConnectionAndTheIncarnationMayResume) {
  two_members();
  w.send_bytes(cb, Bytes{99});
  EXPECT_EQ(w.error(cb), ErrorReason::malformed);
  EXPECT_FALSE(w.room().roster().is_gone(b));
  EXPECT_TRUE(w.ready(w.enter(b, 4)).resumed);
}

TEST_F(DeliveryServiceTest, WhenAllMembersAreGoneAWaitingOneStartsANewEra) {
  two_members();
  const auto cc = w.enter(c);
  w.send(ca, signaling::Goodbye{});
  w.send(cc, signaling::Genesis{group_info(c)});
  EXPECT_EQ(w.rejection(cc), Reason::not_present_epoch) << "b lives";
  w.send(cb, signaling::Goodbye{});
  w.send(cc, signaling::Genesis{group_info(c)});
  EXPECT_EQ(w.room().roster().members(), std::vector{c});
  EXPECT_EQ(w.room().roster().era(), 7u);
  w.commit(cc, c, 1, 1, {}, {});
  EXPECT_EQ(w.rejection(cc), Reason::not_present_epoch) << "the former era's epochs are over";
}

// ---- acknowledgement

TEST_F(DeliveryServiceTest, AnAcknowledgementBeyondWhatWasSentIsAnError) {
  two_members();
  w.send(cb, signaling::Ack{5});
  EXPECT_EQ(w.error(cb), ErrorReason::malformed);
}

TEST_F(DeliveryServiceTest, AnOlderAcknowledgementIsASignOfLifeOnly) {
  two_members();
  w.pass(14s);
  w.send(cb, signaling::Ack{0});
  w.send(ca, signaling::Ack{4});
  w.pass(14s);
  EXPECT_FALSE(w.lines[cb].closed.has_value());
  EXPECT_EQ(w.room().cursor(b), 4u);
}

TEST_F(DeliveryServiceTest, EntriesUnderWayAreBounded) {
  two_members();
  // b acknowledges nothing more; entries of about 40 KB each.
  for (std::uint64_t epoch = 1; epoch <= 8; ++epoch) {
    w.pass(1s);
    const auto joiner = incarnation(static_cast<std::uint8_t>(100 + epoch));
    const auto id = w.enter(joiner);
    w.commit(ca, a, 1, epoch, {joiner}, {}, 40'000);
    w.ack_all(id);
    w.ack_all(ca);
  }
  std::size_t bytes = 0;
  for (const auto& entry : w.entries(cb)) bytes += entry.index > 3 ? signaling::write_server_message(entry).size() : 0;
  EXPECT_LE(bytes, 128u * 1024);
  EXPECT_GT(bytes, 64u * 1024);
  for (int i = 0; i < 20; ++i) w.ack_all(cb);
  EXPECT_EQ(w.entries(cb).back().index, w.room().head() - 1);
  const auto all = w.indices(cb);
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_EQ(all[i], all[i - 1] + 1);
}

TEST_F(DeliveryServiceTest, WhatAllHaveProcessedIsTrimmedAndTheRestGoesOn) {
  two_members();
  for (std::uint64_t epoch = 1; epoch <= 200; ++epoch) {
    w.commit(ca, a, 1, epoch, {}, {});
    w.ack_all(ca);
    w.ack_all(cb);
    w.pass(1s); // renewals may come once a second
  }
  EXPECT_GT(w.room().log_start(), 100u);
  EXPECT_LT(store.trims, 10);
  const auto start = w.room().log_start();
  w.disconnect(cb);
  cb = w.enter(b, w.room().head());
  EXPECT_TRUE(w.ready(cb).resumed);
  w.restart();
  EXPECT_EQ(w.room().log_start(), start);
  EXPECT_EQ(w.room().roster().epoch(), 201u);
  EXPECT_TRUE(w.ready(w.enter(a, w.room().head())).resumed);
  EXPECT_EQ(w.error(w.enter(b, start - 1)), ErrorReason::gone) << "from below the log nobody can go on";
}

TEST_F(DeliveryServiceTest, ALogThatAllHaveProcessedIsTrimmedWhenTheRoomHasBeenQuietForTenSeconds) {
  two_members();
  w.commit(ca, a, 1, 1, {}, {});
  w.ack_all(ca);
  for (int i = 0; i < 4; ++i, w.pass(4s)) w.ack_all(ca);
  EXPECT_EQ(w.room().log_start(), 0u) << "one of them has not";
  w.ack_all(cb);
  for (int i = 0; i < 4; ++i, w.pass(4s)) {
    w.ack_all(ca);
    w.ack_all(cb);
  }
  EXPECT_EQ(w.room().log_start(), w.room().head());
  EXPECT_EQ(store.trims, 1);
  w.commit(cb, b, 1, 2, {}, {});
  EXPECT_EQ(w.entries(ca).back().index, w.room().head() - 1);
}

TEST_F(DeliveryServiceTest, WhoHoldsBackMoreThanTheLogsBoundIsGone) {
  DeliveryOptions options;
  options.room.log_entries = 10;
  options.room.trim_entries = 4;
  World small(store, options);
  const auto first = small.enter(a);
  small.send(first, signaling::Genesis{group_info(a)});
  const auto second = small.enter(b);
  small.commit(first, a, 1, 0, {b}, {});
  small.disconnect(second);
  for (std::uint64_t epoch = 1; epoch <= 15; ++epoch) { // in less than the grace time
    small.ack_all(first);
    small.commit(first, a, 1, epoch, {}, {});
    small.pass(500ms);
  }
  EXPECT_TRUE(small.room().roster().is_gone(b));
  EXPECT_LE(small.room().head() - small.room().log_start(), 11u);
}

// ---- bounds

TEST_F(DeliveryServiceTest, WhenAllLogsTogetherAreTooLargeTheLargestIsShortenedWhoeverAsks) {
  DeliveryOptions options;
  options.log_memory = 64 * 1024;
  World small(store, options);
  const IncarnationId d = incarnation(4);
  // In each room somebody is away and holds the log back.
  const auto begin = [&](const IncarnationId& founder, const IncarnationId& laggard, const std::string& name) {
    const auto first = small.enter(founder, 0, 1, name);
    small.send(first, signaling::Genesis{group_info(founder)});
    const auto second = small.enter(laggard, 0, 1, name);
    small.commit(first, founder, 1, 0, {laggard}, {});
    small.disconnect(second);
    small.ack_all(first);
    return first;
  };
  const auto grow = [&](ConnectionId id, const IncarnationId& who, std::uint64_t epoch) {
    small.send(id, signaling::Commit{1, epoch, commit(who, {}, {}, 2'000), {}});
    small.ack_all(id);
  };
  const auto large = begin(a, b, "large");
  const auto little = begin(c, d, "little");
  for (std::uint64_t epoch = 1; epoch <= 10; ++epoch) grow(large, a, epoch);
  for (std::uint64_t epoch = 1; epoch <= 4; ++epoch) grow(little, c, epoch);
  EXPECT_EQ(small.service->log_memory(), 2 * (small.room("large").log_bytes() + small.room("little").log_bytes()));
  EXPECT_GT(small.service->log_memory(), 56u * 1024);
  EXPECT_TRUE(small.room("large").roster().is_live_member(b)) << "not beyond the bound yet";
  for (std::uint64_t epoch = 5; epoch <= 8; ++epoch) grow(little, c, epoch);
  EXPECT_TRUE(small.room("large").roster().is_gone(b));
  EXPECT_TRUE(small.room("little").roster().is_live_member(d)) << "though it was this room that asked";
  EXPECT_EQ(small.room("little").roster().epoch(), 9u);
  EXPECT_LE(small.service->log_memory(), options.log_memory);
  EXPECT_EQ(small.service->statistics().log_relieved, 1u);
  const auto before = small.service->log_memory();
  small.restart();
  EXPECT_EQ(small.service->log_memory(), before);
  small.pass(10min);
  EXPECT_EQ(small.service->room_count(), 0u);
  EXPECT_EQ(small.service->log_memory(), 0u) << "nothing is left on the account";
}

TEST_F(DeliveryServiceTest, WhatARoomRelaysIsBoundedBySizeTimesReceivers) {
  DeliveryOptions options;
  options.relay_bytes_per_second = 2'000;
  options.relay_burst = 4'000;
  World small(store, options);
  const auto first = small.enter(a);
  small.send(first, signaling::Genesis{group_info(a)});
  const auto second = small.enter(b);
  const auto third = small.enter(c);
  small.commit(first, a, 1, 0, {b, c}, {});
  const auto relayed = [&] { return small.of<signaling::Relayed>(third).size(); };
  // Two receivers, some 1020 bytes on the wire.
  small.send(first, signaling::Application{Bytes(1'000)});
  EXPECT_EQ(relayed(), 1u);
  small.send(second, signaling::Application{Bytes(1'000)});
  EXPECT_EQ(relayed(), 1u) << "another sender, the same room";
  EXPECT_EQ(small.of<signaling::Relayed>(first).size(), 0u) << "dropped for all";
  EXPECT_EQ(small.service->statistics().relays_dropped, 1u);
  EXPECT_EQ(small.error(second), std::nullopt) << "without a word";
  small.pass(1s);
  small.send(second, signaling::Application{Bytes(1'000)});
  EXPECT_EQ(relayed(), 2u);
}

TEST_F(DeliveryServiceTest, JoinsOfARoomAreBoundedAndComeInLater) {
  DeliveryOptions options;
  options.joins_per_second = 2;
  options.join_burst = 3;
  World small(store, options);
  for (std::uint8_t i = 1; i <= 3; ++i) EXPECT_EQ(small.error(small.enter(incarnation(i))), std::nullopt);
  const auto head = small.room().head();
  EXPECT_EQ(small.error(small.enter(incarnation(4))), ErrorReason::too_fast);
  EXPECT_EQ(small.room().head(), head) << "no trace";
  EXPECT_EQ(small.service->statistics().joins_refused, 1u);
  EXPECT_EQ(small.error(small.enter(incarnation(4), 0, 1, "other")), std::nullopt) << "each room for itself";
  EXPECT_EQ(small.error(small.enter(incarnation(1))), std::nullopt) << "who returns does not join";
  small.pass(1s);
  EXPECT_EQ(small.error(small.enter(incarnation(4))), std::nullopt);
}

TEST_F(DeliveryServiceTest, NewRoomsAreBoundedInAllAndComeLater) {
  DeliveryOptions options;
  options.new_rooms_per_second = 2;
  options.new_room_burst = 2;
  World small(store, options);
  EXPECT_EQ(small.error(small.enter(a, 0, 1, "one")), std::nullopt);
  EXPECT_EQ(small.error(small.enter(a, 0, 1, "two")), std::nullopt);
  EXPECT_EQ(small.error(small.enter(a, 0, 1, "three")), ErrorReason::full);
  EXPECT_EQ(small.service->room_count(), 2u);
  EXPECT_EQ(small.service->statistics().new_rooms_refused, 1u);
  EXPECT_EQ(small.error(small.enter(b, 0, 1, "one")), std::nullopt) << "rooms that are there go on";
  small.pass(1s);
  EXPECT_EQ(small.error(small.enter(a, 0, 1, "three")), std::nullopt);
}

TEST_F(DeliveryServiceTest, FramesAreBoundedBeforeReadyAndAfter) {
  const auto id = w.connect();
  w.send_bytes(id, Bytes(4097, 1));
  EXPECT_EQ(w.error(id), ErrorReason::too_large);
  two_members();
  w.send(ca, signaling::Application{Bytes(20'000, 1)});
  EXPECT_EQ(w.error(ca), std::nullopt);
  w.send_bytes(ca, Bytes(signaling::max_frame_size + 1, 5));
  EXPECT_EQ(w.error(ca), ErrorReason::too_large);
  w.service->handle_oversized(w.now, cb);
  while (w.service->poll_output()) {
  }
  EXPECT_EQ(w.service->connection_count(), 0u);
}

TEST_F(DeliveryServiceTest, TooManyFramesCloseTheConnection) {
  two_members();
  for (int i = 0; i < 2'000; ++i) w.send(cb, signaling::Ack{4});
  EXPECT_EQ(w.error(cb), ErrorReason::too_fast);
  cb = w.enter(b, 4);
  for (int i = 0; i < 300; ++i) w.send(cb, signaling::Commit{1, 0, {1}, {}});
  EXPECT_EQ(w.error(cb), ErrorReason::too_fast) << "commits cost more";
  cb = w.enter(b, 4);
  for (int i = 0; i < 30; ++i) w.send(cb, signaling::Application{Bytes(20'000, 1)});
  EXPECT_EQ(w.error(cb), ErrorReason::too_fast) << "bytes for all";
  cb = w.enter(b, 4);
  for (int i = 0; i < 100; ++i) w.send(cb, signaling::Application{{1}, std::vector(signaling::max_recipients, a)});
  EXPECT_EQ(w.error(cb), ErrorReason::too_fast) << "names to look for";
}

TEST_F(DeliveryServiceTest, MembersThatCommitAsFastAsTheyMayAndComeBackForMoreDoNotKeepANewcomerOut) {
  two_members();
  const auto cc = w.enter(c);
  // Theirs arrive at once and know of each epoch at once; the honest member is 300 ms away.
  struct OnTheWay {
    TimePoint arrives;
    std::uint64_t epoch;
  };
  std::vector<OnTheWay> news, answers;
  std::uint64_t told = 0;
  int renewals = 0, connections = 0;
  const TimePoint began = w.now;
  while (!w.room().roster().is_live_member(c) && w.now - began < 30s) {
    const std::uint64_t epoch = w.room().roster().epoch();
    if (epoch != told) news.push_back({w.now + 300ms, told = epoch});
    while (!news.empty() && news.front().arrives <= w.now) {
      answers.push_back({w.now + 300ms, news.front().epoch});
      news.erase(news.begin());
    }
    while (!answers.empty() && answers.front().arrives <= w.now) {
      w.commit(cb, b, 1, answers.front().epoch, {c}, {});
      answers.erase(answers.begin());
    }
    if (w.room().roster().is_live_member(c)) break;
    w.commit(ca, a, 1, w.room().roster().epoch(), {}, {});
    if (w.room().roster().epoch() == epoch) {
      // Refused: perhaps a new connection may.
      ca = w.enter(a, w.room().head());
      ++connections;
    } else {
      ++renewals;
    }
    w.pass(20ms);
    for (const auto id : {ca, cb, cc}) w.ack_all(id);
  }
  EXPECT_TRUE(w.room().roster().is_live_member(c));
  EXPECT_GE(connections, 5) << "otherwise this shows little";
  EXPECT_GE(renewals, 10);
  EXPECT_LE(w.now - began, 2s);
}

TEST_F(DeliveryServiceTest, AnHonestBurstIsNotTooFast) {
  two_members();
  for (int second = 0; second < 20; ++second) {
    for (int i = 0; i < 100; ++i) w.send(cb, signaling::Ack{4});
    w.pass(1s);
    w.ack_all(ca);
  }
  EXPECT_EQ(w.error(cb), std::nullopt);
}

TEST_F(DeliveryServiceTest, RoomsConnectionsAndParticipantsAreBounded) {
  DeliveryOptions options;
  options.max_rooms = 2;
  options.max_connections = 3;
  options.room.live = 2;
  MemoryStore other;
  World small(other, options);
  small.enter(a, 0, 1, "one");
  small.enter(b, 0, 1, "one");
  const auto third = small.enter(c, 0, 1, "one");
  EXPECT_EQ(small.error(third), ErrorReason::full) << "the room";
  const auto second_room = small.enter(c, 0, 1, "two");
  EXPECT_EQ(small.error(second_room), std::nullopt);
  const auto one_more = small.connect();
  EXPECT_EQ(small.error(one_more), ErrorReason::full) << "connections";
  small.disconnect(second_room);
  EXPECT_EQ(small.error(small.enter(c, 0, 1, "three")), ErrorReason::full) << "rooms";
}

TEST_F(DeliveryServiceTest, FramesOfUnknownConnectionsAreIgnored) {
  w.service->handle_frame(w.now, 77, signaling::write_client_message(signaling::Goodbye{}));
  w.service->handle_disconnected(w.now, 77);
  EXPECT_FALSE(w.service->poll_output().has_value());
}

TEST_F(DeliveryServiceTest, ARoomWithoutAnybodyIsForgottenAfterAWhile) {
  two_members();
  w.send(ca, signaling::Goodbye{});
  w.send(cb, signaling::Goodbye{});
  w.pass(30s);
  EXPECT_EQ(w.service->room_count(), 1u);
  const auto cc = w.enter(c); // somebody in between
  w.send(cc, signaling::Goodbye{});
  w.pass(59s);
  EXPECT_EQ(w.service->room_count(), 1u);
  w.events.clear();
  w.pass(1s);
  EXPECT_EQ(w.service->room_count(), 0u);
  EXPECT_TRUE(store.rooms()->empty());
  EXPECT_EQ(w.events.size(), 2u) << "its members leave the roster";
  EXPECT_FALSE(w.service->next_deadline().has_value()) << "no timer is left behind";
}

TEST_F(DeliveryServiceTest, DeadlinesAreNeverLate) {
  two_members();
  ASSERT_TRUE(w.service->next_deadline().has_value());
  EXPECT_LE(*w.service->next_deadline(), w.now + 15s);
  w.disconnect(cb);
  EXPECT_LE(*w.service->next_deadline(), w.now + 10s);
}

// ---- the store

TEST_F(DeliveryServiceTest, AServerKilledAndStartedAgainGoesOnWithItsRooms) {
  two_members();
  const auto cc = w.enter(c);
  static_cast<void>(cc);
  w.pass(100s - 100s);
  w.restart();
  std::vector<IncarnationId> members;
  for (const auto& event : w.events) members.push_back(std::get<MemberAdded>(event).incarnation);
  EXPECT_EQ(members, (std::vector{a, b}));
  EXPECT_EQ(w.error(w.enter(a, 5, 99)), ErrorReason::not_yours) << "keys are remembered";
  ca = w.enter(a, 5);
  cb = w.enter(b, 4);
  EXPECT_TRUE(w.ready(ca).resumed);
  EXPECT_EQ(w.indices(cb), (std::vector<std::uint64_t>{4}));
  w.commit(ca, a, 1, 1, {c}, {});
  EXPECT_EQ(w.room().roster().members(), (std::vector{a, b, c})) << "the gate goes on in its epoch";
  EXPECT_EQ(w.entries(cb).back().index, 5u);
}

TEST_F(DeliveryServiceTest, AfterARestartTheGraceIsThirtySeconds) {
  two_members();
  w.pass(1s);
  w.restart();
  ca = w.enter(a, 4);
  keep_alive({ca}, 29s);
  EXPECT_FALSE(w.room().roster().is_gone(b));
  keep_alive({ca}, 1s);
  EXPECT_TRUE(w.room().roster().is_gone(b));
  EXPECT_FALSE(w.room().roster().is_gone(a));
}

TEST_F(DeliveryServiceTest, ARestartDoesNotBringBackWhoIsGone) {
  two_members();
  w.send(cb, signaling::Goodbye{});
  w.restart();
  EXPECT_EQ(w.error(w.enter(b, 4)), ErrorReason::gone);
  EXPECT_EQ(w.error(w.enter(b, 0)), ErrorReason::gone);
}

TEST_F(DeliveryServiceTest, AnEmptyRoomFoundAtTheStartIsForgottenToo) {
  ca = w.enter(a);
  w.send(ca, signaling::Goodbye{});
  w.restart();
  EXPECT_EQ(w.service->room_count(), 1u);
  w.pass(60s);
  EXPECT_EQ(w.service->room_count(), 0u);
  EXPECT_TRUE(store.rooms()->empty());
}

TEST_F(DeliveryServiceTest, NobodyHearsOfAnEntryThatTheStoreDidNotTake) {
  two_members();
  store.fault = FaultyStore::Fault::unknown_and_lost;
  w.commit(ca, a, 1, 1, {}, {});
  EXPECT_EQ(w.entries(ca).back().index, 3u);
  EXPECT_EQ(w.entries(cb).back().index, 3u);
  EXPECT_EQ(w.error(ca), ErrorReason::unavailable);
  EXPECT_EQ(w.error(cb), ErrorReason::unavailable);
  EXPECT_EQ(w.lines[ca].closed, 1012);
  EXPECT_EQ(w.service->connection_count(), 0u);

  store.fault = FaultyStore::Fault::none;
  ca = w.enter(a, 4);
  EXPECT_TRUE(w.ready(ca).resumed) << "the room was read anew";
  w.commit(ca, a, 1, 1, {}, {});
  EXPECT_EQ(w.entries(ca).back().index, 4u);
}

TEST_F(DeliveryServiceTest, AfterUnknownTheStoreIsReadAndWhatIsThereCounts) {
  two_members();
  store.fault = FaultyStore::Fault::unknown_but_written;
  store.faults_left = 1;
  w.commit(ca, a, 1, 1, {}, {});
  EXPECT_EQ(w.entries(ca).back().index, 4u);
  EXPECT_EQ(w.error(ca), std::nullopt);
  w.commit(ca, a, 1, 2, {}, {});
  EXPECT_EQ(w.entries(ca).back().index, 5u);
}

TEST_F(DeliveryServiceTest, WhatWasCertainlyNotWrittenIsWrittenOnceMore) {
  two_members();
  store.fault = FaultyStore::Fault::unknown_and_lost;
  store.faults_left = 1;
  w.commit(ca, a, 1, 1, {}, {});
  EXPECT_EQ(w.entries(cb).back().index, 4u);
}

TEST_F(DeliveryServiceTest, AnEntryWrittenThoughTheAnswerWasLostIsInTheRoomReadAnew) {
  two_members();
  store.fault = FaultyStore::Fault::unknown_but_written;
  store.readable = false;
  w.commit(ca, a, 1, 1, {}, {});
  EXPECT_EQ(w.error(ca), ErrorReason::unavailable);
  EXPECT_EQ(w.error(w.enter(a, 4)), ErrorReason::unavailable) << "not to be read either";
  store.fault = FaultyStore::Fault::none;
  store.readable = true;
  ca = w.enter(a, 4);
  EXPECT_EQ(w.indices(ca), std::vector<std::uint64_t>{4}) << "the winner is the one in the store";
  w.commit(ca, a, 1, 2, {}, {});
  EXPECT_EQ(w.entries(ca).back().index, 5u);
}

TEST_F(DeliveryServiceTest, AConflictMakesEverybodyReconnect) {
  two_members();
  store.fault = FaultyStore::Fault::conflict;
  store.faults_left = 1;
  w.commit(ca, a, 1, 1, {}, {});
  EXPECT_EQ(w.error(ca), ErrorReason::unavailable);
  EXPECT_EQ(w.error(cb), ErrorReason::unavailable);
  EXPECT_TRUE(w.ready(w.enter(b, 4)).resumed);
}

TEST_F(DeliveryServiceTest, AJoinThatCannotBeWrittenLeavesNoTrace) {
  store.fault = FaultyStore::Fault::unknown_and_lost;
  ca = w.enter(a);
  EXPECT_EQ(w.error(ca), ErrorReason::unavailable);
  EXPECT_EQ(w.service->room_count(), 0u);
  EXPECT_TRUE(w.events.empty());
  store.fault = FaultyStore::Fault::none;
  EXPECT_EQ(w.ready(w.enter(a)).head, 1u);
}

TEST_F(DeliveryServiceTest, AStoreThatFailsAtADepartureUnloadsTheRoomUntilItAnswersAgain) {
  two_members();
  w.disconnect(cb);
  store.fault = FaultyStore::Fault::unknown_and_lost;
  keep_alive({ca}, 10s);
  EXPECT_EQ(w.error(ca), ErrorReason::unavailable);
  store.fault = FaultyStore::Fault::none;
  ca = w.enter(a, 4);
  keep_alive({ca}, 30s);
  EXPECT_TRUE(w.room().roster().is_gone(b)) << "with the grace of a restart";
}

} // namespace
} // namespace satsuma::delivery
