#pragma once

#include <expected>
#include <memory>
#include <string>

#include "delivery/store.h"

namespace satsuma::io {

/// The rooms' logs in one SQLite file, of which this process is the only user (it holds SQLite's exclusive lock).
///
/// Write-ahead log with synchronous=NORMAL: an append that answered `ok` is with the operating system and survives that
/// the process is killed at any moment. It is not forced to the disk, so a power loss or a crash of the kernel may take
/// the last appends, never half of one and never one from the middle. Clients that saw more than the file then has are
/// told that they are gone and enter again.
class SqliteStore final : public delivery::Store {
 public:
  /// Creates the file, readable by its owner only, when it is not there. The error is a sentence for the person who
  /// started the program.
  static std::expected<std::unique_ptr<SqliteStore>, std::string> open(const std::string& path);
  ~SqliteStore() override;
  SqliteStore(const SqliteStore&) = delete;
  SqliteStore& operator=(const SqliteStore&) = delete;

  delivery::StoreStatus append(std::string_view room, const delivery::StoreAppend& append) override;
  delivery::StoreStatus trim(std::string_view room, const delivery::StoreTrim& trim) override;
  delivery::StoreStatus forget(std::string_view room) override;
  Result<std::vector<std::string>> rooms() override;
  Result<std::optional<delivery::StoredRoom>> load(std::string_view room) override;
  Result<std::optional<Bytes>> read(std::string_view room, std::uint64_t index) override;

  struct Implementation;

 private:
  explicit SqliteStore(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

} // namespace satsuma::io
