#pragma once

#include <charconv>
#include <optional>
#include <string_view>

#include "base/transport_address.h"

namespace satsuma::client {

/// "192.0.2.1:5000" or "[2001:db8::1]:5000".
inline std::optional<TransportAddress> parse_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view ip = text.substr(0, colon), port_text = text.substr(colon + 1);
  if (ip.starts_with('[') && ip.ends_with(']')) ip = ip.substr(1, ip.size() - 2);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (port_text.empty() || error != std::errc() || end != port_text.data() + port_text.size()) return std::nullopt;
  const auto parsed = TransportAddress::parse(ip, port);
  return parsed ? std::optional(*parsed) : std::nullopt;
}

} // namespace satsuma::client
