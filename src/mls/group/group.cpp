#include "mls/group/group.h"

#include <algorithm>

#include "mls/group/group_state.h"

namespace satsuma::mls {

using namespace tree_math;

void internal::GroupStateDelete::operator()(GroupState* state) const { delete state; }

using internal::GroupState;
using internal::GroupStatePointer;
using internal::PastEpoch;

// --- PSKs

void PskStore::add_external(ByteView id, ByteView secret) { external_.insert_or_assign(to_bytes(id), SecretBytes::copy_of(secret)); }

void PskStore::add_resumption(ByteView group_id, Epoch epoch, ByteView secret) {
  resumption_.insert_or_assign(std::pair(to_bytes(group_id), epoch), SecretBytes::copy_of(secret));
}

const SecretBytes* PskStore::find(const PreSharedKeyId& id) const {
  if (id.type == PreSharedKeyId::Type::external) {
    const auto found = external_.find(id.external_id);
    return found == external_.end() ? nullptr : &found->second;
  }
  const auto found = resumption_.find(std::pair(id.group_id, id.epoch));
  return found == resumption_.end() ? nullptr : &found->second;
}

Result<std::vector<PskValue>> Group::psk_values(const std::vector<PreSharedKeyId>& ids, const PskStore* store) const {
  std::vector<PskValue> values;
  for (const PreSharedKeyId& id : ids) {
    const SecretBytes* secret = nullptr;
    if (id.type == PreSharedKeyId::Type::resumption && id.group_id == state_->context.group_id) {
      if (id.epoch == state_->context.epoch) secret = &state_->secrets.resumption_psk;
      for (const auto& [epoch, psk] : state_->past_resumption_psks) {
        if (epoch == id.epoch) secret = &psk;
      }
    }
    if (secret == nullptr && store != nullptr) secret = store->find(id);
    if (secret == nullptr) return mls_psk_unknown;
    values.push_back({id, secret->clone()});
  }
  return values;
}

// --- Stages

StagedCommit::StagedCommit(StagedCommit&&) noexcept = default;
StagedCommit& StagedCommit::operator=(StagedCommit&&) noexcept = default;
StagedCommit::~StagedCommit() = default;

std::vector<Member> StagedCommit::next_members() const { return next_ == nullptr ? std::vector<Member>() : list_members(next_->tree); }

StagedCommit Group::make_staged(const GroupState& base, CommitEffects effects, GroupStatePointer next) {
  StagedCommit staged;
  staged.effects_ = std::move(effects);
  staged.next_epoch_ = base.context.epoch + 1;
  staged.base_ = base.confirmation_tag;
  staged.next_ = std::move(next);
  return staged;
}

Group::Group(GroupStatePointer state) : state_(std::move(state)) {}
Group::Group(Group&&) noexcept = default;
Group& Group::operator=(Group&&) noexcept = default;
Group::~Group() = default;

namespace {

SecretTree take_secret_tree(const SuiteParameters& suite, LeafCount leaves, EpochSecrets& secrets) {
  return SecretTree(suite, leaves, std::move(secrets.encryption_secret));
}

// The GroupContext that path secrets are encrypted under, s.12.4.1: of the next epoch, but with the transcript hash of this one.
Bytes provisional_context(const GroupContext& next, const GroupContext& present) {
  GroupContext context = next;
  context.confirmed_transcript_hash = present.confirmed_transcript_hash;
  return codec::encode(context);
}

Result<void> check_send_limit(GroupState& state, RatchetType type) {
  if (!state.send_limit) return {};
  const std::uint32_t limit = type == RatchetType::handshake ? state.send_limit->handshake : state.send_limit->application;
  if (state.secret_tree.next_generation(state.own_leaf(), type) >= limit) return mls_store_first;
  return {};
}

std::vector<LeafIndex> leaves_of(const std::vector<AddedMember>& added) {
  std::vector<LeafIndex> leaves;
  for (const AddedMember& member : added) leaves.push_back(member.leaf);
  return leaves;
}

} // namespace

// --- Making a group and entering one

Result<Group> Group::create(const GroupParams& params, const KeyPackageBundle& creator, RandomSource& random) {
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite(creator.key_package.cipher_suite));
  SATSUMA_TRY_VOID(verify_key_package(creator.key_package));
  SATSUMA_TRY_VOID(verify_leaf_capabilities(creator.key_package.leaf_node, params.extensions));

  // RFC 9420 s.11.
  RatchetTree tree(suite->id);
  SATSUMA_TRY(const LeafIndex own_leaf, tree.add_leaf(creator.key_package.leaf_node));
  GroupContext context{protocol_version_mls10, suite->id, params.group_id, 0, to_bytes(tree.tree_hash().view()), {}, params.extensions};
  PrivateTree keys(own_leaf);
  keys.set(node_of(own_leaf), {creator.key_package.leaf_node.encryption_key, creator.encryption_private_key.clone()});

  SecretBytes epoch_secret(suite->hash_size());
  random.fill(epoch_secret.mutable_view());
  EpochSecrets secrets = epoch_secrets_from(*suite, epoch_secret.view());
  Bytes tag = compute_confirmation_tag(*suite, secrets.confirmation_key.view(), context.confirmed_transcript_hash);
  Bytes interim = interim_transcript_hash(*suite, context.confirmed_transcript_hash, tag);
  SecretTree secret_tree = take_secret_tree(*suite, tree.leaf_count(), secrets);
  return Group(GroupStatePointer(new GroupState{std::move(context), std::move(tree), std::move(interim), std::move(tag), std::move(keys),
                                                creator.signature_private_key.clone(), std::move(secrets), std::move(secret_tree), std::min(params.padding, max_padding)}));
}

namespace {

// s.12.4.3.1: which PSKs a Welcome may carry, and their values.
Result<std::vector<PskValue>> welcome_psks(const std::vector<PreSharedKeyId>& ids, const SuiteParameters& suite, const PskStore* store) {
  std::vector<PskValue> values;
  std::size_t successions = 0; // reinit or branch
  for (const PreSharedKeyId& id : ids) {
    if (id.nonce.size() != suite.hash_size()) return mls_welcome_invalid;
    if (id.type == PreSharedKeyId::Type::resumption && id.usage != ResumptionUsage::application && ++successions > 1) return mls_welcome_invalid;
    const SecretBytes* secret = store != nullptr ? store->find(id) : nullptr;
    if (secret == nullptr) return mls_psk_unknown;
    values.push_back({id, secret->clone()});
  }
  return values;
}

bool succeeds_another_group(const std::vector<PreSharedKeyId>& ids) {
  return std::ranges::any_of(
      ids, [](const PreSharedKeyId& id) { return id.type == PreSharedKeyId::Type::resumption && id.usage != ResumptionUsage::application; });
}

} // namespace

Result<Group> Group::join(const Welcome& welcome, const KeyPackageBundle& bundle, const JoinParams& params) {
  const KeyPackage& package = bundle.key_package;
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite(welcome.cipher_suite));
  if (package.cipher_suite != welcome.cipher_suite) return mls_welcome_not_for_us;
  const EncryptedGroupSecrets* entry = welcome.find(package.reference(*suite));
  if (entry == nullptr) return mls_welcome_not_for_us;
  SATSUMA_TRY(const GroupSecrets group_secrets, decrypt_group_secrets(*suite, *entry, bundle.init_private_key.view(), package.init_key,
                                                                      welcome.encrypted_group_info));
  SATSUMA_TRY(const std::vector<PskValue> psks, welcome_psks(group_secrets.psks, *suite, params.psks));
  const SecretBytes psk_secret = derive_psk_secret(*suite, psks);
  const SecretBytes welcome_secret = derive_welcome_secret(*suite, group_secrets.joiner_secret.view(), psk_secret.view());
  SATSUMA_TRY(const GroupInfo info, decrypt_group_info(*suite, welcome_secret.view(), welcome.encrypted_group_info));
  const GroupContext& context = info.group_context;
  if (context.cipher_suite != suite->id) return mls_welcome_invalid;
  if (succeeds_another_group(group_secrets.psks) && context.epoch != 1) return mls_welcome_invalid;

  const Extension* tree_extension = find_extension(info.extensions, extension_type::ratchet_tree);
  if (tree_extension == nullptr && !params.ratchet_tree) return mls_ratchet_tree_missing;
  SATSUMA_TRY(RatchetTree tree, RatchetTree::parse(suite->id, tree_extension != nullptr ? tree_extension->data : *params.ratchet_tree));
  const LeafNode* signer = tree.leaf(info.signer);
  if (signer == nullptr) return mls_welcome_invalid;
  SATSUMA_TRY_VOID(info.verify_signature(*suite, signer->signature_key));
  SATSUMA_TRY_VOID(verify_tree(tree, context));

  std::optional<LeafIndex> own_leaf;
  for (const LeafIndex member : tree.members()) {
    if (*tree.leaf(member) == package.leaf_node) own_leaf = member;
  }
  if (!own_leaf || *own_leaf == info.signer) return mls_welcome_invalid;
  PrivateTree keys(*own_leaf);
  keys.set(node_of(*own_leaf), {package.leaf_node.encryption_key, bundle.encryption_private_key.clone()});
  if (group_secrets.path_secret) {
    SATSUMA_TRY_VOID(keys.implant(tree, common_ancestor(*own_leaf, info.signer), group_secrets.path_secret->view()));
  }

  EpochSecrets secrets = derive_epoch_secrets(*suite, group_secrets.joiner_secret.view(), psk_secret.view(), codec::encode(context));
  const Bytes tag = compute_confirmation_tag(*suite, secrets.confirmation_key.view(), context.confirmed_transcript_hash);
  if (!constant_time_equal(tag, info.confirmation_tag)) return mls_confirmation_tag_mismatch;
  Bytes interim = interim_transcript_hash(*suite, context.confirmed_transcript_hash, tag);
  SecretTree secret_tree = take_secret_tree(*suite, tree.leaf_count(), secrets);
  return Group(GroupStatePointer(new GroupState{context, std::move(tree), std::move(interim), tag, std::move(keys), bundle.signature_private_key.clone(),
                                                std::move(secrets), std::move(secret_tree), std::min(params.padding, max_padding)}));
}

// --- What it is

CipherSuite Group::suite() const { return state_->context.cipher_suite; }
ByteView Group::group_id() const { return state_->context.group_id; }
Epoch Group::epoch() const { return state_->context.epoch; }
LeafIndex Group::own_leaf() const { return state_->own_leaf(); }
bool Group::active() const { return state_->active; }
const GroupContext& Group::context() const { return state_->context; }
const RatchetTree& Group::tree() const { return state_->tree; }
std::vector<Member> Group::members() const { return list_members(state_->tree); }
ByteView Group::epoch_authenticator() const { return state_->secrets.epoch_authenticator.view(); }
ByteView Group::confirmation_tag() const { return state_->confirmation_tag; }
ByteView Group::resumption_psk() const { return state_->secrets.resumption_psk.view(); }

SecretBytes Group::export_secret(std::string_view label, ByteView context, std::size_t size) const {
  SATSUMA_CHECK(!state_->secrets.exporter_secret.empty());
  return mls_exporter(state_->suite(), state_->secrets.exporter_secret.view(), label, context, size);
}

void Group::erase_exporter_secret() { state_->secrets.exporter_secret = {}; }

Result<Bytes> Group::group_info(bool with_tree, bool with_external_pub) const {
  const GroupState& s = *state_;
  GroupInfo info{s.context, {}, s.confirmation_tag, s.own_leaf(), {}};
  if (with_tree) info.extensions.push_back({extension_type::ratchet_tree, s.tree.serialise()});
  if (with_external_pub) {
    ByteWriter key;
    codec::write_opaque(key, derive_external_key_pair(s.suite(), s.secrets.external_secret.view()).public_key);
    info.extensions.push_back({extension_type::external_pub, std::move(key).take()});
  }
  SATSUMA_TRY_VOID(info.sign(s.suite(), s.signature_private_key.view()));
  return MLSMessage{std::move(info)}.encode();
}

// --- Making a commit

namespace {

struct NextEpochSecrets {
  SecretBytes joiner_secret;
  SecretBytes welcome_secret;
  EpochSecrets secrets;
};

NextEpochSecrets run_key_schedule(const SuiteParameters& suite, ByteView init_secret, ByteView commit_secret, const std::vector<PskValue>& psks,
                                  const GroupContext& context) {
  const Bytes encoded = codec::encode(context);
  const SecretBytes psk_secret = derive_psk_secret(suite, psks);
  SecretBytes joiner_secret = derive_joiner_secret(suite, init_secret, commit_secret, encoded);
  SecretBytes welcome_secret = derive_welcome_secret(suite, joiner_secret.view(), psk_secret.view());
  EpochSecrets secrets = derive_epoch_secrets(suite, joiner_secret.view(), psk_secret.view(), encoded);
  return {std::move(joiner_secret), std::move(welcome_secret), std::move(secrets)};
}

Result<Welcome> make_welcome(const GroupState& base, const GroupContext& context, const RatchetTree& tree, ByteView confirmation_tag,
                             const NextEpochSecrets& next, const CommitEffects& effects, const PathSecrets* path, bool with_tree, RandomSource& random) {
  const SuiteParameters& suite = base.suite();
  GroupInfo info{context, {}, to_bytes(confirmation_tag), base.own_leaf(), {}};
  if (with_tree) info.extensions.push_back({extension_type::ratchet_tree, tree.serialise()});
  SATSUMA_TRY_VOID(info.sign(suite, base.signature_private_key.view()));
  Welcome welcome{suite.id, {}, encrypt_group_info(suite, next.welcome_secret.view(), info)};
  for (const AddedMember& added : effects.added) {
    GroupSecrets secrets{next.joiner_secret.clone(), std::nullopt, effects.psks};
    if (path != nullptr) {
      const NodeIndex ancestor = common_ancestor(added.leaf, base.own_leaf());
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

} // namespace

Result<PendingCommit> Group::commit(const CommitParams& params, RandomSource& random) const {
  GroupState& s = *state_;
  const SuiteParameters& suite = s.suite();
  if (!s.active) return mls_group_inactive;
  if (s.context.epoch == ~Epoch{0}) return mls_epoch_mismatch;
  if (params.private_message) SATSUMA_TRY_VOID(check_send_limit(s, RatchetType::handshake));
  const Sender self{SenderType::member, s.own_leaf().value};

  Commit commit;
  std::vector<Proposal> by_value;
  if (params.group_context_extensions) by_value.push_back({GroupContextExtensions{*params.group_context_extensions}});
  for (const LeafIndex removed : params.remove) {
    if (removed == s.own_leaf()) return mls_cannot_remove_self;
    by_value.push_back({Remove{removed}});
  }
  for (const KeyPackage& package : params.add) by_value.push_back({Add{package}});
  for (PreSharedKeyId id : params.psks) {
    id.nonce.resize(suite.hash_size());
    random.fill(id.nonce);
    by_value.push_back({PreSharedKey{std::move(id)}});
  }
  std::vector<ResolvedProposal> resolved;
  if (params.include_cached_proposals) {
    for (const auto& [reference, known] : s.proposals) {
      commit.proposals.push_back({ProposalOrRef::Reference{reference}});
      resolved.push_back({&known.proposal, known.sender, true});
    }
  }
  for (const Proposal& proposal : by_value) {
    commit.proposals.push_back({proposal});
    resolved.push_back({&proposal, self, false});
  }

  SATSUMA_TRY(AppliedProposals applied, apply_proposals(s.tree, s.context, resolved, s.own_leaf()));
  CommitEffects& effects = applied.effects;
  RatchetTree& tree = applied.tree;
  SATSUMA_TRY(const std::vector<PskValue> psks, psk_values(effects.psks, params.psk_store));
  PrivateTree keys = s.private_tree.clone();
  GroupContext context = s.context;
  context.epoch += 1;
  context.extensions = std::move(applied.extensions);

  // s.7.5, s.12.4.1: a new path, and the path secrets encrypted under the provisional context.
  std::optional<PathSecrets> path;
  SecretBytes commit_secret = zero_secret(suite);
  if (params.force_path || applied.path_required) {
    path = generate_path_secrets(tree, s.own_leaf(), random);
    LeafNode leaf = *tree.leaf(s.own_leaf());
    const LeafNode before = leaf;
    leaf.encryption_key = path->leaf_keys.public_key;
    leaf.source = LeafNodeSource::commit;
    leaf.lifetime = {};
    SATSUMA_TRY(leaf.parent_hash, tree.apply_path(s.own_leaf(), path->public_keys()));
    SATSUMA_TRY_VOID(leaf.sign(suite, s.signature_private_key.view(), context.group_id, s.own_leaf()));
    tree.set_leaf_after_path(s.own_leaf(), leaf);
    context.tree_hash = to_bytes(tree.tree_hash().view());
    SATSUMA_TRY(std::vector<UpdatePathNode> nodes,
                encrypt_path(tree, *path, leaves_of(effects.added), provisional_context(context, s.context), random));
    effects.updated.push_back({s.own_leaf(), before, leaf});
    commit.path = UpdatePath{std::move(leaf), std::move(nodes)};
    keys.set(node_of(s.own_leaf()), path->leaf_keys.clone());
    for (std::size_t i = 0; i < path->steps.size(); ++i) keys.set(path->steps[i].node, path->node_keys[i].clone());
    commit_secret = path->commit_secret.clone();
  }
  context.tree_hash = to_bytes(tree.tree_hash().view());
  keys.forget_stale(tree);

  AuthenticatedContent content;
  content.wire_format = params.private_message ? WireFormat::private_message : WireFormat::public_message;
  content.content = {s.context.group_id, s.context.epoch, self, params.authenticated_data, std::move(commit)};
  SATSUMA_TRY_VOID(content.sign(suite, s.signature_private_key.view(), s.context));
  context.confirmed_transcript_hash = confirmed_transcript_hash(suite, s.interim_transcript_hash, content);
  NextEpochSecrets next = run_key_schedule(suite, s.secrets.init_secret.view(), commit_secret.view(), psks, context);
  content.auth.confirmation_tag = compute_confirmation_tag(suite, next.secrets.confirmation_key.view(), context.confirmed_transcript_hash);
  const Bytes& tag = content.auth.confirmation_tag;

  PendingCommit pending{{}, std::nullopt, make_staged(s, {}, nullptr)};
  if (!effects.added.empty()) {
    SATSUMA_TRY(Welcome welcome, make_welcome(s, context, tree, tag, next, effects, path ? &*path : nullptr, params.ratchet_tree_in_welcome, random));
    pending.welcome = MLSMessage{std::move(welcome)}.encode();
  }
  if (params.private_message) {
    SATSUMA_TRY(PrivateMessage message, protect_private(suite, s.secrets.sender_data_secret.view(), s.secret_tree, content, s.padding, random));
    pending.commit = MLSMessage{std::move(message)}.encode();
  } else {
    pending.commit = MLSMessage{protect_public(suite, s.secrets.membership_key.view(), content, s.context)}.encode();
  }

  Bytes interim = interim_transcript_hash(suite, context.confirmed_transcript_hash, tag);
  const bool reinitialised = effects.reinit.has_value();
  SecretTree secret_tree = take_secret_tree(suite, tree.leaf_count(), next.secrets);
  GroupStatePointer state(new GroupState{std::move(context), std::move(tree), std::move(interim), tag, std::move(keys), s.signature_private_key.clone(),
                                         std::move(next.secrets), std::move(secret_tree), s.padding, !reinitialised});
  pending.staged = make_staged(s, std::move(effects), std::move(state));
  return pending;
}

// --- Processing one

Result<StagedCommit> Group::stage(ByteView bytes, const PskStore* psks) const {
  SATSUMA_TRY(const PublicMessage message, MLSMessage::decode_as<PublicMessage>(bytes));
  SATSUMA_TRY(const VerifiedMessage verified, verify(message));
  return stage(verified, psks);
}

Result<StagedCommit> Group::stage(const VerifiedMessage& message, const PskStore* store) const {
  const GroupState& s = *state_;
  const SuiteParameters& suite = s.suite();
  const AuthenticatedContent& content = message.content_;
  if (!s.active) return mls_group_inactive;
  if (content.content.sender == Sender{SenderType::member, s.own_leaf().value}) return mls_own_message;
  SATSUMA_TRY(CommitTransition next, evaluate_commit(s.tree, s.context, s.interim_transcript_hash, content, s.proposals));

  const bool removed = std::ranges::any_of(next.effects.removed, [&s](const Member& member) { return member.leaf == s.own_leaf(); });
  if (removed) return make_staged(s, std::move(next.effects), nullptr); // its new secrets are not for us

  SATSUMA_TRY(const std::vector<PskValue> psks, psk_values(next.effects.psks, store));
  PrivateTree keys = s.private_tree.clone();
  keys.forget_stale(next.tree);
  SecretBytes commit_secret = zero_secret(suite);
  if (const auto& path = std::get_if<Commit>(&content.content.content)->path) {
    SATSUMA_TRY(commit_secret, decrypt_path(next.tree, keys, next.path_leaf, path->nodes, leaves_of(next.effects.added),
                                            provisional_context(next.context, s.context)));
  }
  SecretBytes init_secret = s.secrets.init_secret.clone();
  if (next.effects.external_init) {
    SATSUMA_TRY(init_secret, receive_external_init(suite, s.secrets.external_secret.view(), *next.effects.external_init));
  }
  NextEpochSecrets secrets = run_key_schedule(suite, init_secret.view(), commit_secret.view(), psks, next.context);
  const Bytes tag = compute_confirmation_tag(suite, secrets.secrets.confirmation_key.view(), next.context.confirmed_transcript_hash);
  if (!constant_time_equal(tag, content.auth.confirmation_tag)) return mls_confirmation_tag_mismatch;

  const bool reinitialised = next.effects.reinit.has_value();
  SecretTree secret_tree = take_secret_tree(suite, next.tree.leaf_count(), secrets.secrets);
  GroupStatePointer state(new GroupState{std::move(next.context), std::move(next.tree), std::move(next.interim_transcript_hash), tag, std::move(keys),
                                         s.signature_private_key.clone(), std::move(secrets.secrets), std::move(secret_tree), s.padding, !reinitialised});
  return make_staged(s, std::move(next.effects), std::move(state));
}

Result<void> Group::merge(StagedCommit&& staged) {
  GroupState& old = *state_;
  if (!old.active) return mls_group_inactive;
  if (staged.base_ != old.confirmation_tag || staged.next_epoch_ != old.context.epoch + 1) return mls_stale_stage;
  if (staged.next_ == nullptr) {
    old.active = false;
    return {};
  }
  GroupStatePointer next = std::move(staged.next_);
  if (old.send_limit) next->send_limit = internal::SendLimit{}; // the new epoch's keys are nowhere stored yet
  next->past_resumption_psks = std::move(old.past_resumption_psks);
  next->past_resumption_psks.emplace_back(old.context.epoch, std::move(old.secrets.resumption_psk));
  while (next->past_resumption_psks.size() > max_past_resumption_psks) next->past_resumption_psks.pop_front();
  next->past_epochs = std::move(old.past_epochs);
  next->past_epochs.push_back({std::move(old.context), std::move(old.tree), std::move(old.secrets.sender_data_secret), std::move(old.secret_tree)});
  while (next->past_epochs.size() > max_past_epochs) next->past_epochs.pop_front();
  state_ = std::move(next);
  staged.base_.clear();
  return {};
}

// --- Messages

namespace {

// Group, epoch and the sender's signature, under the tree of that epoch.
Result<void> verify_content(const AuthenticatedContent& content, const RatchetTree& tree, const GroupContext& context) {
  SATSUMA_TRY(const Bytes key, sender_signature_key(tree, context, content.content));
  return content.verify_signature(tree.suite(), key, context);
}

} // namespace

Result<VerifiedMessage> Group::verify(const PublicMessage& message) const {
  const GroupState& s = *state_;
  if (message.content.group_id != s.context.group_id) return mls_group_mismatch;
  if (message.content.epoch != s.context.epoch) return mls_epoch_mismatch;
  SATSUMA_TRY(AuthenticatedContent content, unprotect_public(s.suite(), s.secrets.membership_key.view(), message, s.context));
  SATSUMA_TRY_VOID(verify_content(content, s.tree, s.context));
  return VerifiedMessage(std::move(content));
}

Result<VerifiedMessage> Group::unprotect(const PrivateMessage& message) {
  GroupState& s = *state_;
  if (message.group_id != s.context.group_id) return mls_group_mismatch;
  if (message.epoch != s.context.epoch) return mls_epoch_mismatch;
  SATSUMA_TRY(const SenderData sender, open_sender_data(s.suite(), s.secrets.sender_data_secret.view(), message));
  if (sender.leaf == s.own_leaf()) return mls_own_message;
  if (s.tree.leaf(sender.leaf) == nullptr) return mls_sender_invalid;
  SATSUMA_TRY(AuthenticatedContent content, unprotect_private(s.suite(), s.secrets.sender_data_secret.view(), s.secret_tree, message));
  SATSUMA_TRY_VOID(verify_content(content, s.tree, s.context));
  return VerifiedMessage(std::move(content));
}

Result<void> Group::cache_proposal(const VerifiedMessage& message) {
  GroupState& s = *state_;
  const AuthenticatedContent& content = message.content_;
  const auto* proposal = std::get_if<Proposal>(&content.content.content);
  if (proposal == nullptr) return mls_content_unexpected;
  if (content.content.epoch != s.context.epoch) return mls_epoch_mismatch;
  SATSUMA_TRY_VOID(verify_proposal(s.tree, s.context, *proposal, content.content.sender));
  if (s.proposals.size() >= max_cached_proposals) return mls_too_many_proposals;
  s.proposals.emplace(proposal_ref(s.suite(), codec::encode(content)), KnownProposal{*proposal, content.content.sender});
  return {};
}

Result<Bytes> Group::propose(const Proposal& proposal, bool private_message, ByteView authenticated_data, RandomSource& random) {
  GroupState& s = *state_;
  if (!s.active) return mls_group_inactive;
  if (proposal.as<Update>() != nullptr) return mls_content_unexpected;
  if (private_message) SATSUMA_TRY_VOID(check_send_limit(s, RatchetType::handshake));
  AuthenticatedContent content;
  content.wire_format = private_message ? WireFormat::private_message : WireFormat::public_message;
  content.content = {s.context.group_id, s.context.epoch, {SenderType::member, s.own_leaf().value}, to_bytes(authenticated_data), proposal};
  SATSUMA_TRY_VOID(content.sign(s.suite(), s.signature_private_key.view(), s.context));
  SATSUMA_TRY_VOID(cache_proposal(VerifiedMessage(content)));
  if (!private_message) return MLSMessage{protect_public(s.suite(), s.secrets.membership_key.view(), content, s.context)}.encode();
  SATSUMA_TRY(PrivateMessage message, protect_private(s.suite(), s.secrets.sender_data_secret.view(), s.secret_tree, content, s.padding, random));
  return MLSMessage{std::move(message)}.encode();
}

Result<Bytes> Group::protect_application(ByteView plaintext, ByteView authenticated_data, RandomSource& random) {
  GroupState& s = *state_;
  if (!s.active) return mls_group_inactive;
  SATSUMA_TRY_VOID(check_send_limit(s, RatchetType::application));
  AuthenticatedContent content;
  content.wire_format = WireFormat::private_message;
  content.content = {s.context.group_id, s.context.epoch, {SenderType::member, s.own_leaf().value}, to_bytes(authenticated_data),
                     ApplicationData{to_bytes(plaintext)}};
  SATSUMA_TRY_VOID(content.sign(s.suite(), s.signature_private_key.view(), s.context));
  auto message = protect_private(s.suite(), s.secrets.sender_data_secret.view(), s.secret_tree, content, s.padding, random);
  wipe(std::get_if<ApplicationData>(&content.content.content)->data);
  if (!message) return message.error();
  return MLSMessage{std::move(*message)}.encode();
}

Result<ReceivedApplication> Group::unprotect_application(ByteView bytes) {
  GroupState& s = *state_;
  SATSUMA_TRY(const PrivateMessage message, MLSMessage::decode_as<PrivateMessage>(bytes));
  if (message.content_type != ContentType::application) return mls_content_unexpected;
  if (message.group_id != s.context.group_id) return mls_group_mismatch;

  const GroupContext* context = &s.context;
  const RatchetTree* tree = &s.tree;
  ByteView sender_data_secret = s.secrets.sender_data_secret.view();
  SecretTree* secret_tree = &s.secret_tree;
  if (message.epoch != s.context.epoch) {
    const auto past = std::ranges::find_if(s.past_epochs, [&message](const PastEpoch& epoch) { return epoch.context.epoch == message.epoch; });
    if (past == s.past_epochs.end()) return mls_epoch_mismatch;
    context = &past->context;
    tree = &past->tree;
    sender_data_secret = past->sender_data_secret.view();
    secret_tree = &past->secret_tree;
  }
  SATSUMA_TRY(const SenderData sender, open_sender_data(tree->suite(), sender_data_secret, message));
  if (sender.leaf == s.own_leaf()) return mls_own_message;
  if (tree->leaf(sender.leaf) == nullptr) return mls_sender_invalid;
  SATSUMA_TRY(AuthenticatedContent content, unprotect_private(tree->suite(), sender_data_secret, *secret_tree, message));
  SATSUMA_TRY_VOID(verify_content(content, *tree, *context));
  Bytes& data = std::get_if<ApplicationData>(&content.content.content)->data;
  ReceivedApplication received{sender.leaf, SecretBytes::copy_of(data), std::move(content.content.authenticated_data)};
  wipe(data);
  return received;
}

} // namespace satsuma::mls
