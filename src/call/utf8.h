#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace satsuma::call {

/// The code point at the front of `text`, which is not empty, into `code`. Returns its length, or 0 when it is not
/// UTF-8 (RFC 3629 s.4: shortest form, no surrogates).
std::size_t decode_utf8(std::string_view text, std::uint32_t& code);

bool is_utf8(std::string_view text);

/// Controls, and what changes the direction or the look of the text around it, or cannot be seen. Not the joiners U+200C and U+200D, which make letters and emoji.
bool is_unseen(std::uint32_t code);

} // namespace satsuma::call
