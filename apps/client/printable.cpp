#include "printable.h"

#include <cstdint>

namespace satsuma::client {

std::string printable(std::string_view text) {
  const auto at = [text](std::size_t i) { return i < text.size() ? static_cast<std::uint8_t>(text[i]) : std::uint8_t{0}; };
  /// Bytes of what is not to be shown, or none.
  const auto unwanted = [&](std::size_t i) -> std::size_t {
    const std::uint8_t first = at(i), second = at(i + 1), third = at(i + 2);
    if (first < 0x20 || first == 0x7F) return 1;
    if (first == 0xC2 && second >= 0x80 && second < 0xA0) return 2;
    if (first == 0xD8 && second == 0x9C) return 2;                                                                       // U+061C
    if (first == 0xE2 && second == 0x80 && ((third >= 0x8E && third <= 0x8F) || (third >= 0xA8 && third <= 0xAE))) return 3; // U+200E, U+200F, U+2028 to U+202E
    if (first == 0xE2 && second == 0x81 && third >= 0xA6 && third <= 0xA9) return 3;                                      // U+2066 to U+2069
    return 0;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t left_out = unwanted(i);
    out += left_out > 0 ? ' ' : text[i];
    i += left_out > 0 ? left_out : 1;
  }
  return out;
}

} // namespace satsuma::client
