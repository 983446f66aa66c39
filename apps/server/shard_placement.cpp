#include "shard_placement.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace satsuma::server {

namespace {

double busy_at(std::span<const double> busy, std::size_t shard) { return shard < busy.size() ? busy[shard] : 0; }

} // namespace

std::size_t ShardPlacement::least_loaded(std::span<const double> busy) const {
  // A measured load is a second old, so a small difference says less than who has come since.
  const auto load = [&](std::size_t shard) { return std::pair(static_cast<int>(busy_at(busy, shard) * 5), people_[shard]); };
  std::size_t best = 0;
  for (std::size_t shard = 1; shard < people_.size(); ++shard)
    if (load(shard) < load(best)) best = shard;
  return best;
}

std::size_t ShardPlacement::place(const std::string& room, std::span<const double> busy) {
  const auto [found, fresh] = rooms_.try_emplace(room);
  Room& r = found->second;
  if (fresh) {
    r.home = least_loaded(busy);
    r.people.resize(people_.size());
  }
  const std::size_t here = r.people[r.home];
  const bool home_busy = busy_at(busy, r.home) >= busy_from;
  bool another_free = false;
  for (std::size_t shard = 0; shard < people_.size(); ++shard) another_free = another_free || busy_at(busy, shard) < free_below;
  if (here >= spread_from_ || (home_busy && another_free))
    r.spread = true;
  else if (here <= spread_from_ / 2 && busy_at(busy, r.home) < free_below)
    r.spread = false;
  const std::size_t shard = r.spread ? least_loaded(busy) : r.home;
  ++r.people[shard];
  ++people_[shard];
  return shard;
}

void ShardPlacement::remove(const std::string& room, std::size_t shard) {
  const auto found = rooms_.find(room);
  if (found == rooms_.end()) return;
  Room& r = found->second;
  --r.people[shard];
  --people_[shard];
  if (std::accumulate(r.people.begin(), r.people.end(), std::size_t{0}) == 0) {
    rooms_.erase(found);
    return;
  }
  // Where nobody of it is left it does not begin again.
  if (r.people[r.home] == 0) r.home = static_cast<std::size_t>(std::ranges::max_element(r.people) - r.people.begin());
}

sfu::ShardSet ShardPlacement::shards_of(const std::string& room) const {
  const auto found = rooms_.find(room);
  sfu::ShardSet shards = 0;
  if (found == rooms_.end()) return shards;
  for (std::size_t shard = 0; shard < found->second.people.size(); ++shard)
    if (found->second.people[shard] > 0) shards |= sfu::ShardSet{1} << shard;
  return shards;
}

} // namespace satsuma::server
