#pragma once

#include "mls/group/secret_tree.h"
#include "mls/wire/message.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_membership_tag_mismatch{"mls_membership_tag_mismatch", ErrorKind::peer};
inline constexpr ErrorCode mls_padding_invalid{"mls_padding_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_private_message_invalid{"mls_private_message_invalid", ErrorKind::peer};
inline constexpr ErrorCode mls_content_unexpected{"mls_content_unexpected", ErrorKind::peer};

/// RFC 9420 s.6.2.
Bytes compute_membership_tag(const SuiteParameters& suite, ByteView membership_key, const AuthenticatedContent& content, const GroupContext& context);
/// Adds the membership tag where the sender is a member.
PublicMessage protect_public(const SuiteParameters& suite, ByteView membership_key, const AuthenticatedContent& content, const GroupContext& context);
/// mls_membership_tag_mismatch; mls_content_unexpected for application data, which never travels so.
Result<AuthenticatedContent> unprotect_public(const SuiteParameters& suite, ByteView membership_key, const PublicMessage& message, const GroupContext& context);

/// RFC 9420 s.6.3. Key and nonce for the sender data, from a sample of the ciphertext.
MessageKey sender_data_key(const SuiteParameters& suite, ByteView sender_data_secret, ByteView ciphertext);

/// `content` is signed, by a member, with wire format private_message. The plaintext is padded to a multiple of `padding`
/// where that is not 0.
Result<PrivateMessage> protect_private(const SuiteParameters& suite, ByteView sender_data_secret, SecretTree& keys, const AuthenticatedContent& content,
                                       std::size_t padding, RandomSource& random);
/// Who sent it and which key it takes.
struct SenderData {
  LeafIndex leaf;
  std::uint32_t generation = 0;
  std::array<std::uint8_t, 4> reuse_guard{};
};
Result<SenderData> open_sender_data(const SuiteParameters& suite, ByteView sender_data_secret, const PrivateMessage& message);
/// Takes the protection off and uses the key up; the signature is the caller's to check.
Result<AuthenticatedContent> unprotect_private(const SuiteParameters& suite, ByteView sender_data_secret, SecretTree& keys, const PrivateMessage& message,
                                              FurtherProposalTypes further = {});

} // namespace satsuma::mls
