#include "crypto/pkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>

#include <array>

namespace satsuma::crypto::internal {

namespace {

struct Free {
  void operator()(BIGNUM* p) const { BN_clear_free(p); }
  void operator()(EC_POINT* p) const { EC_POINT_free(p); }
  void operator()(EVP_PKEY_CTX* p) const { EVP_PKEY_CTX_free(p); }
  void operator()(OSSL_PARAM_BLD* p) const { OSSL_PARAM_BLD_free(p); }
  void operator()(OSSL_PARAM* p) const { OSSL_PARAM_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

const EC_GROUP* group(Curve curve) {
  static const std::array<const EC_GROUP*, 3> groups = {EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1), EC_GROUP_new_by_curve_name(NID_secp384r1),
                                                        EC_GROUP_new_by_curve_name(NID_secp521r1)};
  return groups[static_cast<std::size_t>(curve)];
}

const char* group_name(Curve curve) {
  switch (curve) {
    case Curve::p256: return "P-256";
    case Curve::p384: return "P-384";
    case Curve::p521: return "P-521";
  }
  return nullptr;
}

Owned<BIGNUM> scalar_in_range(Curve curve, ByteView scalar) {
  if (scalar.size() > curve_size(curve)) return nullptr;
  Owned<BIGNUM> number(BN_bin2bn(scalar.data(), static_cast<int>(scalar.size()), nullptr));
  if (number == nullptr || BN_is_zero(number.get()) || BN_cmp(number.get(), EC_GROUP_get0_order(group(curve))) >= 0) return nullptr;
  BN_set_flags(number.get(), BN_FLG_CONSTTIME);
  return number;
}

Pkey ec_key(Curve curve, const BIGNUM* scalar, ByteView point) {
  if (point.size() != 1 + 2 * curve_size(curve) || point[0] != 4) return nullptr;
  const Owned<OSSL_PARAM_BLD> build(OSSL_PARAM_BLD_new());
  if (build == nullptr || OSSL_PARAM_BLD_push_utf8_string(build.get(), OSSL_PKEY_PARAM_GROUP_NAME, group_name(curve), 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(build.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1) {
    return nullptr;
  }
  if (scalar != nullptr && OSSL_PARAM_BLD_push_BN_pad(build.get(), OSSL_PKEY_PARAM_PRIV_KEY, scalar, curve_size(curve)) != 1) return nullptr;
  const Owned<OSSL_PARAM> params(OSSL_PARAM_BLD_to_param(build.get()));
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (params == nullptr || context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, scalar != nullptr ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    return nullptr;
  }
  return Pkey(key);
}

} // namespace

void PkeyFree::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

std::size_t curve_size(Curve curve) { return curve == Curve::p256 ? 32 : curve == Curve::p384 ? 48 : 66; }

bool ec_point_is_valid(Curve curve, ByteView point) {
  if (point.size() != 1 + 2 * curve_size(curve) || point[0] != 4) return false;
  const Owned<EC_POINT> decoded(EC_POINT_new(group(curve)));
  SATSUMA_CHECK(decoded != nullptr);
  return EC_POINT_oct2point(group(curve), decoded.get(), point.data(), point.size(), nullptr) == 1;
}

Pkey ec_public_key(Curve curve, ByteView point) { return ec_key(curve, nullptr, point); }

Pkey ec_private_key(Curve curve, ByteView scalar, ByteView point) {
  const Owned<BIGNUM> number = scalar_in_range(curve, scalar);
  return number == nullptr ? nullptr : ec_key(curve, number.get(), point);
}

Bytes ec_public_from_private(Curve curve, ByteView scalar) {
  const Owned<BIGNUM> number = scalar_in_range(curve, scalar);
  if (number == nullptr) return {};
  const Owned<EC_POINT> point(EC_POINT_new(group(curve)));
  SATSUMA_CHECK(point != nullptr && EC_POINT_mul(group(curve), point.get(), number.get(), nullptr, nullptr, nullptr) == 1);
  Bytes out(1 + 2 * curve_size(curve));
  SATSUMA_CHECK(EC_POINT_point2oct(group(curve), point.get(), POINT_CONVERSION_UNCOMPRESSED, out.data(), out.size(), nullptr) == out.size());
  return out;
}

Pkey raw_public_key(const char* algorithm, ByteView key) {
  return Pkey(EVP_PKEY_new_raw_public_key_ex(nullptr, algorithm, nullptr, key.data(), key.size()));
}

Pkey raw_private_key(const char* algorithm, ByteView key) {
  return Pkey(EVP_PKEY_new_raw_private_key_ex(nullptr, algorithm, nullptr, key.data(), key.size()));
}

Bytes raw_public_from_private(const char* algorithm, ByteView key) {
  const Pkey pair = raw_private_key(algorithm, key);
  return pair == nullptr ? Bytes() : raw_public_key_of(pair.get());
}

Bytes raw_public_key_of(const evp_pkey_st* key) {
  std::size_t size = 0;
  SATSUMA_CHECK(EVP_PKEY_get_raw_public_key(key, nullptr, &size) == 1);
  Bytes out(size);
  SATSUMA_CHECK(EVP_PKEY_get_raw_public_key(key, out.data(), &size) == 1);
  return out;
}

SecretBytes derive(evp_pkey_st* own, evp_pkey_st* peer) {
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_pkey(nullptr, own, nullptr));
  std::size_t size = 0;
  if (context == nullptr || EVP_PKEY_derive_init(context.get()) != 1 || EVP_PKEY_derive_set_peer(context.get(), peer) != 1 ||
      EVP_PKEY_derive(context.get(), nullptr, &size) != 1) {
    return {};
  }
  SecretBytes out(size);
  if (EVP_PKEY_derive(context.get(), out.mutable_view().data(), &size) != 1 || size != out.size()) return {};
  return out;
}

bool has_key_type(const char* algorithm) {
  EVP_KEYMGMT* const found = EVP_KEYMGMT_fetch(nullptr, algorithm, nullptr);
  EVP_KEYMGMT_free(found);
  return found != nullptr;
}

// By the parameters' names, so that it compiles with the headers of an OpenSSL that has no ML-KEM.
Pkey ml_kem_key_from_seed(const char* algorithm, ByteView seed) {
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, algorithm, nullptr));
  OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string("seed", const_cast<std::uint8_t*>(seed.data()), seed.size()), OSSL_PARAM_construct_end()};
  EVP_PKEY* key = nullptr;
  if (context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 || EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, params) != 1) {
    return nullptr;
  }
  return Pkey(key);
}

SecretBytes ml_kem_encapsulate(evp_pkey_st* peer, ByteView message, Bytes& ciphertext) {
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_pkey(nullptr, peer, nullptr));
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string("ikme", const_cast<std::uint8_t*>(message.data()), message.size()),
                               OSSL_PARAM_construct_end()};
  std::size_t size = 0;
  std::size_t secret_size = 0;
  if (context == nullptr || EVP_PKEY_encapsulate_init(context.get(), params) != 1 ||
      EVP_PKEY_encapsulate(context.get(), nullptr, &size, nullptr, &secret_size) != 1) {
    return {};
  }
  ciphertext.resize(size);
  SecretBytes secret(secret_size);
  if (EVP_PKEY_encapsulate(context.get(), ciphertext.data(), &size, secret.mutable_view().data(), &secret_size) != 1) return {};
  return secret;
}

SecretBytes ml_kem_decapsulate(evp_pkey_st* own, ByteView ciphertext) {
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_pkey(nullptr, own, nullptr));
  std::size_t size = 0;
  if (context == nullptr || EVP_PKEY_decapsulate_init(context.get(), nullptr) != 1 ||
      EVP_PKEY_decapsulate(context.get(), nullptr, &size, ciphertext.data(), ciphertext.size()) != 1) {
    return {};
  }
  SecretBytes secret(size);
  if (EVP_PKEY_decapsulate(context.get(), secret.mutable_view().data(), &size, ciphertext.data(), ciphertext.size()) != 1) return {};
  return secret;
}

} // namespace satsuma::crypto::internal
