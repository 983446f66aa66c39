#include "mls/tree/leaf_policy.h"

namespace satsuma::mls {

Result<void> LeafPolicy::check_credential(const Credential& credential, ByteView signature_key) const {
  if (verifier != nullptr) return verifier->verify(credential, signature_key);
  // A certificate that nobody looks at proves nothing, not even that it has this key.
  if (credential.type != credential_type::basic) return mls_credential_unverified;
  return {};
}

Result<void> LeafPolicy::check_successor(const Credential& before, const Credential& after) const {
  if (verifier != nullptr) return verifier->verify_successor(before, after);
  if (before != after) return mls_credential_rejected;
  return {};
}

bool LeafPolicy::same_client(const Credential& a, const Credential& b) const { return verifier != nullptr ? verifier->same_client(a, b) : a == b; }

Result<void> LeafPolicy::check_leaf(const LeafNode& leaf) const {
  if (leaf.source == LeafNodeSource::key_package) {
    if (now && !leaf.lifetime.contains(*now)) return mls_lifetime_over;
    if (leaf.lifetime.not_after - leaf.lifetime.not_before > max_lifetime) return mls_lifetime_too_long;
  }
  return check_credential(leaf.credential, leaf.signature_key);
}

Result<void> LeafPolicy::check_tree(const RatchetTree& tree) const {
  for (const LeafIndex member : tree.members()) SATSUMA_TRY_VOID(check_leaf(*tree.leaf(member)));
  return {};
}

Result<void> LeafPolicy::check_external_senders(const Extensions& group_extensions) const {
  const Extension* extension = find_extension(group_extensions, extension_type::external_senders);
  if (extension == nullptr) return {};
  SATSUMA_TRY(const std::vector<ExternalSender> senders, parse_external_senders(extension->data));
  for (const ExternalSender& sender : senders) SATSUMA_TRY_VOID(check_credential(sender.credential, sender.signature_key));
  return {};
}

Result<void> LeafPolicy::check_commit(const CommitEffects& effects, const RatchetTree& next, const Extensions& next_extensions) const {
  for (const AddedMember& added : effects.added) SATSUMA_TRY_VOID(check_leaf(added.key_package.leaf_node));
  for (const ChangedMember& changed : effects.updated) {
    SATSUMA_TRY_VOID(check_leaf(changed.after));
    SATSUMA_TRY_VOID(check_successor(changed.before.credential, changed.after.credential));
  }
  if (effects.joined_by_external_commit) {
    const LeafNode& leaf = *next.leaf(*effects.joined_by_external_commit);
    SATSUMA_TRY_VOID(check_leaf(leaf));
    for (const Member& removed : effects.removed) {
      if (removed.leaf == effects.resynchronised) SATSUMA_TRY_VOID(check_successor(removed.credential, leaf.credential));
    }
  }
  if (effects.extensions_changed) SATSUMA_TRY_VOID(check_external_senders(next_extensions));
  return {};
}

} // namespace satsuma::mls
