#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace satsuma::container {

inline constexpr ErrorCode ivf_malformed{"ivf_malformed", ErrorKind::caller};
inline constexpr ErrorCode ivf_not_vp8{"ivf_not_vp8", ErrorKind::caller};

/// A frame larger than this is taken for a damaged file; a 4K key frame is about 1 MB.
inline constexpr std::size_t max_ivf_frame = 4U << 20;

/// Whether an encoded VP8 frame is a key frame (RFC 6386 s.9.1).
inline bool is_vp8_key_frame(ByteView frame) { return !frame.empty() && (frame[0] & 1) == 0; }
struct Vp8Size {
  std::uint16_t width = 0, height = 0;
};
/// Of a key frame.
std::optional<Vp8Size> vp8_size(ByteView key_frame);

/// Reads a whole file that the caller holds.
class IvfReader {
 public:
  struct Frame {
    std::uint64_t timestamp = 0; ///< in units of the file's time base
    ByteView data;
  };
  static Result<IvfReader> open(ByteView file);
  /// Empty at the end, and at a frame that was cut off.
  Result<std::optional<Frame>> next();
  void rewind() { rest_ = frames_; }
  /// Seconds for one unit of the timestamps.
  double time_base() const { return static_cast<double>(numerator_) / static_cast<double>(denominator_); }

 private:
  IvfReader() = default;
  ByteView frames_, rest_;
  std::uint32_t denominator_ = 1, numerator_ = 1;
};

/// The file's beginning; its time base is 1/90000 s, the clock of video in RTP.
Bytes ivf_header(Vp8Size size);
/// What stands before a frame's data.
Bytes ivf_frame_header(std::size_t size, std::uint64_t timestamp);

} // namespace satsuma::container
