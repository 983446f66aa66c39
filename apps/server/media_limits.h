#pragma once

#include <algorithm>

#include "delivery/delivery_service.h"
#include "sfu/limits.h"

namespace satsuma::server {

/// Whom the delivery service lets in, a media shard takes too: otherwise somebody would be in the room, unseen and unheard, and strangers
/// with empty rooms could bring that about.
inline sfu::Limits media_limits(const delivery::DeliveryOptions& options) {
  sfu::Limits limits;
  limits.rooms = std::max(limits.rooms, options.max_rooms);
  limits.participants_per_room = std::max(limits.participants_per_room, options.room.live);
  return limits;
}

} // namespace satsuma::server
