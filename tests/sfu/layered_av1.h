#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace satsuma::sfu {

/// AV1 in two spatial and three temporal layers (L2T3_KEY), with the descriptors that Chromium 156 writes: each picture two frames of one packet.
struct LayeredAv1 {
  static constexpr std::string_view structure = "800514853aaaa8018004004002a02a0060010015d34514174d144c700874321651118543276809f8059813f80b38";
  struct Frame {
    Bytes descriptor, payload;
  };
  std::uint16_t frame = 0xfffe; // wraps soon
  std::size_t pictures = 0;

  /// The lower and the upper layer's.
  std::array<Frame, 2> picture(bool key) {
    constexpr std::array<std::array<std::string_view, 2>, 4> templates{{{"c1", "c6"}, {"c3", "c8"}, {"c2", "c7"}, {"c4", "c9"}}};
    if (key) pictures = 0;
    const auto& now = templates[pictures++ % 4];
    std::array<Frame, 2> out;
    for (std::size_t layer = 0; layer < 2; ++layer, ++frame) {
      const std::string first = key ? (layer == 0 ? "c0" : "c5") : std::string(now[layer]);
      const std::array<std::uint8_t, 2> number{static_cast<std::uint8_t>(frame >> 8), static_cast<std::uint8_t>(frame)};
      out[layer].descriptor = *from_hex(first + to_hex(number) + (key && layer == 0 ? std::string(structure) : ""));
      out[layer].payload = {static_cast<std::uint8_t>(key && layer == 0 ? 0x28 : 0x10), 0x30, static_cast<std::uint8_t>(frame), static_cast<std::uint8_t>(layer)};
    }
    return out;
  }
};

} // namespace satsuma::sfu
