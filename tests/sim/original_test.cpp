// Where the program that this one learned from fails: each of these left somebody locked out, forked or crashed there.
#include "agree.h"

namespace satsuma::sim {
namespace {

TEST(WhereTheOriginalFails, AVisitorOfTheLobbyWhoLeavesHarmsNobody) {
  World world;
  Person& ada = world.add("Ada");
  world.run(1s);
  Person& visitor = world.add("Visitor", 0);
  world.run(1s);
  world.leave(visitor);
  Person& other = world.add("Other", 2);
  world.run(1s);
  world.crash(other);
  world.run(15s);
  EXPECT_TRUE(agree({&ada}));
  EXPECT_EQ(ada.epochs.size(), 1u) << "nothing had to be committed for them";
  Person& bo = world.add("Bo");
  EXPECT_TRUE(world.until([&] { return agree({&ada, &bo}); }, 5s));
}

TEST(WhereTheOriginalFails, WhoIsReportedAsGoneComesBack) {
  World world;
  Person& ada = world.add("Ada");
  Person& bo = world.add("Bo");
  world.run(2s);
  world.freeze(ada); // a background tab, for longer than the server's patience
  ASSERT_TRUE(world.until([&] { return agree({&bo}); }, 40s));
  world.thaw(ada);
  EXPECT_TRUE(world.until([&] { return agree({&ada, &bo}); }, 5s));
}

TEST(WhereTheOriginalFails, ACommitterThatDiesAroundTheWelcomeLeavesNoFork) {
  for (int milliseconds = 0; milliseconds <= 120; milliseconds += 4) {
    World world;
    Person& ada = world.add("Ada");
    world.run(1s);
    Person& bo = world.add("Bo");
    world.run(1s);
    Person& cy = world.add("Cy");
    world.run(std::chrono::milliseconds(milliseconds));
    world.crash(ada, true);
    ASSERT_TRUE(world.until([&] { return agree({&bo, &cy}); }, 40s)) << milliseconds;
  }
}

TEST(WhereTheOriginalFails, TwoFirstUsersAtOnceAreInOneGroup) {
  WorldOptions options;
  options.session.committer.rank_delay = 0ms; // both begin a group at once, and only the gate stands between them and two
  World world(options);
  Person& ada = world.add("Ada");
  Person& bo = world.add("Bo");
  EXPECT_TRUE(world.until([&] { return agree({&ada, &bo}); }, 3s));
  EXPECT_TRUE(ada.all<call::RejoiningEvent>().empty());
  EXPECT_TRUE(bo.all<call::RejoiningEvent>().empty());
}

TEST(WhereTheOriginalFails, WhoEntersWhereOnlyACrashedMemberIsGetsInOnceThatOneIsGivenUp) {
  World world;
  Person& ada = world.add("Ada");
  world.run(1s);
  world.crash(ada, true);
  Person& bo = world.add("Bo");
  EXPECT_TRUE(world.until([&] { return agree({&bo}); }, 20s));
}

TEST(WhereTheOriginalFails, WhoReconnectsGoesOn) {
  World world;
  Person& ada = world.add("Ada");
  Person& bo = world.add("Bo");
  world.run(2s);
  world.cut(bo);
  Person& cy = world.add("Cy");
  world.run(3s);
  world.reconnect(bo);
  EXPECT_TRUE(world.until([&] { return agree({&ada, &bo, &cy}); }, 5s));
  EXPECT_TRUE(bo.all<call::RejoiningEvent>().empty());
}

TEST(WhereTheOriginalFails, NobodyWaitsForThoseWhoWereThereWhenItEntered) {
  // Ada dies silently, Bo leaves, Cy enters and never hears of Bo's leaving; then Di, who let Cy in, leaves too.
  World world;
  Person& ada = world.add("Ada");
  world.run(1s);
  Person& di = world.add("Di");
  world.run(1s);
  Person& bo = world.add("Bo");
  world.run(1s);
  world.crash(ada, true);
  world.leave(bo);
  Person& cy = world.add("Cy");
  ASSERT_TRUE(world.until([&] { return cy.in(); }, 5s));
  ASSERT_TRUE(world.until([&] { return agree({&cy, &di}); }, 40s));
  world.leave(di);
  Person& eli = world.add("Eli");
  EXPECT_TRUE(world.until([&] { return agree({&cy, &eli}); }, 5s));
}

TEST(WhereTheOriginalFails, JunkCommitsAndKeyPackagesHarmNobody) {
  World world;
  Person& ada = world.add("Ada");
  Person& bo = world.add("Bo");
  world.run(2s);
  const std::string before = ada.digits();
  // From a member: refused at the gate.
  world.inject_up(bo, signaling::write_client_message(signaling::Commit{bo.epochs.back().era, bo.epochs.back().epoch, Bytes(500, 7), {}}));
  world.inject_up(bo, signaling::write_client_message(signaling::Application{Bytes(500, 7)}));
  world.run(1s);
  EXPECT_EQ(ada.digits(), before);
  EXPECT_TRUE(agree({&ada, &bo}));
  // From who knocks: refused at the door.
  Person& junk = world.add("Junk", 1, false);
  world.on_up = [&](Person& from, Bytes& frame) {
    auto message = signaling::parse_client_message(frame);
    if (auto* hello = message ? std::get_if<signaling::Hello>(&*message) : nullptr; &from == &junk && hello != nullptr) {
      hello->key_package.assign(300, 7);
      frame = signaling::write_client_message(std::move(*message));
    }
    return true;
  };
  world.reconnect(junk);
  world.run(1s);
  world.on_up = nullptr;
  world.crash(junk);
  ASSERT_FALSE(junk.all<call::ErrorEvent>().empty());
  EXPECT_EQ(junk.all<call::ErrorEvent>()[0].code, static_cast<std::uint16_t>(signaling::ErrorReason::malformed));
  EXPECT_EQ(ada.digits(), before);
  // From the server: a join with junk is passed over, a commit of junk means entering anew.
  IncarnationId nobody;
  nobody.bytes.fill(0x77);
  world.inject_down(ada, signaling::write_server_message(signaling::Entry{world.room()->head(), signaling::JoinEntry{nobody, Bytes(300, 7)}}));
  world.run(1s);
  EXPECT_TRUE(ada.in());
  world.inject_down(bo, signaling::write_server_message(signaling::Entry{
                            world.room()->head(), signaling::CommitEntry{bo.epochs.back().era, bo.epochs.back().epoch, ada.session->incarnation(), Bytes(500, 7), {}}}));
  EXPECT_TRUE(world.until([&] { return ada.in() && bo.in() && ada.digits() == bo.digits() && ada.roster_size() == 2; }, 40s));
}

} // namespace
} // namespace satsuma::sim
