#include "mls/group/group_steps.h"

#include <algorithm>
#include <set>

namespace satsuma::mls::internal {

using namespace tree_math;

Bytes provisional_context(const GroupContext& next, const GroupContext& present) {
  GroupContext context = next;
  context.confirmed_transcript_hash = present.confirmed_transcript_hash;
  return codec::encode(context);
}

std::vector<LeafIndex> leaves_of(const std::vector<AddedMember>& added) {
  std::vector<LeafIndex> leaves;
  for (const AddedMember& member : added) leaves.push_back(member.leaf);
  return leaves;
}

NextEpochSecrets run_key_schedule(const SuiteParameters& suite, ByteView init_secret, ByteView commit_secret, const std::vector<PskValue>& psks,
                                  const GroupContext& context, const Additions& additions) {
  const Bytes encoded = codec::encode(context);
  const SecretBytes psk_secret = derive_psk_secret(suite, psks);
  SecretBytes joiner_secret = derive_joiner_secret(suite, init_secret, commit_secret, encoded);
  SecretBytes welcome_secret = derive_welcome_secret(suite, joiner_secret.view(), psk_secret.view());
  EpochSecrets secrets = derive_epoch_secrets(suite, joiner_secret.view(), psk_secret.view(), encoded, additions.further_secret);
  return {std::move(joiner_secret), std::move(welcome_secret), std::move(secrets)};
}

GroupStatePointer make_state(GroupContext context, RatchetTree tree, Bytes interim_transcript_hash, Bytes confirmation_tag, PrivateTree private_tree,
                             SecretBytes signature_private_key, EpochSecrets secrets, const GroupLimits& limits) {
  SecretTree secret_tree(tree.suite(), tree.leaf_count(), std::move(secrets.encryption_secret), limits.secret_tree);
  return GroupStatePointer(new GroupState{.context = std::move(context),
                                          .tree = std::move(tree),
                                          .interim_transcript_hash = std::move(interim_transcript_hash),
                                          .confirmation_tag = std::move(confirmation_tag),
                                          .private_tree = std::move(private_tree),
                                          .signature_private_key = std::move(signature_private_key),
                                          .secrets = std::move(secrets),
                                          .secret_tree = std::move(secret_tree),
                                          .limits = limits});
}

LeafNode changed_leaf(LeafNode leaf, const LeafChanges& changes) {
  if (changes.signature_keys != nullptr) leaf.signature_key = changes.signature_keys->public_key;
  if (changes.credential) leaf.credential = *changes.credential;
  if (changes.capabilities) leaf.capabilities = *changes.capabilities;
  if (changes.extensions) leaf.extensions = *changes.extensions;
  list_what_is_used(leaf);
  return leaf;
}

Result<NewPath> make_path(RatchetTree& tree, GroupContext& next, const GroupContext& present, LeafIndex own_leaf, LeafNode leaf,
                          ByteView signature_private_key, const std::vector<LeafIndex>& added, RandomSource& random) {
  PathSecrets path = generate_path_secrets(tree, own_leaf, random);
  leaf.encryption_key = path.leaf_keys.public_key;
  leaf.source = LeafNodeSource::commit;
  leaf.lifetime = {};
  SATSUMA_TRY(leaf.parent_hash, tree.apply_path(own_leaf, path.public_keys()));
  SATSUMA_TRY_VOID(leaf.sign(tree.suite(), signature_private_key, present.group_id, own_leaf));
  tree.set_leaf_after_path(own_leaf, leaf);
  next.tree_hash = to_bytes(tree.tree_hash().view());
  SATSUMA_TRY(std::vector<UpdatePathNode> nodes, encrypt_path(tree, path, added, provisional_context(next, present), random));
  return NewPath{std::move(path), {std::move(leaf), std::move(nodes)}};
}

void keep_path(PrivateTree& keys, LeafIndex own_leaf, const PathSecrets& path) {
  keys.set(node_of(own_leaf), path.leaf_keys.clone());
  for (std::size_t i = 0; i < path.steps.size(); ++i) keys.set(path.steps[i].node, path.node_keys[i].clone());
}

std::vector<PreSharedKeyId> with_nonces(std::vector<PreSharedKeyId> ids, const SuiteParameters& suite, RandomSource& random) {
  for (PreSharedKeyId& id : ids) {
    id.nonce.resize(suite.hash_size());
    random.fill(id.nonce);
  }
  return ids;
}

bool is_succession(const PreSharedKeyId& id) {
  return id.type == PreSharedKeyId::Type::resumption && id.usage != ResumptionUsage::application;
}

namespace {

// Whether everyone of `some` is the client of a leaf of `all`.
bool all_among(const RatchetTree& some, const RatchetTree& all, const LeafPolicy& policy) {
  std::set<Bytes> same; // most are the same to the byte, and then the policy need not be asked n times n times
  for (const LeafIndex leaf : all.members()) same.insert(codec::encode(all.leaf(leaf)->credential));
  for (const LeafIndex leaf : some.members()) {
    const Credential& credential = some.leaf(leaf)->credential;
    if (same.contains(codec::encode(credential)) && policy.same_client(credential, credential)) continue;
    const std::vector<LeafIndex> others = all.members();
    if (std::ranges::none_of(others, [&](LeafIndex other) { return policy.same_client(all.leaf(other)->credential, credential); })) return false;
  }
  return true;
}

} // namespace

Result<void> verify_succession(const GroupState& old, const PreSharedKeyId& id, const GroupContext& context, const RatchetTree& tree,
                               const LeafPolicy& policy) {
  if (context.epoch != 1 || id.group_id != old.context.group_id) return mls_succession_invalid;
  if (id.usage == ResumptionUsage::branch) {
    if (context.version != old.context.version || context.cipher_suite != old.context.cipher_suite) return mls_succession_invalid;
    if (!all_among(tree, old.tree, policy)) return mls_succession_invalid;
    return {};
  }
  // s.11.2: the epoch after the commit with the ReInit, which is the old group's last.
  if (!old.reinit || id.epoch != old.context.epoch) return mls_succession_invalid;
  const ReInit& announced = *old.reinit;
  if (context.group_id != announced.group_id || context.version != announced.version || context.cipher_suite != announced.cipher_suite ||
      context.extensions != announced.extensions) {
    return mls_succession_invalid;
  }
  if (!all_among(old.tree, tree, policy)) return mls_succession_invalid;
  return {};
}

} // namespace satsuma::mls::internal
