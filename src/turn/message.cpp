#include "turn/message.h"

#include "crypto/md5.h"
#include "stun/attributes.h"

namespace satsuma::turn {

namespace {

inline constexpr ErrorCode turn_no_md5{"turn_no_md5", ErrorKind::environment};

Result<void> parse_attribute(std::uint16_t type, ByteView value, Message& message) {
  ByteReader reader(value);
  const auto once = [](auto& field, auto v) {
    if (!field) field = v; // RFC 8489 s.14: only the first counts
  };
  const auto text = [&](std::optional<std::string_view>& field) -> Result<void> {
    if (value.size() > max_text_size) return turn_malformed;
    once(field, as_text(value));
    return {};
  };
  switch (type) {
    case stun::username: return text(message.username);
    case stun::realm: return text(message.realm);
    case stun::nonce: return text(message.nonce);
    case channel_number: {
      if (value.size() != 4) return turn_malformed;
      SATSUMA_TRY(const std::uint16_t v, reader.u16()); // two reserved bytes follow
      once(message.channel, v);
      return {};
    }
    case lifetime: {
      if (value.size() != 4) return turn_malformed;
      SATSUMA_TRY(const std::uint32_t v, reader.u32());
      once(message.lifetime_seconds, v);
      return {};
    }
    case xor_peer_address: {
      SATSUMA_TRY(const TransportAddress v, stun::parse_xor_address(value, message.transaction));
      if (message.peer_count == message.peers.size()) return turn_malformed;
      message.peers[message.peer_count++] = v;
      return {};
    }
    case data_attribute:
      once(message.data, value);
      return {};
    case xor_relayed_address: {
      SATSUMA_TRY(const TransportAddress v, stun::parse_xor_address(value, message.transaction));
      once(message.relayed_address, v);
      return {};
    }
    case stun::xor_mapped_address: {
      SATSUMA_TRY(const TransportAddress v, stun::parse_xor_address(value, message.transaction));
      once(message.mapped_address, v);
      return {};
    }
    case requested_address_family: {
      if (value.size() != 4) return turn_malformed;
      const bool known = value[0] == 1 || value[0] == 2;
      if (known) once(message.requested_family, static_cast<AddressFamily>(value[0]));
      if (!known) message.unknown_family = true;
      return {};
    }
    case requested_transport:
      if (value.size() != 4) return turn_malformed;
      once(message.requested_transport, value[0]);
      return {};
    case even_port:
      if (value.size() != 1) return turn_malformed;
      message.even_port = true;
      return {};
    case dont_fragment: return value.empty() ? Result<void>() : turn_malformed; // nothing that we relay becomes an IP packet
    case reservation_token:
      if (value.size() != 8) return turn_malformed;
      message.reservation_token = true;
      return {};
    case stun::error_code: {
      SATSUMA_TRY(const std::uint16_t v, stun::parse_error_code(value));
      once(message.error_code, v);
      return {};
    }
    case stun::unknown_attributes: return {};
    default: break;
  }
  if (type < 0x8000) {
    if (message.unknown_count < message.unknown_attributes.size()) message.unknown_attributes[message.unknown_count] = type;
    ++message.unknown_count;
  }
  return {};
}

} // namespace

Result<Message> parse(ByteView bytes) {
  SATSUMA_TRY(stun::AttributeReader reader, stun::AttributeReader::open(bytes, max_message_size));
  Message message;
  message.transaction = reader.envelope().transaction; // addresses are read by it
  while (true) {
    SATSUMA_TRY(const auto attribute, reader.next());
    if (!attribute) break;
    SATSUMA_TRY_VOID(parse_attribute(attribute->type, attribute->value, message));
  }
  static_cast<stun::Envelope&>(message) = reader.envelope();
  return message;
}

Result<LongTermKey> long_term_key(std::string_view username, std::string_view realm, ByteView password) {
  LongTermKey key;
  if (!crypto::md5_into({as_bytes(username), as_bytes(":"), as_bytes(realm), as_bytes(":"), password}, key.mutable_view().first<crypto::md5_size>())) return turn_no_md5;
  return key;
}

} // namespace satsuma::turn
