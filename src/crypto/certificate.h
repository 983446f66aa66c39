#pragma once

#include <memory>
#include <span>

#include "base/bytes.h"
#include "base/time.h"

struct x509_store_st;

namespace satsuma::crypto {

inline constexpr ErrorCode certificate_malformed{"certificate_malformed", ErrorKind::peer};
inline constexpr ErrorCode certificate_untrusted{"certificate_untrusted", ErrorKind::peer};
inline constexpr ErrorCode certificate_not_in_time{"certificate_not_in_time", ErrorKind::peer};
inline constexpr ErrorCode certificate_chain_disordered{"certificate_chain_disordered", ErrorKind::peer};
inline constexpr ErrorCode certificate_not_for_signing{"certificate_not_for_signing", ErrorKind::peer};

/// What a chain's first certificate says, once the chain was verified.
struct CertifiedClient {
  /// As in SignatureKeyPair::public_key; empty for a key that is of none of those schemes.
  Bytes signature_key;
  /// The subject and the subject alternative names, in DER: whoever has the same ones is the same.
  Bytes identity;
};

/// The certificates that somebody trusts (RFC 5280), and chains verified up to one of them. Knows no revocation: short lifetimes, or a caller's own list.
class TrustAnchors {
 public:
  /// Certificates in one chain; more are certificate_malformed.
  static constexpr std::size_t max_chain = 8;

  /// DER each; roots or not, the chain may end at any of them. certificate_malformed.
  static Result<TrustAnchors> from_der(std::span<const Bytes> certificates);
  TrustAnchors(TrustAnchors&&) noexcept;
  TrustAnchors& operator=(TrustAnchors&&) noexcept;
  ~TrustAnchors();

  /// `chain` in DER, the client's first, each certified by the next (RFC 9420 s.5.3); the anchor may be left out.
  /// certificate_malformed, certificate_untrusted (also for weak keys and signatures, below 112 bits), certificate_not_in_time,
  /// certificate_chain_disordered for certificates that are no part of the way to the anchor, certificate_not_for_signing.
  Result<CertifiedClient> verify(std::span<const Bytes> chain, UnixSeconds now) const;

 private:
  struct StoreFree {
    void operator()(x509_store_st* store) const;
  };
  explicit TrustAnchors(x509_store_st* store) : store_(store) {}
  std::unique_ptr<x509_store_st, StoreFree> store_;
};

/// CertifiedClient::identity of a certificate that nobody has verified. certificate_malformed.
Result<Bytes> certificate_identity(ByteView certificate);

} // namespace satsuma::crypto
