#pragma once

#include "crypto/kem.h"

/// MLKEM768-X25519, the hybrid KEM that is also called X-Wing (draft-ietf-hpke-pq s.4, draft-irtf-cfrg-concrete-hybrid-kems): what comes
/// out is secret as long as one of ML-KEM-768 (FIPS 203) and X25519 is. Behind kem.h; internal to this folder.
namespace satsuma::crypto::internal {

inline constexpr std::size_t xwing_seed_size = 32; ///< the private key
inline constexpr std::size_t xwing_public_size = 1184 + 32;
inline constexpr std::size_t xwing_encapsulated_size = 1088 + 32;

bool xwing_available();

KemKeyPair xwing_derive_key_pair(ByteView input_key);
/// `seed` has xwing_seed_size bytes.
KemKeyPair xwing_key_pair_from_seed(ByteView seed);
/// ML-KEM's part alone, without OpenSSL: FIPS 203 s.7.2, the encapsulation key check.
bool xwing_ml_kem_key_is_reduced(ByteView public_key);
Result<Encapsulation> xwing_encapsulate(ByteView public_key, RandomSource& random);
Result<SecretBytes> xwing_decapsulate(ByteView encapsulated, ByteView seed, ByteView public_key);

} // namespace satsuma::crypto::internal
