#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace satsuma::rtp {

inline constexpr ErrorCode vp9_truncated{"vp9_truncated", ErrorKind::peer};
inline constexpr ErrorCode vp9_bad_layer{"vp9_bad_layer", ErrorKind::peer};

/// The front of the VP9 payload descriptor (RFC 9628 s.4.2): what tells layers and key frames apart. It stands before the payload and is never
/// encrypted end to end.
struct Vp9Descriptor {
  std::optional<std::uint16_t> picture_id;
  bool inter_picture_predicted = false; ///< P
  bool flexible = false;                ///< F
  bool start_of_frame = false;          ///< B, of a layer frame
  bool end_of_frame = false;            ///< E
  bool scalability_structure = false;   ///< V
  std::uint8_t temporal = 0;
  std::uint8_t spatial = 0;
  bool switching_up_point = false;      ///< U: later frames of higher temporal layers do not depend on frames before this
  bool inter_layer_predicted = false;   ///< D

  bool starts_key_frame() const { return start_of_frame && !inter_picture_predicted && spatial == 0; }
};

Result<Vp9Descriptor> parse_vp9_descriptor(ByteView payload);

} // namespace satsuma::rtp
