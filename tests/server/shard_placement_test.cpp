#include "shard_placement.h"

#include <gtest/gtest.h>

#include <array>

namespace satsuma::server {
namespace {

class ShardPlacementTest : public ::testing::Test {
 protected:
  ShardPlacementTest() {
    placement.add_shard();
    placement.add_shard();
  }
  std::array<std::size_t, 2> come(const std::string& room, std::size_t people, std::span<const double> busy = {}) {
    std::array<std::size_t, 2> where{};
    for (std::size_t i = 0; i < people; ++i) ++where[placement.place(room, busy)];
    return where;
  }
  ShardPlacement placement{8};
};

TEST_F(ShardPlacementTest, SmallRoomsStayWholeAndAreSpreadOverTheThreads) {
  EXPECT_EQ(come("a", 5), (std::array<std::size_t, 2>{5, 0}));
  EXPECT_EQ(come("b", 4), (std::array<std::size_t, 2>{0, 4}));
  EXPECT_EQ(come("c", 2), (std::array<std::size_t, 2>{0, 2}));
  EXPECT_EQ(placement.shards_of("a"), 1u);
  EXPECT_EQ(placement.shards_of("c"), 2u);
  EXPECT_EQ(placement.shards_of("nobody"), 0u);
}

TEST_F(ShardPlacementTest, ALargeRoomFillsItsThreadAndThenGoesWhereLeastIsToDo) {
  EXPECT_EQ(come("a", 8), (std::array<std::size_t, 2>{8, 0}));
  EXPECT_EQ(come("a", 8), (std::array<std::size_t, 2>{0, 8}));
  EXPECT_EQ(come("a", 4), (std::array<std::size_t, 2>{2, 2}));
  EXPECT_EQ(placement.shards_of("a"), 3u);
}

TEST_F(ShardPlacementTest, ARoomIsSpreadUntilHalfAsManyAreLeft) {
  come("a", 9);
  for (int i = 0; i < 3; ++i) placement.remove("a", 0);
  EXPECT_EQ(come("a", 1), (std::array<std::size_t, 2>{0, 1})) << "five are left there: still large";
  placement.remove("a", 0);
  placement.remove("a", 1);
  placement.remove("a", 1);
  EXPECT_EQ(placement.shards_of("a"), 1u);
  EXPECT_EQ(come("a", 2), (std::array<std::size_t, 2>{2, 0})) << "all in one again, though the other has nothing to do";
}

TEST_F(ShardPlacementTest, ABusyThreadSendsNewcomersAwayEvenOfASmallRoom) {
  come("a", 2);
  EXPECT_EQ(come("a", 1, std::array{0.9, 0.1}), (std::array<std::size_t, 2>{0, 1}));
  EXPECT_EQ(come("a", 1, std::array{0.6, 0.1}), (std::array<std::size_t, 2>{0, 1})) << "not before it has time again";
  EXPECT_EQ(come("a", 1, std::array{0.4, 0.1}), (std::array<std::size_t, 2>{1, 0}));
  EXPECT_EQ(come("b", 1, std::array{0.9, 0.9}), (std::array<std::size_t, 2>{0, 1})) << "all are busy: by their people";
}

TEST_F(ShardPlacementTest, ARoomWhoseFirstThreadIsEmptyOfItHasAnother) {
  come("a", 10);
  for (int i = 0; i < 8; ++i) placement.remove("a", 0);
  EXPECT_EQ(placement.shards_of("a"), 2u);
  EXPECT_EQ(come("a", 1), (std::array<std::size_t, 2>{0, 1}));
  for (int i = 0; i < 3; ++i) placement.remove("a", 1);
  EXPECT_EQ(placement.room_count(), 0u);
}

} // namespace
} // namespace satsuma::server
