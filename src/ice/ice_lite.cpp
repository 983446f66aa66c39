#include "ice/ice_lite.h"

#include <algorithm>

namespace satsuma::ice {

namespace {

// RFC 8839 s.5.4: ice-char is a letter, a digit, "+" or "/".
constexpr std::string_view ice_chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string random_ice_chars(RandomSource& random, std::size_t count) {
  std::string text(count, ' ');
  std::array<std::uint8_t, 32> bytes;
  random.fill(MutableByteView(bytes).first(count));
  for (std::size_t i = 0; i < count; ++i) text[i] = ice_chars[bytes[i] % 64];
  return text;
}

/// Of one check of ours.
constexpr unsigned max_sends = 3;
constexpr Duration check_interval = std::chrono::milliseconds(200);

bool is_ufrag(std::string_view text) {
  return text.size() >= 4 && text.size() <= 256 && text.find_first_not_of(ice_chars) == std::string_view::npos;
}

} // namespace

bool are_credentials(const Credentials& credentials) {
  const std::string_view password = credentials.password;
  return is_ufrag(credentials.ufrag) && password.size() >= 22 && password.size() <= 256 &&
         password.find_first_not_of(ice_chars) == std::string_view::npos;
}

Credentials Credentials::generate(RandomSource& random) {
  Credentials credentials;
  credentials.ufrag = random_ice_chars(random, 8);
  credentials.password = random_ice_chars(random, 24);
  return credentials;
}

Credentials Credentials::generate(RandomSource& random, std::size_t part) {
  Credentials credentials = generate(random);
  credentials.ufrag.front() = ice_chars[part % max_parts];
  return credentials;
}

std::optional<std::size_t> part_of(std::string_view ufrag) {
  const std::size_t part = ufrag.empty() ? std::string_view::npos : ice_chars.find(ufrag.front());
  if (part == std::string_view::npos) return std::nullopt;
  return part;
}

std::optional<std::string_view> receiver_ufrag(ByteView datagram) {
  const auto message = stun::parse(datagram);
  if (!message || !message->username) return std::nullopt;
  const std::size_t colon = message->username->find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  return message->username->substr(0, colon);
}

IceLite::IceLite(Credentials local) : local_{std::move(local), {}} {
  SATSUMA_CHECK(are_credentials(local_.credentials));
  pairs_.reserve(max_pairs);
}

Result<void> IceLite::set_remote_ufrag(std::string_view ufrag) {
  if (!is_ufrag(ufrag)) return ice_bad_credentials;
  local_.remote_ufrag = ufrag;
  return {};
}

Result<void> IceLite::restart(Credentials local, std::string_view remote_ufrag) {
  if (!are_credentials(local) || !is_ufrag(remote_ufrag)) return ice_bad_credentials;
  // The peer goes on with the old ones until it has our answer. Only one old generation: whoever restarts twice has given up the first.
  if (!local_.remote_ufrag.empty()) previous_ = std::move(local_);
  local_ = {std::move(local), std::string(remote_ufrag)};
  selected_priority_ = 0; // the peer will name a pair
  return {};
}

const IceLite::Generation* IceLite::generation_of(std::string_view username) const {
  // RFC 8445 s.7.2.2: the receiver's fragment, a colon, the sender's.
  const auto matches = [username](const Generation& generation) {
    const std::string_view receiver = generation.credentials.ufrag;
    const std::string_view sender = generation.remote_ufrag;
    return username.size() == receiver.size() + 1 + sender.size() && username.starts_with(receiver) && username[receiver.size()] == ':' &&
           username.ends_with(sender);
  };
  if (matches(local_)) return &local_;
  if (previous_ && matches(*previous_)) return &*previous_;
  return nullptr;
}

const IceLite::Pair* IceLite::find(const NetworkPath& path) const {
  const auto found = std::find_if(pairs_.begin(), pairs_.end(), [&path](const Pair& pair) { return pair.path == path; });
  return found == pairs_.end() ? nullptr : &*found;
}

IceLite::Pair& IceLite::pair_of(const NetworkPath& path) {
  if (const Pair* known = find(path)) return pairs_[static_cast<std::size_t>(known - pairs_.data())];
  if (pairs_.size() == max_pairs) {
    auto oldest = pairs_.end();
    for (auto pair = pairs_.begin(); pair != pairs_.end(); ++pair) {
      if (selected_ == pair->path) continue;
      if (oldest == pairs_.end() || pair->last_check < oldest->last_check) oldest = pair;
    }
    pairs_.erase(oldest);
  }
  pairs_.push_back({path, 0, {}, {}});
  return pairs_.back();
}

void IceLite::nominate(TimePoint now, Pair& pair) {
  pair.last_nomination = now;
  if (selected_ == pair.path) return;
  if (selected_) {
    const Pair* present = find(*selected_);
    const bool present_is_fresh = present != nullptr && present->last_nomination && now - *present->last_nomination < nomination_hold;
    if (present_is_fresh && pair.priority < present->priority) return;
  }
  if (answers_required_ && random_ != nullptr) {
    check(now, pair.path);
    return;
  }
  select(pair.path);
}

bool IceLite::follows_selected(const Pair& pair) const {
  if (selected_priority_ == 0 || selected_ == pair.path) return false;
  if (!selected_) return true;
  return selected_->socket == pair.path.socket && pair.priority == selected_priority_;
}

void IceLite::select(const NetworkPath& path) {
  selected_ = path;
  if (const Pair* pair = find(path)) selected_priority_ = pair->priority;
  announce_selected_ = true;
  announce_expired_ = false;
}

void IceLite::set_remote_password(std::string_view password, RandomSource& random) {
  remote_password_ = password;
  random_ = &random;
  check_.reset();
}

void IceLite::check(TimePoint now, const NetworkPath& path) {
  // One at a time, and each as often as max_sends says: what is sent to an address that the peer may have made up stays as small as what came.
  if (check_ && now - check_->sent_at < check_interval) return;
  if (!check_ || check_->path != path || check_->sent >= max_sends) {
    check_ = Check{path, {}, {}, 0, {}};
    random_->fill(check_->transaction);
  }
  send_check(now);
}

void IceLite::confirm(TimePoint now) {
  if (!selected_ || !answers_required_ || random_ == nullptr) return;
  if (check_ || (confirmed_at_ && now - *confirmed_at_ < confirm_interval)) return;
  confirmed_at_ = now;
  check_ = Check{*selected_, {}, {}, 0, now};
  random_->fill(check_->transaction);
  send_check(now);
}

IceLite::Answer* IceLite::next_answer() {
  if (answers_begin_ == answers_end_) answers_begin_ = answers_end_ = 0;
  if (answers_end_ == max_pending_answers) return nullptr;
  if (answers_end_ == answers_.size()) answers_.emplace_back();
  return &answers_[answers_end_];
}

void IceLite::send_check(TimePoint now) {
  Answer* const place = next_answer();
  if (place == nullptr) return;
  Answer& out = *place;
  const std::string username = local_.remote_ufrag + ":" + local_.credentials.ufrag;
  stun::BindingRequest request;
  request.transaction = check_->transaction;
  request.username = username;
  request.priority = (110U << 24) + (65535U << 8) + 255; // RFC 8445 s.7.1.1: as a peer reflexive candidate
  request.controlling = false;
  const auto written = stun::write_binding_request(request, as_bytes(remote_password_), out.bytes);
  if (!written) return; // a fragment that long has no room: the old pair stays
  out.path = check_->path;
  out.size = written->size();
  ++answers_end_;
  ++check_->sent;
  check_->sent_at = now;
}

Result<void> IceLite::handle_answer(const NetworkPath& path, const stun::Message& message) {
  if (!check_ || check_->path != path || message.transaction != check_->transaction) return ice_not_a_check;
  SATSUMA_TRY_VOID(stun::verify(message, as_bytes(remote_password_)));
  check_.reset();
  if (find(path) == nullptr || selected_ == path) return {};
  select(path);
  previous_.reset();
  return {};
}

Result<void> IceLite::handle_stun(TimePoint now, const NetworkPath& path, ByteView datagram) {
  SATSUMA_TRY(const stun::Message message, stun::parse(datagram));
  // Responses are unasked for, but to the check of a pair that is to be moved to. Indications (RFC 8445 s.11) say nothing here: consent comes from checks.
  if (message.is_binding() && message.message_class == stun::MessageClass::success) return handle_answer(path, message);
  if (!message.is_binding() || message.message_class != stun::MessageClass::request) return ice_not_a_check;
  // RFC 8445 s.7.1: a check carries all of these.
  if (!message.username || !message.has_fingerprint || !message.priority) return ice_not_a_check;
  if (local_.remote_ufrag.empty()) return ice_no_remote_yet;
  const Generation* generation = generation_of(*message.username);
  if (generation == nullptr) return ice_wrong_username;
  const ByteView key = as_bytes(generation->credentials.password);
  SATSUMA_TRY(const stun::AuthenticatedMessage check, stun::verify(message, key));

  Answer* const place = next_answer();
  if (place == nullptr) return ice_output_full;
  Answer& answer = *place;
  Result<MutableByteView> written = bytes_no_space;
  bool accepted = false;
  if (check->unknown_count > 0) {
    const std::size_t named = std::min(check->unknown_count, check->unknown_attributes.size());
    written = stun::write_binding_error(check->transaction, 420, "Unknown Attribute",
                                        std::span<const std::uint16_t>(check->unknown_attributes).first(named), key, answer.bytes);
  } else if (check->ice_controlled) {
    // RFC 8445 s.7.3.1.1 and s.6.1.1: a lite agent is controlled whatever the tie-breakers are, so the other end has to switch.
    written = stun::write_binding_error(check->transaction, 487, "Role Conflict", {}, key, answer.bytes);
  } else {
    written = stun::write_binding_success(check->transaction, path.remote, key, answer.bytes);
    accepted = true;
  }
  SATSUMA_CHECK(written.has_value()); // the buffer has room for the longest of the three
  answer.path = path;
  answer.size = written->size();
  ++answers_end_;
  if (!accepted) return {};

  const bool is_current = generation == &local_;
  Pair& pair = pair_of(path);
  pair.priority = *check->priority;
  pair.last_check = now;
  if (check->use_candidate || (is_current && follows_selected(pair))) {
    // After a restart the old generation's checks keep the old pair alive, and choose nothing any more.
    if (is_current || !selected_) nominate(now, pair);
    if (is_current && selected_ == path) previous_.reset();
  }
  return {};
}

void IceLite::handle_timeout(TimePoint now) {
  if (check_ && now - check_->sent_at >= check_interval) {
    if (check_->sent < max_sends)
      send_check(now);
    else if (now - check_->sent_at >= 4 * check_interval) { // nobody is there
      if (check_->confirms_since)
        std::erase_if(pairs_, [this](const Pair& pair) { return pair.path == check_->path && pair.last_check < *check_->confirms_since; });
      check_.reset();
    }
  }
  std::erase_if(pairs_, [now](const Pair& pair) { return now - pair.last_check >= consent_timeout; });
  drop_selected_unless_known();
}

void IceLite::handle_moved(TimePoint now, const NetworkPath& path) {
  if (!selected_ || !answers_required_ || random_ == nullptr) return;
  Pair& pair = pair_of(path);
  pair.priority = selected_priority_;
  pair.last_check = now;
  nominate(now, pair);
}

void IceLite::handle_path_closed(const NetworkPath& path) {
  std::erase_if(pairs_, [&path](const Pair& pair) { return pair.path == path; });
  if (check_ && check_->path == path) check_.reset();
  drop_selected_unless_known();
}

void IceLite::drop_selected_unless_known() {
  if (!selected_ || find(*selected_) != nullptr) return;
  selected_.reset();
  announce_selected_ = false;
  announce_expired_ = true;
}

std::optional<TimePoint> IceLite::next_deadline() const {
  std::optional<TimePoint> deadline;
  for (const Pair& pair : pairs_) {
    const TimePoint expires = pair.last_check + consent_timeout;
    if (!deadline || expires < *deadline) deadline = expires;
  }
  if (check_) {
    const TimePoint again = check_->sent_at + (check_->sent < max_sends ? check_interval : 4 * check_interval);
    if (!deadline || again < *deadline) deadline = again;
  }
  return deadline;
}

std::optional<IceLite::Output> IceLite::poll_output() {
  if (answers_begin_ < answers_end_) {
    const Answer& answer = answers_[answers_begin_++];
    return Send{answer.path, ByteView(answer.bytes).first(answer.size)};
  }
  if (announce_expired_) {
    announce_expired_ = false;
    return ConsentExpired{};
  }
  if (announce_selected_) {
    announce_selected_ = false;
    return Selected{*selected_};
  }
  return std::nullopt;
}

bool IceLite::validated(const NetworkPath& path) const { return find(path) != nullptr; }

} // namespace satsuma::ice
