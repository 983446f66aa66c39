#pragma once

#include <map>
#include <optional>

#include "mls/tree/ratchet_tree.h"
#include "mls/tree/validation.h"
#include "mls/wire/message.h"

/// What a commit does to the public state (RFC 9420 s.12), the same for members and for followers.
namespace satsuma::mls {

inline constexpr ErrorCode mls_group_mismatch{"mls_group_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_epoch_mismatch{"mls_epoch_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_sender_invalid{"mls_sender_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_not_a_commit{"mls_not_a_commit", ErrorKind::peer};
inline constexpr ErrorCode mls_proposal_reference_unknown{"mls_proposal_reference_unknown", ErrorKind::peer};
inline constexpr ErrorCode mls_proposal_list_invalid{"mls_proposal_list_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_path_required{"mls_path_required", ErrorKind::peer};

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
  GroupContext context;                 ///< next epoch, complete
  Bytes interim_transcript_hash;        ///< next epoch, with the message's confirmation tag
  LeafIndex path_leaf;                  ///< committer's leaf in `tree`
};

/// A proposal of a commit with who made it.
struct ResolvedProposal {
  const Proposal* proposal;
  Sender sender;
  bool by_reference = false;
};

/// The proposals' outcome before the path.
struct AppliedProposals {
  RatchetTree tree;
  Extensions extensions; ///< of the next GroupContext
  CommitEffects effects; ///< all but the path's part
  bool path_required = false;
};

/// Checks the list (s.12.2) and applies it in the order of s.12.3. `committer` is empty for an external commit.
Result<AppliedProposals> apply_proposals(const RatchetTree& tree, const GroupContext& context, const std::vector<ResolvedProposal>& proposals,
                                         std::optional<LeafIndex> committer);

/// Whether a sender of this kind may propose this on its own (s.12.1.8), and the proposal makes sense as such.
Result<void> verify_proposal(const RatchetTree& tree, const GroupContext& context, const Proposal& proposal, const Sender& sender);

/// RFC 9420 s.12.4.2 without what needs secrets (membership tag, confirmation tag, path secrets, PSK values).
/// The content's signature is checked by the caller (sender_signature_key).
Result<CommitTransition> evaluate_commit(const RatchetTree& tree, const GroupContext& context, ByteView interim_transcript_hash,
                                         const AuthenticatedContent& content, const ProposalCache& proposals);

/// The signature key of a sender (s.6.1), or mls_sender_invalid.
Result<Bytes> sender_signature_key(const RatchetTree& tree, const GroupContext& context, const FramedContent& content);

/// s.8.2.
Bytes confirmed_transcript_hash(const SuiteParameters& suite, ByteView interim_before, const AuthenticatedContent& commit);
Bytes interim_transcript_hash(const SuiteParameters& suite, ByteView confirmed, ByteView confirmation_tag);

std::vector<Member> list_members(const RatchetTree& tree);


} // namespace satsuma::mls
