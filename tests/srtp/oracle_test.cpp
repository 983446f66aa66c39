// libsrtp2, what other implementations of WebRTC use, on the other side.
#include <gtest/gtest.h>
#include <srtp2/srtp.h>

#include "packets.h"
#include "srtp/session.h"

namespace satsuma::srtp {
namespace {

using namespace test;

class Oracle {
 public:
  Oracle(Profile profile, srtp_ssrc_type_t direction) {
    static const bool ready = srtp_init() == srtp_err_status_ok;
    EXPECT_TRUE(ready);
    key_ = master_key(profile);
    const Bytes salt = master_salt(profile);
    key_.insert(key_.end(), salt.begin(), salt.end());
    srtp_policy_t policy{};
    const srtp_profile_t name = profile == Profile::aead_aes_128_gcm ? srtp_profile_aead_aes_128_gcm : srtp_profile_aes128_cm_sha1_80;
    EXPECT_EQ(srtp_crypto_policy_set_from_profile_for_rtp(&policy.rtp, name), srtp_err_status_ok);
    EXPECT_EQ(srtp_crypto_policy_set_from_profile_for_rtcp(&policy.rtcp, name), srtp_err_status_ok);
    policy.ssrc.type = direction;
    policy.key = key_.data();
    policy.window_size = 1024;
    EXPECT_EQ(srtp_create(&session_, &policy), srtp_err_status_ok);
  }
  ~Oracle() { srtp_dealloc(session_); }

  Bytes run(srtp_err_status_t (*function)(srtp_t, void*, int*), Bytes packet) {
    int size = static_cast<int>(packet.size());
    packet.resize(packet.size() + SRTP_MAX_TRAILER_LEN + 4);
    EXPECT_EQ(function(session_, packet.data(), &size), srtp_err_status_ok);
    packet.resize(static_cast<std::size_t>(size));
    return packet;
  }

 private:
  Bytes key_;
  srtp_t session_ = nullptr;
};

class OracleTest : public testing::TestWithParam<Profile> {
 protected:
  Profile profile = GetParam();
  Sender sender{profile, master_key(profile), master_salt(profile)};
  Receiver receiver{profile, master_key(profile), master_salt(profile)};
  Oracle oracle_sender{profile, ssrc_any_outbound};
  Oracle oracle_receiver{profile, ssrc_any_inbound};
};

INSTANTIATE_TEST_SUITE_P(Profiles, OracleTest, testing::Values(Profile::aead_aes_128_gcm, Profile::aes128_cm_sha1_80),
                         [](const auto& test) { return test.param == Profile::aead_aes_128_gcm ? "Gcm" : "CtrHmac"; });

// Sizes, headers, two streams, and three roll-overs.
std::vector<Rtp> traffic() {
  std::vector<Rtp> packets;
  for (std::uint32_t i = 0; i < 200'000; i += 601) {
    packets.push_back({.sequence = static_cast<std::uint16_t>(i + 100), .ssrc = i % 2 + 0xdeadbe00, .csrcs = i % 5, .extension = i % 3 == 0, .payload = i % 1200});
  }
  return packets;
}

TEST_P(OracleTest, OpensWhatLibsrtpProtectedAndTheBytesAreTheSame) {
  for (const Rtp& rtp : traffic()) {
    Bytes theirs = oracle_sender.run(srtp_protect, packet(rtp));
    EXPECT_EQ(theirs, *protect(sender, rtp));
    const auto clear = receiver.unprotect_rtp(theirs);
    ASSERT_TRUE(clear);
    EXPECT_EQ(to_bytes(*clear), packet(rtp));
  }
}

TEST_P(OracleTest, LibsrtpOpensWhatWeProtected) {
  for (const Rtp& rtp : traffic()) EXPECT_EQ(oracle_receiver.run(srtp_unprotect, *protect(sender, rtp)), packet(rtp));
}

TEST_P(OracleTest, OpensRtcpOfLibsrtp) {
  for (std::size_t i = 0; i < 200; ++i) {
    const Bytes report = rtcp(static_cast<std::uint32_t>(i % 3), 1 + i);
    Bytes theirs = oracle_sender.run(srtp_protect_rtcp, report);
    const auto clear = receiver.unprotect_rtcp(theirs);
    ASSERT_TRUE(clear) << i;
    EXPECT_EQ(to_bytes(*clear), report);
  }
}

TEST_P(OracleTest, LibsrtpOpensOurRtcp) {
  for (std::size_t i = 0; i < 200; ++i) {
    const Bytes report = rtcp(static_cast<std::uint32_t>(i % 3), 1 + i);
    Bytes out(report.size() + max_rtcp_overhead);
    out.resize(sender.protect_rtcp(report, out)->size());
    EXPECT_EQ(oracle_receiver.run(srtp_unprotect_rtcp, out), report);
  }
}

} // namespace
} // namespace satsuma::srtp
