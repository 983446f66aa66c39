#pragma once

#include <map>

#include "delivery/store.h"

namespace satsuma::delivery {

/// Rooms that end with the process: for tests, the simulator, and servers that keep nothing on purpose.
class MemoryStore final : public Store {
 public:
  StoreStatus append(std::string_view room, const StoreAppend& append) override;
  StoreStatus trim(std::string_view room, const StoreTrim& trim) override;
  StoreStatus forget(std::string_view room) override;
  Result<std::vector<std::string>> rooms() override;
  Result<std::optional<StoredRoom>> load(std::string_view room) override;
  Result<std::optional<Bytes>> read(std::string_view room, std::uint64_t index) override;

 private:
  std::map<std::string, StoredRoom, std::less<>> rooms_;
};

} // namespace satsuma::delivery
