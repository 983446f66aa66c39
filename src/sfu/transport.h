#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "base/transport_address.h"
#include "base/bytes.h"
#include "base/time.h"
#include "dtls/connection.h"
#include "ice/ice_lite.h"
#include "rtp/packet_kind.h"
#include "srtp/session.h"

namespace satsuma::sfu {

inline constexpr ErrorCode transport_unknown_packet{"transport_unknown_packet", ErrorKind::peer};
/// DTLS or SRTP from a path on which no authenticated ICE check came. Dropped, and the session goes on as before.
inline constexpr ErrorCode transport_path_not_validated{"transport_path_not_validated", ErrorKind::peer};
inline constexpr ErrorCode transport_no_keys{"transport_no_keys", ErrorKind::peer};
inline constexpr ErrorCode transport_never_connected{"transport_never_connected", ErrorKind::peer};
inline constexpr ErrorCode transport_consent_expired{"transport_consent_expired", ErrorKind::peer};
inline constexpr ErrorCode transport_closed{"transport_closed", ErrorKind::caller};

/// Until the handshake has shown that somebody is at the address that checks came from, its datagrams are no more than so many bytes and then so many times what
/// came: whoever knows the credentials could have written a victim's address as its own.
inline constexpr std::size_t handshake_allowance = dtls::handshake_mtu;
inline constexpr std::size_t handshake_amplification = 3;

/// A transport that has not connected by then is Disconnected for good.
inline constexpr Duration connect_timeout = std::chrono::seconds(30);

using rtp::classify;
using rtp::PacketKind;

/// The transport of one peer connection: ICE-lite, then DTLS as the passive side, then SRTP. BUNDLE and rtcp-mux are taken for granted.
///
/// Which transport a datagram belongs to is for the owner: by NetworkPath when the path is known, and for STUN from a new path
/// by ice::receiver_ufrag(). After each handle_ call poll_output() until it is empty.
///
///   Transport t(now, context, ice::Credentials::generate(random));   // its local credentials and context.fingerprint() go into the SDP
///   t.set_remote(ufrag, fingerprint);                                // from the peer's SDP; before it, nothing is answered
///   auto received = t.handle_packet(now, path, datagram);            // RTP or RTCP in the clear, or nothing
class Transport {
 public:
  struct Send {
    NetworkPath path;
    ByteView datagram; ///< valid until the next call that is not poll_output()
  };
  /// Keys are agreed and there is a path: protect_* work from now on. Comes again when consent came back after it had expired.
  struct Connected {};
  /// The path changed: `path()` is another. Nothing to do but to note it.
  struct PathChanged {};
  /// Nothing can be sent. After transport_consent_expired it may become Connected again (the peer's checks return, or restart_ice());
  /// after every other reason it never will: drop the transport.
  struct Disconnected {
    Error reason;
  };
  using Output = std::variant<Send, Connected, PathChanged, Disconnected>;

  /// What handle_packet found: `packet` is a prefix of the datagram, decrypted in place; empty for `nothing`.
  enum class Received : std::uint8_t { nothing, rtp, rtcp };
  struct Packet {
    Received kind = Received::nothing;
    MutableByteView packet;
  };

  /// `context` outlives the transport.
  Transport(TimePoint now, const dtls::Context& context, ice::Credentials local);
  Transport(const Transport&) = delete;
  ~Transport();

  /// The peer's username fragment and certificate, from its description. ice_bad_credentials.
  Result<void> set_remote(std::string_view ufrag, const dtls::Fingerprint& fingerprint);
  /// The peer's password, with which another path is checked before media moves there once the transport has been connected. Without it media moves
  /// as the peer says. Again after restart_ice().
  void set_remote_password(std::string_view password, RandomSource& random) { ice_.set_remote_password(password, random); }
  /// ICE restart (RFC 8445 s.9): DTLS and the SRTP keys go on. The local credentials must be new ones.
  Result<void> restart_ice(TimePoint now, ice::Credentials local, std::string_view remote_ufrag);

  /// One datagram, which is decrypted in place. An error says why it was dropped (for counting); nothing else has changed then.
  Result<Packet> handle_packet(TimePoint now, const NetworkPath& path, MutableByteView datagram);
  /// RTP or RTCP from a path that nobody knows. When it is this peer's, which only its keys can show, the peer has moved there: the path is validated by it, and
  /// checked for media to move there too. `datagram` is spoilt otherwise.
  Result<Packet> handle_moved_packet(TimePoint now, const NetworkPath& path, MutableByteView datagram);
  /// A TCP connection ended. When media went that way this is as if consent had expired: the peer's checks on another bring it back.
  void handle_path_closed(const NetworkPath& path);
  /// Somebody else is where this one's media goes, or says so: see ice::IceLite::confirm().
  void confirm(TimePoint now) {
    if (state_ == State::connected) ice_.confirm(now);
  }
  void handle_timeout(TimePoint now);
  std::optional<Output> poll_output();
  std::optional<TimePoint> next_deadline() const;
  /// Says goodbye to the peer (close_notify); transport_closed is the reason in Disconnected.
  void close();

  /// See srtp::Sender. transport_no_keys while not connected. Send the result to path().
  Result<MutableByteView> protect_rtp(ByteView header, ByteView payload, MutableByteView out);
  Result<MutableByteView> protect_rtcp(ByteView packet, MutableByteView out);

  /// What protect_rtp() needs besides this object itself.
  void prefetch() const {
    if (sender_) sender_->prefetch();
  }
  /// Where media goes; empty while not connected.
  const std::optional<NetworkPath>& path() const { return ice_.selected(); }
  bool connected() const { return state_ == State::connected; }
  bool closed() const { return state_ == State::closed; }
  const ice::Credentials& local_credentials() const { return ice_.local(); }
  /// How many bytes protect_rtp and protect_rtcp add.
  std::size_t rtp_overhead() const { return sender_ ? srtp::rtp_overhead(sender_->profile()) : srtp::max_rtp_overhead; }
  std::size_t rtcp_overhead() const { return sender_ ? srtp::rtcp_overhead(sender_->profile()) : srtp::max_rtcp_overhead; }
  std::optional<srtp::Profile> profile() const;

 private:
  /// connecting ──▶ connected ◀──▶ disconnected (consent); each ──▶ closed.
  enum class State : std::uint8_t { connecting, connected, disconnected, closed };

  void finish(Error reason);

  const dtls::Context& context_;
  ice::IceLite ice_;
  std::optional<dtls::Fingerprint> remote_fingerprint_;
  std::unique_ptr<dtls::Connection> dtls_;
  std::optional<srtp::Sender> sender_;
  std::optional<srtp::Receiver> receiver_;
  State state_ = State::connecting;
  std::size_t handshake_budget_ = handshake_allowance; ///< bytes that may still go out before there are keys
  bool closing_ = false; ///< close() was called, and the close_notify is on its way
  std::optional<Error> finished_; ///< closed, and not said yet
  std::optional<TimePoint> connect_deadline_;
};

} // namespace satsuma::sfu
