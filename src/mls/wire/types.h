#pragma once

#include <compare>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "codec/tls.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_version_unsupported{"mls_version_unsupported", ErrorKind::peer};
inline constexpr ErrorCode mls_suite_unsupported{"mls_suite_unsupported", ErrorKind::peer};
inline constexpr ErrorCode mls_suite_unavailable{"mls_suite_unavailable", ErrorKind::environment};
inline constexpr ErrorCode mls_wire_format_unknown{"mls_wire_format_unknown", ErrorKind::peer};
inline constexpr ErrorCode mls_enum_invalid{"mls_enum_invalid", ErrorKind::peer};

// The number of the post-quantum suite, which draft-ietf-mls-pq-ciphersuites leaves open: one for private use (RFC 9420 s.17.1), to be set
// otherwise with CMake's SATSUMA_MLS_PQ_SUITE. All who meet must have the same.
#ifndef SATSUMA_MLS_PQ_SUITE
#define SATSUMA_MLS_PQ_SUITE 0xf47a
#endif
static_assert(SATSUMA_MLS_PQ_SUITE > 7 && SATSUMA_MLS_PQ_SUITE <= 0xffff, "a number that no other suite has");

/// RFC 9420 s.17.1. Values of the registry that are not here (and GREASE) stay as they came.
enum class CipherSuite : std::uint16_t {
  x25519_aes128gcm_sha256_ed25519 = 1,
  p256_aes128gcm_sha256_p256 = 2,
  x25519_chacha20poly1305_sha256_ed25519 = 3,
  x448_aes256gcm_sha512_ed448 = 4,
  p521_aes256gcm_sha512_p521 = 5,
  x448_chacha20poly1305_sha512_ed448 = 6,
  p384_aes256gcm_sha384_p384 = 7,
  /// That draft's first suite with ChaCha20-Poly1305 in place of AES-GCM. Members need an OpenSSL of 3.5 or later, followers do not.
  mlkem768x25519_chacha20poly1305_sha256_ed25519 = SATSUMA_MLS_PQ_SUITE,
};

inline constexpr std::uint16_t protocol_version_mls10 = 1;

using Epoch = std::uint64_t;
using GroupId = Bytes;

struct LeafIndex {
  std::uint32_t value = 0;
  friend auto operator<=>(const LeafIndex&, const LeafIndex&) = default;
};

/// RFC 9420 s.17.3; an extension's data is parsed by whoever knows its type.
namespace extension_type {
inline constexpr std::uint16_t application_id = 1;
inline constexpr std::uint16_t ratchet_tree = 2;
inline constexpr std::uint16_t required_capabilities = 3;
inline constexpr std::uint16_t external_pub = 4;
inline constexpr std::uint16_t external_senders = 5;
inline constexpr std::uint16_t last_resort = 10; ///< of a KeyPackage, without data; the registry's, from the working group's extensions
} // namespace extension_type

/// RFC 9420 s.17.4.
namespace proposal_type {
inline constexpr std::uint16_t add = 1;
inline constexpr std::uint16_t update = 2;
inline constexpr std::uint16_t remove = 3;
inline constexpr std::uint16_t psk = 4;
inline constexpr std::uint16_t reinit = 5;
inline constexpr std::uint16_t external_init = 6;
inline constexpr std::uint16_t group_context_extensions = 7;
} // namespace proposal_type

/// RFC 9420 s.17.5.
namespace credential_type {
inline constexpr std::uint16_t basic = 1;
inline constexpr std::uint16_t x509 = 2;
} // namespace credential_type

struct Extension {
  std::uint16_t type = 0;
  Bytes data;

  static Result<Extension> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const Extension&, const Extension&) = default;
};
using Extensions = std::vector<Extension>;

inline constexpr ErrorCode mls_extension_duplicate{"mls_extension_duplicate", ErrorKind::peer};

/// Extension extensions<V>; mls_extension_duplicate when a type stands twice (RFC 9420 s.13).
Result<Extensions> read_extensions(ByteReader& reader);
void write_extensions(ByteWriter& writer, const Extensions& extensions);
const Extension* find_extension(const Extensions& extensions, std::uint16_t type);

} // namespace satsuma::mls
