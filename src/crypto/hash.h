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

/// A key of HMAC (RFC 2104) with its two padded blocks hashed already: half the work where one key makes several short tags, as
/// HKDF's does. On the stack, wiped, without an allocation.
class HmacKey {
 public:
  HmacKey(HashAlgorithm algorithm, ByteView key);
  HmacKey(const HmacKey&) = delete;
  HmacKey& operator=(const HmacKey&) = delete;
  ~HmacKey();

  /// `out` has hash_size() bytes.
  void tag_into(std::initializer_list<ByteView> parts, MutableByteView out);
  /// HKDF-Expand (RFC 5869 s.2.3) with this key as the pseudorandom one; up to 255 hash lengths.
  void expand_into(ByteView info, MutableByteView out);

 private:
  struct State;
  State& state();

  std::size_t size_;
  alignas(8) std::uint8_t storage_[512];
};

/// RFC 5869. Sizes beyond 255 hash lengths are a caller's mistake and CHECKed.
SecretBytes hkdf_extract(HashAlgorithm algorithm, ByteView salt, ByteView input_key);
SecretBytes hkdf_expand(HashAlgorithm algorithm, ByteView pseudorandom_key, ByteView info, std::size_t size);

} // namespace satsuma::crypto
