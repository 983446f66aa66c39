#pragma once

#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "delivery/group_gate.h"
#include "signaling/delivery_messages.h"

namespace satsuma::delivery {

inline constexpr ErrorCode log_record_invalid{"log_record_invalid", ErrorKind::environment};

/// Bounds of one room.
struct RoomLimits {
  std::size_t live = signaling::max_waiting; ///< members that are not gone, and waiting ones, together: 200 who meet, and some who come back
  std::size_t roster = signaling::max_snapshot_members; ///< members, gone ones included
  std::size_t waiting_bytes = signaling::max_snapshot_waiting_bytes;
  std::size_t log_entries = 4'096;      ///< kept for those who lag; who holds back more is gone
  std::size_t log_bytes = 4 * 1024 * 1024;
  std::size_t trim_entries = 64;        ///< trimmed in steps, so that the store is not written at each acknowledgement
  std::size_t trim_bytes = 256 * 1024;
  std::size_t remembered_gone = 1'024;  ///< incarnations that went, so that they cannot come back
};

/// An entry with what it does to the roster: a commit's bytes alone do not say whom its leaf indices mean.
struct Record {
  signaling::Entry entry;
  std::vector<IncarnationId> added;
  std::vector<IncarnationId> removed;
  Bytes tree{}; ///< the ratchet tree after a commit that adds somebody
};
Bytes write_record(const Record& record);
Result<Record> parse_record(ByteView bytes);

/// The room as a function of its log. Snapshots are it, in wire form.
class Roster {
 public:
  Roster() = default;
  explicit Roster(signaling::Snapshot snapshot) : state_(std::move(snapshot)) {}

  void apply(const Record& record);
  const signaling::Snapshot& snapshot() const { return state_; }

  bool has_group() const { return state_.has_group; }
  std::uint64_t era() const { return state_.era; }
  std::uint64_t epoch() const { return state_.epoch; }
  const std::vector<IncarnationId>& members() const { return state_.members; }
  bool is_member(const IncarnationId& who) const;
  /// A member that is gone and not yet removed.
  bool is_gone(const IncarnationId& who) const;
  const signaling::Waiting* find_waiting(const IncarnationId& who) const;
  bool is_live_member(const IncarnationId& who) const { return is_member(who) && !is_gone(who); }
  bool is_live(const IncarnationId& who) const { return is_live_member(who) || find_waiting(who) != nullptr; }
  bool has_live_member() const { return state_.members.size() > state_.gone.size(); }
  std::size_t live_count() const { return state_.members.size() - state_.gone.size() + state_.waiting.size(); }

 private:
  signaling::Snapshot state_;
};

/// One room's totally ordered log and the rules by which it grows (docs/protocol.md, "The gate"). Compare-and-set on
/// (era, epoch) gives safety whatever the members do. Pure: no store, no connections, no time, MLS behind an interface.
///
/// In two steps, because an entry must be durable before it exists: `propose_*` decides and returns the record that would
/// be appended, changing nothing here (the gate holds the successor aside); `append` takes it. Between the two nothing
/// else may be proposed.
class RoomSequencer {
 public:
  using Refusal = signaling::Rejected::Reason;
  enum class JoinRefusal : std::uint8_t { known, full };

  explicit RoomSequencer(RoomLimits limits = {}) : limits_(limits) {}
  /// From what a store kept. `records` begin at `base_index`.
  static Result<RoomSequencer> restore(RoomLimits limits, std::uint64_t base_index, Roster base, std::vector<Record> records);

  std::expected<Record, JoinRefusal> propose_join(const IncarnationId& who, ByteView key_package) const;
  /// Nothing when `who` is not alive: gone is said once.
  /// `committer`: with could_not_follow, whose commit it was.
  std::optional<Record> propose_gone(const IncarnationId& who, signaling::GoneCause cause, const IncarnationId& committer = {}) const;
  std::expected<Record, Refusal> propose_genesis(const IncarnationId& who, ByteView group_info, GroupGate& gate) const;
  std::expected<Record, Refusal> propose_commit(const IncarnationId& who, const signaling::Commit& commit, GroupGate& gate) const;
  /// CHECKs that the record has the next index.
  void append(Record record);

  const Roster& roster() const { return head_; }
  std::uint64_t log_start() const { return base_index_; }
  /// The index that the next entry will get.
  std::uint64_t head() const { return base_index_ + log_.size(); }
  const Record& record(std::uint64_t index) const;
  /// The entry as the frame that clients get.
  const Bytes& frame(std::uint64_t index) const;
  /// The room before the entry at `index`, between log_start() and head().
  Roster roster_at(std::uint64_t index) const;
  /// Of the frames and the trees.
  std::size_t log_bytes() const { return end_offset() - start_offset() + tree_bytes_; }
  /// Bytes of the frames from `from` to before `to`.
  std::size_t bytes_between(std::uint64_t from, std::uint64_t to) const;

  /// `who`, alive, has processed what is below `cursor`. CHECKed to lie within the log.
  void acknowledge(const IncarnationId& who, std::uint64_t cursor);
  /// Its own join, or log_start() when that was trimmed away; nothing when it is not alive.
  std::optional<std::uint64_t> cursor(const IncarnationId& who) const;
  /// Entries below are needed by nobody: head() when nobody is alive.
  std::uint64_t lowest_cursor() const;
  /// Whether enough is below it to be worth the store's trouble.
  bool should_trim() const;
  bool over_bounds() const { return log_.size() > limits_.log_entries || log_bytes() > limits_.log_bytes; }
  /// Drops what is below `index`, at most lowest_cursor().
  void trim(std::uint64_t index);

 private:
  struct Logged {
    Record record;
    Bytes frame;
    std::uint64_t end_offset; ///< sum of all frames' sizes up to here, since the room began
  };
  bool saw_this_log(const signaling::LogPrefix& seen) const;
  bool passes_over_a_departure(const CommitEffect& effect) const;
  std::uint64_t end_offset() const { return log_.empty() ? base_offset_ : log_.back().end_offset; }
  std::uint64_t start_offset() const { return base_offset_; }
  std::uint64_t offset_of(std::uint64_t index) const;

  RoomLimits limits_;
  std::uint64_t base_index_ = 0;
  std::uint64_t base_offset_ = 0;
  Roster base_; ///< before the entry at base_index_
  std::deque<Logged> log_;
  std::size_t tree_bytes_ = 0;
  Roster head_; ///< after the last entry
  /// The digests of the log since the present epoch began, the first of them at `digests_from_`: what commits of this epoch may have seen.
  std::deque<signaling::LogDigest> digests_{signaling::LogDigest{}};
  std::uint64_t digests_from_ = 0;
  static constexpr std::size_t max_digests = 8'192; ///< a commit that saw less is refused, and made again
  std::map<IncarnationId, std::uint64_t> cursors_; ///< of everyone alive
};

} // namespace satsuma::delivery
