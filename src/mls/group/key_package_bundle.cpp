#include "mls/group/key_package_bundle.h"

#include "mls/wire/grease.h"
#include "mls/wire/message.h"

namespace satsuma::mls {

Bytes KeyPackageBundle::message() const { return MLSMessage{key_package}.encode(); }

Result<crypto::SignatureKeyPair> generate_signature_keys(CipherSuite id, RandomSource& random) {
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite(id));
  return crypto::generate_signature_key_pair(suite->signature, random);
}

bool is_last_resort(const KeyPackage& key_package) { return find_extension(key_package.extensions, extension_type::last_resort) != nullptr; }

Result<KeyPackageBundle> generate_key_package(const KeyPackageParams& params, const crypto::SignatureKeyPair& signature_keys, RandomSource& random) {
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite_of_member(params.suite));
  crypto::KemKeyPair init = crypto::kem_generate_key_pair(suite->kem, random);
  crypto::KemKeyPair leaf = crypto::kem_generate_key_pair(suite->kem, random);

  KeyPackageBundle bundle;
  KeyPackage& package = bundle.key_package;
  package.cipher_suite = params.suite;
  package.init_key = std::move(init.public_key);
  package.extensions = params.extensions;
  LeafNode& node = package.leaf_node;
  node.encryption_key = std::move(leaf.public_key);
  node.signature_key = signature_keys.public_key;
  node.credential = params.credential;
  node.capabilities = params.capabilities ? *params.capabilities : Capabilities::ours();
  node.source = LeafNodeSource::key_package;
  node.lifetime = params.lifetime;
  node.extensions = params.leaf_extensions;
  if (params.last_resort && !is_last_resort(package)) package.extensions.push_back({extension_type::last_resort, {}});
  if (params.grease) {
    add_grease(node.capabilities, random);
    for (Extensions* extensions : {&node.extensions, &package.extensions}) {
      Extension meaningless = grease_extension(random);
      if (find_extension(*extensions, meaningless.type) == nullptr) extensions->push_back(std::move(meaningless));
    }
  }
  list_what_is_used(node);
  list_extensions(node.capabilities, package.extensions);
  SATSUMA_TRY_VOID(node.sign(*suite, signature_keys.private_key.view(), {}, {}));
  SATSUMA_TRY_VOID(package.sign(*suite, signature_keys.private_key.view()));
  bundle.init_private_key = std::move(init.private_key);
  bundle.encryption_private_key = std::move(leaf.private_key);
  bundle.signature_private_key = signature_keys.private_key.clone();
  return bundle;
}

} // namespace satsuma::mls
