#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace satsuma::rtp {

inline constexpr ErrorCode vp8_truncated{"vp8_truncated", ErrorKind::peer};

/// The VP8 payload descriptor (RFC 7741 s.4.2). It stands before the payload and is never encrypted end to end.
struct Vp8Descriptor {
  bool non_reference = false;
  bool start_of_partition = false;
  std::uint8_t partition = 0;
  std::optional<std::uint16_t> picture_id;
  bool long_picture_id = false; ///< 15 bits rather than 7
  std::optional<std::uint8_t> tl0_picture_index;
  std::optional<std::uint8_t> temporal_layer;
  bool layer_sync = false;
  std::size_t picture_id_offset = 0;
  std::size_t tl0_offset = 0;
  std::size_t size = 0; ///< where the payload proper begins

  bool starts_frame() const { return start_of_partition && partition == 0; }
};

Result<Vp8Descriptor> parse_vp8_descriptor(ByteView payload);

/// Whether this packet is the first of a key frame: the inverse key frame bit of RFC 7741 s.4.3, which in our frames is the
/// shell's byte, 00 or 01 (docs/protocol.md, section 4).
bool starts_vp8_key_frame(const Vp8Descriptor& descriptor, ByteView payload);

/// Overwrites the picture id (modulo what its width holds) and TL0PICIDX in `payload`, where the descriptor has them.
/// `payload` begins with the descriptor that was parsed.
void rewrite_vp8_descriptor(const Vp8Descriptor& descriptor, std::uint16_t picture_id, std::uint8_t tl0_picture_index,
                            MutableByteView payload);

} // namespace satsuma::rtp
