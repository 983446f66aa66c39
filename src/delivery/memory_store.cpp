#include "delivery/memory_store.h"

#include <algorithm>

namespace satsuma::delivery {

StoreStatus MemoryStore::append(std::string_view room, const StoreAppend& append) {
  auto found = rooms_.find(room);
  const std::uint64_t next = found == rooms_.end() ? 0 : found->second.log_start + found->second.records.size();
  if (append.index != next) return StoreStatus::conflict;
  if (found == rooms_.end()) found = rooms_.emplace(room, StoredRoom{}).first;
  StoredRoom& stored = found->second;
  stored.records.push_back(append.record);
  if (append.joined) {
    stored.incarnations.push_back({append.joined->who, append.index, append.joined->resume_key_hash});
  }
  if (append.group) stored.group = *append.group;
  return StoreStatus::ok;
}

StoreStatus MemoryStore::trim(std::string_view room, const StoreTrim& trim) {
  const auto found = rooms_.find(room);
  if (found == rooms_.end()) return StoreStatus::conflict;
  StoredRoom& stored = found->second;
  if (trim.log_start < stored.log_start || trim.log_start > stored.log_start + stored.records.size()) {
    return StoreStatus::conflict;
  }
  stored.records.erase(stored.records.begin(),
                       stored.records.begin() + static_cast<std::ptrdiff_t>(trim.log_start - stored.log_start));
  stored.log_start = trim.log_start;
  stored.base = trim.base;
  std::erase_if(stored.incarnations, [&](const StoredIncarnation& one) {
    return std::ranges::find(trim.forgotten, one.who) != trim.forgotten.end();
  });
  return StoreStatus::ok;
}

StoreStatus MemoryStore::forget(std::string_view room) {
  const auto found = rooms_.find(room);
  if (found != rooms_.end()) rooms_.erase(found);
  return StoreStatus::ok;
}

Result<std::vector<std::string>> MemoryStore::rooms() {
  std::vector<std::string> names;
  for (const auto& [name, room] : rooms_) names.push_back(name);
  return names;
}

Result<std::optional<StoredRoom>> MemoryStore::load(std::string_view room) {
  const auto found = rooms_.find(room);
  if (found == rooms_.end()) return std::optional<StoredRoom>();
  return std::optional<StoredRoom>(found->second);
}

Result<std::optional<Bytes>> MemoryStore::read(std::string_view room, std::uint64_t index) {
  const auto found = rooms_.find(room);
  if (found == rooms_.end() || index < found->second.log_start) return std::optional<Bytes>();
  const std::uint64_t offset = index - found->second.log_start;
  if (offset >= found->second.records.size()) return std::optional<Bytes>();
  return std::optional<Bytes>(found->second.records[offset]);
}

} // namespace satsuma::delivery
