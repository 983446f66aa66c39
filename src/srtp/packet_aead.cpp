#include "srtp/packet_aead.h"

#include <array>
#include <cstring>

#include "base/prefetch.h"

#ifdef SATSUMA_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

namespace satsuma::srtp {

#ifdef SATSUMA_IPSEC_MB

namespace {

// Functions for this processor; null where they would have to do without its AES instructions. GCM's keep nothing in it.
IMB_MGR* functions() {
  static IMB_MGR* const manager = [] {
    IMB_MGR* const made = alloc_mb_mgr(0);
    if (made == nullptr) return made;
    init_mb_mgr_auto(made, nullptr);
    constexpr std::uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
    if (imb_get_errno(made) == 0 && (made->features & needed) == needed && (made->features & IMB_FEATURE_AESNI_EMU) == 0) return made;
    free_mb_mgr(made);
    return static_cast<IMB_MGR*>(nullptr);
  }();
  return manager;
}

} // namespace

PacketAead::Library PacketAead::fastest() { return functions() != nullptr ? Library::ipsec_mb : Library::openssl; }

void PacketAead::ScheduleDelete::operator()(gcm_key_data* schedule) const {
  wipe({reinterpret_cast<std::uint8_t*>(schedule), sizeof *schedule});
  delete schedule;
}

PacketAead::PacketAead(ByteView key, Library library) {
  SATSUMA_CHECK(key.size() == crypto::aead_key_size(crypto::AeadAlgorithm::aes_128_gcm));
  if (library == Library::openssl) {
    openssl_.emplace(crypto::AeadAlgorithm::aes_128_gcm, key);
    return;
  }
  SATSUMA_CHECK(functions() != nullptr);
  std::memcpy(key_.mutable_view().data(), key.data(), key.size());
}

gcm_key_data* PacketAead::schedule() {
  if (!schedule_) {
    schedule_.reset(new gcm_key_data);
    IMB_AES128_GCM_PRE(functions(), key_.view().data(), schedule_.get());
  }
  return schedule_.get();
}

// The library refuses null pointers, by doing nothing.
MutableByteView PacketAead::seal(ByteView nonce, ByteView associated_data, ByteView plaintext, MutableByteView out) {
  if (openssl_) return openssl_->seal(nonce, associated_data, plaintext, out);
  SATSUMA_CHECK(nonce.size() == crypto::aead_nonce_size && out.size() >= plaintext.size() + crypto::aead_tag_size);
  gcm_context_data context;
  IMB_AES128_GCM_ENC(functions(), schedule(), &context, out.data(), plaintext.data(), plaintext.size(), nonce.data(), associated_data.data(), associated_data.size(),
                     out.data() + plaintext.size(), crypto::aead_tag_size);
  return out.first(plaintext.size() + crypto::aead_tag_size);
}

Result<MutableByteView> PacketAead::open(ByteView nonce, ByteView associated_data, ByteView ciphertext, MutableByteView out) {
  if (openssl_) return openssl_->open(nonce, associated_data, ciphertext, out);
  if (ciphertext.size() < crypto::aead_tag_size) return crypto::aead_open_failed;
  const std::size_t size = ciphertext.size() - crypto::aead_tag_size;
  SATSUMA_CHECK(nonce.size() == crypto::aead_nonce_size && out.size() >= size);
  std::array<std::uint8_t, crypto::aead_tag_size> expected, tag;
  std::memcpy(expected.data(), ciphertext.data() + size, expected.size());
  gcm_context_data context;
  IMB_AES128_GCM_DEC(functions(), schedule(), &context, out.data(), ciphertext.data(), size, nonce.data(), associated_data.data(), associated_data.size(), tag.data(), tag.size());
  if (!constant_time_equal(tag, expected)) {
    wipe(out.first(size));
    return crypto::aead_open_failed;
  }
  return out.first(size);
}

void PacketAead::prefetch() const {
  if (schedule_) satsuma::prefetch(schedule_.get(), sizeof *schedule_);
}

#else

PacketAead::Library PacketAead::fastest() { return Library::openssl; }

void PacketAead::ScheduleDelete::operator()(gcm_key_data*) const {}

PacketAead::PacketAead(ByteView key, Library library) {
  SATSUMA_CHECK(library == Library::openssl);
  openssl_.emplace(crypto::AeadAlgorithm::aes_128_gcm, key);
}

MutableByteView PacketAead::seal(ByteView nonce, ByteView associated_data, ByteView plaintext, MutableByteView out) {
  return openssl_->seal(nonce, associated_data, plaintext, out);
}

Result<MutableByteView> PacketAead::open(ByteView nonce, ByteView associated_data, ByteView ciphertext, MutableByteView out) {
  return openssl_->open(nonce, associated_data, ciphertext, out);
}

void PacketAead::prefetch() const {}

#endif

} // namespace satsuma::srtp
