#pragma once

#include <functional>

#include "mls/group/group.h"
#include "mls/group/group_state.h"
#include "mls/group/group_steps.h"

namespace satsuma::mls {

/// A member who knows all secrets that a member knows and keeps to no rule: signs and protects whatever content it is given, so that the
/// checks behind signature and tags are reached.
struct internal::HostileMember {
  static const GroupState& state(const Group& group) { return *group.state_; }
  /// As a PublicMessage, with a confirmation tag that nobody can expect.
  static Result<Bytes> send_public(Group& group, Content content, Bytes authenticated_data = {}) {
    const GroupState& state = *group.state_;
    SATSUMA_TRY(const AuthenticatedContent signed_content, sign(state, WireFormat::public_message, std::move(content), std::move(authenticated_data)));
    return MLSMessage{protect_public(state.suite(), state.secrets.membership_key.view(), signed_content, state.context)}.encode();
  }
  /// A public message of ours that was changed after it was signed, with the membership tag that belongs to it now.
  static Bytes tag_again(Group& group, PublicMessage message) {
    const GroupState& state = *group.state_;
    message.membership_tag = compute_membership_tag(state.suite(), state.secrets.membership_key.view(), message.authenticated_content(), state.context);
    return MLSMessage{std::move(message)}.encode();
  }
  /// A PrivateMessage with whatever plaintext, and as from whatever leaf.
  static Bytes seal_private(Group& group, ContentType type, ByteView plaintext, std::optional<LeafIndex> as = std::nullopt) {
    GroupState& state = *group.state_;
    const SuiteParameters& suite = state.suite();
    const RatchetType ratchet = type == ContentType::application ? RatchetType::application : RatchetType::handshake;
    const SecretTree::Next next = expect(state.secret_tree.take_next(state.own_leaf(), ratchet));
    PrivateMessage message{state.context.group_id, state.context.epoch, type, {}, {}, Bytes(plaintext.size() + crypto::aead_tag_size)};
    ByteWriter header;
    codec::write_opaque(header, message.group_id);
    header.u64(message.epoch);
    header.u8(static_cast<std::uint8_t>(type));
    ByteWriter associated_data = header;
    codec::write_opaque(associated_data, message.authenticated_data);
    // The reuse guard is zeros: the nonce is the ratchet's.
    crypto::AeadKey(suite.aead, next.key.key.view()).seal(next.key.nonce.view(), associated_data.view(), plaintext, message.ciphertext);
    ByteWriter sender;
    sender.u32(as.value_or(state.own_leaf()).value);
    sender.u32(next.generation);
    sender.u32(0);
    const MessageKey key = sender_data_key(suite, state.secrets.sender_data_secret.view(), message.ciphertext);
    message.encrypted_sender_data.resize(sender.size() + crypto::aead_tag_size);
    crypto::AeadKey(suite.aead, key.key.view()).seal(key.nonce.view(), header.view(), sender.view(), message.encrypted_sender_data);
    return MLSMessage{std::move(message)}.encode();
  }
  /// The plaintext of a PrivateMessage of ours, without padding.
  static Bytes private_plaintext(Group& group, Content content) {
    const AuthenticatedContent signed_content = expect(sign(*group.state_, WireFormat::private_message, std::move(content), {}));
    ByteWriter plaintext;
    write_content(plaintext, signed_content.content.content);
    signed_content.auth.write(plaintext, signed_content.content.type());
    return std::move(plaintext).take();
  }
  static Result<Bytes> send_private(Group& group, Content content, RandomSource& random) {
    GroupState& state = *group.state_;
    SATSUMA_TRY(const AuthenticatedContent signed_content, sign(state, WireFormat::private_message, std::move(content), {}));
    SATSUMA_TRY(PrivateMessage message,
                protect_private(state.suite(), state.secrets.sender_data_secret.view(), state.secret_tree, signed_content, 0, random));
    return MLSMessage{std::move(message)}.encode();
  }
  /// What is wrong with a commit whose signature, tree and parent hashes are right.
  struct Spoilt {
    /// Changes the path secrets' ciphertexts before anything is signed; `tree` is the one with the new path.
    std::function<void(const RatchetTree& tree, std::vector<UpdatePathNode>& nodes)> path = [](const RatchetTree&, std::vector<UpdatePathNode>&) {};
    bool confirmation_tag = false;
  };
  /// A commit that nobody without secrets can tell from a good one. The staged epoch is the one that its maker, and who can follow, is in then.
  /// `proposals` go by value and add nobody.
  static Result<PendingCommit> commit(Group& group, std::vector<Proposal> proposals, Bytes authenticated_data, const Spoilt& spoilt, RandomSource& random) {
    const GroupState& s = *group.state_;
    const SuiteParameters& suite = s.suite();
    const Sender self{SenderType::member, s.own_leaf().value};
    std::vector<ResolvedProposal> resolved;
    for (const Proposal& proposal : proposals) resolved.push_back({&proposal, self, false});
    SATSUMA_TRY(AppliedProposals applied, apply_proposals(s.tree, s.context, resolved, s.own_leaf()));
    RatchetTree& tree = applied.tree;
    Commit commit;
    for (Proposal& proposal : proposals) commit.proposals.push_back({std::move(proposal)});
    PrivateTree keys = s.private_tree.clone();
    GroupContext context = s.context;
    context.epoch += 1;
    context.extensions = std::move(applied.extensions);
    SATSUMA_TRY(NewPath made, make_path(tree, context, s.context, s.own_leaf(), *tree.leaf(s.own_leaf()), s.signature_private_key.view(), {}, random));
    spoilt.path(tree, made.update.nodes);
    commit.path = std::move(made.update);
    keep_path(keys, s.own_leaf(), made.secrets);
    keys.forget_stale(tree);

    AuthenticatedContent content;
    content.wire_format = WireFormat::public_message;
    content.content = {s.context.group_id, s.context.epoch, self, std::move(authenticated_data), std::move(commit)};
    SATSUMA_TRY_VOID(content.sign(suite, s.signature_private_key.view(), s.context));
    context.confirmed_transcript_hash = confirmed_transcript_hash(suite, s.interim_transcript_hash, content);
    NextEpochSecrets next = run_key_schedule(suite, s.secrets.init_secret.view(), made.secrets.commit_secret.view(), {}, context);
    Bytes tag = compute_confirmation_tag(suite, next.secrets.confirmation_key.view(), context.confirmed_transcript_hash);
    if (spoilt.confirmation_tag) tag.front() ^= 1;
    content.auth.confirmation_tag = tag;
    PendingCommit pending{{}, std::nullopt, Group::make_staged(s, {}, nullptr)};
    pending.commit = MLSMessage{protect_public(suite, s.secrets.membership_key.view(), content, s.context)}.encode();
    Bytes interim = interim_transcript_hash(suite, context.confirmed_transcript_hash, tag);
    pending.staged = Group::make_staged(s, std::move(applied.effects),
                                        make_state(std::move(context), std::move(tree), std::move(interim), tag, std::move(keys),
                                                   s.signature_private_key.clone(), std::move(next.secrets), s.limits));
    return pending;
  }
  /// A Welcome to `bundle` with these secrets and this GroupInfo, signed anew by us.
  static Result<Welcome> welcome(Group& group, const KeyPackageBundle& bundle, const GroupSecrets& secrets, GroupInfo info, RandomSource& random) {
    const GroupState& state = *group.state_;
    const SuiteParameters& suite = state.suite();
    info.signer = state.own_leaf();
    SATSUMA_TRY_VOID(info.sign(suite, state.signature_private_key.view()));
    const SecretBytes psk_secret = derive_psk_secret(suite, {});
    const SecretBytes welcome_secret = derive_welcome_secret(suite, secrets.joiner_secret.view(), psk_secret.view());
    return welcome_with(suite, bundle, secrets, encrypt_group_info(suite, welcome_secret.view(), info), random);
  }
  /// With any bytes in place of the encrypted GroupInfo.
  static Result<Welcome> welcome_with(const SuiteParameters& suite, const KeyPackageBundle& bundle, const GroupSecrets& secrets, Bytes encrypted_group_info,
                                      RandomSource& random) {
    Welcome welcome{suite.id, {}, std::move(encrypted_group_info)};
    SATSUMA_TRY(EncryptedGroupSecrets entry, encrypt_group_secrets(suite, secrets, bundle.key_package.init_key, bundle.key_package.reference(suite),
                                                                   welcome.encrypted_group_info, random));
    welcome.secrets.push_back(std::move(entry));
    return welcome;
  }

 private:
  template <class T>
  static T expect(Result<T> result) {
    SATSUMA_CHECK(result);
    return std::move(*result);
  }
  static Result<AuthenticatedContent> sign(const GroupState& state, WireFormat format, Content content, Bytes authenticated_data) {
    AuthenticatedContent out;
    out.wire_format = format;
    out.content = {state.context.group_id, state.context.epoch, {SenderType::member, state.own_leaf().value}, std::move(authenticated_data), std::move(content)};
    if (out.content.type() == ContentType::commit) out.auth.confirmation_tag = Bytes(state.suite().hash_size(), 1);
    SATSUMA_TRY_VOID(out.sign(state.suite(), state.signature_private_key.view(), state.context));
    return out;
  }
};

} // namespace satsuma::mls
