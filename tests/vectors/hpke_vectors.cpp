#include "crypto/hpke.h"
#include "vectors.h"

namespace satsuma::vectors {

namespace {

class FixedRandom : public RandomSource {
 public:
  explicit FixedRandom(Bytes bytes) : bytes_(std::move(bytes)) {}
  void fill(MutableByteView out) override {
    SATSUMA_CHECK(out.size() == bytes_.size());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = bytes_[i];
  }

 private:
  Bytes bytes_;
};

std::optional<crypto::HashAlgorithm> kdf_of(const Json& json) {
  switch (number(json, "kdf_id")) {
    case 1: return crypto::HashAlgorithm::sha256;
    case 2: return crypto::HashAlgorithm::sha384;
    case 3: return crypto::HashAlgorithm::sha512;
    default: return std::nullopt;
  }
}

// The KEM's part: the recipient's keys and what is encapsulated to them.
void kem_part(const Json& json, crypto::KemAlgorithm kem, Entry& entry) {
  const crypto::KemKeyPair recipient = crypto::kem_derive_key_pair(kem, hex(json, "ikmR"));
  VECTOR_CHECK(recipient.public_key == hex(json, "pkRm"));
  VECTOR_CHECK(equal(recipient.private_key.view(), hex(json, "skRm")));
  FixedRandom ephemeral(hex(json, "ikmE"));
  VECTOR_TRY(const crypto::Encapsulation encapsulation, crypto::kem_encapsulate(kem, recipient.public_key, ephemeral));
  VECTOR_CHECK(encapsulation.encapsulated == hex(json, "enc"));
  VECTOR_CHECK(equal(encapsulation.shared_secret.view(), hex(json, "shared_secret")));
  VECTOR_TRY(const SecretBytes decapsulated, crypto::kem_decapsulate(kem, hex(json, "enc"), recipient.private_key.view(), recipient.public_key));
  VECTOR_CHECK(equal(decapsulated.view(), hex(json, "shared_secret")));
}

// RFC 9180 appendix A, base mode, and drafts in its format.
void exchange(const Json& json, Entry& entry) {
  const auto kem = static_cast<crypto::KemAlgorithm>(number(json, "kem_id"));
  const auto kdf = kdf_of(json);
  if (!kdf) return entry.skip("an unknown KDF");
  crypto::HpkeSuite suite{kem, *kdf, std::nullopt};
  switch (number(json, "aead_id")) {
    case 1: suite.aead = crypto::AeadAlgorithm::aes_128_gcm; break;
    case 2: suite.aead = crypto::AeadAlgorithm::aes_256_gcm; break;
    case 3: suite.aead = crypto::AeadAlgorithm::chacha20_poly1305; break;
    case 0xffff: break;
    default: return entry.skip("an unknown AEAD");
  }
  kem_part(json, kem, entry);
  if (entry.failed()) return;
  const Bytes public_key = hex(json, "pkRm");
  FixedRandom ephemeral(hex(json, "ikmE"));
  VECTOR_TRY(crypto::HpkeSender sender, crypto::hpke_setup_sender(suite, public_key, hex(json, "info"), ephemeral));
  VECTOR_CHECK(sender.encapsulated == hex(json, "enc"));
  VECTOR_TRY(crypto::HpkeContext receiver, crypto::hpke_setup_receiver(suite, hex(json, "enc"), hex(json, "skRm"), public_key, hex(json, "info")));

  std::uint64_t sequence = 0;
  for (const Json& encryption : json["encryptions"]) {
    // The draft's are consecutive and do not say their number.
    for (; encryption.contains("sequence") && sequence < number(encryption, "sequence"); ++sequence) {
      VECTOR_TRY(const Bytes filler, sender.context.seal({}, {}));
      VECTOR_TRY_VOID(receiver.open({}, filler));
    }
    VECTOR_TRY(const Bytes ciphertext, sender.context.seal(hex(encryption, "aad"), hex(encryption, "pt")));
    VECTOR_CHECK(ciphertext == hex(encryption, "ct"));
    VECTOR_TRY(const SecretBytes plaintext, receiver.open(hex(encryption, "aad"), ciphertext));
    VECTOR_CHECK(equal(plaintext.view(), hex(encryption, "pt")));
    ++sequence;
  }
  for (const Json& item : json["exports"]) {
    const Bytes expected = hex(item, "exported_value");
    VECTOR_CHECK(equal(sender.context.export_secret(hex(item, "exporter_context"), expected.size()).view(), expected));
    VECTOR_CHECK(equal(receiver.export_secret(hex(item, "exporter_context"), expected.size()).view(), expected));
  }
}

// draft-ietf-hpke-pq: the hybrid KEM that we have, among others that we do not. With the one-stage KDFs, which MLS cannot use, its part alone.
void post_quantum(const Json& json, const char* name, Tally& tally) {
  std::size_t place = 0;
  for (const Json& item : json) {
    Entry entry(name, place++);
    constexpr auto kem = crypto::KemAlgorithm::mlkem768_x25519;
    if (number(item, "kem_id") != static_cast<std::uint64_t>(kem)) continue;
    if (!crypto::kem_available(kem)) {
      entry.skip("this OpenSSL has no ML-KEM");
    } else if (kdf_of(item)) {
      exchange(item, entry);
    } else {
      kem_part(item, kem, entry);
    }
    tally.count(entry);
  }
}

} // namespace

const std::initializer_list<VectorFile> hpke_files = {{"hpke-test-vectors/rfc9180-base.json", exchange},
                                                      {"hpke-test-vectors/hpke-pq-draft.json", nullptr, post_quantum}};

} // namespace satsuma::vectors
