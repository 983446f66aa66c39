// Nothing allocates on the packet path: the global operator new counts while packets are handled.

#include <gtest/gtest.h>

#include "../base/counted_allocations.h"
#include "rtp/packet.h"
#include "rtp/transport_feedback.h"
#include "sfu/media_graph.h"

namespace satsuma::sfu {
namespace {

using namespace std::chrono_literals;
using test::allocations;
using test::counting;

class Numbers final : public RandomSource {
 public:
  void fill(MutableByteView out) override {
    for (std::uint8_t& b : out) b = static_cast<std::uint8_t>(state_ = state_ * 7 + 3);
  }

 private:
  std::uint32_t state_ = 1;
};

TEST(NoAllocationTest, PacketsTheirFeedbackAndTheTimerAllocateNothingOnceTheRoomIsWarm) {
  Numbers random;
  MediaGraph graph(Limits{}, random), other(Limits{}, random);
  TimePoint now{100s};
  signaling::PublishOffer offer;
  signaling::PublishedMedia media;
  media.kind = signaling::MediaKind::video;
  media.source = Source::camera;
  media.mid = "1";
  media.codecs = {{signaling::Codec::vp8, 96, 97, true}};
  media.ssrc = 10;
  media.transport_cc_extension = 3;
  media.rtx_ssrc = 11;
  signaling::PublishedMedia sound;
  sound.kind = signaling::MediaKind::audio;
  sound.source = Source::microphone;
  sound.mid = "0";
  sound.codecs = {{signaling::Codec::opus, 111, std::nullopt, true}};
  sound.ssrc = 20;
  sound.transport_cc_extension = 3;
  offer.media = {sound, media};
  std::vector<ParticipantIndex> people;
  std::vector<rtp::TransportFeedbackRecorder> recorders(8);
  for (std::uint8_t n = 0; n < 8; ++n) {
    IncarnationId id;
    id.bytes[0] = n;
    people.push_back(*graph.add_participant("room", id));
    const ParticipantIndex p = people.back();
    if (n == 0) graph.set_publisher(now, p, offer);
    graph.set_connected(now, p, Leg::publish, true, true);
    graph.begin_subscriber(now, p);
    std::vector<signaling::SubscribeAnswer::Slot> slots(graph.slot_count(p), {true, true, {signaling::Codec::vp8, signaling::Codec::opus}});
    graph.accept_slots(now, p, slots);
    graph.set_connected(now, p, Leg::subscribe, true, true);
    graph.set_member(now, p, true);
  }
  graph.set_active(now, people[0], {Source::camera, Source::microphone});
  // One more in another shard, to whom the packets are handed.
  IncarnationId far_id;
  far_id.bytes[0] = 100;
  const ParticipantIndex far = *other.add_participant("room", far_id);
  other.begin_subscriber(now, far);
  other.accept_slots(now, far, std::vector<signaling::SubscribeAnswer::Slot>(other.slot_count(far), {true, true, {signaling::Codec::vp8, signaling::Codec::opus}}));
  other.set_connected(now, far, Leg::subscribe, true, true);
  other.set_member(now, far, true);
  graph.set_room_shards("room", 2);
  other.set_room_shards("room", 1);
  std::uint64_t handed_over = 0, far_received = 0;
  const auto carry = [&] {
    for (const auto& m : graph.shard_messages()) {
      handed_over += std::holds_alternative<RelayedPacket>(m.message);
      other.handle_from_shard(now, 0, m.message);
    }
    for (const auto& m : other.shard_messages()) graph.handle_from_shard(now, 1, m.message);
    graph.clear_shard_messages();
    other.clear_shard_messages();
    for (const auto& out : other.packets()) far_received += !out.rtcp;
    other.clear_packets();
    other.arena().clear();
  };
  while (graph.poll_output()) {
  }
  carry();

  std::uint64_t forwarded = 0, sounds = 0, copies = 0;
  std::vector<Bytes> to_send(8, Bytes(1200));
  std::uint16_t transport_sequence = 0, sound_sequence = 0;
  std::uint32_t video_ssrc = 0; // of the slot of the one who asks for packets again
  std::uint16_t video_sequence = 0;
  const auto made = [&](bool marker, std::uint8_t payload_type, std::uint16_t sequence, std::uint32_t timestamp, std::uint32_t ssrc, std::size_t size) {
    Bytes packet(1500);
    ++transport_sequence;
    const std::uint8_t transport[2] = {static_cast<std::uint8_t>(transport_sequence >> 8), static_cast<std::uint8_t>(transport_sequence)};
    const rtp::HeaderExtension extensions[1] = {{3, transport}};
    const auto header = rtp::write_header({marker, payload_type, sequence, timestamp, ssrc}, extensions, packet);
    packet.resize(header->size() + size);
    return std::pair(std::move(packet), header->size());
  };
  std::vector<Bytes> burst;
  TimePoint link_free{}; // of the one behind a link of 2.4 Mbit/s
  const auto round = [&](std::uint16_t n) {
    auto [packet, header_size] = made(true, 96, n, n * 450U, 10, 1000);
    std::uint8_t* const payload = packet.data() + header_size;
    payload[0] = 0x90;
    payload[1] = 0xc0;
    payload[2] = static_cast<std::uint8_t>(0x80 | (n >> 8 & 0x7f));
    payload[3] = static_cast<std::uint8_t>(n);
    payload[5] = n % 300 == 0 ? 0 : 1;
    Bytes voice;
    if (n % 4 == 0) {
      voice = made(false, 111, sound_sequence, sound_sequence * 960U, 20, 80).first;
      ++sound_sequence;
    }
    Bytes nack(200);
    if (n % 20 == 0 && video_ssrc != 0) {
      SpanWriter out(nack);
      const std::uint16_t missing[2] = {static_cast<std::uint16_t>(video_sequence - 3), video_sequence};
      rtp::write_nack(1, video_ssrc, missing, out);
      nack.resize(out.size());
    } else {
      nack.clear();
    }
    if (n % 50 != 7) burst.push_back(std::move(packet)); // what is lost on its way up is asked for
    now += 5ms;
    counting = true;
    if (n % 16 == 0) // so many at once that they have to wait
      for (const Bytes& one : burst) graph.handle_rtp(now, people[0], one);
    if (!voice.empty()) graph.handle_rtp(now, people[0], voice);
    if (!nack.empty()) graph.handle_rtcp(now, people[6], Leg::subscribe, nack);
    graph.handle_pacing(now);
    carry();
    if (n % 4 == 0) {
      graph.handle_timeout(now);
      other.handle_timeout(now);
    }
    counting = false;
    if (n % 16 == 0) burst.clear();
    for (const auto& out : graph.packets()) {
      if (out.rtcp || out.leg != Leg::subscribe) continue;
      ++forwarded;
      const auto parsed = rtp::parse_packet({out.data, out.size});
      if (parsed->payload.size() < 200) sounds += out.participant == people[1], copies += out.copies;
      if (out.participant == people[6] && parsed->payload.size() > 900 && parsed->payload_type == signaling::slot_payload_type(signaling::Codec::vp8)) {
        video_ssrc = parsed->ssrc;
        video_sequence = parsed->sequence;
      }
      const auto number = *parsed->extension(signaling::slot_transport_cc_extension);
      if (out.participant == people[5] && number[1] % 4 == 0) continue; // lost on a path that loses much
      TimePoint arrival = now;
      if (out.participant == people[4]) arrival = link_free = std::max(link_free, now) + Duration(out.size * 8 * 10 / 24);
      recorders[out.participant].on_packet(arrival, static_cast<std::uint16_t>(number[0] << 8 | number[1]));
    }
    graph.clear_packets();
    graph.arena().clear();
    if (n % 10 != 0) return;
    for (std::size_t i = 1; i < 8; ++i)
      if (const auto feedback = recorders[i].write(1, 2, to_send[i])) {
        counting = true;
        graph.handle_rtcp(now, people[i], Leg::subscribe, *feedback);
        counting = false;
      }
  };
  for (std::uint16_t n = 0; n < 1500; ++n) round(n);
  EXPECT_GT(allocations.load(), 0u) << "the counter works: what is taken once is taken in the first rounds";
  allocations = 0;
  forwarded = handed_over = far_received = sounds = copies = 0;
  const Counters before = graph.counters();
  for (std::uint16_t n = 1500; n < 4500; ++n) round(n);
  EXPECT_GE(forwarded, 20'000u);
  EXPECT_GE(handed_over, 3'000u);
  EXPECT_GE(far_received, 2'900u);
  const Counters& after = graph.counters();
  EXPECT_GE(sounds, 700u);
  EXPECT_GE(copies, 100u) << "sound goes several times where much is lost";
  EXPECT_GE(after.retransmissions_sent - before.retransmissions_sent, 100u);
  EXPECT_GE(after.nacks_sent - before.nacks_sent, 50u);
  EXPECT_GE(after.feedback_received - before.feedback_received, 1'500u);
  EXPECT_GE(after.paced_packets - before.paced_packets, 100u);
  EXPECT_EQ(allocations.load(), 0u);
}

} // namespace
} // namespace satsuma::sfu
