#include "delivery/room_sequencer.h"

#include <algorithm>

#include "base/bug_switches.h"
#include "codec/tls.h"

namespace satsuma::delivery {
namespace {

using signaling::CommitEntry;
using signaling::Entry;
using signaling::GenesisEntry;
using signaling::GoneEntry;
using signaling::JoinEntry;

bool contains(const std::vector<IncarnationId>& ids, const IncarnationId& who) {
  return std::ranges::find(ids, who) != ids.end();
}

void write_ids(ByteWriter& writer, const std::vector<IncarnationId>& ids) {
  codec::write_varint(writer, ids.size() * IncarnationId::size);
  for (const auto& id : ids) writer.bytes(id.view());
}

Result<std::vector<IncarnationId>> read_ids(ByteReader& reader) {
  SATSUMA_TRY(ByteView body, codec::read_opaque(reader));
  if (body.size() % IncarnationId::size != 0) return log_record_invalid;
  std::vector<IncarnationId> ids(body.size() / IncarnationId::size);
  for (auto& id : ids) {
    std::ranges::copy(body.first(IncarnationId::size), id.bytes.begin());
    body = body.subspan(IncarnationId::size);
  }
  return ids;
}

} // namespace

Bytes write_record(const Record& record) {
  ByteWriter writer;
  write_ids(writer, record.added);
  write_ids(writer, record.removed);
  codec::write_opaque(writer, record.tree);
  writer.bytes(signaling::write_entry(record.entry));
  return std::move(writer).take();
}

Result<Record> parse_record(ByteView bytes) {
  Record record;
  ByteReader reader(bytes);
  SATSUMA_TRY(record.added, read_ids(reader));
  SATSUMA_TRY(record.removed, read_ids(reader));
  SATSUMA_TRY(const ByteView tree, codec::read_opaque(reader));
  record.tree = to_bytes(tree);
  SATSUMA_TRY(record.entry, signaling::parse_entry(reader.rest()));
  return record;
}

// ---- Roster

bool Roster::is_member(const IncarnationId& who) const { return contains(state_.members, who); }
bool Roster::is_gone(const IncarnationId& who) const { return contains(state_.gone, who); }

const signaling::Waiting* Roster::find_waiting(const IncarnationId& who) const {
  const auto found = std::ranges::find(state_.waiting, who, &signaling::Waiting::who);
  return found == state_.waiting.end() ? nullptr : &*found;
}

void Roster::apply(const Record& record) {
  state_.log_digest = signaling::next_log_digest(state_.log_digest, record.entry);
  const auto stops_waiting = [this](const IncarnationId& who) {
    std::erase_if(state_.waiting, [&](const auto& one) { return one.who == who; });
  };
  if (const auto* join = std::get_if<JoinEntry>(&record.entry.body)) {
    state_.waiting.push_back({join->who, join->key_package});
  } else if (const auto* gone = std::get_if<GoneEntry>(&record.entry.body)) {
    stops_waiting(gone->who);
    if (is_live_member(gone->who)) state_.gone.push_back(gone->who);
  } else if (const auto* genesis = std::get_if<GenesisEntry>(&record.entry.body)) {
    stops_waiting(genesis->who);
    state_.has_group = true;
    state_.era = record.entry.index;
    state_.epoch = 0;
    state_.members = {genesis->who};
    state_.gone.clear();
  } else {
    ++state_.epoch;
    for (const auto& who : record.removed) {
      std::erase(state_.members, who);
      std::erase(state_.gone, who);
    }
    for (const auto& who : record.added) {
      stops_waiting(who);
      state_.members.push_back(who);
    }
  }
}

// ---- RoomSequencer

Result<RoomSequencer> RoomSequencer::restore(RoomLimits limits, std::uint64_t base_index, Roster base,
                                             std::vector<Record> records) {
  RoomSequencer sequencer(limits);
  sequencer.base_index_ = base_index;
  sequencer.base_ = base;
  sequencer.head_ = std::move(base);
  sequencer.digests_from_ = base_index;
  sequencer.digests_ = {sequencer.head_.snapshot().log_digest};
  const Roster& roster = sequencer.head_;
  for (const auto& who : roster.members()) {
    if (!roster.is_gone(who)) sequencer.cursors_.emplace(who, base_index);
  }
  for (const auto& waiting : roster.snapshot().waiting) sequencer.cursors_.emplace(waiting.who, base_index);
  for (auto& record : records) {
    if (record.entry.index != sequencer.head()) return log_record_invalid;
    sequencer.append(std::move(record));
  }
  return sequencer;
}

std::expected<Record, RoomSequencer::JoinRefusal> RoomSequencer::propose_join(const IncarnationId& who,
                                                                              ByteView key_package) const {
  if (head_.is_member(who) || head_.find_waiting(who) != nullptr) return std::unexpected(JoinRefusal::known);
  if (head_.live_count() >= limits_.live) return std::unexpected(JoinRefusal::full);
  std::size_t waiting_bytes = signaling::waiting_size({who, to_bytes(key_package)});
  for (const auto& one : head_.snapshot().waiting) waiting_bytes += signaling::waiting_size(one);
  if (waiting_bytes > limits_.waiting_bytes) return std::unexpected(JoinRefusal::full);
  return Record{{head(), JoinEntry{who, to_bytes(key_package)}}, {}, {}};
}

std::optional<Record> RoomSequencer::propose_gone(const IncarnationId& who, signaling::GoneCause cause, const IncarnationId& committer) const {
  if (!head_.is_live(who)) return std::nullopt;
  return Record{{head(), GoneEntry{who, cause, committer}}, {}, {}};
}

std::expected<Record, RoomSequencer::Refusal> RoomSequencer::propose_genesis(const IncarnationId& who,
                                                                             ByteView group_info,
                                                                             GroupGate& gate) const {
  if (head_.has_live_member()) return std::unexpected(Refusal::not_present_epoch);
  if (head_.find_waiting(who) == nullptr) return std::unexpected(Refusal::not_member);
  const auto founder = gate.check_genesis(group_info);
  if (!founder) return std::unexpected(Refusal::invalid);
  if (*founder != who) {
    gate.discard();
    return std::unexpected(Refusal::invalid);
  }
  return Record{{head(), GenesisEntry{who, to_bytes(group_info)}}, {who}, head_.members()};
}

std::expected<Record, RoomSequencer::Refusal> RoomSequencer::propose_commit(const IncarnationId& who,
                                                                            const signaling::Commit& commit,
                                                                            GroupGate& gate) const {
  const bool present = head_.has_group() && commit.era == head_.era() && commit.epoch == head_.epoch();
  if (!present && !SATSUMA_BUG(no_gate)) {
    return std::unexpected(Refusal::not_present_epoch);
  }
  if (!head_.is_live_member(who) && !SATSUMA_BUG(gone_may_commit)) return std::unexpected(Refusal::not_member);
  const auto effect = gate.check_commit(commit.epoch, commit.commit, commit.welcome);
  if (!effect) return std::unexpected(Refusal::invalid);

  const auto refuse = [&gate](Refusal refusal) {
    gate.discard();
    return std::unexpected(refusal);
  };
  if (effect->committer != who) return refuse(Refusal::invalid);
  if (effect->seen && (!saw_this_log(*effect->seen) || passes_over_a_departure(*effect))) return refuse(Refusal::invalid);
  Record record{{head(), CommitEntry{commit.era, commit.epoch, who, commit.commit, commit.welcome}}, {}, {}};
  for (const auto& added : effect->added) {
    const auto* waiting = head_.find_waiting(added.who);
    const bool asked = waiting != nullptr && waiting->key_package == added.key_package;
    if ((!asked && !SATSUMA_BUG(unchecked_adds)) || contains(record.added, added.who)) {
      return refuse(Refusal::unasked_add);
    }
    record.added.push_back(added.who);
  }
  for (const auto& removed : effect->removed) {
    if (!head_.is_gone(removed) || contains(record.removed, removed)) return refuse(Refusal::unlogged_remove);
    record.removed.push_back(removed);
  }
  if (head_.members().size() - record.removed.size() + record.added.size() > limits_.roster) {
    return refuse(Refusal::invalid);
  }
  if (!record.added.empty()) record.tree = gate.successor_tree();
  if (record.tree.size() > signaling::max_ratchet_tree_size) return refuse(Refusal::invalid);
  return record;
}

bool RoomSequencer::saw_this_log(const signaling::LogPrefix& seen) const {
  return seen.index >= digests_from_ && seen.index - digests_from_ < digests_.size() && digests_[seen.index - digests_from_] == seen.digest;
}

// Who commits takes out everyone of whose departure it knew: a member cannot keep somebody in by committing faster than the others.
bool RoomSequencer::passes_over_a_departure(const CommitEffect& effect) const {
  if (head_.snapshot().gone.empty() || effect.seen->index < base_index_) return false;
  const Roster known = roster_at(effect.seen->index);
  return std::ranges::any_of(known.snapshot().gone, [&](const IncarnationId& who) { return !contains(effect.removed, who); });
}

void RoomSequencer::append(Record record) {
  SATSUMA_CHECK(record.entry.index == head());
  head_.apply(record);
  if (const auto* join = std::get_if<JoinEntry>(&record.entry.body)) cursors_[join->who] = record.entry.index;
  if (const auto* gone = std::get_if<GoneEntry>(&record.entry.body)) cursors_.erase(gone->who);
  Bytes frame = signaling::write_server_message(record.entry);
  const std::uint64_t end = end_offset() + frame.size();
  tree_bytes_ += record.tree.size();
  const bool new_epoch = std::holds_alternative<GenesisEntry>(record.entry.body) || std::holds_alternative<CommitEntry>(record.entry.body);
  if (new_epoch || digests_.size() == max_digests) {
    digests_from_ = new_epoch ? record.entry.index + 1 : digests_from_ + 1;
    if (new_epoch) digests_.clear();
    else digests_.pop_front();
  }
  digests_.push_back(head_.snapshot().log_digest);
  log_.push_back({std::move(record), std::move(frame), end});
}

const Record& RoomSequencer::record(std::uint64_t index) const {
  SATSUMA_CHECK(index >= base_index_ && index < head());
  return log_[index - base_index_].record;
}

const Bytes& RoomSequencer::frame(std::uint64_t index) const {
  SATSUMA_CHECK(index >= base_index_ && index < head());
  return log_[index - base_index_].frame;
}

Roster RoomSequencer::roster_at(std::uint64_t index) const {
  SATSUMA_CHECK(index >= base_index_ && index <= head());
  if (index == head()) return head_;
  Roster roster = base_;
  for (std::uint64_t i = base_index_; i < index; ++i) roster.apply(record(i));
  return roster;
}

std::uint64_t RoomSequencer::offset_of(std::uint64_t index) const {
  SATSUMA_CHECK(index >= base_index_ && index <= head());
  return index == base_index_ ? base_offset_ : log_[index - base_index_ - 1].end_offset;
}

std::size_t RoomSequencer::bytes_between(std::uint64_t from, std::uint64_t to) const {
  return offset_of(to) - offset_of(from);
}

void RoomSequencer::acknowledge(const IncarnationId& who, std::uint64_t cursor) {
  SATSUMA_CHECK(cursor >= base_index_ && cursor <= head());
  const auto found = cursors_.find(who);
  SATSUMA_CHECK(found != cursors_.end());
  found->second = cursor;
}

std::optional<std::uint64_t> RoomSequencer::cursor(const IncarnationId& who) const {
  const auto found = cursors_.find(who);
  if (found == cursors_.end()) return std::nullopt;
  return found->second;
}

std::uint64_t RoomSequencer::lowest_cursor() const {
  std::uint64_t lowest = head();
  for (const auto& [who, cursor] : cursors_) lowest = std::min(lowest, cursor);
  return lowest;
}

bool RoomSequencer::should_trim() const {
  const std::uint64_t lowest = lowest_cursor();
  return lowest > base_index_ && (lowest - base_index_ >= limits_.trim_entries ||
                                  bytes_between(base_index_, lowest) >= limits_.trim_bytes);
}

void RoomSequencer::trim(std::uint64_t index) {
  SATSUMA_CHECK(index >= base_index_ && index <= lowest_cursor());
  while (base_index_ < index) {
    base_.apply(log_.front().record);
    base_offset_ = log_.front().end_offset;
    tree_bytes_ -= log_.front().record.tree.size();
    log_.pop_front();
    ++base_index_;
  }
}

} // namespace satsuma::delivery
