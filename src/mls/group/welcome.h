#pragma once

#include <optional>

#include "mls/group/labels.h"
#include "mls/wire/group_info.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_welcome_invalid{"mls_welcome_invalid", ErrorKind::peer};

/// RFC 9420 s.12.4.3.1.
struct GroupSecrets {
  SecretBytes joiner_secret;
  std::optional<SecretBytes> path_secret;
  std::vector<PreSharedKeyId> psks;

  static Result<GroupSecrets> parse(ByteReader& reader);
  SecretBytes encode() const;
};

Result<EncryptedGroupSecrets> encrypt_group_secrets(const SuiteParameters& suite, const GroupSecrets& secrets, ByteView init_key, Bytes key_package_ref,
                                                    ByteView encrypted_group_info, RandomSource& random);
Result<GroupSecrets> decrypt_group_secrets(const SuiteParameters& suite, const EncryptedGroupSecrets& entry, ByteView init_private_key, ByteView init_key,
                                           ByteView encrypted_group_info);

Bytes encrypt_group_info(const SuiteParameters& suite, ByteView welcome_secret, const GroupInfo& info);
Result<GroupInfo> decrypt_group_info(const SuiteParameters& suite, ByteView welcome_secret, ByteView encrypted);

} // namespace satsuma::mls
