#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/random.h"

/// The bytes of a WebSocket connection (RFC 6455) at the client's end, without the connection.
namespace satsuma::io {

inline constexpr ErrorCode websocket_bad_response{"websocket_bad_response", ErrorKind::peer};
inline constexpr ErrorCode websocket_refused{"websocket_refused", ErrorKind::peer};
inline constexpr ErrorCode websocket_protocol_error{"websocket_protocol_error", ErrorKind::peer};
inline constexpr ErrorCode websocket_too_large{"websocket_too_large", ErrorKind::peer};

inline constexpr std::size_t max_websocket_response = 8 * 1024;
/// The protocol's frames have at most 64 KiB (docs/protocol.md).
inline constexpr std::size_t max_websocket_message = 512 * 1024;

enum class WebSocketOpcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// s.4.1: what opens the connection. `key` is 16 random bytes in base64.
std::string websocket_request(std::string_view host, std::string_view path, std::string_view subprotocol, std::string_view key);
std::string websocket_key(RandomSource& random);
/// s.4.2.2: the answer's header, complete with its empty line, belongs to `key` and takes up the subprotocol. websocket_refused when it is not 101.
Result<void> check_websocket_response(std::string_view header, std::string_view subprotocol, std::string_view key);

/// One frame, masked as a client's must be (s.5.3), behind what is in `out`.
void write_websocket_frame(WebSocketOpcode opcode, ByteView payload, RandomSource& random, Bytes& out);

/// A server's frames, put together to messages. Control frames come out as they are, in between.
class WebSocketReader {
 public:
  struct Message {
    WebSocketOpcode opcode = WebSocketOpcode::binary; ///< never continuation
    Bytes payload;
  };

  void append(ByteView bytes) { buffer_.insert(buffer_.end(), bytes.begin(), bytes.end()); }
  /// Empty until a whole message is there. After an error nothing more can be read.
  Result<std::optional<Message>> next();

 private:
  Bytes buffer_;
  std::size_t taken_ = 0;
  std::optional<Message> fragments_;
};

} // namespace satsuma::io
