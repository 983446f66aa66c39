#include "mls/group/group.h"

#include <gtest/gtest.h>

#include "world.h"

namespace satsuma::mls {
namespace {

class EverySuite : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Suites, EverySuite, testing::Range(1, 8));

TEST_P(EverySuite, MembersAgreeThroughAddsUpdatesAndRemoves) {
  World world(static_cast<CipherSuite>(GetParam()));
  world.create("a");
  world.commit("a", {"b"}, {});
  world.commit("b", {"c", "d", "e"}, {});
  world.commit("c", {}, {});
  world.commit("d", {"f"}, {"a", "c"});
  world.commit("f", {}, {"d"});
  world.commit("e", {"g", "h"}, {}, false);
  world.commit("g", {}, {});
  EXPECT_EQ(5u, world.members().size());
}

TEST(Group, KeepsAgreeingThroughRandomOperations) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    World world(CipherSuite{3}, seed);
    world.create("p0");
    int next = 1;
    for (int step = 0; step < 60; ++step) {
      std::vector<std::string> names;
      for (const auto& [name, group] : world.members()) names.push_back(name);
      const std::string committer = names[world.random().below(names.size())];
      std::vector<std::string> add;
      std::vector<std::string> remove;
      for (std::size_t i = world.random().below(4); i > 0 && names.size() < 24; --i) add.push_back("p" + std::to_string(next++));
      for (const std::string& name : names) {
        if (name != committer && world.random().below(8) == 0) remove.push_back(name);
      }
      world.commit(committer, add, remove, world.random().below(3) != 0);
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(Group, EffectsNameWhoIsAddedRemovedAndUpdated) {
  World world;
  world.create("a");
  world.commit("a", {"b", "c"}, {});
  CommitParams params;
  const KeyPackageBundle d = world.new_person("d");
  params.add.push_back(d.key_package);
  params.remove.push_back(world.at("c").own_leaf());
  const PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  const StagedCommit staged = VALUE(world.at("b").stage(pending.commit));
  const CommitEffects& effects = staged.effects();
  EXPECT_EQ(world.at("a").own_leaf(), effects.committer);
  ASSERT_EQ(1u, effects.added.size());
  EXPECT_EQ(d.key_package, effects.added[0].key_package);
  EXPECT_EQ(LeafIndex{2}, effects.added[0].leaf); // the place that the removal made free
  ASSERT_EQ(1u, effects.removed.size());
  EXPECT_EQ("c", as_text(effects.removed[0].credential.identity));
  ASSERT_EQ(1u, effects.updated.size());
  EXPECT_EQ(effects.updated[0].before.signature_key, effects.updated[0].after.signature_key);
  EXPECT_NE(effects.updated[0].before.encryption_key, effects.updated[0].after.encryption_key);
  EXPECT_TRUE(effects.all_proposals_by_value);
  EXPECT_EQ(3u, staged.next_members().size());
}

// --- Rejections

/// Three members, and a commit of a's that b has not seen.
class Rejection : public testing::Test {
 protected:
  Rejection() {
    world.create("a");
    world.commit("a", {"b", "c"}, {});
    world.commit("b", {}, {});
    CommitParams params;
    params.add.push_back(world.new_person("d").key_package);
    params.authenticated_data = {1, 2, 3};
    pending.emplace(VALUE(world.at("a").commit(params, world.random())));
  }

  /// Signs and tags what a member could send who breaks the rules.
  Bytes forge(const std::string& member, Commit commit) {
    Group& group = world.at(member);
    AuthenticatedContent content;
    content.content = {to_bytes(group.group_id()), group.epoch(), {SenderType::member, group.own_leaf().value}, {}, std::move(commit)};
    content.auth.confirmation_tag = Bytes(32, 1);
    const SuiteParameters& suite = group.tree().suite();
    EXPECT_TRUE(content.sign(suite, world.signature_key(member), group.context()));
    return MLSMessage{PublicMessage{content.content, content.auth, {}}}.encode();
  }

  /// What the follower says of it: members would ask for the membership tag first.
  std::string follower_error(const Bytes& message) {
    return error_name(world.follower().verify(VALUE(MLSMessage::decode_as<PublicMessage>(message))));
  }

  World world;
  std::optional<PendingCommit> pending;
};

TEST_F(Rejection, ACommitWithAnyBitFlippedIsRefusedAndChangesNothing) {
  Group& b = world.at("b");
  const Bytes before = to_bytes(b.epoch_authenticator());
  for (std::size_t i = 0; i < pending->commit.size(); ++i) {
    Bytes tampered = pending->commit;
    tampered[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    EXPECT_FALSE(b.stage(tampered)) << "byte " << i;
  }
  EXPECT_EQ(before, to_bytes(b.epoch_authenticator()));
  StagedCommit staged = VALUE(b.stage(pending->commit));
  EXPECT_TRUE(b.merge(std::move(staged)));
}

TEST_F(Rejection, ACommitTruncatedAtAnyLengthIsRefused) {
  for (std::size_t size = 0; size < pending->commit.size(); ++size) {
    EXPECT_FALSE(world.at("b").stage(ByteView(pending->commit).first(size))) << size;
  }
}

TEST_F(Rejection, TrailingBytesAreRefused) {
  Bytes longer = pending->commit;
  longer.push_back(0);
  EXPECT_ERROR(bytes_trailing, world.at("b").stage(longer));
}

TEST_F(Rejection, AMembershipTagOfAnotherLengthIsRefused) {
  PublicMessage message = VALUE(MLSMessage::decode_as<PublicMessage>(pending->commit));
  for (const std::size_t size : {0u, 1u, 31u, 33u}) {
    PublicMessage changed = message;
    changed.membership_tag.resize(size);
    EXPECT_ERROR(mls_membership_tag_mismatch, world.at("b").verify(changed)) << size;
  }
}

TEST_F(Rejection, ACommitOfAPastOrFutureEpochIsRefused) {
  const Bytes old = pending->commit;
  world.deliver("a", *pending);
  EXPECT_ERROR(mls_epoch_mismatch, world.at("b").stage(old));
  EXPECT_ERROR(mls_epoch_mismatch, world.follower().verify(VALUE(MLSMessage::decode_as<PublicMessage>(old))));
  CommitParams params;
  PendingCommit later = VALUE(world.at("a").commit(params, world.random()));
  const Bytes skipped = later.commit;
  StagedCommit ahead = std::move(later.staged);
  EXPECT_TRUE(world.at("a").merge(std::move(ahead)));
  PendingCommit future = VALUE(world.at("a").commit(params, world.random()));
  EXPECT_ERROR(mls_epoch_mismatch, world.at("b").stage(future.commit));
  EXPECT_TRUE(world.at("b").stage(skipped));
}

TEST_F(Rejection, OnesOwnCommitIsRecognisedAndItsPendingStateMerges) {
  EXPECT_ERROR(mls_own_message, world.at("a").stage(pending->commit));
  EXPECT_TRUE(world.at("a").merge(std::move(pending->staged)));
}

TEST_F(Rejection, AStagedCommitIsStaleOnceAnotherWasMerged) {
  Group& b = world.at("b");
  PendingCommit own = VALUE(b.commit({}, world.random()));
  StagedCommit first = VALUE(b.stage(pending->commit));
  EXPECT_TRUE(b.merge(std::move(first)));
  EXPECT_ERROR(mls_stale_stage, b.merge(std::move(own.staged)));
}

TEST_F(Rejection, AGroupOfTheSameNameDoesNotMergeAnothersStage) {
  World other(CipherSuite{3}, 99);
  other.create("a");
  PendingCommit foreign = VALUE(other.at("a").commit({}, other.random()));
  EXPECT_ERROR(mls_stale_stage, world.at("a").merge(std::move(foreign.staged)));
}

TEST_F(Rejection, ACommitOfSomeoneWhoWasRemovedIsRefused) {
  CommitParams params;
  PendingCommit by_c = VALUE(world.at("c").commit(params, world.random()));
  world.commit("a", {}, {"c"});
  PublicMessage message = VALUE(MLSMessage::decode_as<PublicMessage>(by_c.commit));
  message.content.epoch += 1;
  EXPECT_ERROR(mls_sender_invalid, world.follower().verify(message));
  EXPECT_FALSE(world.at("b").verify(message));
}

TEST_F(Rejection, ACommitSignedByAnOutsiderIsRefused) {
  const KeyPackageBundle outsider = world.new_person("mallory");
  Group& a = world.at("a");
  AuthenticatedContent content;
  content.content = {to_bytes(a.group_id()), a.epoch(), {SenderType::member, 0}, {}, Commit{{{Proposal{Remove{LeafIndex{1}}}}}, std::nullopt}};
  content.auth.confirmation_tag = Bytes(32, 1);
  ASSERT_TRUE(content.sign(a.tree().suite(), outsider.signature_private_key.view(), a.context()));
  const PublicMessage message{content.content, content.auth, {}};
  EXPECT_ERROR(crypto::signature_invalid, world.follower().verify(message));
  EXPECT_ERROR(mls_membership_tag_mismatch, world.at("b").verify(message));
}

TEST_F(Rejection, NobodyRemovesThemselves) {
  CommitParams params;
  params.remove.push_back(world.at("a").own_leaf());
  EXPECT_ERROR(mls_cannot_remove_self, world.at("a").commit(params, world.random()));
  EXPECT_EQ("mls_commit_removes_committer", follower_error(forge("a", Commit{{{Proposal{Remove{world.at("a").own_leaf()}}}}, std::nullopt})));
}

TEST_F(Rejection, ARemovalOrAnEmptyCommitWithoutAPathIsRefused) {
  EXPECT_EQ("mls_path_required", follower_error(forge("a", Commit{{{Proposal{Remove{LeafIndex{1}}}}}, std::nullopt})));
  EXPECT_EQ("mls_path_required", follower_error(forge("a", Commit{})));
  EXPECT_EQ("mls_path_required", follower_error(forge("a", Commit{{{Proposal{GroupContextExtensions{}}}}, std::nullopt})));
}

TEST_F(Rejection, ProposalListsThatTheRfcForbidsAreRefused) {
  const auto list = [](std::vector<Proposal> proposals) {
    Commit commit;
    for (Proposal& proposal : proposals) commit.proposals.push_back({std::move(proposal)});
    return commit;
  };
  const Proposal remove_b{Remove{LeafIndex{1}}};
  EXPECT_EQ("mls_leaf_changed_twice", follower_error(forge("a", list({remove_b, remove_b}))));
  EXPECT_EQ("mls_leaf_unknown", follower_error(forge("a", list({Proposal{Remove{LeafIndex{3}}}}))));
  EXPECT_EQ("mls_leaf_unknown", follower_error(forge("a", list({Proposal{Remove{LeafIndex{70000}}}}))));
  EXPECT_EQ("mls_group_context_extensions_duplicate", follower_error(forge("a", list({Proposal{GroupContextExtensions{}}, Proposal{GroupContextExtensions{}}}))));
  EXPECT_EQ("mls_external_init_in_member_commit", follower_error(forge("a", list({Proposal{ExternalInit{}}}))));
  EXPECT_EQ("mls_reinit_not_alone", follower_error(forge("a", list({Proposal{ReInit{{}, 1, CipherSuite{3}, {}}}, remove_b}))));
  EXPECT_EQ("mls_update_by_committer", follower_error(forge("a", list({Proposal{Update{*world.at("a").tree().leaf({0})}}}))));
  PreSharedKeyId psk;
  psk.nonce = Bytes(31);
  EXPECT_EQ("mls_psk_nonce_invalid", follower_error(forge("a", list({Proposal{PreSharedKey{psk}}}))));
  psk.nonce = Bytes(32);
  EXPECT_EQ("mls_psk_duplicate", follower_error(forge("a", list({Proposal{PreSharedKey{psk}}, Proposal{PreSharedKey{psk}}}))));
  Commit unknown;
  unknown.proposals.push_back({ProposalOrRef::Reference{Bytes(32, 9)}});
  EXPECT_EQ("mls_proposal_reference_unknown", follower_error(forge("a", unknown)));
}

TEST_F(Rejection, ASecondLeafWithAKeyThatIsThereIsRefused) {
  CommitParams twice;
  const KeyPackageBundle d = world.new_person("d");
  twice.add = {d.key_package, d.key_package};
  EXPECT_ERROR(mls_leaf_key_duplicate, world.at("a").commit(twice, world.random()));

  // Somebody's signature key in a new package.
  const crypto::SignatureKeyPair keys{world.at("b").tree().leaf(world.at("b").own_leaf())->signature_key, SecretBytes::copy_of(world.signature_key("b"))};
  KeyPackageParams params;
  params.credential = Credential::basic(as_bytes("b again"));
  CommitParams again;
  again.add.push_back(VALUE(generate_key_package(params, keys, world.random())).key_package);
  EXPECT_ERROR(mls_leaf_key_duplicate, world.at("a").commit(again, world.random()));
  // In the commit that removes the old leaf it is allowed.
  again.remove.push_back(world.at("b").own_leaf());
  EXPECT_TRUE(world.at("a").commit(again, world.random()));
}

TEST_F(Rejection, APathThatReusesAKeyOrLiesAboutItsParentsIsRefused) {
  const PublicMessage message = VALUE(MLSMessage::decode_as<PublicMessage>(VALUE(world.at("a").commit({}, world.random())).commit));
  const Commit commit = *std::get_if<Commit>(&message.content.content);
  const SuiteParameters& suite = world.at("a").tree().suite();
  const auto resigned = [&](Commit changed) {
    EXPECT_TRUE(changed.path->leaf_node.sign(suite, world.signature_key("a"), world.at("a").group_id(), LeafIndex{0}));
    return follower_error(forge("a", std::move(changed)));
  };
  EXPECT_EQ("none", resigned(commit));

  Commit changed = commit;
  changed.path->leaf_node.encryption_key = world.at("b").tree().leaf({0})->encryption_key;
  EXPECT_EQ("mls_leaf_key_duplicate", resigned(changed));
  changed = commit;
  changed.path->leaf_node.parent_hash[0] ^= 1;
  EXPECT_EQ("mls_parent_hash_invalid", resigned(changed));
  changed = commit;
  changed.path->leaf_node.source = LeafNodeSource::update;
  EXPECT_EQ("mls_leaf_source_wrong", resigned(changed));
  changed = commit;
  changed.path->nodes.pop_back();
  EXPECT_EQ("mls_path_malformed", resigned(changed));
  changed = commit;
  changed.path->nodes.back().encrypted_path_secret.pop_back();
  EXPECT_EQ("mls_path_malformed", resigned(changed));
  changed = commit;
  changed.path->nodes.back().encryption_key = changed.path->nodes.front().encryption_key;
  if (changed.path->nodes.size() > 1) {
    EXPECT_EQ("mls_leaf_key_duplicate", resigned(changed));
  }
  changed = commit;
  changed.path->leaf_node.signature[3] ^= 1;
  EXPECT_EQ("signature_invalid", follower_error(forge("a", changed)));
}

// --- Being removed, and being welcomed

TEST(Group, WhoIsRemovedSeesItAndCanDoNothingMore) {
  World world;
  world.create("a");
  world.commit("a", {"b", "c"}, {});
  CommitParams params;
  params.remove.push_back(world.at("c").own_leaf());
  PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  Group& c = world.at("c");
  StagedCommit staged = VALUE(c.stage(pending.commit));
  EXPECT_TRUE(staged.removes_self());
  EXPECT_TRUE(c.merge(std::move(staged)));
  EXPECT_FALSE(c.active());
  EXPECT_ERROR(mls_group_inactive, c.commit({}, world.random()));
  EXPECT_ERROR(mls_group_inactive, c.protect_application(as_bytes("still here"), {}, world.random()));
  StagedCommit merged = std::move(pending.staged);
  EXPECT_TRUE(world.at("a").merge(std::move(merged)));
  const Bytes secret_talk = VALUE(world.at("a").protect_application(as_bytes("without c"), {}, world.random()));
  EXPECT_ERROR(mls_epoch_mismatch, c.unprotect_application(secret_talk));
}

class Welcoming : public testing::Test {
 protected:
  Welcoming() : d(world.new_person("d")) {
    world.create("a");
    world.commit("a", {"b", "c"}, {});
    CommitParams params;
    params.add.push_back(d.key_package);
    pending.emplace(VALUE(world.at("b").commit(params, world.random())));
    welcome = VALUE(MLSMessage::decode_as<Welcome>(*pending->welcome));
  }

  World world;
  KeyPackageBundle d;
  std::optional<PendingCommit> pending;
  Welcome welcome;
};

TEST_F(Welcoming, OnlyTheOneWhoWasAddedCanJoin) {
  EXPECT_TRUE(Group::join(welcome, d));
  EXPECT_ERROR(mls_welcome_not_for_us, Group::join(welcome, world.new_person("e")));
  KeyPackageBundle wrong_key = d.clone();
  wrong_key.init_private_key.mutable_view()[5] ^= 1;
  EXPECT_ERROR(mls_decryption_failed, Group::join(welcome, wrong_key));
}

TEST_F(Welcoming, AWelcomeWithAnyBitFlippedOrCutIsRefused) {
  const Bytes& bytes = *pending->welcome;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    Bytes tampered = bytes;
    tampered[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    const auto parsed = MLSMessage::decode_as<Welcome>(tampered);
    if (parsed) {
      EXPECT_FALSE(Group::join(*parsed, d)) << "byte " << i;
    }
    EXPECT_FALSE(MLSMessage::decode(ByteView(bytes).first(i)));
  }
}

TEST_F(Welcoming, TheTreeMayComeBesideTheWelcome) {
  CommitParams params;
  params.add.push_back(d.key_package);
  params.ratchet_tree_in_welcome = false;
  PendingCommit bare = VALUE(world.at("b").commit(params, world.random()));
  const Welcome without = VALUE(MLSMessage::decode_as<Welcome>(*bare.welcome));
  EXPECT_ERROR(mls_ratchet_tree_missing, Group::join(without, d));
  JoinParams join;
  join.ratchet_tree = world.at("b").tree().serialise();
  EXPECT_ERROR(mls_tree_hash_mismatch, Group::join(without, d, join)); // the tree before the commit
  StagedCommit staged = std::move(bare.staged);
  EXPECT_TRUE(world.at("b").merge(std::move(staged)));
  join.ratchet_tree = world.at("b").tree().serialise();
  Group joined = VALUE(Group::join(without, d, join));
  EXPECT_TRUE(equal(world.at("b").epoch_authenticator(), joined.epoch_authenticator()));
}

// --- Proposals by reference, PSKs

TEST(Group, ProposalsByReferenceAreCommittedByAnother) {
  World world;
  world.create("a");
  world.commit("a", {"b", "c"}, {});
  for (const bool as_private : {false, true}) {
    const KeyPackageBundle d = world.new_person("d");
    const Bytes proposal = VALUE(world.at("a").propose(Proposal{Add{d.key_package}}, as_private, {}, world.random()));
    const MLSMessage message = VALUE(MLSMessage::decode(proposal));
    for (const std::string name : {"b", "c"}) {
      Group& group = world.at(name);
      const VerifiedMessage verified = as_private ? VALUE(group.unprotect(*message.as<PrivateMessage>())) : VALUE(group.verify(*message.as<PublicMessage>()));
      EXPECT_TRUE(group.cache_proposal(verified));
    }
    CommitParams params;
    params.include_cached_proposals = true;
    PendingCommit pending = VALUE(world.at("b").commit(params, world.random()));
    StagedCommit at_a = VALUE(world.at("a").stage(pending.commit));
    StagedCommit at_c = VALUE(world.at("c").stage(pending.commit));
    EXPECT_FALSE(at_a.effects().all_proposals_by_value);
    ASSERT_EQ(1u, at_a.effects().added.size());
    Group joined = VALUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), d));
    EXPECT_TRUE(world.at("a").merge(std::move(at_a)));
    EXPECT_TRUE(world.at("b").merge(std::move(pending.staged)));
    EXPECT_TRUE(world.at("c").merge(std::move(at_c)));
    EXPECT_TRUE(equal(joined.epoch_authenticator(), world.at("c").epoch_authenticator()));
  }
}

TEST(Group, APreSharedKeyThatOneSideLacksOrHasWrongStopsIt) {
  World world;
  world.create("a");
  world.commit("a", {"b"}, {});
  PskStore good;
  good.add_external(as_bytes("id"), as_bytes("value"));
  PskStore wrong;
  wrong.add_external(as_bytes("id"), as_bytes("other"));
  CommitParams params;
  PreSharedKeyId id;
  id.external_id = to_bytes(as_bytes("id"));
  params.psks.push_back(id);
  EXPECT_ERROR(mls_psk_unknown, world.at("a").commit(params, world.random()));
  params.psk_store = &good;
  PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  EXPECT_ERROR(mls_psk_unknown, world.at("b").stage(pending.commit));
  EXPECT_ERROR(mls_confirmation_tag_mismatch, world.at("b").stage(pending.commit, &wrong));
  StagedCommit staged = VALUE(world.at("b").stage(pending.commit, &good));
  EXPECT_TRUE(world.at("b").merge(std::move(staged)));
  EXPECT_TRUE(world.at("a").merge(std::move(pending.staged)));
  EXPECT_TRUE(equal(world.at("a").epoch_authenticator(), world.at("b").epoch_authenticator()));
}

TEST(Group, ACommitMayTravelAsAPrivateMessage) {
  World world;
  world.create("a");
  world.commit("a", {"b"}, {});
  CommitParams params;
  params.private_message = true;
  PendingCommit first = VALUE(world.at("a").commit(params, world.random()));
  PendingCommit second = VALUE(world.at("a").commit(params, world.random()));
  Group& b = world.at("b");
  const VerifiedMessage verified = VALUE(b.unprotect(VALUE(MLSMessage::decode_as<PrivateMessage>(second.commit))));
  StagedCommit staged = VALUE(b.stage(verified));
  EXPECT_TRUE(b.merge(std::move(staged)));
  EXPECT_TRUE(world.at("a").merge(std::move(second.staged)));
  EXPECT_TRUE(equal(world.at("a").epoch_authenticator(), b.epoch_authenticator()));
}

// --- Application messages

class Talking : public testing::Test {
 protected:
  Talking() {
    world.create("a");
    world.commit("a", {"b", "c"}, {});
  }
  Bytes say(const std::string& who, const std::string& text) {
    return VALUE(world.at(who).protect_application(as_bytes(text), as_bytes("aad"), world.random()));
  }
  std::string hear(const std::string& who, const Bytes& message) {
    const auto received = world.at(who).unprotect_application(message);
    return received ? std::string(as_text(received->plaintext.view())) : std::string(received.error().name());
  }

  World world;
};

TEST_F(Talking, EveryoneElseReadsItAndKnowsWhoSaidIt) {
  const Bytes message = say("b", "hello");
  const ReceivedApplication received = VALUE(world.at("a").unprotect_application(message));
  EXPECT_EQ(world.at("b").own_leaf(), received.sender);
  EXPECT_EQ("aad", as_text(received.authenticated_data));
  EXPECT_EQ("hello", as_text(received.plaintext.view()));
  EXPECT_EQ("hello", hear("c", message));
  EXPECT_EQ("mls_own_message", hear("b", message));
}

TEST_F(Talking, WhatAMemberSignsOutsideOfMlsHoldsForItsLeafItsLabelAndItsContentAlone) {
  const Group& b = world.at("b");
  const Bytes signature = VALUE(b.sign("something of ours", as_bytes("content")));
  EXPECT_TRUE(world.at("a").verify_signature(b.own_leaf(), "something of ours", as_bytes("content"), signature));
  EXPECT_FALSE(world.at("a").verify_signature(world.at("c").own_leaf(), "something of ours", as_bytes("content"), signature));
  EXPECT_FALSE(world.at("a").verify_signature(b.own_leaf(), "something else", as_bytes("content"), signature));
  EXPECT_FALSE(world.at("a").verify_signature(b.own_leaf(), "something of ours", as_bytes("contents"), signature));
  EXPECT_ERROR(mls_sender_invalid, world.at("a").verify_signature({9}, "something of ours", as_bytes("content"), signature));
}

TEST_F(Talking, MessagesMayComeInAnyOrderButOnlyOnce) {
  std::vector<Bytes> messages;
  for (int i = 0; i < 10; ++i) messages.push_back(say("a", std::to_string(i)));
  for (int i = 9; i >= 0; --i) EXPECT_EQ(std::to_string(i), hear("b", messages[static_cast<std::size_t>(i)]));
  for (const Bytes& message : messages) EXPECT_EQ("mls_generation_consumed", hear("b", message));
}

TEST_F(Talking, ATamperedMessageFailsAndTheRealOneStillOpens) {
  const Bytes message = say("a", "the real one");
  for (std::size_t i = 0; i < message.size(); ++i) {
    Bytes tampered = message;
    tampered[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    EXPECT_FALSE(world.at("b").unprotect_application(tampered)) << "byte " << i;
    EXPECT_FALSE(world.at("b").unprotect_application(ByteView(message).first(i))) << i;
  }
  EXPECT_EQ("the real one", hear("b", message));
}

TEST_F(Talking, AMessageThatACommitOvertookStillOpensUnderItsOwnTree) {
  const Bytes from_c = say("c", "before I went");
  const Bytes from_b = say("b", "late");
  world.commit("a", {"d"}, {"c"}); // d sits where c sat
  EXPECT_EQ("before I went", hear("a", from_c));
  EXPECT_EQ("late", hear("a", from_b));
  EXPECT_EQ("mls_generation_consumed", hear("a", from_b));
  const Bytes too_old = say("b", "x");
  world.commit("a", {}, {});
  world.commit("b", {}, {});
  world.commit("a", {}, {});
  EXPECT_EQ("mls_epoch_mismatch", hear("a", too_old));
}

TEST_F(Talking, PaddingHidesTheLength) { EXPECT_EQ(say("a", "x").size(), say("a", "a longer line than the other").size()); }

// --- The follower

TEST(PublicGroup, RefusesAGroupInfoWhoseTreeWasChanged) {
  World world;
  world.create("a");
  world.commit("a", {"b", "c", "d"}, {});
  world.commit("b", {}, {});
  const GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(world.at("a").group_info())));
  EXPECT_TRUE(PublicGroup::from_group_info(info));

  GroupInfo unsigned_change = info;
  unsigned_change.confirmation_tag[0] ^= 1;
  EXPECT_ERROR(crypto::signature_invalid, PublicGroup::from_group_info(unsigned_change));
  GroupInfo without_tree = info;
  without_tree.extensions.clear();
  EXPECT_ERROR(mls_ratchet_tree_missing, PublicGroup::from_group_info(without_tree));
  for (std::size_t i = 0; i < info.extensions[0].data.size(); ++i) {
    GroupInfo changed = info;
    changed.extensions[0].data[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    ASSERT_TRUE(changed.sign(world.at("a").tree().suite(), world.signature_key("a")));
    EXPECT_FALSE(PublicGroup::from_group_info(changed)) << "byte " << i;
  }
}

TEST(PublicGroup, RefusesATreeWithAFalseParentHashEvenIfItsTreeHashIsRight) {
  World world;
  world.create("a");
  world.commit("a", {"b", "c", "d"}, {});
  world.commit("b", {}, {});
  GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(world.at("a").group_info())));
  const SuiteParameters& suite = world.at("a").tree().suite();
  RatchetTree tree = world.at("a").tree();
  // A parent that nobody's leaf has signed: the mark of a tree in which a server planted a key.
  const crypto::KemKeyPair planted = crypto::kem_generate_key_pair(suite.kem, world.random());
  std::vector<Bytes> keys;
  for (std::size_t i = 0; i < tree.filtered_direct_path({2}).size(); ++i) keys.push_back(crypto::kem_generate_key_pair(suite.kem, world.random()).public_key);
  ASSERT_TRUE(tree.apply_path({2}, keys));
  info.extensions[0].data = tree.serialise();
  info.group_context.tree_hash = to_bytes(tree.tree_hash().view());
  ASSERT_TRUE(info.sign(suite, world.signature_key("a")));
  EXPECT_ERROR(mls_parent_hash_invalid, PublicGroup::from_group_info(info));
}

TEST(PublicGroup, KeepsItsStateInBytes) {
  World world;
  world.create("a");
  world.commit("a", {"b", "c"}, {});
  const PublicGroup stored = VALUE(PublicGroup::deserialise(world.follower().serialise()));
  EXPECT_EQ(world.follower().serialise(), stored.serialise());
  EXPECT_EQ(3u, stored.members().size());
  EXPECT_EQ(LeafIndex{1}, stored.find(world.at("b").tree().leaf({1})->signature_key));
  EXPECT_EQ(std::nullopt, stored.find(Bytes(32)));
  const Bytes bytes = stored.serialise();
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(PublicGroup::deserialise(ByteView(bytes).first(size)));
}

TEST(PublicGroup, AVerifiedCommitIsStaleAfterAnother) {
  World world;
  world.create("a");
  world.commit("a", {"b"}, {});
  const auto message = [&](const std::string& name) {
    return VALUE(MLSMessage::decode_as<PublicMessage>(VALUE(world.at(name).commit({}, world.random())).commit));
  };
  StagedPublicCommit first = VALUE(world.follower().verify(message("a")));
  StagedPublicCommit second = VALUE(world.follower().verify(message("b")));
  EXPECT_TRUE(world.follower().apply(std::move(first)));
  EXPECT_ERROR(mls_stale_stage, world.follower().apply(std::move(second)));
}

} // namespace
} // namespace satsuma::mls
