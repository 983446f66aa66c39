#pragma once

// A room in virtual time, without encryption: publishers with simulcast and temporal layers as a browser makes them, subscribers behind bad networks
// who give feedback, ask again for what is lost, and count what a decoder could show.

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "../base/seeded_random.h"
#include "impairment/link.h"
#include "rtp/nack.h"
#include "rtp/packet.h"
#include "rtp/rtcp.h"
#include "rtp/transport_feedback.h"
#include "rtp/vp8.h"
#include "sfu/media_graph.h"

namespace satsuma::sfu::test {

using namespace std::chrono_literals;
using impairment::Direction;
using impairment::Link;
using impairment::Schedule;

inline constexpr std::uint8_t call_mid = 4, call_transport = 3, call_rid = 5, call_repaired = 6, call_level = 7;
inline constexpr std::uint8_t call_opus = 111, call_vp8 = 96, call_rtx = 97;

/// One encoder: 30 frames a second of three temporal layers (0 2 1 2).
struct Encoder {
  std::uint32_t ssrc = 0;
  std::string rid;
  std::int64_t bitrate = 0;
  std::int64_t key_frame_bytes = 0; ///< 0: four times the mean
  std::uint16_t sequence = 0;
  std::uint32_t timestamp_base = 0;
  std::uint16_t picture = 0;
  std::uint8_t tl0 = 0;
  unsigned phase = 0;
  bool key = true;
  bool active = true;
  unsigned frames = 0;
  std::optional<TimePoint> heard_at; ///< the last request for a key frame that it heard
};

struct Publisher {
  IncarnationId id;
  ParticipantIndex index = 0;
  std::vector<Encoder> encoders;
  std::uint16_t transport = 0;
  std::uint16_t audio_sequence = 0;
  std::uint32_t audio_timestamp = 0;
  std::uint32_t audio_ssrc = 0;
  bool audio = false;
  std::uint8_t level = 127; ///< of the sound, in -dBov; told if the publisher tells
  bool tells_level = false;
  bool cut = false;            ///< nothing passes, either way
  bool as_browsers = false;    ///< a request for one encoder's key frame makes all of them send one
  Duration deaf_to_requests{}; ///< for so long after each that it heard
};

struct ShownFrame {
  TimePoint at;
  std::uint8_t encoding = 0;
  std::uint8_t temporal = 0;
  bool key = false;
};

/// What one slot of a subscriber receives, up to the frames that its decoder could show.
struct Stream {
  std::map<rtp::ExtendedSequence, Bytes> packets;
  rtp::SequenceUnwrapper unwrapper;
  rtp::NackGenerator nacks{512, 100ms, 10};
  rtp::ExtendedSequence next = -1; ///< of the next frame's first packet
  std::set<rtp::ExtendedSequence> padding;
  std::vector<ShownFrame> shown;
  std::optional<std::uint16_t> last_picture;
  TimePoint asked_at{};
  std::uint64_t broken = 0; ///< frames that did not follow what was shown before
  std::optional<std::uint32_t> last_timestamp;
  std::uint64_t timestamps_back = 0;
};

struct Subscriber {
  IncarnationId id;
  ParticipantIndex index = 0;
  std::unique_ptr<Link> down, up;
  rtp::TransportFeedbackRecorder recorder;
  TimePoint next_feedback{};
  std::map<std::uint32_t, Stream> streams; ///< by SSRC
  std::uint64_t audio_received = 0;
  std::uint64_t bytes = 0;
  std::size_t most_waiting = 0;
};

class AdaptiveCall {
 public:
  explicit AdaptiveCall(std::uint64_t seed, const Limits& limits = {}) : random(seed), graph(limits, random), seed_(seed) {}

  Publisher& publish(std::vector<std::int64_t> bitrates, bool audio = false, Source source = Source::camera, bool tells_level = false) {
    auto p = std::make_unique<Publisher>();
    p->id.bytes[0] = static_cast<std::uint8_t>(++participants_);
    p->index = *graph.add_participant("room", p->id);
    const std::uint32_t base = static_cast<std::uint32_t>(participants_) * 1000;
    signaling::PublishOffer offer;
    signaling::PublishedMedia media;
    media.kind = signaling::MediaKind::video;
    media.source = source;
    media.mid = "1";
    media.codecs = {{signaling::Codec::vp8, call_vp8, call_rtx, true}};
    media.mid_extension = call_mid;
    media.transport_cc_extension = call_transport;
    for (std::size_t i = 0; i < bitrates.size(); ++i) {
      Encoder encoder;
      encoder.ssrc = base + 10 * static_cast<std::uint32_t>(i + 1);
      encoder.rid = std::string(1, static_cast<char>('a' + i));
      encoder.bitrate = bitrates[i];
      encoder.sequence = static_cast<std::uint16_t>(random.u64());
      encoder.timestamp_base = static_cast<std::uint32_t>(random.u64());
      encoder.picture = static_cast<std::uint16_t>(random.u64() & 0x7fff);
      encoder.tl0 = static_cast<std::uint8_t>(random.u64());
      p->encoders.push_back(encoder);
      if (bitrates.size() > 1) media.rids.push_back(encoder.rid);
    }
    if (bitrates.size() > 1) {
      media.rid_extension = call_rid;
      media.repaired_rid_extension = call_repaired;
    } else {
      media.ssrc = p->encoders[0].ssrc;
    }
    offer.media.push_back(media);
    if (audio) {
      signaling::PublishedMedia sound;
      sound.kind = signaling::MediaKind::audio;
      sound.source = Source::microphone;
      sound.mid = "0";
      sound.codecs = {{signaling::Codec::opus, call_opus, std::nullopt, true}};
      sound.ssrc = p->audio_ssrc = base + 1;
      if (tells_level) sound.audio_level_extension = call_level;
      p->tells_level = tells_level;
      offer.media.push_back(sound);
      p->audio = true;
    }
    graph.set_publisher(now, p->index, offer);
    graph.set_connected(now, p->index, Leg::publish, true, true);
    graph.set_member(now, p->index, true);
    SourceSet active{source};
    if (audio) active.insert(Source::microphone);
    graph.set_active(now, p->index, active);
    publishers.push_back(std::move(p));
    return *publishers.back();
  }

  Subscriber& subscribe(std::string_view network) {
    auto s = std::make_unique<Subscriber>();
    s->id.bytes[0] = static_cast<std::uint8_t>(++participants_);
    s->index = *graph.add_participant("room", s->id);
    s->down = std::make_unique<Link>(*Schedule::parse(network, Direction::down), seed_ * 77 + s->index, now);
    s->up = std::make_unique<Link>(*Schedule::parse(network, Direction::up), seed_ * 77 + s->index + 1000, now);
    graph.begin_subscriber(now, s->index);
    accept(s->index);
    graph.set_connected(now, s->index, Leg::subscribe, true, true);
    graph.set_member(now, s->index, true);
    subscribers.push_back(std::move(s));
    return *subscribers.back();
  }

  void run(Duration length) {
    for (const TimePoint end = now + length; now < end;) step();
  }

  /// The only video stream of the subscriber.
  Stream& stream(Subscriber& s) {
    const auto uses = graph.slot_uses(s.index);
    for (const auto& slot : graph.offered_slots(s.index))
      if (slot.kind == signaling::MediaKind::video && !uses.empty() && s.streams.contains(slot.ssrc)) return s.streams[slot.ssrc];
    return s.streams[0];
  }

  static Duration longest_gap(const Stream& stream, TimePoint from, TimePoint to) {
    Duration longest{};
    TimePoint last = from;
    for (const ShownFrame& frame : stream.shown) {
      if (frame.at < from || frame.at > to) continue;
      longest = std::max(longest, frame.at - last);
      last = frame.at;
    }
    return std::max(longest, to - last);
  }
  static double frames_per_second(const Stream& stream, TimePoint from, TimePoint to) {
    const auto count = std::count_if(stream.shown.begin(), stream.shown.end(), [&](const ShownFrame& f) { return f.at >= from && f.at <= to; });
    return static_cast<double>(count) / std::chrono::duration<double>(to - from).count();
  }
  static int last_encoding(const Stream& stream) { return stream.shown.empty() ? -1 : stream.shown.back().encoding; }

  SeededRandom random;
  TimePoint now{std::chrono::seconds(100)};
  MediaGraph graph;
  std::vector<std::unique_ptr<Publisher>> publishers;
  std::vector<std::unique_ptr<Subscriber>> subscribers;
  std::uint64_t key_frames_asked = 0;
  std::uint64_t forwarded = 0;
  std::uint64_t told_wanted = 0;

 private:
  void step() {
    now += 1ms;
    const std::int64_t ms = now.time_since_epoch().count() / 1000;
    for (auto& p : publishers) {
      if (p->audio && ms % 20 == 0) send_audio(*p);
      // The layers of a frame leave one after the other.
      for (std::size_t i = 0; i < p->encoders.size(); ++i)
        if (ms % 33 == static_cast<std::int64_t>(3 * i)) send_frame(*p, p->encoders[i]);
    }
    if (ms % 20 == 0) graph.handle_timeout(now);
    else if (const auto pacing = graph.next_pacing(); pacing && *pacing <= now) graph.handle_pacing(now);
    deliver();
    for (auto& s : subscribers) receive(*s);
    while (const auto output = graph.poll_output()) {
      if (const auto* const grown = std::get_if<MediaGraph::PoolGrown>(&*output)) accept(grown->participant);
      if (const auto* const wanted = std::get_if<MediaGraph::WantedChanged>(&*output)) {
        ++told_wanted;
        const auto active = graph.wanted_encodings(wanted->participant, wanted->source);
        for (auto& p : publishers)
          if (p->index == wanted->participant)
            for (std::size_t i = 0; i < p->encoders.size(); ++i) {
              if (active[i] && !p->encoders[i].active) p->encoders[i].key = true;
              p->encoders[i].active = active[i];
            }
      }
    }
  }

  /// Answers an offer of slots: each is taken.
  void accept(ParticipantIndex subscriber) {
    std::vector<signaling::SubscribeAnswer::Slot> slots;
    for (const auto& slot : graph.offered_slots(subscriber))
      slots.push_back({true, slot.kind == signaling::MediaKind::video, {signaling::Codec::opus, signaling::Codec::vp8}});
    graph.accept_slots(now, subscriber, slots);
  }

  Bytes packet(Publisher& p, const Encoder& e, std::uint16_t sequence, std::uint32_t timestamp, bool marker, ByteView payload, bool name) {
    Bytes out(1500);
    const std::uint8_t transport[2] = {static_cast<std::uint8_t>(p.transport >> 8), static_cast<std::uint8_t>(p.transport)};
    ++p.transport;
    const rtp::HeaderExtension extensions[3] = {{call_transport, transport}, {call_mid, as_bytes("1")}, {call_rid, as_bytes(e.rid)}};
    const auto header = rtp::write_header({marker, call_vp8, sequence, timestamp, e.ssrc}, std::span(extensions).first(name ? 3 : 1), out);
    EXPECT_TRUE(header);
    out.resize(header->size());
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
  }

  void send_frame(Publisher& p, Encoder& e) {
    const std::uint8_t pattern[4] = {0, 2, 1, 2};
    if (e.key) e.phase = 0;
    const bool key = std::exchange(e.key, false);
    const std::uint8_t temporal = pattern[e.phase % 4];
    ++e.phase;
    if (!e.active) {
      e.key = e.key || key;
      return;
    }
    e.picture = (e.picture + 1) & 0x7fff;
    if (temporal == 0) ++e.tl0;
    const std::uint32_t timestamp = e.timestamp_base + static_cast<std::uint32_t>(now.time_since_epoch().count() * 90 / 1000);
    // Lower temporal layers have larger frames; the mean is the bitrate.
    const double share = temporal == 0 ? 1.6 : temporal == 1 ? 1.0 : 0.7;
    auto left = static_cast<std::int64_t>(static_cast<double>(e.bitrate) / 8 / 30 * (key ? 4 : share));
    if (key && e.key_frame_bytes > 0) left = e.key_frame_bytes;
    const bool sync = temporal > 0 && e.phase % 8 < 4;
    const auto encoding = static_cast<std::uint8_t>(&e - p.encoders.data());
    for (bool first = true; first || left > 0; first = false) {
      const std::size_t size = static_cast<std::size_t>(std::clamp<std::int64_t>(left, 20, 1100));
      left -= static_cast<std::int64_t>(size);
      Bytes payload{static_cast<std::uint8_t>(0x80 | (first ? 0x10 : 0)), 0xe0, static_cast<std::uint8_t>(0x80 | e.picture >> 8),
                    static_cast<std::uint8_t>(e.picture), e.tl0, static_cast<std::uint8_t>(temporal << 6 | (sync ? 0x20 : 0))};
      payload.push_back(first ? (key ? 0 : 1) : 0xee);
      payload.push_back(encoding);
      payload.resize(payload.size() + size, 0x55);
      const Bytes out = packet(p, e, e.sequence++, timestamp, left <= 0, payload, e.frames < 30);
      if (!p.cut) graph.handle_rtp(now, p.index, out);
    }
    ++e.frames;
  }

  void send_audio(Publisher& p) {
    Bytes out(200);
    p.audio_timestamp += 960;
    const std::uint8_t transport[2] = {static_cast<std::uint8_t>(p.transport >> 8), static_cast<std::uint8_t>(p.transport)};
    ++p.transport;
    const std::uint8_t level[1] = {static_cast<std::uint8_t>(0x80 | p.level)};
    const rtp::HeaderExtension extensions[2] = {{call_transport, transport}, {call_level, level}};
    const auto header = rtp::write_header({false, call_opus, p.audio_sequence++, p.audio_timestamp, p.audio_ssrc},
                                          std::span(extensions).first(p.tells_level ? 2 : 1), out);
    out.resize(header->size() + 80);
    graph.handle_rtp(now, p.index, out);
  }

  void deliver() {
    for (const auto& out : graph.packets()) {
      const ByteView bytes(out.data, out.size);
      if (out.leg == Leg::subscribe) {
        for (auto& s : subscribers)
          if (s->index == out.participant) {
            s->down->handle_datagram(now, bytes);
            ++forwarded;
          }
        continue;
      }
      for (auto& p : publishers) {
        if (p->index != out.participant || !out.rtcp) continue;
        rtp::RtcpReader reader(bytes);
        while (true) {
          const auto packet = reader.next();
          if (!packet || !*packet) break;
          if (!(*packet)->is_payload_feedback(rtp::format_pli)) continue;
          if (p->cut) continue;
          ++key_frames_asked;
          const auto feedback = rtp::parse_feedback(**packet);
          for (Encoder& e : p->encoders) {
            if (e.ssrc != feedback->media || (e.heard_at && now - *e.heard_at < p->deaf_to_requests)) continue;
            e.heard_at = now;
            e.key = true;
            for (Encoder& other : p->encoders) other.key = other.key || p->as_browsers;
          }
        }
      }
    }
    graph.clear_packets();
    graph.arena().clear();
  }

  void receive(Subscriber& s) {
    s.down->handle_timeout(now);
    while (const auto got = s.down->poll_output()) take(s, *got);
    for (auto& [ssrc, stream] : s.streams) decode(s, ssrc, stream);
    if (now >= s.next_feedback) {
      s.next_feedback = now + 50ms;
      while (s.recorder.pending()) {
        Bytes message(1200);
        const auto written = s.recorder.write(1, 2, message);
        if (!written) break;
        s.up->handle_datagram(now, *written);
      }
      for (auto& [ssrc, stream] : s.streams) {
        std::array<std::uint16_t, 200> missing;
        const std::size_t count = stream.nacks.poll(now, missing);
        if (count == 0) continue;
        Bytes message(900);
        SpanWriter out(message);
        rtp::write_nack(1, ssrc, std::span<const std::uint16_t>(missing).first(count), out);
        s.up->handle_datagram(now, *out.written());
      }
    }
    s.up->handle_timeout(now);
    while (const auto got = s.up->poll_output()) graph.handle_rtcp(now, s.index, Leg::subscribe, *got);
    s.most_waiting = std::max(s.most_waiting, s.down->waiting_bytes());
  }

  void take(Subscriber& s, ByteView datagram) {
    if (datagram.size() >= 2 && datagram[1] >= 192 && datagram[1] < 224) return;
    const auto packet = rtp::parse_packet(datagram);
    ASSERT_TRUE(packet);
    s.bytes += datagram.size();
    const auto transport = packet->extension(signaling::slot_transport_cc_extension);
    ASSERT_TRUE(transport);
    s.recorder.on_packet(now, static_cast<std::uint16_t>((*transport)[0] << 8 | (*transport)[1]));
    if (packet->payload_type == signaling::slot_payload_type(signaling::Codec::opus)) {
      ++s.audio_received;
      return;
    }
    std::uint32_t ssrc = packet->ssrc;
    std::uint16_t number = packet->sequence;
    ByteView payload = packet->payload;
    if (packet->payload_type == signaling::slot_rtx_payload_type(signaling::Codec::vp8)) {
      const auto original = rtp::parse_retransmission(packet->payload);
      if (!original) return; // a probe's padding
      for (const auto& slot : graph.offered_slots(s.index))
        if (slot.rtx_ssrc == packet->ssrc) ssrc = slot.ssrc;
      number = original->original_sequence;
      payload = original->payload;
    }
    Stream& stream = s.streams[ssrc];
    const auto sequence = stream.unwrapper.unwrap(number);
    stream.nacks.on_packet(sequence);
    if (payload.empty()) {
      stream.padding.insert(sequence);
      return;
    }
    if (sequence < stream.next) return;
    Bytes held{static_cast<std::uint8_t>(packet->marker), 0, 0, 0, 0};
    for (std::size_t i = 0; i < 4; ++i) held[1 + i] = static_cast<std::uint8_t>(packet->timestamp >> (8 * i));
    held.insert(held.end(), payload.begin(), payload.end());
    stream.packets.emplace(sequence, std::move(held));
  }

  void decode(Subscriber& s, std::uint32_t ssrc, Stream& stream) {
    while (true) {
      while (stream.padding.erase(stream.next) > 0) ++stream.next;
      // The next frame in order, or a key frame further on.
      auto begin = stream.packets.find(stream.next);
      std::optional<rtp::ExtendedSequence> end = begin == stream.packets.end() ? std::nullopt : complete(stream, begin->first);
      if (!end) {
        for (auto it = stream.packets.begin(); it != stream.packets.end() && !end; ++it) {
          const auto d = rtp::parse_vp8_descriptor(ByteView(it->second).subspan(5));
          if (!d || !rtp::starts_vp8_key_frame(*d, ByteView(it->second).subspan(5))) continue;
          end = complete(stream, it->first);
          begin = it;
        }
      }
      if (!end) break;
      const ByteView first = ByteView(begin->second).subspan(5);
      const auto d = rtp::parse_vp8_descriptor(first);
      const bool key = rtp::starts_vp8_key_frame(*d, first);
      // Each frame follows the one before, whichever layers were left out.
      if (!key && stream.last_picture && *d->picture_id != ((*stream.last_picture + 1) & 0x7fff)) ++stream.broken;
      std::uint32_t timestamp = 0;
      for (std::size_t i = 0; i < 4; ++i) timestamp |= std::uint32_t{begin->second[1 + i]} << (8 * i);
      if (stream.last_timestamp && !rtp::newer(timestamp, *stream.last_timestamp)) ++stream.timestamps_back;
      stream.last_timestamp = timestamp;
      stream.last_picture = d->picture_id;
      stream.shown.push_back({now, first[d->size + 1], d->temporal_layer.value_or(0), key});
      stream.next = *end + 1;
      if (key) stream.nacks.forget_before(stream.next);
      stream.packets.erase(stream.packets.begin(), stream.packets.lower_bound(stream.next));
    }
    // Nothing for a while although packets come: ask for a key frame, as decoders do.
    const TimePoint last = stream.shown.empty() ? TimePoint{} : stream.shown.back().at;
    if (!stream.packets.empty() && now - last > 1500ms && now - stream.asked_at > 500ms) {
      stream.asked_at = now;
      Bytes message(12);
      SpanWriter out(message);
      rtp::write_pli(1, ssrc, out);
      s.up->handle_datagram(now, message);
    }
  }

  /// The last packet of the frame that begins here, if all of it is there.
  static std::optional<rtp::ExtendedSequence> complete(const Stream& stream, rtp::ExtendedSequence from) {
    const auto first = stream.packets.find(from);
    const auto d = rtp::parse_vp8_descriptor(ByteView(first->second).subspan(5));
    if (!d || !d->starts_frame()) return std::nullopt;
    for (rtp::ExtendedSequence at = from;; ++at) {
      const auto it = stream.packets.find(at);
      if (it == stream.packets.end()) return std::nullopt;
      if (at != from && rtp::parse_vp8_descriptor(ByteView(it->second).subspan(5))->starts_frame()) return std::nullopt;
      if (it->second[0] != 0) return at;
    }
  }

  std::uint64_t seed_;
  int participants_ = 0;
};

} // namespace satsuma::sfu::test
