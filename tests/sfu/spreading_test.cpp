// A room in two shards: what one hands to the other is carried by hand, and lost by hand, in virtual time and without encryption.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <set>

#include "../base/seeded_random.h"
#include "layered_av1.h"
#include "rtp/packet.h"
#include "rtp/rtcp.h"
#include "rtp/vp8.h"
#include "sfu/media_graph.h"

namespace satsuma::sfu {
namespace {

using namespace std::chrono_literals;

constexpr std::uint8_t rid_id = 5;
constexpr std::uint8_t level_id = 9;

IncarnationId id_of(std::uint8_t n) {
  IncarnationId id;
  id.bytes[0] = n;
  return id;
}

signaling::PublishOffer offer_of(std::uint8_t n, bool simulcast) {
  signaling::PublishOffer offer;
  signaling::PublishedMedia sound;
  sound.kind = signaling::MediaKind::audio;
  sound.source = Source::microphone;
  sound.mid = "0";
  sound.codecs = {{signaling::Codec::opus, 111, std::nullopt, true}};
  sound.ssrc = n * 1000U;
  sound.audio_level_extension = level_id;
  signaling::PublishedMedia picture;
  picture.kind = signaling::MediaKind::video;
  picture.source = Source::camera;
  picture.mid = "1";
  picture.codecs = {{signaling::Codec::vp8, 96, 97, true}};
  if (simulcast) {
    picture.rids = {"q", "h", "f"};
    picture.rid_extension = rid_id;
  } else {
    picture.ssrc = n * 1000U + 10;
    picture.rtx_ssrc = n * 1000U + 11;
  }
  offer.media = {sound, picture};
  return offer;
}

/// One stream of VP8 or of sound.
struct Sender {
  explicit Sender(std::uint32_t which, std::string layer = {}) : ssrc(which), rid(std::move(layer)) {}

  std::uint32_t ssrc;
  std::string rid;
  std::uint16_t sequence = 65500; // wraps soon
  std::uint32_t timestamp = 1000;
  std::uint16_t picture = 5;

  Bytes write(std::uint8_t type, std::uint16_t number, ByteView payload) const {
    Bytes out(1500);
    const rtp::HeaderExtension extensions[1] = {{rid_id, as_bytes(rid)}};
    const auto header = rtp::write_header({true, type, number, timestamp, ssrc}, std::span(extensions).first(rid.empty() ? 0 : 1), out);
    out.resize(header->size());
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
  }
  Bytes sound() {
    timestamp += 960;
    return write(111, sequence++, Bytes(30, 7));
  }
  Bytes frame(bool key, std::size_t size = 200) {
    timestamp += 3000;
    picture = (picture + 1) & 0x7fff;
    Bytes payload{0x90, 0x80, static_cast<std::uint8_t>(0x80 | picture >> 8), static_cast<std::uint8_t>(picture), static_cast<std::uint8_t>(key ? 0 : 1)};
    payload.resize(size, 9);
    return write(96, sequence++, payload);
  }
};

class TwoShards : public ::testing::Test {
 protected:
  struct Person {
    std::size_t shard = 0;
    ParticipantIndex index = 0;
    std::uint8_t n = 0;
  };

  Person join(std::uint8_t n, std::size_t shard, bool simulcast = false) {
    MediaGraph& graph = *graphs[shard];
    graph.forget_mirror(now, id_of(n));
    const ParticipantIndex index = *graph.add_participant("room", id_of(n));
    graph.set_publisher(now, index, offer_of(n, simulcast));
    graph.set_connected(now, index, Leg::publish, true, true);
    graph.begin_subscriber(now, index);
    answer({shard, index, n});
    graph.set_connected(now, index, Leg::subscribe, true, true);
    introduce();
    graph.set_member(now, index, true);
    carry();
    return {shard, index, n};
  }
  void answer(const Person& p) {
    std::vector<signaling::SubscribeAnswer::Slot> slots;
    for (const auto& slot : of(p).offered_slots(p.index))
      slots.push_back({true, slot.kind == signaling::MediaKind::video, {signaling::Codec::opus, signaling::Codec::vp8, signaling::Codec::av1}, slot.kind == signaling::MediaKind::video});
    of(p).accept_slots(now, p.index, slots);
  }
  void leave(const Person& p) {
    of(p).remove_participant(now, p.index);
    introduce();
    carry();
  }
  /// As the server does when somebody came or went.
  void introduce() {
    ShardSet shards = 0;
    for (std::size_t i = 0; i < 2; ++i)
      if (graphs[i]->participant_count() > 0) shards |= ShardSet{1} << i;
    for (std::size_t i = 0; i < 2; ++i) graphs[i]->set_room_shards("room", shards & ~(ShardSet{1} << i));
  }
  MediaGraph& of(const Person& p) { return *graphs[p.shard]; }
  void set_active(const Person& p, SourceSet active) {
    of(p).set_active(now, p.index, active);
    carry();
  }

  /// Hands over what the shards have for each other until there is nothing more, and takes the packets that leave.
  void carry() {
    for (bool any = true; any;) {
      any = false;
      for (std::size_t i = 0; i < 2; ++i) {
        collect(i);
        std::vector<OutgoingShardMessage> messages(graphs[i]->shard_messages().begin(), graphs[i]->shard_messages().end());
        graphs[i]->clear_shard_messages();
        for (OutgoingShardMessage& m : messages) {
          any = true;
          EXPECT_EQ(m.shard, 1 - i);
          if (!must_arrive(m.message) && lose && lose(m.message)) continue;
          Bytes payload, descriptor; // the receiver must not rely on them later
          if (auto* const packet = std::get_if<RelayedPacket>(&m.message)) {
            ++packets_carried;
            payload = to_bytes(packet->media.payload);
            packet->media.payload = payload;
            if (packet->media.descriptor) packet->media.descriptor->value = descriptor = to_bytes(packet->media.descriptor->value);
          }
          if (std::holds_alternative<KeyFrameWish>(m.message)) ++wishes_carried;
          graphs[1 - i]->handle_from_shard(now, i, m.message);
          std::ranges::fill(payload, std::uint8_t{0xdd});
          std::ranges::fill(descriptor, std::uint8_t{0xdd});
        }
        graphs[i]->arena().clear();
      }
    }
  }
  void collect(std::size_t shard) {
    for (const auto& p : graphs[shard]->packets()) {
      const Bytes bytes(p.data, p.data + p.size);
      if (p.rtcp)
        (p.leg == Leg::publish ? to_publishers : to_subscribers)[{shard, p.participant}].push_back(bytes);
      else
        received[{shard, p.participant}].push_back(bytes);
    }
    graphs[shard]->clear_packets();
  }
  void send(const Person& from, ByteView packet) {
    Bytes datagram = to_bytes(packet); // the socket's, which takes the next one into it
    of(from).handle_rtp(now, from.index, datagram);
    std::ranges::fill(datagram, std::uint8_t{0xdd});
    carry();
  }
  void tick(Duration step = 20ms) {
    now += step;
    for (auto& graph : graphs) graph->handle_timeout(now);
    carry();
  }
  std::vector<Bytes> take(const Person& p) { return std::exchange(received[{p.shard, p.index}], {}); }
  template <class F>
  void each_rtcp(const Person& p, F&& f) {
    for (const Bytes& compound : std::exchange(to_publishers[{p.shard, p.index}], {})) {
      rtp::RtcpReader reader(compound);
      while (true) {
        const auto packet = reader.next();
        if (!packet || !*packet) break;
        f(**packet);
      }
    }
  }
  int plis(const Person& p) {
    int count = 0;
    each_rtcp(p, [&](const rtp::RtcpPacket& packet) { count += packet.is_payload_feedback(rtp::format_pli); });
    return count;
  }
  int nacked(const Person& p) {
    int count = 0;
    each_rtcp(p, [&](const rtp::RtcpPacket& packet) { count += packet.is_transport_feedback(rtp::format_nack); });
    return count;
  }
  Bytes pli_for(std::uint32_t ssrc) {
    Bytes out(12);
    SpanWriter writer(out);
    rtp::write_pli(1, ssrc, writer);
    return out;
  }
  std::uint32_t video_ssrc(const Person& p) { return of(p).offered_slots(p.index)[Limits{}.audio_slots].ssrc; }

  SeededRandom random{1};
  TimePoint now{100s};
  std::array<std::unique_ptr<MediaGraph>, 2> graphs{std::make_unique<MediaGraph>(Limits{}, random), std::make_unique<MediaGraph>(Limits{}, random)};
  std::map<std::pair<std::size_t, ParticipantIndex>, std::vector<Bytes>> received, to_publishers, to_subscribers;
  std::function<bool(const ShardMessage&)> lose;
  int packets_carried = 0, wishes_carried = 0;
};

TEST_F(TwoShards, WhatOnePublishesReachesTheSubscribersOfBothAsTheSamePicturesAndIsHandedOverOnce) {
  const Person a = join(1, 0), b = join(2, 0), c = join(3, 1), d = join(4, 1);
  set_active(a, {Source::microphone, Source::camera});
  Sender picture{1010}, sound{1000};
  send(a, picture.frame(true));
  for (int i = 0; i < 100; ++i) {
    send(a, picture.frame(false));
    send(a, sound.sound());
    tick();
  }
  EXPECT_EQ(packets_carried, 201);
  EXPECT_TRUE(take(a).empty());
  for (const Person& p : {b, c, d}) {
    const auto got = take(p);
    ASSERT_EQ(got.size(), 201u) << int{p.n};
    std::optional<std::uint16_t> last;
    for (const Bytes& bytes : got) {
      const auto packet = rtp::parse_packet(bytes);
      if (packet->payload_type != signaling::slot_payload_type(signaling::Codec::vp8)) {
        EXPECT_EQ(to_bytes(packet->payload), Bytes(30, 7));
        continue;
      }
      EXPECT_EQ(packet->payload.back(), 9);
      EXPECT_TRUE(!last || packet->sequence == static_cast<std::uint16_t>(*last + 1));
      last = packet->sequence;
    }
    const auto uses = of(p).slot_uses(p.index);
    ASSERT_EQ(uses.size(), 2u);
    EXPECT_EQ(uses[0].incarnation, id_of(1));
  }
  EXPECT_EQ(graphs[0]->counters().relayed_out, 201u);
  EXPECT_EQ(graphs[1]->counters().relayed_in, 201u);
  EXPECT_EQ(graphs[1]->participant_count(), 2u) << "mirrors are not counted as participants";
}

TEST_F(TwoShards, PacketsOfAFrameThatDifferByAFewBytesGoOutEquallyLongInBoth) {
  const Person a = join(1, 0), b = join(2, 0), c = join(3, 1);
  set_active(a, {Source::camera});
  Sender picture{1010};
  send(a, picture.frame(true));
  for (const Person& p : {b, c}) ASSERT_EQ(take(p).size(), 1u);
  std::vector<Bytes> parts;
  for (const std::size_t size : {1000, 1000, 999, 999}) parts.push_back(picture.frame(false, size));
  for (const Bytes& part : parts) of(a).add_to_run(now, a.index, part, now);
  of(a).forward_run(now);
  carry();
  for (const Person& p : {b, c}) {
    const auto got = take(p);
    ASSERT_EQ(got.size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(got[i].size(), got[0].size() - (i == 3 ? 1 : 0)) << int{p.n} << ", " << i << ": the last may be shorter";
      EXPECT_EQ(rtp::parse_packet(got[i])->payload.size(), rtp::parse_packet(parts[i])->payload.size());
      EXPECT_EQ(rtp::parse_packet(got[i])->payload.back(), 9);
    }
  }
}

TEST_F(TwoShards, BothPublishAndEachHasTheOther) {
  const Person a = join(1, 0), b = join(2, 1);
  set_active(a, {Source::microphone});
  set_active(b, {Source::microphone});
  Sender sa{1000}, sb{2000};
  send(a, sa.sound());
  send(b, sb.sound());
  EXPECT_EQ(take(a).size(), 1u);
  EXPECT_EQ(take(b).size(), 1u);
}

TEST_F(TwoShards, WhatNobodyThereCanHaveIsNotHandedOver) {
  const Person a = join(1, 0), b = join(2, 0), c = join(3, 1);
  Sender sound{1000};
  send(a, sound.sound());
  EXPECT_EQ(packets_carried, 0) << "not active";
  set_active(a, {Source::microphone});
  send(a, sound.sound());
  EXPECT_EQ(packets_carried, 1);
  graphs[1]->set_member(now, c.index, false);
  carry();
  send(a, sound.sound());
  EXPECT_EQ(packets_carried, 1) << "its only subscriber there is no member any more";
  graphs[0]->set_member(now, a.index, false);
  graphs[1]->set_member(now, c.index, true);
  carry();
  send(a, sound.sound());
  EXPECT_EQ(packets_carried, 1) << "the publisher is none";
  EXPECT_TRUE(graphs[1]->slot_uses(c.index).empty());
  graphs[0]->set_member(now, a.index, true);
  carry();
  send(a, sound.sound());
  EXPECT_EQ(packets_carried, 2);
  EXPECT_EQ(take(b).size(), 3u);
  EXPECT_EQ(take(c).size(), 2u);
}

TEST_F(TwoShards, RequestsForKeyFramesFromBothBecomeOne) {
  const Person a = join(1, 0);
  std::vector<Person> others;
  for (std::uint8_t n = 2; n < 10; ++n) others.push_back(join(n, n % 2));
  set_active(a, {Source::camera});
  Sender picture{1010};
  EXPECT_EQ(plis(a), 1) << "all begin with the same";
  send(a, picture.frame(true));
  now += 1s;
  const auto all_ask = [&](bool key) {
    for (const Person& other : others) of(other).handle_rtcp(now, other.index, Leg::subscribe, pli_for(video_ssrc(other)));
    send(a, picture.frame(key));
    tick();
  };
  for (int round = 0; round < 7; ++round) all_ask(false);
  EXPECT_EQ(plis(a), 1);
  EXPECT_EQ(wishes_carried, 2) << "four people's wishes go over as one each time";
  all_ask(true);
  for (int round = 0; round < 15; ++round) all_ask(false);
  EXPECT_EQ(plis(a), 0);
  for (int round = 0; round < 7; ++round) all_ask(false); // the last is not forgotten
  EXPECT_EQ(plis(a), 1);
  EXPECT_EQ(wishes_carried, 3);
}

TEST_F(TwoShards, AWishForAKeyFrameThatIsLostIsMadeAgain) {
  const Person a = join(1, 0), b = join(2, 1);
  lose = [](const ShardMessage& m) { return std::holds_alternative<KeyFrameWish>(m); };
  set_active(a, {Source::camera});
  EXPECT_EQ(plis(a), 0);
  lose = nullptr;
  Sender picture{1010};
  for (int i = 0; i < 150; ++i) {
    send(a, picture.frame(false));
    tick();
  }
  EXPECT_GE(plis(a), 1);
  send(a, picture.frame(true));
  EXPECT_EQ(take(b).size(), 1u);
}

TEST_F(TwoShards, PacketsThatAFullQueueLostComeAgainFromTheHomeAndThePublisherIsNotAsked) {
  const Person a = join(1, 0), b = join(2, 1), c = join(3, 0);
  set_active(a, {Source::camera});
  Sender picture{1010};
  send(a, picture.frame(true));
  int n = 0;
  lose = [&n](const ShardMessage& m) { return std::holds_alternative<RelayedPacket>(m) && ++n % 5 == 0 && n < 50; };
  for (int i = 0; i < 100; ++i) {
    send(a, picture.frame(false));
    tick();
  }
  for (int i = 0; i < 20; ++i) tick();
  const auto at_home = take(c), there = take(b);
  EXPECT_GE(n, 100);
  EXPECT_EQ(at_home.size(), 101u);
  std::set<std::uint16_t> pictures;
  for (const Bytes& bytes : there) pictures.insert(*rtp::parse_vp8_descriptor(rtp::parse_packet(bytes)->payload)->picture_id);
  EXPECT_EQ(pictures.size(), 101u);
  EXPECT_EQ(nacked(a), 0);
}

TEST_F(TwoShards, WhatIsLostBeforeTheHomeIsAskedForOnceAndReachesBoth) {
  const Person a = join(1, 0), b = join(2, 1), c = join(3, 0);
  set_active(a, {Source::camera});
  Sender picture{1010};
  send(a, picture.frame(true));
  const Bytes lost = picture.frame(false);
  send(a, picture.frame(false));
  for (int i = 0; i < 3; ++i) tick();
  EXPECT_EQ(nacked(a), 1);
  const auto original = rtp::parse_packet(lost);
  Bytes again{static_cast<std::uint8_t>(original->sequence >> 8), static_cast<std::uint8_t>(original->sequence)};
  again.insert(again.end(), original->payload.begin(), original->payload.end());
  Sender repetition{1011};
  send(a, repetition.write(97, 1, again));
  EXPECT_EQ(take(b).size(), 3u);
  EXPECT_EQ(take(c).size(), 3u);
}

TEST_F(TwoShards, ASubscriberInTheOtherShardIsAnsweredFromItsOwnHistory) {
  const Person a = join(1, 0), b = join(2, 1);
  set_active(a, {Source::camera});
  Sender picture{1010};
  send(a, picture.frame(true));
  send(a, picture.frame(false));
  const auto got = take(b);
  ASSERT_EQ(got.size(), 2u);
  Bytes nack(100);
  SpanWriter writer(nack);
  const std::uint16_t sequences[1] = {rtp::parse_packet(got[1])->sequence};
  rtp::write_nack(1, video_ssrc(b), sequences, writer);
  nack.resize(writer.written()->size());
  now += 50ms;
  graphs[1]->handle_rtcp(now, b.index, Leg::subscribe, nack);
  carry();
  const auto again = take(b);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(rtp::parse_packet(again[0])->payload_type, signaling::slot_rtx_payload_type(signaling::Codec::vp8));
  EXPECT_EQ(graphs[1]->counters().retransmissions_sent, 1u);
}

TEST_F(TwoShards, APublisherThatLeavesFreesItsSlotsInBothAndNothingOfItIsLeft) {
  const Person a = join(1, 0), b = join(2, 1), c = join(3, 0);
  set_active(a, {Source::camera, Source::microphone});
  EXPECT_EQ(graphs[1]->slot_uses(b.index).size(), 2u);
  leave(a);
  EXPECT_TRUE(graphs[1]->slot_uses(b.index).empty());
  EXPECT_TRUE(graphs[0]->slot_uses(c.index).empty());
  // Another takes its place in the tables.
  const Person d = join(4, 0);
  set_active(d, {Source::microphone});
  Sender sound{4000};
  send(d, sound.sound());
  EXPECT_EQ(take(b).size(), 1u);
  leave(b);
  EXPECT_EQ(graphs[1]->room_count(), 0u) << "who is elsewhere does not keep a room";
  leave(c);
  leave(d);
  EXPECT_EQ(graphs[0]->room_count(), 0u);
}

TEST_F(TwoShards, APublisherWhoOffersAnewIsFollowedAndWhatWasSaidOfTheFormerIsVoid) {
  const Person a = join(1, 0), b = join(2, 1);
  set_active(a, {Source::camera});
  Sender picture{1010};
  send(a, picture.frame(true));
  EXPECT_EQ(take(b).size(), 1u);
  std::vector<ShardMessage> late;
  lose = [&late](const ShardMessage& m) {
    late.push_back(m);
    return true;
  };
  send(a, picture.frame(false));
  lose = nullptr;
  auto offer = offer_of(1, false);
  offer.media[1].ssrc = 77;
  graphs[0]->set_publisher(now, a.index, offer);
  carry();
  ASSERT_FALSE(late.empty());
  std::get<RelayedPacket>(late[0]).media.payload = {};
  graphs[1]->handle_from_shard(now, 0, late[0]);
  EXPECT_TRUE(take(b).empty());
  Sender other{77};
  send(a, other.frame(true));
  EXPECT_EQ(take(b).size(), 1u);
}

TEST_F(TwoShards, WhoComesOverFromTheOtherShardIsNoMirrorAnyMore) {
  const Person a = join(1, 0), b = join(2, 1);
  set_active(a, {Source::microphone});
  const Person again = join(1, 1); // before the farewell of the other came
  set_active(again, {Source::microphone});
  Sender sound{1000};
  send(again, sound.sound());
  EXPECT_EQ(take(b).size(), 1u);
  leave(a);
  send(again, sound.sound());
  EXPECT_EQ(take(b).size(), 1u);
  EXPECT_EQ(graphs[1]->slot_uses(b.index).size(), 1u);
}

TEST_F(TwoShards, LayersThatNobodyInEitherShardWantsAreStoppedAndWantedOnesCome) {
  const Person a = join(1, 0, true), b = join(2, 1), c = join(3, 0);
  set_active(a, {Source::camera});
  std::array<Sender, 3> layers{Sender{11, "q"}, Sender{12, "h"}, Sender{13, "f"}};
  const auto run = [&](int ticks) {
    for (int i = 0; i < ticks; ++i) {
      for (std::size_t e = 0; e < 3; ++e)
        if (graphs[0]->wanted_encodings(a.index, Source::camera)[e]) send(a, layers[e].frame(i % 25 == 0, 200 << e));
      tick();
    }
  };
  const auto wanted = [&] { return graphs[0]->wanted_encodings(a.index, Source::camera); };
  const std::string tile = graphs[1]->slot_uses(b.index)[0].mid, here = graphs[0]->slot_uses(c.index)[0].mid;
  graphs[0]->set_view(now, c.index, std::array{TileView{here, 100}});
  graphs[1]->set_view(now, b.index, std::array{TileView{tile, 720}});
  run(800);
  EXPECT_EQ(wanted(), (std::vector{true, false, true})) << "the smallest, and the largest for the other shard";
  EXPECT_EQ(graphs[1]->report(now, b.index).slots[0].encoding, 2);
  EXPECT_EQ(graphs[0]->report(now, c.index).slots[0].encoding, 0);
  graphs[1]->set_view(now, b.index, std::array{TileView{tile, 100}});
  run(800);
  EXPECT_EQ(wanted(), (std::vector{true, false, false}));
  graphs[1]->set_view(now, b.index, std::array{TileView{tile, 360}});
  run(100);
  EXPECT_EQ(wanted(), (std::vector{true, true, false}));
  EXPECT_EQ(graphs[1]->report(now, b.index).slots[0].encoding, 1);
}

TEST_F(TwoShards, AfterAnOutageWhateverSizeBeginsAnewFirstIsTakenInBoth) {
  const Person a = join(1, 0, true), b = join(2, 1), c = join(3, 0);
  set_active(a, {Source::camera});
  std::array<Sender, 3> layers{Sender{11, "q"}, Sender{12, "h"}, Sender{13, "f"}};
  const std::string tile = graphs[1]->slot_uses(b.index)[0].mid, here = graphs[0]->slot_uses(c.index)[0].mid;
  graphs[0]->set_view(now, c.index, std::array{TileView{here, 720}});
  graphs[1]->set_view(now, b.index, std::array{TileView{tile, 720}});
  for (int i = 0; i < 800; ++i) {
    for (std::size_t e = 0; e < 3; ++e)
      if (graphs[0]->wanted_encodings(a.index, Source::camera)[e]) send(a, layers[e].frame(i % 25 == 0, 200 << e));
    tick();
  }
  ASSERT_EQ(graphs[1]->report(now, b.index).slots[0].encoding, 2);
  ASSERT_EQ(graphs[0]->report(now, c.index).slots[0].encoding, 2);
  for (int i = 0; i < 75; ++i) tick();
  for (Sender& layer : layers) {
    layer.sequence = static_cast<std::uint16_t>(layer.sequence + 75);
    layer.timestamp += 75 * 3000;
  }
  for (const Person& p : {b, c}) take(p);
  send(a, layers[2].frame(false, 800));
  send(a, layers[0].frame(true, 200));
  for (const Person& p : {b, c}) {
    const auto got = take(p);
    ASSERT_EQ(got.size(), 1u) << int{p.n};
    EXPECT_EQ(rtp::parse_packet(got[0])->payload.size(), 200u) << int{p.n} << ": the smallest, which begins with a key frame";
  }
}

TEST_F(TwoShards, AKeyFrameOfASimulcastStreamIsAskedForFromTheOtherShardOfThatStreamAlone) {
  const Person a = join(1, 0, true), b = join(2, 1);
  set_active(a, {Source::camera});
  EXPECT_GE(wishes_carried, 1) << "though the stream's number is known nowhere yet";
  std::array<Sender, 3> layers{Sender{11, "q"}, Sender{12, "h"}, Sender{13, "f"}};
  const auto send_all = [&](bool key) {
    for (Sender& layer : layers) send(a, layer.frame(key));
  };
  for (int i = 0; i < 100; ++i) { // its home has asked, now that it knows whom
    send_all(false);
    tick();
  }
  EXPECT_GE(plis(a), 1);
  send_all(true);
  ASSERT_FALSE(take(b).empty());
  now += 1s;
  wishes_carried = 0;
  of(b).handle_rtcp(now, b.index, Leg::subscribe, pli_for(video_ssrc(b)));
  carry();
  EXPECT_EQ(wishes_carried, 1);
  std::vector<std::uint32_t> asked;
  each_rtcp(a, [&](const rtp::RtcpPacket& packet) {
    if (packet.is_payload_feedback(rtp::format_pli)) asked.push_back(rtp::parse_feedback(packet)->media);
  });
  const auto flowing = std::size_t{of(b).report(now, b.index).slots[0].encoding};
  EXPECT_EQ(asked, std::vector{layers[flowing].ssrc});
}

TEST_F(TwoShards, LayersOfAv1ReachTheOtherShardWithTheDescriptorsThatTellThemApart) {
  constexpr std::uint8_t descriptor_id = 12;
  const Person a = join(1, 0), b = join(2, 1);
  signaling::PublishOffer offer = offer_of(1, false);
  offer.media[1].codecs.push_back({signaling::Codec::av1, 99, 100, true});
  offer.media[1].dependency_descriptor_extension = descriptor_id;
  of(a).set_publisher(now, a.index, offer);
  set_active(a, {Source::camera});
  LayeredAv1 camera;
  std::optional<rtp::DependencyStructure> structure;
  std::vector<std::uint16_t> numbers;
  std::uint16_t sequence = 7;
  std::uint32_t timestamp = 0;
  const auto picture = [&](bool key) {
    timestamp += 9000;
    std::vector<std::uint8_t> spatial;
    for (const LayeredAv1::Frame& frame : camera.picture(key)) {
      Bytes packet(200);
      const rtp::HeaderExtension extensions[1] = {{descriptor_id, frame.descriptor}};
      const auto header = rtp::write_header({frame.payload[3] == 1, 99, sequence++, timestamp, 1010}, extensions, packet);
      packet.resize(header->size());
      packet.insert(packet.end(), frame.payload.begin(), frame.payload.end());
      send(a, packet);
      for (const Bytes& bytes : take(b)) {
        const auto got = rtp::parse_packet(bytes);
        EXPECT_EQ(to_bytes(got->payload), frame.payload);
        const auto value = got->extension(signaling::slot_dependency_descriptor_extension);
        const auto d = value ? rtp::parse_dependency_descriptor(*value, structure) : Result<rtp::DependencyDescriptor>(rtp::dd_no_structure);
        EXPECT_TRUE(d);
        if (!d) continue;
        spatial.push_back(d->spatial);
        numbers.push_back(d->frame_number);
      }
    }
    tick();
    return spatial;
  };
  const std::vector<std::uint8_t> both{0, 1}, lower{0};
  for (int i = 0; i < 8; ++i) EXPECT_EQ(picture(i == 0), both) << i;
  for (std::size_t i = 1; i < numbers.size(); ++i) EXPECT_EQ(static_cast<std::uint16_t>(numbers[i] - numbers[i - 1]), 1) << i;
  // The other shard knows by them how high the layers are.
  of(b).set_view(now, b.index, std::array{TileView{of(b).slot_uses(b.index)[0].mid, 180}});
  picture(false);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(picture(false), lower) << i;
}

TEST_F(TwoShards, TheClockOfAPublisherIsKnownInBoth) {
  const Person a = join(1, 0), b = join(2, 1);
  set_active(a, {Source::microphone});
  Sender sound{1000};
  send(a, sound.sound());
  Bytes report(100);
  SpanWriter writer(report);
  rtp::SenderInfo info;
  info.ssrc = 1000;
  info.ntp = 1ULL << 40;
  info.rtp_timestamp = sound.timestamp;
  rtp::write_sender_report(info, {}, writer);
  report.resize(writer.written()->size());
  graphs[0]->handle_rtcp(now, a.index, Leg::publish, report);
  carry();
  to_subscribers.clear();
  tick(1100ms);
  const auto& told = to_subscribers[{1, b.index}];
  ASSERT_FALSE(told.empty());
  rtp::RtcpReader reader(told[0]);
  const auto sr = rtp::parse_sender_report(**reader.next());
  ASSERT_TRUE(sr);
  EXPECT_EQ(sr->info.ntp >> 32, (info.ntp >> 32) + 1);
}

TEST_F(TwoShards, WhoSpeaksIsKnownInBoth) {
  const Person a = join(1, 0), c = join(3, 0), b = join(2, 1);
  for (const Person& p : {a, c}) set_active(p, {Source::microphone, Source::camera});
  of(b).set_view(now, b.index, {}, SpeakersView{1, 360});
  const auto seen = [&] {
    std::vector<IncarnationId> out;
    for (const SlotUse& use : of(b).slot_uses(b.index))
      for (const auto& slot : of(b).report(now, b.index).slots)
        if (slot.mid == use.mid && !slot.paused) out.push_back(use.incarnation);
    return out;
  };
  std::uint16_t number = 0;
  for (const Person& speaker : {a, c, a}) {
    for (int i = 0; i < 120; ++i) {
      const std::uint8_t level[1] = {static_cast<std::uint8_t>(0x80 | (i % 25 < 20 ? 25 : 80))};
      const rtp::HeaderExtension extensions[1] = {{level_id, level}};
      Bytes packet(100);
      const auto header = rtp::write_header({false, 111, ++number, number * 960U, speaker.n * 1000U}, extensions, packet);
      packet.resize(header->size() + 40);
      send(speaker, packet);
      tick();
    }
    EXPECT_EQ(seen(), (std::vector{id_of(speaker.n)}));
  }
  set_active(a, {Source::camera}); // its microphone is off, so it is no speaker any more
  for (int i = 0; i < 20; ++i) tick();
  EXPECT_EQ(seen(), (std::vector{id_of(c.n)}));
  graphs[1]->handle_from_shard(now, 0, RelayedLevel{id_of(77), 0});
}

TEST_F(TwoShards, TheLastOfManyShardsCountsAsTheOthersDo) {
  const Person a = join(1, 0, true);
  set_active(a, {Source::camera});
  MediaGraph& home = of(a);
  home.set_room_shards("room", shard_bit(max_shards - 1));
  std::uint64_t version = 0;
  for (const OutgoingShardMessage& m : home.shard_messages()) {
    EXPECT_EQ(m.shard, max_shards - 1);
    if (const auto* told = std::get_if<Publications>(&m.message))
      for (const Publications::Item& item : told->items)
        if (item.media.source == Source::camera) version = item.version;
  }
  ASSERT_NE(version, 0U);
  home.clear_shard_messages();
  home.handle_from_shard(now, max_shards - 1, Interest{id_of(1), Source::camera, 7, version});
  for (int i = 0; i < 500; ++i) home.handle_timeout(now += 20ms);
  Sender picture{0, "f"}; // the largest, which the last shard alone can use
  picture.ssrc = 1012;
  home.handle_rtp(now, a.index, picture.frame(true));
  std::size_t carried = 0;
  for (const OutgoingShardMessage& m : home.shard_messages()) carried += std::holds_alternative<RelayedPacket>(m.message) && m.shard == max_shards - 1;
  EXPECT_EQ(carried, 1U);
  home.clear_shard_messages();
}

TEST_F(TwoShards, AnotherShardsMessagesOfWhatIsNotKnownChangeNothing) {
  const Person a = join(1, 0);
  join(2, 1);
  set_active(a, {Source::camera});
  graphs[0]->handle_from_shard(now, 1, Interest{id_of(9), Source::camera, 7, 1});
  graphs[0]->handle_from_shard(now, 5, Interest{id_of(1), Source::camera, 7, 2}); // a shard that was never told
  graphs[0]->handle_from_shard(now, 1, KeyFrameWish{id_of(1), Source::screen, 0, true, 1});
  graphs[0]->handle_from_shard(now, 1, MissingPackets{id_of(1), Source::camera, 3, 1, 1, 2, {}});
  graphs[1]->handle_from_shard(now, 0, RelayedPacket{});
  graphs[1]->handle_from_shard(now, 0, RelayedClock{});
  graphs[1]->handle_from_shard(now, 5, Publications{"room", id_of(1), {}, {}});
  packets_carried = 0;
  Sender picture{1010};
  send(a, picture.frame(true));
  EXPECT_EQ(packets_carried, 1);
}

} // namespace
} // namespace satsuma::sfu
