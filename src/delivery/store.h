#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"

namespace satsuma::delivery {

inline constexpr ErrorCode store_unreachable{"store_unreachable", ErrorKind::environment};
inline constexpr ErrorCode store_damaged{"store_damaged", ErrorKind::environment};

/// What became of a write. After `unknown` (the disk is full, a node does not answer) the write may have happened or
/// not: one reads and then knows, and never retries blindly.
enum class StoreStatus : std::uint8_t {
  ok,       ///< durable
  conflict, ///< somebody else wrote first; what the caller holds of this room is out of date
  unknown,
};

using ResumeKeyHash = std::array<std::uint8_t, 32>; ///< SHA-256 of the resume key

/// One entry and what must become durable with it or not at all.
struct StoreAppend {
  std::uint64_t index = 0;
  Bytes record; ///< write_record()
  /// With a join: who may resume as it.
  struct Incarnation {
    IncarnationId who;
    ResumeKeyHash resume_key_hash{};
  };
  std::optional<Incarnation> joined;
  /// With a genesis or commit: the group's public state after it.
  std::optional<Bytes> group;
};

struct StoreTrim {
  std::uint64_t log_start = 0; ///< records below it are dropped
  Bytes base;                  ///< write_snapshot() of the room before that index
  std::vector<IncarnationId> forgotten; ///< incarnations that went long ago
};

struct StoredIncarnation {
  IncarnationId who;
  std::uint64_t join_index = 0;
  ResumeKeyHash resume_key_hash{};
};

/// Cursors are not stored: a log is trimmed below the lowest live cursor only, so after a restart everybody who is
/// alive can go on from where the log begins.
struct StoredRoom {
  std::uint64_t log_start = 0;
  Bytes base; ///< empty when log_start is 0
  std::vector<Bytes> records; ///< from log_start on, without gaps
  std::vector<StoredIncarnation> incarnations; ///< in the order of their joins, gone ones as far as not forgotten
  Bytes group; ///< empty without a group
};

/// Where the rooms' logs are kept. One owner at a time writes a room. What `append` answered `ok` to is there after the
/// process was killed. In memory (memory_store.h), SQLite (io/sqlite_store.h).
class Store {
 public:
  virtual ~Store() = default;
  /// Appends at `index`, which must be the next one: conflict when it is taken.
  virtual StoreStatus append(std::string_view room, const StoreAppend& append) = 0;
  virtual StoreStatus trim(std::string_view room, const StoreTrim& trim) = 0;
  /// Removes the room with all that belongs to it.
  virtual StoreStatus forget(std::string_view room) = 0;

  virtual Result<std::vector<std::string>> rooms() = 0;
  /// Null when there is no such room.
  virtual Result<std::optional<StoredRoom>> load(std::string_view room) = 0;
  /// The record at `index`; null when there is none.
  virtual Result<std::optional<Bytes>> read(std::string_view room, std::uint64_t index) = 0;
};

} // namespace satsuma::delivery
