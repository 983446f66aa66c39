#include "sframe/cipher_suite.h"

#include <array>
#include <cstring>

namespace satsuma::sframe {

namespace {
constexpr std::size_t ctr_key_size = 16;
constexpr std::size_t hmac_size = 32;
} // namespace

CipherSuiteParameters parameters(CipherSuite suite) {
  using crypto::AeadAlgorithm;
  using crypto::HashAlgorithm;
  switch (suite) {
    case CipherSuite::aes_128_ctr_hmac_sha256_80: return {HashAlgorithm::sha256, std::nullopt, ctr_key_size + hmac_size, 10};
    case CipherSuite::aes_128_ctr_hmac_sha256_64: return {HashAlgorithm::sha256, std::nullopt, ctr_key_size + hmac_size, 8};
    case CipherSuite::aes_128_ctr_hmac_sha256_32: return {HashAlgorithm::sha256, std::nullopt, ctr_key_size + hmac_size, 4};
    case CipherSuite::aes_128_gcm_sha256_128: return {HashAlgorithm::sha256, AeadAlgorithm::aes_128_gcm, 16, 16};
    case CipherSuite::aes_256_gcm_sha512_128: return {HashAlgorithm::sha512, AeadAlgorithm::aes_256_gcm, 32, 16};
    case CipherSuite::chacha20_poly1305_sha256_128: return {HashAlgorithm::sha256, AeadAlgorithm::chacha20_poly1305, 32, 16};
  }
  check_failed("a known SFrame cipher suite", __FILE__, __LINE__);
}

Aead::Aead(CipherSuite suite, ByteView key)
    : tag_size_(parameters(suite).tag_size), keys_([&]() -> std::variant<crypto::AeadKey, CtrHmac> {
        const CipherSuiteParameters suite_parameters = parameters(suite);
        SATSUMA_CHECK(key.size() == suite_parameters.key_size);
        if (suite_parameters.aead) return crypto::AeadKey(*suite_parameters.aead, key);
        return CtrHmac{crypto::AesCtrKey(key.first(ctr_key_size)), SecretBytes::copy_of(key.subspan(ctr_key_size))};
      }()) {}

MutableByteView Aead::seal(ByteView nonce, ByteView associated_data, ByteView plaintext, MutableByteView out) {
  if (auto* aead = std::get_if<crypto::AeadKey>(&keys_)) return aead->seal(nonce, associated_data, plaintext, out);
  auto& keys = std::get<CtrHmac>(keys_);
  std::array<std::uint8_t, 16> counter{};
  std::memcpy(counter.data(), nonce.data(), nonce_size);
  SATSUMA_CHECK(out.size() >= plaintext.size() + tag_size_);
  const MutableByteView ciphertext = out.first(plaintext.size());
  keys.encryption.crypt(counter, plaintext, ciphertext);
  compute_tag(keys, nonce, associated_data, ciphertext, out.subspan(plaintext.size(), tag_size_));
  return out.first(plaintext.size() + tag_size_);
}

Result<MutableByteView> Aead::open(ByteView nonce, ByteView associated_data, ByteView ciphertext, MutableByteView out) {
  if (ciphertext.size() < tag_size_) return sframe_authentication_failed;
  if (auto* aead = std::get_if<crypto::AeadKey>(&keys_)) {
    auto opened = aead->open(nonce, associated_data, ciphertext, out);
    if (!opened) return sframe_authentication_failed;
    return *opened;
  }
  auto& keys = std::get<CtrHmac>(keys_);
  const ByteView body = ciphertext.first(ciphertext.size() - tag_size_);
  SATSUMA_CHECK(out.size() >= body.size());
  std::array<std::uint8_t, hmac_size> tag;
  compute_tag(keys, nonce, associated_data, body, MutableByteView(tag).first(tag_size_));
  if (!constant_time_equal(ByteView(tag).first(tag_size_), ciphertext.last(tag_size_))) return sframe_authentication_failed;
  std::array<std::uint8_t, 16> counter{};
  std::memcpy(counter.data(), nonce.data(), nonce_size);
  keys.encryption.crypt(counter, body, out);
  return out.first(body.size());
}

void Aead::compute_tag(const CtrHmac& keys, ByteView nonce, ByteView associated_data, ByteView ciphertext, MutableByteView tag) const {
  std::array<std::uint8_t, 24> lengths;
  SpanWriter writer(lengths);
  writer.u64(associated_data.size());
  writer.u64(ciphertext.size());
  writer.u64(tag_size_);
  std::array<std::uint8_t, hmac_size> full;
  crypto::hmac_into(crypto::HashAlgorithm::sha256, keys.authentication.view(), {lengths, nonce, associated_data, ciphertext}, full);
  std::memcpy(tag.data(), full.data(), tag.size());
}

} // namespace satsuma::sframe
