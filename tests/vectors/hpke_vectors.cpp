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

// rfc9180-base.json: RFC 9180 appendix A, base mode.
void rfc9180_base(const Json& json, Entry& entry) {
  const auto kem = static_cast<crypto::KemAlgorithm>(number(json, "kem_id"));
  crypto::HpkeSuite suite{kem, crypto::HashAlgorithm::sha256, std::nullopt};
  switch (number(json, "kdf_id")) {
    case 1: suite.kdf = crypto::HashAlgorithm::sha256; break;
    case 2: suite.kdf = crypto::HashAlgorithm::sha384; break;
    case 3: suite.kdf = crypto::HashAlgorithm::sha512; break;
    default: return entry.skip("an unknown KDF");
  }
  switch (number(json, "aead_id")) {
    case 1: suite.aead = crypto::AeadAlgorithm::aes_128_gcm; break;
    case 2: suite.aead = crypto::AeadAlgorithm::aes_256_gcm; break;
    case 3: suite.aead = crypto::AeadAlgorithm::chacha20_poly1305; break;
    case 0xffff: break;
    default: return entry.skip("an unknown AEAD");
  }
  const crypto::KemKeyPair recipient = crypto::kem_derive_key_pair(kem, hex(json, "ikmR"));
  VECTOR_CHECK(recipient.public_key == hex(json, "pkRm"));
  VECTOR_CHECK(equal(recipient.private_key.view(), hex(json, "skRm")));

  FixedRandom ephemeral(hex(json, "ikmE"));
  VECTOR_TRY(const crypto::Encapsulation encapsulation, crypto::kem_encapsulate(kem, recipient.public_key, ephemeral));
  VECTOR_CHECK(equal(encapsulation.shared_secret.view(), hex(json, "shared_secret")));
  VECTOR_TRY(crypto::HpkeSender sender, crypto::hpke_setup_sender(suite, recipient.public_key, hex(json, "info"), ephemeral));
  VECTOR_CHECK(sender.encapsulated == hex(json, "enc"));
  VECTOR_TRY(crypto::HpkeContext receiver,
             crypto::hpke_setup_receiver(suite, hex(json, "enc"), recipient.private_key.view(), recipient.public_key, hex(json, "info")));

  std::uint64_t sequence = 0;
  for (const Json& encryption : json["encryptions"]) {
    for (; sequence < number(encryption, "sequence"); ++sequence) {
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

} // namespace

const std::initializer_list<VectorFile> hpke_files = {{"hpke-test-vectors/rfc9180-base.json", rfc9180_base}};

} // namespace satsuma::vectors
