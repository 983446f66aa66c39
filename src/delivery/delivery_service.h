#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/time.h"
#include "base/token_bucket.h"
#include "delivery/group_gate.h"
#include "delivery/room_sequencer.h"
#include "delivery/store.h"
#include "signaling/delivery_messages.h"

namespace satsuma::delivery {

using ConnectionId = std::uint64_t;

struct DeliveryOptions {
  Duration grace = std::chrono::seconds(10);         ///< from a lost connection to gone
  Duration restart_grace = std::chrono::seconds(30); ///< the same for those found in the store at the start
  Duration stall = std::chrono::seconds(15);         ///< from the last acknowledgement to gone, while connected
  Duration hello_timeout = std::chrono::seconds(10); ///< from connected to the first frame
  Duration forget_after = std::chrono::seconds(60);  ///< from the last live incarnation's end to the room's
  Duration quiet_trim = std::chrono::seconds(10);    ///< from the last entry of a log that all have processed until it is trimmed, however short it is

  // What strangers can make the server hold.
  std::size_t max_connections = 10'000;
  std::size_t max_rooms = 4'096;
  RoomLimits room;
  /// What all logs together may take in memory; an entry counts twice, because it is held as record and as frame. 4096 rooms
  /// whose laggards hold back RoomLimits::log_bytes would take 32 GiB. Beyond, the room with the largest log is relieved.
  std::size_t log_memory = 256 * 1024 * 1024;
  /// Relayed messages of one room: their size times their receivers. When all of a room of 200 have come in at once, or back to a server that was
  /// started again, each tells its state to all: at a third of a KiB each 13 MiB. The burst is five times that. Beyond, a message is dropped.
  double relay_bytes_per_second = 8 * 1024 * 1024;
  double relay_burst = 64 * 1024 * 1024;
  /// Joins of one room; each is a write and goes to everybody there. The burst lets a full room enter at once, and a half return.
  double joins_per_second = 20;
  double join_burst = 256;
  /// New rooms in all; each is a file's write and is kept for forget_after. The burst is every meeting that begins on the hour.
  double new_rooms_per_second = 50;
  double new_room_burst = 500;
  std::size_t window = 128 * 1024; ///< bytes of entries sent beyond the acknowledged cursor; with the largest tree well below the send queue
};

struct DeliveryStatistics {
  std::uint64_t entries = 0;           ///< appended
  std::uint64_t resumed = 0;           ///< connections that went on at a cursor
  std::uint64_t rejected[6] = {};      ///< by Rejected::Reason
  std::uint64_t errors[signaling::last_error_reason + 1] = {}; ///< connections closed, by ErrorReason
  std::uint64_t gone[signaling::last_gone_cause + 1] = {};          ///< by GoneCause
  std::uint64_t log_relieved = 0;      ///< incarnations gone because all logs together were beyond log_memory
  std::uint64_t relays_dropped = 0;    ///< application messages beyond the room's rate
  std::uint64_t joins_refused = 0;     ///< hellos beyond a room's rate of joins
  std::uint64_t new_rooms_refused = 0; ///< hellos beyond the rate of new rooms
  std::uint64_t store_failures = 0;    ///< writes that were not `ok`; each costs the room a reload
};

// ---- what the service wants done, in order

struct Send {
  ConnectionId connection = 0;
  Bytes bytes; ///< one binary frame
};
/// The connection is forgotten already; what its peer sends from now on is ignored. Everything sent before goes out first.
struct Close {
  ConnectionId connection = 0;
  std::uint16_t code = 1000;
  std::string reason;
};
/// `ready` was sent: larger frames are allowed and media control may begin. An older connection of the same incarnation
/// was closed before.
struct Joined {
  ConnectionId connection = 0;
  std::string room;
  IncarnationId incarnation;
};
/// The room's group went over to another epoch with this entry. Comes before the changes of the roster.
struct EpochBegan {
  std::string room;
  std::uint64_t entry = 0;
};
/// The MLS engine of somebody alive has processed all entries below `cursor`: it has the keys of the epochs that began there. May repeat.
struct Followed {
  std::string room;
  IncarnationId incarnation;
  std::uint64_t cursor = 0;
};
/// The MLS roster changed. At a genesis the former group's members are removed first. May repeat after a reload of the room.
struct MemberAdded {
  std::string room;
  IncarnationId incarnation;
};
struct MemberRemoved {
  std::string room;
  IncarnationId incarnation;
};
/// Gone for ever; a member stays in the roster until a commit removes it, but must get no more media.
struct Departed {
  std::string room;
  IncarnationId incarnation;
};
using Output = std::variant<Send, Close, Joined, EpochBegan, Followed, MemberAdded, MemberRemoved, Departed>;

/// The delivery service (RFC 9750 s.5) of docs/protocol.md, section 2: many rooms and their connections. Binary frames
/// come in, outputs come out; it holds no socket and no clock. Nothing is told to anybody before the store has it.
///
/// A caller: load() once; then handle_connected / handle_frame / handle_disconnected as they happen and handle_timeout at
/// next_deadline(); after each of them poll_output() until it is empty.
class DeliveryService {
 public:
  /// `store` and `gates` outlive the service.
  DeliveryService(DeliveryOptions options, Store& store, GroupGateFactory& gates);
  ~DeliveryService();
  DeliveryService(const DeliveryService&) = delete;
  DeliveryService& operator=(const DeliveryService&) = delete;

  /// Takes up the rooms that the store holds. Everyone alive in them counts as disconnected since `now`, with restart_grace.
  /// A room that the store cannot give is left out and counted; store_unreachable when it gives none at all.
  Result<void> load(TimePoint now);

  /// A number that is greater than those of all connections before it.
  void handle_connected(TimePoint now, ConnectionId connection);
  /// A binary frame. Frames of unknown connections are ignored.
  void handle_frame(TimePoint now, ConnectionId connection, ByteView frame);
  /// A frame beyond the bound arrived and was not read.
  void handle_oversized(TimePoint now, ConnectionId connection);
  void handle_disconnected(TimePoint now, ConnectionId connection);
  void handle_timeout(TimePoint now);
  /// May be early, never late.
  std::optional<TimePoint> next_deadline() const;
  std::optional<Output> poll_output();

  // Views for the program and its tests.
  std::size_t room_count() const { return rooms_.size(); }
  /// What all logs take, in the measure of DeliveryOptions::log_memory.
  std::size_t log_memory() const { return 2 * log_bytes_; }
  std::size_t connection_count() const { return connections_.size(); }
  const DeliveryStatistics& statistics() const { return statistics_; }
  /// Null when there is no such room.
  const RoomSequencer* room(std::string_view name) const;

 private:
  struct Room;
  struct Participant;
  struct Connection;
  struct Timer {
    enum class Kind : std::uint8_t { hello, participant, room } kind = Kind::hello;
    ConnectionId connection = 0;
    std::string room;
    IncarnationId who;
    friend auto operator<=>(const Timer&, const Timer&) = default;
  };

  using Rejection = signaling::Rejected::Reason;

  // Frames. After a call that may close the connection or unload the room, its references are dead; such calls come last.
  void handle_hello(TimePoint now, ConnectionId id, const signaling::Hello& hello);
  void begin(TimePoint now, ConnectionId id, Room& room, IncarnationId who, const signaling::Hello& hello);
  void resume(TimePoint now, ConnectionId id, Room& room, IncarnationId who, const signaling::Hello& hello);
  void attach(TimePoint now, ConnectionId id, Room& room, Participant& participant, signaling::Ready ready);
  void handle_message(TimePoint now, ConnectionId id, Connection& connection, const signaling::ClientMessage& message);
  void handle_ack(TimePoint now, ConnectionId id, Room& room, Participant& participant, const signaling::Ack& ack);
  void handle_genesis(TimePoint now, ConnectionId id, Room& room, IncarnationId who, const signaling::Genesis& genesis);
  void handle_commit(TimePoint now, ConnectionId id, Room& room, IncarnationId who, const signaling::Commit& commit);
  void handle_report(TimePoint now, ConnectionId id, Room& room, IncarnationId who, const signaling::Report& report);
  void handle_application(TimePoint now, Room& room, IncarnationId who, signaling::Application application);
  void reject(ConnectionId id, std::uint64_t era, std::uint64_t epoch, Rejection reason);

  // Rooms
  Room* find_room(std::string_view name);
  /// Null when the store has no such room.
  Result<Room*> load_room(TimePoint now, std::string_view name);
  /// False: the store did not take the record, and the room is unloaded.
  bool persist(Room& room, const Record& record, std::optional<StoreAppend::Incarnation> joined, std::optional<Bytes> group);
  void append(Room& room, Record record);
  bool make_gone(TimePoint now, Room& room, IncarnationId who, signaling::GoneCause cause, const IncarnationId& committer = {});
  void unload_room(Room& room);
  void forget_room(Room& room);
  void trim(Room& room);
  /// Both bounds: the room's own, then that of all logs, which may take people out of another room, or unload it.
  void relieve_logs(TimePoint now, Room& room);
  void relieve_log(TimePoint now, Room& room);
  /// Takes a step towards a shorter log: trims, or makes who holds it back gone. False: nothing more can be done now.
  bool shorten_log(TimePoint now, Room& room);
  std::map<std::string, std::unique_ptr<Room>, std::less<>>::iterator largest_log();
  void erase_room(Room& room);
  void send_entries(Room& room, Participant& participant);
  void send_tree(const Participant& participant, const Record& record);
  void send_ready(ConnectionId id, signaling::Ready ready);
  void tell_presence(Room& room, IncarnationId who, bool connected);

  // Connections and timers
  void send(ConnectionId id, const signaling::ServerMessage& message);
  void fail(TimePoint now, ConnectionId id, signaling::ErrorReason reason, std::string_view text);
  /// Error and Close, and the connection is unknown from then on; its participant is the caller's business.
  void dismiss(ConnectionId id, signaling::ErrorReason reason, std::string_view text);
  void drop_connection(ConnectionId id);
  void lose_connection(TimePoint now, Room& room, Participant& participant);
  TimePoint deadline_of(const Participant& participant) const;
  void arm(const Timer& timer, std::optional<TimePoint>& armed, TimePoint at);
  void disarm(const Timer& timer, std::optional<TimePoint>& armed);
  void arm_participant(const Room& room, Participant& participant);
  void arm_room(TimePoint now, Room& room);

  DeliveryOptions options_;
  Store& store_;
  GroupGateFactory& gates_;
  std::map<std::string, std::unique_ptr<Room>, std::less<>> rooms_;
  std::size_t log_bytes_ = 0; ///< the sum of all rooms' logs, as frames
  TokenBucket new_rooms_;
  std::unordered_map<ConnectionId, std::unique_ptr<Connection>> connections_;
  std::set<std::pair<TimePoint, Timer>> timers_;
  std::deque<Output> outputs_;
  DeliveryStatistics statistics_;
};

} // namespace satsuma::delivery
