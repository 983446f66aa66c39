#include "turn/client.h"

#include <algorithm>

#include "stun/attributes.h"

namespace satsuma::turn {

namespace {

constexpr std::uint16_t channel = min_channel; // the only one
constexpr Duration min_refresh_interval = std::chrono::seconds(5); // whatever lifetime a server names

} // namespace

ClientConnection::ClientConnection(TimePoint now, Credentials credentials, const TransportAddress& peer, RandomSource& random)
    : credentials_(std::move(credentials)), peer_(peer), random_(random) {
  SATSUMA_CHECK(credentials_.username.size() <= max_text_size);
  ask(now, allocate);
}

void ClientConnection::ask(TimePoint now, Method method) {
  asked_ = method;
  answer_until_ = now + answer_timeout;
  random_.fill(transaction_);
  SpanWriter writer(request_);
  stun::write_header(writer, stun::MessageClass::request, method, transaction_);
  const auto family = static_cast<std::uint32_t>(peer_.is_v4() ? AddressFamily::ipv4 : AddressFamily::ipv6);
  switch (method) {
    case allocate:
      stun::write_number(writer, requested_transport, std::uint32_t{udp_protocol} << 24);
      stun::write_number(writer, requested_address_family, family << 24);
      break;
    case channel_bind:
      stun::write_number(writer, channel_number, std::uint32_t{channel} << 16);
      stun::write_xor_address(writer, xor_peer_address, peer_, transaction_);
      break;
    case refresh:
    case create_permission:
    case send:
    case data: break;
  }
  if (key_) {
    stun::write_attribute(writer, stun::username, as_bytes(credentials_.username));
    stun::write_attribute(writer, stun::realm, as_bytes(realm_));
    stun::write_attribute(writer, stun::nonce, as_bytes(nonce_));
  }
  const auto written = stun::seal(writer, key_ ? std::optional(key_->view()) : std::nullopt, request_);
  SATSUMA_CHECK(written.has_value()); // three texts of max_text_size find room
  request_size_ = written->size();
  unsent_ = true;
}

std::optional<ByteView> ClientConnection::poll_output() {
  if (!unsent_) return std::nullopt;
  unsent_ = false;
  return ByteView(request_).first(request_size_);
}

Result<std::optional<MutableByteView>> ClientConnection::next(TimePoint now, MutableByteView& input) {
  while (true) {
    SATSUMA_TRY(const std::optional<MutableByteView> frame, reader_.next(input));
    if (!frame) return std::optional<MutableByteView>();
    if (is_channel_data((*frame)[0])) {
      const auto number = static_cast<std::uint16_t>((*frame)[0] << 8 | (*frame)[1]);
      if (number == channel && stage_ == Stage::ready) return std::optional(frame->subspan(channel_data_header));
      continue;
    }
    SATSUMA_TRY(const Message message, parse(*frame));
    SATSUMA_TRY_VOID(handle_answer(now, message));
  }
}

// What answers nothing that was asked is of no interest: a Data indication too, since the channel stands before the first datagram can come.
Result<void> ClientConnection::handle_answer(TimePoint now, const Message& message) {
  if (!asked_ || message.method != *asked_ || message.transaction != transaction_) return {};
  if (message.message_class == stun::MessageClass::success) return handle_success(now, message);
  if (message.message_class != stun::MessageClass::error) return {};
  const std::uint16_t code = message.error_code.value_or(0);
  // RFC 8489 s.9.2.5: asked for credentials, once; and the nonce has grown old, which may happen again with the next request.
  if (code == 401 && !key_ && message.realm && message.nonce) {
    realm_ = *message.realm;
    nonce_ = *message.nonce;
    SATSUMA_TRY(key_, long_term_key(credentials_.username, realm_, credentials_.password.view()));
    ask(now, *asked_);
    return {};
  }
  if (code == 438 && key_ && message.nonce && !repeated_) {
    repeated_ = true;
    nonce_ = *message.nonce;
    ask(now, *asked_);
    return {};
  }
  refused_with_ = code;
  return turn_refused;
}

Result<void> ClientConnection::handle_success(TimePoint now, const Message& message) {
  if (!key_ || !stun::is_authentic(message, key_->view())) return turn_unauthenticated;
  const Method answered = *asked_;
  asked_.reset();
  repeated_ = false;
  if (answered == channel_bind) {
    stage_ = Stage::ready;
    rebind_at_ = now + rebind_interval;
    return {};
  }
  if (!message.lifetime_seconds) return turn_malformed;
  refresh_at_ = now + std::max<Duration>(std::chrono::seconds(*message.lifetime_seconds) / 2, min_refresh_interval);
  if (answered == allocate) {
    stage_ = Stage::binding;
    ask(now, channel_bind);
  }
  return {};
}

std::optional<ByteView> ClientConnection::wrap(ByteView datagram, MutableByteView out) const {
  if (!ready()) return std::nullopt;
  return write_channel_data(channel, datagram, out);
}

Result<void> ClientConnection::handle_timeout(TimePoint now) {
  if (asked_) return now < answer_until_ ? Result<void>() : turn_no_answer;
  if (now >= refresh_at_) {
    ask(now, refresh);
  } else if (now >= rebind_at_) {
    ask(now, channel_bind);
  }
  return {};
}

TimePoint ClientConnection::next_deadline() const { return asked_ ? answer_until_ : std::min(refresh_at_, rebind_at_); }

} // namespace satsuma::turn
