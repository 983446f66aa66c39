#pragma once

#include <memory>
#include <optional>

#include "crypto/cipher.h"

struct gcm_key_data;

namespace satsuma::srtp {

/// AEAD_AES_128_GCM (RFC 5116) under one key for many packets: its schedule, a kilobyte, is made with the first of them. Not for use by two threads at once.
///
/// By Intel's library for packets ("ipsec-mb") where the build found it and the processor has AES instructions: docs/adr/packet-cipher.md. Elsewhere by OpenSSL; the bytes are the same.
class PacketAead {
 public:
  enum class Library : std::uint8_t { openssl, ipsec_mb };
  /// The faster of those that are there.
  static Library fastest();

  /// 16 bytes.
  explicit PacketAead(ByteView key, Library library = fastest());

  /// As in crypto::AeadKey.
  MutableByteView seal(ByteView nonce, ByteView associated_data, ByteView plaintext, MutableByteView out);
  Result<MutableByteView> open(ByteView nonce, ByteView associated_data, ByteView ciphertext, MutableByteView out);

  /// What both need besides this object itself: base/prefetch.h.
  void prefetch() const;

 private:
  struct ScheduleDelete {
    void operator()(gcm_key_data* schedule) const;
  };
  gcm_key_data* schedule();

  SecretArray<16> key_;
  std::unique_ptr<gcm_key_data, ScheduleDelete> schedule_;
  std::optional<crypto::AeadKey> openssl_;
};

} // namespace satsuma::srtp
