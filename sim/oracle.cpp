#include "sim/oracle.h"

#include <algorithm>

namespace satsuma::sim {

namespace {

std::string tag(const IncarnationId& who) { return who.hex().substr(0, 8); }

} // namespace

void Oracle::on_entry(std::uint64_t life_number, const delivery::Record& record, const delivery::Roster& after) {
  Life& life = lives_[life_number];
  if (const auto* join = std::get_if<signaling::JoinEntry>(&record.entry.body)) {
    if (gone_.contains(join->who)) world_.fail("NobodyComesBack: " + tag(join->who) + " was gone and joins again");
    if (!joined_.insert(join->who).second) world_.fail("NobodyComesBack: " + tag(join->who) + " joins twice");
    life.waiting.emplace(join->who, Pending{});
  } else if (const auto* gone = std::get_if<signaling::GoneEntry>(&record.entry.body)) {
    ++departures_;
    if (!gone_.insert(gone->who).second) world_.fail("NobodyComesBack: " + tag(gone->who) + " is gone twice");
    life.waiting.erase(gone->who);
    if (life.members.contains(gone->who)) life.leaving.emplace(gone->who, Pending{});
  } else if (const auto* genesis = std::get_if<signaling::GenesisEntry>(&record.entry.body)) {
    ++eras_;
    for (const IncarnationId& member : life.members) {
      if (!gone_.contains(member)) world_.fail("OneChain: an era begins while " + tag(member) + " is a live member");
    }
    if (!life.waiting.contains(genesis->who)) world_.fail("OnlyWhatWasAsked: " + tag(genesis->who) + " begins an era without having joined");
    life.present = {record.entry.index, 0};
    life.members = {genesis->who};
    life.leaving.clear();
    life.waiting.erase(genesis->who);
    for (auto& [who, pending] : life.waiting) pending = {};
    history_[{life_number, record.entry.index, 0}] = life.members;
  } else {
    const auto& commit = std::get<signaling::CommitEntry>(record.entry.body);
    ++commits_;
    if (!life.present || life.present->first != commit.era || life.present->second != commit.epoch) {
      world_.fail("OneCommitForEachEpoch: a commit for era " + std::to_string(commit.era) + " epoch " + std::to_string(commit.epoch) + " was accepted, which is not the present one");
      return;
    }
    if (gone_.contains(commit.who)) world_.fail("NoCommitFromTheGone: a commit of " + tag(commit.who) + ", who was gone, was accepted");
    if (!life.members.contains(commit.who)) world_.fail("OnlyWhatWasAsked: a commit of " + tag(commit.who) + ", who is no member, was accepted");
    for (const IncarnationId& who : record.added) {
      if (!life.waiting.contains(who)) world_.fail("OnlyWhatWasAsked: " + tag(who) + " was added without having asked");
      if (gone_.contains(who)) world_.fail("NobodyComesBack: " + tag(who) + " was gone and is a member again");
      life.waiting.erase(who);
      life.members.insert(who);
    }
    for (const IncarnationId& who : record.removed) {
      if (!life.leaving.contains(who)) world_.fail("OnlyWhatWasAsked: " + tag(who) + " was removed without having left");
      life.leaving.erase(who);
      life.members.erase(who);
    }
    const bool full = record.added.size() >= world_.options().session.committer.max_adds;
    for (auto& [who, pending] : life.leaving) {
      if (++pending.passed_over > 1) world_.fail("BoundedOvertaking: the departure of " + tag(who) + " was passed over twice");
    }
    for (auto& [who, pending] : life.waiting) {
      ++pending.passed_over;
      if (full) ++pending.full;
      if (pending.passed_over - pending.full > 1 && is_admissible(who)) world_.fail("BoundedOvertaking: the join of " + tag(who) + " was passed over twice");
    }
    ++life.present->second;
    history_[{life_number, commit.era, commit.epoch + 1}] = life.members;
  }
  std::set<IncarnationId> members(after.members().begin(), after.members().end());
  if (members != life.members) world_.fail("the server's roster is not what its log says");
}

bool Oracle::is_admissible(const IncarnationId& who) const {
  for (const auto& person : world_.people()) {
    if (person->session->incarnation() == who) return person->admissible;
  }
  return false;
}

void Oracle::on_event(const Person& person, const call::SessionOutput& event) {
  if (const auto* epoch = std::get_if<call::EpochEvent>(&event)) return enter(person, *epoch);
  if (const auto* devices = std::get_if<call::DevicesEvent>(&event)) {
    for (const call::RosterEntry& member : devices->checked) {
      if (member.profile.proof == call::DeviceProof::pending) return world_.fail("Devices: " + person.name + " says of " + tag(member.who) + " that it is checked, and it is not");
      if (!see_device(person.name, member)) return;
    }
  }
  if (const auto* rejoining = std::get_if<call::RejoiningEvent>(&event)) {
    ++rejoins_;
    held_.erase(person.number);
    if (rejoining->reason != call::RejoinReason::gone) {
      const auto message = signaling::parse_server_message(handling_);
      const auto* entry = message ? std::get_if<signaling::Entry>(&*message) : nullptr;
      const auto* commit = entry == nullptr ? nullptr : std::get_if<signaling::CommitEntry>(&entry->body);
      const auto* genesis = entry == nullptr ? nullptr : std::get_if<signaling::GenesisEntry>(&entry->body);
      const auto attempt = attempts_.find(person.number);
      const bool own = attempt != attempts_.end() && ((commit != nullptr && commit->who == attempt->second.who) || (genesis != nullptr && genesis->who == attempt->second.who));
      world_.fail((own ? "OwnIsHeld: " : "NobodyBreaks: ") + person.name + " begins anew for reason " + std::to_string(static_cast<int>(rejoining->reason)));
    }
  }
  if (const auto* error = std::get_if<call::ErrorEvent>(&event); error != nullptr && error->fatal) {
    world_.fail("NobodyBreaks: " + person.name + " gave up: " + error->text);
  }
}

void Oracle::on_sent(const Person& person, ByteView frame) {
  const auto message = signaling::parse_client_message(frame);
  if (!message || (!std::holds_alternative<signaling::Commit>(*message) && !std::holds_alternative<signaling::Genesis>(*message))) return;
  const auto* commit = std::get_if<signaling::Commit>(&*message);
  Attempt attempt{person.session->incarnation(), commit == nullptr ? 0 : commit->era, commit == nullptr ? 0 : commit->epoch, to_bytes(frame)};
  Attempt& last = attempts_[person.number];
  const bool same_place = last.who == attempt.who && last.era == attempt.era && last.epoch == attempt.epoch;
  if (same_place && !last.frame.empty() && last.frame != attempt.frame) {
    world_.fail("OneAttempt: " + person.name + " makes two messages for era " + std::to_string(attempt.era) + " epoch " + std::to_string(attempt.epoch));
  }
  last = std::move(attempt);
}

void Oracle::on_received(const Person& person, ByteView frame) {
  handling_ = to_bytes(frame);
  const auto attempt = attempts_.find(person.number);
  if (attempt == attempts_.end()) return;
  const auto message = signaling::parse_server_message(frame);
  const auto* rejected = message ? std::get_if<signaling::Rejected>(&*message) : nullptr;
  if (rejected != nullptr && rejected->era == attempt->second.era && rejected->epoch == attempt->second.epoch) attempt->second.frame.clear();
}

// False: it failed.
bool Oracle::see_device(const std::string& where, const call::RosterEntry& member) {
  const call::Profile& profile = member.profile;
  if (profile.proof == call::DeviceProof::refuted) {
    world_.fail("Agreement: " + where + " takes the device of " + tag(member.who) + " for another's");
    return false;
  }
  if (profile.proof == call::DeviceProof::proven && devices_.try_emplace(member.who, profile.device_key).first->second != profile.device_key) {
    world_.fail("Agreement: " + where + " knows another device of " + tag(member.who) + " than others do");
    return false;
  }
  return true;
}

void Oracle::enter(const Person& person, const call::EpochEvent& event) {
  const IncarnationId who = person.session->incarnation();
  const EpochName name{person.life, event.era, event.epoch};
  const std::string where = person.name + " in era " + std::to_string(event.era) + " epoch " + std::to_string(event.epoch);
  // How far each has come with the devices is its own affair; what it found is not.
  std::vector<call::RosterEntry> roster = event.roster;
  for (call::RosterEntry& member : roster) {
    if (!see_device(where, member)) return;
    member.profile.device_key = {};
    member.profile.proof = call::DeviceProof::pending;
  }
  const auto [known, first] = states_.try_emplace(name, State{event.safety_number.bits, roster, event.designated});
  const State& state = known->second;
  if (!first && state.authenticator != event.safety_number.bits) return world_.fail("Agreement: " + where + " has another authenticator than others in that epoch");
  if (!first && state.roster != roster) return world_.fail("Agreement: " + where + " has another tree than others in that epoch");
  if (!first && state.designated != event.designated) return world_.fail("OneDesignated: " + where + " takes somebody else for the committer than others do");
  const auto logged = history_.find(name);
  if (logged == history_.end()) return world_.fail("HeldIsLogged: " + where + " is in an epoch that the log does not know");
  if (!logged->second.contains(who)) return world_.fail("OnlyInsiders: " + where + " holds a state that it is not in");
  std::set<IncarnationId> members;
  for (const call::RosterEntry& entry : event.roster) members.insert(entry.who);
  if (members != logged->second) return world_.fail("HeldIsLogged: " + where + " sees another roster than the log gives");
  const auto before = held_.find(person.number);
  if (before != held_.end() && before->second.who == who) {
    auto expected = before->second.epoch;
    ++std::get<2>(expected);
    if (name != expected) world_.fail("HeldIsLogged: " + where + " did not go on from the epoch before");
  }
  held_[person.number] = {name, who};
}

} // namespace satsuma::sim
