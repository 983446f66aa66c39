#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace satsuma::rtp {

/// What shares a media path (RFC 7983 s.7, RFC 5761 s.4).
enum class PacketKind : std::uint8_t { stun, dtls, rtp, rtcp, unknown };

/// By the first two bytes.
inline PacketKind classify(ByteView datagram) {
  if (datagram.size() < 2) return PacketKind::unknown;
  const std::uint8_t first = datagram[0];
  if (first < 4) return PacketKind::stun;
  if (first >= 20 && first < 64) return PacketKind::dtls;
  // RFC 5761 s.4: with the marker bit, RTCP's packet types 192 to 223 would be payload types 64 to 95, which nobody uses.
  if (first >= 128 && first < 192) return datagram[1] >= 192 && datagram[1] < 224 ? PacketKind::rtcp : PacketKind::rtp;
  return PacketKind::unknown;
}

} // namespace satsuma::rtp
