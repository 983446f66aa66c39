#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "mls/wire/proposal.h"

namespace satsuma::mls {

/// Bounds on what grows in a secret tree with what others send (RFC 9420 s.15.3).
struct SecretTreeLimits {
  /// How far one message may jump ahead in its sender's ratchet, which is also how much work it can cost us.
  std::uint32_t max_skip = 1024;
  /// Keys of messages not seen that are kept for one ratchet; the oldest go first.
  std::size_t max_kept = 1024;
  /// The same for all ratchets of an epoch together: about 4 MB. Beyond it who skips keeps nothing; in order all goes on.
  std::size_t max_kept_in_epoch = 16384;
};

/// What a group has beyond RFC 9420, as drafts and applications define it; the same in all its members. Like the limits it is the caller's, and
/// not stored: pass the same to each way in and to `load`. What is pointed to is not owned and outlives the group.
struct Additions {
  /// The label of one more secret derived from the epoch secret, as those of s.8, table 4. Group::take_further_secret hands it out.
  std::string_view further_secret{};
  FurtherProposalTypes proposals{};
};

/// Bounds on what grows in a group with what others send. The defaults serve 10,000 members. A group stored under larger ones loses its oldest
/// past epochs, PSKs, Updates and keys of missing messages when it is loaded; its cached proposals cannot go, so more of them is mls_stored_invalid.
struct GroupLimits {
  /// A commit or a tree with more is mls_too_many_members. RatchetTree::max_leaves is the end in any case.
  std::size_t max_members = 16384;
  /// Proposals remembered in an epoch, and in one commit: one of each member's. More are mls_too_many_proposals.
  std::size_t max_proposals = 16384;
  /// Updates of our own that wait for somebody's commit; the oldest goes first. With none, propose_update is mls_updates_not_kept.
  std::size_t max_pending_updates = 16;
  /// Epochs whose application keys are kept for messages that were overtaken by a commit. Each costs its changed tree nodes and its keys;
  /// at most 15, where the group is stored (StoredTrees::max_trees).
  std::size_t max_past_epochs = 2;
  /// Past resumption PSKs that are kept (s.8.6).
  std::size_t max_past_resumption_psks = 64;
  SecretTreeLimits secret_tree{};
  Additions additions{}; ///< no bound, but it goes wherever the bounds go
};

} // namespace satsuma::mls
