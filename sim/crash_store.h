#pragma once

#include <functional>
#include <vector>

#include "delivery/memory_store.h"

namespace satsuma::sim {

/// A store whose process can die: what `append` answered `ok` to survives, what was only trimmed since may come back. Its
/// disk can fail too. For one room.
class CrashStore final : public delivery::Store {
 public:
  enum class Fault : std::uint8_t { none, unknown_but_written, unknown_and_lost };

  /// The process ends: only what was durable is left.
  void crash() {
    present_ = durable_;
    not_durable_.clear();
    fault_ = Fault::none;
    dies_at_next_append_ = died_ = false;
  }
  /// The next writes fail in this way.
  void fail(Fault fault, int times) {
    fault_ = fault;
    faults_left_ = times;
  }
  /// The process dies right after its next write became durable, before it says so to anybody.
  void die_at_next_append() { dies_at_next_append_ = true; }
  void mend() {
    fault_ = Fault::none;
    dies_at_next_append_ = false;
  }
  bool died() const { return died_; }
  std::uint64_t writes_unknown() const { return writes_unknown_; }
  std::uint64_t writes_lost() const { return writes_lost_; }

  delivery::StoreStatus append(std::string_view room, const delivery::StoreAppend& append) override {
    if (fault_ != Fault::none && faults_left_ > 0) {
      --faults_left_;
      ++(fault_ == Fault::unknown_but_written ? writes_unknown_ : writes_lost_);
      if (fault_ == Fault::unknown_but_written) static_cast<void>(write(room, append));
      return delivery::StoreStatus::unknown;
    }
    const auto status = write(room, append);
    if (dies_at_next_append_ && status == delivery::StoreStatus::ok) died_ = true;
    return status;
  }
  delivery::StoreStatus trim(std::string_view room, const delivery::StoreTrim& trim) override {
    not_durable_.push_back([name = std::string(room), trim](delivery::MemoryStore& store) { static_cast<void>(store.trim(name, trim)); });
    return present_.trim(room, trim);
  }
  delivery::StoreStatus forget(std::string_view room) override {
    static_cast<void>(durable_.forget(room));
    not_durable_.clear(); // one room
    return present_.forget(room);
  }
  Result<std::vector<std::string>> rooms() override { return present_.rooms(); }
  Result<std::optional<delivery::StoredRoom>> load(std::string_view room) override { return present_.load(room); }
  Result<std::optional<Bytes>> read(std::string_view room, std::uint64_t index) override { return present_.read(room, index); }

 private:
  /// Writes become durable in their order.
  delivery::StoreStatus write(std::string_view room, const delivery::StoreAppend& append) {
    for (const auto& earlier : not_durable_) earlier(durable_);
    not_durable_.clear();
    static_cast<void>(durable_.append(room, append));
    return present_.append(room, append);
  }

  delivery::MemoryStore present_; ///< as the process sees it
  delivery::MemoryStore durable_;
  std::vector<std::function<void(delivery::MemoryStore&)>> not_durable_;
  Fault fault_ = Fault::none;
  int faults_left_ = 0;
  bool dies_at_next_append_ = false;
  bool died_ = false;
  std::uint64_t writes_unknown_ = 0;
  std::uint64_t writes_lost_ = 0;
};

} // namespace satsuma::sim
