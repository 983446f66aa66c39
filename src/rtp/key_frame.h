#pragma once

#include "base/bytes.h"

/// Where key frames begin, for the codecs whose packets have no descriptor of their own. What is looked at is the packetizer's or our shell's
/// (docs/protocol.md, section 4), never what is encrypted end to end.
namespace satsuma::rtp {

/// AV1's aggregation header (AV1 RTP payload specification s.4.4). Z is clear: an element begins here and does not continue one.
inline bool starts_av1_element(ByteView payload) { return !payload.empty() && (payload[0] & 0x80) == 0; }
/// N is set as well: the first packet of a coded video sequence.
inline bool starts_av1_sequence(ByteView payload) { return starts_av1_element(payload) && (payload[0] & 0x08) != 0; }

/// RFC 6184: a sequence parameter set (NAL unit type 7), alone or as the first of a STAP-A (24).
inline bool starts_h264_key_frame(ByteView payload) {
  if (payload.empty()) return false;
  const unsigned type = payload[0] & 0x1f;
  return type == 7 || (type == 24 && payload.size() > 3 && (payload[3] & 0x1f) == 7);
}

} // namespace satsuma::rtp
