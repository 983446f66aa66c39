#pragma once

#include <string>
#include <string_view>

namespace satsuma::client {

/// For the terminal: nothing of what others say may move the cursor or ring the bell.
inline std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return out;
}

} // namespace satsuma::client
