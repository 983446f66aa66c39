#include "crypto/hpke.h"

#include "crypto/labeled_kdf.h"

namespace satsuma::crypto {

namespace {

std::uint16_t kdf_id(HashAlgorithm hash) {
  switch (hash) {
    case HashAlgorithm::sha256: return 1;
    case HashAlgorithm::sha384: return 2;
    case HashAlgorithm::sha512: return 3;
    case HashAlgorithm::sha1: break;
  }
  SATSUMA_CHECK(false && "no HPKE KDF");
  return 0;
}

std::uint16_t aead_id(std::optional<AeadAlgorithm> aead) {
  if (!aead) return 0xffff;
  switch (*aead) {
    case AeadAlgorithm::aes_128_gcm: return 1;
    case AeadAlgorithm::aes_256_gcm: return 2;
    case AeadAlgorithm::chacha20_poly1305: return 3;
  }
  return 0;
}

Bytes suite_id(HpkeSuite suite) {
  ByteWriter id;
  id.bytes(as_bytes("HPKE"));
  id.u16(static_cast<std::uint16_t>(suite.kem));
  id.u16(kdf_id(suite.kdf));
  id.u16(aead_id(suite.aead));
  return std::move(id).take();
}

} // namespace

HpkeContext::HpkeContext(HpkeSuite suite, ByteView shared_secret, ByteView info) : suite_(suite) {
  const Bytes id = suite_id(suite);
  const SecretBytes psk_id_hash = internal::labeled_extract(suite.kdf, id, {}, "psk_id_hash", {});
  const SecretBytes info_hash = internal::labeled_extract(suite.kdf, id, {}, "info_hash", info);
  ByteWriter context;
  context.u8(0); // mode_base
  context.bytes(psk_id_hash.view());
  context.bytes(info_hash.view());
  const SecretBytes secret = internal::labeled_extract(suite.kdf, id, shared_secret, "secret", {});
  if (suite.aead) {
    const SecretBytes key = internal::labeled_expand(suite.kdf, id, secret.view(), "key", context.view(), aead_key_size(*suite.aead));
    key_.emplace(*suite.aead, key.view());
    base_nonce_ = internal::labeled_expand(suite.kdf, id, secret.view(), "base_nonce", context.view(), aead_nonce_size);
  }
  exporter_secret_ = internal::labeled_expand(suite.kdf, id, secret.view(), "exp", context.view(), hash_size(suite.kdf));
}

std::array<std::uint8_t, aead_nonce_size> HpkeContext::next_nonce() const {
  std::array<std::uint8_t, aead_nonce_size> nonce;
  for (std::size_t i = 0; i < nonce.size(); ++i) {
    nonce[i] = base_nonce_.view()[i];
    const std::size_t from_end = nonce.size() - 1 - i;
    if (from_end < 8) nonce[i] ^= static_cast<std::uint8_t>(sequence_ >> (8 * from_end));
  }
  return nonce;
}

Result<Bytes> HpkeContext::seal(ByteView associated_data, ByteView plaintext) {
  if (!key_) return hpke_export_only;
  Bytes ciphertext(plaintext.size() + aead_tag_size);
  key_->seal(next_nonce(), associated_data, plaintext, ciphertext);
  ++sequence_;
  return ciphertext;
}

Result<SecretBytes> HpkeContext::open(ByteView associated_data, ByteView ciphertext) {
  if (!key_) return hpke_export_only;
  if (ciphertext.size() < aead_tag_size) return hpke_open_failed;
  SecretBytes plaintext(ciphertext.size() - aead_tag_size);
  if (!key_->open(next_nonce(), associated_data, ciphertext, plaintext.mutable_view())) return hpke_open_failed;
  ++sequence_;
  return plaintext;
}

SecretBytes HpkeContext::export_secret(ByteView context, std::size_t size) const {
  return internal::labeled_expand(suite_.kdf, suite_id(suite_), exporter_secret_.view(), "sec", context, size);
}

Result<HpkeSender> hpke_setup_sender(HpkeSuite suite, ByteView public_key, ByteView info, RandomSource& random) {
  SATSUMA_TRY(Encapsulation encapsulation, kem_encapsulate(suite.kem, public_key, random));
  return HpkeSender{std::move(encapsulation.encapsulated), HpkeContext(suite, encapsulation.shared_secret.view(), info)};
}

Result<HpkeContext> hpke_setup_receiver(HpkeSuite suite, ByteView encapsulated, ByteView private_key, ByteView public_key, ByteView info) {
  SATSUMA_TRY(const SecretBytes shared_secret, kem_decapsulate(suite.kem, encapsulated, private_key, public_key));
  return HpkeContext(suite, shared_secret.view(), info);
}

Result<HpkeSealed> hpke_seal(HpkeSuite suite, ByteView public_key, ByteView info, ByteView associated_data, ByteView plaintext, RandomSource& random) {
  SATSUMA_TRY(HpkeSender sender, hpke_setup_sender(suite, public_key, info, random));
  SATSUMA_TRY(Bytes ciphertext, sender.context.seal(associated_data, plaintext));
  return HpkeSealed{std::move(sender.encapsulated), std::move(ciphertext)};
}

Result<SecretBytes> hpke_open(HpkeSuite suite, ByteView encapsulated, ByteView private_key, ByteView public_key, ByteView info,
                              ByteView associated_data, ByteView ciphertext) {
  SATSUMA_TRY(HpkeContext context, hpke_setup_receiver(suite, encapsulated, private_key, public_key, info));
  return context.open(associated_data, ciphertext);
}

} // namespace satsuma::crypto
