#include "crypto/certificate.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <limits>
#include <vector>

namespace satsuma::crypto {

namespace {

struct CertificateFree {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using Certificate = std::unique_ptr<X509, CertificateFree>;

struct StackFree {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
struct ContextFree {
  void operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }
};

Certificate parse(ByteView der) {
  if (der.size() > 1 << 16) return nullptr;
  const unsigned char* at = der.data();
  Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (at != der.data() + der.size()) return nullptr;
  return certificate;
}

template <class T>
void append_der(Bytes& out, const T* value, int (*encode)(const T*, unsigned char**)) {
  const int size = encode(value, nullptr);
  SATSUMA_CHECK(size >= 0);
  const std::size_t before = out.size();
  out.resize(before + static_cast<std::size_t>(size));
  unsigned char* at = out.data() + before;
  SATSUMA_CHECK(encode(value, &at) == size);
}

Bytes identity_of(const X509* certificate) {
  Bytes out;
  append_der<X509_NAME>(out, X509_get_subject_name(certificate), i2d_X509_NAME);
  const int index = X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1);
  if (index >= 0) append_der<X509_EXTENSION>(out, X509_get_ext(certificate, index), i2d_X509_EXTENSION);
  return out;
}

// As MLS writes it, RFC 9420 s.5.1.1.
Bytes signature_key_of(const X509* certificate) {
  const EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr) return {};
  std::size_t size = 0;
  if (EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1) {
    if (EVP_PKEY_get_raw_public_key(key, nullptr, &size) != 1) return {};
    Bytes out(size);
    if (EVP_PKEY_get_raw_public_key(key, out.data(), &size) != 1) return {};
    return out;
  }
  if (EVP_PKEY_is_a(key, "EC") != 1) return {};
  // Put together from the coordinates: a certificate may have the point compressed.
  BIGNUM* x = nullptr;
  BIGNUM* y = nullptr;
  Bytes out;
  if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1) {
    const std::size_t field = (static_cast<std::size_t>(EVP_PKEY_get_bits(key)) + 7) / 8;
    out.assign(1 + 2 * field, 0);
    out[0] = 4;
    if (BN_bn2binpad(x, out.data() + 1, static_cast<int>(field)) < 0 || BN_bn2binpad(y, out.data() + 1 + field, static_cast<int>(field)) < 0) out.clear();
  }
  BN_free(x);
  BN_free(y);
  return out;
}

const ErrorCode& error_of(int reason) {
  switch (reason) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID: return certificate_not_in_time;
    default: return certificate_untrusted;
  }
}

} // namespace

void TrustAnchors::StoreFree::operator()(x509_store_st* store) const { X509_STORE_free(store); }
TrustAnchors::TrustAnchors(TrustAnchors&&) noexcept = default;
TrustAnchors& TrustAnchors::operator=(TrustAnchors&&) noexcept = default;
TrustAnchors::~TrustAnchors() = default;

Result<TrustAnchors> TrustAnchors::from_der(std::span<const Bytes> certificates) {
  TrustAnchors anchors(X509_STORE_new());
  SATSUMA_CHECK(anchors.store_ != nullptr);
  for (const Bytes& der : certificates) {
    const Certificate certificate = parse(der);
    if (certificate == nullptr) return certificate_malformed;
    SATSUMA_CHECK(X509_STORE_add_cert(anchors.store_.get(), certificate.get()) == 1); // counts its own reference
  }
  return anchors;
}

Result<CertifiedClient> TrustAnchors::verify(std::span<const Bytes> chain, UnixSeconds now) const {
  if (chain.empty() || chain.size() > max_chain || now > static_cast<UnixSeconds>(std::numeric_limits<time_t>::max())) return certificate_malformed;
  std::vector<Certificate> certificates;
  const std::unique_ptr<STACK_OF(X509), StackFree> others(sk_X509_new_null());
  const std::unique_ptr<X509_STORE_CTX, ContextFree> context(X509_STORE_CTX_new());
  SATSUMA_CHECK(others != nullptr && context != nullptr);
  for (const Bytes& der : chain) {
    Certificate certificate = parse(der);
    if (certificate == nullptr) return certificate_malformed;
    if (!certificates.empty()) SATSUMA_CHECK(sk_X509_push(others.get(), certificate.get()) > 0);
    certificates.push_back(std::move(certificate));
  }
  SATSUMA_CHECK(X509_STORE_CTX_init(context.get(), store_.get(), certificates[0].get(), others.get()) == 1);
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(rules, static_cast<time_t>(now));
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
  X509_VERIFY_PARAM_set_depth(rules, static_cast<int>(max_chain));
  X509_VERIFY_PARAM_set_auth_level(rules, 2); // 112 bits
  if (X509_verify_cert(context.get()) != 1) return error_of(X509_STORE_CTX_get_error(context.get()));

  const STACK_OF(X509)* way = X509_STORE_CTX_get0_chain(context.get());
  if (chain.size() > static_cast<std::size_t>(sk_X509_num(way))) return certificate_chain_disordered;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    if (X509_cmp(sk_X509_value(way, static_cast<int>(i)), certificates[i].get()) != 0) return certificate_chain_disordered;
  }
  // RFC 5280 s.4.2.1.3: where the extension is there; all bits are set where it is not.
  if ((X509_get_key_usage(certificates[0].get()) & KU_DIGITAL_SIGNATURE) == 0) return certificate_not_for_signing;
  return CertifiedClient{signature_key_of(certificates[0].get()), identity_of(certificates[0].get())};
}

Result<Bytes> certificate_identity(ByteView der) {
  const Certificate certificate = parse(der);
  if (certificate == nullptr) return certificate_malformed;
  return identity_of(certificate.get());
}

} // namespace satsuma::crypto
