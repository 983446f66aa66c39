#include "mls/tree/ratchet_tree.h"

#include <algorithm>

namespace satsuma::mls {

using namespace tree_math;

namespace {

TreeHash digest(const SuiteParameters& suite, ByteView input) {
  TreeHash out;
  out.size = static_cast<std::uint8_t>(suite.hash_size());
  crypto::hash_into(suite.hash, {input}, MutableByteView(out.bytes).first(out.size));
  return out;
}

} // namespace

RatchetTree::RatchetTree(CipherSuite suite) : suite_(find_suite(suite)), leaf_count_{1}, leaves_(1) { SATSUMA_CHECK(suite_ != nullptr); }

// RFC 9420 s.12.4.3.3: optional<Node> ratchet_tree<V>, without the blanks at its end.
Result<RatchetTree> RatchetTree::parse(CipherSuite suite, ByteView extension_data) {
  SATSUMA_TRY_VOID(require_suite(suite));
  ByteReader outer(extension_data);
  SATSUMA_TRY(const ByteView body, codec::read_opaque(outer));
  SATSUMA_TRY_VOID(outer.expect_end());

  RatchetTree tree(suite);
  tree.leaves_.clear();
  ByteReader reader(body);
  bool last_is_blank = true;
  for (NodeIndex here{0}; !reader.empty(); ++here.value) {
    if (here.value == 2 * max_leaves - 1) return mls_tree_full;
    if (is_leaf(here)) {
      tree.leaves_.push_back(nullptr);
    } else {
      tree.parents_.push_back(nullptr);
    }
    SATSUMA_TRY(const std::uint8_t present, reader.u8());
    if (present > 1) return codec::codec_optional_invalid;
    last_is_blank = present == 0;
    if (last_is_blank) continue;
    SATSUMA_TRY(const std::uint8_t type, reader.u8());
    if (type != (is_leaf(here) ? 1 : 2)) return mls_tree_malformed;
    if (is_leaf(here)) {
      SATSUMA_TRY(LeafNode leaf, LeafNode::parse(reader));
      tree.leaves_.back() = std::make_shared<const LeafNode>(std::move(leaf));
    } else {
      SATSUMA_TRY(ParentNode parent, ParentNode::parse(reader));
      tree.parents_.back() = std::make_shared<const ParentNode>(std::move(parent));
    }
  }
  if (last_is_blank) return mls_tree_malformed;
  tree.resize(full(static_cast<std::uint32_t>(tree.parents_.size() + 1)));
  return tree;
}

Bytes RatchetTree::serialise() const {
  std::uint32_t size = node_width();
  while (size > 0 && is_blank({size - 1})) --size;
  ByteWriter body;
  for (NodeIndex index{0}; index.value < size; ++index.value) {
    if (is_blank(index)) {
      body.u8(0);
      continue;
    }
    body.u8(1);
    if (is_leaf(index)) {
      body.u8(1);
      leaf(leaf_of(index))->write(body);
    } else {
      body.u8(2);
      parent(index)->write(body);
    }
  }
  ByteWriter writer(body.size() + 4);
  codec::write_opaque(writer, body.view());
  return std::move(writer).take();
}

const LeafNode* RatchetTree::leaf(LeafIndex index) const {
  return index.value < leaves_.size() ? leaves_[index.value].get() : nullptr;
}

const ParentNode* RatchetTree::parent(NodeIndex index) const {
  return !is_leaf(index) && index.value / 2 < parents_.size() ? parents_[index.value / 2].get() : nullptr;
}

bool RatchetTree::is_blank(NodeIndex index) const { return is_leaf(index) ? leaf(leaf_of(index)) == nullptr : parent(index) == nullptr; }

ByteView RatchetTree::public_key(NodeIndex index) const {
  SATSUMA_CHECK(!is_blank(index));
  return is_leaf(index) ? leaf(leaf_of(index))->encryption_key : parent(index)->encryption_key;
}

std::vector<LeafIndex> RatchetTree::members() const {
  std::vector<LeafIndex> out;
  for (std::uint32_t i = 0; i < leaf_count_.value; ++i) {
    if (leaf({i}) != nullptr) out.push_back({i});
  }
  return out;
}

std::size_t RatchetTree::member_count() const {
  return static_cast<std::size_t>(std::ranges::count_if(leaves_, [](const LeafPointer& leaf) { return leaf != nullptr; }));
}

void RatchetTree::append_resolution(NodeIndex index, std::vector<NodeIndex>& out) const {
  if (!is_blank(index)) {
    out.push_back(index);
    if (const ParentNode* node = parent(index)) {
      for (const LeafIndex unmerged : node->unmerged_leaves) out.push_back(node_of(unmerged));
    }
    return;
  }
  if (is_leaf(index)) return;
  append_resolution(left(index), out);
  append_resolution(right(index), out);
}

std::vector<NodeIndex> RatchetTree::resolution(NodeIndex index) const {
  std::vector<NodeIndex> out;
  append_resolution(index, out);
  return out;
}

std::vector<NodeIndex> RatchetTree::path_recipients(NodeIndex copath_child, const std::vector<LeafIndex>& added) const {
  std::vector<NodeIndex> recipients = resolution(copath_child);
  std::erase_if(recipients, [&added](NodeIndex node) { return is_leaf(node) && std::ranges::binary_search(added, leaf_of(node)); });
  return recipients;
}

std::vector<RatchetTree::PathStep> RatchetTree::filtered_direct_path(LeafIndex leaf) const {
  std::vector<PathStep> steps;
  for (const NodeIndex node : direct_path(leaf, leaf_count_)) {
    const NodeIndex child = copath_child(node, leaf);
    if (!resolution(child).empty()) steps.push_back({node, child});
  }
  return steps;
}

void RatchetTree::resize(LeafCount leaves) {
  leaf_count_ = leaves;
  leaves_.resize(leaves.value);
  parents_.resize(leaves.value - 1);
  if (hashed_.size() > node_width()) hashed_.resize(node_width());
}

void RatchetTree::set_leaf(LeafIndex index, LeafPointer leaf) {
  leaves_[index.value] = std::move(leaf);
  if (leaves_[index.value] == nullptr) no_blank_before_ = std::min(no_blank_before_, index.value);
  forget_hash(node_of(index));
}

void RatchetTree::set_parent(NodeIndex index, ParentPointer parent) {
  parents_[index.value / 2] = std::move(parent);
  forget_hash(index);
}

void RatchetTree::forget_hash(NodeIndex index) {
  if (index.value < hashed_.size()) hashed_[index.value] = false;
}

void RatchetTree::drop_hashes() {
  hashes_ = Bytes(); // not {}, which would keep the memory
  hashed_ = std::vector<bool>();
}

void RatchetTree::forget_hashes(LeafIndex leaf) {
  forget_hash(node_of(leaf));
  for (const NodeIndex node : direct_path(leaf, leaf_count_)) forget_hash(node);
}

void RatchetTree::blank_direct_path(LeafIndex leaf) {
  for (const NodeIndex node : direct_path(leaf, leaf_count_)) set_parent(node, nullptr);
}

void RatchetTree::truncate() {
  // s.7.7: while the right half holds no leaf, the tree is halved.
  while (leaf_count_.value > 1) {
    for (std::uint32_t i = leaf_count_.value / 2; i < leaf_count_.value; ++i) {
      if (leaf({i}) != nullptr) return;
    }
    resize({leaf_count_.value / 2});
  }
}

Result<std::vector<LeafIndex>> RatchetTree::add_leaves(std::vector<LeafNode> leaves) {
  std::vector<LeafIndex> places;
  for (std::uint32_t i = no_blank_before_; places.size() < leaves.size(); ++i) {
    if (i == max_leaves) return mls_tree_full;
    if (leaf({i}) == nullptr) places.push_back({i});
  }
  if (places.empty()) return places;
  if (places.back().value >= leaf_count_.value) resize(full(places.back().value + 1));

  std::vector<NodeIndex> above;
  for (std::size_t i = 0; i < places.size(); ++i) {
    set_leaf(places[i], std::make_shared<const LeafNode>(std::move(leaves[i])));
    const std::vector<NodeIndex> path = direct_path(places[i], leaf_count_);
    above.insert(above.end(), path.begin(), path.end());
  }
  no_blank_before_ = places.back().value + 1;
  std::ranges::sort(above);
  const auto repeated = std::ranges::unique(above);
  above.erase(repeated.begin(), repeated.end());
  for (const NodeIndex node : above) {
    forget_hash(node);
    const ParentNode* current = parent(node);
    if (current == nullptr) continue;
    ParentNode changed = *current;
    const auto first = std::ranges::lower_bound(places, first_leaf(node));
    const auto last = std::ranges::upper_bound(places, last_leaf(node));
    changed.unmerged_leaves.insert(changed.unmerged_leaves.end(), first, last);
    // Places that were blank may lie before; std::inplace_merge is none for clang, whose -Werror sees libstdc++'s deprecated buffer in it.
    if (!std::ranges::is_sorted(changed.unmerged_leaves)) std::ranges::sort(changed.unmerged_leaves);
    set_parent(node, std::make_shared<const ParentNode>(std::move(changed)));
  }
  return places;
}

Result<LeafIndex> RatchetTree::add_leaf(LeafNode leaf_node) {
  std::vector<LeafNode> one;
  one.push_back(std::move(leaf_node));
  SATSUMA_TRY(const std::vector<LeafIndex> places, add_leaves(std::move(one)));
  return places.front();
}

Result<void> RatchetTree::update_leaf(LeafIndex index, LeafNode leaf_node) {
  if (leaf(index) == nullptr) return mls_leaf_unknown;
  blank_direct_path(index);
  set_leaf(index, std::make_shared<const LeafNode>(std::move(leaf_node)));
  return {};
}

Result<void> RatchetTree::remove_leaf(LeafIndex index) {
  if (leaf(index) == nullptr) return mls_leaf_unknown;
  blank_direct_path(index);
  set_leaf(index, nullptr);
  truncate();
  return {};
}

Result<Bytes> RatchetTree::apply_path(LeafIndex leaf_index, const std::vector<Bytes>& public_keys) {
  const std::vector<PathStep> steps = filtered_direct_path(leaf_index);
  if (steps.size() != public_keys.size()) return mls_path_malformed;
  forget_hashes(leaf_index);
  // The hashes of copath subtrees are needed as they are now; they do not change below.
  for (const NodeIndex node : direct_path(leaf_index, leaf_count_)) set_parent(node, nullptr);
  Bytes hash_above; // the root's parent hash is empty, s.7.9
  for (std::size_t i = steps.size(); i-- > 0;) {
    ParentNode node{public_keys[i], hash_above, {}};
    const TreeHash hash = hash_parent_input(node, tree_hash(steps[i].copath_child));
    hash_above = to_bytes(hash.view());
    set_parent(steps[i].node, std::make_shared<const ParentNode>(std::move(node)));
  }
  return hash_above;
}

void RatchetTree::set_leaf_after_path(LeafIndex index, LeafNode leaf_node) {
  set_leaf(index, std::make_shared<const LeafNode>(std::move(leaf_node)));
  forget_hashes(index);
}

// RFC 9420 s.7.8, TreeHashInput. `without`: leaves that are to count as blank and as not unmerged (s.7.9,
// the original sibling tree hash); rising.
TreeHash RatchetTree::compute_tree_hash(NodeIndex index, const std::vector<LeafIndex>& without) const {
  ByteWriter input;
  if (is_leaf(index)) {
    const LeafIndex leaf_index = leaf_of(index);
    const LeafNode* node = std::ranges::binary_search(without, leaf_index) ? nullptr : leaf(leaf_index);
    input.u8(1);
    input.u32(leaf_index.value);
    input.u8(node != nullptr ? 1 : 0);
    if (node != nullptr) node->write(input);
  } else {
    const ParentNode* node = parent(index);
    input.u8(2);
    input.u8(node != nullptr ? 1 : 0);
    if (node != nullptr) {
      if (without.empty()) {
        node->write(input);
      } else {
        ParentNode reduced = *node;
        std::erase_if(reduced.unmerged_leaves, [&without](LeafIndex unmerged) { return std::ranges::binary_search(without, unmerged); });
        reduced.write(input);
      }
    }
    codec::write_opaque(input, tree_hash_without(left(index), without).view());
    codec::write_opaque(input, tree_hash_without(right(index), without).view());
  }
  return digest(*suite_, input.view());
}

TreeHash RatchetTree::tree_hash_without(NodeIndex index, const std::vector<LeafIndex>& without) const {
  // The kept hash serves wherever none of those leaves is below.
  const auto first = std::ranges::lower_bound(without, first_leaf(index));
  if (first == without.end() || *first > last_leaf(index)) return tree_hash(index);
  return compute_tree_hash(index, without);
}

TreeHash RatchetTree::tree_hash(NodeIndex index) const {
  const std::size_t size = suite_->hash_size();
  if (hashed_.size() < node_width()) {
    hashed_.resize(node_width());
    hashes_.resize(node_width() * size);
  }
  const MutableByteView kept = MutableByteView(hashes_).subspan(index.value * size, size);
  if (!hashed_[index.value]) {
    const TreeHash computed = compute_tree_hash(index, {});
    std::ranges::copy(computed.view(), kept.begin());
    hashed_[index.value] = true;
    return computed;
  }
  TreeHash out;
  out.size = static_cast<std::uint8_t>(size);
  std::ranges::copy(kept, out.bytes.begin());
  return out;
}

// ParentHashInput, s.7.9.
TreeHash RatchetTree::hash_parent_input(const ParentNode& node, const TreeHash& sibling_tree_hash) const {
  ByteWriter input;
  codec::write_opaque(input, node.encryption_key);
  codec::write_opaque(input, node.parent_hash);
  codec::write_opaque(input, sibling_tree_hash.view());
  return digest(*suite_, input.view());
}

TreeHash RatchetTree::parent_hash(NodeIndex index, NodeIndex sibling_index) const {
  const ParentNode* node = parent(index);
  SATSUMA_CHECK(node != nullptr);
  return hash_parent_input(*node, tree_hash_without(sibling_index, node->unmerged_leaves));
}

// s.7.9.2. For each parent P there must be a descendant D below one child C, with the other child S, such that D's parent
// hash is P's over S, D is in the resolution of C, and P's unmerged leaves below C are exactly the rest of that resolution.
Result<void> RatchetTree::verify_parent_hashes() const {
  for (std::uint32_t i = 1; i < node_width(); i += 2) {
    const NodeIndex index{i};
    const ParentNode* node = parent(index);
    if (node == nullptr) continue;
    bool valid = false;
    for (const bool through_left : {true, false}) {
      const NodeIndex child = through_left ? left(index) : right(index);
      const NodeIndex other = through_left ? right(index) : left(index);
      const Bytes expected = to_bytes(parent_hash(index, other).view());
      std::vector<NodeIndex> reached = resolution(child);
      const auto carries = [this, &expected](NodeIndex candidate) {
        if (const ParentNode* below = parent(candidate)) return equal(below->parent_hash, expected);
        const LeafNode* leaf_node = leaf(leaf_of(candidate));
        return leaf_node != nullptr && leaf_node->source == LeafNodeSource::commit && equal(leaf_node->parent_hash, expected);
      };
      const auto found = std::ranges::find_if(reached, carries);
      if (found == reached.end()) continue;
      reached.erase(found);
      std::ranges::sort(reached);
      std::vector<NodeIndex> unmerged_below;
      for (const LeafIndex unmerged : node->unmerged_leaves) {
        if (is_in_subtree(unmerged, child)) unmerged_below.push_back(node_of(unmerged));
      }
      std::ranges::sort(unmerged_below);
      if (reached == unmerged_below) {
        valid = true;
        break;
      }
    }
    if (!valid) return mls_parent_hash_invalid;
  }
  return {};
}

} // namespace satsuma::mls
