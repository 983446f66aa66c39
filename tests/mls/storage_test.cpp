#include <gtest/gtest.h>

#include <cstdlib>

#include "golden_states.h"
#include "mls/tree/stored.h"
#include "world.h"

namespace satsuma::mls {
namespace {

Bytes stored(Group& group) { return to_bytes(VALUE(group.store()).view()); }
void restart(Group& group) { group = VALUE(Group::load(stored(group))); }

/// The same state with a body that somebody wrote who can compute the digest.
Bytes with_right_digest(Bytes state) {
  const ByteView body = ByteView(state).first(state.size() - stored_digest_size);
  const Bytes digest = stored_digest(body);
  std::copy(digest.begin(), digest.end(), state.end() - static_cast<std::ptrdiff_t>(stored_digest_size));
  return state;
}

class StoringInEverySuite : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Suites, StoringInEverySuite, testing::Range(1, 8));

TEST_P(StoringInEverySuite, MembersThatRestartAfterEachStepKeepAgreeing) {
  World world(static_cast<CipherSuite>(GetParam()));
  world.create("a");
  const auto restart_all = [&world] {
    for (auto& [name, group] : world.members()) restart(group);
    world.expect_agreement();
  };
  restart_all();
  world.commit("a", {"b", "c", "d"}, {});
  restart_all();
  world.commit("b", {}, {});
  restart_all();
  world.commit("c", {"e"}, {"a"});
  restart_all();
  world.commit("e", {}, {"c"});
  restart_all();
  const Bytes message = VALUE(world.at("b").protect_application(as_bytes("hello"), {}, world.random()));
  restart_all();
  EXPECT_EQ("hello", as_text(VALUE(world.at("d").unprotect_application(message)).plaintext.view()));
}

TEST_P(StoringInEverySuite, AKeyPackageKeepsItsPrivateKeys) {
  World world(static_cast<CipherSuite>(GetParam()));
  world.create("a");
  const KeyPackageBundle bundle = world.new_person("b");
  const KeyPackageBundle loaded = VALUE(KeyPackageBundle::load(bundle.store().view()));
  EXPECT_EQ(bundle.key_package, loaded.key_package);
  CommitParams params;
  params.add.push_back(bundle.key_package);
  const PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  EXPECT_TRUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), loaded));
}

/// Three members who talk.
class Storing : public testing::Test {
 protected:
  Storing() {
    world.create("a");
    world.commit("a", {"b", "c"}, {});
    world.commit("b", {}, {});
  }
  Group& a() { return world.at("a"); }
  Group& b() { return world.at("b"); }
  Bytes say(Group& group, std::string_view text) { return VALUE(group.protect_application(as_bytes(text), {}, world.random())); }
  static std::string heard(Group& group, const Bytes& message) {
    auto received = group.unprotect_application(message);
    return received ? std::string(as_text(received->plaintext.view())) : std::string(received.error().name());
  }

  World world;
};

TEST_F(Storing, WhatIsLoadedIsStoredAsTheSameBytes) {
  (void)say(a(), "x");
  ASSERT_EQ("x", heard(b(), say(a(), "x")));
  for (Group* group : {&a(), &b()}) {
    const Bytes before = stored(*group);
    Group loaded = VALUE(Group::load(before));
    EXPECT_EQ(before, stored(loaded));
  }
}

TEST_F(Storing, AnErasedExporterSecretStaysErasedUntilTheNextEpoch) {
  const Bytes with = stored(a());
  a().erase_exporter_secret();
  EXPECT_LT(stored(a()).size(), with.size());
  restart(a());
  EXPECT_DEATH((void)a().export_secret("x", {}, 32), "exporter_secret");
  world.commit("b", {}, {});
  EXPECT_EQ(a().export_secret("x", {}, 32), b().export_secret("x", {}, 32));
}

TEST_F(Storing, TreesOfPastEpochsShareWhatTheyShared) {
  const std::size_t before = stored(a()).size();
  world.commit("c", {}, {});
  world.commit("c", {}, {});
  EXPECT_LT(stored(a()).size(), 2 * before);
}

TEST_F(Storing, AGenerationIsNotUsedAgainAfterLoading) {
  const Bytes first = say(a(), "first");
  restart(a()); // stored before "first" is sent, as the rule says
  const Bytes second = say(a(), "second");
  restart(a());
  const Bytes third = say(a(), "third");
  // Who reads each of them has found three keys: a generation that came twice would be mls_generation_consumed.
  for (const auto& [message, text] : {std::pair(third, "third"), std::pair(first, "first"), std::pair(second, "second")}) EXPECT_EQ(text, heard(b(), message));
}

TEST_F(Storing, WithAReserveNothingIsSentTwiceWhereverTheProcessEnds) {
  constexpr std::uint32_t reserve = 5;
  const Bytes state = to_bytes(VALUE(a().store(reserve)).view());
  std::vector<Bytes> sent;
  for (std::uint32_t i = 0; i < reserve; ++i) sent.push_back(say(a(), "before"));
  EXPECT_ERROR(mls_store_first, a().protect_application({}, {}, world.random()));

  Group restarted = VALUE(Group::load(state));
  EXPECT_ERROR(mls_store_first, restarted.protect_application({}, {}, world.random()));
  CommitParams commit;
  commit.private_message = true;
  EXPECT_ERROR(mls_store_first, restarted.commit(commit, world.random()));
  EXPECT_ERROR(mls_store_first, restarted.propose(Proposal{Remove{b().own_leaf()}}, true, {}, world.random()));
  (void)VALUE(restarted.store(reserve));
  sent.push_back(say(restarted, "after"));
  std::vector<std::string> all;
  for (const Bytes& message : sent) all.push_back(heard(b(), message)); // each is the first of its generation, or it would not open
  EXPECT_EQ((std::vector<std::string>{"before", "before", "before", "before", "before", "after"}), all);

  EXPECT_ERROR(mls_reserve_too_large, a().store(Group::max_reserve + 1));
}

TEST_F(Storing, WithAReserveANewEpochIsStoredBeforeAnythingIsSentInIt) {
  (void)VALUE(a().store(3));
  PendingCommit pending = VALUE(a().commit({}, world.random()));
  world.deliver("a", pending);
  EXPECT_ERROR(mls_store_first, a().protect_application({}, {}, world.random()));
  (void)VALUE(a().store(3));
  EXPECT_EQ("x", heard(b(), say(a(), "x")));
  (void)VALUE(a().store()); // back to storing before each message
  for (int i = 0; i < 10; ++i) EXPECT_EQ("x", heard(b(), say(a(), "x")));
}

TEST_F(Storing, WhatWasReadStaysReadAndWhatIsMissingStillOpens) {
  std::vector<Bytes> messages;
  for (const char* text : {"0", "1", "2", "3"}) messages.push_back(say(a(), text));
  EXPECT_EQ("2", heard(b(), messages[2]));
  restart(b());
  EXPECT_EQ("mls_generation_consumed", heard(b(), messages[2]));
  for (const int i : {3, 0, 1}) EXPECT_EQ(std::to_string(i), heard(b(), messages[static_cast<std::size_t>(i)]));
}

TEST_F(Storing, MessagesThatACommitOvertookStillOpen) {
  const Bytes late = say(a(), "late");
  world.commit("c", {}, {});
  restart(b());
  EXPECT_EQ("late", heard(b(), late));
}

TEST_F(Storing, CachedProposalsAndPastResumptionSecretsAreKept) {
  const Epoch past = a().epoch();
  world.commit("c", {}, {});
  const Bytes message = VALUE(a().propose(Proposal{Remove{world.at("c").own_leaf()}}, false, {}, world.random()));
  ASSERT_TRUE(b().cache_proposal(VALUE(b().verify(VALUE(MLSMessage::decode_as<PublicMessage>(message))))));
  restart(a());
  restart(b());
  CommitParams params;
  params.include_cached_proposals = true;
  PreSharedKeyId psk;
  psk.type = PreSharedKeyId::Type::resumption;
  psk.group_id = to_bytes(a().group_id());
  psk.epoch = past;
  params.psks.push_back(psk);
  PendingCommit pending = VALUE(b().commit(params, world.random()));
  StagedCommit staged = VALUE(a().stage(pending.commit));
  ASSERT_EQ(1u, staged.effects().removed.size());
  EXPECT_EQ(1u, staged.effects().psks.size());
  EXPECT_TRUE(a().merge(std::move(staged)));
  EXPECT_TRUE(b().merge(std::move(pending.staged)));
  EXPECT_TRUE(equal(a().epoch_authenticator(), b().epoch_authenticator()));
}

TEST_F(Storing, ALoadUnderSmallerBoundsLetsTheOldestGo) {
  const Epoch first = b().epoch();
  const std::vector<Bytes> early{say(a(), "0"), say(a(), "1"), say(a(), "2"), say(a(), "3")};
  EXPECT_EQ("3", heard(b(), early[3]));
  world.commit("c", {}, {});
  const Bytes late = say(a(), "late");
  world.commit("c", {}, {});
  const std::vector<Bytes> now{say(a(), "4"), say(a(), "5"), say(a(), "6")};
  EXPECT_EQ("6", heard(b(), now[2]));
  (void)VALUE(b().propose_update({}, false, {}, world.random()));
  const Bytes second_update = VALUE(b().propose_update({}, false, {}, world.random()));
  ASSERT_TRUE(a().cache_proposal(VALUE(a().verify(VALUE(MLSMessage::decode_as<PublicMessage>(second_update))))));
  const Bytes state = stored(b());

  GroupLimits smaller;
  smaller.max_past_epochs = 1;
  smaller.max_past_resumption_psks = 1;
  smaller.max_pending_updates = 1;
  smaller.secret_tree.max_kept = 1;
  Group loaded = VALUE(Group::load(state, smaller));
  EXPECT_EQ("mls_epoch_mismatch", heard(loaded, early[0]));
  EXPECT_EQ("late", heard(loaded, late));
  EXPECT_EQ("mls_generation_consumed", heard(loaded, now[0]));
  EXPECT_EQ("5", heard(loaded, now[1]));
  CommitParams with_psk;
  with_psk.psks.emplace_back();
  with_psk.psks[0].type = PreSharedKeyId::Type::resumption;
  with_psk.psks[0].group_id = to_bytes(loaded.group_id());
  with_psk.psks[0].epoch = first;
  EXPECT_ERROR(mls_psk_unknown, loaded.commit(with_psk, world.random()));
  with_psk.psks[0].epoch = first + 1;
  EXPECT_TRUE(loaded.commit(with_psk, world.random()));
  CommitParams cached;
  cached.include_cached_proposals = true;
  EXPECT_TRUE(loaded.stage(VALUE(a().commit(cached, world.random())).commit)) << "the later Update is still there";

  smaller = {0, 16384, 0, 0, 0, {0, 0, 0}, {}};
  Group least = VALUE(Group::load(state, smaller));
  EXPECT_EQ("mls_epoch_mismatch", heard(least, late));
  EXPECT_ERROR(mls_updates_not_kept, least.propose_update({}, false, {}, world.random()));
  EXPECT_TRUE(Group::load(stored(least), smaller));
}

TEST_F(Storing, ThePublicFollowerKeepsItsCachedProposals) {
  const Bytes message = VALUE(a().propose(Proposal{Remove{world.at("c").own_leaf()}}, false, {}, world.random()));
  ASSERT_TRUE(world.follower().handle_proposal(VALUE(MLSMessage::decode_as<PublicMessage>(message))));
  PublicGroup loaded = VALUE(PublicGroup::deserialise(world.follower().serialise()));
  EXPECT_EQ(world.follower().serialise(), loaded.serialise());
  CommitParams params;
  params.include_cached_proposals = true;
  const PendingCommit pending = VALUE(a().commit(params, world.random()));
  EXPECT_TRUE(loaded.verify(VALUE(MLSMessage::decode_as<PublicMessage>(pending.commit))));
}

TEST_F(Storing, APendingCommitIsMergedAfterARestart) {
  CommitParams params;
  const KeyPackageBundle d = world.new_person("d");
  params.add.push_back(d.key_package);
  params.remove.push_back(world.at("c").own_leaf());
  const PendingCommit pending = VALUE(a().commit(params, world.random()));
  const SecretBytes bytes = pending.store();
  PendingCommit loaded = VALUE(PendingCommit::load(bytes.view()));
  EXPECT_EQ(bytes, loaded.store());
  EXPECT_EQ(pending.commit, loaded.commit);
  EXPECT_EQ(pending.welcome, loaded.welcome);
  ASSERT_EQ(1u, loaded.staged.effects().added.size());
  EXPECT_EQ(d.key_package, loaded.staged.effects().added[0].key_package);
  ASSERT_EQ(1u, loaded.staged.effects().removed.size());
  restart(a());
  ASSERT_TRUE(b().merge(VALUE(b().stage(loaded.commit))));
  ASSERT_TRUE(a().merge(std::move(loaded.staged)));
  EXPECT_TRUE(equal(a().epoch_authenticator(), b().epoch_authenticator()));
  PendingCommit again = VALUE(PendingCommit::load(bytes.view()));
  EXPECT_ERROR(mls_stale_stage, a().merge(std::move(again.staged)));
}

TEST_F(Storing, AnyDamageIsAnError) {
  const Bytes state = stored(a());
  ASSERT_TRUE(Group::load(state));
  for (std::size_t i = 0; i < state.size(); ++i) {
    Bytes damaged = state;
    damaged[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    EXPECT_ERROR(mls_stored_damaged, Group::load(damaged));
    EXPECT_ERROR(mls_stored_damaged, Group::load(ByteView(state).first(i)));
  }
  EXPECT_ERROR(mls_stored_kind_wrong, KeyPackageBundle::load(state));
  EXPECT_ERROR(mls_stored_kind_wrong, PublicGroup::deserialise(state));
  Bytes newer = state;
  newer[6] = stored_version + 1;
  EXPECT_ERROR(mls_stored_version_unknown, Group::load(with_right_digest(newer)));
}

TEST_F(Storing, BytesThatSomebodyMadeUpAreAnErrorOrAGroupThatBehaves) {
  SeededRandom random(7);
  for (const Bytes& state : {stored(a()), stored(b())}) {
    for (int round = 0; round < 1500; ++round) {
      Bytes forged = state;
      for (std::size_t n = 1 + random.below(3); n > 0; --n) {
        std::uint8_t& byte = forged[stored_header_size + random.below(forged.size() - stored_header_size - stored_digest_size)];
        byte = random.below(2) == 0 ? static_cast<std::uint8_t>(random.u64()) : static_cast<std::uint8_t>(byte ^ (1u << random.below(8)));
      }
      auto group = Group::load(with_right_digest(std::move(forged)));
      if (!group) continue;
      (void)group->protect_application(as_bytes("x"), {}, random);
      CommitParams params;
      params.include_cached_proposals = true;
      if (auto pending = group->commit(params, random)) (void)group->merge(std::move(pending->staged));
    }
  }
}

TEST_F(Storing, KeysThatDoNotBelongToTheTreeAreRefused) {
  // The private keys of another: the state says so instead of failing at the first message.
  KeyPackageBundle bundle = world.new_person("d");
  KeyPackageBundle other = world.new_person("e");
  std::swap(bundle.encryption_private_key, other.encryption_private_key);
  EXPECT_ERROR(mls_stored_invalid, KeyPackageBundle::load(bundle.store().view()));
  std::swap(bundle.encryption_private_key, other.encryption_private_key);
  std::swap(bundle.signature_private_key, other.signature_private_key);
  EXPECT_ERROR(mls_stored_invalid, KeyPackageBundle::load(bundle.store().view()));
}

/// What SATSUMA_PRINT_GOLDEN=1 prints into golden_states.h, when the version was raised.
struct Golden {
  World world{CipherSuite{3}, 2026};
  Bytes group, key_package, pending, follower, message;
  Golden() {
    world.create("a");
    world.commit("a", {"b", "c"}, {});
    world.commit("b", {}, {});
    message = VALUE(world.at("b").protect_application(as_bytes("kept"), {}, world.random()));
    group = stored(world.at("a"));
    key_package = to_bytes(world.new_person("d").store().view());
    CommitParams params;
    params.remove.push_back(world.at("c").own_leaf());
    pending = to_bytes(VALUE(world.at("a").commit(params, world.random())).store().view());
    follower = world.follower().serialise();
  }
};

TEST(StoredGolden, StatesOfThisVersionAreReadAsEverAndWrittenTheSame) {
  if (std::getenv("SATSUMA_PRINT_GOLDEN") != nullptr) {
    const Golden made;
    const auto print = [](const char* name, const Bytes& bytes) {
      std::printf("inline constexpr std::string_view %s =\n", name);
      const std::string hex = to_hex(bytes);
      for (std::size_t i = 0; i < hex.size(); i += 128) std::printf("    \"%s\"%s\n", hex.substr(i, 128).c_str(), i + 128 >= hex.size() ? ";" : "");
    };
    print("group", made.group);
    print("message", made.message);
    print("key_package_bundle", made.key_package);
    print("pending_commit", made.pending);
    print("public_group", made.follower);
    GTEST_SKIP();
  }
  Group group = VALUE(Group::load(VALUE(from_hex(golden::group))));
  EXPECT_EQ(golden::group, to_hex(stored(group)));
  EXPECT_EQ(2u, group.epoch());
  EXPECT_EQ(3u, group.members().size());
  EXPECT_EQ("kept", as_text(VALUE(group.unprotect_application(VALUE(from_hex(golden::message)))).plaintext.view()));
  PendingCommit pending = VALUE(PendingCommit::load(VALUE(from_hex(golden::pending_commit))));
  EXPECT_EQ(golden::pending_commit, to_hex(pending.store().view()));
  EXPECT_TRUE(group.merge(std::move(pending.staged)));
  EXPECT_EQ(3u, group.epoch());
  const KeyPackageBundle bundle = VALUE(KeyPackageBundle::load(VALUE(from_hex(golden::key_package_bundle))));
  EXPECT_EQ(golden::key_package_bundle, to_hex(bundle.store().view()));
  EXPECT_EQ("d", as_text(bundle.key_package.leaf_node.credential.identity));
  const PublicGroup follower = VALUE(PublicGroup::deserialise(VALUE(from_hex(golden::public_group))));
  EXPECT_EQ(golden::public_group, to_hex(follower.serialise()));
  EXPECT_EQ(3u, follower.members().size());
}

} // namespace
} // namespace satsuma::mls
