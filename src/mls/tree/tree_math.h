#pragma once

#include <cstdint>
#include <vector>

#include "mls/wire/types.h"

/// The array form of a full binary tree, RFC 9420 appendix C: leaves at even places, parents between them.
namespace satsuma::mls {

struct NodeIndex {
  std::uint32_t value = 0;
  friend auto operator<=>(const NodeIndex&, const NodeIndex&) = default;
};

/// A power of two, the number of leaf places.
struct LeafCount {
  std::uint32_t value = 1;
  friend auto operator<=>(const LeafCount&, const LeafCount&) = default;
};

namespace tree_math {

inline constexpr NodeIndex node_of(LeafIndex leaf) { return {2 * leaf.value}; }
inline constexpr LeafIndex leaf_of(NodeIndex node) { return {node.value / 2}; } ///< of an even node
inline constexpr bool is_leaf(NodeIndex node) { return node.value % 2 == 0; }
inline constexpr std::uint32_t node_width(LeafCount leaves) { return 2 * leaves.value - 1; }
inline constexpr NodeIndex root(LeafCount leaves) { return {leaves.value - 1}; }

/// How far above the leaves: 0 for a leaf.
std::uint32_t level(NodeIndex node);
/// Of a parent node (CHECKed).
NodeIndex left(NodeIndex node);
NodeIndex right(NodeIndex node);
/// Of any node but the root (CHECKed).
NodeIndex parent(NodeIndex node, LeafCount leaves);
NodeIndex sibling(NodeIndex node, LeafCount leaves);
/// From the leaf's parent up to the root; empty when the leaf is the root.
std::vector<NodeIndex> direct_path(LeafIndex leaf, LeafCount leaves);
/// The child of `ancestor` under which `leaf` is not.
NodeIndex copath_child(NodeIndex ancestor, LeafIndex leaf);
bool is_in_subtree(LeafIndex leaf, NodeIndex ancestor);
/// The leaves below a node: [first, last].
LeafIndex first_leaf(NodeIndex node);
LeafIndex last_leaf(NodeIndex node);
NodeIndex common_ancestor(LeafIndex a, LeafIndex b);
/// The least power of two of at least `leaves`.
LeafCount full(std::uint32_t leaves);

} // namespace tree_math
} // namespace satsuma::mls
