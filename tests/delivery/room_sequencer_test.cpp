#include "delivery/room_sequencer.h"

#include <gtest/gtest.h>

#include "delivery/symbolic_gate.h"

namespace satsuma::delivery {
namespace {

using namespace testing;
using Refusal = RoomSequencer::Refusal;
using signaling::GoneCause;

const IncarnationId a = incarnation(1), b = incarnation(2), c = incarnation(3), d = incarnation(4);

struct World {
  RoomSequencer sequencer;
  SymbolicGate gate;

  explicit World(RoomLimits limits = {}) : sequencer(limits) {}
  void join(const IncarnationId& who) { sequencer.append(*sequencer.propose_join(who, key_package(who))); }
  void gone(const IncarnationId& who) { sequencer.append(*sequencer.propose_gone(who, GoneCause::goodbye)); }
  std::optional<Refusal> genesis(const IncarnationId& who) {
    auto record = sequencer.propose_genesis(who, group_info(who), gate);
    if (!record) return record.error();
    gate.accept();
    sequencer.append(std::move(*record));
    return std::nullopt;
  }
  std::optional<Refusal> commit(const IncarnationId& who, std::uint64_t era, std::uint64_t epoch, std::vector<IncarnationId> added,
                                std::vector<IncarnationId> removed, const IncarnationId* signer = nullptr) {
    const signaling::Commit message{era, epoch, testing::commit(signer != nullptr ? *signer : who, added, removed),
                                    added.empty() ? Bytes{} : Bytes{'W'}};
    auto record = sequencer.propose_commit(who, message, gate);
    if (!record) return record.error();
    gate.accept();
    sequencer.append(std::move(*record));
    return std::nullopt;
  }
};

TEST(RoomSequencer, AFirstRoundOfJoinGenesisCommitGone) {
  World w;
  w.join(a);
  w.join(b);
  EXPECT_EQ(w.genesis(a), std::nullopt);
  EXPECT_EQ(w.sequencer.roster().era(), 2u);
  EXPECT_EQ(w.commit(a, 2, 0, {b}, {}), std::nullopt);
  EXPECT_EQ(w.sequencer.roster().epoch(), 1u);
  EXPECT_EQ(w.sequencer.roster().members(), (std::vector{a, b}));
  EXPECT_TRUE(w.sequencer.roster().snapshot().waiting.empty());
  w.gone(a);
  EXPECT_TRUE(w.sequencer.roster().is_gone(a));
  EXPECT_EQ(w.commit(b, 2, 1, {}, {a}), std::nullopt);
  EXPECT_EQ(w.sequencer.roster().members(), std::vector{b});
  EXPECT_FALSE(w.sequencer.roster().is_gone(a));
  EXPECT_EQ(w.sequencer.head(), 6u);
}

TEST(RoomSequencer, OfTwoGenesesTheFirstWins) {
  World w;
  w.join(a);
  w.join(b);
  EXPECT_EQ(w.genesis(b), std::nullopt);
  EXPECT_EQ(w.genesis(a), Refusal::not_present_epoch);
  EXPECT_EQ(w.sequencer.roster().members(), std::vector{b});
  EXPECT_NE(w.sequencer.roster().find_waiting(a), nullptr);
}

TEST(RoomSequencer, AGenesisNeedsAWaitingSenderAndItsOwnLeaf) {
  World w;
  EXPECT_EQ(w.genesis(a), Refusal::not_member);
  w.join(a);
  w.join(b);
  EXPECT_EQ(w.sequencer.propose_genesis(a, group_info(b), w.gate).error(), Refusal::invalid);
  EXPECT_EQ(w.sequencer.propose_genesis(a, as_bytes("x"), w.gate).error(), Refusal::invalid);
  w.gone(a);
  EXPECT_EQ(w.genesis(a), Refusal::not_member);
}

TEST(RoomSequencer, ANewEraBeginsOnlyWhenAllMembersAreGone) {
  World w;
  w.join(a);
  EXPECT_EQ(w.genesis(a), std::nullopt);
  w.join(b);
  w.join(c);
  EXPECT_EQ(w.genesis(b), Refusal::not_present_epoch);
  w.gone(a);
  EXPECT_EQ(w.genesis(b), std::nullopt);
  EXPECT_EQ(w.sequencer.roster().era(), 5u);
  EXPECT_EQ(w.sequencer.roster().epoch(), 0u);
  EXPECT_EQ(w.sequencer.roster().members(), std::vector{b});
  EXPECT_TRUE(w.sequencer.roster().snapshot().gone.empty());
  EXPECT_NE(w.sequencer.roster().find_waiting(c), nullptr);
  // What the record says of the former members:
  EXPECT_EQ(w.sequencer.record(5).removed, std::vector{a});
}

TEST(RoomSequencer, OfTwoCommitsForAnEpochTheFirstWins) {
  World w;
  w.join(a);
  w.join(b);
  w.genesis(a);
  EXPECT_EQ(w.commit(a, 2, 0, {b}, {}), std::nullopt);
  w.join(c);
  w.join(d);
  EXPECT_EQ(w.commit(a, 2, 1, {c}, {}), std::nullopt);
  EXPECT_EQ(w.commit(b, 2, 1, {d}, {}), Refusal::not_present_epoch);
  EXPECT_EQ(w.commit(b, 2, 2, {d}, {}), std::nullopt);
}

TEST(RoomSequencer, CommitsForAnotherEpochOrEraAreRefused) {
  World w;
  w.join(a);
  EXPECT_EQ(w.commit(a, 0, 0, {}, {}), Refusal::not_present_epoch) << "no group yet";
  w.genesis(a);
  EXPECT_EQ(w.commit(a, 1, 1, {}, {}), Refusal::not_present_epoch);
  EXPECT_EQ(w.commit(a, 0, 0, {}, {}), Refusal::not_present_epoch);
  EXPECT_EQ(w.commit(a, 2, 0, {}, {}), Refusal::not_present_epoch);
  EXPECT_EQ(w.commit(a, 1, 0, {}, {}), std::nullopt);
}

TEST(RoomSequencer, WhoIsNotALiveMemberCannotCommit) {
  World w;
  w.join(a);
  w.join(b);
  w.genesis(a);
  EXPECT_EQ(w.commit(b, 2, 0, {}, {}), Refusal::not_member) << "waiting";
  EXPECT_EQ(w.commit(c, 2, 0, {}, {}), Refusal::not_member) << "unknown";
  w.commit(a, 2, 0, {b}, {});
  w.gone(b);
  EXPECT_EQ(w.commit(b, 2, 1, {}, {}), Refusal::not_member) << "gone";
}

TEST(RoomSequencer, ACommitOfAnotherMembersMakingIsRefused) {
  World w;
  w.join(a);
  w.join(b);
  w.genesis(a);
  w.commit(a, 2, 0, {b}, {});
  EXPECT_EQ(w.commit(a, 2, 1, {}, {}, &b), Refusal::invalid);
}

TEST(RoomSequencer, WhoDidNotAskCannotBeAdded) {
  World w;
  w.join(a);
  w.genesis(a);
  EXPECT_EQ(w.commit(a, 1, 0, {b}, {}), Refusal::unasked_add);
  w.join(b);
  EXPECT_EQ(w.commit(a, 1, 0, {b, b}, {}), Refusal::unasked_add);
  EXPECT_EQ(w.commit(a, 1, 0, {b, c}, {}), Refusal::unasked_add);
  w.gone(b);
  EXPECT_EQ(w.commit(a, 1, 0, {b}, {}), Refusal::unasked_add) << "asked, and left since";
  EXPECT_EQ(w.sequencer.roster().epoch(), 0u);
}

TEST(RoomSequencer, AnAddWithAnotherKeyPackageOfTheSameIncarnationIsRefused) {
  World w;
  w.join(a);
  w.genesis(a);
  Bytes other = key_package(b);
  other.push_back(0); // the gate will see the incarnation's usual one
  w.sequencer.append(*w.sequencer.propose_join(b, other));
  EXPECT_EQ(w.commit(a, 1, 0, {b}, {}), Refusal::unasked_add);
}

TEST(RoomSequencer, WhoDidNotLeaveCannotBeRemoved) {
  World w;
  w.join(a);
  w.join(b);
  w.genesis(a);
  w.commit(a, 2, 0, {b}, {});
  EXPECT_EQ(w.commit(a, 2, 1, {}, {b}), Refusal::unlogged_remove);
  EXPECT_EQ(w.commit(a, 2, 1, {}, {c}), Refusal::unlogged_remove);
  w.gone(b);
  EXPECT_EQ(w.commit(a, 2, 1, {}, {b, b}), Refusal::unlogged_remove);
  EXPECT_EQ(w.commit(a, 2, 1, {}, {b}), std::nullopt);
  EXPECT_EQ(w.commit(a, 2, 2, {}, {b}), Refusal::unlogged_remove) << "removed already";
}

TEST(RoomSequencer, ARefusedProposalChangesNothing) {
  World w;
  w.join(a);
  w.join(b);
  w.genesis(a);
  const auto before = w.sequencer.roster().snapshot();
  EXPECT_TRUE(w.commit(a, 2, 0, {c}, {}).has_value());
  EXPECT_TRUE(w.commit(a, 2, 0, {b}, {a}).has_value());
  EXPECT_EQ(w.sequencer.roster().snapshot(), before);
  EXPECT_EQ(w.commit(a, 2, 0, {b}, {}), std::nullopt) << "the gate too is where it was";
}

TEST(RoomSequencer, GoneIsSaidOnceAndIsFinal) {
  World w;
  w.join(a);
  w.gone(a);
  EXPECT_FALSE(w.sequencer.propose_gone(a, GoneCause::connection_lost).has_value());
  EXPECT_FALSE(w.sequencer.propose_gone(b, GoneCause::connection_lost).has_value());
  w.join(b);
  w.genesis(b);
  w.gone(b);
  EXPECT_FALSE(w.sequencer.propose_gone(b, GoneCause::connection_lost).has_value());
  EXPECT_EQ(w.sequencer.propose_join(b, key_package(b)).error(), RoomSequencer::JoinRefusal::known) << "still in the roster";
}

TEST(RoomSequencer, ARoomHasBounds) {
  World w(RoomLimits{.live = 3, .waiting_bytes = 100});
  w.join(a);
  w.join(b);
  EXPECT_EQ(w.sequencer.propose_join(c, key_package(c)).error(), RoomSequencer::JoinRefusal::full) << "bytes of key packages";
  w.genesis(a);
  w.join(c);
  EXPECT_EQ(w.sequencer.propose_join(d, key_package(d)).error(), RoomSequencer::JoinRefusal::full) << "live incarnations";
  w.gone(b);
  w.join(d);
}

TEST(RoomSequencer, TheRosterAtAnIndexIsThatOfTheLogUpToThere) {
  World w;
  std::vector<signaling::Snapshot> seen;
  const auto note = [&] { seen.push_back(w.sequencer.roster().snapshot()); };
  note();
  w.join(a), note();
  w.join(b), note();
  w.genesis(a), note();
  w.commit(a, 2, 0, {b}, {}), note();
  w.gone(b), note();
  w.commit(a, 2, 1, {}, {b}), note();
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(w.sequencer.roster_at(i).snapshot(), seen[i]) << i;
  w.sequencer.acknowledge(a, 4);
  w.sequencer.trim(4);
  for (std::size_t i = 4; i < seen.size(); ++i) EXPECT_EQ(w.sequencer.roster_at(i).snapshot(), seen[i]) << i;
}

TEST(RoomSequencer, OnlyWhatEveryLiveIncarnationHasProcessedIsTrimmed) {
  World w(RoomLimits{.trim_entries = 2});
  w.join(a);
  w.join(b);
  w.genesis(a);
  w.join(c);
  EXPECT_EQ(w.sequencer.lowest_cursor(), 0u);
  w.sequencer.acknowledge(a, 4);
  EXPECT_EQ(w.sequencer.lowest_cursor(), 1u) << "b is at its join";
  EXPECT_FALSE(w.sequencer.should_trim());
  w.gone(b);
  EXPECT_EQ(w.sequencer.lowest_cursor(), 3u) << "who is gone holds nothing back";
  EXPECT_TRUE(w.sequencer.should_trim());
  const std::size_t bytes = w.sequencer.bytes_between(3, 5);
  w.sequencer.trim(3);
  EXPECT_EQ(w.sequencer.log_start(), 3u);
  EXPECT_EQ(w.sequencer.log_bytes(), bytes);
  EXPECT_EQ(w.sequencer.head(), 5u);
  w.gone(c);
  w.gone(a);
  EXPECT_EQ(w.sequencer.lowest_cursor(), w.sequencer.head());
}

TEST(RoomSequencer, ARecordComesBackFromItsBytes) {
  const Record record{{7, signaling::CommitEntry{2, 3, a, {1, 2}, {3}}}, {b, c}, {d}};
  const Bytes bytes = write_record(record);
  const auto back = parse_record(bytes);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->entry, record.entry);
  EXPECT_EQ(back->added, record.added);
  EXPECT_EQ(back->removed, record.removed);
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(parse_record(ByteView(bytes).first(size)).has_value());
}

TEST(RoomSequencer, ARestoredOneIsTheSame) {
  World w;
  w.join(a);
  w.join(b);
  w.genesis(a);
  w.commit(a, 2, 0, {b}, {});
  w.join(c);
  w.gone(b);
  w.sequencer.acknowledge(a, 3);
  w.sequencer.acknowledge(c, 5);
  w.sequencer.trim(3);
  std::vector<Record> records;
  for (auto i = w.sequencer.log_start(); i < w.sequencer.head(); ++i) records.push_back(w.sequencer.record(i));
  const auto restored = RoomSequencer::restore({}, 3, w.sequencer.roster_at(3), records);
  ASSERT_TRUE(restored.has_value());
  EXPECT_EQ(restored->roster().snapshot(), w.sequencer.roster().snapshot());
  EXPECT_EQ(restored->head(), w.sequencer.head());
  EXPECT_EQ(restored->cursor(a), 3u);
  EXPECT_EQ(restored->cursor(b), std::nullopt);
  EXPECT_EQ(restored->cursor(c), 4u);

  records.erase(records.begin());
  EXPECT_FALSE(RoomSequencer::restore({}, 3, w.sequencer.roster_at(3), records).has_value()) << "a gap";
}

} // namespace
} // namespace satsuma::delivery
