#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"

namespace satsuma {

inline constexpr ErrorCode address_malformed{"address_malformed", ErrorKind::caller};

/// An IPv4 or IPv6 address with a UDP or TCP port. IPv4 is kept as an IPv4-mapped IPv6 address (RFC 4291 s.2.5.5.2),
/// so that an address has one form and two of them compare by all their bytes.
struct TransportAddress {
  std::array<std::uint8_t, 16> ip{};
  std::uint16_t port = 0;

  static TransportAddress v4(std::array<std::uint8_t, 4> ip, std::uint16_t port);
  static TransportAddress v6(std::array<std::uint8_t, 16> ip, std::uint16_t port) { return {ip, port}; }
  /// From "192.0.2.1" or "2001:db8::1" (without brackets or zone) and a port.
  static Result<TransportAddress> parse(std::string_view ip, std::uint16_t port);

  bool is_v4() const;
  /// The last four bytes, which are the address if is_v4().
  std::array<std::uint8_t, 4> v4_bytes() const { return {ip[12], ip[13], ip[14], ip[15]}; }
  /// What bounds for each address count by: a household has a /64 of IPv6.
  std::array<std::uint8_t, 16> household() const;
  /// As in an SDP candidate: without brackets and without the port.
  std::string ip_text() const;

  friend auto operator<=>(const TransportAddress&, const TransportAddress&) = default;
};

/// Which way a datagram came or goes: the remote address, and the number that `io` gave to the local socket. ICE calls it a
/// candidate pair. An answer must leave from the address that the question came to, so both ends belong to it.
struct NetworkPath {
  TransportAddress remote;
  std::uint32_t socket = 0;

  /// Numbers from here on are TCP connections: what is sent there arrives, or nothing does any more.
  static constexpr std::uint32_t first_stream = 1U << 31;
  bool is_stream() const { return socket >= first_stream; }

  friend auto operator<=>(const NetworkPath&, const NetworkPath&) = default;
};

} // namespace satsuma

template <>
struct std::hash<satsuma::NetworkPath> {
  std::size_t operator()(const satsuma::NetworkPath& path) const noexcept;
};
