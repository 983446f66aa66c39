#include "delivery/mls_group_gate.h"

#include <gtest/gtest.h>

#include "delivery/memory_store.h"
#include "delivery/mls_members.h"
#include "delivery/service_world.h"

namespace satsuma::delivery {
namespace {

using namespace testing;
using Reason = signaling::Rejected::Reason;

Bytes or_empty(const std::optional<Bytes>& bytes) { return bytes.value_or(Bytes{}); }

class MlsGroupGateTest : public ::testing::Test {
 protected:
  MlsMember a{1}, b{2}, c{3};
  MlsGroupGate gate;

  void found() {
    a.create();
    ASSERT_TRUE(gate.check_genesis(a.group_info()).has_value());
    gate.accept();
  }
  void take(MlsMember& committer, mls::PendingCommit& pending) {
    const auto effect = gate.check_commit(committer.group->epoch(), pending.commit, or_empty(pending.welcome));
    ASSERT_TRUE(effect.has_value()) << effect.error().name();
    gate.accept();
    committer.merge(pending);
  }
};

TEST_F(MlsGroupGateTest, AKeyPackageNamesItsIncarnation) {
  EXPECT_EQ(gate.identify(a.key_package()).value(), a.who);
  EXPECT_NE(a.who, b.who);
}

TEST_F(MlsGroupGateTest, AKeyPackageThatIsNotOneIsRefused) {
  Bytes bytes = a.key_package();
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(gate.identify(ByteView(bytes).first(size)).has_value());
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    Bytes flipped = bytes;
    flipped[i] ^= 1;
    EXPECT_FALSE(gate.identify(flipped).has_value()) << i;
  }
  bytes.push_back(0);
  EXPECT_FALSE(gate.identify(bytes).has_value());
  a.create();
  EXPECT_FALSE(gate.identify(a.group_info()).has_value());
}

TEST_F(MlsGroupGateTest, AGenesisIsAGroupOfOneInEpochZero) {
  a.create();
  EXPECT_EQ(gate.check_genesis(a.group_info()).value(), a.who);
}

TEST_F(MlsGroupGateTest, AGroupThatIsNotNewIsNoGenesis) {
  a.create();
  auto pending = a.commit({});
  a.merge(pending);
  EXPECT_FALSE(gate.check_genesis(a.group_info()).has_value()) << "epoch 1";
  auto add = a.commit({&b});
  a.merge(add);
  EXPECT_FALSE(gate.check_genesis(a.group_info()).has_value()) << "two members";
}

TEST_F(MlsGroupGateTest, AGroupDressedUpAsNewIsNoGenesis) {
  const auto& suite = *mls::find_suite(MlsMember::suite);
  const auto dress = [&](mls::Epoch epoch) {
    auto info = mls::MLSMessage::decode_as<mls::GroupInfo>(a.group_info()).value();
    info.group_context.epoch = epoch;
    info.group_context.confirmed_transcript_hash.clear();
    EXPECT_TRUE(info.sign(suite, a.keys.private_key.view()).has_value());
    return mls::MLSMessage{info}.encode();
  };
  a.create();
  EXPECT_TRUE(gate.check_genesis(dress(0)).has_value()) << "the dressing itself is sound";
  EXPECT_EQ(gate.check_genesis(dress(1)).error(), Error(gate_genesis_invalid));
  auto add = a.commit({&b});
  a.merge(add);
  EXPECT_EQ(gate.check_genesis(dress(0)).error(), Error(gate_genesis_invalid)) << "two members";
}

TEST_F(MlsGroupGateTest, AGenesisWithoutItsTreeOrWithAChangedByteIsRefused) {
  a.create();
  EXPECT_FALSE(gate.check_genesis(a.group->group_info(false).value()).has_value());
  const Bytes bytes = a.group_info();
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    Bytes flipped = bytes;
    flipped[i] ^= 1;
    EXPECT_FALSE(gate.check_genesis(flipped).has_value()) << i;
  }
}

TEST_F(MlsGroupGateTest, AnAddSaysWhomAndWithWhichKeyPackage) {
  found();
  auto pending = a.commit({&b, &c});
  const auto effect = gate.check_commit(0, pending.commit, *pending.welcome);
  ASSERT_TRUE(effect.has_value()) << effect.error().name();
  EXPECT_EQ(effect->committer, a.who);
  ASSERT_EQ(effect->added.size(), 2u);
  EXPECT_EQ(effect->added[0].who, b.who);
  EXPECT_EQ(effect->added[0].key_package, b.key_package());
  EXPECT_EQ(effect->added[1].who, c.who);
  EXPECT_TRUE(effect->removed.empty());
}

TEST_F(MlsGroupGateTest, ARemoveSaysWhom) {
  found();
  auto add = a.commit({&b, &c});
  take(a, add);
  auto remove = a.commit({}, {&b});
  const auto effect = gate.check_commit(1, remove.commit, {});
  ASSERT_TRUE(effect.has_value()) << effect.error().name();
  EXPECT_EQ(effect->removed, std::vector{b.who});
  EXPECT_TRUE(effect->added.empty());
}

TEST_F(MlsGroupGateTest, ItFollowsAGroupOverManyEpochsWithDifferentCommitters) {
  found();
  auto add = a.commit({&b, &c});
  take(a, add);
  b.join(*add.welcome);
  c.join(*add.welcome);
  std::vector<MlsMember*> all{&a, &b, &c};
  for (int round = 0; round < 9; ++round) {
    MlsMember& committer = *all[static_cast<std::size_t>(round) % 3];
    auto pending = committer.commit({});
    take(committer, pending);
    for (MlsMember* other : all) {
      if (other != &committer) other->process(pending.commit);
    }
  }
  EXPECT_EQ(a.group->epoch(), 10u);
}

TEST_F(MlsGroupGateTest, CheckingChangesNothingUntilAccepted) {
  found();
  auto first = a.commit({&b});
  auto second = a.commit({&c});
  ASSERT_TRUE(gate.check_commit(0, first.commit, *first.welcome).has_value());
  gate.discard();
  ASSERT_TRUE(gate.check_commit(0, second.commit, *second.welcome).has_value());
  gate.accept();
  EXPECT_FALSE(gate.check_commit(0, first.commit, *first.welcome).has_value());
}

TEST_F(MlsGroupGateTest, AChangedByteInACommitIsRefused) {
  found();
  auto pending = a.commit({&b});
  // The last 33 bytes are the membership tag and before it stands the confirmation tag: members' business.
  const std::size_t public_part = pending.commit.size() - 33 - 33;
  int accepted = 0;
  for (std::size_t i = 0; i < public_part; ++i) {
    Bytes flipped = pending.commit;
    flipped[i] ^= 1;
    if (gate.check_commit(0, flipped, *pending.welcome).has_value()) ++accepted;
  }
  EXPECT_EQ(accepted, 0);
  for (std::size_t size = 0; size < pending.commit.size(); ++size) {
    EXPECT_FALSE(gate.check_commit(0, ByteView(pending.commit).first(size), *pending.welcome).has_value());
  }
}

TEST_F(MlsGroupGateTest, TheWelcomeIsForThoseWhoAreAddedAndNobodyElse) {
  found();
  auto one = a.commit({&b});
  auto other = a.commit({&c});
  auto both = a.commit({&b, &c});
  auto nobody = a.commit({});
  EXPECT_FALSE(gate.check_commit(0, one.commit, {}).has_value()) << "none";
  EXPECT_FALSE(gate.check_commit(0, one.commit, *other.welcome).has_value()) << "another's";
  EXPECT_FALSE(gate.check_commit(0, one.commit, *both.welcome).has_value()) << "one too many";
  EXPECT_FALSE(gate.check_commit(0, both.commit, *one.welcome).has_value()) << "one too few";
  EXPECT_FALSE(gate.check_commit(0, nobody.commit, *one.welcome).has_value()) << "for nobody";
  EXPECT_FALSE(gate.check_commit(0, one.commit, a.group_info()).has_value()) << "no welcome at all";
  EXPECT_TRUE(gate.check_commit(0, one.commit, *one.welcome).has_value());
}

TEST_F(MlsGroupGateTest, ACommitThatRefersToProposalsIsRefused) {
  found();
  auto add = a.commit({&b});
  take(a, add);
  b.join(*add.welcome);
  ASSERT_TRUE(a.group->propose(mls::Proposal{mls::Add{c.bundle.key_package}}, false, {}, a.random).has_value());
  mls::CommitParams params;
  params.authenticated_data = signaling::write_log_prefix({});
  params.include_cached_proposals = true;
  auto pending = a.group->commit(params, a.random).value();
  EXPECT_FALSE(gate.check_commit(1, pending.commit, or_empty(pending.welcome)).has_value());
}

TEST_F(MlsGroupGateTest, WhatThisProtocolDoesNotUseIsRefused) {
  found();
  mls::PskStore psks;
  psks.add_external(as_bytes("id"), as_bytes("secret"));
  mls::CommitParams with_psk;
  with_psk.authenticated_data = signaling::write_log_prefix({});
  mls::PreSharedKeyId id;
  id.external_id = to_bytes(as_bytes("id"));
  with_psk.psks.push_back(id);
  with_psk.psk_store = &psks;
  EXPECT_EQ(gate.check_commit(0, a.group->commit(with_psk, a.random).value().commit, {}).error(), Error(gate_commit_forbidden));

  mls::CommitParams with_extensions;
  with_extensions.authenticated_data = signaling::write_log_prefix({});
  with_extensions.group_context_extensions = mls::Extensions{};
  const auto changed = gate.check_commit(0, a.group->commit(with_extensions, a.random).value().commit, {});
  EXPECT_FALSE(changed.has_value());

  mls::CommitParams with_data;
  with_data.authenticated_data = Bytes(1, 'x');
  EXPECT_EQ(gate.check_commit(0, a.group->commit(with_data, a.random).value().commit, {}).error(), Error(gate_commit_forbidden));

  EXPECT_EQ(gate.check_commit(0, a.group->commit({}, a.random).value().commit, {}).error(), Error(gate_commit_forbidden)) << "it names no log";

  mls::CommitParams as_private;
  as_private.authenticated_data = signaling::write_log_prefix({});
  as_private.private_message = true;
  EXPECT_FALSE(gate.check_commit(0, a.group->commit(as_private, a.random).value().commit, {}).has_value());
}

/// `pending` with another signature key in the committer's new leaf, everything signed again as RFC 9420 wants it.
Bytes with_signature_key(MlsMember& member, const mls::PendingCommit& pending, const crypto::SignatureKeyPair& keys) {
  const auto& suite = *mls::find_suite(MlsMember::suite);
  auto message = mls::MLSMessage::decode_as<mls::PublicMessage>(pending.commit).value();
  auto& leaf = std::get<mls::Commit>(message.content.content).path->leaf_node;
  leaf.signature_key = keys.public_key;
  EXPECT_TRUE(leaf.sign(suite, keys.private_key.view(), member.group->group_id(), member.group->own_leaf()).has_value());
  auto content = message.authenticated_content();
  EXPECT_TRUE(content.sign(suite, member.keys.private_key.view(), member.group->context()).has_value());
  message.auth = content.auth;
  return mls::MLSMessage{message}.encode();
}

TEST_F(MlsGroupGateTest, ALeafThatChangesItsSignatureKeyIsRefused) {
  found();
  auto pending = a.commit({});
  // Made again with the same key it passes, so it is the key that is refused.
  EXPECT_TRUE(gate.check_commit(0, with_signature_key(a, pending, a.keys), {}).has_value());
  EXPECT_EQ(gate.check_commit(0, with_signature_key(a, pending, c.keys), {}).error(), Error(gate_commit_forbidden));
}

TEST_F(MlsGroupGateTest, ACommitOfAnotherGroupIsRefused) {
  found();
  b.create();
  auto pending = b.commit({});
  EXPECT_FALSE(gate.check_commit(0, pending.commit, {}).has_value());
}

TEST_F(MlsGroupGateTest, AStateThatWasStoredGoesOn) {
  found();
  auto add = a.commit({&b});
  ASSERT_TRUE(gate.check_commit(0, add.commit, *add.welcome).has_value());
  const Bytes state = gate.successor_state();
  a.merge(add);

  MlsGroupGate restored;
  ASSERT_TRUE(restored.restore(state).has_value());
  auto next = a.commit({&c}, {&b});
  const auto effect = restored.check_commit(1, next.commit, *next.welcome);
  ASSERT_TRUE(effect.has_value()) << effect.error().name();
  EXPECT_EQ(effect->removed, std::vector{b.who});
  for (std::size_t size = 0; size < state.size(); size += 7) {
    EXPECT_FALSE(MlsGroupGate().restore(ByteView(state).first(size)).has_value());
  }
}

// ---- the whole service with real MLS

TEST(DeliveryWithMls, ThreeMeetOneLeavesAndTheServerIsRestartedInBetween) {
  MemoryStore store;
  MlsGroupGateFactory gates;
  World w(store, {}, &gates);
  MlsMember a(11), b(12), c(13);

  const auto enter = [&](MlsMember& member, std::uint64_t cursor) {
    const auto id = w.connect();
    w.send(id, World::hello(member.key_package(), cursor));
    return id;
  };
  const auto all_read = [&] { return signaling::LogPrefix{w.room().head(), w.room().roster().snapshot().log_digest}; };
  const auto ca = enter(a, 0);
  EXPECT_EQ(std::get<signaling::JoinEntry>(w.entries(ca)[0].body).who, a.who);
  a.create();
  w.send(ca, signaling::Genesis{a.group_info()});
  EXPECT_EQ(w.room().roster().members(), std::vector{a.who});
  const auto cb = enter(b, 0);

  a.seen = all_read();
  auto add_b = a.commit({&b});
  w.send(ca, signaling::Commit{1, 0, add_b.commit, *add_b.welcome});
  a.merge(add_b);
  b.join(std::get<signaling::CommitEntry>(w.entries(cb).back().body).welcome);
  EXPECT_EQ(to_bytes(a.group->epoch_authenticator()), to_bytes(b.group->epoch_authenticator()));

  w.restart();
  const auto ca2 = enter(a, 4);
  const auto cb2 = enter(b, 4);
  EXPECT_TRUE(w.ready(ca2).resumed);
  const auto cc = enter(c, 0);
  w.send(ca2, signaling::Goodbye{});
  // b takes over: a out, c in, in one commit, verified against the tree out of the store.
  b.seen = all_read();
  auto next = b.commit({&c}, {&a});
  w.send(cb2, signaling::Commit{1, 1, next.commit, *next.welcome});
  EXPECT_EQ(w.rejection(cb2), std::nullopt);
  b.merge(next);
  c.join(std::get<signaling::CommitEntry>(w.entries(cc).back().body).welcome);
  EXPECT_EQ(to_bytes(b.group->epoch_authenticator()), to_bytes(c.group->epoch_authenticator()));
  EXPECT_EQ(w.room().roster().members(), (std::vector{b.who, c.who}));

  // And what must not pass: someone who did not ask, someone who did not leave.
  MlsMember ghost(14);
  b.seen = all_read();
  auto unasked = b.commit({&ghost});
  w.send(cb2, signaling::Commit{1, 2, unasked.commit, *unasked.welcome});
  EXPECT_EQ(w.rejection(cb2), Reason::unasked_add);
  auto unlogged = b.commit({}, {&c});
  w.send(cb2, signaling::Commit{1, 2, unlogged.commit, {}});
  EXPECT_EQ(w.rejection(cb2), Reason::unlogged_remove);
  // c sends a commit that b made.
  auto others = b.commit({});
  w.send(cc, signaling::Commit{1, 2, others.commit, {}});
  EXPECT_EQ(w.rejection(cc), Reason::invalid);
  EXPECT_EQ(w.room().roster().epoch(), 2u);
}

TEST(DeliveryWithMls, ACommitWhoseMakerReadAnotherLogOrTooLittleOfItIsRefused) {
  MemoryStore store;
  MlsGroupGateFactory gates;
  World w(store, {}, &gates);
  MlsMember a(31), b(32), c(33);
  const auto all_read = [&] { return signaling::LogPrefix{w.room().head(), w.room().roster().snapshot().log_digest}; };
  const auto enter = [&](MlsMember& member) {
    const auto id = w.connect();
    w.send(id, World::hello(member.key_package()));
    return id;
  };
  const auto ca = enter(a);
  a.create();
  const auto before = all_read();
  w.send(ca, signaling::Genesis{a.group_info()});
  const auto cb = enter(b);
  const auto cc = enter(c);
  a.seen = all_read();
  auto add = a.commit({&b, &c});
  w.send(ca, signaling::Commit{1, 0, add.commit, *add.welcome});
  ASSERT_EQ(w.rejection(ca), std::nullopt);
  a.merge(add);

  const auto refused = [&] {
    w.lines[ca].received.clear();
    w.send(ca, signaling::Commit{1, 1, a.commit({}).commit, {}});
    return w.rejection(ca) == Reason::invalid;
  };
  a.seen = all_read();
  a.seen.digest[31] ^= 1;
  EXPECT_TRUE(refused()) << "another log";
  a.seen = before;
  EXPECT_TRUE(refused()) << "the log before this epoch";
  a.seen = all_read();
  ++a.seen.index;
  EXPECT_TRUE(refused()) << "more than there is";

  // And who knew that somebody left must take him out.
  a.seen = all_read();
  w.send(cb, signaling::Goodbye{});
  const auto early = a.seen;
  a.seen = all_read();
  EXPECT_TRUE(refused()) << "b is passed over";
  a.seen = early;
  EXPECT_FALSE(refused()) << "its departure crossed with the commit";
  static_cast<void>(cc);
}

TEST(DeliveryWithMls, AnAddWithAKeyPackageThatWasNotTheOneAskedWithIsRefused) {
  MemoryStore store;
  MlsGroupGateFactory gates;
  World w(store, {}, &gates);
  MlsMember a(21), b(22);
  const auto ca = w.connect();
  w.send(ca, World::hello(a.key_package()));
  a.create();
  w.send(ca, signaling::Genesis{a.group_info()});
  const auto cb = w.connect();
  w.send(cb, World::hello(b.key_package()));
  a.seen = {w.room().head(), w.room().roster().snapshot().log_digest};
  b.bundle = b.make_bundle(); // same signature key, other keys
  auto pending = a.commit({&b});
  w.send(ca, signaling::Commit{1, 0, pending.commit, *pending.welcome});
  EXPECT_EQ(w.rejection(ca), Reason::unasked_add);
}

} // namespace
} // namespace satsuma::delivery
