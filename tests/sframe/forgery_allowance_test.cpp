#include "sframe/forgery_allowance.h"

#include <gtest/gtest.h>

#include "protocol_reference.h"

namespace satsuma::sframe {
namespace {

constexpr CipherSuite suite = CipherSuite::chacha20_poly1305_sha256_128;
constexpr std::uint64_t key_id = 0x101203;
constexpr std::uint32_t most = ForgeryAllowance::most;
const Bytes base_key(32, 0x42);

ForgeryAllowance fresh(std::uint8_t seed = 1) { return ForgeryAllowance(Bytes(32, seed)); }
ForgeryAllowance spent(std::uint8_t seed = 1) {
  ForgeryAllowance allowance = fresh(seed);
  EXPECT_TRUE(allowance.admits(most));
  return allowance;
}
int admitted(ForgeryAllowance& allowance, std::uint32_t derivations, int tries) {
  int all = 0;
  for (int i = 0; i < tries; ++i) all += allowance.admits(derivations);
  return all;
}

TEST(ForgeryAllowance, OpensEverythingUntilForgedFramesHaveSpentIt) {
  ForgeryAllowance allowance = fresh();
  EXPECT_EQ(admitted(allowance, 8, most / 8), static_cast<int>(most / 8));
  EXPECT_NEAR(admitted(allowance, 8, 10'000), 10'000 / 9, 200) << "one in nine";
}

TEST(ForgeryAllowance, IsNeitherSpentByWhatTakesOneDerivationNorEverClosedToIt) {
  for (const std::uint32_t near : {0u, 1u}) {
    ForgeryAllowance whole = fresh(), none = spent();
    EXPECT_EQ(admitted(whole, near, 10'000), 10'000);
    EXPECT_TRUE(whole.admits(most));
    EXPECT_EQ(admitted(none, near, 10'000), 10'000);
  }
}

TEST(ForgeryAllowance, ComesBackWithGoodFramesUpToItsBound) {
  ForgeryAllowance allowance = spent();
  for (std::uint32_t i = 0; i < 10 * most * ForgeryAllowance::frames_for_one; ++i) {
    EXPECT_TRUE(allowance.admits(0));
    allowance.handle_success();
  }
  EXPECT_EQ(admitted(allowance, 8, most / 8), static_cast<int>(most / 8));
  EXPECT_LT(admitted(allowance, 8, 1000), 300);
}

TEST(ForgeryAllowance, GivesBackWhatAGoodFrameWasChargedAndNoMore) {
  ForgeryAllowance allowance = fresh();
  for (std::uint32_t i = 0; i < 100; ++i) {
    EXPECT_TRUE(allowance.admits(8));
    allowance.handle_success();
  }
  EXPECT_TRUE(allowance.admits(most)) << "all of it is still there";
  // Of those that luck let through nothing was taken: good ones far away must not pay for forged ones.
  int lucky = 0;
  for (int i = 0; i < 100; ++i) {
    allowance = spent(static_cast<std::uint8_t>(i));
    while (!allowance.admits(8)) continue;
    allowance.handle_success();
    lucky += allowance.admits(8);
  }
  EXPECT_LT(lucky, 30) << "one in nine";
}

TEST(ForgeryAllowance, IsWholeAgainWhenItsLineCarriesSomethingElse) {
  ForgeryAllowance allowance = spent();
  allowance.renew();
  EXPECT_EQ(admitted(allowance, 8, most / 8), static_cast<int>(most / 8));
}

TEST(ForgeryAllowance, TakesAtMostOneDerivationInTheMeanHoweverManyAreForgedAndHoweverFar) {
  for (std::uint32_t distance = 1; distance <= Receiver::begin_cost; ++distance) {
    ForgeryAllowance allowance = spent();
    const double taken = static_cast<double>(distance) * admitted(allowance, distance, 20'000) / 20'000;
    EXPECT_LE(taken, 1) << distance;
    EXPECT_GT(taken, 0.4) << distance << ": the door is not shut";
  }
}

TEST(ForgeryAllowance, ChoosesAsNobodyForeseesWhoDoesNotHaveItsSeed) {
  const auto choices = [](std::uint8_t seed) {
    ForgeryAllowance allowance = spent(seed);
    std::string all;
    for (int i = 0; i < 200; ++i) all += allowance.admits(2) ? '1' : '0';
    return all;
  };
  EXPECT_EQ(choices(1), choices(1));
  EXPECT_NE(choices(1), choices(2));
}

struct Forgeries : testing::Test {
  Receiver receiver{suite};
  ForgeryAllowance line = fresh();
  Bytes out = Bytes(200);
  std::uint64_t random = 7;

  std::uint64_t below(std::uint64_t bound) { return (random = random * 6364136223846793005u + 1442695040888963407u) >> 20 & (bound - 1); }
  std::optional<Error> open(ByteView frame) {
    if (!receiver.has_key(key_id)) {
      if (!line.admits(Receiver::begin_cost)) return sframe_passed_over;
      receiver.try_key(key_id, base_key);
    }
    const auto opened = receiver.unprotect(line, {}, frame, out);
    return opened ? std::nullopt : std::optional(opened.error());
  }
  std::optional<Error> genuine(std::uint64_t counter) { return open(reference::protect(suite, key_id, base_key, counter, {}, Bytes{1})); }
  std::optional<Error> forged(std::uint64_t counter) {
    Bytes frame(60, 9);
    write_header({key_id, counter}, frame);
    return open(frame);
  }
  /// How many of so many were not opened.
  int flood(int frames) {
    int passed_over = 0;
    for (int i = 0; i < frames; ++i) {
      const auto error = forged(below(FrameKeyTree::capacity));
      EXPECT_TRUE(error.has_value());
      passed_over += error == Error(sframe_passed_over);
    }
    return passed_over;
  }
};

TEST_F(Forgeries, FarAheadAreMostlyNotOpenedOnceThereWereMany) {
  for (std::uint64_t counter = 0; counter < 100; ++counter) ASSERT_EQ(genuine(counter), std::nullopt);
  EXPECT_EQ(flood(20), 0);
  EXPECT_GT(flood(10'000), 8'000);
}

TEST_F(Forgeries, KeepNoFrameInSequenceOutWhereverTheStreamStands) {
  for (const std::uint64_t start : {0u, (1u << 12) - 20, (1u << 15) - 12, (1u << 18) - 300, (1u << 21) - 20}) {
    int tries = 1;
    while (tries < 1000 && genuine(start) == Error(sframe_passed_over)) ++tries;
    EXPECT_LE(tries, 64);
    for (std::uint64_t counter = start + 1; counter < start + 700; ++counter) {
      flood(3);
      ASSERT_EQ(genuine(counter), std::nullopt) << counter;
    }
  }
}

TEST_F(Forgeries, LetAJumpOfAMillionFramesThroughAtOnceWhenTheyAreOver) {
  EXPECT_EQ(genuine(0), std::nullopt);
  flood(1000);
  for (std::uint64_t counter = 1; counter < 100; ++counter) ASSERT_EQ(genuine(counter), std::nullopt);
  EXPECT_EQ(genuine(1'000'000), std::nullopt);
}

// However dense they are: what is counted are the frames of the stream that jumped.
TEST_F(Forgeries, KeepAJumpOfAMillionFramesOutForAFewFramesOnly) {
  EXPECT_EQ(genuine(0), std::nullopt);
  flood(1000);
  std::uint64_t next = 1;
  int jumps = 0, all = 0, longest = 0, afterwards = 0;
  for (; jumps < 12; ++jumps) {
    next += 1'000'000;
    int tries = 1;
    for (; tries < 1000 && genuine(next) == Error(sframe_passed_over); ++next, ++tries) flood(200);
    all += tries;
    longest = std::max(longest, tries);
    for (const std::uint64_t end = next + 20; ++next < end; flood(3)) afterwards += genuine(next).has_value();
  }
  EXPECT_LE(all, 12 * 16) << "nine in the mean";
  EXPECT_LE(longest, 50) << "a second of sound";
  EXPECT_EQ(afterwards, 0) << "from there on it is in sequence again";
}

TEST_F(Forgeries, KeepNoThinnedPictureOutWhereverItStands) {
  for (const std::uint64_t stride : {2u, 6u, 7u, 8u, 9u, 12u, 24u, 63u, 64u}) {
    for (const std::uint64_t start : {0u, (1u << 9) - 70, (1u << 12) - 65, (1u << 15) - 1, (1u << 21) - 300}) {
      receiver.remove_key(key_id);
      line.renew();
      ASSERT_EQ(genuine(start), std::nullopt);
      flood(100);
      for (int i = 1; i <= 60; ++i) {
        flood(2);
        ASSERT_EQ(genuine(start + static_cast<std::uint64_t>(i) * stride), std::nullopt) << stride << ' ' << start << ' ' << i;
      }
    }
  }
}

TEST_F(Forgeries, KeepAStreamThatHasNotBegunOutForAMomentAtMost) {
  EXPECT_GT(flood(2000), 2000 - 2000 / 15 - 100);
  int tries = 1;
  while (tries < 1000 && genuine(0) == Error(sframe_passed_over)) ++tries;
  EXPECT_LE(tries, 100) << "one in fifteen";
  EXPECT_EQ(genuine(1), std::nullopt);
}

} // namespace
} // namespace satsuma::sframe
