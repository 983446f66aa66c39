#include "call/sender_digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "crypto/hash.h"
#include "crypto/signature.h"
#include "helpers.h"

namespace satsuma::call {
namespace {

using namespace std::chrono_literals;
using test::at;
using Name = EpochKeys::EpochName;
constexpr auto camera = StreamContext::camera;
constexpr std::uint32_t leaf = 3;

sframe::FrameHash hash(std::uint64_t n) {
  sframe::FrameHash h{};
  for (std::size_t i = 0; i < 8; ++i) h[i] = static_cast<std::uint8_t>(n * 0x9e3779b97f4a7c15ULL >> (8 * i));
  return h;
}
sframe::FrameHash other(std::uint64_t n) { return hash(n + 1'000'000); }

struct Digests : testing::Test {
  DigestSender sender;
  DigestReceiver receiver;
  Name epoch{0, 5};
  std::uint64_t next = 0;
  Duration time = 0s;

  /// Sends frames of 2000 bytes, 30 a second; each is received if `deliver` gives its hash.
  template <class Deliver>
  void play(int frames, Deliver deliver) {
    for (int i = 0; i < frames; ++i) {
      sender.handle_sent(at(time), epoch, camera, next, hash(next), 2000);
      if (const std::optional<sframe::FrameHash> received = deliver(next)) {
        receiver.handle_received(at(time), epoch, leaf, camera, next, *received);
      }
      ++next;
      time += 33ms;
    }
  }
  Bytes digest() {
    for (int i = 0; i < 100; ++i, time += 100ms) {
      if (auto made = sender.take(at(time), epoch)) return *made;
    }
    ADD_FAILURE() << "none came";
    return {};
  }
  void tell(const Bytes& digest, std::uint64_t since = 0) { ASSERT_TRUE(receiver.handle_digest(at(time), epoch, since, leaf, digest)); }
  void settle() {
    time += 600ms;
    receiver.handle_timeout(at(time));
  }
  std::vector<StreamVerdict> verdicts() {
    std::vector<StreamVerdict> all;
    while (const auto judgement = receiver.poll_output()) {
      EXPECT_EQ(judgement->leaf, leaf);
      EXPECT_EQ(judgement->context, camera);
      all.push_back(judgement->verdict);
    }
    return all;
  }
  using Verdicts = std::vector<StreamVerdict>;
};

auto all = [](std::uint64_t n) { return std::optional(hash(n)); };

TEST_F(Digests, ConfirmWhatIsReceivedWhole) {
  play(35, all);
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed});
  EXPECT_EQ(receiver.waiting(), 0u);
  play(35, all);
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{}) << "told once";
}

TEST_F(Digests, ConfirmWhatIsReceivedWithLosses) {
  play(35, [](std::uint64_t n) { return n % 5 == 0 ? std::nullopt : std::optional(hash(n)); });
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{}) << "the rest may be on its way";
  settle();
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed});
}

TEST_F(Digests, WaitForFramesThatTheyOvertook) {
  play(35, [](std::uint64_t n) { return n >= 30 ? std::nullopt : std::optional(hash(n)); });
  tell(digest());
  for (std::uint64_t n = 30; n < 35; ++n) receiver.handle_received(at(time), epoch, leaf, camera, n, hash(n));
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed});
}

TEST_F(Digests, ShowOneForgedFrameWhereNoneIsLost) {
  play(35, [](std::uint64_t n) { return std::optional(n == 17 ? other(n) : hash(n)); });
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::forged});
}

TEST_F(Digests, ShowForgedSpeechThatHidesBehindLosses) {
  play(35, [](std::uint64_t n) { return n % 5 == 0 ? std::nullopt : std::optional(other(n)); });
  tell(digest());
  settle();
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::forged});
}

TEST_F(Digests, DoNotMakeUpForAForgery) {
  play(35, [](std::uint64_t n) { return std::optional(other(n)); });
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::forged});
  play(35, all);
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{});
  receiver.forget(leaf); // somebody else sits there now
  play(35, all);
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed});
}

TEST_F(Digests, AreMissedAfterAWhile) {
  play(35, all);
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed});
  for (int i = 0; i < 600; ++i) { // the server withholds them, or the member never sent these
    play(1, all);
    receiver.handle_timeout(at(time));
  }
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::unconfirmed});
  while (sender.take(at(time), epoch)) {
  }
  play(35, all);
  tell(digest());
  settle();
  play(35, all);
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed}) << "they come again";
}

TEST_F(Digests, ThatAreWithheldNowAndThenAreNotMadeGoodByTheNext) {
  play(35, [](std::uint64_t n) { return std::optional(other(n)); }); // forged
  (void)digest();                                                     // withheld
  play(35, all);
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::unconfirmed});
  play(35, all);
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed});
}

TEST_F(Digests, ProveNothingOfFramesThatComeAfterwards) {
  play(35, [](std::uint64_t n) { return n < 9 ? std::optional(hash(n)) : std::nullopt; });
  tell(digest());
  settle();
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed});
  for (std::uint64_t n = 9; n < 35; ++n) receiver.handle_received(at(time), epoch, leaf, camera, n, other(n)); // chosen when the root was known
  play(35, all);
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::unconfirmed});
}

TEST_F(Digests, OfAnotherMemberSayNothing) {
  play(35, [](std::uint64_t n) { return std::optional(other(n)); });
  const Bytes made = digest();
  ASSERT_TRUE(receiver.handle_digest(at(time), epoch, 0, leaf + 1, made));
  settle();
  EXPECT_EQ(verdicts(), Verdicts{});
}

TEST_F(Digests, OfALeafsNewOwnerSayNothingAboutTheFormerOnes) {
  play(35, [](std::uint64_t n) { return std::optional(other(n)); });
  tell(digest(), epoch.epoch + 1);
  settle();
  EXPECT_EQ(verdicts(), Verdicts{});
}

TEST_F(Digests, CoverTwoEpochsWhereAChangeFallsBetween) {
  play(20, all);
  const Name before = epoch;
  epoch.epoch += 2;
  next = 0;
  play(20, all);
  const Bytes made = digest();
  tell(made);
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed});
  EXPECT_EQ(receiver.waiting(), 0u) << "those of epoch " << before.epoch << " too";
}

TEST_F(Digests, SaidTwiceHideNothingThatCameTooLateForThem) {
  play(35, [](std::uint64_t n) { return n < 9 ? std::optional(hash(n)) : std::nullopt; });
  const Bytes first = digest();
  tell(first);
  settle();
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed});
  for (std::uint64_t n = 9; n < 35; ++n) receiver.handle_received(at(time), epoch, leaf, camera, n, other(n)); // chosen when the root was known
  tell(first); // which anybody can repeat
  settle();
  play(35, all);
  tell(digest());
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::unconfirmed});
}

TEST_F(Digests, OfLongRunsHaveTwoBitsForAFrameAndShowForgedSpeechAllTheSame) {
  play(200, [](std::uint64_t n) { return n % 20 == 0 ? std::nullopt : std::optional(hash(n)); });
  const Bytes made = digest();
  EXPECT_EQ(made.size(), 1 + 22 + 200 / 4u);
  tell(made);
  settle();
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::confirmed});
  play(200, [](std::uint64_t n) { return n % 20 == 0 ? std::nullopt : std::optional(n >= 300 && n < 315 ? other(n) : hash(n)); });
  tell(digest());
  settle();
  EXPECT_EQ(verdicts(), Verdicts{StreamVerdict::forged}) << "half a second";
}

TEST_F(Digests, OfRunsOfWhichFewCameConfirmNothing) {
  play(200, [](std::uint64_t n) { return n % 14 != 0 ? std::nullopt : std::optional(hash(n)); }); // fifteen, of two bits each
  tell(digest());
  settle();
  EXPECT_EQ(verdicts(), Verdicts{});
}

TEST_F(Digests, AreWholeOrMalformed) {
  play(35, all);
  const Bytes made = digest();
  for (std::size_t size = 0; size < made.size(); ++size) {
    if (size == 1) continue; // without a run
    EXPECT_EQ(receiver.handle_digest(at(time), epoch, 0, leaf, ByteView(made).first(size)).error(), Error(digest_malformed)) << size;
  }
  for (const std::size_t place : {0, 1, 5}) { // the epoch, how far back, the count
    Bytes changed = made;
    changed[place] ^= 0x40;
    EXPECT_FALSE(receiver.handle_digest(at(time), epoch, 0, leaf, changed)) << place;
  }
  Bytes too_far_back = made;
  too_far_back[1] = 6 << 2 | 1; // epochs
  EXPECT_FALSE(receiver.handle_digest(at(time), epoch, 0, leaf, too_far_back));
  settle();
  EXPECT_EQ(verdicts(), Verdicts{});
}

TEST(SignedDigest, ComesBackAndIsWholeOrMalformed) {
  const Bytes body{5, 1, 2, 3}, signature(64, 9);
  const Bytes written = write_signed_digest(body, signature);
  const auto parsed = parse_signed_digest(written);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(equal(parsed->body, body) && equal(parsed->signature, signature));
  EXPECT_EQ(parsed->epoch_mod_256, 5);
  for (std::size_t size = 0; size <= 3 + signature.size(); ++size) EXPECT_FALSE(parse_signed_digest(ByteView(written).first(size))) << size;
  for (const std::size_t place : {0, 1}) { // the byte that no MLSMessage begins with, the version
    Bytes changed = written;
    changed[place] ^= 1;
    EXPECT_FALSE(parse_signed_digest(changed)) << place;
  }
  EXPECT_NE(digest_to_sign(Bytes(16, 1), 1, 2, body), digest_to_sign(Bytes(16, 1), 1, 3, body));
  EXPECT_NE(digest_to_sign(Bytes(16, 1), 1, 2, body), digest_to_sign(Bytes(16, 1), 257, 2, body)) << "of the epoch the message has a part, the signature all";
}

TEST_F(Digests, AreBoundedWhateverComes) {
  for (std::uint64_t n = 0; n < 200'000; ++n) receiver.handle_received(at(0s), {0, n / 50'000}, leaf + n % 16, camera, n, hash(n));
  EXPECT_LE(receiver.waiting(), DigestReceiver::max_waiting_in_all);
  epoch.epoch = 499;
  for (std::uint64_t n = 0; n < 50'000; ++n) sender.handle_sent(at(0s), {0, n / 100}, camera, n % 100, hash(n), 10);
  EXPECT_LE(digest().size(), 20'000u) << "what an application message holds";
}

struct Share {
  double of_bytes = 0; ///< digests of media, both as they are on the wire
  double interval = 0; ///< seconds
};
/// In two minutes.
Share share(std::size_t video_size, std::size_t audio_size, DigestOptions options = {}, std::size_t members = 2) {
  DigestSender sender(options);
  sender.set_members(members);
  double media = 0, digests = 0, count = 0;
  std::uint64_t picture = 0, sound = 0;
  const auto on_the_wire = [](std::size_t size) { return static_cast<double>(size + (size + 1149) / 1150 * 64); };
  for (int ms = 0; ms < 120'000; ++ms) {
    if (video_size != 0 && ms % 33 == 0) {
      sender.handle_sent(at(1ms * ms), {0, 1}, StreamContext::camera, picture, hash(picture), video_size);
      ++picture;
      media += on_the_wire(video_size);
    }
    if (audio_size != 0 && ms % 20 == 0) {
      sender.handle_sent(at(1ms * ms), {0, 1}, StreamContext::microphone, sound, hash(sound), audio_size);
      ++sound;
      media += on_the_wire(audio_size);
    }
    if (const auto made = sender.take(at(1ms * ms), {0, 1})) {
      digests += static_cast<double>(write_signed_digest(*made, Bytes(options.signature_size)).size() + 97);
      ++count;
    }
  }
  const Share all{digests / media, 120.0 / count};
  std::printf("pictures of %zu and sound of %zu bytes, signatures of %zu: %.2f %%, one in %.1f s\n", video_size, audio_size, options.signature_size, 100 * all.of_bytes,
              all.interval);
  return all;
}

TEST(DigestShare, IsAtMostOnePercentAndTheIntervalASecondWherePicturesAreSentAndLessThanThreeForSoundAlone) {
  const auto check = [](Share share, double longest) {
    EXPECT_LE(share.of_bytes, 0.01);
    EXPECT_LE(share.interval, longest);
  };
  check(share(6000, 103), 1.1); // 1.5 Mbit/s
  check(share(2000, 103), 1.1); // 500 kbit/s
  check(share(600, 103), 1.3);  // 150 kbit/s
  check(share(600, 0), 1.6);
  check(share(0, 103), 2.8); // sound alone, Opus of 32 kbit/s
  check(share(0, 73), 3.5);  // of 20 kbit/s
  check(share(0, 103, with_signatures({}, crypto::SignatureScheme::ecdsa_p256_sha256)), 2.9);
  check(share(0, 103, with_signatures({}, crypto::SignatureScheme::ecdsa_p384_sha384)), 3.3);
}

TEST(DigestShare, GrowsNoLargerForWhoChecksTheDigestsOfALargeRoom) {
  for (const auto& [scheme, milliseconds] : {std::pair(crypto::SignatureScheme::ed25519, 0.104), std::pair(crypto::SignatureScheme::ecdsa_p256_sha256, 0.51),
                                            std::pair(crypto::SignatureScheme::ecdsa_p384_sha384, 1.31)}) { // a check in Chromium
    for (const std::size_t members : {2, 10, 50, 75}) {
      const double interval = share(6000, 103, with_signatures({}, scheme), members).interval;
      EXPECT_LE(static_cast<double>(members - 1) * milliseconds / 1000 / interval, 0.0105) << members;
    }
  }
}

/// CPU time of both ends for two minutes of 1.5 Mbit/s of pictures and of sound: hashes, digests, their signatures and the checks. Seconds for each second.
TEST(DigestShare, OfTheProcessorIsAtMostOnePercentOfACore) {
  test::SeededRandom random(1);
  const auto keys = crypto::generate_signature_key_pair(crypto::SignatureScheme::ed25519, random);
  const Bytes picture(6000, 1), sound(100, 2);
  DigestSender sender;
  DigestReceiver receiver;
  double sending = 0, receiving = 0;
  const auto timed = [](double& sum, auto&& work) {
    const std::clock_t began = std::clock();
    work();
    sum += static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
  };
  const auto hash_of = [](ByteView frame) {
    std::array<std::uint8_t, 32> whole;
    crypto::hash_into(crypto::HashAlgorithm::sha256, {frame}, whole);
    sframe::FrameHash hash;
    std::copy_n(whole.begin(), hash.size(), hash.begin());
    return hash;
  };
  std::array<std::uint64_t, 2> next{};
  std::size_t signed_ones = 0;
  for (int second = 0; second < 120; ++second) {
    const auto pass = [&](StreamContext context, const Bytes& frame, int frames, auto&& handle) {
      for (int i = 0; i < frames; ++i)
        handle(at(std::chrono::seconds(second) + i * 1000ms / frames), context, next[static_cast<std::size_t>(context)] + static_cast<std::uint64_t>(i), frame);
    };
    timed(sending, [&] {
      const auto send = [&](TimePoint now, StreamContext context, std::uint64_t n, const Bytes& frame) { sender.handle_sent(now, {0, 1}, context, n, hash_of(frame), frame.size()); };
      pass(StreamContext::microphone, sound, 50, send);
      pass(camera, picture, 30, send);
    });
    timed(receiving, [&] {
      const auto receive = [&](TimePoint now, StreamContext context, std::uint64_t n, const Bytes& frame) { receiver.handle_received(now, {0, 1}, leaf, context, n, hash_of(frame)); };
      pass(StreamContext::microphone, sound, 50, receive);
      pass(camera, picture, 30, receive);
    });
    next[0] += 50;
    next[1] += 30;
    std::optional<Bytes> digest;
    Bytes signature;
    timed(sending, [&] {
      digest = sender.take(at(std::chrono::seconds(second + 1)), {0, 1});
      if (digest) signature = *crypto::sign(crypto::SignatureScheme::ed25519, keys.private_key.view(), *digest);
    });
    if (!digest) continue;
    ++signed_ones;
    timed(receiving, [&] {
      ASSERT_TRUE(crypto::verify(crypto::SignatureScheme::ed25519, keys.public_key, *digest, signature));
      ASSERT_TRUE(receiver.handle_digest(at(std::chrono::seconds(second + 1)), {0, 1}, 0, leaf, *digest));
      receiver.handle_timeout(at(std::chrono::milliseconds(1000 * second + 1600)));
    });
  }
  while (const auto judgement = receiver.poll_output()) EXPECT_EQ(judgement->verdict, StreamVerdict::confirmed);
  EXPECT_GT(signed_ones, 30u);
  std::printf("digests, of a core: %.3f %% to send, %.3f %% to check each sender\n", 100 * sending / 120, 100 * receiving / 120);
  EXPECT_LE(sending / 120, 0.01);
  EXPECT_LE(receiving / 120, 0.01);
}

} // namespace
} // namespace satsuma::call
