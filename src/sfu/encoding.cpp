#include "sfu/encoding.h"

#include <algorithm>
#include <utility>

#include "rtp/key_frame.h"
#include "rtp/vp9.h"

namespace satsuma::sfu {

namespace {

constexpr Duration silent_after = std::chrono::seconds(2);

/// Sound is asked for as long as it can still be played: so many packets behind the latest, 160 ms where each has 20, and twice.
constexpr rtp::ExtendedSequence max_sound_age = 8;
constexpr std::size_t sound_nack_list = 32;
constexpr Duration sound_repeat_after = std::chrono::milliseconds(60);
constexpr unsigned max_sound_requests = 2;

/// What a stream of this rank usually has, until it was measured.
constexpr std::array<std::int64_t, max_encodings> usual_bitrates{150'000, 500'000, 1'200'000};

/// What the parsed descriptors said of a packet, as the history keeps it.
std::uint32_t to_note(const MediaPacket& p) {
  return static_cast<std::uint32_t>(p.layer.spatial | p.layer.temporal << 4 | (p.starts_frame ? 1U << 8 : 0) | (p.ends_frame ? 1U << 9 : 0) |
                                    (p.starts_key_frame ? 1U << 10 : 0) | (p.switching_point ? 1U << 11 : 0) |
                                    static_cast<unsigned>(p.codec) << 12);
}
void from_note(std::uint32_t note, MediaPacket& p) {
  p.layer.spatial = note & 0xf;
  p.layer.temporal = note >> 4 & 0xf;
  p.starts_frame = (note & 1U << 8) != 0;
  p.ends_frame = (note & 1U << 9) != 0;
  p.starts_key_frame = (note & 1U << 10) != 0;
  p.switching_point = (note & 1U << 11) != 0;
  p.codec = static_cast<signaling::Codec>(note >> 12 & 0xf);
}

DecodeTargets targets_of(const rtp::DependencyStructure& structure) {
  // The highest that we tell apart stands for all above it.
  const auto up_to = [](std::size_t layer, std::size_t told_apart) { return layer + 1 == told_apart ? std::uint8_t{0xff} : static_cast<std::uint8_t>(layer); };
  DecodeTargets out;
  out.count = structure.decode_target_count;
  for (std::size_t s = 0; s < max_spatial_layers; ++s)
    for (std::size_t t = 0; t < max_temporal_layers; ++t)
      out.up_to[s][t] = rtp::targets_up_to(structure, up_to(s, max_spatial_layers), up_to(t, max_temporal_layers));
  return out;
}

/// Of its descriptor what cannot be read from the value without the structure.
std::uint32_t to_note(const PacketDescriptor& d) {
  return static_cast<std::uint32_t>(d.layout.targets_at | d.layout.target_count << 16 | (d.layout.has_targets ? 1U << 24 : 0));
}
rtp::DependencyDescriptorLayout layout_from_note(std::uint32_t note) {
  return {static_cast<std::uint16_t>(note), static_cast<std::uint8_t>(note >> 16), (note & 1U << 24) != 0};
}

} // namespace

Encoding::Encoding(const signaling::PublishedMedia& media, Source source, std::uint8_t index, const Limits& limits)
    : video_(!signaling::is_audio(source)),
      index_(index),
      of_(static_cast<std::uint8_t>(std::max<std::size_t>(1, media.rids.size()))),
      descriptor_extension_(media.dependency_descriptor_extension),
      statistics_(clock_rate()),
      rtx_statistics_(90000),
      nacks_(video_ ? rtp::NackGenerator(media.retransmissions() ? limits.nack_list : 0)
                    : rtp::NackGenerator(media.resends_sound ? sound_nack_list : 0, sound_repeat_after, max_sound_requests)),
      history_capacity_(limits.video_history_packets),
      key_frame_requests_(limits.key_frame_interval) {
  if (!media.rids.empty()) return; // streams are told apart by the RID that they carry
  if (media.ssrc) set_stream(*media.ssrc);
  if (media.rtx_ssrc) set_retransmission_stream(*media.rtx_ssrc);
}

void Encoding::set_stream(std::uint32_t ssrc) {
  if (ssrc_ == ssrc) return;
  ssrc_ = ssrc;
  begin_generation(generation_ + 1);
}

void Encoding::begin_generation(std::uint32_t generation) {
  generation_ = generation;
  relayed_highest_.reset();
  unwrapper_.reset();
  statistics_ = rtp::ReceiveStatistics(clock_rate());
  nacks_.reset();
  if (history_) history_->clear();
  structure_.reset();
  sender_clock_.reset();
  frame_at_.reset();
  frame_before_at_.reset();
  rates_ = {};
  spatial_layers_ = temporal_layers_ = 1;
}

void Encoding::set_retransmission_stream(std::uint32_t ssrc) {
  if (rtx_ssrc_ == ssrc) return;
  rtx_ssrc_ = ssrc;
  rtx_unwrapper_.reset();
  rtx_statistics_ = rtp::ReceiveStatistics(clock_rate());
}

std::optional<MediaPacket> Encoding::handle_media(TimePoint now, signaling::Codec codec, const rtp::Packet& packet, bool wanted) {
  const auto before = unwrapper_.highest();
  const rtp::ExtendedSequence sequence = unwrapper_.unwrap(packet.sequence);
  statistics_.on_packet(now, sequence, packet.timestamp);
  if (is_outage(now, before, sequence)) {
    // Sent again it would take as long as the outage did, and a request from within it was lost. (To ask as soon as another stream's packet shows that the
    // outage is over is too soon: a Chromium that has not sent its first picture yet answered the next request alone, 700 ms later instead of 140.)
    nacks_.reset();
    key_frame_requests_.handle_outage();
    outage_ = true;
    if (wanted) request_key_frame(true);
  }
  last_packet_ = now;
  return accept(now, codec, sequence, packet, packet.payload, wanted);
}

std::optional<MediaPacket> Encoding::handle_retransmission(TimePoint now, signaling::Codec codec, const rtp::Packet& packet, bool wanted) {
  rtx_statistics_.on_packet(now, rtx_unwrapper_.unwrap(packet.sequence), packet.timestamp);
  const auto original = rtp::parse_retransmission(packet.payload);
  // Before the main stream has begun its cycle is not known.
  if (!original || original->payload.empty() || !unwrapper_.highest()) return std::nullopt;
  const rtp::ExtendedSequence sequence = unwrapper_.peek(original->original_sequence);
  if (sequence > *unwrapper_.highest()) return std::nullopt; // retransmits what was never sent
  return accept(now, codec, sequence, packet, original->payload, wanted);
}

std::optional<MediaPacket> Encoding::accept(TimePoint now, signaling::Codec codec, rtp::ExtendedSequence sequence, const rtp::Packet& packet,
                                            ByteView payload, bool wanted) {
  MediaPacket media;
  media.sequence = sequence;
  media.timestamp = packet.timestamp;
  media.marker = packet.marker;
  media.payload = payload;
  media.codec = codec;
  media.layer.encoding = index_;
  if (video_ && !payload.empty() && !describe(packet, media)) return std::nullopt;
  if (!take(now, media, wanted)) return std::nullopt;
  return media;
}

bool Encoding::take(TimePoint now, const MediaPacket& media, bool wanted) {
  codec_ = media.codec;
  if (media.descriptor) targets_ = media.descriptor->targets;
  if (!wanted) {
    // How much it is must be known before somebody chooses it.
    rates_[media.layer.spatial][media.layer.temporal].count(now, media.payload.size());
    nacks_.reset();
    return false;
  }
  if (!video_) {
    rates_[0][0].count(now, media.payload.size());
    if (relayed_) return true; // what is missing here its home asks for, and what the way between lost nobody keeps
    static_cast<void>(nacks_.on_packet(media.sequence));
    nacks_.forget_before(media.sequence - max_sound_age);
    return true;
  }
  if (nacks_.on_packet(media.sequence) == rtp::NackGenerator::Outcome::given_up) request_key_frame(false);
  if (!history_) history_ = std::make_unique<rtp::PacketHistory>(history_capacity_);
  // Browsers send padding as whole retransmissions: what is there already is not forwarded again.
  if (!history_->store(media.sequence, media.timestamp, media.marker, media.payload, to_note(media), media.descriptor ? media.descriptor->value : ByteView{},
                       media.descriptor ? to_note(*media.descriptor) : 0))
    return false;
  rates_[media.layer.spatial][media.layer.temporal].count(now, media.payload.size());
  if (!frame_at_ || rtp::newer(media.timestamp, frame_timestamp_)) {
    frame_timestamp_ = media.timestamp;
    frame_before_at_ = std::exchange(frame_at_, now);
  }
  if (media.starts_key_frame) {
    nacks_.forget_before(media.sequence);
    key_frame_requests_.handle_key_frame(now);
  }
  return true;
}

bool Encoding::is_outage(TimePoint now, std::optional<rtp::ExtendedSequence> before, rtp::ExtendedSequence sequence) const {
  return video_ && before && last_packet_ && sequence - *before > outage_packets && now - *last_packet_ >= outage_time;
}

bool Encoding::handle_relayed(TimePoint now, std::uint32_t generation, const MediaPacket& media, std::uint8_t spatial_layers,
                              std::uint8_t temporal_layers, const std::array<std::uint16_t, max_spatial_layers>& heights) {
  if (generation != generation_) begin_generation(generation);
  spatial_layers_ = std::max(spatial_layers_, spatial_layers);
  temporal_layers_ = std::max(temporal_layers_, temporal_layers);
  relayed_heights_ = heights;
  outage_ = outage_ || is_outage(now, relayed_highest_, media.sequence); // its home asks for the key frame
  relayed_highest_ = std::max(relayed_highest_.value_or(media.sequence), media.sequence);
  last_packet_ = now;
  return take(now, media, true);
}

void Encoding::handle_relayed_clock(std::uint32_t generation, const SenderClock& clock) {
  if (generation != generation_) begin_generation(generation);
  sender_clock_ = clock;
}

bool Encoding::describe(const rtp::Packet& packet, MediaPacket& out) {
  const ByteView payload = out.payload;
  // The dependency descriptor is the first source: it is the same for all codecs.
  bool described = false, carried = false;
  if (descriptor_extension_) {
    if (const auto value = packet.extension(*descriptor_extension_)) {
      carried = true;
      if (!structure_) structure_ = std::make_unique<std::optional<rtp::DependencyStructure>>();
      if (const auto d = rtp::parse_dependency_descriptor(*value, *structure_)) {
        described = true;
        out.layer.spatial = std::min<std::uint8_t>(d->spatial, max_spatial_layers - 1);
        out.layer.temporal = std::min<std::uint8_t>(d->temporal, max_temporal_layers - 1);
        out.starts_frame = d->start_of_frame;
        out.ends_frame = d->end_of_frame;
        out.starts_key_frame = d->start_of_frame && d->has_structure;
        // A switch for the lowest target that shows this very layer.
        const rtp::DependencyStructure& s = **structure_;
        for (std::size_t t = 0; t < d->decode_target_count; ++t)
          if (s.target_spatial[t] == d->spatial && s.target_temporal[t] == d->temporal &&
              d->indications[t] == rtp::DecodeTargetIndication::switch_here)
            out.switching_point = true;
        if (out.codec == signaling::Codec::av1) {
          // A.8.3: all are active until a bitmask says otherwise, and it holds until the next.
          if (d->has_structure) targets_ = targets_of(s);
          if (d->active_decode_targets) targets_.published = *d->active_decode_targets;
          out.descriptor = PacketDescriptor{*value, d->layout, d->frame_number, targets_};
        }
      }
    }
  }
  switch (out.codec) {
    case signaling::Codec::vp8: {
      const auto descriptor = rtp::parse_vp8_descriptor(payload);
      if (!descriptor) return false;
      out.vp8 = *descriptor;
      if (!described) {
        out.starts_frame = descriptor->starts_frame();
        out.ends_frame = packet.marker;
        out.starts_key_frame = rtp::starts_vp8_key_frame(*descriptor, payload);
        out.layer.temporal = std::min<std::uint8_t>(descriptor->temporal_layer.value_or(0), max_temporal_layers - 1);
        out.switching_point = descriptor->layer_sync || out.layer.temporal == 0;
      }
      break;
    }
    case signaling::Codec::vp9: {
      const auto descriptor = rtp::parse_vp9_descriptor(payload);
      if (!descriptor) return false;
      if (!described) {
        out.starts_frame = descriptor->start_of_frame;
        out.ends_frame = descriptor->end_of_frame;
        out.starts_key_frame = descriptor->starts_key_frame();
        out.layer.spatial = std::min<std::uint8_t>(descriptor->spatial, max_spatial_layers - 1);
        out.layer.temporal = std::min<std::uint8_t>(descriptor->temporal, max_temporal_layers - 1);
        out.switching_point = descriptor->switching_up_point || out.layer.temporal == 0;
      }
      break;
    }
    case signaling::Codec::av1:
      // The packet with the structure that it speaks of is missing. As long as that is so this one is as good as lost, and is asked for again with it:
      // taken for what it may not be it would go to those whom its layer is not for.
      if (carried && !described) return false;
      if (!described) {
        out.starts_key_frame = rtp::starts_av1_sequence(payload);
        out.starts_frame = rtp::starts_av1_element(payload);
        out.ends_frame = packet.marker;
        out.switching_point = true;
      }
      break;
    case signaling::Codec::h264:
      if (!described) {
        out.starts_key_frame = rtp::starts_h264_key_frame(payload);
        out.starts_frame = true;
        out.ends_frame = packet.marker;
        out.switching_point = true;
      }
      break;
    case signaling::Codec::opus:
    case signaling::Codec::red: break;
  }
  spatial_layers_ = std::max<std::uint8_t>(spatial_layers_, static_cast<std::uint8_t>(out.layer.spatial + 1));
  temporal_layers_ = std::max<std::uint8_t>(temporal_layers_, static_cast<std::uint8_t>(out.layer.temporal + 1));
  return true;
}

void Encoding::handle_sender_report(TimePoint now, const rtp::SenderInfo& info) {
  if (info.ssrc == rtx_ssrc_) rtx_statistics_.on_sender_report(now, info);
  if (info.ssrc != ssrc_) return;
  statistics_.on_sender_report(now, info);
  sender_clock_ = SenderClock{info.ntp, info.rtp_timestamp, now};
}

std::optional<MediaPacket> Encoding::find(rtp::ExtendedSequence sequence) const {
  if (!history_) return std::nullopt;
  const auto entry = history_->find(sequence);
  if (!entry) return std::nullopt;
  MediaPacket media;
  media.sequence = entry->sequence;
  media.timestamp = entry->timestamp;
  media.marker = entry->marker;
  media.payload = entry->payload;
  media.layer.encoding = index_;
  from_note(entry->note, media);
  if (!entry->extension.empty())
    media.descriptor = PacketDescriptor{entry->extension, layout_from_note(entry->extension_note),
                                        static_cast<std::uint16_t>(entry->extension[1] << 8 | entry->extension[2]), targets_};
  if (media.codec == signaling::Codec::vp8 && !entry->payload.empty()) {
    const auto descriptor = rtp::parse_vp8_descriptor(entry->payload);
    if (!descriptor) return std::nullopt;
    media.vp8 = *descriptor;
  }
  return media;
}

std::int64_t Encoding::bitrate(TimePoint now, std::uint8_t spatial, std::uint8_t temporal) const {
  std::int64_t sum = 0;
  bool measured = false;
  // Of a stream that has stopped, what it took until then: it would seem to cost less and less, and be chosen for that.
  if (last_packet_) now = std::min(now, *last_packet_);
  for (std::size_t s = 0; s < max_spatial_layers; ++s)
    for (std::size_t t = 0; t < max_temporal_layers; ++t) {
      measured = measured || rates_[s][t].measured();
      if (s <= spatial && t <= temporal) sum += rates_[s][t].bitrate(now);
    }
  if (measured && sum > 0) return sum;
  // The last of several is the full picture.
  return usual_bitrates[of_ == 1 ? 1 : std::min<std::size_t>(index_, usual_bitrates.size() - 1)];
}

std::uint32_t Encoding::height(std::uint8_t spatial) const {
  if (relayed_ && spatial < relayed_heights_.size() && relayed_heights_[spatial] > 0) return relayed_heights_[spatial];
  if (structure_ && *structure_ && spatial < rtp::max_dd_spatial_layers) {
    // Of a portrait picture it is the shorter side that a tile of the same shape has to be compared with too.
    const rtp::DependencyStructure& s = **structure_;
    if (s.heights[spatial] > 0) return s.heights[spatial];
  }
  const unsigned below = static_cast<unsigned>(of_ - 1 - index_) + static_cast<unsigned>(spatial_layers_ > spatial ? spatial_layers_ - 1 - spatial : 0);
  return 720U >> std::min(below, 5U);
}

void Encoding::request_key_frame(bool urgent) {
  if (video_) key_frame_requests_.want(urgent);
}

bool Encoding::take_key_frame_request(TimePoint now) {
  if (!ssrc_ && !relayed_) return false;
  return key_frame_requests_.poll(now, !last_packet_ || now - *last_packet_ > silent_after);
}

void Encoding::stop_waiting() {
  nacks_.reset();
  key_frame_requests_.forget();
}

void Encoding::rest() {
  stop_waiting();
  nacks_.rest();
  history_.reset();
}

std::size_t Encoding::reports(TimePoint now, std::span<rtp::ReportBlock> out) {
  std::size_t count = 0;
  if (ssrc_ && statistics_.started() && count < out.size()) out[count++] = statistics_.report(now, *ssrc_);
  if (rtx_ssrc_ && rtx_statistics_.started() && count < out.size()) out[count++] = rtx_statistics_.report(now, *rtx_ssrc_);
  return count;
}

} // namespace satsuma::sfu
