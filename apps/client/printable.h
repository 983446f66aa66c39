#pragma once

#include <string>
#include <string_view>

namespace satsuma::client {

/// For the terminal: nothing of what others say may move the cursor or ring the bell; nor the control characters beyond ASCII (U+0080 to U+009F).
inline std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool beyond = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) >= 0x80 && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (beyond) ++i;
    out += beyond || byte < 0x20 || byte == 0x7f ? ' ' : text[i];
  }
  return out;
}

} // namespace satsuma::client
