#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <variant>
#include <vector>

#include "base/bug_switches.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/time.h"

namespace satsuma::call {

/// A leaf of the group's tree and who sits on it.
struct Member {
  IncarnationId who;
  std::uint32_t leaf = 0;
  friend auto operator<=>(const Member&, const Member&) = default;
};

struct CommitterOptions {
  /// T: a member of rank r commits r * T after the need arose, if it still stands. Contention costs one refused
  /// commit, a crashed committer costs T, so T is a few round trips.
  Duration rank_delay = std::chrono::milliseconds(500);
  /// From the beginning of an epoch until a commit that lets somebody in: those who come in the meantime come in together. When 200 enter
  /// within a second that is a handful of commits instead of one for each round trip. Who comes alone does not wait, nor does a removal.
  Duration gather = std::chrono::milliseconds(250);
  /// When so many wait, a crowd is coming, and what it costs all of them together grows with the number of commits: it is let in when nobody
  /// has come for `crowd_pause`, or when the first of them has waited for `crowd_gather`.
  std::size_t crowd = 16;
  Duration crowd_pause = std::chrono::milliseconds(100);
  Duration crowd_gather = std::chrono::seconds(2);
  /// Adds in one commit: a whole room. A commit and its Welcome share one frame of the delivery protocol, and 200 take 160 KiB in the
  /// default suite; where they do not fit, half as many are tried (handle_prepare_failed).
  std::size_t max_adds = 256;
  friend bool operator==(const CommitterOptions&, const CommitterOptions&) = default;
};

// --- what the committer asks for -----------------------------------------------------------------------------

/// Make one commit with these proposals by value, and do not merge it. Answer with handle_prepared or
/// handle_prepare_failed. Both lists empty: a refresh of one's own leaf.
struct MakeCommit {
  std::uint64_t era = 0;
  std::uint64_t epoch = 0; ///< in which it is made
  std::vector<IncarnationId> adds;
  std::vector<IncarnationId> removes;
  friend bool operator==(const MakeCommit&, const MakeCommit&) = default;
};
/// Make a group with oneself as the only member, and do not use it yet. Answered like MakeCommit.
struct MakeGenesis {
  friend bool operator==(const MakeGenesis&, const MakeGenesis&) = default;
};
/// Send these bytes, which were given to handle_prepared; the same ones each time.
struct SendPrepared {
  Bytes frame;
  friend bool operator==(const SendPrepared&, const SendPrepared&) = default;
};
/// What was prepared will never be in the log: forget its secrets.
struct DropPrepared {
  friend bool operator==(const DropPrepared&, const DropPrepared&) = default;
};
using CommitterOutput = std::variant<MakeCommit, MakeGenesis, SendPrepared, DropPrepared>;

/// The designated committer (docs/architecture.md): decides who commits what, and when. A pure state machine without
/// MLS, which stands behind the outputs above, so that an explorer can drive it through every interleaving.
///
/// "The committer is for efficiency, compare-and-set is for safety": the delivery service accepts one commit for each
/// epoch, whoever made it. What matters here:
/// - The designated committer is computed from the roster and the departures at this point of the log, never remembered.
///   "Oldest" means the lowest leaf index. Leaves are reused, so this is not the order of admission; but it is the only order that
///   someone who just joined knows from the tree alone, which all members have authenticated alike. Only
///   liveness hangs on it.
/// - It commits everything that is pending, adds and removes, at once. A member of rank r does so after r * T.
/// - One commit for each epoch. It is kept, and resent byte for byte, until the log decides: it may have been accepted although the
///   connection broke. Only a refusal by the delivery service that can never turn into an acceptance frees us earlier.
/// - Whoever waits in a room without a live member starts an era by the same rule, ranked by the order of the joins in the log.
///   Another's genesis does not decide about ours: if all members of that era leave at once, ours arrives in an empty room again and is
///   accepted. So it is kept until the service has answered it, or a commit lets us in.
///
/// States:   waiting --own genesis, or a commit that welcomes us--> member.  There is no way back: a new incarnation begins anew.
/// Attempts: none --MakeX--> preparing --handle_prepared--> in_flight --the log, or a final refusal--> none.
class Committer {
 public:
  enum class Phase : std::uint8_t { waiting, member };
  enum class Attempt : std::uint8_t { none, preparing, in_flight };

  /// Of those in the snapshot and the log that matter. Hitting it is an error of the session, which then starts afresh.
  static constexpr std::size_t max_people = 4096;

  struct Waiting {
    IncarnationId who;
    bool admissible = false; ///< its key package and its proof of admission hold
    friend bool operator==(const Waiting&, const Waiting&) = default;
  };

  Committer(IncarnationId self, CommitterOptions options = {}) : self_(self), options_(options) {}

  // Inputs. All of them change state, none fails; poll_output afterwards.

  /// The room before our own join entry (docs/protocol.md, Snapshot).
  void handle_snapshot(TimePoint now, std::span<const IncarnationId> members, std::span<const IncarnationId> gone,
                       std::span<const Waiting> waiting);
  /// Entries of the log, in order. Our own join comes this way too.
  void handle_join(TimePoint now, IncarnationId who, bool admissible);
  void handle_gone(TimePoint now, IncarnationId who);
  /// Somebody reported that a commit of this member does not work. It is the last to be the designated committer from now on, in this era.
  void handle_suspicion(TimePoint now, IncarnationId committer);
  /// A new era; if it is ours, the session has taken the prepared group into use.
  void handle_genesis(TimePoint now, std::uint64_t era, IncarnationId who);
  /// A commit that was processed (or that welcomed us), with the roster that it led to. `epoch` is the new one.
  void handle_epoch(TimePoint now, std::uint64_t era, std::uint64_t epoch, IncarnationId committer,
                    std::vector<Member> roster);
  /// A commit that we could only look at, since we are not in the group.
  void handle_foreign_commit(TimePoint now, std::span<const IncarnationId> adds);

  /// The connection is there and everything that was in the log at that time has been handled; or is not.
  void handle_online(TimePoint now, bool online);
  /// The answer to MakeCommit or MakeGenesis: the bytes to send until the log decides.
  void handle_prepared(TimePoint now, Bytes frame);
  /// It could not be made. With several adds, fewer are tried; a single one is passed over from now on.
  /// Returns false when nothing was left to leave out: the session itself is broken.
  [[nodiscard]] bool handle_prepare_failed(TimePoint now);
  /// Not made, since these cannot be added at all: they are passed over from now on.
  void handle_inadmissible(TimePoint now, std::span<const IncarnationId> who);
  /// The delivery service refused what we made in this epoch (docs/protocol.md, rejected).
  /// `final`: these bytes can never be accepted later. A refused genesis is settled in any case: one copy goes over each
  /// connection, and what an older connection carried counts no more.
  void handle_refused(TimePoint now, bool final_refusal);
  /// Renew our own leaf when nothing else is to be done. Stands until a commit of ours is accepted.
  void request_refresh(TimePoint now);
  void handle_timeout(TimePoint now);

  std::optional<CommitterOutput> poll_output();
  std::optional<TimePoint> next_deadline() const;

  // What the log says at this point.
  Phase phase() const { return phase_; }
  Attempt attempt() const { return attempt_; }
  std::uint64_t era() const { return era_; }
  std::uint64_t epoch() const { return epoch_; }
  const std::vector<Member>& roster() const { return roster_; }
  const std::vector<Waiting>& waiting() const { return waiting_; }
  bool is_waiting(IncarnationId who) const;
  /// Departures that concern the roster; while waiting, of anyone who was in it.
  const std::set<IncarnationId>& gone() const { return gone_; }
  /// While waiting: the members that are not gone.
  const std::set<IncarnationId>& live_while_waiting() const { return live_; }
  bool refresh_wanted() const { return refresh_wanted_; }
  bool is_gone(IncarnationId who) const { return gone_.contains(who); }
  bool has_live_member() const;
  /// Others that wait with a valid proof of admission, ourselves left out.
  bool others_wait() const;
  /// Since when something has been pending that a commit would settle, in this epoch; nothing when there is none.
  std::optional<TimePoint> needed_since() const { return needed_since_; }
  /// The oldest member that is not gone, of those whom nobody suspects if there are any; nullopt when there is none or we are not in the group.
  std::optional<Member> designated() const;
  /// The place among the live members, or among those who wait when no live member exists.
  std::optional<std::size_t> rank() const;
  /// Final refusals in this epoch: many of them mean that we and the service do not see the same room.
  std::uint32_t refusals() const { return refusals_; }
  /// More people than max_people.
  bool overflowed() const { return overflowed_; }

  friend bool operator==(const Committer&, const Committer&) = default;

 private:
  void consider(TimePoint now);
  void act(TimePoint now);
  void begin_epoch();
  void forget_delays();
  void forget_attempt();
  bool wants_change() const;
  bool comes_before(const Member& one, const Member& other) const;
  TimePoint gathered() const; ///< needed_since_ is set
  std::optional<TimePoint> find_due() const;
  MakeCommit everything_pending() const;

  IncarnationId self_;
  CommitterOptions options_;
  Phase phase_ = Phase::waiting;
  bool online_ = false;
  bool overflowed_ = false;

  std::uint64_t era_ = 0;
  std::uint64_t epoch_ = 0;
  std::vector<Member> roster_;         ///< by leaf; empty while waiting
  std::set<IncarnationId> live_;       ///< while waiting: members that are not gone, as far as the log shows
  std::set<IncarnationId> gone_;       ///< departures that concern the roster (while waiting: anyone who was in it)
  std::vector<Waiting> waiting_;       ///< in the order of the log
  std::set<IncarnationId> suspected_;  ///< members whose commits somebody could not follow
  bool refresh_wanted_ = false;

  Attempt attempt_ = Attempt::none;
  MakeCommit asked_;                   ///< what the attempt holds; meaningless for a genesis
  Bytes frame_;
  std::size_t adds_limit_ = 0;         ///< 0: options_.max_adds
  std::uint32_t refusals_ = 0;         ///< in this epoch
  std::optional<TimePoint> needed_since_;
  std::optional<TimePoint> gather_until_;
  TimePoint last_join_{};
  std::optional<TimePoint> not_before_; ///< after a refusal
  std::optional<TimePoint> due_;        ///< when it is our turn, unless something changes
  std::deque<CommitterOutput> outputs_;
#ifdef SATSUMA_BUG_SWITCHES
  std::set<IncarnationId> first_; ///< the others that were in when we were let in, and have not left since
#endif
};

} // namespace satsuma::call
