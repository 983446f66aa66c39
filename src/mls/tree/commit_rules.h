#pragma once

#include <map>
#include <optional>

#include "base/secret.h"
#include "mls/tree/ratchet_tree.h"
#include "mls/tree/validation.h"
#include "mls/wire/message.h"

/// What a commit does to the public state (RFC 9420 s.12), the same for members and for followers.
namespace satsuma::mls {

inline constexpr ErrorCode mls_group_mismatch{"mls_group_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_epoch_mismatch{"mls_epoch_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_sender_invalid{"mls_sender_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_not_a_commit{"mls_not_a_commit", ErrorKind::peer};
inline constexpr ErrorCode mls_not_a_proposal{"mls_not_a_proposal", ErrorKind::peer};
inline constexpr ErrorCode mls_proposal_reference_unknown{"mls_proposal_reference_unknown", ErrorKind::peer};
inline constexpr ErrorCode mls_path_required{"mls_path_required", ErrorKind::peer};
inline constexpr ErrorCode mls_too_many_proposals{"mls_too_many_proposals", ErrorKind::peer};
// One proposal, s.12.1:
inline constexpr ErrorCode mls_key_package_suite_mismatch{"mls_key_package_suite_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_psk_usage_invalid{"mls_psk_usage_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_psk_nonce_invalid{"mls_psk_nonce_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_reinit_version_lower{"mls_reinit_version_lower", ErrorKind::peer};
inline constexpr ErrorCode mls_proposal_not_for_sender{"mls_proposal_not_for_sender", ErrorKind::peer};
// Types beyond the RFC's, s.12.2, s.13.1:
inline constexpr ErrorCode mls_proposal_unsupported{"mls_proposal_unsupported", ErrorKind::peer};
inline constexpr ErrorCode mls_proposal_by_value{"mls_proposal_by_value", ErrorKind::peer};
inline constexpr ErrorCode mls_proposal_not_public{"mls_proposal_not_public", ErrorKind::peer};
// The list in a member's commit, s.12.2:
inline constexpr ErrorCode mls_update_by_committer{"mls_update_by_committer", ErrorKind::peer};
inline constexpr ErrorCode mls_commit_removes_committer{"mls_commit_removes_committer", ErrorKind::peer};
inline constexpr ErrorCode mls_leaf_changed_twice{"mls_leaf_changed_twice", ErrorKind::peer};
inline constexpr ErrorCode mls_psk_duplicate{"mls_psk_duplicate", ErrorKind::peer};
inline constexpr ErrorCode mls_group_context_extensions_duplicate{"mls_group_context_extensions_duplicate", ErrorKind::peer};
inline constexpr ErrorCode mls_reinit_not_alone{"mls_reinit_not_alone", ErrorKind::peer};
inline constexpr ErrorCode mls_external_init_in_member_commit{"mls_external_init_in_member_commit", ErrorKind::peer};
// The list in an external commit, s.12.2 and s.12.4.3.2:
inline constexpr ErrorCode mls_external_init_count{"mls_external_init_count", ErrorKind::peer};
inline constexpr ErrorCode mls_external_commit_by_reference{"mls_external_commit_by_reference", ErrorKind::peer};
inline constexpr ErrorCode mls_external_commit_proposal_forbidden{"mls_external_commit_proposal_forbidden", ErrorKind::peer};
inline constexpr ErrorCode mls_external_commit_removes_many{"mls_external_commit_removes_many", ErrorKind::peer};

/// One occupied leaf.
struct Member {
  LeafIndex leaf;
  Bytes signature_key;
  Credential credential;
  Bytes encryption_key;
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
/// A proposal of a type beyond the RFC's (FurtherProposalType): what it means is the caller's to know.
struct FurtherEffect {
  Sender sender;
  FurtherProposal proposal;
};
struct CommitEffects {
  /// Empty when a new member joins by an external commit; it then stands in `joined_by_external_commit`.
  std::optional<LeafIndex> committer;
  std::optional<LeafIndex> joined_by_external_commit;
  std::vector<AddedMember> added;       ///< in the order of the commit, which is also that of their leaves
  std::vector<Member> removed;          ///< as they were before
  std::optional<LeafIndex> resynchronised; ///< of those, the old self of who joins by an external commit
  std::vector<ChangedMember> updated;   ///< by Update proposals, and the committer's own leaf when there is a path
  bool all_proposals_by_value = true;
  bool extensions_changed = false;
  std::vector<PreSharedKeyId> psks;     ///< in the order of the commit
  std::optional<ReInit> reinit;
  std::optional<Bytes> external_init;   ///< kem_output
  std::vector<FurtherEffect> further;   ///< in the order of the commit, those that remove their sender too
};

/// A proposal that the commit may refer to, received and authenticated in this epoch.
struct KnownProposal {
  Proposal proposal;
  Sender sender;
  std::uint32_t arrival = 0; ///< rises with each one; among Updates of one member the last counts
};
using ProposalCache = std::map<Bytes, KnownProposal>; ///< by ProposalRef

/// Content whose signature was found to be its sender's (s.6.1), in the epoch whose tree and context were asked.
/// `verify_content` is the only way to one, and what evaluates a commit or remembers a proposal takes nothing else.
class VerifiedContent {
 public:
  const AuthenticatedContent& operator*() const { return content_; }
  const AuthenticatedContent* operator->() const { return &content_; }
  /// Leaves none behind; empty for other content.
  SecretBytes take_application_data() &&;

 private:
  friend Result<VerifiedContent> verify_content(const RatchetTree& tree, const GroupContext& context, AuthenticatedContent content);
  explicit VerifiedContent(AuthenticatedContent content) : content_(std::move(content)) {}
  AuthenticatedContent content_;
};
/// Group and epoch are the context's, and the signature is good under the sender's key: mls_group_mismatch,
/// mls_epoch_mismatch, mls_sender_invalid, signature_invalid.
Result<VerifiedContent> verify_content(const RatchetTree& tree, const GroupContext& context, AuthenticatedContent content);

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
/// `psk_usage`: what resumption PSKs may be for: reinit and branch only in the first commit of a group's successor.
Result<AppliedProposals> apply_proposals(const RatchetTree& tree, const GroupContext& context, const std::vector<ResolvedProposal>& proposals,
                                         std::optional<LeafIndex> committer, FurtherProposalTypes further = {},
                                         ResumptionUsage psk_usage = ResumptionUsage::application);

/// Whether a sender of this kind may propose this on its own (s.12.1.8), and the proposal makes sense as such. Whether all who are to process a further
/// type know it depends on the commit that it will stand in, and is seen there.
Result<void> verify_proposal(const RatchetTree& tree, const GroupContext& context, const Proposal& proposal, const Sender& sender,
                             FurtherProposalTypes further = {});
/// The same of a proposal that was sent alone: whether it may come in this wire format too (mls_proposal_not_public).
Result<void> verify_sent_proposal(const RatchetTree& tree, const GroupContext& context, const AuthenticatedContent& content, FurtherProposalTypes further);

/// RFC 9420 s.12.4.2 without what needs secrets (membership tag, confirmation tag, path secrets, PSK values).
Result<CommitTransition> evaluate_commit(const RatchetTree& tree, const GroupContext& context, ByteView interim_transcript_hash,
                                         const VerifiedContent& content, const ProposalCache& proposals, FurtherProposalTypes further = {});

/// The data of an external_senders extension, s.12.1.8.1.
Result<std::vector<ExternalSender>> parse_external_senders(ByteView extension_data);

/// s.8.2.
Bytes confirmed_transcript_hash(const SuiteParameters& suite, ByteView interim_before, const AuthenticatedContent& commit);
Bytes interim_transcript_hash(const SuiteParameters& suite, ByteView confirmed, ByteView confirmation_tag);

std::vector<Member> list_members(const RatchetTree& tree);

} // namespace satsuma::mls
