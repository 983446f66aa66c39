#pragma once

#include <array>
#include <memory>

#include "mls/tree/tree_math.h"
#include "mls/wire/group_info.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_tree_malformed{"mls_tree_malformed", ErrorKind::peer};
inline constexpr ErrorCode mls_tree_full{"mls_tree_full", ErrorKind::peer};
inline constexpr ErrorCode mls_leaf_unknown{"mls_leaf_unknown", ErrorKind::peer};
inline constexpr ErrorCode mls_parent_hash_invalid{"mls_parent_hash_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_path_malformed{"mls_path_malformed", ErrorKind::peer};

/// A digest of the suite's size, without a heap.
struct TreeHash {
  std::array<std::uint8_t, crypto::max_hash_size> bytes{};
  std::uint8_t size = 0;

  ByteView view() const { return ByteView(bytes).first(size); }
  friend bool operator==(const TreeHash& a, const TreeHash& b) { return equal(a.view(), b.view()); }
};

/// The public ratchet tree (RFC 9420 s.4, s.7). A value: a copy shares the nodes, which never change, so that
/// it costs a pointer and a hash for each place. Holds no secrets.
class RatchetTree {
 public:
  /// Places for leaves that we accept; a tree beyond is mls_tree_full.
  static constexpr std::uint32_t max_leaves = 1u << 15;

  /// One blank leaf.
  explicit RatchetTree(CipherSuite suite);
  /// The ratchet_tree extension's data, RFC 9420 s.12.4.3.3. Structure only; see verify_tree in validation.h.
  static Result<RatchetTree> parse(CipherSuite suite, ByteView extension_data);
  Bytes serialise() const;

  const SuiteParameters& suite() const { return *suite_; }
  LeafCount leaf_count() const { return leaf_count_; }
  std::uint32_t node_width() const { return tree_math::node_width(leaf_count_); }
  NodeIndex root() const { return tree_math::root(leaf_count_); }

  /// Null for a blank leaf and for one outside of the tree.
  const LeafNode* leaf(LeafIndex index) const;
  const ParentNode* parent(NodeIndex index) const;
  bool is_blank(NodeIndex index) const;
  ByteView public_key(NodeIndex index) const; ///< of a node that is not blank
  std::vector<LeafIndex> members() const;
  std::size_t member_count() const;

  /// s.4.1.1
  std::vector<NodeIndex> resolution(NodeIndex index) const;
  /// s.7.6: the nodes that a path secret is encrypted to: the copath child's resolution without leaves that were just added (rising).
  std::vector<NodeIndex> path_recipients(NodeIndex copath_child, const std::vector<LeafIndex>& added) const;
  /// s.4.1.2: the direct path without nodes whose copath child resolves to nobody. Each with that copath child.
  struct PathStep {
    NodeIndex node;
    NodeIndex copath_child;
  };
  std::vector<PathStep> filtered_direct_path(LeafIndex leaf) const;

  /// s.7.7: each in the leftmost blank leaf, else the tree grows. mls_tree_full leaves it as it was. One after the other comes to the same, but many
  /// together cost what each costs alone.
  Result<std::vector<LeafIndex>> add_leaves(std::vector<LeafNode> leaves);
  Result<LeafIndex> add_leaf(LeafNode leaf);
  /// Replaces the leaf and blanks its direct path, s.12.1.2. mls_leaf_unknown for a blank one.
  Result<void> update_leaf(LeafIndex index, LeafNode leaf);
  /// Blanks the leaf and its direct path, and truncates the tree, s.7.7.
  Result<void> remove_leaf(LeafIndex index);

  /// s.7.5 without secrets: sets the public keys along `leaf`'s filtered direct path (one for each step of it, in order,
  /// else mls_path_malformed), blanks the rest of the direct path, computes the parent hashes from the root down. Returns the
  /// parent hash that the leaf must carry; set the leaf then with set_leaf_after_path.
  Result<Bytes> apply_path(LeafIndex leaf, const std::vector<Bytes>& public_keys);
  void set_leaf_after_path(LeafIndex index, LeafNode leaf);

  /// s.7.8. Kept; only what changed since the last call is hashed.
  TreeHash tree_hash() const { return tree_hash(root()); }
  TreeHash tree_hash(NodeIndex index) const;
  /// Gives back the memory of the kept hashes: for trees of epochs that are over. They are computed anew if somebody asks.
  void drop_hashes();
  /// s.7.9: what a child must say of the node at `parent`, where the other child is `sibling`.
  TreeHash parent_hash(NodeIndex parent, NodeIndex sibling) const;
  /// s.7.9.2: every parent node that is not blank is parent-hash valid, or mls_parent_hash_invalid.
  Result<void> verify_parent_hashes() const;

 private:
  friend class StoredTrees;
  // Shared between epochs, never changed.
  using LeafPointer = std::shared_ptr<const LeafNode>;
  using ParentPointer = std::shared_ptr<const ParentNode>;

  void resize(LeafCount leaves);
  void forget_hash(NodeIndex index);
  void forget_hashes(LeafIndex leaf);
  void set_leaf(LeafIndex index, LeafPointer leaf);
  void set_parent(NodeIndex index, ParentPointer parent);
  void blank_direct_path(LeafIndex leaf);
  void truncate();
  void append_resolution(NodeIndex index, std::vector<NodeIndex>& out) const;
  TreeHash compute_tree_hash(NodeIndex index, const std::vector<LeafIndex>& without) const;
  TreeHash tree_hash_without(NodeIndex index, const std::vector<LeafIndex>& without) const;
  TreeHash hash_parent_input(const ParentNode& node, const TreeHash& sibling_tree_hash) const;

  const SuiteParameters* suite_;
  LeafCount leaf_count_;
  std::vector<LeafPointer> leaves_;
  std::vector<ParentPointer> parents_; ///< between the leaves: one less, node 2 i + 1 at i
  std::uint32_t no_blank_before_ = 0;  ///< where the search for a blank leaf begins
  mutable Bytes hashes_;             ///< of the subtrees, side by side
  mutable std::vector<bool> hashed_; ///< those that are known; shorter than the tree where none is yet
};

} // namespace satsuma::mls
