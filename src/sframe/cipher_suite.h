#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

#include "base/secret.h"
#include "crypto/cipher.h"
#include "crypto/hash.h"

namespace satsuma::sframe {

/// RFC 9605 s.4.5, and one of the private-use range: HKDF-SHA-256 with ChaCha20-Poly1305, which in a browser is three
/// times as fast as AES-GCM and has no secret-dependent table lookups.
enum class CipherSuite : std::uint16_t {
  aes_128_ctr_hmac_sha256_80 = 1,
  aes_128_ctr_hmac_sha256_64 = 2,
  aes_128_ctr_hmac_sha256_32 = 3,
  aes_128_gcm_sha256_128 = 4,
  aes_256_gcm_sha512_128 = 5,
  aes_256_ctr_hmac_sha512_80 = 6, // registered after the RFC, as are 7 and 8
  aes_256_ctr_hmac_sha512_64 = 7,
  aes_256_ctr_hmac_sha512_32 = 8,
  chacha20_poly1305_sha256_128 = 0xf003,
};

inline constexpr ErrorCode sframe_authentication_failed{"sframe_authentication_failed", ErrorKind::peer};

struct CipherSuiteParameters {
  crypto::HashAlgorithm hash;
  std::optional<crypto::AeadAlgorithm> aead; ///< none: AES-CTR with HMAC under the suite's hash (s.4.5.1)
  std::size_t key_size;                      ///< AEAD.Nk
  std::size_t frame_key_size;                ///< of a key for one frame: the same, but HMAC's is as long as AES's (docs/protocol.md s.4)
  std::size_t tag_size;                      ///< AEAD.Nt
};

inline constexpr std::size_t nonce_size = 12; // AEAD.Nn of every suite
CipherSuiteParameters parameters(CipherSuite suite);

inline constexpr std::size_t max_tag_size = 16;

/// The AEAD of a suite, for keys that come with each call: nothing is allocated after the first, and no key that is used up stays behind. Not for use by two threads at once.
class FrameCipher {
 public:
  explicit FrameCipher(CipherSuite suite);

  /// Writes plaintext.size() + tag_size bytes to `out`, which may begin where `plaintext` does. The key has key_size or frame_key_size bytes of the suite's parameters; `metadata` follows the front of the
  /// associated data. `next` as in crypto::OneTimeAead: what the next call probably starts with.
  MutableByteView seal(const crypto::AeadStart& start, ByteView metadata, ByteView plaintext, MutableByteView out,
                       const std::optional<crypto::AeadStart>& next = std::nullopt);
  /// sframe_authentication_failed leaves zeros, or nothing of the plaintext, in `out`.
  Result<MutableByteView> open(const crypto::AeadStart& start, ByteView metadata, ByteView ciphertext, MutableByteView out,
                               const std::optional<crypto::AeadStart>& next = std::nullopt);

  std::size_t tag_size() const { return tag_size_; }

 private:
  struct CtrHmac { // s.4.5.1
    crypto::HashAlgorithm hash;
    crypto::OneTimeAesCtr encryption;
    ByteView encryption_key(ByteView key) const;
    ByteView authentication_key(ByteView key) const;
  };

  void compute_tag(const CtrHmac& ctr_hmac, const crypto::AeadStart& start, ByteView metadata, ByteView ciphertext, MutableByteView tag) const;

  std::size_t tag_size_;
  std::variant<crypto::OneTimeAead, CtrHmac> cipher_;
};

} // namespace satsuma::sframe
