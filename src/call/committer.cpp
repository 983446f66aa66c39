#include "call/committer.h"

#include <algorithm>

namespace satsuma::call {

void Committer::handle_snapshot(TimePoint now, std::span<const IncarnationId> members, std::span<const IncarnationId> gone,
                                std::span<const Waiting> waiting) {
  gone_.insert(gone.begin(), gone.end());
  for (const IncarnationId& who : members) {
    if (!gone_.contains(who)) live_.insert(who);
  }
  waiting_.assign(waiting.begin(), waiting.end());
  consider(now);
}

void Committer::handle_join(TimePoint now, IncarnationId who, bool admissible) {
  if (!is_waiting(who)) waiting_.push_back({who, admissible});
  last_join_ = now;
  consider(now);
}

void Committer::handle_gone(TimePoint now, IncarnationId who) {
  std::erase_if(waiting_, [&](const Waiting& waiting) { return waiting.who == who; });
#ifdef SATSUMA_BUG_SWITCHES
  first_.erase(who);
#endif
  if (phase_ == Phase::member) {
    if (std::ranges::any_of(roster_, [&](const Member& member) { return member.who == who; })) gone_.insert(who);
  } else if (live_.erase(who) != 0 && !SATSUMA_BUG(deaf_while_waiting)) {
    gone_.insert(who);
  }
  consider(now);
}

void Committer::handle_suspicion(TimePoint now, IncarnationId committer) {
  if (phase_ == Phase::member && std::ranges::any_of(roster_, [&](const Member& member) { return member.who == committer; })) suspected_.insert(committer);
  consider(now);
}

void Committer::handle_genesis(TimePoint now, std::uint64_t era, IncarnationId who) {
  const bool undecided = who != self_ && phase_ == Phase::waiting && attempt_ == Attempt::in_flight && !SATSUMA_BUG(genesis_forgotten);
  if (!undecided) forget_attempt();
  forget_delays();
  era_ = era;
  epoch_ = 0;
  gone_.clear();
  live_.clear();
  suspected_.clear();
  std::erase_if(waiting_, [&](const Waiting& waiting) { return waiting.who == who; });
  if (who == self_) {
    phase_ = Phase::member;
    roster_ = {{self_, 0}};
  } else {
    live_.insert(who);
  }
  consider(now);
}

void Committer::handle_epoch(TimePoint now, std::uint64_t era, std::uint64_t epoch, IncarnationId committer,
                             std::vector<Member> roster) {
  begin_epoch();
#ifdef SATSUMA_BUG_SWITCHES
  if (phase_ == Phase::waiting) {
    for (const Member& member : roster) first_.insert(member.who);
    first_.erase(self_);
  }
#endif
  if (committer == self_) refresh_wanted_ = false; // its update path renewed our leaf
  phase_ = Phase::member;
  era_ = era;
  epoch_ = epoch;
  roster_ = std::move(roster);
  std::ranges::sort(roster_, {}, &Member::leaf);
  std::set<IncarnationId> inside;
  for (const Member& member : roster_) inside.insert(member.who);
  std::erase_if(gone_, [&](const IncarnationId& who) { return !inside.contains(who); });
  std::erase_if(suspected_, [&](const IncarnationId& who) { return !inside.contains(who); });
  gather_until_ = now + options_.gather;
  std::erase_if(waiting_, [&](const Waiting& waiting) { return inside.contains(waiting.who); });
  live_.clear();
  consider(now);
}

void Committer::handle_foreign_commit(TimePoint now, std::span<const IncarnationId> adds) {
  // What it removes was gone already, so the live ones are known without looking at that.
  for (const IncarnationId& who : adds) {
    std::erase_if(waiting_, [&](const Waiting& waiting) { return waiting.who == who; });
    if (!gone_.contains(who)) live_.insert(who);
  }
  consider(now);
}

void Committer::handle_online(TimePoint now, bool online) {
  const bool came_back = online && !online_;
  online_ = online;
  // Whether the first copy arrived is unknown; the same bytes again are harmless, other bytes would not be.
  if (came_back && attempt_ == Attempt::in_flight) outputs_.emplace_back(SendPrepared{frame_});
  consider(now);
}

void Committer::handle_prepared(TimePoint now, Bytes frame) {
  if (attempt_ != Attempt::preparing) return;
  attempt_ = Attempt::in_flight;
  frame_ = std::move(frame);
  if (online_) outputs_.emplace_back(SendPrepared{frame_});
  consider(now);
}

bool Committer::handle_prepare_failed(TimePoint now) {
  if (attempt_ != Attempt::preparing) return true;
  attempt_ = Attempt::none;
  if (phase_ == Phase::waiting || asked_.adds.empty()) return false;
  if (asked_.adds.size() > 1) {
    adds_limit_ = asked_.adds.size() / 2;
  } else {
    for (Waiting& waiting : waiting_) {
      if (waiting.who == asked_.adds.front()) waiting.admissible = false;
    }
    adds_limit_ = 0;
  }
  consider(now);
  return true;
}

void Committer::handle_inadmissible(TimePoint now, std::span<const IncarnationId> who) {
  if (attempt_ != Attempt::preparing) return;
  attempt_ = Attempt::none;
  for (Waiting& waiting : waiting_) {
    if (std::ranges::find(who, waiting.who) != who.end()) waiting.admissible = false;
  }
  consider(now);
}

void Committer::handle_refused(TimePoint now, bool final_refusal) {
  if (attempt_ != Attempt::in_flight) return;
  if (!final_refusal && phase_ == Phase::member) return; // the log brings what won instead
  forget_attempt();
  // The entry that made it invalid came before the refusal, so what is pending now is another set, or a disagreement with
  // the server which haste will not mend.
  ++refusals_;
  const auto doublings = std::min<std::uint32_t>(refusals_ - 1, 6);
  if (refusals_ > 1) not_before_ = now + options_.rank_delay * (1 << doublings);
  consider(now);
}

void Committer::request_refresh(TimePoint now) {
  refresh_wanted_ = true;
  consider(now);
}

void Committer::handle_timeout(TimePoint now) {
  if (SATSUMA_BUG(drop_own) && attempt_ == Attempt::in_flight) forget_attempt();
  act(now);
}

std::optional<CommitterOutput> Committer::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  CommitterOutput output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

std::optional<TimePoint> Committer::next_deadline() const {
  if (!online_ || attempt_ != Attempt::none) return std::nullopt;
  return due_;
}

bool Committer::is_waiting(IncarnationId who) const {
  return std::ranges::any_of(waiting_, [&](const Waiting& waiting) { return waiting.who == who; });
}

bool Committer::has_live_member() const {
  if (phase_ == Phase::waiting) return !live_.empty();
  return std::ranges::any_of(roster_, [&](const Member& member) { return !gone_.contains(member.who); });
}

bool Committer::others_wait() const {
  return std::ranges::any_of(waiting_, [&](const Waiting& waiting) { return waiting.admissible && waiting.who != self_; });
}

// In the order in which they are to commit.
bool Committer::comes_before(const Member& one, const Member& other) const {
  const bool suspected = suspected_.contains(one.who);
  return suspected == suspected_.contains(other.who) ? one.leaf < other.leaf : !suspected;
}

std::optional<Member> Committer::designated() const {
  std::optional<Member> first;
  for (const Member& member : roster_) {
    if (!gone_.contains(member.who) && (!first || comes_before(member, *first))) first = member;
  }
  return first;
}

std::optional<std::size_t> Committer::rank() const {
#ifdef SATSUMA_BUG_SWITCHES
  if (SATSUMA_BUG(snapshot) && phase_ == Phase::member) return first_.empty() ? std::optional<std::size_t>(0) : std::nullopt;
#endif
  if (phase_ == Phase::member) {
    const auto self = std::ranges::find(roster_, self_, &Member::who);
    if (self == roster_.end() || gone_.contains(self_)) return std::nullopt;
    return static_cast<std::size_t>(
        std::ranges::count_if(roster_, [&](const Member& member) { return !gone_.contains(member.who) && comes_before(member, *self); }));
  }
  if (!live_.empty()) return std::nullopt;
  std::size_t rank = 0;
  for (const Waiting& waiting : waiting_) {
    if (!waiting.admissible) continue;
    if (waiting.who == self_) return rank;
    ++rank;
  }
  return std::nullopt; // our own join is not in the log yet, or we lack the secret
}

bool Committer::wants_change() const {
  if (phase_ == Phase::waiting) return live_.empty();
  return !gone_.empty() || std::ranges::any_of(waiting_, &Waiting::admissible);
}

MakeCommit Committer::everything_pending() const {
  MakeCommit request{era_, epoch_, {}, {}};
  const std::size_t limit = SATSUMA_BUG(one_at_a_time) ? 1 : adds_limit_ == 0 ? options_.max_adds : adds_limit_;
  for (const Waiting& waiting : waiting_) {
    if (waiting.admissible && request.adds.size() < limit) request.adds.push_back(waiting.who);
  }
  for (const Member& member : roster_) {
    if (gone_.contains(member.who)) request.removes.push_back(member.who);
  }
  return request;
}

// When those are together who are to come in by one commit.
TimePoint Committer::gathered() const {
  if (phase_ == Phase::waiting || !gone_.empty() || !gather_until_) return *needed_since_;
  const auto waiting = static_cast<std::size_t>(std::ranges::count_if(waiting_, &Waiting::admissible));
  if (waiting >= options_.max_adds) return *needed_since_;
  const TimePoint at = std::max(*needed_since_, *gather_until_);
  if (waiting < options_.crowd) return at;
  return std::max(at, std::min(last_join_ + options_.crowd_pause, *needed_since_ + options_.crowd_gather));
}

std::optional<TimePoint> Committer::find_due() const {
  if (!needed_since_ && !refresh_wanted_) return std::nullopt;
  const auto place = rank();
  if (!place) return std::nullopt;
  std::optional<TimePoint> at;
  if (needed_since_) {
    at = gathered() + options_.rank_delay * static_cast<std::int64_t>(*place);
  } else if (refresh_wanted_ && phase_ == Phase::member) {
    at = TimePoint{}; // whenever nothing else is to be done
  }
  if (at && not_before_) at = std::max(*at, *not_before_);
  return at;
}

void Committer::consider(TimePoint now) {
  if (waiting_.size() + live_.size() + gone_.size() + roster_.size() > max_people) overflowed_ = true;
  if (!wants_change()) {
    needed_since_.reset();
  } else if (!needed_since_) {
    needed_since_ = now;
  }
  if (SATSUMA_BUG(commit_before_reading) && attempt_ == Attempt::in_flight && phase_ == Phase::member && everything_pending() != asked_) {
    attempt_ = Attempt::none;
  }
  due_ = find_due();
  act(now);
}

void Committer::act(TimePoint now) {
  if (!online_ || attempt_ != Attempt::none || !due_ || now < *due_) return;
  attempt_ = Attempt::preparing;
  if (phase_ == Phase::waiting) {
    asked_ = {};
    outputs_.emplace_back(MakeGenesis{});
  } else {
    asked_ = everything_pending();
    outputs_.emplace_back(asked_);
  }
}

void Committer::begin_epoch() {
  forget_attempt();
  forget_delays();
}

void Committer::forget_delays() {
  needed_since_.reset();
  not_before_.reset();
  refusals_ = 0;
  adds_limit_ = 0;
}

void Committer::forget_attempt() {
  if (attempt_ == Attempt::none) return;
  attempt_ = Attempt::none;
  frame_.clear();
  // A copy that was not polled yet must not go out after what it was made for is over.
  outputs_.clear();
  outputs_.emplace_back(DropPrepared{});
}

} // namespace satsuma::call
