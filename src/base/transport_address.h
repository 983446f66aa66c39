#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace satsuma {

/// An IP address and a UDP port. A value for tables and messages; sockets are io's business.
class TransportAddress {
 public:
  enum class Family : std::uint8_t { none, v4, v6 };

  constexpr TransportAddress() = default;
  static constexpr TransportAddress v4(std::array<std::uint8_t, 4> ip, std::uint16_t port) {
    TransportAddress a;
    a.family_ = Family::v4;
    a.port_ = port;
    for (std::size_t i = 0; i < ip.size(); ++i) a.ip_[i] = ip[i];
    return a;
  }
  /// An IPv4-mapped address (::ffff:a.b.c.d) becomes the IPv4 address, so that one peer has one value.
  static TransportAddress v6(std::array<std::uint8_t, 16> ip, std::uint16_t port);
  /// `ip` in text form, "192.0.2.1" or "2001:db8::1"; empty when it is neither.
  static std::optional<TransportAddress> parse(std::string_view ip, std::uint16_t port);

  Family family() const { return family_; }
  std::uint16_t port() const { return port_; }
  /// 4 or 16 bytes in network order; none for an empty address.
  ByteView ip() const { return ByteView(ip_).first(family_ == Family::v4 ? 4 : family_ == Family::v6 ? 16 : 0); }
  /// The address in text form without the port.
  std::string ip_text() const;
  bool is_loopback() const;

  friend auto operator<=>(const TransportAddress&, const TransportAddress&) = default;
  friend bool operator==(const TransportAddress&, const TransportAddress&) = default;

  std::size_t hash() const noexcept {
    std::uint64_t halves[2];
    std::memcpy(halves, ip_.data(), sizeof halves);
    // Mixes as in MurmurHash3's finalizer: the peer chooses its address, so the table compares whole keys in any case.
    std::uint64_t h = halves[0] ^ (halves[1] * 0x9e3779b97f4a7c15U) ^ (std::uint64_t{port_} << 40 | static_cast<std::uint64_t>(family_));
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdU;
    h ^= h >> 33;
    return static_cast<std::size_t>(h);
  }

 private:
  std::array<std::uint8_t, 16> ip_{};
  std::uint16_t port_ = 0;
  Family family_ = Family::none;
};

/// Which way a datagram came or goes: the remote address, and the number that `io` gave to the local socket. ICE calls it a
/// candidate pair. An answer must leave from the address that the question came to, so both ends belong to it.
struct NetworkPath {
  TransportAddress remote;
  std::uint32_t socket = 0;

  friend auto operator<=>(const NetworkPath&, const NetworkPath&) = default;
};

} // namespace satsuma

template <>
struct std::hash<satsuma::NetworkPath> {
  std::size_t operator()(const satsuma::NetworkPath& path) const noexcept {
    return path.remote.hash() ^ path.socket * std::size_t{0x9e3779b97f4a7c15U};
  }
};

template <>
struct std::hash<satsuma::TransportAddress> {
  std::size_t operator()(const satsuma::TransportAddress& address) const noexcept { return address.hash(); }
};
