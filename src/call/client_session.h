#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/random.h"
#include "base/secret.h"
#include "base/time.h"
#include "call/committer.h"
#include "call/epoch_keys.h"
#include "call/identity.h"
#include "call/room_suite.h"
#include "call/roster.h"
#include "call/safety_number.h"
#include "call/sender_digest.h"
#include "mls/group/group.h"
#include "signaling/delivery_messages.h"

namespace satsuma::call {

inline constexpr ErrorCode session_not_entered{"session_not_entered", ErrorKind::caller};
/// Somebody who is gone still holds the epoch's keys, since the commit that takes them out does not come: nothing is sent until the next epoch.
inline constexpr ErrorCode session_removal_overdue{"session_removal_overdue", ErrorKind::caller};
inline constexpr ErrorCode session_message_too_large{"session_message_too_large", ErrorKind::caller};

struct SessionConfig {
  std::string room;
  SecretBytes secret;      ///< 16 bytes, or empty when the link had none
  SecretBytes device_seed; ///< 32 bytes
  std::string name;
  RoomSuite suite = RoomSuite::standard; ///< from the link
};

struct SessionOptions {
  CommitterOptions committer;
  EpochKeysOptions keys;
  DigestOptions digests;
  /// docs/protocol.md: at least every 5 s; sooner, so that one lost timer of a throttled page does no harm.
  Duration ack_interval = std::chrono::seconds(4);
  Duration waiting_notice = std::chrono::seconds(3);
  /// Someone who is gone holds the keys until a commit takes it out of the group, which takes a round trip, and a rank's delay for each
  /// committer that crashed. If it has not come after this long, somebody withholds it, and we send nothing more in that epoch: no frames, no messages.
  Duration removal_deadline = std::chrono::seconds(15);
  /// Something is pending that a commit would settle, a join, a departure or our own renewal, and none comes: after this long we say so. It
  /// is the longest that honest people take, who crash one after the other.
  Duration overdue_after = std::chrono::seconds(15);
  /// Which device each member is, is checked at once for so many; where more came, as when one enters a large room, after a while and a few at
  /// a time, so that nobody waits for it who wants to hear and see. Until then it is shown as not known.
  std::size_t devices_at_once = 16;
  Duration device_check_delay = std::chrono::seconds(5);
  Duration device_check_interval = std::chrono::milliseconds(20);
  std::size_t devices_in_a_slice = 4;
  /// Each member renews its own leaf about this often (three to five quarters of it, at random) ...
  Duration refresh_interval = std::chrono::minutes(10);
  /// ... but all together not more often than this: each renewal changes the safety number that people compare.
  Duration room_refresh_interval = std::chrono::minutes(2);
};

// --- outputs -------------------------------------------------------------------------------------------------

/// One binary frame for the connection.
struct SendBinary {
  Bytes frame;
};
/// Close the connection and make a new one after `delay`.
struct Reconnect {
  Duration delay{};
};
/// Close the connection for good.
struct Close {};

enum class WaitingReason : std::uint8_t {
  no_secret,    ///< the link lacked its fragment
  not_admitted, ///< there are members, and none lets us in
  empty,        ///< nobody is in, and the group has not begun yet
};
enum class ChangeKind : std::uint8_t { entered, changed, refreshed, new_era };
enum class RejoinReason : std::uint8_t {
  gone,
  removed,
  cannot_process,
  log_broken,
  refused_tree,
  new_era,
  log_differs, ///< a member has seen another log than we were shown: the server does not tell everybody the same
};

struct ReadyEvent {
  IncarnationId incarnation;
  bool resumed = false;
};
struct WaitingEvent {
  WaitingReason reason{};
};
struct EpochEvent {
  std::uint64_t era = 0;
  std::uint64_t epoch = 0;
  std::uint32_t self = 0; ///< our leaf
  std::vector<RosterEntry> roster;
  SafetyNumber safety_number;
  std::optional<std::string> previous; ///< digits
  ChangeKind kind{};
  std::vector<std::string> joined;
  std::vector<std::string> left;
  std::optional<std::uint32_t> committer; ///< leaf in this roster; none when entering
  std::optional<std::uint32_t> designated;
};
/// Of these it is known now which device they are, or that they are not the one that they claim to be.
struct DevicesEvent {
  std::vector<RosterEntry> checked;
};
struct DepartedEvent {
  IncarnationId who;
  std::uint32_t leaf = 0;
  std::string name;
  signaling::GoneCause cause{};
  std::string committer; ///< with could_not_follow: the name of whose commit it was, if that is a member
};
/// No commit comes although one is needed (or one came at last): the server withholds them, or the members' engines hang.
struct OverdueEvent {
  bool overdue = false;
};
struct PresentEvent {
  IncarnationId who;
  bool connected = false;
};
struct ApplicationEvent {
  IncarnationId who;
  std::uint32_t leaf = 0;
  std::string text; ///< valid UTF-8
};
/// Keys for receiving came, or sending moved to another epoch.
struct KeysEvent {
  std::optional<EpochKeys::EpochName> sending;
};
/// Whether what is received of a stream is what the member sent who stands on its tile (call/sender_digest.h).
struct StreamEvent {
  IncarnationId who;
  StreamJudgement judgement;
};
struct RejoiningEvent {
  RejoinReason reason{};
  Duration delay{};
  std::string committer; ///< whose commit it was that did not work for us, if that is what happened and we knew him
};
struct ErrorEvent {
  std::uint16_t code = 0; ///< the server's (signaling::ErrorReason), 0 for a failure of our own
  std::string text; ///< for a person; may come from the server
  bool fatal = false;
};
struct LeftEvent {};

using SessionOutput = std::variant<SendBinary, Reconnect, Close, ReadyEvent, WaitingEvent, EpochEvent, DevicesEvent, DepartedEvent, OverdueEvent, PresentEvent,
                                   ApplicationEvent, KeysEvent, StreamEvent, RejoiningEvent, ErrorEvent, LeftEvent>;

/// A participant's side of the delivery protocol (docs/protocol.md, sections 1 to 5) with everything behind it: identity,
/// MLS group, designated committer, media keys. Feed it the connection, poll its outputs.
///
/// An incarnation that cannot go on (declared gone, cannot process an accepted commit, would have to accept a member without
/// admission) is wiped and a new one enters by itself: one way out of every trouble.
///
/// Incarnation: created --ready--> waiting --Welcome or own genesis--> in the group --anything wrong--> the next incarnation.
/// Connection:  down --handle_connected--> opening --ready--> up --handle_disconnected, or Reconnect/Close asked--> down.
class ClientSession {
 public:
  /// `random` outlives the session. `unix_now` is the calendar time at `now`.
  static Result<ClientSession> create(SessionConfig config, TimePoint now, UnixSeconds unix_now, RandomSource& random,
                                      SessionOptions options = {});

  /// For a delivery service that only orders and does not follow the tree: welcomes carry it, and are larger.
  void put_tree_in_welcomes() { tree_in_welcome_ = true; }
  ClientSession(ClientSession&&) = default;
  ClientSession& operator=(ClientSession&&) = delete;

  void handle_connected(TimePoint now);
  void handle_disconnected(TimePoint now);
  /// Never fails: what the server does wrong ends the incarnation, not the session.
  void handle_frame(TimePoint now, ByteView frame);
  void handle_timeout(TimePoint now);
  void leave(TimePoint now);
  /// UTF-8, at most 16 KiB, for these members (without any, or with more than signaling::max_recipients, for all others). session_not_entered outside of a group or without a connection; session_removal_overdue.
  Result<void> send_application(TimePoint now, std::string_view text, std::vector<IncarnationId> to = {});

  std::optional<SessionOutput> poll_output();
  std::optional<TimePoint> next_deadline() const;

  // Media frames; see EpochKeys.
  /// What `out` must have to protect a frame of `size` bytes: a frame of sound may carry a digest (call/sender_digest.h). With less of it, but enough for sframe, none does.
  static constexpr std::size_t max_protected_size(sframe::Shell shell, std::size_t size) { return sframe::max_protected_size(shell, size + 1 + max_carried_digest); }
  Result<MutableByteView> protect(TimePoint now, StreamContext context, sframe::Shell shell, ByteView frame, MutableByteView out);
  /// digest_malformed, besides: there is no telling where the frame ends and the digest begins.
  Result<EpochKeys::Received> unprotect(TimePoint now, Line& line, sframe::ShellKind shell, ByteView frame, MutableByteView out);
  const EpochKeys::Counts& frame_counts() const { return keys_.counts(); }

  bool in_group() const { return group_.has_value(); }
  IncarnationId incarnation() const { return self_; }
  const Roster& roster() const { return roster_; }
  const Committer& committer() const { return *committer_; }

  static constexpr std::size_t max_application_text = 16 * 1024;
  /// Application messages of an epoch that we have not reached yet.
  static constexpr std::size_t max_held_messages = 32;
  /// Digests of one member with a signature that does not hold, in so much time: beyond, all of its are dropped unread until it is over, since each costs a check. Those of
  /// others are read: in its own frames a member says what it likes.
  static constexpr std::uint32_t max_unsigned_digests = 8;
  /// Those that hold, of one member in the same time. Where epochs follow one another at ten a second, a hundred come; but each frame could bring one.
  static constexpr std::uint32_t max_signed_digests = 128;
  static constexpr Duration checked_digests_interval = std::chrono::seconds(10);
  /// Entries without a commit among them; the server keeps no more (docs/protocol.md).
  static constexpr std::size_t max_digests = 8'192;

 private:
  enum class Connection : std::uint8_t { down, opening, up };
  struct Join {
    mls::KeyPackage key_package;
    std::optional<OpenedIdentity> identity; ///< once opened, which waits until somebody is to be added
    bool admissible = false;                ///< we would try to add it
  };

  ClientSession(SessionConfig config, RoomKeys keys, DeviceKey device, RandomSource& random, SessionOptions options);

  Result<void> begin_incarnation(TimePoint now);
  void wipe_incarnation();
  /// A commit that does not work for us, whose maker the others are to know of.
  struct Reported {
    std::uint64_t index;
    IncarnationId committer;
  };
  void rejoin(TimePoint now, RejoinReason reason, std::optional<Reported> reported = std::nullopt);
  void fail(std::uint16_t code, std::string_view text);

  // What arrives. A handler that returns an error broke the incarnation with that reason.
  using Outcome = std::expected<void, RejoinReason>;
  void handle_ready(TimePoint now, const signaling::Ready& ready);
  void handle_error(TimePoint now, const signaling::ErrorMessage& error);
  void handle_rejected(TimePoint now, const signaling::Rejected& rejected);
  void handle_relayed(TimePoint now, IncarnationId sender, Bytes message);
  void handle_signed_digest(TimePoint now, IncarnationId sender, Bytes message);
  void handle_digest_request(TimePoint now, const DigestRequest& request);
  Outcome handle_entry(TimePoint now, const signaling::Entry& entry);
  Outcome handle(TimePoint now, std::uint64_t index, const signaling::JoinEntry& entry);
  Outcome handle(TimePoint now, std::uint64_t index, const signaling::GoneEntry& entry);
  Outcome handle(TimePoint now, std::uint64_t index, const signaling::GenesisEntry& entry);
  Outcome handle(TimePoint now, std::uint64_t index, const signaling::CommitEntry& entry);
  Outcome handle_commit_as_member(TimePoint now, const signaling::CommitEntry& entry);
  Outcome handle_commit_while_waiting(TimePoint now, const signaling::CommitEntry& entry);
  Outcome check_policy(const mls::CommitEffects& effects, IncarnationId who);
  Outcome check_prefix(const mls::VerifiedMessage& commit) const;
  void handle_tree_part(signaling::TreePart part);
  void follow(const signaling::Entry& entry);
  Outcome entered_epoch(TimePoint now, std::uint64_t era, std::optional<IncarnationId> committer);

  Join examine(IncarnationId who, ByteView key_package) const;
  bool open_identity(Join& join) const;
  bool removal_is_overdue(TimePoint now) const { return removal_due_ && now >= *removal_due_; }
  void check_devices(TimePoint now);
  void check_overdue(TimePoint now);
  std::optional<TimePoint> overdue_at() const;
  void run_committer(TimePoint now);
  void prepare_commit(TimePoint now, const MakeCommit& request);
  void prepare_genesis(TimePoint now);
  void update_online(TimePoint now);
  void check_waiting(TimePoint now);
  void announce_keys();
  Result<MutableByteView> protect_plaintext(TimePoint now, StreamContext context, sframe::Shell shell, ByteView plaintext, MutableByteView out, std::size_t carried);
  std::optional<Bytes> sign_digest(TimePoint now, ByteView body);
  void send_digests(TimePoint now);
  void announce_judgements();
  void send(const signaling::ClientMessage& message);
  void send_ack(TimePoint now);
  void settle(TimePoint now);
  UnixSeconds unix_time(TimePoint now) const;
  Duration jittered(Duration duration);
  Duration refresh_delay();

  SessionConfig config_;
  bool has_secret_;
  RoomKeys room_keys_;
  DeviceKey device_;
  RandomSource* random_;
  SessionOptions options_;
  TimePoint created_{};
  UnixSeconds created_unix_ = 0;
  TimePoint now_{};
  bool over_ = false;

  Connection connection_ = Connection::down;
  std::optional<TimePoint> ack_at_;
  TimePoint up_since_{};

  // The incarnation
  IncarnationId self_;
  std::optional<mls::KeyPackageBundle> bundle_; ///< until we are in: its init key opens the Welcome
  Bytes key_package_;                           ///< the MLSMessage, for each hello
  SecretBytes resume_key_;
  std::optional<std::uint64_t> next_index_; ///< of the log; none before our own join
  std::uint64_t head_ = 0;
  std::optional<TimePoint> joined_at_;
  std::optional<WaitingReason> told_waiting_;
  std::map<IncarnationId, Join> joins_; ///< those that wait
  std::vector<signaling::Waiting> early_waiting_; ///< what came before `ready`
  bool tree_in_welcome_ = false; // the delivery service follows the tree, and gives it to those who need it
  signaling::TreePart tree_; ///< as far as it came
  /// The digests of the log since the present epoch began, the first of them at `digests_from_`.
  std::vector<signaling::LogDigest> digests_;
  std::uint64_t digests_from_ = 0;
  bool told_overdue_ = false;
  std::optional<TimePoint> refresh_since_; ///< our own renewal is on the way
  std::optional<Committer> committer_;
  std::optional<mls::Group> group_;
  std::optional<mls::PendingCommit> pending_commit_;
  std::optional<mls::Group> pending_genesis_;
  Bytes pending_group_info_;
  std::uint64_t era_ = 0;
  std::optional<TimePoint> refresh_at_;
  std::optional<TimePoint> removal_due_; ///< someone in the roster is gone; stays when it is past, until the next epoch
  Roster roster_;
  std::optional<TimePoint> check_devices_at_; ///< set while some of the roster's are pending
  std::deque<std::pair<IncarnationId, Bytes>> held_messages_; ///< of whom the server says that they are
  struct CheckedDigests {
    std::uint32_t held = 0, failed = 0;
  };
  std::map<std::uint32_t, CheckedDigests> checked_digests_; ///< by leaf, since
  TimePoint checked_since_{};
  std::deque<std::pair<mls::Epoch, Roster>> past_rosters_; ///< of the epochs whose messages can still be read

  EpochKeys keys_;
  std::optional<EpochKeys::EpochName> told_sending_;
  DigestSender digest_sender_;
  DigestReceiver digest_receiver_;
  std::map<std::uint32_t, std::uint64_t> seated_since_; ///< for each leaf, the epoch since which we know who sits there

  // What outlives the incarnation
  std::optional<std::string> last_digits_;
  std::optional<std::uint64_t> last_era_;
  std::uint32_t rejoins_ = 0; ///< in a row
  std::optional<TimePoint> stable_at_; ///< then rejoins_ starts anew

  std::deque<SessionOutput> outputs_;
};

} // namespace satsuma::call
