#include "mls/tree/x509_verifier.h"

namespace satsuma::mls {

Result<void> X509Verifier::verify(const Credential& credential, ByteView signature_key) const {
  if (credential.type == credential_type::basic && basic_ != nullptr) return basic_->verify(credential, signature_key);
  if (credential.type != credential_type::x509) return mls_credential_rejected;
  SATSUMA_TRY(const crypto::CertifiedClient client, anchors_->verify(credential.certificates, now_));
  if (client.signature_key.empty() || !equal(client.signature_key, signature_key)) return mls_certificate_key_mismatch;
  return {};
}

bool X509Verifier::same_client(const Credential& a, const Credential& b) const {
  if (a.type != b.type) return false;
  if (a.type == credential_type::basic && basic_ != nullptr) return basic_->same_client(a, b);
  if (a.type != credential_type::x509 || a.certificates.empty() || b.certificates.empty()) return false;
  const auto of_a = crypto::certificate_identity(a.certificates[0]);
  const auto of_b = crypto::certificate_identity(b.certificates[0]);
  constexpr std::size_t nobody = 2; // an empty SEQUENCE, and no alternative name
  return of_a && of_b && of_a->size() > nobody && *of_a == *of_b;
}

} // namespace satsuma::mls
