// Every kind of proposal, by value and by reference, from members and from outside (RFC 9420 s.12.1, s.12.2).
#include <gtest/gtest.h>

#include "mls/group/external_proposal.h"
#include "world.h"

namespace satsuma::mls {
namespace {

class Proposals : public testing::Test {
 protected:
  Proposals() {
    world.create("a");
    world.commit("a", {"b", "c", "d"}, {});
    world.commit("c", {}, {});
  }

  Group& at(const std::string& name) { return world.at(name); }
  LeafIndex leaf(const std::string& name) { return at(name).own_leaf(); }

  /// Everyone but `sender` hears a proposal, and so does the follower where it may.
  void hear(const std::string& sender, const Bytes& message) {
    const MLSMessage parsed = VALUE(MLSMessage::decode(message));
    if (const auto* open = parsed.as<PublicMessage>()) {
      EXPECT_TRUE(world.follower().handle_proposal(*open));
    } else {
      follower_lost = true;
    }
    for (auto& [name, group] : world.members()) {
      if (name == sender) continue;
      const auto* sealed = parsed.as<PrivateMessage>();
      const VerifiedMessage verified = sealed != nullptr ? VALUE(group.unprotect(*sealed)) : VALUE(group.verify(*parsed.as<PublicMessage>()));
      EXPECT_TRUE(group.cache_proposal(verified)) << name;
    }
  }

  void propose(const std::string& who, const Proposal& proposal) { hear(who, VALUE(at(who).propose(proposal, closed, as_bytes("aad"), world.random()))); }
  void propose_update(const std::string& who, const LeafChanges& changes = {}) {
    hear(who, VALUE(at(who).propose_update(changes, closed, {}, world.random())));
  }

  /// `who` commits all that is cached. Everyone merges, and whoever is welcome joins.
  CommitEffects commit_cached(const std::string& who, CommitParams params = {}, const PskStore* psks = nullptr) {
    params.include_cached_proposals = true;
    params.private_message = closed;
    params.psk_store = psks;
    PendingCommit pending = VALUE(at(who).commit(params, world.random()));
    const CommitEffects effects = pending.staged.effects();
    const MLSMessage message = VALUE(MLSMessage::decode(pending.commit));
    std::vector<std::string> gone;
    for (auto& [name, group] : world.members()) {
      if (name == who) continue;
      StageParams stage(psks);
      const VerifiedMessage verified = closed ? VALUE(group.unprotect(*message.as<PrivateMessage>())) : VALUE(group.verify(*message.as<PublicMessage>()));
      StagedCommit staged = VALUE(group.stage(verified, stage));
      if (staged.removes_self()) gone.push_back(name);
      EXPECT_TRUE(group.merge(std::move(staged)));
    }
    EXPECT_TRUE(at(who).merge(std::move(pending.staged)));
    for (const std::string& name : gone) world.members().erase(name);
    for (const AddedMember& added : effects.added) {
      const std::string name(as_text(added.key_package.leaf_node.credential.identity));
      world.members().emplace(name, VALUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), people.at(name))));
    }
    if (!closed && !follower_lost) {
      StagedPublicCommit followed = VALUE(world.follower().verify(*message.as<PublicMessage>()));
      EXPECT_TRUE(world.follower().apply(std::move(followed)));
      world.expect_agreement();
    } else {
      follower_lost = true;
      expect_authenticators();
    }
    return effects;
  }

  void expect_authenticators() {
    for (auto& [name, group] : world.members()) EXPECT_TRUE(equal(group.epoch_authenticator(), world.members().begin()->second.epoch_authenticator())) << name;
  }

  const KeyPackage& person(const std::string& name) {
    people.emplace(name, world.new_person(name));
    return people.at(name).key_package;
  }

  World world;
  std::map<std::string, KeyPackageBundle> people;
  bool closed = false;
  bool follower_lost = false;
};

TEST_F(Proposals, AnUpdateIsCommittedByAnotherAndItsSenderFollowsWithTheNewKey) {
  for (const bool as_private : {false, true}) {
    closed = as_private;
    const Bytes before = at("b").tree().leaf(leaf("b"))->encryption_key;
    propose_update("b");
    const CommitEffects effects = commit_cached("d");
    ASSERT_FALSE(effects.updated.empty());
    EXPECT_EQ(leaf("b"), effects.updated[0].leaf);
    EXPECT_NE(before, at("b").tree().leaf(leaf("b"))->encryption_key);
    EXPECT_EQ(LeafNodeSource::update, at("a").tree().leaf(leaf("b"))->source);
    // And goes on: the new key opens the next path.
    commit_cached("a");
    commit_cached("b");
  }
}

TEST_F(Proposals, OfTwoUpdatesOfOneMemberTheLastCounts) {
  for (int i = 0; i < 3; ++i) propose_update("b");
  const CommitEffects effects = commit_cached("a");
  EXPECT_EQ(2u, effects.updated.size()); // b's last, and a's own leaf by the path
  commit_cached("b");
}

TEST_F(Proposals, UpdatesThatNobodyCommittedAreForgottenWithTheEpoch) {
  const Bytes message = VALUE(at("b").propose_update({}, false, {}, world.random()));
  world.commit("a", {}, {});
  EXPECT_ERROR(mls_epoch_mismatch, at("a").verify(VALUE(MLSMessage::decode_as<PublicMessage>(message))));
  world.commit("b", {}, {});
}

TEST_F(Proposals, AnUpdateMayChangeSignatureKeyAndExtensions) {
  const crypto::SignatureKeyPair keys = VALUE(generate_signature_keys(CipherSuite{3}, world.random()));
  LeafChanges changes;
  changes.signature_keys = &keys;
  changes.extensions = Extensions{{0xf0f0, {1, 2}}};
  propose_update("b", changes);
  commit_cached("c");
  const LeafNode& after = *at("a").tree().leaf(leaf("b"));
  EXPECT_EQ(keys.public_key, after.signature_key);
  EXPECT_NE(nullptr, find_extension(after.extensions, 0xf0f0));
  world.commit("b", {}, {}); // signed with the new key
}

TEST_F(Proposals, ACommitMayChangeOnesOwnSignatureKey) {
  const crypto::SignatureKeyPair keys = VALUE(generate_signature_keys(CipherSuite{3}, world.random()));
  CommitParams params;
  params.force_path = false;
  params.leaf.signature_keys = &keys;
  params.add.push_back(person("e")); // whose GroupInfo is signed with the new key
  commit_cached("b", params);
  EXPECT_EQ(keys.public_key, at("e").tree().leaf(leaf("b"))->signature_key);
  world.commit("b", {}, {});
  // A key that another has is refused before anybody sees it.
  const crypto::SignatureKeyPair taken{at("a").tree().leaf(leaf("a"))->signature_key, SecretBytes::copy_of(world.signature_key("a"))};
  CommitParams copy;
  copy.leaf.signature_keys = &taken;
  EXPECT_ERROR(mls_leaf_key_duplicate, at("b").commit(copy, world.random()));
}

TEST_F(Proposals, EveryKindTogetherByReference) {
  for (const bool as_private : {false, true}) {
    closed = as_private;
    PskStore psks;
    psks.add_external(as_bytes("shared"), as_bytes("secret"));
    const std::string newcomer = as_private ? "f" : "e";
    const std::string leaver = as_private ? "c" : "d";
    propose("a", Proposal{Add{person(newcomer)}});
    propose("a", Proposal{Remove{leaf(leaver)}});
    propose_update("b");
    PreSharedKeyId id;
    id.external_id = to_bytes(as_bytes("shared"));
    id.nonce = Bytes(32, 7);
    propose("a", Proposal{PreSharedKey{id}});
    propose("b", Proposal{GroupContextExtensions{{{extension_type::application_id, {1}}}}});
    // The newcomer cannot have this group's past: it comes when nobody is added.
    CommitParams params;
    params.include_cached_proposals = true;
    params.psk_store = &psks;
    params.private_message = closed;
    PendingCommit pending = VALUE(at("a").commit(params, world.random()));
    EXPECT_FALSE(pending.staged.effects().all_proposals_by_value);
    JoinParams join;
    join.psks = &psks;
    const Group joined = VALUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), people.at(newcomer), join));
    const MLSMessage message = VALUE(MLSMessage::decode(pending.commit));
    for (const char* name : {"b", "c"}) {
      Group& group = at(name);
      const VerifiedMessage verified = closed ? VALUE(group.unprotect(*message.as<PrivateMessage>())) : VALUE(group.verify(*message.as<PublicMessage>()));
      StagedCommit staged = VALUE(group.stage(verified, StageParams(&psks)));
      EXPECT_EQ(1u, staged.effects().added.size());
      EXPECT_EQ(1u, staged.effects().removed.size());
      EXPECT_EQ(1u, staged.effects().psks.size());
      EXPECT_TRUE(staged.effects().extensions_changed);
      EXPECT_TRUE(group.merge(std::move(staged)));
    }
    EXPECT_TRUE(at("a").merge(std::move(pending.staged)));
    EXPECT_TRUE(equal(at("a").epoch_authenticator(), joined.epoch_authenticator()));
    EXPECT_TRUE(equal(at("b").epoch_authenticator(), joined.epoch_authenticator()));
    if (as_private) break;
    world.members().erase("d");
    world.members().emplace(newcomer, VALUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), people.at(newcomer), join)));
  }
}

TEST_F(Proposals, AResumptionPskOfAnEarlierEpochBindsTheNextOne) {
  PreSharedKeyId id;
  id.type = PreSharedKeyId::Type::resumption;
  id.group_id = to_bytes(at("a").group_id());
  id.epoch = at("a").epoch();
  world.commit("a", {}, {});
  world.commit("b", {}, {});
  CommitParams params;
  params.psks = {id};
  params.force_path = false;
  const CommitEffects effects = commit_cached("c", params);
  ASSERT_EQ(1u, effects.psks.size());
  id.epoch = 99;
  params.psks = {id};
  EXPECT_ERROR(mls_psk_unknown, at("a").commit(params, world.random()));
}

TEST_F(Proposals, OnlyAddsPsksAndReInitsGoWithoutAPath) {
  CommitParams params;
  params.force_path = false;
  params.add.push_back(person("e"));
  const PendingCommit add = VALUE(at("a").commit(params, world.random()));
  const auto path_of = [](const PendingCommit& pending) {
    const PublicMessage message = VALUE(MLSMessage::decode_as<PublicMessage>(pending.commit));
    return std::get_if<Commit>(&message.content.content)->path.has_value();
  };
  EXPECT_FALSE(path_of(add));
  CommitParams nothing;
  nothing.force_path = false;
  EXPECT_TRUE(path_of(VALUE(at("a").commit(nothing, world.random()))));
  params.remove.push_back(leaf("b")); // an Add beside a Remove
  EXPECT_TRUE(path_of(VALUE(at("a").commit(params, world.random()))));
}

TEST_F(Proposals, ARemoveGoesBeforeAnUpdateOfTheSameLeafAndOnceOnly) {
  propose_update("b");
  propose("a", Proposal{Remove{leaf("b")}});
  propose("d", Proposal{Remove{leaf("b")}});
  const CommitEffects effects = commit_cached("c");
  EXPECT_EQ(1u, effects.removed.size());
  EXPECT_EQ(1u, effects.updated.size());
}

TEST_F(Proposals, WhoeverIsProposedForRemovalCannotCommitThatButMayCommitTheRest) {
  propose("a", Proposal{Remove{leaf("b")}});
  propose("a", Proposal{Add{person("e")}});
  const CommitEffects effects = commit_cached("b");
  EXPECT_TRUE(effects.removed.empty());
  EXPECT_EQ(1u, effects.added.size());
}

TEST_F(Proposals, TheSameClientProposedTwiceIsAddedOnce) {
  propose("a", Proposal{Add{person("e")}});
  const crypto::SignatureKeyPair keys{person("e").leaf_node.signature_key, people.at("e").signature_private_key.clone()};
  KeyPackageParams params;
  params.credential = Credential::basic(as_bytes("e"));
  propose("b", Proposal{Add{VALUE(generate_key_package(params, keys, world.random())).key_package}});
  EXPECT_EQ(1u, commit_cached("c").added.size());
}

TEST_F(Proposals, OneThatDoesNotGoWithTheOthersIsLeftOut) {
  // d's capabilities do not have the extension that is demanded: each proposal is good alone.
  propose("a", Proposal{Add{person("e")}});
  propose("a", Proposal{GroupContextExtensions{{{0xf00d, {}}}}});
  const CommitEffects effects = commit_cached("b");
  EXPECT_EQ(1u, effects.added.size());
  EXPECT_FALSE(effects.extensions_changed);
}

TEST_F(Proposals, NothingIsSaidWhileProposalsWait) {
  propose("a", Proposal{Remove{leaf("d")}});
  EXPECT_ERROR(mls_proposals_pending, at("b").protect_application(as_bytes("d still hears this"), {}, world.random()));
  commit_cached("a");
  EXPECT_TRUE(at("b").protect_application(as_bytes("d does not"), {}, world.random()));
}

TEST_F(Proposals, AnUpdateInOurNameWhoseKeyWeDoNotHaveIsRefused) {
  // Two of b's, of which b keeps the last only; and c heard nothing but the first.
  const KeyPackageBundle e = world.new_person("e");
  CommitParams add;
  add.add.push_back(e.key_package);
  PendingCommit pending = VALUE(at("a").commit(add, world.random()));
  JoinParams join;
  join.limits.max_pending_updates = 1;
  Group forgetful = VALUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), e, join));
  Group& c = at("c");
  EXPECT_TRUE(c.merge(VALUE(c.stage(pending.commit))));
  const Bytes first = VALUE(forgetful.propose_update({}, false, {}, world.random()));
  EXPECT_TRUE(c.cache_proposal(VALUE(c.verify(VALUE(MLSMessage::decode_as<PublicMessage>(first))))));
  CommitParams cached;
  cached.include_cached_proposals = true;
  const Bytes commit = VALUE(c.commit(cached, world.random())).commit;
  EXPECT_TRUE(forgetful.stage(commit));
  VALUE(forgetful.propose_update({}, false, {}, world.random()));
  EXPECT_ERROR(mls_update_unknown, forgetful.stage(commit));
}

// --- From outside

class Outside : public Proposals {
 protected:
  Outside() : sender(VALUE(generate_signature_keys(CipherSuite{3}, world.random()))), other(VALUE(generate_signature_keys(CipherSuite{3}, world.random()))) {
    std::vector<ExternalSender> senders{{other.public_key, Credential::basic(as_bytes("first"))}, {sender.public_key, Credential::basic(as_bytes("policy"))}};
    ByteWriter list;
    codec::write_vector(list, senders);
    extensions.push_back({extension_type::external_senders, to_bytes(list.view())});
    CommitParams params;
    params.group_context_extensions = extensions;
    commit_cached("a", params);
  }

  ExternalProposalParams now() { return {CipherSuite{3}, to_bytes(at("a").group_id()), at("a").epoch(), {}}; }
  Bytes outside(Proposal proposal, std::uint32_t index = 1) { return VALUE(external_proposal(now(), index, sender.private_key.view(), std::move(proposal))); }
  /// What a member says of it; the follower says the same.
  std::string verify_error(const Bytes& message) {
    const PublicMessage parsed = VALUE(MLSMessage::decode_as<PublicMessage>(message));
    const auto verified = at("b").verify(parsed);
    const std::string error = verified ? error_name(at("b").cache_proposal(*verified)) : error_name(verified);
    EXPECT_EQ(error, error_name(world.follower().handle_proposal(parsed)));
    return error;
  }

  crypto::SignatureKeyPair sender;
  crypto::SignatureKeyPair other;
  Extensions extensions;
};

TEST_F(Outside, AnExternalSenderMayAddRemoveInjectKeysAndChangeExtensions) {
  hear("", outside(Proposal{Add{person("e")}}));
  hear("", outside(Proposal{Remove{leaf("d")}}));
  Extensions changed = extensions;
  changed.push_back({extension_type::application_id, {9}});
  hear("", outside(Proposal{GroupContextExtensions{changed}}));
  const CommitEffects effects = commit_cached("b");
  EXPECT_EQ(1u, effects.added.size());
  EXPECT_EQ(1u, effects.removed.size());
  EXPECT_TRUE(effects.extensions_changed);

  PskStore psks;
  psks.add_external(as_bytes("id"), as_bytes("value"));
  PreSharedKeyId id;
  id.external_id = to_bytes(as_bytes("id"));
  id.nonce = Bytes(32, 3);
  hear("", outside(Proposal{PreSharedKey{id}}));
  EXPECT_EQ(1u, commit_cached("c", {}, &psks).psks.size());
  hear("", outside(Proposal{ReInit{to_bytes(as_bytes("next")), 1, CipherSuite{3}, {}}}));
  EXPECT_TRUE(commit_cached("a").reinit.has_value());
}

TEST_F(Outside, AnExternalSenderMayNotUpdateNorInitialise) {
  EXPECT_ERROR(mls_proposal_not_for_sender, external_proposal(now(), 1, sender.private_key.view(), Proposal{ExternalInit{}}));
  for (const Proposal& proposal : {Proposal{Update{*at("a").tree().leaf({1})}}, Proposal{ExternalInit{Bytes(32)}}}) {
    AuthenticatedContent content;
    content.content = {to_bytes(at("a").group_id()), at("a").epoch(), {SenderType::external, 1}, {}, proposal};
    ASSERT_TRUE(content.sign(at("a").tree().suite(), sender.private_key.view(), {}));
    EXPECT_EQ("mls_proposal_not_for_sender", verify_error(MLSMessage{PublicMessage{content.content, content.auth, {}}}.encode()));
  }
}

TEST_F(Outside, AnotherPlaceAnotherKeyOrAnotherEpochIsRefused) {
  EXPECT_EQ("signature_invalid", verify_error(outside(Proposal{Remove{leaf("d")}}, 0)));
  EXPECT_EQ("mls_sender_invalid", verify_error(outside(Proposal{Remove{leaf("d")}}, 2)));
  EXPECT_EQ("mls_leaf_unknown", verify_error(outside(Proposal{Remove{LeafIndex{9}}})));
  ExternalProposalParams later = now();
  later.epoch += 1;
  EXPECT_EQ("mls_epoch_mismatch", verify_error(VALUE(external_proposal(later, 1, sender.private_key.view(), Proposal{Remove{leaf("d")}}))));
  ExternalProposalParams elsewhere = now();
  elsewhere.group_id.push_back(1);
  EXPECT_EQ("mls_group_mismatch", verify_error(VALUE(external_proposal(elsewhere, 1, sender.private_key.view(), Proposal{Remove{leaf("d")}}))));
}

TEST_F(Outside, WithoutTheExtensionNobodyOutsideIsHeard) {
  const Bytes message = outside(Proposal{Remove{leaf("d")}});
  CommitParams params;
  params.group_context_extensions = Extensions{};
  commit_cached("a", params);
  PublicMessage parsed = VALUE(MLSMessage::decode_as<PublicMessage>(message));
  parsed.content.epoch = at("a").epoch();
  EXPECT_ERROR(mls_sender_invalid, at("b").verify(parsed));
}

TEST_F(Outside, ANewMemberMayAskToBeAdded) {
  person("e");
  EXPECT_ERROR(mls_key_package_suite_mismatch, new_member_proposal(now(), World(CipherSuite{1}).new_person("e")));
  hear("", VALUE(new_member_proposal(now(), people.at("e"))));
  EXPECT_EQ(1u, commit_cached("d").added.size());
  // But for nobody else, and for nothing else.
  AuthenticatedContent content;
  content.content = {to_bytes(at("a").group_id()), at("a").epoch(), {SenderType::new_member_proposal, 0}, {}, Proposal{Add{person("f")}}};
  ASSERT_TRUE(content.sign(at("a").tree().suite(), sender.private_key.view(), {}));
  EXPECT_EQ("signature_invalid", verify_error(MLSMessage{PublicMessage{content.content, content.auth, {}}}.encode()));
  content.content.content = Proposal{Remove{leaf("b")}};
  ASSERT_TRUE(content.sign(at("a").tree().suite(), sender.private_key.view(), {}));
  EXPECT_EQ("mls_sender_invalid", verify_error(MLSMessage{PublicMessage{content.content, content.auth, {}}}.encode()));
}

} // namespace
} // namespace satsuma::mls
