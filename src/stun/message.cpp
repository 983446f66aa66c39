#include "stun/message.h"

#include <algorithm>

#include "base/secret.h"
#include "crypto/hash.h"
#include "stun/attributes.h"

namespace satsuma::stun {

namespace {

constexpr std::uint16_t binding_method = 1;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320U : 0);
    table[i] = value;
  }
  return table;
}

// RFC 8489 s.14.2: XORed with the cookie, and for IPv6 with the transaction as well.
std::uint8_t xor_byte(const TransactionId& transaction, std::size_t i) {
  return i < 4 ? static_cast<std::uint8_t>(magic_cookie >> (24 - 8 * i)) : transaction[i - 4];
}

Result<void> parse_attribute(std::uint16_t type, ByteView value, Message& message) {
  ByteReader reader(value);
  const auto once = [](auto& field, auto v) {
    if (!field) field = v; // RFC 8489 s.14: only the first counts
  };
  switch (type) {
    case username:
      if (value.size() > max_username_size) return stun_malformed;
      once(message.username, as_text(value));
      return {};
    case priority: {
      SATSUMA_TRY(const std::uint32_t v, reader.u32());
      SATSUMA_TRY_VOID(reader.expect_end());
      once(message.priority, v);
      return {};
    }
    case use_candidate:
      if (!value.empty()) return stun_malformed;
      message.use_candidate = true;
      return {};
    case ice_controlling: {
      SATSUMA_TRY(const std::uint64_t v, reader.u64());
      SATSUMA_TRY_VOID(reader.expect_end());
      once(message.ice_controlling, v);
      return {};
    }
    case ice_controlled: {
      SATSUMA_TRY(const std::uint64_t v, reader.u64());
      SATSUMA_TRY_VOID(reader.expect_end());
      once(message.ice_controlled, v);
      return {};
    }
    case xor_mapped_address: {
      SATSUMA_TRY(const TransportAddress v, parse_xor_address(value, message.transaction));
      once(message.xor_mapped_address, v);
      return {};
    }
    case error_code: {
      SATSUMA_TRY(const std::uint16_t v, parse_error_code(value));
      once(message.error_code, v);
      return {};
    }
    case unknown_attributes:
    case realm:
    case nonce: return {}; // understood, and of no use here
    default: break;
  }
  if (type < 0x8000) {
    if (message.unknown_count < message.unknown_attributes.size()) message.unknown_attributes[message.unknown_count] = type;
    ++message.unknown_count;
  }
  return {};
}

} // namespace

MessageClass class_of(std::uint16_t type) { return static_cast<MessageClass>((type >> 4 & 1) | (type >> 7 & 2)); }
std::uint16_t method_of(std::uint16_t type) { return static_cast<std::uint16_t>((type & 0x000f) | (type >> 1 & 0x0070) | (type >> 2 & 0x0f80)); }

// RFC 8489 s.14.7: the CRC-32 of ITU V.42, XORed so that it differs from other protocols' use of the same CRC.
std::uint32_t fingerprint_of(ByteView bytes) {
  static constexpr std::array<std::uint32_t, 256> table = make_crc_table();
  std::uint32_t crc = 0xffffffff;
  for (std::uint8_t byte : bytes) crc = (crc >> 8) ^ table[(crc ^ byte) & 0xff];
  return ~crc ^ 0x5354554e;
}

Result<TransportAddress> parse_xor_address(ByteView value, const TransactionId& transaction) {
  ByteReader reader(value);
  SATSUMA_TRY_VOID(reader.u8()); // reserved
  SATSUMA_TRY(const std::uint8_t family, reader.u8());
  SATSUMA_TRY(const std::uint16_t xor_port, reader.u16());
  const auto port = static_cast<std::uint16_t>(xor_port ^ (magic_cookie >> 16));
  if (family == 1 && reader.remaining() == 4) {
    std::array<std::uint8_t, 4> ip;
    for (std::size_t i = 0; i < ip.size(); ++i) ip[i] = reader.rest()[i] ^ xor_byte(transaction, i);
    return TransportAddress::v4(ip, port);
  }
  if (family == 2 && reader.remaining() == 16) {
    std::array<std::uint8_t, 16> ip;
    for (std::size_t i = 0; i < ip.size(); ++i) ip[i] = reader.rest()[i] ^ xor_byte(transaction, i);
    return TransportAddress::v6(ip, port);
  }
  return stun_malformed;
}

Result<std::uint16_t> parse_error_code(ByteView value) {
  SATSUMA_TRY(const std::uint32_t v, ByteReader(value).u32()); // 21 bits reserved, the hundreds, the rest; then the reason
  const std::uint32_t hundreds = (v >> 8) & 7;
  const std::uint32_t number = v & 0xff;
  if (hundreds < 3 || hundreds > 6 || number > 99) return stun_malformed;
  return static_cast<std::uint16_t>(hundreds * 100 + number);
}

void write_header(SpanWriter& writer, MessageClass message_class, std::uint16_t method, const TransactionId& transaction) {
  const auto c = static_cast<unsigned>(message_class);
  const unsigned m = method;
  writer.u16(static_cast<std::uint16_t>((m & 0x000f) | (m & 0x0070) << 1 | (m & 0x0f80) << 2 | (c & 1) << 4 | (c & 2) << 7));
  writer.u16(0); // seal() knows it
  writer.u32(magic_cookie);
  writer.bytes(transaction);
}

void write_attribute(SpanWriter& writer, std::uint16_t type, ByteView value) {
  writer.u16(type);
  writer.u16(static_cast<std::uint16_t>(value.size()));
  writer.bytes(value);
  writer.zeros((4 - value.size() % 4) % 4);
}

void write_number(SpanWriter& writer, std::uint16_t type, std::uint32_t value) {
  writer.u16(type);
  writer.u16(4);
  writer.u32(value);
}

void write_xor_address(SpanWriter& writer, std::uint16_t type, const TransportAddress& address, const TransactionId& transaction) {
  const ByteView ip = address.is_v4() ? ByteView(address.ip).subspan(12) : ByteView(address.ip);
  writer.u16(type);
  writer.u16(static_cast<std::uint16_t>(4 + ip.size()));
  writer.u8(0);
  writer.u8(ip.size() == 4 ? 1 : 2);
  writer.u16(static_cast<std::uint16_t>(address.port ^ (magic_cookie >> 16)));
  for (std::size_t i = 0; i < ip.size(); ++i) writer.u8(ip[i] ^ xor_byte(transaction, i));
}

void write_error_code(SpanWriter& writer, std::uint16_t code, std::string_view reason) {
  writer.u16(error_code);
  writer.u16(static_cast<std::uint16_t>(4 + reason.size()));
  writer.u16(0);
  writer.u8(static_cast<std::uint8_t>(code / 100));
  writer.u8(static_cast<std::uint8_t>(code % 100));
  writer.bytes(as_bytes(reason));
  writer.zeros((4 - reason.size() % 4) % 4);
}

void write_unknown_attributes(SpanWriter& writer, std::span<const std::uint16_t> unknown) {
  writer.u16(unknown_attributes);
  writer.u16(static_cast<std::uint16_t>(2 * unknown.size()));
  for (std::uint16_t attribute : unknown) writer.u16(attribute);
  writer.zeros(unknown.size() % 2 * 2);
}

void set_length(MutableByteView message, std::size_t length) {
  message[2] = static_cast<std::uint8_t>(length >> 8);
  message[3] = static_cast<std::uint8_t>(length);
}

// RFC 8489 s.14.5 and s.14.7: each is computed over what is before it, with a header length that ends with itself.
Result<MutableByteView> seal(SpanWriter& writer, std::optional<ByteView> key, MutableByteView out) {
  SATSUMA_TRY(const MutableByteView body, writer.written());
  std::size_t size = body.size();
  const std::size_t total = size + (key ? integrity_attribute_size : 0) + fingerprint_attribute_size;
  if (out.size() < total || total > max_message_size) return bytes_no_space;
  if (key) {
    set_length(out, size + integrity_attribute_size - header_size);
    std::array<std::uint8_t, integrity_size> tag;
    crypto::hmac_into(crypto::HashAlgorithm::sha1, *key, {body}, tag);
    write_attribute(writer, message_integrity, tag);
    size += integrity_attribute_size;
  }
  set_length(out, total - header_size);
  const std::uint32_t crc = fingerprint_of(out.first(size));
  write_number(writer, fingerprint, crc);
  return writer.written();
}

bool looks_like_stun(ByteView datagram) {
  return datagram.size() >= header_size && datagram[0] < 4 && datagram[4] == 0x21 && datagram[5] == 0x12 && datagram[6] == 0xa4 &&
         datagram[7] == 0x42;
}

Result<AttributeReader> AttributeReader::open(ByteView bytes, std::size_t max_size) {
  if (!looks_like_stun(bytes)) return stun_not_stun;
  if (bytes.size() > max_size) return stun_malformed;
  AttributeReader reader(bytes);
  Envelope& envelope = reader.envelope_;
  envelope.bytes = bytes;
  SATSUMA_TRY(const std::uint16_t type, reader.rest_.u16());
  SATSUMA_TRY(const std::uint16_t length, reader.rest_.u16());
  if (length % 4 != 0 || length + header_size != bytes.size()) return stun_malformed;
  envelope.message_class = class_of(type);
  envelope.method = method_of(type);
  SATSUMA_TRY_VOID(reader.rest_.u32()); // the cookie
  SATSUMA_TRY(const ByteView transaction, reader.rest_.bytes(envelope.transaction.size()));
  std::copy(transaction.begin(), transaction.end(), envelope.transaction.begin());
  return reader;
}

Result<std::optional<AttributeReader::Attribute>> AttributeReader::next() {
  while (!rest_.empty()) {
    const std::size_t offset = envelope_.bytes.size() - rest_.remaining();
    if (envelope_.has_fingerprint) return stun_malformed;
    SATSUMA_TRY(const std::uint16_t type, rest_.u16());
    SATSUMA_TRY(const std::uint16_t size, rest_.u16());
    SATSUMA_TRY(const ByteView value, rest_.bytes(size));
    SATSUMA_TRY_VOID(rest_.bytes((4 - size % 4U) % 4U));
    if (type == fingerprint) {
      if (size != 4) return stun_malformed;
      SATSUMA_TRY(const std::uint32_t crc, ByteReader(value).u32());
      if (crc != fingerprint_of(envelope_.bytes.first(offset))) return stun_fingerprint_mismatch;
      envelope_.has_fingerprint = true;
    } else if (envelope_.integrity_offset || type == message_integrity_sha256) {
      continue;
    } else if (type == message_integrity) {
      if (size != integrity_size) return stun_malformed;
      envelope_.integrity_offset = offset;
    } else {
      return std::optional(Attribute{type, value});
    }
  }
  return std::optional<Attribute>();
}

Result<Message> parse(ByteView datagram) {
  SATSUMA_TRY(AttributeReader reader, AttributeReader::open(datagram, max_message_size));
  Message message;
  message.transaction = reader.envelope().transaction; // addresses are read by it
  while (true) {
    SATSUMA_TRY(const auto attribute, reader.next());
    if (!attribute) break;
    SATSUMA_TRY_VOID(parse_attribute(attribute->type, attribute->value, message));
  }
  static_cast<Envelope&>(message) = reader.envelope();
  return message;
}

bool is_authentic(const Envelope& message, ByteView key) {
  if (!message.integrity_offset) return false;
  const std::size_t offset = *message.integrity_offset;
  // The length as it was when the sender computed this, before FINGERPRINT.
  const std::size_t length = offset + integrity_attribute_size - header_size;
  const std::array<std::uint8_t, 4> head = {message.bytes[0], message.bytes[1], static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length)};
  std::array<std::uint8_t, integrity_size> tag;
  crypto::hmac_into(crypto::HashAlgorithm::sha1, key, {ByteView(head), message.bytes.subspan(4, offset - 4)}, tag);
  return constant_time_equal(tag, message.bytes.subspan(offset + 4, integrity_size));
}

Result<AuthenticatedMessage> verify(const Message& message, ByteView key) {
  if (!is_authentic(message, key)) return stun_unauthenticated;
  return AuthenticatedMessage(message);
}

Result<MutableByteView> write_binding_request(const BindingRequest& request, ByteView key, MutableByteView out) {
  SpanWriter writer(out);
  write_header(writer, MessageClass::request, binding_method, request.transaction);
  write_attribute(writer, username, as_bytes(request.username));
  write_number(writer, priority, request.priority);
  writer.u16(request.controlling ? ice_controlling : ice_controlled);
  writer.u16(8);
  writer.u64(request.tie_breaker);
  if (request.use_candidate) {
    writer.u16(use_candidate);
    writer.u16(0);
  }
  return seal(writer, key, out);
}

Result<MutableByteView> write_binding_success(const TransactionId& transaction, const TransportAddress& mapped, ByteView key,
                                              MutableByteView out) {
  SpanWriter writer(out);
  write_header(writer, MessageClass::success, binding_method, transaction);
  write_xor_address(writer, xor_mapped_address, mapped, transaction);
  return seal(writer, key, out);
}

Result<MutableByteView> write_binding_error(const TransactionId& transaction, std::uint16_t code, std::string_view reason,
                                            std::span<const std::uint16_t> unknown, ByteView key, MutableByteView out) {
  SpanWriter writer(out);
  write_header(writer, MessageClass::error, binding_method, transaction);
  write_error_code(writer, code, reason);
  if (!unknown.empty()) write_unknown_attributes(writer, unknown);
  return seal(writer, key, out);
}

} // namespace satsuma::stun
