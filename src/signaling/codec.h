#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace satsuma::signaling {

/// What we negotiate and forward: Opus (RFC 7587) and its redundant form (RFC 2198), VP8 (RFC 7741), VP9 profile 0 (RFC 9628), AV1 profile 0 (the
/// AV1 RTP payload format) and H.264 constrained baseline, packetization mode 1 (RFC 6184).
enum class Codec : std::uint8_t { opus = 0, red = 1, vp8 = 2, vp9 = 3, av1 = 4, h264 = 5 };

inline constexpr std::size_t codec_count = 6;
inline constexpr std::array<Codec, codec_count> all_codecs{Codec::opus, Codec::red, Codec::vp8, Codec::vp9, Codec::av1, Codec::h264};

inline constexpr bool is_audio(Codec codec) { return codec == Codec::opus || codec == Codec::red; }
inline constexpr bool is_video(Codec codec) { return !is_audio(codec); }

/// As SDP writes it (rtpmap), in lower case.
inline constexpr std::string_view encoding_name(Codec codec) {
  constexpr std::array<std::string_view, codec_count> names{"opus", "red", "vp8", "vp9", "av1", "h264"};
  return names[static_cast<std::size_t>(codec)];
}

/// A set of codecs, as one side of a slot may send or read them.
class CodecSet {
 public:
  constexpr CodecSet() = default;
  constexpr CodecSet(std::initializer_list<Codec> codecs) {
    for (Codec codec : codecs) insert(codec);
  }
  constexpr void insert(Codec codec) { bits_ = static_cast<std::uint8_t>(bits_ | 1U << static_cast<unsigned>(codec)); }
  constexpr void erase(Codec codec) { bits_ = static_cast<std::uint8_t>(bits_ & ~(1U << static_cast<unsigned>(codec))); }
  constexpr bool contains(Codec codec) const { return (bits_ >> static_cast<unsigned>(codec) & 1U) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  friend constexpr bool operator==(CodecSet, CodecSet) = default;

 private:
  std::uint8_t bits_ = 0;
};

} // namespace satsuma::signaling
