#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/secret.h"
#include "base/transport_address.h"
#include "stun/message.h"

/// What TURN (RFC 8656) adds to STUN. A parsed message is a set of views into its bytes, and nothing allocates.
namespace satsuma::turn {

inline constexpr ErrorCode turn_malformed{"turn_malformed", ErrorKind::peer};

/// A Send indication with the longest datagram that media has, and what is around it.
inline constexpr std::size_t max_message_size = 2048;
/// Peers in one CreatePermission; more are refused.
inline constexpr std::size_t max_peers_in_message = 16;
/// Longer than any that we hand out.
inline constexpr std::size_t max_text_size = 128;

// RFC 8656 s.17.
enum Method : std::uint16_t {
  allocate = 0x003,
  refresh = 0x004,
  send = 0x006,
  data = 0x007,
  create_permission = 0x008,
  channel_bind = 0x009,
};

// RFC 8656 s.18.
enum Attribute : std::uint16_t {
  channel_number = 0x000c,
  lifetime = 0x000d,
  xor_peer_address = 0x0012,
  data_attribute = 0x0013,
  xor_relayed_address = 0x0016,
  requested_address_family = 0x0017,
  even_port = 0x0018,
  requested_transport = 0x0019,
  dont_fragment = 0x001a,
  reservation_token = 0x0022,
};

inline constexpr std::uint8_t udp_protocol = 17; ///< REQUESTED-TRANSPORT's only value (RFC 8656 s.18.7)

enum class AddressFamily : std::uint8_t { ipv4 = 1, ipv6 = 2 };

struct Message : stun::Envelope {
  std::optional<std::string_view> username, realm, nonce;
  std::optional<std::uint16_t> channel;
  std::optional<std::uint32_t> lifetime_seconds;
  std::array<TransportAddress, max_peers_in_message> peers{};
  std::size_t peer_count = 0;
  std::optional<ByteView> data;
  std::optional<TransportAddress> relayed_address, mapped_address; ///< in answers
  std::optional<std::uint8_t> requested_transport;                 ///< an IP protocol: 17 is UDP
  std::optional<AddressFamily> requested_family;
  bool unknown_family = false; ///< REQUESTED-ADDRESS-FAMILY names neither
  bool even_port = false;
  bool reservation_token = false;
  std::optional<std::uint16_t> error_code;
  /// As in stun::Message.
  std::array<std::uint16_t, 4> unknown_attributes{};
  std::size_t unknown_count = 0;
};

/// A whole message; turn_malformed, and what stun::AttributeReader says. Of an attribute that comes twice the first counts.
Result<Message> parse(ByteView bytes);

/// What a client authenticates with (RFC 8489 s.9.2); a page gives it to its browser.
struct Credentials {
  std::string username; ///< at most max_text_size
  SecretBytes password;
};

/// The key of long-term credentials (RFC 8489 s.9.2.2).
using LongTermKey = SecretArray<16>;
Result<LongTermKey> long_term_key(std::string_view username, std::string_view realm, ByteView password);

} // namespace satsuma::turn
