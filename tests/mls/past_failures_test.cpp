// What other implementations of MLS and of protocols like it have got wrong, one test for each.
#include <gtest/gtest.h>

#include <set>

#include "forged_tree.h"
#include "hostile_member.h"
#include "mls/group/external_proposal.h"
#include "world.h"

namespace satsuma::mls {
namespace {

using internal::HostileMember;

class PastFailures : public ThreeMembers {
 protected:
  LeafIndex leaf(const std::string& name) { return world.at(name).own_leaf(); }
  /// What b says of a commit of a's that breaks a rule however well it is signed and tagged. The follower says the same.
  std::string at_b(Commit commit) { return at_b(VALUE(HostileMember::send_public(a(), std::move(commit)))); }
  std::string at_b(const Bytes& message) {
    const std::string error = error_name(b().stage(message));
    EXPECT_EQ(error, error_name(world.follower().verify(open(message))));
    return error;
  }
  static Commit list(std::vector<Proposal> proposals) {
    Commit commit;
    for (Proposal& proposal : proposals) commit.proposals.push_back({std::move(proposal)});
    return commit;
  }
  /// Everyone hears it; its reference.
  ProposalOrRef hear(const std::string& sender, const Bytes& message) {
    const PublicMessage parsed = open(message);
    for (auto& [name, group] : world.members()) {
      if (name == sender) continue;
      EXPECT_TRUE(group.cache_proposal(VALUE(group.verify(parsed)))) << name;
    }
    EXPECT_TRUE(world.follower().handle_proposal(parsed));
    return {ProposalOrRef::Reference{proposal_ref(suite(), codec::encode(parsed.authenticated_content()))}};
  }
  ProposalOrRef propose(const std::string& who, Proposal proposal) { return hear(who, VALUE(world.at(who).propose(proposal, false, {}, world.random()))); }
  ProposalOrRef propose_update(const std::string& who) { return hear(who, VALUE(world.at(who).propose_update({}, false, {}, world.random()))); }
  /// A package with somebody's signature key.
  KeyPackage package_with_key_of(const std::string& name) {
    const crypto::SignatureKeyPair keys{world.at(name).tree().leaf(leaf(name))->signature_key, SecretBytes::copy_of(world.signature_key(name))};
    KeyPackageParams params;
    params.credential = Credential::basic(as_bytes(name));
    return VALUE(generate_key_package(params, keys, world.random())).key_package;
  }
  /// A path of a's over its own tree, with changes, signed again by a.
  Commit path_with(const std::function<void(UpdatePath&)>& change) {
    const PublicMessage message = open(VALUE(a().commit({}, world.random())).commit);
    Commit commit = *std::get_if<Commit>(&message.content.content);
    change(*commit.path);
    EXPECT_TRUE(commit.path->leaf_node.sign(suite(), world.signature_key("a"), a().group_id(), leaf("a")));
    return commit;
  }
  /// d and its Welcome, taken apart by d: so a can seal another GroupInfo in it.
  struct Invitation {
    KeyPackageBundle bundle;
    GroupSecrets secrets;
    GroupInfo info;
  };
  Invitation invite(const std::string& name) {
    Invitation out{world.new_person(name), {}, {}};
    CommitParams params;
    params.add.push_back(out.bundle.key_package);
    PendingCommit pending = VALUE(a().commit(params, world.random()));
    const Welcome welcome = VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome));
    const KeyPackage& package = out.bundle.key_package;
    out.secrets = VALUE(decrypt_group_secrets(suite(), *welcome.find(package.reference(suite())), out.bundle.init_private_key.view(), package.init_key,
                                              welcome.encrypted_group_info));
    const SecretBytes secret = derive_welcome_secret(suite(), out.secrets.joiner_secret.view(), derive_psk_secret(suite(), {}).view());
    out.info = VALUE(decrypt_group_info(suite(), secret.view(), welcome.encrypted_group_info));
    world.deliver("a", pending);
    return out;
  }
  std::string join(const Invitation& with) {
    return error_name(Group::join(VALUE(HostileMember::welcome(a(), with.bundle, with.secrets, with.info, world.random())), with.bundle));
  }
};

// --- A comparison that looks at as many bytes as the shorter one has takes an empty tag.

TEST_F(PastFailures, TagComparisonIgnoresTheLength) {
  const PublicMessage good = open(VALUE(a().commit({}, world.random())).commit);
  EXPECT_TRUE(b().verify(good));
  for (const std::size_t size : {0u, 1u, 16u, 31u, 33u, 64u}) {
    PublicMessage message = good;
    message.membership_tag.resize(size);
    EXPECT_ERROR(mls_membership_tag_mismatch, b().verify(message)) << size;
    message = good;
    message.auth.confirmation_tag.resize(size);
    EXPECT_ERROR(mls_membership_tag_mismatch, b().verify(message)) << size;
    EXPECT_ERROR(mls_confirmation_tag_mismatch, b().stage(HostileMember::tag_again(a(), message))) << size;
  }
  Invitation d = invite("d");
  EXPECT_EQ("none", join(d));
  const Bytes tag = d.info.confirmation_tag;
  for (const std::size_t size : {0u, 1u, 16u, 31u, 33u, 64u}) {
    d.info.confirmation_tag = tag;
    d.info.confirmation_tag.resize(size);
    EXPECT_EQ("mls_confirmation_tag_mismatch", join(d)) << size;
  }
}

// --- Decoders that end the process.

TEST_F(PastFailures, PanicsInDecoders) {
  CommitParams params;
  params.add.push_back(world.new_person("d").key_package);
  const PendingCommit pending = VALUE(a().commit(params, world.random()));
  const std::vector<Bytes> messages = {pending.commit, *pending.welcome, VALUE(a().group_info(true, true)), world.new_person("e").message(),
                                       VALUE(a().protect_application(as_bytes("x"), {}, world.random())), a().tree().serialise()};
  std::size_t decoded = 0;
  for (const Bytes& message : messages) {
    for (int round = 0; round < 3000; ++round) {
      Bytes bytes = message;
      bytes.resize(bytes.size() - (world.random().below(4) == 0 ? world.random().below(bytes.size()) : 0));
      for (std::size_t i = world.random().below(4); i > 0 && !bytes.empty(); --i) {
        // Lengths are what decoders fall over: many bytes become the beginning of a long one.
        constexpr std::uint8_t evil[] = {0x00, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
        bytes[world.random().below(bytes.size())] = evil[world.random().below(std::size(evil))];
      }
      if (const auto tree = RatchetTree::parse(suite().id, bytes)) {
        (void)tree->tree_hash();
        (void)tree->verify_parent_hashes();
      }
      const auto parsed = MLSMessage::decode(bytes);
      if (!parsed) continue;
      ++decoded;
      EXPECT_EQ(bytes, parsed->encode()); // one encoding for each message
      if (const auto* open_message = parsed->as<PublicMessage>()) (void)b().verify(*open_message);
      if (const auto* sealed = parsed->as<PrivateMessage>()) (void)b().unprotect(*sealed);
      if (const auto* info = parsed->as<GroupInfo>()) (void)PublicGroup::from_group_info(*info);
    }
  }
  EXPECT_GT(decoded, 1000u);
}

// --- Bytes behind the end that nobody looks at.

TEST_F(PastFailures, TrailingBytesAreAccepted) {
  CommitParams params;
  params.add.push_back(world.new_person("d").key_package);
  const PendingCommit pending = VALUE(a().commit(params, world.random()));
  const Bytes application = VALUE(a().protect_application(as_bytes("x"), {}, world.random()));
  for (Bytes message : {pending.commit, *pending.welcome, VALUE(a().group_info(true, true)), world.new_person("e").message(), application}) {
    EXPECT_TRUE(MLSMessage::decode(message));
    message.push_back(0);
    EXPECT_ERROR(bytes_trailing, MLSMessage::decode(message));
  }
  // The same in what extensions and ciphertexts carry.
  Bytes tree = a().tree().serialise();
  tree.push_back(0);
  EXPECT_ERROR(bytes_trailing, RatchetTree::parse(suite().id, tree));
  const auto group_extension = [&](std::uint16_t type, Bytes data) { return at_b(list({Proposal{GroupContextExtensions{{{type, std::move(data)}}}}})); };
  EXPECT_EQ("mls_path_required", group_extension(extension_type::required_capabilities, {0, 0, 0}));
  EXPECT_EQ("bytes_trailing", group_extension(extension_type::required_capabilities, {0, 0, 0, 0}));
  EXPECT_EQ("mls_path_required", group_extension(extension_type::external_senders, {0}));
  EXPECT_EQ("bytes_trailing", group_extension(extension_type::external_senders, {0, 0}));
  GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(a().group_info(true, true))));
  for (Extension& extension : info.extensions) {
    if (extension.type == extension_type::external_pub) extension.data.push_back(0);
  }
  ASSERT_TRUE(info.sign(suite(), world.signature_key("a")));
  EXPECT_ERROR(bytes_trailing, Group::join_external(info, world.new_person("e"), {}, world.random()));
  Bytes plaintext = HostileMember::private_plaintext(a(), ApplicationData{{1, 2, 3}});
  plaintext.push_back(7);
  EXPECT_ERROR(mls_padding_invalid, b().unprotect_application(HostileMember::seal_private(a(), ContentType::application, plaintext)));
  PrivateMessage sealed = VALUE(MLSMessage::decode_as<PrivateMessage>(application));
  sealed.encrypted_sender_data.push_back(0);
  EXPECT_ERROR(mls_decryption_failed, b().unprotect(sealed));
}

// --- A server that plants its own key above somebody is found by the parent hashes, if whoever joins looks at them.

TEST_F(PastFailures, ParentHashesAreNotCheckedOnJoining) {
  Invitation d = invite("d");
  const RatchetTree honest = VALUE(RatchetTree::parse(suite().id, find_extension(d.info.extensions, extension_type::ratchet_tree)->data));
  const Bytes planted = crypto::kem_generate_key_pair(suite().kem, world.random()).public_key;
  d.secrets.path_secret.reset(); // nothing but the tree speaks against it
  for (std::uint32_t i = 1; i < honest.node_width(); i += 2) {
    if (honest.is_blank({i})) continue;
    set_tree(d.info, change_parents(honest, [&](NodeIndex index, ParentNode& parent) {
      if (index == NodeIndex{i}) parent.encryption_key = planted;
    }));
    EXPECT_EQ("mls_parent_hash_invalid", join(d)) << i;
  }
  // The same for who comes in unasked.
  GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(a().group_info(true, true))));
  set_tree(info, change_parents(a().tree(), [&](NodeIndex, ParentNode& parent) { parent.encryption_key = planted; }));
  ASSERT_TRUE(info.sign(suite(), world.signature_key("a")));
  const auto outcome = Group::join_external(info, world.new_person("e"), {}, world.random());
  EXPECT_TRUE(error_name(outcome) == "mls_parent_hash_invalid" || error_name(outcome) == "mls_leaf_key_duplicate") << error_name(outcome);
}

// --- A commit without a path where one is needed leaves who was removed in possession of the secrets; a path that is demanded without need is
// --- merely refused by others.

TEST_F(PastFailures, WhetherAPathIsNeeded) {
  PskStore psks;
  psks.add_external(as_bytes("id"), as_bytes("value"));
  PreSharedKeyId psk;
  psk.external_id = to_bytes(as_bytes("id"));
  psk.nonce = Bytes(32, 5);
  enum : unsigned { add = 1, with_psk = 2, remove = 4, extensions = 8, update = 16, all = 32 };
  const KeyPackage newcomer = world.new_person("d").key_package;
  const ProposalOrRef update_of_c = propose_update("c");
  for (unsigned kinds = 0; kinds < all; ++kinds) {
    const bool needed = kinds == 0 || (kinds & (remove | extensions | update)) != 0;
    Commit commit;
    if (kinds & add) commit.proposals.push_back({Proposal{Add{newcomer}}});
    if (kinds & with_psk) commit.proposals.push_back({Proposal{PreSharedKey{psk}}});
    if (kinds & remove) commit.proposals.push_back({Proposal{Remove{leaf("b")}}});
    if (kinds & extensions) commit.proposals.push_back({Proposal{GroupContextExtensions{}}});
    if (kinds & update) commit.proposals.push_back(update_of_c);
    const Bytes bare = VALUE(HostileMember::send_public(a(), commit));
    // Where none is needed, the commit fails by its tag alone, which a made up here. Who is removed has no tag to look at.
    const std::string expected = needed ? "mls_path_required" : "mls_confirmation_tag_mismatch";
    EXPECT_EQ(expected, error_name(b().stage(bare, StageParams(&psks)))) << kinds;
    EXPECT_EQ(needed ? "mls_path_required" : "none", error_name(world.follower().verify(open(bare)))) << kinds;

    if (kinds & update) continue; // a's own choice takes all that waits
    CommitParams params;
    params.force_path = false;
    params.psk_store = &psks;
    if (kinds & add) params.add.push_back(newcomer);
    if (kinds & with_psk) params.psks.push_back(psk);
    if (kinds & remove) params.remove.push_back(leaf("b"));
    if (kinds & extensions) params.group_context_extensions = Extensions{};
    const PublicMessage made = open(VALUE(a().commit(params, world.random())).commit);
    EXPECT_EQ(needed, std::get_if<Commit>(&made.content.content)->path.has_value()) << kinds;
  }
  const Commit reinit = list({Proposal{ReInit{to_bytes(as_bytes("next")), 1, CipherSuite{3}, {}}}});
  EXPECT_ERROR(mls_confirmation_tag_mismatch, b().stage(VALUE(HostileMember::send_public(a(), reinit))));
}

// --- Whoever stands in a leaf now is not who sent the message that comes late.

TEST_F(PastFailures, ASenderOfAPastEpochIsLookedUpInTodaysTree) {
  const Epoch then = a().epoch();
  const LeafIndex place = leaf("c");
  const Bytes late = VALUE(world.at("c").protect_application(as_bytes("before I went"), {}, world.random()));
  const Bytes late_too = VALUE(world.at("c").protect_application(as_bytes("again"), {}, world.random()));
  world.commit("a", {"d"}, {"c"});
  ASSERT_EQ(place, leaf("d"));
  const ReceivedApplication received = VALUE(b().unprotect_application(late));
  EXPECT_EQ("before I went", as_text(received.plaintext.view()));
  EXPECT_EQ(then, received.epoch);
  EXPECT_EQ(place, received.sender);
  EXPECT_EQ("c", as_text(received.from.credential.identity));
  EXPECT_NE(b().tree().leaf(place)->signature_key, received.from.signature_key);
  // Also where nobody stands any more.
  world.commit("a", {}, {"d"});
  EXPECT_EQ("c", as_text(VALUE(b().unprotect_application(late_too)).from.credential.identity));
  // And handshake messages of then are of then.
  EXPECT_ERROR(mls_epoch_mismatch, b().unprotect(VALUE(MLSMessage::decode_as<PrivateMessage>(late))));
}

// --- Proposals that are good alone and not together.

TEST_F(PastFailures, CombinationsOfProposals) {
  const Proposal remove_c{Remove{leaf("c")}}, add_d{Add{world.new_person("d").key_package}};
  PreSharedKeyId psk;
  psk.nonce = Bytes(32, 1);
  const Proposal with_psk{PreSharedKey{psk}}, extensions{GroupContextExtensions{}};
  const Proposal reinit{ReInit{to_bytes(as_bytes("next")), 1, CipherSuite{3}, {}}};
  const ProposalOrRef update_of_c = propose_update("c"), update_of_a = propose_update("a"), second_of_c = propose_update("c");
  const auto with = [&](std::vector<Proposal> by_value, std::vector<ProposalOrRef> by_reference) {
    Commit commit = list(std::move(by_value));
    commit.proposals.insert(commit.proposals.end(), by_reference.begin(), by_reference.end());
    return at_b(std::move(commit));
  };
  EXPECT_EQ("mls_leaf_changed_twice", with({remove_c, remove_c}, {}));
  EXPECT_EQ("mls_leaf_changed_twice", with({remove_c}, {update_of_c}));
  EXPECT_EQ("mls_leaf_changed_twice", with({}, {update_of_c, second_of_c}));
  EXPECT_EQ("mls_leaf_changed_twice", with({}, {update_of_c, update_of_c}));
  EXPECT_EQ("mls_update_by_committer", with({}, {update_of_a}));
  EXPECT_EQ("mls_update_by_committer", with({Proposal{Update{*a().tree().leaf(leaf("c"))}}}, {}));
  EXPECT_EQ("mls_leaf_key_duplicate", with({add_d, add_d}, {}));
  EXPECT_EQ("mls_psk_duplicate", with({with_psk, with_psk}, {}));
  EXPECT_EQ("mls_group_context_extensions_duplicate", with({extensions, extensions}, {}));
  for (const Proposal& other : {remove_c, add_d, with_psk, extensions, reinit}) {
    EXPECT_EQ("mls_reinit_not_alone", with({reinit, other}, {}));
    EXPECT_EQ("mls_reinit_not_alone", with({other, reinit}, {}));
  }
  EXPECT_EQ("mls_external_init_in_member_commit", with({Proposal{ExternalInit{}}}, {}));
  // And those that do go together.
  EXPECT_EQ("mls_path_required", with({remove_c, add_d, extensions, with_psk}, {}));
  EXPECT_EQ("mls_path_required", with({Proposal{Add{package_with_key_of("c")}}, remove_c}, {}));
}

// --- A committer that removes itself would know the secrets of an epoch that it is not in.

TEST_F(PastFailures, AnOwnRemove) {
  EXPECT_ERROR(mls_cannot_remove_self, [&] {
    CommitParams params;
    params.remove.push_back(leaf("a"));
    return a().commit(params, world.random());
  }());
  EXPECT_EQ("mls_commit_removes_committer", at_b(list({Proposal{Remove{leaf("a")}}})));
  // By reference, proposed by itself or by another.
  Commit commit;
  commit.proposals.push_back(propose("a", Proposal{Remove{leaf("a")}}));
  EXPECT_EQ("mls_commit_removes_committer", at_b(commit));
  commit.proposals[0] = propose("c", Proposal{Remove{leaf("a")}});
  EXPECT_EQ("mls_commit_removes_committer", at_b(commit));
  // Our own choice leaves it out, and another may commit it.
  CommitParams cached;
  cached.include_cached_proposals = true;
  EXPECT_TRUE(VALUE(a().commit(cached, world.random())).staged.effects().removed.empty());
  PendingCommit by_b = VALUE(b().commit(cached, world.random()));
  EXPECT_EQ(1u, by_b.staged.effects().removed.size());
  EXPECT_TRUE(VALUE(a().stage(by_b.commit)).removes_self());
}

// --- Two leaves with one key: one of them can speak for the other, or read what is encrypted to it.

TEST_F(PastFailures, DuplicateSignatureKeys) {
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(list({Proposal{Add{package_with_key_of("b")}}})));
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(list({Proposal{Add{package_with_key_of("a")}}})));
  const crypto::SignatureKeyPair of_b{a().tree().leaf(leaf("b"))->signature_key, SecretBytes::copy_of(world.signature_key("b"))};
  LeafChanges changes;
  changes.signature_keys = &of_b;
  Commit commit;
  commit.proposals.push_back(hear("c", VALUE(world.at("c").propose_update(changes, false, {}, world.random()))));
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(commit));
  // In a path, signed with the key of b that a has stolen.
  Commit path = path_with([](UpdatePath&) {});
  path.path->leaf_node.signature_key = of_b.public_key;
  ASSERT_TRUE(path.path->leaf_node.sign(suite(), of_b.private_key.view(), a().group_id(), leaf("a")));
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(path));
  // Who comes in unasked.
  GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(a().group_info(true, true))));
  KeyPackageParams params;
  params.credential = Credential::basic(as_bytes("b"));
  const KeyPackageBundle twin = VALUE(generate_key_package(params, of_b, world.random()));
  EXPECT_ERROR(mls_leaf_key_duplicate, Group::join_external(info, twin, {}, world.random()));
  // And in the tree that a joiner is given: one without parents, since parent hashes would tell as well.
  World flat(CipherSuite{3}, 2);
  flat.create("a");
  flat.commit("a", {"b", "c"}, {}, false);
  info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(flat.at("a").group_info())));
  set_tree(info, change_leaves(flat.at("a").tree(), [&](LeafIndex index, LeafNode& node) {
    if (index != LeafIndex{2}) return;
    node.signature_key = flat.at("a").tree().leaf({1})->signature_key;
    EXPECT_TRUE(node.sign(suite(), flat.signature_key("b"), {}, index));
  }));
  ASSERT_TRUE(info.sign(suite(), flat.signature_key("a")));
  EXPECT_ERROR(mls_leaf_key_duplicate, PublicGroup::from_group_info(info));
}

TEST_F(PastFailures, DuplicateEncryptionKeys) {
  const Bytes of_b = a().tree().leaf(leaf("b"))->encryption_key;
  const Bytes of_a = a().tree().leaf(leaf("a"))->encryption_key;
  const Bytes of_root = to_bytes(a().tree().public_key(a().tree().root()));
  // In a path: somebody's, one's own from before, a parent's, one twice.
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(path_with([&](UpdatePath& path) { path.leaf_node.encryption_key = of_b; })));
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(path_with([&](UpdatePath& path) { path.leaf_node.encryption_key = of_a; })));
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(path_with([&](UpdatePath& path) { path.nodes.back().encryption_key = of_root; })));
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(path_with([&](UpdatePath& path) { path.nodes.front().encryption_key = of_b; })));
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(path_with([&](UpdatePath& path) { path.nodes.back().encryption_key = path.leaf_node.encryption_key; })));
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(path_with([&](UpdatePath& path) {
              ASSERT_EQ(2u, path.nodes.size());
              path.nodes.back().encryption_key = path.nodes.front().encryption_key;
            })));
  // In an Add, and in an Update that keeps its key.
  KeyPackageBundle d = world.new_person("d");
  d.key_package.leaf_node.encryption_key = of_b;
  ASSERT_TRUE(d.key_package.leaf_node.sign(suite(), d.signature_private_key.view(), {}, {}));
  ASSERT_TRUE(d.key_package.sign(suite(), d.signature_private_key.view()));
  EXPECT_EQ("mls_leaf_key_duplicate", at_b(list({Proposal{Add{d.key_package}}})));
  LeafNode same = *a().tree().leaf(leaf("c"));
  same.source = LeafNodeSource::update;
  same.lifetime = {};
  same.parent_hash.clear();
  ASSERT_TRUE(same.sign(suite(), world.signature_key("c"), a().group_id(), leaf("c")));
  const PublicMessage update = open(VALUE(HostileMember::send_public(world.at("c"), Proposal{Update{same}})));
  EXPECT_ERROR(mls_leaf_key_duplicate, b().cache_proposal(VALUE(b().verify(update))));
  EXPECT_ERROR(mls_leaf_key_duplicate, world.follower().handle_proposal(update));
  // In the tree that a joiner is given: a leaf's and a parent's.
  for (const Bytes& taken : {of_b, of_root}) {
    GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(a().group_info(true, true))));
    set_tree(info, change_leaves(a().tree(), [&](LeafIndex index, LeafNode& node) {
      if (index != leaf("c")) return;
      node.encryption_key = taken;
      EXPECT_TRUE(node.sign(suite(), world.signature_key("c"), a().group_id(), index));
    }));
    ASSERT_TRUE(info.sign(suite(), world.signature_key("a")));
    EXPECT_ERROR(mls_leaf_key_duplicate, PublicGroup::from_group_info(info));
  }
}

} // namespace
} // namespace satsuma::mls
