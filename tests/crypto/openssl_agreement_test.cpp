// Our ciphers against OpenSSL's: in WebAssembly AES is BearSSL's.
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "../base/seeded_random.h"
#include "crypto/cipher.h"

namespace satsuma::crypto {
namespace {

// Around the blocks of 16 bytes and the four of them that are encrypted together.
constexpr std::size_t sizes[] = {0, 1, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 79, 80, 95, 96, 127, 128, 129, 191, 192, 193, 255, 256, 257, 1200, 5003};

struct Random {
  explicit Random(std::uint64_t seed) : source(seed) {}
  Bytes bytes(std::size_t size) {
    Bytes made(size);
    source.fill(made);
    return made;
  }
  SeededRandom source;
};

/// nonce.size() is 12 for AEADs; 16 for AES-CTR, which has no tag.
Bytes openssl(const char* name, ByteView key, ByteView nonce, ByteView associated, ByteView plaintext) {
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, name, nullptr);
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  const std::size_t tag_size = nonce.size() == aead_nonce_size ? aead_tag_size : 0;
  Bytes out(plaintext.size() + tag_size);
  int written = 0;
  std::uint8_t nothing[16];
  EXPECT_EQ(EVP_EncryptInit_ex2(context, cipher, key.data(), nonce.data(), nullptr), 1);
  if (!associated.empty()) EVP_EncryptUpdate(context, nullptr, &written, associated.data(), static_cast<int>(associated.size()));
  if (!plaintext.empty()) EVP_EncryptUpdate(context, out.data(), &written, plaintext.data(), static_cast<int>(plaintext.size()));
  EXPECT_EQ(EVP_EncryptFinal_ex(context, nothing, &written), 1);
  if (tag_size != 0) {
    EXPECT_EQ(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, aead_tag_size, out.data() + plaintext.size()), 1);
  }
  EVP_CIPHER_CTX_free(context);
  EVP_CIPHER_free(cipher);
  return out;
}
const char* name_of(AeadAlgorithm algorithm) {
  switch (algorithm) {
    case AeadAlgorithm::aes_128_gcm: return "AES-128-GCM";
    case AeadAlgorithm::aes_256_gcm: return "AES-256-GCM";
    case AeadAlgorithm::chacha20_poly1305: return "ChaCha20-Poly1305";
  }
  return "";
}

class OneTime : public testing::TestWithParam<AeadAlgorithm> {};
INSTANTIATE_TEST_SUITE_P(All, OneTime, testing::Values(AeadAlgorithm::aes_128_gcm, AeadAlgorithm::aes_256_gcm, AeadAlgorithm::chacha20_poly1305));

TEST_P(OneTime, AndKeptKeysSealAndOpenAsOpenSslDoes) {
  Random random(1);
  OneTimeAead one_time(GetParam());
  for (const std::size_t size : sizes) {
    for (const std::size_t associated_size : {0u, 1u, 9u, 16u, 17u, 100u}) {
      const Bytes key = random.bytes(aead_key_size(GetParam())), nonce = random.bytes(aead_nonce_size), associated = random.bytes(associated_size),
                  plaintext = random.bytes(size);
      AeadKey kept(GetParam(), key);
      const Bytes expected = openssl(name_of(GetParam()), key, nonce, associated, plaintext);
      Bytes made(size + aead_tag_size), in_place = plaintext, opened(size);
      in_place.resize(size + aead_tag_size);
      kept.seal(nonce, associated, plaintext, made);
      EXPECT_EQ(made, expected) << size << " bytes, " << associated_size;
      const auto back_by_kept = kept.open(nonce, associated, expected, opened);
      ASSERT_TRUE(back_by_kept.has_value());
      EXPECT_TRUE(equal(*back_by_kept, plaintext));
      EXPECT_EQ(one_time.seal({key, nonce, associated}, {}, plaintext, made).size(), expected.size());
      EXPECT_EQ(made, expected) << size << " bytes, " << associated_size;
      one_time.seal({key, nonce, associated}, {}, ByteView(in_place).first(size), in_place);
      EXPECT_EQ(in_place, expected) << size << " bytes, " << associated_size;

      const auto back = one_time.open({key, nonce, associated}, {}, expected, opened);
      ASSERT_TRUE(back.has_value()) << size << " bytes, " << associated_size;
      EXPECT_TRUE(equal(*back, plaintext));
      const auto back_in_place = one_time.open({key, nonce, associated}, {}, in_place, in_place);
      ASSERT_TRUE(back_in_place.has_value());
      EXPECT_TRUE(equal(*back_in_place, plaintext));
    }
  }
}

TEST_P(OneTime, SealsAndOpensAsOpenSslDoesWhateverWasExpected) {
  Random random(4);
  struct Message {
    Bytes key, nonce, front, rest, plaintext;
    AeadStart start() const { return {key, nonce, front}; }
  };
  std::vector<Message> messages;
  for (std::size_t i = 0; i < 200; ++i)
    messages.push_back({random.bytes(aead_key_size(GetParam())), random.bytes(aead_nonce_size), random.bytes(1 + i % 17), random.bytes(i % 5 * 7), random.bytes(sizes[i % std::size(sizes)])});
  OneTimeAead one_time(GetParam());
  for (std::size_t i = 0; i + 1 < messages.size(); ++i) {
    const Message& message = messages[i];
    Message next = messages[i + 1];
    // The next one, nothing, another one, one that has the same nonce, or one that begins as the next one does.
    std::optional<AeadStart> expected = next.start();
    if (i % 7 == 3) expected.reset();
    if (i % 7 == 4) expected = messages[i / 2].start();
    if (i % 7 == 5) next.front.push_back(1), expected = next.start();
    if (i % 7 == 6) next.nonce[i % 12] ^= 1, expected = next.start();
    Bytes associated = message.front;
    associated.insert(associated.end(), message.rest.begin(), message.rest.end());
    const Bytes reference = openssl(name_of(GetParam()), message.key, message.nonce, associated, message.plaintext);
    Bytes made(reference.size()), opened(message.plaintext.size());
    one_time.seal(message.start(), message.rest, message.plaintext, made, expected);
    EXPECT_EQ(made, reference) << i;
    if (i % 3 == 0) { // a forged one takes the place of what was expected
      made[i % made.size()] ^= 1;
      EXPECT_FALSE(one_time.open(message.start(), message.rest, made, opened, i % 2 == 0 ? std::optional(message.start()) : expected).has_value()) << i;
    }
    const auto back = one_time.open(message.start(), message.rest, reference, opened, expected);
    ASSERT_TRUE(back.has_value()) << i;
    EXPECT_TRUE(equal(*back, message.plaintext)) << i;
  }
}

TEST_P(OneTime, RefusesWhatWasChangedAndLeavesZeros) {
  Random random(2);
  OneTimeAead one_time(GetParam());
  const Bytes key = random.bytes(aead_key_size(GetParam())), nonce = random.bytes(aead_nonce_size), associated = random.bytes(5), plaintext = random.bytes(70);
  Bytes sealed(plaintext.size() + aead_tag_size);
  one_time.seal({key, nonce, associated}, {}, plaintext, sealed);
  const auto refused = [&](ByteView with_key, ByteView with_nonce, ByteView with_associated, ByteView ciphertext) {
    Bytes out(ciphertext.size(), 1);
    const std::size_t size = ciphertext.size() - aead_tag_size;
    return one_time.open({with_key, with_nonce, with_associated}, {}, ciphertext, out).error() == Error(aead_open_failed) &&
           equal(ByteView(out).first(size), Bytes(size));
  };
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    Bytes changed = sealed;
    changed[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    EXPECT_TRUE(refused(key, nonce, associated, changed)) << i;
  }
  for (const std::size_t i : {0u, 7u, 15u}) {
    Bytes other_key = key;
    other_key[i] ^= 4;
    EXPECT_TRUE(refused(other_key, nonce, associated, sealed)) << i;
  }
  Bytes other_nonce = nonce;
  other_nonce[11] ^= 1;
  EXPECT_TRUE(refused(key, other_nonce, associated, sealed));
  EXPECT_TRUE(refused(key, nonce, {}, sealed));
  EXPECT_TRUE(refused(key, nonce, associated, ByteView(sealed).first(sealed.size() - 1)));
  EXPECT_TRUE(refused(key, nonce, associated, ByteView(sealed).last(sealed.size() - 1)));
  Bytes out(sealed.size());
  EXPECT_EQ(one_time.open({key, nonce, associated}, {}, ByteView(sealed).first(aead_tag_size - 1), out).error(), Error(aead_open_failed));
}

TEST(OneTimeAesCtr, EncryptsAsOpenSslDoesFromAnyCounter) {
  Random random(3);
  for (const std::size_t key_size : {16u, 32u}) {
    OneTimeAesCtr one_time(key_size);
    for (const std::size_t size : sizes) {
      const Bytes key = random.bytes(key_size), plaintext = random.bytes(size);
      Bytes counter = random.bytes(16);
      for (const std::uint8_t top : Bytes{0x00, 0x7f, 0xfe}) { // of the word that counts
        counter[12] = top;
        const Bytes expected = openssl(key_size == 16 ? "AES-128-CTR" : "AES-256-CTR", key, counter, {}, plaintext);
        Bytes made(size), in_place = plaintext;
        one_time.crypt(key, counter, plaintext, made);
        EXPECT_EQ(made, expected) << size;
        one_time.crypt(key, counter, in_place, in_place);
        EXPECT_EQ(in_place, expected) << size;
      }
    }
  }
}

} // namespace
} // namespace satsuma::crypto
