#include "base/transport_address.h"

#include <algorithm>
#include <cstdio>

namespace satsuma {

namespace {

std::optional<std::array<std::uint8_t, 4>> parse_v4(std::string_view text) {
  std::array<std::uint8_t, 4> out{};
  for (std::size_t part = 0; part < 4; ++part) {
    unsigned value = 0;
    std::size_t digits = 0;
    while (digits < text.size() && digits < 3 && text[digits] >= '0' && text[digits] <= '9')
      value = value * 10 + static_cast<unsigned>(text[digits++] - '0');
    if (digits == 0 || value > 255 || (digits > 1 && text[0] == '0')) return std::nullopt;
    out[part] = static_cast<std::uint8_t>(value);
    text.remove_prefix(digits);
    if (part < 3) {
      if (text.empty() || text[0] != '.') return std::nullopt;
      text.remove_prefix(1);
    }
  }
  if (!text.empty()) return std::nullopt;
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 4291 s.2.2: eight groups, one run of zeros as "::", the last two groups possibly dotted.
std::optional<std::array<std::uint8_t, 16>> parse_v6(std::string_view text) {
  std::array<std::uint8_t, 16> groups{};
  std::size_t size = 0;
  std::optional<std::size_t> gap;
  if (text.starts_with("::")) {
    gap = 0;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    if (text.find('.') != std::string_view::npos && text.find(':') == std::string_view::npos) {
      const auto tail = parse_v4(text);
      if (!tail || size > 12) return std::nullopt;
      std::copy(tail->begin(), tail->end(), groups.begin() + static_cast<std::ptrdiff_t>(size));
      size += 4;
      text = {};
      break;
    }
    unsigned value = 0;
    std::size_t digits = 0;
    while (digits < text.size() && digits < 4 && hex_digit(text[digits]) >= 0)
      value = value << 4 | static_cast<unsigned>(hex_digit(text[digits++]));
    if (digits == 0 || size > 14) return std::nullopt;
    groups[size++] = static_cast<std::uint8_t>(value >> 8);
    groups[size++] = static_cast<std::uint8_t>(value);
    text.remove_prefix(digits);
    if (text.empty()) break;
    if (text[0] != ':') return std::nullopt;
    text.remove_prefix(1);
    if (text.empty()) return std::nullopt;
    if (text[0] == ':') {
      if (gap) return std::nullopt;
      gap = size;
      text.remove_prefix(1);
    }
  }
  if (!gap) return size == 16 ? std::optional(groups) : std::nullopt;
  if (size >= 16) return std::nullopt;
  std::array<std::uint8_t, 16> out{};
  std::copy_n(groups.begin(), *gap, out.begin());
  std::copy_backward(groups.begin() + static_cast<std::ptrdiff_t>(*gap), groups.begin() + static_cast<std::ptrdiff_t>(size), out.end());
  return out;
}

} // namespace

TransportAddress TransportAddress::v6(std::array<std::uint8_t, 16> ip, std::uint16_t port) {
  static constexpr std::uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::equal(std::begin(mapped), std::end(mapped), ip.begin())) return v4({ip[12], ip[13], ip[14], ip[15]}, port);
  TransportAddress a;
  a.family_ = Family::v6;
  a.port_ = port;
  a.ip_ = ip;
  return a;
}

std::optional<TransportAddress> TransportAddress::parse(std::string_view ip, std::uint16_t port) {
  if (const auto four = parse_v4(ip)) return v4(*four, port);
  if (const auto sixteen = parse_v6(ip)) return v6(*sixteen, port);
  return std::nullopt;
}

std::string TransportAddress::ip_text() const {
  char text[48] = "";
  if (family_ == Family::v4) std::snprintf(text, sizeof text, "%d.%d.%d.%d", ip_[0], ip_[1], ip_[2], ip_[3]);
  if (family_ != Family::v6) return text;
  // RFC 5952 s.4: lower case, no leading zeros, the longest run of two or more zero groups as "::".
  std::uint16_t groups[8];
  for (std::size_t i = 0; i < 8; ++i) groups[i] = static_cast<std::uint16_t>(ip_[2 * i] << 8 | ip_[2 * i + 1]);
  std::size_t best = 8, best_size = 1;
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t size = 0;
    while (i + size < 8 && groups[i + size] == 0) ++size;
    if (size > best_size) best = i, best_size = size;
  }
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == best) {
      out += "::";
      i += best_size - 1;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    std::snprintf(text, sizeof text, "%x", groups[i]);
    out += text;
  }
  return out;
}

bool TransportAddress::is_loopback() const {
  if (family_ == Family::v4) return ip_[0] == 127;
  if (family_ == Family::none) return false;
  for (std::size_t i = 0; i < 15; ++i)
    if (ip_[i] != 0) return false;
  return ip_[15] == 1;
}

} // namespace satsuma
