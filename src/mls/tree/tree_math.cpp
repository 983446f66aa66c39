#include "mls/tree/tree_math.h"

#include <bit>

namespace satsuma::mls::tree_math {

std::uint32_t level(NodeIndex node) { return static_cast<std::uint32_t>(std::countr_one(node.value)); }

NodeIndex left(NodeIndex node) {
  SATSUMA_CHECK(!is_leaf(node));
  return {node.value ^ (1u << (level(node) - 1))};
}

NodeIndex right(NodeIndex node) {
  SATSUMA_CHECK(!is_leaf(node));
  return {node.value ^ (3u << (level(node) - 1))};
}

NodeIndex parent(NodeIndex node, LeafCount leaves) {
  SATSUMA_CHECK(node != root(leaves));
  const std::uint32_t k = level(node);
  return {(node.value | (1u << k)) & ~(1u << (k + 1))};
}

NodeIndex sibling(NodeIndex node, LeafCount leaves) {
  const NodeIndex above = parent(node, leaves);
  return node < above ? right(above) : left(above);
}

std::vector<NodeIndex> direct_path(LeafIndex leaf, LeafCount leaves) {
  std::vector<NodeIndex> path;
  for (NodeIndex node = node_of(leaf); node != root(leaves);) {
    node = parent(node, leaves);
    path.push_back(node);
  }
  return path;
}

NodeIndex copath_child(NodeIndex ancestor, LeafIndex leaf) { return node_of(leaf) < ancestor ? right(ancestor) : left(ancestor); }

LeafIndex first_leaf(NodeIndex node) { return {(node.value - ((1u << level(node)) - 1)) / 2}; }
LeafIndex last_leaf(NodeIndex node) { return {(node.value + ((1u << level(node)) - 1)) / 2}; }

bool is_in_subtree(LeafIndex leaf, NodeIndex ancestor) { return first_leaf(ancestor) <= leaf && leaf <= last_leaf(ancestor); }

NodeIndex common_ancestor(LeafIndex a, LeafIndex b) {
  const std::uint32_t x = node_of(a).value;
  const std::uint32_t y = node_of(b).value;
  if (x == y) return {x};
  const auto k = static_cast<std::uint32_t>(std::bit_width(x ^ y)); // the highest bit that differs is k - 1
  return {((x >> k) << k) + (1u << (k - 1)) - 1};
}

LeafCount full(std::uint32_t leaves) { return {leaves == 0 ? 1u : std::bit_ceil(leaves)}; }

} // namespace satsuma::mls::tree_math
