#pragma once

#include <map>
#include <set>
#include <tuple>

#include "sim/world.h"

namespace satsuma::sim {

/// Watches an honest world and fails it at the first step that breaks a safety property. The names are those of spec/README.md:
///   S1  one accepted commit for each epoch, the epochs without gaps
///   S2  a new era only where no live member was
///   S3  equal (era, epoch) means equal authenticator and roster, and the log knows the epoch
///   S4  nobody holds a state that it is not in
///   S5  an incarnation that was gone never joins, and never becomes a member
///   S6  what one's own accepted commit led to is held: no session says that it cannot process the log (S9 too)
///   S7  no commit after its sender's departure
///   S8  only those are added who asked and did not leave, only those removed who left
///   S10 a departure is passed over by at most one commit, a join by at most one beyond those that were full
class Oracle final : public Observer {
 public:
  explicit Oracle(World& world) : world_(world) { world.set_observer(this); }

  void on_entry(std::uint64_t life, const delivery::Record& record, const delivery::Roster& after) override;
  void on_event(const Person& person, const call::SessionOutput& event) override;

  std::uint64_t commits() const { return commits_; }
  std::uint64_t eras() const { return eras_; }
  std::uint64_t rejoins() const { return rejoins_; }
  std::uint64_t departures() const { return departures_; }

 private:
  using EpochName = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>; ///< life, era, epoch
  struct Epoch {
    std::set<IncarnationId> members; ///< as the server follows them
    std::optional<Bytes> authenticator;
    std::vector<call::RosterEntry> roster;
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
  bool is_admissible(const IncarnationId& who) const;

  World& world_;
  std::map<std::uint64_t, Life> lives_;
  std::set<IncarnationId> gone_;
  std::set<IncarnationId> joined_;
  std::map<EpochName, Epoch> history_;
  std::map<std::size_t, Held> held_; ///< by person
  std::uint64_t commits_ = 0;
  std::uint64_t eras_ = 0;
  std::uint64_t rejoins_ = 0;
  std::uint64_t departures_ = 0;
};

} // namespace satsuma::sim
