// Publishers' packets in, subscribers' packets out, in virtual time and without encryption.

#include "sfu/media_graph.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "../base/seeded_random.h"
#include "layered_av1.h"
#include "rtp/packet.h"
#include "rtp/rtcp.h"
#include "rtp/transport_feedback.h"

namespace satsuma::sfu {
namespace {

using namespace std::chrono_literals;

constexpr std::uint8_t mid_id = 4;
constexpr std::uint8_t transport_id = 3;
constexpr std::uint8_t descriptor_id = 12;
constexpr std::uint8_t opus = 109;
constexpr std::uint8_t vp8 = 120;
constexpr std::uint8_t vp8_rtx = 124;
constexpr std::uint8_t av1 = 99;
constexpr std::uint8_t av1_rtx = 100;
constexpr signaling::CodecSet everything{signaling::Codec::opus, signaling::Codec::vp8, signaling::Codec::av1};

IncarnationId id_of(std::uint8_t n) {
  IncarnationId id;
  id.bytes[0] = n;
  return id;
}

signaling::PublishOffer publish_offer(std::uint32_t base_ssrc) {
  signaling::PublishOffer offer;
  const auto add = [&](signaling::MediaKind kind, Source source, std::string mid, std::uint32_t ssrc) {
    signaling::PublishedMedia media;
    media.kind = kind;
    media.source = source;
    media.mid = std::move(mid);
    media.mid_extension = mid_id;
    media.transport_cc_extension = transport_id;
    media.ssrc = ssrc;
    if (kind == signaling::MediaKind::audio) {
      media.codecs = {{signaling::Codec::opus, opus, std::nullopt, true}};
    } else {
      media.codecs = {{signaling::Codec::vp8, vp8, vp8_rtx, true}, {signaling::Codec::av1, av1, av1_rtx, true}};
      media.rtx_ssrc = ssrc + 1;
      media.dependency_descriptor_extension = descriptor_id;
    }
    offer.media.push_back(media);
  };
  add(signaling::MediaKind::audio, Source::microphone, "0", base_ssrc);
  add(signaling::MediaKind::video, Source::camera, "1", base_ssrc + 10);
  add(signaling::MediaKind::video, Source::screen, "2", base_ssrc + 20);
  return offer;
}

/// A stream as a browser makes it: VP8 with 15-bit picture ids, one packet or several to a frame.
struct Sender {
  std::uint32_t ssrc = 0;
  std::uint16_t sequence = 65530; // wraps soon
  std::uint32_t timestamp = 0xfffffff0;
  std::uint16_t picture = 0x7ffe;
  std::uint8_t tl0 = 254;
  std::uint16_t transport = 0;

  Bytes packet(std::uint8_t payload_type, std::uint16_t number, bool marker, ByteView payload, ByteView descriptor = {}) {
    Bytes out(1500);
    const std::uint8_t transport_value[2] = {static_cast<std::uint8_t>(transport >> 8), static_cast<std::uint8_t>(transport)};
    ++transport;
    const rtp::HeaderExtension extensions[2] = {{transport_id, transport_value}, {descriptor_id, descriptor}};
    const std::size_t count = descriptor.empty() ? 1 : 2;
    const auto header = rtp::write_header({marker, payload_type, number, timestamp, ssrc}, std::span(extensions).first(count), out);
    EXPECT_TRUE(header);
    out.resize(header->size());
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
  }
  Bytes vp8_payload(bool key, bool start, std::uint8_t tag) const {
    Bytes payload{static_cast<std::uint8_t>(0x80 | (start ? 0x10 : 0)), 0xc0, static_cast<std::uint8_t>(0x80 | picture >> 8),
                  static_cast<std::uint8_t>(picture), tl0};
    payload.push_back(start ? (key ? 0x00 : 0x01) : 0xee);
    payload.insert(payload.end(), 20, tag);
    return payload;
  }
  void next_frame() {
    timestamp += 3000;
    picture = (picture + 1) & 0x7fff;
    ++tl0;
  }
  Bytes frame(bool key, std::uint8_t tag = 7) {
    next_frame();
    return packet(vp8, sequence++, true, vp8_payload(key, true, tag));
  }
  Bytes audio(std::uint8_t tag = 7) {
    timestamp += 960;
    const Bytes payload(30, tag);
    return packet(opus, sequence++, false, payload);
  }
};

struct Received {
  ParticipantIndex participant;
  Bytes bytes;
  rtp::Packet packet;
};

class MediaGraphTest : public ::testing::Test {
 protected:
  explicit MediaGraphTest(const Limits& limits = {}) : graph(limits, random) {}

  ParticipantIndex join(std::uint8_t n, const std::string& room = "room", bool member = true) {
    const auto added = graph.add_participant(room, id_of(n));
    EXPECT_TRUE(added);
    graph.set_publisher(now, *added, publish_offer(n * 1000U));
    graph.set_connected(now, *added, Leg::publish, true, true);
    graph.begin_subscriber(now, *added);
    answer(*added);
    graph.set_connected(now, *added, Leg::subscribe, true, true);
    if (member) graph.set_member(now, *added, true);
    return *added;
  }
  void answer(ParticipantIndex index, bool retransmissions = true, bool descriptors = true) {
    std::vector<signaling::SubscribeAnswer::Slot> slots;
    for (const auto& slot : graph.offered_slots(index)) {
      const bool video = slot.kind == signaling::MediaKind::video;
      slots.push_back({true, retransmissions && video, everything, descriptors && video});
    }
    graph.accept_slots(now, index, slots);
  }
  void drain_outputs() {
    while (graph.poll_output()) {
    }
  }

  /// The packets that leave now.
  std::vector<Received> media() {
    std::vector<Received> out;
    for (const auto& p : graph.packets()) {
      const ByteView bytes(p.data, p.size);
      if (p.rtcp) {
        (p.leg == Leg::publish ? to_publishers : to_subscribers)[p.participant].push_back(to_bytes(bytes));
        continue;
      }
      EXPECT_EQ(p.leg, Leg::subscribe);
      out.push_back({p.participant, to_bytes(bytes), {}});
      const auto parsed = rtp::parse_packet(out.back().bytes);
      EXPECT_TRUE(parsed);
      EXPECT_EQ(parsed->header_size, p.header_size);
      out.back().packet = *parsed;
    }
    graph.clear_packets();
    graph.arena().clear();
    return out;
  }
  std::vector<Received> send(ParticipantIndex from, ByteView packet) {
    graph.handle_rtp(now, from, packet);
    return media();
  }
  std::vector<Received> tick(Duration step = 20ms) {
    now += step;
    graph.handle_timeout(now);
    return media();
  }
  int count_plis(ParticipantIndex publisher) {
    media();
    int count = 0;
    for (const Bytes& compound : to_publishers[publisher]) {
      rtp::RtcpReader reader(compound);
      while (true) {
        const auto p = reader.next();
        EXPECT_TRUE(p);
        if (!p || !*p) break;
        if ((*p)->is_payload_feedback(rtp::format_pli)) ++count;
      }
    }
    to_publishers[publisher].clear();
    return count;
  }
  std::vector<std::uint16_t> nacks(ParticipantIndex publisher) {
    std::vector<std::uint16_t> out;
    for (const Bytes& compound : to_publishers[publisher]) {
      rtp::RtcpReader reader(compound);
      while (true) {
        const auto p = reader.next();
        if (!p || !*p) break;
        if (!(*p)->is_transport_feedback(rtp::format_nack)) continue;
        rtp::NackedSequences sequences(rtp::parse_feedback(**p)->control);
        while (const auto s = sequences.next()) out.push_back(*s);
      }
    }
    to_publishers[publisher].clear();
    return out;
  }
  Bytes nack_for(std::uint32_t ssrc, std::vector<std::uint16_t> sequences) {
    Bytes out(600);
    SpanWriter writer(out);
    rtp::write_nack(1, ssrc, sequences, writer);
    out.resize(writer.written()->size());
    return out;
  }
  Bytes pli_for(std::uint32_t ssrc) {
    Bytes out(12);
    SpanWriter writer(out);
    rtp::write_pli(1, ssrc, writer);
    return out;
  }

  SeededRandom random{1};
  TimePoint now{std::chrono::seconds(100)};
  MediaGraph graph;
  std::map<ParticipantIndex, std::vector<Bytes>> to_publishers, to_subscribers;
};

std::uint16_t picture_of(const Received& r) { return *rtp::parse_vp8_descriptor(r.packet.payload)->picture_id; }
std::uint8_t tl0_of(const Received& r) { return *rtp::parse_vp8_descriptor(r.packet.payload)->tl0_picture_index; }

TEST_F(MediaGraphTest, PacketsOfAFrameThatDifferByAFewBytesGoOutEquallyLongAndWithTheirOwnPayloads) {
  const auto a = join(1);
  join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  send(a, sender.frame(true));
  const auto sizes_of = [&](const std::vector<std::size_t>& more) {
    std::vector<Bytes> in;
    for (const std::size_t size : more) {
      in.push_back(sender.frame(false));
      in.back().resize(in.back().size() + size, 0x55);
    }
    for (const Bytes& packet : in) graph.add_to_run(now, a, packet, now);
    graph.forward_run(now);
    std::vector<std::size_t> out;
    const auto received = media();
    EXPECT_EQ(received.size(), in.size());
    for (std::size_t i = 0; i < received.size(); ++i) {
      EXPECT_EQ(received[i].packet.payload.size(), rtp::parse_packet(in[i])->payload.size());
      EXPECT_EQ(received[i].packet.payload.back(), 0x55);
      out.push_back(received[i].bytes.size());
    }
    for (std::size_t& size : out) size -= received.front().bytes.size() - more.front() - received.front().packet.padding_size;
    return out;
  };
  using Sizes = std::vector<std::size_t>;
  EXPECT_EQ(sizes_of({1000, 1000, 999, 999}), (Sizes{1000, 1000, 1000, 999}));
  EXPECT_EQ(sizes_of({999, 999, 1000, 1000}), (Sizes{1000, 1000, 1000, 1000}));
  EXPECT_EQ(sizes_of({995, 1000, 997, 200}), (Sizes{1000, 1000, 997, 200}));
  EXPECT_EQ(sizes_of({100, 1000, 300}), (Sizes{100, 1000, 300}));
  EXPECT_EQ(sizes_of({500}), (Sizes{500}));
}

TEST_F(MediaGraphTest, AudioReachesEveryOtherMemberOfTheRoomAndNobodyElse) {
  const auto a = join(1), b = join(2), c = join(3);
  join(4, "elsewhere");
  graph.set_active(now, a, {Source::microphone});
  Sender sender{1000};
  const auto out = send(a, sender.audio());
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(std::set({out[0].participant, out[1].participant}), std::set({b, c}));
  EXPECT_EQ(out[0].packet.payload_type, signaling::slot_payload_type(signaling::Codec::opus));
  EXPECT_EQ(to_bytes(out[0].packet.payload), Bytes(30, 7));
  EXPECT_EQ(as_text(*out[0].packet.extension(signaling::slot_mid_extension)), "a0");
  EXPECT_EQ(graph.slot_uses(b), (std::vector<SlotUse>{{"a0", id_of(1), Source::microphone}}));
  EXPECT_TRUE(graph.slot_uses(a).empty());
}

TEST_F(MediaGraphTest, WhereMoreWaitsThanThereIsRoomForAKeyFrameIsAskedForAtOnce) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  rtp::TransportFeedbackRecorder recorder;
  for (int i = 0; i < 10; ++i) {
    for (const Received& r : send(a, sender.frame(i == 0))) {
      const ByteView number = *r.packet.extension(signaling::slot_transport_cc_extension);
      recorder.on_packet(now, static_cast<std::uint16_t>(number[0] << 8 | number[1]));
    }
    tick();
  }
  Bytes feedback(1200);
  const auto written = recorder.write(1, 2, feedback);
  ASSERT_TRUE(written);
  graph.handle_rtcp(now, b, Leg::subscribe, *written); // the path is known now, and packets are paced
  for (int i = 0; i < 50; ++i) tick();
  count_plis(a);
  for (int i = 0; i < 900; ++i) graph.handle_rtp(now, a, sender.frame(false));
  EXPECT_EQ(graph.counters().dropped_pacer_full, 1u);
  EXPECT_EQ(graph.counters().dropped_given_up, Pacer::max_waiting) << "what waited before it";
  EXPECT_EQ(graph.counters().dropped_pacer_late, 0u);
  EXPECT_EQ(count_plis(a), 1);
  // What is behind the hole is of no use.
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(send(a, sender.frame(false)).empty());
    for (const Received& r : tick()) EXPECT_EQ(r.packet.payload_type, signaling::slot_rtx_payload_type(signaling::Codec::vp8)) << "padding at most";
  }
  graph.handle_rtp(now, a, sender.frame(true));
  std::size_t sent = media().size();
  for (int i = 0; i < 10; ++i) sent += tick().size();
  EXPECT_GE(sent, 1u);
}

/// Another graph beside the fixture's.
struct Twin final : MediaGraphTest {
  void TestBody() override {}
  ParticipantIndex begin() {
    const ParticipantIndex publisher = join(1);
    for (std::uint8_t n = 2; n < 12; ++n) join(n);
    graph.set_active(now, publisher, {Source::microphone, Source::camera, Source::screen});
    return publisher;
  }
  std::map<ParticipantIndex, std::vector<Bytes>> give(ParticipantIndex from, std::vector<Bytes> packets, bool in_a_row) {
    for (Bytes& packet : packets) {
      graph.add_to_run(now, from, packet, now);
      if (!in_a_row) graph.forward_run(now);
    }
    graph.forward_run(now);
    for (Bytes& packet : packets) std::fill(packet.begin(), packet.end(), std::uint8_t{0xdd}); // nobody looks at them any more
    std::map<ParticipantIndex, std::vector<Bytes>> out;
    for (const Received& r : media()) out[r.participant].push_back(r.bytes);
    for (const Received& r : tick()) out[r.participant].push_back(r.bytes);
    return out;
  }
};

TEST(MediaGraphRuns, WhatComesInARowGoesOutAsIfEachHadComeAlone) {
  Twin row, alone;
  const ParticipantIndex from = row.begin();
  ASSERT_EQ(alone.begin(), from);
  Sender microphone{1000}, camera{1010}, screen{1020};
  std::size_t sent = 0;
  for (int round = 0; round < 60; ++round) {
    std::vector<Bytes> packets;
    const auto picture = [&](Sender& sender, bool key, std::size_t count) {
      sender.next_frame();
      for (std::size_t i = 0; i < count; ++i)
        packets.push_back(sender.packet(vp8, sender.sequence++, i + 1 == count, sender.vp8_payload(key, i == 0, static_cast<std::uint8_t>(round))));
    };
    picture(camera, round % 7 == 2, 1 + static_cast<std::size_t>(round % 5));
    if (round % 3 == 0) packets.push_back(microphone.audio());
    picture(screen, round % 11 == 3, round % 10 == 9 ? 70 : 2);
    picture(camera, round % 13 == 5, 3);
    if (round % 4 == 1 && packets.size() > 3) std::swap(packets[1], packets[2]);
    const auto together = row.give(from, packets, true);
    ASSERT_EQ(together, alone.give(from, packets, false)) << round;
    for (const auto& [to, bytes] : together) sent += bytes.size();
  }
  EXPECT_GT(sent, 3'000u);
}

TEST_F(MediaGraphTest, NothingFlowsFromOrToSomebodyOutsideTheRoster) {
  const auto a = join(1), b = join(2, "room", false);
  graph.set_active(now, a, {Source::microphone});
  graph.set_active(now, b, {Source::microphone});
  Sender sa{1000}, sb{2000};
  EXPECT_TRUE(send(a, sa.audio()).empty());
  EXPECT_TRUE(send(b, sb.audio()).empty());
  EXPECT_TRUE(graph.slot_uses(a).empty());
  EXPECT_TRUE(graph.slot_uses(b).empty());
  graph.set_member(now, b, true);
  EXPECT_EQ(send(a, sa.audio()).size(), 1u);
  EXPECT_EQ(send(b, sb.audio()).size(), 1u);
  graph.set_member(now, b, false);
  EXPECT_TRUE(send(a, sa.audio()).empty());
  EXPECT_TRUE(send(b, sb.audio()).empty());
  EXPECT_TRUE(graph.slot_uses(a).empty());
}

TEST_F(MediaGraphTest, ASourceThatIsNotActiveIsNotForwardedAndFreesItsSlot) {
  const auto a = join(1), b = join(2);
  Sender sender{1000};
  EXPECT_TRUE(send(a, sender.audio()).empty());
  EXPECT_EQ(graph.counters().dropped_inactive, 1u);
  graph.set_active(now, a, {Source::microphone});
  EXPECT_EQ(send(a, sender.audio()).size(), 1u);
  graph.set_active(now, a, {});
  EXPECT_TRUE(send(a, sender.audio()).empty());
  EXPECT_TRUE(graph.slot_uses(b).empty());
}

TEST_F(MediaGraphTest, VideoBeginsWithAKeyFrameAndThePublisherIsAskedForOneAtOnce) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  EXPECT_EQ(count_plis(a), 1);
  Sender sender{1010};
  EXPECT_TRUE(send(a, sender.frame(false)).empty());
  const auto out = send(a, sender.frame(true));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].participant, b);
  EXPECT_EQ(send(a, sender.frame(false)).size(), 1u);
}

TEST_F(MediaGraphTest, TheRequestForAKeyFrameIsRepeatedUntilOneComesButNotMoreOftenThanAllowed) {
  const auto a = join(1);
  join(2);
  graph.set_active(now, a, {Source::camera});
  EXPECT_EQ(count_plis(a), 1);
  Sender sender{1010};
  for (int i = 0; i < 100; ++i) { // two seconds
    graph.handle_rtp(now, a, sender.frame(false));
    tick();
  }
  const int plis = count_plis(a);
  EXPECT_GE(plis, 3);
  EXPECT_LE(plis, 5);
  send(a, sender.frame(true));
  for (int i = 0; i < 100; ++i) tick();
  EXPECT_EQ(count_plis(a), 0);
}

TEST_F(MediaGraphTest, PlisOfManySubscribersBecomeOne) {
  const auto a = join(1);
  std::vector<ParticipantIndex> others;
  for (std::uint8_t n = 2; n < 12; ++n) others.push_back(join(n));
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  send(a, sender.frame(true));
  count_plis(a);
  now += 1s;
  const auto all_ask = [&](bool key) {
    for (const auto other : others) graph.handle_rtcp(now, other, Leg::subscribe, pli_for(graph.offered_slots(other)[6].ssrc));
    graph.handle_rtp(now, a, sender.frame(key));
    tick();
  };
  for (int round = 0; round < 7; ++round) all_ask(false);
  EXPECT_EQ(count_plis(a), 1);
  all_ask(true);
  // What is wanted after the key frame is not forgotten, but asked for when the interval is over.
  for (int round = 0; round < 15; ++round) all_ask(false);
  EXPECT_EQ(count_plis(a), 0);
  for (int round = 0; round < 7; ++round) all_ask(false);
  EXPECT_EQ(count_plis(a), 1);
}

TEST_F(MediaGraphTest, ANewcomerGetsItsKeyFrameSoonEvenShortlyAfterAnother) {
  const auto a = join(1);
  join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  EXPECT_EQ(count_plis(a), 1);
  send(a, sender.frame(true));
  now += 150ms;
  join(3);
  EXPECT_EQ(count_plis(a), 1);
}

TEST_F(MediaGraphTest, AMemberThatHasNotFollowedTheLogGetsNoPictureAndItsRequestsAreHeardLater) {
  const auto a = join(1), b = join(2, "room", false);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  const auto run = [&](Duration duration, bool ask) {
    for (const TimePoint end = now + duration; now < end;) {
      if (ask) graph.handle_rtcp(now, b, Leg::subscribe, pli_for(graph.offered_slots(b)[Limits{}.audio_slots].ssrc));
      tick();
      send(a, sender.frame(false));
    }
  };
  graph.handle_epoch(now, "room", 7);
  graph.set_member(now, b, true);
  run(3s, true);
  EXPECT_EQ(count_plis(a), 0) << "it has not the keys of the epoch that it is to come in with";
  EXPECT_TRUE(send(a, sender.frame(true)).empty()) << "nor would it decrypt a key frame that comes for another reason";
  graph.handle_followed(b, 7);
  run(1s, true);
  EXPECT_EQ(count_plis(a), 0) << "everything before that entry is not enough";
  graph.handle_followed(b, 8);
  tick();
  EXPECT_EQ(count_plis(a), 1);
  EXPECT_EQ(send(a, sender.frame(true)).size(), 1u);

  graph.handle_epoch(now, "room", 9);
  run(500ms, false);
  graph.handle_rtcp(now, b, Leg::subscribe, pli_for(graph.offered_slots(b)[Limits{}.audio_slots].ssrc));
  EXPECT_EQ(count_plis(a), 1) << "frames of the new epoch are held for a second: who lost one may ask";
  send(a, sender.frame(true));
  run(700ms, false);
  const auto withheld = graph.counters().key_frames_withheld;
  run(3s, true);
  EXPECT_EQ(count_plis(a), 0);
  EXPECT_GT(graph.counters().key_frames_withheld, withheld + 100);
  EXPECT_EQ(send(a, sender.frame(false)).size(), 1u) << "what flows goes on";
  graph.handle_followed(b, 10);
  tick();
  EXPECT_EQ(count_plis(a), 1);
  send(a, sender.frame(true));
  run(2s, false);
  EXPECT_EQ(count_plis(a), 0) << "once";
}

TEST_F(MediaGraphTest, ANewcomersKeyFrameIsAskedForWhenTheOthersSendInItsEpoch) {
  const auto a = join(1), b = join(2, "room", false);
  graph.set_active(now, a, {Source::camera});
  graph.handle_epoch(now, "room", 7);
  graph.set_member(now, b, true);
  graph.handle_followed(b, 8);
  const TimePoint admitted = now;
  while (count_plis(a) == 0) {
    tick();
    ASSERT_LT(now, admitted + 1s);
  }
  EXPECT_GE(now, admitted + 150ms);
  EXPECT_LE(now, admitted + 250ms);
}

TEST_F(MediaGraphTest, EpochsInAnyNumberTakeBoundedMemoryAndWhoFollowsAllIsHeard) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  send(a, sender.frame(true));
  count_plis(a);
  for (std::uint64_t entry = 1; entry <= 1000; ++entry) graph.handle_epoch(now, "room", entry);
  const Bytes pli = pli_for(graph.offered_slots(b)[Limits{}.audio_slots].ssrc);
  now += 600ms;
  graph.handle_rtcp(now, b, Leg::subscribe, pli);
  EXPECT_EQ(count_plis(a), 0) << "936 epochs behind";
  graph.handle_followed(b, 1001);
  graph.handle_rtcp(now, b, Leg::subscribe, pli);
  EXPECT_EQ(count_plis(a), 1);
  graph.handle_epoch(now, "elsewhere", 1); // no room of ours
}

TEST_F(MediaGraphTest, NumbersGoOnWithoutABreakWhenASlotChangesItsPublication) {
  const auto a = join(1), b = join(2), c = join(3);
  graph.set_active(now, a, {Source::camera});
  Sender sa{1010}, sb{2010};
  sb.sequence = 5;
  sb.timestamp = 77;
  sb.picture = 9;
  sb.tl0 = 3;
  std::vector<Received> at_c;
  const auto feed = [&](ParticipantIndex from, Sender& sender, bool key) {
    for (auto& r : send(from, sender.frame(key)))
      if (r.participant == c) at_c.push_back(std::move(r));
    now += 33ms;
  };
  feed(a, sa, true);
  for (int i = 0; i < 10; ++i) feed(a, sa, false); // across the wraps of all four counters
  graph.set_active(now, a, {});
  now += 1s;
  graph.set_active(now, b, {Source::camera});
  feed(b, sb, false); // not forwarded: no key frame yet
  feed(b, sb, true);
  for (int i = 0; i < 5; ++i) feed(b, sb, false);
  ASSERT_EQ(at_c.size(), 17u);
  for (std::size_t i = 1; i < at_c.size(); ++i) {
    EXPECT_EQ(at_c[i].packet.ssrc, at_c[0].packet.ssrc);
    EXPECT_EQ(at_c[i].packet.sequence, static_cast<std::uint16_t>(at_c[i - 1].packet.sequence + 1));
    EXPECT_EQ(picture_of(at_c[i]), (picture_of(at_c[i - 1]) + 1) & 0x7fff);
    EXPECT_EQ(tl0_of(at_c[i]), static_cast<std::uint8_t>(tl0_of(at_c[i - 1]) + 1));
    const auto step = static_cast<std::uint32_t>(at_c[i].packet.timestamp - at_c[i - 1].packet.timestamp);
    // At the change as much time as passed on the wall: 33 ms, one second, 33 ms.
    EXPECT_EQ(step, i == 11 ? 95'940u : 3000u) << i;
  }
  for (std::size_t i = 1; i < at_c.size(); ++i) {
    const auto number = [](const Received& r) {
      const auto v = *r.packet.extension(signaling::slot_transport_cc_extension);
      return static_cast<std::uint16_t>(v[0] << 8 | v[1]);
    };
    EXPECT_EQ(number(at_c[i]), static_cast<std::uint16_t>(number(at_c[i - 1]) + 1));
  }
}

TEST_F(MediaGraphTest, PayloadsBehindTheDescriptorAreNotTouched) {
  const auto a = join(1);
  join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  const Bytes in = sender.frame(true, 0x5a);
  const auto out = send(a, in);
  ASSERT_EQ(out.size(), 1u);
  const Bytes original = to_bytes(ByteView(in).last(21));
  EXPECT_EQ(to_bytes(out[0].packet.payload.last(21)), original);
}

TEST_F(MediaGraphTest, ALostPacketIsAskedForAndItsRetransmissionIsForwardedInItsPlace) {
  const auto a = join(1);
  join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  const auto first = send(a, sender.frame(true));
  const Bytes lost = sender.frame(false, 0x11);
  const auto third = send(a, sender.frame(false));
  ASSERT_EQ(third.size(), 1u);
  EXPECT_EQ(third[0].packet.sequence, static_cast<std::uint16_t>(first[0].packet.sequence + 2));
  tick();
  const auto lost_packet = *rtp::parse_packet(lost);
  EXPECT_EQ(nacks(a), std::vector<std::uint16_t>{lost_packet.sequence});

  Sender rtx{1011};
  rtx.timestamp = lost_packet.timestamp;
  Bytes payload{static_cast<std::uint8_t>(lost_packet.sequence >> 8), static_cast<std::uint8_t>(lost_packet.sequence)};
  payload.insert(payload.end(), lost_packet.payload.begin(), lost_packet.payload.end());
  const auto repaired = send(a, rtx.packet(vp8_rtx, 1, true, payload));
  ASSERT_EQ(repaired.size(), 1u);
  EXPECT_EQ(repaired[0].packet.sequence, static_cast<std::uint16_t>(first[0].packet.sequence + 1));
  EXPECT_EQ(repaired[0].packet.payload.back(), 0x11);
  // Once more, as a browser's probe for bandwidth: not forwarded again.
  EXPECT_TRUE(send(a, rtx.packet(vp8_rtx, 2, true, payload)).empty());
  for (int i = 0; i < 20; ++i) tick();
  EXPECT_TRUE(nacks(a).empty());
}

class ResentSound : public MediaGraphTest {
 protected:
  ParticipantIndex speaker(std::uint8_t n) {
    const ParticipantIndex index = join(n);
    signaling::PublishOffer offer = publish_offer(n * 1000U);
    offer.media[0].resends_sound = true;
    graph.set_publisher(now, index, offer);
    graph.set_active(now, index, {Source::microphone});
    return index;
  }
};

TEST_F(ResentSound, IsAskedForTwiceAtMostAndForwardedInItsPlace) {
  const auto a = speaker(1), b = join(2);
  Sender microphone{1000};
  const auto first = send(a, microphone.audio());
  ASSERT_EQ(first.size(), 1U);
  const std::uint16_t missing = microphone.sequence;
  const Bytes lost = microphone.audio(9);
  send(a, microphone.audio());
  tick();
  EXPECT_EQ(nacks(a), std::vector<std::uint16_t>{missing});
  tick();
  EXPECT_TRUE(nacks(a).empty());
  std::size_t more = 0;
  for (int i = 0; i < 5; ++i) {
    send(a, microphone.audio());
    tick();
    more += nacks(a).size();
  }
  EXPECT_EQ(more, 1U);
  const auto late = send(a, lost);
  ASSERT_EQ(late.size(), 1U);
  EXPECT_EQ(late[0].participant, b);
  EXPECT_EQ(late[0].packet.sequence, static_cast<std::uint16_t>(first[0].packet.sequence + 1));
  EXPECT_EQ(late[0].packet.timestamp, first[0].packet.timestamp + 960);
  EXPECT_EQ(late[0].packet.payload[0], 9);
}

TEST_F(ResentSound, OfALongHoleOnlyTheLastEightPacketsAreAskedForAndNothingOfAnOutage) {
  const auto a = speaker(1);
  join(2);
  Sender microphone{1000};
  send(a, microphone.audio());
  for (int i = 0; i < 20; ++i) microphone.audio();
  const std::uint16_t next = microphone.sequence;
  send(a, microphone.audio());
  tick();
  std::vector<std::uint16_t> expected;
  for (int i = 8; i > 0; --i) expected.push_back(static_cast<std::uint16_t>(next - i));
  EXPECT_EQ(nacks(a), expected);
  for (int i = 0; i < 100; ++i) microphone.audio();
  send(a, microphone.audio());
  tick(100ms);
  EXPECT_TRUE(nacks(a).empty());
}

TEST_F(ResentSound, IsNotAskedForOfWhoDidNotOfferItNorWhileNobodyListens) {
  const auto a = join(1);
  graph.set_active(now, a, {Source::microphone});
  const auto b = join(2);
  Sender microphone{1000};
  send(a, microphone.audio());
  microphone.audio();
  send(a, microphone.audio());
  tick();
  EXPECT_TRUE(nacks(a).empty());
  const auto c = speaker(3);
  Sender other{3000};
  send(c, other.audio());
  other.audio();
  send(c, other.audio());
  graph.remove_participant(now, a);
  graph.remove_participant(now, b);
  tick();
  EXPECT_TRUE(nacks(c).empty());
}

TEST_F(MediaGraphTest, AKeyFrameWhoseFirstPacketCameLateIsCompletedFromWhatIsHeld) {
  const auto a = join(1);
  join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  send(a, sender.frame(false));
  sender.next_frame();
  const Bytes start = sender.packet(vp8, sender.sequence++, false, sender.vp8_payload(true, true, 1));
  const Bytes rest = sender.packet(vp8, sender.sequence++, true, sender.vp8_payload(true, false, 2));
  EXPECT_TRUE(send(a, rest).empty());
  const auto out = send(a, start);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[0].packet.payload.back(), 1);
  EXPECT_EQ(out[1].packet.payload.back(), 2);
  EXPECT_EQ(out[1].packet.sequence, static_cast<std::uint16_t>(out[0].packet.sequence + 1));
}

TEST_F(MediaGraphTest, APublisherMayGoOverToAnotherCodecBetweenTwoFramesAndBackInARetransmission) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  send(a, sender.frame(true));
  const auto old = send(a, sender.frame(false));
  sender.next_frame();
  const auto changed = send(a, sender.packet(av1, sender.sequence++, true, Bytes{0x18, 0x0a, 0x80}));
  ASSERT_EQ(changed.size(), 1u);
  EXPECT_EQ(changed[0].packet.payload_type, signaling::slot_payload_type(signaling::Codec::av1));
  EXPECT_EQ(changed[0].packet.sequence, static_cast<std::uint16_t>(old[0].packet.sequence + 1));
  EXPECT_EQ(changed[0].packet.timestamp, old[0].packet.timestamp + 3000);
  EXPECT_EQ(to_bytes(changed[0].packet.payload), (Bytes{0x18, 0x0a, 0x80}));
  const auto slot = graph.offered_slots(b)[6];
  graph.handle_rtcp(now, b, Leg::subscribe, nack_for(slot.ssrc, {old[0].packet.sequence, changed[0].packet.sequence}));
  const auto again = media();
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].packet.payload_type, signaling::slot_rtx_payload_type(signaling::Codec::vp8));
  EXPECT_EQ(again[1].packet.payload_type, signaling::slot_rtx_payload_type(signaling::Codec::av1));
}

struct LayeredSender : Sender {
  LayeredAv1 layers;

  /// The lower and the upper layer's packets.
  std::array<Bytes, 2> picture(bool key) {
    timestamp += 9000;
    std::array<Bytes, 2> out;
    const auto frames = layers.picture(key);
    for (std::size_t layer = 0; layer < 2; ++layer) out[layer] = packet(av1, sequence++, layer == 1, frames[layer].payload, frames[layer].descriptor);
    return out;
  }
};

/// What a receiver makes of the descriptors of what came, in its order.
struct DescriptorReader {
  std::optional<rtp::DependencyStructure> structure;
  std::optional<rtp::DependencyDescriptor> read(const Received& r) {
    const auto value = r.packet.extension(signaling::slot_dependency_descriptor_extension);
    if (!value) return std::nullopt;
    const auto d = rtp::parse_dependency_descriptor(*value, structure);
    EXPECT_TRUE(d);
    return d ? std::optional(*d) : std::nullopt;
  }
};

TEST_F(MediaGraphTest, LayersOfAv1GoOnWithDescriptorsWhoseNumbersAreTheSlotsOwnAndPayloadsAreNotTouched) {
  const auto a = join(1), c = join(3), b = join(2);
  graph.set_active(now, a, {Source::camera});
  LayeredSender sender{{1010}, {}};
  DescriptorReader reader;
  std::vector<std::uint16_t> numbers;
  const auto take = [&](LayeredSender& from, ParticipantIndex who, bool key) {
    std::size_t of_b = 0;
    for (const Bytes& bytes : from.picture(key)) {
      for (const Received& r : send(who, bytes)) {
        if (r.participant != b) continue;
        const auto original = rtp::parse_packet(bytes);
        EXPECT_EQ(to_bytes(r.packet.payload), to_bytes(original->payload));
        EXPECT_EQ(r.packet.marker, of_b == 1);
        const auto d = reader.read(r);
        ASSERT_TRUE(d);
        EXPECT_EQ(d->spatial, of_b++);
        EXPECT_EQ(d->has_structure, key && d->spatial == 0);
        numbers.push_back(d->frame_number);
      }
    }
    EXPECT_EQ(of_b, 2u);
  };
  for (int i = 0; i < 9; ++i) take(sender, a, i == 0);
  // Another one's picture in the same slot.
  graph.set_active(now, a, {});
  graph.set_active(now, c, {Source::camera});
  LayeredSender other{{3010}, {}};
  other.layers.frame = 500;
  for (int i = 0; i < 5; ++i) take(other, c, i == 0);
  for (std::size_t i = 1; i < numbers.size(); ++i) EXPECT_EQ(static_cast<std::uint16_t>(numbers[i] - numbers[i - 1]), 1) << i;
}

TEST_F(MediaGraphTest, ASmallTileGetsTheLowerLayerOfAv1AndItsDescriptorsSayWhichTargetsAreLeft) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  LayeredSender sender{{1010}, {}};
  DescriptorReader reader;
  const auto picture = [&](bool key) {
    std::vector<rtp::DependencyDescriptor> out;
    std::vector<bool> markers;
    for (const Bytes& bytes : sender.picture(key))
      for (const Received& r : send(a, bytes)) {
        markers.push_back(r.packet.marker);
        if (const auto d = reader.read(r)) out.push_back(*d);
      }
    EXPECT_EQ(std::count(markers.begin(), markers.end(), true), 1) << "one packet ends the picture";
    return out;
  };
  EXPECT_EQ(picture(true).size(), 2u);
  const std::vector<TileView> small{{"v0", 180}}, large{{"v0", 360}};
  graph.set_view(now, b, small);
  const std::uint32_t lower = rtp::targets_up_to(*reader.structure, 0, 2), all = rtp::targets_up_to(*reader.structure, 1, 2);
  std::uint16_t before = 0;
  for (int i = 0; i < 4; ++i) {
    const auto got = picture(false);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].spatial, 0);
    EXPECT_EQ(got[0].active_decode_targets, lower);
    if (i > 0) {
      EXPECT_EQ(static_cast<std::uint16_t>(got[0].frame_number - before), 2) << "what is left out leaves a gap: differences between frames stay true";
    }
    before = got[0].frame_number;
  }
  // Up again: from a key frame on, which is asked for.
  count_plis(a);
  now += 1s;
  graph.set_view(now, b, large);
  EXPECT_EQ(count_plis(a), 1);
  EXPECT_EQ(picture(false).size(), 1u);
  const auto key = picture(true);
  ASSERT_EQ(key.size(), 2u);
  EXPECT_FALSE(key[0].active_decode_targets) << "with a structure all are active";
  EXPECT_EQ(picture(false)[1].active_decode_targets, all);
}

TEST_F(MediaGraphTest, WhoDoesNotReadDescriptorsGetsTheLowestLayerOfAv1AndNoDescriptor) {
  const auto a = join(1), b = join(2);
  answer(b, true, false);
  graph.set_active(now, a, {Source::camera});
  LayeredSender sender{{1010}, {}};
  std::uint16_t sequence = 0;
  for (int i = 0; i < 6; ++i) {
    std::size_t count = 0;
    for (const Bytes& bytes : sender.picture(i == 0 || i == 4))
      for (const Received& r : send(a, bytes)) {
        EXPECT_EQ(r.packet.payload[3], 0) << "layer";
        EXPECT_TRUE(r.packet.marker);
        EXPECT_FALSE(r.packet.extension(signaling::slot_dependency_descriptor_extension));
        if (i > 0) {
          EXPECT_EQ(static_cast<std::uint16_t>(r.packet.sequence - sequence), 1);
        }
        sequence = r.packet.sequence;
        ++count;
      }
    EXPECT_EQ(count, 1u) << i;
    tick(200ms);
  }
}

TEST_F(MediaGraphTest, ARepeatedPacketOfAv1HasItsDescriptorAgain) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  LayeredSender sender{{1010}, {}};
  std::vector<Received> sent;
  for (int i = 0; i < 2; ++i)
    for (const Bytes& bytes : sender.picture(i == 0))
      for (Received& r : send(a, bytes)) sent.push_back(std::move(r)); // its views go on pointing into it
  ASSERT_EQ(sent.size(), 4u);
  now += 30ms;
  for (const Received& r : sent) {
    graph.handle_rtcp(now, b, Leg::subscribe, nack_for(r.packet.ssrc, {r.packet.sequence}));
    const auto again = media();
    ASSERT_EQ(again.size(), 1u);
    EXPECT_EQ(to_bytes(*again[0].packet.extension(signaling::slot_dependency_descriptor_extension)),
              to_bytes(*r.packet.extension(signaling::slot_dependency_descriptor_extension)));
    EXPECT_EQ(to_bytes(again[0].packet.payload.subspan(2)), to_bytes(r.packet.payload));
  }
}

TEST_F(MediaGraphTest, APacketOfAv1WhoseStructureIsMissingIsAskedForAgainWithIt) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  LayeredSender before{{1010}, {}};
  for (const Bytes& bytes : before.picture(true)) send(a, bytes);
  // The next key frame has other templates (the first is 32), and its first packet is lost.
  const auto number = before.sequence;
  const auto packet_of = [&](std::size_t i, std::string_view hex) {
    const Bytes payload{0x10, 0x30, 9, static_cast<std::uint8_t>(i)};
    return before.packet(av1, static_cast<std::uint16_t>(number + i), i == 1, payload, *from_hex(hex));
  };
  before.timestamp += 9000;
  const Bytes first = packet_of(0, "e00100" "8405" + std::string(LayeredAv1::structure.substr(4))), second = packet_of(1, "e50101");
  EXPECT_TRUE(send(a, second).empty()) << "of a layer that nobody knows";
  const auto out = send(a, first);
  ASSERT_EQ(out.size(), 1u);
  DescriptorReader reader;
  EXPECT_TRUE(reader.read(out[0])->has_structure);
  const auto again = send(a, second);
  ASSERT_EQ(again.size(), 1u) << "it is not taken for one that came twice";
  EXPECT_EQ(again[0].participant, b);
}

TEST_F(MediaGraphTest, WhoCannotReadACodecGetsNothingOfIt) {
  const auto a = join(1), b = join(2);
  std::vector<signaling::SubscribeAnswer::Slot> without(graph.offered_slots(b).size(), {true, false, {signaling::Codec::opus, signaling::Codec::vp8}});
  graph.accept_slots(now, b, without);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  EXPECT_EQ(send(a, sender.frame(true)).size(), 1u);
  EXPECT_TRUE(send(a, sender.packet(av1, sender.sequence++, true, Bytes{0x18, 0x0a, 0x80})).empty());
}

TEST_F(MediaGraphTest, ASubscribersNackIsAnsweredOnTheRetransmissionStreamWithTheSamePayload) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  send(a, sender.frame(true));
  const auto wanted = send(a, sender.frame(false, 0x33));
  send(a, sender.frame(false));
  const auto slot = graph.offered_slots(b)[6];
  ASSERT_EQ(slot.mid, "v0");
  graph.handle_rtcp(now, b, Leg::subscribe, nack_for(slot.ssrc, {wanted[0].packet.sequence}));
  auto out = media();
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].packet.ssrc, slot.rtx_ssrc);
  EXPECT_EQ(out[0].packet.payload_type, signaling::slot_rtx_payload_type(signaling::Codec::vp8));
  EXPECT_EQ(out[0].packet.timestamp, wanted[0].packet.timestamp);
  const auto unpacked = rtp::parse_retransmission(out[0].packet.payload);
  ASSERT_TRUE(unpacked);
  EXPECT_EQ(unpacked->original_sequence, wanted[0].packet.sequence);
  EXPECT_EQ(to_bytes(unpacked->payload), to_bytes(wanted[0].packet.payload));
  // At once again: not answered; a while later: with the next number of the retransmission stream.
  graph.handle_rtcp(now, b, Leg::subscribe, nack_for(slot.ssrc, {wanted[0].packet.sequence}));
  EXPECT_TRUE(media().empty());
  now += 50ms;
  graph.handle_rtcp(now, b, Leg::subscribe, nack_for(slot.ssrc, {wanted[0].packet.sequence}));
  const auto again = media();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].packet.sequence, static_cast<std::uint16_t>(out[0].packet.sequence + 1));
}

TEST_F(MediaGraphTest, WhateverTheRateWhatWasSentInTheLastSecondCanBeSentAgain) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  std::vector<Received> sent;
  for (int i = 0; i < 450; ++i) {
    for (Received& r : send(a, sender.frame(i == 0))) sent.push_back(std::move(r));
    now += 2ms;
  }
  ASSERT_EQ(sent.size(), 450u);
  const std::uint32_t ssrc = graph.offered_slots(b)[6].ssrc;
  for (std::size_t i = 0; i < sent.size(); i += 7) {
    graph.handle_rtcp(now, b, Leg::subscribe, nack_for(ssrc, {sent[i].packet.sequence}));
    const auto again = media();
    ASSERT_EQ(again.size(), 1u) << i;
    EXPECT_EQ(rtp::parse_retransmission(again[0].packet.payload)->original_sequence, sent[i].packet.sequence);
  }
}

TEST_F(MediaGraphTest, ANackForWhatWasNeverSentOrBelongsToAnEarlierPublicationIsNotAnswered) {
  const auto a = join(1), b = join(2), c = join(3);
  graph.set_active(now, a, {Source::camera});
  Sender sa{1010}, sb{2010};
  send(a, sa.frame(true));
  const auto old = send(a, sa.frame(false));
  const auto slot = graph.offered_slots(c)[6];
  const auto sequence = [&] {
    for (const auto& r : old)
      if (r.participant == c) return r.packet.sequence;
    return std::uint16_t{0};
  }();
  graph.handle_rtcp(now, c, Leg::subscribe, nack_for(slot.ssrc, {static_cast<std::uint16_t>(sequence + 1), static_cast<std::uint16_t>(sequence - 100)}));
  EXPECT_TRUE(media().empty());
  graph.set_active(now, a, {});
  graph.set_active(now, b, {Source::camera});
  send(b, sb.frame(true));
  send(b, sb.frame(false)); // has the number that the lost one had in its own stream
  graph.handle_rtcp(now, c, Leg::subscribe, nack_for(slot.ssrc, {sequence}));
  EXPECT_TRUE(media().empty());
  EXPECT_EQ(graph.counters().missed_not_held, 2u);
  EXPECT_EQ(graph.counters().missed_given_up, 1u);
}

TEST_F(MediaGraphTest, NacksCannotMakeMoreThanTheAllowedRateOfRetransmissions) {
  Limits limits;
  limits.retransmissions_per_second = 5;
  MediaGraph small(limits, random);
  // The same as the fixture's join, on a graph of its own.
  const auto add = [&](std::uint8_t n) {
    const auto index = *small.add_participant("room", id_of(n));
    small.set_publisher(now, index, publish_offer(n * 1000U));
    small.set_connected(now, index, Leg::publish, true, true);
    small.begin_subscriber(now, index);
    std::vector<signaling::SubscribeAnswer::Slot> slots(small.offered_slots(index).size(), {true, true, everything});
    small.accept_slots(now, index, slots);
    small.set_connected(now, index, Leg::subscribe, true, true);
    small.set_member(now, index, true);
    return index;
  };
  const auto a = add(1), b = add(2);
  small.set_active(now, a, {Source::camera});
  Sender sender{1010};
  small.clear_packets();
  std::vector<std::uint16_t> all;
  for (int i = 0; i < 20; ++i) {
    small.handle_rtp(now, a, sender.frame(i == 0));
    for (const auto& p : small.packets())
      if (!p.rtcp) all.push_back(rtp::parse_packet({p.data, p.size})->sequence);
    small.clear_packets();
  }
  ASSERT_EQ(all.size(), 20u);
  small.handle_rtcp(now, b, Leg::subscribe, nack_for(small.offered_slots(b)[6].ssrc, all));
  EXPECT_EQ(small.packets().size(), 5u);
  EXPECT_EQ(small.counters().missed_rate, 15u);
}

TEST_F(MediaGraphTest, WhoeverComesGoesAndTurnsThingsOnEachPublicationHasOneSlotWhereThereIsOneAndNoneThatEnded) {
  std::map<std::uint8_t, std::pair<ParticipantIndex, SourceSet>> people;
  std::uint64_t carried = 0;
  for (int round = 0; round < 1500; ++round) {
    const auto who = static_cast<std::uint8_t>(1 + random.u64() % 14);
    const auto found = people.find(who);
    if (found == people.end()) {
      people[who] = {join(who), {}};
    } else if (random.u64() % 8 == 0) {
      graph.remove_participant(now, found->second.first);
      people.erase(found);
    } else {
      SourceSet active;
      for (const Source source : {Source::microphone, Source::camera, Source::screen})
        if (random.u64() % 2 == 0) active.insert(source);
      graph.set_active(now, found->second.first, found->second.second = active);
    }
    while (graph.poll_output()) { // the pool's growth stays unanswered: some find no slot
    }
    graph.clear_packets();
    graph.arena().clear();
    for (const auto& [id, subscriber] : people) {
      std::set<std::pair<IncarnationId, Source>> has;
      std::array<std::size_t, 2> used{}, wanted{};
      for (const SlotUse& use : graph.slot_uses(subscriber.first)) {
        ASSERT_TRUE(has.emplace(use.incarnation, use.source).second) << "twice";
        const auto from = people.find(use.incarnation.bytes[0]);
        ASSERT_TRUE(from != people.end() && from->first != id && from->second.second.contains(use.source)) << "of somebody who does not send it";
        ++used[signaling::is_audio(use.source)];
        ++carried;
      }
      for (const auto& [other, p] : people)
        for (const Source source : {Source::microphone, Source::camera, Source::screen})
          if (other != id && p.second.contains(source)) ++wanted[signaling::is_audio(source)];
      EXPECT_EQ(used[1], std::min<std::size_t>(wanted[1], Limits{}.audio_slots));
      EXPECT_EQ(used[0], std::min<std::size_t>(wanted[0], Limits{}.video_slots));
    }
  }
  EXPECT_GT(carried, 50'000u);
}

TEST_F(MediaGraphTest, WhyARetransmissionIsNotSentIsCountedByItsReason) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  send(a, sender.frame(true));
  const auto sent = send(a, sender.frame(false));
  ASSERT_EQ(sent.size(), 1u);
  const std::uint32_t ssrc = graph.offered_slots(b)[6].ssrc;
  const auto ask = [&](int number) {
    graph.handle_rtcp(now, b, Leg::subscribe, nack_for(ssrc, {static_cast<std::uint16_t>(number)}));
    const Counters& c = graph.counters();
    return std::array{c.retransmissions_sent, c.missed_not_held, c.missed_too_soon, c.missed_given_up, c.missed_rate};
  };
  using Counts = std::array<std::uint64_t, 5>;
  const int number = sent[0].packet.sequence;
  EXPECT_EQ(ask(number), (Counts{1, 0, 0, 0, 0}));
  EXPECT_EQ(ask(number), (Counts{1, 0, 1, 0, 0}));
  EXPECT_EQ(ask(number + 1), (Counts{1, 1, 1, 0, 0}));
  // The connection begins anew, with a key frame: what was sent before it is void.
  graph.set_connected(now, b, Leg::subscribe, true, true);
  EXPECT_EQ(ask(number), (Counts{1, 1, 1, 1, 0}));
}

TEST_F(MediaGraphTest, AnUnknownStreamIsTakenByItsMidAndARefusedOneIsDropped) {
  const auto a = join(1);
  join(2);
  graph.set_active(now, a, {Source::screen});
  Sender stranger{424242};
  stranger.next_frame();
  Bytes out(200);
  const rtp::HeaderExtension extensions[1] = {{mid_id, as_bytes("2")}};
  const auto header = rtp::write_header({true, vp8, 1, 1, stranger.ssrc}, extensions, out);
  out.resize(header->size());
  const Bytes payload = stranger.vp8_payload(true, true, 1);
  out.insert(out.end(), payload.begin(), payload.end());
  EXPECT_EQ(send(a, out).size(), 1u);

  Sender nobody{434343};
  EXPECT_TRUE(send(a, nobody.frame(true)).empty()); // two m-lines have its payload type, and it names neither
  EXPECT_TRUE(send(a, Sender{1020}.packet(99, 1, true, payload)).empty());
  EXPECT_EQ(graph.counters().dropped_unknown_stream, 2u);
}

TEST_F(MediaGraphTest, ThePoolGrowsWhenPublicationsHaveNoSlotAndStopsAtItsLimit) {
  Limits limits;
  const auto viewer = join(1);
  drain_outputs();
  EXPECT_EQ(graph.slot_count(viewer), limits.audio_slots + limits.video_slots);
  for (std::uint8_t n = 2; n <= 9; ++n) graph.set_active(now, join(n), {Source::microphone});
  bool grown = false;
  while (const auto output = graph.poll_output())
    if (const auto* const g = std::get_if<MediaGraph::PoolGrown>(&*output)) grown = grown || g->participant == viewer;
  EXPECT_TRUE(grown);
  EXPECT_EQ(graph.slot_uses(viewer).size(), 6u);
  EXPECT_EQ(graph.slot_count(viewer), 2 * limits.audio_slots + limits.video_slots);
  EXPECT_EQ(graph.offered_slots(viewer).back().mid, "a11");
  answer(viewer);
  EXPECT_EQ(graph.slot_uses(viewer).size(), 8u);
  for (std::uint8_t n = 10; n <= 60; ++n) {
    graph.set_active(now, join(n), {Source::microphone});
    answer(viewer);
  }
  EXPECT_EQ(graph.slot_uses(viewer).size(), limits.max_audio_slots);
  EXPECT_EQ(graph.slot_count(viewer), limits.max_audio_slots + limits.video_slots);
  EXPECT_GT(graph.counters().slots_refused, 0u);
}

TEST_F(MediaGraphTest, SlotsAreStickyAndAFreedOneIsUsedAgain) {
  const auto viewer = join(1), b = join(2), c = join(3), d = join(4);
  graph.set_active(now, b, {Source::microphone});
  graph.set_active(now, c, {Source::microphone});
  EXPECT_EQ(graph.slot_uses(viewer), (std::vector<SlotUse>{{"a0", id_of(2), Source::microphone}, {"a1", id_of(3), Source::microphone}}));
  graph.remove_participant(now, b);
  EXPECT_EQ(graph.slot_uses(viewer), (std::vector<SlotUse>{{"a1", id_of(3), Source::microphone}}));
  graph.set_active(now, d, {Source::microphone});
  EXPECT_EQ(graph.slot_uses(viewer),
            (std::vector<SlotUse>{{"a0", id_of(4), Source::microphone}, {"a1", id_of(3), Source::microphone}}));
  Sender sender{4000};
  EXPECT_EQ(send(d, sender.audio()).size(), 2u);
}

TEST_F(MediaGraphTest, ThePublisherGetsTransportWideFeedbackAndReceiverReports) {
  const auto a = join(1);
  join(2);
  graph.set_active(now, a, {Source::microphone});
  Sender sender{1000};
  sender.transport = 65530;
  for (int i = 0; i < 20; ++i) {
    const Bytes packet = sender.audio();
    if (i != 7) send(a, packet);
    tick();
  }
  std::set<std::uint16_t> received, lost;
  bool report = false;
  for (const Bytes& compound : to_publishers[a]) {
    rtp::RtcpReader reader(compound);
    while (true) {
      const auto p = reader.next();
      ASSERT_TRUE(p);
      if (!*p) break;
      if ((*p)->is_transport_feedback(rtp::format_transport_wide)) {
        std::vector<rtp::PacketStatus> storage(64);
        const auto feedback = rtp::parse_transport_feedback(rtp::parse_feedback(**p)->control, storage);
        ASSERT_TRUE(feedback);
        for (const auto& s : feedback->statuses) (s.received ? received : lost).insert(s.sequence);
      }
      if ((*p)->is(rtp::RtcpType::receiver_report)) {
        auto rr = rtp::parse_receiver_report(**p);
        ASSERT_TRUE(rr);
        if (const auto block = rr->blocks.next()) report = block->ssrc == 1000;
      }
    }
  }
  EXPECT_GE(received.size(), 16u);
  EXPECT_EQ(lost, std::set<std::uint16_t>{static_cast<std::uint16_t>(65530 + 7)});
  (void)report; // the first report comes with the first tick, before any packet
  for (int i = 0; i < 60; ++i) tick();
  for (const Bytes& compound : to_publishers[a]) {
    rtp::RtcpReader reader(compound);
    const auto p = reader.next();
    if (!(*p)->is(rtp::RtcpType::receiver_report)) continue;
    auto rr = rtp::parse_receiver_report(**p);
    if (const auto block = rr->blocks.next(); block && block->ssrc == 1000 && block->cumulative_lost == 1) report = true;
  }
  EXPECT_TRUE(report);
}

TEST_F(MediaGraphTest, SenderReportsOfASlotFollowThePublishersClock) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::microphone});
  Sender sender{1000};
  const auto first = send(a, sender.audio());
  Bytes report(100);
  SpanWriter writer(report);
  rtp::SenderInfo info;
  info.ssrc = 1000;
  info.ntp = 5ULL << 32;
  info.rtp_timestamp = sender.timestamp;
  rtp::write_sender_report(info, {}, writer);
  report.resize(writer.written()->size());
  graph.handle_rtcp(now, a, Leg::publish, report);
  to_subscribers.clear();
  for (int i = 0; i < 60; ++i) tick();
  std::optional<rtp::SenderInfo> told;
  for (const Bytes& compound : to_subscribers[b]) {
    rtp::RtcpReader reader(compound);
    const auto p = reader.next();
    ASSERT_TRUE(p);
    if ((*p)->is(rtp::RtcpType::sender_report)) told = rtp::parse_sender_report(**p)->info;
  }
  ASSERT_TRUE(told);
  EXPECT_EQ(told->ssrc, first[0].packet.ssrc);
  const double elapsed = static_cast<double>(told->ntp - info.ntp) / 4294967296.0;
  EXPECT_GT(elapsed, 0.0);
  EXPECT_LT(elapsed, 1.3);
  EXPECT_NEAR(static_cast<double>(told->rtp_timestamp - first[0].packet.timestamp), elapsed * 48000, 2);
  EXPECT_EQ(told->packets, 1u);
}

TEST_F(MediaGraphTest, ASubscriberThatComesBackBeginsWithAKeyFrameAndItsNumbersGoOn) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  Sender sender{1010};
  const auto before = send(a, sender.frame(true));
  ASSERT_EQ(before.size(), 1u);
  count_plis(a);
  graph.set_connected(now, b, Leg::subscribe, false, false);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(send(a, sender.frame(false)).empty());
  now += 1s;
  graph.set_connected(now, b, Leg::subscribe, true, false);
  EXPECT_EQ(count_plis(a), 1);
  EXPECT_TRUE(send(a, sender.frame(false)).empty());
  const auto after = send(a, sender.frame(true));
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(after[0].packet.sequence, static_cast<std::uint16_t>(before[0].packet.sequence + 1));
}

TEST_F(MediaGraphTest, GarbageIsCountedAndChangesNothing) {
  const auto a = join(1), b = join(2);
  graph.set_active(now, a, {Source::camera});
  SeededRandom noise(7);
  for (int i = 0; i < 2000; ++i) {
    Bytes bytes(static_cast<std::size_t>(noise.u64() % 200));
    noise.fill(bytes);
    if (!bytes.empty()) bytes[0] = static_cast<std::uint8_t>(0x80 | (bytes[0] & 0x3f));
    graph.handle_rtp(now, a, bytes);
    graph.handle_rtcp(now, a, Leg::publish, bytes);
    graph.handle_rtcp(now, b, Leg::subscribe, bytes);
  }
  media();
  Sender sender{1010};
  EXPECT_EQ(send(a, sender.frame(true)).size(), 1u);
}

TEST_F(MediaGraphTest, ARoomHoldsAsManyAsItsLimitAndEndsWithItsLast) {
  Limits limits;
  limits.participants_per_room = 2;
  limits.rooms = 1;
  MediaGraph small(limits, random);
  EXPECT_TRUE(small.add_participant("room", id_of(1)));
  EXPECT_TRUE(small.add_participant("room", id_of(2)));
  EXPECT_EQ(small.add_participant("room", id_of(3)).error(), Error(sfu_room_full));
  EXPECT_EQ(small.add_participant("other", id_of(3)).error(), Error(sfu_too_many_rooms));
  EXPECT_EQ(small.add_participant("room", id_of(2)).error(), Error(sfu_participant_exists));
  small.remove_participant(now, *small.find(id_of(1)));
  small.remove_participant(now, *small.find(id_of(2)));
  EXPECT_EQ(small.room_count(), 0u);
  EXPECT_TRUE(small.add_participant("other", id_of(3)));
}

} // namespace
} // namespace satsuma::sfu
