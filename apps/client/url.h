#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace satsuma::client {

/// http[s]://HOST[:PORT][PATH].
struct Url {
  bool tls = true;
  std::string host; ///< name or address, without brackets
  std::uint16_t port = 443;
  std::string path; ///< from its first / ? or # on, with whatever stands behind; may be empty

  /// For the Host field: brackets, and the port unless it is the scheme's own.
  std::string authority() const;
};

/// A sentence for a person otherwise, without a full stop.
std::expected<Url, std::string> parse_url(std::string_view text);

} // namespace satsuma::client
