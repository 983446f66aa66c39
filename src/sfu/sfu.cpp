#include "sfu/sfu.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <tuple>
#include <unordered_map>

#include "base/prefetch.h"
#include "base/token_bucket.h"
#include "dtls/connection.h"
#include "ice/ice_lite.h"
#include "sfu/media_graph.h"
#include "sfu/packet_tap.h"
#include "sfu/transport.h"
#include "signaling/sdp.h"
#include "stun/message.h"

namespace satsuma::sfu {

namespace {

/// Addresses from which one connection may be reached at a time; as many as ICE keeps pairs.
constexpr std::size_t max_paths = ice::max_pairs;
/// Sound that is sent again is kept so long for it, and of one connection so much.
constexpr std::array<Duration, 2> repeat_after{std::chrono::milliseconds(20), std::chrono::milliseconds(60)};
constexpr std::size_t max_repeated = 64;
constexpr std::size_t max_repeated_size = 512;
/// Packets from unknown ports of an address with connections that are looked at for whose they are, a second, and connections whose keys each is tried with.
constexpr double moved_packets_per_second = 100;
constexpr std::size_t max_moved_tries = 64;
constexpr std::size_t max_moved_size = 2048;
/// STUN to one address (of IPv6, to one /64) where nobody has shown itself by a handshake, a second and at once: four hundred connections from behind one
/// translator begin within the burst. Addresses share a bucket by a hash that nobody outside can know, so that made-up ones take no memory.
constexpr double strange_answers_per_second = 1000, strange_answers_burst = 4000;
constexpr std::size_t strange_answers_buckets = 1024;
/// Connections that one participant may begin, which are a DTLS handshake each: at once, and then a second.
constexpr double handshakes_at_once = 16, handshakes_per_second = 0.5;
/// Checks over TCP that overtook the answer to our offer, of one participant.
constexpr std::size_t max_early_checks = 8;
constexpr std::size_t max_early_check_size = 512;
constexpr Duration path_report_step = std::chrono::milliseconds(250);
/// What is sealed is sent before more is, so that one piece of memory serves a large room and the caches keep it.
constexpr std::size_t pending_enough = 128U << 10;
constexpr unsigned place_bits = 31;
constexpr std::uint64_t place_mask = (std::uint64_t{1} << place_bits) - 1;
/// Of an ICE restart the old fragment stays good until a pair is selected with the new one.
constexpr std::size_t max_ufrags = 2;

signaling::IceDescription describe(const ice::Credentials& credentials) { return {credentials.ufrag, credentials.password}; }

} // namespace

class Sfu::Shard {
 public:
  Shard(Config config, const dtls::Context& context, RandomSource& random)
      : config_(std::move(config)), context_(context), random_(random), graph_(config_.limits, random), answers_key_(random.u64()) {}

  Result<void> add_participant(TimePoint now, std::string_view room, const IncarnationId& id);
  Result<void> remove_participant(TimePoint now, const IncarnationId& id);
  Result<void> set_member(TimePoint now, const IncarnationId& id, bool member);
  void handle_epoch(TimePoint now, std::string_view room, std::uint64_t entry) { graph_.handle_epoch(now, room, entry); }
  Result<void> handle_followed(const IncarnationId& id, std::uint64_t cursor);
  Result<std::string> handle_publish_offer(TimePoint now, const IncarnationId& id, std::string_view sdp);
  Result<void> handle_sources(TimePoint now, const IncarnationId& id, SourceSet active);
  Result<void> request_subscribe(TimePoint now, const IncarnationId& id);
  Result<void> handle_subscribe_answer(TimePoint now, const IncarnationId& id, std::uint32_t revision, std::string_view sdp);
  Result<void> handle_key_frame_request(TimePoint now, const IncarnationId& id, std::string_view mid);
  Result<void> handle_view(TimePoint now, const IncarnationId& id, std::span<const TileView> tiles, std::optional<SpeakersView> speakers);
  Result<void> handle_voices(TimePoint now, const IncarnationId& id, std::span<const IncarnationId> of);
  Result<SubscriberReport> report(TimePoint now, const IncarnationId& id) const;
  bool handle_packets(TimePoint now, const NetworkPath& path, std::span<const IncomingDatagram> datagrams) {
    batch_path_ = path;
    batch_ = datagrams;
    return forward_more(now);
  }
  bool forward_more(TimePoint now);
  bool knows_path(const NetworkPath& path) const { return by_path_.contains(path); }
  void handle_path_closed(TimePoint now, const NetworkPath& path);
  void handle_timeout(TimePoint now);
  std::optional<TimePoint> next_deadline() const;
  std::optional<Output> poll_output();
  std::span<const OutgoingDatagram> pending_datagrams();
  std::size_t pending_count() const { return queued_.size() + graph_.shard_messages().size(); }
  void clear_datagrams();
  void set_room_shards(std::string_view room, ShardSet shards) { graph_.set_room_shards(room, shards & ~(ShardSet{1} << config_.part)); }
  void handle_from_shard(TimePoint now, std::size_t part, const ShardMessage& message);

  const MediaGraph& graph() const { return graph_; }
#ifdef SATSUMA_TEST_HOOKS
  PacketTap* tap = nullptr;
#endif

 private:
  struct ConnectionKey {
    ParticipantIndex participant = 0;
    Leg leg = Leg::publish;
    friend bool operator==(const ConnectionKey&, const ConnectionKey&) = default;
  };
  /// A transport with what its description said, and where the tables know it.
  /// A sealed packet that is to be sent again as it is: under its number, nothing else may ever be.
  struct Repetition {
    std::array<std::uint8_t, max_repeated_size> bytes;
    std::uint16_t size = 0;
    std::uint8_t sent = 0; ///< times besides the first
    std::uint8_t copies = 0;
    TimePoint first{};
  };
  struct Repetitions {
    std::array<Repetition, max_repeated> ring;
    std::size_t begin = 0, count = 0; ///< oldest first
    TimePoint kept_at{};
  };
  struct Connection {
    std::unique_ptr<Transport> transport;
    std::unique_ptr<Repetitions> repetitions; ///< while the path loses much
    signaling::IceDescription remote_ice;
    dtls::Fingerprint remote_fingerprint;
    std::vector<std::string> ufrags;
    std::vector<NetworkPath> paths; ///< oldest first
    bool announced = false;         ///< told as connected
    TimePoint quiet_until{};        ///< the transport has nothing to do before, unless it is spoken to
    bool fresh = true;              ///< has not been connected yet
  };
  /// A description that goes back and forth: RFC 8866 s.5.2 wants the version to rise.
  struct Negotiation {
    std::uint64_t session_id = 0;
    std::uint64_t version = 0;
  };
  /// An offer to a subscriber that waits for its answer.
  struct PendingOffer {
    std::uint32_t revision = 0;
    ice::Credentials credentials;
    bool new_credentials = false;
    std::size_t slots = 0;
    std::vector<std::pair<NetworkPath, Bytes>> early_checks;
  };
  struct Peer {
    std::array<std::unique_ptr<Connection>, 2> connections;
    std::array<Negotiation, 2> negotiations;
    std::optional<PendingOffer> offer;
    std::uint32_t revision = 0;
    std::uint64_t slots_sequence = 0;
    std::vector<SlotUse> told_slots;
    bool ever_told = false;
    TimePoint next_path_report{};
    TokenBucket handshakes{handshakes_per_second, handshakes_at_once};
  };
  /// An address from which somebody has come.
  struct Place {
    std::vector<NetworkPath> paths; ///< those in by_path_
    TokenBucket looks{moved_packets_per_second, moved_packets_per_second};
  };

  Result<ParticipantIndex> index_of(const IncarnationId& id) const;
  /// What is to be forwarded waits in the graph's run.
  void handle_datagram(TimePoint now, const NetworkPath& path, MutableByteView datagram, TimePoint arrived);
  std::unique_ptr<Connection>& connection(const ConnectionKey& key) {
    return peers_[key.participant].connections[static_cast<std::size_t>(key.leg)];
  }
  signaling::LocalDescription local_description(const ConnectionKey& key, const ice::Credentials& credentials);
  /// Makes `key` a new connection to the described peer in place of the one it may have.
  Result<void> open(TimePoint now, const ConnectionKey& key, ice::Credentials local, const signaling::IceDescription& remote,
                    const dtls::Fingerprint& fingerprint);
  void close(const ConnectionKey& key);
  void add_ufrag(const ConnectionKey& key, const std::string& ufrag);
  /// A check for credentials whose offer was not answered yet (RFC 8445 s.7.3): the answer comes another way than it. Over TCP it is not repeated.
  void keep_early_check(const NetworkPath& path, std::string_view ufrag, ByteView check);
  void learn_path(TimePoint now, const ConnectionKey& key, const NetworkPath& path);
  void forget_path(const NetworkPath& path);
  /// Whether STUN may go to an address where nobody has shown itself.
  bool may_answer_stranger(TimePoint now, const TransportAddress& address);
  /// Whose packet this is that came from another port than before: an address translator forgot its owner. Decrypted in place when it is somebody's.
  std::optional<std::pair<ConnectionKey, Transport::Packet>> find_moved(TimePoint now, const NetworkPath& path, MutableByteView datagram);
  void offer(const IncarnationId& id, ParticipantIndex index, ice::Credentials credentials, bool new_credentials);
  void set_offer(ParticipantIndex index, std::optional<PendingOffer> offer);

  /// Passes on what the transport has to say; may end the connection.
  void pump(TimePoint now, const ConnectionKey& key);
  void drain_graph(TimePoint now);
  /// What the next parts' packets need, which has long left the caches and lies behind several pointers. Each of them is followed while another part is made.
  void prefetch();
  /// Encrypts and queues the graph's packets.
  void seal_packets(TimePoint now);
  void keep_for_repetition(TimePoint now, Connection& c, ByteView sealed, std::uint8_t copies);
  void repeat(TimePoint now, const ConnectionKey& key);
  /// `bytes` are copied.
  void send(const ConnectionKey& key, const NetworkPath& path, ByteView bytes);
  /// `bytes` lie in the arena.
  void queue(const ConnectionKey& key, const NetworkPath& path, ByteView bytes);
  void wake(TimePoint now) {
    if (!next_tick_) next_tick_ = now + MediaGraph::tick_interval;
  }

  Config config_;
  const dtls::Context& context_;
  RandomSource& random_;
  MediaGraph graph_;
  std::vector<Peer> peers_; ///< by ParticipantIndex
  std::unordered_map<std::string, ConnectionKey> by_ufrag_;
  std::unordered_map<std::string, ParticipantIndex> offered_ufrags_; ///< of Peer::offer
  std::unordered_map<NetworkPath, ConnectionKey> by_path_;
  std::map<std::array<std::uint8_t, 16>, Place> places_; ///< the addresses of by_path_
  std::vector<ParticipantIndex> growing_; ///< their pools have slots that no offer has told
  NetworkPath batch_path_;
  std::span<const IncomingDatagram> batch_; ///< what is left of handle_packets()
  std::deque<Output> outputs_;
  std::vector<OutgoingDatagram> queued_;
  std::vector<std::uint64_t> queued_order_; ///< of each, by its connection
  std::vector<OutgoingDatagram> sorted_;    ///< scratch of pending_datagrams()
  std::optional<TimePoint> next_tick_;
  std::uint64_t answers_key_ = 0;
  std::vector<TokenBucket> strange_answers_ = std::vector<TokenBucket>(strange_answers_buckets, TokenBucket(strange_answers_per_second, strange_answers_burst));
};

// ---- participants

Result<ParticipantIndex> Sfu::Shard::index_of(const IncarnationId& id) const {
  const auto index = graph_.find(id);
  if (!index) return sfu_unknown_participant;
  return *index;
}

Result<void> Sfu::Shard::add_participant(TimePoint now, std::string_view room, const IncarnationId& id) {
  graph_.forget_mirror(now, id);
  SATSUMA_TRY(const ParticipantIndex index, graph_.add_participant(room, id));
  if (index >= peers_.size()) peers_.resize(index + 1);
  peers_[index] = {};
  wake(now);
  return {};
}

Result<void> Sfu::Shard::remove_participant(TimePoint now, const IncarnationId& id) {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  for (const Leg leg : {Leg::publish, Leg::subscribe}) {
    const ConnectionKey key{index, leg};
    if (connection(key)) {
      connection(key)->transport->close();
      while (const auto output = connection(key)->transport->poll_output())
        if (const auto* const last = std::get_if<Transport::Send>(&*output)) send(key, last->path, last->datagram);
    }
    close(key);
  }
  graph_.remove_participant(now, index);
  set_offer(index, std::nullopt);
  peers_[index] = {};
  std::erase(growing_, index);
  std::erase_if(outputs_, [&id](const Output& output) { return std::visit([&id](const auto& o) { return o.id == id; }, output); });
  drain_graph(now);
  return {};
}

Result<void> Sfu::Shard::set_member(TimePoint now, const IncarnationId& id, bool member) {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  graph_.set_member(now, index, member);
  drain_graph(now);
  return {};
}

Result<void> Sfu::Shard::handle_followed(const IncarnationId& id, std::uint64_t cursor) {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  graph_.handle_followed(index, cursor);
  return {};
}

Result<void> Sfu::Shard::handle_sources(TimePoint now, const IncarnationId& id, SourceSet active) {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  graph_.set_active(now, index, active);
  drain_graph(now);
  return {};
}

// ---- connections

signaling::LocalDescription Sfu::Shard::local_description(const ConnectionKey& key, const ice::Credentials& credentials) {
  Negotiation& negotiation = peers_[key.participant].negotiations[static_cast<std::size_t>(key.leg)];
  if (negotiation.version == 0) negotiation.session_id = random_.u64() >> 2;
  ++negotiation.version;
  return {describe(credentials), context_.fingerprint().text(), config_.candidates, negotiation.session_id, negotiation.version, config_.tcp_candidates};
}

Result<void> Sfu::Shard::open(TimePoint now, const ConnectionKey& key, ice::Credentials local, const signaling::IceDescription& remote,
                              const dtls::Fingerprint& fingerprint) {
  if (!peers_[key.participant].handshakes.take(now, 1)) return sfu_too_many_handshakes;
  auto fresh = std::make_unique<Connection>();
  const std::string ufrag = local.ufrag;
  fresh->transport = std::make_unique<Transport>(now, context_, std::move(local));
  SATSUMA_TRY_VOID(fresh->transport->set_remote(remote.ufrag, fingerprint));
  fresh->transport->set_remote_password(remote.password, random_);
  fresh->remote_ice = remote;
  fresh->remote_fingerprint = fingerprint;
  close(key);
  connection(key) = std::move(fresh);
  add_ufrag(key, ufrag);
  graph_.set_connected(now, key.participant, key.leg, false, false);
  wake(now);
  return {};
}

void Sfu::Shard::close(const ConnectionKey& key) {
  std::unique_ptr<Connection>& c = connection(key);
  if (!c) return;
  for (const std::string& ufrag : c->ufrags) by_ufrag_.erase(ufrag);
  for (const NetworkPath& path : c->paths)
    if (const auto found = by_path_.find(path); found != by_path_.end() && found->second == key) forget_path(path);
  c.reset();
}

void Sfu::Shard::add_ufrag(const ConnectionKey& key, const std::string& ufrag) {
  Connection& c = *connection(key);
  if (c.ufrags.size() == max_ufrags) {
    by_ufrag_.erase(c.ufrags.front());
    c.ufrags.erase(c.ufrags.begin());
  }
  c.ufrags.push_back(ufrag);
  by_ufrag_.insert_or_assign(ufrag, key);
}

void Sfu::Shard::learn_path(TimePoint now, const ConnectionKey& key, const NetworkPath& path) {
  if (const auto found = by_path_.find(path); found != by_path_.end()) {
    if (found->second == key) return;
    // Whoever knows credentials of its own can write another's address as its own. Where somebody has shown itself by a handshake, it is asked first: if it
    // is there it stays, and if not the next check of whoever came there since is in time.
    const ConnectionKey present = found->second;
    Transport& transport = *connection(present)->transport;
    if (transport.connected() && transport.path() == path) {
      transport.confirm(now);
      pump(now, present);
      return;
    }
    forget_path(path);
  }
  Connection& c = *connection(key);
  if (c.paths.size() == max_paths) {
    if (const auto oldest = by_path_.find(c.paths.front()); oldest != by_path_.end() && oldest->second == key) forget_path(c.paths.front());
    c.paths.erase(c.paths.begin());
  }
  c.paths.push_back(path);
  by_path_.emplace(path, key);
  places_[path.remote.ip].paths.push_back(path);
}

void Sfu::Shard::forget_path(const NetworkPath& path) {
  if (by_path_.erase(path) == 0) return;
  const auto place = places_.find(path.remote.ip);
  std::erase(place->second.paths, path);
  if (place->second.paths.empty()) places_.erase(place);
}

bool Sfu::Shard::may_answer_stranger(TimePoint now, const TransportAddress& address) {
  std::uint64_t hash = answers_key_;
  const std::size_t size = address.is_v4() ? 16 : 8;
  for (std::size_t i = 0; i < size; ++i) hash = (hash ^ address.ip[i]) * 0x9e3779b97f4a7c15;
  return strange_answers_[(hash >> 32) % strange_answers_buckets].take(now, 1);
}

Result<std::string> Sfu::Shard::handle_publish_offer(TimePoint now, const IncarnationId& id, std::string_view sdp) {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  SATSUMA_TRY(const signaling::SessionDescription description, signaling::parse_sdp(sdp));
  SATSUMA_TRY(const signaling::PublishOffer offer, signaling::interpret_publish_offer(description));
  SATSUMA_TRY(const dtls::Fingerprint fingerprint, dtls::Fingerprint::parse(offer.fingerprint));
  const ConnectionKey key{index, Leg::publish};
  const bool keep = connection(key) && !connection(key)->transport->closed() && connection(key)->remote_fingerprint == fingerprint;
  if (!keep) {
    SATSUMA_TRY_VOID(open(now, key, ice::Credentials::generate(random_, config_.part), offer.ice, fingerprint));
  } else if (connection(key)->remote_ice != offer.ice) {
    // RFC 8445 s.9: an ICE restart; DTLS and SRTP go on.
    ice::Credentials local = ice::Credentials::generate(random_, config_.part);
    const std::string ufrag = local.ufrag;
    SATSUMA_TRY_VOID(connection(key)->transport->restart_ice(now, std::move(local), offer.ice.ufrag));
    connection(key)->transport->set_remote_password(offer.ice.password, random_);
    connection(key)->remote_ice = offer.ice;
    add_ufrag(key, ufrag);
  }
  graph_.set_publisher(now, index, offer);
  pump(now, key);
  drain_graph(now);
  // What the transport had to say may have been its end.
  const auto& c = connection(key);
  if (!c) return transport_closed;
  return signaling::write_publish_answer(offer, local_description(key, c->transport->local_credentials()));
}

void Sfu::Shard::offer(const IncarnationId& id, ParticipantIndex index, ice::Credentials credentials, bool new_credentials) {
  Peer& peer = peers_[index];
  const ConnectionKey key{index, Leg::subscribe};
  const auto slots = graph_.offered_slots(index);
  std::string sdp = signaling::write_subscribe_offer(slots, local_description(key, credentials));
  set_offer(index, PendingOffer{++peer.revision, std::move(credentials), new_credentials, slots.size(), {}});
  outputs_.push_back(SubscribeOffer{id, peer.revision, std::move(sdp)});
}

void Sfu::Shard::set_offer(ParticipantIndex index, std::optional<PendingOffer> offer) {
  Peer& peer = peers_[index];
  if (peer.offer) offered_ufrags_.erase(peer.offer->credentials.ufrag);
  peer.offer = std::move(offer);
  if (peer.offer) offered_ufrags_.insert_or_assign(peer.offer->credentials.ufrag, index);
}

Result<void> Sfu::Shard::request_subscribe(TimePoint now, const IncarnationId& id) {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  graph_.begin_subscriber(now, index);
  std::erase(growing_, index); // this offer tells of all slots
  offer(id, index, ice::Credentials::generate(random_, config_.part), true);
  drain_graph(now);
  return {};
}

Result<void> Sfu::Shard::handle_subscribe_answer(TimePoint now, const IncarnationId& id, std::uint32_t revision, std::string_view sdp) {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  Peer& peer = peers_[index];
  if (!peer.offer || peer.offer->revision != revision) return sfu_unknown_revision;
  auto slots = graph_.offered_slots(index);
  slots.resize(peer.offer->slots);
  SATSUMA_TRY(const signaling::SessionDescription description, signaling::parse_sdp(sdp));
  SATSUMA_TRY(const signaling::SubscribeAnswer answer, signaling::interpret_subscribe_answer(description, slots));
  SATSUMA_TRY(const dtls::Fingerprint fingerprint, dtls::Fingerprint::parse(answer.fingerprint));
  const ConnectionKey key{index, Leg::subscribe};
  const bool keep = connection(key) && !connection(key)->transport->closed() && connection(key)->remote_fingerprint == fingerprint;
  if (!keep) {
    SATSUMA_TRY_VOID(open(now, key, peer.offer->credentials, answer.ice, fingerprint));
  } else if (peer.offer->new_credentials) {
    SATSUMA_TRY_VOID(connection(key)->transport->restart_ice(now, peer.offer->credentials, answer.ice.ufrag));
    connection(key)->transport->set_remote_password(answer.ice.password, random_);
    connection(key)->remote_ice = answer.ice;
    add_ufrag(key, peer.offer->credentials.ufrag);
  }
  auto early_checks = std::move(peer.offer->early_checks);
  set_offer(index, std::nullopt);
  graph_.accept_slots(now, index, answer.slots);
  pump(now, key);
  for (auto& [path, check] : early_checks) handle_datagram(now, path, check, now);
  drain_graph(now);
  return {};
}

Result<void> Sfu::Shard::handle_key_frame_request(TimePoint now, const IncarnationId& id, std::string_view mid) {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  if (!graph_.request_key_frame(now, index, mid)) return sfu_unknown_slot;
  drain_graph(now);
  return {};
}

Result<void> Sfu::Shard::handle_view(TimePoint now, const IncarnationId& id, std::span<const TileView> tiles, std::optional<SpeakersView> speakers) {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  graph_.set_view(now, index, tiles, speakers);
  drain_graph(now);
  return {};
}

Result<void> Sfu::Shard::handle_voices(TimePoint now, const IncarnationId& id, std::span<const IncarnationId> of) {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  graph_.set_voices(now, index, of);
  drain_graph(now);
  return {};
}

Result<SubscriberReport> Sfu::Shard::report(TimePoint now, const IncarnationId& id) const {
  SATSUMA_TRY(const ParticipantIndex index, index_of(id));
  return graph_.report(now, index);
}

// ---- packets

void Sfu::Shard::handle_datagram(TimePoint now, const NetworkPath& path, MutableByteView datagram, TimePoint arrived) {
  std::optional<ConnectionKey> key;
  const bool stun = classify(datagram) == PacketKind::stun;
  if (stun) {
    // By fragment first: an address may have come to belong to another connection.
    if (const auto ufrag = ice::receiver_ufrag(datagram)) {
      if (const auto found = by_ufrag_.find(std::string(*ufrag)); found != by_ufrag_.end()) key = found->second;
      else if (path.is_stream()) keep_early_check(path, *ufrag, datagram);
    } else if (const auto answered = by_path_.find(path); answered != by_path_.end()) {
      key = answered->second; // answers to our checks name nobody
    }
  } else if (const auto found = by_path_.find(path); found != by_path_.end()) {
    key = found->second;
  }
  std::optional<std::pair<ConnectionKey, Transport::Packet>> moved;
  if (!key && !stun) moved = find_moved(now, path, datagram);
  if (moved) key = moved->first;
  if (!key) {
    ++graph_.counters().dropped_unknown_address;
    return;
  }
  const auto received = moved ? Result<Transport::Packet>(moved->second) : connection(*key)->transport->handle_packet(now, path, datagram);
  if (moved) graph_.forward_run(now); // whatever comes of this, they were first
  if (!received) {
    ++graph_.counters().dropped_invalid;
    // A wrong packet changes nothing, but a transport may have found its end in one of the handshake's.
    if (classify(datagram) != PacketKind::rtp) pump(now, *key);
    return;
  }
  if (stun || moved) learn_path(now, *key, path); // it was authenticated
  switch (received->kind) {
    case Transport::Received::nothing: pump(now, *key); break;
    case Transport::Received::rtp:
#ifdef SATSUMA_TEST_HOOKS
      if (tap) tap->on_packet(received->packet);
#endif
      if (key->leg == Leg::publish) graph_.add_to_run(now, key->participant, received->packet, arrived);
      break;
    case Transport::Received::rtcp: graph_.handle_rtcp(now, key->participant, key->leg, received->packet); break;
  }
  if (moved) pump(now, *key);
}

void Sfu::Shard::keep_early_check(const NetworkPath& path, std::string_view ufrag, ByteView check) {
  if (check.size() > max_early_check_size) return;
  const auto found = offered_ufrags_.find(std::string(ufrag));
  if (found == offered_ufrags_.end()) return;
  PendingOffer& offer = *peers_[found->second].offer;
  if (offer.early_checks.size() == max_early_checks) return;
  const auto message = stun::parse(check);
  if (message && stun::verify(*message, as_bytes(offer.credentials.password))) offer.early_checks.emplace_back(path, to_bytes(check));
}

auto Sfu::Shard::find_moved(TimePoint now, const NetworkPath& path, MutableByteView datagram)
    -> std::optional<std::pair<ConnectionKey, Transport::Packet>> {
  const PacketKind kind = classify(datagram);
  if ((kind != PacketKind::rtp && kind != PacketKind::rtcp) || datagram.size() > max_moved_size) return std::nullopt;
  const auto place = places_.find(path.remote.ip);
  if (place == places_.end()) return std::nullopt;
  // A flood that carries one address costs no more than so many looks, and others nothing; who moved there is found by its checks then.
  if (!place->second.looks.take(now, 1)) return std::nullopt;
  std::array<std::uint8_t, max_moved_size> copy;
  std::size_t tries = 0;
  for (const NetworkPath& known : place->second.paths) {
    if (known.socket != path.socket) continue;
    const ConnectionKey key = by_path_.at(known);
    Transport& transport = *connection(key)->transport;
    if (transport.path() != known) continue;
    if (++tries > max_moved_tries) return std::nullopt;
    const MutableByteView attempt = MutableByteView(copy).first(datagram.size());
    std::copy(datagram.begin(), datagram.end(), attempt.begin());
    const auto packet = transport.handle_moved_packet(now, path, attempt);
    if (!packet) continue;
    std::copy(packet->packet.begin(), packet->packet.end(), datagram.begin());
    return std::pair(key, Transport::Packet{packet->kind, datagram.first(packet->packet.size())});
  }
  return std::nullopt;
}

void Sfu::Shard::handle_from_shard(TimePoint now, std::size_t part, const ShardMessage& message) {
  SATSUMA_CHECK(part < max_shards && part != config_.part);
  graph_.handle_from_shard(now, part, message);
  drain_graph(now);
}

void Sfu::Shard::handle_path_closed(TimePoint now, const NetworkPath& path) {
  for (Peer& peer : peers_) {
    if (peer.offer) std::erase_if(peer.offer->early_checks, [&path](const auto& early) { return early.first == path; });
  }
  const auto found = by_path_.find(path);
  if (found == by_path_.end()) return;
  const ConnectionKey key = found->second;
  forget_path(path);
  Connection& c = *connection(key);
  std::erase(c.paths, path);
  c.transport->handle_path_closed(path);
  pump(now, key);
  drain_graph(now);
}

void Sfu::Shard::handle_timeout(TimePoint now) {
  if (next_tick_ && now < *next_tick_ && graph_.participant_count() > 0) { // only the pace
    graph_.handle_pacing(now);
    drain_graph(now);
    return;
  }
  for (ParticipantIndex index = 0; index < peers_.size(); ++index)
    for (const Leg leg : {Leg::publish, Leg::subscribe}) {
      const ConnectionKey key{index, leg};
      if (!connection(key)) continue;
      if (now >= connection(key)->quiet_until) {
        connection(key)->transport->handle_timeout(now);
        pump(now, key);
      }
      if (connection(key) && connection(key)->repetitions) repeat(now, key);
    }
  graph_.handle_timeout(now);
  drain_graph(now);
  for (ParticipantIndex index = 0; index < peers_.size(); ++index) {
    const auto& c = connection({index, Leg::subscribe});
    if (!c || !c->announced || now < peers_[index].next_path_report) continue;
    // Those of many at the same time, since each time wakes another thread.
    const TimePoint next = now + path_report_interval;
    peers_[index].next_path_report = next - next.time_since_epoch() % path_report_step;
    SubscriberReport report = graph_.report(now, index);
    if (report.estimated || !report.slots.empty()) outputs_.push_back(PathState{graph_.id(index), std::move(report)});
  }
  if (graph_.participant_count() > 0)
    next_tick_ = now + MediaGraph::tick_interval;
  else
    next_tick_.reset();
}

std::optional<TimePoint> Sfu::Shard::next_deadline() const {
  const auto pacing = graph_.next_pacing();
  return pacing && (!next_tick_ || *pacing < *next_tick_) ? pacing : next_tick_;
}

void Sfu::Shard::pump(TimePoint now, const ConnectionKey& key) {
  std::optional<Error> ended;
  Connection& c = *connection(key);
  while (const auto output = c.transport->poll_output()) {
    if (const auto* const out = std::get_if<Transport::Send>(&*output)) {
      const bool shown = out->path.is_stream() || (c.transport->connected() && c.transport->path() == out->path);
      if (!shown && classify(out->datagram) == PacketKind::stun && !may_answer_stranger(now, out->path.remote)) {
        ++graph_.counters().dropped_stun_answers;
        continue;
      }
      send(key, out->path, out->datagram);
    } else if (std::holds_alternative<Transport::Connected>(*output)) {
      graph_.set_connected(now, key.participant, key.leg, true, c.fresh);
      c.fresh = false;
      if (!c.announced) outputs_.push_back(Connected{graph_.id(key.participant), key.leg});
      c.announced = true;
    } else if (const auto* const gone = std::get_if<Transport::Disconnected>(&*output)) {
      ended = gone->reason;
    }
  }
  c.quiet_until = c.transport->next_deadline().value_or(TimePoint::max());
  if (!ended) return;
  graph_.set_connected(now, key.participant, key.leg, false, false);
  outputs_.push_back(Disconnected{graph_.id(key.participant), key.leg});
  c.announced = false;
  // After a lost consent the peer's checks may bring it back.
  if (c.transport->closed()) close(key);
}

void Sfu::Shard::send(const ConnectionKey& key, const NetworkPath& path, ByteView bytes) {
  const MutableByteView space = graph_.arena().take(bytes.size());
  if (space.empty()) {
    ++graph_.counters().dropped_arena_full;
    return;
  }
  std::copy(bytes.begin(), bytes.end(), space.begin());
  queue(key, path, space);
}

bool Sfu::Shard::forward_more(TimePoint now) {
  while (true) {
    // What is no media ends a run, since whatever comes of it, those before it were first.
    while (!batch_.empty() && !graph_.run_is_whole() && (!graph_.run_waits() || classify(batch_.front().bytes) == PacketKind::rtp)) {
      const IncomingDatagram datagram = batch_.front();
      batch_ = batch_.subspan(1);
      handle_datagram(now, batch_path_, datagram.bytes, datagram.arrived);
    }
    if (!graph_.run_waits()) break;
    prefetch();
    graph_.forward_part(now);
    seal_packets(now);
    if (graph_.arena().used() >= pending_enough) return true;
  }
  drain_graph(now);
  return false;
}

void Sfu::Shard::prefetch() {
  const auto connection_to = [this](const SlotReference& to) -> std::unique_ptr<Connection>& { return connection({to.participant, Leg::subscribe}); };
  for (const SlotReference& to : graph_.part(4)) {
    graph_.prefetch(to, 1);
    satsuma::prefetch(&connection_to(to), sizeof(void*));
  }
  for (const SlotReference& to : graph_.part(3)) {
    graph_.prefetch(to, 2);
    satsuma::prefetch(connection_to(to).get(), sizeof(void*));
  }
  for (const SlotReference& to : graph_.part(2)) {
    graph_.prefetch(to, 3);
    if (const auto& c = connection_to(to)) satsuma::prefetch(c->transport.get(), sizeof(Transport));
  }
  for (const SlotReference& to : graph_.part(1))
    if (const auto& c = connection_to(to)) c->transport->prefetch();
}

void Sfu::Shard::seal_packets(TimePoint now) {
  for (const MediaGraph::OutgoingPacket& packet : graph_.packets()) {
    const ConnectionKey key{packet.participant, packet.leg};
    Connection* const c = connection(key).get();
    if (!c || !c->transport->path()) continue;
    const MutableByteView space(packet.data, packet.size + MediaGraph::packet_overhead);
    const MutableByteView plain = space.first(packet.size);
    const auto sealed = packet.rtcp ? c->transport->protect_rtcp(plain, space)
                                    : c->transport->protect_rtp(plain.first(packet.header_size), plain.subspan(packet.header_size), space);
    if (!sealed) continue;
    queue(key, *c->transport->path(), *sealed);
    if (packet.copies > 0 && !c->transport->path()->is_stream()) keep_for_repetition(now, *c, *sealed, packet.copies);
  }
  graph_.clear_packets();
}

void Sfu::Shard::drain_graph(TimePoint now) {
  seal_packets(now);
  while (const auto output = graph_.poll_output()) {
    if (const auto* const changed = std::get_if<MediaGraph::SlotsChanged>(&*output)) {
      Peer& peer = peers_[changed->participant];
      auto slots = graph_.slot_uses(changed->participant);
      if (peer.ever_told && slots == peer.told_slots) continue; // a slot went and came back
      peer.ever_told = true;
      peer.told_slots = slots;
      outputs_.push_back(Slots{graph_.id(changed->participant), ++peer.slots_sequence, std::move(slots), config_.limits.max_audio_slots});
    } else if (const auto* const grown = std::get_if<MediaGraph::PoolGrown>(&*output)) {
      if (std::find(growing_.begin(), growing_.end(), grown->participant) == growing_.end()) growing_.push_back(grown->participant);
    } else if (const auto* const wanted = std::get_if<MediaGraph::WantedChanged>(&*output)) {
      outputs_.push_back(WantedLayers{graph_.id(wanted->participant), wanted->source, graph_.wanted_encodings(wanted->participant, wanted->source)});
    }
  }
  // One offer at a time; the next tells everything that came up meanwhile.
  std::erase_if(growing_, [this](ParticipantIndex index) {
    const ConnectionKey key{index, Leg::subscribe};
    if (peers_[index].offer || !connection(key)) return false;
    offer(graph_.id(index), index, connection(key)->transport->local_credentials(), false);
    return true;
  });
}

void Sfu::Shard::keep_for_repetition(TimePoint now, Connection& c, ByteView sealed, std::uint8_t copies) {
  if (sealed.size() > max_repeated_size) return;
  if (!c.repetitions) c.repetitions = std::make_unique_for_overwrite<Repetitions>();
  Repetitions& r = *c.repetitions;
  r.kept_at = now;
  if (r.count == max_repeated) return; // more speak at once than anybody can follow
  Repetition& one = r.ring[(r.begin + r.count++) % max_repeated];
  std::copy(sealed.begin(), sealed.end(), one.bytes.begin());
  one.size = static_cast<std::uint16_t>(sealed.size());
  one.sent = 0;
  one.copies = std::min<std::uint8_t>(copies, repeat_after.size());
  one.first = now;
}

void Sfu::Shard::repeat(TimePoint now, const ConnectionKey& key) {
  Connection& c = *connection(key);
  Repetitions& r = *c.repetitions;
  if (!c.transport->connected() || !c.transport->path()) r.count = 0;
  for (std::size_t i = 0; i < r.count; ++i) {
    Repetition& one = r.ring[(r.begin + i) % max_repeated];
    if (one.sent == one.copies || now - one.first < repeat_after[one.sent]) continue;
    ++one.sent;
    ++graph_.counters().sound_repeated;
    send(key, *c.transport->path(), ByteView(one.bytes).first(one.size));
  }
  while (r.count > 0 && r.ring[r.begin].sent == r.ring[r.begin].copies) {
    r.begin = (r.begin + 1) % max_repeated;
    --r.count;
  }
  if (r.count == 0 && now - r.kept_at > std::chrono::seconds(10)) c.repetitions.reset();
}

std::optional<Output> Sfu::Shard::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

std::span<const OutgoingDatagram> Sfu::Shard::pending_datagrams() {
  // By connection, and then as they were queued; what one publisher's packets became is so already.
  if (std::is_sorted(queued_order_.begin(), queued_order_.end())) return queued_;
  std::sort(queued_order_.begin(), queued_order_.end());
  sorted_.clear();
  for (std::uint64_t& place : queued_order_) {
    sorted_.push_back(queued_[place & place_mask]);
    place = (place & ~place_mask) | (sorted_.size() - 1);
  }
  queued_.swap(sorted_);
  return queued_;
}

void Sfu::Shard::queue(const ConnectionKey& key, const NetworkPath& path, ByteView bytes) {
  const std::uint64_t connection = std::uint64_t{key.participant} << 1 | (key.leg == Leg::subscribe ? 1 : 0);
  queued_order_.push_back(connection << place_bits | queued_.size());
  queued_.push_back({path, bytes});
}

void Sfu::Shard::clear_datagrams() {
  queued_.clear();
  queued_order_.clear();
  graph_.clear_shard_messages();
  graph_.arena().clear();
}

// ---- the front

Sfu::Sfu(Config config, const dtls::Context& context, RandomSource& random)
    : shard_(std::make_unique<Shard>(std::move(config), context, random)) {}
Sfu::~Sfu() = default;
Sfu::Sfu(Sfu&&) noexcept = default;
Sfu& Sfu::operator=(Sfu&&) noexcept = default;

Result<void> Sfu::add_participant(TimePoint now, std::string_view room, const IncarnationId& id) {
  return shard_->add_participant(now, room, id);
}
Result<void> Sfu::remove_participant(TimePoint now, const IncarnationId& id) { return shard_->remove_participant(now, id); }
Result<void> Sfu::set_member(TimePoint now, const IncarnationId& id, bool member) { return shard_->set_member(now, id, member); }
void Sfu::handle_epoch(TimePoint now, std::string_view room, std::uint64_t entry) { shard_->handle_epoch(now, room, entry); }
Result<void> Sfu::handle_followed(const IncarnationId& id, std::uint64_t cursor) { return shard_->handle_followed(id, cursor); }
Result<std::string> Sfu::handle_publish_offer(TimePoint now, const IncarnationId& id, std::string_view sdp) {
  return shard_->handle_publish_offer(now, id, sdp);
}
Result<void> Sfu::handle_sources(TimePoint now, const IncarnationId& id, SourceSet active) {
  return shard_->handle_sources(now, id, active);
}
Result<void> Sfu::request_subscribe(TimePoint now, const IncarnationId& id) { return shard_->request_subscribe(now, id); }
Result<void> Sfu::handle_subscribe_answer(TimePoint now, const IncarnationId& id, std::uint32_t revision, std::string_view sdp) {
  return shard_->handle_subscribe_answer(now, id, revision, sdp);
}
Result<void> Sfu::handle_key_frame_request(TimePoint now, const IncarnationId& id, std::string_view mid) {
  return shard_->handle_key_frame_request(now, id, mid);
}
Result<void> Sfu::handle_view(TimePoint now, const IncarnationId& id, std::span<const TileView> tiles, std::optional<SpeakersView> speakers) {
  return shard_->handle_view(now, id, tiles, speakers);
}
Result<void> Sfu::handle_voices(TimePoint now, const IncarnationId& id, std::span<const IncarnationId> of) { return shard_->handle_voices(now, id, of); }
Result<SubscriberReport> Sfu::report(TimePoint now, const IncarnationId& id) const { return shard_->report(now, id); }
bool Sfu::handle_packets(TimePoint now, const NetworkPath& path, std::span<const IncomingDatagram> datagrams) {
  return shard_->handle_packets(now, path, datagrams);
}
bool Sfu::forward_more(TimePoint now) { return shard_->forward_more(now); }
bool Sfu::knows_path(const NetworkPath& path) const { return shard_->knows_path(path); }
void Sfu::handle_path_closed(TimePoint now, const NetworkPath& path) { shard_->handle_path_closed(now, path); }
void Sfu::handle_timeout(TimePoint now) { shard_->handle_timeout(now); }
std::optional<TimePoint> Sfu::next_deadline() const { return shard_->next_deadline(); }
void Sfu::set_room_shards(TimePoint, std::string_view room, ShardSet shards) { shard_->set_room_shards(room, shards); }
void Sfu::handle_from_shard(TimePoint now, std::size_t part, const ShardMessage& message) { shard_->handle_from_shard(now, part, message); }
std::span<const OutgoingShardMessage> Sfu::pending_for_shards() const { return shard_->graph().shard_messages(); }
std::optional<Output> Sfu::poll_output() { return shard_->poll_output(); }
std::span<const OutgoingDatagram> Sfu::pending_datagrams() { return shard_->pending_datagrams(); }
std::size_t Sfu::pending_count() const { return shard_->pending_count(); }
void Sfu::clear_datagrams() { shard_->clear_datagrams(); }
const Counters& Sfu::counters() const { return shard_->graph().counters(); }
std::size_t Sfu::participant_count() const { return shard_->graph().participant_count(); }
std::size_t Sfu::room_count() const { return shard_->graph().room_count(); }
#ifdef SATSUMA_TEST_HOOKS
void Sfu::set_packet_tap(PacketTap* tap) { shard_->tap = tap; }
#endif

} // namespace satsuma::sfu
