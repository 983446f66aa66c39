#pragma once

#include <optional>

#include "mls/tree/commit_rules.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_ratchet_tree_missing{"mls_ratchet_tree_missing", ErrorKind::peer};
inline constexpr ErrorCode mls_stale_stage{"mls_stale_stage", ErrorKind::caller};

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
  /// `further`: proposal types beyond the RFC's that the group uses.
  static Result<PublicGroup> from_group_info(const GroupInfo& group_info, FurtherProposalTypes further = {});
  /// The state as `serialise` wrote it (stored.h). Signatures in the tree are not checked again: who could write these bytes could make up
  /// a group.
  static Result<PublicGroup> deserialise(ByteView bytes, FurtherProposalTypes further = {});
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
  FurtherProposalTypes further_;
};

} // namespace satsuma::mls
