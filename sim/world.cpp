#include "sim/world.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace satsuma::sim {

namespace {

std::uint8_t kind_of(ByteView frame) { return frame.empty() ? std::uint8_t{0} : frame.front(); }
std::uint64_t short_of(ByteView frame) {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(frame.data()), frame.size()});
}

SecretBytes secret_of(std::uint8_t byte, std::size_t size) {
  SecretBytes secret(size);
  for (std::uint8_t& b : secret.mutable_view()) b = byte;
  return secret;
}

} // namespace

// --- what went wrong

std::array<std::pair<const char*, std::uint64_t>, Weather::kinds> Weather::list() const {
  return {{{"frames delayed", delayed},
           {"held up", held_up},
           {"lost", lost},
           {"overtaken", overtaken},
           {"repeated", repeated},
           {"partitions", partitions},
           {"cuts", cuts},
           {"half cuts", half_cuts},
           {"server stops", server_stops},
           {"server deaths", server_deaths},
           {"starts from the store", recoveries},
           {"writes unknown", writes_unknown},
           {"writes lost", writes_lost},
           {"crashes", crashes},
           {"silent crashes", silent_crashes},
           {"sleeps", sleeps},
           {"clocks that stood still", still_clocks},
           {"wedges", wedges},
           {"clocks that drift", drifting}}};
}

Weather& Weather::operator+=(const Weather& other) {
  for (auto field : {&Weather::delayed, &Weather::held_up, &Weather::lost, &Weather::overtaken, &Weather::repeated, &Weather::partitions, &Weather::cuts,
                     &Weather::half_cuts, &Weather::server_stops, &Weather::server_deaths, &Weather::recoveries, &Weather::writes_unknown,
                     &Weather::writes_lost, &Weather::crashes, &Weather::silent_crashes, &Weather::sleeps, &Weather::still_clocks, &Weather::wedges,
                     &Weather::drifting}) {
    this->*field += other.*field;
  }
  return *this;
}

Weather World::weather() const {
  Weather all = weather_;
  for (const auto& server : servers_) {
    all.writes_unknown += server->store.writes_unknown();
    all.writes_lost += server->store.writes_lost();
  }
  for (const auto& person : people_) {
    if (person->frozen) ++all.wedges;
    if (person->clock.parts_per_million != 0) ++all.drifting;
  }
  return all;
}

void World::count_carried(const Person& person, Duration jitter, TimePoint arrives) {
  if (jitter.count() > 0) ++weather_.delayed;
  if (person.unreachable_until > now_ && arrives >= person.unreachable_until) ++weather_.held_up;
}

// --- clocks

TimePoint LocalClock::local(TimePoint world) const {
  const std::int64_t passed = world.time_since_epoch().count();
  return TimePoint(Duration(passed + passed / 1'000'000 * parts_per_million + passed % 1'000'000 * parts_per_million / 1'000'000) + offset - stood_still);
}

TimePoint LocalClock::world(TimePoint wanted) const {
  const std::int64_t shown = (wanted.time_since_epoch() - offset + stood_still).count();
  auto guess = TimePoint(Duration(static_cast<std::int64_t>(static_cast<double>(shown) * 1e6 / static_cast<double>(1'000'000 + parts_per_million))));
  while (local(guess) < wanted) guess += std::max(Duration(1), (wanted - local(guess)) / 2);
  return guess;
}

// --- the world

World::World(WorldOptions options) : options_(std::move(options)), dice_(options_.seed) {
  if (const char* folder = std::getenv("SATSUMA_ROOM_TRACES"); folder != nullptr && options_.room_trace.empty()) {
    static unsigned worlds = 0;
    options_.room_trace = std::string(folder) + "/" + std::to_string(getpid()) + "-" + std::to_string(++worlds) + "-seed-" + std::to_string(options_.seed) + ".trace";
  }
  servers_.push_back(std::make_unique<Server>());
  start_server();
}
World::~World() { write_trace(*servers_[0]); }

Person& World::add(const std::string& name, std::uint8_t secret, bool connect, LocalClock clock, std::int64_t calendar_offset) {
  auto person = std::make_unique<Person>();
  person->name = name;
  person->number = people_.size();
  person->random = std::make_unique<Dice>(options_.seed * 1'000'003 + people_.size());
  person->admissible = secret == 1;
  person->clock = clock;
  person->delay = options_.delay;
  call::SessionConfig config;
  config.room = room_name;
  if (secret != 0) config.secret = secret_of(secret, call::room_secret_size);
  config.device_seed = SecretBytes(call::device_key_size);
  person->random->fill(config.device_seed.mutable_view());
  config.name = name;
  config.suite = suite;
  const UnixSeconds calendar = static_cast<UnixSeconds>(static_cast<std::int64_t>(unix_start) + calendar_offset +
                                                        std::chrono::duration_cast<std::chrono::seconds>(now_.time_since_epoch()).count());
  auto session = call::ClientSession::create(std::move(config), person->clock.local(now_), calendar, *person->random, options_.session);
  SATSUMA_CHECK(session.has_value());
  person->session = std::make_unique<call::ClientSession>(std::move(*session));
  people_.push_back(std::move(person));
  Person& added = *people_.back();
  if (connect) reconnect(added);
  return added;
}

void World::leave(Person& person) {
  note(person.name + " leaves");
  person.session->leave(local_now(person));
  drain(person);
}

void World::crash(Person& person, bool half_open) {
  note(person.name + (half_open ? " crashes without a word" : " crashes"));
  ++(half_open ? weather_.silent_crashes : weather_.crashes);
  person.crashed = true;
  person.connect_at.reset();
  rearm(person);
  if (!person.link) return;
  const LinkId id = *person.link;
  person.link.reset();
  find(id)->client_side = false;
  if (!half_open) carry_up(id, {Item::Kind::close, {}});
}

void World::freeze(Person& person) {
  if (!person.up()) return;
  note(person.name + " freezes");
  person.frozen = true;
  person.frozen_at = now_;
  rearm(person);
}

void World::thaw(Person& person, bool clock_stood_still) {
  if (!person.frozen || person.crashed || person.closed) return;
  note(person.name + " thaws");
  person.frozen = false;
  ++weather_.sleeps;
  if (clock_stood_still) {
    ++weather_.still_clocks;
    person.clock.stood_still += now_ - person.frozen_at;
  }
  std::vector<LinkId> waiting;
  for (const auto& [id, link] : links_) {
    if (link.person == &person && link.overdue > 0) waiting.push_back(id);
  }
  for (const LinkId id : waiting) {
    while (Link* link = find(id)) {
      if (link->overdue == 0 || person.frozen) break;
      --link->overdue;
      deliver_down(id);
    }
  }
  if (person.connect_at) reconnect(person, std::max(Duration{}, *person.connect_at - now_));
  rearm(person);
}

// --- the network

World::Link* World::find(LinkId id) {
  const auto found = links_.find(id);
  return found == links_.end() ? nullptr : &found->second;
}

void World::cut(Person& person) {
  if (!person.link) return;
  const LinkId id = *person.link;
  note(person.name + " is cut off");
  ++weather_.cuts;
  Link& link = *find(id);
  weather_.lost += link.up.size() + link.down.size();
  link.client_side = false;
  link.up.clear();
  link.down.clear();
  server_lost(id);
  client_lost(person);
  person.connect_at.reset();
  drop_link_if_done(id);
}

void World::cut_client_first(Person& person, Duration later) {
  if (!person.link) return;
  const LinkId id = *person.link;
  ++weather_.half_cuts;
  note(person.name + " loses its connection");
  find(id)->client_side = false;
  at(now_ + later, [this, id] {
    server_lost(id);
    drop_link_if_done(id);
  });
  client_lost(person);
}

void World::cut_server_first(Person& person, Duration later) {
  if (!person.link) return;
  const LinkId id = *person.link;
  ++weather_.half_cuts;
  note("the server loses the connection of " + person.name);
  server_lost(id);
  Link& link = *find(id);
  weather_.lost += link.up.size();
  link.up.clear();
  link.last_down = std::max(link.last_down, now_ + later);
  carry_down(id, {Item::Kind::close, {}});
}

void World::server_lost(LinkId id) {
  Link* link = find(id);
  if (link == nullptr || !link->server_side) return;
  link->server_side = false;
  Server& server = *servers_[link->server];
  if (server.service == nullptr) return;
  if (server.trace != nullptr) server.trace->handle_disconnected(id);
  server.service->handle_disconnected(now_, id);
  drain(server);
}

void World::client_lost(Person& person) {
  person.link.reset();
  if (!person.up()) return;
  person.session->handle_disconnected(local_now(person));
  drain(person);
  if (person.up() && !person.connect_at) {
    reconnect(person, options_.reconnect_after + (person.jitter.count() > 0 ? dice_.between(Duration{}, person.jitter) : Duration{}));
  }
}

void World::drop_link_if_done(LinkId id) {
  const Link* link = find(id);
  if (link != nullptr && !link->client_side && !link->server_side && link->up.empty() && link->down.empty()) links_.erase(id);
}

void World::reconnect(Person& person, Duration after) {
  person.connect_at = now_ + after;
  schedule(*person.connect_at, {Event::Kind::connect, 0, &person, {}});
}

bool World::connected(const Person& person) const {
  const auto link = person.link ? links_.find(*person.link) : links_.end();
  return link != links_.end() && link->second.client_side && link->second.server_side;
}

void World::hold_up(Person& person, Duration duration) {
  note(person.name + " is unreachable");
  person.unreachable_until = std::max(person.unreachable_until, now_ + duration);
}

void World::open(Person& person) {
  if (person.link || !person.up()) return;
  if (servers_[person.server]->service == nullptr) { // refused
    reconnect(person, options_.reconnect_after);
    return;
  }
  const LinkId id = ++last_link_;
  Link& link = links_[id];
  link.person = &person;
  link.server = person.server;
  person.link = id;
  carry_up(id, {Item::Kind::open, {}});
  person.session->handle_connected(local_now(person));
  drain(person);
}

void World::carry_up(LinkId id, Item item) {
  Link& link = *find(id);
  Person& person = *link.person;
  const Duration jitter = person.jitter.count() > 0 ? dice_.between(Duration{}, person.jitter) : Duration{};
  link.last_up = std::max({now_ + person.delay + jitter, link.last_up, person.unreachable_until});
  count_carried(person, jitter, link.last_up);
  link.up.push_back(std::move(item));
  schedule(link.last_up, {Event::Kind::up, id, nullptr, {}});
}

void World::carry_down(LinkId id, Item item) {
  Link* link = find(id);
  if (link == nullptr || (!link->client_side && !link->person->crashed)) return;
  Person& person = *link->person;
  const Duration jitter = person.jitter.count() > 0 ? dice_.between(Duration{}, person.jitter) : Duration{};
  link->last_down = std::max({now_ + person.delay + jitter, link->last_down, person.unreachable_until});
  count_carried(person, jitter, link->last_down);
  link->down_bytes += item.bytes.size();
  link->down.push_back(std::move(item));
  schedule(link->last_down, {Event::Kind::down, id, nullptr, {}});
}

void World::inject_down(Person& person, Bytes frame) {
  if (person.link) carry_down(*person.link, {Item::Kind::frame, std::move(frame)});
}

void World::inject_up(Person& person, Bytes frame) {
  if (person.link) carry_up(*person.link, {Item::Kind::frame, std::move(frame)});
}

void World::deliver_up(LinkId id) {
  Link* link = find(id);
  if (link == nullptr || link->up.empty()) return;
  Item item = std::move(link->up.front());
  link->up.pop_front();
  Server& server = *servers_[link->server];
  if (!link->server_side || server.service == nullptr) {
    ++weather_.lost;
    drop_link_if_done(id);
    return;
  }
  mix(item.bytes);
  switch (item.kind) {
    case Item::Kind::open: server.service->handle_connected(now_, id); break;
    case Item::Kind::frame:
      if (link->person->link && *link->person->link > id) ++weather_.overtaken;
      if (kind_of(item.bytes) == 3 || kind_of(item.bytes) == 4) weather_.repeated += link->person->arrived_up.insert(short_of(item.bytes)).second ? 0 : 1;
      if (server.trace != nullptr) server.trace->handle_frame(id, item.bytes);
      if (options_.trace) {
        const auto message = signaling::parse_client_message(item.bytes);
        note(link->person->name + " > " + (message ? describe(*message) : "what cannot be parsed"));
      }
      server.service->handle_frame(now_, id, item.bytes);
      break;
    case Item::Kind::close:
      link->server_side = false;
      if (server.trace != nullptr) server.trace->handle_disconnected(id);
      server.service->handle_disconnected(now_, id);
      break;
  }
  drain(server);
  drop_link_if_done(id);
}

void World::deliver_down(LinkId id) {
  Link* link = find(id);
  if (link == nullptr || link->down.empty()) return;
  if (link->person->frozen) {
    ++link->overdue;
    return;
  }
  Item item = std::move(link->down.front());
  link->down.pop_front();
  link->down_bytes -= item.bytes.size();
  handle_down(id, std::move(item));
  drop_link_if_done(id);
}

void World::handle_down(LinkId id, Item item) {
  Link& link = *find(id);
  Person& person = *link.person;
  if (!link.client_side || !person.up() || person.link != id) {
    ++weather_.lost;
    return;
  }
  mix(item.bytes);
  if (item.kind == Item::Kind::close) {
    note(person.name + " < close");
    link.client_side = false;
    client_lost(person);
    return;
  }
  if (break_every_ != 0 && ++carried_ % break_every_ == 0) {
    cut(person);
    if (person.up()) reconnect(person, 300ms);
    return;
  }
  if (options_.trace) {
    const auto message = signaling::parse_server_message(item.bytes);
    note(person.name + " < " + (message ? describe(*message) : "what cannot be parsed"));
  }
  if (kind_of(item.bytes) == 66) weather_.repeated += person.arrived_down.insert(short_of(item.bytes)).second ? 0 : 1;
  person.life = link.life;
  if (observer_ != nullptr) observer_->on_received(person, item.bytes);
  person.session->handle_frame(local_now(person), item.bytes);
  drain(person);
}

void World::deliver_down_together(LinkId first) {
  struct Delivery {
    LinkId link;
    Person* person;
    Bytes bytes;
  };
  std::vector<Delivery> together;
  std::set<const Person*> busy;
  // As far as nothing but a frame for somebody else comes at this moment.
  for (std::optional<LinkId> id = first; id;) {
    Link* link = find(*id);
    const bool plain = link != nullptr && !link->down.empty() && link->down.front().kind == Item::Kind::frame && link->client_side && link->person->up() &&
                       link->person->link == *id && break_every_ == 0 && observer_ == nullptr && !options_.trace;
    if (!plain || busy.contains(link->person)) {
      if (together.empty()) return deliver_down(*id);
      schedule(now_, {Event::Kind::down, *id, nullptr, {}});
      break;
    }
    Item item = std::move(link->down.front());
    link->down.pop_front();
    link->down_bytes -= item.bytes.size();
    mix(item.bytes);
    link->person->life = link->life;
    busy.insert(link->person);
    together.push_back({*id, link->person, std::move(item.bytes)});
    id.reset();
    if (!events_.empty() && events_.begin()->first.first <= now_ && events_.begin()->second.kind == Event::Kind::down) {
      id = events_.begin()->second.link;
      events_.erase(events_.begin());
    }
  }
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < together.size(); i = next++) together[i].person->session->handle_frame(local_now(*together[i].person), together[i].bytes);
  };
  {
    std::vector<std::jthread> helpers;
    const std::size_t cores = std::min<std::size_t>(options_.cores, together.size());
    for (std::size_t i = 1; i < cores; ++i) helpers.emplace_back(work);
    work();
  }
  for (const Delivery& one : together) {
    drain(*one.person);
    drop_link_if_done(one.link);
  }
}

// --- what sessions and servers want done

void World::drain(Person& person) {
  while (!person.crashed) {
    auto output = person.session->poll_output();
    if (!output) break;
    handle(person, std::move(*output));
  }
  rearm(person);
}

void World::handle(Person& person, call::SessionOutput output) {
  if (auto* send = std::get_if<call::SendBinary>(&output)) {
    if (!person.link) return;
    if (observer_ != nullptr) observer_->on_sent(person, send->frame);
    if (on_up && !on_up(person, send->frame)) return;
    carry_up(*person.link, {Item::Kind::frame, std::move(send->frame)});
    return;
  }
  if (options_.trace) note(person.name + " ! " + describe(output));
  if (const auto* again = std::get_if<call::Reconnect>(&output)) {
    hang_up(person);
    reconnect(person, again->delay + person.delay);
  } else if (std::holds_alternative<call::Close>(output)) {
    hang_up(person);
    person.closed = true;
    person.connect_at.reset();
  } else if (const auto* epoch = std::get_if<call::EpochEvent>(&output)) {
    mix(epoch->safety_number.bits);
    person.epochs.push_back(*epoch);
  } else if (const auto* message = std::get_if<call::ApplicationEvent>(&output)) {
    person.received.push_back(message->text);
  }
  if (observer_ != nullptr) observer_->on_event(person, output);
  person.events.push_back(std::move(output));
}

// What was sent before still arrives.
void World::hang_up(Person& person) {
  if (!person.link) return;
  const LinkId id = *person.link;
  person.link.reset();
  find(id)->client_side = false;
  carry_up(id, {Item::Kind::close, {}});
  person.session->handle_disconnected(local_now(person));
}

void World::rearm(Person& person) {
  if (person.timer) timers_.erase({*person.timer, person.number});
  person.timer.reset();
  if (!person.up()) return;
  const auto deadline = person.session->next_deadline();
  if (!deadline) return;
  person.timer = std::max(now_, person.clock.world(*deadline));
  timers_.emplace(*person.timer, person.number);
}

void World::drain(Server& server) {
  if (server.store.died()) {
    ++weather_.server_deaths;
    note("the server dies after a write");
    const std::size_t index = static_cast<std::size_t>(std::ranges::find(servers_, &server, [](const auto& one) { return one.get(); }) - servers_.begin());
    stop_server(index);
    at(now_ + 500ms, [this, index] { start_server(index); });
    return;
  }
  observe(server);
  std::vector<LinkId> overflowed;
  while (auto output = server.service->poll_output()) {
    if (server.trace != nullptr) server.trace->handle_output(*output);
    if (auto* send = std::get_if<delivery::Send>(&*output)) {
      Link* link = find(send->connection);
      if (link == nullptr) continue;
      if (on_down && !on_down(*link->person, send->bytes)) continue;
      carry_down(send->connection, {Item::Kind::frame, std::move(send->bytes)});
      if (link->down_bytes > options_.send_queue) overflowed.push_back(send->connection);
    } else if (const auto* close = std::get_if<delivery::Close>(&*output)) {
      if (Link* link = find(close->connection)) {
        link->server_side = false;
        carry_down(close->connection, {Item::Kind::close, {}});
        drop_link_if_done(close->connection);
      }
    } else if (const auto* joined = std::get_if<delivery::Joined>(&*output)) {
      if (Link* link = find(joined->connection)) link->life = server.life;
    }
  }
  for (const LinkId id : overflowed) {
    Link* link = find(id);
    if (link == nullptr || !link->server_side) continue;
    note("the send queue for " + link->person->name + " overflows");
    carry_down(id, {Item::Kind::close, {}});
    server_lost(id);
  }
}

void World::write_trace(Server& server) {
  if (server.trace == nullptr) return;
  std::FILE* file = std::fopen(options_.room_trace.c_str(), "a");
  SATSUMA_CHECK(file != nullptr);
  while (const auto line = server.trace->poll_line()) std::fprintf(file, "%s\n", line->c_str());
  std::fclose(file);
}

void World::observe(Server& server) {
  const delivery::RoomSequencer* room = server.service->room(room_name);
  if (room == nullptr) {
    if (!server.had_room) return;
    const auto stored = server.store.load(room_name);
    if (stored && *stored) return; // unloaded only
    ++server.life;
    server.seen = 0;
    server.had_room = false;
    return;
  }
  server.had_room = true;
  if (room->head() < server.seen) fail("the log became shorter");
  for (server.seen = std::max(server.seen, room->log_start()); server.seen < room->head(); ++server.seen) {
    if (observer_ != nullptr) observer_->on_entry(server.life, room->record(server.seen), room->roster_at(server.seen + 1));
  }
}

const delivery::RoomSequencer* World::room(std::size_t server) const {
  return servers_[server]->service == nullptr ? nullptr : servers_[server]->service->room(room_name);
}

void World::stop_server(std::size_t index) {
  Server& server = *servers_[index];
  if (server.service == nullptr) return;
  ++weather_.server_stops;
  note("the server stops");
  server.service.reset();
  server.store.crash();
  std::vector<LinkId> ids;
  for (const auto& [id, link] : links_) {
    if (link.server == index) ids.push_back(id);
  }
  for (const LinkId id : ids) {
    Link& link = *find(id);
    weather_.lost += link.up.size();
    link.server_side = false;
    link.up.clear();
    carry_down(id, {Item::Kind::close, {}}); // after what was sent before
    drop_link_if_done(id);
  }
}

void World::start_server(std::size_t index) {
  Server& server = *servers_[index];
  if (server.service != nullptr) return;
  note("the server starts");
  delivery::Store* store = &server.store;
  if (!options_.room_trace.empty() && index == 0) {
    write_trace(server);
    server.trace = std::make_unique<delivery::RoomTrace>();
    server.traced = std::make_unique<delivery::TracingStore>(server.store, *server.trace);
    store = server.traced.get();
  }
  server.service = std::make_unique<delivery::DeliveryService>(options_.delivery, *store, gates_);
  SATSUMA_CHECK(server.service->load(now_).has_value());
  if (server.service->room_count() > 0) ++weather_.recoveries;
  drain(server);
}

std::size_t World::split(const std::vector<Person*>& people) {
  auto second = std::make_unique<Server>();
  second->store = servers_[0]->store;
  second->life = 1'000'000;
  servers_.push_back(std::move(second));
  const std::size_t index = servers_.size() - 1;
  start_server(index);
  for (Person* person : people) {
    person->server = index;
    cut(*person);
    reconnect(*person);
  }
  return index;
}

// --- time

void World::schedule(TimePoint when, Event event) { events_.emplace(std::pair(std::max(when, now_), sequence_++), std::move(event)); }

void World::at(TimePoint when, std::function<void()> action) { schedule(when, {Event::Kind::action, 0, nullptr, std::move(action)}); }

void World::pump_now() {
  for (const auto& person : people_) {
    if (!person->frozen) drain(*person);
  }
  for (const auto& server : servers_) {
    if (server->service != nullptr) drain(*server);
  }
}

void World::run(Duration duration) {
  const TimePoint end = now_ + duration;
  pump_now();
  while (!failure_) {
    std::optional<TimePoint> next;
    const auto consider = [&](TimePoint when) {
      if (!next || when < *next) next = when;
    };
    if (!events_.empty()) consider(events_.begin()->first.first);
    if (!timers_.empty()) consider(timers_.begin()->first);
    for (const auto& server : servers_) {
      if (server->service == nullptr) continue;
      if (const auto deadline = server->service->next_deadline()) consider(*deadline);
    }
    if (!next || *next > end) break;
    now_ = std::max(now_, *next);
    step(now_);
    if (++steps_ > 20'000'000) fail("the world does not come to rest");
  }
  if (!failure_) now_ = end;
}

void World::step(TimePoint when) {
  mix(static_cast<std::uint64_t>(when.time_since_epoch().count()));
  if (!events_.empty() && events_.begin()->first.first <= when) {
    const Event event = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    switch (event.kind) {
      case Event::Kind::up: return deliver_up(event.link);
      case Event::Kind::down: return options_.cores > 1 ? deliver_down_together(event.link) : deliver_down(event.link);
      case Event::Kind::connect:
        if (event.person->connect_at && *event.person->connect_at <= when && !event.person->frozen) {
          event.person->connect_at.reset();
          open(*event.person);
        }
        return;
      case Event::Kind::action: return event.action();
    }
    return;
  }
  if (!timers_.empty() && timers_.begin()->first <= when) {
    Person& person = *people_[timers_.begin()->second];
    timers_.erase(timers_.begin());
    person.timer.reset();
    person.session->handle_timeout(local_now(person));
    return drain(person);
  }
  for (const auto& server : servers_) {
    if (server->service == nullptr) continue;
    if (const auto deadline = server->service->next_deadline(); deadline && *deadline <= when) {
      server->service->handle_timeout(when);
      return drain(*server);
    }
  }
}

// --- words

void World::fail(std::string what) {
  note("FAILURE: " + what);
  if (!options_.only_property.empty() && !what.starts_with(options_.only_property + ":")) return;
  if (!failure_) failure_ = std::move(what);
}

void World::note(const std::string& line) {
  if (!options_.trace) return;
  char time[32];
  const auto microseconds = now_.time_since_epoch().count();
  std::snprintf(time, sizeof time, "%6lld.%06lld ", static_cast<long long>(microseconds / 1'000'000), static_cast<long long>(microseconds % 1'000'000));
  trace_ += time;
  trace_ += line;
  trace_ += '\n';
}

void World::mix(ByteView bytes) {
  mix(bytes.size());
  while (bytes.size() >= 8) {
    std::uint64_t word = 0;
    for (int i = 0; i < 8; ++i) word = word << 8 | bytes[static_cast<std::size_t>(i)];
    mix(word);
    bytes = bytes.subspan(8);
  }
  for (const std::uint8_t byte : bytes) mix(byte);
}

} // namespace satsuma::sim
