#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "congestion/bandwidth_estimator.h"
#include "congestion/pacing_budget.h"
#include "participant/send_queue.h"
#include "participant/transport.h"
#include "rtp/packet_history.h"
#include "rtp/rtcp.h"
#include "rtp/transport_feedback.h"

namespace satsuma::participant {

inline constexpr ErrorCode media_not_connected{"media_not_connected", ErrorKind::caller};
inline constexpr ErrorCode media_unknown_stream{"media_unknown_stream", ErrorKind::caller};
inline constexpr ErrorCode media_frame_too_large{"media_frame_too_large", ErrorKind::caller};
/// A frame before this one was dropped, on which it builds.
inline constexpr ErrorCode media_needs_key_frame{"media_needs_key_frame", ErrorKind::caller};

inline constexpr std::size_t max_streams = 128;
/// Of an RTP packet's payload, so that with all headers it has at most 1200 bytes.
inline constexpr std::size_t default_max_payload = 1136;
/// Of a sender that adapts: what waits for its time to leave, of all streams together, and for how long at most.
inline constexpr std::size_t max_waiting_bytes = 2U << 20;
inline constexpr std::size_t max_waiting_repetitions = 256;
inline constexpr Duration max_waiting_time = std::chrono::milliseconds(700);
/// Of what is sent again, which goes first: whoever still wants it has asked once more by then.
inline constexpr Duration max_repetition_wait = std::chrono::milliseconds(500);

struct OutgoingStream {
  bool video = false;
  std::string mid;
  std::uint8_t payload_type = 0;
  std::optional<std::uint8_t> rtx_payload_type;
  std::uint32_t ssrc = 0;
  std::uint32_t rtx_ssrc = 0;
  std::string rid = {}; ///< of a simulcast (RFC 8852): in each of its packets
};

/// The header extensions (RFC 8285) that the peer agreed to.
struct Extensions {
  std::optional<std::uint8_t> mid;
  std::optional<std::uint8_t> transport_cc;
  std::optional<std::uint8_t> audio_level = std::nullopt; ///< RFC 6464, of the streams that tell it
  std::optional<std::uint8_t> rid = std::nullopt, repaired_rid = std::nullopt;
};

/// A connection that sends: frames become RTP packets, what the peer misses is sent again, its wishes for key frames are passed on. The payload of a frame is
/// not looked at. After each call take queue() and poll_output().
///
/// One that adapts estimates what its path carries from the peer's transport-wide feedback and lets pictures leave at that pace; sound never waits. How large
/// frames are is up to who makes them: available().
class MediaSender {
 public:
  struct Connected {};
  struct Disconnected {
    Error reason;
    bool final = false; ///< it will not come back
  };
  struct KeyFrameWanted {
    std::size_t stream = 0;
  };
  using Output = std::variant<Connected, Disconnected, KeyFrameWanted>;

  struct Counters {
    std::uint64_t frames = 0;
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0; ///< of payload
    std::uint64_t retransmissions = 0;
    std::uint64_t nacks_received = 0;
    std::uint64_t key_frames_wanted = 0;
    std::uint64_t feedback_received = 0; ///< transport-wide messages
    std::uint64_t reported_received = 0; ///< packets, by that feedback
    std::uint64_t reported_lost = 0;
    std::uint64_t invalid = 0;
    std::uint64_t frames_dropped = 0; ///< waited for too long, or were of a stream that was stopped
    std::uint64_t probes = 0;
    std::uint64_t padding = 0; ///< packets of probes
  };

  MediaSender(TimePoint now, const dtls::Context& context, ice::Credentials local, RandomSource& random, std::size_t max_payload = default_max_payload,
              bool adapts = false);

  void set_streams(std::vector<OutgoingStream> streams, const Extensions& extensions);
  Transport& transport() { return transport_; }
  const Transport& transport() const { return transport_; }

  /// One encoded frame of `stream`. `timestamp` is in the stream's clock. For VP8 the payload descriptor is added (RFC 7741 s.4.2). `level`: how loud the sound
  /// is, in -dBov (0 to 127), told if the peer agreed to it. `dependent`: it builds on the frame before.
  Result<void> send_frame(TimePoint now, std::size_t stream, ByteView frame, std::uint32_t timestamp, std::optional<std::uint8_t> level = std::nullopt,
                          bool dependent = false);
  /// What waits of the stream is dropped, and nothing of it is sent again: it goes on with a frame that builds on none.
  void stop_stream(std::size_t stream);

  /// Of one that adapts: bits per second on the wire for everything; no value: nothing is known that would limit it.
  std::optional<std::int64_t> available() const;
  const congestion::BandwidthEstimator& estimator() const { return estimator_; }
  /// What sound takes of it now, without what is sent again.
  std::int64_t sound_bitrate() const { return sound_bitrate_; }
  /// What would be sent if there were room for it: as much is probed for.
  void set_desired(std::int64_t bitrate) { desired_ = bitrate; }
  /// What is sent in any case, whatever the estimate says: pictures do not leave more slowly than that.
  void set_least_pace(std::int64_t bitrate) { least_pace_ = bitrate; }
  std::size_t waiting_bytes() const { return waiting_bytes_; }
  std::size_t waiting_repetitions() const { return repetitions_.size(); }

  void handle_packet(TimePoint now, const NetworkPath& path, MutableByteView datagram);
  void handle_timeout(TimePoint now);
  std::optional<Output> poll_output();
  std::optional<TimePoint> next_deadline() const;
  void close();
  SendQueue& queue() { return queue_; }

  const Counters& counters() const { return counters_; }
  /// As reception reports tell it (RFC 3550 s.6.4.1).
  std::optional<Duration> round_trip() const { return round_trip_; }
  double reported_loss() const { return reported_loss_; }

 private:
  /// A packet of sound as it left. What is sent again is these bytes: another header under the same number would be another packet under the same nonce.
  struct SentSound {
    Bytes datagram; ///< empty: none
    std::uint16_t sequence = 0;
    std::uint16_t transport_sequence = 0;
    TimePoint at{};
    TimePoint repeated_at{};
  };
  /// A frame of which not all packets have left.
  struct Waiting {
    Bytes bytes;
    std::size_t begin = 0;   ///< of what has not left
    std::size_t packets = 0; ///< that it still takes
    std::uint32_t timestamp = 0;
    std::uint16_t picture_id = 0;
    bool dependent = false;
    TimePoint since{};
  };
  struct Stream {
    OutgoingStream description;
    std::deque<Waiting> waiting;
    bool needs_key_frame = false;
    TimePoint key_frame_left{}; ///< when the last one that had to wait was gone
    std::vector<SentSound> sound; ///< the latest, by their numbers; of audio
    std::uint16_t sequence = 0;
    std::uint16_t rtx_sequence = 0;
    std::uint16_t picture_id = 0;
    rtp::SequenceUnwrapper unwrapper;
    std::unique_ptr<rtp::PacketHistory> history;
    std::uint32_t packets = 0;
    std::uint32_t octets = 0;
    std::uint32_t last_timestamp = 0;
    std::optional<TimePoint> last_sent;
  };

  struct Repetition {
    std::size_t stream = 0;
    std::uint16_t sequence = 0;
    TimePoint since{};
  };

  /// False if there was no room.
  bool send_packet(TimePoint now, Stream& stream, const rtp::Header& header, ByteView prefix, ByteView payload, std::optional<std::uint8_t> level = std::nullopt,
                   std::size_t padding = 0, std::uint16_t probe = 0);
  /// The next packet of a frame.
  void send_part(TimePoint now, Stream& stream, Waiting& frame, ByteView bytes, std::optional<std::uint8_t> level);
  void handle_rtcp(TimePoint now, ByteView compound);
  void resend(TimePoint now, Stream& stream, std::uint16_t sequence);
  void resend_sound(TimePoint now, Stream& stream, std::uint16_t sequence);
  void resend_picture(TimePoint now, Stream& stream, std::uint16_t sequence);
  // Of a sender that adapts.
  bool anything_waits() const { return waiting_bytes_ > 0 || !repetitions_.empty(); }
  void release(TimePoint now);
  void drop_waiting(Stream& stream, bool begun);
  void drop_old(TimePoint now);
  void choose_pace(TimePoint now);
  void watch_path();
  void probe(TimePoint now);
  void send_reports(TimePoint now);
  void pump(TimePoint now);
  Stream* find(std::uint32_t ssrc);

  Transport transport_;
  RandomSource& random_;
  std::size_t max_payload_;
  std::vector<Stream> streams_;
  Extensions extensions_;
  std::uint16_t transport_sequence_ = 0;
  SendQueue queue_;
  std::vector<Output> outputs_;
  std::size_t polled_ = 0;
  std::optional<TimePoint> next_report_;
  std::vector<rtp::PacketStatus> statuses_;

  bool adapts_;
  congestion::BandwidthEstimator estimator_;
  congestion::PacingBudget budget_;
  std::optional<NetworkPath> path_; ///< that the estimate is of
  std::deque<Repetition> repetitions_; ///< they go before what is new
  std::size_t waiting_bytes_ = 0;
  TimePoint released_at_{};
  std::optional<TimePoint> next_tick_; ///< of the estimator
  std::int64_t desired_ = 0, least_pace_ = 0;
  std::optional<congestion::BandwidthEstimator::Probe> probe_; ///< what is left of it
  TimePoint probe_at_{};
  std::int64_t probe_credit_ = 0;
  std::size_t sound_bytes_ = 0; ///< since sound_since_
  std::optional<TimePoint> sound_since_;
  std::int64_t sound_bitrate_ = 0;
  std::optional<Duration> round_trip_;
  double reported_loss_ = 0;
  Counters counters_;
};

} // namespace satsuma::participant
