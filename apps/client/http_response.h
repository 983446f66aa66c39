#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "base/bytes.h"

/// What a server answers by HTTP/1.0 (RFC 9112, RFC 1945): one response, to the end of its connection.
namespace satsuma::client {

inline constexpr ErrorCode http_malformed{"http_malformed", ErrorKind::peer};
inline constexpr ErrorCode http_too_large{"http_too_large", ErrorKind::peer};
/// Chunks, which nobody may send to who asks by HTTP/1.0 (RFC 9112 s.6.1).
inline constexpr ErrorCode http_unknown_coding{"http_unknown_coding", ErrorKind::peer};
inline constexpr ErrorCode http_incomplete{"http_incomplete", ErrorKind::peer};

inline constexpr std::size_t max_http_head = 16 * 1024;
inline constexpr std::size_t max_http_body = 1U << 20;

struct HttpResponse {
  unsigned status = 0;
  std::string body;
};

class HttpReader {
 public:
  /// After an error nothing more can be read.
  Result<void> append(ByteView bytes);
  /// All that was promised is there; without a length only the connection's end tells.
  bool complete() const { return length_ && response_.body.size() == *length_; }
  /// The connection is at its end: http_incomplete if that is too early.
  Result<HttpResponse> finish();

 private:
  Result<void> parse_head(std::string_view head);

  std::string head_; ///< until its empty line
  bool in_body_ = false;
  std::optional<std::size_t> length_;
  HttpResponse response_;
};

} // namespace satsuma::client
