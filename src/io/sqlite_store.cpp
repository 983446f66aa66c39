#include "io/sqlite_store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

namespace satsuma::io {

using delivery::StoreAppend;
using delivery::StoredIncarnation;
using delivery::StoredRoom;
using delivery::StoreStatus;
using delivery::StoreTrim;

namespace {

constexpr int schema_version = 2;
constexpr const char* schema = R"(
CREATE TABLE rooms (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  log_start INTEGER NOT NULL,
  next_index INTEGER NOT NULL,
  base BLOB NOT NULL,
  group_state BLOB NOT NULL
) STRICT;
CREATE TABLE records (
  room INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
  entry_index INTEGER NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (room, entry_index)
) STRICT;
CREATE TABLE incarnations (
  room INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
  who BLOB NOT NULL,
  join_index INTEGER NOT NULL,
  resume_key_hash BLOB NOT NULL,
  PRIMARY KEY (room, who)
) STRICT;
PRAGMA user_version = 2;
)";

struct DatabaseClose {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct StatementFinalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

/// One use of a prepared statement: bound, stepped, reset at the end.
class Query {
 public:
  explicit Query(sqlite3_stmt* statement) : statement_(statement) {}
  ~Query() {
    if (statement_ == nullptr) return; // could not be prepared: every step failed
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& bind(std::int64_t value) {
    sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }
  Query& bind(std::uint64_t value) { return bind(static_cast<std::int64_t>(value)); }
  Query& bind(std::string_view text) {
    sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    return *this;
  }
  Query& bind(ByteView blob) {
    // A null pointer would bind NULL instead of an empty blob.
    sqlite3_bind_blob(statement_, ++bound_, blob.empty() ? static_cast<const void*>("") : blob.data(),
                      static_cast<int>(blob.size()), SQLITE_STATIC);
    return *this;
  }

  /// SQLITE_ROW, SQLITE_DONE, or what went wrong.
  int step() { return sqlite3_step(statement_); }
  bool run() { return step() == SQLITE_DONE; }

  std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  ByteView blob(int column) const {
    const void* data = sqlite3_column_blob(statement_, column);
    return {static_cast<const std::uint8_t*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
  }

 private:
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

} // namespace

struct SqliteStore::Implementation {
  std::unique_ptr<sqlite3, DatabaseClose> database;
  std::map<const char*, std::unique_ptr<sqlite3_stmt, StatementFinalize>> statements; // by the literal's address

  /// Null when the statement cannot be prepared (a damaged file).
  sqlite3_stmt* prepare(const char* sql) {
    auto& statement = statements[sql];
    if (statement == nullptr) {
      sqlite3_stmt* raw = nullptr;
      sqlite3_prepare_v3(database.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
      statement.reset(raw);
    }
    return statement.get();
  }

  bool execute(const char* sql) { return sqlite3_exec(database.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK; }

  struct RoomRow {
    std::int64_t id = 0;
    std::uint64_t log_start = 0;
    std::uint64_t next_index = 0;
  };
  Result<std::optional<RoomRow>> find_room(std::string_view name) {
    Query query(prepare("SELECT id, log_start, next_index FROM rooms WHERE name = ?"));
    const int step = query.bind(name).step();
    if (step == SQLITE_DONE) return std::optional<RoomRow>();
    if (step != SQLITE_ROW) return delivery::store_unreachable;
    return std::optional<RoomRow>(RoomRow{query.integer(0), static_cast<std::uint64_t>(query.integer(1)),
                                          static_cast<std::uint64_t>(query.integer(2))});
  }

  StoreStatus write_append(std::string_view name, const StoreAppend& append);
  StoreStatus write_trim(std::string_view name, const StoreTrim& trim);

  template <class Work>
  StoreStatus transaction(Work work) {
    if (!execute("BEGIN IMMEDIATE")) return StoreStatus::unknown;
    StoreStatus status = work();
    // Whether a COMMIT that failed took place is not known before one reads.
    if (status == StoreStatus::ok && !execute("COMMIT")) status = StoreStatus::unknown;
    if (status != StoreStatus::ok) execute("ROLLBACK"); // fails harmlessly when SQLite has rolled back by itself
    return status;
  }
};

StoreStatus SqliteStore::Implementation::write_append(std::string_view name, const StoreAppend& append) {
  auto row = find_room(name);
  if (!row) return StoreStatus::unknown;
  if (!*row) {
    if (append.index != 0) return StoreStatus::conflict;
    Query insert(prepare(
        "INSERT INTO rooms (name, log_start, next_index, base, group_state) VALUES (?, 0, 0, x'', x'')"));
    if (!insert.bind(name).run()) return StoreStatus::unknown;
    *row = RoomRow{sqlite3_last_insert_rowid(database.get()), 0, 0};
  }
  const std::int64_t id = (*row)->id;
  if (append.index != (*row)->next_index) return StoreStatus::conflict;
  {
    Query insert(prepare("INSERT INTO records (room, entry_index, record) VALUES (?, ?, ?)"));
    if (!insert.bind(id).bind(append.index).bind(ByteView(append.record)).run()) return StoreStatus::unknown;
  }
  {
    Query update(prepare("UPDATE rooms SET next_index = ? WHERE id = ?"));
    if (!update.bind(append.index + 1).bind(id).run()) return StoreStatus::unknown;
  }
  if (append.joined) {
    Query insert(prepare("INSERT INTO incarnations (room, who, join_index, resume_key_hash) VALUES (?, ?, ?, ?)"));
    insert.bind(id).bind(append.joined->who.view()).bind(append.index);
    if (!insert.bind(ByteView(append.joined->resume_key_hash)).run()) return StoreStatus::unknown;
  }
  if (append.group) {
    Query update(prepare("UPDATE rooms SET group_state = ? WHERE id = ?"));
    if (!update.bind(ByteView(*append.group)).bind(id).run()) return StoreStatus::unknown;
  }
  return StoreStatus::ok;
}

StoreStatus SqliteStore::Implementation::write_trim(std::string_view name, const StoreTrim& trim) {
  const auto row = find_room(name);
  if (!row) return StoreStatus::unknown;
  if (!*row || trim.log_start < (*row)->log_start || trim.log_start > (*row)->next_index) return StoreStatus::conflict;
  const std::int64_t id = (*row)->id;
  {
    Query update(prepare("UPDATE rooms SET log_start = ?, base = ? WHERE id = ?"));
    if (!update.bind(trim.log_start).bind(ByteView(trim.base)).bind(id).run()) return StoreStatus::unknown;
  }
  {
    Query remove(prepare("DELETE FROM records WHERE room = ? AND entry_index < ?"));
    if (!remove.bind(id).bind(trim.log_start).run()) return StoreStatus::unknown;
  }
  for (const auto& who : trim.forgotten) {
    Query remove(prepare("DELETE FROM incarnations WHERE room = ? AND who = ?"));
    if (!remove.bind(id).bind(who.view()).run()) return StoreStatus::unknown;
  }
  return StoreStatus::ok;
}

SqliteStore::SqliteStore(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
SqliteStore::~SqliteStore() = default;

std::expected<std::unique_ptr<SqliteStore>, std::string> SqliteStore::open(const std::string& path) {
  const auto failure = [&path](std::string_view what) {
    return std::unexpected("The database " + path + " cannot be used: " + std::string(what));
  };
  // SQLite would create it readable by everybody; its side files take over the mode of this one.
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return failure(std::string(std::strerror(errno)) + ". Is the folder there and writable?");
  ::close(file);

  auto implementation = std::make_unique<Implementation>();
  sqlite3* raw = nullptr;
  const int opened = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  implementation->database.reset(raw);
  if (opened != SQLITE_OK) return failure(raw != nullptr ? sqlite3_errmsg(raw) : "out of memory");
  // A server that is being replaced may need a moment to let go.
  sqlite3_busy_timeout(raw, 5'000);
  for (const char* pragma :
       {"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL",
        "PRAGMA foreign_keys = ON", "PRAGMA secure_delete = ON", "PRAGMA journal_size_limit = 16777216",
        // Takes the lock now rather than at the first write.
        "BEGIN IMMEDIATE", "COMMIT"}) {
    if (!implementation->execute(pragma)) {
      const bool busy = sqlite3_errcode(raw) == SQLITE_BUSY;
      return failure(busy ? "another satsumad is using it" : sqlite3_errmsg(raw));
    }
  }
  int version = -1;
  {
    Query query(implementation->prepare("PRAGMA user_version"));
    if (query.step() == SQLITE_ROW) version = static_cast<int>(query.integer(0));
  }
  implementation->statements.clear();
  if (version == 0) {
    if (!implementation->execute("BEGIN IMMEDIATE") || !implementation->execute(schema) ||
        !implementation->execute("COMMIT")) {
      return failure(sqlite3_errmsg(raw));
    }
  } else if (version != schema_version) {
    return failure("it was written by another version of the program. Move it away to begin with a new one");
  }
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(implementation)));
}

StoreStatus SqliteStore::append(std::string_view room, const StoreAppend& append) {
  return implementation_->transaction([&] { return implementation_->write_append(room, append); });
}

StoreStatus SqliteStore::trim(std::string_view room, const StoreTrim& trim) {
  return implementation_->transaction([&] { return implementation_->write_trim(room, trim); });
}

StoreStatus SqliteStore::forget(std::string_view room) {
  return implementation_->transaction([&] {
    Query remove(implementation_->prepare("DELETE FROM rooms WHERE name = ?"));
    return remove.bind(room).run() ? StoreStatus::ok : StoreStatus::unknown;
  });
}

Result<std::vector<std::string>> SqliteStore::rooms() {
  std::vector<std::string> names;
  Query query(implementation_->prepare("SELECT name FROM rooms ORDER BY id"));
  int step = query.step();
  for (; step == SQLITE_ROW; step = query.step()) names.emplace_back(as_text(query.blob(0)));
  if (step != SQLITE_DONE) return delivery::store_unreachable;
  return names;
}

Result<std::optional<StoredRoom>> SqliteStore::load(std::string_view room) {
  SATSUMA_TRY(const auto row, implementation_->find_room(room));
  if (!row) return std::optional<StoredRoom>();
  StoredRoom stored;
  stored.log_start = row->log_start;
  {
    Query query(implementation_->prepare("SELECT base, group_state FROM rooms WHERE id = ?"));
    if (query.bind(row->id).step() != SQLITE_ROW) return delivery::store_unreachable;
    stored.base = to_bytes(query.blob(0));
    stored.group = to_bytes(query.blob(1));
  }
  {
    Query query(
        implementation_->prepare("SELECT entry_index, record FROM records WHERE room = ? ORDER BY entry_index"));
    query.bind(row->id);
    int step = query.step();
    for (; step == SQLITE_ROW; step = query.step()) {
      if (static_cast<std::uint64_t>(query.integer(0)) != stored.log_start + stored.records.size()) {
        return delivery::store_damaged;
      }
      stored.records.push_back(to_bytes(query.blob(1)));
    }
    if (step != SQLITE_DONE) return delivery::store_unreachable;
  }
  if (stored.log_start + stored.records.size() != row->next_index) return delivery::store_damaged;
  {
    Query query(implementation_->prepare(
        "SELECT who, join_index, resume_key_hash FROM incarnations WHERE room = ? ORDER BY join_index"));
    query.bind(row->id);
    int step = query.step();
    for (; step == SQLITE_ROW; step = query.step()) {
      StoredIncarnation one;
      const ByteView who = query.blob(0);
      const ByteView hash = query.blob(2);
      if (who.size() != one.who.bytes.size() || hash.size() != one.resume_key_hash.size()) {
        return delivery::store_damaged;
      }
      std::ranges::copy(who, one.who.bytes.begin());
      one.join_index = static_cast<std::uint64_t>(query.integer(1));
      std::ranges::copy(hash, one.resume_key_hash.begin());
      stored.incarnations.push_back(one);
    }
    if (step != SQLITE_DONE) return delivery::store_unreachable;
  }
  return std::optional<StoredRoom>(std::move(stored));
}

Result<std::optional<Bytes>> SqliteStore::read(std::string_view room, std::uint64_t index) {
  SATSUMA_TRY(const auto row, implementation_->find_room(room));
  if (!row) return std::optional<Bytes>();
  Query query(implementation_->prepare("SELECT record FROM records WHERE room = ? AND entry_index = ?"));
  const int step = query.bind(row->id).bind(index).step();
  if (step == SQLITE_DONE) return std::optional<Bytes>();
  if (step != SQLITE_ROW) return delivery::store_unreachable;
  return std::optional<Bytes>(to_bytes(query.blob(0)));
}

} // namespace satsuma::io
