#pragma once

#include <string>
#include <vector>

namespace satsuma::server {

bool is_loopback_address(const std::string& numeric);
bool is_unspecified_address(const std::string& numeric);

/// This machine's addresses on interfaces that are up, without loopback and link-local ones; IPv4 first, at most
/// `max_media_addresses`.
std::vector<std::string> machine_addresses();

/// More candidates than this would only slow ICE down.
inline constexpr std::size_t max_media_addresses = 8;

/// Where media is received when the operator names nothing: a specific address alone; for the loopback the machine's other addresses
/// as well, since Firefox does not pair with 127.0.0.1; for "every address" all of them.
std::vector<std::string> default_media_addresses(const std::string& listen_address);

} // namespace satsuma::server
