#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "mls/wire/types.h"
#include "sframe/cipher_suite.h"

namespace satsuma::call {

/// What a room encrypts with. It is chosen when the room is made and stands in its link after the secret (docs/protocol.md,
/// section 1), so a server cannot change it: who follows the link makes keys of this suite alone. The numbers are those of the browser
/// module's ABI.
enum class RoomSuite : std::uint32_t {
  standard = 0,     ///< X25519, Ed25519, ChaCha20-Poly1305 for messages and frames
  mandatory = 1,    ///< RFC 9420's mandatory suite: X25519, Ed25519, AES-128-GCM for messages and frames
  suite_b_128 = 2,  ///< P-256 and AES-128: frames under AES-CTR with HMAC
  suite_b_192 = 3,  ///< P-384 and AES-256: frames under AES-CTR with HMAC
  post_quantum = 4, ///< ML-KEM-768 with X25519; the rest as in the standard one. Needs an OpenSSL of 3.5 or later: every browser module has it
};
inline constexpr std::array all_room_suites{RoomSuite::standard, RoomSuite::mandatory, RoomSuite::suite_b_128, RoomSuite::suite_b_192, RoomSuite::post_quantum};

struct RoomSuiteParameters {
  std::string_view name; ///< in the link; empty: left out
  mls::CipherSuite mls;
  sframe::CipherSuite frames;
};

constexpr RoomSuiteParameters parameters(RoomSuite suite) {
  switch (suite) {
    case RoomSuite::standard:
      return {"", mls::CipherSuite::x25519_chacha20poly1305_sha256_ed25519, sframe::CipherSuite::chacha20_poly1305_sha256_128};
    case RoomSuite::mandatory:
      return {"aes", mls::CipherSuite::x25519_aes128gcm_sha256_ed25519, sframe::CipherSuite::aes_128_gcm_sha256_128};
    case RoomSuite::suite_b_128:
      return {"b128", mls::CipherSuite::p256_aes128gcm_sha256_p256, sframe::CipherSuite::aes_128_ctr_hmac_sha256_80};
    case RoomSuite::suite_b_192:
      return {"b192", mls::CipherSuite::p384_aes256gcm_sha384_p384, sframe::CipherSuite::aes_256_ctr_hmac_sha512_80};
    case RoomSuite::post_quantum:
      return {"pq", mls::CipherSuite::mlkem768x25519_chacha20poly1305_sha256_ed25519, sframe::CipherSuite::chacha20_poly1305_sha256_128};
  }
  check_failed("a known room suite", __FILE__, __LINE__);
}

/// Nothing for a number or a name that is none.
constexpr std::optional<RoomSuite> room_suite_from(std::uint32_t number) {
  for (const RoomSuite suite : all_room_suites) {
    if (static_cast<std::uint32_t>(suite) == number) return suite;
  }
  return std::nullopt;
}
constexpr std::optional<RoomSuite> room_suite_named(std::string_view name) {
  for (const RoomSuite suite : all_room_suites) {
    if (parameters(suite).name == name) return suite;
  }
  return std::nullopt;
}

} // namespace satsuma::call
