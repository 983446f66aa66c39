#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/random.h"
#include "base/secret.h"
#include "crypto/hash.h"

namespace satsuma::crypto {

inline constexpr ErrorCode kem_key_invalid{"kem_key_invalid", ErrorKind::peer};

/// DHKEM of RFC 9180 s.4.1, by its registered id (s.7.1).
enum class KemAlgorithm : std::uint16_t { p256 = 0x0010, p384 = 0x0011, p521 = 0x0012, x25519 = 0x0020, x448 = 0x0021 };

/// Serialised as RFC 9180 s.7.1.1 and s.7.1.2 say.
struct KemKeyPair {
  Bytes public_key;
  SecretBytes private_key;

  KemKeyPair clone() const { return {public_key, private_key.clone()}; }
};

struct Encapsulation {
  Bytes encapsulated;
  SecretBytes shared_secret;
};

HashAlgorithm kem_hash(KemAlgorithm kem);
std::size_t kem_private_key_size(KemAlgorithm kem);
std::size_t kem_public_key_size(KemAlgorithm kem);

/// RFC 9180 s.7.1.3. The input should carry at least kem_private_key_size() bytes of entropy.
KemKeyPair kem_derive_key_pair(KemAlgorithm kem, ByteView input_key);
/// Derives from kem_private_key_size() bytes of `random`.
KemKeyPair kem_generate_key_pair(KemAlgorithm kem, RandomSource& random);
/// kem_key_invalid when the private key is none. Computes the public one. A NIST scalar may come without its leading zeros.
Result<KemKeyPair> kem_key_pair_from_private(KemAlgorithm kem, ByteView private_key);
/// Whether the bytes are a public key: right size, on the curve, and not of small order.
Result<void> kem_check_public_key(KemAlgorithm kem, ByteView public_key);

/// The ephemeral key is kem_generate_key_pair(random). kem_key_invalid for a bad public key and for an all-zero result.
Result<Encapsulation> kem_encapsulate(KemAlgorithm kem, ByteView public_key, RandomSource& random);
/// `private_key` belongs to `public_key`; the caller has both, so that the latter need not be computed again.
Result<SecretBytes> kem_decapsulate(KemAlgorithm kem, ByteView encapsulated, ByteView private_key, ByteView public_key);

} // namespace satsuma::crypto
