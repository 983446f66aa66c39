#include "crypto/cipher.h"

#include <gtest/gtest.h>

#include "crypto/hash.h"

namespace satsuma::crypto {
namespace {

TEST(Hkdf, MatchesRfc5869TestCase1) {
  const Bytes input(22, 0x0b);
  const SecretBytes key = hkdf_extract(HashAlgorithm::sha256, *from_hex("000102030405060708090a0b0c"), input);
  EXPECT_EQ(to_hex(key.view()), "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
  const SecretBytes output = hkdf_expand(HashAlgorithm::sha256, key.view(), *from_hex("f0f1f2f3f4f5f6f7f8f9"), 42);
  EXPECT_EQ(to_hex(output.view()), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

class Aead : public testing::TestWithParam<AeadAlgorithm> {};

TEST_P(Aead, OpensWhatItSealedInPlaceAndRefusesAnyChange) {
  const Bytes key(aead_key_size(GetParam()), 7), nonce(12, 1), associated = {1, 2, 3};
  AeadKey aead(GetParam(), key);
  Bytes buffer = {'h', 'e', 'l', 'l', 'o'};
  const Bytes plaintext = buffer;
  buffer.resize(plaintext.size() + aead_tag_size);
  const ByteView sealed = aead.seal(nonce, associated, ByteView(buffer).first(plaintext.size()), buffer);
  EXPECT_FALSE(equal(sealed.first(plaintext.size()), plaintext));
  for (std::size_t i = 0; i < buffer.size(); ++i) {
    Bytes changed = buffer, out(buffer.size());
    changed[i] ^= 1;
    EXPECT_EQ(aead.open(nonce, associated, changed, out).error(), Error(aead_open_failed));
  }
  Bytes out(buffer.size());
  EXPECT_FALSE(aead.open(nonce, Bytes{1, 2}, buffer, out).has_value());
  EXPECT_TRUE(aead.open(nonce, associated, buffer, out).has_value());
}

TEST_P(Aead, OpensInPlace) {
  const Bytes key(aead_key_size(GetParam()), 7), nonce(12, 1);
  AeadKey aead(GetParam(), key);
  Bytes buffer(100 + aead_tag_size, 42);
  aead.seal(nonce, {}, ByteView(buffer).first(100), buffer);
  const auto opened = aead.open(nonce, {}, buffer, buffer);
  ASSERT_TRUE(opened.has_value());
  EXPECT_TRUE(equal(*opened, Bytes(100, 42)));
}

INSTANTIATE_TEST_SUITE_P(All, Aead, testing::Values(AeadAlgorithm::aes_128_gcm, AeadAlgorithm::aes_256_gcm, AeadAlgorithm::chacha20_poly1305));

} // namespace
} // namespace satsuma::crypto
