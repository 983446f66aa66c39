// What drafts add to MLS: the safe exporter and SelfRemove.
#include <gtest/gtest.h>

#include <set>

#include "hostile_member.h"
#include "mls/drafts/safe_exporter.h"
#include "mls/drafts/self_remove.h"
#include "mls/tree/stored.h"
#include "world.h"

namespace satsuma::mls {
namespace {

using drafts::SafeExporter;

GroupLimits with_drafts() {
  GroupLimits limits;
  limits.additions = {SafeExporter::label, drafts::proposal_types};
  return limits;
}

/// Three members and a follower, who know what the drafts add.
class Drafts : public testing::Test {
 protected:
  Drafts() {
    const KeyPackageBundle a = person("a");
    members.emplace("a", VALUE(Group::create({to_bytes(as_bytes("a group")), {}, 0, with_drafts()}, a, random)));
    follower.emplace(VALUE(PublicGroup::from_group_info(VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(at("a").group_info()))), drafts::proposal_types)));
    add({"b", "c", "d"});
  }

  KeyPackageBundle person(const std::string& name, bool knows_self_remove = true) {
    const crypto::SignatureKeyPair keys = VALUE(generate_signature_keys(CipherSuite{3}, random));
    KeyPackageParams params;
    params.credential = Credential::basic(as_bytes(name));
    if (knows_self_remove) params.capabilities = drafts::with_self_remove(Capabilities::ours());
    return VALUE(generate_key_package(params, keys, random));
  }
  Group& at(const std::string& name) { return members.at(name); }

  void add(const std::vector<std::string>& names, bool knows_self_remove = true) {
    CommitParams params;
    std::vector<KeyPackageBundle> bundles;
    for (const std::string& name : names) {
      bundles.push_back(person(name, knows_self_remove));
      params.add.push_back(bundles.back().key_package);
    }
    PendingCommit pending = VALUE(at("a").commit(params, random));
    deliver("a", pending);
    for (std::size_t i = 0; i < names.size(); ++i) {
      JoinParams join;
      join.limits = with_drafts();
      members.emplace(names[i], VALUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), bundles[i], join)));
    }
  }
  /// Everyone processes it; who is removed by it is among us no more.
  void deliver(const std::string& committer, PendingCommit& pending) {
    EXPECT_TRUE(follower->apply(VALUE(follower->verify(VALUE(MLSMessage::decode_as<PublicMessage>(pending.commit))))));
    for (auto it = members.begin(); it != members.end();) {
      StagedCommit staged = it->first == committer ? std::move(pending.staged) : VALUE(it->second.stage(pending.commit));
      const bool removed = staged.removes_self();
      EXPECT_TRUE(it->second.merge(std::move(staged)));
      EXPECT_EQ(!removed, it->second.active());
      it = removed ? members.erase(it) : std::next(it);
    }
    expect_agreement();
  }
  void expect_agreement() {
    for (auto& [name, group] : members) {
      EXPECT_TRUE(equal(members.begin()->second.epoch_authenticator(), group.epoch_authenticator())) << name;
      EXPECT_EQ(group.context(), follower->context()) << name;
    }
  }
  static PublicMessage parsed(ByteView message) { return VALUE(MLSMessage::decode_as<PublicMessage>(message, drafts::proposal_types)); }
  /// What `who` sent reaches all others and the follower.
  void hand_out(const std::string& who, ByteView proposal) {
    EXPECT_TRUE(follower->handle_proposal(parsed(proposal)));
    for (auto& [name, group] : members) {
      if (name == who) continue;
      EXPECT_TRUE(group.cache_proposal(VALUE(group.verify(parsed(proposal)))));
    }
  }
  PublicMessage leave(const std::string& who) {
    const Bytes proposal = VALUE(drafts::propose_self_remove(at(who), random));
    hand_out(who, proposal);
    return parsed(proposal);
  }
  static ProposalOrRef reference(const Group& group, const PublicMessage& proposal) {
    return {ProposalOrRef::Reference{proposal_ref(group.tree().suite(), codec::encode(proposal.authenticated_content()))}};
  }
  std::vector<std::string> names() {
    std::vector<std::string> out;
    for (const auto& [name, group] : members) out.push_back(name);
    return out;
  }
  using Names = std::vector<std::string>;

  SeededRandom random{11};
  std::map<std::string, Group> members;
  std::optional<PublicGroup> follower;
};

// --- The safe exporter

// Straight from the definition: the path to a leaf of a tree with 2^16 leaves.
std::vector<SecretBytes> way_to(const SuiteParameters& suite, ByteView root, drafts::ComponentId component) {
  std::vector<SecretBytes> way;
  way.push_back(SecretBytes::copy_of(root));
  for (int bit = 15; bit >= 0; --bit) {
    way.push_back(expand_with_label(suite, way.back().view(), "tree", as_bytes((component >> bit & 1) != 0 ? "right" : "left"), suite.hash_size()));
  }
  return way;
}

bool contains(ByteView haystack, ByteView needle) { return std::ranges::search(haystack, needle).begin() != haystack.end(); }

TEST_F(Drafts, AllMembersExportTheSameForAComponentAndAnotherForEach) {
  std::set<Bytes> seen;
  for (int epoch = 0; epoch < 2; ++epoch) {
    std::map<std::string, SafeExporter> exporters;
    for (auto& [name, group] : members) exporters.emplace(name, VALUE(SafeExporter::begin(group)));
    for (const drafts::ComponentId component : std::initializer_list<drafts::ComponentId>{0, 1, 2, 255, 0x7fff, 0x8000, 0xffff}) {
      const SecretBytes secret = VALUE(exporters.at("a").export_secret(component));
      EXPECT_EQ(32u, secret.size());
      EXPECT_TRUE(seen.insert(to_bytes(secret.view())).second) << component;
      for (const char* name : {"b", "c", "d"}) EXPECT_EQ(secret, VALUE(exporters.at(name).export_secret(component)));
    }
    PendingCommit pending = VALUE(at("b").commit({}, random));
    deliver("b", pending);
  }
}

TEST_F(Drafts, TheExporterIsTheTreeOfTheDraft) {
  const SecretBytes root = VALUE(at("a").take_further_secret());
  SafeExporter exporter = VALUE(SafeExporter::begin(at("b")));
  for (const drafts::ComponentId component : std::initializer_list<drafts::ComponentId>{5, 4, 0x8001, 0xffff, 0}) {
    EXPECT_EQ(way_to(at("a").tree().suite(), root.view(), component).back(), VALUE(exporter.export_secret(component)));
  }
}

TEST_F(Drafts, WhatWasExportedCannotBeDerivedAgain) {
  const SecretBytes root = VALUE(at("a").take_further_secret());
  SafeExporter exporter = VALUE(SafeExporter::begin(at("b")));
  const SecretBytes untouched = exporter.store();
  EXPECT_TRUE(contains(untouched.view(), root.view())) << "this test looks for nothing";
  for (const drafts::ComponentId component : std::initializer_list<drafts::ComponentId>{700, 701}) {
    EXPECT_TRUE(exporter.export_secret(component));
    EXPECT_ERROR(drafts::mls_component_exported, exporter.export_secret(component));
    const SecretBytes left = exporter.store();
    for (const SecretBytes& secret : way_to(at("a").tree().suite(), root.view(), component)) EXPECT_FALSE(contains(left.view(), secret.view()));
  }
  EXPECT_TRUE(exporter.export_secret(702));
  // Nor from the group.
  EXPECT_ERROR(mls_further_secret_taken, SafeExporter::begin(at("b")));
  EXPECT_FALSE(contains(VALUE(at("b").store()).view(), root.view()));
}

TEST_F(Drafts, TheExporterOutlivesARestartAndWhatIsGoneStaysGone) {
  at("a") = VALUE(Group::load(VALUE(at("a").store()).view(), with_drafts())); // before it is taken the group keeps it
  SafeExporter exporter = VALUE(SafeExporter::begin(at("a")));
  SafeExporter other = VALUE(SafeExporter::begin(at("b")));
  EXPECT_EQ(VALUE(exporter.export_secret(1)), VALUE(other.export_secret(1)));
  exporter = VALUE(SafeExporter::load(exporter.store().view()));
  EXPECT_EQ(exporter.epoch(), at("a").epoch());
  EXPECT_ERROR(drafts::mls_component_exported, exporter.export_secret(1));
  EXPECT_EQ(VALUE(exporter.export_secret(0)), VALUE(other.export_secret(0)));
  Group restarted = VALUE(Group::load(VALUE(at("a").store()).view(), with_drafts()));
  EXPECT_ERROR(mls_further_secret_taken, SafeExporter::begin(restarted));
  // A commit of ours that waits knows its epoch's, and the next epoch has one again.
  PendingCommit pending = VALUE(at("a").commit({}, random));
  pending = VALUE(PendingCommit::load(pending.store().view(), with_drafts()));
  deliver("a", pending);
  EXPECT_EQ(VALUE(VALUE(SafeExporter::begin(at("a"))).export_secret(1)), VALUE(VALUE(SafeExporter::begin(at("c"))).export_secret(1)));
}

TEST_F(Drafts, AnExportersStoredStateIsCheckedWhole) {
  SafeExporter exporter = VALUE(SafeExporter::begin(at("a")));
  EXPECT_TRUE(exporter.export_secret(3));
  const SecretBytes stored = exporter.store();
  const auto changed = [&](const std::function<void(Bytes&)>& change) {
    Bytes bytes = to_bytes(stored.view().first(stored.size() - stored_digest_size));
    change(bytes);
    const Bytes digest = stored_digest(bytes);
    bytes.insert(bytes.end(), digest.begin(), digest.end());
    return SafeExporter::load(bytes);
  };
  EXPECT_TRUE(changed([](Bytes&) {}));
  constexpr std::size_t count = 7 + 2 + 8, first_place = count + 4, size = 1 + 4 + 32;
  EXPECT_ERROR(mls_stored_invalid, changed([](Bytes& b) { b[first_place] = 17; }));                                     // no such level
  EXPECT_ERROR(mls_stored_invalid, changed([](Bytes& b) { b[first_place + 1] = 1; }));                                  // no such place in it
  EXPECT_ERROR(mls_stored_invalid, changed([](Bytes& b) { std::copy_n(b.begin() + first_place, 5, b.begin() + first_place + size); })); // twice
  EXPECT_ERROR(mls_suite_unsupported, changed([](Bytes& b) { b[7] = 0x77; }));
  EXPECT_ERROR(bytes_truncated, changed([](Bytes& b) { b.pop_back(); }));
  EXPECT_ERROR(bytes_trailing, changed([](Bytes& b) { b.push_back(0); }));
  for (std::size_t i = 0; i < stored.size(); ++i) {
    Bytes bytes = to_bytes(stored.view());
    bytes[i] ^= 1;
    EXPECT_FALSE(SafeExporter::load(bytes)) << i;
  }
  EXPECT_ERROR(mls_stored_kind_wrong, SafeExporter::load(VALUE(at("a").store()).view()));
}

TEST(DraftsUnused, AGroupThatDoesNotAskForItHasNoFurtherSecret) {
  World world;
  EXPECT_ERROR(mls_further_secret_taken, SafeExporter::begin(world.create("a")));
}

// --- SelfRemove

TEST_F(Drafts, AMemberTakesItselfOutWithTheNextCommitOfAnother) {
  (void)leave("c");
  EXPECT_ERROR(mls_proposals_pending, at("c").protect_application(as_bytes("wait"), {}, random));
  CommitParams params;
  params.include_cached_proposals = true;
  params.force_path = false; // the proposal demands one
  PendingCommit pending = VALUE(at("b").commit(params, random));
  ASSERT_EQ(1u, pending.staged.effects().removed.size());
  EXPECT_EQ(at("c").own_leaf(), pending.staged.effects().removed[0].leaf);
  deliver("b", pending);
  EXPECT_EQ((Names{"a", "b", "d"}), names());
  EXPECT_EQ(3u, follower->members().size());
  add({"e"});
  EXPECT_EQ(4u, follower->members().size());
}

TEST_F(Drafts, SeveralLeaveAtOnceAndWhatWaitsOutlivesARestart) {
  (void)leave("c");
  (void)leave("d");
  for (const char* name : {"a", "b", "c"}) at(name) = VALUE(Group::load(VALUE(at(name).store()).view(), with_drafts()));
  follower.emplace(VALUE(PublicGroup::deserialise(follower->serialise(), drafts::proposal_types)));
  EXPECT_ERROR(mls_proposal_unknown, PublicGroup::deserialise(follower->serialise()));
  CommitParams params;
  params.include_cached_proposals = true;
  PendingCommit pending = VALUE(at("b").commit(params, random));
  pending = VALUE(PendingCommit::load(pending.store().view(), with_drafts()));
  deliver("b", pending);
  EXPECT_EQ((Names{"a", "b"}), names());
}

TEST_F(Drafts, WhoLeavesSaysItOnceInAnEpoch) {
  (void)leave("c");
  EXPECT_ERROR(mls_proposal_repeated, drafts::propose_self_remove(at("c"), random, as_bytes("again")));
  PendingCommit pending = VALUE(at("b").commit({}, random)); // without it
  deliver("b", pending);
  (void)leave("c");
  CommitParams params;
  params.include_cached_proposals = true;
  pending = VALUE(at("a").commit(params, random));
  deliver("a", pending);
  EXPECT_EQ((Names{"a", "b", "d"}), names());
}

TEST_F(Drafts, WhoComesInByAnExternalCommitTakesOutThoseWhoLeave) {
  const PublicMessage waiting = leave("c");
  const GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(at("a").group_info(true, true))));
  const KeyPackageBundle joiner = person("e");
  ExternalJoinParams params;
  params.limits = with_drafts();
  params.proposals = {waiting};
  params.resync = at("d").own_leaf(); // and its own old self beside
  EXPECT_ERROR(mls_leaf_changed_twice, Group::join_external(info, joiner, [&] {
    ExternalJoinParams same;
    same.limits = params.limits;
    same.proposals = params.proposals;
    same.resync = at("c").own_leaf();
    return same;
  }(), random));
  // A proposal that its signature does not cover is refused before it is committed.
  ExternalJoinParams forged;
  forged.limits = with_drafts();
  forged.proposals = {waiting};
  forged.proposals[0].content.sender.index = at("b").own_leaf().value;
  EXPECT_ERROR(crypto::signature_invalid, Group::join_external(info, joiner, forged, random));

  ExternalJoin external = VALUE(Group::join_external(info, person("d"), params, random)); // the same credential as d's
  EXPECT_TRUE(follower->apply(VALUE(follower->verify(VALUE(MLSMessage::decode_as<PublicMessage>(external.commit()))))));
  for (const char* name : {"a", "b", "c", "d"}) {
    StagedCommit staged = VALUE(at(name).stage(external.commit()));
    EXPECT_EQ(staged.removes_self(), *name >= 'c');
    EXPECT_EQ(2u, staged.effects().removed.size());
    EXPECT_EQ(at("d").own_leaf(), staged.effects().resynchronised);
    EXPECT_TRUE(at(name).merge(std::move(staged)));
  }
  members.erase("c");
  members.erase("d");
  members.emplace("d", std::move(external).merge());
  expect_agreement();
  EXPECT_EQ(3u, follower->members().size());
}

TEST_F(Drafts, ByWhomItIsNotKnownItIsRefused) {
  const Bytes proposal = VALUE(drafts::propose_self_remove(at("b"), random));
  EXPECT_ERROR(mls_proposal_unknown, MLSMessage::decode(proposal));
  add({"e"}, false);
  EXPECT_ERROR(mls_proposal_unsupported, drafts::propose_self_remove(at("b"), random));
  // From a sender who does not care it waits, but stands in no commit that e is to process.
  const Bytes sent = VALUE(internal::HostileMember::send_public(at("b"), Proposal{FurtherProposal{drafts::self_remove, {}}}));
  hand_out("", sent);
  const auto commit_of_c = [&](std::vector<Proposal> beside) {
    Commit commit{{reference(at("c"), parsed(sent))}, std::nullopt};
    for (Proposal& one : beside) commit.proposals.push_back({std::move(one)});
    const Bytes bytes = VALUE(internal::HostileMember::send_public(at("c"), std::move(commit)));
    const std::string member = error_name(at("a").stage(bytes));
    EXPECT_EQ(member, error_name(follower->verify(parsed(bytes))));
    return member;
  };
  EXPECT_EQ(mls_proposal_unsupported.name, commit_of_c({}));
  EXPECT_EQ(mls_path_required.name, commit_of_c({{Remove{at("e").own_leaf()}}})) << "s.12.2: who is removed need not know it";
  CommitParams params;
  params.include_cached_proposals = true;
  PendingCommit without = VALUE(at("d").commit(params, random));
  EXPECT_TRUE(without.staged.effects().further.empty());
  params.remove = {at("e").own_leaf()};
  PendingCommit pending = VALUE(at("d").commit(params, random));
  ASSERT_EQ(1u, pending.staged.effects().further.size());
  EXPECT_EQ(drafts::self_remove, pending.staged.effects().further[0].proposal.type);
  EXPECT_EQ((Sender{SenderType::member, at("b").own_leaf().value}), pending.staged.effects().further[0].sender);
  const SecretBytes stored = pending.store();
  EXPECT_EQ(1u, VALUE(PendingCommit::load(stored.view(), with_drafts())).staged.effects().further.size());
  deliver("d", pending);
  EXPECT_EQ((Names{"a", "c", "d"}), names());
}

TEST_F(Drafts, ItComesAsAPublicMessageFromAMember) {
  const Proposal proposal{FurtherProposal{drafts::self_remove, {}}};
  EXPECT_ERROR(mls_proposal_not_public, at("b").propose(proposal, true, {}, random));
  const Bytes sent = VALUE(internal::HostileMember::send_private(at("b"), proposal, random));
  const VerifiedMessage received = VALUE(at("a").unprotect(VALUE(MLSMessage::decode_as<PrivateMessage>(sent))));
  EXPECT_ERROR(mls_proposal_not_public, at("a").cache_proposal(received));
  for (const SenderType type : {SenderType::external, SenderType::new_member_proposal}) {
    EXPECT_ERROR(mls_proposal_not_for_sender, verify_proposal(at("a").tree(), at("a").context(), proposal, {type, 0}, drafts::proposal_types));
  }
  EXPECT_TRUE(verify_proposal(at("a").tree(), at("a").context(), proposal, {SenderType::member, 0}, drafts::proposal_types));
}

TEST_F(Drafts, InACommitItStandsByReferenceAloneAndWithAPath) {
  const PublicMessage waiting = leave("c");
  const auto refusal = [&](const std::string& committer, std::vector<ProposalOrRef> list) {
    const Bytes sent = VALUE(internal::HostileMember::send_public(at(committer), Commit{std::move(list), std::nullopt}));
    const std::string member = error_name(at("a").stage(sent));
    const auto message = MLSMessage::decode_as<PublicMessage>(sent, drafts::proposal_types);
    EXPECT_EQ(member, error_name(follower->verify(VALUE(message)))) << "the follower judges as members do";
    return member;
  };
  EXPECT_EQ(mls_proposal_by_value.name, refusal("b", {{Proposal{FurtherProposal{drafts::self_remove, {}}}}}));
  EXPECT_EQ(mls_path_required.name, refusal("b", {reference(at("b"), waiting)}));
  EXPECT_EQ(mls_commit_removes_committer.name, refusal("c", {reference(at("b"), waiting)}));
  EXPECT_EQ(mls_leaf_changed_twice.name, refusal("b", {reference(at("b"), waiting), reference(at("b"), waiting)}));
  EXPECT_EQ(mls_leaf_changed_twice.name, refusal("b", {reference(at("b"), waiting), {Proposal{Remove{at("c").own_leaf()}}}}));
  const Bytes update = VALUE(at("c").propose_update({}, false, {}, random));
  hand_out("c", update);
  EXPECT_EQ(mls_leaf_changed_twice.name, refusal("b", {reference(at("b"), parsed(update)), reference(at("b"), waiting)}));
}

TEST_F(Drafts, WhoLeavesIsNeitherRemovedByOthersNorUpdatedAsWell) {
  hand_out("b", VALUE(at("b").propose(Proposal{Remove{at("c").own_leaf()}}, false, {}, random)));
  hand_out("c", VALUE(at("c").propose_update({}, false, {}, random)));
  const PublicMessage waiting = leave("c");
  CommitParams params;
  params.include_cached_proposals = true;
  PendingCommit pending = VALUE(at("d").commit(params, random));
  const PublicMessage message = parsed(pending.commit);
  const std::vector<ProposalOrRef>& list = std::get_if<Commit>(&message.content.content)->proposals;
  ASSERT_EQ(1u, list.size());
  EXPECT_EQ(reference(at("d"), waiting), list[0]);
  deliver("d", pending);
  EXPECT_EQ((Names{"a", "b", "d"}), names());
}

} // namespace
} // namespace satsuma::mls
