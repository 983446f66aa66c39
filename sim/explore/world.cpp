#include "world.h"

#include <algorithm>

#include "base/bug_switches.h"
#include "delivery/group_gate.h"

namespace satsuma::explore {
namespace {

constexpr ErrorCode symbol_invalid{"symbol_invalid", ErrorKind::peer};

/// Before any timer, and after all of them.
constexpr TimePoint at_once{};
constexpr TimePoint much_later{std::chrono::hours(1000)};

IncarnationId id_of(Person who) {
  IncarnationId id;
  id.bytes.fill(who);
  return id;
}
Person person_of(const IncarnationId& id) { return id.bytes[0]; }
template <class Ids>
Set people_in(const Ids& ids) {
  Set set;
  for (const IncarnationId& id : ids) set.add(person_of(id));
  return set;
}

// --- MLS as symbols: a message's bytes are the message --------------------------------------------------------

Bytes key_package_of(Person who) { return {'K', who}; }

Bytes to_bytes(const Message& message) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(&message);
  return Bytes(begin, begin + sizeof message);
}
static_assert(std::has_unique_object_representations_v<Message>);
std::optional<Message> message_from(ByteView bytes) {
  if (bytes.size() != sizeof(Message)) return std::nullopt;
  Message message;
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::uint8_t*>(&message));
  return message;
}

/// It knows no state: that commits continue the present one is the sequencer's compare-and-set alone, as nothing else may be relied on.
class Gate final : public delivery::GroupGate {
 public:
  Result<IncarnationId> identify(ByteView bytes) const override {
    if (bytes.size() != 2 || bytes[0] != 'K') return symbol_invalid;
    return id_of(bytes[1]);
  }
  Result<IncarnationId> check_genesis(ByteView bytes) override {
    const auto message = message_from(bytes);
    if (!message || !message->is_genesis()) return symbol_invalid;
    return id_of(message->who);
  }
  Result<delivery::CommitEffect> check_commit(std::uint64_t, ByteView bytes, ByteView welcome) override {
    const auto message = message_from(bytes);
    if (!message || message->is_genesis() || message->adds.empty() != welcome.empty()) return symbol_invalid;
    delivery::CommitEffect effect;
    effect.committer = id_of(message->who);
    for (const Person who : message->adds) effect.added.push_back({id_of(who), key_package_of(who)});
    for (Person who = 1; who <= most_people; ++who) {
      if (message->removes.has(who)) effect.removed.push_back(id_of(who));
    }
    return effect;
  }
  void accept() override {}
  void discard() override {}
  Bytes successor_state() const override { return {}; }
  Result<void> restore(ByteView) override { return {}; }
};

/// The era of a group that was there from the start is 0; otherwise the code counts its index from 0, the specification from 1.
std::uint64_t code_era(std::uint8_t era) { return era == 0 ? 0 : era - 1u; }

signaling::Commit wire_commit(const Message& message) {
  return {code_era(message.parent.era), message.parent.epoch(), to_bytes(message), message.adds.empty() ? Bytes{} : Bytes{'W'}};
}

} // namespace

std::string to_text(Action action) {
  static constexpr const char* names[] = {"Enter",   "Read",       "Timeout",   "Deliver", "Notice",  "Reconnect",   "GraceEnds",   "Crash",
                                          "Wedge",   "Suspect",    "Disconnect", "Duplicate", "Refresh", "DropOwn", "EarlyWelcome"};
  return std::string(names[static_cast<std::size_t>(action.kind)]) + "(" + std::to_string(action.who) + ")";
}

World::World(const Bounds& bounds) : bounds_(bounds) {
  SATSUMA_CHECK(bounds.people <= most_people && bounds.warm <= bounds.people);
  if (bounds.warm == 0) return;
  signaling::Snapshot room;
  room.has_group = true;
  std::vector<call::Member> roster;
  state_.history.push({1, 0});
  for (Person who = 1; who <= bounds.warm; ++who) {
    room.members.push_back(id_of(who));
    roster.push_back({id_of(who), static_cast<std::uint32_t>(who - 1)});
    state_.tree.push(who);
  }
  auto sequencer = delivery::RoomSequencer::restore({}, 0, delivery::Roster(std::move(room)), {});
  SATSUMA_CHECK(sequencer.has_value());
  sequencer_ = std::move(*sequencer);
  start_ = state_;
  entered_ = bounds.warm;
  for (Person who = 1; who <= bounds.warm; ++who) {
    Session& session = session_[who];
    session.phase = Phase::waiting;
    session.online = true;
    session.held = state_;
    session.committer.emplace(id_of(who));
#ifdef SATSUMA_BUG_SWITCHES // those before it were in when it was let in
    const std::vector<call::Member> then(roster.begin(), roster.begin() + who);
    session.committer->handle_epoch(at_once, 0, 0, id_of(1), then);
#endif
    session.committer->handle_epoch(at_once, 0, 0, id_of(1), roster);
    session.committer->handle_online(at_once, true);
    SATSUMA_CHECK(!session.committer->poll_output());
  }
}

// --- what can happen -------------------------------------------------------------------------------------------

std::vector<Action> World::actions() const {
  std::vector<Action> all;
  all.reserve(24);
  const delivery::Roster& room = sequencer_.roster();
  const bool may_fail = faults_ < bounds_.budget;
  for (Person who = 1; who <= bounds_.people; ++who) {
    const Session& session = session_[who];
    const bool runs = session.phase == Phase::waiting;
    const bool member = runs && session.committer->phase() == call::Committer::Phase::member;
    const bool in_flight = runs && session.committer->attempt() == call::Committer::Attempt::in_flight;
    const auto add = [&](bool possible, Kind kind) {
      if (possible) all.push_back({kind, who, 0});
    };
    add(who == entered_ + 1, Kind::enter);
    add(runs && session.online && session.cursor < sequencer_.head(), Kind::read);
    add(runs && session.committer->next_deadline().has_value(), Kind::timeout);
    add(!uplink_[who].empty(), Kind::deliver);
    const bool stopped = session.phase == Phase::dead || (session.phase == Phase::wedged && !SATSUMA_BUG(socket_heartbeat));
    add(stopped && room.is_live(id_of(who)), Kind::notice);
    add(runs && !session.online, Kind::reconnect);
    add(runs && !session.online && room.is_live(id_of(who)), Kind::grace_ends);
    if (may_fail) {
      add(bounds_.crash && runs, Kind::crash);
      add(bounds_.wedge && runs, Kind::wedge);
      add(bounds_.suspect && runs && session.online && room.is_live(id_of(who)), Kind::suspect);
      add(bounds_.disconnect && runs && session.online, Kind::disconnect);
      add(bounds_.duplicate && !uplink_[who].empty() && propose(uplink_[who].items[0]), Kind::duplicate);
      add(bounds_.refresh && member && !session.committer->refresh_wanted(), Kind::refresh);
    }
    add(SATSUMA_BUG(drop_own) && member && in_flight, Kind::drop_own);
    if (SATSUMA_BUG(welcome_before_acceptance) && runs && !member) {
      for (Person from = 1; from <= bounds_.people; ++from) {
        if (!uplink_[from].empty() && uplink_[from].back().adds.has(who)) all.push_back({Kind::early_welcome, who, from});
      }
    }
  }
  return all;
}

bool World::can(const Action& action) const {
  return std::ranges::any_of(actions(), [&](const Action& one) { return one.kind == action.kind && one.who == action.who; });
}

void World::take(const Action& action) {
  const Person who = action.who;
  Session& session = session_[who];
  switch (action.kind) {
    case Kind::enter: return enter(who);
    case Kind::read: return read_one(who);
    case Kind::timeout:
      session.committer->handle_timeout(much_later);
      return run_committer(who);
    case Kind::deliver: return deliver(who, false);
    case Kind::notice:
    case Kind::grace_ends: return depart(who);
    case Kind::reconnect: return reconnect(who);
    case Kind::drop_own:
      session.committer->handle_timeout(at_once);
      return run_committer(who);
    case Kind::early_welcome: {
      const Message& message = uplink_[action.from].back();
      return adopt(who, message.result(0), code_era(message.parent.era), message.who);
    }
    case Kind::crash:
      ++faults_;
      return stop(who, Phase::dead);
    case Kind::wedge:
      ++faults_;
      return stop(who, Phase::wedged);
    case Kind::suspect:
      ++faults_;
      return depart(who);
    case Kind::disconnect:
      ++faults_;
      session.online = false;
      session.answers.clear();
      session.committer->handle_online(at_once, false);
      return run_committer(who);
    case Kind::duplicate:
      ++faults_;
      return deliver(who, true);
    case Kind::refresh:
      ++faults_;
      session.committer->request_refresh(at_once);
      return run_committer(who);
  }
}

// --- the service -------------------------------------------------------------------------------------------------

void World::append(delivery::Record record) {
  Entry entry;
  const auto& body = record.entry.body;
  const auto index = static_cast<std::uint8_t>(log_.count + 1);
  if (const auto* join = std::get_if<signaling::JoinEntry>(&body)) {
    entry.kind = EntryKind::join;
    entry.who = person_of(join->who);
  } else if (const auto* gone = std::get_if<signaling::GoneEntry>(&body)) {
    entry.kind = EntryKind::gone;
    entry.who = person_of(gone->who);
  } else {
    const auto* genesis = std::get_if<signaling::GenesisEntry>(&body);
    const auto* commit = std::get_if<signaling::CommitEntry>(&body);
    const auto message = message_from(genesis != nullptr ? genesis->group_info : commit->commit);
    SATSUMA_CHECK(message.has_value());
    entry.kind = genesis != nullptr ? EntryKind::genesis : EntryKind::commit;
    entry.who = person_of(genesis != nullptr ? genesis->who : commit->who);
    SATSUMA_CHECK(entry.who == message->who);
    entry.tries = message->tries;
    if (commit != nullptr) {
      for (const IncarnationId& added : record.added) entry.adds.push(person_of(added));
      entry.removes = people_in(record.removed);
    }
    entry.state = message->result(index);
    state_ = entry.state;
  }
  SATSUMA_CHECK(record.entry.index == log_.count);
  log_.push(entry);
  sequencer_.append(std::move(record));
  drop_hopeless();
}

bool World::is_hopeless(const Message& message) const {
  if (SATSUMA_BUG(no_gate) || bounds_.keeps_hopeless) return false;
  const delivery::Roster& room = sequencer_.roster();
  if (message.is_genesis()) return room.is_member(id_of(message.who));
  return code_era(message.parent.era) != room.era() || message.parent.epoch() != room.epoch();
}

void World::drop_hopeless() {
  for (auto& messages : uplink_) {
    if (messages.empty()) continue;
    Few<Message, most_messages> kept;
    for (const Message& message : messages) {
      if (!is_hopeless(message)) kept.push(message);
    }
    messages = kept;
  }
}

std::expected<delivery::Record, delivery::RoomSequencer::Refusal> World::propose(const Message& message) const {
  Gate gate;
  return message.is_genesis() ? sequencer_.propose_genesis(id_of(message.who), to_bytes(message), gate)
                              : sequencer_.propose_commit(id_of(message.who), wire_commit(message), gate);
}

void World::deliver(Person who, bool duplicate) {
  const Message message = uplink_[who].items[0];
  if (!duplicate) uplink_[who].pop_front();
  auto record = propose(message);
  if (record) return append(std::move(*record));
  Session& session = session_[who];
  if (duplicate || session.phase != Phase::waiting || !session.online) return; // the answer reaches nobody
  if (bounds_.keeps_hopeless) {
    session.answers.push_back({log_.count, message, record.error()});
    return handle_answers(who);
  }
  read_all(who);
  if (session.phase == Phase::waiting) handle_refusal(who, message, record.error());
}

void World::handle_answers(Person who) {
  Session& session = session_[who];
  while (session.phase == Phase::waiting && !session.answers.empty() && session.answers.front().position <= session.cursor) {
    const Session::Answer answer = session.answers.front();
    session.answers.erase(session.answers.begin());
    handle_refusal(who, answer.message, answer.reason);
  }
}

void World::handle_refusal(Person who, const Message& message, delivery::RoomSequencer::Refusal reason) {
  // As ClientSession::handle_rejected: an answer to what the log has decided meanwhile says nothing.
  Session& session = session_[who];
  const bool member = session.committer->phase() == call::Committer::Phase::member;
  if (member == message.is_genesis()) return;
  if (member && (session.committer->era() != code_era(message.parent.era) || session.committer->epoch() != message.parent.epoch())) return;
  using Refusal = delivery::RoomSequencer::Refusal;
  session.committer->handle_refused(at_once, reason == Refusal::invalid || reason == Refusal::unasked_add || reason == Refusal::unlogged_remove);
  run_committer(who);
}

void World::depart(Person who) {
  auto record = sequencer_.propose_gone(id_of(who), signaling::GoneCause::connection_lost);
  SATSUMA_CHECK(record.has_value());
  append(std::move(*record));
  trim();
}

void World::trim() {
  if (bounds_.keeps_hopeless) return;
  std::uint64_t lowest = sequencer_.lowest_cursor();
  // Who is gone does not know it yet: what was sent before is still on its way.
  for (Person who = 1; who <= bounds_.people; ++who) {
    if (session_[who].phase == Phase::waiting) lowest = std::min<std::uint64_t>(lowest, session_[who].cursor);
  }
  if (lowest > sequencer_.log_start()) sequencer_.trim(lowest);
}

void World::enter(Person who) {
  auto record = sequencer_.propose_join(id_of(who), key_package_of(who));
  SATSUMA_CHECK(record.has_value());
  const signaling::Snapshot before = sequencer_.roster().snapshot();
  Session& session = session_[who];
  session.joined = log_.count;
  if (bounds_.keeps_hopeless) session.snapshot = before;
  append(std::move(*record));
  entered_ = who;
  begin(who, before);
}

void World::begin_again(Person who) {
  Session& session = session_[who];
  const Session before = std::exchange(session, {});
  session.snapshot = before.snapshot;
  session.joined = before.joined;
  uplink_[who] = {};
  begin(who, *session.snapshot);
}

void World::begin(Person who, const signaling::Snapshot& before) {
  Session& session = session_[who];
  session.phase = Phase::waiting;
  session.cursor = session.joined;
  session.committer.emplace(id_of(who));
  std::vector<call::Committer::Waiting> waiting;
  for (const auto& other : before.waiting) waiting.push_back({other.who, !bounds_.without_admission.has(person_of(other.who))});
  session.committer->handle_snapshot(at_once, before.members, before.gone, waiting);
  read_entry(who);
  session.online = true;
  session.committer->handle_online(at_once, true);
  run_committer(who);
}

// --- a client ------------------------------------------------------------------------------------------------------

void World::stop(Person who, Phase phase) {
  session_[who] = {};
  session_[who].phase = phase;
}

void World::read_one(Person who) {
  read_entry(who);
  run_committer(who);
  handle_answers(who);
}
void World::read_all(Person who) {
  while (session_[who].phase == Phase::waiting && session_[who].cursor < sequencer_.head()) read_one(who);
}

void World::reconnect(Person who) {
  Session& session = session_[who];
  uplink_[who] = {};
  read_all(who);
  if (session.phase != Phase::waiting) return;
  session.online = true;
  session.committer->handle_online(at_once, true);
  run_committer(who);
}

void World::read_entry(Person who) {
  Session& session = session_[who];
  const signaling::Entry entry = sequencer_.record(session.cursor).entry;
  call::Committer& committer = *session.committer;
  ++session.cursor;
  const bool member = committer.phase() == call::Committer::Phase::member;
  if (const auto* join = std::get_if<signaling::JoinEntry>(&entry.body)) {
    committer.handle_join(at_once, join->who, !bounds_.without_admission.has(person_of(join->who)));
  } else if (const auto* gone = std::get_if<signaling::GoneEntry>(&entry.body)) {
    if (gone->who == id_of(who) && !SATSUMA_BUG(stays_after_removal)) return stop(who, Phase::out);
    committer.handle_gone(at_once, gone->who);
  } else if (const auto* genesis = std::get_if<signaling::GenesisEntry>(&entry.body)) {
    if (member) return stop(who, Phase::broken);
    if (genesis->who == id_of(who)) {
      if (session.pending.who == 0 || to_bytes(session.pending) != genesis->group_info) return stop(who, Phase::broken);
      session.held = session.pending.result(static_cast<std::uint8_t>(entry.index + 1));
      session.pending = {};
    }
    committer.handle_genesis(at_once, entry.index, genesis->who);
  } else {
    read_commit(who, entry.index, std::get<signaling::CommitEntry>(entry.body));
  }
  if (session.phase == Phase::waiting && sequencer_.cursor(id_of(who))) {
    sequencer_.acknowledge(id_of(who), session.cursor);
    trim();
  }
}

void World::read_commit(Person who, std::uint64_t index, const signaling::CommitEntry& entry) {
  Session& session = session_[who];
  call::Committer& committer = *session.committer;
  const auto message = message_from(entry.commit);
  SATSUMA_CHECK(message.has_value());
  const State result = message->result(static_cast<std::uint8_t>(index + 1));
  if (committer.phase() != call::Committer::Phase::member) {
    if (message->adds.has(who)) return adopt(who, result, entry.era, message->who);
    std::vector<IncarnationId> adds;
    for (const Person added : message->adds) adds.push_back(id_of(added));
    return committer.handle_foreign_commit(at_once, adds);
  }
  // Who adopted something before its acceptance has been there already, or is somewhere else.
  if ((SATSUMA_BUG(merge_at_send) || SATSUMA_BUG(welcome_before_acceptance)) && result.history.count <= session.held.history.count) {
    if (!std::equal(result.history.begin(), result.history.end(), session.held.history.begin())) stop(who, Phase::broken);
    return;
  }
  // As ClientSession::handle_commit_as_member and check_policy; that it continues the state we hold is what MLS itself checks.
  bool fits = entry.era == code_era(session.held.era) && entry.epoch == session.held.epoch() && message->parent == session.held;
  fits = fits && session.held.tree.has(message->who) && !committer.is_gone(id_of(message->who));
  for (const Person added : message->adds) fits = fits && committer.is_waiting(id_of(added));
  for (Person removed = 1; removed <= most_people; ++removed) {
    if (message->removes.has(removed)) fits = fits && committer.is_gone(id_of(removed));
  }
  fits = fits && (!message->removes.has(who) || SATSUMA_BUG(stays_after_removal));
  if (message->who == who) fits = fits && session.pending == *message;
  if (!fits) return stop(who, Phase::broken);
  adopt(who, result, entry.era, message->who);
}

void World::adopt(Person who, const State& state, std::uint64_t era, Person committer) {
  Session& session = session_[who];
  if (committer == who) session.pending = {};
  session.held = state;
  std::vector<call::Member> roster;
  for (std::size_t leaf = 0; leaf < state.tree.count; ++leaf) {
    if (state.tree.items[leaf] != 0) roster.push_back({id_of(state.tree.items[leaf]), static_cast<std::uint32_t>(leaf)});
  }
  session.committer->handle_epoch(at_once, era, state.epoch(), id_of(committer), std::move(roster));
  run_committer(who);
}

void World::send(Person who, Message message) {
  if (!is_hopeless(message)) uplink_[who].push(message);
}

void World::run_committer(Person who) {
  Session& session = session_[who];
  if (session.phase != Phase::waiting) return;
  call::Committer& committer = *session.committer;
  while (auto output = committer.poll_output()) {
    if (const auto* request = std::get_if<call::MakeCommit>(&*output)) {
      SATSUMA_CHECK(request->era == code_era(session.held.era) && request->epoch == session.held.epoch());
      Message message{who, ++session.made, session.held, {}, people_in(request->removes)};
      for (const IncarnationId& added : request->adds) message.adds.push(person_of(added));
      session.pending = message;
      committer.handle_prepared(at_once, to_bytes(message));
      if (SATSUMA_BUG(merge_at_send)) adopt(who, message.result(0), code_era(message.parent.era), who);
    } else if (std::holds_alternative<call::MakeGenesis>(*output)) {
      session.pending = {who, ++session.made, {}, {}, {}};
      committer.handle_prepared(at_once, to_bytes(session.pending));
    } else if (const auto* prepared = std::get_if<call::SendPrepared>(&*output)) {
      const auto message = message_from(prepared->frame);
      SATSUMA_CHECK(message.has_value());
      send(who, *message);
    } else {
      session.pending = {};
    }
  }
}

// --- what it is in the specification's terms -------------------------------------------------------------------------

Abstract World::abstract() const {
  Abstract abstract;
  const delivery::Roster& room = sequencer_.roster();
  abstract.people = bounds_.people;
  abstract.start = start_;
  abstract.log = log_;
  abstract.state = state_;
  abstract.members = people_in(room.members());
  abstract.gone = people_in(room.snapshot().gone);
  for (const auto& waiting : room.snapshot().waiting) abstract.waiting.push(person_of(waiting.who));
  abstract.uplink = uplink_;
  abstract.entered = entered_;
  abstract.faults = faults_;
  abstract.without_admission = bounds_.without_admission;
  for (Person who = 1; who <= bounds_.people; ++who) {
    const Session& session = session_[who];
    Client& client = abstract.client[who];
    client.phase = session.phase;
    if (session.phase != Phase::waiting) continue;
    const call::Committer& committer = *session.committer;
    const bool member = committer.phase() == call::Committer::Phase::member;
    if (member) client.phase = Phase::member;
    client.online = session.online;
    client.cursor = session.cursor;
    client.held = session.held;
    client.live = people_in(committer.live_while_waiting());
    client.gone = people_in(committer.gone());
    for (const auto& waiting : committer.waiting()) client.waiting.push(person_of(waiting.who));
    // The committer's attempt and the secrets that the session keeps for it are there together.
    if (committer.attempt() == call::Committer::Attempt::in_flight) client.attempt = session.pending;
    client.made = session.made;
    client.refusals = static_cast<std::uint8_t>(committer.refusals());
    client.refresh = committer.refresh_wanted();
  }
  return abstract;
}

std::string World::inner_state() const {
  // Times aside: each of them is one of two here, and the committer's other members say which.
  std::string text;
  for (Person who = 1; who <= bounds_.people; ++who) {
    const Session& session = session_[who];
    if (session.phase != Phase::waiting) continue;
    const call::Committer& committer = *session.committer;
    text += std::to_string(who) + (committer.next_deadline() ? " due " + std::to_string(committer.next_deadline()->time_since_epoch().count()) : " idle");
    text += " era " + std::to_string(committer.era()) + " epoch " + std::to_string(committer.epoch());
    const auto rank = committer.rank();
    text += " rank " + (rank ? std::to_string(*rank) : "none") + " pending " + to_text(session.pending) + " roster";
    for (const call::Member& member : committer.roster()) text += " " + std::to_string(member.leaf) + ":" + std::to_string(person_of(member.who));
    text += "; ";
  }
  const delivery::Roster& room = sequencer_.roster();
  return text + "room " + std::to_string(room.era()) + " " + std::to_string(room.epoch());
}

} // namespace satsuma::explore
