#pragma once

#include <cstddef>
#include <cstdint>

namespace satsuma::sfu {

/// A room's shards are a set of bits.
using ShardSet = std::uint64_t;
inline constexpr std::size_t max_shards = 64;

constexpr ShardSet shard_bit(std::size_t shard) { return ShardSet{1} << shard; }

template <class F>
void for_each_shard(ShardSet shards, F&& f) {
  for (std::size_t shard = 0; shards != 0; ++shard, shards >>= 1)
    if ((shards & 1) != 0) f(shard);
}

} // namespace satsuma::sfu
