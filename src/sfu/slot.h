#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "rtp/rtcp.h"
#include "rtp/sequence.h"
#include "sfu/publication.h"
#include "signaling/sdp.h"

namespace satsuma::sfu {

/// Which publication a slot carries.
struct PublicationReference {
  std::uint32_t participant = 0;
  Source source = Source::microphone;
  friend bool operator==(const PublicationReference&, const PublicationReference&) = default;
};

/// One stream towards a subscriber. Its SSRC stays, and its sequence numbers, timestamps and picture ids go on without a break
/// whatever publication it carries.
///
///   idle ── assign ──▶ waiting ── key frame (video), any packet (audio) ──▶ flowing
///    ▲                    ▲                                                    │
///    └───── release ──────┴──────────── restart, another generation ───────────┘
class Slot {
 public:
  enum class State : std::uint8_t { idle, waiting, flowing };

  /// What becomes of a packet on its way to this subscriber.
  struct Rewrite {
    std::uint16_t sequence = 0;
    std::uint32_t timestamp = 0;
    std::uint16_t picture_id = 0;
    std::uint8_t tl0_picture_index = 0;
  };

  /// `history`: how many of the last packets can be sent again; a power of two; 0 for audio.
  Slot(signaling::OfferedSlot offered, std::size_t history, RandomSource& random);

  const signaling::OfferedSlot& offered() const { return offered_; }
  bool video() const { return offered_.kind == signaling::MediaKind::video; }
  State state() const { return state_; }
  const std::optional<PublicationReference>& publication() const { return publication_; }

  /// Of the answer: nothing is sent on a slot that was not accepted.
  bool accepted = false;
  bool retransmissions = false;
  signaling::CodecSet codecs; ///< what is of another is not forwarded

  void assign(const PublicationReference& publication);
  void release();
  /// The subscriber or the publication begins anew: wait for a key frame again.
  void restart();

  /// Decides whether the packet goes out, and how. `generation` is the publication's.
  std::optional<Rewrite> forward(TimePoint now, std::uint64_t generation, const MediaPacket& packet);

  /// A packet to send again: which one of the publication's, and as what. Empty when it is not known any more, or was
  /// sent again a moment ago.
  struct Repeat {
    rtp::ExtendedSequence original = 0;
    Rewrite rewrite;
    std::uint16_t rtx_sequence = 0;
  };
  std::optional<Repeat> repeat(TimePoint now, std::uint64_t generation, std::uint16_t sequence);
  void count_sent(std::size_t payload_size) {
    ++packets_;
    octets_ += static_cast<std::uint32_t>(payload_size);
  }

  /// What a sender report says now: the publisher's clock, our timestamps, so that its streams stay in step with each other.
  std::optional<rtp::SenderInfo> sender_info(TimePoint now, const Publication& publication) const;

 private:
  struct Sent {
    bool used = false;
    std::uint16_t sequence = 0;
    std::uint16_t picture_id = 0;
    std::uint8_t tl0_picture_index = 0;
    std::uint32_t timestamp = 0;
    std::uint64_t start = 0; ///< which of the slot's
    rtp::ExtendedSequence original = 0;
    std::optional<TimePoint> repeated_at;
  };

  void start(TimePoint now, std::uint64_t generation, const MediaPacket& packet);

  signaling::OfferedSlot offered_;
  State state_ = State::idle;
  std::optional<PublicationReference> publication_;
  std::uint64_t generation_ = 0;
  std::uint64_t starts_ = 0; ///< how often it began to flow

  rtp::ExtendedSequence first_ = 0;           ///< of the publication's numbers, the first forwarded
  rtp::ExtendedSequence sequence_offset_ = 0; ///< out = in + offset
  rtp::ExtendedSequence highest_sent_;
  std::uint32_t timestamp_offset_ = 0;
  std::uint32_t newest_timestamp_;
  std::optional<TimePoint> newest_sent_at_;
  std::uint16_t picture_offset_ = 0;
  std::uint16_t newest_picture_;
  std::uint8_t tl0_offset_ = 0;
  std::uint8_t newest_tl0_;
  std::uint16_t rtx_sequence_;
  std::uint32_t packets_ = 0;
  std::uint32_t octets_ = 0;
  std::vector<Sent> sent_;
};

} // namespace satsuma::sfu
