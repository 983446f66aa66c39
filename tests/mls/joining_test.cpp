// The ways into a group besides the Welcome of a member, and what an application says of whom it lets in (RFC 9420 s.5.3.1, s.11, s.12.4.3).
#include <gtest/gtest.h>

#include "mls/wire/grease.h"
#include "world.h"

namespace satsuma::mls {
namespace {

// --- External commits

class ExternalCommits : public testing::TestWithParam<int> {
 protected:
  ExternalCommits() : world(static_cast<CipherSuite>(GetParam())), e(world.new_person("e")) {
    world.create("a");
    world.commit("a", {"b", "c", "d"}, {});
    world.commit("b", {}, {});
  }

  GroupInfo info(const std::string& from, bool tree = true) {
    GroupInfoParams params;
    params.with_tree = tree;
    params.with_external_pub = true;
    params.extensions.push_back({0x2a2a, {1, 2, 3}}); // nothing that anybody knows
    return VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(world.at(from).group_info(params))));
  }

  /// Everyone takes the commit in, and the joiner is one of them under `name`.
  void enter(const std::string& name, ExternalJoin join, const KeyPackageBundle& bundle, const StageParams& stage = {}) {
    const PublicMessage message = VALUE(MLSMessage::decode_as<PublicMessage>(join.commit()));
    StagedPublicCommit followed = VALUE(world.follower().verify(message));
    EXPECT_TRUE(world.follower().apply(std::move(followed)));
    for (auto it = world.members().begin(); it != world.members().end();) {
      StagedCommit staged = VALUE(it->second.stage(join.commit(), stage));
      EXPECT_TRUE(staged.effects().joined_by_external_commit.has_value());
      const bool gone = staged.removes_self();
      EXPECT_TRUE(it->second.merge(std::move(staged)));
      it = gone ? world.members().erase(it) : std::next(it);
    }
    world.adopt(name, std::move(join).merge(), bundle);
    world.expect_agreement();
  }

  World world;
  KeyPackageBundle e;
};
INSTANTIATE_TEST_SUITE_P(Suites, ExternalCommits, testing::Range(1, 8));

TEST_P(ExternalCommits, WhoComesInUnaskedIsAMemberLikeAnyOther) {
  enter("e", VALUE(Group::join_external(info("c"), e, {}, world.random())), e);
  world.commit("e", {"f"}, {"b"});
  world.commit("f", {}, {"a"});
  const KeyPackageBundle g = world.new_person("g");
  enter("g", VALUE(Group::join_external(info("e"), g, {}, world.random())), g); // into the blank place of a
  EXPECT_EQ(LeafIndex{0}, world.at("g").own_leaf());
  world.commit("c", {}, {"e"});
}

class ExternalCommit : public ExternalCommits {};
INSTANTIATE_TEST_SUITE_P(Suite3, ExternalCommit, testing::Values(3));

TEST_P(ExternalCommit, WhoLostItsStateComesBackInPlaceOfItsOldSelf) {
  ExternalJoinParams params;
  params.resync = world.at("b").own_leaf();
  const KeyPackageBundle again = world.new_person("b");
  world.members().erase("b");
  enter("b", VALUE(Group::join_external(info("a"), again, params, world.random())), again);
  EXPECT_EQ(LeafIndex{1}, world.at("b").own_leaf());
  EXPECT_EQ(4u, world.at("a").members().size());
}

TEST_P(ExternalCommit, NobodyComesBackInPlaceOfAnother) {
  ExternalJoinParams params;
  params.resync = world.at("b").own_leaf();
  const ExternalJoin join = VALUE(Group::join_external(info("a"), e, params, world.random()));
  EXPECT_ERROR(mls_credential_rejected, world.at("a").stage(join.commit()));
}

TEST_P(ExternalCommit, ThePsksAndTheTreeMayComeBeside) {
  PskStore psks;
  psks.add_external(as_bytes("ticket"), as_bytes("value"));
  ExternalJoinParams params;
  params.ratchet_tree = world.at("a").tree().serialise();
  params.psk_store = &psks;
  PreSharedKeyId id;
  id.external_id = to_bytes(as_bytes("ticket"));
  params.psks = {id};
  EXPECT_ERROR(mls_ratchet_tree_missing, Group::join_external(info("a", false), e, {}, world.random()));
  ExternalJoin join = VALUE(Group::join_external(info("a", false), e, params, world.random()));
  EXPECT_ERROR(mls_psk_unknown, world.at("a").stage(join.commit()));
  enter("e", std::move(join), e, StageParams(&psks));
  params.psks[0].external_id.push_back(1);
  params.ratchet_tree = world.at("a").tree().serialise();
  EXPECT_ERROR(mls_psk_unknown, Group::join_external(info("a", false), world.new_person("f"), params, world.random()));
}

TEST_P(ExternalCommit, AGroupInfoThatDoesNotInviteOrIsNotRightIsRefused) {
  const GroupInfo good = info("a");
  GroupInfo closed = good;
  std::erase_if(closed.extensions, [](const Extension& extension) { return extension.type == extension_type::external_pub; });
  EXPECT_ERROR(mls_external_pub_missing, Group::join_external(closed, e, {}, world.random()));
  GroupInfo changed = good;
  changed.confirmation_tag[3] ^= 1;
  EXPECT_ERROR(crypto::signature_invalid, Group::join_external(changed, e, {}, world.random()));
  changed = good;
  changed.signer = LeafIndex{7};
  EXPECT_ERROR(mls_welcome_signer_invalid, Group::join_external(changed, e, {}, world.random()));
  EXPECT_ERROR(mls_welcome_suite_mismatch, Group::join_external(good, World(CipherSuite{1}).new_person("e"), {}, world.random()));
  ExternalJoinParams params;
  const std::vector<GroupId> ours{good.group_context.group_id};
  params.own_groups = ours;
  EXPECT_ERROR(mls_group_id_taken, Group::join_external(good, e, params, world.random()));
}

TEST_P(ExternalCommit, OneThatLostTheRaceIsOfAnotherEpoch) {
  const ExternalJoin join = VALUE(Group::join_external(info("a"), e, {}, world.random()));
  world.commit("c", {}, {});
  EXPECT_ERROR(mls_epoch_mismatch, world.at("a").stage(join.commit()));
}

TEST_P(ExternalCommit, AnyBitFlippedIsRefused) {
  const ExternalJoin join = VALUE(Group::join_external(info("a"), e, {}, world.random()));
  for (std::size_t i = 0; i < join.commit().size(); i += 3) {
    Bytes tampered = join.commit();
    tampered[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    EXPECT_FALSE(world.at("b").stage(tampered)) << "byte " << i;
  }
}

// What a joiner may put into its commit, s.12.2: every other list is refused, by members and by the follower.
class ForgedExternalCommit : public ExternalCommits {
 protected:
  /// A good external commit with something else in it, signed again by the joiner.
  std::string with(const std::function<void(FramedContent&, Commit&)>& change) {
    const ExternalJoin join = VALUE(Group::join_external(info("a"), e, {}, world.random()));
    PublicMessage message = VALUE(MLSMessage::decode_as<PublicMessage>(join.commit()));
    change(message.content, *std::get_if<Commit>(&message.content.content));
    AuthenticatedContent content = message.authenticated_content();
    EXPECT_TRUE(content.sign(world.at("a").tree().suite(), e.signature_private_key.view(), world.at("a").context()));
    const PublicMessage forged{content.content, content.auth, {}};
    const std::string error = error_name(world.follower().verify(forged));
    const auto at_member = world.at("b").stage(MLSMessage{forged}.encode());
    if (error != "none") {
      EXPECT_EQ(error, error_name(at_member));
    }
    return error;
  }
};
INSTANTIATE_TEST_SUITE_P(Suite3, ForgedExternalCommit, testing::Values(3));

TEST_P(ForgedExternalCommit, TheListHasExactlyWhatAJoinerMayAskFor) {
  EXPECT_EQ("none", with([](FramedContent&, Commit&) {}));
  EXPECT_EQ("mls_external_init_count", with([](FramedContent&, Commit& commit) { commit.proposals.clear(); }));
  EXPECT_EQ("mls_external_init_count", with([](FramedContent&, Commit& commit) { commit.proposals.push_back(commit.proposals[0]); }));
  EXPECT_EQ("mls_external_commit_proposal_forbidden",
            with([this](FramedContent&, Commit& commit) { commit.proposals.push_back({Proposal{Add{world.new_person("f").key_package}}}); }));
  EXPECT_EQ("mls_external_commit_proposal_forbidden",
            with([](FramedContent&, Commit& commit) { commit.proposals.push_back({Proposal{GroupContextExtensions{}}}); }));
  EXPECT_EQ("mls_external_commit_removes_many", with([](FramedContent&, Commit& commit) {
              for (const std::uint32_t leaf : {1u, 2u}) commit.proposals.push_back({Proposal{Remove{LeafIndex{leaf}}}});
            }));
  EXPECT_EQ("mls_leaf_unknown", with([](FramedContent&, Commit& commit) { commit.proposals.push_back({Proposal{Remove{LeafIndex{6}}}}); }));
  PreSharedKeyId id;
  id.nonce = Bytes(32, 1);
  EXPECT_EQ("mls_psk_duplicate", with([&id](FramedContent&, Commit& commit) {
              for (int i = 0; i < 2; ++i) commit.proposals.push_back({Proposal{PreSharedKey{id}}});
            }));
  id.type = PreSharedKeyId::Type::resumption;
  id.usage = ResumptionUsage::branch;
  EXPECT_EQ("mls_psk_usage_invalid", with([&id](FramedContent&, Commit& commit) { commit.proposals.push_back({Proposal{PreSharedKey{id}}}); }));
  EXPECT_EQ("mls_path_required", with([](FramedContent&, Commit& commit) { commit.path.reset(); }));
  EXPECT_EQ("mls_sender_invalid", with([](FramedContent& content, Commit&) { content.sender = {SenderType::external, 0}; }));
  EXPECT_EQ("mls_sender_invalid", with([](FramedContent& content, Commit&) { content.sender = {SenderType::new_member_proposal, 0}; }));
  EXPECT_EQ("mls_leaf_source_wrong", with([](FramedContent&, Commit& commit) { commit.path->leaf_node.source = LeafNodeSource::update; }));
}

TEST_P(ForgedExternalCommit, NothingIsReferredTo) {
  // A proposal that is known to all, even.
  const Bytes proposal = VALUE(world.at("a").propose(Proposal{Remove{LeafIndex{3}}}, false, {}, world.random()));
  const PublicMessage message = VALUE(MLSMessage::decode_as<PublicMessage>(proposal));
  EXPECT_TRUE(world.follower().handle_proposal(message));
  EXPECT_TRUE(world.at("b").cache_proposal(VALUE(world.at("b").verify(message))));
  const Bytes reference = proposal_ref(world.at("a").tree().suite(), codec::encode(message.authenticated_content()));
  EXPECT_EQ("mls_external_commit_by_reference",
            with([&reference](FramedContent&, Commit& commit) { commit.proposals.push_back({ProposalOrRef::Reference{reference}}); }));
}

TEST_P(ForgedExternalCommit, ALeafThatKeepsTheKeyOfItsOldSelfIsRefused) {
  EXPECT_EQ("mls_leaf_key_duplicate", with([this](FramedContent& content, Commit& commit) {
              commit.proposals.push_back({Proposal{Remove{LeafIndex{2}}}});
              LeafNode& leaf = commit.path->leaf_node;
              leaf.encryption_key = world.at("c").tree().leaf({2})->encryption_key;
              EXPECT_TRUE(leaf.sign(world.at("a").tree().suite(), e.signature_private_key.view(), content.group_id, LeafIndex{2}));
            }));
}

// --- Successors

class Succession : public testing::Test {
 protected:
  Succession() {
    world.create("a");
    world.commit("a", {"b", "c"}, {});
    world.commit("b", {}, {});
    for (const char* name : {"a", "b", "c", "x"}) fresh.emplace(name, world.new_person(name));
  }

  std::vector<KeyPackage> packages(const std::vector<std::string>& names) {
    std::vector<KeyPackage> out;
    for (const std::string& name : names) out.push_back(fresh.at(name).key_package);
    return out;
  }
  Result<Group> join(const std::string& name, const Successor& successor, const Group* predecessor) {
    JoinParams params;
    params.predecessor = predecessor;
    return Group::join(VALUE(MLSMessage::decode_as<Welcome>(*successor.welcome)), fresh.at(name), params);
  }
  BranchParams branch_of(const std::vector<std::string>& others) {
    BranchParams params;
    params.group_id = to_bytes(as_bytes("a branch"));
    params.members = packages(others);
    return params;
  }
  void reinitialise(CipherSuite suite) {
    CommitParams params;
    params.reinit = ReInit{to_bytes(as_bytes("renewed")), 1, suite, {{extension_type::application_id, {5}}}};
    PendingCommit pending = VALUE(world.at("b").commit(params, world.random()));
    world.deliver_ending("b", pending);
  }

  World world;
  std::map<std::string, KeyPackageBundle> fresh;
};

TEST_F(Succession, ABranchIsASubgroupThatOnlyMembersOfTheOldGroupEnter) {
  const Successor branch = VALUE(world.at("a").branch(branch_of({"c"}), fresh.at("a"), world.random()));
  EXPECT_EQ(1u, branch.group.epoch());
  EXPECT_EQ("a branch", as_text(branch.group.group_id()));
  const Group at_c = VALUE(join("c", branch, &world.at("c")));
  EXPECT_TRUE(equal(branch.group.epoch_authenticator(), at_c.epoch_authenticator()));
  EXPECT_TRUE(world.at("a").active());

  EXPECT_ERROR(mls_predecessor_missing, join("c", branch, nullptr));
  World elsewhere(CipherSuite{3}, 7);
  elsewhere.create("c");
  EXPECT_ERROR(mls_psk_unknown, join("c", branch, &elsewhere.at("c")));
}

TEST_F(Succession, ABranchWithSomeoneElseOrAnotherSuiteIsNone) {
  EXPECT_ERROR(mls_succession_invalid, world.at("a").branch(branch_of({"x"}), fresh.at("a"), world.random()));
  World other(CipherSuite{1}, 5);
  BranchParams params;
  params.group_id = {1};
  params.members = {other.new_person("c").key_package};
  EXPECT_ERROR(mls_succession_invalid, world.at("a").branch(params, other.new_person("a"), other.random()));
  params.members = packages({"c"});
  EXPECT_ERROR(mls_key_package_suite_mismatch, world.at("a").branch(params, other.new_person("a"), other.random()));
}

TEST_F(Succession, AReInitEndsTheGroupAndAnyMemberStartsTheNext) {
  EXPECT_ERROR(mls_not_reinitialised, world.at("a").reinitialise({}, fresh.at("a"), world.random()));
  reinitialise(CipherSuite{3});
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_FALSE(world.at(name).active());
    ASSERT_TRUE(world.at(name).reinit().has_value());
    EXPECT_ERROR(mls_group_inactive, world.at(name).commit({}, world.random()));
    EXPECT_ERROR(mls_group_inactive, world.at(name).protect_application(as_bytes("x"), {}, world.random()));
    EXPECT_ERROR(mls_group_inactive, world.at(name).propose(Proposal{Remove{LeafIndex{1}}}, false, {}, world.random()));
    EXPECT_ERROR(mls_group_inactive, world.at(name).group_info());
  }
  SuccessorParams params;
  params.members = packages({"a", "b"});
  Successor renewed = VALUE(world.at("c").reinitialise(params, fresh.at("c"), world.random()));
  EXPECT_EQ("renewed", as_text(renewed.group.group_id()));
  EXPECT_NE(nullptr, find_extension(renewed.group.context().extensions, extension_type::application_id));
  const Group at_a = VALUE(join("a", renewed, &world.at("a")));
  EXPECT_TRUE(equal(renewed.group.epoch_authenticator(), at_a.epoch_authenticator()));
  EXPECT_TRUE(join("b", renewed, &world.at("b")));

  params.members = packages({"a"});
  EXPECT_ERROR(mls_succession_invalid, world.at("c").reinitialise(params, fresh.at("c"), world.random())); // b is missing
}

TEST_F(Succession, AReInitMayChangeTheSuite) {
  reinitialise(CipherSuite{2});
  World other(CipherSuite{2}, 5);
  std::map<std::string, KeyPackageBundle> next;
  for (const char* name : {"a", "b", "c"}) next.emplace(name, other.new_person(name));
  SuccessorParams params;
  params.members = {next.at("b").key_package, next.at("c").key_package};
  const Successor renewed = VALUE(world.at("a").reinitialise(params, next.at("a"), other.random()));
  EXPECT_EQ(CipherSuite{2}, renewed.group.suite());
  JoinParams join_params;
  join_params.predecessor = &world.at("b");
  EXPECT_TRUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*renewed.welcome)), next.at("b"), join_params));
  params.members = packages({"b", "c"});
  EXPECT_ERROR(mls_succession_invalid, world.at("a").reinitialise(params, fresh.at("a"), world.random())); // still suite 3
}

TEST_F(Succession, WhoDoesNotKnowOfTheReInitDoesNotEnterTheNextGroup) {
  CommitParams params;
  params.reinit = ReInit{to_bytes(as_bytes("renewed")), 1, CipherSuite{3}, {}};
  PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  EXPECT_TRUE(world.at("a").merge(std::move(pending.staged)));
  SuccessorParams successor;
  successor.members = packages({"b", "c"});
  const Successor renewed = VALUE(world.at("a").reinitialise(successor, fresh.at("a"), world.random()));
  EXPECT_ERROR(mls_psk_unknown, join("b", renewed, &world.at("b"))); // b is an epoch behind
  EXPECT_TRUE(world.at("b").merge(VALUE(world.at("b").stage(pending.commit))));
  EXPECT_TRUE(join("b", renewed, &world.at("b")));
}

TEST_F(Succession, ThePsksOfSuccessionStandInNoOtherCommit) {
  for (const ResumptionUsage usage : {ResumptionUsage::branch, ResumptionUsage::reinit}) {
    PreSharedKeyId id;
    id.type = PreSharedKeyId::Type::resumption;
    id.usage = usage;
    id.group_id = to_bytes(world.at("a").group_id());
    id.epoch = world.at("a").epoch();
    CommitParams params;
    params.psks = {id};
    EXPECT_ERROR(mls_psk_usage_invalid, world.at("a").commit(params, world.random()));
  }
}

TEST_F(Succession, AReInitGoesDownInNoVersionAndStandsAlone) {
  CommitParams params;
  params.reinit = ReInit{{1}, 0, CipherSuite{3}, {}};
  EXPECT_ERROR(mls_reinit_version_lower, world.at("a").commit(params, world.random()));
  params.reinit->version = 1;
  params.add = packages({"x"});
  EXPECT_ERROR(mls_reinit_not_alone, world.at("a").commit(params, world.random()));
}

// --- Who is who

/// Knows a list of names, and whoever goes by "x" and a certificate.
class Names : public CredentialVerifier {
 public:
  explicit Names(std::vector<std::string> names) : names_(std::move(names)) {}
  Result<void> verify(const Credential& credential, ByteView) const override {
    for (const std::string& name : names_) {
      if (equal(credential.identity, as_bytes(name))) return {};
    }
    if (credential.type == credential_type::x509 && credential.certificates == std::vector<Bytes>{{1, 2, 3}}) return {};
    return mls_credential_rejected;
  }
  bool same_client(const Credential& a, const Credential& b) const override { return a.identity == b.identity; }

 private:
  std::vector<std::string> names_;
};

class Policies : public testing::Test {
 protected:
  Policies() {
    world.create("a");
    world.commit("a", {"b"}, {});
    policy.verifier = &names;
  }
  CommitParams adding(const KeyPackageBundle& bundle) {
    CommitParams params;
    params.add.push_back(bundle.key_package);
    return params;
  }
  KeyPackageBundle person(KeyPackageParams params, const std::string& name = "c") {
    if (params.credential.type == credential_type::basic) params.credential = Credential::basic(as_bytes(name));
    return VALUE(generate_key_package(params, VALUE(generate_signature_keys(CipherSuite{3}, world.random())), world.random()));
  }

  World world;
  Names names{{"a", "b", "c"}};
  LeafPolicy policy;
};

TEST_F(Policies, TheVerifierIsAskedWhenAddingWhenReceivingAndWhenJoining) {
  const KeyPackageBundle x = person({}, "x");
  CommitParams params = adding(x);
  PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  params.policy = policy;
  EXPECT_ERROR(mls_credential_rejected, world.at("a").commit(params, world.random()));
  StageParams stage;
  stage.policy = policy;
  EXPECT_ERROR(mls_credential_rejected, world.at("b").stage(pending.commit, stage));
  EXPECT_TRUE(world.at("b").stage(pending.commit));
  JoinParams join;
  join.policy = policy;
  EXPECT_ERROR(mls_credential_rejected, Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), x, join));
}

TEST_F(Policies, ACredentialDoesNotTurnIntoAnothersInItsPlace) {
  LeafChanges changes;
  changes.credential = Credential::basic(as_bytes("a"));
  const Bytes update = VALUE(world.at("b").propose_update(changes, false, {}, world.random()));
  EXPECT_TRUE(world.at("a").cache_proposal(VALUE(world.at("a").verify(VALUE(MLSMessage::decode_as<PublicMessage>(update))))));
  CommitParams params;
  params.include_cached_proposals = true;
  EXPECT_ERROR(mls_credential_rejected, world.at("a").commit(params, world.random()));
  CommitParams own;
  own.leaf = changes;
  EXPECT_ERROR(mls_credential_rejected, world.at("b").commit(own, world.random()));
}

TEST_F(Policies, ACertificateThatNobodyVerifiesIsRefused) {
  KeyPackageParams params;
  params.credential.type = credential_type::x509;
  params.credential.certificates = {{1, 2, 3}};
  const KeyPackageBundle x = person(params);
  EXPECT_EQ(x.key_package, VALUE(MLSMessage::decode_as<KeyPackage>(x.message())));
  // The others' leaves must support the type as well, s.7.3.
  EXPECT_ERROR(mls_leaf_capabilities_missing, world.at("a").commit(adding(x), world.random()));
  // In a group where all do:
  Capabilities both = Capabilities::ours();
  both.credentials = {credential_type::basic, credential_type::x509};
  KeyPackageParams creator;
  creator.capabilities = both;
  Group group = VALUE(Group::create({to_bytes(as_bytes("certified")), {}, 0, {}}, person(creator, "a"), world.random()));
  params.capabilities = both;
  const KeyPackageBundle certified = person(params);
  EXPECT_ERROR(mls_credential_unverified, group.commit(adding(certified), world.random()));
  CommitParams verified = adding(certified);
  verified.policy = policy;
  const PendingCommit pending = VALUE(group.commit(verified, world.random()));
  const Welcome welcome = VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome));
  EXPECT_ERROR(mls_credential_unverified, Group::join(welcome, certified));
  JoinParams join;
  join.policy = policy;
  EXPECT_TRUE(Group::join(welcome, certified, join));
}

TEST_F(Policies, LifetimesAreLookedAtWithTheCallersTime) {
  KeyPackageParams params;
  params.lifetime = {1000, 2000};
  const KeyPackageBundle c = person(params);
  CommitParams add = adding(c);
  add.policy.now = 2001;
  EXPECT_ERROR(mls_lifetime_over, world.at("a").commit(add, world.random()));
  add.policy.now = 1500;
  add.policy.max_lifetime = 999;
  EXPECT_ERROR(mls_lifetime_too_long, world.at("a").commit(add, world.random()));
  add.policy.max_lifetime = 1000;
  const PendingCommit pending = VALUE(world.at("a").commit(add, world.random()));
  StageParams stage;
  stage.policy.now = 999;
  EXPECT_ERROR(mls_lifetime_over, world.at("b").stage(pending.commit, stage));
  JoinParams join;
  join.policy.now = 3000;
  EXPECT_ERROR(mls_lifetime_over, Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), c, join));
}

TEST_F(Policies, ExternalSendersAreVerifiedToo) {
  ByteWriter list;
  codec::write_vector(list, std::vector<ExternalSender>{{Bytes(32, 1), Credential::basic(as_bytes("nobody"))}});
  CommitParams params;
  params.group_context_extensions = Extensions{{extension_type::external_senders, to_bytes(list.view())}};
  const PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  StageParams stage;
  stage.policy = policy;
  EXPECT_ERROR(mls_credential_rejected, world.at("b").stage(pending.commit, stage));
  params.policy = policy;
  EXPECT_ERROR(mls_credential_rejected, world.at("a").commit(params, world.random()));
}

// --- Limits

TEST(Limits, AGroupGrowsNoFurtherThanTheCallerWants) {
  World world;
  const KeyPackageBundle a = world.new_person("a");
  GroupParams params;
  params.group_id = {1};
  params.limits.max_members = 2;
  params.limits.max_proposals = 2;
  Group group = VALUE(Group::create(params, a, world.random()));
  CommitParams commit;
  commit.add = {world.new_person("b").key_package, world.new_person("c").key_package};
  EXPECT_ERROR(mls_too_many_members, group.commit(commit, world.random()));
  commit.add.pop_back();
  PendingCommit pending = VALUE(group.commit(commit, world.random()));
  commit.add = {world.new_person("b").key_package, world.new_person("c").key_package, world.new_person("d").key_package};
  EXPECT_ERROR(mls_too_many_proposals, group.commit(commit, world.random()));
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(group.propose(Proposal{Add{world.new_person("e").key_package}}, false, {}, world.random()));
  EXPECT_ERROR(mls_too_many_proposals, group.propose(Proposal{Add{world.new_person("e").key_package}}, false, {}, world.random()));
}

TEST(Limits, WhoJoinsAndWhoFollowsHasItsOwn) {
  World world;
  world.create("a");
  world.commit("a", {"b"}, {});
  const KeyPackageBundle c = world.new_person("c");
  CommitParams params;
  params.add.push_back(c.key_package);
  const PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  const Welcome welcome = VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome));
  JoinParams join;
  join.limits.max_members = 2;
  EXPECT_ERROR(mls_too_many_members, Group::join(welcome, c, join));
  join.limits.max_members = 3;
  Group member = VALUE(Group::join(welcome, c, join));
  StagedCommit staged = VALUE(world.at("b").stage(pending.commit));
  EXPECT_TRUE(world.at("b").merge(std::move(staged)));
  CommitParams more;
  more.add = {world.new_person("d").key_package};
  const PendingCommit next = VALUE(world.at("b").commit(more, world.random()));
  EXPECT_ERROR(mls_too_many_members, member.stage(next.commit));
}

// --- Key packages

TEST(KeyPackageGrease, MeaninglessValuesAreSentListedAndTolerated) {
  World world;
  bool seen_leaf = false;
  for (int i = 0; i < 20; ++i) {
    const KeyPackage package = world.new_person("a").key_package;
    const LeafNode& leaf = package.leaf_node;
    const auto meaningless = [](std::uint16_t value) { return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff) && value < 0xf000; };
    for (const auto* list : {&leaf.capabilities.cipher_suites, &leaf.capabilities.extensions, &leaf.capabilities.proposals, &leaf.capabilities.credentials}) {
      EXPECT_TRUE(std::ranges::any_of(*list, meaningless));
    }
    for (const Extensions* extensions : {&leaf.extensions, &package.extensions}) {
      for (const Extension& extension : *extensions) {
        seen_leaf = seen_leaf || meaningless(extension.type);
        EXPECT_TRUE(std::ranges::count(leaf.capabilities.extensions, extension.type) > 0);
      }
    }
    EXPECT_FALSE(std::ranges::any_of(leaf.capabilities.versions, meaningless));
    EXPECT_TRUE(verify_key_package(package));
  }
  EXPECT_TRUE(seen_leaf);
  EXPECT_FALSE(std::ranges::any_of(Capabilities::ours().cipher_suites, [](std::uint16_t suite) { return suite >= 0x0a0a; }));
}

TEST(KeyPackageGrease, WhateverIsUsedIsListed) {
  World world;
  KeyPackageParams params;
  params.leaf_extensions = {{0xf00d, {1}}, {extension_type::application_id, {2}}};
  params.extensions = {{0xf00e, {}}};
  params.last_resort = true;
  params.grease = false;
  const KeyPackage package = VALUE(generate_key_package(params, VALUE(generate_signature_keys(CipherSuite{3}, world.random())), world.random())).key_package;
  EXPECT_EQ((NumberList{0xf00d, 0xf00e, extension_type::last_resort}), package.leaf_node.capabilities.extensions);
  EXPECT_TRUE(is_last_resort(package));
  EXPECT_FALSE(is_last_resort(world.new_person("a").key_package));
}

TEST(KeyPackageGrease, ALastResortPackageLetsOneIntoTwoGroups) {
  World world;
  KeyPackageParams params;
  params.credential = Credential::basic(as_bytes("b"));
  params.last_resort = true;
  const KeyPackageBundle b = VALUE(generate_key_package(params, VALUE(generate_signature_keys(CipherSuite{3}, world.random())), world.random()));
  for (const char* id : {"one", "two"}) {
    Group group = VALUE(Group::create({to_bytes(as_bytes(id)), {}, 0, {}}, world.new_person("a"), world.random()));
    CommitParams commit;
    commit.add.push_back(b.key_package);
    const PendingCommit pending = VALUE(group.commit(commit, world.random()));
    EXPECT_TRUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), b));
  }
}

} // namespace
} // namespace satsuma::mls
