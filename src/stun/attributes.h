#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/transport_address.h"
#include "stun/message.h"

/// The pieces that STUN messages are made of, for the protocols that bring their own methods and attributes.
namespace satsuma::stun {

inline constexpr std::uint32_t magic_cookie = 0x2112a442; // RFC 8489 s.5
inline constexpr std::size_t integrity_size = 20;
inline constexpr std::size_t integrity_attribute_size = 4 + integrity_size;
inline constexpr std::size_t fingerprint_attribute_size = 8;

// RFC 8489 s.18.3, RFC 8445 s.16.1. Numbers below 0x8000 must be understood.
enum Attribute : std::uint16_t {
  username = 0x0006,
  message_integrity = 0x0008,
  error_code = 0x0009,
  unknown_attributes = 0x000a,
  realm = 0x0014,
  nonce = 0x0015,
  message_integrity_sha256 = 0x001c,
  xor_mapped_address = 0x0020,
  priority = 0x0024,
  use_candidate = 0x0025,
  fingerprint = 0x8028,
  ice_controlled = 0x8029,
  ice_controlling = 0x802a,
};

/// RFC 8489 s.5: the message type's two parts, which lie among each other.
MessageClass class_of(std::uint16_t type);
std::uint16_t method_of(std::uint16_t type);

/// Takes a whole message apart, one attribute after the other.
///
///   SATSUMA_TRY(AttributeReader reader, AttributeReader::open(bytes, max_size));
///   while (true) { SATSUMA_TRY(const auto attribute, reader.next()); if (!attribute) break; ... }
class AttributeReader {
 public:
  /// stun_not_stun; stun_malformed when it is longer than `max_size`, or not as long as it says.
  static Result<AttributeReader> open(ByteView bytes, std::size_t max_size);

  struct Attribute {
    std::uint16_t type = 0;
    ByteView value;
  };
  /// Nothing at the end. FINGERPRINT, which need not be there, must be right and the last (RFC 8489 s.14.7): stun_fingerprint_mismatch. It and MESSAGE-INTEGRITY
  /// show in the envelope alone; what stands behind the latter is not covered by it, so it is not returned, nor is MESSAGE-INTEGRITY-SHA256, which nobody here
  /// offers (RFC 8445 s.7.1, RFC 8489 s.9.2.4).
  Result<std::optional<Attribute>> next();

  /// Complete when next() has returned nothing.
  const Envelope& envelope() const { return envelope_; }

 private:
  explicit AttributeReader(ByteView bytes) : rest_(bytes) {}
  ByteReader rest_;
  Envelope envelope_;
};

/// What FINGERPRINT says about all that is before it (RFC 8489 s.14.7).
std::uint32_t fingerprint_of(ByteView bytes);

/// The value of XOR-MAPPED-ADDRESS and its like (RFC 8489 s.14.2).
Result<TransportAddress> parse_xor_address(ByteView value, const TransactionId& transaction);

/// The value of ERROR-CODE (RFC 8489 s.14.8), without its reason.
Result<std::uint16_t> parse_error_code(ByteView value);

/// The header with a length of zero; it is known when the message is complete.
void write_header(SpanWriter& writer, MessageClass message_class, std::uint16_t method, const TransactionId& transaction);
void write_attribute(SpanWriter& writer, std::uint16_t type, ByteView value);
/// A value of 32 bits.
void write_number(SpanWriter& writer, std::uint16_t type, std::uint32_t value);
void write_xor_address(SpanWriter& writer, std::uint16_t type, const TransportAddress& address, const TransactionId& transaction);
void write_error_code(SpanWriter& writer, std::uint16_t code, std::string_view reason);
void write_unknown_attributes(SpanWriter& writer, std::span<const std::uint16_t> unknown);
void set_length(MutableByteView message, std::size_t length);

/// Ends the message that `writer` has written to the beginning of `out`: with MESSAGE-INTEGRITY if there is a key, and FINGERPRINT.
Result<MutableByteView> seal(SpanWriter& writer, std::optional<ByteView> key, MutableByteView out);

} // namespace satsuma::stun
