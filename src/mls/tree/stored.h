#pragma once

#include <map>

#include "mls/tree/commit_rules.h"

/// What all stored states have in common: an envelope with kind and version, and trees that share their nodes.
///
///   "SMLS" | kind u8 | version u16 | body | SHA-256 of all before
///
/// The digest finds damage, not malice: who can write where a state is stored can also compute it. Even so a state made up by
/// somebody is an error or a useless group, never undefined behaviour.
namespace satsuma::mls {

inline constexpr ErrorCode mls_stored_damaged{"mls_stored_damaged", ErrorKind::environment};
inline constexpr ErrorCode mls_stored_kind_wrong{"mls_stored_kind_wrong", ErrorKind::caller};
inline constexpr ErrorCode mls_stored_version_unknown{"mls_stored_version_unknown", ErrorKind::environment};
inline constexpr ErrorCode mls_stored_invalid{"mls_stored_invalid", ErrorKind::environment};

enum class StoredKind : std::uint8_t { public_group = 1, group = 2, key_package_bundle = 3, pending_commit = 4 };
/// Goes up with every change of a body; older ones stay readable where a later version says so.
inline constexpr std::uint16_t stored_version = 2;
inline constexpr std::size_t stored_header_size = 7;
inline constexpr std::size_t stored_digest_size = 32;

void write_stored_header(ByteWriter& writer, StoredKind kind);
Bytes stored_digest(ByteView header_and_body);
/// The body of a state of this kind. mls_stored_damaged, _kind_wrong, _version_unknown.
Result<ByteReader> open_stored(ByteView bytes, StoredKind kind);

void write_stored_proposals(ByteWriter& writer, const ProposalCache& proposals);
/// Each is checked again as it was when it came (verify_proposal).
Result<ProposalCache> parse_stored_proposals(ByteReader& reader, const RatchetTree& tree, const GroupContext& context, std::size_t max_proposals,
                                             FurtherProposalTypes further);

/// Trees of one group in several epochs, with each node that they share once.
class StoredTrees {
 public:
  void add(const RatchetTree& tree);
  void write(ByteWriter& writer) const;

  /// As many trees as were added, in that order. Their structure is checked as far as the code relies on it: kinds of nodes, places
  /// of unmerged leaves, at least one member; compare the tree hash with the group context's. mls_stored_invalid.
  static Result<std::vector<RatchetTree>> parse(ByteReader& reader, CipherSuite suite);
  static constexpr std::size_t max_trees = 16;

 private:
  std::map<const void*, std::uint32_t> numbers_; ///< from 1, by the node's address
  ByteWriter nodes_;
  std::vector<Bytes> trees_;
};

} // namespace satsuma::mls
