#include "mls/tree/validation.h"

#include <algorithm>

namespace satsuma::mls {

using namespace tree_math;

namespace {

// RFC 9420 s.7.2: the types of the RFC itself need not be listed.
bool supports_extension(const Capabilities& capabilities, std::uint16_t type) {
  return (type >= extension_type::application_id && type <= extension_type::external_senders) || capabilities.extensions.contains(type);
}

bool supports_proposal(const Capabilities& capabilities, std::uint16_t type) {
  return (type >= proposal_type::add && type <= proposal_type::group_context_extensions) || capabilities.proposals.contains(type);
}

// Done for each commit over all leaves: mostly by the last bytes as a number, which differ where keys are keys.
bool any_twice(const std::vector<ByteView>& keys) {
  struct Entry {
    std::uint64_t tail = 0;
    ByteView key;
  };
  std::vector<Entry> entries;
  entries.reserve(keys.size());
  for (const ByteView key : keys) {
    Entry entry{0, key};
    for (const std::uint8_t byte : key.last(std::min(key.size(), sizeof entry.tail))) entry.tail = entry.tail << 8 | byte;
    entries.push_back(entry);
  }
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    return a.tail != b.tail ? a.tail < b.tail : std::ranges::lexicographical_compare(a.key, b.key);
  });
  return std::ranges::adjacent_find(entries, [](const Entry& a, const Entry& b) { return a.tail == b.tail && equal(a.key, b.key); }) != entries.end();
}

} // namespace

Result<void> verify_leaf_capabilities(const LeafNode& leaf, const Extensions& group_extensions) {
  const Capabilities& has = leaf.capabilities;
  if (!has.credentials.contains(leaf.credential.type)) return mls_leaf_capabilities_missing;
  for (const Extension& extension : leaf.extensions) {
    if (!supports_extension(has, extension.type)) return mls_leaf_capabilities_missing;
  }
  for (const Extension& extension : group_extensions) {
    if (!supports_extension(has, extension.type)) return mls_leaf_capabilities_missing;
  }
  if (const Extension* extension = find_extension(group_extensions, extension_type::required_capabilities)) {
    SATSUMA_TRY(const RequiredCapabilities required, codec::decode<RequiredCapabilities>(extension->data));
    for (const std::uint16_t type : required.extensions) {
      if (!supports_extension(has, type)) return mls_leaf_capabilities_missing;
    }
    for (const std::uint16_t type : required.proposals) {
      if (!supports_proposal(has, type)) return mls_leaf_capabilities_missing;
    }
    for (const std::uint16_t type : required.credentials) {
      if (!has.credentials.contains(type)) return mls_leaf_capabilities_missing;
    }
  }
  return {};
}

Result<void> verify_leaf(const SuiteParameters& suite, const LeafNode& leaf, ByteView group_id, LeafIndex index, const Extensions& group_extensions) {
  SATSUMA_TRY_VOID(verify_leaf_capabilities(leaf, group_extensions));
  if (!crypto::kem_check_public_key(suite.kem, leaf.encryption_key)) return mls_leaf_key_invalid;
  return leaf.verify_signature(suite, group_id, index);
}

Result<void> verify_key_package(const KeyPackage& package, std::optional<UnixSeconds> now) {
  if (package.version != protocol_version_mls10) return mls_version_unsupported;
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite(package.cipher_suite));
  if (package.leaf_node.source != LeafNodeSource::key_package) return mls_leaf_source_wrong;
  if (package.init_key == package.leaf_node.encryption_key) return mls_init_key_reused;
  if (!crypto::kem_check_public_key(suite->kem, package.init_key)) return mls_init_key_invalid;
  if (now && !package.leaf_node.lifetime.contains(*now)) return mls_lifetime_over;
  SATSUMA_TRY_VOID(verify_leaf(*suite, package.leaf_node, {}, {}, {}));
  return verify_with_label(*suite, package.leaf_node.signature_key, "KeyPackageTBS", package.to_be_signed(), package.signature);
}

Result<void> verify_leaves_together(const RatchetTree& tree) {
  std::vector<ByteView> encryption_keys;
  std::vector<ByteView> signature_keys;
  NumberList credential_types;
  const std::vector<LeafIndex> members = tree.members();
  for (const LeafIndex member : members) {
    const LeafNode& leaf = *tree.leaf(member);
    encryption_keys.push_back(leaf.encryption_key);
    signature_keys.push_back(leaf.signature_key);
    if (!credential_types.contains(leaf.credential.type)) credential_types.push_back(leaf.credential.type);
  }
  if (any_twice(encryption_keys) || any_twice(signature_keys)) return mls_leaf_key_duplicate;
  for (const LeafIndex member : members) {
    for (const std::uint16_t type : credential_types) {
      if (!tree.leaf(member)->capabilities.credentials.contains(type)) return mls_leaf_capabilities_missing;
    }
  }
  return {};
}

namespace {

// RFC 9420 s.12.4.3.1: an unmerged leaf is a member below the node, listed by every node between that is not blank, in rising order.
// A parent's key stands nowhere else in the tree.
Result<void> verify_parent_nodes(const RatchetTree& tree) {
  std::vector<ByteView> keys;
  for (std::uint32_t i = 0; i < tree.node_width(); ++i) {
    const NodeIndex index{i};
    if (tree.is_blank(index)) continue;
    keys.push_back(tree.public_key(index));
    const ParentNode* node = tree.parent(index);
    if (node == nullptr) continue;
    if (!crypto::kem_check_public_key(tree.suite().kem, node->encryption_key)) return mls_leaf_key_invalid;
    for (std::size_t k = 0; k < node->unmerged_leaves.size(); ++k) {
      const LeafIndex leaf = node->unmerged_leaves[k];
      if (k > 0 && node->unmerged_leaves[k - 1] >= leaf) return mls_unmerged_leaves_invalid;
      if (tree.leaf(leaf) == nullptr || !is_in_subtree(leaf, index)) return mls_unmerged_leaves_invalid;
      for (NodeIndex between = tree_math::parent(node_of(leaf), tree.leaf_count()); between != index;
           between = tree_math::parent(between, tree.leaf_count())) {
        const ParentNode* lower = tree.parent(between);
        if (lower != nullptr && !std::ranges::binary_search(lower->unmerged_leaves, leaf)) return mls_unmerged_leaves_invalid;
      }
    }
  }
  if (any_twice(keys)) return mls_leaf_key_duplicate;
  return {};
}

} // namespace

Result<void> verify_tree(const RatchetTree& tree, const GroupContext& context) {
  SATSUMA_TRY_VOID(verify_parent_nodes(tree));
  if (!equal(tree.tree_hash().view(), context.tree_hash)) return mls_tree_hash_mismatch;
  SATSUMA_TRY_VOID(tree.verify_parent_hashes());
  for (const LeafIndex member : tree.members()) {
    SATSUMA_TRY_VOID(verify_leaf(tree.suite(), *tree.leaf(member), context.group_id, member, context.extensions));
  }
  return verify_leaves_together(tree);
}

} // namespace satsuma::mls
