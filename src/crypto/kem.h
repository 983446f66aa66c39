#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/random.h"
#include "base/secret.h"
#include "crypto/hash.h"

namespace satsuma::crypto {

inline constexpr ErrorCode kem_key_invalid{"kem_key_invalid", ErrorKind::peer};
inline constexpr ErrorCode kem_unavailable{"kem_unavailable", ErrorKind::environment};

/// By its registered id: DHKEM of RFC 9180 s.4.1 (s.7.1), and the hybrid of ML-KEM-768 and X25519 of draft-ietf-hpke-pq s.4 (X-Wing).
enum class KemAlgorithm : std::uint16_t { p256 = 0x0010, p384 = 0x0011, p521 = 0x0012, x25519 = 0x0020, x448 = 0x0021, mlkem768_x25519 = 0x647a };

/// Whether the OpenSSL that this program runs with has it: ML-KEM came with 3.5. Sizes and the check of public keys need none.
bool kem_available(KemAlgorithm kem);

/// Serialised as RFC 9180 s.7.1.1 and s.7.1.2 say; the hybrid's private key is its seed of 32 bytes.
struct KemKeyPair {
  Bytes public_key;
  SecretBytes private_key;

  KemKeyPair clone() const { return {public_key, private_key.clone()}; }
};

struct Encapsulation {
  Bytes encapsulated;
  SecretBytes shared_secret;
};

std::size_t kem_private_key_size(KemAlgorithm kem);
std::size_t kem_public_key_size(KemAlgorithm kem);

/// RFC 9180 s.7.1.3. The input should carry at least kem_private_key_size() bytes of entropy. CHECKs that the KEM is available.
KemKeyPair kem_derive_key_pair(KemAlgorithm kem, ByteView input_key);
/// Derives from kem_private_key_size() bytes of `random`. CHECKs that the KEM is available.
KemKeyPair kem_generate_key_pair(KemAlgorithm kem, RandomSource& random);
/// Whether the bytes are a public key: right size, on the curve, and not of small order; of ML-KEM, reduced (FIPS 203 s.7.2).
Result<void> kem_check_public_key(KemAlgorithm kem, ByteView public_key);

// The rest is kem_unavailable where the KEM is.

/// kem_key_invalid when the private key is none. Computes the public one. A NIST scalar may come without its leading zeros.
Result<KemKeyPair> kem_key_pair_from_private(KemAlgorithm kem, ByteView private_key);
/// The ephemeral key is kem_generate_key_pair(random); the hybrid takes 64 bytes of `random`, ML-KEM's first. kem_key_invalid for a bad
/// public key and for an all-zero result.
Result<Encapsulation> kem_encapsulate(KemAlgorithm kem, ByteView public_key, RandomSource& random);
/// `private_key` belongs to `public_key`; the caller has both, so that the latter need not be computed again.
Result<SecretBytes> kem_decapsulate(KemAlgorithm kem, ByteView encapsulated, ByteView private_key, ByteView public_key);

} // namespace satsuma::crypto
