#include "turn/server.h"

#include <algorithm>
#include <charconv>

#include "crypto/hash.h"
#include "stun/attributes.h"

namespace satsuma::turn {

namespace {

constexpr std::size_t secret_size = 32;
constexpr std::size_t nonce_bytes = 16;
constexpr std::size_t password_bytes = 16;
constexpr std::uint16_t first_dynamic_port = 49152; // RFC 8656 s.7.2 asks for one of these
constexpr std::uint16_t dynamic_ports = 16384;

std::int64_t seconds_of(TimePoint time) { return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count(); }

struct Username {
  std::int64_t expires = 0;
  std::string_view session;
};

std::optional<Username> parse_username(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  Username username;
  const auto [end, error] = std::from_chars(text.data(), text.data() + colon, username.expires);
  if (error != std::errc() || end != text.data() + colon) return std::nullopt;
  username.session = text.substr(colon + 1);
  return username;
}

std::string_view reason_of(std::uint16_t code) {
  switch (code) {
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 420: return "Unknown Attribute";
    case 437: return "Allocation Mismatch";
    case 438: return "Stale Nonce";
    case 440: return "Address Family not Supported";
    case 441: return "Wrong Credentials";
    case 442: return "Unsupported Transport Protocol";
    case 443: return "Peer Address Family Mismatch";
    case 486: return "Allocation Quota Reached";
    case 508: return "Insufficient Capacity";
    default: return "Server Error";
  }
}

std::uint32_t to_seconds(Duration duration) { return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(duration).count()); }

template <class Key>
void release(std::map<Key, std::size_t>& counts, const Key& key) {
  const auto found = counts.find(key);
  if (found != counts.end() && --found->second == 0) counts.erase(found);
}

} // namespace

// --- what all connections share ---

Server::Server(std::vector<TransportAddress> own, RandomSource& random, const Limits& limits)
    : own_(std::move(own)), random_(random), limits_(limits), secret_(secret_size) {
  random_.fill(secret_.mutable_view());
  next_port_ = static_cast<std::uint16_t>(random_.u64() % dynamic_ports);
}

Credentials Server::credentials(TimePoint now, std::string_view session) const {
  SATSUMA_CHECK(session.size() <= 64 && session.find(':') == std::string_view::npos);
  Credentials credentials;
  credentials.username = std::to_string(seconds_of(now + limits_.credentials)) + ":" + std::string(session);
  credentials.password = password_of(credentials.username);
  return credentials;
}

SecretBytes Server::password_of(std::string_view username) const {
  SecretArray<32> tag;
  crypto::hmac_into(crypto::HashAlgorithm::sha256, secret_.view(), {as_bytes(username)}, tag.mutable_view());
  static constexpr std::string_view digits = "0123456789abcdef";
  SecretBytes password(2 * password_bytes);
  for (std::size_t i = 0; i < password_bytes; ++i) {
    password.mutable_view()[2 * i] = static_cast<std::uint8_t>(digits[tag.view()[i] >> 4]);
    password.mutable_view()[2 * i + 1] = static_cast<std::uint8_t>(digits[tag.view()[i] & 15]);
  }
  return password;
}

bool Server::is_own(const TransportAddress& address) const { return std::ranges::find(own_, address) != own_.end(); }

bool Server::is_own_ip(const TransportAddress& address) const {
  return std::ranges::any_of(own_, [&](const TransportAddress& own) { return own.ip == address.ip; });
}

std::optional<TransportAddress> Server::relayed_address(AddressFamily family) {
  const auto found = std::ranges::find_if(own_, [&](const TransportAddress& own) { return own.is_v4() == (family == AddressFamily::ipv4); });
  if (found == own_.end()) return std::nullopt;
  next_port_ = static_cast<std::uint16_t>((next_port_ + 1) % dynamic_ports);
  return TransportAddress{found->ip, static_cast<std::uint16_t>(first_dynamic_port + next_port_)};
}

// --- one connection ---

ServerConnection::ServerConnection(TimePoint now, Server& server, const TransportAddress& client) : server_(server), client_(client), without_since_(now) {}

ServerConnection::~ServerConnection() { end_allocation(); }

Result<std::optional<ServerConnection::Event>> ServerConnection::next(TimePoint now, MutableByteView& input) {
  auto event = next_event(now, input);
  if (!event) ++server_.counters_.ended_strange;
  return event;
}

Result<std::optional<ServerConnection::Event>> ServerConnection::next_event(TimePoint now, MutableByteView& input) {
  while (true) {
    SATSUMA_TRY(const std::optional<MutableByteView> frame, reader_.next(input));
    if (!frame) return std::optional<Event>();
    std::optional<Event> event;
    if (is_channel_data((*frame)[0])) {
      event = handle_channel_data(now, *frame);
    } else {
      SATSUMA_TRY(const Message message, parse(*frame));
      event = handle_message(now, message);
    }
    if (failures_ > server_.limits_.failures) return turn_too_strange;
    if (event) return event;
  }
}

std::optional<ServerConnection::Event> ServerConnection::handle_channel_data(TimePoint now, MutableByteView frame) {
  const auto number = static_cast<std::uint16_t>(frame[0] << 8 | frame[1]);
  if (allocation_) {
    for (const Channel& channel : allocation_->channels) {
      if (channel.number != number || channel.until <= now || !permitted(now, channel.peer)) continue;
      ++server_.counters_.datagrams_in;
      return Event{std::nullopt, ToPeer{channel.peer, frame.subspan(channel_data_header)}};
    }
  }
  ++server_.counters_.dropped;
  return std::nullopt;
}

std::optional<ServerConnection::Event> ServerConnection::handle_message(TimePoint now, const Message& message) {
  key_.reset();
  if (message.message_class == stun::MessageClass::indication && message.method == send) return handle_send(now, message);
  const bool known = message.method == allocate || message.method == refresh || message.method == create_permission || message.method == channel_bind;
  if (message.message_class != stun::MessageClass::request || !known) {
    ++failures_; // RFC 8489 s.6.3: silently discarded
    return std::nullopt;
  }

  // RFC 8489 s.9.2.4, in its order.
  if (!message.integrity_offset) return challenge(now, message, 401);
  if (!message.username || !message.realm || !message.nonce) return refuse(message, 400);
  if (nonce_.empty() || *message.nonce != nonce_ || nonce_until_ <= now) return challenge(now, message, 438);
  auto key = long_term_key(*message.username, Server::realm, server_.password_of(*message.username).view());
  if (!key) return refuse(message, 500);
  const auto username = parse_username(*message.username);
  if (*message.realm != Server::realm || !username || !stun::is_authentic(message, key->view())) {
    ++server_.counters_.unauthorized;
    return challenge(now, message, 401);
  }
  key_ = std::move(*key);
  if (message.unknown_count > 0) return refuse(message, 420);
  if (message.method == allocate) {
    if (username->expires > seconds_of(now)) return handle_allocate(now, message, username->session);
    key_.reset();
    ++server_.counters_.unauthorized;
    return challenge(now, message, 401);
  }
  if (!allocation_) return refuse(message, 437);
  if (allocation_->username != *message.username) { // RFC 8656 s.5
    ++server_.counters_.unauthorized;
    return refuse(message, 441);
  }
  if (message.method == refresh) return handle_refresh(now, message);
  return message.method == create_permission ? handle_create_permission(now, message) : handle_channel_bind(now, message);
}

// RFC 8656 s.7.2, in its order.
ServerConnection::Event ServerConnection::handle_allocate(TimePoint now, const Message& message, std::string_view session) {
  if (allocation_ || over_) return refuse(message, 437);
  if (!message.requested_transport) return refuse(message, 400);
  if (*message.requested_transport != udp_protocol) return refuse(message, 442);
  if (message.reservation_token && (message.even_port || message.requested_family || message.unknown_family)) return refuse(message, 400);
  if (message.reservation_token || message.even_port) return refuse(message, 508); // only RTCP on a port of its own would need them
  if (message.unknown_family) return refuse(message, 440);
  // Who asks for nothing gets IPv4; where there is none, the other serves a client better than an error.
  auto relayed = server_.relayed_address(message.requested_family.value_or(AddressFamily::ipv4));
  if (!relayed && !message.requested_family) relayed = server_.relayed_address(AddressFamily::ipv6);
  if (!relayed) return refuse(message, 440);

  const Limits& limits = server_.limits_;
  const auto of_address = server_.per_address_.find(client_.household());
  const auto of_session = server_.per_session_.find(std::string(session));
  const bool quota = (of_address != server_.per_address_.end() && of_address->second >= limits.allocations_per_address) ||
                     (of_session != server_.per_session_.end() && of_session->second >= limits.allocations_per_session);
  if (quota || server_.allocations_ >= limits.allocations) {
    ++server_.counters_.refused_by_limit;
    return refuse(message, quota ? 486 : 508);
  }
  ++server_.allocations_;
  ++server_.per_address_[client_.household()];
  ++server_.per_session_[std::string(session)];
  ++server_.counters_.allocated;
  const Duration lifetime_granted = lifetime_of(message);
  allocation_ = Allocation{std::string(*message.username), std::string(session), *relayed, now + lifetime_granted, {}, {}};

  SpanWriter writer(answer_);
  stun::write_header(writer, stun::MessageClass::success, allocate, message.transaction);
  stun::write_xor_address(writer, xor_relayed_address, *relayed, message.transaction);
  stun::write_xor_address(writer, stun::xor_mapped_address, client_, message.transaction);
  stun::write_number(writer, lifetime, to_seconds(lifetime_granted));
  const auto written = stun::seal(writer, key_->view(), answer_);
  SATSUMA_CHECK(written.has_value());
  return Event{Reply{*written}, std::nullopt};
}

ServerConnection::Event ServerConnection::handle_refresh(TimePoint now, const Message& message) {
  const AddressFamily family = allocation_->relayed.is_v4() ? AddressFamily::ipv4 : AddressFamily::ipv6;
  if (message.unknown_family || message.requested_family.value_or(family) != family) return refuse(message, 443);
  const Duration granted = message.lifetime_seconds == 0U ? Duration::zero() : lifetime_of(message);
  allocation_->until = now + granted;
  if (granted == Duration::zero()) end_allocation();

  SpanWriter writer(answer_);
  stun::write_header(writer, stun::MessageClass::success, refresh, message.transaction);
  stun::write_number(writer, lifetime, to_seconds(granted));
  const auto written = stun::seal(writer, key_->view(), answer_);
  SATSUMA_CHECK(written.has_value());
  return Event{Reply{*written}, std::nullopt};
}

ServerConnection::Event ServerConnection::handle_create_permission(TimePoint now, const Message& message) {
  if (message.peer_count == 0) return refuse(message, 400);
  // All of them or none (RFC 8656 s.10.2).
  const std::vector<Permission> before = allocation_->permissions;
  for (std::size_t i = 0; i < message.peer_count; ++i) {
    std::uint16_t code = refusal_of(message.peers[i], false);
    if (code == 0 && !permit(now, message.peers[i])) code = 508;
    if (code == 0) continue;
    allocation_->permissions = before;
    return refuse(message, code);
  }
  return succeed(message);
}

// RFC 8656 s.12.2.
ServerConnection::Event ServerConnection::handle_channel_bind(TimePoint now, const Message& message) {
  if (!message.channel || *message.channel < min_channel || *message.channel > max_channel || message.peer_count == 0) return refuse(message, 400);
  const TransportAddress peer = message.peers[0];
  if (const std::uint16_t code = refusal_of(peer, true); code != 0) return refuse(message, code);
  std::vector<Channel>& channels = allocation_->channels;
  std::erase_if(channels, [now](const Channel& channel) { return channel.until <= now; });
  const auto bound = std::ranges::find_if(channels, [&](const Channel& channel) { return channel.number == *message.channel || channel.peer == peer; });
  if (bound != channels.end() && (bound->number != *message.channel || bound->peer != peer)) return refuse(message, 400);
  if ((bound == channels.end() && channels.size() >= server_.limits_.peers) || !permit(now, peer)) {
    ++server_.counters_.refused_by_limit;
    return refuse(message, 508);
  }
  const TimePoint until = now + server_.limits_.channel;
  if (bound == channels.end()) {
    channels.push_back({*message.channel, peer, until});
  } else {
    bound->until = until;
  }
  return succeed(message);
}

// RFC 8656 s.11.2: what is wrong with an indication nobody is told.
std::optional<ServerConnection::Event> ServerConnection::handle_send(TimePoint now, const Message& message) {
  if (!allocation_ || message.unknown_count > 0 || message.peer_count == 0 || !message.data || !permitted(now, message.peers[0]) ||
      !server_.is_own(message.peers[0])) {
    ++server_.counters_.dropped;
    return std::nullopt;
  }
  ++server_.counters_.datagrams_in;
  return Event{std::nullopt, ToPeer{message.peers[0], *message.data}};
}

std::optional<ByteView> ServerConnection::wrap(TimePoint now, const TransportAddress& peer, ByteView datagram, MutableByteView out) {
  if (!allocation_ || !permitted(now, peer)) return std::nullopt;
  const auto& channels = allocation_->channels;
  const auto channel = std::ranges::find_if(channels, [&](const Channel& one) { return one.peer == peer && one.until > now; });
  std::optional<ByteView> wrapped;
  if (channel != channels.end()) {
    wrapped = write_channel_data(channel->number, datagram, out);
  } else {
    // Indications are not authenticated, so that nothing is drawn or computed for them but the transaction (RFC 8656 s.11.3).
    SpanWriter writer(out);
    stun::TransactionId transaction{};
    server_.random_.fill(transaction);
    stun::write_header(writer, stun::MessageClass::indication, data, transaction);
    stun::write_xor_address(writer, xor_peer_address, peer, transaction);
    stun::write_attribute(writer, data_attribute, datagram);
    const auto written = writer.written();
    if (written && written->size() <= max_frame_size) {
      stun::set_length(out, written->size() - stun::header_size);
      wrapped = *written;
    }
  }
  if (wrapped) ++server_.counters_.datagrams_out;
  return wrapped;
}

Result<void> ServerConnection::handle_timeout(TimePoint now) {
  if (allocation_ && allocation_->until <= now) end_allocation();
  if (over_) return turn_idle;
  if (allocation_ || now - without_since_ < server_.limits_.without_allocation) return {};
  ++server_.counters_.ended_idle;
  return turn_idle;
}

TimePoint ServerConnection::next_deadline() const {
  if (over_) return {}; // long ago
  return allocation_ ? allocation_->until : without_since_ + server_.limits_.without_allocation;
}

void ServerConnection::end_allocation() {
  if (!allocation_) return;
  --server_.allocations_;
  release(server_.per_address_, client_.household());
  release(server_.per_session_, allocation_->session);
  allocation_.reset();
  over_ = true;
}

std::uint16_t ServerConnection::refusal_of(const TransportAddress& peer, bool whole) const {
  if (peer.is_v4() != allocation_->relayed.is_v4()) return 443;
  if (whole ? server_.is_own(peer) : server_.is_own_ip(peer)) return 0;
  ++server_.counters_.forbidden_peers;
  return 403;
}

bool ServerConnection::permit(TimePoint now, const TransportAddress& peer) {
  std::vector<Permission>& permissions = allocation_->permissions;
  std::erase_if(permissions, [now](const Permission& permission) { return permission.until <= now; });
  const TimePoint until = now + server_.limits_.permission;
  const auto known = std::ranges::find_if(permissions, [&](const Permission& permission) { return permission.peer.ip == peer.ip; });
  if (known != permissions.end()) {
    known->until = until;
    return true;
  }
  if (permissions.size() >= server_.limits_.peers) return false;
  permissions.push_back({peer, until});
  return true;
}

bool ServerConnection::permitted(TimePoint now, const TransportAddress& peer) const {
  return std::ranges::any_of(allocation_->permissions, [&](const Permission& permission) { return permission.peer.ip == peer.ip && permission.until > now; });
}

Duration ServerConnection::lifetime_of(const Message& message) const {
  const Limits& limits = server_.limits_;
  if (!message.lifetime_seconds) return limits.default_lifetime;
  // RFC 8656 s.7.2: not below the default, except the zero that ends it.
  const Duration asked = std::chrono::seconds(*message.lifetime_seconds);
  return std::clamp(asked, limits.default_lifetime, limits.max_lifetime);
}

void ServerConnection::new_nonce(TimePoint now) {
  std::array<std::uint8_t, nonce_bytes> bytes;
  server_.random_.fill(bytes);
  nonce_ = to_hex(bytes);
  nonce_until_ = now + server_.limits_.nonce;
}

ServerConnection::Event ServerConnection::refuse(const Message& message, std::uint16_t code) {
  ++failures_;
  SpanWriter writer(answer_);
  stun::write_header(writer, stun::MessageClass::error, message.method, message.transaction);
  stun::write_error_code(writer, code, reason_of(code));
  if (code == 420) {
    stun::write_unknown_attributes(writer, std::span(message.unknown_attributes).first(std::min(message.unknown_count, message.unknown_attributes.size())));
  }
  const auto written = stun::seal(writer, key_ ? std::optional<ByteView>(key_->view()) : std::nullopt, answer_);
  SATSUMA_CHECK(written.has_value());
  return Event{Reply{*written}, std::nullopt};
}

ServerConnection::Event ServerConnection::challenge(TimePoint now, const Message& message, std::uint16_t code) {
  // Nonces end, also in a call of a day.
  if (code != 438 || !allocation_) ++failures_;
  if (nonce_.empty() || nonce_until_ <= now) new_nonce(now);
  SpanWriter writer(answer_);
  stun::write_header(writer, stun::MessageClass::error, message.method, message.transaction);
  stun::write_error_code(writer, code, reason_of(code));
  stun::write_attribute(writer, stun::realm, as_bytes(Server::realm));
  stun::write_attribute(writer, stun::nonce, as_bytes(nonce_));
  const auto written = stun::seal(writer, std::nullopt, answer_);
  SATSUMA_CHECK(written.has_value());
  return Event{Reply{*written}, std::nullopt};
}

ServerConnection::Event ServerConnection::succeed(const Message& message) {
  SpanWriter writer(answer_);
  stun::write_header(writer, stun::MessageClass::success, message.method, message.transaction);
  const auto written = stun::seal(writer, key_->view(), answer_);
  SATSUMA_CHECK(written.has_value());
  return Event{Reply{*written}, std::nullopt};
}

} // namespace satsuma::turn
