#pragma once

#include "crypto/certificate.h"
#include "mls/tree/leaf_policy.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_certificate_key_mismatch{"mls_certificate_key_mismatch", ErrorKind::peer};

/// Certificates up to anchors that the caller trusts, RFC 9420 s.5.3: the chain is good at the caller's time, and its first certificate is of the leaf's
/// signature key. Whether the one whom it names may be in the group is still the caller's to say: by `effects` of a staged commit, say.
class X509Verifier final : public CredentialVerifier {
 public:
  /// For basic credentials, `basic` is asked; without one they are mls_credential_rejected. Neither is owned.
  explicit X509Verifier(const crypto::TrustAnchors& anchors, UnixSeconds now, const CredentialVerifier* basic = nullptr)
      : anchors_(&anchors), now_(now), basic_(basic) {}

  void set_time(UnixSeconds now) { now_ = now; }
  /// The errors of TrustAnchors::verify, mls_certificate_key_mismatch, mls_credential_rejected for other kinds.
  Result<void> verify(const Credential& credential, ByteView signature_key) const override;
  /// The same subject and the same alternative names, of which there is at least one: a renewed certificate takes the place of the old one.
  /// It may come from another of the anchors: give this only anchors that name people alike.
  bool same_client(const Credential& a, const Credential& b) const override;

 private:
  const crypto::TrustAnchors* anchors_;
  UnixSeconds now_;
  const CredentialVerifier* basic_;
};

} // namespace satsuma::mls
