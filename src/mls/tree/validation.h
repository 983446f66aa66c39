#pragma once

#include <optional>

#include "mls/tree/ratchet_tree.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_leaf_source_wrong{"mls_leaf_source_wrong", ErrorKind::peer};
inline constexpr ErrorCode mls_leaf_capabilities_missing{"mls_leaf_capabilities_missing", ErrorKind::peer};
inline constexpr ErrorCode mls_leaf_key_duplicate{"mls_leaf_key_duplicate", ErrorKind::peer};
inline constexpr ErrorCode mls_leaf_key_invalid{"mls_leaf_key_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_lifetime_over{"mls_lifetime_over", ErrorKind::peer};
inline constexpr ErrorCode mls_init_key_invalid{"mls_init_key_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_init_key_reused{"mls_init_key_reused", ErrorKind::peer};
inline constexpr ErrorCode mls_tree_hash_mismatch{"mls_tree_hash_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_unmerged_leaves_invalid{"mls_unmerged_leaves_invalid", ErrorKind::peer};

/// RFC 9420 s.10.1: version, suite, both signatures, keys that are keys, the init key differs from the leaf's, the leaf
/// is for a key package and supports what it uses; the lifetime too where `now` is given.
Result<void> verify_key_package(const KeyPackage& key_package, std::optional<UnixSeconds> now = std::nullopt);

/// RFC 9420 s.7.3, of one leaf as such: signature under its own key, keys that are keys, everything it uses and the group
/// requires stands in its capabilities. `index` and `group_id` matter for sources update and commit.
Result<void> verify_leaf(const SuiteParameters& suite, const LeafNode& leaf, ByteView group_id, LeafIndex index,
                         const Extensions& group_extensions);
/// The signature and the keys aside.
Result<void> verify_leaf_capabilities(const LeafNode& leaf, const Extensions& group_extensions);

/// RFC 9420 s.7.3 between leaves: no encryption key or signature key twice, and each leaf's credential type is supported by all.
Result<void> verify_leaves_together(const RatchetTree& tree);

/// RFC 9420 s.12.4.3.1: the tree as a joiner gets it: the hash, the parent hashes, each leaf, the leaves together, the unmerged leaves.
Result<void> verify_tree(const RatchetTree& tree, const GroupContext& context);

} // namespace satsuma::mls
