// Sequences on a whole room in virtual time: participants come and go, publishers send RTP and RTCP of all kinds, subscribers answer anything, time passes.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "sfu/media_graph.h"

namespace {

using namespace satsuma;
using namespace satsuma::sfu;

class Zeros final : public RandomSource {
 public:
  void fill(MutableByteView out) override {
    for (std::uint8_t& b : out) b = static_cast<std::uint8_t>(++state_ * 37);
  }

 private:
  std::uint64_t state_ = 0;
};

signaling::PublishOffer offer(std::uint8_t shape) {
  signaling::PublishOffer out;
  signaling::PublishedMedia audio;
  audio.kind = signaling::MediaKind::audio;
  audio.source = Source::microphone;
  audio.mid = "0";
  audio.codecs = {{signaling::Codec::opus, 111, std::nullopt, true}, {signaling::Codec::red, 63, std::nullopt, true}};
  audio.ssrc = 1;
  audio.mid_extension = 4;
  audio.transport_cc_extension = 3;
  audio.audio_level_extension = 8;
  signaling::PublishedMedia video = audio;
  video.audio_level_extension.reset();
  video.kind = signaling::MediaKind::video;
  video.source = Source::camera;
  video.mid = "1";
  video.codecs = {{signaling::Codec::vp8, 96, 97, true}, {signaling::Codec::vp9, 98, 99, true}, {signaling::Codec::av1, 100, 101, true}, {signaling::Codec::h264, 102, 103, true}};
  video.dependency_descriptor_extension = 7;
  if (shape & 1) {
    video.rids = {"q", "h", "f"};
    video.rid_extension = 5;
    video.repaired_rid_extension = 6;
    video.ssrc.reset();
  } else {
    video.ssrc = 2;
    video.rtx_ssrc = 3;
  }
  out.media = {audio, video};
  return out;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Zeros random;
  Limits limits;
  limits.send_arena_bytes = 1U << 20;
  limits.video_history_packets = 64;
  // So few that who speaks has to take them from others.
  limits.audio_slots = limits.max_audio_slots = 2;
  limits.video_slots = limits.max_video_slots = 2;
  MediaGraph graph(limits, random);
  TimePoint now{std::chrono::seconds(10)};
  ByteView rest(data, size);
  const auto byte = [&rest]() -> std::uint8_t {
    if (rest.empty()) return 0;
    const std::uint8_t b = rest[0];
    rest = rest.subspan(1);
    return b;
  };
  std::vector<ParticipantIndex> people;
  while (!rest.empty()) {
    const std::uint8_t op = byte();
    if (people.empty() || (op % 16 == 0 && people.size() < 4)) {
      IncarnationId id;
      id.bytes[0] = byte();
      const auto added = graph.add_participant("room", id);
      if (!added) continue;
      const ParticipantIndex p = *added;
      people.push_back(p);
      graph.set_publisher(now, p, offer(op >> 4));
      graph.set_connected(now, p, Leg::publish, true, true);
      graph.begin_subscriber(now, p);
      std::vector<signaling::SubscribeAnswer::Slot> slots(graph.slot_count(p), {true, true, {signaling::Codec::opus, signaling::Codec::vp8, signaling::Codec::vp9, signaling::Codec::av1}});
      graph.accept_slots(now, p, slots);
      graph.set_connected(now, p, Leg::subscribe, true, true);
      graph.set_member(now, p, true);
      graph.set_active(now, p, {Source::microphone, Source::camera});
      continue;
    }
    const ParticipantIndex who = people[byte() % people.size()];
    const auto take = [&] {
      const std::size_t length = std::min<std::size_t>(byte(), rest.size());
      const ByteView out = rest.first(length);
      rest = rest.subspan(length);
      return out;
    };
    switch (op % 16) {
      case 1:
        graph.remove_participant(now, who);
        std::erase(people, who);
        break;
      case 2: graph.set_member(now, who, op & 0x10); break;
      case 3: graph.set_active(now, who, op & 0x10 ? SourceSet{Source::camera} : SourceSet{}); break;
      case 4: graph.set_publisher(now, who, offer(byte())); break;
      case 5: graph.set_connected(now, who, op & 0x10 ? Leg::publish : Leg::subscribe, op & 0x20, op & 0x40); break;
      case 6: {
        std::vector<TileView> tiles;
        for (int i = op >> 5; i > 0; --i) tiles.push_back({"v" + std::to_string(byte() % 8), byte() * 8U + 1});
        IncarnationId somebody;
        somebody.bytes[0] = byte();
        if (op & 0x10) tiles.push_back({"", 100, somebody, op & 0x20 ? Source::screen : Source::camera});
        graph.set_view(now, who, tiles, op & 0x10 ? std::optional(SpeakersView{byte() % 8U, 200}) : std::nullopt);
        if (op & 0x10) graph.set_voices(now, who, std::vector<IncarnationId>(1, somebody));
        break;
      }
      case 7: static_cast<void>(graph.request_key_frame(now, who, "v0")); break;
      case 8:
      case 9: graph.handle_rtcp(now, who, op & 0x10 ? Leg::publish : Leg::subscribe, take()); break;
      case 10:
        now += std::chrono::milliseconds(byte() * (op & 0x10 ? 20 : 1));
        graph.handle_timeout(now);
        break;
      case 11:
        now += std::chrono::milliseconds(5);
        graph.handle_pacing(now);
        break;
      case 12: { // a well formed video packet with whatever descriptors
        std::vector<std::uint8_t> packet(1500);
        const std::uint8_t transport[2] = {byte(), byte()};
        const std::uint8_t stream = byte() % 3;
        const char* const rids[3] = {"q", "h", "f"};
        const ByteView descriptor = take();
        const rtp::HeaderExtension extensions[4] = {{3, transport}, {4, as_bytes("1")}, {5, as_bytes(rids[stream])}, {7, descriptor}};
        const std::uint8_t types[8] = {96, 97, 98, 99, 100, 101, 102, 103};
        const std::uint16_t sequence = static_cast<std::uint16_t>(byte() << 8 | byte());
        const auto header = rtp::write_header({(op & 0x10) != 0, types[op >> 5], sequence, byte() * 3000U, op & 0x10 ? 2U : 10U + stream},
                                              std::span(extensions).first(descriptor.empty() ? 3 : 4), packet);
        if (!header) break;
        packet.resize(header->size());
        const ByteView payload = take();
        packet.insert(packet.end(), payload.begin(), payload.end());
        graph.handle_rtp(now, who, packet);
        break;
      }
      case 13: { // sound, for a moment, as loud as it says
        const std::uint8_t level[1] = {byte()};
        const rtp::HeaderExtension extensions[1] = {{8, level}};
        for (int i = 0; i < 25; ++i) {
          std::vector<std::uint8_t> packet(64);
          const auto header = rtp::write_header({false, 111, static_cast<std::uint16_t>(i), i * 960U, 1}, extensions, packet);
          if (header) packet.resize(header->size() + 4);
          graph.handle_rtp(now, who, packet);
          now += std::chrono::milliseconds(20);
          graph.handle_timeout(now);
        }
        break;
      }
      default: graph.handle_rtp(now, who, take()); break;
    }
    std::size_t bytes = 0;
    for (const auto& packet : graph.packets()) bytes += packet.size;
    if (bytes > limits.send_arena_bytes) std::abort();
    while (graph.poll_output()) {
    }
    for (const ParticipantIndex p : people) {
      static_cast<void>(graph.report(now, p));
      static_cast<void>(graph.slot_uses(p));
    }
    graph.clear_packets();
    graph.arena().clear();
  }
  return 0;
}
