#pragma once

#include <map>
#include <set>
#include <tuple>

#include "sim/world.h"

namespace satsuma::sim {

/// Watches an honest world and fails it at the first step that breaks one of the specification's safety properties (spec/README.md, by their
/// names). What they say here, where MLS is real and a commit has limits:
///   OneCommitForEachEpoch  the epochs are without gaps, too
///   Agreement              equal (era, epoch) means equal authenticator and roster
///   HeldIsLogged           the log knows the epoch, and it follows the one before
///   OwnIsHeld, NobodyBreaks   no session begins anew for another reason than its departure, whether the commit that did it was its own or not
///   BoundedOvertaking      a departure is passed over by at most one commit, a join by at most one beyond those that were full
class Oracle final : public Observer {
 public:
  explicit Oracle(World& world) : world_(world) { world.set_observer(this); }

  void on_entry(std::uint64_t life, const delivery::Record& record, const delivery::Roster& after) override;
  void on_event(const Person& person, const call::SessionOutput& event) override;
  void on_sent(const Person& person, ByteView frame) override;
  void on_received(const Person& person, ByteView frame) override;

  std::uint64_t commits() const { return commits_; }
  std::uint64_t eras() const { return eras_; }
  std::uint64_t rejoins() const { return rejoins_; }
  std::uint64_t departures() const { return departures_; }

 private:
  using EpochName = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>; ///< life, era, epoch
  /// What somebody holds.
  struct State {
    Bytes authenticator;
    std::vector<call::RosterEntry> roster;
    std::optional<std::uint32_t> designated;
  };
  /// A commit, or with zeros a genesis, that its maker has had no answer to.
  struct Attempt {
    IncarnationId who;
    std::uint64_t era = 0;
    std::uint64_t epoch = 0;
    Bytes frame;
  };
  struct Pending {
    std::uint32_t passed_over = 0;
    std::uint32_t full = 0; ///< of these, commits that could hold no more
  };
  struct Life {
    std::optional<std::pair<std::uint64_t, std::uint64_t>> present; ///< era, epoch
    std::set<IncarnationId> members;
    std::map<IncarnationId, Pending> waiting;
    std::map<IncarnationId, Pending> leaving; ///< members that are gone
  };
  struct Held {
    EpochName epoch{};
    IncarnationId who;
  };

  void enter(const Person& person, const call::EpochEvent& event);
  bool see_device(const std::string& where, const call::RosterEntry& member);
  bool is_admissible(const IncarnationId& who) const;

  World& world_;
  std::map<std::uint64_t, Life> lives_;
  std::set<IncarnationId> gone_;
  std::set<IncarnationId> joined_;
  std::map<EpochName, std::set<IncarnationId>> history_; ///< the members, as the log says
  std::map<EpochName, State> states_;
  std::map<IncarnationId, std::array<std::uint8_t, call::device_key_size>> devices_; ///< of those that somebody has checked
  std::map<std::size_t, Attempt> attempts_; ///< by person
  Bytes handling_;                          ///< the frame that a session had last
  std::map<std::size_t, Held> held_; ///< by person
  std::uint64_t commits_ = 0;
  std::uint64_t eras_ = 0;
  std::uint64_t rejoins_ = 0;
  std::uint64_t departures_ = 0;
};

} // namespace satsuma::sim
