#include <algorithm>
#include <set>

#include "mls/group/group_steps.h"
#include "mls/wire/grease.h"

// A member's commits: making one (RFC 9420 s.12.4.1) and processing one (s.12.4.2).
namespace satsuma::mls {

using namespace tree_math;
using internal::GroupState;
using internal::GroupStatePointer;
using internal::NextEpochSecrets;

namespace {

Result<Welcome> make_welcome(const GroupContext& context, const RatchetTree& tree, ByteView confirmation_tag, LeafIndex signer,
                             ByteView signature_private_key, const NextEpochSecrets& next, const CommitEffects& effects, const PathSecrets* path,
                             const CommitParams& params, RandomSource& random) {
  const SuiteParameters& suite = tree.suite();
  GroupInfo info{context, {}, to_bytes(confirmation_tag), signer, {}};
  if (params.ratchet_tree_in_welcome) info.extensions.push_back({extension_type::ratchet_tree, tree.serialise()});
  info.extensions.insert(info.extensions.end(), params.group_info_extensions.begin(), params.group_info_extensions.end());
  if (params.grease) {
    Extension grease = grease_extension(random);
    if (find_extension(info.extensions, grease.type) == nullptr) info.extensions.push_back(std::move(grease));
  }
  SATSUMA_TRY_VOID(info.sign(suite, signature_private_key));
  Welcome welcome{suite.id, {}, encrypt_group_info(suite, next.welcome_secret.view(), info)};
  for (const AddedMember& added : effects.added) {
    GroupSecrets secrets{next.joiner_secret.clone(), std::nullopt, effects.psks};
    if (path != nullptr) {
      const NodeIndex ancestor = common_ancestor(added.leaf, signer);
      for (std::size_t i = 0; i < path->steps.size(); ++i) {
        if (path->steps[i].node == ancestor) secrets.path_secret = path->path_secrets[i].clone();
      }
      SATSUMA_CHECK(secrets.path_secret.has_value());
    }
    SATSUMA_TRY(EncryptedGroupSecrets entry, encrypt_group_secrets(suite, secrets, added.key_package.init_key, added.key_package.reference(suite),
                                                                   welcome.encrypted_group_info, random));
    welcome.secrets.push_back(std::move(entry));
  }
  return welcome;
}

using CachedProposal = std::pair<const Bytes*, const KnownProposal*>; // with its reference

// s.12.2, s.12.4: of what was proposed in this epoch, in the order it came, what goes together with itself and with `by_value`.
class CachedProposals {
 public:
  CachedProposals(const GroupState& state, const CommitParams& params, const std::vector<Proposal>& by_value) : state_(state), params_(params) {
    for (const auto& [reference, known] : state.proposals) all_.push_back({&reference, &known});
    std::ranges::sort(all_, {}, [](const CachedProposal& entry) { return entry.second->arrival; });
    for (const Proposal& proposal : by_value) note(proposal);
    for (const auto& [reference, known] : all_) {
      if (removes_sender(*known) && known->sender.leaf() != state.own_leaf()) leaving_.insert(known->sender.leaf());
    }
    removed_.insert(leaving_.begin(), leaving_.end());
    for (const auto& [reference, known] : all_) {
      const Proposal& proposal = known->proposal;
      if (proposal.as<Update>() != nullptr) last_update_[known->sender.leaf()] = known;
      if (proposal.as<GroupContextExtensions>() != nullptr) last_extensions_ = known;
      const auto* remove = proposal.as<Remove>();
      if (remove != nullptr && remove->removed != state.own_leaf() && !removed_.contains(remove->removed)) removed_.insert(remove->removed);
    }
    if (has_extensions_) last_extensions_ = nullptr;
  }

  std::vector<CachedProposal> choose(bool anything_by_value) {
    std::vector<CachedProposal> chosen;
    const CachedProposal* reinit = nullptr;
    for (const CachedProposal& entry : all_) {
      if (entry.second->proposal.as<ReInit>() != nullptr) {
        reinit = &entry;
      } else if (take(*entry.second)) {
        chosen.push_back(entry);
      }
    }
    // Anything else goes before a ReInit, which may be sent again.
    if (reinit != nullptr && chosen.empty() && !anything_by_value) chosen.push_back(*reinit);
    return chosen;
  }

 private:
  bool removes_sender(const KnownProposal& known) const {
    if (known.proposal.as<FurtherProposal>() == nullptr) return false;
    const FurtherProposalType* const type = find_type(state_.limits.additions.proposals, known.proposal.type());
    return type != nullptr && type->removes_sender;
  }

  void note(const Proposal& proposal) {
    if (const auto* add = proposal.as<Add>()) {
      new_keys_.insert(add->key_package.leaf_node.signature_key);
    } else if (const auto* remove = proposal.as<Remove>()) {
      removed_.insert(remove->removed);
      removed_here_.insert(remove->removed);
    } else if (const auto* psk = proposal.as<PreSharedKey>()) {
      psks_.insert(codec::encode(psk->id));
    } else if (proposal.as<GroupContextExtensions>() != nullptr) {
      has_extensions_ = true;
    }
  }

  bool take(const KnownProposal& known) {
    const Proposal& proposal = known.proposal;
    if (const auto* add = proposal.as<Add>()) {
      return params_.policy.check_leaf(add->key_package.leaf_node).has_value() && new_keys_.insert(add->key_package.leaf_node.signature_key).second;
    }
    if (const auto* update = proposal.as<Update>()) {
      const LeafIndex leaf = known.sender.leaf();
      return leaf != state_.own_leaf() && !removed_.contains(leaf) && last_update_[leaf] == &known &&
             params_.policy.check_leaf(update->leaf_node).has_value();
    }
    if (const auto* remove = proposal.as<Remove>()) {
      // Who takes itself out is not removed by others as well.
      return remove->removed != state_.own_leaf() && !leaving_.contains(remove->removed) && removed_here_.insert(remove->removed).second;
    }
    if (removes_sender(known)) return known.sender.leaf() != state_.own_leaf() && removed_here_.insert(known.sender.leaf()).second;
    if (const auto* psk = proposal.as<PreSharedKey>()) return psks_.insert(codec::encode(psk->id)).second;
    if (proposal.as<GroupContextExtensions>() != nullptr) return last_extensions_ == &known;
    return true;
  }

  const GroupState& state_;
  const CommitParams& params_;
  std::vector<CachedProposal> all_;
  std::set<LeafIndex> leaving_;      // by a proposal of their own
  std::set<LeafIndex> removed_;      // by any proposal
  std::set<LeafIndex> removed_here_; // by one that is in the commit already
  std::map<LeafIndex, const KnownProposal*> last_update_;
  std::set<Bytes> new_keys_;
  std::set<Bytes> psks_;
  const KnownProposal* last_extensions_ = nullptr;
  bool has_extensions_ = false;
};

} // namespace

// --- Making one

Result<PendingCommit> Group::commit(const CommitParams& params, RandomSource& random) const {
  return make_commit(params, ResumptionUsage::application, nullptr, random);
}

Result<PendingCommit> Group::make_commit(const CommitParams& params, ResumptionUsage psk_usage, const Group* predecessor, RandomSource& random) const {
  GroupState& s = *state_;
  const SuiteParameters& suite = s.suite();
  const LeafIndex own_leaf = s.own_leaf();
  if (!s.active) return mls_group_inactive;
  if (s.context.epoch == ~Epoch{0}) return mls_epoch_mismatch;
  if (params.private_message) SATSUMA_TRY_VOID(check_send_limit(RatchetType::handshake));
  const Sender self{SenderType::member, own_leaf.value};

  std::vector<Proposal> by_value;
  if (params.group_context_extensions) by_value.push_back({GroupContextExtensions{*params.group_context_extensions}});
  for (const LeafIndex removed : params.remove) {
    if (removed == own_leaf) return mls_cannot_remove_self;
    by_value.push_back({Remove{removed}});
  }
  for (const KeyPackage& package : params.add) by_value.push_back({Add{package}});
  for (PreSharedKeyId& id : internal::with_nonces(params.psks, suite, random)) by_value.push_back({PreSharedKey{std::move(id)}});
  if (params.reinit) by_value.push_back({*params.reinit});

  std::vector<CachedProposal> by_reference;
  if (params.include_cached_proposals) by_reference = CachedProposals(s, params, by_value).choose(!by_value.empty());
  std::erase_if(by_reference, [&](const CachedProposal& entry) {
    const auto* psk = entry.second->proposal.as<PreSharedKey>();
    return psk != nullptr && !psk_value(psk->id, params.psk_store);
  });

  const auto resolve = [&] {
    std::vector<ResolvedProposal> resolved;
    for (const auto& [reference, known] : by_reference) resolved.push_back({&known->proposal, known->sender, true});
    for (const Proposal& proposal : by_value) resolved.push_back({&proposal, self, false});
    return resolved;
  };
  auto attempt = apply_proposals(s.tree, s.context, resolve(), own_leaf, s.limits.additions.proposals, psk_usage);
  if (!attempt && !by_reference.empty()) {
    // Each is good alone, but not all together: somebody's Add lacks what the new extensions demand, say. Those that go with all before them, then: in halves,
    // so that few that do not fit cost few attempts among many that do.
    const std::vector<CachedProposal> candidates = std::exchange(by_reference, {});
    const auto take = [&](const auto& self_, std::span<const CachedProposal> some) -> void {
      const std::size_t before = by_reference.size();
      by_reference.insert(by_reference.end(), some.begin(), some.end());
      if (apply_proposals(s.tree, s.context, resolve(), own_leaf, s.limits.additions.proposals, psk_usage)) return;
      by_reference.resize(before);
      if (some.size() == 1) return;
      self_(self_, some.first(some.size() / 2));
      self_(self_, some.subspan(some.size() / 2));
    };
    take(take, candidates);
    attempt = apply_proposals(s.tree, s.context, resolve(), own_leaf, s.limits.additions.proposals, psk_usage);
  }
  SATSUMA_TRY(AppliedProposals applied, std::move(attempt));
  CommitEffects& effects = applied.effects;
  RatchetTree& tree = applied.tree;
  if (by_reference.size() + by_value.size() > s.limits.max_proposals) return mls_too_many_proposals;
  if (tree.member_count() > s.limits.max_members) return mls_too_many_members;
  SATSUMA_TRY(const std::vector<PskValue> psks, psk_values(effects.psks, params.psk_store, predecessor));

  Commit commit;
  for (const auto& [reference, known] : by_reference) commit.proposals.push_back({ProposalOrRef::Reference{*reference}});
  for (Proposal& proposal : by_value) commit.proposals.push_back({std::move(proposal)});

  PrivateTree keys = s.private_tree.clone();
  SecretBytes signature_private_key =
      params.leaf.signature_keys != nullptr ? params.leaf.signature_keys->private_key.clone() : s.signature_private_key.clone();
  GroupContext context = s.context;
  context.epoch += 1;
  context.extensions = std::move(applied.extensions);

  std::optional<PathSecrets> path;
  SecretBytes commit_secret = zero_secret(suite);
  if (params.force_path || applied.path_required || params.leaf.any()) {
    const LeafNode before = *tree.leaf(own_leaf);
    SATSUMA_TRY(internal::NewPath made, internal::make_path(tree, context, s.context, own_leaf, internal::changed_leaf(before, params.leaf),
                                                            signature_private_key.view(), internal::leaves_of(effects.added), random));
    if (params.leaf.any()) {
      SATSUMA_TRY_VOID(verify_leaf_capabilities(made.update.leaf_node, context.extensions));
      SATSUMA_TRY_VOID(verify_leaves_together(tree));
    }
    effects.updated.push_back({own_leaf, before, made.update.leaf_node});
    commit.path = std::move(made.update);
    internal::keep_path(keys, own_leaf, made.secrets);
    commit_secret = made.secrets.commit_secret.clone();
    path = std::move(made.secrets);
  }
  context.tree_hash = to_bytes(tree.tree_hash().view());
  keys.forget_stale(tree);
  SATSUMA_TRY_VOID(params.policy.check_commit(effects, tree, context.extensions));

  AuthenticatedContent content;
  content.wire_format = params.private_message ? WireFormat::private_message : WireFormat::public_message;
  content.content = {s.context.group_id, s.context.epoch, self, params.authenticated_data, std::move(commit)};
  SATSUMA_TRY_VOID(content.sign(suite, s.signature_private_key.view(), s.context));
  context.confirmed_transcript_hash = confirmed_transcript_hash(suite, s.interim_transcript_hash, content);
  NextEpochSecrets next = internal::run_key_schedule(suite, s.secrets.init_secret.view(), commit_secret.view(), psks, context, s.limits.additions);
  const Bytes tag = compute_confirmation_tag(suite, next.secrets.confirmation_key.view(), context.confirmed_transcript_hash);
  content.auth.confirmation_tag = tag;

  PendingCommit pending{{}, std::nullopt, make_staged(s, {}, nullptr)};
  if (!effects.added.empty()) {
    SATSUMA_TRY(Welcome welcome, make_welcome(context, tree, tag, own_leaf, signature_private_key.view(), next, effects, path ? &*path : nullptr,
                                              params, random));
    pending.welcome = MLSMessage{std::move(welcome)}.encode();
  }
  if (params.private_message) {
    SATSUMA_TRY(PrivateMessage message, protect_private(suite, s.secrets.sender_data_secret.view(), s.secret_tree, content, s.padding, random));
    pending.commit = MLSMessage{std::move(message)}.encode();
  } else {
    pending.commit = MLSMessage{protect_public(suite, s.secrets.membership_key.view(), content, s.context)}.encode();
  }

  Bytes interim = interim_transcript_hash(suite, context.confirmed_transcript_hash, tag);
  GroupStatePointer state = internal::make_state(std::move(context), std::move(tree), std::move(interim), tag, std::move(keys),
                                                 std::move(signature_private_key), std::move(next.secrets), s.limits);
  state->padding = s.padding;
  state->active = !effects.reinit.has_value();
  state->reinit = effects.reinit;
  pending.staged = make_staged(s, std::move(effects), std::move(state));
  return pending;
}

// --- Processing one

Result<StagedCommit> Group::stage(ByteView bytes, const StageParams& params) const {
  SATSUMA_TRY(const PublicMessage message, MLSMessage::decode_as<PublicMessage>(bytes, state_->limits.additions.proposals));
  SATSUMA_TRY(const VerifiedMessage verified, verify(message));
  return stage(verified, params);
}

Result<StagedCommit> Group::stage(const VerifiedMessage& message, const StageParams& params) const {
  const GroupState& s = *state_;
  const SuiteParameters& suite = s.suite();
  const LeafIndex own_leaf = s.own_leaf();
  const VerifiedContent& content = message.content_;
  if (!s.active) return mls_group_inactive;
  if (message.base_ != s.confirmation_tag) return mls_stale_stage;
  if (content->content.sender == Sender{SenderType::member, own_leaf.value}) return mls_own_message;
  const auto* commit = std::get_if<Commit>(&content->content.content);
  if (commit == nullptr) return mls_not_a_commit;
  if (commit->proposals.size() > s.limits.max_proposals) return mls_too_many_proposals;
  SATSUMA_TRY(CommitTransition next, evaluate_commit(s.tree, s.context, s.interim_transcript_hash, content, s.proposals, s.limits.additions.proposals));
  if (next.tree.member_count() > s.limits.max_members) return mls_too_many_members;
  SATSUMA_TRY_VOID(params.policy.check_commit(next.effects, next.tree, next.context.extensions));

  const bool removed = std::ranges::any_of(next.effects.removed, [own_leaf](const Member& member) { return member.leaf == own_leaf; });
  if (removed) return make_staged(s, std::move(next.effects), nullptr); // its new secrets are not for us

  SATSUMA_TRY(const std::vector<PskValue> psks, psk_values(next.effects.psks, params.psk_store));
  PrivateTree keys = s.private_tree.clone();
  keys.forget_stale(next.tree);
  SecretBytes signature_private_key = s.signature_private_key.clone();
  for (const ChangedMember& changed : next.effects.updated) {
    if (changed.leaf != own_leaf) continue;
    const auto pending = s.pending_updates.find(changed.after.encryption_key);
    if (pending == s.pending_updates.end()) return mls_update_unknown;
    keys.set(node_of(own_leaf), pending->second.leaf_keys.clone());
    signature_private_key = pending->second.signature_private_key.clone();
  }
  SecretBytes commit_secret = zero_secret(suite);
  if (commit->path) {
    SATSUMA_TRY(commit_secret, decrypt_path(next.tree, keys, next.path_leaf, commit->path->nodes, internal::leaves_of(next.effects.added),
                                            internal::provisional_context(next.context, s.context)));
  }
  SecretBytes init_secret = s.secrets.init_secret.clone();
  if (next.effects.external_init) {
    SATSUMA_TRY(init_secret, receive_external_init(suite, s.secrets.external_secret.view(), *next.effects.external_init));
  }
  NextEpochSecrets secrets = internal::run_key_schedule(suite, init_secret.view(), commit_secret.view(), psks, next.context, s.limits.additions);
  const Bytes tag = compute_confirmation_tag(suite, secrets.secrets.confirmation_key.view(), next.context.confirmed_transcript_hash);
  if (!constant_time_equal(tag, content->auth.confirmation_tag)) return mls_confirmation_tag_mismatch;

  GroupStatePointer state = internal::make_state(std::move(next.context), std::move(next.tree), std::move(next.interim_transcript_hash), tag,
                                                 std::move(keys), std::move(signature_private_key), std::move(secrets.secrets), s.limits);
  state->padding = s.padding;
  state->active = !next.effects.reinit.has_value();
  state->reinit = next.effects.reinit;
  return make_staged(s, std::move(next.effects), std::move(state));
}

} // namespace satsuma::mls
