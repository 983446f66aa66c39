#include "crypto/kem.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "crypto/labeled_kdf.h"
#include "crypto/pkey.h"
#include "crypto/xwing.h"

namespace satsuma::crypto {

namespace {

using internal::Curve;
using internal::Pkey;

struct KemRow {
  const char* raw_name; // null for a curve of NIST's
  Curve curve;
  HashAlgorithm hash;
  std::size_t private_size;
  std::size_t public_size;
};

KemRow row(KemAlgorithm kem) {
  switch (kem) {
    case KemAlgorithm::p256: return {nullptr, Curve::p256, HashAlgorithm::sha256, 32, 65};
    case KemAlgorithm::p384: return {nullptr, Curve::p384, HashAlgorithm::sha384, 48, 97};
    case KemAlgorithm::p521: return {nullptr, Curve::p521, HashAlgorithm::sha512, 66, 133};
    case KemAlgorithm::x25519: return {"X25519", {}, HashAlgorithm::sha256, 32, 32};
    case KemAlgorithm::x448: return {"X448", {}, HashAlgorithm::sha512, 56, 56};
    case KemAlgorithm::mlkem768_x25519: return {nullptr, {}, {}, internal::xwing_seed_size, internal::xwing_public_size}; // has its own ways
  }
  return {};
}

std::array<std::uint8_t, 5> suite_id(KemAlgorithm kem) {
  const auto id = static_cast<std::uint16_t>(kem);
  return {'K', 'E', 'M', static_cast<std::uint8_t>(id >> 8), static_cast<std::uint8_t>(id)};
}

Bytes public_from_private(const KemRow& r, ByteView private_key) {
  return r.raw_name != nullptr ? internal::raw_public_from_private(r.raw_name, private_key) : internal::ec_public_from_private(r.curve, private_key);
}

Pkey load_public(const KemRow& r, ByteView key) {
  if (key.size() != r.public_size) return nullptr;
  return r.raw_name != nullptr ? internal::raw_public_key(r.raw_name, key) : internal::ec_public_key(r.curve, key);
}

Pkey load_private(const KemRow& r, ByteView private_key, ByteView public_key) {
  return r.raw_name != nullptr ? internal::raw_private_key(r.raw_name, private_key) : internal::ec_private_key(r.curve, private_key, public_key);
}

// ExtractAndExpand, RFC 9180 s.4.1.
SecretBytes extract_and_expand(KemAlgorithm kem, ByteView dh, ByteView encapsulated, ByteView recipient) {
  const HashAlgorithm hash = row(kem).hash;
  const auto id = suite_id(kem);
  Bytes kem_context = to_bytes(encapsulated);
  kem_context.insert(kem_context.end(), recipient.begin(), recipient.end());
  const SecretBytes prk = internal::labeled_extract(hash, id, {}, "eae_prk", dh);
  return internal::labeled_expand(hash, id, prk.view(), "shared_secret", kem_context, hash_size(hash));
}

// Coordinates of small order, and their other spellings: with them every shared secret is zero (RFC 7748 s.6, s.7). Whoever put one
// into a tree would keep everybody else from encrypting to it, and so from committing.
constexpr std::string_view small_order_x25519[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};
constexpr std::string_view small_order_x448[] = {
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    "fefffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "00000000000000000000000000000000000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
};

bool has_small_order(KemAlgorithm kem, ByteView public_key) {
  if (kem == KemAlgorithm::x448) return std::ranges::find(small_order_x448, to_hex(public_key)) != std::end(small_order_x448);
  if (kem != KemAlgorithm::x25519) return false; // the curves of NIST have none but infinity, which has no spelling here
  Bytes coordinate = to_bytes(public_key);
  coordinate.back() &= 0x7f; // which X25519 ignores
  return std::ranges::find(small_order_x25519, to_hex(coordinate)) != std::end(small_order_x25519);
}

} // namespace

bool kem_available(KemAlgorithm kem) { return kem != KemAlgorithm::mlkem768_x25519 || internal::xwing_available(); }
std::size_t kem_private_key_size(KemAlgorithm kem) { return row(kem).private_size; }
std::size_t kem_public_key_size(KemAlgorithm kem) { return row(kem).public_size; }

KemKeyPair kem_derive_key_pair(KemAlgorithm kem, ByteView input_key) {
  SATSUMA_CHECK(kem_available(kem));
  if (kem == KemAlgorithm::mlkem768_x25519) return internal::xwing_derive_key_pair(input_key);
  const KemRow r = row(kem);
  const auto id = suite_id(kem);
  const SecretBytes prk = internal::labeled_extract(r.hash, id, {}, "dkp_prk", input_key);
  if (r.raw_name != nullptr) {
    SecretBytes private_key = internal::labeled_expand(r.hash, id, prk.view(), "sk", {}, r.private_size);
    Bytes public_key = public_from_private(r, private_key.view());
    SATSUMA_CHECK(!public_key.empty());
    return {std::move(public_key), std::move(private_key)};
  }
  for (int counter = 0; counter < 256; ++counter) {
    const auto byte = static_cast<std::uint8_t>(counter);
    SecretBytes candidate = internal::labeled_expand(r.hash, id, prk.view(), "candidate", ByteView(&byte, 1), r.private_size);
    if (kem == KemAlgorithm::p521) candidate.mutable_view()[0] &= 1;
    Bytes public_key = public_from_private(r, candidate.view());
    if (!public_key.empty()) return {std::move(public_key), std::move(candidate)};
  }
  SATSUMA_CHECK(false && "256 candidates out of range"); // below 2^-8192
  return {};
}

KemKeyPair kem_generate_key_pair(KemAlgorithm kem, RandomSource& random) {
  SecretBytes input_key(kem_private_key_size(kem));
  random.fill(input_key.mutable_view());
  return kem_derive_key_pair(kem, input_key.view());
}

Result<KemKeyPair> kem_key_pair_from_private(KemAlgorithm kem, ByteView private_key) {
  const KemRow r = row(kem);
  if (!kem_available(kem)) return kem_unavailable;
  if (kem == KemAlgorithm::mlkem768_x25519) {
    if (private_key.size() != r.private_size) return kem_key_invalid;
    return internal::xwing_key_pair_from_seed(private_key);
  }
  if (private_key.size() > r.private_size) return kem_key_invalid;
  if (r.raw_name != nullptr && private_key.size() != r.private_size) return kem_key_invalid;
  SecretBytes padded(r.private_size);
  for (std::size_t i = 0; i < private_key.size(); ++i) padded.mutable_view()[r.private_size - private_key.size() + i] = private_key[i];
  Bytes public_key = public_from_private(r, padded.view());
  if (public_key.empty()) return kem_key_invalid;
  return KemKeyPair{std::move(public_key), std::move(padded)};
}

Result<void> kem_check_public_key(KemAlgorithm kem, ByteView public_key) {
  if (kem == KemAlgorithm::mlkem768_x25519) {
    if (public_key.size() != internal::xwing_public_size || !internal::xwing_ml_kem_key_is_reduced(public_key)) return kem_key_invalid;
    return kem_check_public_key(KemAlgorithm::x25519, public_key.last(row(KemAlgorithm::x25519).public_size));
  }
  const KemRow r = row(kem);
  // X25519 and X448 take any coordinate, so that OpenSSL has nothing to add. Whoever joins asks this for each node of the tree, hence no key is made of it.
  const bool good = r.raw_name != nullptr ? public_key.size() == r.public_size && !has_small_order(kem, public_key)
                                          : internal::ec_point_is_valid(r.curve, public_key);
  if (!good) return kem_key_invalid;
  return {};
}

Result<Encapsulation> kem_encapsulate(KemAlgorithm kem, ByteView public_key, RandomSource& random) {
  if (!kem_available(kem)) return kem_unavailable;
  if (kem == KemAlgorithm::mlkem768_x25519) return internal::xwing_encapsulate(public_key, random);
  const KemRow r = row(kem);
  const Pkey recipient = load_public(r, public_key);
  if (recipient == nullptr) return kem_key_invalid;
  KemKeyPair ephemeral = kem_generate_key_pair(kem, random);
  const Pkey own = load_private(r, ephemeral.private_key.view(), ephemeral.public_key);
  SATSUMA_CHECK(own != nullptr);
  const SecretBytes dh = internal::derive(own.get(), recipient.get());
  if (dh.empty()) return kem_key_invalid;
  SecretBytes shared = extract_and_expand(kem, dh.view(), ephemeral.public_key, public_key);
  return Encapsulation{std::move(ephemeral.public_key), std::move(shared)};
}

Result<SecretBytes> kem_decapsulate(KemAlgorithm kem, ByteView encapsulated, ByteView private_key, ByteView public_key) {
  if (!kem_available(kem)) return kem_unavailable;
  if (kem == KemAlgorithm::mlkem768_x25519) return internal::xwing_decapsulate(encapsulated, private_key, public_key);
  const KemRow r = row(kem);
  const Pkey sender = load_public(r, encapsulated);
  const Pkey own = load_private(r, private_key, public_key);
  if (sender == nullptr || own == nullptr) return kem_key_invalid;
  const SecretBytes dh = internal::derive(own.get(), sender.get());
  if (dh.empty()) return kem_key_invalid;
  return extract_and_expand(kem, dh.view(), encapsulated, public_key);
}

} // namespace satsuma::crypto
