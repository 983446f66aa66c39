#include "io/sqlite_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "delivery/service_world.h"

namespace satsuma::io {
namespace {

using namespace delivery;
using namespace delivery::testing;

const IncarnationId a = incarnation(1), b = incarnation(2), c = incarnation(3);

class SqliteStoreTest : public ::testing::Test {
 protected:
  SqliteStoreTest() {
    char name[] = "/tmp/satsuma-sqlite-XXXXXX";
    folder = ::mkdtemp(name);
    path = folder / "rooms.db";
  }
  ~SqliteStoreTest() override { std::filesystem::remove_all(folder); }

  std::unique_ptr<SqliteStore> open() {
    auto store = SqliteStore::open(path);
    if (!store) {
      ADD_FAILURE() << store.error();
      return nullptr;
    }
    return std::move(*store);
  }

  std::filesystem::path folder, path;
};

ResumeKeyHash hash_of(std::uint8_t value) {
  ResumeKeyHash hash;
  hash.fill(value);
  return hash;
}

TEST_F(SqliteStoreTest, WhatWasAppendedIsThereAfterOpeningAgain) {
  {
    auto store = open();
    EXPECT_EQ(store->append("one", {0, {1, 2, 3}, StoreAppend::Incarnation{a, hash_of(9)}, std::nullopt}), StoreStatus::ok);
    EXPECT_EQ(store->append("one", {1, {4}, std::nullopt, Bytes{7, 7}}), StoreStatus::ok);
    EXPECT_EQ(store->append("two", {0, {}, StoreAppend::Incarnation{b, hash_of(8)}, std::nullopt}), StoreStatus::ok);
  }
  auto store = open();
  EXPECT_EQ(store->rooms().value(), (std::vector<std::string>{"one", "two"}));
  const auto room = store->load("one").value();
  ASSERT_TRUE(room.has_value());
  EXPECT_EQ(room->log_start, 0u);
  EXPECT_TRUE(room->base.empty());
  EXPECT_EQ(room->records, (std::vector<Bytes>{{1, 2, 3}, {4}}));
  EXPECT_EQ(room->group, (Bytes{7, 7}));
  ASSERT_EQ(room->incarnations.size(), 1u);
  EXPECT_EQ(room->incarnations[0].who, a);
  EXPECT_EQ(room->incarnations[0].join_index, 0u);
  EXPECT_EQ(room->incarnations[0].resume_key_hash, hash_of(9));
  EXPECT_EQ(store->load("three").value(), std::nullopt);
  EXPECT_EQ(store->read("one", 1).value(), Bytes{4});
  EXPECT_EQ(store->read("one", 2).value(), std::nullopt);
  EXPECT_EQ(store->read("three", 0).value(), std::nullopt);
  EXPECT_EQ(store->load("two").value()->records, std::vector<Bytes>{{}});
}

TEST_F(SqliteStoreTest, AnIndexIsTakenOnce) {
  auto store = open();
  EXPECT_EQ(store->append("r", {1, {1}, {}, {}}), StoreStatus::conflict) << "a gap";
  EXPECT_EQ(store->load("r").value(), std::nullopt) << "and no room by the way";
  EXPECT_EQ(store->append("r", {0, {1}, {}, {}}), StoreStatus::ok);
  EXPECT_EQ(store->append("r", {0, {2}, {}, {}}), StoreStatus::conflict);
  EXPECT_EQ(store->append("r", {2, {2}, {}, {}}), StoreStatus::conflict);
  EXPECT_EQ(store->read("r", 0).value(), Bytes{1});
  EXPECT_EQ(store->append("r", {1, {2}, {}, {}}), StoreStatus::ok);
}

TEST_F(SqliteStoreTest, AnEntryIsWrittenWholeOrNotAtAll) {
  auto store = open();
  EXPECT_EQ(store->append("r", {0, {1}, StoreAppend::Incarnation{a, hash_of(1)}, {}}), StoreStatus::ok);
  // The incarnation is there already, so the second statement of the transaction fails.
  EXPECT_EQ(store->append("r", {1, {2}, StoreAppend::Incarnation{a, hash_of(2)}, {}}), StoreStatus::unknown);
  EXPECT_EQ(store->read("r", 1).value(), std::nullopt);
  EXPECT_EQ(store->append("r", {1, {3}, {}, {}}), StoreStatus::ok);
}

TEST_F(SqliteStoreTest, TrimmingDropsRecordsAndForgottenIncarnationsAndTheLogGoesOn) {
  {
    auto store = open();
    for (std::uint8_t i = 0; i < 10; ++i) {
      EXPECT_EQ(store->append("r", {i, {i}, StoreAppend::Incarnation{incarnation(i), hash_of(i)}, {}}), StoreStatus::ok);
    }
    EXPECT_EQ(store->trim("r", {7, {5, 5}, {incarnation(0), incarnation(3)}}), StoreStatus::ok);
    EXPECT_EQ(store->trim("r", {6, {}, {}}), StoreStatus::conflict) << "backwards";
    EXPECT_EQ(store->trim("r", {11, {}, {}}), StoreStatus::conflict) << "beyond the head";
    EXPECT_EQ(store->trim("none", {0, {}, {}}), StoreStatus::conflict);
  }
  auto store = open();
  const auto room = *store->load("r").value();
  EXPECT_EQ(room.log_start, 7u);
  EXPECT_EQ(room.base, (Bytes{5, 5}));
  EXPECT_EQ(room.records, (std::vector<Bytes>{{7}, {8}, {9}}));
  EXPECT_EQ(room.incarnations.size(), 8u);
  EXPECT_EQ(store->append("r", {10, {1}, {}, {}}), StoreStatus::ok);
  EXPECT_EQ(store->trim("r", {11, {}, {}}), StoreStatus::ok);
  EXPECT_EQ(store->append("r", {11, {1}, {}, {}}), StoreStatus::ok) << "after all was trimmed";
}

TEST_F(SqliteStoreTest, AForgottenRoomLeavesNothing) {
  auto store = open();
  EXPECT_EQ(store->append("r", {0, {1}, StoreAppend::Incarnation{a, hash_of(1)}, Bytes{1}}), StoreStatus::ok);
  EXPECT_EQ(store->forget("r"), StoreStatus::ok);
  EXPECT_EQ(store->forget("r"), StoreStatus::ok);
  EXPECT_TRUE(store->rooms().value().empty());
  EXPECT_EQ(store->append("r", {0, {2}, StoreAppend::Incarnation{a, hash_of(1)}, {}}), StoreStatus::ok);
  EXPECT_EQ(store->load("r").value()->incarnations.size(), 1u);
  EXPECT_TRUE(store->load("r").value()->group.empty());
}

TEST_F(SqliteStoreTest, TheFileIsItsOwnersOnly) {
  auto store = open();
  EXPECT_EQ(store->append("r", {0, {1}, {}, {}}), StoreStatus::ok);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    struct stat info {};
    ASSERT_EQ(::stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << entry.path();
  }
}

TEST_F(SqliteStoreTest, WhatCannotBeOpenedSaysWhy) {
  EXPECT_NE(SqliteStore::open(folder / "missing" / "rooms.db").error().find("No such file"), std::string::npos);
  std::ofstream(path) << "this is not a database, and long enough to be looked at as one";
  EXPECT_NE(SqliteStore::open(path).error().find("not a database"), std::string::npos);
}

/// Runs `work` in a process of its own, which is killed as soon as it has said so.
template <class Work>
void run_and_kill(Work work) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    work();
    const char done = 1;
    static_cast<void>(::write(pipe[1], &done, 1));
    for (;;) ::pause();
  }
  ::close(pipe[1]);
  char done = 0;
  EXPECT_EQ(::read(pipe[0], &done, 1), 1);
  ::close(pipe[0]);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
}

TEST_F(SqliteStoreTest, AppendsSurviveThatTheProcessIsKilled) {
  run_and_kill([this] {
    auto store = open();
    for (std::uint8_t i = 0; i < 100; ++i) {
      if (store->append("r", {i, Bytes(1000, i), {}, {}}) != StoreStatus::ok) std::abort();
    }
  });
  auto store = open();
  const auto room = *store->load("r").value();
  ASSERT_EQ(room.records.size(), 100u);
  EXPECT_EQ(room.records[99], Bytes(1000, 99));
}

TEST_F(SqliteStoreTest, ADeliveryServiceKilledInACallGoesOnWithItsRooms) {
  run_and_kill([this] {
    auto store = open();
    World w(*store);
    const auto ca = w.enter(a);
    w.send(ca, signaling::Genesis{group_info(a)});
    w.enter(b);
    w.commit(ca, a, 1, 0, {b}, {});
    w.enter(c);
  });
  auto store = open();
  World w(*store);
  EXPECT_EQ(w.room().roster().members(), (std::vector{a, b}));
  const auto ca = w.enter(a, 5);
  const auto cb = w.enter(b, 4);
  EXPECT_TRUE(w.ready(ca).resumed);
  EXPECT_TRUE(w.ready(cb).resumed);
  EXPECT_EQ(w.indices(cb), std::vector<std::uint64_t>{4});
  w.commit(ca, a, 1, 1, {c}, {});
  EXPECT_EQ(w.room().roster().members(), (std::vector{a, b, c}));
  EXPECT_EQ(w.error(w.enter(b, 4, 99)), ErrorReason::not_yours);
}

TEST_F(SqliteStoreTest, ALongCallIsTrimmedInTheFileToo) {
  auto store = open();
  World w(*store);
  const auto ca = w.enter(a);
  w.send(ca, signaling::Genesis{group_info(a)});
  for (std::uint64_t epoch = 0; epoch < 300; ++epoch) {
    w.commit(ca, a, 1, epoch, {}, {});
    w.ack_all(ca);
    w.pass(1s); // renewals may come once a second
  }
  EXPECT_LT(store->load("room").value()->records.size(), 70u);
  w.restart();
  EXPECT_EQ(w.room().roster().epoch(), 300u);
  EXPECT_EQ(w.room().head(), 302u);
}

TEST_F(SqliteStoreTest, TheFileHasOneUserAtATime) {
  auto store = open();
  // A second process: SQLite's locks do not hold within one.
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto other = SqliteStore::open(path);
    ::_exit(other ? 1 : other.error().find("another satsumad") == std::string::npos ? 2 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

} // namespace
} // namespace satsuma::io
