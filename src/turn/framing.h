#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

/// TURN over a stream (RFC 8656 s.12.5): STUN messages and ChannelData one after the other, ChannelData padded to four bytes.
namespace satsuma::turn {

inline constexpr ErrorCode turn_bad_framing{"turn_bad_framing", ErrorKind::peer};

inline constexpr std::size_t channel_data_header = 4;
inline constexpr std::size_t max_frame_size = 2048;
inline constexpr std::uint16_t min_channel = 0x4000; ///< RFC 8656 s.12
inline constexpr std::uint16_t max_channel = 0x4fff;

/// Whether a stream that begins with this byte may be TURN: its first message is a request of STUN. HTTP begins with a letter.
constexpr bool may_begin_turn(std::uint8_t first) { return first == 0; }

/// ChannelData begins with a channel's number.
constexpr bool is_channel_data(std::uint8_t first) { return first >= 0x40 && first <= 0x4f; }

/// ChannelData with its padding, written into `out`; nothing when there is no room, or when it would be longer than a frame may be.
std::optional<ByteView> write_channel_data(std::uint16_t channel, ByteView datagram, MutableByteView out);

/// Cuts a stream into frames. It keeps at most one that is not complete yet; memory for it is taken with the first and stays, so that nothing allocates for each.
class FrameReader {
 public:
  /// The next whole frame, without padding, taken off the beginning of `input`; nothing when `input` has been used up. Valid until the next call.
  /// turn_bad_framing, for what is neither or too long: the stream is of no use any more.
  Result<std::optional<MutableByteView>> next(MutableByteView& input);

  std::size_t kept() const { return kept_.size(); }

 private:
  Bytes kept_; ///< at most max_frame_size
  bool deliver_kept_ = false;
};

} // namespace satsuma::turn
