#include "mls/tree/public_group.h"

#include "mls/tree/stored.h"

namespace satsuma::mls {

Result<PublicGroup> PublicGroup::from_group_info(const GroupInfo& info, FurtherProposalTypes further) {
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite(info.group_context.cipher_suite));
  const Extension* extension = find_extension(info.extensions, extension_type::ratchet_tree);
  if (extension == nullptr) return mls_ratchet_tree_missing;
  SATSUMA_TRY(RatchetTree tree, RatchetTree::parse(suite->id, extension->data));
  SATSUMA_TRY_VOID(verify_tree(tree, info.group_context));
  const LeafNode* signer = tree.leaf(info.signer);
  if (signer == nullptr) return mls_sender_invalid;
  SATSUMA_TRY_VOID(info.verify_signature(*suite, signer->signature_key));
  Bytes interim = interim_transcript_hash(*suite, info.group_context.confirmed_transcript_hash, info.confirmation_tag);
  PublicGroup group(std::move(tree), info.group_context, std::move(interim));
  group.further_ = further;
  return group;
}

Bytes PublicGroup::serialise() const {
  ByteWriter writer;
  write_stored_header(writer, StoredKind::public_group);
  context_.write(writer);
  codec::write_opaque(writer, interim_transcript_hash_);
  StoredTrees trees;
  trees.add(tree_);
  trees.write(writer);
  write_stored_proposals(writer, proposals_);
  writer.bytes(stored_digest(writer.view()));
  return std::move(writer).take();
}

Result<PublicGroup> PublicGroup::deserialise(ByteView bytes, FurtherProposalTypes further) {
  SATSUMA_TRY(ByteReader reader, open_stored(bytes, StoredKind::public_group));
  SATSUMA_TRY(GroupContext context, GroupContext::parse(reader));
  SATSUMA_TRY(Bytes interim, codec::read_bytes(reader));
  SATSUMA_TRY(std::vector<RatchetTree> trees, StoredTrees::parse(reader, context.cipher_suite));
  if (trees.size() != 1 || !equal(trees[0].tree_hash().view(), context.tree_hash)) return mls_stored_invalid;
  SATSUMA_TRY(ProposalCache proposals, parse_stored_proposals(reader, trees[0], context, max_proposals, further));
  SATSUMA_TRY_VOID(reader.expect_end());
  PublicGroup group(std::move(trees[0]), std::move(context), std::move(interim));
  group.proposals_ = std::move(proposals);
  group.further_ = further;
  return group;
}

std::vector<Member> PublicGroup::members() const { return list_members(tree_); }

std::optional<LeafIndex> PublicGroup::find(ByteView signature_key) const {
  for (std::uint32_t i = 0; i < tree_.leaf_count().value; ++i) {
    const LeafNode* leaf = tree_.leaf({i});
    if (leaf != nullptr && equal(leaf->signature_key, signature_key)) return LeafIndex{i};
  }
  return std::nullopt;
}

Result<void> PublicGroup::handle_proposal(const PublicMessage& message) {
  if (message.content.type() != ContentType::proposal) return mls_not_a_proposal;
  SATSUMA_TRY(const VerifiedContent content, verify_content(tree_, context_, message.authenticated_content()));
  const auto& proposal = *std::get_if<Proposal>(&content->content.content);
  SATSUMA_TRY_VOID(verify_sent_proposal(tree_, context_, *content, further_));
  if (proposals_.size() >= max_proposals) return mls_too_many_proposals;
  const auto arrival = static_cast<std::uint32_t>(proposals_.size());
  proposals_.emplace(proposal_ref(tree_.suite(), codec::encode(*content)), KnownProposal{proposal, content->content.sender, arrival});
  return {};
}

Result<StagedPublicCommit> PublicGroup::verify(const PublicMessage& message) const {
  if (message.content.type() != ContentType::commit) return mls_not_a_commit;
  SATSUMA_TRY(const VerifiedContent content, verify_content(tree_, context_, message.authenticated_content()));
  SATSUMA_TRY(CommitTransition transition, evaluate_commit(tree_, context_, interim_transcript_hash_, content, proposals_, further_));
  return StagedPublicCommit(std::move(transition), interim_transcript_hash_);
}

Result<void> PublicGroup::apply(StagedPublicCommit&& staged) {
  if (staged.base_ != interim_transcript_hash_) return mls_stale_stage;
  tree_ = std::move(staged.transition_.tree);
  context_ = std::move(staged.transition_.context);
  interim_transcript_hash_ = std::move(staged.transition_.interim_transcript_hash);
  proposals_.clear();
  return {};
}

} // namespace satsuma::mls
