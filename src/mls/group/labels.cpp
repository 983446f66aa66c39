#include "mls/group/labels.h"

namespace satsuma::mls {

namespace {

void write_label(ByteWriter& writer, std::string_view label) {
  constexpr std::string_view prefix = "MLS 1.0 ";
  codec::write_varint(writer, prefix.size() + label.size());
  writer.bytes(as_bytes(prefix));
  writer.bytes(as_bytes(label));
}

Bytes encrypt_context(std::string_view label, ByteView context) {
  ByteWriter writer(context.size() + label.size() + 16);
  write_label(writer, label);
  codec::write_opaque(writer, context);
  return std::move(writer).take();
}

} // namespace

SecretBytes expand_with_label(const SuiteParameters& suite, ByteView secret, std::string_view label, ByteView context, std::size_t size) {
  ByteWriter info(context.size() + label.size() + 16);
  info.u16(static_cast<std::uint16_t>(size));
  write_label(info, label);
  codec::write_opaque(info, context);
  return crypto::hkdf_expand(suite.hash, secret, info.view(), size);
}

SecretBytes derive_secret(const SuiteParameters& suite, ByteView secret, std::string_view label) {
  return expand_with_label(suite, secret, label, {}, suite.hash_size());
}

SecretBytes derive_tree_secret(const SuiteParameters& suite, ByteView secret, std::string_view label, std::uint32_t generation, std::size_t size) {
  ByteWriter context(4);
  context.u32(generation);
  return expand_with_label(suite, secret, label, context.view(), size);
}

Result<HpkeCiphertext> encrypt_with_label(const SuiteParameters& suite, ByteView public_key, std::string_view label, ByteView context, ByteView plaintext,
                                          RandomSource& random) {
  SATSUMA_TRY(crypto::HpkeSealed sealed, crypto::hpke_seal(suite.hpke(), public_key, encrypt_context(label, context), {}, plaintext, random));
  return HpkeCiphertext{std::move(sealed.encapsulated), std::move(sealed.ciphertext)};
}

Result<SecretBytes> decrypt_with_label(const SuiteParameters& suite, ByteView private_key, ByteView public_key, std::string_view label, ByteView context,
                                       const HpkeCiphertext& ciphertext) {
  auto plaintext =
      crypto::hpke_open(suite.hpke(), ciphertext.kem_output, private_key, public_key, encrypt_context(label, context), {}, ciphertext.ciphertext);
  if (!plaintext) return mls_decryption_failed;
  return plaintext;
}

} // namespace satsuma::mls
