#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace satsuma::container {

inline constexpr ErrorCode ogg_malformed{"ogg_malformed", ErrorKind::caller};
inline constexpr ErrorCode ogg_not_opus{"ogg_not_opus", ErrorKind::caller};

/// RFC 7845 s.3 speaks of 61,440 bytes as the most that a packet may need; more is taken for a damaged file.
inline constexpr std::size_t max_opus_packet = 64 * 1024;

/// How long an Opus packet plays, in samples of 48 kHz (RFC 6716 s.3.1); 0 when it is none.
std::uint32_t opus_samples(ByteView packet);

/// The packets of the first Opus stream in a file (RFC 3533, RFC 7845) that the caller holds. Pages of other streams are passed over; a page whose checksum is
/// wrong is an error.
class OggOpusReader {
 public:
  static Result<OggOpusReader> open(ByteView file);
  /// Empty at the end. Valid until the next call.
  Result<std::optional<ByteView>> next();
  void rewind();
  std::uint8_t channels() const { return channels_; }

 private:
  explicit OggOpusReader(ByteView file) : file_(file), rest_(file) {}
  Result<bool> next_page();

  ByteView file_, rest_;
  ByteView lacing_, body_; ///< of the present page, what was not taken yet
  Bytes packet_;
  std::uint32_t serial_ = 0;
  bool serial_known_ = false;
  bool in_packet_ = false; ///< the last segment said that more of it comes
  std::uint8_t channels_ = 0;
};

/// A stream of 20 ms packets, a page each, so that nothing is lost when the program ends.
class OggOpusWriter {
 public:
  OggOpusWriter(std::uint32_t serial, std::uint8_t channels) : serial_(serial), channels_(channels) {}
  /// The two header pages.
  Bytes header();
  /// `granule`: samples of 48 kHz up to the packet's end. At most 255 * 255 bytes.
  Bytes packet(ByteView packet, std::uint64_t granule, bool last = false);

 private:
  Bytes page(std::uint8_t flags, std::uint64_t granule, ByteView packet);

  std::uint32_t serial_;
  std::uint8_t channels_;
  std::uint32_t sequence_ = 0;
};

} // namespace satsuma::container
