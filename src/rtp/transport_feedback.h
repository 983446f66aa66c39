#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/time.h"
#include "rtp/rtcp.h"
#include "rtp/sequence.h"

namespace satsuma::rtp {

inline constexpr ErrorCode transport_feedback_malformed{"transport_feedback_malformed", ErrorKind::peer};

/// Packets that one feedback message may speak of. Ours have fewer; a longer one would make a few bytes cause much work.
inline constexpr std::size_t max_feedback_statuses = 2048;

/// The fate of one packet as the receiver tells it (draft-holmer-rmcat-transport-wide-cc-extensions-01 s.3.1).
struct PacketStatus {
  std::uint16_t sequence = 0;
  bool received = false;
  std::int64_t arrival_us = 0; ///< by the receiver's clock; meaningful if received
};

struct TransportFeedback {
  std::uint8_t number = 0; ///< counts the feedback messages
  std::span<const PacketStatus> statuses;
};

/// `control` is the FCI of a transport-wide feedback message. Fills `storage` from its front; rtcp_too_many_items when it is too small or
/// the message speaks of more than max_feedback_statuses packets.
Result<TransportFeedback> parse_transport_feedback(ByteView control, std::span<PacketStatus> storage);

/// Remembers when packets with transport-wide sequence numbers arrived, and writes feedback messages about them: each packet
/// at least once, lost ones too. 32 KB from the first packet on.
class TransportFeedbackRecorder {
 public:
  void on_packet(TimePoint arrival, std::uint16_t sequence);
  bool pending() const { return first_unreported_ && unwrapper_.highest() && *first_unreported_ <= *unwrapper_.highest(); }
  /// Writes one message about what has not been reported yet, as much of it as fits; nothing when nothing is pending.
  /// Call until pending() is false. Space for about 100 bytes at least.
  std::optional<MutableByteView> write(std::uint32_t sender, std::uint32_t media, MutableByteView out);
  /// Gives the memory back until the next packet; what is pending is not told of.
  void rest();

 private:
  static constexpr std::size_t window = 2048; // power of two; a second and more at 1500 packets a second
  static constexpr std::size_t max_statuses = 400;
  struct Arrival {
    ExtendedSequence sequence = -1;
    TimePoint at;
  };
  const Arrival& arrival_of(ExtendedSequence sequence) const { return (*arrivals_)[static_cast<std::size_t>(sequence) % window]; }

  SequenceUnwrapper unwrapper_;
  std::optional<ExtendedSequence> first_unreported_;
  std::uint8_t number_ = 0;
  std::unique_ptr<std::array<Arrival, window>> arrivals_; ///< null: nothing is pending
};

} // namespace satsuma::rtp
