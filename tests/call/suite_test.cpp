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
  const auto received = by.session->unprotect(world.now(), sframe::ShellKind::none, frame, out);
  return received ? to_bytes(received->plaintext) : Bytes{};
}

struct EveryRoomSuite : testing::TestWithParam<RoomSuite> {};
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
    if (other == GetParam()) continue;
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
