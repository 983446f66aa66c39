#include <algorithm>

#include "mls/group/group_steps.h"
#include "mls/wire/grease.h"

// The ways into a group: creating it (RFC 9420 s.11), by Welcome (s.12.4.3.1), by an external commit (s.12.4.3.2), and starting a successor
// of one (s.11.2, s.11.3).
namespace satsuma::mls {

using namespace tree_math;
using internal::is_succession;

namespace {

bool is_taken(std::span<const GroupId> own_groups, const GroupId& id) { return std::ranges::find(own_groups, id) != own_groups.end(); }

} // namespace

Result<Group> Group::create(const GroupParams& params, const KeyPackageBundle& creator, RandomSource& random) {
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite_of_member(creator.key_package.cipher_suite));
  SATSUMA_TRY_VOID(verify_key_package(creator.key_package));
  SATSUMA_TRY_VOID(verify_leaf_capabilities(creator.key_package.leaf_node, params.extensions));

  RatchetTree tree(suite->id);
  SATSUMA_TRY(const LeafIndex own_leaf, tree.add_leaf(creator.key_package.leaf_node));
  GroupContext context{protocol_version_mls10, suite->id, params.group_id, 0, to_bytes(tree.tree_hash().view()), {}, params.extensions};
  PrivateTree keys(own_leaf);
  keys.set(node_of(own_leaf), {creator.key_package.leaf_node.encryption_key, creator.encryption_private_key.clone()});

  SecretBytes epoch_secret(suite->hash_size());
  random.fill(epoch_secret.mutable_view());
  EpochSecrets secrets = epoch_secrets_from(*suite, epoch_secret.view(), params.limits.additions.further_secret);
  Bytes tag = compute_confirmation_tag(*suite, secrets.confirmation_key.view(), context.confirmed_transcript_hash);
  Bytes interim = interim_transcript_hash(*suite, context.confirmed_transcript_hash, tag);
  Group group(internal::make_state(std::move(context), std::move(tree), std::move(interim), std::move(tag), std::move(keys),
                                   creator.signature_private_key.clone(), std::move(secrets), params.limits));
  group.state_->padding = std::min(params.padding, max_padding);
  return group;
}

// --- By Welcome

namespace {

// Which PSKs a Welcome may carry: every nonce of the right length, and at most one that binds to another group.
Result<const PreSharedKeyId*> verify_welcome_psks(const std::vector<PreSharedKeyId>& ids, const SuiteParameters& suite) {
  const PreSharedKeyId* succession = nullptr;
  for (const PreSharedKeyId& id : ids) {
    if (id.nonce.size() != suite.hash_size()) return mls_psk_nonce_invalid;
    if (!is_succession(id)) continue;
    if (succession != nullptr) return mls_psk_usage_invalid;
    succession = &id;
  }
  return succession;
}

// The tree of a GroupInfo, verified completely, the signature of its signer too.
Result<RatchetTree> verified_tree(const GroupInfo& info, const std::optional<Bytes>& tree_beside, const GroupLimits& limits, const LeafPolicy& policy) {
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite(info.group_context.cipher_suite));
  const Extension* extension = find_extension(info.extensions, extension_type::ratchet_tree);
  if (extension == nullptr && !tree_beside) return mls_ratchet_tree_missing;
  SATSUMA_TRY(RatchetTree tree, RatchetTree::parse(suite->id, extension != nullptr ? extension->data : *tree_beside));
  if (tree.member_count() > limits.max_members) return mls_too_many_members;
  const LeafNode* signer = tree.leaf(info.signer);
  if (signer == nullptr) return mls_welcome_signer_invalid;
  SATSUMA_TRY_VOID(info.verify_signature(*suite, signer->signature_key));
  SATSUMA_TRY_VOID(verify_tree(tree, info.group_context));
  SATSUMA_TRY_VOID(policy.check_tree(tree));
  SATSUMA_TRY_VOID(policy.check_external_senders(info.group_context.extensions));
  return tree;
}

} // namespace

Result<Group> Group::join(const Welcome& welcome, const KeyPackageBundle& bundle, const JoinParams& params) {
  const KeyPackage& package = bundle.key_package;
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite_of_member(welcome.cipher_suite));
  if (package.cipher_suite != welcome.cipher_suite) return mls_welcome_suite_mismatch;
  const EncryptedGroupSecrets* entry = welcome.find(package.reference(*suite));
  if (entry == nullptr) return mls_welcome_not_for_us;
  SATSUMA_TRY(const GroupSecrets group_secrets, decrypt_group_secrets(*suite, *entry, bundle.init_private_key.view(), package.init_key,
                                                                      welcome.encrypted_group_info));
  SATSUMA_TRY(const PreSharedKeyId* const succession, verify_welcome_psks(group_secrets.psks, *suite));
  if (succession != nullptr && params.predecessor == nullptr) return mls_predecessor_missing;
  std::vector<PskValue> psks;
  for (const PreSharedKeyId& id : group_secrets.psks) {
    const SecretBytes* stored = params.psks != nullptr ? params.psks->find(id) : nullptr;
    if (params.predecessor != nullptr && id.type == PreSharedKeyId::Type::resumption) {
      SATSUMA_TRY(SecretBytes secret, params.predecessor->psk_value(id, params.psks));
      psks.push_back({id, std::move(secret)});
    } else {
      if (stored == nullptr) return mls_psk_unknown;
      psks.push_back({id, stored->clone()});
    }
  }
  const SecretBytes psk_secret = derive_psk_secret(*suite, psks);
  const SecretBytes welcome_secret = derive_welcome_secret(*suite, group_secrets.joiner_secret.view(), psk_secret.view());
  SATSUMA_TRY(const GroupInfo info, decrypt_group_info(*suite, welcome_secret.view(), welcome.encrypted_group_info));
  const GroupContext& context = info.group_context;
  if (context.cipher_suite != suite->id) return mls_welcome_suite_mismatch;
  if (is_taken(params.own_groups, context.group_id)) return mls_group_id_taken;
  SATSUMA_TRY(RatchetTree tree, verified_tree(info, params.ratchet_tree, params.limits, params.policy));
  if (succession != nullptr) SATSUMA_TRY_VOID(internal::verify_succession(*params.predecessor->state_, *succession, context, tree, params.policy));

  std::optional<LeafIndex> own_leaf;
  for (const LeafIndex member : tree.members()) {
    if (*tree.leaf(member) == package.leaf_node) own_leaf = member;
  }
  if (!own_leaf) return mls_welcome_leaf_missing;
  if (*own_leaf == info.signer) return mls_welcome_signer_invalid;
  PrivateTree keys(*own_leaf);
  keys.set(node_of(*own_leaf), {package.leaf_node.encryption_key, bundle.encryption_private_key.clone()});
  if (group_secrets.path_secret) {
    SATSUMA_TRY_VOID(keys.implant(tree, common_ancestor(*own_leaf, info.signer), group_secrets.path_secret->view()));
  }

  EpochSecrets secrets = derive_epoch_secrets(*suite, group_secrets.joiner_secret.view(), psk_secret.view(), codec::encode(context),
                                              params.limits.additions.further_secret);
  Bytes tag = compute_confirmation_tag(*suite, secrets.confirmation_key.view(), context.confirmed_transcript_hash);
  if (!constant_time_equal(tag, info.confirmation_tag)) return mls_confirmation_tag_mismatch;
  Bytes interim = interim_transcript_hash(*suite, context.confirmed_transcript_hash, tag);
  Group group(internal::make_state(context, std::move(tree), std::move(interim), std::move(tag), std::move(keys), bundle.signature_private_key.clone(),
                                   std::move(secrets), params.limits));
  group.state_->padding = std::min(params.padding, max_padding);
  return group;
}

// --- By an external commit

Result<ExternalJoin> Group::join_external(const GroupInfo& info, const KeyPackageBundle& self, const ExternalJoinParams& params, RandomSource& random) {
  const GroupContext& present = info.group_context;
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite_of_member(present.cipher_suite));
  if (self.key_package.cipher_suite != suite->id) return mls_welcome_suite_mismatch;
  if (present.epoch == ~Epoch{0}) return mls_epoch_mismatch;
  if (is_taken(params.own_groups, present.group_id)) return mls_group_id_taken;
  const Extension* extension = find_extension(info.extensions, extension_type::external_pub);
  if (extension == nullptr) return mls_external_pub_missing;
  ByteReader reader(extension->data);
  SATSUMA_TRY(const ByteView external_pub, codec::read_opaque(reader));
  SATSUMA_TRY_VOID(reader.expect_end());
  SATSUMA_TRY(const RatchetTree old_tree, verified_tree(info, params.ratchet_tree, params.limits, params.policy));
  const LeafNode& own = self.key_package.leaf_node;
  SATSUMA_TRY_VOID(verify_leaf_capabilities(own, present.extensions));

  SATSUMA_TRY(ExternalInitSecret init, send_external_init(*suite, external_pub, random));
  Commit commit;
  std::vector<Proposal> proposals;
  proposals.push_back({ExternalInit{std::move(init.kem_output)}});
  if (params.resync) proposals.push_back({Remove{*params.resync}});
  for (PreSharedKeyId& id : internal::with_nonces(params.psks, *suite, random)) proposals.push_back({PreSharedKey{std::move(id)}});
  std::vector<ResolvedProposal> resolved;
  for (const Proposal& proposal : proposals) {
    commit.proposals.push_back({proposal});
    resolved.push_back({&proposal, {SenderType::new_member_commit, 0}, false});
  }
  const FurtherProposalTypes further = params.limits.additions.proposals;
  for (const PublicMessage& message : params.proposals) {
    // The membership tag is for members; the signature is good, and the members will find the proposal in what they received themselves.
    SATSUMA_TRY(const VerifiedContent waiting, verify_content(old_tree, present, message.authenticated_content()));
    SATSUMA_TRY_VOID(verify_sent_proposal(old_tree, present, *waiting, further));
    commit.proposals.push_back({ProposalOrRef::Reference{proposal_ref(*suite, codec::encode(*waiting))}});
    resolved.push_back({std::get_if<Proposal>(&message.content.content), message.content.sender, true});
  }
  SATSUMA_TRY(AppliedProposals applied, apply_proposals(old_tree, present, resolved, std::nullopt, further));
  RatchetTree& tree = applied.tree;
  SATSUMA_TRY(const LeafIndex own_leaf, tree.add_leaf(own));
  if (tree.member_count() > params.limits.max_members) return mls_too_many_members;
  std::vector<PskValue> psks;
  for (const PreSharedKeyId& id : applied.effects.psks) {
    const SecretBytes* secret = params.psk_store != nullptr ? params.psk_store->find(id) : nullptr;
    if (secret == nullptr) return mls_psk_unknown;
    psks.push_back({id, secret->clone()});
  }

  GroupContext context = present;
  context.epoch += 1;
  SATSUMA_TRY(internal::NewPath path,
              internal::make_path(tree, context, present, own_leaf, own, self.signature_private_key.view(), {}, random));
  SATSUMA_TRY_VOID(verify_leaves_together(tree));
  commit.path = std::move(path.update);
  PrivateTree keys(own_leaf);
  internal::keep_path(keys, own_leaf, path.secrets);

  AuthenticatedContent content;
  content.wire_format = WireFormat::public_message;
  content.content = {present.group_id, present.epoch, {SenderType::new_member_commit, 0}, params.authenticated_data, std::move(commit)};
  SATSUMA_TRY_VOID(content.sign(*suite, self.signature_private_key.view(), present));
  const Bytes interim_before = interim_transcript_hash(*suite, present.confirmed_transcript_hash, info.confirmation_tag);
  context.confirmed_transcript_hash = confirmed_transcript_hash(*suite, interim_before, content);
  internal::NextEpochSecrets next =
      internal::run_key_schedule(*suite, init.init_secret.view(), path.secrets.commit_secret.view(), psks, context, params.limits.additions);
  Bytes tag = compute_confirmation_tag(*suite, next.secrets.confirmation_key.view(), context.confirmed_transcript_hash);
  content.auth.confirmation_tag = tag;
  Bytes message = MLSMessage{PublicMessage{content.content, content.auth, {}}}.encode();

  Bytes interim = interim_transcript_hash(*suite, context.confirmed_transcript_hash, tag);
  Group group(internal::make_state(std::move(context), std::move(tree), std::move(interim), std::move(tag), std::move(keys),
                                   self.signature_private_key.clone(), std::move(next.secrets), params.limits));
  group.state_->padding = std::min(params.padding, max_padding);
  return ExternalJoin(std::move(message), std::move(group));
}

// --- A successor of a group

Result<Successor> Group::succeed(const GroupParams& group_params, ResumptionUsage usage, const SuccessorParams& params, const KeyPackageBundle& self,
                                 RandomSource& random) const {
  SATSUMA_TRY(Group group, Group::create(group_params, self, random));
  PreSharedKeyId id;
  id.type = PreSharedKeyId::Type::resumption;
  id.usage = usage;
  id.group_id = state_->context.group_id;
  id.epoch = state_->context.epoch;
  CommitParams commit;
  commit.add = params.members;
  commit.psks.push_back(id);
  commit.ratchet_tree_in_welcome = params.ratchet_tree_in_welcome;
  commit.policy = params.policy;
  // Nobody else is in the new group yet: its first commit need not be ordered, and is seen by nobody.
  SATSUMA_TRY(PendingCommit pending, group.make_commit(commit, usage, this, random));
  SATSUMA_TRY_VOID(group.merge(std::move(pending.staged)));
  SATSUMA_TRY_VOID(internal::verify_succession(*state_, id, group.context(), group.tree(), params.policy));
  return Successor{std::move(group), std::move(pending.welcome)};
}

Result<Successor> Group::branch(const BranchParams& params, const KeyPackageBundle& self, RandomSource& random) const {
  if (!state_->active) return mls_group_inactive;
  return succeed({params.group_id, params.extensions, params.padding, params.limits}, ResumptionUsage::branch, params, self, random);
}

Result<Successor> Group::reinitialise(const SuccessorParams& params, const KeyPackageBundle& self, RandomSource& random) const {
  const std::optional<ReInit>& reinit = state_->reinit;
  if (!reinit) return mls_not_reinitialised;
  if (reinit->version != protocol_version_mls10) return mls_version_unsupported;
  return succeed({reinit->group_id, reinit->extensions, params.padding, params.limits}, ResumptionUsage::reinit, params, self, random);
}

} // namespace satsuma::mls
