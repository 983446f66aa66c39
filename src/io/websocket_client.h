#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "base/random.h"
#include "base/transport_address.h"
#include "io/websocket_frames.h"

struct ssl_ctx_st;
struct ssl_st;

namespace satsuma::io {

inline constexpr ErrorCode websocket_connect_failed{"websocket_connect_failed", ErrorKind::environment};
inline constexpr ErrorCode websocket_connection_lost{"websocket_connection_lost", ErrorKind::environment};
inline constexpr ErrorCode websocket_tls_failed{"websocket_tls_failed", ErrorKind::peer};
inline constexpr ErrorCode websocket_wrong_certificate{"websocket_wrong_certificate", ErrorKind::peer};
inline constexpr ErrorCode websocket_send_queue_full{"websocket_send_queue_full", ErrorKind::environment};
inline constexpr ErrorCode tls_settings_failed{"tls_settings_failed", ErrorKind::environment};

inline constexpr std::size_t max_websocket_send_queue = 1U << 20;

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
  friend class WebSocketClient;
  struct Free {
    void operator()(ssl_ctx_st* context) const;
  };
  std::shared_ptr<ssl_ctx_st> context_;
  Trust trust_ = Trust::authorities;
  std::array<std::uint8_t, 32> pin_{};
};

/// The client's end of a WebSocket, over TCP or TLS, not blocking. The owner watches descriptor() for reading, and for writing while wants_write(), calls
/// handle_ready() then, and polls.
class WebSocketClient {
 public:
  struct Target {
    TransportAddress address;
    std::string host; ///< as in the link, with a port that is not the scheme's own
    std::string name; ///< of the host alone: for the certificate
    std::string path;
    std::string subprotocol;
  };
  struct Open {};
  struct Message {
    bool text = false;
    Bytes payload;
  };
  /// The last output. `code` is the server's (RFC 6455 s.7.4), 1006 when it said none.
  struct Closed {
    Error reason = websocket_connection_lost;
    std::uint16_t code = 1006;
  };
  using Output = std::variant<Open, Message, Closed>;

  /// `tls`: null for plain TCP. `random` outlives the client.
  static Result<std::unique_ptr<WebSocketClient>> connect(Target target, const TlsClient* tls, RandomSource& random);
  WebSocketClient(const WebSocketClient&) = delete;
  ~WebSocketClient();

  int descriptor() const { return descriptor_; }
  bool wants_write() const { return !closed_ && (state_ == State::connecting || wants_write_ || !outgoing_.empty()); }
  void handle_ready();
  std::optional<Output> poll_output();

  /// Before it is open and after it is closed nothing is sent.
  void send(bool text, ByteView payload);
  /// Says goodbye with 1000.
  void close();

 private:
  enum class State : std::uint8_t { connecting, tls, upgrading, open, closed };
  explicit WebSocketClient(Target target, RandomSource& random) : target_(std::move(target)), random_(random) {}

  bool handshake();
  void read();
  void flush();
  void finish(Error reason, std::uint16_t code = 1006);
  /// Bytes, 0 when it would block, -1 at the end.
  std::ptrdiff_t read_some(MutableByteView out);
  std::ptrdiff_t write_some(ByteView bytes);

  struct FreeSsl {
    void operator()(ssl_st* ssl) const;
  };

  Target target_;
  RandomSource& random_;
  TlsClient::Trust trust_ = TlsClient::Trust::authorities;
  std::array<std::uint8_t, 32> pin_{};
  int descriptor_ = -1;
  State state_ = State::connecting;
  std::unique_ptr<ssl_st, FreeSsl> ssl_;
  std::string key_;
  std::string response_;
  WebSocketReader reader_;
  Bytes outgoing_;
  bool wants_write_ = false;
  bool announce_open_ = false;
  std::optional<Closed> closed_;
  bool told_closed_ = false;
};

} // namespace satsuma::io
