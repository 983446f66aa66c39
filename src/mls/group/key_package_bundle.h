#pragma once

#include "base/random.h"
#include "base/secret.h"
#include "mls/wire/key_package.h"

namespace satsuma::mls {

/// A key package with the private keys that belong to it: what one needs to join (RFC 9420 s.10).
struct KeyPackageBundle {
  KeyPackage key_package;
  SecretBytes init_private_key;
  SecretBytes encryption_private_key; ///< of the leaf node
  SecretBytes signature_private_key;

  KeyPackageBundle clone() const {
    return {key_package, init_private_key.clone(), encryption_private_key.clone(), signature_private_key.clone()};
  }
  /// With the private keys, in the format of mls/tree/stored.h: encrypt it where it is kept.
  SecretBytes store() const;
  /// The errors of stored.h. Checks that the private keys belong to the public ones.
  static Result<KeyPackageBundle> load(ByteView stored);
  /// The bytes of the MLSMessage with the key package.
  Bytes message() const;
};

struct KeyPackageParams {
  CipherSuite suite = CipherSuite::x25519_chacha20poly1305_sha256_ed25519;
  Credential credential;
  Lifetime lifetime{0, ~UnixSeconds{0}};
  std::optional<Capabilities> capabilities; ///< Capabilities::ours() when empty
  Extensions leaf_extensions;
  Extensions extensions;
  /// May be used more than once, when no other is left (RFC 9420 s.16.8).
  bool last_resort = false;
  /// Values that mean nothing go into the capabilities and the extensions (s.13.5).
  bool grease = true;
};

/// Whether a key package says that it may be used again.
bool is_last_resort(const KeyPackage& key_package);

/// Signs with `signature_keys`, of which the bundle gets a copy; fresh init and leaf keys come from `random`. Every
/// extension type that it uses is listed in the capabilities. mls_suite_unsupported, mls_suite_unavailable.
Result<KeyPackageBundle> generate_key_package(const KeyPackageParams& params, const crypto::SignatureKeyPair& signature_keys, RandomSource& random);

/// A signature key pair for the suite; mls_suite_unsupported.
Result<crypto::SignatureKeyPair> generate_signature_keys(CipherSuite suite, RandomSource& random);

} // namespace satsuma::mls
