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

class EveryKem : public testing::TestWithParam<KemAlgorithm> {
  void SetUp() override {
    if (!kem_available(GetParam())) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  }
};
INSTANTIATE_TEST_SUITE_P(Kems, EveryKem,
                         testing::Values(KemAlgorithm::p256, KemAlgorithm::p384, KemAlgorithm::p521, KemAlgorithm::x25519, KemAlgorithm::x448,
                                         KemAlgorithm::mlkem768_x25519));

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

// A key of zeros but for one coefficient of ML-KEM's, 12 bits at an even or odd place, and an X25519 key that is one.
Bytes hybrid_key(std::size_t place, unsigned coefficient) {
  Bytes key(kem_public_key_size(KemAlgorithm::mlkem768_x25519));
  std::uint8_t* const pair = &key[place / 2 * 3];
  if (place % 2 == 0) {
    pair[0] = static_cast<std::uint8_t>(coefficient);
    pair[1] = static_cast<std::uint8_t>(coefficient >> 8);
  } else {
    pair[1] = static_cast<std::uint8_t>(coefficient << 4);
    pair[2] = static_cast<std::uint8_t>(coefficient >> 4);
  }
  key[1184] = 9;
  return key;
}

// Whoever has no ML-KEM must judge a key as those do who have it: else it would let a member in whom nobody can encrypt to.
TEST(HybridKem, APublicKeyIsJudgedTheSameWithMlKemAndWithoutIt) {
  CountingRandom random;
  constexpr KemAlgorithm kem = KemAlgorithm::mlkem768_x25519;
  const auto judge = [&](const Bytes& key, bool good) {
    EXPECT_EQ(good, kem_check_public_key(kem, key).has_value());
    if (kem_available(kem)) {
      EXPECT_EQ(good, kem_encapsulate(kem, key, random).has_value());
    }
  };
  for (const std::size_t place : {0u, 1u, 511u, 766u, 767u}) {
    judge(hybrid_key(place, 3328), true);
    judge(hybrid_key(place, 3329), false);
    judge(hybrid_key(place, 4095), false);
  }
  Bytes key = hybrid_key(0, 0);
  judge(key, true);
  key[1183] = 0xff; // the seed's last byte
  judge(key, true);
  key[1184] = 0; // X25519's point of order 4
  judge(key, false);
  key = hybrid_key(0, 0);
  key.push_back(0);
  judge(key, false);
  key.resize(1215);
  judge(key, false);
}

TEST(HybridKem, WithoutMlKemItSaysSo) {
  if (kem_available(KemAlgorithm::mlkem768_x25519)) GTEST_SKIP() << "this OpenSSL has ML-KEM";
  CountingRandom random;
  constexpr KemAlgorithm kem = KemAlgorithm::mlkem768_x25519;
  const Bytes public_key = hybrid_key(0, 0);
  EXPECT_EQ(kem_unavailable, kem_encapsulate(kem, public_key, random).error());
  EXPECT_EQ(kem_unavailable, kem_decapsulate(kem, Bytes(1120), Bytes(32), public_key).error());
  EXPECT_EQ(kem_unavailable, kem_key_pair_from_private(kem, Bytes(32)).error());
}

TEST(HybridKem, NeitherHalfOfACiphertextCanBeChanged) {
  constexpr KemAlgorithm kem = KemAlgorithm::mlkem768_x25519;
  if (!kem_available(kem)) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  CountingRandom random;
  const KemKeyPair keys = kem_generate_key_pair(kem, random);
  const auto sent = kem_encapsulate(kem, keys.public_key, random);
  ASSERT_TRUE(sent);
  for (const std::size_t place : {0u, 1087u, 1088u, 1119u}) {
    Bytes changed = sent->encapsulated;
    changed[place] ^= 1;
    const auto secret = kem_decapsulate(kem, changed, keys.private_key.view(), keys.public_key);
    ASSERT_TRUE(secret) << place; // ML-KEM gives another secret rather than an error
    EXPECT_FALSE(*secret == sent->shared_secret) << place;
  }
}

} // namespace
} // namespace satsuma::crypto
