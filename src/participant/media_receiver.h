#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "participant/media_sender.h"
#include "participant/send_queue.h"
#include "participant/transport.h"
#include "rtp/nack.h"
#include "rtp/packet_history.h"
#include "rtp/receive_statistics.h"
#include "rtp/transport_feedback.h"

namespace satsuma::participant {

struct IncomingStream {
  bool video = false;
  std::string mid;
  std::uint8_t payload_type = 0;
  std::optional<std::uint8_t> rtx_payload_type;
  std::uint32_t ssrc = 0;
  std::uint32_t rtx_ssrc = 0;
  friend bool operator==(const IncomingStream&, const IncomingStream&) = default;
};

/// A connection that receives: packets become whole frames in their order, what is missing is asked for, feedback is given. After each call take queue() and
/// poll_output().
class MediaReceiver {
 public:
  struct Connected {};
  struct Disconnected {
    Error reason;
    bool final = false;
  };
  struct Frame {
    std::size_t stream = 0;
    std::uint32_t timestamp = 0;
    ByteView payload;        ///< without RTP and its payload descriptor; valid until the next call
    bool after_gap = false;  ///< frames between this and the one before were lost
  };
  using Output = std::variant<Connected, Disconnected, Frame>;

  struct Options {
    std::size_t history_packets = 512;                      ///< of a video stream, 1500 bytes each; a power of two
    Duration max_wait = std::chrono::milliseconds(600);     ///< for what is missing in a frame, before frames are given up
    bool audio_frames = true, video_frames = true;          ///< false: packets are counted and dropped, for load tests of the transport alone
  };
  struct Counters {
    std::uint64_t packets = 0; ///< media, retransmissions included
    std::uint64_t bytes = 0;   ///< of payload
    std::uint64_t frames = 0;
    std::uint64_t frames_lost = 0; ///< gaps that were given up
    std::uint64_t lost_packets = 0;  ///< by the reports' reckoning, retransmissions not counted as received
    std::uint64_t nacks_sent = 0;
    std::uint64_t retransmissions = 0; ///< received
    std::uint64_t probes = 0;          ///< retransmissions with nothing in them, which only measure the path; not counted as packets
    std::uint64_t key_frames_wanted = 0;
    std::uint64_t unknown_streams = 0;
    std::uint64_t invalid = 0;
  };

  MediaReceiver(TimePoint now, const dtls::Context& context, ice::Credentials local, RandomSource& random, const Options& options);

  /// Streams by index; those known before at the same place go on.
  void set_streams(std::vector<IncomingStream> streams, const Extensions& extensions);
  Transport& transport() { return transport_; }
  const Transport& transport() const { return transport_; }

  /// `arrived`: when the host had it, if that is known better than `now`; the sender is told of it.
  void handle_packet(TimePoint now, const NetworkPath& path, MutableByteView datagram, std::optional<TimePoint> arrived = std::nullopt);
  void handle_timeout(TimePoint now);
  std::optional<Output> poll_output();
  std::optional<TimePoint> next_deadline() const;
  /// PLI, not more often than three times a second.
  void request_key_frame(TimePoint now, std::size_t stream);
  void close();
  SendQueue& queue() { return queue_; }

  const Counters& counters();
  std::size_t stream_count() const { return streams_.size(); }
  const IncomingStream& stream(std::size_t index) const { return streams_[index].description; }

 private:
  struct Stream {
    IncomingStream description;
    rtp::SequenceUnwrapper unwrapper;
    rtp::ReceiveStatistics statistics{90000};
    std::unique_ptr<rtp::PacketHistory> history;
    std::unique_ptr<rtp::NackGenerator> nacks;
    std::optional<rtp::ExtendedSequence> next; ///< where the next frame begins
    std::optional<TimePoint> stuck_since;
    std::optional<TimePoint> asked_key_frame;
    bool gap = false;
    bool ready = false; ///< worth looking for a frame
    std::int64_t lost = 0;
  };
  struct Place {
    std::size_t stream = 0;
    bool retransmission = false;
  };

  void handle_rtp(TimePoint now, ByteView datagram, TimePoint arrived);
  void handle_rtcp(TimePoint now, ByteView compound);
  void take_video(TimePoint now, std::size_t index, rtp::ExtendedSequence sequence, std::uint32_t timestamp, bool marker, ByteView payload);
  std::optional<Frame> assemble(std::size_t index);
  void give_up(TimePoint now, std::size_t index);
  /// To the first key frame behind the hole that is there as a whole; false if there is none.
  bool skip_to_key_frame(std::size_t index);
  void send_feedback(TimePoint now);
  void send_reports(TimePoint now);
  template <class Write>
  void send_rtcp(Write&& write);
  void pump(TimePoint now);

  Transport transport_;
  Options options_;
  std::uint32_t own_ssrc_;
  std::vector<Stream> streams_;
  std::unordered_map<std::uint32_t, Place> by_ssrc_;
  std::vector<std::size_t> ready_;
  Extensions extensions_;
  std::unique_ptr<rtp::TransportFeedbackRecorder> feedback_;
  SendQueue queue_;
  std::vector<Output> outputs_;
  std::size_t polled_ = 0;
  std::optional<Frame> audio_;
  Bytes scratch_;
  std::optional<TimePoint> next_tick_;
  TimePoint next_feedback_;
  TimePoint next_report_;
  TimePoint now_;
  Counters counters_;
};

} // namespace satsuma::participant
