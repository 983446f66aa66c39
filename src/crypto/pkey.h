#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/secret.h"

struct evp_pkey_st;

/// OpenSSL's asymmetric keys from raw bytes; internal to this folder.
namespace satsuma::crypto::internal {

struct PkeyFree {
  void operator()(evp_pkey_st* key) const;
};
using Pkey = std::unique_ptr<evp_pkey_st, PkeyFree>;

enum class Curve : std::uint8_t { p256, p384, p521 };

/// Bytes of a scalar and of a coordinate.
std::size_t curve_size(Curve curve);
/// Whether it is an uncompressed point on the curve. All of those have the curve's order: the cofactor is 1.
bool ec_point_is_valid(Curve curve, ByteView point);
/// Null when `point` is not one.
Pkey ec_public_key(Curve curve, ByteView point);
/// Null when `scalar` is not in [1, order). `point` is trusted to belong to it.
Pkey ec_private_key(Curve curve, ByteView scalar, ByteView point);
/// The uncompressed point of a scalar; empty when the scalar is not in [1, order).
Bytes ec_public_from_private(Curve curve, ByteView scalar);

/// Keys that are just bytes: "ED25519", "ED448", "X25519", "X448".
Pkey raw_public_key(const char* algorithm, ByteView key);
Pkey raw_private_key(const char* algorithm, ByteView key);
Bytes raw_public_from_private(const char* algorithm, ByteView key);
Bytes raw_public_key_of(const evp_pkey_st* key);

/// Diffie-Hellman; empty when the peer's key is bad or the result is all zeros.
SecretBytes derive(evp_pkey_st* own, evp_pkey_st* peer);

/// Whether this OpenSSL has keys of that name.
bool has_key_type(const char* algorithm);
/// The key pair of ML-KEM's d and z (FIPS 203 s.7.1); `algorithm` is "ML-KEM-768" or its like.
Pkey ml_kem_key_from_seed(const char* algorithm, ByteView seed);
/// The shared secret; the ciphertext goes to `ciphertext`. `message` is FIPS 203's m, 32 random bytes. Empty after a failure.
SecretBytes ml_kem_encapsulate(evp_pkey_st* peer, ByteView message, Bytes& ciphertext);
/// A ciphertext that was not made for the key gives a secret that nobody else knows (FIPS 203 s.7.3). Empty for one of another size.
SecretBytes ml_kem_decapsulate(evp_pkey_st* own, ByteView ciphertext);

} // namespace satsuma::crypto::internal
