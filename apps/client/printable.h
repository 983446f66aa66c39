#pragma once

#include <string>
#include <string_view>

namespace satsuma::client {

/// For the terminal: nothing of what others say may move the cursor, ring the bell, begin a line or turn the rest of it around. Control characters (those beyond
/// ASCII, U+0080 to U+009F, as well) and what separates lines or changes the direction of writing become spaces.
std::string printable(std::string_view text);

} // namespace satsuma::client
