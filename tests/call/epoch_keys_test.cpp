#include "call/epoch_keys.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "helpers.h"

namespace satsuma::call {
namespace {

using namespace std::chrono_literals;
using test::at;
using test::secret_of;

EpochKeys::Epoch epoch(std::uint64_t era, std::uint64_t number, std::uint32_t own_leaf) {
  SecretBytes secret = secret_of(static_cast<std::uint8_t>(era + 1), 32);
  secret.mutable_view()[1] = static_cast<std::uint8_t>(number);
  secret.mutable_view()[2] = static_cast<std::uint8_t>(number >> 8);
  return {era, number, own_leaf, {0, 1, 2}, std::move(secret)};
}

struct Frames : ::testing::Test {
  EpochKeys alice; // leaf 0
  EpochKeys bob;   // leaf 1
  Line line{Bytes(32, 1)}, other_line{Bytes(32, 2)};
  Bytes plain = to_bytes(as_bytes("one encoded frame"));

  void both_enter(Duration when, std::uint64_t era, std::uint64_t number, bool at_once = false) {
    alice.enter(at(when), epoch(era, number, 0), at_once);
    bob.enter(at(when), epoch(era, number, 1), at_once);
  }
  Bytes send(EpochKeys& keys, Duration when, StreamContext context = StreamContext::camera,
             sframe::Shell shell = sframe::Shell::vp8_delta) {
    Bytes out(plain.size() + sframe::max_protected_size(shell, 0));
    const auto written = keys.protect(at(when), context, shell, plain, out);
    EXPECT_TRUE(written);
    out.resize(written ? written->size() : 0);
    return out;
  }
  Result<EpochKeys::Received> receive(EpochKeys& keys, Duration when, const Bytes& frame,
                                      sframe::ShellKind kind = sframe::ShellKind::video) {
    buffer.assign(frame.size(), 0);
    return keys.unprotect(at(when), line, kind, frame, buffer);
  }
  Bytes buffer;
};

TEST_F(Frames, PassBetweenMembersOfAnEpoch) {
  both_enter(0s, 0, 0);
  const auto received = receive(bob, 0s, send(alice, 0s));
  ASSERT_TRUE(received);
  EXPECT_EQ(to_bytes(received->plaintext), plain);
  EXPECT_EQ(received->leaf, 0u);
  EXPECT_EQ(received->context, StreamContext::camera);
}

TEST_F(Frames, DoNotLeaveBeforeThereIsAGroup) {
  Bytes out(200);
  EXPECT_EQ(alice.protect(at(0s), StreamContext::camera, sframe::Shell::none, plain, out).error(), Error(frame_no_key));
  both_enter(0s, 0, 0);
  alice.clear();
  EXPECT_EQ(alice.protect(at(0s), StreamContext::camera, sframe::Shell::none, plain, out).error(), Error(frame_no_key));
}

TEST_F(Frames, PassInAnEpochThatComesAgainWithAnotherSecretOnceARoomWasForgotten) {
  const auto enter_another = [this] {
    for (EpochKeys* keys : {&alice, &bob}) {
      EpochKeys::Epoch another = epoch(0, 1, keys == &alice ? 0 : 1);
      another.secret = secret_of(99, 32);
      keys->enter(at(0s), std::move(another), false);
    }
  };
  both_enter(0s, 0, 1);
  ASSERT_TRUE(receive(bob, 0s, send(alice, 0s)));
  alice.clear();
  bob.clear();
  enter_another();
  const auto received = receive(bob, 0s, send(alice, 0s));
  ASSERT_TRUE(received);
  EXPECT_EQ(to_bytes(received->plaintext), plain);
}

TEST_F(Frames, AreSentInTheOldEpochForAMomentSoThatTheOthersCanHaveTheNewOne) {
  both_enter(0s, 0, 0);
  alice.enter(at(1s), epoch(0, 1, 0), false);
  EXPECT_TRUE(receive(bob, 1s, send(alice, 1s))) << "bob has not heard of the new epoch";
  EXPECT_EQ(alice.next_deadline(), at(1150ms));
  EXPECT_FALSE(alice.handle_timeout(at(1149ms)));
  EXPECT_TRUE(alice.handle_timeout(at(1150ms)));
  EXPECT_EQ(alice.sending(), (EpochKeys::EpochName{0, 1}));
  const Bytes ahead = send(alice, 1150ms);
  EXPECT_EQ(receive(bob, 1150ms, ahead).error(), Error(frame_key_not_yet));
  bob.enter(at(1600ms), epoch(0, 1, 1), false);
  EXPECT_TRUE(receive(bob, 1600ms, ahead));
}

/// The others of them: tests/sframe/original_failures_test.cpp.
struct OriginalFailures : Frames {};

TEST_F(OriginalFailures, FramesAroundAnEpochChangeAreReadOnWhicheverSideOfItTheyArrive) {
  both_enter(0s, 0, 0);
  const Bytes before = send(alice, 1s);
  both_enter(1s, 0, 1, true);
  EXPECT_TRUE(receive(bob, 1s, before)) << "made just before the change, there just after it";
  alice.enter(at(2s), epoch(0, 2, 0), true);
  const Bytes ahead = send(alice, 2s);
  EXPECT_EQ(receive(bob, 2s, ahead).error(), Error(frame_key_not_yet)) << "to be held, not dropped";
  bob.enter(at(2100ms), epoch(0, 2, 1), true);
  EXPECT_TRUE(receive(bob, 2100ms, ahead)) << "of the new epoch, there before the change";
}

TEST_F(Frames, MoveAtOnceToAnEpochThatExcludesSomebody) {
  both_enter(0s, 0, 0);
  alice.enter(at(1s), epoch(0, 1, 0), true);
  EXPECT_EQ(alice.sending(), (EpochKeys::EpochName{0, 1}));
}

TEST_F(Frames, AreNotHeldBackByARowOfChanges) {
  both_enter(0s, 0, 0);
  for (int i = 1; i <= 3; ++i) alice.enter(at(i * 40ms), epoch(0, i, 0), false);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(alice.next_deadline(), at(150ms + i * 40ms)) << "each change has its own time, and none puts off another's";
    EXPECT_TRUE(alice.handle_timeout(at(150ms + i * 40ms)));
    EXPECT_EQ(alice.sending(), (EpochKeys::EpochName{0, static_cast<std::uint64_t>(i)})) << "not in one that the others may not have yet";
  }
}

TEST_F(Frames, GoToTheNewestEpochThatTheOthersHaveHadTimeForWhenTheTimerIsLate) {
  both_enter(0s, 0, 0);
  for (int i = 1; i <= 3; ++i) alice.enter(at(i * 100ms), epoch(0, i, 0), false);
  EXPECT_TRUE(receive(bob, 260ms, send(alice, 260ms)).error() == Error(frame_key_not_yet)) << "in epoch 1, which Bob has not entered";
  EXPECT_EQ(alice.sending(), (EpochKeys::EpochName{0, 1}));
  send(alice, 449ms);
  EXPECT_EQ(alice.sending(), (EpochKeys::EpochName{0, 2}));
}

TEST_F(Frames, OfAnEpochThatIsOverDecryptDuringTheOverlapAndNotAfter) {
  both_enter(0s, 0, 0);
  const Bytes first = send(alice, 0s);
  const Bytes second = send(alice, 0s);
  bob.enter(at(1s), epoch(0, 1, 1), true);
  EXPECT_TRUE(receive(bob, 10999ms, first));
  EXPECT_EQ(receive(bob, 11s, second).error(), Error(frame_key_expired));
}

TEST_F(Frames, OfSixtyFourEpochsAgoCanBeReadAndOlderOnesCannot) {
  both_enter(0s, 0, 0);
  const Bytes old = send(alice, 0s);
  for (int i = 1; i <= 64; ++i) bob.enter(at(i * 1ms), epoch(0, i, 1), true);
  EXPECT_TRUE(receive(bob, 65ms, old));
  bob.enter(at(65ms), epoch(0, 65, 1), true);
  EXPECT_EQ(receive(bob, 66ms, send(alice, 66ms)).error(), Error(frame_key_expired));
}

TEST_F(Frames, OfTenChangesASecondAreReadForAsLongAsAnybodyTakesToFollow) {
  both_enter(0s, 0, 0);
  std::vector<std::pair<int, Bytes>> sent;
  int lost = 0;
  for (int i = 1; i <= 600; ++i) {
    both_enter(i * 100ms, 0, i, true);
    sent.emplace_back(i, send(alice, i * 100ms));
    if (i > 60 && !receive(bob, i * 100ms, sent[i - 61].second)) ++lost; // 6 s later
  }
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(bob.counts().opened, 540u);
}

TEST_F(Frames, AreSentOnInTheNewEpochWhenTheOldOneFellOut) {
  both_enter(0s, 0, 0);
  for (int i = 1; i <= 65; ++i) alice.enter(at(i * 1ms), epoch(0, i, 0), false);
  EXPECT_EQ(alice.sending(), (EpochKeys::EpochName{0, 65}));
}

TEST_F(Frames, ComeThroughOnce) {
  both_enter(0s, 0, 0);
  const Bytes frame = send(alice, 0s);
  EXPECT_TRUE(receive(bob, 0s, frame));
  EXPECT_EQ(receive(bob, 0s, frame).error(), Error(sframe::sframe_replayed));
  EXPECT_EQ(bob.counts().opened, 1u);
  EXPECT_EQ(bob.counts().replayed, 1u);
  EXPECT_EQ(bob.counts().refused, 0u);
}

TEST_F(Frames, WithInventedKeyIdsLeaveNothingBehind) {
  both_enter(0s, 0, 0);
  for (std::uint32_t context = 0; context < stream_contexts; ++context) {
    Bytes frame(64, 7);
    sframe::write_header({KeyId{context, 0, 0}.value(), 5}, frame);
    EXPECT_EQ(receive(bob, 0s, frame, sframe::ShellKind::none).error(), Error(sframe::sframe_authentication_failed));
  }
  EXPECT_EQ(bob.counts().refused, stream_contexts);
  EXPECT_TRUE(receive(bob, 0s, send(alice, 0s)));
}

TEST_F(Frames, ThatAreForgedWithoutEndAreMostlyNotOpenedAndKeepTheOthersOutForAMomentAtMost) {
  both_enter(0s, 0, 0);
  ASSERT_TRUE(receive(bob, 0s, send(alice, 0s)));
  const auto flood = [&](StreamContext context, std::uint32_t counters) {
    for (std::uint32_t i = 0; i < 1000; ++i) {
      Bytes frame(64, 7);
      sframe::write_header({KeyId{static_cast<std::uint32_t>(context), 0, 0}.value(), counters * (1 + i * 7919 % 10'000)}, frame);
      EXPECT_FALSE(receive(bob, 0s, frame, sframe::ShellKind::none));
    }
  };
  flood(StreamContext::camera, 1500);
  EXPECT_GT(bob.counts().passed_over, 700u);
  EXPECT_EQ(bob.counts().passed_over + bob.counts().refused, 1000u);
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(receive(bob, 0s, send(alice, 0s))) << "a stream in sequence does not notice";
  flood(StreamContext::microphone, 0); // has not begun
  EXPECT_GT(bob.counts().passed_over, 1400u);
  int tries = 1;
  while (tries < 1000 && !receive(bob, 0s, send(alice, 0s, StreamContext::microphone, sframe::Shell::none), sframe::ShellKind::none)) ++tries;
  EXPECT_LE(tries, 75) << "one in fifteen";
}

TEST_F(Frames, AreNotKeptOutByWhatIsForgedOnAnotherLine) {
  both_enter(0s, 0, 0);
  std::swap(line, other_line);
  for (std::uint32_t i = 0; i < 1000; ++i) {
    Bytes frame(64, 7);
    sframe::write_header({KeyId{i % 4, 0, 0}.value(), i}, frame);
    EXPECT_FALSE(receive(bob, 0s, frame, sframe::ShellKind::none));
  }
  EXPECT_GT(bob.counts().passed_over, 700u);
  std::swap(line, other_line);
  EXPECT_TRUE(receive(bob, 0s, send(alice, 0s)));
  for (int i = 0; i < 200; ++i) send(alice, 0s);
  EXPECT_TRUE(receive(bob, 0s, send(alice, 0s)));
}

TEST_F(Frames, OfAnotherMemberThanTheLinesAreNotOpened) {
  both_enter(0s, 0, 0);
  other_line.leaf = 2;
  const std::array frames{send(alice, 0s), send(alice, 0s)};
  for (const Bytes& frame : frames) {
    buffer.assign(frame.size(), 0);
    EXPECT_EQ(bob.unprotect(at(0s), other_line, sframe::ShellKind::video, frame, buffer).error(), Error(frame_wrong_line));
  }
  EXPECT_EQ(bob.counts().misplaced, 2u);
  for (const std::uint32_t leaf : {0u, Line::nobody}) {
    line.leaf = leaf;
    EXPECT_EQ(receive(bob, 0s, frames[0]).has_value(), leaf == 0);
  }
  line.leaf.reset();
  EXPECT_TRUE(receive(bob, 0s, frames[1]));
}

TEST_F(Frames, WithACounterThatNobodyReachesAreRefusedBeforeAnythingIsDerivedForThem) {
  both_enter(0s, 0, 0);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Bytes frame(64, 7);
    sframe::write_header({KeyId{0, 0, 0}.value(), sframe::FrameKeyTree::capacity + i}, frame);
    ASSERT_EQ(receive(bob, 0s, frame, sframe::ShellKind::none).error(), Error(sframe::sframe_counter_too_large)) << "and not charged";
  }
}

TEST_F(Frames, OfH264WithABadEscapeArePaidForAsOthersAre) {
  both_enter(0s, 0, 0);
  Bytes frame = {0, 0, 0, 1, 0x41, 0xff};
  Bytes header(12);
  header.resize(sframe::write_header({KeyId{1, 0, 0}.value(), 0x111111}, header));
  frame.insert(frame.end(), header.begin(), header.end());
  frame.insert(frame.end(), 40, 7);
  const Bytes bad_end = {0, 0, 3, 9, 0x80}; // escaped, but not one of the bytes that need it
  frame.insert(frame.end(), bad_end.begin(), bad_end.end());
  ASSERT_EQ(receive(bob, 0s, frame).error(), Error(sframe::sframe_malformed));
  EXPECT_EQ(bob.counts().passed_over, 0u);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(receive(bob, 0s, frame));
  EXPECT_GT(bob.counts().passed_over, 700u);
}

TEST_F(Frames, OfAThinnedPictureAllComeThroughHoweverManyAreForgedBetweenThem) {
  both_enter(0s, 0, 0);
  for (const int stride : {1, 6, 12, 64}) {
    ASSERT_TRUE(receive(bob, 0s, send(alice, 0s)));
    for (int i = 0; i < 100; ++i) {
      for (std::uint32_t k = 0; k < 20; ++k) {
        Bytes frame(64, 7);
        sframe::write_header({KeyId{1, 0, 0}.value(), 1'000'000 + k * 7919}, frame);
        EXPECT_FALSE(receive(bob, 0s, frame, sframe::ShellKind::none));
      }
      for (int left_out = 1; left_out < stride; ++left_out) send(alice, 0s);
      ASSERT_TRUE(receive(bob, 0s, send(alice, 0s))) << stride << ' ' << i;
    }
  }
  EXPECT_GT(bob.counts().passed_over, 4000u) << "the flood has spent everything";
}

TEST_F(Frames, ComeThroughAfterAGapOfElevenHundred) {
  both_enter(0s, 0, 0);
  EXPECT_TRUE(receive(bob, 0s, send(alice, 0s)));
  for (int i = 0; i < 1100; ++i) send(alice, 0s); // more than a ratchet of a thousand steps follows
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(receive(bob, 0s, send(alice, 0s)));
}

TEST_F(Frames, AsShortAsDtxKeepTheirContentAndShowNothingOfIt) {
  both_enter(0s, 0, 0);
  for (const Bytes& packet : {Bytes{0x08}, Bytes{0x78, 0xff, 0xfe}, Bytes(9, 0x0b)}) { // SILK and hybrid configurations too
    plain = packet;
    const Bytes frame = send(alice, 0s, StreamContext::microphone, sframe::Shell::none);
    if (packet.size() > 1) {
      EXPECT_EQ(std::search(frame.begin(), frame.end(), packet.begin(), packet.end()), frame.end()) << to_hex(frame);
    }
    const auto received = receive(bob, 0s, frame, sframe::ShellKind::none);
    ASSERT_TRUE(received);
    EXPECT_EQ(to_bytes(received->plaintext), packet);
  }
}

TEST_F(Frames, OfAnEmptyLeafOrOurOwnAreRefused) {
  both_enter(0s, 0, 0);
  const Bytes own = send(bob, 0s);
  EXPECT_EQ(receive(bob, 0s, own).error(), Error(frame_bad_sender));
  EpochKeys outsider;
  auto somewhere = epoch(0, 0, 9);
  somewhere.leaves.push_back(9);
  outsider.enter(at(0s), std::move(somewhere), true);
  EXPECT_EQ(receive(bob, 0s, send(outsider, 0s)).error(), Error(frame_bad_sender));
}

TEST_F(Frames, WithTheShellChangedAreForged) {
  both_enter(0s, 0, 0);
  Bytes frame = send(alice, 0s, StreamContext::camera, sframe::Shell::vp8_delta);
  frame[0] ^= 1;
  EXPECT_EQ(receive(bob, 0s, frame).error(), Error(sframe::sframe_authentication_failed));
}

TEST_F(Frames, WithAKeyIdThatNobodyMakesAreMalformed) {
  both_enter(0s, 0, 0);
  EXPECT_EQ(receive(bob, 0s, {}, sframe::ShellKind::none).error(), Error(sframe::sframe_malformed));
  EXPECT_FALSE(KeyId::from(std::uint64_t{4} << 20));
  EXPECT_FALSE(KeyId::from(std::uint64_t{1} << 32));
  EXPECT_EQ(KeyId::from(2u << 20 | 5u << 8 | 3), (KeyId{2, 5, 3}));
}

TEST_F(Frames, OfSoundMayCarryADigestWhichTheirKeyIdSaysAndAreOtherwiseAsAllOfTheirStream) {
  for (const auto suite : {sframe::CipherSuite::chacha20_poly1305_sha256_128, sframe::CipherSuite::aes_256_ctr_hmac_sha512_80}) {
    alice = EpochKeys(suite);
    bob = EpochKeys(suite);
    for (EpochKeys* keys : {&alice, &bob}) {
      EpochKeys::Epoch entered = epoch(0, 3, keys == &alice ? 0 : 1);
      entered.secret = secret_of(9, crypto::hash_size(sframe::parameters(suite).hash));
      keys->enter(at(0s), std::move(entered), false);
    }
    for (const auto context : {StreamContext::microphone, StreamContext::screen_audio}) {
      std::vector<Bytes> sent;
      for (std::uint64_t i = 0; i < 12; ++i) { // the first of a stream too, and one behind the other
        const bool carries = i % 4 == 0 || i == 5;
        Bytes out(200);
        const auto written = alice.protect(at(0s), context, sframe::Shell::none, plain, out, carries);
        ASSERT_TRUE(written);
        EXPECT_EQ(alice.last_sent().counter, i);
        sent.push_back(to_bytes(*written));
        const auto header = sframe::parse_frame_header(sframe::open_shell(sframe::ShellKind::none, *written).value()).value();
        EXPECT_EQ(KeyId::from(header.key_id), (KeyId{static_cast<std::uint32_t>(context), 0, 3, carries}));
        EXPECT_LE(sframe::header_size(header), 5u) << "no longer than a picture's";
        const auto received = receive(bob, 0s, sent.back(), sframe::ShellKind::none);
        ASSERT_TRUE(received) << i;
        EXPECT_EQ(to_bytes(received->plaintext), plain);
        EXPECT_EQ(received->carries_digest, carries);
        EXPECT_EQ(received->counter, i);
        EXPECT_EQ(received->context, context);
        EXPECT_EQ(received->hash, alice.last_sent().hash);
      }
      for (const Bytes& frame : sent) EXPECT_EQ(receive(bob, 0s, frame, sframe::ShellKind::none).error(), Error(sframe::sframe_replayed));
    }
  }
}

TEST_F(Frames, ThatCarryADigestDoNotPassForOthersNorTheOtherWayRound) {
  both_enter(0s, 0, 3);
  for (const bool carries : {false, true}) {
    Bytes out(200);
    const auto written = alice.protect(at(0s), StreamContext::screen_audio, sframe::Shell::none, plain, out, carries);
    ASSERT_TRUE(written);
    Bytes changed = to_bytes(*written);
    changed[1] ^= 0x80; // the flag, in a key id of three bytes
    EXPECT_EQ(receive(bob, 0s, changed, sframe::ShellKind::none).error(), Error(sframe::sframe_authentication_failed));
    EXPECT_TRUE(receive(bob, 0s, to_bytes(*written), sframe::ShellKind::none)) << "and the genuine one is as good as before";
  }
}

TEST_F(Frames, OfPicturesCarryNoDigest) {
  both_enter(0s, 0, 3);
  for (const auto context : {StreamContext::camera, StreamContext::screen}) {
    Bytes out(200);
    EXPECT_EQ(alice.protect(at(0s), context, sframe::Shell::none, plain, out, true).error(), Error(frame_bad_context));
    EXPECT_FALSE(KeyId::from(KeyId{static_cast<std::uint32_t>(context), 0, 3, true}.value()));
    Bytes frame = send(alice, 0s, context, sframe::Shell::none);
    frame[1] ^= 0x80;
    EXPECT_EQ(receive(bob, 0s, frame).error(), Error(sframe::sframe_malformed));
  }
}

TEST_F(Frames, OfTwoErasWithTheSameKeyIdBothDecryptDuringTheOverlap) {
  both_enter(0s, 0, 3);
  const Bytes old = send(alice, 0s);
  both_enter(1s, 1, 3, true);
  const Bytes fresh = send(alice, 1s);
  EXPECT_TRUE(receive(bob, 1s, fresh));
  const auto received = receive(bob, 1s, old);
  ASSERT_TRUE(received);
  EXPECT_EQ(received->epoch, (EpochKeys::EpochName{0, 3}));
}

TEST_F(Frames, NeverUseAKeyAndCounterTwice) {
  both_enter(0s, 0, 0);
  std::set<Bytes> seen;
  for (int number = 0; number < 4; ++number) {
    if (number > 0) both_enter(number * 1s, 0, number, true);
    for (int context = 0; context < 4; ++context) {
      for (int i = 0; i < 3; ++i) {
        Bytes sent = send(alice, number * 1s, static_cast<StreamContext>(context), sframe::Shell::none);
        EXPECT_TRUE(seen.insert(sent).second);
      }
    }
  }
}

TEST(StreamSecrets, DifferInEveryPart) {
  const auto key = [](std::uint64_t era, std::uint64_t number, std::uint32_t leaf, StreamContext context) {
    const StreamSecrets secrets(sframe::CipherSuite::chacha20_poly1305_sha256_128, secret_of(1, 32), era, number, {3, 4});
    return to_hex(secrets.base_key(leaf, context)->view());
  };
  const std::set<std::string> all{key(1, 2, 3, StreamContext::microphone), key(2, 2, 3, StreamContext::microphone), key(1, 3, 3, StreamContext::microphone),
                                  key(1, 2, 4, StreamContext::microphone), key(1, 2, 3, StreamContext::camera)};
  EXPECT_EQ(all.size(), 5u);
}

TEST(StreamSecrets, AreGoneOnceDestroyedAndLeaveTheOthersAsTheyWere) {
  StreamSecrets secrets(sframe::CipherSuite::chacha20_poly1305_sha256_128, secret_of(1, 32), 1, 2, {3, 4});
  const SecretBytes screen = *secrets.base_key(3, StreamContext::screen), other = *secrets.base_key(4, StreamContext::camera);
  secrets.destroy(3, StreamContext::camera);
  secrets.destroy(3, StreamContext::microphone);
  EXPECT_FALSE(secrets.base_key(3, StreamContext::camera));
  EXPECT_FALSE(secrets.base_key(3, StreamContext::microphone));
  EXPECT_EQ(*secrets.base_key(3, StreamContext::screen), screen);
  EXPECT_EQ(*secrets.base_key(4, StreamContext::camera), other);
  EXPECT_FALSE(secrets.base_key(5, StreamContext::camera)); // nobody
}

} // namespace
} // namespace satsuma::call
