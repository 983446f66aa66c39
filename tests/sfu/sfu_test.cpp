// Whole shards with the other ends of their connections: session descriptions, ICE, DTLS and SRTP, in virtual time.

#include "sfu/sfu.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>
#include <map>

#include "rtp/packet.h"
#include "rtp/rtcp.h"
#include "rtp/transport_feedback.h"
#include "rtp/vp8.h"
#include "sfu/transport.h"
#include "signaling/sdp.h"
#include "transport_peer.h"

namespace satsuma::sfu {
namespace {

using namespace std::chrono_literals;
using test::TransportPeer;

constexpr UnixSeconds calendar = 1'800'000'000;

dtls::Context make_context() { return std::move(*dtls::Context::create(calendar)); }

IncarnationId id_of(std::uint8_t n) {
  IncarnationId id;
  id.bytes[0] = n;
  return id;
}

/// A client of the shard: two connections, each with its own address.
struct Client {
  Client(std::uint8_t n, RandomSource& random)
      : id(id_of(n)),
        publish_context(make_context()),
        subscribe_context(make_context()),
        publish(publish_context, ice::Credentials::generate(random)),
        subscribe(subscribe_context, ice::Credentials::generate(random)),
        publish_path{TransportAddress::v4({10, 0, 0, n}, 1000), 0},
        subscribe_path{TransportAddress::v4({10, 0, 0, n}, 2000), 0} {}

  std::string publish_offer() const {
    std::string sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n";
    const std::string transport = "a=ice-ufrag:" + publish.own().ufrag + "\r\na=ice-pwd:" + publish.own().password +
                                  "\r\na=fingerprint:sha-256 " + publish_context.fingerprint().text() + "\r\na=setup:actpass\r\n";
    const std::string n = std::to_string(id.bytes[0]);
    sdp += "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" + transport +
           "a=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n"
           "a=ssrc:" + n + "000 cname:x\r\n";
    sdp += "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n" + transport +
           "a=mid:1\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
           "a=ssrc-group:FID " + n + "010 " + n + "011\r\n";
    return sdp;
  }

  /// As a browser answers the offer of the shard.
  std::string subscribe_answer(const std::string& offer) const {
    std::string sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    std::string media;
    std::string group = "a=group:BUNDLE";
    const auto description = signaling::parse_sdp(offer);
    for (const auto& m : description->media) {
      group += " " + m.mid;
      media += m.kind == signaling::MediaKind::audio
                   ? "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n"
                   : "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n";
      media += "a=mid:" + m.mid + "\r\na=recvonly\r\na=rtcp-mux\r\n";
    }
    return sdp + group + "\r\na=ice-ufrag:" + subscribe.own().ufrag + "\r\na=ice-pwd:" + subscribe.own().password +
           "\r\na=fingerprint:sha-256 " + subscribe_context.fingerprint().text() + "\r\na=setup:active\r\n" + media;
  }

  IncarnationId id;
  dtls::Context publish_context, subscribe_context;
  TransportPeer publish, subscribe;
  NetworkPath publish_path, subscribe_path;
  std::vector<Bytes> media; ///< RTP that came over the subscribing connection, decrypted
  std::vector<Bytes> feedback; ///< RTCP over the publishing one
  std::optional<Slots> slots;
  std::optional<SubscribeOffer> offer;
  std::optional<WantedLayers> layers;
  std::vector<Leg> connected, disconnected;
  std::uint16_t sequence = 1;
};

class SfuTest : public ::testing::Test {
 protected:
  SfuTest() : context(make_context()), sfu({{TransportAddress::v4({127, 0, 0, 1}, 5000)}, {}, 0, {}}, context, random) {}

  Client& add(std::uint8_t n) {
    clients.push_back(std::make_unique<Client>(n, random));
    EXPECT_TRUE(sfu.add_participant(now, "room", clients.back()->id));
    return *clients.back();
  }

  static void learn(TransportPeer& peer, const std::string& sdp) {
    const auto description = signaling::parse_sdp(sdp);
    ASSERT_TRUE(description);
    const auto& m = description->media.front();
    peer.set_remote({m.ice_ufrag, m.ice_password}, *dtls::Fingerprint::parse(m.fingerprint));
  }

  void connect_publisher(Client& c) {
    const auto answer = sfu.handle_publish_offer(now, c.id, c.publish_offer());
    ASSERT_TRUE(answer) << answer.error().name();
    learn(c.publish, *answer);
    start(c.publish, c.publish_path);
    ASSERT_TRUE(c.publish.connected());
  }
  void connect_subscriber(Client& c) {
    ASSERT_TRUE(sfu.request_subscribe(now, c.id));
    turn();
    ASSERT_TRUE(c.offer);
    learn(c.subscribe, c.offer->sdp);
    const auto answered = sfu.handle_subscribe_answer(now, c.id, c.offer->revision, c.subscribe_answer(c.offer->sdp));
    ASSERT_TRUE(answered) << answered.error().name();
    start(c.subscribe, c.subscribe_path);
    ASSERT_TRUE(c.subscribe.connected());
  }
  /// `hearer` has what the microphone of `speaker` says.
  void hears(Client& hearer, Client& speaker) {
    connect_publisher(speaker);
    connect_subscriber(hearer);
    for (const Client* c : {&speaker, &hearer}) ASSERT_TRUE(sfu.set_member(now, c->id, true));
    ASSERT_TRUE(sfu.handle_sources(now, speaker.id, {Source::microphone}));
    turn();
  }
  void start(TransportPeer& peer, const NetworkPath& path) {
    give(path, peer.check(true));
    turn();
    peer.start_dtls(now);
    for (int i = 0; i < 20; ++i) turn();
  }

  void give(const NetworkPath& path, Bytes datagram) { sfu.handle_packet(now, path, datagram); }

  /// Exchanges what both sides have to say now, and lets 20 ms pass.
  void turn() {
    for (auto& [peer, datagram] : std::exchange(said, {}))
      for (auto& c : clients) {
        if (peer == &c->publish) give(c->publish_path, datagram);
        if (peer == &c->subscribe) give(c->subscribe_path, datagram);
      }
    for (auto& c : clients) {
      for (Bytes& d : c->publish.poll()) give(c->publish_path, d);
      for (Bytes& d : c->subscribe.poll()) give(c->subscribe_path, d);
    }
    deliver();
    now += 20ms;
    sfu.handle_timeout(now);
    for (auto& c : clients) {
      c->publish.handle_timeout(now);
      c->subscribe.handle_timeout(now);
    }
    deliver();
  }
  void deliver() {
    std::vector<std::pair<NetworkPath, Bytes>> out;
    for (const auto& d : sfu.pending_datagrams()) out.emplace_back(d.path, to_bytes(d.bytes));
    sfu.clear_datagrams();
    for (auto& [path, bytes] : out)
      for (auto& c : clients) {
        if (path == c->publish_path) take(c->publish, bytes, nullptr, &c->feedback);
        if (path == c->subscribe_path && !lost(bytes)) take(c->subscribe, bytes, &c->media, nullptr);
      }
    while (auto output = sfu.poll_output())
      for (auto& c : clients) {
        if (auto* const o = std::get_if<SubscribeOffer>(&*output); o && o->id == c->id) c->offer = *o;
        if (auto* const o = std::get_if<Slots>(&*output); o && o->id == c->id) c->slots = *o;
        if (auto* const o = std::get_if<WantedLayers>(&*output); o && o->id == c->id) c->layers = *o;
        if (auto* const o = std::get_if<Connected>(&*output); o && o->id == c->id) c->connected.push_back(o->which);
        if (auto* const o = std::get_if<Disconnected>(&*output); o && o->id == c->id) c->disconnected.push_back(o->which);
      }
  }
  void take(TransportPeer& peer, Bytes& bytes, std::vector<Bytes>* rtp, std::vector<Bytes>* rtcp) {
    if (bytes[0] < 128) {
      peer.handle(now, bytes);
      // The last flight may have brought the keys for what comes right behind it.
      for (Bytes& d : peer.poll()) said.emplace_back(&peer, std::move(d));
      return;
    }
    if (!peer.connected() && peer.others_use_its_address) return;
    ASSERT_TRUE(peer.connected());
    if (bytes[1] >= 192 && bytes[1] < 224) {
      const auto plain = peer.receiver().unprotect_rtcp(bytes);
      ASSERT_TRUE(plain);
      if (rtcp) rtcp->push_back(to_bytes(*plain));
    } else {
      const auto plain = peer.receiver().unprotect_rtp(bytes);
      if (!plain && plain.error() == Error(srtp::srtp_replayed)) {
        ++repeated;
        return;
      }
      ASSERT_TRUE(plain) << plain.error().name();
      if (rtp) rtp->push_back(to_bytes(*plain));
    }
  }

  bool lost(const Bytes& datagram) {
    return datagram[0] >= 128 && static_cast<double>(weather.u64() % 1000) < 1000 * loss;
  }
  /// Sound for so long; the subscriber says what arrives. Returns what arrived, of each 50 a second.
  double talk(Client& from, Client& to, Duration length) {
    std::size_t sent = 0, came = 0;
    for (const TimePoint end = now + length; now < end; ++sent) {
      const std::size_t seen = to.media.size();
      send_audio(from);
      turn();
      for (std::size_t i = seen; i < to.media.size(); ++i) {
        const auto packet = rtp::parse_packet(to.media[i]);
        const auto value = packet->extension(signaling::slot_transport_cc_extension);
        came += packet->payload_type == signaling::slot_payload_type(signaling::Codec::opus);
        if (value) recorder.on_packet(now, static_cast<std::uint16_t>((*value)[0] << 8 | (*value)[1]));
      }
      if (sent % 250 == 0) { // consent goes on
        give(from.publish_path, from.publish.check(false));
        give(to.subscribe_path, to.subscribe.check(false));
      }
      if (sent % 5 != 0) continue;
      Bytes message(1200), out(1300);
      const auto written = recorder.write(1, 2, message);
      if (!written) continue;
      const auto sealed = to.subscribe.sender().protect_rtcp(*written, out);
      if (sealed) give(to.subscribe_path, to_bytes(*sealed));
    }
    return static_cast<double>(came) / static_cast<double>(sent);
  }

  double loss = 0; ///< of media to subscribers
  SeededRandom weather{7};
  rtp::TransportFeedbackRecorder recorder;
  std::size_t repeated = 0; ///< packets that came a second time

  void send_audio(Client& c, std::uint8_t tag = 1) {
    Bytes header(12);
    ASSERT_TRUE(rtp::write_header({false, 111, c.sequence++, 960U * c.sequence, c.id.bytes[0] * 1000U}, {}, header));
    Bytes out(200);
    const auto sealed = c.publish.sender().protect_rtp(header, Bytes(40, tag), out);
    ASSERT_TRUE(sealed);
    out.resize(sealed->size());
    give(c.publish_path, out);
    deliver();
  }

  SeededRandom random{42};
  TimePoint now{std::chrono::seconds(1000)};
  dtls::Context context;
  Sfu sfu;
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::pair<TransportPeer*, Bytes>> said; ///< by the peers, while they were told something
};

TEST_F(SfuTest, WhatComesInARowGoesToALargeRoomPartByPartAndReachesAllInOrder) {
  constexpr std::size_t listeners = 12, packets = 16, size = 1000;
  for (std::uint8_t n = 1; n <= listeners + 1; ++n) add(n);
  Client& speaker = *clients.front();
  connect_publisher(speaker);
  for (std::size_t i = 1; i < clients.size(); ++i) connect_subscriber(*clients[i]);
  for (const auto& c : clients) ASSERT_TRUE(sfu.set_member(now, c->id, true));
  ASSERT_TRUE(sfu.handle_sources(now, speaker.id, {Source::microphone}));
  turn();

  std::vector<Bytes> sealed(packets, Bytes(size + 50));
  std::vector<IncomingDatagram> row;
  for (std::uint8_t n = 0; n < packets; ++n) {
    Bytes header(12);
    ASSERT_TRUE(rtp::write_header({false, 111, n, 960U * n, 1000}, {}, header));
    row.push_back({*speaker.publish.sender().protect_rtp(header, Bytes(size, n), sealed[n]), now});
  }
  std::size_t parts = 0, most = 0;
  bool more = sfu.handle_packets(now, speaker.publish_path, row);
  for (;; more = sfu.forward_more(now)) {
    std::size_t pending = 0;
    for (const auto& d : sfu.pending_datagrams()) pending += d.bytes.size();
    most = std::max(most, pending);
    deliver();
    ++parts;
    if (!more) break;
  }
  EXPECT_GT(parts, 1u);
  EXPECT_LT(most, listeners * packets * size * 9 / 10);
  for (std::size_t i = 1; i < clients.size(); ++i) {
    ASSERT_EQ(clients[i]->media.size(), packets);
    for (std::uint8_t n = 0; n < packets; ++n) EXPECT_EQ(rtp::parse_packet(clients[i]->media[n])->payload[0], n);
  }
}

TEST_F(SfuTest, WhatBreaksARowDoesNotFillTheArenaWithWhatIsNotSentYet) {
  Limits limits;
  limits.send_arena_bytes = 384 << 10; // one chunk of the arena
  sfu = Sfu({{TransportAddress::v4({127, 0, 0, 1}, 5000)}, {}, 0, limits}, context, random);
  constexpr std::size_t listeners = 14, rounds = 5, size = 1100;
  for (std::uint8_t n = 1; n <= listeners + 1; ++n) add(n);
  Client& speaker = *clients.front();
  connect_publisher(speaker);
  for (std::size_t i = 1; i < clients.size(); ++i) connect_subscriber(*clients[i]);
  for (const auto& c : clients) ASSERT_TRUE(sfu.set_member(now, c->id, true));
  ASSERT_TRUE(sfu.handle_sources(now, speaker.id, {Source::microphone, Source::camera}));
  turn();

  // Sound, pictures of which some begin a key frame, a report, and what somebody made up, in one go.
  std::vector<Bytes> sealed;
  std::vector<IncomingDatagram> row;
  std::uint8_t tag = 0;
  const auto rtp = [&](std::uint8_t type, std::uint32_t ssrc, std::uint16_t sequence, Bytes payload) {
    Bytes header(12);
    ASSERT_TRUE(rtp::write_header({true, type, sequence, 3000U * sequence, ssrc}, {}, header));
    payload.resize(size, tag++);
    Bytes& out = sealed.emplace_back(size + 50);
    const auto made = speaker.publish.sender().protect_rtp(header, payload, out);
    ASSERT_TRUE(made);
    out.resize(made->size());
  };
  for (std::uint8_t i = 0; i < rounds; ++i) {
    rtp(111, 1000, i, {1});
    rtp(111, 1000, static_cast<std::uint16_t>(i + rounds), {1});
    rtp(96, 1010, static_cast<std::uint16_t>(2 * i), {0x90, 0x80, 0x80, i, static_cast<std::uint8_t>(i % 2)}); // VP8, the first of each two a key frame
    rtp(96, 1010, static_cast<std::uint16_t>(2 * i + 1), {0x80, 0x80, 0x80, i, 1});
    sealed.push_back(sealed.back());
    sealed.back().back() ^= 1; // no longer authentic
    Bytes report(12), out(100);
    SpanWriter writer(report);
    rtp::write_pli(1, 2, writer);
    sealed.push_back(to_bytes(*speaker.publish.sender().protect_rtcp(report, out)));
  }
  for (Bytes& datagram : sealed) row.push_back({datagram, now});
  std::size_t most = 0;
  bool more = sfu.handle_packets(now, speaker.publish_path, row);
  for (;; more = sfu.forward_more(now)) {
    std::size_t pending = 0;
    for (const auto& d : sfu.pending_datagrams()) pending += d.bytes.size();
    most = std::max(most, pending);
    deliver();
    if (!more) break;
  }
  EXPECT_EQ(sfu.counters().dropped_arena_full, 0u);
  EXPECT_EQ(sfu.counters().dropped_invalid, rounds);
  EXPECT_LT(most, 200u << 10);
  EXPECT_GT(listeners * 4 * rounds * size, 256u << 10) << "all of it would not have fitted";
  for (std::size_t i = 1; i < clients.size(); ++i) {
    ASSERT_EQ(clients[i]->media.size(), 4 * rounds);
    int tags = -1; // what was sent first is first
    for (const Bytes& bytes : clients[i]->media) {
      const auto packet = rtp::parse_packet(bytes);
      EXPECT_GT(int{packet->payload.back()}, tags);
      tags = packet->payload.back();
    }
  }
  EXPECT_EQ(repeated, 0u);
}

TEST_F(SfuTest, TwoMembersHearEachOtherThroughRealConnections) {
  Client& a = add(1);
  Client& b = add(2);
  for (Client* c : {&a, &b}) {
    connect_publisher(*c);
    connect_subscriber(*c);
    ASSERT_TRUE(sfu.set_member(now, c->id, true));
    ASSERT_TRUE(sfu.handle_sources(now, c->id, {Source::microphone}));
  }
  turn();
  EXPECT_EQ(a.connected, (std::vector<Leg>{Leg::publish, Leg::subscribe}));
  ASSERT_TRUE(b.slots);
  EXPECT_EQ(b.slots->slots, (std::vector<SlotUse>{{"a0", a.id, Source::microphone}}));
  send_audio(a, 0x41);
  ASSERT_EQ(b.media.size(), 1u);
  EXPECT_TRUE(a.media.empty());
  EXPECT_EQ(to_bytes(rtp::parse_packet(b.media[0])->payload), Bytes(40, 0x41));
  send_audio(b, 0x42);
  ASSERT_EQ(a.media.size(), 1u);
}

TEST_F(SfuTest, AParticipantThatIsNotAMemberGetsNothing) {
  Client& a = add(1);
  Client& b = add(2);
  connect_publisher(a);
  connect_subscriber(b);
  ASSERT_TRUE(sfu.set_member(now, a.id, true));
  ASSERT_TRUE(sfu.handle_sources(now, a.id, {Source::microphone}));
  turn();
  send_audio(a);
  EXPECT_TRUE(b.media.empty());
  ASSERT_TRUE(b.slots); // told, and empty
  EXPECT_TRUE(b.slots->slots.empty());
  ASSERT_TRUE(sfu.set_member(now, b.id, true));
  send_audio(a);
  EXPECT_EQ(b.media.size(), 1u);
  ASSERT_TRUE(sfu.remove_participant(now, a.id));
  deliver();
  EXPECT_TRUE(b.slots->slots.empty());
}

TEST_F(SfuTest, WhenTheConnectionThatIsThePathEndsNothingGoesThereAndAnotherOneTakesItsPlace) {
  Client& a = add(1);
  Client& b = add(2);
  connect_publisher(a);
  b.subscribe_path.socket = 1U << 31; // TCP: a path of its own for each connection
  connect_subscriber(b);
  for (Client* c : {&a, &b}) ASSERT_TRUE(sfu.set_member(now, c->id, true));
  ASSERT_TRUE(sfu.handle_sources(now, a.id, {Source::microphone}));
  turn();
  send_audio(a);
  ASSERT_EQ(b.media.size(), 1u);
  ASSERT_TRUE(sfu.knows_path(b.subscribe_path));

  const NetworkPath old = b.subscribe_path;
  sfu.handle_path_closed(now, old);
  deliver();
  EXPECT_FALSE(sfu.knows_path(old));
  EXPECT_EQ(b.disconnected, std::vector<Leg>{Leg::subscribe});
  send_audio(a);
  EXPECT_EQ(b.media.size(), 1u);

  b.subscribe_path.socket += 1;
  give(b.subscribe_path, b.subscribe.check(true));
  for (int i = 0; i < 5; ++i) turn(); // it is checked, and then media moves
  send_audio(a);
  EXPECT_EQ(b.media.size(), 2u);
  sfu.handle_path_closed(now, old); // known no more, and no harm
  send_audio(a);
  EXPECT_EQ(b.media.size(), 3u);
}

TEST_F(SfuTest, ACheckOverTcpThatOvertakesTheAnswerIsNotLost) {
  Client& b = add(2);
  b.subscribe_path.socket = NetworkPath::first_stream;
  ASSERT_TRUE(sfu.request_subscribe(now, b.id));
  turn();
  ASSERT_TRUE(b.offer);
  learn(b.subscribe, b.offer->sdp);
  give(b.subscribe_path, b.subscribe.check(true)); // once: nothing repeats it
  TransportPeer stranger(b.subscribe_context, b.subscribe.own());
  stranger.set_remote({signaling::parse_sdp(b.offer->sdp)->media.front().ice_ufrag, "apasswordthatiswrong00"}, b.subscribe_context.fingerprint());
  const NetworkPath elsewhere{TransportAddress::v4({10, 0, 0, 9}, 9), NetworkPath::first_stream + 1};
  give(elsewhere, stranger.check(true));
  EXPECT_FALSE(sfu.knows_path(b.subscribe_path));
  ASSERT_TRUE(sfu.handle_subscribe_answer(now, b.id, b.offer->revision, b.subscribe_answer(b.offer->sdp)));
  EXPECT_TRUE(sfu.knows_path(b.subscribe_path));
  EXPECT_FALSE(sfu.knows_path(elsewhere));
  turn();
  b.subscribe.start_dtls(now);
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_TRUE(b.subscribe.connected());
}

TEST_F(SfuTest, APeerWhosePortChangesIsHeardAtOnceAndReachedOnceItHasAnswered) {
  Client& a = add(1);
  Client& b = add(2);
  hears(b, a);
  send_audio(a);
  ASSERT_EQ(b.media.size(), 1u);

  a.publish_path.remote.port = 1001;
  send_audio(a); // no check has come from there
  EXPECT_EQ(b.media.size(), 2u);
  EXPECT_TRUE(sfu.knows_path(a.publish_path));

  // What does not authenticate, a replay, and another host say nothing, and nothing is sent there.
  const auto sealed_report = [&] {
    Bytes out(100);
    const auto sealed = b.subscribe.sender().protect_rtcp(Bytes{0x80, 201, 0, 1, 0, 0, 0, 1}, out);
    out.resize(sealed->size());
    return out;
  };
  Bytes report = sealed_report(), forged = report;
  forged.back() ^= 1;
  NetworkPath strange = b.subscribe_path;
  strange.remote.port = 3000;
  give(strange, forged);
  EXPECT_FALSE(sfu.knows_path(strange));
  give(b.subscribe_path, report);
  give(strange, report);
  EXPECT_FALSE(sfu.knows_path(strange));
  strange.remote.ip[15] ^= 1;
  give(strange, sealed_report());
  EXPECT_FALSE(sfu.knows_path(strange));
  EXPECT_TRUE(std::ranges::none_of(sfu.pending_datagrams(), [&](const auto& d) { return d.path.remote.port == 3000; }));

  const int checks = b.subscribe.checks_received();
  b.subscribe_path.remote.port = 2001;
  give(b.subscribe_path, sealed_report());
  send_audio(a);
  EXPECT_EQ(b.media.size(), 2u); // it has not answered yet
  for (int i = 0; i < 3; ++i) turn();
  EXPECT_GT(b.subscribe.checks_received(), checks);
  send_audio(a);
  EXPECT_EQ(b.media.size(), 3u);
}

TEST_F(SfuTest, OnAPathThatLosesAThirdSoundIsSentSeveralTimesAndLittleOfItIsMissing) {
  Client& a = add(1);
  Client& b = add(2);
  hears(b, a);
  EXPECT_EQ(talk(a, b, 5s), 1);
  EXPECT_EQ(sfu.counters().sound_repeated, 0u); // nothing is lost, so nothing costs more

  loss = 0.3;
  (void)talk(a, b, 3s); // it is noticed
  EXPECT_GT(talk(a, b, 30s), 0.95);
  EXPECT_GT(sfu.counters().sound_repeated, 2 * 1400u);
  EXPECT_GT(repeated, 1000u); // the same bytes: SRTP takes them for what they are

  loss = 0;
  (void)talk(a, b, 12s);
  const std::uint64_t until_now = sfu.counters().sound_repeated;
  EXPECT_EQ(talk(a, b, 5s), 1);
  EXPECT_EQ(sfu.counters().sound_repeated, until_now);
}

TEST_F(SfuTest, AFirstCheckSaysWhichShardItIsFor) {
  Sfu third({{TransportAddress::v4({127, 0, 0, 1}, 5002)}, {TransportAddress::v4({127, 0, 0, 1}, 443)}, 2, {}}, context, random);
  ASSERT_TRUE(third.add_participant(now, "room", id_of(7)));
  const Client client(7, random);
  const auto answer = third.handle_publish_offer(now, id_of(7), client.publish_offer());
  ASSERT_TRUE(answer);
  EXPECT_EQ(ice::part_of(signaling::parse_sdp(*answer)->media.front().ice_ufrag), 2u);
  EXPECT_NE(answer->find(" 443 typ host tcptype passive"), std::string::npos);
  EXPECT_FALSE(ice::part_of("-"));
}

TEST_F(SfuTest, AnIceRestartKeepsTheKeysAndMovesToTheNewPath) {
  Client& a = add(1);
  Client& b = add(2);
  hears(b, a);
  send_audio(a);
  ASSERT_EQ(b.media.size(), 1u);

  a.publish.set_own(ice::Credentials::generate(random));
  const auto answer = sfu.handle_publish_offer(now, a.id, a.publish_offer());
  ASSERT_TRUE(answer);
  learn(a.publish, *answer);
  a.publish_path.remote = TransportAddress::v4({10, 9, 9, 9}, 999);
  give(a.publish_path, a.publish.check(true));
  turn();
  send_audio(a);
  EXPECT_EQ(b.media.size(), 2u);
  EXPECT_EQ(a.connected.size(), 1u); // nothing new for the client to hear
}

TEST_F(SfuTest, AMemberThatGivesAVictimsAddressAsItsOwnGetsNoMediaSentThere) {
  Client& a = add(1);
  Client& b = add(2);
  hears(b, a);
  const NetworkPath victim{TransportAddress::v4({10, 66, 6, 6}, 53), 0};
  std::size_t to_victim = 0, bytes_to_victim = 0, bytes_spoofed = 0, to_member = 0;
  for (int i = 0; i < 100; ++i) { // two seconds of spoofed nominations while sound flows
    Bytes check = b.subscribe.check(true, 0x7fffffff);
    bytes_spoofed += check.size();
    give(victim, check);
    Bytes header(12);
    ASSERT_TRUE(rtp::write_header({false, 111, a.sequence++, 960U * a.sequence, 1000U}, {}, header));
    Bytes out(200);
    const auto sealed = a.publish.sender().protect_rtp(header, Bytes(40, 1), out);
    out.resize(sealed->size());
    give(a.publish_path, out);
    for (const auto& d : sfu.pending_datagrams()) {
      if (d.path == victim) {
        EXPECT_LT(d.bytes[0], 4) << "STUN only";
        ++to_victim;
        bytes_to_victim += d.bytes.size();
      }
      if (d.path == b.subscribe_path && d.bytes[0] >= 128) ++to_member;
    }
    sfu.clear_datagrams();
    now += 20ms;
    sfu.handle_timeout(now);
  }
  EXPECT_GT(to_victim, 0u);
  EXPECT_LE(bytes_to_victim, bytes_spoofed * 5 / 4);
  EXPECT_GE(to_member, 99u); // it goes where it went
}

TEST_F(SfuTest, PacketsFromElsewhereAreDropped) {
  Client& a = add(1);
  connect_publisher(a);
  ASSERT_TRUE(sfu.set_member(now, a.id, true));
  const auto before = sfu.counters().dropped_unknown_address;
  const NetworkPath elsewhere{TransportAddress::v4({10, 7, 7, 7}, 7), 0};
  give(elsewhere, Bytes(100, 0x80));
  give(elsewhere, Bytes(100, 22));
  give(elsewhere, Bytes(100, 0));
  give(elsewhere, Bytes(1, 0));
  EXPECT_EQ(sfu.counters().dropped_unknown_address, before + 4);
  give(a.publish_path, Bytes(100, 0x80));
  EXPECT_GE(sfu.counters().dropped_invalid, 1u);
  EXPECT_TRUE(sfu.pending_datagrams().empty());
}

TEST_F(SfuTest, AnswersAreTakenForTheLatestOfferOnly) {
  Client& a = add(1);
  ASSERT_TRUE(sfu.request_subscribe(now, a.id));
  turn();
  const SubscribeOffer first = *a.offer;
  ASSERT_TRUE(sfu.request_subscribe(now, a.id));
  turn();
  EXPECT_GT(a.offer->revision, first.revision);
  EXPECT_EQ(sfu.handle_subscribe_answer(now, a.id, first.revision, a.subscribe_answer(first.sdp)).error(), Error(sfu_unknown_revision));
  EXPECT_TRUE(sfu.handle_subscribe_answer(now, a.id, a.offer->revision, a.subscribe_answer(a.offer->sdp)));
  EXPECT_EQ(sfu.handle_subscribe_answer(now, a.id, a.offer->revision, a.subscribe_answer(a.offer->sdp)).error(), Error(sfu_unknown_revision));
}

TEST_F(SfuTest, ASecondSubscribingConnectionReplacesTheFirst) {
  Client& a = add(1);
  Client& b = add(2);
  connect_publisher(a);
  connect_subscriber(b);
  for (Client* c : {&a, &b}) ASSERT_TRUE(sfu.set_member(now, c->id, true));
  ASSERT_TRUE(sfu.handle_sources(now, a.id, {Source::microphone}));
  send_audio(a);
  ASSERT_EQ(b.media.size(), 1u);
  const auto before = rtp::parse_packet(b.media[0])->sequence;
  // Another certificate, other credentials, another port: a new RTCPeerConnection.
  Client again(2, random);
  b.subscribe_path.remote.port = 2001;
  b.subscribe_context = std::move(again.subscribe_context);
  std::destroy_at(&b.subscribe);
  std::construct_at(&b.subscribe, b.subscribe_context, ice::Credentials::generate(random));
  connect_subscriber(b);
  send_audio(a);
  ASSERT_EQ(b.media.size(), 2u);
  EXPECT_EQ(rtp::parse_packet(b.media[1])->sequence, static_cast<std::uint16_t>(before + 1));
}

TEST_F(SfuTest, ThePoolGrowsByANewOfferOverTheSameConnection) {
  Client& viewer = add(1);
  connect_subscriber(viewer);
  ASSERT_TRUE(sfu.set_member(now, viewer.id, true));
  for (std::uint8_t n = 2; n <= 9; ++n) {
    Client& c = add(n);
    ASSERT_TRUE(sfu.handle_publish_offer(now, c.id, c.publish_offer()));
    ASSERT_TRUE(sfu.set_member(now, c.id, true));
    ASSERT_TRUE(sfu.handle_sources(now, c.id, {Source::microphone}));
  }
  deliver();
  EXPECT_EQ(viewer.slots->slots.size(), 6u);
  EXPECT_EQ(viewer.offer->revision, 2u);
  EXPECT_EQ(signaling::parse_sdp(viewer.offer->sdp)->media.size(), 20u);
  ASSERT_TRUE(sfu.handle_subscribe_answer(now, viewer.id, 2, viewer.subscribe_answer(viewer.offer->sdp)));
  deliver();
  EXPECT_EQ(viewer.slots->slots.size(), 8u);
  EXPECT_EQ(viewer.connected.size(), 1u);
  EXPECT_TRUE(viewer.disconnected.empty());
}

TEST_F(SfuTest, BadDescriptionsAndUnknownParticipantsChangeNothing) {
  Client& a = add(1);
  EXPECT_EQ(sfu.handle_publish_offer(now, id_of(77), a.publish_offer()).error(), Error(sfu_unknown_participant));
  EXPECT_FALSE(sfu.handle_publish_offer(now, a.id, "v=0\r\n"));
  EXPECT_FALSE(sfu.handle_publish_offer(now, a.id, "hello"));
  connect_publisher(a);
  EXPECT_FALSE(sfu.handle_publish_offer(now, a.id, a.publish_offer().substr(0, 300)));
  EXPECT_EQ(sfu.handle_key_frame_request(now, a.id, "v0").error(), Error(sfu_unknown_slot));
  EXPECT_EQ(sfu.handle_subscribe_answer(now, a.id, 1, "").error(), Error(sfu_unknown_revision));
  turn();
  EXPECT_TRUE(a.disconnected.empty());
}

TEST_F(SfuTest, WhoeverGoesSilentIsDisconnected) {
  Client& a = add(1);
  connect_publisher(a);
  for (int i = 0; i < 40; ++i) {
    now += 1s;
    sfu.handle_timeout(now);
  }
  deliver();
  EXPECT_EQ(a.disconnected, std::vector<Leg>{Leg::publish});
  EXPECT_TRUE(sfu.next_deadline());
  ASSERT_TRUE(sfu.remove_participant(now, a.id));
  sfu.handle_timeout(now);
  EXPECT_FALSE(sfu.next_deadline());
}

TEST_F(SfuTest, APublisherWithSimulcastIsToldWhichStreamsNobodyWatches) {
  Client& a = add(1);
  std::string offer = a.publish_offer();
  offer += "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:5 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n"
           "a=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\n";
  offer.replace(offer.find("a=ssrc-group"), offer.find("\r\n", offer.find("a=ssrc-group")) + 2 - offer.find("a=ssrc-group"), "");
  const auto answer = sfu.handle_publish_offer(now, a.id, offer);
  ASSERT_TRUE(answer) << answer.error().name();
  learn(a.publish, *answer);
  start(a.publish, a.publish_path);
  ASSERT_TRUE(a.publish.connected());
  ASSERT_TRUE(sfu.set_member(now, a.id, true));
  ASSERT_TRUE(sfu.handle_sources(now, a.id, {Source::camera}));
  for (std::uint16_t n = 0; n < 400; ++n) {
    for (const char* rid : {"q", "f"}) {
      Bytes header(64);
      const rtp::HeaderExtension extensions[2] = {{4, as_bytes("1")}, {5, as_bytes(rid)}};
      const auto written = rtp::write_header({true, 96, n, 3000U * n, rid[0] == 'q' ? 501U : 502U}, extensions, header);
      Bytes out(200);
      const auto sealed = a.publish.sender().protect_rtp(*written, Bytes{0x90, 0x80, 0x80, 1, 1, 2, 3}, out);
      ASSERT_TRUE(sealed);
      out.resize(sealed->size());
      give(a.publish_path, out);
    }
    turn();
  }
  ASSERT_TRUE(a.layers);
  EXPECT_EQ(a.layers->source, Source::camera);
  EXPECT_EQ(a.layers->active, (std::vector<bool>{true, false}));
}

// ---- hardening: docs/hardening.md says which point each is

TEST_F(SfuTest, AFloodFromOtherAddressesDoesNotKeepAPeerWhosePortChangesFromBeingHeard) {
  Client& a = add(1);
  Client& b = add(2);
  hears(b, a);
  for (std::uint16_t port = 1; port <= 2000; ++port) give({TransportAddress::v4({10, 7, 7, 7}, port), 0}, Bytes(100, 0x80));
  a.publish_path.remote.port = 1001;
  send_audio(a);
  EXPECT_EQ(b.media.size(), 1u);
  // Made up in this peer's own name the flood costs its looks, and its next check is in time.
  for (std::uint16_t port = 2001; port <= 4000; ++port) give({TransportAddress::v4({10, 0, 0, 1}, port), 0}, Bytes(100, 0x80));
  a.publish_path.remote.port = 1002;
  send_audio(a);
  EXPECT_EQ(b.media.size(), 1u);
  give(a.publish_path, a.publish.check(true));
  send_audio(a);
  EXPECT_EQ(b.media.size(), 2u);
}

TEST_F(SfuTest, TwoAddressesOfOneHashAreTwoAddresses) {
  // FNV-1a gives both the same 64 bits.
  std::array<std::uint8_t, 16> known{0x1a, 0x04, 0xc0, 0x21, 0x6e, 0x07, 0x1b, 0x0b, 0x5d, 0x7d, 0x61, 0x3a, 0x5b, 0x5e};
  std::array<std::uint8_t, 16> strange{0x19, 0x0f, 0x40, 0x3e, 0xd4, 0x03, 0x64, 0x74, 0xcb, 0x36, 0x1a, 0x57, 0x2e, 0x51};
  Client& a = add(1);
  Client& b = add(2);
  a.publish_path.remote = TransportAddress::v6(known, 1000);
  NetworkPath stranger = a.publish_path;
  stranger.remote = TransportAddress::v6(strange, 1000);
  ASSERT_EQ(std::hash<NetworkPath>()(a.publish_path), std::hash<NetworkPath>()(stranger));
  hears(b, a);
  EXPECT_TRUE(sfu.knows_path(a.publish_path));
  EXPECT_FALSE(sfu.knows_path(stranger));
  const auto before = sfu.counters().dropped_unknown_address;
  Bytes header(12), out(200);
  ASSERT_TRUE(rtp::write_header({false, 111, 50, 960, 1000}, {}, header));
  const auto sealed = a.publish.sender().protect_rtp(header, Bytes(40, 1), out);
  give(stranger, to_bytes(*sealed));
  EXPECT_EQ(sfu.counters().dropped_unknown_address, before + 1);
  EXPECT_TRUE(b.media.empty());
}

TEST_F(SfuTest, AMemberThatGivesAnothersPathAsItsOwnDoesNotTakeItAndOneThatCameThereAfterItDoes) {
  Client& a = add(1);
  Client& b = add(2);
  Client& m = add(3);
  hears(b, a);
  const auto answer = sfu.handle_publish_offer(now, m.id, m.publish_offer());
  ASSERT_TRUE(answer);
  learn(m.publish, *answer);
  a.publish.others_use_its_address = true;
  for (int i = 0; i < 200; ++i) { // four seconds of m's checks in the name of a's address
    give(a.publish_path, m.publish.check(true));
    const std::size_t heard = b.media.size();
    send_audio(a);
    ASSERT_EQ(b.media.size(), heard + 1);
    turn();
  }
  EXPECT_TRUE(a.disconnected.empty());

  // The first owner is gone, and an address translator has given its port to m.
  a.publish.answers_checks = false;
  m.publish_path = a.publish_path;
  m.publish.others_use_its_address = true;
  a.publish_path.remote.port = 9;
  for (int i = 0; i < 300; ++i) {
    if (i % 5 == 0) give(m.publish_path, m.publish.check(true));
    turn();
  }
  m.publish.start_dtls(now);
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_TRUE(m.publish.connected());
  EXPECT_EQ(a.disconnected, std::vector<Leg>{Leg::publish});
}

TEST_F(SfuTest, AMemberCannotMoveItsPathToAVictimInTheMiddleOfTheHandshake) {
  Client& a = add(1);
  Client& b = add(2);
  connect_publisher(a);
  ASSERT_TRUE(sfu.request_subscribe(now, b.id));
  turn();
  learn(b.subscribe, b.offer->sdp);
  ASSERT_TRUE(sfu.handle_subscribe_answer(now, b.id, b.offer->revision, b.subscribe_answer(b.offer->sdp)));
  give(b.subscribe_path, b.subscribe.check(true));
  turn();
  b.subscribe.start_dtls(now);
  for (const Bytes& d : b.subscribe.poll()) give(b.subscribe_path, d);
  deliver(); // the server's flight is with b, whose answer waits in `said`
  const NetworkPath victim{TransportAddress::v4({10, 66, 6, 6}, 53), 0};
  give(victim, b.subscribe.check(true, 0x7fffffff));
  for (const Client* c : {&a, &b}) ASSERT_TRUE(sfu.set_member(now, c->id, true));
  ASSERT_TRUE(sfu.handle_sources(now, a.id, {Source::microphone}));
  for (int i = 0; i < 20; ++i) turn();
  ASSERT_TRUE(b.subscribe.connected());
  send_audio(a);
  EXPECT_EQ(b.media.size(), 1u);
}

TEST_F(SfuTest, AHandshakeThatNobodyAnswersSendsAVictimNoMoreThanItsAllowanceAndThreeTimesWhatCame) {
  Client& a = add(1);
  const auto answer = sfu.handle_publish_offer(now, a.id, a.publish_offer());
  ASSERT_TRUE(answer);
  learn(a.publish, *answer);
  const NetworkPath victim{TransportAddress::v4({10, 66, 6, 6}, 53), 0};
  std::size_t spoofed = 0, sent = 0, datagrams = 0;
  const auto give_spoofed = [&](const Bytes& d) {
    spoofed += d.size();
    give(victim, d);
  };
  give_spoofed(a.publish.check(true));
  a.publish.start_dtls(now);
  for (const Bytes& d : a.publish.poll()) give_spoofed(d);
  for (int i = 0; i < 40 * 50; ++i) { // until the handshake has been given up
    for (const auto& d : sfu.pending_datagrams()) {
      EXPECT_EQ(d.path, victim);
      sent += d.bytes.size();
      ++datagrams;
    }
    sfu.clear_datagrams();
    now += 20ms;
    sfu.handle_timeout(now);
  }
  EXPECT_GT(datagrams, 2u);
  EXPECT_LE(sent, handshake_allowance + (handshake_amplification + 1) * spoofed);
}

TEST_F(SfuTest, StunToAnAddressWhereNobodyHasShownItselfHasARateAndOthersKeepTheirs) {
  Client& a = add(1);
  Client& b = add(2);
  hears(b, a);
  const auto answer = sfu.handle_publish_offer(now, b.id, b.publish_offer());
  ASSERT_TRUE(answer);
  learn(b.publish, *answer);
  const auto answers_to = [&](const NetworkPath& path, TransportPeer& peer, int checks) {
    std::size_t count = 0;
    for (int i = 0; i < checks; ++i) {
      give(path, peer.check(false));
      for (const auto& d : sfu.pending_datagrams()) count += d.path == path;
      sfu.clear_datagrams();
    }
    return count;
  };
  NetworkPath victim{TransportAddress::v4({10, 66, 6, 6}, 53), 0};
  EXPECT_EQ(answers_to(victim, b.publish, 5000), 4000u);
  EXPECT_EQ(sfu.counters().dropped_stun_answers, 1000u);
  victim.remote.port = 54;
  EXPECT_EQ(answers_to(victim, b.publish, 10), 0u) << "it is for the address, not the port";
  now += 1s;
  EXPECT_EQ(answers_to(victim, b.publish, 2000), 1000u);
  EXPECT_EQ(answers_to({TransportAddress::v4({10, 8, 8, 8}, 53), 0}, b.publish, 100), 100u);
  EXPECT_EQ(answers_to(a.publish_path, a.publish, 5000), 5000u) << "where the handshake has shown somebody there is no rate";
}

TEST_F(SfuTest, AParticipantHasSoManyHandshakesAndThenOneEveryTwoSeconds) {
  Client& a = add(1);
  connect_publisher(a);
  const auto offer_with_new_certificate = [&] {
    a.publish_context = make_context();
    return sfu.handle_publish_offer(now, a.id, a.publish_offer());
  };
  for (int i = 1; i < 16; ++i) ASSERT_TRUE(offer_with_new_certificate()) << i;
  const std::string last = a.publish_offer();
  EXPECT_EQ(offer_with_new_certificate().error(), Error(sfu_too_many_handshakes));
  EXPECT_TRUE(sfu.handle_publish_offer(now, a.id, last)) << "no new handshake, and the connection is as it was";
  now += 2s;
  EXPECT_TRUE(offer_with_new_certificate());
  EXPECT_EQ(offer_with_new_certificate().error(), Error(sfu_too_many_handshakes));
}

TEST_F(SfuTest, ASubscriberThatSaysGoodbyeLongAfterTheHandshakeIsNotSentTo) {
  Client& a = add(1);
  Client& b = add(2);
  hears(b, a);
  const auto pass = [&](int turns) {
    for (int i = 0; i < turns; ++i) {
      if (i % 100 == 0) {
        give(a.publish_path, a.publish.check(false));
        if (b.subscribe.answers_checks) give(b.subscribe_path, b.subscribe.check(false));
      }
      turn();
    }
  };
  pass(600); // the server has forgotten all but the keys
  // Anybody can make an alert; who is there stays.
  Bytes forged(39, 0);
  forged[0] = 21, forged[1] = 0xfe, forged[2] = 0xfd, forged[4] = 1, forged[12] = 26;
  const int checks = b.subscribe.checks_received();
  give(b.subscribe_path, forged);
  pass(150);
  EXPECT_EQ(b.subscribe.checks_received(), checks + 1);
  EXPECT_TRUE(b.disconnected.empty());
  pass(200);
  b.subscribe.close();
  b.subscribe.answers_checks = false;
  pass(150); // three seconds
  EXPECT_EQ(b.disconnected, std::vector<Leg>{Leg::subscribe});
  const auto to_b = [&] {
    Bytes header(12), out(200);
    EXPECT_TRUE(rtp::write_header({false, 111, a.sequence++, 960, 1000}, {}, header));
    give(a.publish_path, to_bytes(*a.publish.sender().protect_rtp(header, Bytes(40, 1), out)));
    return std::ranges::count_if(sfu.pending_datagrams(), [&](const auto& d) { return d.path == b.subscribe_path; });
  };
  EXPECT_EQ(to_b(), 0);
}

// Through the shard only; what the kernel does for a datagram comes on top (docs/hardening.md).
TEST_F(SfuTest, ASecondOfAHundredThousandPacketsOfStrangersOfEachKindLeavesTheCallAlive) {
  Client& a = add(1);
  Client& b = add(2);
  hears(b, a);
  TransportPeer stranger(b.subscribe_context, ice::Credentials::generate(random));
  stranger.set_remote(ice::Credentials::generate(random), b.subscribe_context.fingerprint());
  stranger.start_dtls(now);
  const Bytes strange_check = stranger.check(true), hello = stranger.poll().at(0);
  // Whoever has seen a check knows the fragments, and not the password.
  TransportPeer onlooker(b.subscribe_context, a.publish.own());
  onlooker.set_remote({a.publish.remote().ufrag, "apasswordthatiswrong00"}, b.subscribe_context.fingerprint());
  const Bytes known = onlooker.check(true);
  Bytes rtp(1200, 7);
  rtp[0] = 0x80, rtp[1] = 96;
  const std::vector<std::pair<const char*, Bytes>> kinds{{"STUN", strange_check}, {"STUN for a known fragment", known}, {"DTLS", hello}, {"RTP", rtp}};
  for (const auto& [name, packet] : kinds) {
    const auto began = std::clock();
    std::size_t spoken = 0;
    const std::size_t heard = b.media.size();
    const auto dropped = sfu.counters().dropped_unknown_address + sfu.counters().dropped_invalid;
    Bytes copy;
    for (std::uint32_t n = 0; n < 100'000; ++n) {
      copy = packet;
      const auto from = static_cast<std::uint8_t>(n >> 16);
      sfu.handle_packet(now, {TransportAddress::v4({100, from, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)}, 5000), 0}, copy);
      if (n % 2000 != 0) continue; // 50 packets of sound in the same second
      EXPECT_TRUE(sfu.pending_datagrams().empty());
      send_audio(a);
      ++spoken;
      turn();
    }
    EXPECT_EQ(b.media.size(), heard + spoken);
    EXPECT_GE(sfu.counters().dropped_unknown_address + sfu.counters().dropped_invalid, dropped + 100'000);
    const double seconds = static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
    std::printf("100,000 %s packets of strangers: %.0f ms, %.2f us each, the call beside them included\n", name, seconds * 1000, seconds * 10);
  }
  EXPECT_TRUE(a.disconnected.empty());
  EXPECT_TRUE(b.disconnected.empty());
}

} // namespace
} // namespace satsuma::sfu
