#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

/// Datagrams over TCP, as ICE's TCP candidates carry them (RFC 6544 s.3, RFC 4571 s.2).
namespace satsuma::ice {

inline constexpr ErrorCode ice_frame_too_long{"ice_frame_too_long", ErrorKind::peer};

/// Longest datagram taken from a stream: media fits a path's MTU, over TCP as over UDP.
inline constexpr std::size_t max_stream_frame = 2048;
/// The length before each datagram, big endian.
inline constexpr std::size_t stream_frame_header = 2;

/// What is written before a datagram of `size` bytes, at most 65535.
inline std::array<std::uint8_t, stream_frame_header> stream_frame_length(std::size_t size) {
  return {static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
}

/// Whether a TCP connection that begins with this byte may be one of ICE's: it begins with a check, which is shorter than 256 bytes. TLS begins
/// with 22 (RFC 8446 s.5.1) and HTTP with a letter, so that one port can serve all three.
constexpr bool may_begin_stream(std::uint8_t first) { return first == 0; }

/// Cuts a stream into its datagrams. It keeps at most one that is not complete yet; memory for it is taken with the first and stays, so that nothing allocates
/// for each.
class StreamFrameReader {
 public:
  /// The next datagram that is complete, taken off the beginning of `input`; nothing when `input` has been used up, the begun datagram being kept.
  /// Valid until the next call, and writable. Empty datagrams (RFC 4571 s.2) are passed over. ice_frame_too_long: the stream is of no use any more.
  Result<std::optional<MutableByteView>> next(MutableByteView& input);

  std::size_t kept() const { return kept_.size(); }

 private:
  Bytes kept_; ///< a length and what came of its datagram, at most stream_frame_header + max_stream_frame
  bool deliver_kept_ = false;
};

} // namespace satsuma::ice
