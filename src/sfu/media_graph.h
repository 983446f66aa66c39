#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/random.h"
#include "base/time.h"
#include "congestion/bandwidth_estimator.h"
#include "rtp/active_speakers.h"
#include "rtp/transport_feedback.h"
#include "sfu/layer_allocator.h"
#include "sfu/limits.h"
#include "sfu/pacer.h"
#include "sfu/publication.h"
#include "sfu/send_arena.h"
#include "sfu/sfu.h"
#include "sfu/shard_message.h"
#include "sfu/slot.h"

namespace satsuma::sfu {

using congestion::BandwidthEstimator;

/// Names a participant within a shard. Reused after removal.
using ParticipantIndex = std::uint32_t;

/// Rooms, who is in them, who sends what, and who gets it: everything between the decrypted packet of a publisher and the
/// packets for its subscribers before they are encrypted. Knows nothing of ICE, DTLS and SRTP (Sfu adds them).
///
/// A participant's publication reaches the other members of its room while the publisher is a member, has named it active, and each
/// of them has a slot for it. Slots are sticky: one keeps its publication until that ends.
class MediaGraph {
 public:
  /// How often what waits is looked at.
  static constexpr Duration pacing_interval = std::chrono::milliseconds(5);
  /// Room behind each packet in packets(), for the tag that SRTP appends.
  static constexpr std::size_t packet_overhead = 32;

  /// A packet to be encrypted where it stands and sent over the participant's connection.
  struct OutgoingPacket {
    ParticipantIndex participant = 0;
    Leg leg = Leg::subscribe;
    bool rtcp = false;
    std::uint16_t header_size = 0; ///< of RTP
    std::uint16_t size = 0;
    std::uint8_t* data = nullptr;  ///< size + packet_overhead bytes
    std::uint8_t copies = 0;       ///< how often it is sent besides, the same bytes, each time a little later: sound on a path that loses much
  };

  struct SlotsChanged {
    ParticipantIndex participant = 0;
  };
  /// The participant's pool was extended by slots that nobody has offered yet.
  struct PoolGrown {
    ParticipantIndex participant = 0;
  };
  /// Which of the publication's encodings somebody can use is another set than before: publication(...)->wanted().
  struct WantedChanged {
    ParticipantIndex participant = 0;
    Source source = Source::camera;
  };
  using Output = std::variant<SlotsChanged, PoolGrown, WantedChanged>;

  MediaGraph(const Limits& limits, RandomSource& random);

  Result<ParticipantIndex> add_participant(std::string_view room, const IncarnationId& id);
  void remove_participant(TimePoint now, ParticipantIndex index);
  std::optional<ParticipantIndex> find(const IncarnationId& id) const;
  const IncarnationId& id(ParticipantIndex index) const { return participants_[index]->id; }
  void set_member(TimePoint now, ParticipantIndex index, bool member);
  /// The room's group went over to another epoch with this entry of the log. Rooms that are never told of one have no keys to wait for.
  void handle_epoch(TimePoint now, std::string_view room, std::uint64_t entry);
  /// The participant's engine has processed all entries below `cursor`: it has the keys of the epochs that began there.
  void handle_followed(ParticipantIndex index, std::uint64_t cursor);
  void set_active(TimePoint now, ParticipantIndex index, SourceSet active);

  /// What the participant publishes from now on. Publications that are as before go on.
  void set_publisher(TimePoint now, ParticipantIndex index, const signaling::PublishOffer& offer);
  /// The first call makes the pool.
  void begin_subscriber(TimePoint now, ParticipantIndex index);
  /// The subscriber's pool, offered or not yet.
  std::size_t slot_count(ParticipantIndex index) const;
  std::vector<signaling::OfferedSlot> offered_slots(ParticipantIndex index) const;
  /// `answer` is about the first answer.size() slots.
  void accept_slots(TimePoint now, ParticipantIndex index, std::span<const signaling::SubscribeAnswer::Slot> answer);
  /// What the subscriber shows, and how large: everything that it does not name is not visible, but for the cameras of the latest `speakers`. Before the
  /// first call all is, at any size, up to Limits::last_n cameras.
  void set_view(TimePoint now, ParticipantIndex index, std::span<const TileView> tiles, std::optional<SpeakersView> speakers = std::nullopt);
  /// Where the pool is at its limit, these have microphones' slots before all others, the first before the second. At most max_voices.
  void set_voices(TimePoint now, ParticipantIndex index, std::span<const IncarnationId> of);
  static constexpr std::size_t max_voices = 16;
  /// Of the encodings of a publication, in their order; empty without simulcast.
  std::vector<bool> wanted_encodings(ParticipantIndex index, Source source) const;
  /// How the subscriber's path does and what its slots carry.
  SubscriberReport report(TimePoint now, ParticipantIndex index) const;
  /// The whole mapping of slots in use.
  std::vector<SlotUse> slot_uses(ParticipantIndex index) const;

  /// A connection can carry packets, or no more. `renewed`: it is another one than before, whose other end knows nothing.
  void set_connected(TimePoint now, ParticipantIndex index, Leg leg, bool connected, bool renewed);

  /// False when there is no such slot.
  bool request_key_frame(TimePoint now, ParticipantIndex index, std::string_view mid);

  /// Decrypted packets of the participant's connections.
  void handle_rtp(TimePoint now, ParticipantIndex index, ByteView packet) {
    add_to_run(now, index, packet, now);
    forward_run(now);
  }
  /// The same for packets that come in a row: each subscriber gets all of them before the next one does, which a large room's caches like better. Once the
  /// run is whole, forward_part() is to be called before another is added, or all of it is forwarded at once; forward_part() until nothing waits, or forward_run(),
  /// before anything else is called. Until then the packets' bytes are needed.
  void add_to_run(TimePoint now, ParticipantIndex index, ByteView packet, TimePoint arrived);
  bool run_waits() const { return !run_.packets.empty(); }
  bool run_is_whole() const { return run_.next || run_.begins_key_frame || run_.done > 0; }
  void forward_run(TimePoint now) {
    while (run_waits()) forward_part(now);
  }
  /// For the next few subscribers: whoever takes packets() in between has them in the cache still.
  void forward_part(TimePoint now);
  /// Those for whom the part after the next `ahead` ones will be.
  std::span<const SlotReference> part(std::size_t ahead) const;
  /// What forward_part() needs of a subscriber, as far as so many pointers lead to it: 1 to 3, each when the one before has come.
  void prefetch(const SlotReference& to, unsigned pointers) const;
  void handle_rtcp(TimePoint now, ParticipantIndex index, Leg leg, ByteView compound);
  /// Every tick_interval while anybody is connected.
  void handle_timeout(TimePoint now);
  static constexpr Duration tick_interval = std::chrono::milliseconds(20);
  /// Only what waits for its place in the pace; when next_pacing() says.
  void handle_pacing(TimePoint now);
  std::optional<TimePoint> next_pacing() const { return pacing_.empty() ? std::nullopt : std::optional(next_pacing_); }

  /// The other shards that have people in the room; what is published here is told to them, and passed on to those who want it.
  void set_room_shards(std::string_view room, ShardSet shards);
  void handle_from_shard(TimePoint now, std::size_t shard, const ShardMessage& message);
  /// Payloads live until clear_arena().
  std::span<const OutgoingShardMessage> shard_messages() const { return shard_messages_; }
  void clear_shard_messages() { shard_messages_.clear(); }
  /// Before a participant is added that another shard held so far.
  void forget_mirror(TimePoint now, const IncarnationId& id);

  std::span<const OutgoingPacket> packets() const { return packets_; }
  /// Forgets them; their bytes stay until clear_arena().
  void clear_packets() { packets_.clear(); }
  SendArena& arena() { return arena_; }

  std::optional<Output> poll_output();

  Counters& counters() { return counters_; }
  const Counters& counters() const { return counters_; }
  std::size_t participant_count() const { return by_id_.size(); }
  std::size_t room_count() const { return rooms_.size(); }

 private:
  struct Stream {
    std::uint32_t ssrc = 0;
    Source source = Source::microphone;
    std::uint8_t encoding = 0;
    bool retransmission = false;
  };
  struct Publisher {
    Publisher(); // out of line: clang cannot use the initialisers below inside MediaGraph
    std::array<std::unique_ptr<Publication>, signaling::source_count> publications;
    std::vector<Stream> streams;
    std::optional<std::uint8_t> mid_extension;
    std::optional<std::uint8_t> transport_cc_extension;
    std::optional<std::uint8_t> rid_extension;
    std::optional<std::uint8_t> repaired_rid_extension;
    std::optional<std::uint8_t> audio_level_extension;
    std::uint8_t loudest = 127; ///< of its levels since the other shards were told
    TimePoint next_level{};     ///< when they are
    rtp::TransportFeedbackRecorder feedback;
    TimePoint fed_at{};         ///< when it was last written
    std::uint32_t ssrc = 0; ///< ours, as a sender of RTCP
    bool connected = false;
    TimePoint next_feedback{};
    TimePoint next_report{};
  };
  struct Subscriber {
    Subscriber();
    std::vector<Slot> slots;
    std::size_t answered = 0; ///< slots that the peer knows
    bool connected = false;
    bool slots_changed = false;
    bool ever_told = false;
    std::uint16_t transport_sequence = 0;
    TimePoint next_report{};
    TimePoint budget_begin{};
    std::size_t retransmissions = 0; ///< since budget_begin

    BandwidthEstimator estimator;
    Pacer pacer;
    bool paced = false;              ///< in pacing_
    std::optional<BandwidthEstimator::Probe> probe; ///< what is left of it
    TimePoint probe_at{};
    std::int64_t probe_credit = 0;   ///< bytes
    bool view_known = false;
    std::optional<SpeakersView> speakers; ///< of its view
    std::vector<TileView> asked;     ///< of its view, those that are named by whose they are; at most max_asked
    std::vector<IncarnationId> voices; ///< whose microphones it asks for; at most max_voices
    TimePoint next_allocation{};
    std::uint8_t audio_copies = 0;   ///< OutgoingPacket::copies of sound
    TimePoint audio_copies_at{};     ///< when as many were last called for
    std::int64_t allocated = 0;      ///< bits per second of the layers chosen
    std::int64_t desired = 0;        ///< of those it would have if the path carried them
    TimePoint limited_since{};       ///< the first feedback
  };
  struct Room {
    struct Epoch {
      std::uint64_t cursor = 0; ///< of who has its keys
      TimePoint began{};
    };
    std::vector<ParticipantIndex> participants; ///< mirrors as well
    ShardSet shards = 0;        ///< the others that have people in it
    std::uint64_t newest = 0;   ///< cursor of the latest epoch
    std::uint64_t required = 0; ///< the same of the latest that everybody should have by now
    std::deque<Epoch> recent;   ///< those between, oldest first; at most max_recent_epochs
    rtp::ActiveSpeakers speakers;
    TimePoint next_speakers{};
  };
  static constexpr std::size_t max_recent_epochs = 64;
  struct Participant {
    IncarnationId id;
    std::string room;
    bool member = false;
    std::uint64_t followed = 0;  ///< cursor
    std::uint64_t admitted = 0;  ///< cursor of the epoch that it came in with
    TimePoint readable_from{};   ///< the others send in that epoch by then
    SourceSet active;
    std::optional<std::size_t> home; ///< the shard that has it; empty: this one. A mirror of one that is elsewhere has only a publisher
    ShardSet told = 0;               ///< shards that have a mirror of it
    std::optional<Publisher> publisher;
    std::optional<Subscriber> subscriber;
  };

  Publication* publication(const PublicationReference& reference);
  const Publication* publication(const PublicationReference& reference) const;
  /// It is there and the other members are to have it.
  bool live(const PublicationReference& reference) const;
  void connect_slot(TimePoint now, ParticipantIndex index, std::size_t slot, const PublicationReference& to);
  void disconnect_slot(ParticipantIndex index, std::size_t slot);
  void release_publications(ParticipantIndex index, SourceSet which);
  void assign_slots(TimePoint now, const std::string& room);
  void assign_slots_of(TimePoint now, ParticipantIndex index);
  /// What the room's members send, into live_: once for all who are to have it.
  void find_live(const Room& room);
  void assign_live(TimePoint now, ParticipantIndex index, const Room& room);
  bool add_slots(Subscriber& subscriber, signaling::MediaKind kind, std::size_t count);

  ParticipantIndex add_to_room(std::string_view room, const IncarnationId& id);
  /// Tells the room's other shards, or these, what it publishes now.
  void announce(ParticipantIndex index);
  void announce(ParticipantIndex index, ShardSet shards);
  void withdraw(ParticipantIndex index, std::size_t shard);
  void withdraw(ParticipantIndex index);
  static void set_interest(Publication& p, std::size_t shard, std::uint8_t encodings);
  void relay(const PublicationReference& from, const Publication& source, std::uint32_t generation, const MediaPacket& packet, ShardSet shards);
  void relay_clock(const PublicationReference& from, const Publication& source, const Encoding& encoding, ShardSet shards);
  /// Null unless `shard` knows it and speaks of the present one.
  Publication* own_publication(const IncarnationId& id, Source source, std::uint64_t version, std::size_t shard);
  /// Null unless `shard` is its home and speaks of the present one.
  Publication* mirrored(const IncarnationId& id, Source source, std::uint64_t version, std::size_t shard);
  void tell_interest(ParticipantIndex index, Publication& p);
  void ask_home_for_key_frame(const PublicationReference& from, const Encoding& encoding, bool urgent);
  void ask_home_for_missing(TimePoint now, ParticipantIndex index, Publication& p);
  void handle(TimePoint now, std::size_t shard, const Publications& m);
  void handle(TimePoint now, std::size_t shard, const RelayedPacket& m);
  void handle(TimePoint now, std::size_t shard, const RelayedClock& m);
  void handle(TimePoint now, std::size_t shard, const RelayedLevel& m);
  void handle(TimePoint now, std::size_t shard, const Interest& m);
  void handle(TimePoint now, std::size_t shard, const KeyFrameWish& m);
  void handle(TimePoint now, std::size_t shard, const MissingPackets& m);

  // last_n.cpp
  std::optional<ParticipantIndex> find_anywhere(const IncarnationId& id) const;
  static constexpr std::size_t max_asked = 64;
  void handle_level(TimePoint now, ParticipantIndex index, Publisher& publisher, const rtp::Packet& packet);
  void update_speakers(TimePoint now);
  /// Whose cameras the subscriber gets without having named them, into shown_.
  void choose_shown(ParticipantIndex index);
  /// How high the slot's picture is to be; 0: it is not to be sent. Empty: nobody said. After choose_shown().
  std::optional<std::uint32_t> wanted_height(const Subscriber& subscriber, const Slot& slot) const;
  /// Where the pool can grow no more, whom it asks for and who speaks take the slots of those who were silent longest.
  void give_slots(TimePoint now, ParticipantIndex index);
  /// The height that the subscriber's view gives a publication by its name.
  std::optional<std::uint32_t> asked_height(const Subscriber& subscriber, const PublicationReference& publication) const;

  Stream* stream_of(Publisher& publisher, const rtp::Packet& packet);
  void forward(TimePoint now, const PublicationReference& from, const MediaPacket& packet);
  /// After an outage of the encoding that flows to them: whatever size begins anew first is better than to wait for that one.
  void restart_slots(const Publication& publication, std::size_t encoding);
  /// A packet that begins a key frame, to one subscriber, and what of that frame had come before it, up to `highest`.
  void forward_key_frame(TimePoint now, const SlotReference& to, const Encoding& encoding, std::uint32_t generation, const MediaPacket& packet,
                         rtp::ExtendedSequence highest);
  /// `generation`: of the encoding, when the packet came.
  void send_to_slot(TimePoint now, const SlotReference& to, std::uint32_t generation, const MediaPacket& packet);
  void emit_media(TimePoint now, Subscriber& subscriber, ParticipantIndex index, const Slot& slot, const Slot::Rewrite& rewrite,
                  const MediaPacket& packet, std::optional<std::uint16_t> rtx_sequence);
  /// An RTP packet with nothing but padding, of `size` bytes.
  bool emit_padding(TimePoint now, Subscriber& subscriber, ParticipantIndex index, std::uint8_t payload_type, std::uint16_t sequence,
                    std::uint32_t timestamp, std::uint32_t ssrc, const Slot& slot, std::size_t size, std::uint16_t probe);
  void count_sent(TimePoint now, Subscriber& subscriber, std::size_t size, bool paced, std::uint16_t probe, bool repeated = false);
  /// How often sound is sent again, by what the path loses and carries. `audio`: its bits per second, once.
  void choose_pace(TimePoint now, Subscriber& subscriber);
  void choose_copies(TimePoint now, Subscriber& subscriber, std::int64_t audio);
  void pace(TimePoint now, ParticipantIndex index);
  void drain_pacer(TimePoint now, ParticipantIndex index);
  void send_probe(TimePoint now, ParticipantIndex index);
  /// Chooses the layers of the subscriber's slots.
  void allocate(TimePoint now, ParticipantIndex index);
  /// Gives up what waits for the slot's turn, and counts it there. How many packets that were.
  std::size_t drop_waiting(ParticipantIndex index, std::uint32_t slot, std::uint64_t& counter);
  void update_wanted(TimePoint now, ParticipantIndex index, Publication& publication);
  void handle_feedback(TimePoint now, ParticipantIndex index, ByteView control);
  void handle_subscriber_rtcp(TimePoint now, ParticipantIndex index, const rtp::RtcpPacket& packet);
  void handle_publisher_rtcp(TimePoint now, ParticipantIndex index, const rtp::RtcpPacket& packet);
  void want_key_frame(TimePoint now, const PublicationReference& from, std::uint8_t encoding, bool urgent);
  /// Whether what the others send now can be decrypted there.
  bool has_keys(TimePoint now, const Participant& p);
  /// Of what the slot waits for, or else of what flows; later if the subscriber has no keys for it.
  void want_key_frame_for(TimePoint now, ParticipantIndex subscriber, Slot& slot, bool urgent);
  void send_key_frame_requests(TimePoint now, const PublicationReference& from);
  /// Of the publisher, what it sent and did not arrive.
  void ask_for_missing(TimePoint now, ParticipantIndex index, Publication& p);
  void tick_publisher(TimePoint now, ParticipantIndex index);
  void tick_subscriber(TimePoint now, ParticipantIndex index);
  /// Sends what `write` puts into the writer as one RTCP packet.
  template <class Write>
  void emit_rtcp(ParticipantIndex index, Leg leg, Write&& write);
  void note_slots_changed(ParticipantIndex index);
  std::uint32_t fresh_ssrc();

  Limits limits_;
  RandomSource& random_;
  std::vector<std::unique_ptr<Participant>> participants_;
  std::vector<ParticipantIndex> free_;
  std::unordered_map<IncarnationId, ParticipantIndex> by_id_;   ///< those that are here
  std::unordered_map<IncarnationId, ParticipantIndex> mirrors_; ///< those that other shards have
  std::uint64_t next_version_ = 1;
  std::unordered_map<std::string, Room> rooms_;
  SendArena arena_;
  std::vector<OutgoingPacket> packets_;
  std::vector<OutgoingShardMessage> shard_messages_;
  std::vector<Output> outputs_;
  std::size_t next_output_ = 0;
  /// Packets of one encoding that are to be forwarded together; of those that begin a key frame each alone.
  struct Run {
    struct Next {
      PublicationReference from;
      std::uint32_t generation = 0;
      rtp::ExtendedSequence highest = 0; ///< of the encoding, when the packet came
      MediaPacket packet;
    };
    PublicationReference from;
    std::uint32_t generation = 0;
    rtp::ExtendedSequence highest = 0;
    std::vector<MediaPacket> packets; ///< at most max_run
    bool begins_key_frame = false;
    std::size_t done = 0;             ///< subscribers who have had it
    std::optional<Next> next;         ///< does not belong to it, and begins the next one
    void begin(const Next& first) {
      from = first.from;
      generation = first.generation;
      highest = first.highest;
      packets.assign(1, first.packet);
      begins_key_frame = first.packet.starts_key_frame;
      done = 0;
    }
  };
  static constexpr std::size_t max_run = 64;
  static constexpr std::size_t part_packets = 8; ///< of a part, when its last subscriber begins
  Run run_;
  std::vector<rtp::PacketStatus> statuses_; ///< scratch for parsing feedback
  std::vector<LayerDemand> demands_;        ///< scratch for allocating
  std::vector<ParticipantIndex> shown_;     ///< of choose_shown()
  std::vector<std::uint8_t> live_;          ///< of find_live(): sources, by participant
  std::vector<std::uint8_t> carried_;       ///< of them, what the subscriber at hand has slots for
  std::vector<std::uint16_t> rank_;         ///< by participant: its place among those who spoke, from 1; 0: none
  std::vector<std::size_t> importance_;     ///< by slot of the subscriber at hand; of give_slots()
  std::vector<ParticipantIndex> pacing_;    ///< subscribers for whom something waits
  TimePoint next_pacing_{};
  Counters counters_;
};

} // namespace satsuma::sfu
