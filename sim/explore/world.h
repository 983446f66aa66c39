#pragma once

#include <optional>
#include <string>
#include <vector>

#include "abstract.h"
#include "call/committer.h"
#include "delivery/room_sequencer.h"

namespace satsuma::explore {

/// The bounds of an exploration; as the specification's constants.
struct Bounds {
  std::uint8_t people = 2;
  std::uint8_t warm = 0;
  std::uint8_t budget = 1;
  bool crash = true, wedge = true, suspect = true, disconnect = true, duplicate = true, refresh = true;
  Set without_admission;     ///< they hold no proof of it; nobody lets them in
  /// Messages that can never be accepted still arrive, and refusals take their time. The specification leaves that out, since nobody can tell.
  bool keeps_hopeless = false;
};

/// As the specification's actions.
enum class Kind : std::uint8_t {
  enter, read, timeout, deliver, notice, reconnect, // from read to reconnect: fair
  grace_ends, crash, wedge, suspect, disconnect, duplicate, refresh,
  drop_own, early_welcome,
};
struct Action {
  Kind kind{};
  Person who = 0;
  Person from = 0; ///< of an early welcome
};
std::string to_text(Action action);
inline bool is_fair(Kind kind) { return kind >= Kind::read && kind <= Kind::reconnect; }

/// A client's part outside of the committer: what ClientSession does with the log and with MLS, where MLS is symbols. A state of the group is its
/// history; a commit's bytes name the state that they continue, and only who holds that state can process them.
struct Session {
  struct Answer {
    std::uint8_t position = 0; ///< in the log: it comes after the entries below
    Message message;
    delivery::RoomSequencer::Refusal reason{};
  };
  Phase phase = Phase::none; ///< waiting stands for member too: the committer knows
  bool online = false;
  std::uint8_t cursor = 0; ///< index of the next entry to read
  std::optional<call::Committer> committer;
  State held;
  Message pending; ///< what was made and is not decided
  std::optional<signaling::Snapshot> snapshot; ///< with keeps_hopeless: as it was told when it entered
  std::uint8_t joined = 0;                     ///< index of its join
  std::vector<Answer> answers;                 ///< with keeps_hopeless: refusals on their way
  std::uint8_t made = 0;
};

/// One room with the real delivery::RoomSequencer and the real call::Committers, and everything around them that can go wrong. Copyable: an
/// exploration copies it for each step. Time is abstract: a timer has run out when the explorer says so.
class World {
 public:
  explicit World(const Bounds& bounds);

  /// What can happen now. Its order is fixed.
  std::vector<Action> actions() const;
  void take(const Action& action);
  Abstract abstract() const;
  bool can(const Action& action) const;
  const Session& session(Person who) const { return session_[who]; }
  const Few<Message, most_messages>& uplink(Person who) const { return uplink_[who]; }
  /// What the service would say to it.
  std::expected<delivery::Record, delivery::RoomSequencer::Refusal> propose(const Message& message) const;
  void set_without_admission(Set people) { bounds_.without_admission = people; }
  /// The answer to its hello was lost, and with it all that it knows.
  void begin_again(Person who);
  /// Everything of the real objects that the future depends on; equal abstract states must have equal ones.
  std::string inner_state() const;

 private:
  void enter(Person who);
  void begin(Person who, const signaling::Snapshot& snapshot);
  void read_one(Person who);
  void read_all(Person who);
  void handle_answers(Person who);
  void handle_refusal(Person who, const Message& message, delivery::RoomSequencer::Refusal reason);
  void deliver(Person who, bool duplicate);
  void depart(Person who);
  void reconnect(Person who);
  void stop(Person who, Phase phase);

  void read_entry(Person who);
  void read_commit(Person who, std::uint64_t index, const signaling::CommitEntry& entry);
  void adopt(Person who, const State& state, std::uint64_t era, Person committer);
  void run_committer(Person who);
  void send(Person who, Message message);

  bool is_hopeless(const Message& message) const;
  void drop_hopeless();
  void append(delivery::Record record);
  void trim();

  Bounds bounds_;
  delivery::RoomSequencer sequencer_;
  std::array<Session, most_people + 1> session_;
  std::array<Few<Message, most_messages>, most_people + 1> uplink_;
  Few<Entry, most_entries> log_;
  State start_;
  State state_;
  std::uint8_t entered_ = 0;
  std::uint8_t faults_ = 0;
};

} // namespace satsuma::explore
