#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/transport_address.h"

/// Addresses as the kernel has them.
namespace satsuma::io {

union SocketAddress {
  sockaddr base;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

// On an IPv6 socket IPv4 addresses stand as mapped ones, which is how TransportAddress keeps them anyway.
inline socklen_t to_socket_address(const TransportAddress& address, bool is_v6, SocketAddress& out) {
  std::memset(&out, 0, sizeof out);
  if (is_v6) {
    out.v6.sin6_family = AF_INET6;
    out.v6.sin6_port = htons(address.port);
    std::memcpy(&out.v6.sin6_addr, address.ip.data(), 16);
    return sizeof out.v6;
  }
  out.v4.sin_family = AF_INET;
  out.v4.sin_port = htons(address.port);
  std::memcpy(&out.v4.sin_addr, address.ip.data() + 12, 4);
  return sizeof out.v4;
}

inline TransportAddress from_socket_address(const SocketAddress& address) {
  if (address.base.sa_family == AF_INET6) {
    std::array<std::uint8_t, 16> ip;
    std::memcpy(ip.data(), &address.v6.sin6_addr, 16);
    return TransportAddress::v6(ip, ntohs(address.v6.sin6_port));
  }
  std::array<std::uint8_t, 4> ip;
  std::memcpy(ip.data(), &address.v4.sin_addr, 4);
  return TransportAddress::v4(ip, ntohs(address.v4.sin_port));
}

} // namespace satsuma::io
