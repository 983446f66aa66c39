#include "mls/wire/suite.h"

#include <array>

namespace satsuma::mls {

namespace {

using crypto::AeadAlgorithm;
using crypto::HashAlgorithm;
using crypto::KemAlgorithm;
using crypto::SignatureScheme;

constexpr std::array<SuiteParameters, 8> suites = {{
    {CipherSuite::x25519_aes128gcm_sha256_ed25519, KemAlgorithm::x25519, AeadAlgorithm::aes_128_gcm, HashAlgorithm::sha256, SignatureScheme::ed25519},
    {CipherSuite::p256_aes128gcm_sha256_p256, KemAlgorithm::p256, AeadAlgorithm::aes_128_gcm, HashAlgorithm::sha256, SignatureScheme::ecdsa_p256_sha256},
    {CipherSuite::x25519_chacha20poly1305_sha256_ed25519, KemAlgorithm::x25519, AeadAlgorithm::chacha20_poly1305, HashAlgorithm::sha256,
     SignatureScheme::ed25519},
    {CipherSuite::x448_aes256gcm_sha512_ed448, KemAlgorithm::x448, AeadAlgorithm::aes_256_gcm, HashAlgorithm::sha512, SignatureScheme::ed448},
    {CipherSuite::p521_aes256gcm_sha512_p521, KemAlgorithm::p521, AeadAlgorithm::aes_256_gcm, HashAlgorithm::sha512, SignatureScheme::ecdsa_p521_sha512},
    {CipherSuite::x448_chacha20poly1305_sha512_ed448, KemAlgorithm::x448, AeadAlgorithm::chacha20_poly1305, HashAlgorithm::sha512, SignatureScheme::ed448},
    {CipherSuite::p384_aes256gcm_sha384_p384, KemAlgorithm::p384, AeadAlgorithm::aes_256_gcm, HashAlgorithm::sha384, SignatureScheme::ecdsa_p384_sha384},
    {CipherSuite::mlkem768x25519_chacha20poly1305_sha256_ed25519, KemAlgorithm::mlkem768_x25519, AeadAlgorithm::chacha20_poly1305, HashAlgorithm::sha256,
     SignatureScheme::ed25519},
}};

// SignContent, RFC 9420 s.5.1.2.
Bytes sign_content(std::string_view label, ByteView content) {
  ByteWriter writer(content.size() + label.size() + 16);
  Bytes whole = to_bytes(as_bytes("MLS 1.0 "));
  whole.insert(whole.end(), label.begin(), label.end());
  codec::write_opaque(writer, whole);
  codec::write_opaque(writer, content);
  return std::move(writer).take();
}

} // namespace

const SuiteParameters* find_suite(CipherSuite id) {
  for (const SuiteParameters& suite : suites) {
    if (suite.id == id) return &suite;
  }
  return nullptr;
}

Result<const SuiteParameters*> require_suite(CipherSuite id) {
  const SuiteParameters* suite = find_suite(id);
  if (suite == nullptr) return mls_suite_unsupported;
  return suite;
}

Result<const SuiteParameters*> require_suite_of_member(CipherSuite id) {
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite(id));
  if (!crypto::kem_available(suite->kem)) return mls_suite_unavailable;
  return suite;
}

Result<Bytes> sign_with_label(const SuiteParameters& suite, ByteView private_key, std::string_view label, ByteView content) {
  return crypto::sign(suite.signature, private_key, sign_content(label, content));
}

Result<void> verify_with_label(const SuiteParameters& suite, ByteView public_key, std::string_view label, ByteView content, ByteView signature) {
  return crypto::verify(suite.signature, public_key, sign_content(label, content), signature);
}

Bytes ref_hash(const SuiteParameters& suite, std::string_view label, ByteView value) {
  ByteWriter writer(value.size() + label.size() + 8);
  codec::write_opaque(writer, as_bytes(label));
  codec::write_opaque(writer, value);
  return crypto::hash(suite.hash, writer.view());
}

Bytes key_package_ref(const SuiteParameters& suite, ByteView encoded_key_package) {
  return ref_hash(suite, "MLS 1.0 KeyPackage Reference", encoded_key_package);
}

Bytes proposal_ref(const SuiteParameters& suite, ByteView encoded_authenticated_content) {
  return ref_hash(suite, "MLS 1.0 Proposal Reference", encoded_authenticated_content);
}

} // namespace satsuma::mls
