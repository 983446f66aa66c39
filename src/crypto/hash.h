#pragma once

#include <cstddef>

#include "base/bytes.h"
#include "base/secret.h"

namespace satsuma::crypto {

enum class HashAlgorithm : std::uint8_t { sha1, sha256, sha384, sha512 };

inline constexpr std::size_t max_hash_size = 64;

std::size_t hash_size(HashAlgorithm algorithm);

Bytes hash(HashAlgorithm algorithm, ByteView data);
/// Into `out`, which has exactly hash_size() bytes. Several parts are hashed as if concatenated.
void hash_into(HashAlgorithm algorithm, std::initializer_list<ByteView> parts, MutableByteView out);

/// RFC 2104. The parts are authenticated as if concatenated.
Bytes hmac(HashAlgorithm algorithm, ByteView key, std::initializer_list<ByteView> parts);
void hmac_into(HashAlgorithm algorithm, ByteView key, std::initializer_list<ByteView> parts, MutableByteView out);

/// RFC 5869. Sizes beyond 255 hash lengths are a caller's mistake and CHECKed.
SecretBytes hkdf_extract(HashAlgorithm algorithm, ByteView salt, ByteView input_key);
SecretBytes hkdf_expand(HashAlgorithm algorithm, ByteView pseudorandom_key, ByteView info, std::size_t size);

} // namespace satsuma::crypto
