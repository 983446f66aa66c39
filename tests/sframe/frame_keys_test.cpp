#include "sframe/frame_keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <new>
#include <optional>
#include <random>
#include <set>

#include "protocol_reference.h"

namespace satsuma::sframe {
namespace {

constexpr CipherSuite suites[] = {CipherSuite::aes_128_ctr_hmac_sha256_80, CipherSuite::aes_128_gcm_sha256_128, CipherSuite::aes_256_gcm_sha512_128,
                                  CipherSuite::aes_256_ctr_hmac_sha512_80, CipherSuite::chacha20_poly1305_sha256_128};
constexpr std::uint64_t key_id = 0x123456;
const Bytes base_key(32, 0x42);

FrameKeyTree tree(CipherSuite suite) { return std::move(StreamKeys(suite, key_id, base_key).keys); }

std::optional<Bytes> key_of(const FrameKeyTree& keys, CipherSuite suite, std::uint64_t counter) {
  FrameKey key;
  if (!keys.derive(counter, key)) return std::nullopt;
  EXPECT_EQ(key.view().size(), parameters(suite).frame_key_size);
  return to_bytes(key.view());
}
// Which must be there.
void destroy(FrameKeyTree& keys, std::uint64_t counter, std::uint64_t floor) {
  FrameKey key;
  ASSERT_TRUE(keys.derive(counter, key));
  keys.destroy(key, floor);
}

class FrameKeys : public testing::TestWithParam<CipherSuite> {};
INSTANTIATE_TEST_SUITE_P(SFrame, FrameKeys, testing::ValuesIn(suites));

TEST_P(FrameKeys, AreThoseOfTheProtocolWhereverTheyStand) {
  const FrameKeyTree keys = tree(GetParam());
  for (const std::uint64_t counter : {0u, 1u, 7u, 8u, 63u, 64u, 511u, 1'000'000u, (1u << 24) - 1}) {
    EXPECT_EQ(key_of(keys, GetParam(), counter), reference::frame_key(GetParam(), key_id, base_key, counter)) << counter;
  }
  EXPECT_EQ(key_of(keys, GetParam(), FrameKeyTree::capacity), std::nullopt);
  EXPECT_EQ(key_of(keys, GetParam(), ~std::uint64_t{0}), std::nullopt);
}

TEST_P(FrameKeys, AreEachThereUntilDestroyedAndNeverAgain) {
  std::mt19937 random(7);
  FrameKeyTree keys = tree(GetParam());
  std::set<std::uint64_t> gone;
  std::uint64_t next = 0, floor = 0;
  const auto below = [&](std::uint64_t n) { return std::uniform_int_distribution<std::uint64_t>(0, n - 1)(random); };
  for (int step = 0; step < 4000; ++step) {
    // Mostly the next one or a bit further, now and then something of the window, or a great jump.
    std::uint64_t counter = next;
    const std::uint64_t dice = below(100);
    if (dice < 60) counter = next + below(3);
    else if (dice < 90) counter = floor + below(next + 1 - floor);
    else if (dice < 99) counter = next + below(2000);
    else counter = next + below(1 << 18);
    if (counter >= FrameKeyTree::capacity) break;
    const bool expected = counter >= floor && !gone.contains(counter);
    const auto key = key_of(keys, GetParam(), counter);
    ASSERT_EQ(key.has_value(), expected) << step << ' ' << counter;
    if (key && step % 16 == 0) {
      EXPECT_EQ(*key, reference::frame_key(GetParam(), key_id, base_key, counter));
    }
    if (!key) continue;
    next = std::max(next, counter + 1);
    floor = next - std::min(next, FrameKeyTree::max_window);
    destroy(keys, counter, floor);
    floor -= floor % FrameKeyTree::floor_step;
    gone.insert(counter);
    gone.erase(gone.begin(), gone.lower_bound(floor));
    ASSERT_LE(keys.node_count(), FrameKeyTree::max_nodes);
    if (floor > 0) {
      ASSERT_EQ(key_of(keys, GetParam(), floor - 1), std::nullopt);
    }
  }
}

TEST_P(FrameKeys, MayBeDerivedBeforeOthersAreDestroyedAndDestroyedAfterThem) {
  FrameKeyTree keys = tree(GetParam());
  FrameKey early;
  ASSERT_TRUE(keys.derive(70'000, early));
  for (const std::uint64_t counter : {3u, 69'999u, 70'001u}) destroy(keys, counter, 0);
  keys.destroy(early, 0);
  EXPECT_EQ(key_of(keys, GetParam(), 70'000), std::nullopt);
  for (const std::uint64_t counter : {0u, 4u, 69'998u, 70'002u, 70'007u, 70'008u, 80'000u, 5'000'000u}) {
    EXPECT_EQ(key_of(keys, GetParam(), counter), reference::frame_key(GetParam(), key_id, base_key, counter)) << counter;
  }
}

TEST_P(FrameKeys, LeaveNothingOfTheWayToThemWhereTheyWere) {
  FrameKeyTree keys = tree(GetParam());
  destroy(keys, 0, 0);
  alignas(FrameKey) std::array<std::uint8_t, sizeof(FrameKey)> memory{};
  const auto found = [&] {
    std::size_t count = 0;
    const auto secrets = reference::way_to_key(GetParam(), key_id, base_key, 3'000'000);
    for (const Bytes& secret : secrets) count += std::search(memory.begin(), memory.end(), secret.begin(), secret.end()) != memory.end();
    return count;
  };
  FrameKey* key = new (memory.data()) FrameKey;
  ASSERT_TRUE(keys.derive(3'000'000, *key));
  EXPECT_EQ(found(), 7u) << "the look sees what is there";
  keys.destroy(*key, 0);
  key->~FrameKey();
  EXPECT_EQ(found(), 0u);
}

TEST(FrameKeyTree, HoldsNoMoreThanItsBoundWhateverIsLost) {
  constexpr CipherSuite suite = CipherSuite::aes_128_gcm_sha256_128;
  std::size_t most = 0;
  for (const std::uint64_t stride : {1u, 2u, 7u, 8u, 9u, 63u, 64u, 65u, 1023u, 1024u, 1025u}) {
    FrameKeyTree keys = tree(suite);
    for (std::uint64_t counter = 0; counter < 6000; counter += stride) {
      destroy(keys, counter, counter + 1 - std::min(counter + 1, FrameKeyTree::max_window));
      keys.look_ahead();
      for (std::uint64_t i = 1; i <= FrameKeyTree::ahead; ++i) keys.approach_near(counter + i); // as forged frames may have it
      most = std::max(most, keys.node_count());
    }
  }
  EXPECT_LE(most, FrameKeyTree::max_nodes);
  EXPECT_GT(most, FrameKeyTree::max_window / 2) << "the strides do not come near what they are to try";
}

TEST(FrameKeyTree, HasTheNextKeyAfterEachFrameAndSixtyFourADerivationAway) {
  constexpr CipherSuite suite = CipherSuite::aes_128_gcm_sha256_128;
  for (const std::uint64_t stride : {1u, 5u, 12u, 63u, 64u, 65u, 700u, 70'000u}) {
    for (const std::uint64_t start : {0u, (1u << 9) - 70, (1u << 12) - 65, (1u << 21) - 1}) {
      FrameKeyTree keys = tree(suite);
      for (std::uint64_t counter = start; counter < start + 40 * stride; counter += stride) {
        destroy(keys, counter, counter + 1 - std::min(counter + 1, FrameKeyTree::max_window));
        keys.look_ahead();
        ASSERT_EQ(keys.distance(counter + 1), 0u) << counter;
        for (std::uint64_t i = 1; i <= FrameKeyTree::ahead; ++i) ASSERT_LE(*keys.distance(counter + i), 1u) << counter << ' ' << i;
      }
    }
  }
}

TEST(FrameKeyTree, DerivesWhatIsForgedNearTheNextOnceAndNothingElse) {
  constexpr auto suite = CipherSuite::aes_128_gcm_sha256_128;
  FrameKeyTree keys = tree(suite);
  destroy(keys, 1002, 0);
  keys.look_ahead();
  const std::size_t before = keys.node_count();
  for (const std::uint64_t elsewhere : {0u, 900u, 1001u, 1003u, 1002u + 65u, 1200u, 70'000u}) keys.approach_near(elsewhere);
  EXPECT_EQ(keys.node_count(), before);
  ASSERT_EQ(keys.distance(1042), 1u);
  for (int again = 0; again < 3; ++again) keys.approach_near(1042);
  EXPECT_EQ(keys.node_count(), before + 7);
  for (std::uint64_t counter = 1040; counter < 1048; ++counter) {
    EXPECT_EQ(keys.distance(counter), 0u);
    EXPECT_EQ(key_of(keys, suite, counter), reference::frame_key(suite, key_id, base_key, counter)) << counter;
  }
  for (std::uint64_t i = 1; i <= FrameKeyTree::ahead; ++i) keys.approach_near(1002 + i);
  for (std::uint64_t i = 1; i <= FrameKeyTree::ahead; ++i) EXPECT_EQ(key_of(keys, suite, 1002 + i), reference::frame_key(suite, key_id, base_key, 1002 + i)) << i;
  EXPECT_LE(keys.node_count(), before + FrameKeyTree::ahead);
}

TEST(FrameKeyTree, EndsWithItsLastCounter) {
  constexpr CipherSuite suite = CipherSuite::chacha20_poly1305_sha256_128;
  FrameKeyTree keys = tree(suite);
  for (std::uint64_t counter = FrameKeyTree::capacity - 3; counter < FrameKeyTree::capacity; ++counter) {
    EXPECT_TRUE(key_of(keys, suite, counter));
    destroy(keys, counter, counter + 1);
  }
  EXPECT_EQ(keys.node_count(), 0u);
}

TEST(FrameKeyTree, GivesEachFrameOfEachStreamItsOwnKey) {
  constexpr CipherSuite suite = CipherSuite::chacha20_poly1305_sha256_128;
  std::set<Bytes> seen;
  for (const std::uint64_t id : {0u, 1u, 256u}) {
    const StreamKeys stream(suite, id, base_key);
    for (std::uint64_t counter = 0; counter < 600; ++counter) EXPECT_TRUE(seen.insert(*key_of(stream.keys, suite, counter)).second);
  }
}

} // namespace
} // namespace satsuma::sframe
