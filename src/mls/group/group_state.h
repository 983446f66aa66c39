#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

#include "mls/group/key_schedule.h"
#include "mls/group/limits.h"
#include "mls/group/message_protection.h"
#include "mls/group/treekem.h"
#include "mls/tree/commit_rules.h"

/// What `Group` consists of; for this folder only. Every member here is stored too: see storage.cpp.
namespace satsuma::mls::internal {

/// What is still needed of an epoch that is over: to open application messages that come late.
struct PastEpoch {
  GroupContext context;
  RatchetTree tree;
  SecretBytes sender_data_secret;
  SecretTree secret_tree;
};

/// Generations of our own ratchets from which on nothing is sent before the group was stored again (Group::store).
struct SendLimit {
  std::uint32_t handshake = 0;
  std::uint32_t application = 0;
};

/// The private half of an Update that we proposed.
struct PendingUpdate {
  crypto::KemKeyPair leaf_keys;
  SecretBytes signature_private_key;
  std::uint32_t arrival = 0; ///< of the proposal
};

/// By the leaf's encryption key.
using PendingUpdates = std::map<Bytes, PendingUpdate>;
inline void drop_oldest(PendingUpdates& updates, std::size_t most) {
  while (updates.size() > most) updates.erase(std::ranges::min_element(updates, {}, [](const auto& entry) { return entry.second.arrival; }));
}

struct GroupState {
  GroupContext context;
  RatchetTree tree;
  Bytes interim_transcript_hash;
  Bytes confirmation_tag;
  PrivateTree private_tree;
  SecretBytes signature_private_key;
  EpochSecrets secrets;
  SecretTree secret_tree;
  std::size_t padding = 0;
  GroupLimits limits{}; ///< the caller's; not stored
  bool active = true;
  std::optional<ReInit> reinit{}; ///< committed: the group has ended
  PendingUpdates pending_updates{};
  ProposalCache proposals{};
  std::deque<PastEpoch> past_epochs{};
  std::deque<std::pair<Epoch, SecretBytes>> past_resumption_psks{};
  std::optional<SendLimit> send_limit{}; ///< only with a reserve

  const SuiteParameters& suite() const { return tree.suite(); }
  LeafIndex own_leaf() const { return private_tree.own_leaf(); }
};

} // namespace satsuma::mls::internal
