#pragma once

#include <functional>

#include "mls/tree/validation.h"
#include "world.h"

namespace satsuma::mls {

/// A tree with other nodes in it: as the bytes that a member could send.
inline RatchetTree change_nodes(const RatchetTree& tree, const std::function<void(LeafIndex, LeafNode&)>& leaf,
                                const std::function<void(NodeIndex, ParentNode&)>& parent) {
  ByteWriter body;
  std::uint32_t width = tree.node_width();
  while (tree.is_blank({width - 1})) --width;
  for (NodeIndex index{0}; index.value < width; ++index.value) {
    if (tree.is_blank(index)) {
      body.u8(0);
    } else if (tree_math::is_leaf(index)) {
      LeafNode changed = *tree.leaf(tree_math::leaf_of(index));
      leaf(tree_math::leaf_of(index), changed);
      body.u16(0x0101);
      changed.write(body);
    } else {
      ParentNode changed = *tree.parent(index);
      parent(index, changed);
      body.u16(0x0102);
      changed.write(body);
    }
  }
  ByteWriter extension;
  codec::write_opaque(extension, body.view());
  return VALUE(RatchetTree::parse(tree.suite().id, extension.view()));
}
inline RatchetTree change_parents(const RatchetTree& tree, const std::function<void(NodeIndex, ParentNode&)>& parent) {
  return change_nodes(tree, [](LeafIndex, LeafNode&) {}, parent);
}
inline RatchetTree change_leaves(const RatchetTree& tree, const std::function<void(LeafIndex, LeafNode&)>& leaf) {
  return change_nodes(tree, leaf, [](NodeIndex, ParentNode&) {});
}

/// The tree and its hash; the signature is the caller's.
inline void set_tree(GroupInfo& info, const RatchetTree& tree) {
  for (Extension& extension : info.extensions) {
    if (extension.type == extension_type::ratchet_tree) extension.data = tree.serialise();
  }
  info.group_context.tree_hash = to_bytes(tree.tree_hash().view());
}

} // namespace satsuma::mls
