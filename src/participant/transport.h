#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <variant>

#include "base/bytes.h"
#include "base/random.h"
#include "base/time.h"
#include "base/transport_address.h"
#include "dtls/connection.h"
#include "ice/controlling_agent.h"
#include "srtp/session.h"

namespace satsuma::participant {

inline constexpr ErrorCode transport_unknown_packet{"transport_unknown_packet", ErrorKind::peer};
inline constexpr ErrorCode transport_path_not_validated{"transport_path_not_validated", ErrorKind::peer};
inline constexpr ErrorCode transport_no_keys{"transport_no_keys", ErrorKind::peer};
inline constexpr ErrorCode transport_never_connected{"transport_never_connected", ErrorKind::peer};
inline constexpr ErrorCode transport_consent_expired{"transport_consent_expired", ErrorKind::peer};
inline constexpr ErrorCode transport_closed{"transport_closed", ErrorKind::caller};

inline constexpr Duration connect_timeout = std::chrono::seconds(30);

/// The client's end of a peer connection: a controlling ICE agent, DTLS in either role, SRTP both ways.
///
///   Transport t(now, context, ice::Credentials::generate(random), random);
///   t.set_remote(now, credentials, fingerprint, dtls::Role::client, paths);   // from the server's SDP: the checks begin
///   auto received = t.handle_packet(now, path, datagram);                     // RTP or RTCP in the clear, or nothing
class Transport {
 public:
  struct Send {
    NetworkPath path;
    ByteView datagram; ///< valid until the next call that is not poll_output()
  };
  struct Connected {};
  /// After transport_consent_expired it may become Connected again; after every other reason it never will.
  struct Disconnected {
    Error reason;
  };
  using Output = std::variant<Send, Connected, Disconnected>;

  enum class Received : std::uint8_t { nothing, rtp, rtcp };
  struct Packet {
    Received kind = Received::nothing;
    MutableByteView packet; ///< a prefix of the datagram, decrypted in place
  };

  /// `context` and `random` outlive the transport.
  Transport(TimePoint now, const dtls::Context& context, ice::Credentials local, RandomSource& random);
  Transport(const Transport&) = delete;

  /// The peer's description. Called again it is an ICE restart: DTLS and SRTP go on.
  Result<void> set_remote(TimePoint now, ice::Credentials remote, const dtls::Fingerprint& fingerprint, dtls::Role role,
                          std::span<const NetworkPath> paths);
  /// New local credentials for an ICE restart, in force from the next set_remote on.
  Result<void> set_local(ice::Credentials local) { return ice_.set_local(std::move(local)); }

  Result<Packet> handle_packet(TimePoint now, const NetworkPath& path, MutableByteView datagram);
  void handle_timeout(TimePoint now);
  std::optional<Output> poll_output();
  std::optional<TimePoint> next_deadline() const;
  void close();

  /// transport_no_keys while not connected. Send the result to path().
  Result<MutableByteView> protect_rtp(ByteView header, ByteView payload, MutableByteView out);
  Result<MutableByteView> protect_rtcp(ByteView packet, MutableByteView out);

  const std::optional<NetworkPath>& path() const { return ice_.selected(); }
  bool connected() const { return state_ == State::connected; }
  bool closed() const { return state_ == State::closed; }
  const ice::Credentials& local_credentials() const { return ice_.local(); }
  std::optional<srtp::Profile> profile() const { return sender_ ? std::optional(sender_->profile()) : std::nullopt; }

 private:
  enum class State : std::uint8_t { connecting, connected, disconnected, closed };
  void finish(Error reason);

  const dtls::Context& context_;
  ice::ControllingAgent ice_;
  dtls::Role role_ = dtls::Role::client;
  std::optional<dtls::Fingerprint> remote_fingerprint_;
  std::unique_ptr<dtls::Connection> dtls_;
  std::optional<srtp::Sender> sender_;
  std::optional<srtp::Receiver> receiver_;
  State state_ = State::connecting;
  bool closing_ = false;
  std::optional<Error> finished_;
  std::optional<TimePoint> connect_deadline_;
  TimePoint now_;
};

} // namespace satsuma::participant
