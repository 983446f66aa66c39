#include "meeting_server.h"

#include <spdlog/spdlog.h>

#include <malloc.h>
#include <unistd.h>

#include <future>
#include <numeric>

#include "ice/ice_lite.h"
#include "ice/stream_framing.h"
#include "io/clock.h"

namespace satsuma::server {
namespace {

/// The wire takes a-z and _ only.
std::string wire_code(std::string_view name) {
  std::string code;
  for (const char c : name.substr(0, 64)) {
    if ((c >= 'a' && c <= 'z') || c == '_') code += c;
  }
  return code.empty() ? "failed" : code;
}

std::string sentence_for(const Error& error) {
  if (error == sfu::sfu_room_full) return "The room takes no more people with pictures and sound.";
  if (error == sfu::sfu_no_publication) return "The server does not know that connection; publish anew.";
  if (error == sfu::sfu_too_many_handshakes) return "Your connection has been made anew too often; wait some seconds.";
  if (error == sfu::sfu_unknown_revision) return "That offer has been replaced by a newer one.";
  if (error == sfu::sfu_unknown_participant) return "The server does not know you as a participant any more; enter again.";
  switch (error.kind()) {
    case ErrorKind::peer: return "The server did not understand what your browser sent about pictures and sound.";
    case ErrorKind::environment: return "The server is at its limit; try again later.";
    case ErrorKind::caller: return "The server could not do that.";
  }
  return {};
}

} // namespace

// --- from the WebSockets ---

void MeetingServer::on_open(io::ConnectionId id) {
  connections_[id].control_tokens_at = io::monotonic_now();
  service_.handle_connected(io::monotonic_now(), id);
  pump();
}

void MeetingServer::on_binary(io::ConnectionId id, ByteView bytes) {
#ifdef SATSUMA_TEST_HOOKS
  if (room_trace_ != nullptr) room_trace_->trace().handle_frame(id, bytes);
#endif
  service_.handle_frame(io::monotonic_now(), id, bytes);
  pump();
}

void MeetingServer::on_oversized(io::ConnectionId id) {
  service_.handle_oversized(io::monotonic_now(), id);
  pump();
}

void MeetingServer::on_close(io::ConnectionId id) {
  if (const auto found = connections_.find(id); found != connections_.end()) {
    if (const auto who = participants_.find(found->second.incarnation); found->second.joined && who != participants_.end() && who->second.connection == id) {
      who->second.connection = 0;
    }
    connections_.erase(found);
  }
#ifdef SATSUMA_TEST_HOOKS
  if (room_trace_ != nullptr) room_trace_->trace().handle_disconnected(id);
#endif
  service_.handle_disconnected(io::monotonic_now(), id);
  pump();
}

void MeetingServer::on_media_stream(int descriptor, const TransportAddress& remote, Bytes begun) {
  on_relayed_stream(descriptor, remote, remote, std::move(begun));
}

void MeetingServer::on_relayed_stream(int descriptor, const TransportAddress& relayed, const TransportAddress& client, Bytes begun) {
  // Whether the check is true is for the shard to find out; this only finds the shard.
  const auto ufrag = ice::receiver_ufrag(ByteView(begun).subspan(std::min(begun.size(), ice::stream_frame_header)));
  const auto part = ufrag ? ice::part_of(*ufrag) : std::nullopt;
  if (!part || *part >= shards_.size()) {
    ::close(descriptor);
    return;
  }
  (void)shards_[*part]->loop().adopt(descriptor, relayed, std::move(begun), client);
}

void MeetingServer::on_deadline(TimePoint now) {
  deadline_.reset();
  service_.handle_timeout(now);
  if (trim_at_ && now >= *trim_at_) {
    trim_at_.reset();
    changed_at_.reset();
    ::malloc_trim(0);
    spdlog::debug("event=heap_trimmed us={}", (io::monotonic_now() - now).count());
  }
  pump();
}

void MeetingServer::note_change() {
  const TimePoint now = io::monotonic_now();
  if (!changed_at_) changed_at_ = now;
  trim_at_ = std::min(now + trim_after, *changed_at_ + trim_at_most_after);
}

void MeetingServer::on_stop() { spdlog::info("event=stopping websockets={}", connections_.size()); }

void MeetingServer::on_text(io::ConnectionId id, std::string_view text) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  if (!connection.joined) return refuse(id, std::nullopt, "not_ready", "Media control is possible once the delivery service has answered `ready`.");
  const auto who = participants_.find(connection.incarnation);
  if (who == participants_.end() || who->second.connection != id) return; // being replaced or gone: its close is on the way
  auto message = signaling::parse_client_control(text);
  if (!message) return refuse(id, std::nullopt, wire_code(message.error().name()), "This text frame is not a message of docs/protocol.md, section 6.");
  if (!take_control_token(connection)) return refuse(id, std::nullopt, "too_fast", "Too many requests.", io::CloseCode::too_fast);
  if (connection.renew_turn && *connection.renew_turn <= io::monotonic_now()) send_turn_credentials(id, connection);
  handle_control(id, connection.incarnation, *shards_[who->second.shard], std::move(*message));
}

void MeetingServer::send_turn_credentials(io::ConnectionId id, Connection& connection) {
  if (turn_ == nullptr) return;
  const TimePoint now = io::monotonic_now();
  turn::Credentials credentials = turn_->credentials(now, connection.incarnation.hex());
  connection.renew_turn = now + turn_->limits().credentials / 2;
  send_control(id, signaling::TurnServer{std::move(credentials.username), std::move(credentials.password)});
}

bool MeetingServer::take_control_token(Connection& connection) {
  const TimePoint now = io::monotonic_now();
  const double elapsed = std::chrono::duration<double>(now - connection.control_tokens_at).count();
  connection.control_tokens_at = now;
  connection.control_tokens = std::min(control_burst, connection.control_tokens + elapsed * control_per_second);
  if (connection.control_tokens < 1) return false;
  connection.control_tokens -= 1;
  return true;
}

void MeetingServer::handle_control(io::ConnectionId id, const IncarnationId& who, MediaShard& shard, signaling::ClientControl message) {
  const std::optional<std::uint32_t> request = signaling::request_id(message);
  const auto publish = [&](std::uint32_t request_id, std::string sdp) {
    const auto offer = [this, id, who, request_id, sdp = std::move(sdp)](TimePoint now, sfu::Sfu& sfu) {
      Result<std::string> answer = sfu.handle_publish_offer(now, who, sdp);
      http_->post([this, id, request_id, answer = std::move(answer)] {
        if (!answer) return answer_from_media(id, request_id, answer.error());
        send_control(id, signaling::Published{request_id, *answer});
      });
    };
    if (!post(shard, offer)) refuse(id, request_id, "busy", "The server is overloaded; try again.");
  };
  // Runs `call` on the media thread; a failure comes back as an error.
  const auto ask = [&](auto call) {
    const auto work = [this, id, request, call = std::move(call)](TimePoint now, sfu::Sfu& sfu) {
      Result<void> result = call(now, sfu);
      if (result) return;
      http_->post([this, id, request, result = std::move(result)] { answer_from_media(id, request, result); });
    };
    if (!post(shard, work) && request) refuse(id, request, "busy", "The server is overloaded; try again.");
  };
  struct Visitor {
    decltype(publish)& publish_offer;
    decltype(ask)& on_media;
    const IncarnationId& incarnation;

    void operator()(signaling::Publish& m) { publish_offer(m.id, std::move(m.sdp)); }
    void operator()(signaling::Restart& m) { publish_offer(m.id, std::move(m.sdp)); }
    void operator()(signaling::Sources& m) {
      on_media([target = incarnation, active = m.active](TimePoint now, sfu::Sfu& sfu) { return sfu.handle_sources(now, target, active); });
    }
    void operator()(signaling::Subscribe&) {
      on_media([target = incarnation](TimePoint now, sfu::Sfu& sfu) { return sfu.request_subscribe(now, target); });
    }
    void operator()(signaling::Answer& m) {
      on_media([target = incarnation, revision = m.revision, sdp = std::move(m.sdp)](TimePoint now, sfu::Sfu& sfu) -> Result<void> {
        Result<void> result = sfu.handle_subscribe_answer(now, target, revision, sdp);
        if (!result && result.error() == sfu::sfu_unknown_revision) return {}; // crossed with a newer offer, which will be answered too
        return result;
      });
    }
    void operator()(signaling::View& m) {
      std::vector<sfu::TileView> tiles;
      for (signaling::View::Tile& tile : m.tiles) tiles.push_back({std::move(tile.mid), tile.height, tile.incarnation, tile.source});
      std::optional<sfu::SpeakersView> speakers;
      if (m.speakers) speakers = sfu::SpeakersView{m.speakers->count, m.speakers->height};
      on_media([target = incarnation, tiles = std::move(tiles), speakers](TimePoint now, sfu::Sfu& sfu) { return sfu.handle_view(now, target, tiles, speakers); });
    }
    void operator()(signaling::Voices& m) {
      on_media([target = incarnation, of = std::move(m.of)](TimePoint now, sfu::Sfu& sfu) { return sfu.handle_voices(now, target, of); });
    }
    void operator()(signaling::KeyFrame& m) {
      on_media([target = incarnation, mid = std::move(m.mid)](TimePoint now, sfu::Sfu& sfu) -> Result<void> {
        Result<void> result = sfu.handle_key_frame_request(now, target, mid);
        if (!result && result.error() == sfu::sfu_unknown_slot) return {}; // the pool was offered anew meanwhile
        return result;
      });
    }
  };
  std::visit(Visitor{publish, ask, who}, message);
}

void MeetingServer::answer_from_media(io::ConnectionId id, std::optional<std::uint32_t> request, const Result<void>& result) {
  const Error error = result.error();
  if (error == sfu::sfu_unknown_participant) {
    // Its departure crossed the request; the close is on the way.
    if (request) refuse(id, request, wire_code(error.name()), sentence_for(error));
    return;
  }
  refuse(id, request, wire_code(error.name()), sentence_for(error));
}

void MeetingServer::send_control(io::ConnectionId id, const signaling::ServerControl& message) {
  std::string text = signaling::write_server_control(message);
  http_->send_text(id, text);
  wipe(MutableByteView(reinterpret_cast<std::uint8_t*>(text.data()), text.size())); // it may hold a password
}

void MeetingServer::refuse(io::ConnectionId id, std::optional<std::uint32_t> request, std::string_view code, std::string message, io::CloseCode close) {
  ++control_errors_;
  spdlog::debug("event=control_error connection={} code={}", id, code);
  send_control(id, signaling::ControlError{request, std::string(code), message});
  if (!request) http_->close(id, close, message);
}

// --- from the delivery service ---

void MeetingServer::pump() {
  while (auto output = service_.poll_output()) {
#ifdef SATSUMA_TEST_HOOKS
    if (room_trace_ != nullptr) room_trace_->trace().handle_output(*output);
#endif
    std::visit([this](const auto& item) { handle(item); }, *output);
  }
#ifdef SATSUMA_TEST_HOOKS
  if (room_trace_ != nullptr) room_trace_->flush();
#endif
  // Who reads the log and no metrics is to know of a full disk, and not to find the log full of it.
  if (const std::uint64_t failures = service_.statistics().store_failures; failures >= store_failures_told_at_) {
    spdlog::error("event=store_failed failures={}", failures);
    store_failures_told_at_ = 2 * failures;
  }
  auto next = service_.next_deadline();
  if (trim_at_ && (!next || *trim_at_ < *next)) next = trim_at_;
  if (next == deadline_) return;
  deadline_ = next;
  http_->set_deadline(next);
}

void MeetingServer::handle(const delivery::Send& send) { http_->send_binary(send.connection, send.bytes); }

void MeetingServer::handle(const delivery::Close& close) {
  spdlog::debug("event=closed_by_delivery connection={} code={}", close.connection, close.code);
  http_->close(close.connection, static_cast<io::CloseCode>(close.code), close.reason);
  const auto found = connections_.find(close.connection);
  if (found == connections_.end()) return;
  const auto who = participants_.find(found->second.incarnation);
  if (found->second.joined && who != participants_.end() && who->second.connection == close.connection) who->second.connection = 0;
  found->second.joined = false;
}

void MeetingServer::handle(const delivery::Joined& joined) {
  Participant* const known = participant(joined.room, joined.incarnation);
  if (known == nullptr) {
    spdlog::warn("event=in_another_room connection={}", joined.connection);
    return refuse(joined.connection, std::nullopt, "in_another_room", "This participant is in another room. Enter again.");
  }
  http_->set_ready(joined.connection);
  Participant& who = *known;
  who.connection = joined.connection;
  who.departed = false;
  if (const auto found = connections_.find(joined.connection); found != connections_.end()) {
    found->second.joined = true;
    found->second.incarnation = joined.incarnation;
    send_turn_credentials(joined.connection, found->second);
  }
  if (!who.in_media) {
    who.in_media = true;
    measure_shards();
    const sfu::ShardSet before = placement_.shards_of(joined.room);
    who.shard = placement_.place(joined.room, busy_);
    const sfu::ShardSet shards = placement_.shards_of(joined.room);
    std::optional<std::uint64_t> epoch;
    if (const auto latest = epochs_.find(joined.room); shards != before && latest != epochs_.end()) epoch = latest->second;
    post(*shards_[who.shard], [room = joined.room, id = joined.incarnation, member = who.member, followed = who.followed, epoch](TimePoint now, sfu::Sfu& sfu) {
      if (auto added = sfu.add_participant(now, room, id); !added) {
        spdlog::warn("event=media_refused code={}", added.error().name()); // requests will be answered with sfu_unknown_participant
        return;
      }
      if (epoch) sfu.handle_epoch(now, room, *epoch);
      static_cast<void>(sfu.handle_followed(id, followed));
      if (member) static_cast<void>(sfu.set_member(now, id, true));
    });
    if (shards != before && before != 0) introduce_shards_of(joined.room);
    spdlog::info("event=joined connection={} participants={}", joined.connection, participants_.size());
  } else {
    // What the shard said while the WebSocket was away.
    if (!who.last_slots.empty()) http_->send_text(joined.connection, who.last_slots);
    spdlog::info("event=returned connection={}", joined.connection);
  }
}

void MeetingServer::handle(const delivery::EpochBegan& epoch) {
  if (placement_.shards_of(epoch.room) != 0) epochs_[epoch.room] = epoch.entry;
  for_each_shard_of(epoch.room, [&](MediaShard& shard) {
    post(shard, [room = epoch.room, entry = epoch.entry](TimePoint now, sfu::Sfu& sfu) { sfu.handle_epoch(now, room, entry); });
  });
}

void MeetingServer::handle(const delivery::Followed& followed) {
  Participant* const who = participant(followed.room, followed.incarnation);
  if (who == nullptr) return;
  who->followed = followed.cursor;
  if (!who->in_media) return;
  post(*shards_[who->shard],
       [id = followed.incarnation, cursor = followed.cursor](TimePoint, sfu::Sfu& sfu) { static_cast<void>(sfu.handle_followed(id, cursor)); });
}

void MeetingServer::handle(const delivery::MemberAdded& added) {
  Participant* const who = participant(added.room, added.incarnation);
  if (who == nullptr) return;
  note_change();
  who->member = true;
  if (who->in_media) {
    post(*shards_[who->shard], [id = added.incarnation](TimePoint now, sfu::Sfu& sfu) { static_cast<void>(sfu.set_member(now, id, true)); });
  }
}

void MeetingServer::handle(const delivery::MemberRemoved& removed) {
  Participant* const who = find_participant(removed.room, removed.incarnation);
  if (who == nullptr) return;
  who->member = false;
  if (who->in_media) {
    post(*shards_[who->shard], [id = removed.incarnation](TimePoint now, sfu::Sfu& sfu) { static_cast<void>(sfu.set_member(now, id, false)); });
  }
  drop_if_over(removed.incarnation);
}

void MeetingServer::handle(const delivery::Departed& departed) {
  Participant* const known = find_participant(departed.room, departed.incarnation);
  if (known == nullptr) return;
  note_change();
  Participant& who = *known;
  who.departed = true;
  if (who.in_media) {
    who.in_media = false;
    post(*shards_[who.shard], [id = departed.incarnation](TimePoint now, sfu::Sfu& sfu) { static_cast<void>(sfu.remove_participant(now, id)); });
    const sfu::ShardSet before = placement_.shards_of(departed.room);
    placement_.remove(departed.room, who.shard);
    const sfu::ShardSet shards = placement_.shards_of(departed.room);
    if (shards == 0) epochs_.erase(departed.room);
    if (shards != before && shards != 0) introduce_shards_of(departed.room);
  }
  spdlog::info("event=departed participants={}", participants_.size());
  drop_if_over(departed.incarnation);
}

MeetingServer::Participant* MeetingServer::participant(const std::string& room, const IncarnationId& who) {
  const auto [found, inserted] = participants_.try_emplace(who);
  if (inserted) {
    found->second.room = room;
  }
  return found->second.room == room ? &found->second : nullptr;
}

MeetingServer::Participant* MeetingServer::find_participant(const std::string& room, const IncarnationId& who) {
  const auto found = participants_.find(who);
  return found != participants_.end() && found->second.room == room ? &found->second : nullptr;
}

void MeetingServer::drop_if_over(const IncarnationId& who) {
  const auto found = participants_.find(who);
  if (found != participants_.end() && found->second.departed && !found->second.member) participants_.erase(found);
}

template <class F>
void MeetingServer::for_each_shard_of(const std::string& room, F&& f) {
  const sfu::ShardSet shards = placement_.shards_of(room);
  for (std::size_t i = 0; i < shards_.size(); ++i)
    if ((shards >> i & 1) != 0) f(*shards_[i]);
}

void MeetingServer::introduce_shards_of(const std::string& room) {
  const sfu::ShardSet shards = placement_.shards_of(room);
  for_each_shard_of(room, [&](MediaShard& shard) {
    post(shard, [room, shards](TimePoint now, sfu::Sfu& sfu) { sfu.set_room_shards(now, room, shards); });
  });
}

void MeetingServer::measure_shards() {
  const TimePoint now = io::monotonic_now();
  const Duration elapsed = now - measured_at_;
  if (shards_.size() == 1 || elapsed < std::chrono::seconds(1)) return;
  busy_.resize(shards_.size());
  processor_time_.resize(shards_.size());
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const Duration used = shards_[i]->loop().counters().processor_time;
    busy_[i] = std::chrono::duration<double>(used - processor_time_[i]) / std::chrono::duration<double>(elapsed);
    processor_time_[i] = used;
  }
  measured_at_ = now;
}

// --- to and from the media shards ---

void MeetingServer::add_shard(std::unique_ptr<MediaShard> shard) {
  io::MediaLoop& loop = shard->loop();
  http_->watch(loop.event_descriptor(), [this, &loop] {
    for (sfu::Output& output : loop.take_events()) handle_media(std::move(output));
  });
  for (std::size_t i = 0; i < shards_.size(); ++i) io::MediaLoop::connect(shards_[i]->loop(), i, loop, shards_.size());
  shards_.push_back(std::move(shard));
  placement_.add_shard();
}

bool MeetingServer::post(MediaShard& shard, io::MediaLoop::Command command) {
  if (shard.loop().post(std::move(command))) return true;
  if (media_commands_lost_++ == 0) spdlog::error("event=media_thread_stuck");
  return false;
}

namespace {

signaling::Path path_message(const sfu::SubscriberReport& report) {
  const auto kbps = [](std::int64_t bitrate) { return static_cast<std::uint32_t>(std::clamp<std::int64_t>(bitrate / 1000, 0, 0xffffffff)); };
  const auto limit = [](sfu::SlotLimit which) -> std::string {
    switch (which) {
      case sfu::SlotLimit::nothing: return "";
      case sfu::SlotLimit::view: return "view";
      case sfu::SlotLimit::bandwidth: return "bandwidth";
      case sfu::SlotLimit::publisher: return "publisher";
    }
    return "";
  };
  signaling::Path path;
  path.bitrate_kbps = report.estimated ? kbps(report.bitrate) : 0;
  path.used_kbps = kbps(report.allocated);
  path.wanted_kbps = kbps(report.desired);
  path.loss_percent = static_cast<std::uint32_t>(std::clamp(report.loss * 100, 0.0, 100.0));
  path.round_trip_ms = static_cast<std::uint32_t>(report.round_trip.count() / 1000);
  if (report.estimated && report.desired > report.bitrate) path.limited_by = report.limited_by_loss ? "loss" : "delay";
  for (const sfu::SubscriberReport::Slot& slot : report.slots) {
    if (path.slots.size() == signaling::max_slots) break;
    path.slots.push_back({slot.mid, slot.paused, slot.encoding, slot.encodings, slot.temporal, limit(slot.limit)});
  }
  return path;
}

} // namespace

void MeetingServer::handle_media(sfu::Output output) {
  if (std::holds_alternative<sfu::Connected>(output) || std::holds_alternative<sfu::Disconnected>(output)) {
    note_change();
    pump();
  }
  const auto connection_of = [this](const IncarnationId& id) -> Participant* {
    const auto found = participants_.find(id);
    return found == participants_.end() ? nullptr : &found->second;
  };
  if (const auto* offer = std::get_if<sfu::SubscribeOffer>(&output)) {
    if (offer->sdp.size() > signaling::max_control_sdp_size) {
      spdlog::error("event=offer_too_large bytes={}", offer->sdp.size());
      return;
    }
    // Not kept for later: whoever returns subscribes anew.
    if (Participant* who = connection_of(offer->id)) send_control(who->connection, signaling::Offer{offer->revision, offer->sdp});
  } else if (const auto* slots = std::get_if<sfu::Slots>(&output)) {
    Participant* who = connection_of(slots->id);
    if (who == nullptr) return;
    signaling::Slots message;
    message.sequence = slots_epoch_ + slots->sequence;
    message.voices = slots->voices;
    for (const sfu::SlotUse& use : slots->slots) {
      if (message.slots.size() == signaling::max_slots) break;
      message.slots.push_back({use.mid, use.incarnation, use.source});
    }
    who->last_slots = signaling::write_server_control(message);
    http_->send_text(who->connection, who->last_slots);
  } else if (const auto* layers = std::get_if<sfu::WantedLayers>(&output)) {
    if (Participant* who = connection_of(layers->id)) send_control(who->connection, signaling::Layers{layers->source, layers->active});
  } else if (const auto* state = std::get_if<sfu::PathState>(&output)) {
    if (Participant* who = connection_of(state->id)) send_control(who->connection, path_message(state->report));
  } else if (const auto* gone = std::get_if<sfu::Disconnected>(&output)) {
    ++media_disconnections_; // the browser notices by itself, and offers anew
    spdlog::debug("event=media_disconnected leg={}", gone->which == sfu::Leg::publish ? "publish" : "subscribe");
  } else if (const auto* connected = std::get_if<sfu::Connected>(&output)) {
    spdlog::debug("event=media_connected leg={}", connected->which == sfu::Leg::publish ? "publish" : "subscribe");
  }
}

// --- /metrics ---

std::string MeetingServer::metrics() {
  std::string text;
  const auto head = [&text](std::string_view name, std::string_view type, std::string_view help) {
    text.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
  };
  const auto add = [&](std::string_view name, std::string_view type, std::string_view help, std::uint64_t value) {
    head(name, type, help);
    text.append(name).append(" ").append(std::to_string(value)).append("\n");
  };
  const auto& d = service_.statistics();
  add("satsuma_rooms", "gauge", "rooms that the delivery service holds", service_.room_count());
  add("satsuma_participants", "gauge", "incarnations that are present or in a roster", participants_.size());
  add("satsuma_log_entries_total", "counter", "entries appended to rooms' logs", d.entries);
  add("satsuma_resumed_total", "counter", "connections that went on at their cursor", d.resumed);
  add("satsuma_commits_rejected_total", "counter", "commits and geneses that the gate refused", std::accumulate(std::begin(d.rejected), std::end(d.rejected), std::uint64_t{0}));
  add("satsuma_delivery_errors_total", "counter", "connections closed with an error by the delivery service", std::accumulate(std::begin(d.errors), std::end(d.errors), std::uint64_t{0}));
  head("satsuma_gone_total", "counter", "incarnations that went, by cause");
  static constexpr const char* causes[] = {"", "goodbye", "lost", "stalled", "could_not_follow", "reported"};
  for (std::size_t cause = 1; cause < std::size(causes); ++cause) text += std::string("satsuma_gone_total{cause=\"") + causes[cause] + "\"} " + std::to_string(d.gone[cause]) + "\n";
  add("satsuma_log_memory_bytes", "gauge", "what all rooms' logs take in memory", service_.log_memory());
  head("satsuma_limited_total", "counter", "what was cut off by a bound against strangers, by bound");
  const auto limited = [&text](std::string_view bound, std::uint64_t value) {
    text.append("satsuma_limited_total{bound=\"").append(bound).append("\"} ").append(std::to_string(value)).append("\n");
  };
  limited("log_memory", d.log_relieved);
  limited("relay", d.relays_dropped);
  limited("joins", d.joins_refused);
  limited("new_rooms", d.new_rooms_refused);
  add("satsuma_store_failures_total", "counter", "writes to the store that failed", d.store_failures);
  add("satsuma_control_errors_total", "counter", "errors answered to media control", control_errors_);
  add("satsuma_media_commands_lost_total", "counter", "commands that a stuck media thread did not take", media_commands_lost_);
  add("satsuma_media_disconnections_total", "counter", "media connections that ended or fell silent", media_disconnections_);

  io::MediaLoop::Counters wire;
  std::vector<io::MediaLoop::Counters> of_shards;
  for (const auto& shard : shards_) {
    const io::MediaLoop::Counters one = of_shards.emplace_back(shard->loop().counters());
    wire.datagrams_in += one.datagrams_in;
    wire.datagrams_out += one.datagrams_out;
    wire.datagrams_dropped += one.datagrams_dropped;
    wire.send_calls += one.send_calls;
    wire.streams += one.streams;
    wire.of_streams.accepted += one.of_streams.accepted;
    wire.of_streams.refused += one.of_streams.refused;
    wire.of_streams.closed_strange += one.of_streams.closed_strange;
    wire.of_streams.closed_silent += one.of_streams.closed_silent;
    wire.of_streams.dropped_slow += one.of_streams.dropped_slow;
  }
  add("satsuma_udp_datagrams_in_total", "counter", "datagrams received, over UDP and TCP", wire.datagrams_in);
  add("satsuma_udp_datagrams_out_total", "counter", "datagrams sent", wire.datagrams_out);
  add("satsuma_udp_datagrams_dropped_total", "counter", "datagrams that the kernel did not take", wire.datagrams_dropped);
  add("satsuma_udp_send_calls_total", "counter", "calls of sendmmsg and sendmsg", wire.send_calls);

  add("satsuma_media_tcp_connections", "gauge", "TCP connections that carry media, or ask to", wire.streams);
  add("satsuma_media_tcp_accepted_total", "counter", "TCP connections accepted for media", wire.of_streams.accepted);
  head("satsuma_media_tcp_closed_total", "counter", "TCP connections refused or closed here, by reason");
  const auto closed = [&](std::string_view reason, std::uint64_t value) {
    text.append("satsuma_media_tcp_closed_total{reason=\"").append(reason).append("\"} ").append(std::to_string(value)).append("\n");
  };
  closed("limit", wire.of_streams.refused);
  closed("strange", wire.of_streams.closed_strange);
  closed("silent", wire.of_streams.closed_silent);
  add("satsuma_media_tcp_datagrams_dropped_total", "counter", "datagrams dropped because a reader over TCP was too slow", wire.of_streams.dropped_slow);

  if (turn_ != nullptr) {
    const turn::Counters& t = turn_->counters();
    const io::HttpStatistics of_http = http_->statistics();
    add("satsuma_turn_allocations", "gauge", "TURN allocations now", turn_->allocations());
    add("satsuma_turn_allocations_total", "counter", "TURN allocations made", t.allocated);
    add("satsuma_turn_connections_total", "counter", "connections inside TLS that began as TURN", of_http.turn_connections);
    head("satsuma_turn_refused_total", "counter", "TURN requests refused, by reason");
    const auto refused = [&](std::string_view reason, std::uint64_t value) {
      text.append("satsuma_turn_refused_total{reason=\"").append(reason).append("\"} ").append(std::to_string(value)).append("\n");
    };
    refused("credentials", t.unauthorized);
    refused("limit", t.refused_by_limit);
    refused("peer", t.forbidden_peers);
    head("satsuma_turn_ended_total", "counter", "TURN connections that were ended here, by reason");
    const auto turn_ended = [&](std::string_view reason, std::uint64_t value) {
      text.append("satsuma_turn_ended_total{reason=\"").append(reason).append("\"} ").append(std::to_string(value)).append("\n");
    };
    turn_ended("strange", t.ended_strange);
    turn_ended("idle", t.ended_idle);
    add("satsuma_turn_datagrams_in_total", "counter", "datagrams that came by TURN", t.datagrams_in);
    add("satsuma_turn_datagrams_out_total", "counter", "datagrams sent by TURN", t.datagrams_out);
    add("satsuma_turn_datagrams_dropped_total", "counter", "datagrams without a permission, or for a client that was too slow", t.dropped + of_http.turn_dropped_slow);
  }

  struct Sum {
    sfu::Counters counters;
    std::size_t rooms = 0, participants = 0;
  };
  std::vector<std::pair<std::size_t, std::future<Sum>>> answers;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    auto promise = std::make_shared<std::promise<Sum>>();
    auto answer = promise->get_future();
    const bool asked = post(*shards_[i], [promise](TimePoint, sfu::Sfu& sfu) { promise->set_value({sfu.counters(), sfu.room_count(), sfu.participant_count()}); });
    if (asked) answers.emplace_back(i, std::move(answer)); // otherwise its promise is broken, and get() would throw
  }
  std::vector<Sum> sums;
  std::vector<std::size_t> answered; // their shards
  for (std::size_t i = 0; i < answers.size(); ++i) {
    // A shard that does not answer soon is left out rather than waited for.
    if (answers[i].second.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) continue;
    sums.push_back(answers[i].second.get());
    answered.push_back(answers[i].first);
  }
  const auto total = [&](auto member) {
    std::uint64_t value = 0;
    for (const Sum& sum : sums) value += sum.counters.*member;
    return value;
  };
  using C = sfu::Counters;
  std::size_t participants = 0;
  for (const Sum& sum : sums) participants += sum.participants;
  add("satsuma_media_rooms", "gauge", "rooms with media", placement_.room_count());
  add("satsuma_media_participants", "gauge", "participants known to the media threads", participants);
  add("satsuma_media_packets_in_total", "counter", "RTP packets received", total(&C::packets_in));
  add("satsuma_media_packets_forwarded_total", "counter", "RTP packets sent on", total(&C::packets_out));
  const auto by_reason = [&](std::string_view name, std::string_view reason, std::uint64_t C::*member) {
    text.append(name).append("{reason=\"").append(reason).append("\"} ").append(std::to_string(total(member))).append("\n");
  };
  head("satsuma_media_dropped_total", "counter", "packets dropped, by reason");
  const auto dropped = [&](std::string_view reason, std::uint64_t C::*member) { by_reason("satsuma_media_dropped_total", reason, member); };
  dropped("unknown_address", &C::dropped_unknown_address);
  dropped("stun_answers", &C::dropped_stun_answers);
  dropped("invalid", &C::dropped_invalid);
  dropped("unknown_stream", &C::dropped_unknown_stream);
  dropped("inactive", &C::dropped_inactive);
  dropped("arena_full", &C::dropped_arena_full);
  dropped("pacer_full", &C::dropped_pacer_full);
  dropped("pacer_late", &C::dropped_pacer_late);
  dropped("given_up", &C::dropped_given_up);
  add("satsuma_media_key_frames_requested_total", "counter", "key frames asked of publishers", total(&C::key_frames_requested));
  add("satsuma_media_key_frames_withheld_total", "counter", "requests of members that could not have decrypted them", total(&C::key_frames_withheld));
  add("satsuma_media_nacks_sent_total", "counter", "packets asked again of publishers", total(&C::nacks_sent));
  add("satsuma_media_retransmissions_sent_total", "counter", "packets sent again to subscribers", total(&C::retransmissions_sent));
  add("satsuma_media_sound_repeated_total", "counter", "packets of sound sent again unasked over paths that lose much", total(&C::sound_repeated));
  add("satsuma_media_feedback_total", "counter", "transport-wide feedback from subscribers", total(&C::feedback_received));
  add("satsuma_media_probes_total", "counter", "probes for bandwidth", total(&C::probes_sent));
  add("satsuma_media_padding_total", "counter", "packets of padding sent", total(&C::padding_sent));
  add("satsuma_media_paced_total", "counter", "packets that waited for their place in a subscriber's pace", total(&C::paced_packets));
  head("satsuma_media_layer_changes_total", "counter", "changes of the layer that a subscriber gets, by direction");
  text.append("satsuma_media_layer_changes_total{direction=\"lower\"} ").append(std::to_string(total(&C::layers_lowered))).append("\n");
  text.append("satsuma_media_layer_changes_total{direction=\"higher\"} ").append(std::to_string(total(&C::layers_raised))).append("\n");
  const auto by_shard = [&](std::string_view name, std::string_view type, std::string_view help, auto value) {
    head(name, type, help);
    for (std::size_t i = 0; i < sums.size(); ++i)
      text.append(name).append("{shard=\"").append(std::to_string(answered[i])).append("\"} ").append(value(i)).append("\n");
  };
  const auto number = [](auto value) { return std::to_string(value); };
  by_shard("satsuma_media_shard_rooms", "gauge", "rooms that a media thread knows, those of which it has a part included", [&](std::size_t i) { return number(sums[i].rooms); });
  by_shard("satsuma_media_shard_participants", "gauge", "participants whose connections a media thread has", [&](std::size_t i) { return number(sums[i].participants); });
  by_shard("satsuma_media_shard_packets_forwarded_total", "counter", "RTP packets that a media thread sent on", [&](std::size_t i) { return number(sums[i].counters.packets_out); });
  by_shard("satsuma_media_shard_relayed_out_total", "counter", "RTP packets handed to another media thread", [&](std::size_t i) { return number(sums[i].counters.relayed_out); });
  by_shard("satsuma_media_shard_relayed_in_total", "counter", "RTP packets taken from another media thread", [&](std::size_t i) { return number(sums[i].counters.relayed_in); });
  by_shard("satsuma_media_shard_queue_drops_total", "counter", "messages to another media thread that found its queue full", [&](std::size_t i) { return number(of_shards[answered[i]].shard_messages_dropped); });
  by_shard("satsuma_media_shard_cpu_seconds_total", "counter", "processor time of a media thread", [&](std::size_t i) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(of_shards[answered[i]].processor_time).count();
    const std::string digits = std::to_string(ms % 1000);
    return std::to_string(ms / 1000) + "." + std::string(3 - digits.size(), '0') + digits;
  });
  add("satsuma_media_slots_paused_total", "counter", "pictures that a path had no room for", total(&C::slots_paused));
  add("satsuma_media_slots_taken_over_total", "counter", "slots that went from who was silent to who speaks or is asked for", total(&C::slots_taken_over));
  add("satsuma_media_slots_refused_total", "counter", "publications that found no slot", total(&C::slots_refused));
  head("satsuma_media_retransmissions_missed_total", "counter", "packets that subscribers asked for again and did not get, by reason");
  const auto missed = [&](std::string_view reason, std::uint64_t C::*member) { by_reason("satsuma_media_retransmissions_missed_total", reason, member); };
  missed("not_held", &C::missed_not_held);
  missed("given_up", &C::missed_given_up);
  missed("too_soon", &C::missed_too_soon);
  missed("rate", &C::missed_rate);
  return text;
}

} // namespace satsuma::server
