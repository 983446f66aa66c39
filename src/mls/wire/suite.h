#pragma once

#include <string_view>

#include "crypto/cipher.h"
#include "crypto/hash.h"
#include "crypto/hpke.h"
#include "crypto/kem.h"
#include "crypto/signature.h"
#include "mls/wire/types.h"

namespace satsuma::mls {

/// What a cipher suite consists of (RFC 9420 s.5.1, s.17.1).
struct SuiteParameters {
  CipherSuite id;
  crypto::KemAlgorithm kem;
  crypto::AeadAlgorithm aead;
  crypto::HashAlgorithm hash;
  crypto::SignatureScheme signature;

  std::size_t hash_size() const { return crypto::hash_size(hash); } ///< KDF.Nh
  crypto::HpkeSuite hpke() const { return {kem, hash, aead}; }
};

/// Null for a suite that this library does not have.
const SuiteParameters* find_suite(CipherSuite id);
/// mls_suite_unsupported instead of null.
Result<const SuiteParameters*> require_suite(CipherSuite id);
/// The same for members, who encrypt to each other: mls_suite_unavailable where this OpenSSL lacks the suite's KEM. Followers sign and
/// hash only, and follow such groups all the same.
Result<const SuiteParameters*> require_suite_of_member(CipherSuite id);

/// SignWithLabel and VerifyWithLabel, RFC 9420 s.5.1.2. `label` comes without "MLS 1.0 ".
Result<Bytes> sign_with_label(const SuiteParameters& suite, ByteView private_key, std::string_view label, ByteView content);
Result<void> verify_with_label(const SuiteParameters& suite, ByteView public_key, std::string_view label, ByteView content, ByteView signature);

/// RefHash, RFC 9420 s.5.2. `label` is whole.
Bytes ref_hash(const SuiteParameters& suite, std::string_view label, ByteView value);
Bytes key_package_ref(const SuiteParameters& suite, ByteView encoded_key_package);
Bytes proposal_ref(const SuiteParameters& suite, ByteView encoded_authenticated_content);

} // namespace satsuma::mls
