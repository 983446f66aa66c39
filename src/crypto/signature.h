#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/random.h"
#include "base/secret.h"

namespace satsuma::crypto {

inline constexpr ErrorCode signature_invalid{"signature_invalid", ErrorKind::peer};
inline constexpr ErrorCode signature_key_invalid{"signature_key_invalid", ErrorKind::peer};

/// The schemes of MLS (RFC 9420 s.5.1.1). Ed25519 and Ed448 are RFC 8032; the ECDSA ones hash with the
/// SHA-2 of their size and write DER signatures.
enum class SignatureScheme : std::uint8_t { ed25519, ed448, ecdsa_p256_sha256, ecdsa_p384_sha384, ecdsa_p521_sha512 };

/// Public: 32 or 57 raw bytes, or an uncompressed point (X9.62). Private: the RFC 8032 seed, or the
/// scalar, big endian at the field's full size.
struct SignatureKeyPair {
  Bytes public_key;
  SecretBytes private_key;

  SignatureKeyPair clone() const { return {public_key, private_key.clone()}; }
};

SignatureKeyPair generate_signature_key_pair(SignatureScheme scheme, RandomSource& random);
/// signature_key_invalid when the bytes are no private key of the scheme. A scalar may come without its leading zeros.
Result<SignatureKeyPair> signature_key_pair_from_private(SignatureScheme scheme, ByteView private_key);

/// ECDSA's nonce comes from OpenSSL's generator, not from a RandomSource.
Result<Bytes> sign(SignatureScheme scheme, ByteView private_key, ByteView message);
/// signature_key_invalid or signature_invalid.
Result<void> verify(SignatureScheme scheme, ByteView public_key, ByteView message, ByteView signature);

} // namespace satsuma::crypto
