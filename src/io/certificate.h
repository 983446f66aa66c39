#pragma once

#include <expected>
#include <string>
#include <vector>

#include "base/time.h"

namespace satsuma::io {

/// A certificate chain and its private key as PEM text.
struct Certificate {
  std::string chain_pem;
  std::string key_pem;
  std::string sha256_fingerprint; ///< of the first certificate, "AB:CD:..." as browsers show it
};

inline constexpr UnixSeconds certificate_lifetime = 365 * 24 * 3600;
/// One that ends sooner than this is replaced at the start of the program.
inline constexpr UnixSeconds certificate_renewal = 30 * 24 * 3600;

/// The server's own certificate in `folder` (certificate.pem and key.pem, mode 0600): self-signed, ECDSA P-256, valid
/// for a year. What is there is kept while it names all of `names` (host names and numeric addresses) and does not end
/// within 30 days; so a browser that was told to trust it goes on trusting. Errors are sentences for the operator.
std::expected<Certificate, std::string> own_certificate(const std::string& folder, const std::vector<std::string>& names, UnixSeconds now);

/// Reads a given certificate chain and key, and checks that they fit each other and that the certificate has not ended.
std::expected<Certificate, std::string> load_certificate(const std::string& chain_path, const std::string& key_path, UnixSeconds now);

} // namespace satsuma::io
