#pragma once

#include <array>
#include <optional>

#include "crypto/cipher.h"
#include "crypto/hash.h"
#include "crypto/kem.h"

/// HPKE (RFC 9180), base mode: encryption to a public key.
namespace satsuma::crypto {

inline constexpr ErrorCode hpke_open_failed{"hpke_open_failed", ErrorKind::peer};
inline constexpr ErrorCode hpke_export_only{"hpke_export_only", ErrorKind::caller};

struct HpkeSuite {
  KemAlgorithm kem;
  HashAlgorithm kdf;
  std::optional<AeadAlgorithm> aead; ///< none: export only (id 0xFFFF)
};

/// One direction of an exchange, with its sequence number (s.5.2). A failed open does not count up.
class HpkeContext {
 public:
  HpkeContext(HpkeSuite suite, ByteView shared_secret, ByteView info); ///< KeySchedule of s.5.1, mode_base

  Result<Bytes> seal(ByteView associated_data, ByteView plaintext);
  Result<SecretBytes> open(ByteView associated_data, ByteView ciphertext);
  SecretBytes export_secret(ByteView context, std::size_t size) const;

 private:
  std::array<std::uint8_t, aead_nonce_size> next_nonce() const;

  HpkeSuite suite_;
  std::optional<AeadKey> key_;
  SecretBytes base_nonce_;
  SecretBytes exporter_secret_;
  std::uint64_t sequence_ = 0;
};

struct HpkeSender {
  Bytes encapsulated;
  HpkeContext context;
};

Result<HpkeSender> hpke_setup_sender(HpkeSuite suite, ByteView public_key, ByteView info, RandomSource& random);
Result<HpkeContext> hpke_setup_receiver(HpkeSuite suite, ByteView encapsulated, ByteView private_key, ByteView public_key, ByteView info);

struct HpkeSealed {
  Bytes encapsulated;
  Bytes ciphertext;
};

/// Single shot, s.6.1.
Result<HpkeSealed> hpke_seal(HpkeSuite suite, ByteView public_key, ByteView info, ByteView associated_data, ByteView plaintext, RandomSource& random);
Result<SecretBytes> hpke_open(HpkeSuite suite, ByteView encapsulated, ByteView private_key, ByteView public_key, ByteView info,
                              ByteView associated_data, ByteView ciphertext);

} // namespace satsuma::crypto
