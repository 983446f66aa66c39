#pragma once

#include <expected>
#include <string>

#include "io/udp_socket.h"

namespace satsuma::client {

/// What media of a connection goes over. `buffers`: a socket whose receive buffers it shares, or null. A sentence otherwise.
inline std::expected<io::UdpSocket, std::string> open_media_socket(const io::UdpSocket* buffers) {
  io::UdpSocket::Options options;
  options.buffer_bytes = 1U << 20;
  options.buffers_of = buffers;
  auto socket = io::UdpSocket::open(TransportAddress{}, options); // "::", which takes IPv4 too
  if (!socket) socket = io::UdpSocket::open(TransportAddress::v4({0, 0, 0, 0}, 0), options);
  if (!socket) return std::unexpected("No UDP socket could be opened (see ulimit -n).");
  return std::move(*socket);
}

} // namespace satsuma::client
