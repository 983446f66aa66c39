#include "srtp/session.h"

#include <gtest/gtest.h>

#include "crypto/hash.h"
#include "crypto/hmac_sha1.h"
#include "packets.h"

namespace satsuma::srtp {
namespace {

using namespace test;

TEST(HmacSha1Key, GivesTheTagsOfRfc2202AndOfTheGeneralHmac) {
  // RFC 2202 s.3, cases 1 and 2.
  std::array<std::uint8_t, 20> tag;
  crypto::HmacSha1Key(Bytes(20, 0x0b)).tag({as_bytes("Hi There")}, tag);
  EXPECT_EQ(to_hex(tag), "b617318655057264e28bc0b6fb378c8ef146be00");
  const crypto::HmacSha1Key jefe(as_bytes("Jefe"));
  jefe.tag({as_bytes("what do ya want "), as_bytes("for nothing?")}, tag);
  EXPECT_EQ(to_hex(tag), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
  for (std::size_t size : {0u, 63u, 64u, 65u, 200u}) {
    const Bytes key(size, 0x42);
    crypto::HmacSha1Key(key).tag({as_bytes("x")}, tag);
    EXPECT_EQ(to_bytes(tag), crypto::hmac(crypto::HashAlgorithm::sha1, key, {as_bytes("x")})) << size;
  }
}

TEST(ReplayWindow, KnowsWhatItHasSeenAndWhatIsTooOld) {
  internal::ReplayWindow window;
  EXPECT_FALSE(window.seen_or_too_old(5));
  window.mark(5);
  EXPECT_TRUE(window.seen_or_too_old(5));
  EXPECT_FALSE(window.seen_or_too_old(4));
  EXPECT_FALSE(window.seen_or_too_old(6));
  window.mark(5 + replay_window);
  EXPECT_TRUE(window.seen_or_too_old(5));
  EXPECT_FALSE(window.seen_or_too_old(6));
  window.mark(6);
  EXPECT_TRUE(window.seen_or_too_old(6));
  EXPECT_EQ(window.highest(), 5 + replay_window);
  // A jump clears what it passes over, no matter how far.
  window.mark(100 * replay_window);
  for (std::uint64_t i = 1; i < replay_window; ++i) EXPECT_FALSE(window.seen_or_too_old(100 * replay_window - i));
  EXPECT_TRUE(window.seen_or_too_old(99 * replay_window));
}

TEST(ReplayWindow, AgreesWithASetInARandomWalk) {
  internal::ReplayWindow window;
  std::vector<bool> seen(200'000);
  std::uint64_t highest = 0;
  unsigned state = 1;
  for (int i = 0; i < 100'000; ++i) {
    state = state * 1664525 + 1013904223;
    const std::uint64_t center = highest + (state >> 28 == 0 ? 40 : 2);
    const std::uint64_t back = state >> 8 & 2047;
    const std::uint64_t index = center > back ? center - back : center;
    if (index >= seen.size()) break;
    const bool expected = i > 0 && (index + replay_window <= highest || (index <= highest && seen[index]));
    ASSERT_EQ(window.seen_or_too_old(index), expected) << i;
    if (expected) continue;
    window.mark(index);
    seen[index] = true;
    highest = std::max(highest, index);
  }
}

TEST(RtpHeader, MeasuresCsrcsAndExtension) {
  EXPECT_EQ(rtp_header_size(packet({})), 12u);
  EXPECT_EQ(rtp_header_size(packet({.csrcs = 3})), 24u);
  EXPECT_EQ(rtp_header_size(packet({.csrcs = 15, .extension = true})), 84u);
  Bytes bytes = packet({.extension = true, .payload = 0});
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(rtp_header_size(ByteView(bytes).first(size)));
  bytes[15] = 3; // one word more than there is
  EXPECT_FALSE(rtp_header_size(bytes));
  bytes[0] = 0x40;
  EXPECT_FALSE(rtp_header_size(bytes));
}

class SessionTest : public testing::TestWithParam<Profile> {
 protected:
  Profile profile = GetParam();
  Sender sender{profile, master_key(profile), master_salt(profile)};
  Receiver receiver{profile, master_key(profile), master_salt(profile)};
};

INSTANTIATE_TEST_SUITE_P(Profiles, SessionTest, testing::Values(Profile::aead_aes_128_gcm, Profile::aes128_cm_sha1_80),
                         [](const auto& test) { return test.param == Profile::aead_aes_128_gcm ? "Gcm" : "CtrHmac"; });

TEST_P(SessionTest, ReturnsWhatWasProtected) {
  std::uint16_t sequence = 1;
  for (const Rtp& kind : {Rtp{}, Rtp{.payload = 0}, Rtp{.csrcs = 4}, Rtp{.extension = true, .payload = 1200}, Rtp{.csrcs = 1, .extension = true}}) {
    Rtp rtp = kind;
    rtp.sequence = ++sequence;
    auto bytes = protect(sender, rtp);
    ASSERT_TRUE(bytes);
    EXPECT_EQ(bytes->size(), packet(rtp).size() + rtp_overhead(profile));
    EXPECT_TRUE(equal(ByteView(*bytes).first(header(rtp).size()), header(rtp)));
    const auto clear = receiver.unprotect_rtp(*bytes);
    ASSERT_TRUE(clear);
    EXPECT_EQ(to_bytes(*clear), packet(rtp));
    EXPECT_EQ(clear->data(), bytes->data());
  }
}

TEST_P(SessionTest, ProtectsInPlaceAsWell) {
  const Rtp rtp;
  Bytes buffer = packet(rtp);
  buffer.resize(buffer.size() + max_rtp_overhead);
  const Bytes head = header(rtp);
  const auto written = sender.protect_rtp(head, ByteView(buffer).subspan(head.size(), rtp.payload), buffer);
  ASSERT_TRUE(written);
  const auto clear = receiver.unprotect_rtp(*written);
  ASSERT_TRUE(clear);
  EXPECT_EQ(to_bytes(*clear), packet(rtp));
}

TEST_P(SessionTest, ReturnsRtcp) {
  for (std::size_t words : {1u, 6u, 300u}) {
    const Bytes report = rtcp(7, words);
    Bytes out(report.size() + max_rtcp_overhead);
    const auto written = sender.protect_rtcp(report, out);
    ASSERT_TRUE(written);
    EXPECT_EQ(written->size(), report.size() + rtcp_overhead(profile));
    const auto clear = receiver.unprotect_rtcp(*written);
    ASSERT_TRUE(clear);
    EXPECT_EQ(to_bytes(*clear), report);
  }
}

TEST_P(SessionTest, RefusesEachFlippedBitAndThenStillTakesThePacket) {
  const Bytes good = *protect(sender, {.csrcs = 1, .extension = true, .payload = 20});
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_FALSE(receiver.unprotect_rtp(bad)) << bit;
  }
  Bytes copy = good;
  EXPECT_TRUE(receiver.unprotect_rtp(copy));
}

TEST_P(SessionTest, RefusesEachFlippedBitOfRtcp) {
  Bytes good(100);
  good.resize(sender.protect_rtcp(rtcp(7), good)->size());
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_FALSE(receiver.unprotect_rtcp(bad)) << bit;
  }
  EXPECT_TRUE(receiver.unprotect_rtcp(good));
}

TEST_P(SessionTest, RefusesEachTruncation) {
  const Bytes good = *protect(sender, {.payload = 30});
  for (std::size_t size = 0; size < good.size(); ++size) {
    Bytes bad(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(receiver.unprotect_rtp(bad)) << size;
    EXPECT_FALSE(receiver.unprotect_rtcp(bad)) << size;
  }
}

TEST_P(SessionTest, RefusesReplays) {
  const Bytes packet_1 = *protect(sender, {.sequence = 1});
  const Bytes packet_2 = *protect(sender, {.sequence = 2});
  Bytes copy = packet_2;
  ASSERT_TRUE(receiver.unprotect_rtp(copy));
  copy = packet_1; // late, but new
  ASSERT_TRUE(receiver.unprotect_rtp(copy));
  for (const Bytes& again : {packet_1, packet_2}) {
    copy = again;
    EXPECT_EQ(receiver.unprotect_rtp(copy).error(), Error(srtp_replayed));
  }
  Bytes report(100);
  report.resize(sender.protect_rtcp(rtcp(7), report)->size());
  copy = report;
  EXPECT_TRUE(receiver.unprotect_rtcp(copy));
  copy = report;
  EXPECT_EQ(receiver.unprotect_rtcp(copy).error(), Error(srtp_replayed));
}

TEST_P(SessionTest, NeverUsesAnIndexTwice) {
  ASSERT_TRUE(protect(sender, {.sequence = 10}));
  EXPECT_EQ(protect(sender, {.sequence = 10}).error(), Error(srtp_index_reused));
  ASSERT_TRUE(protect(sender, {.sequence = 12}));
  ASSERT_TRUE(protect(sender, {.sequence = 11})); // out of order is fine, once
  EXPECT_EQ(protect(sender, {.sequence = 11}).error(), Error(srtp_index_reused));
  ASSERT_TRUE(protect(sender, {.sequence = 11, .ssrc = 99})); // another stream
  EXPECT_EQ(protect(sender, {.sequence = 65000}).error(), Error(srtp_index_reused)); // would be before the first cycle
}

TEST_P(SessionTest, CountsTheRollOversOfEachStream) {
  for (std::uint32_t i = 0; i < 200'000; i += 1000) {
    for (std::uint32_t ssrc : {1u, 2u}) {
      const Rtp rtp{.sequence = static_cast<std::uint16_t>(i + 30'000 * (ssrc - 1)), .ssrc = ssrc, .payload = 4};
      auto bytes = protect(sender, rtp);
      ASSERT_TRUE(bytes) << i;
      const auto clear = receiver.unprotect_rtp(*bytes);
      ASSERT_TRUE(clear) << i;
      EXPECT_EQ(to_bytes(*clear), packet(rtp));
    }
  }
}

TEST_P(SessionTest, TakesPacketsThatChangePlacesAtTheRollOver) {
  std::vector<Bytes> packets;
  for (std::uint32_t i = 65529; i < 65541; ++i) packets.push_back(*protect(sender, {.sequence = static_cast<std::uint16_t>(i)}));
  for (std::size_t i = 0; i < packets.size(); i += 2) std::swap(packets[i], packets[i + 1]); // 0 comes before 65535
  for (std::size_t i = 0; i < packets.size(); ++i) EXPECT_TRUE(receiver.unprotect_rtp(packets[i])) << i;
}

TEST_P(SessionTest, ProtectsPacketsThatChangePlacesAtTheRollOver) {
  std::vector<std::uint16_t> sequences = {65533, 65534, 0, 65535, 2, 1, 65532};
  for (std::uint16_t sequence : sequences) {
    auto bytes = protect(sender, {.sequence = sequence});
    ASSERT_TRUE(bytes) << sequence;
    EXPECT_TRUE(receiver.unprotect_rtp(*bytes)) << sequence;
  }
}

TEST_P(SessionTest, GivesTheSamePayloadAnotherCiphertextEachTime) {
  const Bytes first = *protect(sender, {.sequence = 1, .payload = 0});
  Bytes out_1(2000), out_2(2000);
  const Bytes same(50, 7);
  const auto a = sender.protect_rtp(header({.sequence = 100}), same, out_1);
  const auto b = sender.protect_rtp(header({.sequence = 101}), same, out_2);
  EXPECT_FALSE(equal(a->subspan(12, 50), b->subspan(12, 50)));
  EXPECT_FALSE(equal(a->subspan(12, 50), same));
}

TEST_P(SessionTest, ForgetsAStreamThatNeverWasAuthentic) {
  for (std::uint32_t ssrc = 0; ssrc < 3 * max_streams; ++ssrc) {
    Bytes forged = packet({.ssrc = ssrc});
    forged.resize(forged.size() + 16);
    EXPECT_EQ(receiver.unprotect_rtp(forged).error(), Error(srtp_authentication_failed));
  }
  auto bytes = protect(sender, {.ssrc = 5});
  EXPECT_TRUE(receiver.unprotect_rtp(*bytes));
}

TEST_P(SessionTest, HoldsABoundedNumberOfStreams) {
  for (std::uint32_t i = 0; i < max_streams; ++i) {
    auto bytes = protect(sender, {.ssrc = i * 0x10000});
    ASSERT_TRUE(bytes) << i;
    ASSERT_TRUE(receiver.unprotect_rtp(*bytes)) << i;
  }
  EXPECT_EQ(protect(sender, {.ssrc = 0xffff}).error(), Error(srtp_too_many_streams));
  Sender another(profile, master_key(profile), master_salt(profile));
  auto bytes = protect(another, {.ssrc = 0xffff});
  EXPECT_EQ(receiver.unprotect_rtp(*bytes).error(), Error(srtp_too_many_streams));
  // Those that are there go on.
  auto more = protect(sender, {.sequence = 2, .ssrc = 0x30000});
  EXPECT_TRUE(receiver.unprotect_rtp(*more));
}

TEST_P(SessionTest, RefusesAHeaderThatIsNotExactlyOne) {
  Bytes out(200);
  EXPECT_EQ(sender.protect_rtp(packet({}), {}, out).error(), Error(srtp_malformed));
  EXPECT_EQ(sender.protect_rtp(ByteView(header({})).first(11), {}, out).error(), Error(srtp_malformed));
  EXPECT_EQ(sender.protect_rtcp(ByteView(rtcp(1)).first(7), out).error(), Error(srtp_malformed));
}

TEST_P(SessionTest, SaysWhenTheOutputIsTooSmallAndUsesNoIndexUp) {
  Bytes out(packet({}).size() + rtp_overhead(profile) - 1);
  EXPECT_EQ(sender.protect_rtp(header({}), payload({}), out).error(), Error(srtp_no_space));
  EXPECT_TRUE(protect(sender, {}));
}

TEST_P(SessionTest, TakesNoUnencryptedRtcp) {
  Bytes report = rtcp(7);
  report.resize(report.size() + max_rtcp_overhead); // index word without the E bit
  EXPECT_EQ(receiver.unprotect_rtcp(report).error(), Error(srtp_malformed));
}

TEST(SrtpSession, KeysOfTheOneDirectionDoNotOpenTheOther) {
  const Profile profile = Profile::aead_aes_128_gcm;
  Sender sender(profile, Bytes(16, 1), Bytes(12, 1));
  Receiver receiver(profile, Bytes(16, 2), Bytes(12, 1));
  auto bytes = protect(sender, {});
  EXPECT_EQ(receiver.unprotect_rtp(*bytes).error(), Error(srtp_authentication_failed));
}

} // namespace
} // namespace satsuma::srtp
