#include "participant/participant.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "call/utf8.h"
#include "sframe/shell.h"
#include "signaling/sdp.h"

namespace satsuma::participant {

namespace {

constexpr std::array<std::string_view, max_camera_layers> layer_rids{"q", "h", "f"}; // as the page calls them

constexpr Duration adaptation_interval = std::chrono::milliseconds(100);
/// Kept for what is sent again. While a queue drains, so much more that it is gone within a second or so; sound goes on meanwhile.
constexpr std::int64_t reserve_percent = 5, draining_reserve_percent = 20, max_reserve_percent = 60;
/// What sound takes until it was measured.
constexpr std::int64_t usual_sound = 60'000;

constexpr std::size_t kept_rosters = 1 + call::EpochKeys::max_previous_epochs; ///< whatever can be decrypted has a sender

call::StreamContext context_of(Source source) { return static_cast<call::StreamContext>(source); }

std::uint32_t socket_of(Leg leg, Route route) {
  const auto number = static_cast<std::uint32_t>(leg);
  switch (route) {
    case Route::udp: return number;
    case Route::tcp: return NetworkPath::first_stream + number;
    case Route::tls: return NetworkPath::first_stream + 2 + number;
  }
  return number;
}

// As the page has them (packages/core/src/voices.ts).
constexpr std::uint8_t voice_level = 36; // -dBov
constexpr Duration voice_pause = std::chrono::milliseconds(1500);
constexpr Duration voice_repeat = std::chrono::seconds(10);
constexpr Duration voice_interval = std::chrono::seconds(3);
constexpr Duration crowd_patience = std::chrono::seconds(2);
/// However many speak in turn: the server takes so many messages of a second, and no more.
constexpr Duration asking_interval = std::chrono::milliseconds(300);
constexpr Duration announcement_delay = std::chrono::seconds(1);
constexpr Duration announcement_spread = std::chrono::milliseconds(100); ///< for each member

std::uint32_t fresh_ssrc(RandomSource& random) { return static_cast<std::uint32_t>(random.u64()) | 0x10000; }

} // namespace

Route route_of(const NetworkPath& path) {
  if (!path.is_stream()) return Route::udp;
  return path.socket < NetworkPath::first_stream + 2 ? Route::tcp : Route::tls;
}

Result<std::unique_ptr<Participant>> Participant::create(ParticipantConfig config, TimePoint now, UnixSeconds unix_now, const dtls::Context& context,
                                                         RandomSource& random) {
  const auto sends = [&](Source source) { return std::ranges::find(config.publish, source) != config.publish.end(); };
  if (sends(Source::screen) && !sends(Source::camera)) return participant_screen_alone;
  SATSUMA_TRY(call::ClientSession session, call::ClientSession::create(std::move(config.session), now, unix_now, random, config.session_options));
  std::sort(config.publish.begin(), config.publish.end());
  config.publish.erase(std::unique(config.publish.begin(), config.publish.end()), config.publish.end());
  return std::unique_ptr<Participant>(new Participant(std::move(config), std::move(session), context, random));
}

Participant::Participant(ParticipantConfig config, call::ClientSession session, const dtls::Context& context, RandomSource& random)
    : config_(std::move(config)), session_(std::move(session)), context_(context), random_(random) {
  if (!config_.adapt) return;
  for (const auto& [source, rates] : config_.rates) rates_.emplace(source, RateControl(rates.layers, rates.frames_per_second));
}

// ---- the WebSocket and the session

void Participant::handle_connected(TimePoint now) {
  socket_up_ = true;
  session_.handle_connected(now);
  pump_session(now);
}

void Participant::handle_disconnected(TimePoint now) {
  socket_up_ = false;
  ready_ = false;
  publish_request_.reset();
  subscribe_request_.reset();
  publish_timer_.reset();
  subscribe_timer_.reset();
  session_.handle_disconnected(now);
  pump_session(now);
}

void Participant::handle_binary(TimePoint now, ByteView frame) {
  session_.handle_frame(now, frame);
  pump_session(now);
}

void Participant::pump_session(TimePoint now) {
  while (auto output = session_.poll_output()) handle_session(now, std::move(*output));
}

void Participant::handle_session(TimePoint now, call::SessionOutput output) {
  if (auto* binary = std::get_if<call::SendBinary>(&output)) {
    outputs_.push_back(std::move(*binary));
    return;
  }
  if (auto* reconnect = std::get_if<call::Reconnect>(&output)) {
    ready_ = false;
    outputs_.push_back(*reconnect);
    return;
  }
  if (std::holds_alternative<call::Close>(output)) {
    ready_ = false;
    outputs_.push_back(call::Close{});
    return;
  }
  if (const auto* ready = std::get_if<call::ReadyEvent>(&output)) {
    // As somebody the server has not seen before: the old connections mean nothing.
    if (incarnation_ != ready->incarnation) {
      close_leg(Leg::publish);
      close_leg(Leg::subscribe);
      slots_.clear(); // which the server tells an incarnation of only when they change, whatever becomes of its connections
    }
    const bool anew = incarnation_ != ready->incarnation;
    incarnation_ = ready->incarnation;
    ready_ = true;
    if (anew) chat_.forget_written();
    else chat_.handle_back(now);
    if (!anew) announce_again_soon(now);
    start_publish(now);
    start_subscribe(now);
  } else if (const auto* epoch = std::get_if<call::EpochEvent>(&output)) {
    const auto before = rosters_.empty() ? std::vector<IncarnationId>{} : rosters_.rbegin()->second;
    auto& roster = rosters_[{epoch->era, epoch->epoch}];
    for (const call::RosterEntry& entry : epoch->roster) {
      if (entry.leaf > call::max_leaf_in_key_id) continue; // no frame can name it
      if (entry.leaf >= roster.size()) roster.resize(entry.leaf + 1);
      roster[entry.leaf] = entry.who;
    }
    while (rosters_.size() > kept_rosters) rosters_.erase(rosters_.begin());
    const bool first = !entered_;
    entered_ = true;
    if (first) first_epoch_ = epoch->epoch;
    place_lines();
    const auto gone = [&](const IncarnationId& who) { return std::ranges::none_of(epoch->roster, [&](const call::RosterEntry& entry) { return entry.who == who; }); };
    std::erase_if(microphones_, gone);
    voices_.forget(gone);
    chat_.forget(gone);
    if (!epoch->joined.empty()) chat_.forget_written();
    std::vector<IncarnationId> newcomers;
    for (const call::RosterEntry& entry : epoch->roster) {
      if (entry.leaf >= before.size() || before[entry.leaf] != entry.who) newcomers.push_back(entry.who);
    }
    outputs_.push_back(SessionEvent{std::move(output)});
    if (first) send_sources();
    if (first) {
      announce(now, {});
    } else if (!newcomers.empty() || announcement_due_) {
      announce_again_soon(now);
      if (!newcomers.empty()) announce(now, std::move(newcomers));
    }
    return;
  } else if (const auto* application = std::get_if<call::ApplicationEvent>(&output)) {
    handle_member_message(now, *application);
  } else if (const auto* present = std::get_if<call::PresentEvent>(&output)) {
    if (present->connected) {
      chat_.handle_back(now);
      announce_again_soon(now);
    }
  } else if (std::holds_alternative<call::KeysEvent>(output)) {
    retry_held_ = true;
  } else if (std::holds_alternative<call::RejoiningEvent>(output)) {
    entered_ = false;
    ready_ = false;
    sources_told_ = false;
    announces_at_.reset();
  }
  outputs_.push_back(SessionEvent{std::move(output)});
}

void Participant::announce(TimePoint now, std::vector<IncarnationId> to) {
  if (config_.publish.empty()) return; // nothing on, and VP8: that is what everybody takes for granted of who says nothing
  const auto has = [this](Source source) { return std::find(config_.publish.begin(), config_.publish.end(), source) != config_.publish.end(); };
  const auto word = [](bool yes) { return yes ? "true" : "false"; };
  const std::string text = std::string("{\"type\":\"state\",\"microphone\":") + word(has(Source::microphone)) + ",\"camera\":" + word(has(Source::camera)) +
                           ",\"screen\":" + word(has(Source::screen)) + ",\"video\":[\"vp8\"]}";
  const bool for_all = to.empty();
  const bool sent = session_.send_application(now, text, std::move(to)).has_value();
  announcement_due_ = sent ? announcement_due_ && !for_all : true;
  pump_session(now);
}

void Participant::announce_again_soon(TimePoint now) {
  if (config_.publish.empty() || !entered_ || announces_at_) return;
  const auto spread = static_cast<std::uint64_t>(announcement_spread.count()) * rosters_.rbegin()->second.size();
  announces_at_ = now + announcement_delay + Duration(static_cast<Duration::rep>(random_.u64() % spread));
}

void Participant::handle_member_message(TimePoint now, const call::ApplicationEvent& event) {
  auto message = signaling::parse_member_message(event.text);
  if (!message) return;
  if (const auto* state = std::get_if<signaling::MemberState>(&*message)) {
    if (state->microphone) microphones_.insert(event.who);
    else microphones_.erase(event.who);
  } else if (auto* chat = std::get_if<signaling::MemberChat>(&*message)) {
    if (chat_.is_new(event.who, chat->number)) outputs_.push_back(Written{event.who, std::move(chat->text)});
    return;
  } else {
    voices_.handle_said(now, event.who);
  }
  ask_for_voices_soon(now);
}

Result<void> Participant::write(TimePoint now, std::string text) {
  if (text.empty() || !call::is_utf8(text) || signaling::utf16_length(text) > signaling::max_chat_length) return participant_bad_message;
  if (!entered_ || !ready_) return participant_not_in;
  signaling::MemberChat message = chat_.next(std::move(text));
  SATSUMA_TRY_VOID(session_.send_application(now, signaling::write_member_chat(message)));
  chat_.add(now, std::move(message));
  pump_session(now);
  return {};
}

// Called when all that the session had to say is handled: what it encrypts is for the members whom chat_ knows of.
void Participant::write_again(TimePoint now) {
  chat_.send_again(now, [&](const signaling::MemberChat& message) { return session_.send_application(now, signaling::write_member_chat(message)).has_value(); });
  pump_session(now);
}

bool Participant::crowded() const { return receiver_ && microphones_.size() >= max_voices_; }

void Participant::handle_level(TimePoint now, const IncarnationId& who, std::uint8_t level) {
  if (level > voice_level || !crowded()) return;
  voices_.handle_heard(now, who);
  ask_for_voices_soon(now);
}

void Participant::ask_for_voices_soon(TimePoint now) {
  if (!asks_at_ && (crowded() || !asked_.empty())) asks_at_ = now + asking_interval;
}

void Participant::ask_for_voices(TimePoint now) {
  asks_at_.reset();
  if (!ready_ || !receiver_) return;
  const auto heard = [this](const IncarnationId& who) {
    return std::ranges::any_of(slots_, [&](const signaling::Slot& slot) { return slot.source == Source::microphone && slot.incarnation == who; });
  };
  std::vector<IncarnationId> wanted;
  if (crowded() && !std::ranges::all_of(microphones_, heard)) wanted = voices_.wanted(now, microphones_);
  if (wanted != asked_) send_control(signaling::Voices{wanted});
  asked_ = std::move(wanted);
  if (!asked_.empty()) asks_at_ = now + asking_interval; // they grow old
}

void Participant::mind_own_voice(TimePoint now, std::uint8_t level) {
  if (config_.tell_levels) return;
  if (!crowded()) crowded_since_.reset();
  else if (!crowded_since_) crowded_since_ = now;
  if (level > voice_level) return;
  if (!loud_at_ || now - *loud_at_ > voice_pause) voice_told_ = false;
  loud_at_ = now;
  if (!crowded_since_ || now - *crowded_since_ < crowd_patience || (told_at_ && now - *told_at_ < (voice_told_ ? voice_repeat : voice_interval))) return;
  voice_told_ = true;
  told_at_ = now;
  if (session_.send_application(now, signaling::member_speaks)) pump_session(now);
}

void Participant::send_control(const signaling::ClientControl& message) { outputs_.push_back(SendText{signaling::write_client_control(message)}); }

void Participant::handle_text(TimePoint now, std::string_view text) {
  auto message = signaling::parse_server_control(text);
  if (!message) {
    // A server newer than we are may say what we do not know; everything else is a broken connection.
    if (message.error() != Error(signaling::control_unknown_type)) outputs_.push_back(call::Reconnect{std::chrono::seconds(2)});
    return;
  }
  if (const auto* published = std::get_if<signaling::Published>(&*message)) {
    handle_published(now, *published);
  } else if (const auto* offer = std::get_if<signaling::Offer>(&*message)) {
    handle_offer(now, *offer);
  } else if (const auto* slots = std::get_if<signaling::Slots>(&*message)) {
    handle_slots(slots->slots);
    max_voices_ = std::max<std::size_t>(slots->voices, signaling::least_voices);
    ask_for_voices_soon(now);
  } else if (auto* turn = std::get_if<signaling::TurnServer>(&*message)) {
    turn_server_ = std::move(*turn);
  } else if (const auto* layers = std::get_if<signaling::Layers>(&*message)) {
    handle_layers(*layers);
  } else if (const auto* report = std::get_if<signaling::Path>(&*message)) {
    server_report_ = *report;
  } else if (const auto* error = std::get_if<signaling::ControlError>(&*message)) {
    outputs_.push_back(Refused{error->code, error->message});
    if (error->id && error->id == publish_request_) {
      publish_request_.reset();
      close_leg(Leg::publish);
      publish_timer_ = now + media_retry_delay;
    } else if (error->id && error->id == subscribe_request_) {
      subscribe_request_.reset();
      subscribe_timer_ = now + media_retry_delay;
    }
  }
}

// ---- publishing

void Participant::handle_layers(const signaling::Layers& layers) {
  const auto sends = [&](std::size_t layer) { return std::ranges::any_of(sending_, [&](const Sending& s) { return s.source == layers.source && s.layer == layer; }); };
  if (!sends(0)) return;
  if (next_adaptation_) next_adaptation_ = TimePoint{}; // now
  auto& unwanted = unwanted_[layers.source];
  const std::vector<bool> before = std::exchange(unwanted, std::vector<bool>(layers.active.size()));
  for (std::size_t i = 0; i < layers.active.size(); ++i) {
    unwanted[i] = !layers.active[i];
    // Who wants it again has nothing to begin from.
    if (layers.active[i] && i < before.size() && before[i] && sends(i)) outputs_.push_back(KeyFrameWanted{layers.source, i});
  }
}

bool Participant::wanted(Source source, std::size_t layer) const {
  if (target(source, layer) == 0) return false;
  return rates_.contains(source) || asked_for(source, layer);
}

bool Participant::asked_for(Source source, std::size_t layer) const {
  if (sender_ && published_ && std::ranges::none_of(sending_, [&](const Sending& s) { return s.source == source && s.layer == layer && s.accepted; })) return false;
  const auto found = unwanted_.find(source);
  return found == unwanted_.end() || layer >= found->second.size() || !found->second[layer];
}

void Participant::adapt(TimePoint now) {
  next_adaptation_.reset();
  if (!sender_ || !config_.adapt || !sender_->transport().connected()) return;
  next_adaptation_ = now + adaptation_interval;
  const auto estimate = sender_->available();
  adapted_to_ = estimate;
  const bool sounds = std::ranges::find(config_.publish, Source::microphone) != config_.publish.end();
  // Until it was measured.
  const std::int64_t sound = sender_->sound_bitrate() > 0 ? sender_->sound_bitrate() : (sounds && !config_.muted ? usual_sound : 0);
  const auto& estimator = sender_->estimator();
  if (sounds && config_.adapt_sound) sound_.update(now, estimate, estimator.draining(now));
  std::optional<std::int64_t> left;
  const std::int64_t reserve =
      estimator.draining(now) ? std::min(draining_reserve_percent + estimator.queue() / std::chrono::milliseconds(10), max_reserve_percent) : reserve_percent;
  if (estimate) left = std::max<std::int64_t>(0, *estimate * (100 - reserve) / 100 - sound);
  // A queue that drains takes nothing away from what there is room for.
  room_ = estimate ? std::optional(std::max<std::int64_t>(0, *estimate * (100 - reserve_percent) / 100 - sound)) : std::nullopt;
  std::int64_t desired = as_it_is(), used = sound;
  // What is read comes before who is seen.
  for (const Source source : {Source::screen, Source::camera}) {
    const auto place = rates_.find(source);
    if (place == rates_.end()) continue;
    RateControl& control = place->second;
    std::array<bool, max_camera_layers> asked{};
    for (std::size_t layer = 0; layer < asked.size(); ++layer) asked[layer] = asked_for(source, layer);
    std::array<bool, max_camera_layers> before{};
    for (std::size_t layer = 0; layer < before.size(); ++layer) before[layer] = control.target(layer) > 0;
    control.update(now, left, asked);
    if (left) left = std::max<std::int64_t>(0, *left - control.used());
    desired += control.desired();
    used += control.used();
    for (std::size_t i = 0; i < sending_.size(); ++i) {
      const std::size_t layer = sending_[i].layer;
      if (sending_[i].source != source || layer >= before.size()) continue;
      const bool on = control.target(layer) > 0;
      if (before[layer] && !on) sender_->stop_stream(i);
      if (!before[layer] && on) outputs_.push_back(KeyFrameWanted{source, layer});
    }
  }
  sender_->set_least_pace(used * 130 / 100);
  sender_->set_desired(desired > 0 ? (desired + sound) * 100 / (100 - reserve_percent) * 110 / 100 : 0);
}

std::int64_t Participant::as_it_is() const {
  std::int64_t sum = 0;
  for (const auto& [source, rate] : config_.as_it_is) sum += rate;
  return sum;
}

std::optional<std::int64_t> Participant::target(Source source, std::size_t layer) const {
  const auto place = rates_.find(source);
  return place == rates_.end() ? std::nullopt : std::optional(place->second.target(layer));
}

SendingState Participant::sending() const {
  SendingState out;
  if (!sender_ || !config_.adapt) return out;
  if (sender_->estimator().started()) out.available = sender_->available();
  out.sound = sender_->sound_bitrate();
  out.desired = as_it_is();
  if (room_ && *room_ < out.desired) out.limited_by = RateControl::LimitedBy::network;
  for (const auto& [source, control] : rates_) {
    out.pictures += control.used();
    out.desired += control.desired();
    if (control.limited_by() == RateControl::LimitedBy::nothing || out.limited_by == RateControl::LimitedBy::network) continue;
    out.limited_by = control.limited_by();
  }
  out.by_loss = sender_->estimator().limited_by() == congestion::BandwidthEstimator::LimitedBy::loss;
  out.waiting_bytes = sender_->waiting_bytes();
  return out;
}

void Participant::start_publish(TimePoint now) {
  publish_timer_.reset();
  if (!ready_ || config_.publish.empty() || leaving_) return;
  const bool restart = sender_ && !sender_->transport().closed() && published_;
  if (!restart) {
    close_leg(Leg::publish);
    sender_ = std::make_unique<MediaSender>(now, context_, ice::Credentials::generate(random_), random_, config_.max_payload, config_.adapt);
    adapted_to_.reset();
    room_.reset();
    offered_.clear();
    unwanted_.clear();
    layer_ssrcs_.clear();
    for (std::size_t i = 0; i < config_.publish.size(); ++i) {
      const bool audio = signaling::is_audio(config_.publish[i]);
      offered_.push_back({audio ? signaling::MediaKind::audio : signaling::MediaKind::video, std::to_string(i), fresh_ssrc(random_), audio ? 0 : fresh_ssrc(random_),
                          config_.tell_levels && config_.publish[i] == Source::microphone});
      const std::size_t layers = config_.publish[i] == Source::camera ? std::min(config_.camera_layers, max_camera_layers) : 1;
      if (layers < 2) continue;
      offered_.back().rids.assign(layer_rids.begin(), layer_rids.begin() + static_cast<std::ptrdiff_t>(layers));
      while (layer_ssrcs_.size() < layers) layer_ssrcs_.emplace_back(fresh_ssrc(random_), fresh_ssrc(random_));
    }
    publish_session_ = random_.u64() >> 2;
    publish_version_ = 0;
  } else {
    // New credentials: RFC 8445 s.9. DTLS and SRTP go on.
    static_cast<void>(sender_->transport().set_local(ice::Credentials::generate(random_)));
  }
  published_ = false;
  sources_told_ = false;
  publish_request_ = ++request_;
  const ice::Credentials& local = sender_->transport().local_credentials();
  std::string sdp = signaling::write_publish_offer(offered_, {{local.ufrag, local.password}, context_.fingerprint().text(), publish_session_, ++publish_version_});
  if (restart) send_control(signaling::Restart{*publish_request_, std::move(sdp)});
  else send_control(signaling::Publish{*publish_request_, std::move(sdp)});
  publish_timer_ = now + answer_timeout;
}

Result<std::vector<NetworkPath>> Participant::paths(const signaling::RemoteTransport& remote, Leg leg) const {
  std::vector<NetworkPath> out;
  const std::vector<TransportAddress> via = config_.media_via ? std::vector{*config_.media_via} : std::vector<TransportAddress>();
  const auto may = [this](MediaTransport transport) { return config_.transport == MediaTransport::automatic || config_.transport == transport; };
  if (may(MediaTransport::udp))
    for (const TransportAddress& candidate : config_.media_via ? via : remote.candidates) out.push_back({candidate, socket_of(leg, Route::udp)});
  if (may(MediaTransport::tcp))
    for (const TransportAddress& candidate : config_.media_via ? via : remote.tcp_candidates) out.push_back({candidate, socket_of(leg, Route::tcp)});
  // Inside TLS all of the server's addresses are as near.
  if (may(MediaTransport::tls) && turn_server_ && !config_.media_via && !remote.candidates.empty()) {
    out.resize(std::min(out.size(), ice::max_pairs - 1));
    out.push_back({remote.candidates.front(), socket_of(leg, Route::tls)});
  }
  if (out.empty()) return participant_no_candidate;
  return out;
}

void Participant::handle_published(TimePoint now, const signaling::Published& published) {
  if (published.id != publish_request_ || !sender_) return;
  publish_request_.reset();
  bool another_server = false;
  const auto apply = [&]() -> Result<void> {
    SATSUMA_TRY(const signaling::SessionDescription description, signaling::parse_sdp(published.sdp));
    SATSUMA_TRY(const signaling::PublishAnswer answer, signaling::interpret_publish_answer(description, offered_));
    another_server = !sender_fingerprint_.empty() && sender_fingerprint_ != answer.transport.fingerprint;
    if (another_server) return {};
    sender_fingerprint_ = answer.transport.fingerprint;
    SATSUMA_TRY(const dtls::Fingerprint fingerprint, dtls::Fingerprint::parse(answer.transport.fingerprint));
    SATSUMA_TRY(const std::vector<NetworkPath> remote_paths, paths(answer.transport, Leg::publish));
    std::vector<OutgoingStream> streams;
    sending_.clear();
    for (std::size_t i = 0; i < offered_.size(); ++i) {
      const bool video = offered_[i].kind == signaling::MediaKind::video;
      OutgoingStream stream{video, offered_[i].mid, video ? signaling::client_vp8_payload_type : signaling::client_opus_payload_type, {}, offered_[i].ssrc, offered_[i].rtx_ssrc};
      if (answer.streams[i].retransmissions) stream.rtx_payload_type = signaling::client_rtx_payload_type;
      const std::size_t layers = std::max<std::size_t>(1, offered_[i].rids.size());
      for (std::size_t layer = 0; layer < layers; ++layer) {
        bool accepted = answer.streams[i].accepted;
        if (layers > 1) {
          const auto& taken = answer.streams[i].rids;
          std::tie(stream.ssrc, stream.rtx_ssrc) = layer_ssrcs_[layer];
          stream.rid = taken.empty() ? "" : offered_[i].rids[layer];
          // Who takes no simulcast gets the best, as a stream like any other (RFC 8853 s.5.3.2).
          accepted = accepted && (taken.empty() ? layer + 1 == layers : std::find(taken.begin(), taken.end(), stream.rid) != taken.end());
        }
        streams.push_back(stream);
        sending_.push_back({config_.publish[i], layer, accepted});
      }
    }
    Extensions extensions;
    if (answer.mid_extension) extensions.mid = signaling::client_mid_extension;
    if (answer.transport_cc_extension) extensions.transport_cc = signaling::client_transport_cc_extension;
    if (answer.audio_level_extension) extensions.audio_level = signaling::client_audio_level_extension;
    if (answer.rid_extension) extensions.rid = signaling::client_rid_extension;
    if (answer.repaired_rid_extension) extensions.repaired_rid = signaling::client_repaired_rid_extension;
    sender_->set_streams(std::move(streams), extensions);
    const dtls::Role role = answer.transport.setup == signaling::SetupRole::active ? dtls::Role::server : dtls::Role::client;
    return sender_->transport().set_remote(now, {answer.transport.ice.ufrag, answer.transport.ice.password}, fingerprint, role, remote_paths);
  };
  if (const auto applied = apply(); !applied) {
    outputs_.push_back(Refused{std::string(applied.error().name()), "The server's answer to our offer cannot be used."});
    close_leg(Leg::publish);
    publish_timer_ = now + media_retry_delay;
    return;
  }
  if (another_server) { // started again, it has no part in our DTLS association: only a new connection can be
    close_leg(Leg::publish);
    return start_publish(now);
  }
  published_ = true;
  publish_timer_ = now + media_connect_patience;
  send_sources();
  pump_sender(now);
}

void Participant::send_sources() {
  if (!ready_ || !published_ || !entered_ || sources_told_) return;
  sources_told_ = true;
  signaling::Sources sources;
  if (!config_.muted)
    for (const Source source : config_.publish) sources.active.insert(source);
  send_control(sources);
}

void Participant::pump_sender(TimePoint now) {
  while (sender_) {
    const auto output = sender_->poll_output();
    if (!output) return;
    if (std::holds_alternative<MediaSender::Connected>(*output)) {
      publish_timer_.reset();
      outputs_.push_back(MediaState{Leg::publish, true});
      if (config_.adapt) adapt(now);
      // Whoever waits for our picture is served by its beginning.
      for (const Sending& sending : sending_)
        if (!signaling::is_audio(sending.source)) outputs_.push_back(KeyFrameWanted{sending.source, sending.layer});
    } else if (const auto* key_frame = std::get_if<MediaSender::KeyFrameWanted>(&*output)) {
      if (key_frame->stream < sending_.size()) outputs_.push_back(KeyFrameWanted{sending_[key_frame->stream].source, sending_[key_frame->stream].layer});
    } else {
      media_down(now, Leg::publish, std::get<MediaSender::Disconnected>(*output).final);
    }
  }
}

void Participant::media_down(TimePoint now, Leg leg, bool final) {
  outputs_.push_back(MediaState{leg, false});
  if (leaving_) return;
  // Gone for good: a new connection, after a while; only silent: ICE anew at once.
  if (final) close_leg(leg);
  auto& timer = leg == Leg::publish ? publish_timer_ : subscribe_timer_;
  timer = final ? now + media_retry_delay : now;
}

void Participant::close_leg(Leg leg) {
  if (leg == Leg::publish) {
    sender_.reset();
    sender_fingerprint_.clear();
    publish_request_.reset();
    publish_timer_.reset();
    published_ = false;
    sources_told_ = false;
    next_adaptation_.reset();
  } else {
    receiver_.reset();
    receiver_fingerprint_.clear();
    subscribe_request_.reset();
    subscribe_timer_.reset();
    held_.clear();
    asked_.clear();
    server_report_.reset();
  }
}

// ---- subscribing

void Participant::start_subscribe(TimePoint now) {
  subscribe_timer_.reset();
  if (!ready_ || !config_.subscribe || leaving_) return;
  subscribe_request_ = ++request_;
  send_control(signaling::Subscribe{*subscribe_request_});
  subscribe_timer_ = now + answer_timeout;
}

void Participant::handle_offer(TimePoint now, const signaling::Offer& offer) {
  if (!ready_ || leaving_) return;
  subscribe_request_.reset();
  const auto apply = [&]() -> Result<void> {
    SATSUMA_TRY(const signaling::SessionDescription description, signaling::parse_sdp(offer.sdp));
    SATSUMA_TRY(const signaling::SubscribeOffer parsed, signaling::interpret_subscribe_offer(description));
    SATSUMA_TRY(const dtls::Fingerprint fingerprint, dtls::Fingerprint::parse(parsed.transport.fingerprint));
    SATSUMA_TRY(const std::vector<NetworkPath> remote_paths, paths(parsed.transport, Leg::subscribe));
    const bool same = receiver_ && !receiver_->transport().closed() && receiver_fingerprint_ == parsed.transport.fingerprint;
    const bool new_ice = !same || receiver_ice_ != parsed.transport.ice;
    if (!same) {
      held_.clear();
      receiver_ = std::make_unique<MediaReceiver>(now, context_, ice::Credentials::generate(random_), random_, config_.receiver);
      subscribe_session_ = random_.u64() >> 2;
      subscribe_version_ = 0;
    } else if (new_ice) {
      SATSUMA_TRY_VOID(receiver_->transport().set_local(ice::Credentials::generate(random_)));
    }
    receiver_fingerprint_ = parsed.transport.fingerprint;
    receiver_ice_ = parsed.transport.ice;
    std::vector<IncomingStream> streams;
    for (const signaling::SubscribeOffer::Slot& slot : parsed.slots)
      streams.push_back({slot.kind == signaling::MediaKind::video, slot.mid, slot.payload_type.value_or(0), slot.rtx_payload_type, slot.ssrc, slot.rtx_ssrc});
    receiver_->set_streams(std::move(streams), {parsed.mid_extension, parsed.transport_cc_extension});
    const ice::Credentials& local = receiver_->transport().local_credentials();
    send_control(signaling::Answer{offer.revision, signaling::write_subscribe_answer(parsed, {{local.ufrag, local.password}, context_.fingerprint().text(),
                                                                                              subscribe_session_, ++subscribe_version_})});
    if (new_ice)
      SATSUMA_TRY_VOID(receiver_->transport().set_remote(now, {parsed.transport.ice.ufrag, parsed.transport.ice.password}, fingerprint, dtls::Role::client, remote_paths));
    return {};
  };
  if (const auto applied = apply(); !applied) {
    outputs_.push_back(Refused{std::string(applied.error().name()), "The server's offer cannot be used."});
    close_leg(Leg::subscribe);
    subscribe_timer_ = now + media_retry_delay;
    return;
  }
  place_lines();
  if (view_) send_control(*view_);
  if (receiver_->transport().connected()) subscribe_timer_.reset();
  else subscribe_timer_ = now + media_connect_patience;
  // The checks stand ready.
  receiver_->handle_timeout(now);
}

void Participant::set_view(signaling::View view) {
  if (view_ && view_->tiles == view.tiles && view_->speakers == view.speakers) return;
  view_ = std::move(view);
  if (ready_ && receiver_) send_control(*view_);
}

// ---- datagrams and time

void Participant::handle_packet(TimePoint now, Leg leg, const TransportAddress& remote, MutableByteView datagram, Route route, std::optional<TimePoint> arrived) {
  const NetworkPath path{remote, socket_of(leg, route)};
  if (leg == Leg::publish && sender_) {
    sender_->handle_packet(now, path, datagram);
    pump_sender(now);
    // Down at once, up with the next round.
    if (sender_ && adapted_to_ && sender_->available().value_or(INT64_MAX) < *adapted_to_ * 9 / 10) adapt(now);
  } else if (leg == Leg::subscribe && receiver_) {
    receiver_->handle_packet(now, path, datagram, arrived);
  }
}

void Participant::handle_timeout(TimePoint now) {
  session_.handle_timeout(now);
  pump_session(now);
  if (sender_) {
    sender_->handle_timeout(now);
    pump_sender(now);
  }
  if (next_adaptation_ && now >= *next_adaptation_) adapt(now);
  if (asks_at_ && now >= *asks_at_) ask_for_voices(now);
  if (announces_at_ && now >= *announces_at_) {
    announces_at_.reset();
    announce(now, {});
  }
  if (const auto at = chat_.next_deadline(); at && now >= *at) write_again(now);
  if (receiver_) receiver_->handle_timeout(now);
  for (const auto& [stream, held] : held_)
    if (!held.frames.empty() && now - held.frames.front().since >= max_held_time) retry_held_ = true;
  if (publish_timer_ && now >= *publish_timer_) {
    publish_timer_.reset();
    if (publish_request_) {
      publish_request_.reset();
      outputs_.push_back(call::Reconnect{}); // silence: the socket is dead
    } else {
      if (sender_ && !sender_->transport().connected() && published_ && !sender_->transport().profile()) close_leg(Leg::publish); // never was: anew
      start_publish(now);
    }
  }
  if (subscribe_timer_ && now >= *subscribe_timer_) {
    subscribe_timer_.reset();
    if (subscribe_request_) {
      subscribe_request_.reset();
      outputs_.push_back(call::Reconnect{});
    } else {
      if (receiver_ && !receiver_->transport().connected() && !receiver_->transport().profile()) close_leg(Leg::subscribe);
      start_subscribe(now);
    }
  }
}

std::optional<TimePoint> Participant::next_deadline() const {
  std::optional<TimePoint> deadline = session_.next_deadline();
  const auto consider = [&deadline](std::optional<TimePoint> other) {
    if (other && (!deadline || *other < *deadline)) deadline = other;
  };
  consider(publish_timer_);
  consider(subscribe_timer_);
  consider(next_adaptation_);
  consider(asks_at_);
  consider(announces_at_);
  consider(chat_.next_deadline());
  if (sender_) consider(sender_->next_deadline());
  if (receiver_) consider(receiver_->next_deadline());
  for (const auto& [stream, held] : held_)
    if (!held.frames.empty()) consider(held.frames.front().since + max_held_time);
  return deadline;
}

SendQueue* Participant::queue(Leg leg) {
  if (leg == Leg::publish) return sender_ ? &sender_->queue() : nullptr;
  return receiver_ ? &receiver_->queue() : nullptr;
}

bool Participant::connected(Leg leg) const {
  return leg == Leg::publish ? sender_ && sender_->transport().connected() : receiver_ && receiver_->transport().connected();
}

std::optional<NetworkPath> Participant::path(Leg leg) const {
  if (leg == Leg::publish) return sender_ ? sender_->transport().path() : std::nullopt;
  return receiver_ ? receiver_->transport().path() : std::nullopt;
}

void Participant::restart_media(TimePoint now) {
  start_publish(now);
  start_subscribe(now);
}

void Participant::leave(TimePoint now) {
  leaving_ = true;
  publish_timer_.reset();
  subscribe_timer_.reset();
  if (sender_) sender_->close();
  if (receiver_) receiver_->close();
  session_.leave(now);
  pump_session(now);
}

std::optional<Output> Participant::poll_output(TimePoint now) {
  if (outputs_.empty()) {
    if (auto frame = next_frame(now)) return std::move(*frame);
  }
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

// ---- frames

Result<void> Participant::send_frame(TimePoint now, Source source, ByteView frame, std::uint32_t timestamp, bool key_frame, std::optional<std::uint8_t> level,
                                     std::size_t layer) {
  if (std::find(config_.publish.begin(), config_.publish.end(), source) == config_.publish.end()) return participant_not_publishing;
  const auto place = std::ranges::find_if(sending_, [&](const Sending& s) { return s.source == source && s.layer == layer; });
  const auto index = static_cast<std::size_t>(place - sending_.begin());
  if (!sender_ || !sender_->transport().connected() || place == sending_.end() || !place->accepted) {
    ++frames_.unsent;
    return media_not_connected;
  }
  const sframe::Shell shell = signaling::is_audio(source) ? sframe::Shell::none : key_frame ? sframe::Shell::vp8_key : sframe::Shell::vp8_delta;
  // A frame of sound is one packet, with a digest in it or without.
  const std::size_t room = call::ClientSession::max_protected_size(shell, frame.size());
  protected_.resize(room <= config_.max_payload || !signaling::is_audio(source) ? room : sframe::max_protected_size(shell, frame.size()));
  const auto sealed = session_.protect(now, context_of(source), shell, frame, protected_);
  if (!sealed) {
    ++frames_.unsent;
    return sealed.error();
  }
  const auto sent = sender_->send_frame(now, index, *sealed, timestamp, source == Source::microphone ? level : std::nullopt,
                                         !signaling::is_audio(source) && !key_frame);
  ++(sent ? frames_.sent : frames_.unsent);
  if (source == Source::microphone && level) mind_own_voice(now, *level);
  return sent;
}

// Senders stay in their old epoch for a moment, so that a newcomer is sent what was never meant for it.
bool Participant::from_before_entry(sframe::ShellKind shell, ByteView payload) const {
  const auto opened = sframe::open_shell(shell, payload);
  const auto header = opened ? sframe::parse_frame_header(*opened) : Error(sframe::sframe_malformed);
  const auto key = header ? call::KeyId::from(header->key_id) : std::nullopt;
  if (!key || rosters_.empty()) return false;
  const std::uint64_t present = rosters_.rbegin()->first.second;
  const auto behind = static_cast<std::uint8_t>(present - key->epoch_mod_256);
  return behind <= present && present - behind < first_epoch_;
}

Participant::Fate Participant::try_frame(TimePoint now, std::size_t stream, std::uint32_t timestamp, bool after_gap, ByteView payload, Frame& out) {
  const bool video = receiver_->stream(stream).video;
  if (plaintext_.size() < payload.size()) plaintext_.resize(payload.size());
  const auto opened = session_.unprotect(now, state_of(stream).line, video ? sframe::ShellKind::video : sframe::ShellKind::none, payload, plaintext_);
  if (!opened) {
    const Error error = opened.error();
    if (error == Error(call::frame_key_not_yet)) return Fate::no_key_yet;
    if (error == Error(call::frame_wrong_line)) return Fate::misplaced;
    if (error == Error(sframe::sframe_replayed)) {
      ++frames_.duplicates; // padding probes repeat whole frames
      return Fate::done;
    }
    if (error == Error(sframe::sframe_passed_over)) {
      ++frames_.passed_over;
      // It may have been a key frame, and the next that is let through may be seconds away.
      if (video && !state_of(stream).gap) receiver_->request_key_frame(now, stream);
    } else ++(error == Error(call::frame_key_expired) && from_before_entry(video ? sframe::ShellKind::video : sframe::ShellKind::none, payload) ? frames_.before_entry : frames_.undecryptable);
    drop(stream);
    return Fate::done;
  }
  const auto roster = rosters_.find({opened->epoch.era, opened->epoch.epoch});
  const IncarnationId who = roster == rosters_.end() || opened->leaf >= roster->second.size() ? IncarnationId{} : roster->second[opened->leaf];
  const auto source = static_cast<Source>(opened->context);
  if (who == IncarnationId{} || signaling::is_audio(source) == video) {
    ++frames_.refused;
    drop(stream);
    return Fate::done;
  }
  ++frames_.decrypted;
  HeldStream& state = state_of(stream);
  out.who = who;
  out.leaf = opened->leaf;
  out.source = source;
  out.timestamp = timestamp;
  out.key_frame = video && opened->key_frame.value_or(false);
  const std::pair origin(out.who, out.source);
  out.after_gap = after_gap || state.gap || state.origin != origin;
  state.origin = origin;
  if (video) {
    if (out.key_frame) state.needs_key = false;
    else if (out.after_gap) state.needs_key = true;
    // Again and again: the request, or what came of it, may have been lost, or was of an epoch that we could not read.
    if (state.needs_key) receiver_->request_key_frame(now, stream);
  }
  out.payload = opened->plaintext;
  state.gap = false;
  return Fate::delivered;
}

// The next frame that decrypts asks for a key frame; without keys there would be no use for one.
void Participant::drop(std::size_t stream) { state_of(stream).gap = true; }

Participant::HeldStream& Participant::state_of(std::size_t stream) {
  const auto found = held_.find(stream);
  if (found != held_.end()) return found->second;
  SecretArray<32> seed;
  random_.fill(seed.mutable_view());
  HeldStream& made = held_.try_emplace(stream, seed.view()).first->second;
  made.line.leaf = call::Line::nobody;
  return made;
}

// What one member's forgeries took on a slot is not the next one's loss.
void Participant::handle_slots(std::vector<signaling::Slot> slots) {
  for (auto& [stream, held] : held_) {
    if (!receiver_ || stream >= receiver_->stream_count()) continue;
    const auto is_ours = [&mid = receiver_->stream(stream).mid](const signaling::Slot& slot) { return slot.mid == mid; };
    const auto before = std::ranges::find_if(slots_, is_ours), after = std::ranges::find_if(slots, is_ours);
    if (after != slots.end() && (before == slots_.end() || *before != *after)) held.line.allowance.renew();
  }
  slots_ = std::move(slots);
  place_lines();
}

// Whose slot it is the server says, who has which leaf the group. What came before both were known can be told apart now.
void Participant::place_lines() {
  for (auto& [stream, held] : held_) held.line.leaf = call::Line::nobody;
  for (std::size_t stream = 0; receiver_ && stream < receiver_->stream_count(); ++stream) {
    const auto slot = std::ranges::find(slots_, receiver_->stream(stream).mid, &signaling::Slot::mid);
    const call::RosterEntry* const member = slot == slots_.end() ? nullptr : session_.roster().find(slot->incarnation);
    if (member != nullptr) state_of(stream).line.leaf = member->leaf;
  }
  retry_held_ = true;
}

void Participant::hold(TimePoint now, std::size_t stream, const MediaReceiver::Frame& frame, bool misplaced) {
  HeldStream& held = state_of(stream);
  while (!held.frames.empty() && (held.frames.size() >= max_held_frames || held.bytes + frame.payload.size() > max_held_bytes)) {
    const Held& first = held.frames.front();
    ++(first.misplaced ? frames_.misplaced : frames_.undecryptable);
    if (!first.misplaced) drop(stream);
    held.bytes -= first.payload.size();
    held.frames.pop_front();
  }
  ++frames_.held;
  held.waits = held.waits || !misplaced;
  held.bytes += frame.payload.size();
  held.frames.push_back({to_bytes(frame.payload), frame.timestamp, frame.after_gap, now, misplaced});
}

std::optional<Frame> Participant::next_frame(TimePoint now) {
  if (!receiver_) return std::nullopt;
  Frame out;
  if (retry_held_) {
    for (auto& [stream, held] : held_) {
      held.waits = false;
      for (auto frame = held.frames.begin(); frame != held.frames.end() && !held.waits;) {
        const Fate fate = stream < receiver_->stream_count() ? try_frame(now, stream, frame->timestamp, frame->after_gap, frame->payload, out) : Fate::done;
        frame->misplaced = fate == Fate::misplaced;
        if ((frame->misplaced || fate == Fate::no_key_yet) && now - frame->since < max_held_time) {
          held.waits = !frame->misplaced;
          ++frame;
          continue;
        }
        if (frame->misplaced) {
          ++frames_.misplaced;
        } else if (fate == Fate::no_key_yet) {
          ++(entered_ ? frames_.undecryptable : frames_.before_entry);
          drop(stream);
        }
        held.bytes -= frame->payload.size();
        frame = held.frames.erase(frame);
        if (fate == Fate::delivered) return out;
      }
    }
    retry_held_ = false;
  }
  while (const auto output = receiver_->poll_output()) {
    if (std::holds_alternative<MediaReceiver::Connected>(*output)) {
      subscribe_timer_.reset();
      outputs_.push_back(MediaState{Leg::subscribe, true});
    } else if (const auto* down = std::get_if<MediaReceiver::Disconnected>(&*output)) {
      media_down(now, Leg::subscribe, down->final);
      return std::nullopt;
    } else {
      const auto& frame = std::get<MediaReceiver::Frame>(*output);
      if (const auto waiting = held_.find(frame.stream); waiting != held_.end() && waiting->second.waits) {
        hold(now, frame.stream, frame, false);
        continue;
      }
      const Fate fate = try_frame(now, frame.stream, frame.timestamp, frame.after_gap, frame.payload, out);
      if (fate == Fate::no_key_yet || fate == Fate::misplaced) hold(now, frame.stream, frame, fate == Fate::misplaced);
      if (fate == Fate::delivered) return out;
    }
  }
  return std::nullopt;
}

} // namespace satsuma::participant
