// Groups of every suite, natively and as WASM; and what a follower without a suite's KEM can do.
#include <gtest/gtest.h>

#include "mls/tree/validation.h"
#include "signaling/delivery_messages.h"
#include "world.h"

namespace satsuma::mls {
namespace {

constexpr CipherSuite post_quantum = CipherSuite::mlkem768x25519_chacha20poly1305_sha256_ed25519;

class EverySuite : public testing::TestWithParam<CipherSuite> {
  void SetUp() override {
    if (!require_suite_of_member(GetParam())) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  }
};
INSTANTIATE_TEST_SUITE_P(Mls, EverySuite, testing::Values(CipherSuite{1}, CipherSuite{2}, CipherSuite{3}, CipherSuite{5}, CipherSuite{7}, post_quantum),
                         [](const auto& param) { return "Suite" + std::to_string(static_cast<std::uint16_t>(param.param)); });

// Each commit is processed by everyone and by the follower; the world compares them after each.
TEST_P(EverySuite, MembersComeAndGoTalkAndComeBackFromWhatTheyStored) {
  World world(GetParam());
  world.create("a");
  world.commit("a", {"b", "c", "d"}, {});
  world.commit("c", {"e"}, {});
  world.commit("d", {}, {"b"});
  world.commit("e", {}, {});

  for (auto& [name, group] : world.members()) group = VALUE(Group::load(VALUE(group.store()).view()));
  world.commit("a", {"f"}, {"d"});
  const Bytes sent = VALUE(world.at("f").protect_application(as_bytes("hello"), {}, world.random()));
  for (const char* name : {"a", "c", "e"}) EXPECT_EQ("hello", as_text(VALUE(world.at(name).unprotect_application(sent)).plaintext.view()));
}

TEST_P(EverySuite, AnUpdateAndAnExternalCommitAreFollowed) {
  World world(GetParam());
  world.create("a");
  world.commit("a", {"b", "c"}, {});
  const Bytes update = VALUE(world.at("b").propose_update({}, false, {}, world.random()));
  const PublicMessage message = VALUE(MLSMessage::decode_as<PublicMessage>(update));
  EXPECT_TRUE(world.follower().handle_proposal(message));
  for (const char* name : {"a", "c"}) EXPECT_TRUE(world.at(name).cache_proposal(VALUE(world.at(name).verify(message))));
  // What waits for the commit waits on after a restart: the new leaf's private key too.
  world.at("b") = VALUE(Group::load(VALUE(world.at("b").store()).view()));
  CommitParams params;
  params.include_cached_proposals = true;
  PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  pending = VALUE(PendingCommit::load(pending.store().view()));
  world.deliver("a", pending);
  world.expect_agreement();

  const KeyPackageBundle joiner = world.new_person("d");
  const GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(world.at("c").group_info(true, true))));
  ExternalJoin external = VALUE(Group::join_external(info, joiner, {}, world.random()));
  const PublicMessage commit = VALUE(MLSMessage::decode_as<PublicMessage>(external.commit()));
  EXPECT_TRUE(world.follower().apply(VALUE(world.follower().verify(commit))));
  for (auto& [name, group] : world.members()) EXPECT_TRUE(group.merge(VALUE(group.stage(external.commit()))));
  world.adopt("d", std::move(external).merge(), joiner);
  world.expect_agreement();
  world.commit("d", {}, {"a"});
}

// docs/protocol.md's bound on a commit is made for this: the largest room, in which nobody but its creator has committed yet, so that the path is encrypted
// to each alone.
TEST(PostQuantumSuite, TheLargestCommitOfTheLargestRoomFitsAFrame) {
  if (!require_suite_of_member(post_quantum)) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  World world(post_quantum);
  Group& creator = world.create("a");
  const KeyPackageBundle second = world.new_person("b");
  CommitParams params;
  params.add.push_back(second.key_package);
  for (int i = 2; i < 256; ++i) params.add.push_back(world.new_person("somebody").key_package);
  const PendingCommit all = VALUE(creator.commit(params, world.random()));
  Group group = VALUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*all.welcome)), second));
  CommitParams next;
  next.ratchet_tree_in_welcome = false;
  next.remove.push_back({200});
  for (int i = 0; i < 8; ++i) next.add.push_back(world.new_person("newcomer").key_package);
  const PendingCommit large = VALUE(group.commit(next, world.random()));
  EXPECT_LE(large.commit.size() + large.welcome->size(), signaling::max_handshake_size);
  EXPECT_GT(large.commit.size(), 300'000u) << "not the worst case any more";
}

// --- Without the KEM: a server on an older OpenSSL

TEST(PostQuantumSuite, WithoutMlKemMembersSayWhatIsMissing) {
  if (require_suite_of_member(post_quantum)) GTEST_SKIP() << "this OpenSSL has ML-KEM";
  SeededRandom random(1);
  const crypto::SignatureKeyPair keys = VALUE(generate_signature_keys(post_quantum, random));
  KeyPackageParams params;
  params.suite = post_quantum;
  EXPECT_ERROR(mls_suite_unavailable, generate_key_package(params, keys, random));
  EXPECT_EQ(ErrorKind::environment, mls_suite_unavailable.kind);
  Welcome welcome;
  welcome.cipher_suite = post_quantum;
  EXPECT_ERROR(mls_suite_unavailable, Group::join(welcome, KeyPackageBundle{}));
  const auto listed = Capabilities::ours().cipher_suites;
  EXPECT_EQ(std::ranges::find(listed, static_cast<std::uint16_t>(post_quantum)), listed.end());
}

TEST(PostQuantumSuite, WithMlKemTheCapabilitiesListIt) {
  if (!require_suite_of_member(post_quantum)) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  const auto listed = Capabilities::ours().cipher_suites;
  EXPECT_NE(std::ranges::find(listed, static_cast<std::uint16_t>(post_quantum)), listed.end());
}

/// A group's public side, signed for real, with KEM keys and ciphertexts that nobody has the secrets of: a follower cannot tell.
struct Paperwork {
  const SuiteParameters& suite = *find_suite(post_quantum);
  SeededRandom random{7};
  crypto::SignatureKeyPair committer = VALUE(generate_signature_keys(post_quantum, random));
  GroupContext context;
  RatchetTree tree{post_quantum};

  Bytes kem_key() {
    Bytes key(crypto::kem_public_key_size(suite.kem));
    random.fill(key);
    // Every second coefficient below 1920, the others below 2048: ML-KEM's modulus is 3329.
    for (std::size_t i = 0; i < 1152; i += 3) {
      key[i + 1] &= 0x77;
      key[i + 2] &= 0x7f;
    }
    return key;
  }
  LeafNode leaf(const crypto::SignatureKeyPair& keys, LeafNodeSource source, Bytes parent_hash = {}) {
    LeafNode node;
    node.encryption_key = kem_key();
    node.signature_key = keys.public_key;
    node.credential = Credential::basic(as_bytes("somebody"));
    node.capabilities = Capabilities::ours();
    node.source = source;
    node.lifetime = {0, ~UnixSeconds{0}};
    node.parent_hash = std::move(parent_hash);
    EXPECT_TRUE(node.sign(suite, keys.private_key.view(), context.group_id, {0}));
    return node;
  }
  KeyPackage key_package() {
    const crypto::SignatureKeyPair keys = VALUE(generate_signature_keys(post_quantum, random));
    KeyPackage package;
    package.cipher_suite = post_quantum;
    package.init_key = kem_key();
    package.leaf_node = leaf(keys, LeafNodeSource::key_package);
    EXPECT_TRUE(package.sign(suite, keys.private_key.view()));
    return package;
  }
  GroupInfo group_info() {
    EXPECT_TRUE(tree.add_leaf(leaf(committer, LeafNodeSource::key_package)));
    context.cipher_suite = post_quantum;
    context.group_id = to_bytes(as_bytes("a group"));
    context.tree_hash = to_bytes(tree.tree_hash().view());
    GroupInfo info;
    info.group_context = context;
    info.extensions = {{extension_type::ratchet_tree, tree.serialise()}};
    info.confirmation_tag = Bytes(suite.hash_size(), 1);
    EXPECT_TRUE(info.sign(suite, committer.private_key.view()));
    return info;
  }
  /// Adds somebody, with a path; `spoil` may change the path's keys before they are signed.
  PublicMessage commit(const RatchetTree& present, const GroupContext& in, const std::function<void(std::vector<Bytes>&)>& spoil = {}) {
    context = in;
    Commit commit;
    const KeyPackage joiner = key_package();
    commit.proposals.push_back({Proposal{Add{joiner}}});
    RatchetTree next = present;
    const LeafIndex added = VALUE(next.add_leaf(joiner.leaf_node));
    const auto steps = next.filtered_direct_path({0});
    std::vector<Bytes> keys;
    for (std::size_t i = 0; i < steps.size(); ++i) keys.push_back(kem_key());
    if (spoil) spoil(keys);
    UpdatePath path;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      std::vector<HpkeCiphertext> ciphertexts;
      for (const NodeIndex node : next.resolution(steps[i].copath_child)) {
        if (node != tree_math::node_of(added)) ciphertexts.push_back({Bytes(1120, 3), Bytes(48, 4)});
      }
      path.nodes.push_back({keys[i], std::move(ciphertexts)});
    }
    path.leaf_node = leaf(committer, LeafNodeSource::commit, VALUE(next.apply_path({0}, keys)));
    commit.path = std::move(path);
    AuthenticatedContent content;
    content.content = {in.group_id, in.epoch, {SenderType::member, 0}, {}, std::move(commit)};
    content.auth.confirmation_tag = Bytes(suite.hash_size(), 2);
    EXPECT_TRUE(content.sign(suite, committer.private_key.view(), in));
    return {content.content, content.auth, Bytes(suite.hash_size(), 3)};
  }
};

TEST(PostQuantumSuite, AFollowerNeedsNoMlKem) {
  Paperwork paper;
  PublicGroup group = VALUE(PublicGroup::from_group_info(paper.group_info()));
  for (std::size_t members = 2; members < 6; ++members) {
    EXPECT_TRUE(group.apply(VALUE(group.verify(paper.commit(group.tree(), group.context())))));
    EXPECT_EQ(group.members().size(), members);
    group = VALUE(PublicGroup::deserialise(group.serialise()));
  }
}

TEST(PostQuantumSuite, AFollowerRefusesKeysThatAreNone) {
  Paperwork paper;
  PublicGroup group = VALUE(PublicGroup::from_group_info(paper.group_info()));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(group.apply(VALUE(group.verify(paper.commit(group.tree(), group.context())))));
  const auto refused = [&](const std::function<void(Bytes&)>& spoil) {
    EXPECT_ERROR(mls_leaf_key_invalid, group.verify(paper.commit(group.tree(), group.context(), [&](std::vector<Bytes>& keys) { spoil(keys[0]); })));
  };
  refused([](Bytes& key) { key.pop_back(); });
  refused([](Bytes& key) { key.push_back(0); });
  refused([](Bytes& key) { key[1] |= 0x0f; });                              // a coefficient beyond ML-KEM's modulus
  refused([](Bytes& key) { std::fill(key.begin() + 1184, key.end(), 0); }); // X25519's part has small order
  EXPECT_TRUE(group.verify(paper.commit(group.tree(), group.context())));

  KeyPackage package = paper.key_package();
  EXPECT_TRUE(verify_key_package(package));
  package.init_key.resize(32);
  EXPECT_ERROR(mls_init_key_invalid, verify_key_package(package));
}

} // namespace
} // namespace satsuma::mls
