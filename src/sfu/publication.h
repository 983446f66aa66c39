#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/time.h"
#include "rtp/nack.h"
#include "rtp/packet.h"
#include "rtp/packet_history.h"
#include "rtp/receive_statistics.h"
#include "rtp/sequence.h"
#include "rtp/vp8.h"
#include "sfu/limits.h"
#include "signaling/sdp.h"

namespace satsuma::sfu {

using signaling::Source;

/// Where a publication's packets go: a slot of a participant.
struct SlotReference {
  std::uint32_t participant = 0;
  std::uint32_t slot = 0;
  friend bool operator==(const SlotReference&, const SlotReference&) = default;
};

/// A packet of a publication, ready to be forwarded: no duplicate, with its sequence number unwrapped.
struct MediaPacket {
  rtp::ExtendedSequence sequence = 0;
  std::uint32_t timestamp = 0;
  bool marker = false;
  ByteView payload;
  signaling::Codec codec = signaling::Codec::opus;
  std::optional<rtp::Vp8Descriptor> vp8; ///< of VP8 with a payload
  bool starts_key_frame = false;
};

/// One stream that a participant sends, and its retransmissions: what was received, what is missing, when to ask for a key frame.
class Publication {
 public:
  Publication(const signaling::PublishedMedia& media, Source source, const Limits& limits);

  const signaling::PublishedMedia& media() const { return media_; }
  Source source() const { return source_; }
  bool video() const { return !signaling::is_audio(source_); }
  std::uint32_t clock_rate() const { return video() ? 90000 : 48000; }

  /// Streams are known from the offer, or when they first arrive with the m-line's mid. A new main stream begins a new
  /// generation: sequence numbers and timestamps have nothing to do with those before.
  void set_stream(std::uint32_t ssrc);
  void set_retransmission_stream(std::uint32_t ssrc);
  std::optional<std::uint32_t> ssrc() const { return ssrc_; }
  std::uint64_t generation() const { return generation_; }

  /// A packet of the main stream. Empty if there is nothing to forward: it is not `wanted`, a duplicate, or not parsable.
  /// The payload points into `packet`.
  std::optional<MediaPacket> handle_media(TimePoint now, signaling::Codec codec, const rtp::Packet& packet, bool wanted);
  /// One of the retransmission stream; padding probes have nothing in them.
  std::optional<MediaPacket> handle_retransmission(TimePoint now, signaling::Codec codec, const rtp::Packet& packet, bool wanted);
  void handle_sender_report(TimePoint now, const rtp::SenderInfo& info);

  /// A packet received lately.
  std::optional<MediaPacket> find(rtp::ExtendedSequence sequence) const;
  std::optional<rtp::ExtendedSequence> highest() const { return unwrapper_.highest(); }

  /// The publisher's clocks, as it told them last.
  struct SenderClock {
    std::uint64_t ntp = 0;
    std::uint32_t rtp_timestamp = 0;
    TimePoint at;
  };
  const std::optional<SenderClock>& sender_clock() const { return sender_clock_; }

  /// `urgent`: somebody sees nothing yet. Then only a short while must have passed since the last one was answered.
  void request_key_frame(bool urgent);
  /// True when a PLI is to be sent now; counts as sent.
  bool take_key_frame_request(TimePoint now);
  bool key_frame_requested() const { return key_frame_requested_; }

  /// Nobody needs what is missing any more.
  void stop_waiting();
  std::size_t poll_nacks(TimePoint now, std::span<std::uint16_t> out) { return nacks_.poll(now, out); }
  /// Report blocks of the main stream and of the retransmissions, if they have begun.
  std::size_t reports(TimePoint now, std::span<rtp::ReportBlock> out);

  std::vector<SlotReference> subscribers;

 private:
  std::optional<MediaPacket> accept(signaling::Codec codec, rtp::ExtendedSequence sequence, std::uint32_t timestamp, bool marker, ByteView payload, bool wanted);
  /// False when the payload's descriptor does not parse.
  static bool describe(MediaPacket& media);

  signaling::PublishedMedia media_;
  Source source_;
  Duration key_frame_interval_;
  std::optional<std::uint32_t> ssrc_;
  std::optional<std::uint32_t> rtx_ssrc_;
  std::uint64_t generation_ = 0;
  rtp::SequenceUnwrapper unwrapper_;
  rtp::SequenceUnwrapper rtx_unwrapper_;
  rtp::ReceiveStatistics statistics_;
  rtp::ReceiveStatistics rtx_statistics_;
  rtp::NackGenerator nacks_;
  std::unique_ptr<rtp::PacketHistory> history_; ///< video only, from the first packet on
  std::size_t history_capacity_;
  std::optional<SenderClock> sender_clock_;
  std::optional<TimePoint> last_packet_;

  bool key_frame_requested_ = false;
  bool key_frame_urgent_ = false;
  bool key_frame_answered_ = true;
  std::optional<TimePoint> key_frame_asked_at_;
};

} // namespace satsuma::sfu
