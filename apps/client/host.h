#pragma once

#include <expected>
#include <optional>
#include <string>

#include "base/transport_address.h"
#include "io/client_stream.h"
#include "url.h"

namespace satsuma::client {

/// Where a URL leads to, and how who answers there proves who it is.
struct Host {
  TransportAddress address;
  std::optional<io::TlsClient> tls;
};
/// Asks the resolver, and waits for it. `pin`: a certificate's fingerprint, "AB:CD:…", or empty. A sentence for a person otherwise.
std::expected<Host, std::string> find_host(const Url& url, bool insecure, const std::string& pin);

} // namespace satsuma::client
