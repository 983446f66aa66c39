#include "printable.h"

#include "call/utf8.h"

namespace satsuma::client {

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::uint32_t code = 0;
    const std::size_t length = call::decode_utf8(text, code);
    if (length == 0) out += '?';
    else if (call::is_unseen(code)) out += ' ';
    else out += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

} // namespace satsuma::client
