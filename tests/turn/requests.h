#pragma once

#include <functional>

#include "stun/attributes.h"
#include "turn/message.h"
#include "turn/server.h"

namespace satsuma::turn::test {

/// What a client sends; the fields that are set become attributes.
struct Request {
  std::uint16_t method = allocate;
  stun::MessageClass message_class = stun::MessageClass::request;
  std::uint8_t transaction = 1;
  std::optional<std::string> username{}, realm{}, nonce{};
  Bytes key{}; ///< empty: no MESSAGE-INTEGRITY
  std::optional<std::uint8_t> transport{};
  std::optional<std::uint8_t> family{};
  std::optional<std::uint32_t> lifetime_seconds{};
  std::optional<std::uint16_t> channel{};
  std::vector<TransportAddress> peers{};
  std::optional<Bytes> data{};
  std::optional<std::uint16_t> further{}; ///< an attribute without a value
  bool even_port = false;
  bool token = false;
};

inline Bytes write(const Request& request) {
  Bytes out(max_message_size);
  SpanWriter writer(out);
  stun::TransactionId transaction{};
  transaction[0] = request.transaction;
  stun::write_header(writer, request.message_class, request.method, transaction);
  const auto text = [&](std::uint16_t type, const std::optional<std::string>& value) {
    if (value) stun::write_attribute(writer, type, as_bytes(*value));
  };
  const auto raw = [&](std::uint16_t type, std::initializer_list<std::uint8_t> value) { stun::write_attribute(writer, type, Bytes(value)); };
  stun::write_attribute(writer, 0x8022, as_bytes("a browser")); // SOFTWARE, which need not be understood
  text(stun::username, request.username);
  text(stun::realm, request.realm);
  text(stun::nonce, request.nonce);
  if (request.transport) raw(requested_transport, {*request.transport, 0, 0, 0});
  if (request.family) raw(requested_address_family, {*request.family, 0, 0, 0});
  if (request.lifetime_seconds) {
    const std::uint32_t s = *request.lifetime_seconds;
    raw(lifetime, {static_cast<std::uint8_t>(s >> 24), static_cast<std::uint8_t>(s >> 16), static_cast<std::uint8_t>(s >> 8), static_cast<std::uint8_t>(s)});
  }
  if (request.channel) raw(channel_number, {static_cast<std::uint8_t>(*request.channel >> 8), static_cast<std::uint8_t>(*request.channel), 0, 0});
  if (request.even_port) raw(even_port, {0});
  if (request.token) raw(reservation_token, {1, 2, 3, 4, 5, 6, 7, 8});
  for (const TransportAddress& peer : request.peers) stun::write_xor_address(writer, xor_peer_address, peer, transaction);
  if (request.data) stun::write_attribute(writer, data_attribute, *request.data);
  if (request.further) stun::write_attribute(writer, *request.further, {});
  if (request.message_class == stun::MessageClass::indication) {
    stun::set_length(out, writer.size() - stun::header_size);
    out.resize(writer.size());
    return out;
  }
  const auto sealed = stun::seal(writer, request.key.empty() ? std::nullopt : std::optional<ByteView>(request.key), out);
  SATSUMA_CHECK(sealed.has_value());
  out.resize(sealed->size());
  return out;
}

inline Bytes channel_data(std::uint16_t channel, ByteView datagram) {
  Bytes out = {static_cast<std::uint8_t>(channel >> 8), static_cast<std::uint8_t>(channel), static_cast<std::uint8_t>(datagram.size() >> 8),
               static_cast<std::uint8_t>(datagram.size())};
  out.insert(out.end(), datagram.begin(), datagram.end());
  out.resize((out.size() + 3) / 4 * 4);
  return out;
}

} // namespace satsuma::turn::test
