#include "mls/tree/commit_rules.h"

#include <algorithm>
#include <set>
#include <utility>

namespace satsuma::mls {

using namespace tree_math;

namespace {

Member member_at(const RatchetTree& tree, LeafIndex leaf) {
  const LeafNode& node = *tree.leaf(leaf);
  return {leaf, node.signature_key, node.credential, node.encryption_key};
}

Result<void> verify_psk_id(const RatchetTree& tree, const PreSharedKeyId& id, ResumptionUsage usage) {
  // s.12.1.4
  if (id.type == PreSharedKeyId::Type::resumption && id.usage != ResumptionUsage::application && id.usage != usage) return mls_psk_usage_invalid;
  if (id.nonce.size() != tree.suite().hash_size()) return mls_psk_nonce_invalid;
  return {};
}

// s.12.1.7: what the new extensions demand holds for every member; their own data parses.
Result<void> verify_group_extensions(const Extensions& extensions) {
  if (const Extension* required = find_extension(extensions, extension_type::required_capabilities)) {
    SATSUMA_TRY_VOID(codec::decode<RequiredCapabilities>(required->data));
  }
  if (const Extension* senders = find_extension(extensions, extension_type::external_senders)) {
    SATSUMA_TRY_VOID(parse_external_senders(senders->data));
  }
  return {};
}

// Those of a further type stand where its row says (s.12.2). `touched`: the leaves that the list removes or changes.
Result<void> verify_further(const ResolvedProposal& resolved, FurtherProposalTypes further, std::optional<LeafIndex> committer, std::set<LeafIndex>& touched) {
  const FurtherProposalType* const type = find_type(further, resolved.proposal->type());
  if (type == nullptr) return mls_proposal_unknown;
  if (!type->by_value && !resolved.by_reference) return mls_proposal_by_value;
  if (!type->removes_sender) return {};
  if (resolved.sender.type != SenderType::member) return mls_proposal_not_for_sender;
  if (resolved.sender.leaf() == committer) return mls_commit_removes_committer;
  if (!touched.insert(resolved.sender.leaf()).second) return mls_leaf_changed_twice;
  return {};
}

// s.12.2, what may stand beside what in a member's commit.
Result<void> verify_member_list(const std::vector<ResolvedProposal>& proposals, LeafIndex committer, FurtherProposalTypes further) {
  std::set<LeafIndex> touched;
  bool context_extensions = false;
  for (const ResolvedProposal& resolved : proposals) {
    const Proposal& proposal = *resolved.proposal;
    if (proposal.as<Update>() != nullptr) {
      // By value it would be the committer's own, whose leaf the path replaces.
      if (!resolved.by_reference || resolved.sender.type != SenderType::member || resolved.sender.leaf() == committer) return mls_update_by_committer;
      if (!touched.insert(resolved.sender.leaf()).second) return mls_leaf_changed_twice;
    } else if (const auto* remove = proposal.as<Remove>()) {
      if (remove->removed == committer) return mls_commit_removes_committer;
      if (!touched.insert(remove->removed).second) return mls_leaf_changed_twice;
    } else if (proposal.as<GroupContextExtensions>() != nullptr) {
      if (std::exchange(context_extensions, true)) return mls_group_context_extensions_duplicate;
    } else if (proposal.as<ReInit>() != nullptr) {
      if (proposals.size() != 1) return mls_reinit_not_alone;
    } else if (proposal.as<ExternalInit>() != nullptr) {
      return mls_external_init_in_member_commit;
    } else if (proposal.as<FurtherProposal>() != nullptr) {
      SATSUMA_TRY_VOID(verify_further(resolved, further, committer, touched));
    }
  }
  return {};
}

// s.12.2, s.12.4.3.2: an external commit has ExternalInit, Remove and PreSharedKey, all by value; and further types that may stand in it.
Result<void> verify_external_list(const std::vector<ResolvedProposal>& proposals, FurtherProposalTypes further) {
  std::size_t external_inits = 0;
  std::size_t removes = 0;
  std::set<LeafIndex> touched;
  for (const ResolvedProposal& resolved : proposals) {
    if (resolved.proposal->as<FurtherProposal>() != nullptr) {
      const FurtherProposalType* const type = find_type(further, resolved.proposal->type());
      if (type == nullptr || !type->in_external_commit) return mls_external_commit_proposal_forbidden;
      SATSUMA_TRY_VOID(verify_further(resolved, further, std::nullopt, touched));
      continue;
    }
    if (resolved.by_reference) return mls_external_commit_by_reference;
    if (resolved.proposal->as<ExternalInit>() != nullptr) {
      ++external_inits;
    } else if (const auto* remove = resolved.proposal->as<Remove>()) {
      ++removes;
      if (!touched.insert(remove->removed).second) return mls_leaf_changed_twice;
    } else if (resolved.proposal->as<PreSharedKey>() == nullptr) {
      return mls_external_commit_proposal_forbidden;
    }
  }
  if (external_inits != 1) return mls_external_init_count;
  if (removes > 1) return mls_external_commit_removes_many;
  return {};
}

Result<void> verify_list(const std::vector<ResolvedProposal>& proposals, std::optional<LeafIndex> committer, FurtherProposalTypes further) {
  std::set<Bytes> psks;
  for (const ResolvedProposal& resolved : proposals) {
    const auto* psk = resolved.proposal->as<PreSharedKey>();
    if (psk != nullptr && !psks.insert(codec::encode(psk->id)).second) return mls_psk_duplicate;
  }
  return committer ? verify_member_list(proposals, *committer, further) : verify_external_list(proposals, further);
}

// Who may propose what, s.12.1.8 and the table of s.17.4.
Result<void> verify_proposer(const RatchetTree& tree, const Proposal& proposal, const Sender& sender) {
  const std::uint16_t type = proposal.type();
  switch (sender.type) {
    case SenderType::member:
      if (tree.leaf(sender.leaf()) == nullptr) return mls_sender_invalid;
      if (type == proposal_type::external_init) return mls_external_init_in_member_commit;
      return {};
    case SenderType::external:
      if (type == proposal_type::update || type == proposal_type::external_init || proposal.as<FurtherProposal>() != nullptr) return mls_proposal_not_for_sender;
      return {};
    case SenderType::new_member_proposal:
      if (type != proposal_type::add) return mls_proposal_not_for_sender;
      return {};
    case SenderType::new_member_commit: break;
  }
  return mls_proposal_not_for_sender;
}

Result<void> verify_proposal_for(const RatchetTree& tree, const GroupContext& context, const Proposal& proposal, const Sender& sender,
                                 FurtherProposalTypes further, ResumptionUsage psk_usage) {
  SATSUMA_TRY_VOID(verify_proposer(tree, proposal, sender));
  if (proposal.as<FurtherProposal>() != nullptr) {
    if (find_type(further, proposal.type()) == nullptr) return mls_proposal_unknown;
    return {};
  }
  if (const auto* add = proposal.as<Add>()) {
    if (add->key_package.cipher_suite != context.cipher_suite) return mls_key_package_suite_mismatch;
    return verify_key_package(add->key_package);
  }
  if (const auto* update = proposal.as<Update>()) {
    if (update->leaf_node.source != LeafNodeSource::update) return mls_leaf_source_wrong;
    if (update->leaf_node.encryption_key == tree.leaf(sender.leaf())->encryption_key) return mls_leaf_key_duplicate;
    return verify_leaf(tree.suite(), update->leaf_node, context.group_id, sender.leaf(), {});
  }
  if (const auto* remove = proposal.as<Remove>()) {
    if (tree.leaf(remove->removed) == nullptr) return mls_leaf_unknown;
    return {};
  }
  if (const auto* psk = proposal.as<PreSharedKey>()) return verify_psk_id(tree, psk->id, psk_usage);
  if (const auto* reinit = proposal.as<ReInit>()) {
    if (reinit->version < context.version) return mls_reinit_version_lower;
    return {};
  }
  if (const auto* extensions = proposal.as<GroupContextExtensions>()) return verify_group_extensions(extensions->extensions);
  return {};
}

// s.12.2: who processes the commit knows the further types in it. Those whom it removes do not process it, and those whom it adds not either.
Result<void> verify_supported(const RatchetTree& tree, const std::vector<ResolvedProposal>& proposals, FurtherProposalTypes further) {
  std::set<std::uint16_t> types;
  std::set<LeafIndex> leaving;
  for (const ResolvedProposal& resolved : proposals) {
    if (const auto* remove = resolved.proposal->as<Remove>()) leaving.insert(remove->removed);
    if (resolved.proposal->as<FurtherProposal>() == nullptr) continue;
    types.insert(resolved.proposal->type());
    if (find_type(further, resolved.proposal->type())->removes_sender) leaving.insert(resolved.sender.leaf());
  }
  for (const std::uint16_t type : types) {
    for (const LeafIndex member : tree.members()) {
      if (!leaving.contains(member) && !tree.leaf(member)->capabilities.proposals.contains(type)) return mls_proposal_unsupported;
    }
  }
  return {};
}

} // namespace

Result<void> verify_proposal(const RatchetTree& tree, const GroupContext& context, const Proposal& proposal, const Sender& sender,
                             FurtherProposalTypes further) {
  return verify_proposal_for(tree, context, proposal, sender, further, ResumptionUsage::application);
}

Result<void> verify_sent_proposal(const RatchetTree& tree, const GroupContext& context, const AuthenticatedContent& content, FurtherProposalTypes further) {
  const auto* proposal = std::get_if<Proposal>(&content.content.content);
  if (proposal == nullptr) return mls_not_a_proposal;
  SATSUMA_TRY_VOID(verify_proposal(tree, context, *proposal, content.content.sender, further));
  const FurtherProposalType* const type = proposal->as<FurtherProposal>() != nullptr ? find_type(further, proposal->type()) : nullptr;
  if (type != nullptr && !type->in_private_message && content.wire_format != WireFormat::public_message) return mls_proposal_not_public;
  return {};
}

Result<AppliedProposals> apply_proposals(const RatchetTree& tree, const GroupContext& context, const std::vector<ResolvedProposal>& proposals,
                                         std::optional<LeafIndex> committer, FurtherProposalTypes further, ResumptionUsage psk_usage) {
  SATSUMA_TRY_VOID(verify_list(proposals, committer, further));
  AppliedProposals out{tree, context.extensions, {}, proposals.empty()};
  out.effects.committer = committer;
  for (const ResolvedProposal& resolved : proposals) {
    const FurtherProposalType* const further_type =
        resolved.proposal->as<FurtherProposal>() != nullptr ? find_type(further, resolved.proposal->type()) : nullptr;
    if (!committer && further_type == nullptr) {
      // verify_proposal is about what may be sent alone; of an external commit's list this is what remains.
      if (const auto* psk = resolved.proposal->as<PreSharedKey>()) SATSUMA_TRY_VOID(verify_psk_id(tree, psk->id, psk_usage));
    } else {
      SATSUMA_TRY_VOID(verify_proposal_for(tree, context, *resolved.proposal, resolved.sender, further, psk_usage));
    }
    out.effects.all_proposals_by_value = out.effects.all_proposals_by_value && !resolved.by_reference;
    const std::uint16_t type = resolved.proposal->type();
    const bool path_required = further_type != nullptr ? further_type->path_required
                                                       : type != proposal_type::add && type != proposal_type::psk && type != proposal_type::reinit;
    out.path_required = out.path_required || path_required; // s.17.4
    if (const auto* further_proposal = resolved.proposal->as<FurtherProposal>()) out.effects.further.push_back({resolved.sender, *further_proposal});
  }
  SATSUMA_TRY_VOID(verify_supported(tree, proposals, further));
  // s.12.3: the order of application.
  for (const ResolvedProposal& resolved : proposals) {
    if (const auto* extensions = resolved.proposal->as<GroupContextExtensions>()) {
      out.extensions = extensions->extensions;
      out.effects.extensions_changed = true;
    }
  }
  for (const ResolvedProposal& resolved : proposals) {
    if (const auto* update = resolved.proposal->as<Update>()) {
      const LeafIndex leaf = resolved.sender.leaf();
      out.effects.updated.push_back({leaf, *out.tree.leaf(leaf), update->leaf_node});
      SATSUMA_TRY_VOID(out.tree.update_leaf(leaf, update->leaf_node));
    }
  }
  for (const ResolvedProposal& resolved : proposals) {
    if (resolved.proposal->as<FurtherProposal>() == nullptr || !find_type(further, resolved.proposal->type())->removes_sender) continue;
    out.effects.removed.push_back(member_at(out.tree, resolved.sender.leaf()));
    SATSUMA_TRY_VOID(out.tree.remove_leaf(resolved.sender.leaf()));
  }
  for (const ResolvedProposal& resolved : proposals) {
    if (const auto* remove = resolved.proposal->as<Remove>()) {
      if (out.tree.leaf(remove->removed) == nullptr) return mls_leaf_unknown;
      if (!committer) out.effects.resynchronised = remove->removed;
      out.effects.removed.push_back(member_at(out.tree, remove->removed));
      SATSUMA_TRY_VOID(out.tree.remove_leaf(remove->removed));
    }
  }
  std::vector<LeafNode> new_leaves;
  for (const ResolvedProposal& resolved : proposals) {
    if (const auto* add = resolved.proposal->as<Add>()) {
      out.effects.added.push_back({{}, add->key_package});
      new_leaves.push_back(add->key_package.leaf_node);
    } else if (const auto* psk = resolved.proposal->as<PreSharedKey>()) {
      out.effects.psks.push_back(psk->id);
    } else if (const auto* reinit = resolved.proposal->as<ReInit>()) {
      out.effects.reinit = *reinit;
    } else if (const auto* external_init = resolved.proposal->as<ExternalInit>()) {
      out.effects.external_init = external_init->kem_output;
    }
  }
  SATSUMA_TRY(const std::vector<LeafIndex> places, out.tree.add_leaves(std::move(new_leaves)));
  for (std::size_t i = 0; i < places.size(); ++i) out.effects.added[i].leaf = places[i];
  // Everyone supports what the group now demands; otherwise only who is new needs a look.
  if (out.effects.extensions_changed) {
    for (const LeafIndex member : out.tree.members()) SATSUMA_TRY_VOID(verify_leaf_capabilities(*out.tree.leaf(member), out.extensions));
  } else {
    for (const AddedMember& added : out.effects.added) SATSUMA_TRY_VOID(verify_leaf_capabilities(added.key_package.leaf_node, out.extensions));
    for (const ChangedMember& changed : out.effects.updated) SATSUMA_TRY_VOID(verify_leaf_capabilities(changed.after, out.extensions));
  }
  SATSUMA_TRY_VOID(verify_leaves_together(out.tree));
  return out;
}

Result<std::vector<ExternalSender>> parse_external_senders(ByteView extension_data) {
  ByteReader reader(extension_data);
  SATSUMA_TRY(std::vector<ExternalSender> senders, codec::read_vector<ExternalSender>(reader));
  SATSUMA_TRY_VOID(reader.expect_end());
  return senders;
}

namespace {

// s.6.1, s.12.1.8: whose key a content's signature must verify under.
Result<Bytes> sender_signature_key(const RatchetTree& tree, const GroupContext& context, const FramedContent& content) {
  switch (content.sender.type) {
    case SenderType::member: {
      const LeafNode* leaf = tree.leaf(content.sender.leaf());
      if (leaf == nullptr) return mls_sender_invalid;
      return leaf->signature_key;
    }
    case SenderType::external: {
      const Extension* extension = find_extension(context.extensions, extension_type::external_senders);
      if (extension == nullptr) return mls_sender_invalid;
      SATSUMA_TRY(std::vector<ExternalSender> senders, parse_external_senders(extension->data));
      if (content.sender.index >= senders.size() || content.type() != ContentType::proposal) return mls_sender_invalid;
      return std::move(senders[content.sender.index].signature_key);
    }
    case SenderType::new_member_proposal: {
      const auto* proposal = std::get_if<Proposal>(&content.content);
      const Add* add = proposal != nullptr ? proposal->as<Add>() : nullptr;
      if (add == nullptr) return mls_sender_invalid;
      return add->key_package.leaf_node.signature_key;
    }
    case SenderType::new_member_commit: {
      const auto* commit = std::get_if<Commit>(&content.content);
      if (commit == nullptr) return mls_sender_invalid;
      if (!commit->path) return mls_path_required;
      return commit->path->leaf_node.signature_key;
    }
  }
  return mls_sender_invalid;
}

} // namespace

SecretBytes VerifiedContent::take_application_data() && {
  auto* application = std::get_if<ApplicationData>(&content_.content.content);
  if (application == nullptr) return {};
  SecretBytes data = SecretBytes::copy_of(application->data);
  wipe(application->data);
  return data;
}

Result<VerifiedContent> verify_content(const RatchetTree& tree, const GroupContext& context, AuthenticatedContent content) {
  // The cheap refusals first: a message for another epoch costs no signature.
  if (content.content.group_id != context.group_id) return mls_group_mismatch;
  if (content.content.epoch != context.epoch) return mls_epoch_mismatch;
  // s.6.2, s.12.1.8: who is no member has no keys for a PrivateMessage.
  if (content.content.sender.type != SenderType::member && content.wire_format != WireFormat::public_message) return mls_sender_invalid;
  SATSUMA_TRY(const Bytes key, sender_signature_key(tree, context, content.content));
  SATSUMA_TRY_VOID(content.verify_signature(tree.suite(), key, context));
  return VerifiedContent(std::move(content));
}

namespace {

Result<void> apply_update_path(CommitTransition& next, const SuiteParameters& suite, const UpdatePath& path, std::optional<LeafIndex> committer) {
  RatchetTree& tree = next.tree;
  // s.7.5, s.12.4.2: none of the path's keys was in the tree before, and each stands in it once.
  std::vector<ByteView> path_keys{path.leaf_node.encryption_key};
  for (const UpdatePathNode& node : path.nodes) {
    for (const ByteView key : path_keys) {
      if (equal(key, node.encryption_key)) return mls_leaf_key_duplicate;
    }
    path_keys.push_back(node.encryption_key);
  }
  for (std::uint32_t i = 0; i < tree.node_width(); ++i) {
    if (tree.is_blank({i})) continue;
    for (const ByteView key : path_keys) {
      if (equal(key, tree.public_key({i}))) return mls_leaf_key_duplicate;
    }
  }
  if (path.leaf_node.source != LeafNodeSource::commit) return mls_leaf_source_wrong;
  if (committer) {
    next.path_leaf = *committer;
    next.effects.updated.push_back({*committer, *tree.leaf(*committer), path.leaf_node});
  } else {
    // s.12.2: a leaf that takes the place of an old self obeys what an Update of that one would.
    for (const Member& removed : next.effects.removed) {
      if (removed.encryption_key == path.leaf_node.encryption_key) return mls_leaf_key_duplicate;
    }
    SATSUMA_TRY(next.path_leaf, tree.add_leaf(path.leaf_node));
    next.effects.joined_by_external_commit = next.path_leaf;
  }
  SATSUMA_TRY_VOID(verify_leaf(suite, path.leaf_node, next.context.group_id, next.path_leaf, next.context.extensions));

  // One ciphertext for each node that the copath child resolves to, those just added aside.
  const std::vector<RatchetTree::PathStep> steps = tree.filtered_direct_path(next.path_leaf);
  if (steps.size() != path.nodes.size()) return mls_path_malformed;
  std::vector<LeafIndex> added;
  for (const AddedMember& member : next.effects.added) added.push_back(member.leaf);
  std::vector<Bytes> public_keys;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::vector<NodeIndex> recipients = tree.path_recipients(steps[i].copath_child, added);
    if (recipients.size() != path.nodes[i].encrypted_path_secret.size()) return mls_path_malformed;
    if (!crypto::kem_check_public_key(suite.kem, path.nodes[i].encryption_key)) return mls_leaf_key_invalid;
    public_keys.push_back(path.nodes[i].encryption_key);
  }
  SATSUMA_TRY(const Bytes leaf_parent_hash, tree.apply_path(next.path_leaf, public_keys));
  if (path.leaf_node.parent_hash != leaf_parent_hash) return mls_parent_hash_invalid;
  tree.set_leaf_after_path(next.path_leaf, path.leaf_node);
  return verify_leaves_together(tree);
}

} // namespace

Result<CommitTransition> evaluate_commit(const RatchetTree& tree, const GroupContext& context, ByteView interim_before,
                                         const VerifiedContent& content, const ProposalCache& cache, FurtherProposalTypes further) {
  const FramedContent& framed = content->content;
  const auto* commit = std::get_if<Commit>(&framed.content);
  if (commit == nullptr) return mls_not_a_commit;
  if (framed.group_id != context.group_id) return mls_group_mismatch;
  if (framed.epoch != context.epoch || context.epoch == ~Epoch{0}) return mls_epoch_mismatch;

  std::optional<LeafIndex> committer;
  if (framed.sender.type == SenderType::member) {
    if (tree.leaf(framed.sender.leaf()) == nullptr) return mls_sender_invalid;
    committer = framed.sender.leaf();
  } else if (framed.sender.type != SenderType::new_member_commit) {
    return mls_sender_invalid;
  }

  std::vector<ResolvedProposal> proposals;
  for (const ProposalOrRef& entry : commit->proposals) {
    if (const auto* proposal = std::get_if<Proposal>(&entry.value)) {
      proposals.push_back({proposal, framed.sender, false});
    } else {
      const auto found = cache.find(std::get_if<ProposalOrRef::Reference>(&entry.value)->hash);
      if (found == cache.end()) return mls_proposal_reference_unknown;
      proposals.push_back({&found->second.proposal, found->second.sender, true});
    }
  }

  SATSUMA_TRY(AppliedProposals applied, apply_proposals(tree, context, proposals, committer, further));
  if (applied.path_required && !commit->path) return mls_path_required;

  const SuiteParameters& suite = tree.suite();
  CommitTransition next{std::move(applied.effects), std::move(applied.tree), context, {}, committer.value_or(LeafIndex{})};
  next.context.extensions = std::move(applied.extensions);
  next.context.epoch = context.epoch + 1;
  if (commit->path) SATSUMA_TRY_VOID(apply_update_path(next, suite, *commit->path, committer));
  next.context.tree_hash = to_bytes(next.tree.tree_hash().view());
  next.context.confirmed_transcript_hash = confirmed_transcript_hash(suite, interim_before, *content);
  next.interim_transcript_hash = interim_transcript_hash(suite, next.context.confirmed_transcript_hash, content->auth.confirmation_tag);
  return next;
}

Bytes confirmed_transcript_hash(const SuiteParameters& suite, ByteView interim_before, const AuthenticatedContent& commit) {
  // ConfirmedTranscriptHashInput, s.8.2.
  ByteWriter input;
  input.bytes(interim_before);
  input.u16(static_cast<std::uint16_t>(commit.wire_format));
  commit.content.write(input);
  codec::write_opaque(input, commit.auth.signature);
  return crypto::hash(suite.hash, input.view());
}

Bytes interim_transcript_hash(const SuiteParameters& suite, ByteView confirmed, ByteView confirmation_tag) {
  ByteWriter input;
  input.bytes(confirmed);
  codec::write_opaque(input, confirmation_tag);
  return crypto::hash(suite.hash, input.view());
}

std::vector<Member> list_members(const RatchetTree& tree) {
  std::vector<Member> out;
  for (const LeafIndex leaf : tree.members()) out.push_back(member_at(tree, leaf));
  return out;
}

} // namespace satsuma::mls
