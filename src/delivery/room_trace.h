#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>

#include "delivery/delivery_service.h"
#include "delivery/store.h"

namespace satsuma::delivery {

/// Writes down what happens in the rooms, one line for each action, for sim/explore's satsuma_replay, which says whether it is a behaviour of the
/// specification. For tests: it stands beside a DeliveryService, sees what goes in and out, and what the store gets.
///
///   start                              the service begins, or begins again
///   joined CONNECTION ROOM WHO CURSOR  `ready` was sent
///   ack CONNECTION CURSOR              ... and so on: a frame arrived
///   commit CONNECTION ERA EPOCH ADDED,...   - for nobody
///   genesis CONNECTION
///   goodbye CONNECTION
///   rejected CONNECTION REASON
///   closed CONNECTION
///   entry ROOM INDEX join WHO          the log grew
///   entry ROOM INDEX gone WHO
///   entry ROOM INDEX genesis WHO
///   entry ROOM INDEX commit WHO ERA EPOCH ADDED,... REMOVED,...
class RoomTrace {
 public:
  RoomTrace() { lines_.emplace_back("start"); }

  void handle_frame(ConnectionId connection, ByteView frame);
  void handle_disconnected(ConnectionId connection);
  void handle_output(const Output& output);
  void handle_append(std::string_view room, const StoreAppend& append);
  std::optional<std::string> poll_line();

 private:
  void close(ConnectionId connection);
  std::map<ConnectionId, std::uint64_t> cursors_; ///< of the hellos that were not answered
  std::map<ConnectionId, bool> ready_;
  std::deque<std::string> lines_;
};

/// A store that tells a trace what it keeps.
class TracingStore final : public Store {
 public:
  /// Both outlive it.
  TracingStore(Store& store, RoomTrace& trace) : store_(store), trace_(trace) {}

  StoreStatus append(std::string_view room, const StoreAppend& append) override {
    const StoreStatus status = store_.append(room, append);
    if (status == StoreStatus::ok) trace_.handle_append(room, append);
    if (status == StoreStatus::unknown) undecided_ = append;
    return status;
  }
  StoreStatus trim(std::string_view room, const StoreTrim& trim) override { return store_.trim(room, trim); }
  StoreStatus forget(std::string_view room) override { return store_.forget(room); }
  Result<std::vector<std::string>> rooms() override { return store_.rooms(); }
  Result<std::optional<StoredRoom>> load(std::string_view room) override { return store_.load(room); }
  Result<std::optional<Bytes>> read(std::string_view room, std::uint64_t index) override {
    auto found = store_.read(room, index);
    // The service asks what became of a write, and goes by what is there.
    if (found && *found && undecided_ && undecided_->index == index && **found == undecided_->record) trace_.handle_append(room, *undecided_);
    undecided_.reset();
    return found;
  }

 private:
  Store& store_;
  RoomTrace& trace_;
  std::optional<StoreAppend> undecided_;
};

} // namespace satsuma::delivery
