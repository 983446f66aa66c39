// A server that lies and members that break things: what the others see. The world's hooks stand where the server's hands would be.
#include "agree.h"

namespace satsuma::sim {
namespace {

using call::DepartedEvent;
using call::OverdueEvent;
using call::RejoinReason;
using signaling::GoneCause;

struct Hostile : testing::Test {
  explicit Hostile(WorldOptions options = {}) : world(std::move(options)) {}
  World world;

  Person& enter(const std::string& name) {
    Person& person = world.add(name);
    EXPECT_TRUE(world.until([&] { return person.in(); }, 10s)) << name;
    world.run(500ms);
    return person;
  }
  static std::optional<signaling::Entry> entry_of(ByteView frame) {
    const auto message = signaling::parse_server_message(frame);
    const auto* entry = message ? std::get_if<signaling::Entry>(&*message) : nullptr;
    return entry == nullptr ? std::nullopt : std::optional(*entry);
  }
  template <class T>
  static bool carries(ByteView frame) {
    const auto entry = entry_of(frame);
    return entry && std::holds_alternative<T>(entry->body);
  }
};

// ---- the server

TEST_F(Hostile, ServerThatWithholdsAllCommitsIsNoticedByMembersAndByWhoWaits) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  world.on_up = [](Person&, Bytes& frame) {
    const auto message = signaling::parse_client_message(frame);
    return !message || !std::holds_alternative<signaling::Commit>(*message);
  };
  Person& cy = world.add("Cy");
  world.run(10s);
  EXPECT_TRUE(ada.all<OverdueEvent>().empty()) << "not too soon";
  world.run(10s);
  for (Person* person : {&ada, &bo}) {
    ASSERT_EQ(person->all<OverdueEvent>().size(), 1u) << person->name;
    EXPECT_TRUE(person->all<OverdueEvent>()[0].overdue);
  }
  EXPECT_EQ(cy.all<call::WaitingEvent>().back().reason, call::WaitingReason::not_admitted);
  world.on_up = nullptr;
  world.cut(ada);
  world.reconnect(ada);
  ASSERT_TRUE(world.until([&] { return agree({&ada, &bo, &cy}); }, 10s));
  EXPECT_FALSE(ada.all<OverdueEvent>().back().overdue) << "and it is said when it is over";
}

WorldOptions renewing_often() {
  WorldOptions options;
  options.session.refresh_interval = 20s;
  options.session.room_refresh_interval = 1s;
  return options;
}
struct HostileToOne : Hostile {
  HostileToOne() : Hostile(renewing_often()) {}
};

TEST_F(HostileToOne, ServerThatCutsOneMemberOffFromTheLogIsNoticedWhenItsOwnRenewalDoesNotCome) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  const std::string before = bo.digits();
  // Everything seems well to Bo: the connection stands, and nothing happens.
  world.on_down = [&](Person& to, Bytes&) { return &to != &bo; };
  world.run(60s);
  EXPECT_EQ(bo.digits(), before);
  EXPECT_NE(ada.digits(), bo.digits()) << "comparing numbers shows it too";
  ASSERT_FALSE(bo.all<OverdueEvent>().empty());
  EXPECT_TRUE(bo.all<OverdueEvent>().back().overdue);
}

TEST_F(Hostile, ServerThatReordersTheLogIsRefusedByWhomItTellsThat) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  std::optional<Bytes> held;
  world.on_down = [&](Person& to, Bytes& frame) {
    if (&to != &bo || !entry_of(frame)) return true;
    if (!held) {
      held = frame;
      return false;
    }
    world.inject_down(bo, std::exchange(frame, *held));
    world.on_down = nullptr;
    return true;
  };
  world.add("Cy");
  world.run(1s);
  world.on_down = nullptr;
  ASSERT_FALSE(rejoined(bo).empty());
  EXPECT_EQ(rejoined(bo)[0], RejoinReason::log_broken);
  ASSERT_TRUE(world.until([&] { return ada.roster_size() == 3 && bo.in() && bo.digits() == ada.digits(); }, 20s));
}

TEST_F(Hostile, ServerThatReplaysGetsNothingByIt) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  std::vector<Bytes> seen;
  world.on_down = [&](Person& to, Bytes& frame) {
    if (&to == &bo) seen.push_back(frame);
    return true;
  };
  Person& cy = enter("Cy");
  world.on_down = nullptr;
  const std::string before = bo.digits();
  for (const Bytes& frame : seen) world.inject_down(bo, frame);
  world.run(1s);
  EXPECT_EQ(bo.digits(), before);
  EXPECT_TRUE(rejoined(bo).empty());
  EXPECT_TRUE(agree({&ada, &bo, &cy}));
  // The same commit again, as if it were new.
  for (const Bytes& frame : seen) {
    if (!carries<signaling::CommitEntry>(frame)) continue;
    auto entry = *entry_of(frame);
    entry.index = world.room()->head();
    world.inject_down(bo, signaling::write_server_message(entry));
  }
  world.run(100ms);
  ASSERT_FALSE(rejoined(bo).empty());
  EXPECT_EQ(rejoined(bo)[0], RejoinReason::log_broken);
}

TEST_F(Hostile, ServerThatSplitsTheRoomShowsDeparturesAndTwoNumbers) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  Person& cy = enter("Cy");
  world.split({&bo, &cy});
  world.run(50s);
  EXPECT_TRUE(agree({&ada}));
  EXPECT_TRUE(agree({&bo, &cy}));
  EXPECT_NE(ada.digits(), bo.digits());
  EXPECT_EQ(ada.all<DepartedEvent>().size(), 2u) << "both left, as far as Ada is told";
  EXPECT_EQ(bo.all<DepartedEvent>().size(), 1u);
}

TEST_F(Hostile, ServerThatTellsTwoCommittersThatTheyWonCannotBringThemTogetherAgain) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  world.split({&bo});
  world.run(1s);
  // Each side admits somebody, in the same epoch of the same era: two winners.
  Person& cy = world.add("Cy");
  Person& di = world.add("Di", 1, false);
  di.server = 1;
  world.reconnect(di);
  ASSERT_TRUE(world.until([&] { return cy.in() && di.in() && ada.roster_size() == 3 && bo.roster_size() == 3; }, 10s));
  EXPECT_EQ(ada.epochs.back().epoch, bo.epochs.back().epoch);
  EXPECT_NE(ada.digits(), bo.digits());
  // Frames of one side cannot be read on the other.
  const Bytes plain(100, 1);
  Bytes out(sframe::max_protected_size(sframe::Shell::none, plain.size()));
  world.run(1s);
  const auto sent = ada.session->protect(world.now(), call::StreamContext::microphone, sframe::Shell::none, plain, out);
  ASSERT_TRUE(sent);
  Bytes in(sent->size());
  call::Line line{Bytes(32, 1)};
  EXPECT_FALSE(bo.session->unprotect(world.now(), line, sframe::ShellKind::none, *sent, in));
  // Led back to the first log, Bo enters anew: what it holds never was there.
  bo.server = 0;
  world.cut(bo);
  world.reconnect(bo);
  world.add("Eli");
  world.run(5s);
  ASSERT_FALSE(rejoined(bo).empty());
  EXPECT_TRUE(rejoined(bo)[0] == RejoinReason::log_differs || rejoined(bo)[0] == RejoinReason::cannot_process ||
              rejoined(bo)[0] == RejoinReason::log_broken || rejoined(bo)[0] == RejoinReason::gone);
}

TEST_F(Hostile, GhostWithoutTheSecretNeverGetsIn) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  Person& ghost = world.add("Ghost", 2);
  world.run(30s);
  EXPECT_FALSE(ghost.in());
  EXPECT_TRUE(agree({&ada, &bo}));
  // With the secret it is on the list, and the number changes: that is what a link is.
  const std::string before = ada.digits();
  enter("Friend");
  EXPECT_EQ(names(ada), (std::set<std::string>{"Ada", "Bo", "Friend"}));
  EXPECT_NE(ada.digits(), before);
}

TEST_F(Hostile, RosterThatTheServerForgesIsNotWhatIsShown) {
  Person& ada = enter("Ada");
  world.on_down = [](Person&, Bytes& frame) {
    auto message = signaling::parse_server_message(frame);
    if (!message) return true;
    if (auto* ready = std::get_if<signaling::Ready>(&*message); ready != nullptr && !ready->resumed) {
      IncarnationId nobody;
      nobody.bytes.fill(0x99);
      ready->snapshot.members.push_back(nobody);
      frame = signaling::write_server_message(*message);
    }
    return true;
  };
  Person& bo = enter("Bo");
  EXPECT_TRUE(agree({&ada, &bo}));
  EXPECT_EQ(bo.epochs.back().roster.size(), 2u);
}

TEST_F(Hostile, KeyPackageThatTheServerSwapsForOneMemberIsNotAddedAndTheTwoStoriesAreFoundOut) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  Person& cy = world.add("Cy", 1, false);
  // Ada is shown another key package for Cy than the others are.
  world.on_down = [&](Person& to, Bytes& frame) {
    auto entry = entry_of(frame);
    if (&to != &ada || !entry) return true;
    if (auto* join = std::get_if<signaling::JoinEntry>(&entry->body); join != nullptr && join->who == cy.session->incarnation()) {
      join->key_package[20] ^= 1;
      frame = signaling::write_server_message(*entry);
    }
    return true;
  };
  world.reconnect(cy);
  ASSERT_TRUE(world.until([&] { return cy.in(); }, 10s)) << "Bo lets Cy in, when Ada does not";
  world.on_down = nullptr;
  ASSERT_TRUE(world.until([&] { return !rejoined(ada).empty(); }, 10s));
  EXPECT_EQ(rejoined(ada)[0], RejoinReason::log_differs);
  ASSERT_TRUE(world.until([&] { return agree({&ada, &bo, &cy}); }, 20s));
}

TEST_F(Hostile, KeyPackageThatTheServerSwapsForEverybodyLetsNobodyInAndItsOwnerIsTold) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  const std::string before = ada.digits();
  // Whoever knocks as Cy, it is the server's own key package that everybody is shown: real, but made without the room's secret.
  Person& spy = world.add("Cy", 2, false);
  Person& cy = world.add("Cy", 1, false);
  std::optional<Bytes> own;
  world.on_up = [&](Person& from, Bytes& frame) {
    auto message = signaling::parse_client_message(frame);
    auto* hello = message ? std::get_if<signaling::Hello>(&*message) : nullptr;
    if (&from == &spy && hello != nullptr) own = hello->key_package;
    if (&from == &cy && hello != nullptr) {
      hello->key_package = *own;
      frame = signaling::write_client_message(std::move(*message));
    }
    return &from != &spy;
  };
  world.reconnect(spy);
  world.run(1s);
  ASSERT_TRUE(own);
  world.reconnect(cy);
  world.run(10s);
  EXPECT_FALSE(cy.in());
  ASSERT_FALSE(rejoined(cy).empty());
  EXPECT_EQ(rejoined(cy)[0], RejoinReason::log_broken) << "the log does not begin with Cy's own key package";
  EXPECT_TRUE(agree({&ada, &bo}));
  EXPECT_EQ(ada.digits(), before) << "nobody was added, not even for a moment";
}

TEST_F(Hostile, ServerThatClaimsThatSomebodyLeftRemovesHimVisiblyAndHeComesBack) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  const std::string before = ada.digits();
  world.on_up = [&](Person& from, Bytes&) { return &from != &bo; }; // "Bo does not answer"
  ASSERT_TRUE(world.until([&] { return ada.roster_size() == 1; }, 40s));
  world.on_up = nullptr;
  ASSERT_EQ(ada.all<DepartedEvent>().size(), 1u);
  EXPECT_EQ(ada.all<DepartedEvent>()[0].name, "Bo");
  ASSERT_TRUE(world.until([&] { return agree({&ada, &bo}); }, 20s));
  EXPECT_EQ(rejoined(bo), std::vector{RejoinReason::gone});
  EXPECT_NE(ada.digits(), before);
}

TEST_F(Hostile, ServerThatTellsOnlyOneMemberThatSomebodyLeftIsFoundOut) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  Person& cy = enter("Cy");
  // Cy alone is told that Ada left. (The server behind the hooks is honest, and must not see that Cy has read more than there is.)
  world.on_up = [&](Person& from, Bytes& frame) {
    const auto message = signaling::parse_client_message(frame);
    const auto* ack = message ? std::get_if<signaling::Ack>(&*message) : nullptr;
    if (&from == &cy && ack != nullptr) frame = signaling::write_client_message(signaling::Ack{std::min(ack->cursor, world.room()->head())});
    return true;
  };
  world.inject_down(cy, signaling::write_server_message(signaling::Entry{
                            world.room()->head(), signaling::GoneEntry{ada.session->incarnation(), GoneCause::connection_lost}}));
  world.run(100ms);
  ASSERT_EQ(cy.all<DepartedEvent>().size(), 1u) << "it is shown, and believed so far";
  Person& di = world.add("Di");
  world.run(5s);
  ASSERT_FALSE(rejoined(cy).empty());
  EXPECT_EQ(rejoined(cy)[0], RejoinReason::log_differs) << "the next commit read another log";
  ASSERT_TRUE(world.until([&] { return agree({&ada, &bo, &cy, &di}); }, 30s));
}

// ---- members

/// The commits of `culprit`'s present incarnation do not work for these people, as if their part of the path were wrong.
auto unusable(Person& culprit, std::set<Person*> victims, int times = 1'000) {
  return [who = culprit.session->incarnation(), victims = std::move(victims), times](Person& to, Bytes& frame) mutable {
    auto message = signaling::parse_server_message(frame);
    auto* entry = message ? std::get_if<signaling::Entry>(&*message) : nullptr;
    auto* commit = entry != nullptr ? std::get_if<signaling::CommitEntry>(&entry->body) : nullptr;
    if (commit == nullptr || commit->who != who || !victims.contains(&to) || times-- <= 0) return true;
    if (!commit->welcome.empty()) commit->welcome.back() ^= 1;
    commit->commit.back() ^= 1;
    frame = signaling::write_server_message(*message);
    return true;
  };
}

TEST_F(Hostile, MemberWhoseCommitsDoNotWorkForOneCommitsNoMoreAndTheVictimIsBackThroughAnother) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  Person& cy = enter("Cy");
  world.on_down = unusable(ada, {&bo});
  Person& di = world.add("Di");
  ASSERT_TRUE(world.until([&] { return agree({&ada, &bo, &cy, &di}); }, 20s));
  EXPECT_EQ(rejoined(bo), std::vector{RejoinReason::cannot_process});
  // The others are told whose commit it was, and Ada is not asked again.
  const auto departed = cy.all<DepartedEvent>();
  ASSERT_EQ(departed.size(), 1u);
  EXPECT_EQ(departed[0].cause, GoneCause::could_not_follow);
  EXPECT_EQ(departed[0].name, "Bo");
  EXPECT_EQ(departed[0].committer, "Ada");
  EXPECT_NE(cy.session->committer().designated()->who, ada.session->incarnation());
  EXPECT_TRUE(rejoined(ada).empty()) << "one report takes nobody out";
}

TEST_F(Hostile, MemberWhoIsReportedTwiceIsOut) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  Person& cy = enter("Cy");
  world.on_down = unusable(ada, {&bo, &cy});
  world.add("Di");
  ASSERT_TRUE(world.until([&] { return !rejoined(ada).empty(); }, 20s));
  world.on_down = nullptr;
  ASSERT_TRUE(world.until([&] { return ada.roster_size() == 4 && bo.roster_size() == 4 && bo.digits() == ada.digits() && cy.digits() == ada.digits(); }, 30s));
  EXPECT_EQ(rejoined(ada)[0], RejoinReason::gone);
}

TEST_F(HostileToOne, GroupOfTwoThatCannotFollowEachOtherBeginsANewEraAndSaysSo) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  world.on_down = unusable(ada, {&bo});
  const std::uint64_t era = ada.epochs.back().era;
  ASSERT_TRUE(world.until([&] { return agree({&ada, &bo}) && ada.epochs.back().era != era; }, 60s));
  EXPECT_TRUE(std::ranges::any_of(ada.epochs, [](const auto& epoch) { return epoch.kind == call::ChangeKind::new_era; }));
}

TEST_F(Hostile, WelcomeThatDoesNotOpenIsReportedAndAnotherMemberLetsIn) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  Person& cy = world.add("Cy");
  world.on_down = unusable(ada, {&cy});
  ASSERT_TRUE(world.until([&] { return agree({&ada, &bo, &cy}); }, 30s));
  EXPECT_EQ(rejoined(cy), std::vector{RejoinReason::cannot_process});
  EXPECT_EQ(bo.all<DepartedEvent>()[0].committer, "Ada");
}

TEST_F(Hostile, ReportOfACommitThatIsNotThereOrWasFollowedIsRefused) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  world.inject_up(bo, signaling::write_client_message(signaling::Report{0})); // a join
  ASSERT_TRUE(world.until([&] { return !bo.all<call::ErrorEvent>().empty(); }, 5s));
  EXPECT_EQ(bo.all<call::ErrorEvent>()[0].code, static_cast<std::uint16_t>(signaling::ErrorReason::malformed));
  ASSERT_TRUE(world.until([&] { return agree({&ada, &bo}); }, 30s));
  Person& cy = enter("Cy"); // through a commit of Ada's, which Bo follows and acknowledges
  std::optional<std::uint64_t> commit;
  for (std::uint64_t i = world.room()->log_start(); i < world.room()->head(); ++i) {
    const auto* one = std::get_if<signaling::CommitEntry>(&world.room()->record(i).entry.body);
    if (one != nullptr && one->who != bo.session->incarnation()) commit = i;
  }
  ASSERT_TRUE(commit);
  const std::size_t errors = bo.all<call::ErrorEvent>().size();
  world.inject_up(bo, signaling::write_client_message(signaling::Report{*commit}));
  ASSERT_TRUE(world.until([&] { return bo.all<call::ErrorEvent>().size() > errors; }, 5s));
  EXPECT_EQ(bo.all<call::ErrorEvent>().back().code, static_cast<std::uint16_t>(signaling::ErrorReason::malformed));
  ASSERT_TRUE(world.until([&] { return agree({&ada, &bo, &cy}); }, 30s));
  EXPECT_TRUE(rejoined(ada).empty());
}

WorldOptions renewing_all_the_time() {
  WorldOptions options;
  options.session.refresh_interval = 200ms;
  options.session.room_refresh_interval = 10ms;
  return options;
}
struct Spammed : Hostile {
  Spammed() : Hostile(renewing_all_the_time()) {}
};

TEST_F(Spammed, CommitsAllTheTimeDoNotKeepANewcomerOut) {
  Person& ada = enter("Ada");
  Person& bo = enter("Bo");
  world.run(10s);
  const std::uint64_t before = world.room()->roster().epoch();
  world.run(10s);
  EXPECT_LT(world.room()->roster().epoch() - before, 60u) << "renewals are bounded";
  Person& cy = world.add("Cy");
  ASSERT_TRUE(world.until([&] { return cy.in(); }, 5s));
  static_cast<void>(ada);
  static_cast<void>(bo);
}

} // namespace
} // namespace satsuma::sim
