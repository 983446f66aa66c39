#pragma once

#include <algorithm>
#include <chrono>
#include <string>

#include "base/random.h"
#include "base/secret.h"
#include "base/time.h"
#include "call/identity.h"
#include "crypto/cipher.h"
#include "crypto/hash.h"

namespace satsuma::call::test {

using namespace std::chrono_literals;

/// Bytes that follow from a seed.
class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : seed_(seed) {}
  void fill(MutableByteView out) override {
    for (std::uint8_t& byte : out) {
      if (used_ == block_.size()) {
        ByteWriter input;
        input.u64(seed_);
        input.u64(counter_++);
        block_ = crypto::hash(crypto::HashAlgorithm::sha256, input.view());
        used_ = 0;
      }
      byte = block_[used_++];
    }
  }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
  Bytes block_;
  std::size_t used_ = 0;
};

inline TimePoint at(Duration since_start) { return TimePoint(since_start); }

inline SecretBytes secret_of(std::uint8_t byte, std::size_t size) {
  SecretBytes secret(size);
  for (std::uint8_t& b : secret.mutable_view()) b = byte;
  return secret;
}

/// What somebody who has the link can make: admitted, well formed, and with the device key of `victim`, which signed nothing of it.
inline Bytes identity_with_anothers_device(std::string_view room, std::uint8_t secret, const DeviceKey& victim, ByteView signature_key, std::string_view name,
                                           RandomSource& random) {
  const auto own = DeviceKey::from_seed(secret_of(7, 32).view()).value();
  const auto honest = RoomKeys::derive(room, secret_of(secret, room_secret_size).view()).value().seal_identity(own, name, signature_key, random).value();
  const auto room_key = [&](std::string_view label) {
    const SecretBytes master = crypto::hkdf_extract(crypto::HashAlgorithm::sha256, as_bytes("satsuma admission 1"), secret_of(secret, room_secret_size).view());
    return crypto::hkdf_expand(crypto::HashAlgorithm::sha256, master.view(), as_bytes(std::string(label) + std::string(room)), 32);
  };
  ByteReader reader(honest);
  (void)reader.u8();
  const std::size_t size = reader.u16().value() & 0x3fff; // a two-byte length, RFC 9420 s.2.1.2
  Bytes sealed = to_bytes(reader.bytes(size).value());
  const MutableByteView all(sealed);
  crypto::AeadKey aead(crypto::AeadAlgorithm::chacha20_poly1305, room_key("profile").view());
  Bytes plain(sealed.size() - crypto::aead_nonce_size - crypto::aead_tag_size);
  SATSUMA_CHECK(aead.open(all.first(crypto::aead_nonce_size), signature_key, all.subspan(crypto::aead_nonce_size), plain).has_value());
  std::ranges::copy(victim.public_key(), plain.begin());
  aead.seal(all.first(crypto::aead_nonce_size), signature_key, plain, all.subspan(crypto::aead_nonce_size));
  ByteWriter key_size;
  key_size.u16(static_cast<std::uint16_t>(signature_key.size()));
  ByteWriter forged;
  forged.u8(1);
  forged.u16(static_cast<std::uint16_t>(0x4000 | sealed.size()));
  forged.bytes(sealed);
  forged.bytes(crypto::hmac(crypto::HashAlgorithm::sha256, room_key("mac").view(), {key_size.view(), signature_key, sealed}));
  return std::move(forged).take();
}

} // namespace satsuma::call::test
