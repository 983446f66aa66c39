#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>

#include "base/secret.h"

struct evp_cipher_st;
struct evp_cipher_ctx_st;

namespace satsuma::crypto {

inline constexpr ErrorCode aead_open_failed{"aead_open_failed", ErrorKind::peer};

namespace internal {
struct CipherContextFree {
  void operator()(evp_cipher_ctx_st* context) const;
};
using CipherContext = std::unique_ptr<evp_cipher_ctx_st, CipherContextFree>;
} // namespace internal

enum class AeadAlgorithm : std::uint8_t { aes_128_gcm, aes_256_gcm, chacha20_poly1305 };

inline constexpr std::size_t aead_nonce_size = 12;
inline constexpr std::size_t aead_tag_size = 16;
std::size_t aead_key_size(AeadAlgorithm algorithm);

/// An AEAD key with its schedule computed once (RFC 5116), for each direction when it is first used that way: a kilobyte each, and most keys are used in one
/// direction only. Not for use by two threads at once.
class AeadKey {
 public:
  AeadKey(AeadAlgorithm algorithm, ByteView key);

  /// Writes plaintext.size() + 16 bytes to `out`; `out` may begin where `plaintext` does. Returns what was written.
  MutableByteView seal(ByteView nonce, ByteView associated_data, ByteView plaintext, MutableByteView out);
  /// Writes ciphertext.size() - 16 bytes to `out`, which may begin where `ciphertext` does; aead_open_failed when
  /// the tag is wrong, and then `out` holds zeros.
  Result<MutableByteView> open(ByteView nonce, ByteView associated_data, ByteView ciphertext, MutableByteView out);

 private:
  internal::CipherContext seal_;
  internal::CipherContext open_;
  AeadAlgorithm algorithm_;
  SecretArray<32> key_;
};

/// What a message's AEAD starts with.
struct AeadStart {
  ByteView key;
  ByteView nonce;
  ByteView associated_data; ///< the front of it
};

/// An AEAD for keys that are used once. The cipher's memory is kept, so that nothing is allocated after the first call of a kind, and no key that was used up stays in it: each call
/// that succeeds ends with overwriting what it left there. Not for use by two threads at once.
class OneTimeAead {
 public:
  static constexpr std::size_t max_next_associated_data = 32;

  explicit OneTimeAead(AeadAlgorithm algorithm);

  /// As in AeadKey. The key has aead_key_size() bytes; `associated_data` is what follows the front of it.
  ///
  /// `next`: what the next call of the same kind is expected to start with. The cipher is started with it then, which overwrites as well as a key of zeros and is work that has
  /// to be done anyway; any other start is good too. It is known again by its nonce and associated data, of which there are some here: they may not come with another key. What a
  /// forgery started with stays there with `next`, until the next call: that key may still be used.
  MutableByteView seal(const AeadStart& start, ByteView associated_data, ByteView plaintext, MutableByteView out,
                       const std::optional<AeadStart>& next = std::nullopt);
  Result<MutableByteView> open(const AeadStart& start, ByteView associated_data, ByteView ciphertext, MutableByteView out,
                               const std::optional<AeadStart>& next = std::nullopt);

 private:
  struct Direction {
    explicit Direction(bool seals) : seals(seals) {}
    bool seals;
    internal::CipherContext context{}; ///< none before the first call
    std::array<std::uint8_t, aead_nonce_size + max_next_associated_data> expected{};
    std::size_t expected_size = 0; ///< 0: not started
  };

  void start(Direction& direction, const AeadStart& start);
  static bool is_started_with(const Direction& direction, const AeadStart& start);
  void leave(Direction& direction, const std::optional<AeadStart>& next);

  bool chacha_;
  const evp_cipher_st* cipher_;
  Direction seal_{true};
  Direction open_{false};
};

/// The same of AES in counter mode, where encrypting and decrypting are one.
class OneTimeAesCtr {
 public:
  /// 16 for AES-128, 32 for AES-256.
  explicit OneTimeAesCtr(std::size_t key_size);
  /// As AesCtrKey::crypt.
  void crypt(ByteView key, ByteView initial_counter, ByteView in, MutableByteView out);

 private:
  std::size_t key_size_;
  internal::CipherContext context_;
};

/// AES in counter mode with the schedule computed once; encrypting and decrypting are the same.
class AesCtrKey {
 public:
  /// 16 bytes of key for AES-128, 32 for AES-256.
  explicit AesCtrKey(ByteView key);
  /// `initial_counter` is the whole 16-byte first counter block. `out` has in.size() bytes and may be `in` itself.
  void crypt(ByteView initial_counter, ByteView in, MutableByteView out);

 private:
  internal::CipherContext context_;
};

} // namespace satsuma::crypto
