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
#include "io/client_stream.h"
#include "io/websocket_frames.h"

namespace satsuma::io {

inline constexpr ErrorCode websocket_send_queue_full{"websocket_send_queue_full", ErrorKind::environment};

inline constexpr std::size_t max_websocket_send_queue = 1U << 20;

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
    Error reason = stream_lost;
    std::uint16_t code = 1006;
  };
  using Output = std::variant<Open, Message, Closed>;

  /// `tls`: null for plain TCP. `random` outlives the client.
  static Result<std::unique_ptr<WebSocketClient>> connect(Target target, const TlsClient* tls, RandomSource& random);
  WebSocketClient(const WebSocketClient&) = delete;

  int descriptor() const { return stream_.descriptor(); }
  bool wants_write() const { return !closed_ && (stream_.wants_write() || !outgoing_.empty()); }
  void handle_ready();
  std::optional<Output> poll_output();

  /// Before it is open and after it is closed nothing is sent.
  void send(bool text, ByteView payload);
  /// Says goodbye with 1000.
  void close();

 private:
  enum class State : std::uint8_t { connecting, upgrading, open, closed };
  WebSocketClient(Target target, ClientStream stream, RandomSource& random);

  void read();
  void flush();
  void finish(Error reason, std::uint16_t code = 1006);

  Target target_;
  RandomSource& random_;
  ClientStream stream_;
  State state_ = State::connecting;
  std::string key_;
  std::string response_;
  WebSocketReader reader_;
  Bytes outgoing_;
  bool announce_open_ = false;
  std::optional<Closed> closed_;
  bool told_closed_ = false;
};

} // namespace satsuma::io
