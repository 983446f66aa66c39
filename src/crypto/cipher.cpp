#include "crypto/cipher.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "crypto/portable_aes.h"

namespace satsuma::crypto {

namespace {

// Whether AES is BearSSL's rather than OpenSSL's, all but AesCtrKey's: see portable_aes.h.
#ifdef SATSUMA_PORTABLE_AES
constexpr bool portable = true;
#else
constexpr bool portable = false;
#endif

const EVP_CIPHER* fetch(AeadAlgorithm algorithm) {
  static const std::array<const EVP_CIPHER*, 3> table = {EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr),
                                                         EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr),
                                                         EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr)};
  return table[static_cast<std::size_t>(algorithm)];
}

const EVP_CIPHER* aes_ctr(std::size_t key_size) {
  static const EVP_CIPHER* const aes_128 = EVP_CIPHER_fetch(nullptr, "AES-128-CTR", nullptr);
  static const EVP_CIPHER* const aes_256 = EVP_CIPHER_fetch(nullptr, "AES-256-CTR", nullptr);
  return key_size == 16 ? aes_128 : aes_256;
}

internal::CipherContext new_context() {
  internal::CipherContext context(EVP_CIPHER_CTX_new());
  SATSUMA_CHECK(context != nullptr);
  return context;
}

} // namespace

void internal::CipherContextFree::operator()(evp_cipher_ctx_st* context) const { EVP_CIPHER_CTX_free(context); }

std::size_t aead_key_size(AeadAlgorithm algorithm) { return algorithm == AeadAlgorithm::aes_128_gcm ? 16 : 32; }

AeadKey::AeadKey(AeadAlgorithm algorithm, ByteView key) : algorithm_(algorithm) {
  SATSUMA_CHECK(key.size() == aead_key_size(algorithm));
  std::memcpy(key_.mutable_view().data(), key.data(), key.size());
}

namespace {

// `key` is null where the context has it already.
void start_with(EVP_CIPHER_CTX* context, const std::uint8_t* key, ByteView nonce, ByteView associated_data) {
  SATSUMA_CHECK(nonce.size() == aead_nonce_size);
  int written = 0;
  SATSUMA_CHECK(EVP_CipherInit_ex(context, nullptr, nullptr, key, nonce.data(), -1) == 1);
  if (associated_data.empty()) return;
  SATSUMA_CHECK(EVP_CipherUpdate(context, nullptr, &written, associated_data.data(), static_cast<int>(associated_data.size())) == 1);
}

// Of a context that was started; `associated_data` is the rest of it.
MutableByteView seal_rest(EVP_CIPHER_CTX* context, ByteView associated_data, ByteView plaintext, MutableByteView out) {
  SATSUMA_CHECK(out.size() >= plaintext.size() + aead_tag_size);
  int written = 0;
  if (!associated_data.empty()) {
    SATSUMA_CHECK(EVP_EncryptUpdate(context, nullptr, &written, associated_data.data(), static_cast<int>(associated_data.size())) == 1);
  }
  if (!plaintext.empty()) {
    SATSUMA_CHECK(EVP_EncryptUpdate(context, out.data(), &written, plaintext.data(), static_cast<int>(plaintext.size())) == 1);
  }
  SATSUMA_CHECK(EVP_EncryptFinal_ex(context, out.data() + plaintext.size(), &written) == 1);
  SATSUMA_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, aead_tag_size, out.data() + plaintext.size()) == 1);
  return out.first(plaintext.size() + aead_tag_size);
}

Result<MutableByteView> open_rest(EVP_CIPHER_CTX* context, ByteView associated_data, ByteView ciphertext, MutableByteView out) {
  if (ciphertext.size() < aead_tag_size) return aead_open_failed;
  const std::size_t size = ciphertext.size() - aead_tag_size;
  SATSUMA_CHECK(out.size() >= size);
  std::array<std::uint8_t, aead_tag_size> tag;
  std::memcpy(tag.data(), ciphertext.data() + size, tag.size());
  int written = 0;
  std::uint8_t nothing[16];
  bool good = EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, aead_tag_size, tag.data()) == 1;
  if (good && !associated_data.empty()) {
    good = EVP_DecryptUpdate(context, nullptr, &written, associated_data.data(), static_cast<int>(associated_data.size())) == 1;
  }
  if (good && size != 0) good = EVP_DecryptUpdate(context, out.data(), &written, ciphertext.data(), static_cast<int>(size)) == 1;
  good = good && EVP_DecryptFinal_ex(context, nothing, &written) == 1;
  if (!good) {
    wipe(out.first(size));
    return aead_open_failed;
  }
  return out.first(size);
}

constexpr std::array<std::uint8_t, 32> no_key{};

} // namespace

MutableByteView AeadKey::seal(ByteView nonce, ByteView associated_data, ByteView plaintext, MutableByteView out) {
  if constexpr (portable) {
    if (algorithm_ != AeadAlgorithm::chacha20_poly1305) return portable_aes::seal_gcm({key_.view().first(aead_key_size(algorithm_)), nonce, associated_data}, {}, plaintext, out);
  }
  if (!seal_) {
    seal_ = new_context();
    SATSUMA_CHECK(EVP_EncryptInit_ex(seal_.get(), fetch(algorithm_), nullptr, key_.view().data(), nullptr) == 1);
  }
  start_with(seal_.get(), nullptr, nonce, associated_data);
  return seal_rest(seal_.get(), {}, plaintext, out);
}

Result<MutableByteView> AeadKey::open(ByteView nonce, ByteView associated_data, ByteView ciphertext, MutableByteView out) {
  if constexpr (portable) {
    if (algorithm_ != AeadAlgorithm::chacha20_poly1305) return portable_aes::open_gcm({key_.view().first(aead_key_size(algorithm_)), nonce, associated_data}, {}, ciphertext, out);
  }
  if (!open_) {
    open_ = new_context();
    SATSUMA_CHECK(EVP_DecryptInit_ex(open_.get(), fetch(algorithm_), nullptr, key_.view().data(), nullptr) == 1);
  }
  start_with(open_.get(), nullptr, nonce, associated_data);
  return open_rest(open_.get(), {}, ciphertext, out);
}

OneTimeAead::OneTimeAead(AeadAlgorithm algorithm)
    : chacha_(algorithm == AeadAlgorithm::chacha20_poly1305), cipher_(portable && !chacha_ ? nullptr : fetch(algorithm)) {}

MutableByteView OneTimeAead::seal(const AeadStart& start, ByteView associated_data, ByteView plaintext, MutableByteView out,
                                  const std::optional<AeadStart>& next) {
  if constexpr (portable) {
    if (!chacha_) return portable_aes::seal_gcm(start, associated_data, plaintext, out);
  }
  if (!is_started_with(seal_, start)) this->start(seal_, start);
  const MutableByteView sealed = seal_rest(seal_.context.get(), associated_data, plaintext, out);
  leave(seal_, next);
  return sealed;
}

Result<MutableByteView> OneTimeAead::open(const AeadStart& start, ByteView associated_data, ByteView ciphertext, MutableByteView out,
                                          const std::optional<AeadStart>& next) {
  if constexpr (portable) {
    if (!chacha_) return portable_aes::open_gcm(start, associated_data, ciphertext, out);
  }
  if (!is_started_with(open_, start)) this->start(open_, start);
  const auto opened = open_rest(open_.context.get(), associated_data, ciphertext, out);
  if (opened || !next) leave(open_, next);
  else open_.expected_size = 0;
  return opened;
}

void OneTimeAead::start(Direction& direction, const AeadStart& start) {
  if (!direction.context) {
    direction.context = new_context();
    SATSUMA_CHECK(EVP_CipherInit_ex(direction.context.get(), cipher_, nullptr, nullptr, nullptr, direction.seals ? 1 : 0) == 1);
  }
  start_with(direction.context.get(), start.key.data(), start.nonce, start.associated_data);
}

bool OneTimeAead::is_started_with(const Direction& direction, const AeadStart& start) {
  const ByteView expected = ByteView(direction.expected).first(direction.expected_size);
  return !expected.empty() && equal(expected.first(aead_nonce_size), start.nonce) && equal(expected.subspan(aead_nonce_size), start.associated_data);
}

// Another key replaces the schedule, and with GCM all that depends on it. ChaCha's last block of key stream lies in a buffer, through which the key of Poly1305 goes when the
// first byte of associated data comes. A nonce would cost as much as all that where none is expected: OpenSSL asks by name for its length.
void OneTimeAead::leave(Direction& direction, const std::optional<AeadStart>& next) {
  direction.expected_size = 0;
  if (!next) {
    int written = 0;
    SATSUMA_CHECK(EVP_CipherInit_ex(direction.context.get(), nullptr, nullptr, no_key.data(), nullptr, -1) == 1);
    if (chacha_) SATSUMA_CHECK(EVP_CipherUpdate(direction.context.get(), nullptr, &written, no_key.data(), 1) == 1);
    return;
  }
  SATSUMA_CHECK(!next->associated_data.empty() && next->associated_data.size() <= max_next_associated_data);
  start_with(direction.context.get(), next->key.data(), next->nonce, next->associated_data);
  std::ranges::copy(next->nonce, direction.expected.begin());
  std::ranges::copy(next->associated_data, direction.expected.begin() + aead_nonce_size);
  direction.expected_size = aead_nonce_size + next->associated_data.size();
}

OneTimeAesCtr::OneTimeAesCtr(std::size_t key_size) : key_size_(key_size) {
  SATSUMA_CHECK(key_size == 16 || key_size == 32);
  if (portable) return;
  context_ = new_context();
  SATSUMA_CHECK(EVP_EncryptInit_ex(context_.get(), aes_ctr(key_size), nullptr, no_key.data(), nullptr) == 1);
}

void OneTimeAesCtr::crypt(ByteView key, ByteView initial_counter, ByteView in, MutableByteView out) {
  SATSUMA_CHECK(key.size() == key_size_ && initial_counter.size() == 16 && out.size() >= in.size());
  if constexpr (portable) return portable_aes::crypt_ctr(key, initial_counter, in, out);
  int written = 0;
  SATSUMA_CHECK(EVP_EncryptInit_ex(context_.get(), nullptr, nullptr, key.data(), initial_counter.data()) == 1);
  if (!in.empty()) SATSUMA_CHECK(EVP_EncryptUpdate(context_.get(), out.data(), &written, in.data(), static_cast<int>(in.size())) == 1);
  std::uint8_t byte = 0;
  SATSUMA_CHECK(EVP_EncryptInit_ex(context_.get(), nullptr, nullptr, no_key.data(), no_key.data()) == 1);
  SATSUMA_CHECK(EVP_EncryptUpdate(context_.get(), &byte, &written, no_key.data(), 1) == 1);
}

AesCtrKey::AesCtrKey(ByteView key) : context_(new_context()) {
  SATSUMA_CHECK(key.size() == 16 || key.size() == 32);
  SATSUMA_CHECK(EVP_EncryptInit_ex(context_.get(), aes_ctr(key.size()), nullptr, key.data(), nullptr) == 1);
}

void AesCtrKey::crypt(ByteView initial_counter, ByteView in, MutableByteView out) {
  SATSUMA_CHECK(initial_counter.size() == 16 && out.size() >= in.size());
  int written = 0;
  SATSUMA_CHECK(EVP_EncryptInit_ex(context_.get(), nullptr, nullptr, nullptr, initial_counter.data()) == 1);
  if (!in.empty()) SATSUMA_CHECK(EVP_EncryptUpdate(context_.get(), out.data(), &written, in.data(), static_cast<int>(in.size())) == 1);
}

} // namespace satsuma::crypto
