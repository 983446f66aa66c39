#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/transport_address.h"
#include "base/bytes.h"

/// STUN binding messages (RFC 8489) with what ICE adds to them (RFC 8445 s.16). Nothing here allocates: a parsed message
/// is a set of views into the datagram, and writing goes into the caller's span.
namespace satsuma::stun {

inline constexpr ErrorCode stun_malformed{"stun_malformed", ErrorKind::peer};
inline constexpr ErrorCode stun_not_stun{"stun_not_stun", ErrorKind::peer};
inline constexpr ErrorCode stun_fingerprint_mismatch{"stun_fingerprint_mismatch", ErrorKind::peer};
inline constexpr ErrorCode stun_unauthenticated{"stun_unauthenticated", ErrorKind::peer};

inline constexpr std::size_t header_size = 20;
/// RFC 8489 s.6.1: what fits any path. A longer message is refused: an ICE check has about 100 bytes.
inline constexpr std::size_t max_message_size = 1280;
/// Every message that this module writes fits.
inline constexpr std::size_t max_written_size = 768;
/// RFC 8489 s.14.3 allows 508; RFC 8445 s.5.3 makes it two fragments of 4 to 256 characters and a colon.
inline constexpr std::size_t max_username_size = 513;

enum class MessageClass : std::uint8_t { request = 0, indication = 1, success = 2, error = 3 };

using TransactionId = std::array<std::uint8_t, 12>;

/// What all STUN messages have, whatever the protocol that uses them.
struct Envelope {
  MessageClass message_class = MessageClass::request;
  std::uint16_t method = 0;
  TransactionId transaction{};
  bool has_fingerprint = false;
  /// Where MESSAGE-INTEGRITY begins in `bytes`.
  std::optional<std::size_t> integrity_offset;
  ByteView bytes;
};

/// A parsed message of ICE. Nothing in it is authenticated: see verify().
struct Message : Envelope {
  std::optional<std::string_view> username;
  std::optional<std::uint32_t> priority;
  bool use_candidate = false;
  std::optional<std::uint64_t> ice_controlling;
  std::optional<std::uint64_t> ice_controlled;
  std::optional<TransportAddress> xor_mapped_address;
  std::optional<std::uint16_t> error_code;
  /// Comprehension-required attributes that this module does not know (RFC 8489 s.6.3.1: they get error 420);
  /// the first few, the count says whether there is any.
  std::array<std::uint16_t, 4> unknown_attributes{};
  std::size_t unknown_count = 0;

  bool is_binding() const { return method == 1; }
};

/// A message whose MESSAGE-INTEGRITY was right under the key. Only verify() makes one.
class AuthenticatedMessage {
 public:
  const Message* operator->() const { return &message_; }
  const Message& operator*() const { return message_; }

 private:
  explicit AuthenticatedMessage(const Message& message) : message_(message) {}
  friend Result<AuthenticatedMessage> verify(const Message& message, ByteView key);
  Message message_;
};

/// Whether the datagram begins as STUN: two zero bits and the magic cookie.
bool looks_like_stun(ByteView datagram);

/// The views in the result live as long as `datagram`. A FINGERPRINT that is there must be right. Attributes after
/// MESSAGE-INTEGRITY other than FINGERPRINT are ignored (RFC 8489 s.14.5); of an attribute that comes twice the first
/// counts (s.14).
Result<Message> parse(ByteView datagram);

/// Whether MESSAGE-INTEGRITY (HMAC-SHA-1, RFC 8489 s.14.5) is there and right, in constant time.
bool is_authentic(const Envelope& message, ByteView key);

/// stun_unauthenticated when it is not. For ICE's short-term credentials the key is the password itself.
Result<AuthenticatedMessage> verify(const Message& message, ByteView key);

/// RFC 8445 s.7.1: a connectivity check.
struct BindingRequest {
  TransactionId transaction{};
  std::string_view username;
  std::uint32_t priority = 0;
  bool controlling = true;
  std::uint64_t tie_breaker = 0;
  bool use_candidate = false;
};

/// All three end with MESSAGE-INTEGRITY under `key` and FINGERPRINT; bytes_no_space when `out` is too small.
Result<MutableByteView> write_binding_request(const BindingRequest& request, ByteView key, MutableByteView out);
Result<MutableByteView> write_binding_success(const TransactionId& transaction, const TransportAddress& mapped, ByteView key,
                                              MutableByteView out);
/// `unknown` becomes UNKNOWN-ATTRIBUTES when it is not empty (error 420).
Result<MutableByteView> write_binding_error(const TransactionId& transaction, std::uint16_t code, std::string_view reason,
                                            std::span<const std::uint16_t> unknown, ByteView key, MutableByteView out);

} // namespace satsuma::stun
