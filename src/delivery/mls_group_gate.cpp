#include "delivery/mls_group_gate.h"

#include <algorithm>

#include "base/bug_switches.h"
#include "crypto/hash.h"
#include "mls/wire/message.h"

namespace satsuma::delivery {
namespace {

/// There is one Welcome for all whom the commit adds, and it names each of them and nobody else, so that nobody becomes a
/// member who cannot get in.
Result<void> check_welcome(const mls::PublicGroup& group, const mls::CommitEffects& effects, ByteView welcome_bytes) {
  if (effects.added.empty()) {
    if (!welcome_bytes.empty()) return gate_welcome_invalid;
    return {};
  }
  SATSUMA_TRY(const auto welcome, mls::MLSMessage::decode_as<mls::Welcome>(welcome_bytes));
  if (welcome.cipher_suite != group.suite() || welcome.secrets.size() != effects.added.size()) {
    return gate_welcome_invalid;
  }
  SATSUMA_TRY(const mls::SuiteParameters* suite, mls::require_suite(group.suite()));
  for (const auto& added : effects.added) {
    if (welcome.find(added.key_package.reference(*suite)) == nullptr) return gate_welcome_invalid;
  }
  return {};
}

/// Adds, removes and fresh leaves, all by value, from a member: what this protocol uses of RFC 9420 s.12.4.
Result<void> check_kind(const mls::CommitEffects& effects) {
  if (!effects.committer || effects.joined_by_external_commit || effects.external_init ||
      !effects.all_proposals_by_value || effects.extensions_changed || !effects.psks.empty() || effects.reinit) {
    return gate_commit_forbidden;
  }
  // The signature key is the incarnation: who changed it would be somebody else.
  for (const auto& changed : effects.updated) {
    if (changed.before.signature_key != changed.after.signature_key) return gate_commit_forbidden;
  }
  return {};
}

} // namespace

IncarnationId incarnation_of(ByteView signature_key) {
  std::array<std::uint8_t, 32> digest{};
  crypto::hash_into(crypto::HashAlgorithm::sha256, {signature_key}, digest);
  IncarnationId id;
  std::copy_n(digest.begin(), IncarnationId::size, id.bytes.begin());
  return id;
}

Result<IncarnationId> MlsGroupGate::identify(ByteView key_package) const {
  SATSUMA_TRY(const auto parsed, mls::MLSMessage::decode_as<mls::KeyPackage>(key_package));
  // Lifetimes are the members' business: no calendar clock below `io`.
  SATSUMA_TRY_VOID(mls::verify_key_package(parsed));
  if (group_ && group_->suite() != parsed.cipher_suite) return gate_wrong_suite;
  return incarnation_of(parsed.leaf_node.signature_key);
}

Result<IncarnationId> MlsGroupGate::check_genesis(ByteView group_info) {
  discard();
  SATSUMA_TRY(const auto parsed, mls::MLSMessage::decode_as<mls::GroupInfo>(group_info));
  // RFC 9420 s.11: a new group has one member and no place for others, is in epoch 0, and its confirmed transcript hash is empty.
  // Looked at before any signature and hash is: a tree that fills the frame has hundreds of members, or thousands of blanks.
  const auto* tree = mls::find_extension(parsed.extensions, mls::extension_type::ratchet_tree);
  if (tree == nullptr || parsed.group_context.epoch != 0 || !parsed.group_context.confirmed_transcript_hash.empty()) {
    return gate_genesis_invalid;
  }
  SATSUMA_TRY_VOID(mls::require_suite(parsed.group_context.cipher_suite));
  SATSUMA_TRY(const auto claimed, mls::RatchetTree::parse(parsed.group_context.cipher_suite, tree->data));
  if (claimed.leaf_count().value != 1 || claimed.member_count() != 1) return gate_genesis_invalid;
  SATSUMA_TRY(auto group, mls::PublicGroup::from_group_info(parsed));
  const auto members = group.members();
  SATSUMA_CHECK(members.size() == 1);
  successor_.emplace(std::move(group));
  return incarnation_of(members.front().signature_key);
}

Result<CommitEffect> MlsGroupGate::check_commit(std::uint64_t epoch, ByteView commit, ByteView welcome) {
  discard();
#ifdef SATSUMA_BUG_SWITCHES
  if (SATSUMA_BUG(no_gate) && group_ && group_->epoch() != epoch) { // a server that does not look into commits
    SATSUMA_TRY(const auto message, mls::MLSMessage::decode_as<mls::PublicMessage>(commit));
    const mls::LeafNode* sender = group_->tree().leaf({message.content.sender.index});
    if (sender == nullptr) return gate_commit_forbidden;
    successor_.emplace(group_->clone());
    return CommitEffect{incarnation_of(sender->signature_key), {}, {}, {}};
  }
#endif
  if (!group_ || group_->epoch() != epoch) return mls::mls_epoch_mismatch;
  SATSUMA_TRY(const auto message, mls::MLSMessage::decode_as<mls::PublicMessage>(commit));
  const auto seen = signaling::parse_log_prefix(message.content.authenticated_data);
  if (!seen) return gate_commit_forbidden;
  SATSUMA_TRY(auto staged, group_->verify(message));
  const mls::CommitEffects& effects = staged.effects();
  SATSUMA_TRY_VOID(check_kind(effects));
  SATSUMA_TRY_VOID(check_welcome(*group_, effects, welcome));

  CommitEffect effect;
  effect.seen = *seen;
  const mls::LeafNode* committer = group_->tree().leaf(*effects.committer);
  SATSUMA_CHECK(committer != nullptr);
  effect.committer = incarnation_of(committer->signature_key);
  for (const auto& added : effects.added) {
    effect.added.push_back({incarnation_of(added.key_package.leaf_node.signature_key),
                            mls::MLSMessage{added.key_package}.encode()});
  }
  for (const auto& removed : effects.removed) effect.removed.push_back(incarnation_of(removed.signature_key));

  // A copy shares the tree's nodes.
  mls::PublicGroup successor = group_->clone();
  SATSUMA_TRY_VOID(successor.apply(std::move(staged)));
  successor_.emplace(std::move(successor));
  return effect;
}

void MlsGroupGate::accept() {
  SATSUMA_CHECK(successor_.has_value());
  group_ = std::move(successor_);
  successor_.reset();
}

Bytes MlsGroupGate::successor_state() const {
  SATSUMA_CHECK(successor_.has_value());
  return successor_->serialise();
}

Bytes MlsGroupGate::successor_tree() const {
  SATSUMA_CHECK(successor_.has_value());
  return successor_->tree().serialise();
}

Result<void> MlsGroupGate::restore(ByteView state) {
  SATSUMA_TRY(auto group, mls::PublicGroup::deserialise(state));
  group_.emplace(std::move(group));
  successor_.reset();
  return {};
}

} // namespace satsuma::delivery
