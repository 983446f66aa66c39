#pragma once

#include <string_view>

#include "base/random.h"
#include "base/secret.h"
#include "mls/wire/proposal.h"
#include "mls/wire/suite.h"

/// The labelled functions of RFC 9420 that handle secrets. Labels come without "MLS 1.0 ".
namespace satsuma::mls {

inline constexpr ErrorCode mls_decryption_failed{"mls_decryption_failed", ErrorKind::peer};

/// s.8
SecretBytes expand_with_label(const SuiteParameters& suite, ByteView secret, std::string_view label, ByteView context, std::size_t size);
SecretBytes derive_secret(const SuiteParameters& suite, ByteView secret, std::string_view label);
/// s.9
SecretBytes derive_tree_secret(const SuiteParameters& suite, ByteView secret, std::string_view label, std::uint32_t generation, std::size_t size);
/// s.5.1.3
Result<HpkeCiphertext> encrypt_with_label(const SuiteParameters& suite, ByteView public_key, std::string_view label, ByteView context, ByteView plaintext,
                                          RandomSource& random);
/// mls_decryption_failed for whatever is wrong with the ciphertext.
Result<SecretBytes> decrypt_with_label(const SuiteParameters& suite, ByteView private_key, ByteView public_key, std::string_view label, ByteView context,
                                       const HpkeCiphertext& ciphertext);

} // namespace satsuma::mls
