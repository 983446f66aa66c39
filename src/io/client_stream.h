#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/transport_address.h"

struct ssl_ctx_st;
struct ssl_st;

namespace satsuma::io {

inline constexpr ErrorCode stream_connect_failed{"stream_connect_failed", ErrorKind::environment};
inline constexpr ErrorCode stream_lost{"stream_lost", ErrorKind::environment};
inline constexpr ErrorCode stream_tls_failed{"stream_tls_failed", ErrorKind::peer};
inline constexpr ErrorCode stream_wrong_certificate{"stream_wrong_certificate", ErrorKind::peer};
inline constexpr ErrorCode tls_settings_failed{"tls_settings_failed", ErrorKind::environment};

/// How a server proves who it is.
class TlsClient {
 public:
  enum class Trust : std::uint8_t {
    authorities, ///< a chain to one of the system's authorities, and the host's name
    pinned,      ///< the certificate with this SHA-256, and no other: for one that the server made itself
    anybody,     ///< whoever answers. For tests, and where nothing else can be done
  };
  /// `pin`: the fingerprint, for Trust::pinned.
  static Result<TlsClient> create(Trust trust, std::array<std::uint8_t, 32> pin = {});

 private:
  friend class ClientStream;
  struct Free {
    void operator()(ssl_ctx_st* context) const;
  };
  std::shared_ptr<ssl_ctx_st> context_;
  Trust trust_ = Trust::authorities;
  std::array<std::uint8_t, 32> pin_{};
};

/// The client's end of a TCP connection, with TLS or without, not blocking. The owner watches descriptor() for reading, and for writing while wants_write() or
/// while it has something to write, and calls advance() before it reads and writes.
class ClientStream {
 public:
  /// Begins to connect. `tls`: null for none; `name` is the host's, for its certificate. stream_connect_failed if that fails at once.
  static Result<ClientStream> connect(const TransportAddress& address, const TlsClient* tls, const std::string& name);
  ClientStream(ClientStream&& other) noexcept;
  ClientStream(const ClientStream&) = delete;
  ~ClientStream();

  int descriptor() const { return descriptor_; }
  bool wants_write() const { return !connected_ || wants_write_; }

  /// True when bytes can be read and written. stream_connect_failed, stream_tls_failed, stream_wrong_certificate.
  Result<bool> advance();
  /// How many bytes, 0 when it would block; stream_lost at the end. Only when advance() has been true.
  Result<std::size_t> read(MutableByteView out);
  Result<std::size_t> write(ByteView bytes);
  /// TLS holds back bytes that were read already, which make no descriptor readable.
  bool holds_back() const;

 private:
  explicit ClientStream(int descriptor) : descriptor_(descriptor) {}
  Result<bool> handshake();
  Result<std::size_t> tls_result(int result);

  struct FreeSsl {
    void operator()(ssl_st* ssl) const;
  };

  int descriptor_ = -1;
  std::unique_ptr<ssl_st, FreeSsl> ssl_;
  TlsClient::Trust trust_ = TlsClient::Trust::authorities;
  std::array<std::uint8_t, 32> pin_{};
  bool connected_ = false, ready_ = false;
  bool wants_write_ = false; ///< TLS does
};

} // namespace satsuma::io
