#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "rtp/rtcp.h"
#include "rtp/sequence.h"
#include "sfu/publication.h"
#include "sfu/sfu.h"
#include "signaling/sdp.h"

namespace satsuma::sfu {

/// Which publication a slot carries.
struct PublicationReference {
  std::uint32_t participant = 0;
  Source source = Source::microphone;
  friend bool operator==(const PublicationReference&, const PublicationReference&) = default;
};

/// One stream towards a subscriber. Its SSRC stays, and its sequence numbers, timestamps and picture ids go on without a break
/// whatever publication it carries, and whichever of its layers.
///
///   idle ── assign ──▶ waiting ── key frame (video), any packet (audio) ──▶ flowing
///    ▲                    ▲                                                    │
///    └───── release ──────┴───── restart, pause, another generation ───────────┘
///
/// The layer that is aimed at and the one that flows differ until a packet comes at which a decoder can change: a key frame for another encoding or a
/// higher spatial layer, a switching point for a higher temporal layer; downwards within an encoding the next frame will do.
class Slot {
 public:
  enum class State : std::uint8_t { idle, waiting, flowing };

  /// What becomes of a packet on its way to this subscriber.
  struct Rewrite {
    std::uint16_t sequence = 0;
    std::uint32_t timestamp = 0;
    std::uint16_t picture_id = 0; ///< VP8's, or the frame number of the dependency descriptor
    std::uint8_t tl0_picture_index = 0;
    bool marker = false;
    /// The packet was left out, but its number has been kept free for it: an empty one goes in its place.
    bool padding = false;
  };

  /// `history`: how many of the last packets can be sent again at most; a power of two; 0 for audio. Memory is taken when a publication comes, and more when
  /// its rate wants it.
  Slot(signaling::OfferedSlot offered, std::size_t history, RandomSource& random);

  const signaling::OfferedSlot& offered() const { return offered_; }
  bool video() const { return offered_.kind == signaling::MediaKind::video; }
  State state() const { return state_; }
  const std::optional<PublicationReference>& publication() const { return publication_; }

  /// Of the answer: nothing is sent on a slot that was not accepted, nor what it does not read.
  bool accepted = false;
  bool retransmissions = false;
  bool descriptors = false; ///< it reads the dependency descriptor
  signaling::CodecSet codecs;
  /// Of the subscriber's screen; 0: not shown. Empty: it did not say.
  std::optional<std::uint32_t> view_height;
  /// A key frame was asked for that the subscriber could not have decrypted: it is asked for once it can.
  bool key_frame_withheld = false;
  /// No layer of it fits the path; it is paused when that lasts.
  std::optional<TimePoint> unaffordable_since;
  SlotLimit limit = SlotLimit::nothing;
  /// Of the latest key frame, as it goes out.
  std::optional<std::uint32_t> key_frame_timestamp;
  /// What flowed was stopped by its publisher: these encodings, a bit each, would be taken if they began.
  std::uint8_t hopes = 0;

  void assign(const PublicationReference& publication);
  void release();
  /// The subscriber or the publication begins anew: wait for a key frame again.
  void restart();
  /// What to aim at; empty: nothing is to be sent. `at_once`: what flows is more than the path carries, and rather ends before its successor is there.
  void set_target(std::optional<Layer> target, bool at_once = false);
  const std::optional<Layer>& target() const { return target_; }
  /// What flows.
  std::optional<Layer> current() const { return state_ == State::flowing ? std::optional(current_) : std::nullopt; }
  /// Of which encoding a key frame is waited for.
  std::optional<std::uint8_t> key_frame_wanted() const;

  /// Decides whether the packet goes out, and how. `generation` is the encoding's.
  std::optional<Rewrite> forward(TimePoint now, std::uint32_t generation, const MediaPacket& packet);
  /// What it needs for the next few besides this object itself: base/prefetch.h.
  void prefetch(std::size_t packets) const;

  /// A packet to send again: which one of the publication's, and as what.
  struct Repeat {
    std::uint8_t encoding = 0;
    std::uint32_t generation = 0;
    rtp::ExtendedSequence original = 0;
    Rewrite rewrite;
    std::uint16_t rtx_sequence = 0;
  };
  /// Why not: it is not known (any more); it is of no use; it was sent again a moment ago.
  enum class Missed : std::uint8_t { not_held, given_up, too_soon };
  std::expected<Repeat, Missed> repeat(TimePoint now, std::uint16_t sequence);
  /// When the packet left, if it is one of those that a decoder still has a use for.
  std::optional<TimePoint> sent_at(std::uint16_t sequence) const;
  /// Packets that were given up before they left: they are not sent again either.
  void forget(std::uint16_t sequence);
  std::uint16_t next_rtx_sequence() { return ++rtx_sequence_; }

  /// Rises when another publication is assigned: what was decided for the one before is void.
  std::uint32_t assignments() const { return assignments_; }
  std::uint32_t generation() const { return generation_; }
  void count_sent(std::size_t payload_size) {
    ++packets_;
    octets_ += static_cast<std::uint32_t>(payload_size);
  }

  /// What a sender report says now: the publisher's clock, our timestamps, so that its streams stay in step with each other.
  std::optional<rtp::SenderInfo> sender_info(TimePoint now, const Publication& publication) const;

 private:
  struct Sent {
    std::uint32_t assignment = 0; ///< 0: unused
    std::uint32_t generation = 0;
    std::uint32_t timestamp = 0;
    std::uint16_t sequence = 0;
    std::uint16_t picture_id = 0;
    rtp::ExtendedSequence original = 0;
    TimePoint sent_at{};
    TimePoint repeated_at{};
    std::uint8_t encoding = 0;
    std::uint8_t tl0_picture_index = 0;
    bool marker = false;
  };
  /// From this packet of the encoding on, the numbers are offset by so much: each packet that is left out moves those behind it.
  struct Offset {
    rtp::ExtendedSequence from = 0;
    rtp::ExtendedSequence sequence = 0; ///< out = in + offset
    std::uint16_t picture = 0;
  };
  static constexpr std::size_t max_offsets = 128; // a power of two

  void start(TimePoint now, std::uint32_t generation, const MediaPacket& packet);
  /// Whether a packet of the encoding that flows belongs to the layers that are wanted; may change the layers.
  bool choose(const MediaPacket& packet);
  /// Of the encoding that flows, the highest that goes out.
  std::uint8_t highest_spatial(const MediaPacket& packet) const {
    return packet.codec == signaling::Codec::av1 && !descriptors ? std::uint8_t{0} : current_.spatial;
  }
  void leave_out(const MediaPacket& packet);
  /// Room for twice as many packets in sent_.
  void grow(TimePoint now);
  const Offset* offset_of(rtp::ExtendedSequence original) const;
  Offset& newest_offset() { return offsets_[(offset_count_ - 1) & (max_offsets - 1)]; }

  signaling::OfferedSlot offered_;
  State state_ = State::idle;
  std::optional<PublicationReference> publication_;
  std::optional<Layer> target_;
  Layer current_;
  std::uint32_t generation_ = 0;
  std::uint32_t assignments_ = 0;

  std::uint16_t first_sent_ = 0;               ///< of our numbers, where what flows began
  rtp::ExtendedSequence first_ = 0;            ///< of the encoding's numbers, the first forwarded
  rtp::ExtendedSequence highest_original_ = 0; ///< decided on
  std::vector<Offset> offsets_;                ///< a ring; memory for one until something is left out
  std::size_t offset_count_ = 0;
  std::optional<std::uint16_t> left_out_picture_; ///< the last
  rtp::ExtendedSequence highest_sent_;
  std::uint32_t timestamp_offset_ = 0;
  std::uint32_t newest_timestamp_;
  std::optional<TimePoint> newest_sent_at_;
  std::uint16_t newest_picture_;
  std::uint8_t tl0_offset_ = 0;
  std::uint8_t newest_tl0_;
  std::uint16_t frame_offset_ = 0; ///< of the dependency descriptor's numbers
  std::uint16_t newest_frame_ = 0;
  std::uint16_t rtx_sequence_;
  std::uint32_t packets_ = 0;
  std::uint32_t octets_ = 0;
  std::size_t history_;
  std::vector<Sent> sent_;
  std::size_t sent_count_ = 0; ///< packets since, at most as many as there is room for
  TimePoint sent_since_{};
};

} // namespace satsuma::sfu
