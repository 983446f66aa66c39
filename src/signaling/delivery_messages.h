#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/secret.h"

/// The binary frames between a client and the delivery service: docs/protocol.md, section 2, both directions.
/// Structs own their bytes. What is parsed has the right form and sizes; what stands inside the MLS messages, and
/// whether the moment allows the message, is for others to judge.
namespace satsuma::signaling {

inline constexpr ErrorCode message_unknown_type{"message_unknown_type", ErrorKind::peer};
inline constexpr ErrorCode message_bad_field{"message_bad_field", ErrorKind::peer};
inline constexpr ErrorCode message_too_large{"message_too_large", ErrorKind::peer};

inline constexpr std::uint16_t protocol_version = 4;

// Bounds. Every entry fits one frame whatever the rooms' members do; what does not (who waits, the ratchet tree) comes in parts.
inline constexpr std::size_t max_hello_frame_size = 4 * 1024;  ///< any frame before `ready`
/// Any frame after it, either direction: a commit in a post-quantum suite with its path to 255 people who have not committed yet (302 KiB),
/// and the welcome for some newcomers. In the default suite 21 KiB; the other messages have bounds of their own.
inline constexpr std::size_t max_frame_size = 384 * 1024;
inline constexpr std::size_t max_room_name_size = 64;
inline constexpr std::size_t max_key_package_size = 3 * 1024;  ///< room for post-quantum keys
inline constexpr std::size_t max_group_info_size = 64 * 1024 - 256; ///< of a group of one
inline constexpr std::size_t max_handshake_size = max_frame_size - 256; ///< commit and welcome together
inline constexpr std::size_t max_application_size = 20 * 1024; ///< 16 KiB of text (section 5) inside a PrivateMessage
inline constexpr std::size_t max_error_text_size = 256;
inline constexpr std::size_t max_recipients = 256;             ///< of an application message; for more it is for all
inline constexpr std::size_t max_snapshot_members = 512;       ///< of members, and of gone, each
inline constexpr std::size_t max_waiting = 256;                ///< people, in a snapshot
inline constexpr std::size_t max_waiting_part = 40 * 1024;     ///< bytes of them in one frame: a part, or the rest in `ready`
inline constexpr std::size_t max_snapshot_waiting_bytes = max_waiting * (16 + 4 + max_key_package_size); ///< in all
/// 256 members with keys of a post-quantum suite. In the default suite they take 130 KiB.
inline constexpr std::size_t max_ratchet_tree_size = 768 * 1024;
inline constexpr std::size_t max_tree_part = 32 * 1024;

/// 1 to 64 characters of a-z, 0-9 and -.
bool is_room_name(std::string_view name);

// ---- client to server

/// The first frame of every connection, the first time and at each return.
struct Hello {
  std::uint16_t version = protocol_version;
  std::string room;
  Bytes key_package;          ///< an MLSMessage; its signature key is the incarnation
  SecretArray<16> resume_key; ///< random, the same for all connections of the incarnation
  std::uint64_t cursor = 0;   ///< entries from here on are wanted; 0 the first time
};
/// The MLS engine has processed every entry below `cursor`.
struct Ack {
  std::uint64_t cursor = 0;
};
struct Genesis {
  Bytes group_info;
};
struct Commit {
  std::uint64_t era = 0;
  std::uint64_t epoch = 0; ///< the epoch it is made in; it leads to epoch + 1
  Bytes commit;
  Bytes welcome; ///< empty exactly when nobody is added
};
struct Application {
  Bytes message;
  std::vector<IncarnationId> to{}; ///< none: all other members
};
struct Goodbye {};
/// The commit at `index` was accepted, and does not work for us. Ends the incarnation like a goodbye, with the committer named.
struct Report {
  std::uint64_t index = 0;
};

using ClientMessage = std::variant<Hello, Ack, Genesis, Commit, Application, Goodbye, Report>;

// ---- the room's log

enum class GoneCause : std::uint8_t {
  goodbye = 1,
  connection_lost = 2,
  engine_stalled = 3,
  could_not_follow = 4, ///< reported a commit that it cannot process
  reported = 5,         ///< others reported its commits
};
inline constexpr std::uint8_t last_gone_cause = 5;

struct JoinEntry {
  IncarnationId who;
  Bytes key_package;
  friend bool operator==(const JoinEntry&, const JoinEntry&) = default;
};
struct GoneEntry {
  IncarnationId who;
  GoneCause cause = GoneCause::goodbye;
  IncarnationId committer{}; ///< with could_not_follow: whose commit it was
  friend bool operator==(const GoneEntry&, const GoneEntry&) = default;
};
struct GenesisEntry {
  IncarnationId who;
  Bytes group_info;
  friend bool operator==(const GenesisEntry&, const GenesisEntry&) = default;
};
struct CommitEntry {
  std::uint64_t era = 0;
  std::uint64_t epoch = 0;
  IncarnationId who;
  Bytes commit;
  Bytes welcome;
  friend bool operator==(const CommitEntry&, const CommitEntry&) = default;
};

using EntryBody = std::variant<JoinEntry, GoneEntry, GenesisEntry, CommitEntry>;

struct Entry {
  std::uint64_t index = 0;
  EntryBody body;
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// What the log held below some index, in 32 bytes: all zero for nothing, then SHA-256("satsuma log 1" || digest before || entry) for each
/// entry. Each commit names the one that its maker saw, so that a server which shows different people different logs is found out.
using LogDigest = std::array<std::uint8_t, 32>;
LogDigest next_log_digest(const LogDigest& before, const Entry& entry);

/// A place in the log and the digest below it: the `authenticated_data` of each commit.
struct LogPrefix {
  std::uint64_t index = 0;
  LogDigest digest{};
  friend bool operator==(const LogPrefix&, const LogPrefix&) = default;
};
Bytes write_log_prefix(const LogPrefix& prefix);
Result<LogPrefix> parse_log_prefix(ByteView bytes);

// ---- server to client

struct Waiting {
  IncarnationId who;
  Bytes key_package;
  friend bool operator==(const Waiting&, const Waiting&) = default;
};

/// The room as it stands before some entry of its log.
struct Snapshot {
  bool has_group = false;
  std::uint64_t era = 0;   ///< 0 without a group
  std::uint64_t epoch = 0; ///< 0 without a group
  std::vector<IncarnationId> members; ///< the MLS roster, oldest admission first; includes those that are gone
  std::vector<IncarnationId> gone;    ///< members that are gone and not yet removed by a commit
  LogDigest log_digest{};             ///< of the log below
  std::vector<Waiting> waiting;       ///< joined, neither member nor gone, oldest first
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

/// The first of those who wait, when they are too many for `ready`; comes before it, as often as needed.
struct WaitingPart {
  std::vector<Waiting> waiting;
};
/// A piece of the ratchet tree (RFC 9420 s.12.4.3.3) after the commit at `index`, for those whom it adds; the pieces come in order, before
/// that entry.
struct TreePart {
  std::uint64_t index = 0;
  std::uint32_t size = 0; ///< of the whole
  Bytes part;
};
struct Ready {
  bool resumed = false;
  std::uint64_t head = 0; ///< the index that the next entry of the log will get
  std::uint32_t grace_ms = 0;
  Snapshot snapshot; ///< before the client's own join; empty when resumed
};
struct Rejected {
  std::uint64_t era = 0;   ///< those that the refused commit named; 0 for a genesis
  std::uint64_t epoch = 0;
  enum class Reason : std::uint8_t {
    not_present_epoch = 1, ///< for a genesis: a live member exists
    not_member = 2,        ///< for a genesis: the sender is not waiting
    invalid = 3,
    unasked_add = 4,
    unlogged_remove = 5,
  } reason = Reason::invalid;
};
/// An application message of another member.
struct Relayed {
  IncarnationId sender;
  Bytes message;
};

/// Codes of `error`, after which the server closes the connection; close_code() says with what.
enum class ErrorReason : std::uint16_t {
  malformed = 1,
  too_large = 2,
  too_fast = 3,
  gone = 4,                ///< this incarnation is over, or unknown; begin a new one
  not_yours = 5,           ///< the resume key is wrong
  full = 6,                ///< the room or the server is; come again later
  unavailable = 7,         ///< the server cannot reach its store; reconnect
  unsupported_version = 8,
  replaced = 9,            ///< a newer connection of the same incarnation
  silent = 10,             ///< no hello in time
  wrong_suite = 11,        ///< the room's group has another cipher suite than the key package
};
inline constexpr std::uint16_t first_error_reason = 1;
inline constexpr std::uint16_t last_error_reason = 11;

/// The WebSocket close code that goes with an error.
std::uint16_t close_code(ErrorReason reason);

struct ErrorMessage {
  ErrorReason code = ErrorReason::malformed;
  std::string text; ///< for a person, English
};
/// A member's connection went away or came back; advisory, not in the log.
struct Present {
  IncarnationId who;
  bool connected = false;
};

using ServerMessage = std::variant<Ready, Entry, Rejected, Relayed, ErrorMessage, Present, WaitingPart, TreePart>;

// ---- codec. Parsing fails with bytes_truncated, bytes_trailing, codec_varint_invalid, message_unknown_type,
// message_bad_field (a value out of its range) or message_too_large (a bound above).

Result<ClientMessage> parse_client_message(ByteView frame);
Result<ServerMessage> parse_server_message(ByteView frame);

/// A whole frame. A field beyond its bound is the caller's mistake and CHECKed: what we write, the other side parses.
Bytes write_client_message(const ClientMessage& message);
Bytes write_server_message(const ServerMessage& message);

/// What one of those who wait takes in a frame.
std::size_t waiting_size(const Waiting& one);

/// An entry alone, without the message type: what a store keeps.
Result<Entry> parse_entry(ByteView bytes);
Bytes write_entry(const Entry& entry);
/// Whole, for a store.
Result<Snapshot> parse_snapshot(ByteView bytes);
Bytes write_snapshot(const Snapshot& snapshot);

} // namespace satsuma::signaling
