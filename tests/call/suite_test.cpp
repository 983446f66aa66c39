// Rooms of each suite, with everything in place: sessions, delivery service, frames.
#include <gtest/gtest.h>

#include "world.h"

namespace satsuma::call {
namespace {

using test::World;
using Person = World::Person;
using namespace std::chrono_literals;

Bytes send(World& world, Person& from, ByteView plain) {
  Bytes out(plain.size() + sframe::max_overhead + sframe::max_shell_size);
  const auto sent = from.session->protect(world.now(), StreamContext::microphone, sframe::Shell::none, plain, out);
  EXPECT_TRUE(sent);
  out.resize(sent ? sent->size() : 0);
  return out;
}

Bytes receive(World& world, Person& by, const Bytes& frame) {
  Bytes out(frame.size());
  Line line{Bytes(32, 1)};
  const auto received = by.session->unprotect(world.now(), line, sframe::ShellKind::none, frame, out);
  return received ? to_bytes(received->plaintext) : Bytes{};
}

bool is_available(RoomSuite suite) { return mls::require_suite_of_member(parameters(suite).mls).has_value(); }

struct EveryRoomSuite : testing::TestWithParam<RoomSuite> {
  void SetUp() override {
    if (!is_available(GetParam())) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  }
};
INSTANTIATE_TEST_SUITE_P(Call, EveryRoomSuite, testing::ValuesIn(all_room_suites),
                         [](const auto& param) { return "Suite" + std::to_string(static_cast<std::uint32_t>(param.param)); });

TEST_P(EveryRoomSuite, LetsPeopleMeetHearEachOtherAndPart) {
  World world;
  world.suite = GetParam();
  Person& ada = world.add("Ada");
  Person& bo = world.add("Bo");
  ASSERT_TRUE(world.until([&] { return ada.in() && bo.in() && ada.roster_size() == 2; }, 10s));
  Person& cy = world.add("Cy");
  ASSERT_TRUE(world.until([&] { return cy.in() && ada.roster_size() == 3 && bo.roster_size() == 3; }, 10s));
  world.run(1s);
  EXPECT_EQ(ada.digits(), cy.digits());
  const Bytes plain = to_bytes(as_bytes("good morning"));
  const Bytes frame = send(world, ada, plain);
  EXPECT_LE(frame.size(), plain.size() + 24);
  EXPECT_EQ(receive(world, bo, frame), plain);
  EXPECT_EQ(receive(world, cy, frame), plain);
  bo.session->leave(world.now());
  ASSERT_TRUE(world.until([&] { return ada.roster_size() == 2 && cy.roster_size() == 2; }, 10s));
  world.run(1s);
  EXPECT_EQ(receive(world, ada, send(world, cy, plain)), plain);
}

TEST_P(EveryRoomSuite, RefusesWhoComesWithTheLinkOfAnotherAndSaysWhy) {
  World world;
  world.suite = GetParam();
  Person& ada = world.add("Ada");
  ASSERT_TRUE(world.until([&] { return ada.in(); }, 10s));
  for (const RoomSuite other : all_room_suites) {
    if (other == GetParam() || !is_available(other)) continue;
    world.suite = other;
    Person& stray = world.add("Stray");
    ASSERT_TRUE(world.until([&] { return stray.closed; }, 10s));
    const auto errors = stray.all<ErrorEvent>();
    ASSERT_EQ(errors.size(), 1u);
    EXPECT_TRUE(errors[0].fatal);
    EXPECT_EQ(errors[0].code, static_cast<std::uint16_t>(signaling::ErrorReason::wrong_suite));
  }
  EXPECT_EQ(ada.roster_size(), 1u);
  EXPECT_EQ(ada.epochs.size(), 1u) << "nobody knocked";
}

TEST(RoomSuites, TwoAtOnceWithDifferentLinksDoNotWaitForEachOther) {
  World world;
  Person& ada = world.add("Ada");
  world.suite = RoomSuite::suite_b_192;
  Person& bo = world.add("Bo");
  ASSERT_TRUE(world.until([&] { return ada.in() != bo.in() && ada.closed != bo.closed; }, 10s));
  const Person& loser = ada.in() ? bo : ada;
  ASSERT_EQ(loser.all<ErrorEvent>().size(), 1u);
  EXPECT_EQ(loser.all<ErrorEvent>()[0].code, static_cast<std::uint16_t>(signaling::ErrorReason::wrong_suite));
}

SessionConfig config_of(RoomSuite suite) {
  SessionConfig config;
  config.room = "room";
  config.secret = SecretBytes(room_secret_size);
  config.device_seed = SecretBytes(32);
  config.name = "Ada";
  config.suite = suite;
  return config;
}

TEST(RoomSuites, WhereOpensslLacksOneTheSessionSaysSo) {
  test::SeededRandom random(1);
  for (const RoomSuite suite : all_room_suites) {
    const auto session = ClientSession::create(config_of(suite), {}, 1'800'000'000, random);
    EXPECT_EQ(session.has_value(), is_available(suite));
    if (!session) {
      EXPECT_EQ(session.error(), Error(mls::mls_suite_unavailable));
    }
  }
}

// A key of the post-quantum suite is longer by 1184 bytes and by one of its length; there are two in a key package.
TEST(RoomSuites, TheKeyPackageOfTheLongestNameFitsItsBoundInEach) {
  const RoomKeys keys = *RoomKeys::derive("room", SecretBytes(room_secret_size).view());
  const DeviceKey device = *DeviceKey::from_seed(SecretBytes(32).view());
  std::size_t largest = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) { // the values that mean nothing differ
    test::SeededRandom random(seed);
    mls::KeyPackageParams params;
    params.suite = parameters(RoomSuite::standard).mls;
    const auto signature_keys = *mls::generate_signature_keys(params.suite, random);
    params.credential = mls::Credential::basic(*keys.seal_identity(device, std::string(max_name_size, 'n'), signature_keys.public_key, random));
    largest = std::max(largest, mls::generate_key_package(params, signature_keys, random)->message().size());
  }
  EXPECT_LE(largest + 2 * (1184 + 1) + 2, signaling::max_key_package_size); // and the suite is listed in the capabilities
}

TEST(RoomSuites, AreNamedInTheLinkEachByItsOwnWord) {
  for (const RoomSuite suite : all_room_suites) {
    EXPECT_EQ(room_suite_named(parameters(suite).name), suite);
    EXPECT_EQ(room_suite_from(static_cast<std::uint32_t>(suite)), suite);
  }
  EXPECT_EQ(room_suite_named("rot13"), std::nullopt);
  EXPECT_EQ(room_suite_from(99), std::nullopt);
}

} // namespace
} // namespace satsuma::call
