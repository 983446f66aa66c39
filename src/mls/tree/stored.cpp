#include "mls/tree/stored.h"

#include <algorithm>
#include <bit>
#include <variant>

namespace satsuma::mls {

using namespace tree_math;

namespace {
constexpr std::string_view magic = "SMLS";
}

void write_stored_header(ByteWriter& writer, StoredKind kind) {
  writer.bytes(as_bytes(magic));
  writer.u8(static_cast<std::uint8_t>(kind));
  writer.u16(stored_version);
}

Bytes stored_digest(ByteView header_and_body) { return crypto::hash(crypto::HashAlgorithm::sha256, header_and_body); }

Result<ByteReader> open_stored(ByteView bytes, StoredKind kind) {
  if (bytes.size() < stored_header_size + stored_digest_size) return mls_stored_damaged;
  const ByteView signed_part = bytes.first(bytes.size() - stored_digest_size);
  if (!equal(stored_digest(signed_part), bytes.last(stored_digest_size))) return mls_stored_damaged;
  ByteReader reader(signed_part);
  SATSUMA_TRY(const ByteView start, reader.bytes(magic.size()));
  if (as_text(start) != magic) return mls_stored_damaged;
  SATSUMA_TRY(const std::uint8_t found, reader.u8());
  SATSUMA_TRY(const std::uint16_t version, reader.u16());
  if (version != stored_version) return mls_stored_version_unknown;
  if (found != static_cast<std::uint8_t>(kind)) return mls_stored_kind_wrong;
  return reader;
}

void write_stored_proposals(ByteWriter& writer, const ProposalCache& proposals) {
  writer.u32(static_cast<std::uint32_t>(proposals.size()));
  for (const auto& [reference, known] : proposals) {
    codec::write_opaque(writer, reference);
    known.proposal.write(writer);
    known.sender.write(writer);
    writer.u32(known.arrival);
  }
}

Result<ProposalCache> parse_stored_proposals(ByteReader& reader, const RatchetTree& tree, const GroupContext& context, std::size_t max_proposals,
                                             FurtherProposalTypes further) {
  SATSUMA_TRY(const std::uint32_t count, reader.u32());
  if (count > max_proposals) return mls_stored_invalid;
  ProposalCache proposals;
  for (std::uint32_t i = 0; i < count; ++i) {
    SATSUMA_TRY(Bytes reference, codec::read_bytes(reader));
    SATSUMA_TRY(Proposal proposal, Proposal::parse(reader, further));
    SATSUMA_TRY(const Sender sender, Sender::parse(reader));
    SATSUMA_TRY(const std::uint32_t arrival, reader.u32());
    SATSUMA_TRY_VOID(verify_proposal(tree, context, proposal, sender, further));
    if (!proposals.emplace(std::move(reference), KnownProposal{std::move(proposal), sender, arrival}).second) return mls_stored_invalid;
  }
  return proposals;
}

void StoredTrees::add(const RatchetTree& tree) {
  SATSUMA_CHECK(trees_.size() < max_trees);
  ByteWriter places(1 + 4 * std::size_t{tree.node_width()});
  places.u8(static_cast<std::uint8_t>(std::countr_zero(tree.leaf_count_.value)));
  const auto add_node = [&](const auto* node, std::uint8_t kind) {
    std::uint32_t number = 0;
    if (node != nullptr) {
      const auto [entry, fresh] = numbers_.emplace(node, static_cast<std::uint32_t>(numbers_.size() + 1));
      number = entry->second;
      if (fresh) {
        nodes_.u8(kind);
        node->write(nodes_);
      }
    }
    places.u32(number);
  };
  for (NodeIndex index{0}; index.value < tree.node_width(); ++index.value) {
    if (is_leaf(index)) {
      add_node(tree.leaf(leaf_of(index)), 1);
    } else {
      add_node(tree.parent(index), 2);
    }
  }
  trees_.push_back(std::move(places).take());
}

void StoredTrees::write(ByteWriter& writer) const {
  writer.u32(static_cast<std::uint32_t>(numbers_.size()));
  writer.bytes(nodes_.view());
  writer.u8(static_cast<std::uint8_t>(trees_.size()));
  for (const Bytes& tree : trees_) writer.bytes(tree);
}

Result<std::vector<RatchetTree>> StoredTrees::parse(ByteReader& reader, CipherSuite suite) {
  SATSUMA_TRY_VOID(require_suite(suite));
  SATSUMA_TRY(const std::uint32_t node_count, reader.u32());
  std::vector<std::variant<RatchetTree::LeafPointer, RatchetTree::ParentPointer>> nodes; // grows with bytes that are there, not with the announced count
  for (std::uint32_t i = 0; i < node_count; ++i) {
    SATSUMA_TRY(const std::uint8_t type, reader.u8());
    if (type == 1) {
      SATSUMA_TRY(LeafNode leaf, LeafNode::parse(reader));
      nodes.push_back(std::make_shared<const LeafNode>(std::move(leaf)));
    } else if (type == 2) {
      SATSUMA_TRY(ParentNode parent, ParentNode::parse(reader));
      nodes.push_back(std::make_shared<const ParentNode>(std::move(parent)));
    } else {
      return mls_stored_invalid;
    }
  }

  SATSUMA_TRY(const std::uint8_t tree_count, reader.u8());
  if (tree_count > max_trees) return mls_stored_invalid;
  std::vector<RatchetTree> trees;
  for (std::uint8_t t = 0; t < tree_count; ++t) {
    SATSUMA_TRY(const std::uint8_t height, reader.u8());
    if (height > 31 || (1u << height) > RatchetTree::max_leaves) return mls_stored_invalid;
    RatchetTree tree(suite);
    if (reader.remaining() / 4 < node_width({1u << height})) return bytes_truncated;
    tree.resize({1u << height});
    for (std::uint32_t i = 0; i < tree.node_width(); ++i) {
      SATSUMA_TRY(const std::uint32_t number, reader.u32());
      if (number == 0) continue;
      if (number > nodes.size()) return mls_stored_invalid;
      const auto* leaf = std::get_if<RatchetTree::LeafPointer>(&nodes[number - 1]);
      const auto* parent = std::get_if<RatchetTree::ParentPointer>(&nodes[number - 1]);
      if ((leaf != nullptr) != is_leaf({i})) return mls_stored_invalid;
      if (leaf != nullptr) {
        tree.leaves_[i / 2] = *leaf;
      } else {
        tree.parents_[i / 2] = *parent;
      }
    }
    for (std::uint32_t i = 1; i < tree.node_width(); i += 2) {
      const ParentNode* parent = tree.parent({i});
      if (parent == nullptr) continue;
      if (!std::ranges::is_sorted(parent->unmerged_leaves)) return mls_stored_invalid;
      for (const LeafIndex unmerged : parent->unmerged_leaves) {
        if (tree.leaf(unmerged) == nullptr || !is_in_subtree(unmerged, {i})) return mls_stored_invalid;
      }
    }
    if (tree.member_count() == 0) return mls_stored_invalid;
    trees.push_back(std::move(tree));
  }
  return trees;
}

} // namespace satsuma::mls
