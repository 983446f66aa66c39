#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "delivery/delivery_service.h"
#include "delivery/memory_store.h"
#include "delivery/symbolic_gate.h"

namespace satsuma::delivery::testing {

using namespace std::chrono_literals;
using signaling::ErrorReason;
using signaling::GoneCause;

/// The memory store with a disk that can fail.
class FaultyStore final : public Store {
 public:
  enum class Fault { none, unknown_but_written, unknown_and_lost, conflict };
  Fault fault = Fault::none;
  int faults_left = 1'000'000;
  bool readable = true;
  int trims = 0;

  StoreStatus append(std::string_view room, const StoreAppend& append) override {
    if (fault == Fault::none || faults_left == 0) return inner_.append(room, append);
    --faults_left;
    if (fault == Fault::conflict) return StoreStatus::conflict;
    if (fault == Fault::unknown_but_written) static_cast<void>(inner_.append(room, append));
    return StoreStatus::unknown;
  }
  StoreStatus trim(std::string_view room, const StoreTrim& trim) override {
    ++trims;
    return inner_.trim(room, trim);
  }
  StoreStatus forget(std::string_view room) override { return inner_.forget(room); }
  Result<std::vector<std::string>> rooms() override { return inner_.rooms(); }
  Result<std::optional<StoredRoom>> load(std::string_view room) override {
    if (!readable) return store_unreachable;
    return inner_.load(room);
  }
  Result<std::optional<Bytes>> read(std::string_view room, std::uint64_t index) override {
    if (!readable) return store_unreachable;
    return inner_.read(room, index);
  }

 private:
  MemoryStore inner_;
};

/// A delivery service with connections whose frames are collected, and a clock that the test moves.
class World {
 public:
  explicit World(Store& store, DeliveryOptions options = {}, GroupGateFactory* gates = nullptr)
      : store_(store), options_(options), gates_(gates != nullptr ? *gates : symbolic_) {
    restart();
  }

  struct Line {
    std::vector<signaling::ServerMessage> received;
    std::optional<std::uint16_t> closed;
  };

  /// As after SIGKILL: nothing but the store remains. Every connection is dead.
  void restart() {
    service.reset();
    lines.clear();
    events.clear();
    service = std::make_unique<DeliveryService>(options_, store_, gates_);
    ASSERT_TRUE(service->load(now).has_value());
    drain();
  }

  void pass(Duration time) {
    const TimePoint until = now + time;
    while (const auto next = service->next_deadline()) {
      if (*next > until) break;
      now = std::max(now, *next);
      service->handle_timeout(now);
      drain();
    }
    now = until;
    service->handle_timeout(now);
    drain();
  }

  ConnectionId connect() {
    const ConnectionId id = ++last_connection_;
    lines[id];
    service->handle_connected(now, id);
    drain();
    return id;
  }
  void disconnect(ConnectionId id) {
    service->handle_disconnected(now, id);
    drain();
  }
  void send(ConnectionId id, const signaling::ClientMessage& message) { send_bytes(id, signaling::write_client_message(message)); }
  void send_bytes(ConnectionId id, ByteView bytes) {
    service->handle_frame(now, id, bytes);
    drain();
  }

  static signaling::Hello hello(const Bytes& key_package, std::uint64_t cursor = 0, std::uint8_t key = 1, std::string room = "room") {
    signaling::Hello hello;
    hello.room = std::move(room);
    hello.key_package = key_package;
    for (auto& byte : hello.resume_key.mutable_view()) byte = key;
    hello.cursor = cursor;
    return hello;
  }
  ConnectionId enter(const IncarnationId& who, std::uint64_t cursor = 0, std::uint8_t key = 1, std::string room = "room") {
    const ConnectionId id = connect();
    send(id, hello(testing::key_package(who), cursor, key, std::move(room)));
    return id;
  }
  void ack_all(ConnectionId id) {
    const auto all = entries(id);
    send(id, signaling::Ack{all.empty() ? 0 : all.back().index + 1}); // without news: a sign of life
  }
  void commit(ConnectionId id, const IncarnationId& who, std::uint64_t era, std::uint64_t epoch, std::vector<IncarnationId> added,
              std::vector<IncarnationId> removed, std::size_t padding = 0) {
    send(id, signaling::Commit{era, epoch, testing::commit(who, added, removed), added.empty() ? Bytes{} : Bytes(1 + padding, 'W')});
  }

  template <class T>
  std::vector<T> of(ConnectionId id) const {
    std::vector<T> found;
    for (const auto& message : lines.at(id).received) {
      if (const auto* one = std::get_if<T>(&message)) found.push_back(*one);
    }
    return found;
  }
  std::vector<signaling::Entry> entries(ConnectionId id) const { return of<signaling::Entry>(id); }
  std::vector<std::uint64_t> indices(ConnectionId id) const {
    std::vector<std::uint64_t> all;
    for (const auto& entry : entries(id)) all.push_back(entry.index);
    return all;
  }
  signaling::Ready ready(ConnectionId id) const {
    const auto all = of<signaling::Ready>(id);
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? signaling::Ready{} : all.front();
  }
  std::optional<ErrorReason> error(ConnectionId id) const {
    const auto all = of<signaling::ErrorMessage>(id);
    if (all.empty()) return std::nullopt;
    EXPECT_EQ(all.size(), 1u);
    EXPECT_EQ(lines.at(id).closed, signaling::close_code(all.front().code));
    return all.front().code;
  }
  std::optional<signaling::Rejected::Reason> rejection(ConnectionId id) const {
    const auto all = of<signaling::Rejected>(id);
    if (all.empty()) return std::nullopt;
    return all.back().reason;
  }
  const RoomSequencer& room(std::string_view name = "room") const {
    const auto* found = service->room(name);
    SATSUMA_CHECK(found != nullptr);
    return *found;
  }

  TimePoint now{};
  std::unique_ptr<DeliveryService> service;
  std::map<ConnectionId, Line> lines;
  std::vector<Output> events; ///< what is neither Send nor Close

 private:
  void drain() {
    while (auto output = service->poll_output()) {
      if (const auto* send = std::get_if<Send>(&*output)) {
        auto message = signaling::parse_server_message(send->bytes);
        ASSERT_TRUE(message.has_value());
        ASSERT_FALSE(lines.at(send->connection).closed.has_value()) << "sent after close";
        lines.at(send->connection).received.push_back(std::move(*message));
      } else if (const auto* close = std::get_if<Close>(&*output)) {
        ASSERT_FALSE(lines.at(close->connection).closed.has_value()) << "closed twice";
        lines.at(close->connection).closed = close->code;
      } else {
        events.push_back(std::move(*output));
      }
    }
  }

  Store& store_;
  DeliveryOptions options_;
  SymbolicGateFactory symbolic_;
  GroupGateFactory& gates_;
  ConnectionId last_connection_ = 0;
};

} // namespace satsuma::delivery::testing
