// A member that bypasses its session: what it signs is its own, and the server lets it through. What the others see, and how soon all is well again.
#include "agree.h"
#include "rogue.h"

namespace satsuma::sim {
namespace {

using call::DepartedEvent;
using call::RejoiningEvent;
using call::RejoinReason;
using signaling::GoneCause;

struct RogueMember : testing::Test {
  World world;
  Person* ada = nullptr;
  Person* bo = nullptr;
  Person* cy = nullptr;
  std::optional<Rogue> rogue;

  /// Ada and the rogue share a node of the tree, Bo and Cy another.
  void all_enter() {
    ada = &enter("Ada");
    rogue.emplace(world, "Rogue");
    EXPECT_TRUE(world.until([&] { return rogue->in(); }, 10s));
    bo = &enter("Bo");
    cy = &enter("Cy");
    world.run(1s);
    EXPECT_TRUE(agree({ada, bo, cy}, {"Rogue"}));
  }
  Person& enter(const std::string& name) {
    Person& person = world.add(name);
    EXPECT_TRUE(world.until([&] { return person.in(); }, 10s)) << name;
    world.run(300ms);
    return person;
  }
  /// What somebody is told of a departure.
  static std::vector<std::tuple<std::string, GoneCause, std::string>> departures(const Person& person) {
    std::vector<std::tuple<std::string, GoneCause, std::string>> all;
    for (const auto& event : person.all<DepartedEvent>()) all.emplace_back(event.name, event.cause, event.committer);
    return all;
  }
  using Departures = std::vector<std::tuple<std::string, GoneCause, std::string>>;
};

TEST_F(RogueMember, IsOneOfThemAsLongAsItBehaves) {
  all_enter();
  for (int i = 0; i < 5; ++i) {
    rogue->send_commit(rogue->honest());
    world.run(1s);
    rogue->send_commit(rogue->spoilt({})); // spoilt in nothing: the very same thing
    world.run(1s);
  }
  EXPECT_EQ(rogue->accepted(), 10u);
  EXPECT_TRUE(agree({ada, bo, cy}, {"Rogue"}));
  for (const Person* person : {ada, bo, cy}) EXPECT_TRUE(rejoined(*person).empty());
}

TEST_F(RogueMember, WhosePathOneCannotReadIsNamedAndTheVictimIsBackThroughAnother) {
  all_enter();
  const std::uint64_t era = ada->epochs.back().era;
  rogue->send_commit(rogue->spoilt_for(ada->session->incarnation()));
  ASSERT_TRUE(world.until([&] { return !rejoined(*ada).empty(); }, 1s));
  const auto took = world.until([&] { return agree({ada, bo, cy}, {"Rogue"}); }, 10s);
  ASSERT_TRUE(took);
  EXPECT_LT(*took, 500ms) << "the report, the join, and a commit";
  ASSERT_EQ(rejoined(*ada), std::vector{RejoinReason::cannot_process});
  EXPECT_EQ(ada->all<RejoiningEvent>()[0].committer, "Rogue");
  for (const Person* person : {bo, cy}) {
    EXPECT_EQ(departures(*person), (Departures{{"Ada", GoneCause::could_not_follow, "Rogue"}})) << person->name;
    EXPECT_TRUE(rejoined(*person).empty());
    EXPECT_NE(person->session->committer().designated()->who, rogue->who()) << "though it has the lowest leaf of those who were not out";
  }
  EXPECT_EQ(bo->epochs.back().era, era);
}

TEST_F(RogueMember, WhosePathsDoNotWorkASecondTimeIsOutAndAllAreTold) {
  all_enter();
  const std::uint64_t era = ada->epochs.back().era;
  for (int i = 0; i < 2; ++i) {
    rogue->send_commit(rogue->spoilt_for(ada->session->incarnation()));
    ASSERT_TRUE(world.until([&] { return rejoined(*ada).size() == static_cast<std::size_t>(i) + 1; }, 1s));
    if (i == 0) world.run(2s);
  }
  const auto took = world.until([&] { return agree({ada, bo, cy}); }, 10s);
  ASSERT_TRUE(took);
  EXPECT_LT(*took, 1s);
  ASSERT_EQ(departures(*bo).size(), 3u);
  EXPECT_EQ(departures(*bo)[2], (Departures::value_type{"Rogue", GoneCause::reported, ""}));
  ASSERT_FALSE(rogue->errors.empty());
  EXPECT_EQ(rogue->errors[0], signaling::ErrorReason::gone);
  EXPECT_EQ(bo->epochs.back().era, era) << "enough are left to go on";
  // What it knew, it knows no more: the keys are others.
  const Bytes plain(50, 1);
  Bytes out(sframe::max_protected_size(sframe::Shell::none, plain.size()));
  ASSERT_TRUE(ada->session->protect(world.now(), call::StreamContext::microphone, sframe::Shell::none, plain, out));
  EXPECT_LT(rogue->group().epoch(), ada->epochs.back().epoch);
}

TEST_F(RogueMember, WhosePathNobodyCanReadLeavesTheOthersInANewEraWithoutIt) {
  all_enter();
  const std::uint64_t era = ada->epochs.back().era;
  rogue->send_commit(rogue->spoilt({.path = [](const mls::RatchetTree&, std::vector<mls::UpdatePathNode>& nodes) {
    for (mls::UpdatePathNode& node : nodes) {
      for (mls::HpkeCiphertext& one : node.encrypted_path_secret) one.ciphertext.back() ^= 1;
    }
  }}));
  ASSERT_TRUE(world.until([&] { return !rejoined(*ada).empty(); }, 1s));
  const auto took = world.until([&] { return agree({ada, bo, cy}); }, 10s);
  ASSERT_TRUE(took);
  EXPECT_LT(*took, 1s);
  EXPECT_GT(ada->epochs.back().era, era);
  for (const Person* person : {ada, bo, cy}) {
    ASSERT_EQ(rejoined(*person), std::vector{RejoinReason::cannot_process}) << person->name;
    EXPECT_EQ(person->all<RejoiningEvent>()[0].committer, "Rogue") << person->name;
    EXPECT_TRUE(std::ranges::any_of(person->epochs, [](const auto& epoch) { return epoch.kind == call::ChangeKind::new_era; })) << person->name;
  }
  ASSERT_FALSE(rogue->errors.empty());
  EXPECT_EQ(rogue->errors[0], signaling::ErrorReason::gone);
}

TEST_F(RogueMember, WhoseConfirmationTagIsWrongLeavesTheOthersInANewEraWithoutIt) {
  all_enter();
  const std::uint64_t era = ada->epochs.back().era;
  rogue->send_commit(rogue->spoilt({.confirmation_tag = true}));
  ASSERT_TRUE(world.until([&] { return agree({ada, bo, cy}) && ada->epochs.back().era > era; }, 10s));
  EXPECT_EQ(rejoined(*bo), std::vector{RejoinReason::cannot_process});
}

TEST_F(RogueMember, AloneWithItsVictimIsOutAtTheFirstTime) {
  ada = &enter("Ada");
  rogue.emplace(world, "Rogue");
  ASSERT_TRUE(world.until([&] { return rogue->in(); }, 10s));
  world.run(1s);
  rogue->send_commit(rogue->spoilt_for(ada->session->incarnation()));
  ASSERT_TRUE(world.until([&] { return !rejoined(*ada).empty(); }, 1s));
  const auto took = world.until([&] { return agree({ada}); }, 10s);
  ASSERT_TRUE(took);
  EXPECT_LT(*took, 1s);
  EXPECT_EQ(ada->epochs.back().kind, call::ChangeKind::new_era);
  EXPECT_EQ(ada->all<RejoiningEvent>()[0].committer, "Rogue");
}

TEST_F(RogueMember, WhoseWelcomesDoNotOpenKeepsNobodyOutForLongAndIsOutAfterTheSecond) {
  all_enter();
  rogue->on_entry = [&](const signaling::Entry&) {
    if (rogue->waiting().empty()) return;
    auto pending = rogue->honest({rogue->waiting().front().second});
    pending.welcome->back() ^= 1; // in what holds the group's secrets
    rogue->send_commit(std::move(pending));
  };
  Person& di = world.add("Di");
  const auto took = world.until([&] { return agree({ada, bo, cy, &di}); }, 10s);
  ASSERT_TRUE(took) << agree({ada, bo, cy, &di}).message();
  EXPECT_LT(*took, 3s);
  EXPECT_EQ(rogue->accepted(), 2u);
  EXPECT_EQ(rejoined(di), (std::vector{RejoinReason::cannot_process, RejoinReason::cannot_process}));
  EXPECT_EQ(departures(*ada), (Departures{{"Di", GoneCause::could_not_follow, "Rogue"},
                                          {"Di", GoneCause::could_not_follow, "Rogue"},
                                          {"Rogue", GoneCause::reported, ""}}));
  EXPECT_TRUE(rejoined(*ada).empty());
}

TEST_F(RogueMember, WhoCommitsAllTheTimeKeepsNobodyOutNorInAndItsRenewalsAreOneASecond) {
  all_enter();
  rogue->on_entry = [&](const signaling::Entry&) { rogue->send_commit(rogue->honest()); };
  const auto retry = [&](auto&& self) -> void { // a refused one comes again and again
    world.at(world.now() + 20ms, [&] {
      rogue->send_commit(rogue->honest());
      self(self);
    });
  };
  retry(retry);
  world.run(10s); // its burst is over
  const std::uint64_t before = world.room()->roster().epoch();
  world.run(10s);
  EXPECT_LE(world.room()->roster().epoch() - before, 12u);
  EXPECT_GT(rogue->refused(), 100u);
  Person& di = world.add("Di");
  auto took = world.until([&] { return di.in(); }, 10s);
  ASSERT_TRUE(took);
  EXPECT_LT(*took, 2s);
  world.leave(*cy);
  took = world.until([&] { return agree({ada, bo, &di}, {"Rogue"}); }, 10s);
  ASSERT_TRUE(took);
  EXPECT_LT(*took, 2s);
  for (const Person* person : {ada, bo, &di}) EXPECT_TRUE(rejoined(*person).empty()) << person->name;
  EXPECT_TRUE(world.connected(rogue->person())) << "50 a second are honest in a large room; each but one is refused";
}

TEST_F(RogueMember, WhoSendsJunkFasterThanThatIsCutOffEachTimeAndTheOthersSeeNothing) {
  all_enter();
  const auto before = ada->epochs.size();
  for (int i = 0; i < 400; ++i) {
    rogue->send(signaling::Commit{rogue->era(), rogue->group().epoch(), Bytes(900, 7), {}});
    if (i % 20 == 0) world.run(50ms);
  }
  world.run(2s);
  ASSERT_FALSE(rogue->errors.empty());
  EXPECT_EQ(rogue->errors[0], signaling::ErrorReason::too_fast);
  EXPECT_EQ(ada->epochs.size(), before);
  Person& di = world.add("Di");
  ASSERT_TRUE(world.until([&] { return di.in(); }, 2s));
}

TEST_F(RogueMember, WhoProposesEndlesslyChangesNothingAndFillsNothing) {
  all_enter();
  const std::string number = bo->digits();
  const std::size_t heard = bo->received.size();
  const auto leaf = *rogue->leaf_of(bo->session->incarnation());
  // As messages to everybody: proposals that a commit could refer to, of both kinds.
  for (int i = 0; i < 600; ++i) {
    rogue->send(signaling::Application{rogue->group().propose({mls::Remove{leaf}}, i % 2 == 0, {}, rogue->random()).value()});
    world.run(10ms);
  }
  // In a commit, by reference: nobody has remembered them.
  mls::CommitParams params;
  params.authenticated_data = rogue->read_so_far();
  params.include_cached_proposals = true;
  auto pending = rogue->group().commit(params, rogue->random()).value();
  rogue->send_commit(std::move(pending));
  world.run(500ms);
  EXPECT_EQ(rogue->refused(), 1u);
  // In a commit, by value: kinds that no member makes.
  params = {};
  params.authenticated_data = rogue->read_so_far();
  mls::PreSharedKeyId psk;
  psk.type = mls::PreSharedKeyId::Type::external;
  psk.external_id = Bytes{1};
  params.psks.assign(20, psk);
  const auto with_psks = rogue->group().commit(params, rogue->random());
  EXPECT_FALSE(with_psks) << "without their values it cannot even be made";
  params.psks.clear();
  params.group_context_extensions = mls::Extensions{};
  rogue->send_commit(rogue->group().commit(params, rogue->random()).value());
  world.run(500ms);
  EXPECT_EQ(rogue->refused(), 2u);
  EXPECT_EQ(bo->digits(), number);
  EXPECT_EQ(bo->received.size(), heard);
  for (const Person* person : {ada, bo, cy}) {
    EXPECT_TRUE(rejoined(*person).empty()) << person->name;
    ASSERT_TRUE(person->session->send_application(world.local_now(*person), "still here"));
  }
  world.run(500ms);
  EXPECT_EQ(bo->received.size(), heard + 2) << "of Ada and Cy";
  Person& di = world.add("Di");
  ASSERT_TRUE(world.until([&] { return di.in(); }, 2s));
}

TEST_F(RogueMember, CannotThrowOutWhoDidNotLeaveNorBringInWhoDidNotAsk) {
  all_enter();
  mls::CommitParams removal;
  removal.authenticated_data = rogue->read_so_far();
  removal.remove = {*rogue->leaf_of(bo->session->incarnation())};
  rogue->send_commit(rogue->group().commit(removal, rogue->random()).value());
  world.run(500ms);
  EXPECT_EQ(rogue->refused(), 1u);
  Person& stranger = world.add("Stranger", 1, false); // never knocks
  std::optional<Bytes> key_package;
  world.on_up = [&](Person& from, Bytes& frame) {
    const auto message = signaling::parse_client_message(frame);
    if (&from == &stranger && message && std::holds_alternative<signaling::Hello>(*message)) key_package = std::get<signaling::Hello>(*message).key_package;
    return &from != &stranger && &from != &rogue->person();
  };
  world.reconnect(stranger);
  world.run(500ms);
  ASSERT_TRUE(key_package);
  rogue->send_commit(rogue->honest({*key_package}));
  world.run(500ms);
  EXPECT_EQ(rogue->refused(), 2u);
  EXPECT_TRUE(agree({ada, bo, cy}, {"Rogue"}));
}

} // namespace
} // namespace satsuma::sim
