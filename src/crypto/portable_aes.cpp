#include "crypto/portable_aes.h"

#include <bearssl.h>

#include <array>
#include <cstring>
#include <limits>

#include "base/secret.h"

namespace satsuma::crypto::portable_aes {

namespace {

template <class T>
void wipe_object(T& object) {
  wipe({reinterpret_cast<std::uint8_t*>(&object), sizeof object});
}

// BearSSL's functions leave round keys and key stream where their variables were, below the frame of who called them: 1.3 KiB of it at most. So does this array lie.
[[gnu::noinline]] void wipe_stack_below() {
  std::array<std::uint8_t, 4096> below;
  wipe(below);
}

struct CtrKeys {
  explicit CtrKeys(ByteView key) { br_aes_ct64_ctr_init(&keys, key.data(), key.size()); }
  CtrKeys(const CtrKeys&) = delete;
  CtrKeys& operator=(const CtrKeys&) = delete;
  ~CtrKeys() {
    wipe_object(keys);
    wipe_stack_below();
  }
  br_aes_ct64_ctr_keys keys;
};

/// SP 800-38D, with the associated data already in.
struct Gcm {
  Gcm(const AeadStart& start, ByteView associated_data) : aes(start.key) {
    SATSUMA_CHECK(start.nonce.size() == aead_nonce_size);
    br_gcm_init(&context, &aes.keys.vtable, br_ghash_ctmul64);
    br_gcm_reset(&context, start.nonce.data(), start.nonce.size());
    br_gcm_aad_inject(&context, start.associated_data.data(), start.associated_data.size());
    br_gcm_aad_inject(&context, associated_data.data(), associated_data.size());
    br_gcm_flip(&context);
  }
  Gcm(const Gcm&) = delete;
  Gcm& operator=(const Gcm&) = delete;
  ~Gcm() { wipe_object(context); }
  CtrKeys aes; // the last to go
  br_gcm_context context;
};

// `out` may begin where `in` does.
void copy(ByteView in, MutableByteView out) {
  if (!in.empty() && in.data() != out.data()) std::memmove(out.data(), in.data(), in.size());
}

} // namespace

MutableByteView seal_gcm(const AeadStart& start, ByteView associated_data, ByteView plaintext, MutableByteView out) {
  SATSUMA_CHECK(out.size() >= plaintext.size() + aead_tag_size);
  copy(plaintext, out);
  Gcm gcm(start, associated_data);
  br_gcm_run(&gcm.context, 1, out.data(), plaintext.size());
  br_gcm_get_tag(&gcm.context, out.data() + plaintext.size());
  return out.first(plaintext.size() + aead_tag_size);
}

Result<MutableByteView> open_gcm(const AeadStart& start, ByteView associated_data, ByteView ciphertext, MutableByteView out) {
  if (ciphertext.size() < aead_tag_size) return aead_open_failed;
  const std::size_t size = ciphertext.size() - aead_tag_size;
  SATSUMA_CHECK(out.size() >= size);
  const MutableByteView plaintext = out.first(size);
  copy(ciphertext.first(size), plaintext);
  Gcm gcm(start, associated_data);
  br_gcm_run(&gcm.context, 0, plaintext.data(), size);
  std::array<std::uint8_t, aead_tag_size> tag;
  br_gcm_get_tag(&gcm.context, tag.data());
  const bool good = constant_time_equal(tag, ciphertext.subspan(size));
  wipe(tag); // of a forgery it would be the right one
  if (!good) {
    wipe(plaintext);
    return aead_open_failed;
  }
  return plaintext;
}

void crypt_ctr(ByteView key, ByteView initial_counter, ByteView in, MutableByteView out) {
  const std::uint32_t counter = *ByteReader(initial_counter.subspan(12)).u32();
  // BearSSL counts in the last word alone.
  SATSUMA_CHECK(in.size() / 16 < std::numeric_limits<std::uint32_t>::max() - counter);
  copy(in, out);
  const CtrKeys aes(key);
  br_aes_ct64_ctr_run(&aes.keys, initial_counter.data(), counter, out.data(), in.size());
}

} // namespace satsuma::crypto::portable_aes
