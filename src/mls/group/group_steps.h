#pragma once

#include "mls/group/group.h"
#include "mls/group/group_state.h"

/// What the ways to a new epoch have in common; for this folder only.
namespace satsuma::mls::internal {

/// The GroupContext that path secrets are encrypted under, s.12.4.1: of the next epoch, but with the transcript hash of this one.
Bytes provisional_context(const GroupContext& next, const GroupContext& present);

std::vector<LeafIndex> leaves_of(const std::vector<AddedMember>& added);

struct NextEpochSecrets {
  SecretBytes joiner_secret;
  SecretBytes welcome_secret;
  EpochSecrets secrets;
};
NextEpochSecrets run_key_schedule(const SuiteParameters& suite, ByteView init_secret, ByteView commit_secret, const std::vector<PskValue>& psks,
                                  const GroupContext& context, const Additions& additions = {});

/// Takes the encryption secret out of `secrets` into the secret tree. The limits, the padding and the like are the caller's to set.
GroupStatePointer make_state(GroupContext context, RatchetTree tree, Bytes interim_transcript_hash, Bytes confirmation_tag, PrivateTree private_tree,
                             SecretBytes signature_private_key, EpochSecrets secrets, const GroupLimits& limits);

LeafNode changed_leaf(LeafNode leaf, const LeafChanges& changes);

/// A fresh path for our leaf, s.7.5: sets it in `tree`, completes `next.tree_hash`, and encrypts.
struct NewPath {
  PathSecrets secrets;
  UpdatePath update;
};
/// `leaf`: what ours is to say besides keys, source and parent hash. `added`: who gets no ciphertext.
Result<NewPath> make_path(RatchetTree& tree, GroupContext& next, const GroupContext& present, LeafIndex own_leaf, LeafNode leaf,
                          ByteView signature_private_key, const std::vector<LeafIndex>& added, RandomSource& random);
/// Our new private keys.
void keep_path(PrivateTree& keys, LeafIndex own_leaf, const PathSecrets& path);

/// Fills in fresh nonces, s.8.4.
std::vector<PreSharedKeyId> with_nonces(std::vector<PreSharedKeyId> ids, const SuiteParameters& suite, RandomSource& random);

/// Whether a PSK binds a group to the one that it branches off or reinitialises.
bool is_succession(const PreSharedKeyId& id);

/// s.12.4.3.1, the last step: `tree` and `context` are those of a group that says by `id` that it succeeds `old`. mls_succession_invalid.
Result<void> verify_succession(const GroupState& old, const PreSharedKeyId& id, const GroupContext& context, const RatchetTree& tree,
                               const LeafPolicy& policy);


} // namespace satsuma::mls::internal
