#include "media_limits.h"

#include <gtest/gtest.h>

namespace satsuma::server {
namespace {

TEST(MediaLimits, MediaTakesEverybodyWhomTheDeliveryServiceLetsIn) {
  delivery::DeliveryOptions options;
  EXPECT_LT(sfu::Limits{}.rooms, options.max_rooms) << "otherwise this test shows nothing";
  EXPECT_GE(media_limits(options).rooms, options.max_rooms);
  EXPECT_GE(media_limits(options).participants_per_room, options.room.live);
  options.max_rooms = 100'000;
  options.room.live = 1'000;
  EXPECT_GE(media_limits(options).rooms, 100'000u);
  EXPECT_GE(media_limits(options).participants_per_room, 1'000u);
}

} // namespace
} // namespace satsuma::server
