#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/random.h"
#include "base/result.h"
#include "base/time.h"
#include "base/transport_address.h"
#include "sfu/limits.h"
#include "sfu/shard_message.h"
#include "signaling/source.h"

namespace satsuma::dtls {
class Context;
}

/// The forwarding of media: docs/protocol.md, section 6.
namespace satsuma::sfu {

class PacketTap;

using signaling::Source;
using signaling::SourceSet;

inline constexpr ErrorCode sfu_unknown_participant{"sfu_unknown_participant", ErrorKind::caller};
inline constexpr ErrorCode sfu_participant_exists{"sfu_participant_exists", ErrorKind::caller};
inline constexpr ErrorCode sfu_room_full{"sfu_room_full", ErrorKind::peer};
inline constexpr ErrorCode sfu_too_many_rooms{"sfu_too_many_rooms", ErrorKind::environment};
inline constexpr ErrorCode sfu_no_publication{"sfu_no_publication", ErrorKind::peer};
inline constexpr ErrorCode sfu_unknown_slot{"sfu_unknown_slot", ErrorKind::peer};
inline constexpr ErrorCode sfu_too_many_handshakes{"sfu_too_many_handshakes", ErrorKind::peer};
inline constexpr ErrorCode sfu_unknown_revision{"sfu_unknown_revision", ErrorKind::peer};

struct Config {
  /// What clients are told to connect to, best first; at least one. All lead to this shard.
  std::vector<TransportAddress> candidates;
  /// ... over TCP, for networks without UDP (RFC 6544, passive), best first. None: UDP alone.
  std::vector<TransportAddress> tcp_candidates;
  /// Which of the process's shards this is, below ice::max_parts: username fragments say it (ice::part_of), so that who has a first check can find the shard.
  std::size_t part = 0;
  Limits limits;
};

/// Which of a participant's two connections.
enum class Leg : std::uint8_t { publish, subscribe };

// ---- what poll_output() returns

/// To be sent to the client as `offer`.
struct SubscribeOffer {
  IncarnationId id;
  std::uint32_t revision = 0;
  std::string sdp;
};
struct SlotUse {
  std::string mid;
  IncarnationId incarnation;
  Source source = Source::microphone;
  friend bool operator==(const SlotUse&, const SlotUse&) = default;
};
/// Of a subscriber's screen: how high, in device pixels, it shows what a slot carries, or a publication that may have no slot yet.
struct TileView {
  std::string mid; ///< empty: `incarnation` and `source` say which
  std::uint32_t height = 0; ///< at least 1
  std::optional<IncarnationId> incarnation = std::nullopt;
  Source source = Source::camera;
  friend bool operator==(const TileView&, const TileView&) = default;
};
/// Besides the tiles: the cameras of so many who spoke last, and every screen.
struct SpeakersView {
  std::size_t count = 0;
  std::uint32_t height = 0; ///< at least 1
};
/// To be sent to the publisher as `layers`: which of a source's simulcast streams somebody can use now, in the order of the offer.
struct WantedLayers {
  IncarnationId id;
  Source source = Source::camera;
  std::vector<bool> active;
};
/// What limits the picture of a slot.
enum class SlotLimit : std::uint8_t { nothing, view, bandwidth, publisher };
/// How a subscriber's path does. Bits per second.
struct SubscriberReport {
  bool estimated = false; ///< the receiver gives feedback
  std::int64_t bitrate = 0;
  std::int64_t allocated = 0;
  std::int64_t desired = 0;
  double loss = 0;
  Duration round_trip{};
  bool limited_by_loss = false;
  struct Slot {
    std::string mid;
    bool paused = false;
    std::uint8_t encoding = 0, encodings = 1, spatial = 0, temporal = 0;
    SlotLimit limit = SlotLimit::nothing;
  };
  std::vector<Slot> slots; ///< of video, those in use
};
/// To be sent to the client as `slots`: the whole mapping.
struct Slots {
  IncarnationId id;
  std::uint64_t sequence = 0;
  std::vector<SlotUse> slots;
  std::size_t voices = 0; ///< microphones among them at most, ever
};
/// To be sent to the subscriber as `path`, every path_report_interval.
struct PathState {
  IncarnationId id;
  SubscriberReport report;
};
inline constexpr Duration path_report_interval = std::chrono::seconds(2);
struct Connected {
  IncarnationId id;
  Leg which = Leg::publish;
};
/// The peer closed it, its handshake failed, or it has been silent for too long. A new offer brings it back.
struct Disconnected {
  IncarnationId id;
  Leg which = Leg::publish;
};
using Output = std::variant<SubscribeOffer, Slots, WantedLayers, PathState, Connected, Disconnected>;

struct IncomingDatagram {
  MutableByteView bytes;
  /// When the host had it: it is what publishers are told, to whom our own delays would look like a full path.
  TimePoint arrived;
};
/// To be sent from the path's socket. The bytes live until clear_datagrams().
struct OutgoingDatagram {
  NetworkPath path;
  ByteView bytes;
};

/// One shard: whole rooms with their participants' connections and the media between them. Sans-I/O; one thread.
///
/// Calls for a participant that this shard does not hold fail with sfu_unknown_participant. Everything that comes from
/// a client (SDP, packets) may be hostile: a failure leaves the state as it was.
class Sfu {
 public:
  /// `context` (the DTLS certificate) and `random` must outlive the object.
  Sfu(Config config, const dtls::Context& context, RandomSource& random);
  ~Sfu();
  Sfu(Sfu&&) noexcept;
  Sfu& operator=(Sfu&&) noexcept;

  /// The room begins with its first participant and ends with its last. A new participant is not a member.
  Result<void> add_participant(TimePoint now, std::string_view room, const IncarnationId& id);
  Result<void> remove_participant(TimePoint now, const IncarnationId& id);
  /// Media flows between members only: those in the room's MLS roster.
  Result<void> set_member(TimePoint now, const IncarnationId& id, bool member);
  /// The room's group went over to another epoch with this entry of its log; before the change of the roster that comes with it.
  void handle_epoch(TimePoint now, std::string_view room, std::uint64_t entry);
  /// The participant has the keys of the epochs that began in entries below `cursor`. Until it has those of the present one, it begins with no picture,
  /// and no publisher hears its requests for key frames.
  Result<void> handle_followed(const IncarnationId& id, std::uint64_t cursor);

  /// `publish` and `restart`: returns the answer. A later offer with the same DTLS fingerprint keeps the connection, and with
  /// new ICE credentials restarts ICE; one with another fingerprint replaces the connection, sfu_too_many_handshakes when that comes too often.
  Result<std::string> handle_publish_offer(TimePoint now, const IncarnationId& id, std::string_view sdp);
  /// `sources`: the set of what is being sent. None is active before the first call.
  Result<void> handle_sources(TimePoint now, const IncarnationId& id, SourceSet active);

  /// `subscribe`: the offer comes out as SubscribeOffer. Asked again, it offers a connection anew (new ICE credentials); the
  /// answer's DTLS fingerprint decides whether the old one goes on.
  Result<void> request_subscribe(TimePoint now, const IncarnationId& id);
  /// `answer`. sfu_unknown_revision unless it answers the latest offer.
  Result<void> handle_subscribe_answer(TimePoint now, const IncarnationId& id, std::uint32_t revision, std::string_view sdp);
  /// `view`: what the client shows and how large; the rest is paused. Slots that do not exist are passed over.
  /// `speakers`: of who spoke last, so many cameras besides.
  Result<void> handle_view(TimePoint now, const IncarnationId& id, std::span<const TileView> tiles, std::optional<SpeakersView> speakers = std::nullopt);
  /// Whose microphones the participant wants where not all have a slot, the most wanted first.
  Result<void> handle_voices(TimePoint now, const IncarnationId& id, std::span<const IncarnationId> of);
  Result<SubscriberReport> report(TimePoint now, const IncarnationId& id) const;
  /// `key_frame`: passed on to the publisher behind the slot, throttled. A slot without a publication is no error.
  Result<void> handle_key_frame_request(TimePoint now, const IncarnationId& id, std::string_view mid);

  /// Datagrams that came the same way in a row; they are decrypted in place. Bad ones are counted, never an error. True when enough is pending to be sent first:
  /// then forward_more() goes on, until it returns false, before anything else but sending is done. The datagrams and their bytes are needed until then.
  [[nodiscard]] bool handle_packets(TimePoint now, const NetworkPath& path, std::span<const IncomingDatagram> datagrams);
  [[nodiscard]] bool forward_more(TimePoint now);
  void handle_packet(TimePoint now, const NetworkPath& path, MutableByteView packet) {
    const IncomingDatagram one{packet, now};
    bool more = handle_packets(now, path, {&one, 1});
    while (more) more = forward_more(now);
  }
  /// Whether a check that came this way has authenticated, and its connection is still there.
  bool knows_path(const NetworkPath& path) const;
  /// The TCP connection that was this path ended.
  void handle_path_closed(TimePoint now, const NetworkPath& path);
  void handle_timeout(TimePoint now);
  /// Empty while nobody is there.
  std::optional<TimePoint> next_deadline() const;

  /// The other shards of the process that have people in the room, by their Config::part; none of those that never had several. The room has its first
  /// participant here already.
  void set_room_shards(TimePoint now, std::string_view room, ShardSet shards);
  /// What shard `part` had in pending_for_shards(), in that order. A packet's payload need not outlive the call.
  void handle_from_shard(TimePoint now, std::size_t part, const ShardMessage& message);
  /// What is to be handed to other shards now. Valid as pending_datagrams(), and forgotten with them.
  std::span<const OutgoingShardMessage> pending_for_shards() const;

  std::optional<Output> poll_output();
  /// What is to be sent now, datagrams to one destination side by side (for UDP_SEGMENT), in their order. Valid until the
  /// next call of anything else.
  std::span<const OutgoingDatagram> pending_datagrams();
  /// Of both.
  std::size_t pending_count() const;
  void clear_datagrams();

  const Counters& counters() const;
  std::size_t participant_count() const;
  std::size_t room_count() const;

  /// `tap` sees each received RTP packet after SRTP was undone; null ends it. Defined in satsuma_sfu_hooks alone: no program that people use can call it.
  void set_packet_tap(PacketTap* tap);

 private:
  class Shard;
  std::unique_ptr<Shard> shard_;
};

} // namespace satsuma::sfu
