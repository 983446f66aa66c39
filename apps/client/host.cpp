#include "host.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "dtls/connection.h"

namespace satsuma::client {

std::expected<Host, std::string> find_host(const Url& url, bool insecure, const std::string& pin) {
  Host host;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int failed = getaddrinfo(url.host.c_str(), nullptr, &hints, &found); failed != 0 || found == nullptr)
    return std::unexpected("The server " + url.host + " was not found: " + gai_strerror(failed) + ".");
  if (found->ai_family == AF_INET6) {
    std::array<std::uint8_t, 16> ip;
    std::memcpy(ip.data(), &reinterpret_cast<const sockaddr_in6*>(found->ai_addr)->sin6_addr, 16);
    host.address = TransportAddress::v6(ip, url.port);
  } else {
    std::array<std::uint8_t, 4> ip;
    std::memcpy(ip.data(), &reinterpret_cast<const sockaddr_in*>(found->ai_addr)->sin_addr, 4);
    host.address = TransportAddress::v4(ip, url.port);
  }
  freeaddrinfo(found);
  if (!url.tls && !pin.empty()) return std::unexpected("--pin is for a server's certificate, and none is shown where the address begins with http://.");
  if (!url.tls) return host;
  auto trust = insecure ? io::TlsClient::Trust::anybody : io::TlsClient::Trust::authorities;
  std::array<std::uint8_t, 32> digest{};
  if (!pin.empty()) {
    const auto fingerprint = dtls::Fingerprint::parse(pin);
    if (!fingerprint) return std::unexpected("The fingerprint is not 32 pairs of hexadecimal digits with colons between, as the server prints it at its start.");
    trust = io::TlsClient::Trust::pinned;
    digest = fingerprint->sha256;
  }
  auto tls = io::TlsClient::create(trust, digest);
  if (!tls) return std::unexpected("OpenSSL could not be set up for TLS.");
  host.tls = std::move(*tls);
  return host;
}

} // namespace satsuma::client
