#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "base/secret.h"
#include "call/room_suite.h"
#include "url.h"

namespace satsuma::client {

/// What a room's link says: https://HOST[:PORT]/r/ROOM#SECRET[.SUITE] (docs/protocol.md, section 1).
struct RoomLink {
  Url server; ///< without a path
  std::string room;
  SecretBytes secret; ///< 16 bytes
  call::RoomSuite suite = call::RoomSuite::standard;
};

/// A sentence for a person otherwise.
std::expected<RoomLink, std::string> parse_room_link(std::string_view text);

/// A new room on a server: a name and a secret at random. `server`: https://HOST[:PORT].
std::string make_room_link(std::string_view server, ByteView random16, std::string_view name);

} // namespace satsuma::client
