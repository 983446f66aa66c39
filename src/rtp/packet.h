#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/bytes.h"

namespace satsuma::rtp {

inline constexpr ErrorCode rtp_truncated{"rtp_truncated", ErrorKind::peer};
inline constexpr ErrorCode rtp_bad_version{"rtp_bad_version", ErrorKind::peer};
inline constexpr ErrorCode rtp_bad_extension{"rtp_bad_extension", ErrorKind::peer};
inline constexpr ErrorCode rtp_bad_padding{"rtp_bad_padding", ErrorKind::peer};
inline constexpr ErrorCode rtp_extension_unwritable{"rtp_extension_unwritable", ErrorKind::caller};

inline constexpr std::size_t fixed_header_size = 12;

/// An element of RFC 8285. In the one-byte form ids are 1 to 14 and sizes 1 to 16; in the two-byte form 1 to 255 and 0 to 255.
struct HeaderExtension {
  std::uint8_t id = 0;
  ByteView value;
};

/// A parsed RTP packet (RFC 3550 s.5.1), as views into the datagram. Everything in it lies within the datagram's bounds.
class Packet {
 public:
  bool marker = false;
  std::uint8_t payload_type = 0;
  std::uint16_t sequence = 0;
  std::uint32_t timestamp = 0;
  std::uint32_t ssrc = 0;
  std::size_t header_size = 0; ///< with CSRCs and extension
  std::size_t padding_size = 0;
  ByteView payload;            ///< without padding

  /// Empty when the packet does not carry the extension.
  std::optional<ByteView> extension(std::uint8_t id) const;

 private:
  friend Result<Packet> parse_packet(ByteView datagram);
  ByteView extensions_;      // validated elements
  bool two_byte_ = false;
};

Result<Packet> parse_packet(ByteView datagram);

struct Header {
  bool marker = false;
  std::uint8_t payload_type = 0;
  std::uint16_t sequence = 0;
  std::uint32_t timestamp = 0;
  std::uint32_t ssrc = 0;
};

/// Writes a header without CSRCs, with the extensions in the smaller form that can hold them. bytes_no_space, or
/// rtp_extension_unwritable for an id or size that neither form has.
Result<MutableByteView> write_header(const Header& header, std::span<const HeaderExtension> extensions, MutableByteView out);

} // namespace satsuma::rtp
