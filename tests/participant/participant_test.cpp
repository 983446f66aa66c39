#include "sframe/header.h"
#include "world.h"

namespace satsuma::participant::test {
namespace {

const std::vector<Source> both{Source::microphone, Source::camera};

TEST(Participant, TwoSeeAndHearEachOtherWithinASecondAndLoseNothing) {
  World w;
  auto& ada = w.add("Ada", both);
  auto& bob = w.add("Bob", both);
  const auto took = w.until([&] { return w.all_receive_all(); });
  ASSERT_TRUE(took);
  EXPECT_LT(*took, Duration(1500ms));
  w.run(20s);
  for (const auto* p : {&ada, &bob}) {
    EXPECT_EQ(p->participant->frames().undecryptable, 0U);
    EXPECT_EQ(p->participant->frames().refused, 0U);
    EXPECT_EQ(p->refused, 0);
    const std::string other = p == &ada ? "Bob" : "Ada";
    const auto& camera = p->received.at({other, Source::camera});
    EXPECT_GE(camera.frames, 590U);
    EXPECT_EQ(camera.missing, 0U);
    EXPECT_LT(camera.longest_gap, Duration(200ms));
    const auto& microphone = p->received.at({other, Source::microphone});
    EXPECT_GE(microphone.frames, 990U);
    EXPECT_EQ(microphone.missing, 0U);
  }
  EXPECT_EQ(ada.epochs.back().safety_number.digits, bob.epochs.back().safety_number.digits);
}

TEST(Participant, FivePercentLossCostsNoVideoFrame) {
  World w(2);
  auto& ada = w.add("Ada", both, "delay=20ms loss=5% jitter=5ms");
  auto& bob = w.add("Bob", both, "delay=20ms loss=5% jitter=5ms");
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(5s);
  const auto before = bob.received.at({"Ada", Source::camera});
  w.run(20s);
  const auto& camera = bob.received.at({"Ada", Source::camera});
  EXPECT_GE(camera.frames - before.frames, 594U) << "600 were sent";
  std::printf("at 5 %% of loss on both ways, of 600 pictures of 20 s %llu came\n", static_cast<unsigned long long>(camera.frames - before.frames));
  EXPECT_GT(bob.participant->receiver()->counters().retransmissions, 20U);
  EXPECT_EQ(bob.participant->frames().undecryptable, 0U);
  EXPECT_GT(ada.participant->sender()->counters().retransmissions, 20U);
  ASSERT_TRUE(ada.participant->sender()->round_trip());
  EXPECT_NEAR(static_cast<double>(ada.participant->sender()->round_trip()->count()), 45'000, 12'000);
  EXPECT_GT(ada.participant->sender()->counters().feedback_received, 100U);
}

TEST(Participant, OfSoundAFifthOfWhichIsLostOnItsWayUpTwoFramesInAHundredAreMissing) {
  for (const char* loss : {"10%", "20%"}) {
    World w(20);
    auto& ada = w.add("Ada", {Source::microphone}, std::string("delay=25ms jitter=5ms up.loss=") + loss);
    auto& bob = w.add("Bob", {Source::microphone}, "delay=25ms");
    ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
    w.run(2s);
    const auto before = bob.received.at({"Ada", Source::microphone}).frames;
    w.run(60s);
    const auto& sound = bob.received.at({"Ada", Source::microphone});
    const double share = 1 - static_cast<double>(sound.frames - before) / 3000;
    std::printf("%s of the packets lost on their way up: %.2f %% of the frames missing, %llu sent again, the latest %lld ms after it was made\n", loss, 100 * share,
                static_cast<unsigned long long>(ada.participant->sender()->counters().retransmissions), static_cast<long long>(sound.longest_delay.count() / 1000));
    EXPECT_LE(share, 0.02);
    // Later nobody plays it: two requests, 60 ms apart, of what was noticed with the next packet.
    EXPECT_LE(sound.longest_delay, Duration(300ms));
    EXPECT_EQ(bob.participant->frames().undecryptable, 0U);
    EXPECT_EQ(w.forwarding().counters().dropped_invalid, 0U) << "nothing came twice";
  }
}

TEST(Participant, OfSoundAThirdOfWhichIsLostOnItsWayDownFourFramesInAHundredAreMissing) {
  for (const std::uint64_t seed : {22, 23, 24}) {
    World w(seed);
    w.add("Ada", both, "delay=25ms");
    auto& bob = w.add("Bob", {}, "delay=25ms down.loss=30%");
    ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
    w.run(7s); // it is noticed
    World::Received& sound = bob.received.at({"Ada", Source::microphone});
    const auto before = sound.frames;
    sound.longest_delay = {};
    w.run(30s);
    const double share = 1 - static_cast<double>(sound.frames - before) / 1500;
    std::printf("30 %% of all packets lost on their way down: %.2f %% of the frames of sound missing, the latest %lld ms after it was made\n", 100 * share,
                static_cast<long long>(sound.longest_delay / 1ms));
    EXPECT_LE(share, 0.045);
    EXPECT_LE(sound.longest_delay, Duration(200ms));
  }
}

TEST(Participant, SoundAloneIsConfirmedSoonAndStaysSoWhereItGetsLost) {
  for (const char* network : {"delay=25ms", "delay=25ms loss=5% jitter=5ms", "delay=25ms up.loss=5% down.loss=20%"}) {
    World w(25);
    for (const char* name : {"Ada", "Bob", "Cy"}) w.add(name, {Source::microphone}, network);
    auto& people = w.people();
    const auto all_confirmed = [&] { return std::ranges::all_of(people, [](const auto& person) { return person->verdicts.size() >= 2; }); };
    const auto took = w.until(all_confirmed, 10s);
    ASSERT_TRUE(took) << network;
    w.run(60s);
    for (const auto& person : people) {
      EXPECT_EQ(person->verdicts, std::vector(2, call::StreamVerdict::confirmed)) << person->name << ": " << network;
      EXPECT_EQ(person->participant->frames().undecryptable, 0U);
    }
  }
}

TEST(Participant, SoundIsNotSentAgainTooLateNorTwiceWithinARoundTrip) {
  for (const bool far : {true, false}) {
    World w(21);
    auto& ada = w.add("Ada", {Source::microphone}, std::string(far ? "delay=200ms" : "delay=60ms") + " up.loss=10%");
    w.add("Bob", {Source::microphone});
    ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
    w.run(3s); // how long a round trip takes is known
    const auto twice = w.forwarding().counters().dropped_invalid;
    w.run(20s);
    const auto& counters = ada.participant->sender()->counters();
    EXPECT_GT(counters.nacks_received, 100U);
    EXPECT_EQ(counters.retransmissions > 0, !far) << "what is older than 300 ms nobody plays any more";
    EXPECT_EQ(w.forwarding().counters().dropped_invalid, twice) << "the second request is on its way before the first is answered";
  }
}

TEST(Participant, BurstsReorderingAndDuplicatesAreMended) {
  World w(3);
  w.add("Ada", both, "delay=15ms loss=2% burst=4 reorder=3% duplicate=3%");
  auto& bob = w.add("Bob", both, "delay=15ms loss=2% burst=4 reorder=3% duplicate=3%");
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(20s);
  const auto& camera = bob.received.at({"Ada", Source::camera});
  EXPECT_LT(static_cast<double>(camera.missing), 0.02 * static_cast<double>(camera.frames));
  EXPECT_EQ(bob.participant->frames().undecryptable, 0U);
}

TEST(Participant, EveryMembershipChangeLeavesAllFramesReadable) {
  World w(4);
  auto& ada = w.add("Ada", both);
  ASSERT_TRUE(w.until([&] { return ada.participant->entered(); }));
  std::vector<World::Person*> guests;
  for (int i = 0; i < 12; ++i) {
    guests.push_back(&w.add("Guest " + std::to_string(i), i % 3 == 0 ? both : std::vector<Source>{}));
    w.run(700ms);
    if (i >= 4) {
      if (i % 2 == 0) w.leave(*guests[static_cast<std::size_t>(i - 4)]);
      else w.crash(*guests[static_cast<std::size_t>(i - 4)]);
    }
    w.run(500ms);
  }
  w.run(20s); // those who crashed are found gone
  EXPECT_TRUE(w.all_receive_all());
  for (const auto& p : w.people()) {
    if (p->closed) continue;
    EXPECT_EQ(p->participant->frames().undecryptable, 0U) << p->name;
    EXPECT_EQ(p->participant->frames().refused, 0U) << p->name;
    EXPECT_EQ(p->epochs.back().safety_number.digits, ada.epochs.back().safety_number.digits) << p->name;
    for (const auto& [from, received] : p->received) EXPECT_EQ(received.missing, 0U) << p->name << " from " << from.first;
  }
}

TEST(Participant, TwentyInOneRoomAllReceiveAll) {
  World w(5);
  for (int i = 0; i < 20; ++i) w.add("P" + std::to_string(i), i < 4 ? both : std::vector<Source>{});
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(2s);
  for (const auto& p : w.people()) EXPECT_EQ(p->participant->frames().undecryptable, 0U) << p->name;
}

TEST(Participant, FramesThatComeADozenEpochsLateAreReadAndHaveASender) {
  World w(14);
  w.add("Ada", both);
  auto& bob = w.add("Bob", both);
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  const std::uint64_t epoch = bob.epochs.back().epoch;
  w.set_network(bob, "delay=5s");
  for (int i = 0; i < 14; ++i) {
    w.add("P" + std::to_string(i), {});
    w.run(400ms);
  }
  EXPECT_GE(bob.epochs.back().epoch, epoch + 12);
  w.run(5s);
  EXPECT_GE((bob.received.at({"Ada", Source::camera}).longest_delay), Duration(5s));
  EXPECT_EQ(bob.participant->frames().refused, 0U);
  EXPECT_EQ(bob.participant->frames().undecryptable, 0U);
}

TEST(Participant, WhatANewcomerCannotReadWasFromBeforeItsEntryHoweverLateItComes) {
  World w(15);
  auto& ada = w.add("Ada", both);
  w.add("Bob", {});
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  ada.hears_server = false; // so Ada goes on in the epoch before Cy's first, and Bob lets Cy in
  auto& cy = w.add("Cy", {});
  ASSERT_TRUE(w.until([&] { return !cy.epochs.empty(); }));
  w.run(5s);
  EXPECT_GT(cy.participant->frames().before_entry, 100U);
  EXPECT_EQ(cy.participant->frames().decrypted, 0U);
  ada.hears_server = true;
  w.run(1s);
  EXPECT_GT(cy.participant->frames().decrypted, 10U);
  EXPECT_EQ(cy.participant->frames().undecryptable, 0U);
}

TEST(Participant, EachGetsTheSizeThatItsPathCarriesAndWhatNobodyCanUseIsNotSent) {
  World w(16);
  auto& ada = w.add("Ada", {Source::camera}, "delay=10ms", 3); // 600, 150 and 38 kbit/s
  auto& bob = w.add("Bob", {});
  auto& cy = w.add("Cy", {}, "delay=10ms down.rate=300k");
  const std::pair<std::string, Source> camera("Ada", Source::camera);
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(15s);
  EXPECT_EQ(bob.received.at(camera).layer, 2U);
  EXPECT_LT(cy.received.at(camera).layer, 2U);
  const auto sent = ada.layers_sent;
  w.leave(bob);
  w.run(5s);
  EXPECT_GT(ada.layers_sent[1] + ada.layers_sent[0], sent[1] + sent[0]);
  // Cy has the picture in a tile of 90 lines: the server cannot tell sizes, so that it is the least that fits.
  signaling::View view;
  view.tiles.push_back({"", ada.participant->session().incarnation(), Source::camera, 90});
  cy.participant->set_view(view);
  w.run(3s);
  EXPECT_TRUE(ada.participant->wanted(Source::camera, 0));
  EXPECT_FALSE(ada.participant->wanted(Source::camera, 2));
  const auto small = ada.layers_sent;
  const auto seen = cy.received.at(camera).frames;
  w.run(2s);
  EXPECT_EQ(ada.layers_sent[2], small[2]) << "nobody can use it";
  EXPECT_GE(ada.layers_sent[0], small[0] + 55);
  EXPECT_GE(cy.received.at(camera).frames, seen + 55);
  // On a good path and wanted larger, the largest comes back, and begins with a key frame.
  w.set_network(cy, "delay=10ms");
  view.tiles[0].height = 720;
  cy.participant->set_view(view);
  ASSERT_TRUE(w.until([&] { return cy.received.at(camera).layer == 2; }, 30s));
  EXPECT_GT(ada.layers_sent[2], small[2]);
  // A server that names more sizes than there are, or those of what we do not send, changes nothing.
  for (const char* source : {"camera", "screen"}) {
    for (const char* active : {"false,false,false,false", "true,true,true,true"})
      ada.participant->handle_text(w.now(), std::string("{\"type\":\"layers\",\"source\":\"") + source + "\",\"active\":[" + active + "]}");
  }
  w.run(1s);
  EXPECT_TRUE(ada.participant->wanted(Source::camera, 2));
  for (const auto& p : w.people()) EXPECT_EQ(p->participant->frames().undecryptable, 0U) << p->name;
}

TEST(Participant, AScreenIsToldFromACameraByItsPlaceAndIsNotSentAlone) {
  ParticipantConfig config;
  config.publish = {Source::microphone, Source::screen};
  SeededRandom random(1);
  const dtls::Context context = dtls_context();
  const auto made = Participant::create(std::move(config), TimePoint(1s), 1'800'000'000, context, random);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), Error(participant_screen_alone));
}

TEST(Participant, InACrowdOfMoreCamerasThanSlotsAScreenIsSeenByWhomAsksForIt) {
  World w(17);
  w.subscribing = false; // the others send alone
  for (int i = 0; i < 41; ++i) w.add("Camera " + std::to_string(i), {Source::camera});
  w.run(3s);
  auto& ada = w.add("Ada", {Source::camera, Source::screen});
  w.subscribing = true;
  auto& bob = w.add("Bob", {});
  const std::pair<std::string, Source> screen("Ada", Source::screen);
  ASSERT_TRUE(w.until([&] { return bob.received.size() == 40; }, 20s));
  w.run(1s);
  EXPECT_FALSE(bob.received.contains(screen)) << "the cameras were here before it";
  // As the page does, which knows by the member's own word that it shares a screen.
  signaling::View view;
  view.speakers = signaling::View::Speakers{2, 180};
  view.tiles.push_back({"", ada.participant->session().incarnation(), Source::screen, 360});
  bob.participant->set_view(view);
  ASSERT_TRUE(w.until([&] { return bob.received[screen].frames > 60; }, 10s));
  EXPECT_EQ(bob.received[screen].missing, 0U);
  EXPECT_EQ(bob.participant->frames().undecryptable, 0U);
}

TEST(Participant, WhatOneWritesEverybodyWhoIsThereReadsOnceAlsoWhoseConnectionWasLostJustThen) {
  World w(22);
  auto& ada = w.add("Ada", {});
  auto& bob = w.add("Bob", {});
  auto& eve = w.add("Eve", {});
  ASSERT_TRUE(w.until([&] { return !eve.epochs.empty() && ada.epochs.back().roster.size() == 3; }, 10s));
  w.run(1s);
  ASSERT_TRUE(ada.participant->write(w.now(), "hello"));
  w.run(1s);
  EXPECT_EQ(bob.read, std::vector<std::string>{"Ada: hello"});
  EXPECT_EQ(eve.read, bob.read);
  EXPECT_TRUE(ada.read.empty());
  w.cut(eve);
  w.run(100ms);
  ASSERT_TRUE(ada.participant->write(w.now(), "and on"));
  w.run(5s);
  EXPECT_EQ(bob.read, (std::vector<std::string>{"Ada: hello", "Ada: and on"}));
  EXPECT_EQ(eve.read, bob.read);
  // Whoever comes later was not written to, and nobody is written to again for them.
  ASSERT_TRUE(ada.participant->write(w.now(), "before Dan"));
  w.run(1s);
  auto& dan = w.add("Dan", {});
  ASSERT_TRUE(w.until([&] { return !dan.epochs.empty(); }, 10s));
  w.run(1s);
  w.cut(dan);
  w.run(5s);
  EXPECT_TRUE(dan.read.empty());
  ASSERT_TRUE(dan.participant->write(w.now(), std::string(signaling::max_chat_length, 'x')));
  w.run(1s);
  EXPECT_EQ(ada.read.size(), 1U);
  for (const std::string& wrong : {std::string(), std::string(signaling::max_chat_length + 1, 'x'), std::string(100, '\x80')})
    EXPECT_EQ(dan.participant->write(w.now(), wrong).error(), Error(participant_bad_message));
  w.cut(dan);
  EXPECT_EQ(dan.participant->write(w.now(), "too early").error(), Error(participant_not_in));
}

TEST(Participant, InALargeOutageWhoComesBackLastReadsWhatWasWrittenToo) {
  World w(23);
  auto& ada = w.add("Ada", {});
  std::vector<World::Person*> others;
  for (int i = 0; i < 6; ++i) others.push_back(&w.add("Other " + std::to_string(i), {}));
  ASSERT_TRUE(w.until([&] { return std::ranges::all_of(others, [](auto* one) { return !one->epochs.empty() && one->epochs.back().roster.size() == 7; }); }, 20s));
  w.run(1s);
  for (auto* one : others) w.cut(*one);
  for (std::size_t i = 0; i < others.size(); ++i) others[i]->connect_at = w.now() + 500ms + static_cast<int>(i) * 300ms;
  w.run(100ms);
  ASSERT_TRUE(ada.participant->write(w.now(), "hello"));
  w.run(8s);
  for (auto* one : others) EXPECT_EQ(one->read, std::vector<std::string>{"Ada: hello"}) << one->name;
}

TEST(Participant, WhatWasWrittenBeforeANewcomerIsNotForThemThoughTheConnectionComesBackInTheSameMoment) {
  World w(24);
  auto& ada = w.add("Ada", {});
  auto& bob = w.add("Bob", {});
  ASSERT_TRUE(w.until([&] { return !bob.epochs.empty() && ada.epochs.back().roster.size() == 2; }, 10s));
  w.run(1s);
  ASSERT_TRUE(ada.participant->write(w.now(), "before Dan"));
  w.run(1s);
  // Bob lets Dan in while Ada is away: she is told so right behind the server's greeting.
  w.cut(ada);
  ada.connect_at = w.now() + 4s;
  auto& dan = w.add("Dan", {});
  ASSERT_TRUE(w.until([&] { return !dan.epochs.empty(); }, 3900ms));
  w.run(8s);
  ASSERT_EQ(ada.epochs.back().roster.size(), 3U);
  EXPECT_TRUE(dan.read.empty());
  ASSERT_TRUE(ada.participant->write(w.now(), "after Dan"));
  w.run(1s);
  EXPECT_EQ(dan.read, std::vector<std::string>{"Ada: after Dan"});
  EXPECT_EQ(bob.read, (std::vector<std::string>{"Ada: before Dan", "Ada: after Dan"}));
}

TEST(Participant, WithMoreMicrophonesThanSlotsWhoBeginsToSpeakIsHeardThoughTheServerIsNotTold) {
  sfu::Limits limits;
  limits.audio_slots = limits.max_audio_slots = 8;
  World w(18, limits);
  std::vector<World::Person*> speakers;
  for (int i = 0; i < 9; ++i) {
    speakers.push_back(&w.add("Speaker " + std::to_string(i), {Source::microphone}));
    speakers.back()->level = 90;
  }
  w.run(2s);
  auto& eve = w.add("Eve", {});
  const auto heard = [&](std::size_t i) { return eve.received[{"Speaker " + std::to_string(i), Source::microphone}].frames; };
  ASSERT_TRUE(w.until([&] { return heard(0) > 10 && heard(7) > 10; }, 10s));
  w.run(3s);
  // Each of those with a microphone hears the eight others; only who has none misses somebody.
  EXPECT_EQ(heard(8), 0U) << "nobody speaks";
  EXPECT_TRUE(eve.participant->crowded());
  speakers[8]->level = 20;
  ASSERT_TRUE(w.until([&] { return heard(8) > 100; }, 10s));
  const IncarnationId talker = speakers[8]->participant->session().incarnation();
  EXPECT_EQ(eve.voices_asked.back(), std::vector{talker});
  EXPECT_TRUE(speakers[0]->voices_asked.empty()) << "who hears everybody asks for nobody";
  // Who is heard is asked for too, while they are.
  const IncarnationId other = speakers[2]->participant->session().incarnation();
  eve.participant->handle_level(w.now(), other, 20);
  w.run(500ms);
  EXPECT_EQ(eve.voices_asked.back(), (std::vector{talker, other}));
  w.run(2s);
  EXPECT_EQ(eve.voices_asked.back(), std::vector{talker});
  // Who speaks on stays, whoever begins besides.
  speakers[7]->level = 20;
  ASSERT_TRUE(w.until([&] { return heard(7) > 10; }, 10s));
  const auto before = std::pair{heard(7), heard(8)};
  w.run(10s);
  EXPECT_GT(heard(7), before.first + 450);
  EXPECT_GT(heard(8), before.second + 450);
  // Once there is room for all nobody says anything more.
  w.leave(*speakers[0]);
  w.run(2s);
  const int told = eve.voices_told;
  EXPECT_GT(told, 2);
  w.run(25s);
  EXPECT_FALSE(speakers[8]->participant->crowded());
  EXPECT_EQ(eve.voices_told, told);
  EXPECT_TRUE(eve.voices_asked.back().empty());
  EXPECT_EQ(eve.participant->frames().undecryptable, 0U);
}

TEST(Participant, WhenManyBeginToSpeakAtOnceTheServerIsAskedOnce) {
  sfu::Limits limits;
  limits.audio_slots = limits.max_audio_slots = 8;
  World w(19, limits);
  std::vector<World::Person*> speakers;
  for (int i = 0; i < 12; ++i) {
    speakers.push_back(&w.add("Speaker " + std::to_string(i), {Source::microphone}));
    speakers.back()->level = 90;
  }
  auto& eve = w.add("Eve", {});
  w.run(8s);
  ASSERT_TRUE(eve.participant->crowded());
  EXPECT_TRUE(eve.voices_asked.empty());
  for (World::Person* const speaker : speakers) {
    speaker->level = 20;
    w.run(20ms);
  }
  w.run(500ms);
  EXPECT_EQ(eve.voices_told, 12);
  EXPECT_LE(eve.voices_asked.size(), 2U);
  EXPECT_EQ(eve.voices_asked.back().size(), 12U);
  w.run(12s); // they speak on
  EXPECT_LE(eve.voices_asked.size(), 1U + 12 * 4);
  for (const World::Person* const speaker : speakers) EXPECT_EQ(speaker->refused, 0);
}

TEST(Participant, InARoomOfFewNobodyTellsThatTheySpeakHoweverFewMicrophonesTheServerSends) {
  sfu::Limits limits;
  limits.audio_slots = limits.max_audio_slots = 1;
  World w(20, limits);
  std::vector<World::Person*> people;
  for (int i = 0; i < 8; ++i) {
    people.push_back(&w.add("Speaker " + std::to_string(i), {Source::microphone}));
    people.back()->level = 90;
  }
  w.run(8s);
  for (World::Person* const person : people) person->level = 20;
  w.run(20s);
  for (const World::Person* const person : people) {
    EXPECT_EQ(person->participant->slots().size(), 1U);
    EXPECT_FALSE(person->participant->crowded());
    EXPECT_EQ(person->voices_told, 0);
    EXPECT_TRUE(person->voices_asked.empty());
  }
}

TEST(Participant, WhatOneHasOnIsToldToNewcomersAtOnceAndToAllAgainSoonAfterSomeoneCameInOrBack) {
  World w(25);
  auto& ada = w.add("Ada", both);
  w.add("Bob", both);
  auto& eve = w.add("Eve", {});
  const auto told = [&] {
    std::vector<int> all;
    for (const auto& one : w.people()) all.push_back(std::exchange(one->states_told, 0));
    return all;
  };
  ASSERT_TRUE(w.until([&] { return !eve.epochs.empty() && ada.epochs.back().roster.size() == 3 && eve.states_told >= 2; }, 10s));
  w.run(3s);
  told();
  w.run(10s);
  EXPECT_EQ(told(), (std::vector{0, 0, 0})) << "nobody came";
  w.add("Dan", both);
  ASSERT_TRUE(w.until([&] { return w.people().back()->states_told == 2; }, 5s));
  EXPECT_EQ(told(), (std::vector{1, 1, 1, 2})) << "only what Dan has on is new to the others";
  w.run(3s);
  EXPECT_EQ(told(), (std::vector{1, 1, 2, 2})) << "Ada's and Bob's again";
  w.cut(eve);
  w.run(4s);
  EXPECT_EQ(told(), (std::vector{2, 2, 3, 2})) << "each once more";
  w.cut(ada);
  w.run(4s);
  EXPECT_EQ(told(), (std::vector{2, 2, 3, 2})) << "Ada too, since others may have come back while she was away";
}

TEST(Participant, AfterAnOutageMediaComesBackByItself) {
  World w(6);
  w.add("Ada", both);
  auto& bob = w.add("Bob", both, "delay=10ms 5s outage=on 8s outage=off");
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(Duration(8s) - (w.now() - TimePoint(1s)));
  const auto at_end = bob.received.at({"Ada", Source::camera}).frames;
  w.run(2s);
  EXPECT_GE(bob.received.at({"Ada", Source::camera}).frames - at_end, 30U);
  EXPECT_EQ(bob.participant->frames().undecryptable, 0U);
}

TEST(Participant, AfterAnOutageOfOneAndAHalfSecondsPicturesAreBackWithin200MillisecondsAndEveryFrameAfterThem) {
  World w(13);
  auto& ada = w.add("Ada", both);
  auto& bob = w.add("Bob", both, "delay=10ms 5s outage=on 6500ms outage=off");
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(TimePoint(1s) + 6500ms - w.now());
  const auto frames = [](World::Person& person, const char* from) { return person.received.at({from, Source::camera}).frames; };
  const auto at_end = std::pair{frames(ada, "Bob"), frames(bob, "Ada")};
  const auto ada_again = w.until([&] { return frames(bob, "Ada") > at_end.second; });
  const auto bob_again = w.until([&] { return frames(ada, "Bob") > at_end.first; });
  ASSERT_TRUE(ada_again && bob_again);
  EXPECT_LE(*ada_again, 200ms);
  EXPECT_LE(*ada_again + *bob_again, 200ms);
  std::printf("pictures after an outage of 1.5 s: Ada's after %lld ms, both after %lld ms\n", static_cast<long long>(*ada_again / 1ms),
              static_cast<long long>((*ada_again + *bob_again) / 1ms));
  w.run(1s);
  const auto before = frames(bob, "Ada");
  w.run(3s);
  EXPECT_GE(frames(bob, "Ada"), before + 88) << "every frame of three seconds";
  EXPECT_EQ(bob.participant->frames().undecryptable, 0U);
}

TEST(Participant, AnOutageBeyondConsentEndsTheConnectionAndItIsMadeAgain) {
  World w(7);
  w.add("Ada", both);
  auto& bob = w.add("Bob", both, "delay=10ms 5s outage=on 60s outage=off");
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(60s);
  const auto at_end = bob.received.at({"Ada", Source::camera}).frames;
  w.run(15s);
  EXPECT_GE(bob.received.at({"Ada", Source::camera}).frames, at_end + 60);
  EXPECT_EQ(bob.participant->frames().undecryptable, 0U);
}

TEST(Participant, AServerThatWasStartedAgainGetsItsMediaAnew) {
  World w(15);
  w.add("Ada", both);
  w.add("Bob", both);
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(2s);
  w.restart_server();
  for (auto& person : w.people()) person->received.clear();
  const auto took = w.until([&] { return w.all_receive_all(); });
  ASSERT_TRUE(took);
  EXPECT_LT(*took, Duration(5s));
  for (auto& person : w.people()) EXPECT_EQ(person->participant->frames().undecryptable, 0U);
}

TEST(Participant, AnotherAddressTakesLessThanTwoSeconds) {
  World w(8);
  w.add("Ada", both);
  auto& bob = w.add("Bob", both);
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(2s);
  w.move(bob);
  bob.received.clear();
  w.people()[0]->received.clear();
  const auto took = w.until([&] { return w.all_receive_all(); });
  ASSERT_TRUE(took);
  EXPECT_LT(*took, Duration(2s));
  std::printf("another address: media of all is back after %lld ms\n", static_cast<long long>(*took / 1ms));
}

TEST(Participant, WhoseKeyFrameWasLostAsksUntilOneComes) {
  World w(11);
  w.add("Ada", both);
  auto& bob = w.add("Bob", both);
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(2s);
  const auto keys = bob.received.at({"Ada", Source::camera}).key_frames;
  EXPECT_GE(keys, 1U);
  // The publisher says key frame and sends none, three times.
  w.people()[0]->ignores_key_frames = 3;
  bob.up[1] = std::make_unique<impairment::Link>(*impairment::Schedule::parse("delay=10ms", impairment::Direction::up), 1, w.now());
  bob.down[1] = std::make_unique<impairment::Link>(*impairment::Schedule::parse("delay=10ms outage=on 2s outage=off", impairment::Direction::up), 1, w.now());
  w.run(6s);
  EXPECT_EQ(w.people()[0]->ignores_key_frames, 0);
  EXPECT_GT(bob.received.at({"Ada", Source::camera}).key_frames, keys);
}

TEST(Participant, WithoutKeysMakesNobodySendKeyFrames) {
  World world(12);
  const auto seen = [](World::Person& person) { return person.received[{"Ada", Source::camera}].frames; };
  auto& ada = world.add("Ada", {Source::camera});
  auto& bo = world.add("Bo", {});
  ASSERT_TRUE(world.until([&] { return seen(bo) > 30; }));
  const int first = ada.key_frames_asked;
  bo.hears_server = false; // so it does not learn of the epoch with Cy
  auto& cy = world.add("Cy", {});
  ASSERT_TRUE(world.until([&] { return seen(cy) > 30; }));
  EXPECT_EQ(ada.key_frames_asked, first + 1) << "for a newcomer one is enough";
  const std::uint64_t frames = seen(bo);
  const std::uint64_t withheld = world.forwarding().counters().key_frames_withheld;
  world.run(9s);
  EXPECT_LT(seen(bo), frames + 10) << "it has no keys";
  EXPECT_EQ(ada.key_frames_asked, first + 1);
  EXPECT_EQ(world.forwarding().counters().key_frames_withheld, withheld) << "nor does it ask for what it could not use";
  bo.hears_server = true;
  const std::uint64_t before = seen(bo);
  ASSERT_TRUE(world.until([&] { return seen(bo) > before + 30; }));
  EXPECT_EQ(ada.key_frames_asked, first + 2) << "and one brings it back";
}

TEST(Participant, WhoLeavesIsOffTheListWithinASecond) {
  World w(9);
  auto& ada = w.add("Ada", both);
  auto& bob = w.add("Bob", both);
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  w.run(1s);
  w.leave(bob);
  w.run(1s);
  EXPECT_EQ(ada.epochs.back().roster.size(), 1U);
  EXPECT_EQ(ada.epochs.back().left, std::vector<std::string>{"Bob"});
}

TEST(Participant, WhoseConnectionsTheServerEndsMakesOthers) {
  World w(30);
  w.add("Ada", both);
  auto& bob = w.add("Bob", both);
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  const IncarnationId id = bob.participant->session().incarnation();
  ASSERT_TRUE(w.forwarding().remove_participant(w.now(), id));
  ASSERT_TRUE(w.forwarding().add_participant(w.now(), "orchard", id));
  ASSERT_TRUE(w.forwarding().set_member(w.now(), id, true));
  ASSERT_TRUE(w.until([&] { return !bob.participant->connected(Leg::publish) && !bob.participant->connected(Leg::subscribe); }, 5s)) << "it says goodbye on both";
  for (const auto& person : w.people()) person->received.clear();
  EXPECT_TRUE(w.until([&] { return w.all_receive_all(); }, 10s));
}

TEST(Participant, WhoGetsASlotOnWhichManyFramesWereForgedIsHeardFromTheFirstOn) {
  for (std::uint64_t seed = 31; seed < 35; ++seed) {
    World w(seed);
    auto& bob = w.add("Bob", {});
    auto& mallory = w.add("Mallory", {Source::microphone});
    ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
    mallory.next_audio.reset();
    const auto& counts = bob.participant->frames();
    // Under her own name, from streams that she never began: her client is as she likes.
    auto& sender = const_cast<MediaSender&>(*mallory.participant->sender());
    const call::EpochEvent& epoch = mallory.epochs.back();
    for (std::uint32_t i = 0; i < 400; ++i) {
      Bytes forged(64, 7);
      sframe::write_header({call::KeyId{2 + i % 2, epoch.self, static_cast<std::uint8_t>(epoch.epoch)}.value(), i}, forged);
      ASSERT_TRUE(sender.send_frame(w.now(), 0, forged, 960 * i));
      w.run(1ms);
    }
    w.run(100ms);
    EXPECT_GT(counts.passed_over, 200U) << "all is spent";
    const auto line = bob.participant->slots().at(0);
    w.leave(mallory);
    w.run(1s);
    const auto spent = counts.passed_over;
    w.add("Carol", {Source::microphone});
    ASSERT_TRUE(w.until([&] { return bob.received.contains({"Carol", Source::microphone}); }));
    EXPECT_EQ(bob.participant->slots().at(0).mid, line.mid) << "it is the same line";
    w.run(200ms);
    EXPECT_EQ(counts.passed_over, spent);
    EXPECT_EQ(bob.received.at({"Carol", Source::microphone}).missing, 0U);
  }
}

TEST(Participant, WhatAMemberSendsUnderAnothersKeysOnItsOwnLineTakesNothingFromTheOther) {
  World w(35);
  auto& ada = w.add("Ada", {});
  auto& bob = w.add("Bob", {Source::microphone});
  auto& mallory = w.add("Mallory", {Source::microphone});
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  ASSERT_TRUE(w.until([&] { return ada.verdicts.size() == 2; }));
  bob.next_audio.reset();
  mallory.next_audio.reset();
  w.run(100ms);
  const auto send = [&](World::Person& from, ByteView frame, std::uint32_t timestamp) {
    ASSERT_TRUE(const_cast<MediaSender&>(*from.participant->sender()).send_frame(w.now(), 0, frame, timestamp));
  };
  const auto heard = ada.received.at({"Bob", Source::microphone}).frames;
  const auto before = ada.participant->frames();
  for (std::uint32_t i = 0; i < 500; ++i) { // hers come first, and could as well be others under the same key
    Bytes plain(120, 0x5a), out(500);
    SpanWriter writer(plain);
    writer.u64(bob.audios++);
    writer.u64(static_cast<std::uint64_t>(w.now().time_since_epoch().count()));
    const auto frame = const_cast<call::ClientSession&>(bob.participant->session()).protect(w.now(), call::StreamContext::microphone, sframe::Shell::none, plain, out);
    ASSERT_TRUE(frame);
    send(mallory, *frame, 960 * i);
    w.run(20ms);
    send(bob, *frame, 960 * i);
  }
  w.run(2s);
  const auto& counts = ada.participant->frames();
  EXPECT_EQ(ada.received.at({"Bob", Source::microphone}).frames - heard, 500U);
  EXPECT_EQ(ada.received.at({"Bob", Source::microphone}).missing, 0U);
  EXPECT_EQ(counts.misplaced - before.misplaced, 500U);
  EXPECT_EQ(counts.duplicates, before.duplicates);
  EXPECT_EQ(ada.verdicts, std::vector(2, call::StreamVerdict::confirmed));
}

TEST(Participant, ASlotThatGoesToAnotherLosesNoFrameWhetherThatIsToldBeforeOrAfterItsFramesCome) {
  for (const bool told_first : {false, true}) {
    World w(36);
    auto& ada = w.add("Ada", {}, told_first ? "delay=200ms" : "delay=10ms");
    auto& bob = w.add("Bob", both);
    auto& carol = w.add("Carol", both);
    ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
    const auto id = [](const World::Person& person) { return person.participant->session().incarnation(); };
    ASSERT_TRUE(w.forwarding().handle_sources(w.now(), id(carol), {}));
    w.run(2s);
    const auto lines = ada.participant->slots();
    ASSERT_EQ(lines.size(), 2U);
    ada.hears_server = told_first;
    const auto sound = carol.audios, pictures = carol.videos;
    ada.received.at({"Carol", Source::microphone}).longest_delay = {};
    const auto before = ada.received;
    const auto held = ada.participant->frames().held;
    ASSERT_TRUE(w.forwarding().handle_sources(w.now(), id(bob), {}));
    ASSERT_TRUE(w.forwarding().handle_sources(w.now(), id(carol), {Source::microphone, Source::camera}));
    w.run(500ms);
    EXPECT_EQ(ada.participant->frames().held > held, true) << (told_first ? "the last of Bob's" : "the first of Carol's");
    EXPECT_EQ(ada.received.at({"Carol", Source::microphone}).frames > before.at({"Carol", Source::microphone}).frames, told_first);
    ada.hears_server = true;
    w.run(1s);
    ASSERT_EQ(ada.participant->slots().size(), 2U);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(ada.participant->slots()[i].mid, lines[i].mid) << "it is the same line";
      EXPECT_EQ(ada.participant->slots()[i].incarnation, id(carol));
    }
    const auto came = [&](Source source) { return ada.received.at({"Carol", source}).frames - before.at({"Carol", source}).frames; };
    EXPECT_GE(came(Source::microphone) + (told_first ? 11 : 1), carol.audios - sound) << "all but what is under way";
    EXPECT_GE(came(Source::camera) + (told_first ? 13 : 7), carol.videos - pictures) << "and before the key frame";
    EXPECT_EQ(ada.participant->frames().misplaced > 0, told_first);
    EXPECT_EQ(ada.participant->frames().undecryptable, 0U);
    EXPECT_LT(ada.received.at({"Carol", Source::microphone}).longest_delay, Duration(told_first ? 250ms : 560ms));
  }
}

TEST(Participant, WhoseFirstConnectionCameToNothingKnowsWhoseSlotsTheSecondHas) {
  World w(37);
  auto& ada = w.add("Ada", {}, "loss=100%");
  auto& bob = w.add("Bob", both);
  ASSERT_TRUE(w.until([&] { return bob.participant->connected(Leg::publish); }));
  w.run(media_connect_patience / 2);
  EXPECT_EQ(ada.participant->slots().size(), 2U);
  w.run(media_connect_patience);
  w.set_network(ada, "delay=10ms");
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
}

TEST(Participant, AThousandDatagramsOfStrangersChangeNothing) {
  World w(10);
  auto& ada = w.add("Ada", both);
  auto& bob = w.add("Bob", both);
  ASSERT_TRUE(w.until([&] { return w.all_receive_all(); }));
  SeededRandom noise(99);
  const auto before = bob.received.at({"Ada", Source::camera}).frames;
  for (int i = 0; i < 1000; ++i) {
    Bytes bytes(40 + noise.u64() % 1000);
    noise.fill(bytes);
    bytes[0] = std::array<std::uint8_t, 4>{0x00, 0x16, 0x80, 0x90}[static_cast<std::size_t>(i % 4)];
    // From strangers, and as if from the other end.
    w.inject(TransportAddress::v4({203, 0, 113, static_cast<std::uint8_t>(i)}, 9), bytes);
    w.inject(bob.address[static_cast<std::size_t>(i % 2)], bytes);
    ada.participant->handle_packet(w.now(), static_cast<Leg>(i % 2), World::server_address, bytes);
    w.run(5ms);
  }
  EXPECT_GE(bob.received.at({"Ada", Source::camera}).frames - before, 145U);
  EXPECT_EQ(bob.received.at({"Ada", Source::camera}).missing, 0U);
  EXPECT_EQ(bob.participant->frames().undecryptable, 0U);
}

} // namespace
} // namespace satsuma::participant::test
