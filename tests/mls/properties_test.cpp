// Long random lives of groups. SATSUMA_SEED=n replays one, SATSUMA_STEPS=n makes it longer.
#include <cstdlib>

#include "group_sequence.h"
#include "mls/group/external_proposal.h"
#include "world.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SATSUMA_SLOW 1
#endif
#endif

namespace satsuma::mls {
namespace {

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void live(CipherSuite suite, testing::SequenceLimits limits, std::uint64_t seed, std::size_t steps) {
  std::printf("suite %d, seed %llu, %zu steps\n", static_cast<int>(suite), static_cast<unsigned long long>(seed), steps);
  std::fflush(stdout);
  SeededRandom random(seed);
  testing::GroupSequence sequence(testing::Choices(random), suite, limits, seed + 1);
  sequence.run(steps);
  std::printf("  %zu commits, %zu messages, %zu refused, %zu restarts, %zu updates, %zu external joins, at most %zu members\n", sequence.commits(),
              sequence.messages(), sequence.refused(), sequence.restarts(), sequence.updates(), sequence.external_joins(), sequence.largest());
  EXPECT_GT(sequence.commits(), steps / 8);
  EXPECT_GT(sequence.refused(), steps / 64);
  EXPECT_GT(sequence.restarts(), steps / 16);
  EXPECT_GT(sequence.updates(), steps / 64);
  EXPECT_GT(sequence.external_joins(), steps / 128);
}

#ifdef SATSUMA_SLOW
constexpr std::size_t large_steps = 100;
#else
constexpr std::size_t large_steps = 2000;
#endif
constexpr std::size_t small_steps = 200; // enough for some of each that happens

class RandomLife : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Suites, RandomLife, ::testing::Values(1, 2, 3, 7));

TEST_P(RandomLife, MembersAgreeAndWhatIsRefusedChangesNothing) {
  live(static_cast<CipherSuite>(GetParam()), {12, 6}, number_from("SATSUMA_SEED", 11), number_from("SATSUMA_STEPS", GetParam() == 7 ? small_steps / 4 : small_steps));
}

TEST(RandomLife, OfUpToThreeHundredMembersKeepsAgreement) {
  live(CipherSuite{3}, {300, 8}, number_from("SATSUMA_SEED", 12), number_from("SATSUMA_STEPS", large_steps));
}

/// One message of each kind, sent to b by a, and what b does with it.
class DamagedMessage : public ThreeMembers {
 protected:
  /// Every truncation and every flipped bit of `message` is refused by `attempt`, and b's state is what it was.
  template <class Attempt>
  void expect_refused(const Bytes& message, Attempt attempt) {
    const auto refused = [&](const Bytes& damaged) {
      if (!attempt(damaged)) return true;
      ADD_FAILURE() << "accepted";
      return false;
    };
    Bytes worst = message; // a PrivateMessage whose content does not open may leave its key derived: let it do so now
    worst.back() ^= 1;
    ASSERT_TRUE(refused(worst));
    const SecretBytes before = VALUE(b().store());
#ifdef SATSUMA_SLOW
    constexpr int bit_step = 8;
#else
    constexpr int bit_step = 1;
#endif
    for (std::size_t i = 0; i < message.size(); ++i) {
      for (int bit = static_cast<int>(i % bit_step); bit < 8; bit += bit_step) {
        Bytes damaged = message;
        damaged[i] ^= static_cast<std::uint8_t>(1u << bit);
        ASSERT_TRUE(refused(damaged)) << "byte " << i << ", bit " << bit;
      }
      ASSERT_TRUE(refused(to_bytes(ByteView(message).first(i)))) << "the first " << i;
    }
    Bytes longer = message;
    longer.push_back(0);
    ASSERT_TRUE(refused(longer));
    EXPECT_EQ(before, VALUE(b().store()));
    EXPECT_TRUE(attempt(message)) << "the real one";
  }
};

TEST_F(DamagedMessage, OfACommitInTheOpen) {
  CommitParams params;
  params.add.push_back(world.new_person("d").key_package);
  const PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  expect_refused(pending.commit, [this](const Bytes& bytes) { return world.at("b").stage(bytes).has_value(); });
}

TEST_F(DamagedMessage, OfACommitInAPrivateMessage) {
  CommitParams params;
  params.private_message = true;
  params.authenticated_data = {1, 2, 3};
  const PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  expect_refused(pending.commit, [this](const Bytes& bytes) {
    const auto message = MLSMessage::decode_as<PrivateMessage>(bytes);
    if (!message) return false;
    const auto verified = world.at("b").unprotect(*message);
    return verified.has_value() && world.at("b").stage(*verified).has_value();
  });
}

TEST_F(DamagedMessage, OfAProposal) {
  const Bytes proposal = VALUE(world.at("a").propose(Proposal{Remove{world.at("c").own_leaf()}}, false, as_bytes("why"), world.random()));
  expect_refused(proposal, [this](const Bytes& bytes) {
    const auto message = MLSMessage::decode_as<PublicMessage>(bytes);
    if (!message) return false;
    const auto verified = world.at("b").verify(*message);
    return verified.has_value() && world.at("b").cache_proposal(*verified).has_value();
  });
}

TEST_F(DamagedMessage, OfAProposalInAPrivateMessage) {
  const Bytes proposal = VALUE(world.at("a").propose_update({}, true, as_bytes("why"), world.random()));
  expect_refused(proposal, [this](const Bytes& bytes) {
    const auto message = MLSMessage::decode_as<PrivateMessage>(bytes);
    if (!message) return false;
    const auto verified = world.at("b").unprotect(*message);
    return verified.has_value() && world.at("b").cache_proposal(*verified).has_value();
  });
}

TEST_F(DamagedMessage, OfAnExternalCommitAndOfAProposalFromOutside) {
  const KeyPackageBundle d = world.new_person("d");
  const GroupInfo info = VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(world.at("a").group_info(true, true))));
  const ExternalJoin join = VALUE(Group::join_external(info, d, {}, world.random()));
  expect_refused(join.commit(), [this](const Bytes& bytes) { return world.at("b").stage(bytes).has_value(); });
  const ExternalProposalParams here{CipherSuite{3}, to_bytes(world.at("a").group_id()), world.at("a").epoch(), {}};
  expect_refused(VALUE(new_member_proposal(here, d)), [this](const Bytes& bytes) {
    const auto message = MLSMessage::decode_as<PublicMessage>(bytes);
    if (!message) return false;
    const auto verified = world.at("b").verify(*message);
    return verified.has_value() && world.at("b").cache_proposal(*verified).has_value();
  });
}

TEST_F(DamagedMessage, OfAnApplicationMessage) {
  const Bytes message = VALUE(world.at("a").protect_application(as_bytes("hello"), as_bytes("seen"), world.random()));
  expect_refused(message, [this](const Bytes& bytes) { return world.at("b").unprotect_application(bytes).has_value(); });
}

TEST_F(DamagedMessage, OfAWelcomeAKeyPackageAndAGroupInfo) {
  const KeyPackageBundle d = world.new_person("d");
  CommitParams params;
  params.add.push_back(d.key_package);
  const PendingCommit pending = VALUE(world.at("a").commit(params, world.random()));
  expect_refused(*pending.welcome, [&d](const Bytes& bytes) {
    const auto welcome = MLSMessage::decode_as<Welcome>(bytes);
    return welcome.has_value() && Group::join(*welcome, d).has_value();
  });
  expect_refused(d.message(), [](const Bytes& bytes) {
    const auto package = MLSMessage::decode_as<KeyPackage>(bytes);
    return package.has_value() && verify_key_package(*package).has_value();
  });
  expect_refused(VALUE(world.at("a").group_info(true, true)), [](const Bytes& bytes) {
    const auto info = MLSMessage::decode_as<GroupInfo>(bytes);
    return info.has_value() && PublicGroup::from_group_info(*info).has_value();
  });
}

} // namespace
} // namespace satsuma::mls
