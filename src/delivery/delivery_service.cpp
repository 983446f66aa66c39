#include "delivery/delivery_service.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/bug_switches.h"
#include "base/secret.h"
#include "crypto/hash.h"

namespace satsuma::delivery {

using signaling::ErrorReason;
using signaling::GoneCause;

namespace {

ResumeKeyHash hash_of(const SecretArray<16>& resume_key) {
  ResumeKeyHash digest{};
  crypto::hash_into(crypto::HashAlgorithm::sha256, {resume_key.view()}, digest);
  return digest;
}

} // namespace

/// Someone alive: waiting or member.
struct DeliveryService::Participant {
  IncarnationId who;
  ResumeKeyHash resume_key_hash{};
  std::uint64_t join_index = 0;
  std::optional<ConnectionId> connection;
  std::uint64_t sent = 0; ///< entries below went to the present connection
  TimePoint since{};      ///< connected: the engine's last sign; else: when the connection was lost
  Duration grace{};
  /// Commits that admit and remove nobody; honest members make one in ten minutes, and each changes the safety number. A new connection brings no more of them.
  TokenBucket renewals{1, 10};
  std::optional<TimePoint> armed;
};

struct DeliveryService::Room {
  std::string name;
  RoomSequencer sequencer;
  std::unique_ptr<GroupGate> gate;
  std::map<IncarnationId, Participant> participants; ///< exactly those that are live in the sequencer's roster
  std::deque<IncarnationId> departed;                ///< oldest first
  std::map<IncarnationId, std::size_t> reports;      ///< of each member's commits, in this era
  std::optional<TimePoint> armed;
  std::uint64_t quiet_head = 0; ///< of the log, since quiet_since
  TimePoint quiet_since{};
  TokenBucket joins;
  TokenBucket relayed;

  explicit Room(const DeliveryOptions& options)
      : sequencer(options.room),
        joins(options.joins_per_second, options.join_burst),
        relayed(options.relay_bytes_per_second, options.relay_burst) {}
  bool has_departed(const IncarnationId& who) const { return std::ranges::find(departed, who) != departed.end(); }
};

struct DeliveryService::Connection {
  // One participant's honest peak: an acknowledgement for each of a few hundred entries at once, a commit for each join.
  TokenBucket frames{200, 1'000};
  TokenBucket handshakes{50, 100};
  TokenBucket handshake_bytes{128 * 1024, 1024 * 1024};
  TokenBucket application_bytes{64 * 1024, 256 * 1024};
  std::string room; ///< empty before the hello
  IncarnationId who;
  std::optional<TimePoint> armed;
};

DeliveryService::DeliveryService(DeliveryOptions options, Store& store, GroupGateFactory& gates)
    : options_(options), store_(store), gates_(gates), new_rooms_(options.new_rooms_per_second, options.new_room_burst) {}
DeliveryService::~DeliveryService() = default;

Result<void> DeliveryService::load(TimePoint now) {
  SATSUMA_TRY(const auto names, store_.rooms());
  for (const auto& name : names) {
    if (rooms_.size() >= options_.max_rooms) break; // the rest is loaded when somebody comes
    if (!load_room(now, name)) ++statistics_.store_failures;
  }
  return {};
}

// ---- what happens

void DeliveryService::handle_connected(TimePoint now, ConnectionId id) {
  if (connections_.contains(id)) return;
  const bool full = connections_.size() >= options_.max_connections;
  auto& connection = *connections_.emplace(id, std::make_unique<Connection>()).first->second;
  if (full) return fail(now, id, ErrorReason::full, "The server is full. Try again later.");
  arm({Timer::Kind::hello, id, {}, {}}, connection.armed, now + options_.hello_timeout);
}

void DeliveryService::handle_disconnected(TimePoint now, ConnectionId id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const std::string name = found->second->room;
  const IncarnationId who = found->second->who;
  drop_connection(id);
  Room* room = find_room(name);
  if (room == nullptr) return;
  const auto participant = room->participants.find(who);
  if (participant != room->participants.end() && participant->second.connection == id) {
    lose_connection(now, *room, participant->second);
  }
}

void DeliveryService::handle_oversized(TimePoint now, ConnectionId id) {
  if (connections_.contains(id)) fail(now, id, ErrorReason::too_large, "The message is too large.");
}

void DeliveryService::handle_frame(TimePoint now, ConnectionId id, ByteView frame) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  const bool greeted = !connection.room.empty();
  if (!connection.frames.take(now, 1)) return fail(now, id, ErrorReason::too_fast, "Too many messages.");
  if (frame.size() > (greeted ? signaling::max_frame_size : signaling::max_hello_frame_size)) {
    return fail(now, id, ErrorReason::too_large, "The message is too large.");
  }
  // A later version's hello may have another form; it begins with the same three bytes.
  if (!greeted && frame.size() >= 3 && frame[0] == 1 && (frame[1] << 8 | frame[2]) != signaling::protocol_version) {
    return fail(now, id, ErrorReason::unsupported_version, "Another version of the page is needed. Reload it.");
  }
  auto message = signaling::parse_client_message(frame);
  if (!message) {
    if (message.error() == signaling::message_too_large) {
      return fail(now, id, ErrorReason::too_large, "A part of the message is too large.");
    }
    return fail(now, id, ErrorReason::malformed, "The message could not be read.");
  }
  const auto* hello = std::get_if<signaling::Hello>(&*message);
  if (greeted == (hello != nullptr)) {
    return fail(now, id, ErrorReason::malformed, "The first message, and only the first, is a hello.");
  }
  if (hello != nullptr) return handle_hello(now, id, *hello);
  handle_message(now, id, connection, *message);
}

void DeliveryService::handle_timeout(TimePoint now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const Timer timer = timers_.begin()->second;
    timers_.erase(timers_.begin());
    switch (timer.kind) {
      case Timer::Kind::hello: {
        const auto found = connections_.find(timer.connection);
        if (found == connections_.end()) break;
        found->second->armed.reset();
        fail(now, timer.connection, ErrorReason::silent, "No hello came.");
        break;
      }
      case Timer::Kind::participant: {
        Room* room = find_room(timer.room);
        if (room == nullptr) break;
        const auto found = room->participants.find(timer.who);
        if (found == room->participants.end()) break;
        found->second.armed.reset();
        if (now < deadline_of(found->second)) {
          arm_participant(*room, found->second);
          break;
        }
        const bool connected = found->second.connection.has_value();
        make_gone(now, *room, timer.who, connected ? GoneCause::engine_stalled : GoneCause::connection_lost);
        break;
      }
      case Timer::Kind::room: {
        Room* room = find_room(timer.room);
        if (room == nullptr) break;
        room->armed.reset();
        if (room->participants.empty()) forget_room(*room);
        break;
      }
    }
  }
}

std::optional<TimePoint> DeliveryService::next_deadline() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first;
}

std::optional<Output> DeliveryService::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

const RoomSequencer* DeliveryService::room(std::string_view name) const {
  const auto found = rooms_.find(name);
  return found == rooms_.end() ? nullptr : &found->second->sequencer;
}

// ---- hello

void DeliveryService::handle_hello(TimePoint now, ConnectionId id, const signaling::Hello& hello) {
  Room* room = find_room(hello.room);
  if (room == nullptr) {
    // It may be in the store all the same, after a failure or beyond what was loaded at the start.
    const auto loaded = load_room(now, hello.room);
    if (!loaded) {
      ++statistics_.store_failures;
      return fail(now, id, ErrorReason::unavailable, "The server cannot read its store. Try again later.");
    }
    room = *loaded;
  }
  std::unique_ptr<Room> fresh;
  if (room == nullptr) {
    fresh = std::make_unique<Room>(options_);
    fresh->name = hello.room;
    fresh->gate = gates_.create();
  }
  const auto who = (room != nullptr ? room : fresh.get())->gate->identify(hello.key_package);
  if (!who && who.error() == Error(gate_wrong_suite)) {
    return fail(now, id, ErrorReason::wrong_suite, "This room uses another encryption than the link says. Ask for the whole link.");
  }
  if (!who) return fail(now, id, ErrorReason::malformed, "The key package is not valid.");

  if (room != nullptr && room->participants.contains(*who)) return resume(now, id, *room, *who, hello);
  // A cursor says that the client has a past here, and we know of none.
  if (hello.cursor != 0 || (room != nullptr && room->has_departed(*who))) {
    return fail(now, id, ErrorReason::gone, "This participant has left. Enter again.");
  }
  if (fresh != nullptr) {
    if (rooms_.size() >= options_.max_rooms) {
      return fail(now, id, ErrorReason::full, "The server is full. Try again later.");
    }
    if (!new_rooms_.take(now, 1)) {
      ++statistics_.new_rooms_refused;
      return fail(now, id, ErrorReason::full, "Too many meetings begin at this moment. Try again in a few seconds.");
    }
    room = rooms_.emplace(hello.room, std::move(fresh)).first->second.get();
  }
  begin(now, id, *room, *who, hello);
}

void DeliveryService::begin(TimePoint now, ConnectionId id, Room& room, IncarnationId who,
                            const signaling::Hello& hello) {
  auto record = room.sequencer.propose_join(who, hello.key_package);
  if (!record) {
    const bool known = record.error() == RoomSequencer::JoinRefusal::known;
    if (room.sequencer.head() == 0) erase_room(room);
    return fail(now, id, known ? ErrorReason::gone : ErrorReason::full,
                known ? "This participant has left. Enter again." : "The room is full. Try again later.");
  }
  if (!room.joins.take(now, 1)) {
    ++statistics_.joins_refused;
    if (room.sequencer.head() == 0) erase_room(room);
    return fail(now, id, ErrorReason::too_fast, "Too many people enter this room at this moment. Try again in a few seconds.");
  }
  Participant participant;
  participant.who = who;
  participant.resume_key_hash = hash_of(hello.resume_key);
  participant.join_index = record->entry.index;
  signaling::Ready ready;
  ready.snapshot = room.sequencer.roster().snapshot();
  if (!persist(room, *record, StoreAppend::Incarnation{who, participant.resume_key_hash}, std::nullopt)) {
    return fail(now, id, ErrorReason::unavailable, "The server cannot write its store. Try again later.");
  }
  Participant& entered = room.participants.emplace(who, std::move(participant)).first->second;
  append(room, std::move(*record));
  entered.sent = entered.join_index;
  attach(now, id, room, entered, std::move(ready));
  relieve_logs(now, room);
}

void DeliveryService::resume(TimePoint now, ConnectionId id, Room& room, IncarnationId who,
                             const signaling::Hello& hello) {
  Participant& participant = room.participants.find(who)->second;
  if (!constant_time_equal(hash_of(hello.resume_key), participant.resume_key_hash)) {
    return fail(now, id, ErrorReason::not_yours, "The resume key is wrong.");
  }
  // A hello that was held up on its way belongs to a connection that the client has given up for the present one.
  if (participant.connection && *participant.connection > id) return fail(now, id, ErrorReason::replaced, "A newer connection has taken over.");
  // At or before its own join the client has not seen `ready`, or lost it: it gets the same one again.
  const bool from_join = hello.cursor <= participant.join_index;
  const std::uint64_t cursor = from_join ? participant.join_index : hello.cursor;
  if (cursor < room.sequencer.log_start() || cursor > room.sequencer.head()) {
    return fail(now, id, ErrorReason::gone, "The server cannot go on from there. Enter again.");
  }
  if (participant.connection) {
    dismiss(*participant.connection, ErrorReason::replaced, "A newer connection has taken over.");
    participant.connection.reset();
  }
  tell_presence(room, who, true); // also then: what was written to the old connection may be lost
  signaling::Ready ready;
  ready.resumed = !from_join;
  if (from_join) ready.snapshot = room.sequencer.roster_at(cursor).snapshot();
  room.sequencer.acknowledge(who, cursor);
  outputs_.push_back(Followed{room.name, who, cursor});
  participant.sent = cursor;
  ++statistics_.resumed;
  attach(now, id, room, participant, std::move(ready));
}

void DeliveryService::attach(TimePoint now, ConnectionId id, Room& room, Participant& participant,
                             signaling::Ready ready) {
  Connection& connection = *connections_.find(id)->second;
  disarm({Timer::Kind::hello, id, {}, {}}, connection.armed);
  connection.room = room.name;
  connection.who = participant.who;
  participant.connection = id;
  participant.since = now;
  participant.grace = options_.grace;
  arm_participant(room, participant);

  ready.head = room.sequencer.head();
  ready.grace_ms =
      static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(options_.grace).count());
  send_ready(id, std::move(ready));
  outputs_.push_back(Joined{id, room.name, participant.who});
  send_entries(room, participant);
  for (const auto& [other, state] : room.participants) {
    if (!state.connection && room.sequencer.roster().is_live_member(other)) {
      send(id, signaling::Present{other, false});
    }
  }
}

void DeliveryService::send_ready(ConnectionId id, signaling::Ready ready) {
  std::vector<signaling::Waiting>& waiting = ready.snapshot.waiting;
  std::size_t left = 0;
  for (const auto& one : waiting) left += signaling::waiting_size(one);
  std::size_t begin = 0;
  while (left > signaling::max_waiting_part) {
    signaling::WaitingPart part;
    std::size_t size = 0;
    while (size + signaling::waiting_size(waiting[begin]) <= signaling::max_waiting_part) {
      size += signaling::waiting_size(waiting[begin]);
      part.waiting.push_back(std::move(waiting[begin++]));
    }
    left -= size;
    send(id, part);
  }
  waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(begin));
  send(id, ready);
}

// ---- the other messages

void DeliveryService::handle_message(TimePoint now, ConnectionId id, Connection& connection,
                                     const signaling::ClientMessage& message) {
  Room* room = find_room(connection.room);
  SATSUMA_CHECK(room != nullptr);
  const IncarnationId who = connection.who;
  const auto found = room->participants.find(who);
#ifdef SATSUMA_BUG_SWITCHES
  if (SATSUMA_BUG(gone_may_commit) && found == room->participants.end()) {
    if (const auto* commit = std::get_if<signaling::Commit>(&message)) handle_commit(now, id, *room, who, *commit);
    return;
  }
#endif
  SATSUMA_CHECK(found != room->participants.end() && found->second.connection == id);

  const auto handshake = [&](std::size_t size) {
    return connection.handshakes.take(now, 1) && connection.handshake_bytes.take(now, static_cast<double>(size));
  };
  if (const auto* ack = std::get_if<signaling::Ack>(&message)) return handle_ack(now, id, *room, found->second, *ack);
  if (const auto* genesis = std::get_if<signaling::Genesis>(&message)) {
    if (!handshake(genesis->group_info.size())) return fail(now, id, ErrorReason::too_fast, "Too many messages.");
    return handle_genesis(now, id, *room, who, *genesis);
  }
  if (const auto* commit = std::get_if<signaling::Commit>(&message)) {
    if (!handshake(commit->commit.size() + commit->welcome.size())) {
      return fail(now, id, ErrorReason::too_fast, "Too many messages.");
    }
    return handle_commit(now, id, *room, who, *commit);
  }
  if (auto* application = std::get_if<signaling::Application>(&message)) {
    const std::size_t size = application->message.size() + application->to.size() * IncarnationId::size;
    if (!connection.application_bytes.take(now, static_cast<double>(size))) {
      return fail(now, id, ErrorReason::too_fast, "Too many messages.");
    }
    return handle_application(now, *room, who, std::move(*application));
  }
  if (const auto* report = std::get_if<signaling::Report>(&message)) return handle_report(now, id, *room, who, *report);
  SATSUMA_CHECK(std::holds_alternative<signaling::Goodbye>(message)); // handle_frame let no second hello through
  make_gone(now, *room, who, GoneCause::goodbye);
}

void DeliveryService::handle_ack(TimePoint now, ConnectionId id, Room& room, Participant& participant,
                                 const signaling::Ack& ack) {
  if (ack.cursor > participant.sent) {
    return fail(now, id, ErrorReason::malformed, "An entry was acknowledged that was not sent.");
  }
  participant.since = now;
  // One that is lower comes from before a reconnection. It is a sign of life all the same.
  const std::uint64_t before = *room.sequencer.cursor(participant.who);
  outputs_.push_back(Followed{room.name, participant.who, std::max(before, ack.cursor)}); // again each time: who was too busy to hear it hears the next
  if (ack.cursor > before) {
    room.sequencer.acknowledge(participant.who, ack.cursor);
    send_entries(room, participant);
  }
  if (room.quiet_head != room.sequencer.head()) {
    room.quiet_head = room.sequencer.head();
    room.quiet_since = now;
  }
  const bool quiet = now - room.quiet_since >= options_.quiet_trim && room.sequencer.log_start() < room.quiet_head &&
                     room.sequencer.lowest_cursor() == room.quiet_head;
  if (quiet || (ack.cursor > before && room.sequencer.should_trim())) trim(room);
}

void DeliveryService::handle_genesis(TimePoint now, ConnectionId id, Room& room, IncarnationId who,
                                     const signaling::Genesis& genesis) {
  auto record = room.sequencer.propose_genesis(who, genesis.group_info, *room.gate);
  if (!record) return reject(id, 0, 0, record.error());
  if (!persist(room, *record, std::nullopt, room.gate->successor_state())) return;
  room.gate->accept();
  append(room, std::move(*record));
  relieve_logs(now, room);
}

void DeliveryService::handle_commit(TimePoint now, ConnectionId id, Room& room, IncarnationId who,
                                    const signaling::Commit& commit) {
#ifdef SATSUMA_BUG_SWITCHES
  if (SATSUMA_BUG(welcome_before_acceptance)) {
    for (const auto& waiting : room.sequencer.roster().snapshot().waiting) {
      const auto participant = room.participants.find(waiting.who);
      if (!participant->second.connection || participant->second.sent != room.sequencer.head()) continue;
      send(*participant->second.connection, signaling::Entry{room.sequencer.head(), signaling::CommitEntry{commit.era, commit.epoch, who, commit.commit, commit.welcome}});
    }
  }
#endif
  auto record = room.sequencer.propose_commit(who, commit, *room.gate);
  if (!record) return reject(id, commit.era, commit.epoch, record.error());
  const auto sender = room.participants.find(who); // there, unless a bug switch lets those commit who are gone
  if (record->added.empty() && record->removed.empty() && sender != room.participants.end() && !sender->second.renewals.take(now, 1)) {
    room.gate->discard();
    return reject(id, commit.era, commit.epoch, Rejection::invalid);
  }
  if (!persist(room, *record, std::nullopt, room.gate->successor_state())) return;
  room.gate->accept();
  append(room, std::move(*record));
  relieve_logs(now, room);
}

// Who reports cannot prove it, so it costs the reporter its own place, and one report alone takes nobody else out: two do, in a room of two
// one. Then everybody else goes on without that committer, or, if all of them were out, in a new era.
void DeliveryService::handle_report(TimePoint now, ConnectionId id, Room& room, IncarnationId who, const signaling::Report& report) {
  const RoomSequencer& sequencer = room.sequencer;
  const bool in_log = report.index >= sequencer.log_start() && report.index < sequencer.head();
  const auto* commit = in_log ? std::get_if<signaling::CommitEntry>(&sequencer.record(report.index).entry.body) : nullptr;
  if (commit == nullptr || report.index < *sequencer.cursor(who) || commit->who == who) {
    return fail(now, id, ErrorReason::malformed, "That cannot be reported.");
  }
  const IncarnationId committer = commit->who;
  const bool member = sequencer.roster().is_live_member(who);
  std::size_t others = 0; // live members besides the committer, the reporter among them
  for (const auto& one : sequencer.roster().members()) others += one != committer && sequencer.roster().is_live_member(one) ? 1 : 0;
  const std::string name = room.name;
  if (!make_gone(now, room, who, GoneCause::could_not_follow, committer)) return;
  Room* left = find_room(name);
  if (left == nullptr || !member || !left->sequencer.roster().is_live_member(committer)) return;
  if (++left->reports[committer] >= std::min<std::size_t>(2, others)) make_gone(now, *left, committer, GoneCause::reported);
}

void DeliveryService::handle_application(TimePoint now, Room& room, IncarnationId who,
                                         signaling::Application application) {
  // From someone who waits it can only be late from a former era or a mistake: nobody could decrypt it.
  if (!room.sequencer.roster().is_live_member(who)) return;
  std::ranges::sort(application.to);
  std::vector<ConnectionId> receivers;
  for (const auto& [other, state] : room.participants) {
    const bool meant = application.to.empty() || std::ranges::binary_search(application.to, other);
    if (meant && other != who && state.connection && room.sequencer.roster().is_live_member(other)) {
      receivers.push_back(*state.connection);
    }
  }
  const Bytes bytes = signaling::write_server_message(signaling::Relayed{who, application.message});
  if (!room.relayed.take(now, static_cast<double>(bytes.size()) * static_cast<double>(receivers.size()))) {
    ++statistics_.relays_dropped; // many who each keep to their own rate: none of them is to blame
    return;
  }
  for (const auto receiver : receivers) outputs_.push_back(Send{receiver, bytes});
}

void DeliveryService::reject(ConnectionId id, std::uint64_t era, std::uint64_t epoch, Rejection reason) {
  ++statistics_.rejected[static_cast<std::size_t>(reason)];
  send(id, signaling::Rejected{era, epoch, reason});
}

// ---- rooms

DeliveryService::Room* DeliveryService::find_room(std::string_view name) {
  const auto found = rooms_.find(name);
  return found == rooms_.end() ? nullptr : found->second.get();
}

Result<DeliveryService::Room*> DeliveryService::load_room(TimePoint now, std::string_view name) {
  SATSUMA_TRY(const auto stored, store_.load(name));
  if (!stored) return static_cast<Room*>(nullptr);
  signaling::Snapshot base;
  if (!stored->base.empty()) {
    SATSUMA_TRY(base, signaling::parse_snapshot(stored->base));
  }
  std::vector<Record> records;
  records.reserve(stored->records.size());
  for (const auto& bytes : stored->records) {
    SATSUMA_TRY(Record record, parse_record(bytes));
    records.push_back(std::move(record));
  }
  auto room = std::make_unique<Room>(options_);
  room->name = name;
  SATSUMA_TRY(room->sequencer, RoomSequencer::restore(options_.room, stored->log_start, Roster(std::move(base)),
                                                      std::move(records)));
  const Roster& roster = room->sequencer.roster();
  room->gate = gates_.create();
  if (roster.has_group()) SATSUMA_TRY_VOID(room->gate->restore(stored->group));
  for (const auto& one : stored->incarnations) {
    if (!roster.is_live(one.who)) {
      room->departed.push_back(one.who);
      continue;
    }
    Participant participant;
    participant.who = one.who;
    participant.resume_key_hash = one.resume_key_hash;
    participant.join_index = one.join_index;
    participant.since = now;
    participant.grace = options_.restart_grace;
    room->participants.emplace(one.who, std::move(participant));
  }
  if (room->participants.size() != roster.live_count()) return store_damaged;

  Room& loaded = *rooms_.insert_or_assign(room->name, std::move(room)).first->second;
  log_bytes_ += loaded.sequencer.log_bytes();
  for (auto& [who, participant] : loaded.participants) arm_participant(loaded, participant);
  if (loaded.participants.empty()) arm_room(now, loaded);
  for (const auto& who : roster.members()) outputs_.push_back(MemberAdded{loaded.name, who});
  return &loaded;
}

bool DeliveryService::persist(Room& room, const Record& record,
                              std::optional<StoreAppend::Incarnation> joined, std::optional<Bytes> group) {
  const StoreAppend entry{record.entry.index, write_record(record), std::move(joined), std::move(group)};
  StoreStatus status = store_.append(room.name, entry);
  if (status == StoreStatus::unknown) {
    ++statistics_.store_failures;
    // Whether it is there decides, not what we remember having asked for.
    const auto there = store_.read(room.name, entry.index);
    if (there && *there && **there == entry.record) {
      status = StoreStatus::ok;
    } else if (there && !*there) {
      status = store_.append(room.name, entry); // surely not there: once more, the disk may have room again
    }
  }
  if (status == StoreStatus::ok) {
    ++statistics_.entries;
    return true;
  }
  ++statistics_.store_failures;
  // What we hold may differ from what the store holds. Everybody reconnects, and the room is read anew.
  unload_room(room);
  return false;
}

void DeliveryService::append(Room& room, Record record) {
  const auto& body = record.entry.body;
  const bool new_group = std::holds_alternative<signaling::GenesisEntry>(body);
  const bool changes = new_group || std::holds_alternative<signaling::CommitEntry>(body);
  const auto added = record.added;
  const auto removed = record.removed;
  const std::uint64_t index = record.entry.index;
  const std::size_t before = room.sequencer.log_bytes();
  room.sequencer.append(std::move(record));
  log_bytes_ += room.sequencer.log_bytes() - before;
  if (new_group) room.reports.clear();
  if (changes) {
    outputs_.push_back(EpochBegan{room.name, index});
    for (const auto& who : removed) outputs_.push_back(MemberRemoved{room.name, who});
    for (const auto& who : added) outputs_.push_back(MemberAdded{room.name, who});
  }
  for (auto& [who, participant] : room.participants) send_entries(room, participant);
}

bool DeliveryService::make_gone(TimePoint now, Room& room, IncarnationId who, GoneCause cause, const IncarnationId& committer) {
  auto record = room.sequencer.propose_gone(who, cause, committer);
  SATSUMA_CHECK(record.has_value());
  if (!persist(room, *record, std::nullopt, std::nullopt)) return false;
  ++statistics_.gone[static_cast<std::size_t>(cause)];

  const auto found = room.participants.find(who);
  disarm({Timer::Kind::participant, 0, room.name, who}, found->second.armed);
  const std::optional<ConnectionId> connection = found->second.connection;
  room.participants.erase(found);
  room.departed.push_back(who);
  append(room, std::move(*record));
  outputs_.push_back(Departed{room.name, who});
  room.reports.erase(who);
  if (connection && cause == GoneCause::goodbye) {
    outputs_.push_back(Close{*connection, 1000, "goodbye"});
    drop_connection(*connection);
  } else if (connection && !SATSUMA_BUG(gone_may_commit)) {
    dismiss(*connection, ErrorReason::gone, "This participant stopped answering and was taken out. Enter again.");
  }
  if (room.participants.empty()) {
    arm_room(now, room);
  } else if (room.sequencer.should_trim()) {
    trim(room); // it may have been the one who held the log back
  }
  return true;
}

void DeliveryService::unload_room(Room& room) {
  for (auto& [who, participant] : room.participants) {
    disarm({Timer::Kind::participant, 0, room.name, who}, participant.armed);
    if (participant.connection) {
      dismiss(*participant.connection, ErrorReason::unavailable, "The server lost its place in the room. Reconnect.");
    }
  }
  disarm({Timer::Kind::room, 0, room.name, {}}, room.armed);
  erase_room(room);
}

void DeliveryService::erase_room(Room& room) {
  log_bytes_ -= room.sequencer.log_bytes();
  rooms_.erase(rooms_.find(room.name));
}

void DeliveryService::forget_room(Room& room) {
  if (store_.forget(room.name) != StoreStatus::ok) ++statistics_.store_failures; // found again at the next start
  for (const auto& who : room.sequencer.roster().members()) outputs_.push_back(MemberRemoved{room.name, who});
  erase_room(room);
}

void DeliveryService::trim(Room& room) {
  const std::uint64_t start = room.sequencer.lowest_cursor();
  StoreTrim trim{start, signaling::write_snapshot(room.sequencer.roster_at(start).snapshot()), {}};
  const std::size_t remembered = options_.room.remembered_gone;
  const std::size_t forgotten = room.departed.size() > remembered ? room.departed.size() - remembered : 0;
  for (std::size_t i = 0; i < forgotten; ++i) {
    // Members that are gone have to be found until a commit removes them.
    if (room.sequencer.roster().is_member(room.departed[i])) continue;
    trim.forgotten.push_back(room.departed[i]);
  }
  if (store_.trim(room.name, trim) != StoreStatus::ok) {
    ++statistics_.store_failures; // nothing is lost by keeping more
    return;
  }
  const std::size_t before = room.sequencer.log_bytes();
  room.sequencer.trim(start);
  log_bytes_ -= before - room.sequencer.log_bytes();
  for (const auto& who : trim.forgotten) std::erase(room.departed, who);
}

/// The log's bounds come before the patience with those who lag.
void DeliveryService::relieve_log(TimePoint now, Room& room) {
  const std::string name = room.name;
  // The step may have unloaded the room.
  for (Room* one = &room; one != nullptr && one->sequencer.over_bounds(); one = find_room(name)) {
    if (!shorten_log(now, *one)) return;
  }
}

void DeliveryService::relieve_logs(TimePoint now, Room& room) {
  relieve_log(now, room);
  // Who makes the largest log pays for it, not who asked last: a stranger's room that grows does not shorten the others.
  while (log_memory() > options_.log_memory) {
    const auto largest = largest_log();
    if (largest == rooms_.end()) return;
    const std::size_t live = largest->second->participants.size();
    const std::string name = largest->first;
    if (!shorten_log(now, *largest->second)) return;
    const Room* left = find_room(name);
    if (left != nullptr && left->participants.size() < live) ++statistics_.log_relieved;
  }
}

bool DeliveryService::shorten_log(TimePoint now, Room& room) {
  const std::uint64_t lowest = room.sequencer.lowest_cursor();
  if (lowest > room.sequencer.log_start()) {
    const std::uint64_t before = room.sequencer.log_start();
    trim(room);
    return room.sequencer.log_start() != before; // the store refuses: next time
  }
  const auto laggard = std::ranges::find_if(room.participants, [&](const auto& one) {
    return room.sequencer.cursor(one.first) == lowest;
  });
  if (laggard == room.participants.end()) return false;
  const bool connected = laggard->second.connection.has_value();
  return make_gone(now, room, laggard->first, connected ? GoneCause::engine_stalled : GoneCause::connection_lost);
}

auto DeliveryService::largest_log() -> decltype(rooms_)::iterator {
  return std::ranges::max_element(rooms_, {}, [](const auto& one) { return one.second->sequencer.log_bytes(); });
}

void DeliveryService::send_entries(Room& room, Participant& participant) {
  if (!participant.connection) return;
  const RoomSequencer& sequencer = room.sequencer;
  const std::uint64_t cursor = *sequencer.cursor(participant.who);
  while (participant.sent < sequencer.head()) {
    const Bytes& frame = sequencer.frame(participant.sent);
    const std::size_t outstanding = participant.sent > cursor ? sequencer.bytes_between(cursor, participant.sent) : 0;
    if (outstanding != 0 && outstanding + frame.size() > options_.window) return;
    send_tree(participant, sequencer.record(participant.sent));
    outputs_.push_back(Send{*participant.connection, frame});
    ++participant.sent;
  }
}

void DeliveryService::send_tree(const Participant& participant, const Record& record) {
  if (record.tree.empty() || std::ranges::find(record.added, participant.who) == record.added.end()) return;
  for (ByteView rest = record.tree; !rest.empty();) {
    const ByteView part = rest.first(std::min(rest.size(), signaling::max_tree_part));
    rest = rest.subspan(part.size());
    send(*participant.connection, signaling::TreePart{record.entry.index, static_cast<std::uint32_t>(record.tree.size()), to_bytes(part)});
  }
}

void DeliveryService::tell_presence(Room& room, IncarnationId who, bool connected) {
  if (!room.sequencer.roster().is_live_member(who)) return;
  for (const auto& [other, state] : room.participants) {
    if (other != who && state.connection) send(*state.connection, signaling::Present{who, connected});
  }
}

// ---- connections and timers

void DeliveryService::send(ConnectionId id, const signaling::ServerMessage& message) {
  outputs_.push_back(Send{id, signaling::write_server_message(message)});
}

void DeliveryService::dismiss(ConnectionId id, ErrorReason reason, std::string_view text) {
  ++statistics_.errors[static_cast<std::size_t>(reason)];
  send(id, signaling::ErrorMessage{reason, std::string(text)});
  outputs_.push_back(Close{id, signaling::close_code(reason), std::string(text)});
  drop_connection(id);
}

void DeliveryService::fail(TimePoint now, ConnectionId id, ErrorReason reason, std::string_view text) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const std::string name = found->second->room;
  const IncarnationId who = found->second->who;
  dismiss(id, reason, text);
  Room* room = name.empty() ? nullptr : find_room(name);
  if (room == nullptr) return;
  const auto participant = room->participants.find(who);
  if (participant != room->participants.end() && participant->second.connection == id) {
    lose_connection(now, *room, participant->second);
  }
}

void DeliveryService::drop_connection(ConnectionId id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  disarm({Timer::Kind::hello, id, {}, {}}, found->second->armed);
  connections_.erase(found);
}

void DeliveryService::lose_connection(TimePoint now, Room& room, Participant& participant) {
  participant.connection.reset();
  participant.since = now;
  arm_participant(room, participant);
  tell_presence(room, participant.who, false);
}

TimePoint DeliveryService::deadline_of(const Participant& participant) const {
  if (participant.connection && SATSUMA_BUG(socket_heartbeat)) return TimePoint::max();
  return participant.since + (participant.connection ? options_.stall : participant.grace);
}

void DeliveryService::arm(const Timer& timer, std::optional<TimePoint>& armed, TimePoint at) {
  disarm(timer, armed);
  timers_.emplace(at, timer);
  armed = at;
}

void DeliveryService::disarm(const Timer& timer, std::optional<TimePoint>& armed) {
  if (armed) timers_.erase({*armed, timer});
  armed.reset();
}

void DeliveryService::arm_participant(const Room& room, Participant& participant) {
  arm({Timer::Kind::participant, 0, room.name, participant.who}, participant.armed, deadline_of(participant));
}

void DeliveryService::arm_room(TimePoint now, Room& room) {
  arm({Timer::Kind::room, 0, room.name, {}}, room.armed, now + options_.forget_after);
}

} // namespace satsuma::delivery
