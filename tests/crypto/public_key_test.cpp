#include <gtest/gtest.h>

#include "crypto/hpke.h"
#include "crypto/signature.h"

namespace satsuma::crypto {
namespace {

class CountingRandom : public RandomSource {
 public:
  void fill(MutableByteView out) override {
    for (std::uint8_t& byte : out) byte = step();
  }

 private:
  std::uint8_t step() {
    next_ = next_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint8_t>(next_ >> 56);
  }

  std::uint64_t next_ = 1;
};

class EveryScheme : public testing::TestWithParam<SignatureScheme> {};
INSTANTIATE_TEST_SUITE_P(Schemes, EveryScheme,
                         testing::Values(SignatureScheme::ed25519, SignatureScheme::ed448, SignatureScheme::ecdsa_p256_sha256,
                                         SignatureScheme::ecdsa_p384_sha384, SignatureScheme::ecdsa_p521_sha512));

TEST_P(EveryScheme, ASignatureHoldsForItsMessageAndKeyAlone) {
  CountingRandom random;
  const SignatureKeyPair keys = generate_signature_key_pair(GetParam(), random);
  const SignatureKeyPair other = generate_signature_key_pair(GetParam(), random);
  const Bytes message = to_bytes(as_bytes("what was said"));
  const auto signature = sign(GetParam(), keys.private_key.view(), message);
  ASSERT_TRUE(signature);
  EXPECT_TRUE(verify(GetParam(), keys.public_key, message, *signature));
  EXPECT_FALSE(verify(GetParam(), other.public_key, message, *signature));
  EXPECT_FALSE(verify(GetParam(), keys.public_key, as_bytes("what was not"), *signature));
  for (std::size_t i = 0; i < signature->size(); ++i) {
    Bytes tampered = *signature;
    tampered[i] ^= 1;
    EXPECT_FALSE(verify(GetParam(), keys.public_key, message, tampered)) << i;
    EXPECT_FALSE(verify(GetParam(), keys.public_key, message, ByteView(*signature).first(i))) << i;
  }
  Bytes longer = *signature;
  longer.push_back(0);
  EXPECT_FALSE(verify(GetParam(), keys.public_key, message, longer));
}

TEST_P(EveryScheme, KeysThatAreNoKeysAreRefused) {
  CountingRandom random;
  const SignatureKeyPair keys = generate_signature_key_pair(GetParam(), random);
  const auto again = signature_key_pair_from_private(GetParam(), keys.private_key.view());
  ASSERT_TRUE(again);
  EXPECT_EQ(keys.public_key, again->public_key);
  const Bytes message(3);
  const auto signature = sign(GetParam(), keys.private_key.view(), message);
  ASSERT_TRUE(signature);
  for (const Bytes& bad : {Bytes(), Bytes(keys.public_key.size() - 1, 4), Bytes(keys.public_key.size() + 1, 4)}) {
    EXPECT_FALSE(verify(GetParam(), bad, message, *signature));
  }
  EXPECT_FALSE(sign(GetParam(), Bytes(200, 1), message));
  EXPECT_FALSE(signature_key_pair_from_private(GetParam(), Bytes(200, 1)));
}

class EveryKem : public testing::TestWithParam<KemAlgorithm> {};
INSTANTIATE_TEST_SUITE_P(Kems, EveryKem,
                         testing::Values(KemAlgorithm::p256, KemAlgorithm::p384, KemAlgorithm::p521, KemAlgorithm::x25519, KemAlgorithm::x448));

TEST_P(EveryKem, WhatIsSealedToAKeyOpensWithItAlone) {
  CountingRandom random;
  const KemKeyPair keys = kem_generate_key_pair(GetParam(), random);
  const KemKeyPair other = kem_generate_key_pair(GetParam(), random);
  EXPECT_EQ(kem_public_key_size(GetParam()), keys.public_key.size());
  const HpkeSuite suite{GetParam(), HashAlgorithm::sha256, AeadAlgorithm::chacha20_poly1305};
  const auto sealed = hpke_seal(suite, keys.public_key, as_bytes("info"), as_bytes("aad"), as_bytes("text"), random);
  ASSERT_TRUE(sealed);
  const auto open = [&](const KemKeyPair& with, std::string_view info, std::string_view aad) {
    return hpke_open(suite, sealed->encapsulated, with.private_key.view(), with.public_key, as_bytes(info), as_bytes(aad), sealed->ciphertext);
  };
  const auto opened = open(keys, "info", "aad");
  ASSERT_TRUE(opened);
  EXPECT_EQ("text", as_text(opened->view()));
  EXPECT_FALSE(open(other, "info", "aad"));
  EXPECT_FALSE(open(keys, "inf0", "aad"));
  EXPECT_FALSE(open(keys, "info", ""));
  for (std::size_t size = 0; size < sealed->ciphertext.size(); ++size) {
    EXPECT_FALSE(hpke_open(suite, sealed->encapsulated, keys.private_key.view(), keys.public_key, as_bytes("info"), as_bytes("aad"),
                           ByteView(sealed->ciphertext).first(size)));
  }
}

TEST_P(EveryKem, PublicKeysThatAreNoneAreRefused) {
  CountingRandom random;
  const KemKeyPair keys = kem_generate_key_pair(GetParam(), random);
  EXPECT_TRUE(kem_check_public_key(GetParam(), keys.public_key));
  EXPECT_FALSE(kem_check_public_key(GetParam(), {}));
  EXPECT_FALSE(kem_check_public_key(GetParam(), ByteView(keys.public_key).first(keys.public_key.size() - 1)));
  // All zeros is no point of the NIST curves, and a point of small order on the others: no secret comes of it.
  EXPECT_FALSE(kem_check_public_key(GetParam(), Bytes(keys.public_key.size())));
  EXPECT_FALSE(kem_encapsulate(GetParam(), Bytes(keys.public_key.size()), random));
  EXPECT_FALSE(kem_decapsulate(GetParam(), Bytes(keys.public_key.size()), keys.private_key.view(), keys.public_key));
}

TEST(Kem, APointOfSmallOrderIsRefused) {
  CountingRandom random;
  const auto refused = [&random](KemAlgorithm kem, std::string_view hex) {
    const Bytes point = from_hex(hex).value();
    EXPECT_FALSE(kem_encapsulate(kem, point, random)) << hex; // what the check is for
    EXPECT_FALSE(kem_check_public_key(kem, point)) << hex;
  };
  for (const std::string_view hex : {
           "0000000000000000000000000000000000000000000000000000000000000000",
           "0100000000000000000000000000000000000000000000000000000000000000",
           "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
           "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
           "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
           "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
           "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
           "0100000000000000000000000000000000000000000000000000000000000080",
           "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
           "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
       }) {
    refused(KemAlgorithm::x25519, hex);
  }
  for (const std::string_view hex : {
           "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
           "0100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
           "fefffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffffffffffffffffffffffffffffffffffffffffffffffffff",
           "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffffffffffffffffffffffffffffffffffffffffffffffffff",
           "00000000000000000000000000000000000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
       }) {
    refused(KemAlgorithm::x448, hex);
  }
}

TEST(Kem, APointOffTheCurveIsRefused) {
  CountingRandom random;
  for (const KemAlgorithm kem : {KemAlgorithm::p256, KemAlgorithm::p384, KemAlgorithm::p521}) {
    Bytes point = kem_generate_key_pair(kem, random).public_key;
    point.back() ^= 1;
    EXPECT_FALSE(kem_check_public_key(kem, point));
  }
}

} // namespace
} // namespace satsuma::crypto
