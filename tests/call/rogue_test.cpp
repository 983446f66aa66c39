// A member and a server who conspire: what must be refused although MLS itself allows it. The server here is this test.
#include <gtest/gtest.h>

#include "call/client_session.h"
#include "helpers.h"
#include "mls/tree/public_group.h"

namespace satsuma::call {
namespace {

using namespace std::chrono_literals;

constexpr auto suite = mls::CipherSuite::x25519_chacha20poly1305_sha256_ed25519;

/// Someone with MLS in hand and no scruples.
struct Stranger {
  mls::KeyPackageBundle bundle;
  IncarnationId who;

  enum class Device : std::uint8_t { own, anothers };
  Stranger(std::uint8_t secret, std::string_view name, RandomSource& random, Device claimed = Device::own)
      : bundle(make(secret, name, random, claimed)), who(incarnation_of(bundle.key_package.leaf_node.signature_key)) {}

  static mls::KeyPackageBundle make(std::uint8_t secret, std::string_view name, RandomSource& random, Device claimed) {
    const auto keys = RoomKeys::derive("orchard", test::secret_of(secret, 16).view()).value();
    const auto device = DeviceKey::from_seed(test::secret_of(77, 32).view()).value();
    const auto signature_keys = mls::generate_signature_keys(suite, random).value();
    mls::KeyPackageParams params;
    params.suite = suite;
    params.credential = mls::Credential::basic(claimed == Device::own
                                                   ? keys.seal_identity(device, name, signature_keys.public_key, random).value()
                                                   : test::identity_with_anothers_device("orchard", secret, device, signature_keys.public_key, name, random));
    return mls::generate_key_package(params, signature_keys, random).value();
  }
};

struct Conspiracy : ::testing::Test {
  test::SeededRandom random{3};
  TimePoint now = test::at(10s);
  Stranger rogue{1, "Rogue", random};
  mls::Group group = mls::Group::create({Bytes{1}, {}, 0}, rogue.bundle, random).value();
  std::optional<ClientSession> ada;
  std::vector<SessionOutput> events;
  std::uint64_t index = 5;
  mls::KeyPackage ada_key_package;
  signaling::LogDigest digest{}; ///< of the log below `index`

  void SetUp() override {
    SessionConfig config;
    config.room = "orchard";
    config.secret = test::secret_of(1, 16);
    config.device_seed = test::secret_of(2, 32);
    config.name = "Ada";
    ada.emplace(ClientSession::create(std::move(config), now, 1'800'000'000, random).value());
    ada->handle_connected(now);
    collect();
    const auto hello = signaling::parse_client_message(std::get<SendBinary>(events.front()).frame);
    const Bytes key_package = std::get<signaling::Hello>(*hello).key_package;
    ada_key_package = mls::MLSMessage::decode_as<mls::KeyPackage>(key_package).value();
    signaling::Ready ready;
    ready.head = index + 1;
    ready.snapshot = {true, 0, group.epoch(), {rogue.who}, {}, digest, {}};
    give(ready);
    entry(signaling::JoinEntry{ada->incarnation(), key_package});
  }

  void collect() {
    while (auto output = ada->poll_output()) events.push_back(std::move(*output));
  }
  void give(const signaling::ServerMessage& message) {
    ada->handle_frame(now, signaling::write_server_message(message));
    collect();
  }
  void entry(signaling::EntryBody body) {
    const signaling::Entry entry{index++, std::move(body)};
    digest = signaling::next_log_digest(digest, entry);
    give(entry);
  }
  /// Made after having read the whole log.
  mls::PendingCommit prepare(mls::CommitParams params) {
    params.authenticated_data = signaling::write_log_prefix({index, digest});
    return group.commit(params, random).value();
  }
  void commit(const mls::CommitParams& params, std::optional<IncarnationId> claimed = std::nullopt) {
    auto pending = prepare(params);
    const std::uint64_t epoch = group.epoch();
    ASSERT_TRUE(group.merge(std::move(pending.staged)));
    entry(signaling::CommitEntry{0, epoch, claimed.value_or(rogue.who), pending.commit, pending.welcome.value_or(Bytes{})});
  }
  void join(const Stranger& stranger) { entry(signaling::JoinEntry{stranger.who, stranger.bundle.message()}); }
  void let_ada_in() {
    mls::CommitParams params;
    params.add = {ada_key_package};
    commit(params);
  }
  std::optional<RejoinReason> rejoining() const {
    for (const SessionOutput& event : events) {
      if (const auto* found = std::get_if<RejoiningEvent>(&event)) return found->reason;
    }
    return std::nullopt;
  }
};

TEST_F(Conspiracy, HonestBehaviourIsAccepted) {
  let_ada_in();
  ASSERT_TRUE(ada->in_group());
  const Stranger bo(1, "Bo", random);
  join(bo);
  mls::CommitParams params;
  params.add = {bo.bundle.key_package};
  commit(params);
  EXPECT_EQ(rejoining(), std::nullopt);
  EXPECT_EQ(ada->roster().entries().size(), 3u);
  entry(signaling::GoneEntry{bo.who, signaling::GoneCause::goodbye});
  mls::CommitParams removal;
  removal.remove = {{2}};
  commit(removal);
  EXPECT_EQ(rejoining(), std::nullopt);
  EXPECT_EQ(ada->roster().entries().size(), 2u);
  commit({});
  EXPECT_EQ(rejoining(), std::nullopt);
}

/// Bo, whose voice the rogue would like to have. An honest member: what it sends, it signs digests of.
struct Voice {
  EpochKeys keys;
  DigestSender digests;

  void enter(TimePoint now, const mls::Group& group) {
    EpochKeys::Epoch epoch{0, group.epoch(), 2, {0, 1, 2}, group.export_secret("SFrame 1.0 Base Key", {}, 32)};
    keys.enter(now, std::move(epoch), true);
  }
  Bytes say(TimePoint now, std::uint8_t what) {
    const Bytes plain(100, what);
    Bytes out(300);
    const auto frame = keys.protect(now, StreamContext::microphone, sframe::Shell::none, plain, out);
    EXPECT_TRUE(frame);
    const auto& sent = keys.last_sent();
    digests.handle_sent(now, sent.epoch, sent.context, sent.counter, sent.hash, 10'000);
    return to_bytes(*frame);
  }
};

struct StolenVoice : Conspiracy {
  Stranger bo{1, "Bo", random};
  std::optional<mls::Group> bo_group;
  Voice genuine, stolen;

  void all_enter() {
    join(bo);
    mls::CommitParams params;
    params.add = {ada_key_package, bo.bundle.key_package};
    auto pending = prepare(params);
    ASSERT_TRUE(group.merge(std::move(pending.staged)));
    entry(signaling::CommitEntry{0, 0, rogue.who, pending.commit, *pending.welcome});
    ASSERT_TRUE(ada->in_group());
    bo_group.emplace(mls::Group::join(mls::MLSMessage::decode_as<mls::Welcome>(*pending.welcome).value(), bo.bundle).value());
    ASSERT_EQ(bo_group->own_leaf().value, 2u);
    genuine.enter(now, *bo_group);
    stolen.enter(now, group); // a member can derive everybody's keys
  }
  void hear(const Bytes& frame) {
    Bytes out(frame.size());
    Line line{Bytes(32, 1)};
    line.leaf = 2;
    const auto heard = ada->unprotect(now, line, sframe::ShellKind::none, frame, out);
    ASSERT_TRUE(heard);
    EXPECT_EQ(heard->leaf, 2u) << "to SFrame it is Bo's";
    collect();
  }
  static Bytes sign(ByteView body, const mls::Group& signer, std::uint32_t leaf, std::uint64_t epoch = 1) {
    return write_signed_digest(body, signer.sign(digest_label, digest_to_sign(signer.group_id(), epoch, leaf, body)).value());
  }
  void relay_digest(mls::Group& signer, IncarnationId claimed) {
    const auto made = genuine.digests.take(now += 2s, {0, 1});
    ASSERT_TRUE(made);
    give(signaling::Relayed{claimed, sign(*made, signer, 2)});
  }
  std::vector<StreamEvent> judged() const {
    std::vector<StreamEvent> found;
    for (const SessionOutput& event : events) {
      if (const auto* stream = std::get_if<StreamEvent>(&event)) found.push_back(*stream);
    }
    return found;
  }
};

TEST_F(StolenVoice, IsNotNeededToBeBelieved) {
  all_enter();
  for (int i = 0; i < 50; ++i) hear(genuine.say(now, 1));
  relay_digest(*bo_group, bo.who);
  ASSERT_EQ(judged().size(), 1u);
  EXPECT_EQ(judged()[0].judgement, (StreamJudgement{2, StreamContext::microphone, StreamVerdict::confirmed}));
  EXPECT_EQ(judged()[0].who, bo.who);
}

TEST_F(StolenVoice, IsToldApartByWhatItsOwnerSigned) {
  all_enter();
  for (int i = 0; i < 50; ++i) {
    genuine.say(now, 1);        // which the server swallows
    hear(stolen.say(now, 2));   // and the rogue's comes in its place
  }
  relay_digest(*bo_group, bo.who);
  ASSERT_EQ(judged().size(), 1u);
  EXPECT_EQ(judged()[0].judgement.verdict, StreamVerdict::forged);
}

TEST_F(StolenVoice, OnTheThiefsOwnLineTakesNothingFromItsOwner) {
  all_enter();
  Line thiefs{Bytes(32, 2)};
  thiefs.leaf = 0;
  Bytes out(300);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(ada->unprotect(now, thiefs, sframe::ShellKind::none, stolen.say(now, 2), out).error(), Error(frame_wrong_line));
    hear(genuine.say(now, 1)); // under the same key
  }
  relay_digest(*bo_group, bo.who);
  ASSERT_EQ(judged().size(), 1u);
  EXPECT_EQ(judged()[0].judgement.verdict, StreamVerdict::confirmed);
}

TEST_F(StolenVoice, IsNotConfirmedByWhatItsOwnerSignedOfAnotherEpochOrTheThiefOfItself) {
  all_enter();
  for (int i = 0; i < 50; ++i) hear(stolen.say(now, 2));
  const auto made = stolen.digests.take(now += 2s, {0, 1});
  ASSERT_TRUE(made);
  give(signaling::Relayed{bo.who, sign(*made, *bo_group, 2, 257)});
  give(signaling::Relayed{bo.who, sign(*made, *bo_group, 0)});
  give(signaling::Relayed{rogue.who, sign(*made, group, 0)}); // holds, and speaks of the rogue's own frames
  EXPECT_TRUE(judged().empty());
  give(signaling::Relayed{bo.who, sign(*made, *bo_group, 2)});
  EXPECT_EQ(judged().size(), 1u) << "what was wrong with them is what they say that they are of";
}

TEST_F(StolenVoice, CannotMakeUsCheckSignaturesWithoutEnd) {
  all_enter();
  for (int i = 0; i < 50; ++i) hear(genuine.say(now, 1));
  const auto made = genuine.digests.take(now += 2s, {0, 1});
  ASSERT_TRUE(made);
  for (std::uint32_t i = 0; i < ClientSession::max_unsigned_digests; ++i) give(signaling::Relayed{bo.who, write_signed_digest(*made, Bytes(64, 7))});
  give(signaling::Relayed{bo.who, sign(*made, *bo_group, 2)});
  EXPECT_TRUE(judged().empty()) << "dropped unread: whoever relays could have dropped it too";
  now += ClientSession::checked_digests_interval;
  give(signaling::Relayed{bo.who, sign(*made, *bo_group, 2)});
  ASSERT_EQ(judged().size(), 1u);
  EXPECT_EQ(judged()[0].judgement.verdict, StreamVerdict::confirmed);
}

TEST_F(StolenVoice, OfWhoSignsEachFrameIsJudgedByNoMoreDigestsThanHonestMembersSend) {
  all_enter();
  const auto sign_one = [&](bool is_stolen) {
    genuine.digests = DigestSender();
    const Bytes said = genuine.say(now, 1), forged = stolen.say(now, 2);
    hear(is_stolen ? forged : said);
    return signaling::Relayed{bo.who, sign(*genuine.digests.take(now + 11s, {0, 1}), *bo_group, 2)};
  };
  for (std::uint32_t i = 0; i < ClientSession::max_signed_digests; ++i) give(sign_one(false));
  const auto another = sign_one(true);
  give(another);
  ASSERT_EQ(judged().size(), 1u) << "dropped unread";
  EXPECT_EQ(judged()[0].judgement.verdict, StreamVerdict::confirmed);
  now += ClientSession::checked_digests_interval;
  give(another);
  ASSERT_EQ(judged().size(), 2u);
  EXPECT_EQ(judged()[1].judgement.verdict, StreamVerdict::forged);
}

TEST_F(StolenVoice, IsConfirmedWhateverTheThiefSignsWronglyInItsOwnName) {
  all_enter();
  for (int i = 0; i < 50; ++i) hear(genuine.say(now, 1));
  const auto made = genuine.digests.take(now += 2s, {0, 1});
  ASSERT_TRUE(made);
  for (int i = 0; i < 100; ++i) give(signaling::Relayed{rogue.who, write_signed_digest(*made, Bytes(64, 7))});
  give(signaling::Relayed{bo.who, sign(*made, *bo_group, 2)});
  ASSERT_EQ(judged().size(), 1u);
  EXPECT_EQ(judged()[0].judgement.verdict, StreamVerdict::confirmed);
}

TEST_F(StolenVoice, IsNotConfirmedByADigestThatTheThiefSigns) {
  all_enter();
  for (int i = 0; i < 50; ++i) hear(stolen.say(now, 2));
  std::swap(genuine.digests, stolen.digests);
  relay_digest(group, bo.who); // the server says that it is Bo's; the signature says whose it is
  EXPECT_TRUE(judged().empty());
  now += 20s;
  ada->handle_timeout(now);
  collect();
  ASSERT_EQ(judged().size(), 1u);
  EXPECT_EQ(judged()[0].judgement.verdict, StreamVerdict::unconfirmed);
}

/// The same with sound that carries its digests.
struct CarriedVoice : StolenVoice {
  /// Of whoever says it, a frame under Bo's keys with `digest` behind what is said, of which the last byte says `size`.
  Bytes carrier(Voice& voice, ByteView digest, std::optional<std::size_t> size = std::nullopt) {
    Bytes plain(100, 1);
    plain.insert(plain.end(), digest.begin(), digest.end());
    plain.push_back(static_cast<std::uint8_t>(size.value_or(digest.size())));
    Bytes out(600);
    const auto frame = voice.keys.protect(now, StreamContext::microphone, sframe::Shell::none, plain, out, true);
    EXPECT_TRUE(frame);
    const auto& sent = voice.keys.last_sent();
    voice.digests.handle_sent(now, sent.epoch, sent.context, sent.counter, sent.hash, 10'000);
    return to_bytes(*frame);
  }
  Bytes made_by(Voice& voice) {
    const auto made = voice.digests.take(now += 2s, {0, 1});
    EXPECT_TRUE(made);
    return sign(*made, *bo_group, 2);
  }
  Result<Bytes> open(const Bytes& frame) {
    Bytes out(frame.size());
    Line line{Bytes(32, 1)};
    SATSUMA_TRY(const auto heard, ada->unprotect(now, line, sframe::ShellKind::none, frame, out));
    collect();
    return to_bytes(heard.plaintext);
  }
  /// What Ada sends to the members.
  std::vector<Bytes> sent_to_all() {
    std::vector<Bytes> found;
    for (const SessionOutput& event : std::exchange(events, {})) {
      if (const auto* binary = std::get_if<SendBinary>(&event)) {
        const auto message = signaling::parse_client_message(binary->frame);
        if (const auto* application = std::get_if<signaling::Application>(&message.value())) found.push_back(application->message);
      } else {
        kept.push_back(event);
      }
    }
    return found;
  }
  std::vector<SessionOutput> kept;
  void pass(Duration time) {
    for (const TimePoint end = now + time; now < end; now += 50ms) {
      ada->handle_timeout(now);
      collect();
    }
  }
  const Bytes said = Bytes(100, 1);
};

TEST_F(CarriedVoice, IsHeardWithoutTheDigestThatConfirmsIt) {
  all_enter();
  for (int i = 0; i < 50; ++i) hear(genuine.say(now, 1));
  const Bytes frame = carrier(genuine, made_by(genuine));
  EXPECT_EQ(open(frame).value(), said);
  ASSERT_EQ(judged().size(), 1u);
  EXPECT_EQ(judged()[0].judgement, (StreamJudgement{2, StreamContext::microphone, StreamVerdict::confirmed}));
  EXPECT_EQ(open(frame).error(), Error(sframe::sframe_replayed));
  EXPECT_EQ(judged().size(), 1u);
}

TEST_F(CarriedVoice, IsToldApartByTheDigestInAFrameThatFollows) {
  all_enter();
  for (int i = 0; i < 50; ++i) {
    genuine.say(now, 1);
    hear(stolen.say(now, 2));
  }
  EXPECT_EQ(open(carrier(genuine, made_by(genuine))).value(), said);
  ASSERT_EQ(judged().size(), 1u);
  EXPECT_EQ(judged()[0].judgement.verdict, StreamVerdict::forged);
}

TEST_F(CarriedVoice, IsNotConfirmedByWhatTheThiefPutsIntoItsFrames) {
  all_enter();
  for (int i = 0; i < 50; ++i) hear(stolen.say(now, 2));
  const auto made = stolen.digests.take(now += 2s, {0, 1});
  ASSERT_TRUE(made);
  EXPECT_EQ(open(carrier(stolen, sign(*made, group, 2))).value(), said) << "signed by the thief";
  EXPECT_EQ(open(carrier(stolen, sign(*made, group, 0))).value(), said);
  EXPECT_TRUE(judged().empty());
}

TEST_F(CarriedVoice, IsHeardWhereTheDigestIsNoneAndRefusedWhereItsSizeIsWrong) {
  all_enter();
  for (int i = 0; i < 50; ++i) hear(genuine.say(now, 1));
  const Bytes digest = made_by(genuine);
  for (std::size_t size = 0; size < digest.size(); size += 3) EXPECT_EQ(open(carrier(genuine, ByteView(digest).first(size))).value(), said) << size;
  Bytes nested;
  while (nested.size() < 255) nested.insert(nested.end(), digest.begin(), digest.end());
  EXPECT_EQ(open(carrier(genuine, ByteView(nested).first(255))).value(), said);
  EXPECT_EQ(open(carrier(genuine, write_digest_request({{0, 0, 1}, 0}))).value(), said) << "those are no digests";
  EXPECT_EQ(open(carrier(genuine, {}, 101)).error(), Error(digest_malformed));
  EXPECT_EQ(open(carrier(genuine, {}, 255)).error(), Error(digest_malformed));
  EXPECT_EQ(open(carrier(genuine, {}, 100)).value(), Bytes());
  EXPECT_TRUE(judged().empty());
}

TEST_F(CarriedVoice, IsAskedForTheDigestThatGotLost) {
  all_enter();
  for (int i = 0; i < 50; ++i) hear(genuine.say(now, 1));
  const Bytes lost = made_by(genuine);
  for (int i = 0; i < 50; ++i) hear(genuine.say(now, 1));
  (void)sent_to_all();
  EXPECT_EQ(open(carrier(genuine, made_by(genuine))).value(), said);
  pass(1s);
  const std::vector<Bytes> asked = sent_to_all();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(parse_digest_request(asked[0]).value(), (DigestRequest{{0, 2, 1}, 0}));
  pass(900ms);
  EXPECT_EQ(sent_to_all().size(), 1u) << "once more";
  events = std::exchange(kept, {});
  EXPECT_TRUE(judged().empty());
  give(signaling::Relayed{bo.who, lost});
  ASSERT_EQ(judged().size(), 1u);
  EXPECT_EQ(judged()[0].judgement.verdict, StreamVerdict::confirmed);
  pass(20s);
  for (const Bytes& message : sent_to_all()) EXPECT_NE(parse_digest_request(message).value_or(DigestRequest{}).counter, 0u) << "only of the last, which nothing told of";
}

TEST_F(CarriedVoice, WhoseDigestIsWithheldWithItsAnswersIsNotConfirmed) {
  all_enter();
  for (int i = 0; i < 50; ++i) {
    genuine.say(now, 1);
    hear(stolen.say(now, 2));
  }
  (void)made_by(genuine); // in a frame that the server drops
  for (int i = 0; i < 50; ++i) {
    stolen.say(now, 1);
    hear(genuine.say(now, 1));
  }
  EXPECT_EQ(open(carrier(genuine, made_by(genuine))).value(), said);
  pass(6s);
  EXPECT_TRUE(judged().empty());
  pass(2s);
  ASSERT_EQ(judged().size(), 1u);
  EXPECT_EQ(judged()[0].judgement.verdict, StreamVerdict::unconfirmed);
}

TEST_F(CarriedVoice, IsSaidAgainByUsToWhoAsks) {
  all_enter();
  Line line{Bytes(32, 1)};
  std::size_t carriers = 0, answers = 0;
  std::map<Bytes, int> said_again;
  (void)sent_to_all();
  for (std::uint64_t n = 0; n < 3000; ++n, now += 20ms) {
    Bytes out(ClientSession::max_protected_size(sframe::Shell::none, 80)), back(500);
    const auto frame = ada->protect(now, StreamContext::microphone, sframe::Shell::none, Bytes(80, 3), out);
    ASSERT_TRUE(frame);
    const auto opened = genuine.keys.unprotect(now, line, sframe::ShellKind::none, *frame, back);
    ASSERT_TRUE(opened);
    if (opened->carries_digest) {
      ++carriers;
      const auto carrier = split_carrier(opened->plaintext);
      ASSERT_TRUE(carrier);
      EXPECT_EQ(to_bytes(carrier->frame), Bytes(80, 3));
      const auto digest = parse_signed_digest(carrier->digest);
      ASSERT_TRUE(digest);
      EXPECT_TRUE(bo_group->verify_signature({opened->leaf}, digest_label, digest_to_sign(group.group_id(), 1, opened->leaf, digest->body), digest->signature));
    } else {
      EXPECT_EQ(opened->plaintext.size(), 80u);
      EXPECT_LE(frame->size(), 80u + 6 + 16) << "costs nothing more";
    }
    ada->handle_timeout(now);
    collect();
    EXPECT_TRUE(answers == 0 || n > 500) << "nobody asked us";
    for (std::uint64_t back_by : {1, 100, 300}) {
      if (n < 500) break;
      give(signaling::Relayed{rogue.who, write_digest_request({{0, 1, 1}, n - std::min(n, back_by)})});
    }
    give(signaling::Relayed{rogue.who, write_digest_request({{0, 2, 1}, n - std::min<std::uint64_t>(n, 100)})}); // not ours
    for (const Bytes& message : sent_to_all()) {
      ASSERT_TRUE(parse_signed_digest(message));
      answers += ++said_again[message] > 0 ? 1 : 0;
    }
  }
  EXPECT_GT(carriers, 10u);
  EXPECT_GT(answers, 5u);
  EXPECT_LE(answers, carriers + DigestSender::max_saved_answers);
  for (const auto& [message, times] : said_again) EXPECT_LE(times, DigestSender::max_answers);
}

TEST_F(CarriedVoice, NeedsRoomAndGoesWithoutADigestWhereThereIsNone) {
  all_enter();
  Line line{Bytes(32, 1)};
  for (int n = 0; n < 500; ++n, now += 20ms) {
    Bytes out(sframe::max_protected_size(sframe::Shell::none, 80)), back(500);
    const auto frame = ada->protect(now, StreamContext::microphone, sframe::Shell::none, Bytes(80, 3), out);
    ASSERT_TRUE(frame);
    EXPECT_FALSE(genuine.keys.unprotect(now, line, sframe::ShellKind::none, *frame, back).value().carries_digest);
    ada->handle_timeout(now);
  }
  collect();
  EXPECT_GE(sent_to_all().size(), 3u) << "as messages then";
}

TEST_F(Conspiracy, TreeWithAMemberWithoutAdmissionIsRefusedByTheOneWhoIsWelcomed) {
  const Stranger spy(9, "Spy", random);
  mls::CommitParams params;
  params.add = {spy.bundle.key_package, ada_key_package};
  commit(params);
  EXPECT_EQ(rejoining(), RejoinReason::refused_tree);
  EXPECT_FALSE(ada->in_group());
}

// Whom the rogue lets in has the link, so he may be here; but he is not whom he claims to be, and each member finds that out by itself.
TEST_F(Conspiracy, MemberWithAnothersDeviceIsShownAsRefutedToWhoComesAndToWhoIsThere) {
  const Stranger thief(1, "Bo", random, Stranger::Device::anothers);
  mls::CommitParams params;
  params.add = {thief.bundle.key_package, ada_key_package};
  commit(params);
  ASSERT_TRUE(ada->in_group());
  const RosterEntry* first = ada->roster().find(thief.who);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->profile.proof, DeviceProof::refuted);
  EXPECT_EQ(first->profile.device_key, Profile{}.device_key);
  const Stranger second(1, "Cy", random, Stranger::Device::anothers);
  join(second);
  mls::CommitParams later;
  later.add = {second.bundle.key_package};
  commit(later);
  EXPECT_EQ(rejoining(), std::nullopt) << "another opinion about who is here would split the room";
  ASSERT_NE(ada->roster().find(second.who), nullptr);
  EXPECT_EQ(ada->roster().find(second.who)->profile.proof, DeviceProof::refuted);
  EXPECT_EQ(ada->roster().find(rogue.who)->profile.proof, DeviceProof::proven);
}

TEST_F(Conspiracy, DevicesOfACrowdAreNotKnownUntilTheyWereChecked) {
  const Stranger thief(1, "Bo", random, Stranger::Device::anothers);
  mls::CommitParams params;
  params.add = {thief.bundle.key_package, ada_key_package};
  for (int i = 0; i < 20; ++i) params.add.push_back(Stranger(1, "P", random).bundle.key_package);
  commit(params);
  ASSERT_TRUE(ada->in_group());
  for (const RosterEntry& member : ada->roster().entries()) {
    EXPECT_EQ(member.profile.proof, DeviceProof::pending);
    EXPECT_EQ(member.profile.device_key, Profile{}.device_key);
  }
  const SessionOptions options;
  now += options.device_check_delay;
  ASSERT_TRUE(ada->next_deadline() && *ada->next_deadline() <= now);
  std::size_t told = 0;
  for (int i = 0; i < 10; ++i, now += options.device_check_interval) {
    events.clear();
    ada->handle_timeout(now);
    collect();
    for (const SessionOutput& event : events) {
      const auto* devices = std::get_if<DevicesEvent>(&event);
      if (devices == nullptr) continue;
      EXPECT_LE(devices->checked.size(), options.devices_in_a_slice);
      told += devices->checked.size();
    }
  }
  EXPECT_EQ(told, 23u);
  for (const RosterEntry& member : ada->roster().entries()) {
    EXPECT_EQ(member.profile.proof, member.who == thief.who ? DeviceProof::refuted : DeviceProof::proven);
  }
}

// What an epoch leaves unchecked is checked in the next one, when it is not too much.
TEST_F(Conspiracy, DevicesThatAreNotCheckedYetAreKeptOverAnEpoch) {
  mls::CommitParams params;
  params.add = {ada_key_package};
  for (int i = 0; i < 20; ++i) params.add.push_back(Stranger(1, "P", random).bundle.key_package);
  commit(params);
  now += SessionOptions().device_check_delay;
  for (int i = 0; i < 2; ++i, now += 20ms) ada->handle_timeout(now); // eight of 22
  commit({});
  for (const RosterEntry& member : ada->roster().entries()) EXPECT_EQ(member.profile.proof, DeviceProof::proven);
}

TEST_F(Conspiracy, WhoComesWithAnothersDeviceIsPassedOver) {
  let_ada_in();
  const Stranger thief(1, "Bo", random, Stranger::Device::anothers), honest(1, "Cy", random);
  join(thief);
  join(honest);
  now += 10s; // the rogue, who is the designated committer, does nothing
  events.clear();
  ada->handle_timeout(now);
  collect();
  std::optional<signaling::Commit> made;
  for (const SessionOutput& event : events) {
    const auto* sent = std::get_if<SendBinary>(&event);
    const auto message = sent != nullptr ? signaling::parse_client_message(sent->frame) : Result<signaling::ClientMessage>(session_not_entered);
    if (message && std::holds_alternative<signaling::Commit>(*message)) made = std::get<signaling::Commit>(*message);
  }
  ASSERT_TRUE(made);
  const auto welcome = mls::MLSMessage::decode_as<mls::Welcome>(made->welcome).value();
  const mls::SuiteParameters& parameters = *mls::find_suite(suite);
  EXPECT_NE(welcome.find(honest.bundle.key_package.reference(parameters)), nullptr);
  EXPECT_EQ(welcome.find(thief.bundle.key_package.reference(parameters)), nullptr);
}

TEST_F(Conspiracy, AddOfSomeoneWithoutAdmissionIsRefused) {
  let_ada_in();
  const Stranger spy(9, "Spy", random);
  join(spy);
  mls::CommitParams params;
  params.add = {spy.bundle.key_package};
  commit(params);
  EXPECT_EQ(rejoining(), RejoinReason::cannot_process);
}

TEST_F(Conspiracy, AddOfSomeoneWhoDidNotAskIsRefused) {
  let_ada_in();
  const Stranger bo(1, "Bo", random);
  mls::CommitParams params;
  params.add = {bo.bundle.key_package};
  commit(params);
  EXPECT_EQ(rejoining(), RejoinReason::cannot_process);
}

TEST_F(Conspiracy, AddOfSomeoneWhoLeftBeforeIsRefused) {
  let_ada_in();
  const Stranger bo(1, "Bo", random);
  join(bo);
  entry(signaling::GoneEntry{bo.who, signaling::GoneCause::goodbye});
  mls::CommitParams params;
  params.add = {bo.bundle.key_package};
  commit(params);
  EXPECT_EQ(rejoining(), RejoinReason::cannot_process);
}

TEST_F(Conspiracy, CommitOfSomeoneWhoLeftBeforeIsRefused) {
  let_ada_in();
  entry(signaling::GoneEntry{rogue.who, signaling::GoneCause::goodbye});
  commit({});
  EXPECT_EQ(rejoining(), RejoinReason::cannot_process);
}

TEST_F(Conspiracy, RemovalOfSomeoneWhoDidNotLeaveIsRefused) {
  let_ada_in();
  const Stranger bo(1, "Bo", random);
  join(bo);
  mls::CommitParams params;
  params.add = {bo.bundle.key_package};
  commit(params);
  mls::CommitParams removal;
  removal.remove = {{2}};
  commit(removal);
  EXPECT_EQ(rejoining(), RejoinReason::cannot_process);
}

TEST_F(Conspiracy, BeingRemovedWithoutHavingLeftMeansEnteringAnew) {
  let_ada_in();
  mls::CommitParams removal;
  removal.remove = {{1}};
  commit(removal);
  EXPECT_EQ(rejoining(), RejoinReason::removed);
}

TEST_F(Conspiracy, CommitInAnotherMembersNameIsRefused) {
  let_ada_in();
  const Stranger bo(1, "Bo", random);
  join(bo);
  mls::CommitParams params;
  params.add = {bo.bundle.key_package};
  commit(params);
  commit({}, bo.who);
  EXPECT_EQ(rejoining(), RejoinReason::cannot_process);
}

TEST_F(Conspiracy, CommitInOurOwnNameThatWeDidNotMakeIsRefused) {
  let_ada_in();
  commit({}, ada->incarnation());
  EXPECT_EQ(rejoining(), RejoinReason::cannot_process);
}

TEST_F(Conspiracy, ChangeOfTheGroupsExtensionsIsRefused) {
  let_ada_in();
  mls::CommitParams params;
  params.group_context_extensions = mls::Extensions{};
  commit(params);
  EXPECT_EQ(rejoining(), RejoinReason::cannot_process);
}

TEST_F(Conspiracy, CommitWithOneBitChangedIsRefused) {
  let_ada_in();
  auto pending = prepare({});
  pending.commit.back() ^= 1;
  entry(signaling::CommitEntry{0, group.epoch(), rogue.who, pending.commit, {}});
  EXPECT_EQ(rejoining(), RejoinReason::cannot_process);
}

TEST_F(Conspiracy, CommitWhoseMakerReadAnotherLogShowsThatTheServerTellsTwoStories) {
  let_ada_in();
  const Stranger bo(1, "Bo", random);
  const auto before = digest;
  join(bo);
  digest = before; // the committer was never told of Bo
  auto pending = prepare({});
  entry(signaling::CommitEntry{0, group.epoch(), rogue.who, pending.commit, {}});
  EXPECT_EQ(rejoining(), RejoinReason::log_differs);
}

TEST_F(Conspiracy, CommitThatSaysNothingOfTheLogIsRefused) {
  let_ada_in();
  auto pending = group.commit({}, random).value();
  entry(signaling::CommitEntry{0, group.epoch(), rogue.who, pending.commit, {}});
  EXPECT_EQ(rejoining(), RejoinReason::cannot_process);
}

TEST_F(Conspiracy, CommitOfAnotherEpochOrEraIsRefused) {
  let_ada_in();
  auto pending = prepare({});
  entry(signaling::CommitEntry{0, group.epoch() + 1, rogue.who, pending.commit, {}});
  EXPECT_EQ(rejoining(), RejoinReason::log_broken);
}

TEST_F(Conspiracy, NewEraOverTheHeadOfALivingMemberMeansEnteringAnew) {
  let_ada_in();
  entry(signaling::GenesisEntry{rogue.who, group.group_info().value()});
  EXPECT_EQ(rejoining(), RejoinReason::new_era);
}

std::vector<ApplicationEvent> messages(const std::vector<SessionOutput>& events) {
  std::vector<ApplicationEvent> all;
  for (const SessionOutput& event : events) {
    if (const auto* message = std::get_if<ApplicationEvent>(&event)) all.push_back(*message);
  }
  return all;
}

TEST_F(Conspiracy, MessageThatComesBeforeTheCommitToItsEpochIsReadAfterIt) {
  let_ada_in();
  auto pending = prepare({});
  const std::uint64_t epoch = group.epoch();
  ASSERT_TRUE(group.merge(std::move(pending.staged)));
  give(signaling::Relayed{rogue.who, group.protect_application(as_bytes("early"), {}, random).value()});
  EXPECT_TRUE(messages(events).empty());
  entry(signaling::CommitEntry{0, epoch, rogue.who, pending.commit, {}});
  ASSERT_EQ(messages(events).size(), 1u);
  EXPECT_EQ(messages(events)[0].text, "early");
}

TEST_F(Conspiracy, MessageOvertakenByACommitIsNotPutIntoTheMouthOfWhoeverHasTheLeafNow) {
  let_ada_in();
  const Stranger bo(1, "Bo", random);
  const Stranger cy(1, "Cy", random);
  join(bo);
  mls::CommitParams params;
  params.add = {bo.bundle.key_package};
  auto pending = prepare(params);
  const auto welcome = mls::MLSMessage::decode_as<mls::Welcome>(*pending.welcome).value();
  auto bos_group = mls::Group::join(welcome, bo.bundle).value();
  const std::uint64_t epoch = group.epoch();
  ASSERT_TRUE(group.merge(std::move(pending.staged)));
  entry(signaling::CommitEntry{0, epoch, rogue.who, pending.commit, *pending.welcome});
  const Bytes late = bos_group.protect_application(as_bytes("from Bo"), {}, random).value();

  join(cy);
  entry(signaling::GoneEntry{bo.who, signaling::GoneCause::goodbye});
  mls::CommitParams exchange;
  exchange.add = {cy.bundle.key_package};
  exchange.remove = {{2}};
  commit(exchange);
  ASSERT_EQ(ada->roster().at_leaf(2)->who, cy.who);
  // The server claims what it likes; who sent it is in the message.
  give(signaling::Relayed{cy.who, late});
  ASSERT_EQ(messages(events).size(), 1u);
  EXPECT_EQ(messages(events)[0].who, bo.who);
}

TEST_F(Conspiracy, MessageThatIsGarbageOrNotTextIsDropped) {
  let_ada_in();
  give(signaling::Relayed{rogue.who, Bytes(40, 9)});
  give(signaling::Relayed{rogue.who, group.protect_application(Bytes{0xff, 0xfe}, {}, random).value()});
  EXPECT_TRUE(messages(events).empty());
  EXPECT_EQ(rejoining(), std::nullopt);
}

TEST_F(Conspiracy, AfterTheTroubleTheIncarnationAndItsKeysAreNewAndNothingCanBeSent) {
  const IncarnationId before = ada->incarnation();
  let_ada_in();
  Bytes out(100);
  EXPECT_TRUE(ada->protect(now, StreamContext::microphone, sframe::Shell::none, Bytes(10, 1), out));
  commit({}, ada->incarnation());
  EXPECT_NE(ada->incarnation(), before);
  EXPECT_EQ(ada->protect(now, StreamContext::microphone, sframe::Shell::none, Bytes(10, 1), out).error(), Error(frame_no_key));
  EXPECT_EQ(ada->send_application(now, "{}").error(), Error(session_not_entered));
  EXPECT_TRUE(std::ranges::any_of(events, [](const SessionOutput& event) { return std::holds_alternative<Reconnect>(event); }));
}

} // namespace
} // namespace satsuma::call
