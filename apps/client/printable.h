#pragma once

#include <string>
#include <string_view>

namespace satsuma::client {

/// For the terminal: nothing of what others say may move the cursor, ring the bell, begin a line or turn the rest of it around. What call::is_unseen(), and what
/// separates lines, becomes a space; what is no UTF-8 a question mark.
std::string printable(std::string_view text);

} // namespace satsuma::client
