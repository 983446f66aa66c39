#pragma once

#include "mls/group/group.h"
#include "mls/group/group_state.h"

namespace satsuma::mls {

/// A member who knows all secrets that a member knows and keeps to no rule: signs and protects whatever content it is given, so that the
/// checks behind signature and tags are reached.
struct internal::HostileMember {
  /// As a PublicMessage, with a confirmation tag that nobody can expect.
  static Result<Bytes> send_public(Group& group, Content content, Bytes authenticated_data = {}) {
    const GroupState& state = *group.state_;
    SATSUMA_TRY(const AuthenticatedContent signed_content, sign(state, WireFormat::public_message, std::move(content), std::move(authenticated_data)));
    return MLSMessage{protect_public(state.suite(), state.secrets.membership_key.view(), signed_content, state.context)}.encode();
  }
  static Result<Bytes> send_private(Group& group, Content content, RandomSource& random) {
    GroupState& state = *group.state_;
    SATSUMA_TRY(const AuthenticatedContent signed_content, sign(state, WireFormat::private_message, std::move(content), {}));
    SATSUMA_TRY(PrivateMessage message,
                protect_private(state.suite(), state.secrets.sender_data_secret.view(), state.secret_tree, signed_content, 0, random));
    return MLSMessage{std::move(message)}.encode();
  }
  /// A Welcome to `bundle` with these secrets and this GroupInfo, signed anew by us.
  static Result<Welcome> welcome(Group& group, const KeyPackageBundle& bundle, const GroupSecrets& secrets, GroupInfo info, RandomSource& random) {
    const GroupState& state = *group.state_;
    const SuiteParameters& suite = state.suite();
    info.signer = state.own_leaf();
    SATSUMA_TRY_VOID(info.sign(suite, state.signature_private_key.view()));
    const SecretBytes psk_secret = derive_psk_secret(suite, {});
    const SecretBytes welcome_secret = derive_welcome_secret(suite, secrets.joiner_secret.view(), psk_secret.view());
    Welcome welcome{suite.id, {}, encrypt_group_info(suite, welcome_secret.view(), info)};
    SATSUMA_TRY(EncryptedGroupSecrets entry, encrypt_group_secrets(suite, secrets, bundle.key_package.init_key, bundle.key_package.reference(suite),
                                                                   welcome.encrypted_group_info, random));
    welcome.secrets.push_back(std::move(entry));
    return welcome;
  }

 private:
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
