#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "call/client_session.h"
#include "delivery/delivery_service.h"
#include "delivery/memory_store.h"
#include "delivery/mls_group_gate.h"
#include "helpers.h"

namespace satsuma::call::test {

/// Sessions and one delivery service in virtual time, connected by links that take a moment and can break. No part of
/// either is replaced.
class World {
 public:
  static constexpr Duration link_delay = 20ms;

  struct Person {
    std::string name;
    std::unique_ptr<ClientSession> session;
    std::unique_ptr<SeededRandom> random;
    std::optional<delivery::ConnectionId> connection;
    std::optional<TimePoint> connect_at;
    bool crashed = false; ///< does nothing any more; its socket stays open
    bool closed = false;
    std::vector<EpochEvent> epochs;
    std::vector<SessionOutput> events; ///< all but SendBinary
    std::vector<std::string> received;

    template <class T>
    std::vector<T> all() const {
      std::vector<T> found;
      for (const SessionOutput& event : events) {
        if (const T* match = std::get_if<T>(&event)) found.push_back(*match);
      }
      return found;
    }
    bool in() const { return session->in_group(); }
    std::string digits() const { return epochs.empty() ? "" : epochs.back().safety_number.digits; }
    std::size_t roster_size() const { return session->roster().entries().size(); }
  };

  explicit World(SessionOptions options = {}) : options_(options) { start_server(); }

  RoomSuite suite = RoomSuite::standard; ///< of the link of those who are added

  Person& add(const std::string& name, std::uint8_t secret = 1, bool connect = true) {
    auto person = std::make_unique<Person>();
    person->name = name;
    person->random = std::make_unique<SeededRandom>(1000 + people_.size());
    SessionConfig config;
    config.room = "orchard";
    if (secret != 0) config.secret = secret_of(secret, 16);
    config.device_seed = secret_of(static_cast<std::uint8_t>(50 + people_.size()), 32);
    config.name = name;
    config.suite = suite;
    auto session = ClientSession::create(std::move(config), now_, unix_start, *person->random, options_);
    EXPECT_TRUE(session);
    person->session = std::make_unique<ClientSession>(std::move(*session));
    if (connect) person->connect_at = now_;
    people_.push_back(std::move(person));
    return *people_.back();
  }

  /// The socket breaks; both sides hear of it. Frames under way are lost.
  void cut(Person& person) {
    if (!person.connection) return;
    const auto id = *person.connection;
    person.connection.reset();
    owners_.erase(id);
    server_->handle_disconnected(now_, id);
    person.session->handle_disconnected(now_);
    pump();
  }
  void reconnect(Person& person, Duration after = {}) { person.connect_at = now_ + after; }
  /// The process dies: nothing is said, the socket breaks.
  void crash(Person& person) {
    cut(person);
    person.crashed = true;
    person.connect_at.reset();
  }
  /// The worker hangs while the browser keeps the socket open.
  void wedge(Person& person) { person.crashed = true; }

  /// At the next restart.
  void forget_everything() { store_ = {}; }
  void restart_server() {
    for (auto& person : people_) {
      if (!person->connection) continue;
      owners_.erase(*person->connection);
      person->connection.reset();
      if (person->crashed) continue;
      person->session->handle_disconnected(now_);
      person->connect_at = now_ + 500ms;
    }
    in_flight_ = {};
    start_server();
    EXPECT_TRUE(server_->load(now_));
    pump();
  }

  void run(Duration duration) {
    const TimePoint end = now_ + duration;
    for (;;) {
      pump();
      std::optional<TimePoint> next;
      const auto consider = [&](std::optional<TimePoint> at) {
        if (at && (!next || *at < *next)) next = at;
      };
      if (!in_flight_.empty()) consider(in_flight_.begin()->first);
      consider(server_->next_deadline());
      for (auto& person : people_) {
        if (person->crashed || person->closed) continue;
        consider(person->connect_at);
        consider(person->session->next_deadline());
      }
      if (!next || *next > end) break;
      now_ = std::max(now_, *next);
      step();
      if (++steps_ > 2'000'000) {
        ADD_FAILURE() << "the world does not come to rest";
        return;
      }
    }
    now_ = end;
  }

  /// Runs until `condition` or `limit`. Returns how long it took.
  template <class Condition>
  std::optional<Duration> until(Condition condition, Duration limit = 60s) {
    const TimePoint start = now_;
    while (now_ - start < limit) {
      if (condition()) return now_ - start;
      run(10ms);
    }
    return condition() ? std::optional(now_ - start) : std::nullopt;
  }

  TimePoint now() const { return now_; }
  const delivery::RoomSequencer* room() const { return server_->room("orchard"); }
  void pump_now() { pump(); }
  /// Drops this share of one in `n` frames by breaking the connection that carries it, and reconnects soon after.
  void break_every(int n) { break_every_ = n; }

  static constexpr UnixSeconds unix_start = 1'800'000'000;

 private:
  struct Frame {
    delivery::ConnectionId connection;
    bool to_server;
    Bytes bytes;
  };

  void start_server() { server_ = std::make_unique<delivery::DeliveryService>(delivery::DeliveryOptions{}, store_, gates_); }

  void step() {
    while (!in_flight_.empty() && in_flight_.begin()->first <= now_) {
      Frame frame = std::move(in_flight_.begin()->second);
      in_flight_.erase(in_flight_.begin());
      const auto owner = owners_.find(frame.connection);
      if (owner == owners_.end()) continue;
      if (break_every_ != 0 && ++carried_ % break_every_ == 0) {
        Person& victim = *owner->second;
        cut(victim);
        if (!victim.crashed && !victim.closed) reconnect(victim, 300ms);
        continue;
      }
      if (frame.to_server) server_->handle_frame(now_, frame.connection, frame.bytes);
      else if (!owner->second->crashed) owner->second->session->handle_frame(now_, frame.bytes);
      pump();
    }
    for (auto& person : people_) {
      if (person->crashed || person->closed) continue;
      if (person->connect_at && *person->connect_at <= now_) {
        person->connect_at.reset();
        person->connection = ++last_connection_;
        owners_[last_connection_] = person.get();
        server_->handle_connected(now_, last_connection_);
        person->session->handle_connected(now_);
        pump();
      }
      if (const auto at = person->session->next_deadline(); at && *at <= now_) {
        person->session->handle_timeout(now_);
        pump();
      }
    }
    if (const auto at = server_->next_deadline(); at && *at <= now_) server_->handle_timeout(now_);
    pump();
  }

  void pump() {
    for (bool busy = true; busy;) {
      busy = false;
      for (auto& person : people_) {
        if (person->crashed) continue;
        while (auto output = person->session->poll_output()) {
          busy = true;
          handle(*person, std::move(*output));
        }
      }
      while (auto output = server_->poll_output()) {
        busy = true;
        if (auto* send = std::get_if<delivery::Send>(&*output)) {
          carry({send->connection, false, std::move(send->bytes)});
        } else if (const auto* close = std::get_if<delivery::Close>(&*output)) {
          closing_.push_back(close->connection);
        }
      }
    }
    // A close comes after the frames before it.
    for (const auto id : std::exchange(closing_, {})) {
      const auto owner = owners_.find(id);
      if (owner == owners_.end()) continue;
      Person& person = *owner->second;
      for (auto it = in_flight_.begin(); it != in_flight_.end();) {
        if (it->second.connection == id && !it->second.to_server && !person.crashed) {
          person.session->handle_frame(now_, it->second.bytes);
          it = in_flight_.erase(it);
        } else {
          ++it;
        }
      }
      owners_.erase(id);
      if (person.connection == id) {
        person.connection.reset();
        if (!person.crashed) person.session->handle_disconnected(now_);
        if (!person.crashed && !person.closed && !person.connect_at) person.connect_at = now_ + 500ms;
      }
      pump();
    }
  }

  void handle(Person& person, SessionOutput output) {
    if (auto* send = std::get_if<SendBinary>(&output)) {
      if (person.connection) carry({*person.connection, true, std::move(send->frame)});
      return;
    }
    if (const auto* reconnect_request = std::get_if<Reconnect>(&output)) {
      hang_up(person);
      person.connect_at = now_ + reconnect_request->delay + link_delay;
    } else if (std::holds_alternative<Close>(output)) {
      hang_up(person);
      person.closed = true;
    } else if (const auto* epoch = std::get_if<EpochEvent>(&output)) {
      person.epochs.push_back(*epoch);
    } else if (const auto* message = std::get_if<ApplicationEvent>(&output)) {
      person.received.push_back(message->text);
    }
    person.events.push_back(std::move(output));
  }

  // What was sent before the close still arrives.
  void hang_up(Person& person) {
    if (!person.connection) return;
    const auto id = *person.connection;
    for (auto it = in_flight_.begin(); it != in_flight_.end();) {
      if (it->second.connection == id && it->second.to_server) {
        server_->handle_frame(now_, id, it->second.bytes);
        it = in_flight_.erase(it);
      } else {
        ++it;
      }
    }
    owners_.erase(id);
    person.connection.reset();
    server_->handle_disconnected(now_, id);
    person.session->handle_disconnected(now_);
  }

  void carry(Frame frame) { in_flight_.emplace(now_ + link_delay, std::move(frame)); }

  SessionOptions options_;
  delivery::MemoryStore store_;
  delivery::MlsGroupGateFactory gates_;
  std::unique_ptr<delivery::DeliveryService> server_;
  std::vector<std::unique_ptr<Person>> people_;
  std::map<delivery::ConnectionId, Person*> owners_;
  std::multimap<TimePoint, Frame> in_flight_; ///< equal times keep their order
  std::vector<delivery::ConnectionId> closing_;
  delivery::ConnectionId last_connection_ = 0;
  TimePoint now_ = TimePoint(1000s);
  std::uint64_t steps_ = 0;
  int break_every_ = 0;
  int carried_ = 0;
};

} // namespace satsuma::call::test
