#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"

namespace satsuma {

/// A participant from one entry to its departure: the first 16 bytes of SHA-256 over its MLS signature
/// public key, which is fresh for each entry (docs/protocol.md). Server and members compute it alike.
struct IncarnationId {
  static constexpr std::size_t size = 16;
  std::array<std::uint8_t, size> bytes{};

  ByteView view() const { return bytes; }
  std::string hex() const { return to_hex(bytes); }
  friend auto operator<=>(const IncarnationId&, const IncarnationId&) = default;
};

} // namespace satsuma

template <>
struct std::hash<satsuma::IncarnationId> {
  std::size_t operator()(const satsuma::IncarnationId& id) const noexcept {
    std::size_t value = 0;
    for (std::size_t i = 0; i < sizeof value; ++i) value = value << 8 | id.bytes[i]; // uniform already: it is a hash
    return value;
  }
};
