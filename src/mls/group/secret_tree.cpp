#include "mls/group/secret_tree.h"

namespace satsuma::mls {

using namespace tree_math;

SecretTree::SecretTree(const SuiteParameters& suite, LeafCount leaves, SecretBytes encryption_secret, const SecretTreeLimits& limits)
    : suite_(&suite), leaf_count_(leaves), limits_(limits) {
  nodes_.emplace(root(leaves), std::move(encryption_secret));
}

SecretTree::Leaf& SecretTree::open_leaf(LeafIndex leaf) {
  SATSUMA_CHECK(leaf.value < leaf_count_.value);
  const auto open = leaves_.find(leaf);
  if (open != leaves_.end()) return open->second;

  // From the lowest node on the way that still has its secret, down to the leaf.
  std::vector<NodeIndex> way{node_of(leaf)};
  while (!nodes_.contains(way.back())) way.push_back(parent(way.back(), leaf_count_));
  while (way.size() > 1) {
    const NodeIndex node = way.back();
    way.pop_back();
    const SecretBytes secret = std::move(nodes_.extract(node).mapped());
    nodes_[left(node)] = expand_with_label(*suite_, secret.view(), "tree", as_bytes("left"), suite_->hash_size());
    nodes_[right(node)] = expand_with_label(*suite_, secret.view(), "tree", as_bytes("right"), suite_->hash_size());
  }
  const SecretBytes secret = std::move(nodes_.extract(node_of(leaf)).mapped());
  Leaf& ratchets = leaves_[leaf];
  ratchets.handshake.secret = expand_with_label(*suite_, secret.view(), "handshake", {}, suite_->hash_size());
  ratchets.application.secret = expand_with_label(*suite_, secret.view(), "application", {}, suite_->hash_size());
  return ratchets;
}

SecretTree::Ratchet& SecretTree::ratchet(LeafIndex leaf, RatchetType type) {
  Leaf& ratchets = open_leaf(leaf);
  return type == RatchetType::handshake ? ratchets.handshake : ratchets.application;
}

MessageKey SecretTree::step(Ratchet& ratchet) const {
  const std::uint32_t generation = ratchet.next_generation;
  MessageKey key{derive_tree_secret(*suite_, ratchet.secret.view(), "key", generation, crypto::aead_key_size(suite_->aead)),
                 derive_tree_secret(*suite_, ratchet.secret.view(), "nonce", generation, crypto::aead_nonce_size)};
  ratchet.secret = derive_tree_secret(*suite_, ratchet.secret.view(), "secret", generation, suite_->hash_size());
  ++ratchet.next_generation;
  return key;
}

Result<const MessageKey*> SecretTree::find(LeafIndex leaf, RatchetType type, std::uint32_t generation) {
  if (leaf.value >= leaf_count_.value) return mls_generation_consumed;
  Ratchet& r = ratchet(leaf, type);
  if (generation >= r.next_generation) {
    if (generation - r.next_generation > limits_.max_skip || generation == ~std::uint32_t{0}) return mls_generation_too_far;
    while (r.next_generation <= generation) {
      const std::uint32_t here = r.next_generation;
      r.kept.emplace(here, step(r));
      ++kept_;
    }
    // The one that is asked for stays, whatever the bounds.
    while (r.kept.size() > 1 && (r.kept.size() > limits_.max_kept || kept_ > limits_.max_kept_in_epoch)) {
      r.kept.erase(r.kept.begin());
      --kept_;
    }
  }
  const auto found = r.kept.find(generation);
  if (found == r.kept.end()) return mls_generation_consumed;
  return &found->second;
}

void SecretTree::consume(LeafIndex leaf, RatchetType type, std::uint32_t generation) { kept_ -= ratchet(leaf, type).kept.erase(generation); }

Result<SecretTree::Next> SecretTree::take_next(LeafIndex leaf, RatchetType type) {
  Ratchet& r = ratchet(leaf, type);
  if (r.next_generation == ~std::uint32_t{0}) return mls_generations_exhausted;
  const std::uint32_t generation = r.next_generation;
  return Next{generation, step(r)};
}

} // namespace satsuma::mls
