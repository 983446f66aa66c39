#pragma once

#include "mls/wire/proposal.h"

namespace satsuma::mls {

/// RFC 9420 s.8.1.
struct GroupContext {
  std::uint16_t version = protocol_version_mls10;
  CipherSuite cipher_suite{};
  GroupId group_id;
  Epoch epoch = 0;
  Bytes tree_hash;
  Bytes confirmed_transcript_hash;
  Extensions extensions;

  static Result<GroupContext> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const GroupContext&, const GroupContext&) = default;
};

/// RFC 9420 s.12.4.3. As parsed; the signature is not checked.
struct GroupInfo {
  GroupContext group_context;
  Extensions extensions;
  Bytes confirmation_tag;
  LeafIndex signer;
  Bytes signature;

  static Result<GroupInfo> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  Bytes to_be_signed() const;
  Result<void> sign(const SuiteParameters& suite, ByteView private_key);
  Result<void> verify_signature(const SuiteParameters& suite, ByteView public_key) const;
  friend bool operator==(const GroupInfo&, const GroupInfo&) = default;
};

/// RFC 9420 s.12.4.3.1.
struct EncryptedGroupSecrets {
  Bytes new_member; ///< KeyPackageRef
  HpkeCiphertext encrypted_group_secrets;

  static Result<EncryptedGroupSecrets> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const EncryptedGroupSecrets&, const EncryptedGroupSecrets&) = default;
};

struct Welcome {
  CipherSuite cipher_suite{};
  std::vector<EncryptedGroupSecrets> secrets;
  Bytes encrypted_group_info;

  static Result<Welcome> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  /// Null when nothing in it is for this key package.
  const EncryptedGroupSecrets* find(ByteView key_package_ref) const;
  friend bool operator==(const Welcome&, const Welcome&) = default;
};

/// RFC 9420 s.11.1, the data of a required_capabilities extension.
struct RequiredCapabilities {
  NumberList extensions;
  NumberList proposals;
  NumberList credentials;

  static Result<RequiredCapabilities> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
};

/// RFC 9420 s.12.1.8.1, an element of an external_senders extension.
struct ExternalSender {
  Bytes signature_key;
  Credential credential;

  static Result<ExternalSender> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
};

} // namespace satsuma::mls
