#pragma once

#include <map>
#include <optional>

#include "mls/tree/ratchet_tree.h"
#include "mls/tree/validation.h"
#include "mls/wire/message.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_group_mismatch{"mls_group_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_epoch_mismatch{"mls_epoch_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_sender_invalid{"mls_sender_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_not_a_commit{"mls_not_a_commit", ErrorKind::peer};
inline constexpr ErrorCode mls_proposal_reference_unknown{"mls_proposal_reference_unknown", ErrorKind::peer};
inline constexpr ErrorCode mls_proposal_list_invalid{"mls_proposal_list_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_path_required{"mls_path_required", ErrorKind::peer};
inline constexpr ErrorCode mls_ratchet_tree_missing{"mls_ratchet_tree_missing", ErrorKind::peer};
inline constexpr ErrorCode mls_stale_stage{"mls_stale_stage", ErrorKind::caller};

/// One occupied leaf.
struct Member {
  LeafIndex leaf;
  Bytes signature_key;
  Credential credential;
};

/// What a commit does to the membership, for whoever checks policy before it is applied.
struct AddedMember {
  LeafIndex leaf;
  KeyPackage key_package;
};
struct ChangedMember {
  LeafIndex leaf;
  LeafNode before;
  LeafNode after;
};
struct CommitEffects {
  /// Empty when a new member joins by an external commit; it then stands in `joined_by_external_commit`.
  std::optional<LeafIndex> committer;
  std::optional<LeafIndex> joined_by_external_commit;
  std::vector<AddedMember> added;
  std::vector<Member> removed;          ///< as they were before
  std::vector<ChangedMember> updated;   ///< by Update proposals, and the committer's own leaf when there is a path
  bool all_proposals_by_value = true;
  bool extensions_changed = false;
  std::vector<PreSharedKeyId> psks;     ///< in the order of the commit
  std::optional<ReInit> reinit;
  std::optional<Bytes> external_init;   ///< kem_output
};

/// A proposal that the commit may refer to, received and authenticated in this epoch.
struct KnownProposal {
  Proposal proposal;
  Sender sender;
};
using ProposalCache = std::map<Bytes, KnownProposal>; ///< by ProposalRef

/// The public outcome of a commit: shared by PublicGroup and Group.
struct CommitTransition {
  CommitEffects effects;
  RatchetTree tree;                     ///< with the path merged
  RatchetTree tree_before_path;         ///< proposals applied, path not
  GroupContext context;                 ///< next epoch, complete
  Bytes interim_transcript_hash;        ///< next epoch, with the message's confirmation tag
  LeafIndex path_leaf;                  ///< committer's leaf in `tree`
  std::vector<LeafIndex> added_leaves;
};

/// RFC 9420 s.12.4.2 without what needs secrets (membership tag, confirmation tag, path secrets, PSK values).
/// `signature_checked`: the caller has verified the content's signature.
Result<CommitTransition> evaluate_commit(const RatchetTree& tree, const GroupContext& context, ByteView interim_transcript_hash,
                                         const AuthenticatedContent& content, const ProposalCache& proposals);

/// The signature key of a sender (s.6.1), or mls_sender_invalid.
Result<Bytes> sender_signature_key(const RatchetTree& tree, const GroupContext& context, const FramedContent& content);

class PublicGroup;

/// A commit that PublicGroup has verified; good for `apply` on the state that verified it, once.
class StagedPublicCommit {
 public:
  const CommitEffects& effects() const { return transition_.effects; }
  const RatchetTree& next_tree() const { return transition_.tree; }
  Epoch next_epoch() const { return transition_.context.epoch; }

 private:
  friend class PublicGroup;
  explicit StagedPublicCommit(CommitTransition transition, Bytes base) : transition_(std::move(transition)), base_(std::move(base)) {}
  CommitTransition transition_;
  Bytes base_; ///< interim transcript hash it was made on
};

/// A follower of a group's public state: what a delivery service can check without any secret. It cannot
/// check the membership tag or the confirmation tag; members do.
class PublicGroup {
 public:
  /// From a GroupInfo that carries the ratchet_tree extension (mls_ratchet_tree_missing otherwise). Verifies the signer's
  /// signature and the whole tree (verify_tree).
  static Result<PublicGroup> from_group_info(const GroupInfo& group_info);
  /// The state as `serialise` wrote it; not for bytes that somebody else can write.
  static Result<PublicGroup> deserialise(ByteView bytes);
  Bytes serialise() const;

  PublicGroup(PublicGroup&&) = default;
  PublicGroup& operator=(PublicGroup&&) = default;
  PublicGroup clone() const { return PublicGroup(*this); }

  CipherSuite suite() const { return context_.cipher_suite; }
  Epoch epoch() const { return context_.epoch; }
  const GroupContext& context() const { return context_; }
  const RatchetTree& tree() const { return tree_; }
  std::vector<Member> members() const;
  /// The member with this signature key.
  std::optional<LeafIndex> find(ByteView signature_key) const;

  /// A proposal for the present epoch, verified and remembered, so that a commit may refer to it. At most max_proposals.
  Result<void> handle_proposal(const PublicMessage& message);
  /// Checks a commit against the present epoch; changes nothing.
  Result<StagedPublicCommit> verify(const PublicMessage& commit) const;
  /// mls_stale_stage when another commit was applied since.
  Result<void> apply(StagedPublicCommit&& staged);

  static constexpr std::size_t max_proposals = 1024;

 private:
  PublicGroup(RatchetTree tree, GroupContext context, Bytes interim) : tree_(std::move(tree)), context_(std::move(context)), interim_transcript_hash_(std::move(interim)) {}
  PublicGroup(const PublicGroup&) = default;

  RatchetTree tree_;
  GroupContext context_;
  Bytes interim_transcript_hash_;
  ProposalCache proposals_;
};

/// s.8.2.
Bytes confirmed_transcript_hash(const SuiteParameters& suite, ByteView interim_before, const AuthenticatedContent& commit);
Bytes interim_transcript_hash(const SuiteParameters& suite, ByteView confirmed, ByteView confirmation_tag);

std::vector<Member> list_members(const RatchetTree& tree);

} // namespace satsuma::mls
