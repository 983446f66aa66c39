#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/secret.h"
#include "base/time.h"

struct ssl_st;
struct ssl_ctx_st;
struct x509_store_ctx_st;

/// DTLS 1.2 for SRTP keys (RFC 5764, RFC 8827 s.6.5).
namespace satsuma::dtls {

inline constexpr ErrorCode dtls_bad_fingerprint{"dtls_bad_fingerprint", ErrorKind::peer};
inline constexpr ErrorCode dtls_fingerprint_mismatch{"dtls_fingerprint_mismatch", ErrorKind::peer};
inline constexpr ErrorCode dtls_handshake_failed{"dtls_handshake_failed", ErrorKind::peer};
inline constexpr ErrorCode dtls_no_srtp_profile{"dtls_no_srtp_profile", ErrorKind::peer};
inline constexpr ErrorCode dtls_timed_out{"dtls_timed_out", ErrorKind::peer};
inline constexpr ErrorCode dtls_closed{"dtls_closed", ErrorKind::peer};
inline constexpr ErrorCode dtls_library_failed{"dtls_library_failed", ErrorKind::environment};

/// Largest datagram that a handshake sends: passes any path that WebRTC's own packets pass.
inline constexpr std::size_t handshake_mtu = 1200;
/// Largest handshake message taken, a ClientHello with post-quantum shares included.
inline constexpr std::size_t max_handshake_message = 16 * 1024;
/// RFC 6347 s.4.2.4.1 says 1 s and allows less where the application wants it; both ends retransmit, and a call should start soon.
inline constexpr Duration first_retransmission = std::chrono::milliseconds(250);
inline constexpr Duration max_retransmission = std::chrono::seconds(4);
/// After this the handshake has failed.
inline constexpr Duration handshake_timeout = std::chrono::seconds(30);
/// How often a server sends its last flight again for a client that seems not to have it.
inline constexpr std::size_t max_last_flight_repeats = 16;
/// Datagrams of one flight, and those waiting for poll_output().
inline constexpr std::size_t max_pending_datagrams = 32;

/// SHA-256 over a certificate, as in SDP's a=fingerprint (RFC 8122 s.5).
struct Fingerprint {
  std::array<std::uint8_t, 32> sha256{};

  /// From "AB:CD:…", upper or lower case; dtls_bad_fingerprint.
  static Result<Fingerprint> parse(std::string_view text);
  std::string text() const;
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

enum class Role : std::uint8_t { server, client };

/// Numbers of RFC 5764 s.4.1.2 and RFC 7714 s.14.2.
enum class SrtpProfile : std::uint16_t { aes128_cm_sha1_80 = 0x0001, aead_aes_128_gcm = 0x0007 };

/// The keys of one association, sorted by who sends with them. Key 16 bytes; salt 12 for GCM, 14 for the other.
struct SrtpKeys {
  SrtpProfile profile = SrtpProfile::aead_aes_128_gcm;
  SecretBytes send_key, send_salt;
  SecretBytes receive_key, receive_salt;
};

/// A self-signed ECDSA P-256 certificate with its key, and the settings of all connections. Make one for a process (or a shard);
/// it outlives its connections, and threads may share it.
class Context {
 public:
  /// Profiles in the order of preference. `now` goes into the certificate's dates.
  static Result<Context> create(UnixSeconds now, std::vector<SrtpProfile> profiles = {SrtpProfile::aead_aes_128_gcm,
                                                                                      SrtpProfile::aes128_cm_sha1_80});
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;
  ~Context();

  const Fingerprint& fingerprint() const { return fingerprint_; }

 private:
  friend class Connection;
  struct Free {
    void operator()(ssl_ctx_st* context) const;
  };
  Context() = default;
  std::unique_ptr<ssl_ctx_st, Free> ssl_;
  Fingerprint fingerprint_;
};

/// One association. Datagrams come in whole and go out whole; what carries them is not known here.
///
///   handshaking ── peer's certificate has the fingerprint, profile agreed ──▶ established ── close_notify, ours or (a client's) the peer's ──▶ closed
///        └── wrong certificate, fatal alert, 30 s ──▶ closed
///
/// A server lets go of OpenSSL's part, 30 KB, once it is established: all that is still wanted is the keys, which SRTP has, its last flight as it was sent, and a
/// close_notify, which is made beforehand. It does not read what the peer says from then on.
class Connection {
 public:
  struct Send {
    ByteView datagram; ///< valid until the next call that is not poll_output()
  };
  struct Established {
    SrtpKeys keys;
  };
  struct Closed {
    Error reason; ///< dtls_closed after a close_notify
  };
  using Output = std::variant<Send, Established, Closed>;

  /// A client sends its ClientHello at once; a server waits.
  Connection(TimePoint now, const Context& context, Role role, const Fingerprint& peer);
  Connection(Connection&&) = delete;
  ~Connection();

  /// Bytes that are no DTLS for this association are ignored, as RFC 6347 s.4.1.2.7 wants.
  void handle_datagram(TimePoint now, ByteView datagram);
  void handle_timeout(TimePoint now);
  std::optional<Output> poll_output();
  std::optional<TimePoint> next_deadline() const;
  /// Sends close_notify.
  void close();

  bool established() const { return state_ == State::established; }
  bool closed() const { return state_ == State::closed; }
  /// What the peer says is not read any more.
  bool forgotten() const { return established() && !ssl_; }

 private:
  friend class Context;
  enum class State : std::uint8_t { handshaking, established, closed };
  struct Io;
  struct Free {
    void operator()(ssl_st* ssl) const;
  };

  static int verify_certificate(x509_store_ctx_st* store, void*);
  void advance(TimePoint now);
  void repeat_flight();
  /// OpenSSL's part goes; what it would say at the end is kept.
  void forget();
  void finish(Error reason);
  Result<SrtpKeys> export_keys() const;

  Role role_;
  Fingerprint peer_;
  bool peer_verified_ = false;
  State state_ = State::handshaking;
  std::unique_ptr<Io> io_;
  std::unique_ptr<ssl_st, Free> ssl_;
  std::optional<SrtpKeys> announce_established_;
  std::optional<Error> announce_closed_;
  TimePoint gives_up_; ///< on the handshake
  Bytes goodbye_;      ///< a close_notify, when ssl_ is gone
  std::optional<TimePoint> retransmit_at_;
  Duration retransmit_after_ = first_retransmission;
  std::size_t last_flight_repeats_ = 0;
};

} // namespace satsuma::dtls
