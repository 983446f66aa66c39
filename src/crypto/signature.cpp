#include "crypto/signature.h"

#include <openssl/evp.h>

#include <optional>

#include "crypto/pkey.h"

namespace satsuma::crypto {

namespace {

using internal::Curve;
using internal::Pkey;

struct MdContextFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using MdContext = std::unique_ptr<EVP_MD_CTX, MdContextFree>;

struct SchemeRow {
  const char* raw_name; // null for ECDSA
  Curve curve;
  const char* digest; // null where the scheme has its own
  std::size_t private_size;
};

SchemeRow row(SignatureScheme scheme) {
  switch (scheme) {
    case SignatureScheme::ed25519: return {"ED25519", {}, nullptr, 32};
    case SignatureScheme::ed448: return {"ED448", {}, nullptr, 57};
    case SignatureScheme::ecdsa_p256_sha256: return {nullptr, Curve::p256, "SHA256", 32};
    case SignatureScheme::ecdsa_p384_sha384: return {nullptr, Curve::p384, "SHA384", 48};
    case SignatureScheme::ecdsa_p521_sha512: return {nullptr, Curve::p521, "SHA512", 66};
  }
  return {};
}

Bytes public_from_private(const SchemeRow& scheme, ByteView private_key) {
  return scheme.raw_name != nullptr ? internal::raw_public_from_private(scheme.raw_name, private_key)
                                    : internal::ec_public_from_private(scheme.curve, private_key);
}

} // namespace

SignatureKeyPair generate_signature_key_pair(SignatureScheme scheme, RandomSource& random) {
  const SchemeRow r = row(scheme);
  while (true) {
    SecretBytes private_key(r.private_size);
    random.fill(private_key.mutable_view());
    if (scheme == SignatureScheme::ecdsa_p521_sha512) private_key.mutable_view()[0] &= 1; // the order has 521 bits
    Bytes public_key = public_from_private(r, private_key.view());
    // A scalar beyond the order is drawn again, so that all are equally likely.
    if (!public_key.empty()) return {std::move(public_key), std::move(private_key)};
  }
}

Result<SignatureKeyPair> signature_key_pair_from_private(SignatureScheme scheme, ByteView private_key) {
  const SchemeRow r = row(scheme);
  if (private_key.size() > r.private_size) return signature_key_invalid;
  if (r.raw_name != nullptr && private_key.size() != r.private_size) return signature_key_invalid;
  SecretBytes padded(r.private_size);
  for (std::size_t i = 0; i < private_key.size(); ++i) padded.mutable_view()[r.private_size - private_key.size() + i] = private_key[i];
  Bytes public_key = public_from_private(r, padded.view());
  if (public_key.empty()) return signature_key_invalid;
  return SignatureKeyPair{std::move(public_key), std::move(padded)};
}

Result<Bytes> sign(SignatureScheme scheme, ByteView private_key, ByteView message) {
  const SchemeRow r = row(scheme);
  Pkey key;
  if (r.raw_name != nullptr) {
    key = internal::raw_private_key(r.raw_name, private_key);
  } else {
    const Bytes point = internal::ec_public_from_private(r.curve, private_key);
    if (!point.empty()) key = internal::ec_private_key(r.curve, private_key, point);
  }
  if (key == nullptr) return signature_key_invalid;
  const MdContext context(EVP_MD_CTX_new());
  std::size_t size = 0;
  SATSUMA_CHECK(context != nullptr);
  SATSUMA_CHECK(EVP_DigestSignInit_ex(context.get(), nullptr, r.digest, nullptr, nullptr, key.get(), nullptr) == 1);
  SATSUMA_CHECK(EVP_DigestSign(context.get(), nullptr, &size, message.data(), message.size()) == 1);
  Bytes signature(size);
  SATSUMA_CHECK(EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) == 1);
  signature.resize(size);
  return signature;
}

Result<void> verify(SignatureScheme scheme, ByteView public_key, ByteView message, ByteView signature) {
  const SchemeRow r = row(scheme);
  const Pkey key = r.raw_name != nullptr ? internal::raw_public_key(r.raw_name, public_key) : internal::ec_public_key(r.curve, public_key);
  if (key == nullptr) return signature_key_invalid;
  const MdContext context(EVP_MD_CTX_new());
  SATSUMA_CHECK(context != nullptr);
  SATSUMA_CHECK(EVP_DigestVerifyInit_ex(context.get(), nullptr, r.digest, nullptr, nullptr, key.get(), nullptr) == 1);
  if (EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) != 1) return signature_invalid;
  return {};
}

} // namespace satsuma::crypto
