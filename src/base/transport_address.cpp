#include "base/transport_address.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace satsuma {

namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<std::array<std::uint8_t, 4>> parse_v4(std::string_view text) {
  std::array<std::uint8_t, 4> bytes{};
  for (std::size_t i = 0; i < 4; ++i) {
    if (i > 0) {
      if (text.empty() || text.front() != '.') return std::nullopt;
      text.remove_prefix(1);
    }
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    // A leading zero would be octal to some readers.
    if (digits == 0 || digits > 3 || (digits > 1 && text.front() == '0')) return std::nullopt;
    unsigned value = 0;
    std::from_chars(text.data(), text.data() + digits, value);
    if (value > 255) return std::nullopt;
    bytes[i] = static_cast<std::uint8_t>(value);
    text.remove_prefix(digits);
  }
  if (!text.empty()) return std::nullopt;
  return bytes;
}

// RFC 4291 s.2.2: eight groups, one run of zeros as "::", the last two groups perhaps as an IPv4 address.
std::optional<std::array<std::uint8_t, 16>> parse_v6(std::string_view text) {
  std::array<std::uint8_t, 16> bytes{};
  std::size_t size = 0;
  std::optional<std::size_t> gap;
  if (text.starts_with("::")) {
    gap = 0;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    if (size == 16) return std::nullopt;
    if (const auto v4 = size <= 12 ? parse_v4(text) : std::nullopt) {
      std::copy(v4->begin(), v4->end(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      size += 4;
      text = {};
      break;
    }
    const std::size_t digits = std::min(text.find(':'), text.size());
    if (digits == 0 || digits > 4) return std::nullopt;
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + digits, value, 16);
    if (error != std::errc() || end != text.data() + digits) return std::nullopt;
    bytes[size++] = static_cast<std::uint8_t>(value >> 8);
    bytes[size++] = static_cast<std::uint8_t>(value);
    text.remove_prefix(digits);
    if (text.empty()) break;
    text.remove_prefix(1);
    if (text.empty()) return std::nullopt; // a single colon at the end
    if (text.front() == ':') {
      if (gap) return std::nullopt;
      gap = size;
      text.remove_prefix(1);
    }
  }
  if (!gap) return size == 16 ? std::optional(bytes) : std::nullopt;
  if (size > 14) return std::nullopt;
  std::array<std::uint8_t, 16> spread{};
  std::copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(*gap), spread.begin());
  std::copy_backward(bytes.begin() + static_cast<std::ptrdiff_t>(*gap), bytes.begin() + static_cast<std::ptrdiff_t>(size), spread.end());
  return spread;
}

} // namespace

TransportAddress TransportAddress::v4(std::array<std::uint8_t, 4> ip, std::uint16_t port) {
  TransportAddress address;
  std::copy(mapped_prefix.begin(), mapped_prefix.end(), address.ip.begin());
  std::copy(ip.begin(), ip.end(), address.ip.begin() + 12);
  address.port = port;
  return address;
}

Result<TransportAddress> TransportAddress::parse(std::string_view ip, std::uint16_t port) {
  if (const auto bytes = parse_v4(ip)) return v4(*bytes, port);
  if (const auto bytes = parse_v6(ip)) return v6(*bytes, port);
  return address_malformed;
}

std::array<std::uint8_t, 16> TransportAddress::household() const {
  std::array<std::uint8_t, 16> out = ip;
  if (!is_v4()) std::fill(out.begin() + 8, out.end(), std::uint8_t{0});
  return out;
}

bool TransportAddress::is_v4() const { return std::equal(mapped_prefix.begin(), mapped_prefix.end(), ip.begin()); }

std::string TransportAddress::ip_text() const {
  std::string text;
  if (is_v4()) {
    for (std::size_t i = 12; i < 16; ++i) {
      if (i > 12) text += '.';
      text += std::to_string(ip[i]);
    }
    return text;
  }
  // RFC 5952 s.4: lower case, no leading zeros, the longest run of two or more zero groups as "::".
  std::array<unsigned, 8> groups{};
  for (std::size_t i = 0; i < 8; ++i) groups[i] = static_cast<unsigned>(ip[2 * i] << 8 | ip[2 * i + 1]);
  std::size_t run_begin = 8;
  std::size_t run_size = 1;
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t j = i;
    while (j < 8 && groups[j] == 0) ++j;
    if (j - i > run_size) {
      run_begin = i;
      run_size = j - i;
    }
  }
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == run_begin) {
      text += "::";
      i += run_size - 1;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    char digits[4];
    const auto [end, error] = std::to_chars(digits, digits + 4, groups[i], 16);
    text.append(digits, end);
  }
  return text;
}

} // namespace satsuma

std::size_t std::hash<satsuma::NetworkPath>::operator()(const satsuma::NetworkPath& path) const noexcept {
  // FNV-1a; equality compares everything, so that a collision costs time and mixes up nobody.
  std::uint64_t value = 0xcbf29ce484222325;
  const auto add = [&value](std::uint8_t byte) { value = (value ^ byte) * 0x100000001b3; };
  for (std::uint8_t byte : path.remote.ip) add(byte);
  add(static_cast<std::uint8_t>(path.remote.port >> 8));
  add(static_cast<std::uint8_t>(path.remote.port));
  for (int shift = 24; shift >= 0; shift -= 8) add(static_cast<std::uint8_t>(path.socket >> shift));
  return static_cast<std::size_t>(value ^ value >> 32);
}
