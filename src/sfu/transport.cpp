#include "sfu/transport.h"

#include <algorithm>

namespace satsuma::sfu {

Transport::Transport(TimePoint now, const dtls::Context& context, ice::Credentials local)
    : context_(context), ice_(std::move(local)), connect_deadline_(now + connect_timeout) {}

Transport::~Transport() = default;

Result<void> Transport::set_remote(std::string_view ufrag, const dtls::Fingerprint& fingerprint) {
  SATSUMA_TRY_VOID(ice_.set_remote_ufrag(ufrag));
  remote_fingerprint_ = fingerprint;
  return {};
}

Result<void> Transport::restart_ice(TimePoint now, ice::Credentials local, std::string_view remote_ufrag) {
  if (state_ == State::closed) return transport_closed;
  SATSUMA_TRY_VOID(ice_.restart(std::move(local), remote_ufrag));
  if (state_ != State::connected) connect_deadline_ = now + connect_timeout;
  return {};
}

Result<Transport::Packet> Transport::handle_packet(TimePoint now, const NetworkPath& path, MutableByteView datagram) {
  if (state_ == State::closed) return transport_closed;
  switch (classify(datagram)) {
    case PacketKind::stun: {
      SATSUMA_TRY_VOID(ice_.handle_stun(now, path, datagram));
      if (!sender_) handshake_budget_ += handshake_amplification * datagram.size();
      return Packet{};
    }
    case PacketKind::dtls: {
      // Without this check anybody who finds the port could win the race against the peer's ClientHello, or have us make handshakes for nothing.
      if (!remote_fingerprint_ || !ice_.validated(path)) return transport_path_not_validated;
      if (!dtls_) {
        dtls_ = std::make_unique<dtls::Connection>(now, context_, dtls::Role::server, *remote_fingerprint_);
        // The handshake will show that somebody is at the pair that is selected now. Of another, only an answer shows it.
        ice_.require_answers();
      }
      if (!sender_) handshake_budget_ += handshake_amplification * datagram.size();
      // An alert, which is the one thing that is still sent at the end: anybody could have made it.
      constexpr std::uint8_t alert = 21;
      if (dtls_->forgotten() && datagram[0] == alert && ice_.selected() == path) ice_.confirm(now);
      dtls_->handle_datagram(now, datagram);
      return Packet{};
    }
    case PacketKind::rtp:
    case PacketKind::rtcp: {
      if (!ice_.validated(path)) return transport_path_not_validated;
      if (!receiver_) return transport_no_keys;
      if (classify(datagram) == PacketKind::rtp) {
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

Result<Transport::Packet> Transport::handle_moved_packet(TimePoint now, const NetworkPath& path, MutableByteView datagram) {
  if (state_ != State::connected || !receiver_) return transport_no_keys;
  const bool rtp = classify(datagram) == PacketKind::rtp;
  SATSUMA_TRY(const MutableByteView packet, rtp ? receiver_->unprotect_rtp(datagram) : receiver_->unprotect_rtcp(datagram));
  ice_.handle_moved(now, path);
  return Packet{rtp ? Received::rtp : Received::rtcp, packet};
}

void Transport::handle_path_closed(const NetworkPath& path) {
  if (state_ != State::closed) ice_.handle_path_closed(path);
}

void Transport::handle_timeout(TimePoint now) {
  if (state_ == State::closed) return;
  ice_.handle_timeout(now);
  if (dtls_) dtls_->handle_timeout(now);
  if (connect_deadline_ && now >= *connect_deadline_) {
    // A pair and keys may both be there and only not polled yet.
    if (!(sender_ && ice_.selected())) finish(sender_ ? transport_consent_expired : transport_never_connected);
  }
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

// Announcements of ICE and DTLS together decide the state, so they are taken from both before anything is returned; datagrams are
// passed on at once, since they are views into what ICE and DTLS keep until their next input.
std::optional<Transport::Output> Transport::poll_output() {
  while (std::optional<ice::IceLite::Output> output = ice_.poll_output()) {
    if (const auto* send = std::get_if<ice::IceLite::Send>(&*output)) return Send{send->path, send->datagram};
    if (std::holds_alternative<ice::IceLite::Selected>(*output)) {
      if (state_ == State::connected) return PathChanged{};
    } else if (state_ == State::connected) {
      state_ = State::disconnected;
      return Disconnected{transport_consent_expired};
    }
  }
  while (dtls_) {
    // A flight waits for a path: DTLS may begin on a validated pair before the peer nominates it.
    if (!ice_.selected() && !dtls_->closed()) break;
    std::optional<dtls::Connection::Output> output = dtls_->poll_output();
    if (!output) break;
    if (const auto* send = std::get_if<dtls::Connection::Send>(&*output)) {
      if (!ice_.selected()) continue;
      if (!sender_ && !ice_.selected()->is_stream()) {
        if (send->datagram.size() > handshake_budget_) continue; // lost, as far as the handshake knows
        handshake_budget_ -= send->datagram.size();
      }
      return Send{*ice_.selected(), send->datagram};
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
  if (dtls_) {
    dtls_->close(); // its Closed, behind the close_notify, ends this
  } else {
    finish(transport_closed);
  }
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

std::optional<srtp::Profile> Transport::profile() const {
  return sender_ ? std::optional(sender_->profile()) : std::nullopt;
}

} // namespace satsuma::sfu
