#include "sframe/cipher_suite.h"

#include <array>
#include <cstring>

namespace satsuma::sframe {

namespace {
// s.4.5.1: the AEAD key is a key for AES-CTR followed by one for HMAC that is as long as its hash.
constexpr std::size_t ctr_key_size(std::size_t hash_size) { return hash_size / 2; }

CipherSuiteParameters ctr_hmac(crypto::HashAlgorithm hash, std::size_t tag_size) {
  const std::size_t hash_size = crypto::hash_size(hash);
  return {hash, std::nullopt, ctr_key_size(hash_size) + hash_size, 2 * ctr_key_size(hash_size), tag_size};
}
} // namespace

CipherSuiteParameters parameters(CipherSuite suite) {
  using crypto::AeadAlgorithm;
  using crypto::HashAlgorithm;
  switch (suite) {
    case CipherSuite::aes_128_ctr_hmac_sha256_80: return ctr_hmac(HashAlgorithm::sha256, 10);
    case CipherSuite::aes_128_ctr_hmac_sha256_64: return ctr_hmac(HashAlgorithm::sha256, 8);
    case CipherSuite::aes_128_ctr_hmac_sha256_32: return ctr_hmac(HashAlgorithm::sha256, 4);
    case CipherSuite::aes_128_gcm_sha256_128: return {HashAlgorithm::sha256, AeadAlgorithm::aes_128_gcm, 16, 16, 16};
    case CipherSuite::aes_256_gcm_sha512_128: return {HashAlgorithm::sha512, AeadAlgorithm::aes_256_gcm, 32, 32, 16};
    case CipherSuite::aes_256_ctr_hmac_sha512_80: return ctr_hmac(HashAlgorithm::sha512, 10);
    case CipherSuite::aes_256_ctr_hmac_sha512_64: return ctr_hmac(HashAlgorithm::sha512, 8);
    case CipherSuite::aes_256_ctr_hmac_sha512_32: return ctr_hmac(HashAlgorithm::sha512, 4);
    case CipherSuite::chacha20_poly1305_sha256_128: return {HashAlgorithm::sha256, AeadAlgorithm::chacha20_poly1305, 32, 32, 16};
  }
  check_failed("a known SFrame cipher suite", __FILE__, __LINE__);
}

ByteView FrameCipher::CtrHmac::encryption_key(ByteView key) const { return key.first(ctr_key_size(crypto::hash_size(hash))); }
ByteView FrameCipher::CtrHmac::authentication_key(ByteView key) const { return key.subspan(ctr_key_size(crypto::hash_size(hash))); }

FrameCipher::FrameCipher(CipherSuite suite)
    : tag_size_(parameters(suite).tag_size), cipher_([&]() -> std::variant<crypto::OneTimeAead, CtrHmac> {
        const CipherSuiteParameters suite_parameters = parameters(suite);
        if (suite_parameters.aead) return crypto::OneTimeAead(*suite_parameters.aead);
        return CtrHmac{suite_parameters.hash, crypto::OneTimeAesCtr(ctr_key_size(crypto::hash_size(suite_parameters.hash)))};
      }()) {}

MutableByteView FrameCipher::seal(const crypto::AeadStart& start, ByteView metadata, ByteView plaintext, MutableByteView out,
                                  const std::optional<crypto::AeadStart>& next) {
  if (auto* aead = std::get_if<crypto::OneTimeAead>(&cipher_)) return aead->seal(start, metadata, plaintext, out, next);
  auto& ctr_hmac = std::get<CtrHmac>(cipher_);
  std::array<std::uint8_t, 16> counter{};
  std::memcpy(counter.data(), start.nonce.data(), nonce_size);
  SATSUMA_CHECK(out.size() >= plaintext.size() + tag_size_);
  const MutableByteView ciphertext = out.first(plaintext.size());
  ctr_hmac.encryption.crypt(ctr_hmac.encryption_key(start.key), counter, plaintext, ciphertext);
  compute_tag(ctr_hmac, start, metadata, ciphertext, out.subspan(plaintext.size(), tag_size_));
  return out.first(plaintext.size() + tag_size_);
}

Result<MutableByteView> FrameCipher::open(const crypto::AeadStart& start, ByteView metadata, ByteView ciphertext, MutableByteView out,
                                          const std::optional<crypto::AeadStart>& next) {
  if (ciphertext.size() < tag_size_) return sframe_authentication_failed;
  if (auto* aead = std::get_if<crypto::OneTimeAead>(&cipher_)) {
    auto opened = aead->open(start, metadata, ciphertext, out, next);
    if (!opened) return sframe_authentication_failed;
    return *opened;
  }
  auto& ctr_hmac = std::get<CtrHmac>(cipher_);
  const ByteView body = ciphertext.first(ciphertext.size() - tag_size_);
  SATSUMA_CHECK(out.size() >= body.size());
  std::array<std::uint8_t, max_tag_size> tag;
  compute_tag(ctr_hmac, start, metadata, body, MutableByteView(tag).first(tag_size_));
  if (!constant_time_equal(ByteView(tag).first(tag_size_), ciphertext.last(tag_size_))) return sframe_authentication_failed;
  std::array<std::uint8_t, 16> counter{};
  std::memcpy(counter.data(), start.nonce.data(), nonce_size);
  ctr_hmac.encryption.crypt(ctr_hmac.encryption_key(start.key), counter, body, out);
  return out.first(body.size());
}

void FrameCipher::compute_tag(const CtrHmac& ctr_hmac, const crypto::AeadStart& start, ByteView metadata, ByteView ciphertext,
                              MutableByteView tag) const {
  std::array<std::uint8_t, 24> lengths;
  SpanWriter writer(lengths);
  writer.u64(start.associated_data.size() + metadata.size());
  writer.u64(ciphertext.size());
  writer.u64(tag_size_);
  std::array<std::uint8_t, crypto::max_hash_size> full;
  crypto::hmac_into(ctr_hmac.hash, ctr_hmac.authentication_key(start.key), {lengths, start.nonce, start.associated_data, metadata, ciphertext},
                    MutableByteView(full).first(crypto::hash_size(ctr_hmac.hash)));
  std::memcpy(tag.data(), full.data(), tag.size());
}

} // namespace satsuma::sframe
