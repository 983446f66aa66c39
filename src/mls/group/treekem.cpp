#include "mls/group/treekem.h"

#include <algorithm>

namespace satsuma::mls {

using namespace tree_math;

PrivateTree PrivateTree::clone() const {
  PrivateTree copy(own_leaf_);
  for (const auto& [node, keys] : keys_) copy.keys_.emplace(node, keys.clone());
  return copy;
}

const crypto::KemKeyPair* PrivateTree::find(NodeIndex node) const {
  const auto found = keys_.find(node);
  return found == keys_.end() ? nullptr : &found->second;
}

void PrivateTree::forget_stale(const RatchetTree& tree) {
  std::erase_if(keys_, [&tree](const auto& entry) {
    const auto& [node, keys] = entry;
    return node.value >= tree.node_width() || tree.is_blank(node) || !equal(tree.public_key(node), keys.public_key);
  });
}

crypto::KemKeyPair derive_node_keys(const SuiteParameters& suite, ByteView path_secret) {
  const SecretBytes node_secret = derive_secret(suite, path_secret, "node");
  return crypto::kem_derive_key_pair(suite.kem, node_secret.view());
}

Result<SecretBytes> PrivateTree::implant(const RatchetTree& tree, NodeIndex node, ByteView path_secret) {
  const SuiteParameters& suite = tree.suite();
  SecretBytes secret = SecretBytes::copy_of(path_secret);
  if (tree.is_blank(node)) return mls_path_secret_invalid;
  for (NodeIndex here = node;; here = tree_math::parent(here, tree.leaf_count())) {
    // After a path the nodes that are not blank are the filtered ones.
    if (!tree.is_blank(here)) {
      crypto::KemKeyPair keys = derive_node_keys(suite, secret.view());
      if (!equal(keys.public_key, tree.public_key(here))) return mls_path_secret_invalid;
      set(here, std::move(keys));
      secret = derive_secret(suite, secret.view(), "path");
    }
    if (here == tree.root()) return secret;
  }
}

std::vector<Bytes> PathSecrets::public_keys() const {
  std::vector<Bytes> out;
  for (const crypto::KemKeyPair& keys : node_keys) out.push_back(keys.public_key);
  return out;
}

PathSecrets generate_path_secrets(const RatchetTree& tree, LeafIndex leaf, RandomSource& random) {
  const SuiteParameters& suite = tree.suite();
  PathSecrets out{crypto::kem_generate_key_pair(suite.kem, random), tree.filtered_direct_path(leaf), {}, {}, SecretBytes(suite.hash_size())};
  random.fill(out.commit_secret.mutable_view());
  for (std::size_t i = 0; i < out.steps.size(); ++i) {
    SecretBytes next = derive_secret(suite, out.commit_secret.view(), "path");
    out.node_keys.push_back(derive_node_keys(suite, out.commit_secret.view()));
    out.path_secrets.push_back(std::move(out.commit_secret));
    out.commit_secret = std::move(next);
  }
  return out;
}

Result<std::vector<UpdatePathNode>> encrypt_path(const RatchetTree& tree, const PathSecrets& secrets, const std::vector<LeafIndex>& added,
                                                 ByteView group_context, RandomSource& random) {
  std::vector<UpdatePathNode> path;
  for (std::size_t i = 0; i < secrets.steps.size(); ++i) {
    UpdatePathNode node{secrets.node_keys[i].public_key, {}};
    for (const NodeIndex recipient : tree.path_recipients(secrets.steps[i].copath_child, added)) {
      SATSUMA_TRY(HpkeCiphertext ciphertext, encrypt_with_label(tree.suite(), tree.public_key(recipient), "UpdatePathNode", group_context,
                                                                secrets.path_secrets[i].view(), random));
      node.encrypted_path_secret.push_back(std::move(ciphertext));
    }
    path.push_back(std::move(node));
  }
  return path;
}

Result<SecretBytes> decrypt_path(const RatchetTree& tree, PrivateTree& keys, LeafIndex sender, const std::vector<UpdatePathNode>& path,
                                 const std::vector<LeafIndex>& added, ByteView group_context) {
  const std::vector<RatchetTree::PathStep> steps = tree.filtered_direct_path(sender);
  if (steps.size() != path.size()) return mls_path_malformed;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!is_in_subtree(keys.own_leaf(), steps[i].copath_child)) continue;
    const std::vector<NodeIndex> recipients = tree.path_recipients(steps[i].copath_child, added);
    if (recipients.size() != path[i].encrypted_path_secret.size()) return mls_path_malformed;
    for (std::size_t k = 0; k < recipients.size(); ++k) {
      const crypto::KemKeyPair* own = keys.find(recipients[k]);
      if (own == nullptr) continue;
      SATSUMA_TRY(const SecretBytes path_secret, decrypt_with_label(tree.suite(), own->private_key.view(), own->public_key, "UpdatePathNode", group_context,
                                                                    path[i].encrypted_path_secret[k]));
      return keys.implant(tree, steps[i].node, path_secret.view());
    }
    return mls_path_secret_invalid;
  }
  return mls_path_malformed;
}

} // namespace satsuma::mls
