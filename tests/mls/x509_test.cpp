// Certificates as credentials (RFC 9420 s.5.3), made here.
#include "mls/tree/x509_verifier.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "crypto/pkey.h"
#include "world.h"

namespace satsuma::mls {
namespace {

constexpr UnixSeconds now = 1'800'000'000;

struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Key = std::unique_ptr<EVP_PKEY, KeyFree>;

Key ed25519() { return Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")); }
Key p256() { return Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")); }
Key rsa(std::size_t bits) { return Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", bits)); }

struct Subject {
  std::string name;
  bool authority = false;
  UnixSeconds from = now - 1000;
  UnixSeconds to = now + 1000;
  const char* usage = nullptr;
  const char* alternative = nullptr;
};

void add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  SATSUMA_CHECK(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

/// DER. `issuer` in DER; empty: the certificate signs itself.
Bytes certify(const Subject& subject, EVP_PKEY* key, const Bytes& issuer, EVP_PKEY* issuer_key) {
  static long serial = 1;
  X509* certificate = X509_new();
  const unsigned char* at = issuer.data();
  X509* signer = issuer.empty() ? certificate : d2i_X509(nullptr, &at, static_cast<long>(issuer.size()));
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
  ASN1_TIME_set(X509_getm_notBefore(certificate), static_cast<time_t>(subject.from));
  ASN1_TIME_set(X509_getm_notAfter(certificate), static_cast<time_t>(subject.to));
  X509_set_pubkey(certificate, key);
  if (!subject.name.empty()) {
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(subject.name.data()), -1, -1, 0);
  }
  X509_set_issuer_name(certificate, X509_get_subject_name(signer));
  add_extension(certificate, signer, NID_basic_constraints, subject.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add_extension(certificate, signer, NID_subject_key_identifier, "hash");
  if (!issuer.empty()) add_extension(certificate, signer, NID_authority_key_identifier, "keyid:always");
  if (subject.authority) add_extension(certificate, signer, NID_key_usage, "critical,keyCertSign");
  if (subject.usage != nullptr) add_extension(certificate, signer, NID_key_usage, subject.usage);
  if (subject.alternative != nullptr) add_extension(certificate, signer, NID_subject_alt_name, subject.alternative);
  const bool own_digest = EVP_PKEY_is_a(issuer_key, "ED25519") == 1;
  SATSUMA_CHECK(X509_sign(certificate, issuer_key, own_digest ? nullptr : EVP_sha256()) > 0);
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  Bytes out(der, der + size);
  OPENSSL_free(der);
  if (signer != certificate) X509_free(signer);
  X509_free(certificate);
  return out;
}

/// A root, an authority between, and people that it certifies.
class Certificates : public testing::Test {
 protected:
  Certificates()
      : root(certify({.name = "root", .authority = true}, root_key.get(), {}, root_key.get())),
        between(certify({.name = "between", .authority = true}, between_key.get(), root, root_key.get())),
        anchors(VALUE(crypto::TrustAnchors::from_der(std::vector<Bytes>{root}))) {}

  /// Our signature key as OpenSSL's.
  static Key as_key(const crypto::SignatureKeyPair& keys) {
    return Key(EVP_PKEY_new_raw_public_key_ex(nullptr, "ED25519", nullptr, keys.public_key.data(), keys.public_key.size()));
  }
  Bytes client(const Subject& subject, EVP_PKEY* key) { return certify(subject, key, between, between_key.get()); }
  static Credential credential(std::vector<Bytes> chain) {
    Credential out;
    out.type = credential_type::x509;
    out.certificates = std::move(chain);
    return out;
  }
  std::string verify(std::vector<Bytes> chain, UnixSeconds when = now) { return error_name(anchors.verify(chain, when)); }

  SeededRandom random;
  Key root_key = p256(), between_key = ed25519();
  Bytes root, between;
  crypto::TrustAnchors anchors;
};

TEST_F(Certificates, AChainToAnAnchorIsGoodInItsTime) {
  const Key key = ed25519();
  const Bytes alice = client({.name = "alice"}, key.get());
  EXPECT_EQ("none", verify({alice, between}));
  EXPECT_EQ("none", verify({alice, between, root}));
  EXPECT_EQ("certificate_not_in_time", verify({alice, between}, now - 2000));
  EXPECT_EQ("certificate_not_in_time", verify({alice, between}, now + 2000));
  const Bytes short_lived = client({.name = "alice", .to = now + 10}, key.get());
  EXPECT_EQ("none", verify({short_lived, between}, now + 9));
  EXPECT_EQ("certificate_not_in_time", verify({short_lived, between}, now + 11));
  // An anchor need not be a root.
  const crypto::TrustAnchors nearer = VALUE(crypto::TrustAnchors::from_der(std::vector<Bytes>{between}));
  EXPECT_TRUE(nearer.verify(std::vector<Bytes>{alice}, now));
}

TEST_F(Certificates, WhatLeadsToNoAnchorIsUntrusted) {
  const Key key = ed25519(), other_root_key = p256();
  const Bytes alice = client({.name = "alice"}, key.get());
  EXPECT_EQ("certificate_untrusted", verify({alice}));
  const Bytes other_root = certify({.name = "root", .authority = true}, other_root_key.get(), {}, other_root_key.get());
  EXPECT_EQ("certificate_untrusted", verify({certify({.name = "alice"}, key.get(), other_root, other_root_key.get()), other_root}));
  EXPECT_EQ("certificate_untrusted", verify({certify({.name = "alice"}, key.get(), {}, key.get())})); // by itself
  // Whoever is certified is no authority for that.
  const Key mallory_key = ed25519();
  const Bytes mallory = client({.name = "mallory"}, mallory_key.get());
  EXPECT_EQ("certificate_untrusted", verify({certify({.name = "alice"}, key.get(), mallory, mallory_key.get()), mallory, between}));
  // A signature that is none.
  Bytes changed = alice;
  changed.back() ^= 1;
  EXPECT_EQ("certificate_untrusted", verify({changed, between}));
  // Keys that are too weak.
  const Key weak = rsa(1024);
  EXPECT_EQ("certificate_untrusted", verify({client({.name = "alice"}, weak.get()), between}));
}

TEST_F(Certificates, TheChainIsInOrderAndNothingElse) {
  const Key key = ed25519();
  const Bytes alice = client({.name = "alice"}, key.get()), bob = client({.name = "bob"}, key.get());
  EXPECT_EQ("certificate_chain_disordered", verify({alice, root, between}));
  EXPECT_EQ("certificate_chain_disordered", verify({alice, between, bob}));
  EXPECT_EQ("certificate_chain_disordered", verify({alice, bob, between}));
  EXPECT_EQ("certificate_chain_disordered", verify({alice, between, root, root}));
}

TEST_F(Certificates, BytesThatAreNoCertificateAreRefused) {
  const Key key = ed25519();
  const Bytes alice = client({.name = "alice"}, key.get());
  EXPECT_EQ("certificate_malformed", verify({}));
  EXPECT_EQ("certificate_malformed", verify({Bytes{}}));
  EXPECT_EQ("certificate_malformed", verify(std::vector<Bytes>(crypto::TrustAnchors::max_chain + 1, alice)));
  EXPECT_EQ("certificate_malformed", verify({alice, between}, ~UnixSeconds{0}));
  Bytes longer = alice;
  longer.push_back(0);
  EXPECT_EQ("certificate_malformed", verify({longer, between}));
  for (std::size_t size = 0; size < alice.size(); ++size) EXPECT_EQ("certificate_malformed", verify({to_bytes(ByteView(alice).first(size)), between})) << size;
  for (std::size_t i = 0; i < alice.size(); ++i) {
    Bytes flipped = alice;
    flipped[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    EXPECT_NE("none", verify({flipped, between})) << i;
  }
  EXPECT_ERROR(crypto::certificate_malformed, crypto::TrustAnchors::from_der(std::vector<Bytes>{longer}));
  EXPECT_ERROR(crypto::certificate_malformed, crypto::certificate_identity(longer));
}

TEST_F(Certificates, AKeyThatIsForSomethingElseSignsNothing) {
  const Key key = ed25519();
  EXPECT_EQ("none", verify({client({.name = "alice", .usage = "critical,digitalSignature"}, key.get()), between}));
  EXPECT_EQ("certificate_not_for_signing", verify({client({.name = "alice", .usage = "critical,keyAgreement"}, key.get()), between}));
}

TEST_F(Certificates, TheLeafsKeyIsTheCertificates) {
  const X509Verifier verifier(anchors, now);
  for (const auto scheme : {crypto::SignatureScheme::ed25519, crypto::SignatureScheme::ecdsa_p256_sha256}) {
    const crypto::SignatureKeyPair keys = crypto::generate_signature_key_pair(scheme, random), other = crypto::generate_signature_key_pair(scheme, random);
    Key key;
    if (scheme == crypto::SignatureScheme::ed25519) {
      key = as_key(keys);
    } else {
      key.reset(crypto::internal::ec_public_key(crypto::internal::Curve::p256, keys.public_key).release());
      // Its spelling in the certificate is another than MLS's.
      ASSERT_EQ(1, EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed"));
    }
    const Credential alice = credential({client({.name = "alice"}, key.get()), between});
    EXPECT_TRUE(verifier.verify(alice, keys.public_key));
    EXPECT_ERROR(mls_certificate_key_mismatch, verifier.verify(alice, other.public_key));
    EXPECT_ERROR(mls_certificate_key_mismatch, verifier.verify(alice, {}));
  }
  const Key strong = rsa(2048); // good, and of no suite
  EXPECT_ERROR(mls_certificate_key_mismatch, verifier.verify(credential({client({.name = "alice"}, strong.get()), between}), {}));
  EXPECT_ERROR(mls_credential_rejected, verifier.verify(Credential::basic(as_bytes("alice")), Bytes(32)));
}

TEST_F(Certificates, ARenewedCertificateIsTheSameClientAndAnotherNameIsNot) {
  const X509Verifier verifier(anchors, now);
  const Key key = ed25519(), next = ed25519();
  const auto of = [&](const Subject& subject, EVP_PKEY* with) { return credential({client(subject, with), between}); };
  const Credential alice = of({.name = "alice", .alternative = "DNS:alice.example"}, key.get());
  EXPECT_TRUE(verifier.same_client(alice, of({.name = "alice", .alternative = "DNS:alice.example"}, next.get())));
  EXPECT_FALSE(verifier.same_client(alice, of({.name = "bob", .alternative = "DNS:alice.example"}, key.get())));
  EXPECT_FALSE(verifier.same_client(alice, of({.name = "alice", .alternative = "DNS:bob.example"}, key.get())));
  EXPECT_FALSE(verifier.same_client(alice, of({.name = "alice"}, key.get())));
  const Credential nobody = of({.name = ""}, key.get());
  EXPECT_FALSE(verifier.same_client(nobody, nobody));
  EXPECT_FALSE(verifier.same_client(alice, Credential::basic(as_bytes("alice"))));
  EXPECT_FALSE(verifier.same_client(credential({}), credential({})));
  EXPECT_ERROR(mls_credential_rejected, verifier.verify_successor(alice, of({.name = "bob"}, key.get())));
}

TEST_F(Certificates, AGroupOfCertifiedMembersLetsNobodyElseIn) {
  X509Verifier verifier(anchors, now);
  LeafPolicy policy;
  policy.verifier = &verifier;
  Capabilities capabilities = Capabilities::ours();
  capabilities.credentials = {credential_type::x509, credential_type::basic};
  const auto person = [&](const std::string& name, bool certified) {
    const crypto::SignatureKeyPair keys = VALUE(generate_signature_keys(CipherSuite{3}, random));
    KeyPackageParams params;
    params.capabilities = capabilities;
    params.credential = certified ? credential({client({.name = name}, as_key(keys).get()), between}) : Credential::basic(as_bytes(name));
    return VALUE(generate_key_package(params, keys, random));
  };
  GroupParams group_params;
  group_params.group_id = to_bytes(as_bytes("certified"));
  Group alice = VALUE(Group::create(group_params, person("alice", true), random));
  const KeyPackageBundle bob_bundle = person("bob", true);
  CommitParams add;
  add.policy = policy;
  add.add.push_back(bob_bundle.key_package);
  PendingCommit pending = VALUE(alice.commit(add, random));
  const Welcome welcome = VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome));
  EXPECT_ERROR(mls_credential_unverified, Group::join(welcome, bob_bundle));
  JoinParams join;
  join.policy = policy;
  Group bob = VALUE(Group::join(welcome, bob_bundle, join));
  ASSERT_TRUE(alice.merge(std::move(pending.staged)));

  add.add[0] = person("carol", false).key_package;
  EXPECT_ERROR(mls_credential_rejected, alice.commit(add, random));
  // Bob's certificate with somebody else's key.
  const crypto::SignatureKeyPair stolen = VALUE(generate_signature_keys(CipherSuite{3}, random));
  KeyPackageParams params;
  params.capabilities = capabilities;
  params.credential = bob_bundle.key_package.leaf_node.credential;
  add.add[0] = VALUE(generate_key_package(params, stolen, random)).key_package;
  EXPECT_ERROR(mls_certificate_key_mismatch, alice.commit(add, random));
  // Later, bob's is over.
  CommitParams empty;
  empty.policy = policy;
  StageParams stage;
  stage.policy = policy;
  const PendingCommit late = VALUE(bob.commit(empty, random));
  EXPECT_TRUE(alice.stage(late.commit, stage));
  verifier.set_time(now + 5000);
  EXPECT_ERROR(crypto::certificate_not_in_time, alice.stage(late.commit, stage));
}

} // namespace
} // namespace satsuma::mls
