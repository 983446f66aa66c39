#include "mls/group/welcome.h"

namespace satsuma::mls {

Result<GroupSecrets> GroupSecrets::parse(ByteReader& reader) {
  GroupSecrets out;
  SATSUMA_TRY(const ByteView joiner, codec::read_opaque(reader));
  out.joiner_secret = SecretBytes::copy_of(joiner);
  SATSUMA_TRY(out.path_secret, codec::read_optional_with<SecretBytes>(reader, [](ByteReader& r) -> Result<SecretBytes> {
                SATSUMA_TRY(const ByteView secret, codec::read_opaque(r));
                return SecretBytes::copy_of(secret);
              }));
  SATSUMA_TRY(out.psks, codec::read_vector<PreSharedKeyId>(reader));
  return out;
}

SecretBytes GroupSecrets::encode() const {
  ByteWriter writer(256);
  codec::write_opaque(writer, joiner_secret.view());
  codec::write_optional_with(writer, path_secret, [](ByteWriter& w, const SecretBytes& secret) { codec::write_opaque(w, secret.view()); });
  codec::write_vector(writer, psks);
  SecretBytes out = SecretBytes::copy_of(writer.view());
  wipe(writer.mutable_view());
  return out;
}

Result<EncryptedGroupSecrets> encrypt_group_secrets(const SuiteParameters& suite, const GroupSecrets& secrets, ByteView init_key, Bytes key_package_ref,
                                                    ByteView encrypted_group_info, RandomSource& random) {
  const SecretBytes encoded = secrets.encode();
  SATSUMA_TRY(HpkeCiphertext ciphertext, encrypt_with_label(suite, init_key, "Welcome", encrypted_group_info, encoded.view(), random));
  return EncryptedGroupSecrets{std::move(key_package_ref), std::move(ciphertext)};
}

Result<GroupSecrets> decrypt_group_secrets(const SuiteParameters& suite, const EncryptedGroupSecrets& entry, ByteView init_private_key, ByteView init_key,
                                           ByteView encrypted_group_info) {
  SATSUMA_TRY(const SecretBytes plaintext,
              decrypt_with_label(suite, init_private_key, init_key, "Welcome", encrypted_group_info, entry.encrypted_group_secrets));
  return codec::decode<GroupSecrets>(plaintext.view());
}

namespace {

struct WelcomeKey {
  SecretBytes key;
  SecretBytes nonce;
};

WelcomeKey welcome_key(const SuiteParameters& suite, ByteView welcome_secret) {
  return {expand_with_label(suite, welcome_secret, "key", {}, crypto::aead_key_size(suite.aead)),
          expand_with_label(suite, welcome_secret, "nonce", {}, crypto::aead_nonce_size)};
}

} // namespace

Bytes encrypt_group_info(const SuiteParameters& suite, ByteView welcome_secret, const GroupInfo& info) {
  const WelcomeKey key = welcome_key(suite, welcome_secret);
  const Bytes plaintext = codec::encode(info);
  Bytes out(plaintext.size() + crypto::aead_tag_size);
  crypto::AeadKey(suite.aead, key.key.view()).seal(key.nonce.view(), {}, plaintext, out);
  return out;
}

Result<GroupInfo> decrypt_group_info(const SuiteParameters& suite, ByteView welcome_secret, ByteView encrypted) {
  if (encrypted.size() < crypto::aead_tag_size) return mls_welcome_invalid;
  const WelcomeKey key = welcome_key(suite, welcome_secret);
  Bytes plaintext(encrypted.size() - crypto::aead_tag_size);
  if (!crypto::AeadKey(suite.aead, key.key.view()).open(key.nonce.view(), {}, encrypted, plaintext)) return mls_decryption_failed;
  return codec::decode<GroupInfo>(plaintext);
}

} // namespace satsuma::mls
