#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "call/client_session.h"
#include "delivery/delivery_service.h"
#include "delivery/mls_group_gate.h"
#include "delivery/room_trace.h"
#include "sim/crash_store.h"
#include "sim/random.h"

namespace satsuma::sim {

using namespace std::chrono_literals;

/// A device's monotonic clock against the world's: it may run fast or slow, and may stand still while the device sleeps.
struct LocalClock {
  Duration offset{};
  std::int64_t parts_per_million = 0;
  Duration stood_still{};

  TimePoint local(TimePoint world) const;
  /// The first moment at which the device's clock shows `local` or later.
  TimePoint world(TimePoint local) const;
};

using LinkId = delivery::ConnectionId;

/// A participant: its session, its device and its network.
struct Person {
  std::string name;
  std::size_t number = 0;
  std::unique_ptr<Dice> random;
  std::unique_ptr<call::ClientSession> session;
  bool admissible = true;  ///< has the room's secret
  LocalClock clock;
  Duration delay = 20ms;   ///< one way
  Duration jitter{};       ///< on top, at random
  std::size_t server = 0;  ///< which of the servers it speaks to: an honest world has one

  std::optional<LinkId> link;
  std::optional<TimePoint> connect_at;
  TimePoint unreachable_until{}; ///< frames are held up on the way, in both directions
  bool crashed = false;    ///< does nothing any more
  bool closed = false;     ///< left, or gave up
  bool frozen = false;     ///< asleep or wedged: what comes in waits
  std::uint64_t life = 0;  ///< of the room's log that it reads: a room that was forgotten begins a new one

  // What the session told.
  std::vector<call::EpochEvent> epochs;
  std::vector<call::SessionOutput> events; ///< all but SendBinary
  std::vector<std::string> received;

  template <class T>
  std::vector<T> all() const {
    std::vector<T> found;
    for (const call::SessionOutput& event : events) {
      if (const T* match = std::get_if<T>(&event)) found.push_back(*match);
    }
    return found;
  }
  bool in() const { return session->in_group(); }
  bool up() const { return !crashed && !closed && !frozen; }
  std::string digits() const { return epochs.empty() ? "" : epochs.back().safety_number.digits; }
  std::size_t roster_size() const { return session->roster().entries().size(); }

 private:
  friend class World;
  std::optional<TimePoint> timer;
  TimePoint frozen_at{};
  std::set<std::uint64_t> arrived_up;   ///< commits and geneses that the server got, in short
  std::set<std::uint64_t> arrived_down; ///< entries
};

/// What went wrong on purpose, each counted when it has had an effect: a kind that never happens tests nothing.
struct Weather {
  std::uint64_t delayed = 0;        ///< frames, beyond the link's own time
  std::uint64_t held_up = 0;        ///< frames that waited until somebody could be reached again
  std::uint64_t lost = 0;           ///< frames
  std::uint64_t overtaken = 0;      ///< frames of an old connection that arrived after the new one began
  std::uint64_t repeated = 0;       ///< frames that arrived a second time, over another connection
  std::uint64_t partitions = 0;     ///< several people cut off at once
  std::uint64_t cuts = 0;           ///< connections, for both sides at once
  std::uint64_t half_cuts = 0;      ///< ... of which one side hears later
  std::uint64_t server_stops = 0;
  std::uint64_t server_deaths = 0;  ///< between a write and telling anybody
  std::uint64_t recoveries = 0;     ///< the server started from a store that held something
  std::uint64_t writes_unknown = 0; ///< the store could not say, and the write had happened
  std::uint64_t writes_lost = 0;    ///< the store could not say, and it had not
  std::uint64_t crashes = 0;
  std::uint64_t silent_crashes = 0; ///< without the socket closing
  std::uint64_t sleeps = 0;         ///< frozen, and back
  std::uint64_t still_clocks = 0;   ///< ... and the clock stood still meanwhile
  std::uint64_t wedges = 0;         ///< frozen for ever
  std::uint64_t drifting = 0;       ///< people whose clock runs fast or slow

  /// Of all of them, in this order, with their names.
  static constexpr std::size_t kinds = 19;
  std::array<std::pair<const char*, std::uint64_t>, kinds> list() const;
  Weather& operator+=(const Weather& other);
};

/// Sees everything that happens, and may say that it must not.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_entry(std::uint64_t life, const delivery::Record& record, const delivery::Roster& after) = 0;
  virtual void on_event(const Person& person, const call::SessionOutput& event) = 0;
  /// A session's frame, before the network has it; and one that a session is about to handle.
  virtual void on_sent(const Person& person, ByteView frame) = 0;
  virtual void on_received(const Person& person, ByteView frame) = 0;
};

struct WorldOptions {
  std::uint64_t seed = 1;
  call::SessionOptions session;
  delivery::DeliveryOptions delivery;
  Duration delay = 20ms;
  Duration reconnect_after = 500ms;
  /// The server's send queue for one connection (docs/protocol.md): beyond, the connection closes.
  std::size_t send_queue = 1536 * 1024;
  bool trace = false;
  /// Sessions to whom something comes at the same moment handle it on so many cores: each is a machine of its own. The order in which they
  /// answer is the same as on one; what they were sent is not (a session that has two frames in one moment has the second after the others' first).
  unsigned cores = 1;
  /// Runs on after other violations than of this property. Empty: ends with the first of any.
  std::string only_property;
  /// What happens in the first server's rooms is appended there, for satsuma_replay (sim/explore). Empty: in a file of its own in the folder
  /// $SATSUMA_ROOM_TRACES, if that is set.
  std::string room_trace;
};

/// Sessions and a delivery service in virtual time, no part of either replaced, connected by a network that delays, holds up, breaks and
/// repeats. Within one connection frames keep their order, as on a WebSocket; between connections there is none. Everything follows
/// from the seed: two runs of one program give the same trace to the byte.
class World {
 public:
  static constexpr UnixSeconds unix_start = 1'800'000'000;
  static constexpr std::string_view room_name = "orchard";

  explicit World(WorldOptions options = {});
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  // --- people
  call::RoomSuite suite = call::RoomSuite::standard; ///< of the link of those who are added
  /// `secret` 0: comes without the fragment of the link; 1: the room's; else another one.
  Person& add(const std::string& name, std::uint8_t secret = 1, bool connect = true, LocalClock clock = {}, std::int64_t calendar_offset = 0);
  const std::vector<std::unique_ptr<Person>>& people() const { return people_; }
  void leave(Person& person);
  /// The process dies: nothing is said, the socket breaks (`half_open`: without the server hearing of it).
  void crash(Person& person, bool half_open = false);
  /// The engine hangs while the browser keeps the socket open.
  void wedge(Person& person) { freeze(person); }
  void freeze(Person& person);
  /// Comes back; `clock_stood_still`: its clock did not go on meanwhile.
  void thaw(Person& person, bool clock_stood_still = false);

  // --- network
  /// The socket breaks; both sides hear of it. Frames under way are lost. It stays so until reconnect().
  void cut(Person& person);
  /// ... but the other side hears of it only after `later`, and until then frames that were under way arrive; the client reconnects by itself.
  void cut_client_first(Person& person, Duration later);
  void cut_server_first(Person& person, Duration later);
  void reconnect(Person& person, Duration after = {});
  /// Both sides take a connection for open.
  bool connected(const Person& person) const;
  /// Nothing comes through for this long; then all of it does.
  void hold_up(Person& person, Duration duration);
  /// Breaks the connection that carries every n-th frame, and reconnects soon after. 0: none.
  void break_every(int n) { break_every_ = n; }

  // --- server
  /// As after SIGKILL: all connections break, only the store remains.
  void stop_server(std::size_t server = 0);
  void start_server(std::size_t server = 0);
  void restart_server(std::size_t server = 0) {
    stop_server(server);
    start_server(server);
  }
  bool server_is_up(std::size_t server = 0) const { return servers_[server]->service != nullptr; }
  /// At the next start.
  void forget_everything() { servers_[0]->store = {}; }
  CrashStore& store(std::size_t server = 0) { return servers_[server]->store; }
  delivery::DeliveryService& service(std::size_t server = 0) { return *servers_[server]->service; }
  const delivery::RoomSequencer* room(std::size_t server = 0) const;
  /// A hostile operator's second server, which goes on from a copy of the first one's store. These people are led to it.
  std::size_t split(const std::vector<Person*>& people);
  /// What a hostile server or network does to a frame: changes it, or returns false to withhold it. Called when it is sent.
  std::function<bool(Person&, Bytes&)> on_down;
  std::function<bool(Person&, Bytes&)> on_up;
  /// A hostile server's own frame, in order with the others.
  void inject_down(Person& person, Bytes frame);
  void inject_up(Person& person, Bytes frame);

  // --- time
  void run(Duration duration);
  /// Runs until `condition` or `limit`. Returns how long it took.
  template <class Condition>
  std::optional<Duration> until(Condition condition, Duration limit = 60s) {
    const TimePoint start = now_;
    while (now_ - start < limit && !failure_) {
      if (condition()) return now_ - start;
      run(10ms);
    }
    return condition() ? std::optional(now_ - start) : std::nullopt;
  }
  void at(TimePoint when, std::function<void()> action);
  TimePoint now() const { return now_; }
  TimePoint local_now(const Person& person) const { return person.clock.local(now_); }
  /// Takes up what was done to sessions from outside.
  void pump_now();

  Dice& dice() { return dice_; }
  const WorldOptions& options() const { return options_; }

  // --- what is watched
  void set_observer(Observer* observer) { observer_ = observer; }
  /// The run ends here, with this as the reason; the first one counts.
  void fail(std::string what);
  const std::optional<std::string>& failure() const { return failure_; }
  void note(const std::string& line); ///< into the trace
  const std::string& trace() const { return trace_; }
  /// Of everything that happened, whether or not a trace is written.
  std::uint64_t fingerprint() const { return fingerprint_; }
  std::uint64_t steps() const { return steps_; }
  Weather weather() const;
  void count_partition() { ++weather_.partitions; }

 private:
  struct Item {
    enum class Kind : std::uint8_t { open, frame, close } kind = Kind::frame;
    Bytes bytes;
  };
  struct Link {
    Person* person = nullptr;
    std::size_t server = 0;
    std::uint64_t life = 0;
    bool client_side = true; ///< the client takes it for open
    bool server_side = true;
    std::deque<Item> up;
    std::deque<Item> down;
    std::size_t down_bytes = 0;
    std::size_t overdue = 0; ///< items of `down` that came while the person was frozen
    TimePoint last_up{};
    TimePoint last_down{};
  };
  struct Server {
    CrashStore store;
    std::unique_ptr<delivery::RoomTrace> trace; ///< see WorldOptions::room_trace
    std::unique_ptr<delivery::TracingStore> traced;
    std::unique_ptr<delivery::DeliveryService> service;
    std::uint64_t life = 0;
    std::uint64_t seen = 0; ///< entries that the observer has had
    bool had_room = false;
  };
  struct Event {
    enum class Kind : std::uint8_t { up, down, connect, action } kind = Kind::action;
    LinkId link = 0;
    Person* person = nullptr;
    std::function<void()> action;
  };

  void step(TimePoint at);
  void write_trace(Server& server);
  void schedule(TimePoint at, Event event);
  void deliver_up(LinkId id);
  void deliver_down(LinkId id);
  void handle_down(LinkId id, Item item);
  void deliver_down_together(LinkId first);
  void open(Person& person);
  void carry_up(LinkId id, Item item);
  void carry_down(LinkId id, Item item);
  void drain(Person& person);
  void drain(Server& server);
  void observe(Server& server);
  void handle(Person& person, call::SessionOutput output);
  void hang_up(Person& person);
  void client_lost(Person& person);
  void server_lost(LinkId id);
  void drop_link_if_done(LinkId id);
  void rearm(Person& person);
  void count_carried(const Person& person, Duration jitter, TimePoint arrives);
  void mix(std::uint64_t value) { fingerprint_ = (fingerprint_ ^ value) * 0x100000001b3; }
  void mix(ByteView bytes);
  Link* find(LinkId id);

  WorldOptions options_;
  Dice dice_;
  delivery::MlsGroupGateFactory gates_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::vector<std::unique_ptr<Person>> people_;
  std::map<LinkId, Link> links_;
  std::map<std::pair<TimePoint, std::uint64_t>, Event> events_; ///< equal times keep their order
  std::set<std::pair<TimePoint, std::size_t>> timers_;          ///< people by number
  std::uint64_t sequence_ = 0;
  LinkId last_link_ = 0;
  TimePoint now_ = TimePoint(1000s);
  std::uint64_t steps_ = 0;
  int break_every_ = 0;
  int carried_ = 0;
  Weather weather_;
  Observer* observer_ = nullptr;
  std::optional<std::string> failure_;
  std::string trace_;
  std::uint64_t fingerprint_ = 0xcbf29ce484222325;
};

/// One line for a person who reads a trace.
std::string describe(const signaling::ClientMessage& message);
std::string describe(const signaling::ServerMessage& message);
std::string describe(const call::SessionOutput& output);

} // namespace satsuma::sim
