#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/random.h"
#include "base/secret.h"
#include "mls/group/key_package_bundle.h"
#include "mls/group/key_schedule.h"
#include "mls/group/limits.h"
#include "mls/group/message_protection.h"
#include "mls/group/treekem.h"
#include "mls/group/welcome.h"
#include "mls/tree/leaf_policy.h"
#include "mls/tree/public_group.h"
#include "mls/wire/message.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_confirmation_tag_mismatch{"mls_confirmation_tag_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_welcome_not_for_us{"mls_welcome_not_for_us", ErrorKind::peer};
inline constexpr ErrorCode mls_welcome_suite_mismatch{"mls_welcome_suite_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_welcome_signer_invalid{"mls_welcome_signer_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_welcome_leaf_missing{"mls_welcome_leaf_missing", ErrorKind::peer};
inline constexpr ErrorCode mls_group_id_taken{"mls_group_id_taken", ErrorKind::peer};
inline constexpr ErrorCode mls_succession_invalid{"mls_succession_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_predecessor_missing{"mls_predecessor_missing", ErrorKind::caller};
inline constexpr ErrorCode mls_external_pub_missing{"mls_external_pub_missing", ErrorKind::peer};
inline constexpr ErrorCode mls_psk_unknown{"mls_psk_unknown", ErrorKind::caller};
inline constexpr ErrorCode mls_further_secret_taken{"mls_further_secret_taken", ErrorKind::caller};
inline constexpr ErrorCode mls_proposal_repeated{"mls_proposal_repeated", ErrorKind::caller};
inline constexpr ErrorCode mls_own_message{"mls_own_message", ErrorKind::caller};
inline constexpr ErrorCode mls_update_unknown{"mls_update_unknown", ErrorKind::peer};
inline constexpr ErrorCode mls_updates_not_kept{"mls_updates_not_kept", ErrorKind::caller};
inline constexpr ErrorCode mls_cannot_remove_self{"mls_cannot_remove_self", ErrorKind::caller};
inline constexpr ErrorCode mls_group_inactive{"mls_group_inactive", ErrorKind::caller};
inline constexpr ErrorCode mls_store_first{"mls_store_first", ErrorKind::caller};
inline constexpr ErrorCode mls_reserve_too_large{"mls_reserve_too_large", ErrorKind::caller};
inline constexpr ErrorCode mls_proposals_pending{"mls_proposals_pending", ErrorKind::caller};
inline constexpr ErrorCode mls_not_reinitialised{"mls_not_reinitialised", ErrorKind::caller};
inline constexpr ErrorCode mls_too_many_members{"mls_too_many_members", ErrorKind::peer};

/// The values of pre-shared keys that the application knows (RFC 9420 s.8.4).
class PskStore {
 public:
  void add_external(ByteView id, ByteView secret);
  /// A resumption PSK of another group, or of a past epoch that the group has forgotten.
  void add_resumption(ByteView group_id, Epoch epoch, ByteView secret);
  const SecretBytes* find(const PreSharedKeyId& id) const;

 private:
  std::map<Bytes, SecretBytes> external_;
  std::map<std::pair<Bytes, Epoch>, SecretBytes> resumption_;
};

struct GroupParams {
  GroupId group_id;
  Extensions extensions;      ///< of the GroupContext
  std::size_t padding = 0;    ///< private messages' plaintexts are padded to a multiple of this, at most Group::max_padding
  GroupLimits limits{};
};

class Group;

struct JoinParams {
  std::optional<Bytes> ratchet_tree; ///< the extension's data, where the Welcome has none
  const PskStore* psks = nullptr;
  std::size_t padding = 0;
  GroupLimits limits{};
  LeafPolicy policy;                 ///< for everybody in the tree, and the external senders
  /// The group that this one branches off or reinitialises. Without it such a Welcome is mls_predecessor_missing.
  const Group* predecessor = nullptr;
  /// Groups that we are in: another of the same name is mls_group_id_taken (s.12.4.3.1).
  std::span<const GroupId> own_groups;
};

/// What a member changes in its own leaf besides the encryption key, which is always new.
struct LeafChanges {
  const crypto::SignatureKeyPair* signature_keys = nullptr; ///< copied
  std::optional<Credential> credential;
  std::optional<Capabilities> capabilities;
  std::optional<Extensions> extensions;

  bool any() const { return signature_keys != nullptr || credential || capabilities || extensions; }
};

/// What a member wants to commit, all of it by value but for the cached proposals.
struct CommitParams {
  std::vector<KeyPackage> add;       ///< verified here (verify_key_package, and `policy`); an invalid one fails the whole commit
  std::vector<LeafIndex> remove;
  std::vector<PreSharedKeyId> psks;  ///< values from psk_store; the nonces are made here
  std::optional<Extensions> group_context_extensions;
  std::optional<ReInit> reinit;      ///< ends the group; nothing else may stand beside it. See Group::reinitialise
  /// Refers to the proposals that were received in this epoch, as far as they go together (s.12.2): a Remove before an Update of the
  /// same leaf, the last of several Updates, a ReInit only alone, none that removes us, and no Update of our own.
  bool include_cached_proposals = false;
  LeafChanges leaf;                  ///< any makes a path
  bool force_path = true;            ///< without it a path comes only where the RFC demands one
  Bytes authenticated_data;
  bool private_message = false;      ///< the commit as a PrivateMessage
  bool ratchet_tree_in_welcome = true;
  Extensions group_info_extensions;  ///< more of them for the GroupInfo in the Welcome
  bool grease = true;                ///< the GroupInfo in the Welcome carries an extension that means nothing (s.13.5)
  const PskStore* psk_store = nullptr;
  LeafPolicy policy;                 ///< for whom this adds or changes
};

struct StageParams {
  StageParams() = default;
  StageParams(const PskStore* store) : psk_store(store) {} // NOLINT: implicit on purpose
  const PskStore* psk_store = nullptr;
  LeafPolicy policy;                 ///< for whom the commit adds, changes or lets in
};

struct ExternalJoinParams {
  std::optional<Bytes> ratchet_tree; ///< where the GroupInfo has none
  std::optional<LeafIndex> resync;   ///< our old leaf, to be removed in the same commit
  std::vector<PreSharedKeyId> psks;  ///< values from psk_store; the nonces are made here
  const PskStore* psk_store = nullptr;
  /// Received with the GroupInfo: proposals of this epoch whose type may stand in an external commit (Additions::proposals), to be committed as well.
  std::vector<PublicMessage> proposals;
  Bytes authenticated_data;
  std::size_t padding = 0;
  GroupLimits limits{};
  LeafPolicy policy;
  std::span<const GroupId> own_groups;
};

struct GroupInfoParams {
  bool with_tree = true;
  bool with_external_pub = false;    ///< allows external commits
  Extensions extensions;             ///< more of them
};

/// Who starts a group's successor, and for whom (s.11.2, s.11.3).
struct SuccessorParams {
  std::vector<KeyPackage> members;   ///< the others
  std::size_t padding = 0;
  GroupLimits limits{};
  bool ratchet_tree_in_welcome = true;
  LeafPolicy policy;
};
struct BranchParams : SuccessorParams {
  GroupId group_id;
  Extensions extensions;
};

struct PendingCommit;
namespace internal {
struct GroupState;
struct HostileMember; ///< tests/mls/hostile_member.h: sends what the rules forbid
struct GroupStateDelete {
  void operator()(GroupState* state) const;
};
using GroupStatePointer = std::unique_ptr<GroupState, GroupStateDelete>;
} // namespace internal

/// A commit that was checked completely, and the epoch it leads to. Look at `effects` for policy, then merge
/// it, or drop it: the group has not changed.
class StagedCommit {
 public:
  StagedCommit(StagedCommit&&) noexcept;
  StagedCommit& operator=(StagedCommit&&) noexcept;
  ~StagedCommit();

  const CommitEffects& effects() const { return effects_; }
  Epoch next_epoch() const { return next_epoch_; }
  /// The commit removes us. Merging then makes the group inactive in its old epoch.
  bool removes_self() const { return next_ == nullptr; }
  std::vector<Member> next_members() const;

 private:
  friend class Group;
  friend struct PendingCommit;
  StagedCommit() = default;
  CommitEffects effects_;
  Epoch next_epoch_ = 0;
  Bytes base_; ///< confirmation tag of the epoch it was made on
  internal::GroupStatePointer next_;
};

/// Our own commit. The state it leads to waits in `staged` until the commit comes back ordered.
struct PendingCommit {
  Bytes commit;                 ///< MLSMessage
  std::optional<Bytes> welcome; ///< MLSMessage, when someone is added
  StagedCommit staged;

  /// To be stored before the commit is sent: whoever restarts in between would else not recognise the epoch that the others are in.
  SecretBytes store() const;
  /// The errors of mls/tree/stored.h. Merges into the group it was made by, as long as that is still in that epoch.
  static Result<PendingCommit> load(ByteView stored, const GroupLimits& limits = {});
};

struct ReceivedApplication {
  LeafIndex sender;      ///< a place in `epoch`'s tree: by now somebody else may stand there, see `from`
  Epoch epoch = 0;
  Member from;           ///< as the sender stood in that epoch's tree
  SecretBytes plaintext;
  Bytes authenticated_data;
};

/// A message of the present epoch whose protection was taken off and whose signature was checked, by one group in one epoch:
/// elsewhere it is mls_stale_stage.
class VerifiedMessage {
 public:
  const FramedContent& content() const { return content_->content; }
  WireFormat wire_format() const { return content_->wire_format; }

 private:
  friend class Group;
  VerifiedMessage(VerifiedContent content, ByteView base) : content_(std::move(content)), base_(to_bytes(base)) {}
  VerifiedContent content_;
  Bytes base_; ///< confirmation tag of the epoch that it was verified in
};

class ExternalJoin;
struct Successor;

/// A member's view of an MLS group (RFC 9420). Not for two threads at once.
///
/// Commits go through stages: bytes → MLSMessage::decode → `verify` → `stage` → `merge`. Whatever fails leaves the
/// group as it was (a PrivateMessage that opened has used up its key all the same).
class Group {
 public:
  /// A group of one, in epoch 0. Takes suite, leaf and keys from `creator`; its init key is not used.
  static Result<Group> create(const GroupParams& params, const KeyPackageBundle& creator, RandomSource& random);
  static Result<Group> join(const Welcome& welcome, const KeyPackageBundle& key_package, const JoinParams& params = {});
  /// Enters without being asked in (s.12.4.3.2), where `info` allows it (mls_external_pub_missing). Leaf, credential and signature key
  /// are `self`'s; its init key is not used.
  static Result<ExternalJoin> join_external(const GroupInfo& info, const KeyPackageBundle& self, const ExternalJoinParams& params, RandomSource& random);
  /// A new group of some of the members, bound to this one by its resumption PSK (s.11.3). `self` is ours there.
  Result<Successor> branch(const BranchParams& params, const KeyPackageBundle& self, RandomSource& random) const;
  /// The group that a committed ReInit announced, once that commit is merged (s.11.2): mls_not_reinitialised otherwise. All members
  /// of this one must be there, or it is mls_succession_invalid.
  Result<Successor> reinitialise(const SuccessorParams& params, const KeyPackageBundle& self, RandomSource& random) const;

  Group(Group&&) noexcept;
  Group& operator=(Group&&) noexcept;
  ~Group();

  // What it is
  CipherSuite suite() const;
  ByteView group_id() const;
  Epoch epoch() const;
  LeafIndex own_leaf() const;
  bool active() const; ///< false once removed or reinitialised
  /// What the group is to become, when a ReInit ended it.
  const std::optional<ReInit>& reinit() const;
  const GroupLimits& limits() const;
  const GroupContext& context() const;
  const RatchetTree& tree() const;
  std::vector<Member> members() const;
  /// RFC 9420 s.8.7
  ByteView epoch_authenticator() const;
  ByteView confirmation_tag() const;
  /// MLS-Exporter, s.8.5
  SecretBytes export_secret(std::string_view label, ByteView context, std::size_t size) const;
  /// Until the next epoch nothing can be exported any more (export_secret CHECKs). Whoever takes forward secrecy further within what was exported, as frames'
  /// keys do, erases what it could be exported from again.
  void erase_exporter_secret();
  /// The present epoch's secret under Additions::further_secret, once: then it is gone from here. mls_further_secret_taken, also where none is derived.
  Result<SecretBytes> take_further_secret();
  /// The present epoch's resumption PSK, s.8.6
  ByteView resumption_psk() const;
  /// The MLSMessage with a signed GroupInfo (s.12.4.3).
  Result<Bytes> group_info(const GroupInfoParams& params = {}) const;
  Result<Bytes> group_info(bool with_tree, bool with_external_pub = false) const { return group_info(GroupInfoParams{with_tree, with_external_pub, {}}); }

  // Commits
  /// Changes nothing but, for a private message, our own handshake ratchet.
  Result<PendingCommit> commit(const CommitParams& params, RandomSource& random) const;
  /// Verifies and stages a commit that came as a PublicMessage's MLSMessage. mls_own_message for one of our own: merge the pending one instead.
  Result<StagedCommit> stage(ByteView message, const StageParams& params = {}) const;
  Result<StagedCommit> stage(const VerifiedMessage& message, const StageParams& params = {}) const;
  /// mls_stale_stage when the group has moved on since.
  Result<void> merge(StagedCommit&& staged);

  // Messages of all kinds
  Result<VerifiedMessage> verify(const PublicMessage& message) const;
  /// Uses up the message's key.
  Result<VerifiedMessage> unprotect(const PrivateMessage& message);
  /// Remembers a proposal, so that a commit may refer to it.
  Result<void> cache_proposal(const VerifiedMessage& message);
  /// How many wait in this epoch.
  std::size_t cached_proposals() const;
  /// A proposal of our own as an MLSMessage; it is cached at once. For an Update see propose_update.
  Result<Bytes> propose(const Proposal& proposal, bool private_message, ByteView authenticated_data, RandomSource& random);
  /// An Update of our leaf (s.12.1.2). Its private key waits until somebody commits it; with our own commit, or with one that leaves it out,
  /// it is gone. mls_updates_not_kept where the limits have no place for it.
  Result<Bytes> propose_update(const LeafChanges& changes, bool private_message, ByteView authenticated_data, RandomSource& random);

  /// mls_proposals_pending while proposals wait for a commit (s.12.4): commit first.
  Result<Bytes> protect_application(ByteView plaintext, ByteView authenticated_data, RandomSource& random);
  /// From an MLSMessage with a PrivateMessage of the present epoch or of one of the limits().max_past_epochs before it, looked up in
  /// that epoch's own tree. mls_own_message for our own.
  Result<ReceivedApplication> unprotect_application(ByteView message);

  // What is none of MLS's messages
  /// SignWithLabel (s.5.1.2) with our leaf's key. `label` is none of MLS's own, so that no such signature passes for one of its messages.
  Result<Bytes> sign(std::string_view label, ByteView content) const;
  /// mls_sender_invalid for an empty leaf; else VerifyWithLabel with the key that stands there now.
  Result<void> verify_signature(LeafIndex signer, std::string_view label, ByteView content, ByteView signature) const;

  // Keeping it over a restart
  /// Everything, with the secrets: encrypt it where it is kept, and overwrite the state before. Two ways to never use a key twice, whatever
  /// ends the process (RFC 9420 s.16.6):
  /// - `reserve` 0: store after each call that makes a private message, before that message is sent;
  /// - `reserve` n: the stored state stands n messages further, so that n may be sent before it is stored again. Then the group itself
  ///   refuses to send more, and to send after load or merge, until `store` was called: mls_store_first.
  /// mls_reserve_too_large beyond max_reserve.
  Result<SecretBytes> store(std::uint32_t reserve = 0);
  /// mls_stored_damaged, mls_stored_kind_wrong, mls_stored_version_unknown, mls_stored_invalid or the error of a part. Does not verify the
  /// signatures in the tree again.
  static Result<Group> load(ByteView stored, const GroupLimits& limits = {});
  /// What receivers can skip (SecretTreeLimits::max_skip) is shared by the restarts without a message or a commit between them.
  static constexpr std::uint32_t max_reserve = 128;
  static constexpr std::size_t max_padding = 1 << 16;

 private:
  friend struct internal::HostileMember;
  friend class ExternalJoin;
  explicit Group(internal::GroupStatePointer state);
  static StagedCommit make_staged(const internal::GroupState& base, CommitEffects effects, internal::GroupStatePointer next);
  Result<PendingCommit> make_commit(const CommitParams& params, ResumptionUsage psk_usage, const Group* predecessor, RandomSource& random) const;
  Result<Successor> succeed(const GroupParams& group, ResumptionUsage usage, const SuccessorParams& params, const KeyPackageBundle& self,
                            RandomSource& random) const;
  Result<void> check_send_limit(RatchetType type) const;
  Result<SecretBytes> psk_value(const PreSharedKeyId& id, const PskStore* store) const;
  Result<std::vector<PskValue>> psk_values(const std::vector<PreSharedKeyId>& ids, const PskStore* store, const Group* predecessor = nullptr) const;
  Result<Bytes> send_proposal(const Proposal& proposal, bool private_message, ByteView authenticated_data, RandomSource& random);
  internal::GroupStatePointer state_;
};

/// An external commit of ours, and the group as it is once that was accepted. Drop it when another commit came first.
class ExternalJoin {
 public:
  const Bytes& commit() const { return commit_; } ///< MLSMessage
  /// When the commit came back ordered.
  Group merge() && { return std::move(group_); }

 private:
  friend class Group;
  ExternalJoin(Bytes commit, Group group) : commit_(std::move(commit)), group_(std::move(group)) {}
  Bytes commit_;
  Group group_;
};

/// A new group in epoch 1, and the Welcome for its other members: empty when there is none.
struct Successor {
  Group group;
  std::optional<Bytes> welcome; ///< MLSMessage
};

} // namespace satsuma::mls
