#include "mls/group/group.h"

#include <algorithm>

#include "mls/group/group_steps.h"

namespace satsuma::mls {

using namespace tree_math;

void internal::GroupStateDelete::operator()(GroupState* state) const { delete state; }

using internal::GroupState;
using internal::GroupStatePointer;
using internal::is_succession;
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

Result<SecretBytes> Group::psk_value(const PreSharedKeyId& id, const PskStore* store) const {
  if (id.type == PreSharedKeyId::Type::resumption && id.group_id == state_->context.group_id) {
    if (id.epoch == state_->context.epoch) return state_->secrets.resumption_psk.clone();
    for (const auto& [epoch, psk] : state_->past_resumption_psks) {
      if (epoch == id.epoch) return psk.clone();
    }
  }
  const SecretBytes* stored = store != nullptr ? store->find(id) : nullptr;
  if (stored == nullptr) return mls_psk_unknown;
  return stored->clone();
}

Result<std::vector<PskValue>> Group::psk_values(const std::vector<PreSharedKeyId>& ids, const PskStore* store, const Group* predecessor) const {
  std::vector<PskValue> values;
  for (const PreSharedKeyId& id : ids) {
    const bool from_predecessor = predecessor != nullptr && is_succession(id);
    SATSUMA_TRY(SecretBytes secret, from_predecessor ? predecessor->psk_value(id, store) : psk_value(id, store));
    values.push_back({id, std::move(secret)});
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

// --- What it is

CipherSuite Group::suite() const { return state_->context.cipher_suite; }
ByteView Group::group_id() const { return state_->context.group_id; }
Epoch Group::epoch() const { return state_->context.epoch; }
LeafIndex Group::own_leaf() const { return state_->own_leaf(); }
bool Group::active() const { return state_->active; }
const std::optional<ReInit>& Group::reinit() const { return state_->reinit; }
const GroupLimits& Group::limits() const { return state_->limits; }
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

Result<SecretBytes> Group::take_further_secret() {
  SecretBytes& secret = state_->secrets.further_secret;
  if (secret.empty()) return mls_further_secret_taken;
  return std::exchange(secret, {});
}

void Group::erase_exporter_secret() { state_->secrets.exporter_secret = {}; }

Result<Bytes> Group::group_info(const GroupInfoParams& params) const {
  const GroupState& s = *state_;
  if (!s.active) return mls_group_inactive;
  GroupInfo info{s.context, {}, s.confirmation_tag, s.own_leaf(), {}};
  if (params.with_tree) info.extensions.push_back({extension_type::ratchet_tree, s.tree.serialise()});
  if (params.with_external_pub) {
    ByteWriter key;
    codec::write_opaque(key, derive_external_key_pair(s.suite(), s.secrets.external_secret.view()).public_key);
    info.extensions.push_back({extension_type::external_pub, std::move(key).take()});
  }
  info.extensions.insert(info.extensions.end(), params.extensions.begin(), params.extensions.end());
  SATSUMA_TRY_VOID(info.sign(s.suite(), s.signature_private_key.view()));
  return MLSMessage{std::move(info)}.encode();
}

// --- Merging

Result<void> Group::merge(StagedCommit&& staged) {
  GroupState& old = *state_;
  if (!old.active) return mls_group_inactive;
  if (staged.base_ != old.confirmation_tag || staged.next_epoch_ != old.context.epoch + 1) return mls_stale_stage;
  if (staged.next_ == nullptr) {
    // s.12.4.2: what could follow the group, or speak in it, goes now. What opens late messages of this epoch may stay.
    old.active = false;
    old.secrets.init_secret = {};
    old.secrets.external_secret = {};
    old.secrets.membership_key = {};
    old.secrets.confirmation_key = {};
    old.secrets.exporter_secret = {};
    old.secrets.further_secret = {};
    old.private_tree = PrivateTree(old.own_leaf());
    old.pending_updates.clear();
    old.proposals.clear();
    return {};
  }
  GroupStatePointer next = std::move(staged.next_);
  if (old.send_limit) next->send_limit = internal::SendLimit{}; // the new epoch's keys are nowhere stored yet
  next->past_resumption_psks = std::move(old.past_resumption_psks);
  next->past_resumption_psks.emplace_back(old.context.epoch, std::move(old.secrets.resumption_psk));
  while (next->past_resumption_psks.size() > next->limits.max_past_resumption_psks) next->past_resumption_psks.pop_front();
  next->past_epochs = std::move(old.past_epochs);
  old.tree.drop_hashes();
  next->past_epochs.push_back({std::move(old.context), std::move(old.tree), std::move(old.secrets.sender_data_secret), std::move(old.secret_tree)});
  while (next->past_epochs.size() > next->limits.max_past_epochs) next->past_epochs.pop_front();
  state_ = std::move(next);
  staged.base_.clear();
  return {};
}

// --- Messages

Result<VerifiedMessage> Group::verify(const PublicMessage& message) const {
  const GroupState& s = *state_;
  if (message.content.group_id != s.context.group_id) return mls_group_mismatch;
  if (message.content.epoch != s.context.epoch) return mls_epoch_mismatch;
  SATSUMA_TRY(AuthenticatedContent content, unprotect_public(s.suite(), s.secrets.membership_key.view(), message, s.context));
  SATSUMA_TRY(VerifiedContent verified, verify_content(s.tree, s.context, std::move(content)));
  return VerifiedMessage(std::move(verified), s.confirmation_tag);
}

Result<VerifiedMessage> Group::unprotect(const PrivateMessage& message) {
  GroupState& s = *state_;
  if (message.group_id != s.context.group_id) return mls_group_mismatch;
  if (message.epoch != s.context.epoch) return mls_epoch_mismatch;
  SATSUMA_TRY(const SenderData sender, open_sender_data(s.suite(), s.secrets.sender_data_secret.view(), message));
  if (sender.leaf == s.own_leaf()) return mls_own_message;
  if (s.tree.leaf(sender.leaf) == nullptr) return mls_sender_invalid;
  SATSUMA_TRY(AuthenticatedContent content, unprotect_private(s.suite(), s.secrets.sender_data_secret.view(), s.secret_tree, message, s.limits.additions.proposals));
  SATSUMA_TRY(VerifiedContent verified, verify_content(s.tree, s.context, std::move(content)));
  return VerifiedMessage(std::move(verified), s.confirmation_tag);
}

namespace {

Result<void> remember_proposal(GroupState& s, const AuthenticatedContent& content) {
  const auto* proposal = std::get_if<Proposal>(&content.content.content);
  if (proposal == nullptr) return mls_content_unexpected;
  SATSUMA_TRY_VOID(verify_sent_proposal(s.tree, s.context, content, s.limits.additions.proposals));
  if (s.proposals.size() >= s.limits.max_proposals) return mls_too_many_proposals;
  const auto arrival = static_cast<std::uint32_t>(s.proposals.size());
  s.proposals.emplace(proposal_ref(s.suite(), codec::encode(content)), KnownProposal{*proposal, content.content.sender, arrival});
  return {};
}

} // namespace

Result<void> Group::check_send_limit(RatchetType type) const {
  const GroupState& s = *state_;
  if (!s.send_limit) return {};
  const std::uint32_t limit = type == RatchetType::handshake ? s.send_limit->handshake : s.send_limit->application;
  if (state_->secret_tree.next_generation(s.own_leaf(), type) >= limit) return mls_store_first;
  return {};
}

Result<void> Group::cache_proposal(const VerifiedMessage& message) {
  if (!state_->active) return mls_group_inactive;
  if (message.base_ != state_->confirmation_tag) return mls_stale_stage;
  return remember_proposal(*state_, *message.content_);
}

std::size_t Group::cached_proposals() const { return state_->proposals.size(); }

Result<Bytes> Group::send_proposal(const Proposal& proposal, bool private_message, ByteView authenticated_data, RandomSource& random) {
  GroupState& s = *state_;
  if (private_message) SATSUMA_TRY_VOID(check_send_limit(RatchetType::handshake));
  AuthenticatedContent content;
  content.wire_format = private_message ? WireFormat::private_message : WireFormat::public_message;
  content.content = {s.context.group_id, s.context.epoch, {SenderType::member, s.own_leaf().value}, to_bytes(authenticated_data), proposal};
  SATSUMA_TRY_VOID(content.sign(s.suite(), s.signature_private_key.view(), s.context));
  SATSUMA_TRY_VOID(remember_proposal(s, content));
  if (!private_message) return MLSMessage{protect_public(s.suite(), s.secrets.membership_key.view(), content, s.context)}.encode();
  SATSUMA_TRY(PrivateMessage message, protect_private(s.suite(), s.secrets.sender_data_secret.view(), s.secret_tree, content, s.padding, random));
  return MLSMessage{std::move(message)}.encode();
}

Result<Bytes> Group::propose(const Proposal& proposal, bool private_message, ByteView authenticated_data, RandomSource& random) {
  if (!state_->active) return mls_group_inactive;
  if (proposal.as<Update>() != nullptr) return mls_content_unexpected;
  if (const auto* further = proposal.as<FurtherProposal>()) {
    // Who leaves says it once in an epoch.
    const FurtherProposalType* const type = find_type(state_->limits.additions.proposals, further->type);
    const bool repeated = std::ranges::any_of(state_->proposals, [&](const auto& entry) {
      return entry.second.proposal.type() == further->type && entry.second.sender == Sender{SenderType::member, own_leaf().value};
    });
    if (type != nullptr && type->removes_sender && repeated) return mls_proposal_repeated;
    for (const LeafIndex member : state_->tree.members()) {
      if (!state_->tree.leaf(member)->capabilities.proposals.contains(further->type)) return mls_proposal_unsupported;
    }
  }
  return send_proposal(proposal, private_message, authenticated_data, random);
}

Result<Bytes> Group::propose_update(const LeafChanges& changes, bool private_message, ByteView authenticated_data, RandomSource& random) {
  GroupState& s = *state_;
  if (!s.active) return mls_group_inactive;
  if (s.limits.max_pending_updates == 0) return mls_updates_not_kept;
  crypto::KemKeyPair keys = crypto::kem_generate_key_pair(s.suite().kem, random);
  LeafNode leaf = internal::changed_leaf(*s.tree.leaf(s.own_leaf()), changes);
  leaf.encryption_key = keys.public_key;
  leaf.source = LeafNodeSource::update;
  leaf.lifetime = {};
  leaf.parent_hash.clear();
  SecretBytes signature_private_key = changes.signature_keys != nullptr ? changes.signature_keys->private_key.clone() : s.signature_private_key.clone();
  SATSUMA_TRY_VOID(leaf.sign(s.suite(), signature_private_key.view(), s.context.group_id, s.own_leaf()));
  SATSUMA_TRY_VOID(verify_leaf_capabilities(leaf, s.context.extensions));
  const auto arrival = static_cast<std::uint32_t>(s.proposals.size());
  SATSUMA_TRY(Bytes message, send_proposal(Proposal{Update{std::move(leaf)}}, private_message, authenticated_data, random));
  internal::drop_oldest(s.pending_updates, s.limits.max_pending_updates - 1);
  Bytes public_key = keys.public_key;
  s.pending_updates.emplace(std::move(public_key), internal::PendingUpdate{std::move(keys), std::move(signature_private_key), arrival});
  return message;
}

Result<Bytes> Group::protect_application(ByteView plaintext, ByteView authenticated_data, RandomSource& random) {
  GroupState& s = *state_;
  if (!s.active) return mls_group_inactive;
  // s.12.4: whoever was proposed for removal must be gone before anything more is said.
  if (!s.proposals.empty()) return mls_proposals_pending;
  SATSUMA_TRY_VOID(check_send_limit(RatchetType::application));
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
  SATSUMA_TRY(VerifiedContent verified, verify_content(*tree, *context, std::move(content)));
  SecretBytes plaintext = std::move(verified).take_application_data();
  const LeafNode& from = *tree->leaf(sender.leaf);
  return ReceivedApplication{sender.leaf, message.epoch, {sender.leaf, from.signature_key, from.credential, from.encryption_key}, std::move(plaintext),
                             message.authenticated_data};
}

Result<Bytes> Group::sign(std::string_view label, ByteView content) const {
  if (!state_->active) return mls_group_inactive;
  return sign_with_label(state_->suite(), state_->signature_private_key.view(), label, content);
}

Result<void> Group::verify_signature(LeafIndex signer, std::string_view label, ByteView content, ByteView signature) const {
  const LeafNode* leaf = state_->tree.leaf(signer);
  if (leaf == nullptr) return mls_sender_invalid;
  return verify_with_label(state_->suite(), leaf->signature_key, label, content, signature);
}

} // namespace satsuma::mls
