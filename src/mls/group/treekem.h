#pragma once

#include <map>
#include <optional>

#include "mls/group/labels.h"
#include "mls/tree/ratchet_tree.h"

namespace satsuma::mls {

namespace internal {
struct Storage;
}

inline constexpr ErrorCode mls_path_secret_invalid{"mls_path_secret_invalid", ErrorKind::peer};

/// The private keys that a member has in the tree: its leaf's and those of nodes above it (RFC 9420 s.4.2).
class PrivateTree {
 public:
  PrivateTree() = default;
  explicit PrivateTree(LeafIndex own_leaf) : own_leaf_(own_leaf) {}
  PrivateTree clone() const;

  LeafIndex own_leaf() const { return own_leaf_; }
  void set(NodeIndex node, crypto::KemKeyPair keys) { keys_.insert_or_assign(node, std::move(keys)); }
  const crypto::KemKeyPair* find(NodeIndex node) const;
  /// Forgets every key that is not the one of its node in `tree` any more.
  void forget_stale(const RatchetTree& tree);
  /// Takes a path secret at `node`, and derives and keeps the keys of this and every node above that is not blank. Each must
  /// give the tree's public key, or mls_path_secret_invalid. Returns the commit secret.
  Result<SecretBytes> implant(const RatchetTree& tree, NodeIndex node, ByteView path_secret);

 private:
  friend struct internal::Storage;
  LeafIndex own_leaf_;
  std::map<NodeIndex, crypto::KemKeyPair> keys_;
};

/// RFC 9420 s.7.4
crypto::KemKeyPair derive_node_keys(const SuiteParameters& suite, ByteView path_secret);

/// A new path for `leaf`: keys, and path secrets for the filtered direct path of `tree`, in its order.
struct PathSecrets {
  crypto::KemKeyPair leaf_keys;
  std::vector<RatchetTree::PathStep> steps;
  std::vector<SecretBytes> path_secrets;
  std::vector<crypto::KemKeyPair> node_keys;
  SecretBytes commit_secret;

  std::vector<Bytes> public_keys() const;
};
PathSecrets generate_path_secrets(const RatchetTree& tree, LeafIndex leaf, RandomSource& random);

/// s.7.6: `tree` is the one with the path's public keys; `group_context` the provisional one, encoded.
Result<std::vector<UpdatePathNode>> encrypt_path(const RatchetTree& tree, const PathSecrets& secrets, const std::vector<LeafIndex>& added,
                                                 ByteView group_context, RandomSource& random);
/// Finds and opens the ciphertext that is for us, keeps the new keys in `keys` and returns the commit secret.
/// `tree` already has the path's public keys.
Result<SecretBytes> decrypt_path(const RatchetTree& tree, PrivateTree& keys, LeafIndex sender, const std::vector<UpdatePathNode>& path,
                                 const std::vector<LeafIndex>& added, ByteView group_context);

} // namespace satsuma::mls
