#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "delivery/delivery_service.h"
#include "delivery/memory_store.h"
#include "symbolic_gate.h"

namespace satsuma::delivery::testing {

/// Turns bytes into a sequence of what six incarnations, the network, the clock and a SIGKILL may do to one room, and checks
/// after each step what must hold whatever happens. A violation ends the process; the same bytes give the same run.
class SequenceDriver {
 public:
  explicit SequenceDriver(ByteView script) : script_(script) { start(); }

  void run() {
    while (!script_.empty()) step();
  }
  std::size_t entries_seen() const { return entries_seen_; }
  std::size_t commits_seen() const { return commits_seen_; }

 private:
  static constexpr std::uint8_t people = 6;
  struct Line {
    std::optional<std::uint8_t> who; ///< once ready
    std::optional<std::uint64_t> next;
    bool closed = false;
  };

  std::uint8_t byte() {
    if (script_.empty()) return 0;
    const std::uint8_t value = script_[0];
    script_ = script_.subspan(1);
    return value;
  }

  void start() {
    DeliveryOptions options;
    options.max_connections = 8;
    options.room.live = 5;
    options.room.trim_entries = 3;
    options.room.log_entries = 24;
    options.window = 200;
    service_ = std::make_unique<DeliveryService>(options, store_, gates_);
    SATSUMA_CHECK(service_->load(now_).has_value());
    drain();
  }

  void step() {
    const std::uint8_t what = byte();
    const std::uint8_t who = what % people;
    const ConnectionId line = connection_of(byte());
    switch (what / people % 12) {
      case 0:
      case 1: enter(who, byte()); break;
      case 2: send(line, signaling::Ack{recall(byte())}); break;
      case 3: acknowledge_all(); break;
      case 4: send(line, signaling::Genesis{group_info(incarnation(sender(line, who)))}); break;
      case 5:
      case 6: commit(line, who, byte(), byte()); break;
      case 7:
        if (byte() % 2 == 0) send(line, signaling::Goodbye{});
        break;
      case 8:
        service_->handle_disconnected(now_, line);
        lines_.erase(line);
        break;
      case 9: pass(std::chrono::milliseconds(byte() % 8 == 0 ? 12'000 : 10 * byte())); break;
      case 10: {
        const std::size_t wanted = byte() % 32;
        const std::size_t size = std::min(wanted, script_.size());
        if (lines_.contains(line)) service_->handle_frame(now_, line, script_.first(size));
        script_ = script_.subspan(size);
        break;
      }
      case 11:
        if (byte() % 4 == 0) restart();
        break;
    }
    drain();
    check();
  }

  ConnectionId connection_of(std::uint8_t choice) const {
    if (lines_.empty()) return 0;
    auto at = lines_.begin();
    std::advance(at, choice % lines_.size());
    return at->first;
  }
  std::uint8_t sender(ConnectionId line, std::uint8_t otherwise) const {
    const auto found = lines_.find(line);
    return found != lines_.end() && found->second.who ? *found->second.who : otherwise;
  }
  /// A number near what is now: the head, minus a little.
  std::uint64_t recall(std::uint8_t back) const {
    const auto* room = service_->room("r");
    const std::uint64_t head = room != nullptr ? room->head() : 0;
    return head + 1 - std::min<std::uint64_t>(head + 1, back % 16);
  }

  void enter(std::uint8_t who, std::uint8_t back) {
    const ConnectionId id = ++last_connection_;
    lines_[id];
    service_->handle_connected(now_, id);
    drain();
    signaling::Hello hello;
    hello.room = "r";
    hello.key_package = key_package(incarnation(who));
    hello.cursor = back % 4 == 0 ? 0 : recall(back / 4);
    hello.resume_key.mutable_view()[0] = back == 255 ? 1 : 0;
    greeting_ = who;
    if (lines_.contains(id)) service_->handle_frame(now_, id, signaling::write_client_message(std::move(hello)));
    drain();
  }
  void send(ConnectionId line, const signaling::ClientMessage& message) {
    if (lines_.contains(line)) service_->handle_frame(now_, line, signaling::write_client_message(message));
  }
  void commit(ConnectionId line, std::uint8_t who, std::uint8_t added, std::uint8_t removed) {
    const auto* room = service_->room("r");
    if (room == nullptr) return;
    if (who % 4 != 0) { // mostly one that may
      for (const auto& [id, state] : lines_) {
        if (state.who && room->roster().is_live_member(incarnation(*state.who))) line = id;
      }
    }
    std::vector<IncarnationId> adds, removes;
    for (std::uint8_t i = 0; i < people; ++i) {
      const auto id = incarnation(i);
      // Mostly what the log asks for, now and then what it does not.
      if ((room->roster().find_waiting(id) != nullptr) != ((added & 0xc0) == 0xc0 && (added >> i & 1))) adds.push_back(id);
      if (room->roster().is_gone(id) != ((removed & 0xc0) == 0xc0 && (removed >> i & 1))) removes.push_back(id);
    }
    const std::uint64_t epoch = room->roster().epoch() + ((added & 0x30) == 0x30 ? 1 : 0);
    send(line, signaling::Commit{room->roster().era(), epoch, testing::commit(incarnation(sender(line, who)), adds, removes),
                                 adds.empty() ? Bytes{} : Bytes{'W'}});
  }
  void acknowledge_all() {
    std::vector<std::pair<ConnectionId, std::uint64_t>> acks;
    for (const auto& [id, line] : lines_) {
      if (line.next) acks.emplace_back(id, *line.next);
    }
    for (const auto& [id, cursor] : acks) {
      send(id, signaling::Ack{cursor});
      drain();
    }
  }
  void pass(Duration time) {
    now_ += time;
    service_->handle_timeout(now_);
    SATSUMA_CHECK(!service_->next_deadline() || *service_->next_deadline() > now_);
  }
  void restart() {
    const auto* before = service_->room("r");
    std::optional<signaling::Snapshot> snapshot;
    std::uint64_t head = 0;
    if (before != nullptr) {
      snapshot = before->roster().snapshot();
      head = before->head();
    }
    lines_.clear();
    start();
    const auto* after = service_->room("r");
    SATSUMA_CHECK((after != nullptr) == snapshot.has_value());
    if (after != nullptr) SATSUMA_CHECK(after->roster().snapshot() == *snapshot && after->head() == head);
  }

  void drain() {
    while (auto output = service_->poll_output()) {
      if (const auto* send = std::get_if<Send>(&*output)) {
        const auto found = lines_.find(send->connection);
        SATSUMA_CHECK(found != lines_.end() && !found->second.closed);
        SATSUMA_CHECK(send->bytes.size() <= signaling::max_frame_size);
        const auto message = signaling::parse_server_message(send->bytes);
        SATSUMA_CHECK(message.has_value());
        if (std::holds_alternative<signaling::Ready>(*message)) found->second.who = greeting_;
        if (const auto* entry = std::get_if<signaling::Entry>(&*message)) see(found->second, *entry, send->bytes);
      } else if (const auto* close = std::get_if<Close>(&*output)) {
        lines_.at(close->connection).closed = true;
      }
    }
    std::erase_if(lines_, [](const auto& one) { return one.second.closed; });
  }

  /// Everybody sees the same log, each of them in order and without gaps.
  void see(Line& line, const signaling::Entry& entry, const Bytes& bytes) {
    ++entries_seen_;
    SATSUMA_CHECK(line.who.has_value());
    SATSUMA_CHECK(!line.next || *line.next == entry.index);
    line.next = entry.index + 1;
    const auto [known, fresh] = log_.emplace(entry.index, bytes);
    SATSUMA_CHECK(known->second == bytes);
    if (const auto* commit = std::get_if<signaling::CommitEntry>(&entry.body)) {
      const auto [winner, first] = winners_.emplace(std::pair(commit->era, commit->epoch), entry.index);
      SATSUMA_CHECK(winner->second == entry.index); // one commit for each epoch
      commits_seen_ += first ? 1 : 0;
    }
  }

  void check() {
    const auto* room = service_->room("r");
    if (room == nullptr) { // forgotten, and with it the log's numbers
      log_.clear();
      winners_.clear();
      return;
    }
    const auto& snapshot = room->roster().snapshot();
    std::set<IncarnationId> members(snapshot.members.begin(), snapshot.members.end());
    SATSUMA_CHECK(members.size() == snapshot.members.size());
    std::set<IncarnationId> gone(snapshot.gone.begin(), snapshot.gone.end());
    SATSUMA_CHECK(gone.size() == snapshot.gone.size());
    for (const auto& who : gone) SATSUMA_CHECK(members.contains(who));
    for (const auto& one : snapshot.waiting) SATSUMA_CHECK(!members.contains(one.who));
    SATSUMA_CHECK(room->roster().live_count() <= 5);
    SATSUMA_CHECK(room->log_start() <= room->lowest_cursor());
    SATSUMA_CHECK(room->head() - room->log_start() <= 24 + 8); // a bound, and what one step may add
    // Folding the log gives the roster.
    SATSUMA_CHECK(room->roster_at(room->head()).snapshot() == snapshot);
  }

  ByteView script_;
  TimePoint now_{};
  MemoryStore store_;
  SymbolicGateFactory gates_;
  std::unique_ptr<DeliveryService> service_;
  std::map<ConnectionId, Line> lines_;
  ConnectionId last_connection_ = 0;
  std::uint8_t greeting_ = 0;
  std::map<std::uint64_t, Bytes> log_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> winners_;
  std::size_t entries_seen_ = 0;
  std::size_t commits_seen_ = 0;
};

} // namespace satsuma::delivery::testing
