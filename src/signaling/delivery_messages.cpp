#include "signaling/delivery_messages.h"

#include <algorithm>
#include <utility>

#include "codec/tls.h"
#include "crypto/hash.h"

namespace satsuma::signaling {
namespace {

enum class Type : std::uint8_t {
  hello = 1,
  ack = 2,
  genesis = 3,
  commit = 4,
  application = 5,
  goodbye = 6,
  report = 7,
  ready = 65,
  entry = 66,
  rejected = 67,
  relayed = 68,
  error = 69,
  present = 70,
  waiting_part = 71,
  tree_part = 72,
};

enum class EntryType : std::uint8_t { join = 1, gone = 2, genesis = 3, commit = 4 };

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

// ---- RFC 9420 s.2.1.2: a vector whose length stands before it

Result<ByteView> read_vector(ByteReader& reader, std::size_t min, std::size_t max) {
  SATSUMA_TRY(const std::uint32_t size, codec::read_varint(reader));
  if (size > max) return message_too_large;
  if (size < min) return message_bad_field;
  return reader.bytes(size);
}

void write_vector(ByteWriter& writer, ByteView bytes, std::size_t min, std::size_t max) {
  SATSUMA_CHECK(bytes.size() >= min && bytes.size() <= max);
  codec::write_opaque(writer, bytes);
}

Result<Bytes> read_opaque(ByteReader& reader, std::size_t min, std::size_t max) {
  SATSUMA_TRY(ByteView view, read_vector(reader, min, max));
  return to_bytes(view);
}

// ---- pieces

Result<IncarnationId> read_incarnation(ByteReader& reader) {
  SATSUMA_TRY(ByteView view, reader.bytes(IncarnationId::size));
  IncarnationId id;
  std::copy(view.begin(), view.end(), id.bytes.begin());
  return id;
}

Result<bool> read_bool(ByteReader& reader) {
  SATSUMA_TRY(std::uint8_t value, reader.u8());
  if (value > 1) return message_bad_field;
  return value == 1;
}

/// Commit and Welcome travel in one entry, so their bound is on the sum.
Result<std::pair<Bytes, Bytes>> read_commit_and_welcome(ByteReader& reader) {
  SATSUMA_TRY(Bytes commit, read_opaque(reader, 1, max_handshake_size));
  SATSUMA_TRY(Bytes welcome, read_opaque(reader, 0, max_handshake_size - commit.size()));
  return std::pair(std::move(commit), std::move(welcome));
}

void write_commit_and_welcome(ByteWriter& writer, ByteView commit, ByteView welcome) {
  write_vector(writer, commit, 1, max_handshake_size);
  write_vector(writer, welcome, 0, max_handshake_size - commit.size());
}

Result<std::vector<IncarnationId>> read_incarnations(ByteReader& reader, std::size_t most) {
  SATSUMA_TRY(ByteView view, read_vector(reader, 0, most * IncarnationId::size));
  if (view.size() % IncarnationId::size != 0) return message_bad_field;
  std::vector<IncarnationId> ids;
  ids.reserve(view.size() / IncarnationId::size);
  ByteReader inner(view);
  while (!inner.empty()) {
    SATSUMA_TRY(IncarnationId id, read_incarnation(inner));
    ids.push_back(id);
  }
  return ids;
}

void write_incarnations(ByteWriter& writer, const std::vector<IncarnationId>& ids, std::size_t most) {
  SATSUMA_CHECK(ids.size() <= most);
  codec::write_varint(writer, ids.size() * IncarnationId::size);
  for (const auto& id : ids) writer.bytes(id.view());
}

Result<std::vector<Waiting>> read_waiting(ByteReader& reader, std::size_t max_bytes) {
  SATSUMA_TRY(ByteView body, read_vector(reader, 0, max_bytes));
  std::vector<Waiting> waiting;
  ByteReader inner(body);
  while (!inner.empty()) {
    if (waiting.size() == max_waiting) return message_too_large;
    SATSUMA_TRY(IncarnationId who, read_incarnation(inner));
    SATSUMA_TRY(Bytes key_package, read_opaque(inner, 1, max_key_package_size));
    waiting.push_back({who, std::move(key_package)});
  }
  return waiting;
}

void append_waiting(ByteWriter& writer, const std::vector<Waiting>& all, std::size_t max_bytes) {
  SATSUMA_CHECK(all.size() <= max_waiting);
  ByteWriter waiting;
  for (const auto& one : all) {
    waiting.bytes(one.who.view());
    write_vector(waiting, one.key_package, 1, max_key_package_size);
  }
  write_vector(writer, waiting.view(), 0, max_bytes);
}

Result<Snapshot> read_snapshot(ByteReader& reader, std::size_t max_waiting_bytes) {
  Snapshot snapshot;
  SATSUMA_TRY(snapshot.has_group, read_bool(reader));
  SATSUMA_TRY(snapshot.era, reader.u64());
  SATSUMA_TRY(snapshot.epoch, reader.u64());
  SATSUMA_TRY(snapshot.members, read_incarnations(reader, max_snapshot_members));
  SATSUMA_TRY(snapshot.gone, read_incarnations(reader, max_snapshot_members));
  if (!snapshot.has_group &&
      (snapshot.era != 0 || snapshot.epoch != 0 || !snapshot.members.empty() || !snapshot.gone.empty())) {
    return message_bad_field;
  }
  SATSUMA_TRY(ByteView digest, reader.bytes(snapshot.log_digest.size()));
  std::ranges::copy(digest, snapshot.log_digest.begin());
  SATSUMA_TRY(snapshot.waiting, read_waiting(reader, max_waiting_bytes));
  return snapshot;
}

void append_snapshot(ByteWriter& writer, const Snapshot& snapshot, std::size_t max_waiting_bytes) {
  writer.u8(snapshot.has_group ? 1 : 0);
  writer.u64(snapshot.era);
  writer.u64(snapshot.epoch);
  write_incarnations(writer, snapshot.members, max_snapshot_members);
  write_incarnations(writer, snapshot.gone, max_snapshot_members);
  writer.bytes(snapshot.log_digest);
  append_waiting(writer, snapshot.waiting, max_waiting_bytes);
}

Result<EntryBody> read_entry_body(ByteReader& reader) {
  SATSUMA_TRY(std::uint8_t type, reader.u8());
  switch (static_cast<EntryType>(type)) {
    case EntryType::join: {
      JoinEntry join;
      SATSUMA_TRY(join.who, read_incarnation(reader));
      SATSUMA_TRY(join.key_package, read_opaque(reader, 1, max_key_package_size));
      return EntryBody(std::move(join));
    }
    case EntryType::gone: {
      GoneEntry gone;
      SATSUMA_TRY(gone.who, read_incarnation(reader));
      SATSUMA_TRY(std::uint8_t cause, reader.u8());
      if (cause < 1 || cause > last_gone_cause) return message_bad_field;
      gone.cause = static_cast<GoneCause>(cause);
      if (gone.cause == GoneCause::could_not_follow) {
        SATSUMA_TRY(gone.committer, read_incarnation(reader));
      }
      return EntryBody(gone);
    }
    case EntryType::genesis: {
      GenesisEntry genesis;
      SATSUMA_TRY(genesis.who, read_incarnation(reader));
      SATSUMA_TRY(genesis.group_info, read_opaque(reader, 1, max_group_info_size));
      return EntryBody(std::move(genesis));
    }
    case EntryType::commit: {
      CommitEntry commit;
      SATSUMA_TRY(commit.era, reader.u64());
      SATSUMA_TRY(commit.epoch, reader.u64());
      SATSUMA_TRY(commit.who, read_incarnation(reader));
      SATSUMA_TRY(auto both, read_commit_and_welcome(reader));
      commit.commit = std::move(both.first);
      commit.welcome = std::move(both.second);
      return EntryBody(std::move(commit));
    }
  }
  return message_unknown_type;
}

Result<Entry> read_entry(ByteReader& reader) {
  Entry entry;
  SATSUMA_TRY(entry.index, reader.u64());
  SATSUMA_TRY(entry.body, read_entry_body(reader));
  return entry;
}

void append_entry(ByteWriter& writer, const Entry& entry) {
  writer.u64(entry.index);
  std::visit(Overloaded{
                 [&](const JoinEntry& join) {
                   writer.u8(static_cast<std::uint8_t>(EntryType::join));
                   writer.bytes(join.who.view());
                   write_vector(writer, join.key_package, 1, max_key_package_size);
                 },
                 [&](const GoneEntry& gone) {
                   writer.u8(static_cast<std::uint8_t>(EntryType::gone));
                   writer.bytes(gone.who.view());
                   writer.u8(static_cast<std::uint8_t>(gone.cause));
                   if (gone.cause == GoneCause::could_not_follow) writer.bytes(gone.committer.view());
                 },
                 [&](const GenesisEntry& genesis) {
                   writer.u8(static_cast<std::uint8_t>(EntryType::genesis));
                   writer.bytes(genesis.who.view());
                   write_vector(writer, genesis.group_info, 1, max_group_info_size);
                 },
                 [&](const CommitEntry& commit) {
                   writer.u8(static_cast<std::uint8_t>(EntryType::commit));
                   writer.u64(commit.era);
                   writer.u64(commit.epoch);
                   writer.bytes(commit.who.view());
                   write_commit_and_welcome(writer, commit.commit, commit.welcome);
                 },
             },
             entry.body);
}

// ---- the messages

Result<ClientMessage> read_hello(ByteReader& reader) {
  Hello hello;
  SATSUMA_TRY(hello.version, reader.u16());
  SATSUMA_TRY(ByteView room, read_vector(reader, 1, max_room_name_size));
  hello.room = as_text(room);
  if (!is_room_name(hello.room)) return message_bad_field;
  SATSUMA_TRY(hello.key_package, read_opaque(reader, 1, max_key_package_size));
  SATSUMA_TRY(ByteView resume_key, reader.bytes(hello.resume_key.size()));
  std::copy(resume_key.begin(), resume_key.end(), hello.resume_key.mutable_view().begin());
  SATSUMA_TRY(hello.cursor, reader.u64());
  return ClientMessage(std::move(hello));
}

Result<ClientMessage> read_client_body(ByteReader& reader, std::uint8_t type) {
  switch (static_cast<Type>(type)) {
    case Type::hello:
      return read_hello(reader);
    case Type::ack: {
      Ack ack;
      SATSUMA_TRY(ack.cursor, reader.u64());
      return ClientMessage(ack);
    }
    case Type::genesis: {
      Genesis genesis;
      SATSUMA_TRY(genesis.group_info, read_opaque(reader, 1, max_group_info_size));
      return ClientMessage(std::move(genesis));
    }
    case Type::commit: {
      Commit commit;
      SATSUMA_TRY(commit.era, reader.u64());
      SATSUMA_TRY(commit.epoch, reader.u64());
      SATSUMA_TRY(auto both, read_commit_and_welcome(reader));
      commit.commit = std::move(both.first);
      commit.welcome = std::move(both.second);
      return ClientMessage(std::move(commit));
    }
    case Type::application: {
      Application application;
      SATSUMA_TRY(application.to, read_incarnations(reader, max_recipients));
      SATSUMA_TRY(application.message, read_opaque(reader, 1, max_application_size));
      return ClientMessage(std::move(application));
    }
    case Type::goodbye:
      return ClientMessage(Goodbye{});
    case Type::report: {
      Report report;
      SATSUMA_TRY(report.index, reader.u64());
      return ClientMessage(report);
    }
    case Type::ready:
    case Type::entry:
    case Type::rejected:
    case Type::relayed:
    case Type::error:
    case Type::present:
    case Type::waiting_part:
    case Type::tree_part:
      break; // the other direction
  }
  return message_unknown_type;
}

Result<ServerMessage> read_server_body(ByteReader& reader, std::uint8_t type) {
  switch (static_cast<Type>(type)) {
    case Type::ready: {
      Ready ready;
      SATSUMA_TRY(ready.resumed, read_bool(reader));
      SATSUMA_TRY(ready.head, reader.u64());
      SATSUMA_TRY(ready.grace_ms, reader.u32());
      SATSUMA_TRY(ready.snapshot, read_snapshot(reader, max_waiting_part));
      return ServerMessage(std::move(ready));
    }
    case Type::entry: {
      SATSUMA_TRY(Entry entry, read_entry(reader));
      return ServerMessage(std::move(entry));
    }
    case Type::rejected: {
      Rejected rejected;
      SATSUMA_TRY(rejected.era, reader.u64());
      SATSUMA_TRY(rejected.epoch, reader.u64());
      SATSUMA_TRY(std::uint8_t reason, reader.u8());
      if (reason < 1 || reason > 5) return message_bad_field;
      rejected.reason = static_cast<Rejected::Reason>(reason);
      return ServerMessage(rejected);
    }
    case Type::relayed: {
      Relayed relayed;
      SATSUMA_TRY(relayed.sender, read_incarnation(reader));
      SATSUMA_TRY(relayed.message, read_opaque(reader, 1, max_application_size));
      return ServerMessage(std::move(relayed));
    }
    case Type::error: {
      ErrorMessage error;
      SATSUMA_TRY(std::uint16_t code, reader.u16());
      if (code < first_error_reason || code > last_error_reason) return message_bad_field;
      error.code = static_cast<ErrorReason>(code);
      SATSUMA_TRY(ByteView text, read_vector(reader, 0, max_error_text_size));
      error.text = as_text(text);
      return ServerMessage(std::move(error));
    }
    case Type::present: {
      Present present;
      SATSUMA_TRY(present.who, read_incarnation(reader));
      SATSUMA_TRY(present.connected, read_bool(reader));
      return ServerMessage(present);
    }
    case Type::waiting_part: {
      WaitingPart part;
      SATSUMA_TRY(part.waiting, read_waiting(reader, max_waiting_part));
      if (part.waiting.empty()) return message_bad_field;
      return ServerMessage(std::move(part));
    }
    case Type::tree_part: {
      TreePart tree;
      SATSUMA_TRY(tree.index, reader.u64());
      SATSUMA_TRY(tree.size, reader.u32());
      if (tree.size > max_ratchet_tree_size) return message_too_large;
      SATSUMA_TRY(tree.part, read_opaque(reader, 1, max_tree_part));
      if (tree.part.size() > tree.size) return message_bad_field;
      return ServerMessage(std::move(tree));
    }
    case Type::hello:
    case Type::ack:
    case Type::genesis:
    case Type::commit:
    case Type::application:
    case Type::goodbye:
    case Type::report:
      break; // the other direction
  }
  return message_unknown_type;
}

void write_type(ByteWriter& writer, Type type) { writer.u8(static_cast<std::uint8_t>(type)); }

} // namespace

bool is_room_name(std::string_view name) {
  return !name.empty() && name.size() <= max_room_name_size && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

std::uint16_t close_code(ErrorReason reason) {
  switch (reason) {
    case ErrorReason::malformed:
    case ErrorReason::not_yours:
    case ErrorReason::unsupported_version:
    case ErrorReason::wrong_suite:
      return 4400;
    case ErrorReason::silent:
      return 4408;
    case ErrorReason::replaced:
      return 4409;
    case ErrorReason::gone:
      return 4410;
    case ErrorReason::too_large:
      return 4413;
    case ErrorReason::too_fast:
      return 4429;
    case ErrorReason::unavailable:
      return 1012;
    case ErrorReason::full:
      return 1013;
  }
  return 4400;
}

Result<ClientMessage> parse_client_message(ByteView frame) {
  if (frame.size() > max_frame_size) return message_too_large;
  ByteReader reader(frame);
  SATSUMA_TRY(std::uint8_t type, reader.u8());
  SATSUMA_TRY(ClientMessage message, read_client_body(reader, type));
  SATSUMA_TRY_VOID(reader.expect_end());
  return message;
}

Result<ServerMessage> parse_server_message(ByteView frame) {
  if (frame.size() > max_frame_size) return message_too_large;
  ByteReader reader(frame);
  SATSUMA_TRY(std::uint8_t type, reader.u8());
  SATSUMA_TRY(ServerMessage message, read_server_body(reader, type));
  SATSUMA_TRY_VOID(reader.expect_end());
  return message;
}

Bytes write_client_message(const ClientMessage& message) {
  ByteWriter writer;
  std::visit(Overloaded{
                 [&](const Hello& hello) {
                   SATSUMA_CHECK(is_room_name(hello.room));
                   write_type(writer, Type::hello);
                   writer.u16(hello.version);
                   write_vector(writer, as_bytes(hello.room), 1, max_room_name_size);
                   write_vector(writer, hello.key_package, 1, max_key_package_size);
                   writer.bytes(hello.resume_key.view());
                   writer.u64(hello.cursor);
                 },
                 [&](const Ack& ack) {
                   write_type(writer, Type::ack);
                   writer.u64(ack.cursor);
                 },
                 [&](const Genesis& genesis) {
                   write_type(writer, Type::genesis);
                   write_vector(writer, genesis.group_info, 1, max_group_info_size);
                 },
                 [&](const Commit& commit) {
                   write_type(writer, Type::commit);
                   writer.u64(commit.era);
                   writer.u64(commit.epoch);
                   write_commit_and_welcome(writer, commit.commit, commit.welcome);
                 },
                 [&](const Application& application) {
                   write_type(writer, Type::application);
                   write_incarnations(writer, application.to, max_recipients);
                   write_vector(writer, application.message, 1, max_application_size);
                 },
                 [&](const Goodbye&) { write_type(writer, Type::goodbye); },
                 [&](const Report& report) {
                   write_type(writer, Type::report);
                   writer.u64(report.index);
                 },
             },
             message);
  return std::move(writer).take();
}

Bytes write_server_message(const ServerMessage& message) {
  ByteWriter writer;
  std::visit(Overloaded{
                 [&](const Ready& ready) {
                   write_type(writer, Type::ready);
                   writer.u8(ready.resumed ? 1 : 0);
                   writer.u64(ready.head);
                   writer.u32(ready.grace_ms);
                   append_snapshot(writer, ready.snapshot, max_waiting_part);
                 },
                 [&](const Entry& entry) {
                   write_type(writer, Type::entry);
                   append_entry(writer, entry);
                 },
                 [&](const Rejected& rejected) {
                   write_type(writer, Type::rejected);
                   writer.u64(rejected.era);
                   writer.u64(rejected.epoch);
                   writer.u8(static_cast<std::uint8_t>(rejected.reason));
                 },
                 [&](const Relayed& relayed) {
                   write_type(writer, Type::relayed);
                   writer.bytes(relayed.sender.view());
                   write_vector(writer, relayed.message, 1, max_application_size);
                 },
                 [&](const ErrorMessage& error) {
                   write_type(writer, Type::error);
                   writer.u16(static_cast<std::uint16_t>(error.code));
                   write_vector(writer, as_bytes(error.text), 0, max_error_text_size);
                 },
                 [&](const Present& present) {
                   write_type(writer, Type::present);
                   writer.bytes(present.who.view());
                   writer.u8(present.connected ? 1 : 0);
                 },
                 [&](const WaitingPart& part) {
                   write_type(writer, Type::waiting_part);
                   append_waiting(writer, part.waiting, max_waiting_part);
                 },
                 [&](const TreePart& tree) {
                   SATSUMA_CHECK(tree.size <= max_ratchet_tree_size && tree.part.size() <= tree.size);
                   write_type(writer, Type::tree_part);
                   writer.u64(tree.index);
                   writer.u32(tree.size);
                   write_vector(writer, tree.part, 1, max_tree_part);
                 },
             },
             message);
  return std::move(writer).take();
}

LogDigest next_log_digest(const LogDigest& before, const Entry& entry) {
  LogDigest after{};
  crypto::hash_into(crypto::HashAlgorithm::sha256, {as_bytes("satsuma log 1"), before, write_entry(entry)}, after);
  return after;
}

Bytes write_log_prefix(const LogPrefix& prefix) {
  ByteWriter writer;
  writer.u64(prefix.index);
  writer.bytes(prefix.digest);
  return std::move(writer).take();
}

Result<LogPrefix> parse_log_prefix(ByteView bytes) {
  ByteReader reader(bytes);
  LogPrefix prefix;
  SATSUMA_TRY(prefix.index, reader.u64());
  SATSUMA_TRY(ByteView digest, reader.bytes(prefix.digest.size()));
  std::ranges::copy(digest, prefix.digest.begin());
  SATSUMA_TRY_VOID(reader.expect_end());
  return prefix;
}

std::size_t waiting_size(const Waiting& one) { return IncarnationId::size + 4 + one.key_package.size(); }

Result<Entry> parse_entry(ByteView bytes) {
  ByteReader reader(bytes);
  SATSUMA_TRY(Entry entry, read_entry(reader));
  SATSUMA_TRY_VOID(reader.expect_end());
  return entry;
}

Bytes write_entry(const Entry& entry) {
  ByteWriter writer;
  append_entry(writer, entry);
  return std::move(writer).take();
}

Result<Snapshot> parse_snapshot(ByteView bytes) {
  ByteReader reader(bytes);
  SATSUMA_TRY(Snapshot snapshot, read_snapshot(reader, max_snapshot_waiting_bytes));
  SATSUMA_TRY_VOID(reader.expect_end());
  return snapshot;
}

Bytes write_snapshot(const Snapshot& snapshot) {
  ByteWriter writer;
  append_snapshot(writer, snapshot, max_snapshot_waiting_bytes);
  return std::move(writer).take();
}

} // namespace satsuma::signaling
