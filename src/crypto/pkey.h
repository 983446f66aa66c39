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
/// Null when `point` is not an uncompressed point on the curve.
Pkey ec_public_key(Curve curve, ByteView point);
/// Null when `scalar` is not in [1, order). `point` is trusted to belong to it.
Pkey ec_private_key(Curve curve, ByteView scalar, ByteView point);
/// The uncompressed point of a scalar; empty when the scalar is not in [1, order).
Bytes ec_public_from_private(Curve curve, ByteView scalar);

/// Keys that are just bytes: "ED25519", "ED448", "X25519", "X448".
Pkey raw_public_key(const char* algorithm, ByteView key);
Pkey raw_private_key(const char* algorithm, ByteView key);
Bytes raw_public_from_private(const char* algorithm, ByteView key);

/// Diffie-Hellman; empty when the peer's key is bad or the result is all zeros.
SecretBytes derive(evp_pkey_st* own, evp_pkey_st* peer);

} // namespace satsuma::crypto::internal
