#pragma once

#include <initializer_list>
#include <span>

#include "base/bytes.h"

namespace satsuma::crypto {

inline constexpr std::size_t md5_size = 16;

/// RFC 1321, of the parts as if concatenated. Not a hash for anything new: STUN's long-term credentials name it (RFC 8489 s.9.2.2), where all that
/// hangs on it is that a random password cannot be found. False where OpenSSL does without (FIPS).
bool md5_into(std::initializer_list<ByteView> parts, std::span<std::uint8_t, md5_size> out);

} // namespace satsuma::crypto
