#include "sframe/sframe.h"
#include "vectors.h"

namespace satsuma::vectors {

namespace {

using sframe::CipherSuite;

// RFC 9605 s.4.3
void header(const Json& json, Entry& entry) {
  const sframe::Header header{number(json, "kid"), number(json, "ctr")};
  std::uint8_t bytes[sframe::max_header_size];
  const ByteView written = ByteView(bytes).first(sframe::write_header(header, bytes));
  VECTOR_CHECK(equal(written, hex(json, "encoded")));
  VECTOR_TRY(const sframe::ParsedHeader parsed, sframe::parse_header(written));
  VECTOR_CHECK(parsed.header.key_id == header.key_id && parsed.header.counter == header.counter && parsed.size == written.size());
}

// RFC 9605 s.4.5.1
void ctr_hmac(const Json& json, Entry& entry) {
  const auto suite = static_cast<CipherSuite>(number(json, "cipher_suite"));
  const Bytes nonce = hex(json, "nonce"), aad = hex(json, "aad"), plaintext = hex(json, "pt"), ciphertext = hex(json, "ct");
  const Bytes key = hex(json, "key");
  sframe::FrameCipher cipher(suite);
  Bytes out(ciphertext.size());
  VECTOR_CHECK(equal(cipher.seal({key, nonce, aad}, {}, plaintext, out), ciphertext));
  VECTOR_TRY(const MutableByteView opened, cipher.open({key, nonce, aad}, {}, ciphertext, out));
  VECTOR_CHECK(equal(opened, plaintext));
}

// RFC 9605 s.4.4
void whole(const Json& json, Entry& entry) {
  const auto suite = static_cast<CipherSuite>(number(json, "cipher_suite"));
  const Bytes metadata = hex(json, "metadata"), plaintext = hex(json, "pt"), ciphertext = hex(json, "ct");
  sframe::KeyContext key(suite, number(json, "kid"), hex(json, "base_key"));
  Bytes out(plaintext.size() + sframe::max_overhead);
  VECTOR_TRY(const MutableByteView protected_frame, key.encrypt(number(json, "ctr"), metadata, plaintext, out));
  VECTOR_CHECK(equal(protected_frame, ciphertext));
  VECTOR_TRY(const sframe::ParsedHeader header, sframe::parse_header(ciphertext));
  VECTOR_CHECK(header.header.key_id == number(json, "kid") && header.header.counter == number(json, "ctr"));
  VECTOR_TRY(const MutableByteView opened, key.decrypt(header, metadata, ciphertext, out));
  VECTOR_CHECK(equal(opened, plaintext));
}

// The files are objects with an array for each kind of vector.
void run_kinds(const Json& file, const char* name, Tally& tally) {
  for (const auto& [kind, entries] : file.items()) {
    const RunEntry run_entry = kind == "header" ? header : kind.starts_with("sframe") ? whole : ctr_hmac;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Entry entry(name, i);
      run_entry(entries[i], entry);
      tally.count(entry);
    }
  }
}

} // namespace

const std::initializer_list<VectorFile> sframe_files = {
    {"sframe-test-vectors/test-vectors.json", nullptr, run_kinds},
    {"sframe-test-vectors/test-vectors-aes256.json", nullptr, run_kinds},
};

} // namespace satsuma::vectors
