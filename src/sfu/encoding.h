#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/time.h"
#include "rtp/dependency_descriptor.h"
#include "rtp/nack.h"
#include "rtp/packet.h"
#include "rtp/packet_history.h"
#include "rtp/receive_statistics.h"
#include "rtp/sequence.h"
#include "rtp/vp8.h"
#include "sfu/key_frame_requests.h"
#include "sfu/limits.h"
#include "sfu/rate_meter.h"
#include "signaling/sdp.h"

namespace satsuma::sfu {

using signaling::Source;

inline constexpr std::size_t max_encodings = signaling::max_simulcast_streams;
/// Layers beyond these are forwarded with the highest that is told apart.
inline constexpr std::size_t max_temporal_layers = 3;
inline constexpr std::size_t max_spatial_layers = 3;

/// Which layers of a publication: one of its simulcast streams and, of that, spatial and temporal layers up to these.
struct Layer {
  std::uint8_t encoding = 0;
  std::uint8_t spatial = 0;
  std::uint8_t temporal = 0;
  friend auto operator<=>(const Layer&, const Layer&) = default;
};

/// What the present structure of a stream says of its decode targets.
struct DecodeTargets {
  std::uint8_t count = 0;
  std::uint32_t published = ~std::uint32_t{0}; ///< those that the publisher goes on with
  /// Those that show no more than these layers.
  std::array<std::array<std::uint32_t, max_temporal_layers>, max_spatial_layers> up_to{};
};

/// A packet's dependency descriptor, for the codec whose receivers need it.
struct PacketDescriptor {
  ByteView value;
  rtp::DependencyDescriptorLayout layout;
  std::uint16_t frame_number = 0;
  DecodeTargets targets;
};

/// A packet of an encoding, ready to be forwarded: no duplicate, with its sequence number unwrapped.
struct MediaPacket {
  rtp::ExtendedSequence sequence = 0;
  std::uint32_t timestamp = 0;
  bool marker = false;
  ByteView payload;
  signaling::Codec codec = signaling::Codec::opus;
  std::optional<rtp::Vp8Descriptor> vp8; ///< of VP8 with a payload
  std::optional<PacketDescriptor> descriptor; ///< of AV1, if the publisher sends them
  Layer layer;                   ///< that it belongs to
  bool starts_frame = false;     ///< of a layer
  bool ends_frame = false;
  bool starts_key_frame = false;
  /// Whoever received the layers below can go on with this one from here.
  bool switching_point = false;
  std::uint8_t padding = 0; ///< bytes to be added on the way out, so that it is as long as those beside it
};

/// One stream that a participant sends, and its retransmissions: what was received, what is missing, when to ask for a key frame, how much it is.
class Encoding {
 public:
  Encoding(const signaling::PublishedMedia& media, Source source, std::uint8_t index, const Limits& limits);

  bool video() const { return video_; }
  std::uint32_t clock_rate() const { return video_ ? 90000 : 48000; }
  std::uint8_t index() const { return index_; }

  /// Streams are known from the offer, or when they first arrive with the m-line's mid. A new main stream begins a new
  /// generation: sequence numbers and timestamps have nothing to do with those before.
  void set_stream(std::uint32_t ssrc);
  void set_retransmission_stream(std::uint32_t ssrc);
  std::optional<std::uint32_t> ssrc() const { return ssrc_; }
  std::uint32_t generation() const { return generation_; }

  /// A packet of the main stream. Empty if there is nothing to forward: it is not `wanted`, a duplicate, or not parsable.
  /// The payload points into `packet`.
  std::optional<MediaPacket> handle_media(TimePoint now, signaling::Codec codec, const rtp::Packet& packet, bool wanted);
  /// One of the retransmission stream; padding probes have nothing in them.
  std::optional<MediaPacket> handle_retransmission(TimePoint now, signaling::Codec codec, const rtp::Packet& packet, bool wanted);
  void handle_sender_report(TimePoint now, const rtp::SenderInfo& info);

  /// The stream arrives in another shard, which passes its packets on after all of the above.
  void set_relayed() {
    relayed_ = true;
    ssrc_.reset();
    rtx_ssrc_.reset();
  }
  /// ... `generation` and what is known of the layers being that shard's. False for a packet that is here already.
  bool handle_relayed(TimePoint now, std::uint32_t generation, const MediaPacket& media, std::uint8_t spatial_layers, std::uint8_t temporal_layers,
                      const std::array<std::uint16_t, max_spatial_layers>& heights);

  /// Its spatial layers are of use only to those who get the dependency descriptor: in AV1 nothing else tells a receiver that several frames are one
  /// picture.
  bool layers_need_descriptor() const { return codec_ == signaling::Codec::av1; }

  /// A packet received lately.
  std::optional<MediaPacket> find(rtp::ExtendedSequence sequence) const;
  std::optional<rtp::ExtendedSequence> highest() const { return relayed_ ? relayed_highest_ : unwrapper_.highest(); }
  /// Of a number on the wire, what it most likely is.
  rtp::ExtendedSequence extend(std::uint16_t sequence) const { return unwrapper_.peek(sequence); }

  /// The publisher's clocks, as it told them last.
  struct SenderClock {
    std::uint64_t ntp = 0;
    std::uint32_t rtp_timestamp = 0;
    TimePoint at;
  };
  const std::optional<SenderClock>& sender_clock() const { return sender_clock_; }
  void handle_relayed_clock(std::uint32_t generation, const SenderClock& clock);

  /// What layers it has is known.
  bool seen() const { return last_packet_.has_value(); }
  /// True once after an outage of the way from the publisher: what flowed cannot go on without a key frame, which was asked for.
  bool take_outage() { return std::exchange(outage_, false); }
  /// Packets came a moment ago.
  bool active(TimePoint now) const { return last_packet_ && now - *last_packet_ < std::chrono::seconds(1); }
  const std::optional<TimePoint>& last_packet() const { return last_packet_; }
  /// Two frames of `other`, which is of the same picture, have begun since its last packet, though not at once.
  bool outlived_by(const Encoding& other) const {
    return last_packet_ && other.frame_before_at_ && *other.frame_before_at_ - *last_packet_ >= std::chrono::milliseconds(250);
  }
  /// Of the layers up to this one, bits per second. Before it is known, what a stream of this rank usually has.
  std::int64_t bitrate(TimePoint now, std::uint8_t spatial, std::uint8_t temporal) const;
  /// Of the picture, as far as the publisher's descriptors tell; else a guess: the last of several is 720 high, each before it half of the next.
  std::uint32_t height(std::uint8_t spatial) const;
  std::uint8_t spatial_layers() const { return spatial_layers_; }
  std::uint8_t temporal_layers() const { return temporal_layers_; }

  /// `urgent`: somebody sees nothing yet.
  void request_key_frame(bool urgent);
  /// True when a PLI is to be sent now; counts as sent.
  bool take_key_frame_request(TimePoint now);
  bool key_frame_requested() const { return key_frame_requests_.wanted(); }
  bool key_frame_urgent() const { return key_frame_requests_.urgent(); }

  /// Nobody needs what is missing any more.
  void stop_waiting();
  /// The same, and gives the memory back that only packets need.
  void rest();
  std::size_t poll_nacks(TimePoint now, std::span<std::uint16_t> out) { return nacks_.poll(now, out); }
  /// Report blocks of the main stream and of the retransmissions, if they have begun.
  std::size_t reports(TimePoint now, std::span<rtp::ReportBlock> out);

 private:
  std::optional<MediaPacket> accept(TimePoint now, signaling::Codec codec, rtp::ExtendedSequence sequence, const rtp::Packet& packet, ByteView payload, bool wanted);
  /// What follows once it is known what the packet is. False if it is not to be forwarded.
  bool take(TimePoint now, const MediaPacket& media, bool wanted);
  void begin_generation(std::uint32_t generation);
  /// Nothing came for a while, though much was sent.
  bool is_outage(TimePoint now, std::optional<rtp::ExtendedSequence> before, rtp::ExtendedSequence sequence) const;
  /// False when the payload's descriptor does not parse.
  bool describe(const rtp::Packet& packet, MediaPacket& out);

  bool video_;
  std::uint8_t index_;
  std::uint8_t of_; ///< how many encodings there are
  std::optional<std::uint8_t> descriptor_extension_;
  std::optional<std::uint32_t> ssrc_;
  std::optional<std::uint32_t> rtx_ssrc_;
  std::uint32_t generation_ = 0;
  rtp::SequenceUnwrapper unwrapper_;
  rtp::SequenceUnwrapper rtx_unwrapper_;
  rtp::ReceiveStatistics statistics_;
  rtp::ReceiveStatistics rtx_statistics_;
  rtp::NackGenerator nacks_;
  std::unique_ptr<rtp::PacketHistory> history_; ///< video only, from the first packet on
  std::size_t history_capacity_;
  std::unique_ptr<std::optional<rtp::DependencyStructure>> structure_; ///< once a descriptor came; it is large
  DecodeTargets targets_;
  signaling::Codec codec_ = signaling::Codec::opus; ///< of the last packet
  std::optional<SenderClock> sender_clock_;
  std::optional<TimePoint> last_packet_;
  std::uint32_t frame_timestamp_ = 0; ///< of the latest frame
  std::optional<TimePoint> frame_at_, frame_before_at_; ///< when it and the one before began
  std::array<std::array<RateMeter, max_temporal_layers>, max_spatial_layers> rates_{};
  std::uint8_t spatial_layers_ = 1;
  std::uint8_t temporal_layers_ = 1;
  bool relayed_ = false;
  std::optional<rtp::ExtendedSequence> relayed_highest_;
  std::array<std::uint16_t, max_spatial_layers> relayed_heights_{};

  KeyFrameRequests key_frame_requests_;
  bool outage_ = false;
};

} // namespace satsuma::sfu
