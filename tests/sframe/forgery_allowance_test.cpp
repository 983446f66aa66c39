#include "sframe/forgery_allowance.h"

#include <gtest/gtest.h>

#include "protocol_reference.h"

namespace satsuma::sframe {
namespace {

constexpr CipherSuite suite = CipherSuite::chacha20_poly1305_sha256_128;
constexpr std::uint64_t key_id = 0x101203;
constexpr std::uint32_t most = ForgeryAllowance::most;
const Bytes base_key(32, 0x42);

ForgeryAllowance spent(std::uint8_t seed = 1) {
  ForgeryAllowance allowance;
  allowance.seed(Bytes(12, seed));
  allowance.handle_failure(most + 1);
  return allowance;
}

TEST(ForgeryAllowance, OpensEverythingUntilForgedFramesHaveSpentIt) {
  ForgeryAllowance allowance;
  allowance.seed(Bytes(12, 1));
  for (std::uint32_t i = 0; i < most / 8; ++i) {
    ASSERT_TRUE(allowance.admits(8)) << i;
    allowance.handle_failure(8);
  }
  int opened = 0;
  for (int i = 0; i < 10'000; ++i) opened += allowance.admits(8);
  EXPECT_NEAR(opened, 10'000 / 9, 200) << "one in nine";
}

TEST(ForgeryAllowance, IsNotSpentByWhatIsInSequenceNorEverClosedToIt) {
  ForgeryAllowance allowance = spent();
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(allowance.admits(0));
    allowance.handle_failure(0);
  }
  for (std::uint32_t i = 0; i < ForgeryAllowance::frames_for_one; ++i) allowance.handle_success();
  allowance.handle_failure(0);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(allowance.admits(1)) << "eight good frames are enough for it";
}

TEST(ForgeryAllowance, ComesBackWithGoodFramesUpToItsBound) {
  ForgeryAllowance allowance = spent();
  for (std::uint32_t i = 0; i < 10 * most * ForgeryAllowance::frames_for_one; ++i) allowance.handle_success();
  for (std::uint32_t i = 0; i < most / 8; ++i) {
    ASSERT_TRUE(allowance.admits(8)) << i;
    allowance.handle_failure(8);
  }
  allowance.handle_failure(8);
  int opened = 0;
  for (int i = 0; i < 1000; ++i) opened += allowance.admits(8);
  EXPECT_LT(opened, 300);
}

TEST(ForgeryAllowance, TakesLessThanOneDerivationInTheMeanHoweverManyAreForgedAndHoweverFar) {
  for (std::uint32_t distance = 1; distance <= 14; ++distance) {
    ForgeryAllowance allowance = spent();
    double taken = 0;
    for (int i = 0; i < 20'000; ++i) {
      if (!allowance.admits(distance)) continue;
      taken += distance;
      allowance.handle_failure(distance);
    }
    EXPECT_LT(taken / 20'000, 1) << distance;
    EXPECT_GT(taken / 20'000, 0.4) << distance << ": the door is not shut";
  }
}

TEST(ForgeryAllowance, ChoosesAsNobodyForeseesWhoDoesNotHaveTheStreamsSecrets) {
  const auto choices = [](std::uint8_t seed) {
    ForgeryAllowance allowance = spent(seed);
    std::string all;
    for (int i = 0; i < 200; ++i) all += allowance.admits(1) ? '1' : '0';
    return all;
  };
  EXPECT_EQ(choices(1), choices(1));
  EXPECT_NE(choices(1), choices(2));
}

struct Forgeries : testing::Test {
  Receiver receiver{suite};
  Bytes out = Bytes(200);
  std::uint64_t random = 7;

  Forgeries() { EXPECT_TRUE(receiver.add_key(key_id, base_key)); }
  std::uint64_t below(std::uint64_t bound) { return (random = random * 6364136223846793005u + 1442695040888963407u) >> 20 & (bound - 1); }
  std::optional<Error> open(ByteView frame) {
    const auto opened = receiver.unprotect({}, frame, out);
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
  EXPECT_LE(afterwards, 12) << "from there on it is in sequence again, or a frame later where eight new keys begin";
}

TEST_F(Forgeries, OfStreamsThatHaveNotBegunCountToo) {
  Receiver fresh(suite);
  int tried = 0, passed_over = 0;
  for (int i = 0; i < 2000; ++i) {
    if (!fresh.may_try_key()) {
      ++passed_over;
      continue;
    }
    ++tried;
    fresh.try_key(key_id, base_key);
    Bytes frame(60, 9);
    write_header({key_id, 0}, frame);
    EXPECT_EQ(fresh.unprotect({}, frame, out).error(), Error(sframe_authentication_failed));
  }
  EXPECT_LT(tried, 2000 / 15 + 100);
  EXPECT_EQ(tried + passed_over, 2000);
  int tries = 1;
  while (tries < 1000 && !fresh.may_try_key()) ++tries;
  EXPECT_LE(tries, 100);
  fresh.try_key(key_id, base_key);
  EXPECT_TRUE(fresh.unprotect({}, reference::protect(suite, key_id, base_key, 0, {}, Bytes{1}), out).has_value());
}

} // namespace
} // namespace satsuma::sframe
