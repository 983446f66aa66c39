#pragma once

#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace satsuma::sfu {

/// What a shard will hold at most. Each is a promise about memory or work that a peer can cause.
struct Limits {
  std::size_t rooms = 1024;
  std::size_t participants_per_room = 200;
  std::size_t ssrcs_per_publisher = 20;      ///< streams and their retransmissions (3 layers twice, and sound), with a margin for changes
  std::size_t audio_slots = 6;               ///< of the first offer, and by how many the pool grows
  std::size_t video_slots = 8;
  /// The pool grows up to these; publications beyond them are not shown. A browser's answer about so many m-lines still fits a frame.
  std::size_t max_audio_slots = 40;
  std::size_t max_video_slots = 40;
  /// Of the cameras that nobody's view asks for, as many are sent as there are here: those of who spoke last. Beyond all rooms' sizes: all.
  std::size_t last_n = SIZE_MAX;
  std::size_t video_history_packets = 512;   ///< kept of each video publication, 1500 bytes each; a power of two
  std::size_t nack_list = 512;               ///< packets of a publication waited for at once
  std::size_t retransmissions_per_second = 1000; ///< to one subscriber
  std::size_t send_arena_bytes = 16U << 20;  ///< waiting datagrams; what does not fit is dropped and counted
  Duration key_frame_interval = std::chrono::milliseconds(500); ///< between two PLIs to one publication
};

/// Packets that are missing in a row, and over how long a time they were sent: so many are an outage. What was lost in it is not worth its place on the path that
/// has just come back; the picture is back with a key frame, which goes first.
inline constexpr std::int64_t outage_packets = 8;
inline constexpr Duration outage_time = std::chrono::milliseconds(400);

/// Counters for operators; all rise only.
struct Counters {
  std::uint64_t packets_in = 0;              ///< media, after SRTP was undone
  std::uint64_t packets_out = 0;             ///< media, retransmissions included
  std::uint64_t dropped_unknown_address = 0;
  std::uint64_t dropped_stun_answers = 0;    ///< to addresses where nobody has shown itself yet, beyond their rate
  std::uint64_t dropped_invalid = 0;         ///< did not authenticate or did not parse
  std::uint64_t dropped_unknown_stream = 0;  ///< no publication takes this SSRC, mid or payload type
  std::uint64_t dropped_inactive = 0;        ///< the source is not active or the sender is not a member
  std::uint64_t dropped_arena_full = 0;
  std::uint64_t key_frames_requested = 0;
  std::uint64_t key_frames_withheld = 0;     ///< asked for by members that could not decrypt them yet
  std::uint64_t nacks_sent = 0;
  std::uint64_t retransmissions_sent = 0;
  // Asked for again and not sent:
  std::uint64_t missed_not_held = 0;         ///< too old, or never sent
  std::uint64_t missed_given_up = 0;         ///< of no use any more: a smaller picture or a key frame has taken its place
  std::uint64_t missed_too_soon = 0;         ///< sent again a moment ago
  std::uint64_t missed_rate = 0;             ///< beyond what one subscriber may ask for in a second
  std::uint64_t feedback_received = 0;       ///< transport-wide, from subscribers
  std::uint64_t sound_repeated = 0;          ///< packets of sound sent again unasked, over paths that lose much
  std::uint64_t probes_sent = 0;
  std::uint64_t padding_sent = 0;            ///< packets of probes, and in the place of layers that were left out
  std::uint64_t paced_packets = 0;           ///< that had to wait
  std::uint64_t dropped_pacer_full = 0;      ///< there was no place to wait
  std::uint64_t dropped_pacer_late = 0;      ///< waited for too long
  std::uint64_t dropped_given_up = 0;        ///< waited for what the subscriber is not to get any more
  std::uint64_t layers_lowered = 0;
  std::uint64_t layers_raised = 0;
  std::uint64_t slots_paused = 0;            ///< for want of bandwidth
  std::uint64_t relayed_out = 0;             ///< media packets handed to another shard, each time
  std::uint64_t relayed_in = 0;              ///< ... that another shard handed to this one
  std::uint64_t slots_refused = 0;           ///< a publication found the pool at its limit
  std::uint64_t slots_taken_over = 0;        ///< from who was silent, by who speaks or is asked for, at the limit of the pool
};

} // namespace satsuma::sfu
