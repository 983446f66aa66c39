#include "participant/transport.h"

#include "rtp/packet_kind.h"

namespace satsuma::participant {

using rtp::PacketKind;

Transport::Transport(TimePoint now, const dtls::Context& context, ice::Credentials local, RandomSource& random)
    : context_(context), ice_(std::move(local), random), connect_deadline_(now + connect_timeout), now_(now) {}

Result<void> Transport::set_remote(TimePoint now, ice::Credentials remote, const dtls::Fingerprint& fingerprint, dtls::Role role,
                                   std::span<const NetworkPath> paths) {
  if (state_ == State::closed) return transport_closed;
  now_ = now;
  SATSUMA_TRY_VOID(ice_.set_remote(now, std::move(remote), paths));
  // Of an association that has begun neither can change; a peer with another certificate is another transport.
  if (!dtls_) {
    remote_fingerprint_ = fingerprint;
    role_ = role;
  }
  if (state_ != State::connected) connect_deadline_ = now + connect_timeout;
  return {};
}

Result<Transport::Packet> Transport::handle_packet(TimePoint now, const NetworkPath& path, MutableByteView datagram) {
  if (state_ == State::closed) return transport_closed;
  now_ = now;
  const PacketKind kind = rtp::classify(datagram);
  switch (kind) {
    case PacketKind::stun: {
      SATSUMA_TRY_VOID(ice_.handle_stun(now, path, datagram));
      return Packet{};
    }
    case PacketKind::dtls: {
      if (!remote_fingerprint_ || !ice_.validated(path)) return transport_path_not_validated;
      if (!dtls_) {
        // As the client we begin when a pair is selected; what comes before that cannot be for us.
        if (role_ == dtls::Role::client) return transport_path_not_validated;
        dtls_ = std::make_unique<dtls::Connection>(now, context_, role_, *remote_fingerprint_);
      }
      dtls_->handle_datagram(now, datagram);
      return Packet{};
    }
    case PacketKind::rtp:
    case PacketKind::rtcp: {
      if (!ice_.validated(path)) return transport_path_not_validated;
      if (!receiver_) return transport_no_keys;
      if (kind == PacketKind::rtp) {
        SATSUMA_TRY(const MutableByteView packet, receiver_->unprotect_rtp(datagram));
        return Packet{Received::rtp, packet};
      }
      SATSUMA_TRY(const MutableByteView packet, receiver_->unprotect_rtcp(datagram));
      return Packet{Received::rtcp, packet};
    }
    case PacketKind::unknown: break;
  }
  return transport_unknown_packet;
}

void Transport::handle_timeout(TimePoint now) {
  if (state_ == State::closed) return;
  now_ = now;
  ice_.handle_timeout(now);
  if (dtls_) dtls_->handle_timeout(now);
  if (connect_deadline_ && now >= *connect_deadline_ && !(sender_ && ice_.selected()))
    finish(sender_ ? transport_consent_expired : transport_never_connected);
}

std::optional<TimePoint> Transport::next_deadline() const {
  if (state_ == State::closed) return std::nullopt;
  std::optional<TimePoint> deadline = connect_deadline_;
  const auto consider = [&deadline](std::optional<TimePoint> other) {
    if (other && (!deadline || *other < *deadline)) deadline = other;
  };
  consider(ice_.next_deadline());
  if (dtls_) consider(dtls_->next_deadline());
  return deadline;
}

std::optional<Transport::Output> Transport::poll_output() {
  while (std::optional<ice::ControllingAgent::Output> output = ice_.poll_output()) {
    if (const auto* send = std::get_if<ice::ControllingAgent::Send>(&*output)) {
      if (state_ != State::closed) return Send{send->path, send->datagram};
    } else if (std::holds_alternative<ice::ControllingAgent::Selected>(*output)) {
      if (!dtls_ && role_ == dtls::Role::client && remote_fingerprint_ && state_ != State::closed)
        dtls_ = std::make_unique<dtls::Connection>(now_, context_, role_, *remote_fingerprint_);
    } else if (state_ == State::connected) {
      state_ = State::disconnected;
      connect_deadline_ = now_ + connect_timeout;
      return Disconnected{transport_consent_expired};
    }
  }
  while (dtls_) {
    if (!ice_.selected() && !dtls_->closed()) break; // a flight waits for a path
    std::optional<dtls::Connection::Output> output = dtls_->poll_output();
    if (!output) break;
    if (const auto* send = std::get_if<dtls::Connection::Send>(&*output)) {
      if (ice_.selected()) return Send{*ice_.selected(), send->datagram};
    } else if (auto* established = std::get_if<dtls::Connection::Established>(&*output)) {
      const dtls::SrtpKeys& keys = established->keys;
      const auto profile = static_cast<srtp::Profile>(keys.profile);
      sender_.emplace(profile, keys.send_key.view(), keys.send_salt.view());
      receiver_.emplace(profile, keys.receive_key.view(), keys.receive_salt.view());
    } else if (const auto* closed = std::get_if<dtls::Connection::Closed>(&*output)) {
      finish(closing_ ? Error(transport_closed) : closed->reason);
    }
  }
  if (finished_) {
    const Error reason = *finished_;
    finished_.reset();
    return Disconnected{reason};
  }
  if ((state_ == State::connecting || state_ == State::disconnected) && sender_ && ice_.selected()) {
    state_ = State::connected;
    connect_deadline_.reset();
    return Connected{};
  }
  return std::nullopt;
}

void Transport::close() {
  if (state_ == State::closed || closing_) return;
  closing_ = true;
  if (dtls_) dtls_->close(); // its Closed, behind the close_notify, ends this
  else finish(transport_closed);
}

void Transport::finish(Error reason) {
  if (state_ == State::closed) return;
  state_ = State::closed;
  finished_ = reason;
  connect_deadline_.reset();
}

Result<MutableByteView> Transport::protect_rtp(ByteView header, ByteView payload, MutableByteView out) {
  if (state_ != State::connected) return transport_no_keys;
  return sender_->protect_rtp(header, payload, out);
}

Result<MutableByteView> Transport::protect_rtcp(ByteView packet, MutableByteView out) {
  if (state_ != State::connected) return transport_no_keys;
  return sender_->protect_rtcp(packet, out);
}

} // namespace satsuma::participant
