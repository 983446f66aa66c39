#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "sfu/shard_message.h"

namespace satsuma::server {

/// Which media thread takes whom. A room begins on the thread that has least to do, and all of it stays there until it is too large for one: then those who
/// come are spread over all threads. Nobody is moved during a call.
///
/// A room is too large when `spread_from` of its people are on its first thread, or when that thread is busy and another is not; and no more when half as
/// many are left and the thread has time again.
class ShardPlacement {
 public:
  static constexpr std::size_t default_spread_from = 64;
  static constexpr double busy_from = 0.7, free_below = 0.5;

  explicit ShardPlacement(std::size_t spread_from = default_spread_from) : spread_from_(spread_from) {}

  void add_shard() { people_.push_back(0); }
  /// `busy`: the part of the last second that each thread worked, as far as it is known.
  std::size_t place(const std::string& room, std::span<const double> busy);
  void remove(const std::string& room, std::size_t shard);

  /// Those that have people in the room.
  sfu::ShardSet shards_of(const std::string& room) const;
  std::size_t room_count() const { return rooms_.size(); }

 private:
  struct Room {
    std::size_t home = 0;
    bool spread = false;
    std::vector<std::size_t> people; ///< by shard
  };
  std::size_t least_loaded(std::span<const double> busy) const;

  std::size_t spread_from_;
  std::vector<std::size_t> people_; ///< by shard
  std::unordered_map<std::string, Room> rooms_; ///< those with people
};

} // namespace satsuma::server
