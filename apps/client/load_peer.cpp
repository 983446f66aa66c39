// satsuma load --janus: the same load for a forwarding unit that is not ours. Its signaling is a Peer; ICE, DTLS, SRTP and RTP are ours, and there is no SFrame.

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>

#include "address.h"
#include "commands.h"
#include "io/clock.h"
#include "janus.h"
#include "load_share.h"
#include "media_socket.h"
#include "participant/media_receiver.h"
#include "participant/media_sender.h"
#include "signaling/client_sdp.h"

namespace satsuma::client {
namespace {

using participant::MediaReceiver;
using participant::MediaSender;
using signaling::MediaKind;
using signaling::Source;
using std::chrono::milliseconds;

// What SFrame adds to a frame of ours is in these from the beginning, so that as many bytes are offered.
constexpr std::size_t audio_padding = 20;
constexpr std::size_t video_padding = frame_overhead;

class PeerShare final : public LoadShare {
 public:
  using MakePeer = std::function<std::unique_ptr<Peer>(EventLoop&, unsigned room)>;

  PeerShare(const LoadOptions& options, Course& course, dtls::Context context, const MakePeer& make) : LoadShare(options, 0, course), context_(std::move(context)), rooms_(options.rooms) {
    if (!options.connect.media_via.empty()) media_via_ = parse_address(options.connect.media_via);
    for (unsigned i = 0; i < options.rooms; ++i) {
      Room& room = rooms_[i];
      room.peer = make(loop_, i);
      room.peer->on_problem = [this](TimePoint, const std::string& sentence) { problem(sentence); };
      room.peer->on_end = [this](TimePoint, const std::string& sentence) { fail(sentence); };
      room.peer->open(io::monotonic_now(), [this, &room](TimePoint now, std::expected<void, std::string> opened) {
        if (!opened) return fail(opened.error());
        room.open = true;
        for (Member* const member : std::exchange(room.waiting, {})) start(*member, now);
      });
    }
  }

 private:
  template <class Media>
  struct Connection {
    io::UdpSocket socket;
    std::unique_ptr<Media> media;
    std::optional<EventLoop::TimerId> timer = std::nullopt;
    bool connected = false;
  };
  using Sending = Connection<MediaSender>;
  using Receiving = Connection<MediaReceiver>;

  struct Member : Person {
    std::string publication;
    std::unique_ptr<Sending> sending;
    std::unique_ptr<Receiving> receiving;
    std::map<std::size_t, Heard> heard; ///< by the receiving connection's streams
  };
  struct Room {
    std::unique_ptr<Peer> peer;
    bool open = false;
    unsigned sending = 0;         ///< publishers whose connection stands
    std::vector<Member*> waiting; ///< for the room to be open, or for all its publishers
  };

  // ---- how they come in

  void add(TimePoint now, std::size_t room, bool publishes, bool newcomer) override {
    Member& m = *members_.emplace_back(std::make_unique<Member>());
    begin(m, now, room, publishes, newcomer);
    if (rooms_[room].open) start(m, now);
    else rooms_[room].waiting.push_back(&m);
  }

  void start(Member& m, TimePoint now) {
    Room& room = rooms_[m.room];
    if (m.publishes) return publish(m, now);
    if (room.sending < options_.publishers) return room.waiting.push_back(&m);
    m.began = now;
    subscribe(m, now);
  }

  void all_publish(Room& room, TimePoint now) {
    for (const auto& m : members_)
      if (m->publishes && &rooms_[m->room] == &room && receives(*m)) room.waiting.push_back(m.get());
    // As they would have come.
    TimePoint at = now;
    for (Member* const waiting : std::exchange(room.waiting, {})) {
      loop_.at(at, [this, waiting](TimePoint then) {
        if (!waiting->publishes) waiting->began = then;
        subscribe(*waiting, then);
      });
      at += Duration(static_cast<Duration::rep>(1e6 / options_.join_rate));
    }
  }

  bool receives(const Member& m) const { return options_.publishers > (m.publishes ? 1U : 0U); }

  std::optional<io::UdpSocket> open_socket() {
    auto socket = open_media_socket(buffers_ ? &*buffers_ : nullptr);
    if (socket) return std::move(*socket);
    fail(socket.error());
    return std::nullopt;
  }

  /// Without candidates: the peer learns from our checks where we are.
  signaling::ClientDescription describe(const participant::Transport& transport) {
    const ice::Credentials& local = transport.local_credentials();
    return {{local.ufrag, local.password}, context_.fingerprint().text(), random_.u64() >> 2, 1, {}};
  }

  /// The checks begin. Fails if that is not possible.
  bool connect(const Room& room, participant::Transport& transport, const signaling::RemoteTransport& remote, dtls::Role role, TimePoint now) {
    std::vector<NetworkPath> paths;
    for (const TransportAddress& candidate : remote.candidates) paths.push_back({media_via_.value_or(candidate), 0});
    if (paths.empty()) {
      fail(room.peer->name() + " names no address for media. If this machine has the loopback interface alone, let it use that (in janus.jcfg, nat: ice_enforce_list).");
      return false;
    }
    const auto fingerprint = dtls::Fingerprint::parse(remote.fingerprint);
    if (!fingerprint || !transport.set_remote(now, {remote.ice.ufrag, remote.ice.password}, *fingerprint, role, paths)) {
      fail(room.peer->name() + "'s end of a connection cannot be used: its fingerprint or its ICE credentials are none.");
      return false;
    }
    return true;
  }

  std::optional<signaling::SessionDescription> parse(const Room& room, const std::string& sdp, const char* what) {
    auto description = signaling::parse_sdp(sdp);
    if (description) return std::move(*description);
    fail(room.peer->name() + "'s " + what + " cannot be read (" + std::string(description.error().name()) + ").");
    return std::nullopt;
  }

  // ---- connections that send

  std::vector<signaling::OfferedStream> offered_streams() {
    std::vector<signaling::OfferedStream> streams;
    if (options_.audio) streams.push_back({MediaKind::audio, "0", static_cast<std::uint32_t>(random_.u64()) | 1});
    if (options_.video) streams.push_back({MediaKind::video, std::to_string(streams.size()), static_cast<std::uint32_t>(random_.u64()) | 1, static_cast<std::uint32_t>(random_.u64()) & ~1U});
    return streams;
  }
  std::size_t stream_of(Source source) const { return source == Source::camera && options_.audio ? 1 : 0; }

  void publish(Member& m, TimePoint now) {
    auto socket = open_socket();
    if (!socket) return;
    const std::size_t max_payload = options_.packet_bytes > 0 ? options_.packet_bytes - packet_overhead + 4 : participant::default_max_payload;
    m.sending = std::make_unique<Sending>(std::move(*socket), std::make_unique<MediaSender>(now, context_, ice::Credentials::generate(random_), random_, max_payload));
    const auto streams = offered_streams();
    rooms_[m.room].peer->publish(now, signaling::write_publish_offer(streams, describe(m.sending->media->transport())),
                                 [this, &m, streams](TimePoint at, std::expected<Peer::Published, std::string> published) {
                                   if (!published) return fail(published.error());
                                   m.publication = published->publication;
                                   published_as(m, at, streams, published->answer);
                                 });
  }

  void published_as(Member& m, TimePoint now, const std::vector<signaling::OfferedStream>& streams, const std::string& sdp) {
    const Room& room = rooms_[m.room];
    const auto description = parse(room, sdp, "answer");
    if (!description) return;
    const auto answer = signaling::interpret_publish_answer(*description, streams);
    if (!answer) return fail(room.peer->name() + "'s answer does not fit our offer (" + std::string(answer.error().name()) + ").");
    std::vector<participant::OutgoingStream> outgoing;
    for (std::size_t i = 0; i < streams.size(); ++i) {
      const bool video = streams[i].kind == MediaKind::video;
      if (!answer->streams[i].accepted) return fail(room.peer->name() + std::string(" does not take our ") + (video ? "video. We send VP8: does the room take that?" : "sound. We send Opus: does the room take that?"));
      participant::OutgoingStream stream{video, streams[i].mid, video ? signaling::client_vp8_payload_type : signaling::client_opus_payload_type, {}, streams[i].ssrc, streams[i].rtx_ssrc};
      if (answer->streams[i].retransmissions) stream.rtx_payload_type = signaling::client_rtx_payload_type;
      outgoing.push_back(std::move(stream));
    }
    participant::Extensions extensions;
    if (answer->mid_extension) extensions.mid = signaling::client_mid_extension;
    if (answer->transport_cc_extension) extensions.transport_cc = signaling::client_transport_cc_extension;
    Sending& c = *m.sending;
    c.media->set_streams(std::move(outgoing), extensions);
    const dtls::Role role = answer->transport.setup == signaling::SetupRole::active ? dtls::Role::server : dtls::Role::client;
    if (!connect(room, c.media->transport(), answer->transport, role, now)) return;
    loop_.watch(c.socket.descriptor(), [this, &m, &c] {
      const TimePoint at = io::monotonic_now();
      if (const auto received = c.socket.receive())
        for (const auto& datagram : *received) c.media->handle_packet(at, {datagram.remote, 0}, datagram.bytes);
      pump(m, c, at);
    });
    c.media->handle_timeout(now);
    pump(m, c, now);
  }

  bool send(Person& person, TimePoint now, Source source) override {
    Member& m = static_cast<Member&>(person);
    if (!m.sending || !m.sending->connected) return false;
    const bool video = source == Source::camera;
    const bool key = video && std::exchange(m.key_due[0], false);
    frame_.assign(video ? video_frame_size(key, layer_rate(0)) + video_padding : audio_frame_bytes + audio_padding, 0);
    SpanWriter out(frame_);
    if (video) out.u8(key ? 0 : 1); // RFC 7741 s.4.3: whether it is a key frame
    write_canned_head(out, video ? m.videos : m.audios);
    const auto timestamp = static_cast<std::uint32_t>(now.time_since_epoch().count() * (video ? 90 : 48) / 1000);
    const bool sent = m.sending->media->send_frame(now, stream_of(source), frame_, timestamp).has_value();
    flush(*m.sending);
    return sent;
  }

  void pump(Member& m, Sending& c, TimePoint now) {
    while (const auto output = c.media->poll_output()) {
      if (std::holds_alternative<MediaSender::Connected>(*output)) {
        if (!std::exchange(c.connected, true) && !m.entered) {
          entered(m, now);
          begin_sending(m, now);
          Room& room = rooms_[m.room];
          if (++room.sending == options_.publishers) all_publish(room, now);
        }
      } else if (const auto* lost = std::get_if<MediaSender::Disconnected>(&*output)) {
        ended(m, c.connected, lost->reason);
      } else if (const auto* wanted = std::get_if<MediaSender::KeyFrameWanted>(&*output)) {
        if (options_.video && wanted->stream == stream_of(Source::camera)) m.key_due[0] = true;
      }
    }
    flush(c);
    arm(m, c);
  }

  // ---- connections that receive

  void subscribe(Member& m, TimePoint now) {
    if (m.leaving) return;
    auto socket = open_socket();
    if (!socket) return;
    MediaReceiver::Options options;
    options.history_packets = 128;
    options.audio_frames = options.video_frames = m.decrypts;
    m.receiving = std::make_unique<Receiving>(std::move(*socket), std::make_unique<MediaReceiver>(now, context_, ice::Credentials::generate(random_), random_, options));
    std::vector<std::string> publications;
    for (const auto& other : members_)
      if (other->publishes && other->room == m.room && other.get() != &m) publications.push_back(other->publication);
    rooms_[m.room].peer->subscribe(now, publications, [this, &m](TimePoint at, std::expected<Peer::Offered, std::string> offered) {
      if (!offered) return fail(offered.error());
      offered_as(m, at, *offered);
    });
  }

  void offered_as(Member& m, TimePoint now, const Peer::Offered& offered) {
    const Room& room = rooms_[m.room];
    const auto description = parse(room, offered.offer, "offer");
    if (!description) return;
    const auto offer = signaling::interpret_subscribe_offer(*description);
    if (!offer) return fail(room.peer->name() + "'s offer cannot be used (" + std::string(offer.error().name()) + ").");
    std::vector<participant::IncomingStream> incoming;
    for (const auto& slot : offer->slots) incoming.push_back({slot.kind == MediaKind::video, slot.mid, slot.payload_type.value_or(0), slot.rtx_payload_type, slot.ssrc, slot.rtx_ssrc});
    Receiving& c = *m.receiving;
    c.media->set_streams(std::move(incoming), {offer->mid_extension, offer->transport_cc_extension});
    loop_.watch(c.socket.descriptor(), [this, &m, &c] {
      const TimePoint at = io::monotonic_now();
      for (int batch = 0; batch < 4; ++batch) {
        const auto received = c.socket.receive();
        if (!received || received->empty()) break;
        for (const auto& datagram : *received) {
          c.media->handle_packet(at, {datagram.remote, 0}, datagram.bytes, datagram.arrived);
          take_frames(m, c, at, datagram.arrived);
        }
        if (received->size() < io::receive_batch_size) break;
      }
      pump(m, c, at);
    });
    room.peer->answer(now, offered.subscription, signaling::write_subscribe_answer(*offer, describe(c.media->transport())),
                      [this, &m, &c, remote = offer->transport](TimePoint at, std::expected<void, std::string> answered) {
                        if (!answered) return fail(answered.error());
                        // Not before: it would answer no check, and we would wait longer before the next.
                        if (!connect(rooms_[m.room], c.media->transport(), remote, dtls::Role::client, at)) return;
                        c.media->handle_timeout(at);
                        pump(m, c, at);
                      });
  }

  void pump(Member& m, Receiving& c, TimePoint now) {
    take_frames(m, c, now, now);
    flush(c);
    arm(m, c);
  }

  void take_frames(Member& m, Receiving& c, TimePoint now, TimePoint arrived) {
    while (const auto output = c.media->poll_output()) {
      if (std::holds_alternative<MediaReceiver::Connected>(*output)) {
        c.connected = true;
        entered(m, now);
      } else if (const auto* lost = std::get_if<MediaReceiver::Disconnected>(&*output)) {
        ended(m, c.connected, lost->reason);
      } else if (const auto* frame = std::get_if<MediaReceiver::Frame>(&*output)) {
        const bool video = c.media->stream(frame->stream).video;
        const auto head = read_canned_head(frame->payload.subspan(video && !frame->payload.empty() ? 1 : 0));
        if (!head) {
          ++results_.strange;
          continue;
        }
        const auto [heard, fresh] = m.heard.try_emplace(frame->stream);
        take(m, now, arrived, !video, *head, heard->second, fresh, m.heard.size());
      }
    }
  }

  // ---- of both kinds

  template <class Media>
  void flush(Connection<Media>& c) {
    batch_.clear();
    for (const auto& datagram : c.media->queue().datagrams()) batch_.push_back({datagram.path.remote, datagram.bytes});
    if (!batch_.empty()) c.socket.send(batch_);
    c.media->queue().clear();
  }

  template <class Media>
  void arm(Member& m, Connection<Media>& c) {
    const auto deadline = c.media->next_deadline();
    if (deadline && c.timer && c.timer->first == *deadline) return;
    if (c.timer) loop_.cancel(*c.timer);
    c.timer.reset();
    if (!deadline) return;
    c.timer = loop_.at(*deadline, [this, &m, &c](TimePoint now) {
      c.timer.reset();
      c.media->handle_timeout(now);
      pump(m, c, now);
    });
  }

  void ended(Member& m, bool was_connected, const Error& reason) {
    if (m.leaving) return;
    if (was_connected) {
      ++results_.media_lost;
      return problem("A connection ended (" + std::string(reason.name()) + ").");
    }
    fail(rooms_[m.room].peer->name() + " did not connect to us (" + std::string(reason.name()) + "): can its address for media be reached from here?");
  }

  // ---- the course of things

  Totals totals() override {
    Totals sum;
    for (const auto& m : members_) {
      if (m->sending) {
        const auto& c = m->sending->media->counters();
        sum.sent += c.frames;
        sum.packets_sent += c.packets;
        sum.feedback += c.feedback_received;
      }
      if (m->receiving) {
        const auto& c = m->receiving->media->counters();
        sum.add(received(c));
        sum.frames_received += c.frames;
      }
    }
    return sum;
  }

  bool ready() override {
    return results_.in >= mine() && std::ranges::all_of(members_, [this](const auto& m) {
             return (!m->publishes || m->sending->connected) && (!receives(*m) || (m->receiving && m->receiving->connected)) && (!m->decrypts || m->all_seen || expected_sources(*m) == 0);
           });
  }

  unsigned hear_all(TimePoint now) override {
    return static_cast<unsigned>(std::ranges::count_if(members_, [&](const auto& m) {
      const auto heard = std::ranges::count_if(m->heard, [&](const auto& entry) { return lately(now, entry.second); });
      return m->entered && static_cast<std::size_t>(heard) >= expected_sources(*m);
    }));
  }

  void leave(TimePoint now) override {
    for (const auto& m : members_) {
      m->leaving = true;
      end_sending(*m);
      const auto close = [&](auto& c) {
        if (!c) return;
        c->media->close();
        pump(*m, *c, now);
      };
      close(m->sending);
      close(m->receiving);
    }
    std::size_t open = 0;
    for (Room& room : rooms_) {
      ++open;
      room.peer->close(now, [this, &open] {
        if (--open == 0) loop_.stop();
      });
    }
    if (open > 0) loop_.run_for(std::chrono::seconds(5));
  }

  dtls::Context context_;
  std::optional<TransportAddress> media_via_;
  std::vector<Room> rooms_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<io::Datagram> batch_;
};

/// The name of the n-th room, as JSON; nothing if it has none.
std::optional<std::string> room_name(const LoadOptions& options, unsigned n, std::uint64_t random) {
  // Janus' numbers are those that JavaScript holds exactly.
  if (options.room.empty()) return std::to_string((random >> 20) + n);
  const bool number = std::ranges::all_of(options.room, [](char c) { return c >= '0' && c <= '9'; });
  if (number && options.room.size() <= 15) return std::to_string(std::stoull(options.room) + n);
  const bool word = options.room.size() <= 64 && std::ranges::all_of(options.room, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_'; });
  if (!word) return std::nullopt;
  return "\"" + options.room + (options.rooms > 1 ? "-" + std::to_string(n + 1) : "") + "\"";
}

} // namespace

int load_peer(const LoadOptions& options) {
  const auto fail = [](const std::string& sentence) {
    std::fprintf(stderr, "satsuma load: %s\n", sentence.c_str());
    return 2;
  };
  for (const auto& [given, name] : std::initializer_list<std::pair<bool, const char*>>{{options.churn > 0, "--churn"},
                                                                                       {options.threads > 1, "--threads"},
                                                                                       {options.layers > 1, "--layers"},
                                                                                       {options.adapt, "--adapt"},
                                                                                       {options.others > 0, "--others"},
                                                                                       {options.connect.transport != participant::MediaTransport::udp, "--transport"}})
    if (given) return fail(std::string(name) + " goes with a link to a room of ours, not with --janus.");
  if (!options.connect.media_via.empty() && !parse_address(options.connect.media_via)) return fail("--media-via: \"" + options.connect.media_via + "\" is not ADDRESS:PORT.");
  if (options.publishers == 0) return fail("--janus needs somebody who sends: --publishers 1.");
  auto url = parse_url(options.janus);
  if (!url) return fail("--janus: \"" + options.janus + "\" is no address of Janus' HTTP interface: " + url.error() + ". Example: http://127.0.0.1:8088/janus");
  while (url->path.ends_with('/')) url->path.pop_back();
  const std::uint64_t random = io::SystemRandom().u64();
  if (!room_name(options, 0, random)) return fail("--room: \"" + options.room + "\" cannot be a room's name: a number, or letters, digits, - and _.");
  const auto host = find_host(*url, options.connect.insecure, options.connect.pin);
  if (!host) return fail(host.error());
  auto context = dtls::Context::create(io::unix_now());
  if (!context) return fail("OpenSSL could not make a certificate for media.");
  Course course(1);
  PeerShare share(options, course, std::move(*context), [&](EventLoop& loop, unsigned room) {
    return std::make_unique<Janus>(loop, Janus::Options{*url, *host, *room_name(options, room, random), options.janus_admin_key, options.publishers});
  });
  const Results results = share.run();
  return report(options, results, share.measured(), course.interrupted, "janus") ? 0 : 1;
}

} // namespace satsuma::client
