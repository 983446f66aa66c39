#include "sfu/transport.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "transport_peer.h"

namespace satsuma::sfu {
namespace {

using namespace std::chrono_literals;
using test::TransportPeer;

constexpr UnixSeconds calendar = 1'800'000'000;

dtls::Context context(std::vector<dtls::SrtpProfile> profiles = {dtls::SrtpProfile::aead_aes_128_gcm, dtls::SrtpProfile::aes128_cm_sha1_80}) {
  return std::move(*dtls::Context::create(calendar, std::move(profiles)));
}

NetworkPath path(std::uint8_t last, std::uint32_t socket = 0) { return {TransportAddress::v4({198, 51, 100, last}, 40'000), socket}; }

const Bytes rtp_header = *from_hex("8060000100000001deadbeef");
const Bytes rtcp_report = *from_hex("80c90001deadbeef");

class TransportTest : public testing::Test {
 protected:
  TransportTest() {
    EXPECT_TRUE(transport.set_remote(peer.own().ufrag, client_context.fingerprint()));
    peer.set_remote(transport.local_credentials(), server_context.fingerprint());
  }

  Result<Transport::Packet> give(const NetworkPath& from, ByteView datagram) {
    buffer.assign(datagram.begin(), datagram.end());
    return transport.handle_packet(now, from, buffer);
  }

  /// Takes what the transport has to say, and delivers its datagrams to the peer if they go to `peer_path`.
  void drain() {
    while (auto output = transport.poll_output()) {
      if (const auto* send = std::get_if<Transport::Send>(&*output)) {
        ++sent;
        if (send->path == peer_path && !cut) peer.handle(now, send->datagram);
        else strays.push_back(send->path);
      } else if (std::holds_alternative<Transport::Connected>(*output)) {
        ++connected;
      } else if (std::holds_alternative<Transport::PathChanged>(*output)) {
        ++path_changes;
      } else {
        disconnected.push_back(std::get<Transport::Disconnected>(*output).reason);
      }
    }
  }

  void exchange() {
    for (bool any = true; any;) {
      any = false;
      drain();
      for (const Bytes& datagram : peer.poll()) {
        any = true;
        (void)give(peer_path, datagram);
        drain();
      }
    }
  }

  void run_until(TimePoint until) {
    for (;;) {
      exchange();
      std::optional<TimePoint> next = transport.next_deadline();
      if (const auto other = peer.next_deadline(); other && (!next || *other < *next)) next = other;
      if (!next || *next > until) break;
      now = std::max(now, *next);
      transport.handle_timeout(now);
      peer.handle_timeout(now);
    }
    now = until;
  }

  void connect() {
    ASSERT_TRUE(give(peer_path, peer.check(true)));
    drain();
    peer.start_dtls(now);
    exchange();
    ASSERT_TRUE(peer.connected());
    ASSERT_TRUE(transport.connected());
    ASSERT_EQ(connected, 1);
  }

  void expect_media_both_ways() {
    static std::uint16_t sequence = 0;
    Bytes header = rtp_header;
    header[2] = static_cast<std::uint8_t>(++sequence >> 8);
    header[3] = static_cast<std::uint8_t>(sequence);
    const Bytes payload(700, 0x5a);
    Bytes whole = header;
    whole.insert(whole.end(), payload.begin(), payload.end());
    Bytes out(1500);

    const auto up = peer.sender().protect_rtp(header, payload, out);
    ASSERT_TRUE(up);
    auto received = give(peer_path, *up);
    ASSERT_TRUE(received) << received.error().name();
    EXPECT_EQ(received->kind, Transport::Received::rtp);
    EXPECT_EQ(to_bytes(received->packet), whole);
    EXPECT_EQ(received->packet.data(), buffer.data());

    const auto down = transport.protect_rtp(header, payload, out);
    ASSERT_TRUE(down);
    EXPECT_EQ(down->size(), whole.size() + transport.rtp_overhead());
    const auto clear = peer.receiver().unprotect_rtp(*down);
    ASSERT_TRUE(clear);
    EXPECT_EQ(to_bytes(*clear), whole);

    const auto up_rtcp = peer.sender().protect_rtcp(rtcp_report, out);
    received = give(peer_path, *up_rtcp);
    ASSERT_TRUE(received);
    EXPECT_EQ(received->kind, Transport::Received::rtcp);
    EXPECT_EQ(to_bytes(received->packet), rtcp_report);
    const auto down_rtcp = transport.protect_rtcp(rtcp_report, out);
    ASSERT_TRUE(down_rtcp);
    EXPECT_TRUE(peer.receiver().unprotect_rtcp(*down_rtcp));
  }

  TimePoint now{};
  SeededRandom random{7};
  dtls::Context server_context = context();
  dtls::Context client_context = context();
  Transport transport{now, server_context, ice::Credentials::generate(random)};
  TransportPeer peer{client_context, ice::Credentials::generate(random)};
  NetworkPath peer_path = path(1);
  bool cut = false;
  Bytes buffer;
  int sent = 0;
  int connected = 0;
  int path_changes = 0;
  std::vector<NetworkPath> strays;
  std::vector<Error> disconnected;
};

TEST(PacketKind, IsReadFromTheFirstBytes) {
  const auto kind = [](std::uint8_t first, std::uint8_t second) { return classify(std::array<std::uint8_t, 2>{first, second}); };
  EXPECT_EQ(kind(0, 1), PacketKind::stun);
  EXPECT_EQ(kind(3, 1), PacketKind::stun);
  EXPECT_EQ(kind(4, 1), PacketKind::unknown);
  EXPECT_EQ(kind(19, 1), PacketKind::unknown);
  EXPECT_EQ(kind(20, 254), PacketKind::dtls);
  EXPECT_EQ(kind(63, 254), PacketKind::dtls);
  EXPECT_EQ(kind(64, 0), PacketKind::unknown); // TURN channels, QUIC
  EXPECT_EQ(kind(127, 0), PacketKind::unknown);
  EXPECT_EQ(kind(128, 96), PacketKind::rtp);
  EXPECT_EQ(kind(128, 96 | 0x80), PacketKind::rtp);
  EXPECT_EQ(kind(128, 200), PacketKind::rtcp);
  EXPECT_EQ(kind(191, 223), PacketKind::rtcp);
  EXPECT_EQ(kind(192, 200), PacketKind::unknown);
  EXPECT_EQ(classify({}), PacketKind::unknown);
}

TEST_F(TransportTest, ConnectsAndCarriesMediaUnderGcm) {
  connect();
  EXPECT_EQ(transport.profile(), srtp::Profile::aead_aes_128_gcm);
  EXPECT_EQ(transport.path(), peer_path);
  EXPECT_EQ(peer.answered_checks(), 1);
  for (int i = 0; i < 10; ++i) expect_media_both_ways();
  EXPECT_TRUE(strays.empty());
  EXPECT_TRUE(disconnected.empty());
}

class FallbackTransportTest : public TransportTest {
 protected:
  FallbackTransportTest() {
    client_context = context({dtls::SrtpProfile::aes128_cm_sha1_80});
    EXPECT_TRUE(transport.set_remote(peer.own().ufrag, client_context.fingerprint()));
  }
};

TEST_F(FallbackTransportTest, ConnectsAndCarriesMediaUnderTheOtherProfile) {
  connect();
  EXPECT_EQ(transport.profile(), srtp::Profile::aes128_cm_sha1_80);
  for (int i = 0; i < 10; ++i) expect_media_both_ways();
}

// The race of Enable Security's 2024 advisories: whoever finds the port sends a ClientHello of his own before the peer does.
TEST_F(TransportTest, AClientHelloFromAnAddressThatIceDidNotValidateIsDroppedAndDisturbsNothing) {
  const dtls::Context attacker_context = context();
  TransportPeer attacker(attacker_context, ice::Credentials::generate(random));
  attacker.set_remote(transport.local_credentials(), server_context.fingerprint());
  attacker.start_dtls(now);
  const std::vector<Bytes> hello = attacker.poll();
  ASSERT_FALSE(hello.empty());
  const auto attack = [&] {
    for (const NetworkPath& from : {path(66), path(1, 1)}) {
      for (const Bytes& datagram : hello) EXPECT_EQ(give(from, datagram).error(), Error(transport_path_not_validated));
    }
    EXPECT_FALSE(transport.poll_output());
  };
  attack(); // before anything
  ASSERT_TRUE(give(peer_path, peer.check(true)));
  drain();
  attack(); // between ICE and DTLS
  peer.start_dtls(now);
  std::vector<Bytes> first_flight = peer.poll();
  for (const Bytes& datagram : first_flight) ASSERT_TRUE(give(peer_path, datagram));
  drain();
  attack(); // in the handshake
  exchange();
  ASSERT_TRUE(transport.connected());
  attack(); // and after
  expect_media_both_ways();
  EXPECT_TRUE(disconnected.empty());
}

TEST_F(TransportTest, AHandshakeFromTheRightPathWithAnotherCertificateGetsNoKeys) {
  const dtls::Context attacker_context = context();
  TransportPeer attacker(attacker_context, peer.own());
  attacker.set_remote(transport.local_credentials(), server_context.fingerprint());
  ASSERT_TRUE(give(peer_path, attacker.check(true)));
  attacker.start_dtls(now);
  for (int round = 0; round < 10; ++round) {
    while (auto output = transport.poll_output()) {
      if (const auto* send = std::get_if<Transport::Send>(&*output)) attacker.handle(now, send->datagram);
      if (const auto* gone = std::get_if<Transport::Disconnected>(&*output)) disconnected.push_back(gone->reason);
    }
    for (const Bytes& datagram : attacker.poll()) (void)give(peer_path, datagram);
  }
  EXPECT_EQ(disconnected, std::vector<Error>{dtls::dtls_fingerprint_mismatch});
  EXPECT_FALSE(attacker.connected());
  EXPECT_TRUE(transport.closed());
  Bytes out(1500);
  EXPECT_FALSE(transport.protect_rtp(rtp_header, {}, out));
}

TEST_F(TransportTest, AnswersNothingBeforeItKnowsThePeer) {
  Transport fresh(now, server_context, transport.local_credentials());
  Bytes check = peer.check(true);
  EXPECT_FALSE(fresh.handle_packet(now, peer_path, check));
  EXPECT_FALSE(fresh.poll_output());
}

TEST_F(TransportTest, DropsMediaBeforeTheKeysAndFromOtherPaths) {
  Bytes packet = rtp_header;
  packet.resize(100);
  EXPECT_EQ(give(peer_path, packet).error(), Error(transport_path_not_validated));
  ASSERT_TRUE(give(peer_path, peer.check(true)));
  drain();
  EXPECT_EQ(give(peer_path, packet).error(), Error(transport_no_keys));
  connected = 0;
  connect();
  Bytes out(1500);
  const auto up = peer.sender().protect_rtp(rtp_header, Bytes(50), out);
  EXPECT_EQ(give(path(66), *up).error(), Error(transport_path_not_validated));
  EXPECT_EQ(give(peer_path, packet).error(), Error(srtp::srtp_authentication_failed));
  EXPECT_TRUE(give(peer_path, *up));
}

TEST_F(TransportTest, HoldsItsFlightUntilThePeerNominates) {
  ASSERT_TRUE(give(peer_path, peer.check(false)));
  drain();
  peer.start_dtls(now);
  exchange();
  EXPECT_FALSE(transport.connected());
  EXPECT_EQ(sent, 1); // the answer to the check
  ASSERT_TRUE(give(peer_path, peer.check(true)));
  exchange();
  EXPECT_TRUE(transport.connected());
}

TEST_F(TransportTest, FollowsThePeerToAnotherPath) {
  connect();
  now += 5s;
  peer_path = path(2);
  ASSERT_TRUE(give(peer_path, peer.check(true)));
  drain();
  EXPECT_EQ(path_changes, 1);
  EXPECT_EQ(transport.path(), peer_path);
  expect_media_both_ways();
}

TEST_F(TransportTest, StopsSendingWhenConsentEndsAndGoesOnWhenItReturns) {
  connect();
  run_until(TimePoint(29s));
  EXPECT_TRUE(transport.connected());
  run_until(TimePoint(31s));
  EXPECT_EQ(disconnected, std::vector<Error>{transport_consent_expired});
  EXPECT_FALSE(transport.path());
  Bytes out(1500);
  EXPECT_EQ(transport.protect_rtp(rtp_header, {}, out).error(), Error(transport_no_keys));
  ASSERT_TRUE(give(peer_path, peer.check(true)));
  drain();
  EXPECT_EQ(connected, 2);
  expect_media_both_ways();
}

TEST_F(TransportTest, ChecksKeepItConnected) {
  connect();
  for (int i = 0; i < 30; ++i) {
    run_until(now + 5s);
    ASSERT_TRUE(give(peer_path, peer.check(false)));
  }
  EXPECT_TRUE(transport.connected());
  EXPECT_TRUE(disconnected.empty());
  expect_media_both_ways();
}

TEST_F(TransportTest, RestartsIceAndKeepsTheKeys) {
  connect();
  expect_media_both_ways();
  const ice::Credentials next = ice::Credentials::generate(random);
  const ice::Credentials peer_next = ice::Credentials::generate(random);
  ASSERT_TRUE(transport.restart_ice(now, next, peer_next.ufrag));
  expect_media_both_ways(); // the old path goes on
  peer.set_own(peer_next);
  peer.set_remote(next, server_context.fingerprint());
  peer_path = path(3);
  ASSERT_TRUE(give(peer_path, peer.check(true)));
  drain();
  EXPECT_EQ(transport.path(), peer_path);
  expect_media_both_ways();
}

TEST_F(TransportTest, GivesUpWhenThePeerNeverConnects) {
  run_until(TimePoint(40s));
  EXPECT_EQ(disconnected, std::vector<Error>{transport_never_connected});
  EXPECT_TRUE(transport.closed());
  EXPECT_FALSE(transport.next_deadline());
  EXPECT_FALSE(give(peer_path, peer.check(true)));
}

TEST_F(TransportTest, GivesUpWhenTheHandshakeIsNeverAnswered) {
  ASSERT_TRUE(give(peer_path, peer.check(true)));
  drain();
  peer.start_dtls(now);
  cut = true;
  for (int i = 0; i < 8; ++i) {
    run_until(now + 4s);
    (void)give(peer_path, peer.check(true));
  }
  EXPECT_EQ(disconnected.size(), 1u);
  EXPECT_TRUE(transport.closed());
}

TEST_F(TransportTest, SendsNothingMoreToAPeerThatSaysGoodbyeAndDoesNotAnswer) {
  transport.set_remote_password(peer.own().password, random);
  connect();
  run_until(now + 1s);
  peer.close();
  peer.answers_checks = false;
  run_until(now + 4s);
  EXPECT_EQ(disconnected, std::vector<Error>{transport_consent_expired});
  EXPECT_FALSE(transport.path());
}

TEST_F(TransportTest, SaysGoodbyeWhenItIsClosed) {
  connect();
  transport.close();
  exchange();
  EXPECT_TRUE(peer.closed());
  EXPECT_EQ(disconnected, std::vector<Error>{transport_closed});
}

TEST_F(TransportTest, IsNotDisturbedByNoise) {
  connect();
  SeededRandom noise(1);
  for (int i = 0; i < 20'000; ++i) {
    Bytes bytes(noise.u64() % 200);
    noise.fill(bytes);
    (void)give(i % 2 == 0 ? peer_path : path(9), bytes);
    drain();
  }
  EXPECT_TRUE(disconnected.empty());
  EXPECT_TRUE(strays.empty());
  expect_media_both_ways();
}

} // namespace
} // namespace satsuma::sfu
