#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "call/client_session.h"
#include "participant/chat.h"
#include "participant/media_receiver.h"
#include "participant/media_sender.h"
#include "participant/rate_control.h"
#include "participant/sound_control.h"
#include "participant/voices.h"
#include "signaling/client_sdp.h"
#include "signaling/control_messages.h"
#include "signaling/source.h"

namespace satsuma::participant {

using signaling::Source;

inline constexpr ErrorCode participant_no_candidate{"participant_no_candidate", ErrorKind::peer};
inline constexpr ErrorCode participant_screen_alone{"participant_screen_alone", ErrorKind::caller};
inline constexpr ErrorCode participant_not_publishing{"participant_not_publishing", ErrorKind::caller};
inline constexpr ErrorCode participant_not_in{"participant_not_in", ErrorKind::caller};
inline constexpr ErrorCode participant_bad_message{"participant_bad_message", ErrorKind::caller};

/// Which of the two connections; also NetworkPath::socket of its datagrams.
enum class Leg : std::uint8_t { publish = 0, subscribe = 1 };

// Of a stream, frames that wait for the key of their epoch, or for the server to say that the slot is their sender's, and for how long; as in the browser.
inline constexpr std::size_t max_held_frames = 64;
inline constexpr std::size_t max_held_bytes = 4U << 20;
inline constexpr Duration max_held_time = std::chrono::seconds(1);
/// The server answers each request at once, if only to refuse it.
inline constexpr Duration answer_timeout = std::chrono::seconds(6);
inline constexpr Duration media_connect_patience = std::chrono::seconds(10);
inline constexpr Duration media_retry_delay = std::chrono::seconds(1);
inline constexpr std::size_t max_camera_layers = signaling::max_simulcast_streams;

/// How a datagram goes; with the leg it makes NetworkPath::socket.
enum class Route : std::uint8_t {
  udp,
  tcp, ///< whoever sends connects (RFC 6544) and frames (ice/stream_framing.h)
  tls, ///< the same, with the server's TURN, which passes on to the path's remote address
};
Route route_of(const NetworkPath& path);

/// What media goes over. `automatic`: UDP, TCP where nothing comes back from UDP, and TLS where nothing else passes.
enum class MediaTransport : std::uint8_t { automatic, udp, tcp, tls };

struct ParticipantConfig {
  call::SessionConfig session; ///< goes to the session
  call::SessionOptions session_options;
  std::vector<Source> publish; ///< what will be sent; in the order of their values. A screen only with a camera: the server tells pictures apart by their order
  /// The camera is sent in so many sizes at once, of which the server forwards each member one: send_frame's `layer`, from the smallest. At most max_camera_layers.
  std::size_t camera_layers = 1;
  bool muted = false;          ///< all of it is off: the connection for it is there, and nothing is sent
  bool subscribe = true;
  /// The server may know how loud our microphone is (RFC 6464), and so who speaks.
  bool tell_levels = false;
  /// In place of the server's candidates: a relay.
  std::optional<TransportAddress> media_via;
  MediaTransport transport = MediaTransport::udp;
  MediaReceiver::Options receiver;
  std::size_t max_payload = default_max_payload;
  /// What we send follows what the path carries: pictures leave at its pace, and of the sources that are here target() says how large their frames may be.
  /// Otherwise everything leaves at once, at whatever rate it comes.
  bool adapt = false;
  struct SourceRates {
    std::vector<LayerRates> layers; ///< from the smallest; as many as are published
    double frames_per_second = 30;
  };
  std::map<Source, SourceRates> rates;
  /// What pictures take that are sent as they are, in bits per second on the wire: as much is probed for, and room() says whether it is there.
  std::map<Source, std::int64_t> as_it_is;
  /// Whoever makes the sound makes it as sound_format() says.
  bool adapt_sound = false;
};

// ---- what poll_output() returns

struct SendText {
  std::string text;
};
struct SessionEvent {
  call::SessionOutput event; ///< none of SendBinary, Reconnect and Close
};
struct MediaState {
  Leg leg = Leg::publish;
  bool connected = false;
};
struct KeyFrameWanted {
  Source source = Source::camera;
  std::size_t layer = 0;
};
/// The server refused a request of ours; it is tried again where that makes sense.
struct Refused {
  std::string code, message;
};
/// A frame that was decrypted, under the name of who sent it: the proof is the key.
struct Frame {
  IncarnationId who;
  std::uint32_t leaf = 0;
  Source source = Source::microphone;
  std::uint32_t timestamp = 0; ///< in the stream's clock
  bool key_frame = false;      ///< of video
  bool after_gap = false;      ///< frames between this and the one before were lost
  ByteView payload;            ///< valid until the next call
};
/// A member wrote it to all; each once.
struct Written {
  IncarnationId who;
  std::string text; ///< as it came: not for a terminal as it is
};
using Output = std::variant<call::SendBinary, SendText, call::Reconnect, call::Close, SessionEvent, MediaState, KeyFrameWanted, Refused, Written, Frame>;

struct FrameCounters {
  std::uint64_t sent = 0;
  std::uint64_t unsent = 0;        ///< no key or no connection
  std::uint64_t decrypted = 0;
  std::uint64_t held = 0;          ///< waited for their key or their slot, of whatever end
  std::uint64_t duplicates = 0;
  std::uint64_t before_entry = 0;  ///< of an epoch before our first: not ours to read
  std::uint64_t undecryptable = 0; ///< key expired or never came, or did not authenticate
  std::uint64_t misplaced = 0;     ///< of another member than the server ever said that the slot was for, or said so in time
  std::uint64_t passed_over = 0;   ///< not opened, being far from all others after many that did not authenticate
  std::uint64_t refused = 0;       ///< decrypted, and nobody is known who could have sent it here
};

/// How what we send fares. Bits per second on the wire.
struct SendingState {
  std::optional<std::int64_t> available; ///< what the path carries, by the estimate; no value: it is not known, or we do not adapt
  std::int64_t sound = 0;
  std::int64_t pictures = 0; ///< what they may take
  std::int64_t desired = 0;  ///< what all that is wanted could use
  /// What keeps pictures from being larger: nothing, the path, or that nobody wants them so.
  RateControl::LimitedBy limited_by = RateControl::LimitedBy::nothing;
  bool by_loss = false; ///< of the path: it loses packets, rather than that it is full
  std::size_t waiting_bytes = 0;
};

/// A participant in a room: session, media control and both connections, in the client's role. Sans-I/O: it is fed a WebSocket's frames and two sockets'
/// datagrams, and polled. After each handle_ call: poll_output() until it is empty, then queue(leg) of both legs.
///
///   auto p = Participant::create(config, now, unix_now, context, random);
///   p->handle_connected(now);                                        // the WebSocket is open
///   p->send_frame(now, Source::camera, frame, timestamp, key_frame); // encrypted end to end, then sent
class Participant {
 public:
  /// `context` and `random` outlive it.
  static Result<std::unique_ptr<Participant>> create(ParticipantConfig config, TimePoint now, UnixSeconds unix_now, const dtls::Context& context,
                                                     RandomSource& random);
  Participant(const Participant&) = delete;

  // The WebSocket
  void handle_connected(TimePoint now);
  void handle_disconnected(TimePoint now);
  void handle_binary(TimePoint now, ByteView frame);
  void handle_text(TimePoint now, std::string_view text);

  /// `arrived`: when the host had it, if that is known better than `now`.
  void handle_packet(TimePoint now, Leg leg, const TransportAddress& remote, MutableByteView datagram, Route route = Route::udp,
                     std::optional<TimePoint> arrived = std::nullopt);
  void handle_timeout(TimePoint now);
  std::optional<TimePoint> next_deadline() const;
  std::optional<Output> poll_output(TimePoint now);
  /// Datagrams to send from the leg's socket; null while there is no such connection.
  SendQueue* queue(Leg leg);

  /// Encrypts and sends one encoded frame. frame_no_key and media_not_connected until we are in and connected: the frame is dropped.
  /// `level`: of the microphone, in -dBov; leaves only with tell_levels. While crowded(), one that is loud makes us tell the others that we speak.
  Result<void> send_frame(TimePoint now, Source source, ByteView frame, std::uint32_t timestamp, bool key_frame, std::optional<std::uint8_t> level = std::nullopt,
                          std::size_t layer = 0);
  /// Whether anybody can use this now; what nobody can need not be encoded. True until the server says otherwise.
  bool wanted(Source source, std::size_t layer = 0) const;
  /// Bits per second that the encoded frames of this may have now; 0: none are to be sent, for want of room or of anybody who wants them. No value: as many as they
  /// like, since we do not adapt, or not this. A layer that begins again is told of by KeyFrameWanted.
  std::optional<std::int64_t> target(Source source, std::size_t layer = 0) const;
  /// How sound is to be encoded now.
  SoundFormat sound_format() const { return sound_.format(); }
  /// Bits per second on the wire that the path has for pictures; no value: as many as they like.
  std::optional<std::int64_t> room() const { return room_; }
  SendingState sending() const;
  /// What we want to be sent; told to the server now and whenever it offers anew. Before the first call everything is wanted.
  void set_view(signaling::View view);
  /// To all who are in the room now. participant_not_in; call::session_removal_overdue; participant_bad_message: it is empty, no UTF-8, or longer than
  /// signaling::max_chat_length.
  Result<void> write(TimePoint now, std::string text);
  /// More microphones are on than the server sends to each, so that it is to be told whom we want to hear, and the others that we speak: send_frame's `level` is
  /// then of use without tell_levels, and so is handle_level().
  bool crowded() const;
  /// How loud the decoded sound of `who` is, in -dBov: of those who are heard to speak the microphone is asked for, so that it is not taken away.
  void handle_level(TimePoint now, const IncarnationId& who, std::uint8_t level);
  /// Our addresses changed: ICE begins anew on both legs.
  void restart_media(TimePoint now);
  void leave(TimePoint now);

  const call::ClientSession& session() const { return session_; }
  bool entered() const { return entered_; }
  bool connected(Leg leg) const;
  /// The way that the leg's media takes now.
  std::optional<NetworkPath> path(Leg leg) const;
  const FrameCounters& frames() const { return frames_; }
  const MediaSender* sender() const { return sender_.get(); }
  MediaReceiver* receiver() { return receiver_.get(); }
  /// Where the server gives them: what its TURN takes, for paths with Route::tls.
  const std::optional<signaling::TurnServer>& turn_server() const { return turn_server_; }
  /// What the server says it sends us.
  const std::vector<signaling::Slot>& slots() const { return slots_; }
  /// What the server last said of the path to us; nothing before.
  const std::optional<signaling::Path>& server_report() const { return server_report_; }

 private:
  struct Held {
    Bytes payload;
    std::uint32_t timestamp = 0;
    bool after_gap = false;
    TimePoint since;
    bool misplaced = false; ///< of another member than the slot's, as far as we know; holds nothing back
  };
  struct HeldStream {
    explicit HeldStream(ByteView seed) : line(seed) {}

    call::Line line;
    std::deque<Held> frames; ///< in the order in which they came
    std::size_t bytes = 0;
    bool waits = false;     ///< for a key, and with it all that comes, so that the decoder gets it in order
    bool gap = false;       ///< something was dropped before the next frame
    bool needs_key = false; ///< nothing can be decoded until a key frame comes, which is asked for until then
    std::optional<std::pair<IncarnationId, Source>> origin; ///< of the latest frame
  };
  enum class Fate : std::uint8_t { done, delivered, no_key_yet, misplaced };

  Participant(ParticipantConfig config, call::ClientSession session, const dtls::Context& context, RandomSource& random);

  void pump_session(TimePoint now);
  void handle_session(TimePoint now, call::SessionOutput output);
  void announce(TimePoint now, std::vector<IncarnationId> to);
  /// To all, once: who came in or came back may have missed it, and so may others when we were away.
  void announce_again_soon(TimePoint now);
  void handle_member_message(TimePoint now, const call::ApplicationEvent& event);
  void ask_for_voices_soon(TimePoint now);
  void write_again(TimePoint now);
  void ask_for_voices(TimePoint now);
  void mind_own_voice(TimePoint now, std::uint8_t level);
  void send_sources();
  void send_control(const signaling::ClientControl& message);

  void start_publish(TimePoint now);
  void handle_layers(const signaling::Layers& layers);
  void handle_published(TimePoint now, const signaling::Published& published);
  void start_subscribe(TimePoint now);
  void handle_offer(TimePoint now, const signaling::Offer& offer);
  Result<std::vector<NetworkPath>> paths(const signaling::RemoteTransport& remote, Leg leg) const;
  void close_leg(Leg leg);
  void pump_sender(TimePoint now);
  void adapt(TimePoint now);
  bool asked_for(Source source, std::size_t layer) const;
  /// What all of ParticipantConfig::as_it_is takes.
  std::int64_t as_it_is() const;
  void media_down(TimePoint now, Leg leg, bool final);

  std::optional<Frame> next_frame(TimePoint now);
  bool from_before_entry(sframe::ShellKind shell, ByteView payload) const;
  Fate try_frame(TimePoint now, std::size_t stream, std::uint32_t timestamp, bool after_gap, ByteView payload, Frame& out);
  void hold(TimePoint now, std::size_t stream, const MediaReceiver::Frame& frame, bool misplaced);
  void drop(std::size_t stream);
  HeldStream& state_of(std::size_t stream);
  void handle_slots(std::vector<signaling::Slot> slots);
  void place_lines();

  ParticipantConfig config_;
  call::ClientSession session_;
  const dtls::Context& context_;
  RandomSource& random_;

  bool socket_up_ = false;
  bool ready_ = false;   ///< the server knows us: media control is possible
  bool entered_ = false; ///< in the group
  bool leaving_ = false;
  std::uint64_t first_epoch_ = 0; ///< since it entered last
  std::optional<IncarnationId> incarnation_;
  std::uint32_t request_ = 0;

  std::unique_ptr<MediaSender> sender_;
  std::vector<signaling::OfferedStream> offered_;
  /// The streams of the sender, by their index there.
  struct Sending {
    Source source = Source::microphone;
    std::size_t layer = 0;
    bool accepted = false;
  };
  std::vector<Sending> sending_;
  std::map<Source, std::vector<bool>> unwanted_; ///< by layer
  std::map<Source, RateControl> rates_;
  SoundControl sound_;
  std::optional<std::int64_t> room_;
  std::optional<TimePoint> next_adaptation_;
  std::optional<std::int64_t> adapted_to_; ///< the estimate of the last time
  std::vector<std::pair<std::uint32_t, std::uint32_t>> layer_ssrcs_; ///< of the camera in layers: media and retransmissions
  std::uint64_t publish_session_ = 0, publish_version_ = 0;
  std::optional<std::uint32_t> publish_request_;
  std::string sender_fingerprint_; ///< the server's, of the connection that stands or begins
  bool published_ = false;
  bool sources_told_ = false;
  std::optional<TimePoint> publish_timer_;

  std::unique_ptr<MediaReceiver> receiver_;
  std::string receiver_fingerprint_;
  signaling::IceDescription receiver_ice_;
  std::uint64_t subscribe_session_ = 0, subscribe_version_ = 0;
  std::optional<std::uint32_t> subscribe_request_;
  std::optional<TimePoint> subscribe_timer_;
  std::vector<signaling::Slot> slots_;
  std::optional<signaling::Path> server_report_;
  std::optional<signaling::View> view_;
  std::optional<signaling::TurnServer> turn_server_;

  std::set<IncarnationId> microphones_; ///< of the others in the roster, those that are on
  Voices voices_;
  Chat chat_;
  std::vector<IncarnationId> asked_;    ///< whom the server was asked for
  std::optional<TimePoint> asks_at_;
  std::optional<TimePoint> announces_at_;
  bool announcement_due_ = false; ///< it could not be sent: there was no connection, or the next epoch had to be waited for
  std::size_t max_voices_ = signaling::most_voices; ///< microphones that each is sent at most
  std::optional<TimePoint> crowded_since_;
  std::optional<TimePoint> loud_at_, told_at_; ///< our own voice
  bool voice_told_ = false;                   ///< this one

  /// Who had which leaf in the latest epochs: leaves are used again.
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<IncarnationId>> rosters_; ///< by leaf
  std::map<std::size_t, HeldStream> held_;
  bool retry_held_ = false;
  Bytes protected_, plaintext_;
  FrameCounters frames_;
  std::deque<Output> outputs_;
};

} // namespace satsuma::participant
