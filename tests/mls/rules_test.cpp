// Rules of RFC 9420 that no honest member breaks and no damage on the way reaches: each is broken by somebody who signs what it sends. docs/mls-rules.md
// has all rules.
#include <gtest/gtest.h>

#include "forged_tree.h"
#include "hostile_member.h"
#include "world.h"

namespace satsuma::mls {
namespace {

using internal::HostileMember;

class Rules : public ThreeMembers {};

TEST_F(Rules, AProposalIsNotStagedAsACommit) {
  const PublicMessage proposal = open(VALUE(a().propose(Proposal{Remove{LeafIndex{2}}}, false, {}, world.random())));
  EXPECT_ERROR(mls_not_a_commit, b().stage(VALUE(b().verify(proposal))));
  EXPECT_ERROR(mls_not_a_commit, world.follower().verify(proposal));
  const VerifiedContent content = VALUE(verify_content(b().tree(), b().context(), proposal.authenticated_content()));
  EXPECT_ERROR(mls_not_a_commit, evaluate_commit(b().tree(), b().context(), Bytes(32), content, {}));
}

TEST_F(Rules, AWelcomeHasPsksThatACommitCouldHaveHad) {
  const KeyPackageBundle d = world.new_person("d");
  const auto join_with = [&](std::vector<PreSharedKeyId> psks) {
    const GroupSecrets secrets{SecretBytes(suite().hash_size()), std::nullopt, std::move(psks)};
    return Group::join(VALUE(HostileMember::welcome_with(suite(), d, secrets, Bytes(64), world.random())), d);
  };
  PreSharedKeyId id;
  id.type = PreSharedKeyId::Type::resumption;
  id.usage = ResumptionUsage::branch;
  id.group_id = to_bytes(as_bytes("another group"));
  id.nonce = Bytes(suite().hash_size());
  EXPECT_ERROR(mls_psk_usage_invalid, join_with({id, id})) << "it comes from one group";
  id.usage = ResumptionUsage::application;
  EXPECT_ERROR(mls_psk_unknown, join_with({id, id}));
  for (const std::size_t size : {std::size_t{0}, suite().hash_size() - 1, suite().hash_size() + 1}) {
    id.nonce = Bytes(size);
    EXPECT_ERROR(mls_psk_nonce_invalid, join_with({id}));
  }
}

TEST_F(Rules, ACommitIsNotKeptAsAProposal) {
  const PublicMessage commit = open(VALUE(a().commit({}, world.random())).commit);
  EXPECT_ERROR(mls_not_a_proposal, world.follower().handle_proposal(commit));
  EXPECT_ERROR(mls_content_unexpected, b().cache_proposal(VALUE(b().verify(commit))));
}

TEST_F(Rules, ApplicationDataInTheOpenIsRefused) {
  const PublicMessage message = open(VALUE(HostileMember::send_public(a(), ApplicationData{{1, 2, 3}})));
  EXPECT_ERROR(mls_content_unexpected, b().verify(message));
}

TEST_F(Rules, AMessageOfAnotherGroupIsRefusedAsSuch) {
  World elsewhere(CipherSuite{3}, 9);
  GroupParams params;
  params.group_id = to_bytes(as_bytes("another group"));
  Group other = VALUE(Group::create(params, elsewhere.new_person("x"), elsewhere.random()));
  EXPECT_ERROR(mls_group_mismatch, b().verify(open(VALUE(other.commit({}, elsewhere.random())).commit)));
  const Bytes application = VALUE(other.protect_application(as_bytes("x"), {}, elsewhere.random()));
  EXPECT_ERROR(mls_group_mismatch, b().unprotect_application(application));
  EXPECT_ERROR(mls_group_mismatch, b().unprotect(VALUE(MLSMessage::decode_as<PrivateMessage>(application))));
}

TEST_F(Rules, APrivateMessageIsOfAMemberAndNotOurs) {
  for (const ContentType type : {ContentType::application, ContentType::commit}) {
    const Bytes from_nobody = HostileMember::seal_private(a(), type, Bytes(100), LeafIndex{3});  // a blank leaf
    const Bytes from_nowhere = HostileMember::seal_private(a(), type, Bytes(100), LeafIndex{99}); // outside of the tree
    const Bytes from_us = HostileMember::seal_private(a(), type, Bytes(100), b().own_leaf());
    const auto at_b = [&](const Bytes& message) {
      if (type == ContentType::application) return error_name(b().unprotect_application(message));
      return error_name(b().unprotect(VALUE(MLSMessage::decode_as<PrivateMessage>(message))));
    };
    EXPECT_EQ("mls_sender_invalid", at_b(from_nobody));
    EXPECT_EQ("mls_sender_invalid", at_b(from_nowhere));
    EXPECT_EQ("mls_own_message", at_b(from_us));
  }
}

TEST_F(Rules, AGroupThatEndedForUsMergesAndCachesNothing) {
  const PublicMessage proposal = open(VALUE(a().propose(Proposal{Remove{LeafIndex{2}}}, false, {}, world.random())));
  const VerifiedMessage heard = VALUE(world.at("c").verify(proposal));
  CommitParams remove;
  remove.remove.push_back(world.at("c").own_leaf());
  const PendingCommit pending = VALUE(a().commit(remove, world.random()));
  Group& c = world.at("c");
  StagedCommit once = VALUE(c.stage(pending.commit)), again = VALUE(c.stage(pending.commit));
  const VerifiedMessage commit = VALUE(c.verify(open(pending.commit)));
  ASSERT_TRUE(c.merge(std::move(once)));
  EXPECT_ERROR(mls_group_inactive, c.merge(std::move(again)));
  EXPECT_ERROR(mls_group_inactive, c.cache_proposal(heard));
  EXPECT_ERROR(mls_group_inactive, c.stage(commit));
  EXPECT_ERROR(mls_group_inactive, c.group_info());
  EXPECT_ERROR(mls_group_inactive, c.propose(Proposal{Remove{LeafIndex{0}}}, false, {}, world.random()));
  EXPECT_ERROR(mls_group_inactive, c.propose_update({}, false, {}, world.random()));
  EXPECT_ERROR(mls_group_inactive, c.branch({}, world.new_person("c"), world.random()));
}

TEST_F(Rules, WhatWasVerifiedInAnotherEpochIsStale) {
  const VerifiedMessage proposal = VALUE(b().verify(open(VALUE(a().propose(Proposal{Remove{LeafIndex{2}}}, false, {}, world.random())))));
  const VerifiedMessage commit = VALUE(b().verify(open(VALUE(a().commit({}, world.random())).commit)));
  world.commit("a", {}, {});
  EXPECT_ERROR(mls_stale_stage, b().cache_proposal(proposal));
  EXPECT_ERROR(mls_stale_stage, b().stage(commit));
}

TEST_F(Rules, AnUpdateIsProposedWithItsKeyOrNotAtAll) {
  EXPECT_ERROR(mls_content_unexpected, a().propose(Proposal{Update{*a().tree().leaf({0})}}, false, {}, world.random()));
}

TEST_F(Rules, PaddingThatIsNotZerosIsRefused) {
  Bytes plaintext = HostileMember::private_plaintext(a(), ApplicationData{{1, 2, 3}});
  EXPECT_TRUE(b().unprotect_application(HostileMember::seal_private(a(), ContentType::application, plaintext)));
  plaintext.resize(plaintext.size() + 20);
  EXPECT_TRUE(b().unprotect_application(HostileMember::seal_private(a(), ContentType::application, plaintext)));
  plaintext.back() = 1;
  EXPECT_ERROR(mls_padding_invalid, b().unprotect_application(HostileMember::seal_private(a(), ContentType::application, plaintext)));
  plaintext.back() = 0;
  plaintext[plaintext.size() - 20] = 0x80;
  EXPECT_ERROR(mls_padding_invalid, b().unprotect_application(HostileMember::seal_private(a(), ContentType::application, plaintext)));
}

TEST_F(Rules, APrivateMessageThatIsShorterThanItsTagIsRefused) {
  PrivateMessage message = VALUE(MLSMessage::decode_as<PrivateMessage>(VALUE(a().protect_application(as_bytes("x"), {}, world.random()))));
  for (const std::size_t size : {0u, 1u, 15u}) {
    message.encrypted_sender_data.resize(size);
    EXPECT_ERROR(mls_private_message_invalid, b().unprotect_application(MLSMessage{message}.encode()));
    EXPECT_ERROR(mls_private_message_invalid, b().unprotect(message));
  }
}

TEST_F(Rules, APathSecretThatDoesNotGiveThePathsKeysIsRefused) {
  PendingCommit pending = VALUE(a().commit({}, world.random()));
  const PublicMessage message = open(pending.commit);
  Commit commit = *std::get_if<Commit>(&message.content.content);
  Group ahead = VALUE(Group::load(VALUE(a().store()).view()));
  ASSERT_TRUE(ahead.merge(std::move(pending.staged)));
  GroupContext provisional = ahead.context();
  provisional.confirmed_transcript_hash = a().context().confirmed_transcript_hash;

  // The last node's one ciphertext is for the other half of the tree, which is c alone. Its leaf is the key that it is under.
  UpdatePathNode& node = commit.path->nodes.back();
  ASSERT_EQ(1u, node.encrypted_path_secret.size());
  const auto seal = [&](ByteView secret) {
    node.encrypted_path_secret[0] = VALUE(encrypt_with_label(suite(), a().tree().leaf({2})->encryption_key, "UpdatePathNode", codec::encode(provisional), secret,
                                                             world.random()));
    return VALUE(HostileMember::send_public(a(), commit));
  };
  EXPECT_ERROR(mls_path_secret_invalid, world.at("c").stage(seal(Bytes(32, 7))));
  EXPECT_ERROR(mls_path_secret_invalid, world.at("c").stage(seal({})));
}

class Joining : public Rules {
 protected:
  Joining() : d(world.new_person("d")) {
    CommitParams params;
    params.add.push_back(d.key_package);
    PendingCommit pending = VALUE(a().commit(params, world.random()));
    welcome = VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome));
    const EncryptedGroupSecrets& entry = *welcome.find(d.key_package.reference(suite()));
    secrets = VALUE(decrypt_group_secrets(suite(), entry, d.init_private_key.view(), d.key_package.init_key, welcome.encrypted_group_info));
    const SecretBytes welcome_secret = derive_welcome_secret(suite(), secrets.joiner_secret.view(), derive_psk_secret(suite(), {}).view());
    info = VALUE(decrypt_group_info(suite(), welcome_secret.view(), welcome.encrypted_group_info));
    EXPECT_TRUE(a().merge(std::move(pending.staged)));
  }
  Result<Group> join(const KeyPackageBundle& who) { return Group::join(VALUE(HostileMember::welcome(a(), who, secrets, info, world.random())), who); }

  KeyPackageBundle d;
  Welcome welcome;
  GroupSecrets secrets;
  GroupInfo info;
};

TEST_F(Joining, AWelcomeIntoATreeWithoutUsIsRefused) {
  EXPECT_TRUE(join(d));
  EXPECT_ERROR(mls_welcome_leaf_missing, join(world.new_person("e")));
}

TEST_F(Joining, AWelcomeWhoseGroupInfoIsShorterThanItsTagIsRefused) {
  for (const std::size_t size : {0u, 1u, 15u}) {
    const Welcome cut = VALUE(HostileMember::welcome_with(suite(), d, secrets, Bytes(size), world.random()));
    EXPECT_ERROR(mls_welcome_invalid, Group::join(cut, d));
  }
  EXPECT_ERROR(mls_decryption_failed, Group::join(VALUE(HostileMember::welcome_with(suite(), d, secrets, Bytes(16), world.random())), d));
}

TEST_F(Joining, AWelcomesPathSecretMustGiveTheTreesKeys) {
  ASSERT_TRUE(secrets.path_secret);
  secrets.path_secret->mutable_view()[4] ^= 1;
  EXPECT_ERROR(mls_path_secret_invalid, join(d));
}

TEST_F(Joining, AWelcomesPathSecretForABlankNodeIsRefused) {
  GroupParams params;
  params.group_id = to_bytes(as_bytes("two"));
  Group alone = VALUE(Group::create(params, world.new_person("x"), world.random()));
  const KeyPackageBundle y = world.new_person("y");
  CommitParams add;
  add.add.push_back(y.key_package);
  add.force_path = false;
  PendingCommit pending = VALUE(alone.commit(add, world.random()));
  const Welcome bare = VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome));
  GroupSecrets of_y = VALUE(decrypt_group_secrets(suite(), bare.secrets[0], y.init_private_key.view(), y.key_package.init_key, bare.encrypted_group_info));
  EXPECT_FALSE(of_y.path_secret);
  of_y.path_secret = SecretBytes(32);
  EXPECT_ERROR(mls_path_secret_invalid,
               Group::join(VALUE(HostileMember::welcome_with(suite(), y, of_y, bare.encrypted_group_info, world.random())), y));
}

/// Eight who have all committed, of whom the last was removed and somebody was added without a path: unmerged below the root and the right half.
class UnmergedLeaves : public testing::Test {
 protected:
  UnmergedLeaves() {
    world.create("a");
    world.commit("a", {"b", "c", "d", "e", "f", "g", "h"}, {});
    for (const char* name : {"b", "c", "d", "e", "f", "g", "h", "a"}) world.commit(name, {}, {});
    world.commit("e", {}, {"h"});
    world.commit("a", {"i"}, {}, false);
    EXPECT_EQ(std::vector<LeafIndex>{{7}}, world.at("a").tree().parent({7})->unmerged_leaves);
    EXPECT_EQ(std::vector<LeafIndex>{{7}}, world.at("a").tree().parent({11})->unmerged_leaves);
    EXPECT_EQ(nullptr, world.at("a").tree().parent({13}));
  }
  /// What a joiner says of the tree with other unmerged leaves at one node.
  std::string with(NodeIndex node, std::vector<LeafIndex> leaves) {
    GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(world.at("a").group_info())));
    set_tree(info, change_parents(world.at("a").tree(), [&](NodeIndex index, ParentNode& parent) {
      if (index == node) parent.unmerged_leaves = leaves;
    }));
    EXPECT_TRUE(info.sign(world.at("a").tree().suite(), world.signature_key("a")));
    return error_name(PublicGroup::from_group_info(info));
  }
  World world;
};

TEST_F(UnmergedLeaves, AsTheyAreTheyAreAccepted) { EXPECT_EQ("none", with({7}, {{7}})); }
TEST_F(UnmergedLeaves, RiseAndStandOnce) {
  EXPECT_EQ("mls_unmerged_leaves_invalid", with({7}, {{7}, {7}}));
  EXPECT_EQ("mls_unmerged_leaves_invalid", with({7}, {{7}, {2}}));
}
TEST_F(UnmergedLeaves, AreMembersBelowTheNode) {
  EXPECT_EQ("mls_unmerged_leaves_invalid", with({11}, {{2}, {7}}));  // in the other half
  EXPECT_EQ("mls_unmerged_leaves_invalid", with({7}, {{7}, {8}}));   // outside of the tree
  EXPECT_EQ("mls_unmerged_leaves_invalid", with({7}, {{7}, {~0u}}));
  world.commit("a", {}, {"c"}, true);
  EXPECT_EQ("mls_unmerged_leaves_invalid", with({11}, {{2}}));
  EXPECT_EQ("mls_unmerged_leaves_invalid", with({7}, {{2}})); // nobody is there any more
}
TEST_F(UnmergedLeaves, AreListedByEveryNodeBetweenThatIsNotBlank) {
  EXPECT_EQ("mls_unmerged_leaves_invalid", with({11}, {}));
}
TEST_F(Rules, WhatAGroupDemandsEverybodyHas) {
  RequiredCapabilities extensions, proposals, credentials;
  extensions.extensions.push_back(0xf00d);
  proposals.proposals.push_back(0xf00d);
  credentials.credentials.push_back(0xf00d);
  for (const RequiredCapabilities& required : {extensions, proposals, credentials}) {
    CommitParams params;
    params.group_context_extensions = Extensions{{extension_type::required_capabilities, codec::encode(required)}};
    EXPECT_ERROR(mls_leaf_capabilities_missing, a().commit(params, world.random()));
  }
}

TEST_F(Rules, AParentsKeyIsAKey) {
  GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(a().group_info())));
  set_tree(info, change_parents(a().tree(), [](NodeIndex, ParentNode& parent) { parent.encryption_key = Bytes(31, 9); }));
  ASSERT_TRUE(info.sign(suite(), world.signature_key("a")));
  EXPECT_ERROR(mls_leaf_key_invalid, PublicGroup::from_group_info(info));
}

TEST_F(UnmergedLeaves, ThatSomebodyLeftOutMakeTheParentHashFalse) {
  // Nobody above lists who was added: then it would be a key that it does not know.
  GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(world.at("a").group_info())));
  set_tree(info, change_parents(world.at("a").tree(), [](NodeIndex, ParentNode& parent) { parent.unmerged_leaves.clear(); }));
  ASSERT_TRUE(info.sign(world.at("a").tree().suite(), world.signature_key("a")));
  EXPECT_ERROR(mls_parent_hash_invalid, PublicGroup::from_group_info(info));
}

// --- What no decoder takes

template <class T>
std::string decode_error(const char* hex) { return error_name(codec::decode<T>(*from_hex(hex))); }

TEST(Decoding, OtherVersionsAreRefused) {
  World world;
  Bytes message = world.new_person("a").message();
  message[1] = 2;
  EXPECT_ERROR(mls_version_unsupported, MLSMessage::decode(message));
  KeyPackage package = world.new_person("a").key_package;
  package.version = 2;
  EXPECT_ERROR(mls_version_unsupported, codec::decode<KeyPackage>(codec::encode(package)));
  EXPECT_ERROR(mls_version_unsupported, verify_key_package(package));
  GroupContext context = world.create("a").context();
  context.version = 0xffff;
  EXPECT_ERROR(mls_version_unsupported, codec::decode<GroupContext>(codec::encode(context)));
}

TEST(Decoding, OtherWireFormatsAreRefused) {
  for (const char* format : {"00010000", "00010006", "0001ffff"}) EXPECT_EQ("mls_wire_format_unknown", decode_error<MLSMessage>(format));
  EXPECT_EQ("mls_wire_format_unknown", decode_error<AuthenticatedContent>("0003"));
}

TEST(Decoding, OtherProposalsAreRefused) {
  for (const char* type : {"0000", "000b", "0a0a", "f001", "ffff"}) EXPECT_EQ("mls_proposal_unknown", decode_error<Proposal>(type));
}

TEST(Decoding, NumbersThatNameNothingAreRefused) {
  for (const char* type : {"00", "05", "ff"}) EXPECT_EQ("mls_enum_invalid", decode_error<Sender>(type));
  for (const char* type : {"00", "03"}) EXPECT_EQ("mls_enum_invalid", decode_error<ProposalOrRef>(type));
  for (const char* type : {"00", "03", "0200", "0204"}) EXPECT_EQ("mls_enum_invalid", decode_error<PreSharedKeyId>(type));
  for (const char* type : {"0000", "0003", "0a0a"}) EXPECT_EQ("mls_enum_invalid", decode_error<Credential>(type));
  // PrivateMessage: group, epoch, content type.
  for (const char* message : {"00000000000000000000", "00000000000000000004"}) EXPECT_EQ("mls_enum_invalid", decode_error<PrivateMessage>(message));
  // FramedContent: group, epoch, a member at 0, no data, content type.
  EXPECT_EQ("mls_enum_invalid", decode_error<FramedContent>("00000000000000000001000000000000"));
  EXPECT_EQ("mls_enum_invalid", decode_error<FramedContent>("00000000000000000001000000000004"));
  LeafNode leaf = World().new_person("a").key_package.leaf_node;
  for (const int source : {0, 4}) {
    leaf.source = static_cast<LeafNodeSource>(source);
    EXPECT_ERROR(mls_enum_invalid, codec::decode<LeafNode>(codec::encode(leaf)));
  }
}

} // namespace
} // namespace satsuma::mls
