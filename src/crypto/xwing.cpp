#include "crypto/xwing.h"

#include <openssl/evp.h>

#include <array>
#include <initializer_list>

#include "crypto/labeled_kdf.h"
#include "crypto/pkey.h"

namespace satsuma::crypto::internal {

namespace {

constexpr std::size_t ml_kem_public_size = 1184;
constexpr std::size_t ml_kem_ciphertext_size = 1088;
constexpr std::size_t ml_kem_seed_size = 64;
constexpr std::size_t x25519_size = 32;
constexpr const char* ml_kem = "ML-KEM-768";

struct DigestContextFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// SHA3-256 or SHAKE256 over the parts as if concatenated; `out` is as long as it wants to be with the latter.
void keccak(const EVP_MD* function, std::initializer_list<ByteView> parts, MutableByteView out) {
  const std::unique_ptr<EVP_MD_CTX, DigestContextFree> context(EVP_MD_CTX_new());
  SATSUMA_CHECK(context != nullptr && EVP_DigestInit_ex2(context.get(), function, nullptr) == 1);
  for (ByteView part : parts) SATSUMA_CHECK(EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1);
  if ((EVP_MD_get_flags(function) & EVP_MD_FLAG_XOF) != 0) {
    SATSUMA_CHECK(EVP_DigestFinalXOF(context.get(), out.data(), out.size()) == 1);
  } else {
    unsigned size = 0;
    SATSUMA_CHECK(EVP_DigestFinal_ex(context.get(), out.data(), &size) == 1 && size == out.size());
  }
}

// The private keys that a seed stands for: ML-KEM's d and z, then X25519's.
struct Expanded {
  SecretBytes bytes{ml_kem_seed_size + x25519_size};
  ByteView ml_kem_seed() const { return bytes.view().first(ml_kem_seed_size); }
  ByteView x25519() const { return bytes.view().subspan(ml_kem_seed_size); }
};

Expanded expand(ByteView seed) {
  SATSUMA_CHECK(seed.size() == xwing_seed_size);
  Expanded out;
  keccak(EVP_shake256(), {seed}, out.bytes.mutable_view());
  return out;
}

// The combiner. Its label is a picture of the aircraft.
SecretBytes combine(ByteView ml_kem_secret, ByteView x25519_secret, ByteView x25519_encapsulated, ByteView x25519_public) {
  SecretBytes out(32);
  keccak(EVP_sha3_256(), {ml_kem_secret, x25519_secret, x25519_encapsulated, x25519_public, as_bytes("\\.//^\\")}, out.mutable_view());
  return out;
}

} // namespace

bool xwing_available() {
  static const bool available = has_key_type(ml_kem);
  return available;
}

KemKeyPair xwing_key_pair_from_seed(ByteView seed) {
  const Expanded keys = expand(seed);
  const Pkey pair = ml_kem_key_from_seed(ml_kem, keys.ml_kem_seed());
  SATSUMA_CHECK(pair != nullptr);
  Bytes public_key = raw_public_key_of(pair.get());
  const Bytes x25519 = raw_public_from_private("X25519", keys.x25519());
  public_key.insert(public_key.end(), x25519.begin(), x25519.end());
  SATSUMA_CHECK(public_key.size() == xwing_public_size);
  return {std::move(public_key), SecretBytes::copy_of(seed)};
}

// SHAKE256.LabeledDerive of draft-ietf-hpke-pq s.5, with the KEM's suite_id.
KemKeyPair xwing_derive_key_pair(ByteView input_key) {
  constexpr std::array<std::uint8_t, 5> suite_id = {'K', 'E', 'M', 0x64, 0x7a};
  constexpr std::string_view label = "DeriveKeyPair";
  constexpr std::array<std::uint8_t, 2> label_size = {0, label.size()};
  constexpr std::array<std::uint8_t, 2> seed_size = {0, xwing_seed_size};
  SecretBytes seed(xwing_seed_size);
  keccak(EVP_shake256(), {input_key, as_bytes(hpke_version), suite_id, label_size, as_bytes(label), seed_size}, seed.mutable_view());
  return xwing_key_pair_from_seed(seed.view());
}

bool xwing_ml_kem_key_is_reduced(ByteView public_key) {
  // 768 coefficients of 12 bits, two in three bytes (ByteEncode, FIPS 203 s.4.2.1); the rest is a seed, where everything goes.
  constexpr unsigned modulus = 3329;
  for (std::size_t i = 0; i < 768 / 2 * 3; i += 3) {
    const unsigned first = public_key[i] | (public_key[i + 1] & 0x0fu) << 8;
    const unsigned second = public_key[i + 1] >> 4 | static_cast<unsigned>(public_key[i + 2]) << 4;
    if (first >= modulus || second >= modulus) return false;
  }
  return true;
}

Result<Encapsulation> xwing_encapsulate(ByteView public_key, RandomSource& random) {
  if (public_key.size() != xwing_public_size) return kem_key_invalid;
  const Pkey ml_kem_recipient = raw_public_key(ml_kem, public_key.first(ml_kem_public_size));
  const ByteView x25519_public = public_key.subspan(ml_kem_public_size);
  const Pkey x25519_recipient = raw_public_key("X25519", x25519_public);
  if (ml_kem_recipient == nullptr || x25519_recipient == nullptr) return kem_key_invalid;

  SecretBytes coins(32 + x25519_size);
  random.fill(coins.mutable_view());
  Encapsulation out;
  const SecretBytes ml_kem_secret = ml_kem_encapsulate(ml_kem_recipient.get(), coins.view().first(32), out.encapsulated);
  const ByteView ephemeral = coins.view().subspan(32);
  const Bytes x25519_encapsulated = raw_public_from_private("X25519", ephemeral);
  const SecretBytes x25519_secret = derive(raw_private_key("X25519", ephemeral).get(), x25519_recipient.get());
  if (ml_kem_secret.empty() || x25519_secret.empty()) return kem_key_invalid;
  out.encapsulated.insert(out.encapsulated.end(), x25519_encapsulated.begin(), x25519_encapsulated.end());
  out.shared_secret = combine(ml_kem_secret.view(), x25519_secret.view(), x25519_encapsulated, x25519_public);
  return out;
}

Result<SecretBytes> xwing_decapsulate(ByteView encapsulated, ByteView seed, ByteView public_key) {
  if (encapsulated.size() != xwing_encapsulated_size || seed.size() != xwing_seed_size || public_key.size() != xwing_public_size) return kem_key_invalid;
  const Expanded keys = expand(seed);
  const Pkey own_ml_kem = ml_kem_key_from_seed(ml_kem, keys.ml_kem_seed());
  const Pkey own_x25519 = raw_private_key("X25519", keys.x25519());
  const ByteView x25519_encapsulated = encapsulated.subspan(ml_kem_ciphertext_size);
  const Pkey sender = raw_public_key("X25519", x25519_encapsulated);
  if (own_ml_kem == nullptr || own_x25519 == nullptr || sender == nullptr) return kem_key_invalid;
  const SecretBytes ml_kem_secret = ml_kem_decapsulate(own_ml_kem.get(), encapsulated.first(ml_kem_ciphertext_size));
  const SecretBytes x25519_secret = derive(own_x25519.get(), sender.get());
  if (ml_kem_secret.empty() || x25519_secret.empty()) return kem_key_invalid;
  return combine(ml_kem_secret.view(), x25519_secret.view(), x25519_encapsulated, public_key.subspan(ml_kem_public_size));
}

} // namespace satsuma::crypto::internal
